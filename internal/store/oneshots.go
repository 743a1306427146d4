package store

import (
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Single shots are attempts asked for by hand or by a resend, beside the schedule of
// their delivery. Their rows in oneshots live like deliveries do: owned by the process
// that has the job in memory, or unowned until a claim takes them.

// oneShot asks for one attempt beside the schedule, once until it was made. It counts
// as open work of its tenant. asked says that one is asked for already.
func (t *tx) oneShot(row *hook.Delivery, asked bool, target *hook.Endpoint, trigger hook.Trigger) error {
	if asked {
		return nil
	}
	full, err := t.backlogFull(row.Scope, 1)
	if err != nil {
		return err
	}
	if full != nil {
		return full
	}
	owner := int64(0)
	// No claim takes the work of a disabled endpoint; test events pass it.
	if target.Status != hook.Enabled || t.roomFor(target) {
		owner = t.s.Epoch()
	}
	err = t.insert("note one shot", sqltext.OneShots, row.Event[:], row.Endpoint[:], int64(row.Scope.Mode), row.Scope.Tenant,
		int64(trigger), sqltext.Micros(t.now), owner)
	if err != nil {
		return err
	}
	t.opened(row.Scope, 1)
	if owner == 0 {
		t.waitsSomewhere(target, t.now)
		return nil
	}
	t.jobs = append(t.jobs, hook.Job{Delivery: *row, Target: target, Trigger: trigger, Holder: owner})
	return nil
}

// shotAsked reports whether a single shot of a delivery is asked for. Its row is locked,
// so that no other node asks at the same time.
func (t *tx) shotAsked(d *hook.Delivery) (bool, error) {
	var one int
	return t.row("read single shot", "SELECT 1 FROM oneshots WHERE event = ? AND endpoint = ?", []any{d.Event[:], d.Endpoint[:]}, &one)
}

// forgetOneshot ends the single shot of a delivery, if there is one.
func (t *tx) forgetOneshot(d *hook.Delivery) error {
	n, err := t.exec("forget one shot", "DELETE FROM oneshots WHERE event = ? AND endpoint = ?", d.Event[:], d.Endpoint[:])
	t.opened(d.Scope, -int(n))
	return err
}

// forgetOneshots ends those of an endpoint: all, or those but of test events, which a
// disabled endpoint still gets.
func (t *tx) forgetOneshots(target *hook.Endpoint, testsToo bool) error {
	query := "DELETE FROM oneshots WHERE endpoint = ?"
	if !testsToo {
		query += ` AND NOT EXISTS (SELECT 1 FROM deliveries d
			WHERE d.event = oneshots.event AND d.endpoint = oneshots.endpoint AND d.kind = 1)`
	}
	n, err := t.exec("forget one shots", query, target.ID[:])
	t.opened(target.Scope, -int(n))
	return err
}

// returnOneshot puts a single shot that was not attempted back into the table, to be
// claimed after a pause. It reports whether the process still had it.
func (t *tx) returnOneshot(job *hook.Job, due time.Time) (bool, error) {
	n, err := t.exec("give one shot back", "UPDATE oneshots SET owner = 0, requested_at = ? WHERE event = ? AND endpoint = ? AND owner = ?",
		sqltext.Micros(due), job.Delivery.Event[:], job.Delivery.Endpoint[:], job.Holder)
	return n > 0, err
}

const (
	claimShots = `UPDATE oneshots SET owner = ? WHERE owner = 0 AND endpoint = ? AND event IN (SELECT w.event FROM oneshots w
		WHERE w.owner = 0 AND w.endpoint = ? AND w.requested_at <= ? ORDER BY w.requested_at LIMIT ?)
		RETURNING event, trigger_by, requested_at`
	claimedShots = "SELECT " + sqltext.DeliveryColumns + ` FROM oneshots o JOIN deliveries d ON d.event = o.event AND d.endpoint = o.endpoint
		WHERE o.owner = ? AND o.endpoint = ? AND o.requested_at >= ? ORDER BY o.requested_at`
)

// claimOneshots takes single shots of an endpoint out of the table and returns how many.
func (t *tx) claimOneshots(target *hook.Endpoint, limit int, now time.Time, out *hook.Claimed) (int, error) {
	type shot struct {
		event   hook.ID
		trigger hook.Trigger
		at      int64
	}
	shots, err := returning(t, func(row sqltext.Scanner) (s shot, err error) {
		err = row.Scan(sqltext.Blob(s.event[:]), &s.trigger, &s.at)
		return s, err
	}, claimShots, t.s.Epoch(), target.ID[:], target.ID[:], sqltext.Micros(now), limit)
	if err != nil || len(shots) == 0 {
		return 0, sqltext.Wrap("own one shots", err)
	}
	first, triggers := shots[0].at, map[hook.ID]hook.Trigger{}
	for _, s := range shots {
		first, triggers[s.event] = min(first, s.at), s.trigger
	}
	// Others of this process may be among these; they are in memory already.
	rows, err := sqltext.Collect(background, t.c, sqltext.ScanDelivery, claimedShots, t.s.Epoch(), target.ID[:], first)
	if err != nil {
		return 0, sqltext.Wrap("read one shots", err)
	}
	for _, d := range rows {
		if trigger, ok := triggers[d.Event]; ok {
			out.Jobs = append(out.Jobs, hook.Job{Delivery: d, Target: target, Trigger: trigger, Holder: t.s.Epoch()})
		}
	}
	return len(shots), nil
}

// shotsFor finds which of n endpoints have single shots to be claimed.
func shotsFor(n int) string {
	return "SELECT DISTINCT endpoint FROM oneshots WHERE owner = 0 AND requested_at <= ? AND endpoint IN (?" + strings.Repeat(", ?", n-1) + ")"
}

// claimShots claims single shots of all endpoints that have some, and lowers their
// shares by what that took.
func (t *tx) claimShots(now time.Time, targets map[hook.ID]*hook.Endpoint, shares []sqltext.Share, out *hook.Claimed) error {
	args := []any{sqltext.Micros(now)}
	for i := range shares {
		args = append(args, shares[i].Endpoint[:])
	}
	found, err := sqltext.Collect(background, t.c, sqltext.ScanID, shotsFor(len(shares)), args...)
	if err != nil {
		return sqltext.Wrap("look for one shots", err)
	}
	for i := range shares {
		share := &shares[i]
		if !slices.Contains(found, share.Endpoint) {
			continue
		}
		n, err := t.claimOneshots(targets[share.Endpoint], shotsOf(share.Limit), now, out)
		if err != nil {
			return err
		}
		share.Limit -= n
	}
	return nil
}

// shotsOf is how much of a share single shots may take: half, so that the schedule of
// an endpoint goes on however many attempts are asked for.
func shotsOf(limit int) int { return (limit + 1) / 2 }

// disownShots is disownRows for single shots.
func disownShots(dead string) string {
	return `UPDATE oneshots SET owner = 0 WHERE (event, endpoint) IN
		(SELECT event, endpoint FROM oneshots WHERE ` + dead + ` LIMIT ?) AND ` + dead
}
