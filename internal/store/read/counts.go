package read

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// The open deliveries of an endpoint, a tenant or a mode, by whether they were attempted, and
// the failed ones, each with the mode that they belong to. Those of a mode are taken from the
// first ones of both modes, so that a bound on the rows of one index bounds the read. No index has
// the attempts of a delivery: these reads look at rows all over the table, and at few of them.
const (
	triesOf       = "SELECT d.mode, CASE WHEN d.attempts > 0 THEN 1 ELSE 0 END AS tried FROM deliveries d WHERE d.state = 0 AND {anybody} AND d.endpoint = ? LIMIT ?"
	triesOfTenant = `SELECT d.mode, CASE WHEN d.attempts > 0 THEN 1 ELSE 0 END AS tried FROM endpoints e {then} deliveries d ON d.state = 0 AND {anybody} AND d.endpoint = e.id
		WHERE e.mode = ? AND e.tenant = ? LIMIT ?`
	triesIn        = "SELECT d.mode, CASE WHEN d.attempts > 0 THEN 1 ELSE 0 END AS tried FROM deliveries d WHERE d.state = 0 AND {anybody} LIMIT ?"
	failedOfTenant = `SELECT count(*) FROM (SELECT 1 FROM endpoints e {then} deliveries d ON d.state = 3 AND d.endpoint = e.id
		WHERE e.mode = ? AND e.tenant = ? LIMIT ?) w`
	// failedIn reads the index on held and failed deliveries from its beginning.
	failedIn = `SELECT CASE WHEN e.id IS NULL OR EXISTS (SELECT 1 FROM tenants gone WHERE gone.id = e.tenant AND gone.deleted_at > 0) THEN 0 ELSE e.mode END, w.state, CAST(sum(w.n) AS bigint) FROM (SELECT w.endpoint, w.state, count(*) AS n
		FROM (SELECT d.endpoint, d.state FROM deliveries d{stopped} WHERE (d.state = 1 OR d.state = 3) LIMIT ?) w GROUP BY w.endpoint, w.state) w
		LEFT JOIN endpoints e ON e.id = w.endpoint GROUP BY 1, 2`
)

// StateCounts counts the deliveries of a scope, or of one endpoint, that have not ended well,
// each kind up to its bound.
func (l *Lists) StateCounts(ctx context.Context, scope hook.Scope, endpoint hook.ID) (out hook.StateCounts, err error) {
	done, err := l.slots.take(ctx, scope)
	if err != nil {
		return out, err
	}
	defer done()
	tries, triesArgs := triesIn, []any{hook.OpenCap}
	held, heldArgs := heldIn, []any{scope.Mode, hook.FewCap}
	failed, failedArgs := "", []any{}
	switch {
	case !endpoint.IsZero():
		tries, triesArgs = triesOf, []any{endpoint[:], hook.OpenCap}
		held, heldArgs = heldOf, []any{endpoint[:], hook.FewCap}
		failed, failedArgs = failedOf, heldArgs
	case scope.Tenant != "":
		tries, triesArgs = triesOfTenant, []any{scope.Mode, scope.Tenant, hook.OpenCap}
		held, heldArgs = heldOfTenant, []any{scope.Mode, scope.Tenant, hook.FewCap}
		failed, failedArgs = failedOfTenant, heldArgs
	}
	if err := l.countTries(ctx, scope.Mode, &out, tries, triesArgs); err != nil {
		return out, l.fail("count open deliveries", err)
	}
	if err := l.db.QueryRowContext(ctx, held, heldArgs...).Scan(&out.Held.N); err != nil {
		return out, l.fail("count held deliveries", err)
	}
	out.Held.More = out.Held.N == hook.FewCap
	if failed == "" {
		err = l.countFailedIn(ctx, scope.Mode, &out.Failed)
	} else if err = l.db.QueryRowContext(ctx, failed, failedArgs...).Scan(&out.Failed.N); err == nil {
		out.Failed.More = out.Failed.N == hook.FewCap
	}
	if err != nil {
		return out, l.fail("count failed deliveries", err)
	}
	return out, nil
}

// countTries counts pending deliveries of the mode by whether they were attempted.
func (l *Lists) countTries(ctx context.Context, mode hook.Mode, out *hook.StateCounts, query string, args []any) error {
	read := 0
	_, err := sqltext.Collect(ctx, l.db, func(row sqltext.Scanner) (none struct{}, err error) {
		var of hook.Mode
		var tried bool
		var n int
		if err := row.Scan(&of, &tried, &n); err != nil {
			return none, err
		}
		switch read += n; {
		case of != mode:
		case tried:
			out.Retrying.N += n
		default:
			out.Pending.N += n
		}
		return none, nil
	}, "SELECT w.mode, w.tried, count(*) FROM ("+query+") w GROUP BY w.mode, w.tried", args...)
	out.Pending.More, out.Retrying.More = read == hook.OpenCap, read == hook.OpenCap
	return err
}

// countFailedIn counts the failed deliveries of a mode.
func (l *Lists) countFailedIn(ctx context.Context, mode hook.Mode, out *hook.AtLeast) error {
	read := 0
	_, err := sqltext.Collect(ctx, l.db, func(row sqltext.Scanner) (none struct{}, err error) {
		var of hook.Mode
		var state hook.State
		var n int
		if err := row.Scan(&of, &state, &n); err != nil {
			return none, err
		}
		if read += n; of == mode && state == hook.Failed {
			out.N += n
		}
		return none, nil
	}, failedIn, hook.FewCap)
	out.More = read == hook.FewCap
	return err
}

// openOf counts the open deliveries of some endpoints from indexes.
const openOf = `SELECT e.id, (SELECT count(*) FROM (SELECT 1 FROM deliveries d WHERE d.state = 0 AND {anybody} AND d.endpoint = e.id LIMIT ?) w),
	(SELECT count(*) FROM (SELECT 1 FROM deliveries d WHERE d.state = 1 AND d.endpoint = e.id LIMIT ?) w)
	FROM endpoints e WHERE e.id IN ({in}) AND e.mode + 0 = ? AND (? = '' OR e.tenant = ?)`

// OpenOf counts the open deliveries of the given endpoints of the scope, at most
// hook.MaxStatsOf, each count up to hook.OpenCap.
func (l *Lists) OpenOf(ctx context.Context, scope hook.Scope, ids []hook.ID) (map[hook.ID]hook.OpenCounts, error) {
	found := map[hook.ID]hook.OpenCounts{}
	if ids = ids[:min(len(ids), hook.MaxStatsOf)]; len(ids) == 0 {
		return found, nil
	}
	done, err := l.slots.take(ctx, scope)
	if err != nil {
		return nil, err
	}
	defer done()
	args := []any{hook.OpenCap, hook.OpenCap}
	for _, id := range ids {
		args = append(args, id[:])
	}
	_, err = sqltext.Collect(ctx, l.db, func(row sqltext.Scanner) (none struct{}, err error) {
		var id hook.ID
		var n hook.OpenCounts
		if err := row.Scan(sqltext.Blob(id[:]), &n.Pending.N, &n.Held.N); err != nil {
			return none, err
		}
		n.Pending.More, n.Held.More = n.Pending.N == hook.OpenCap, n.Held.N == hook.OpenCap
		found[id] = n
		return none, nil
	}, sqltext.In(openOf, len(ids)), append(args, scope.Mode, scope.Tenant, scope.Tenant)...)
	if err != nil {
		return nil, l.fail("count open deliveries of endpoints", err)
	}
	return found, nil
}
