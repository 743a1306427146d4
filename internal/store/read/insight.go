package read

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const (
	maxHistory  = 1000   // endpoints listed for one event
	statsEvents = 10_000 // newest events of the tenant that statistics cover
	statsRows   = 1000   // deliveries of the endpoint among them
	statsTries  = 5000   // attempts of these deliveries
)

// historyRows finds, for each endpoint of a scope, the last revision before a moment and
// those in the same microsecond.
const historyRows = `SELECT e.id, e.operational, e.created_at, e.status, r.revision, r.at, r.url, r.types, r.channels, r.status
	FROM (SELECT id, operational, created_at, status FROM endpoints WHERE mode = ? AND tenant = ? ORDER BY status = 3, id DESC LIMIT ?) e
	LEFT JOIN endpoint_revisions r ON r.endpoint = e.id AND r.at <= ? AND r.revision >= coalesce((SELECT p.revision FROM endpoint_revisions p
		WHERE p.endpoint = e.id AND p.at < ? ORDER BY p.revision DESC LIMIT 1), 0)
	ORDER BY e.status = 3, e.id DESC, r.revision`

// History returns the endpoints of a tenant as they were at a moment, newest first, with
// the deleted ones last. It returns at most 1,000. more reports whether there are others.
// The scope needs a tenant.
func (l *Lists) History(ctx context.Context, scope hook.Scope, at time.Time) (list []hook.History, more bool, err error) {
	done, err := l.slots.take(ctx, scope)
	if err != nil {
		return nil, false, err
	}
	defer done()
	type line struct {
		hook.History
		revision *hook.Revision
	}
	lines, err := sqltext.Collect(ctx, l.db, func(row sqltext.Scanner) (l line, err error) {
		var created int64
		var number, changed, status *int64
		var url, types, channels *string
		if err := row.Scan(sqltext.Blob(l.Endpoint[:]), &l.Operational, &created, &l.Now, &number, &changed, &url, &types, &channels, &status); err != nil {
			return l, err
		}
		l.CreatedAt = sqltext.FromMicros(created)
		if number == nil {
			return l, nil
		}
		l.revision = &hook.Revision{Number: *number, At: sqltext.FromMicros(*changed), URL: *url, Channels: hook.ParseChannels(*channels), Status: hook.Status(*status)}
		if err := json.Unmarshal([]byte(*types), &l.revision.Types); err != nil {
			return l, fmt.Errorf("read event types of %s: %w", l.Endpoint, err)
		}
		return l, nil
	}, historyRows, scope.Mode, scope.Tenant, maxHistory+1, sqltext.Micros(at), sqltext.Micros(at))
	if err != nil {
		return nil, false, l.fail("read history of endpoints", err)
	}
	for _, l := range lines {
		if len(list) == 0 || list[len(list)-1].Endpoint != l.Endpoint {
			if len(list) == maxHistory {
				return list, true, nil
			}
			list = append(list, l.History)
		}
		if l.revision != nil {
			last := &list[len(list)-1]
			last.Then = append(last.Then, *l.revision)
		}
	}
	return list, false, nil
}

// HasEndpoints reports whether a scope has endpoints that are not deleted.
func (l *Lists) HasEndpoints(ctx context.Context, scope hook.Scope) (bool, error) {
	entry, err := l.dir.Entry(ctx, l.db, scope)
	if err != nil {
		return false, l.fail("read endpoints", err)
	}
	return len(entry.Endpoints) > 0, nil
}

// RecentStats returns the statistics of the latest 1,000 deliveries of an endpoint, with at
// most 5,000 attempts, among the tenant's latest 10,000 events. Other members of EndpointStats
// are not set: Buckets has them. An empty tenant means all of the mode.
func (l *Lists) RecentStats(ctx context.Context, scope hook.Scope, id hook.ID) (hook.EndpointStats, error) {
	out := hook.EndpointStats{ByState: map[hook.State]int{}, ByClass: map[hook.Class]int{}}
	e, err := l.Endpoint(ctx, scope, id)
	if err != nil {
		return out, err
	}
	done, err := l.slots.take(ctx, e.Scope)
	if err != nil {
		return out, err
	}
	defer done()
	if err := l.recentOf(ctx, e, &out); err != nil {
		return out, l.fail("read recent deliveries", err)
	}
	return out, nil
}

// pendingOf, heldOf and failedOf read indexes only. The state is a literal, because the
// planner does not use a partial index for a parameter.
const (
	pendingOf = `SELECT count(*), {oldest} FROM (SELECT d.event FROM deliveries d WHERE d.state = 0 AND {anybody} AND d.endpoint = ? LIMIT ?) w`
	heldOf    = `SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE state = 1 AND endpoint = ? LIMIT ?) w`
	failedOf  = `SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE state = 3 AND endpoint = ? LIMIT ?) w`
)

// recentDeliveries reads the index on the tenant's events from the newest to the oldest, and
// the delivery of each by its key.
const recentDeliveries = `SELECT d.event, d.state, d.created_at FROM events e {deliveries} AND d.endpoint = ?{each}
	WHERE e.mode = ? AND e.tenant = ? AND d.kind = 0 AND e.id >= coalesce((SELECT o.id FROM events o WHERE o.mode = ? AND o.tenant = ?
		ORDER BY o.id DESC LIMIT 1 OFFSET ?), {bytes})
	ORDER BY e.id DESC LIMIT ?`

// recentAttempts reads the attempts of an endpoint's deliveries by their keys.
const recentAttempts = "SELECT a.duration_us, a.class FROM attempts a WHERE a.endpoint = ? AND a.event IN ({in}) ORDER BY a.event DESC, a.number DESC LIMIT ?"

func (l *Lists) recentOf(ctx context.Context, e *hook.Endpoint, out *hook.EndpointStats) error {
	args := []any{e.ID[:], e.Scope.Mode, e.Scope.Tenant, e.Scope.Mode, e.Scope.Tenant, statsEvents - 1, statsRows}
	type recent struct {
		event hook.ID
		state hook.State
		at    int64
	}
	rows, err := sqltext.Collect(ctx, l.db, func(row sqltext.Scanner) (r recent, err error) {
		err = row.Scan(sqltext.Blob(r.event[:]), &r.state, &r.at)
		return r, err
	}, recentDeliveries, args...)
	if err != nil || len(rows) == 0 {
		return err
	}
	out.Since = sqltext.FromMicros(rows[len(rows)-1].at)
	for _, r := range rows {
		out.ByState[r.state]++
	}
	var durations []int64
	for part := range slices.Chunk(rows, sqltext.MostListed) {
		args := []any{e.ID[:]}
		for i := range sqltext.ListSize(len(part)) {
			args = append(args, part[min(i, len(part)-1)].event[:])
		}
		found, err := sqltext.Collect(ctx, l.db, func(row sqltext.Scanner) (duration int64, err error) {
			var class hook.Class
			err = row.Scan(&duration, &class)
			if class == hook.ClassNone || class == hook.ClassTruncated {
				out.Successes++
			} else {
				out.ByClass[class]++
			}
			return duration, err
		}, sqltext.In(recentAttempts, len(args)-1), append(args, statsTries-len(durations))...)
		if err != nil {
			return err
		}
		if durations = append(durations, found...); len(durations) == statsTries {
			break
		}
	}
	out.Attempts, out.Latency = len(durations), latencyOf(durations)
	return nil
}

// latencyOf uses the nearest-rank method, so that each figure is a measured duration.
func latencyOf(durations []int64) hook.Latency {
	if len(durations) == 0 {
		return hook.Latency{}
	}
	slices.Sort(durations)
	rank := func(percent int) time.Duration {
		return time.Duration(durations[(len(durations)*percent+99)/100-1]) * time.Microsecond
	}
	return hook.Latency{P50: rank(50), P95: rank(95)}
}
