package store

import (
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Single shots are attempts outside the schedule of a delivery, requested by hand or by a
// resend. A row in oneshots has an owner like a delivery: the process that has the job in
// memory, or 0 until a claim takes it.

// requestShot stores a single shot of a delivery, unless one is requested already. It
// counts as open work of its tenant.
func (t *tx) requestShot(row *hook.Delivery, requested bool, target *hook.Endpoint, trigger hook.Trigger) error {
	if requested {
		return nil
	}
	full, err := t.BacklogFull(row.Scope, 1)
	if err != nil {
		return err
	}
	if full != nil {
		return full
	}
	owner := int64(0)
	// The single shot of a test event is attempted even if the endpoint is disabled, and so is
	// one requested with RetryAnyway. No claim would take it, so it is handed over at once.
	if target.Status != hook.Enabled || t.roomFor(target) {
		owner = t.s.Epoch()
	}
	err = t.Insert("insert single shot", sqltext.OneShots, row.Event[:], row.Endpoint[:], int64(row.Scope.Mode), row.Scope.Tenant,
		int64(trigger), sqltext.Micros(t.Now), owner, nil)
	if err != nil {
		return err
	}
	t.AddOpen(row.Scope, 1)
	if owner == 0 {
		t.NoteDue(target, t.Now)
		return nil
	}
	t.Jobs = append(t.Jobs, hook.Job{Delivery: *row, Target: target, Trigger: trigger, Holder: owner})
	return nil
}

// shotUnderWay reports whether a process has the single shot of a delivery in memory. A
// single shot that waits in the table until the endpoint is enabled is deleted.
func (t *tx) shotUnderWay(d *hook.Delivery) (bool, error) {
	var owner int64
	if _, err := t.Row("read single shot", "SELECT owner FROM oneshots WHERE event = ? AND endpoint = ?", []any{d.Event[:], d.Endpoint[:]}, &owner); err != nil || owner != 0 {
		return true, err
	}
	return false, t.deleteShot(d)
}

// takeShot deletes the single shot of a delivery, if there is one, and counts its result
// for the replay that requested it.
func (t *tx) takeShot(d *hook.Delivery, became unit.ReplayCounts) error {
	replays, err := unit.Returning(t.Tx, sqltext.ScanID, "DELETE FROM oneshots WHERE event = ? AND endpoint = ? RETURNING replay", d.Event[:], d.Endpoint[:])
	t.AddOpen(d.Scope, -len(replays))
	for _, id := range replays {
		t.CountReplay(id, became)
	}
	return sqltext.Wrap("delete single shot", err)
}

// deleteShot deletes the single shot of a delivery that will not be attempted.
func (t *tx) deleteShot(d *hook.Delivery) error { return t.takeShot(d, unit.ReplayCounts{Dropped: 1}) }

// deleteGivenBack deletes the single shot of a delivery that was given back while its
// endpoint does not receive. A single shot of a replay stays.
func (t *tx) deleteGivenBack(d *hook.Delivery) error {
	n, err := t.Exec("delete single shot", "DELETE FROM oneshots WHERE event = ? AND endpoint = ? AND replay IS NULL", d.Event[:], d.Endpoint[:])
	t.AddOpen(d.Scope, -int(n))
	return err
}

// deleteShots deletes the single shots of an endpoint. Without testsToo it keeps those of
// test events, which a disabled endpoint still receives, and those of replays, which
// continue when it is enabled.
func (t *tx) deleteShots(target *hook.Endpoint, testsToo bool) error {
	query := "DELETE FROM oneshots WHERE endpoint = ?"
	if !testsToo {
		query += ` AND replay IS NULL AND NOT EXISTS (SELECT 1 FROM deliveries d
			WHERE d.event = oneshots.event AND d.endpoint = oneshots.endpoint AND d.kind = 1)`
	}
	n, err := t.Exec("delete single shots", query, target.ID[:])
	t.AddOpen(target.Scope, -int(n))
	if err != nil || testsToo {
		return err
	}
	// Each dispatcher forgets its jobs of a disabled endpoint.
	_, err = t.Exec("disown single shots of replays", "UPDATE oneshots SET owner = 0 WHERE endpoint = ? AND replay IS NOT NULL", target.ID[:])
	return err
}

// giveBackShot returns a single shot that was not attempted to the table, to be claimed
// when it is due. It reports whether the process still owned it.
func (t *tx) giveBackShot(job *hook.Job, due time.Time) (bool, error) {
	n, err := t.Exec("give single shot back", "UPDATE oneshots SET owner = 0, requested_at = ? WHERE event = ? AND endpoint = ? AND owner = ?",
		sqltext.Micros(due), job.Delivery.Event[:], job.Delivery.Endpoint[:], job.Holder)
	return n > 0, err
}

const (
	claimShotRows = `UPDATE oneshots SET owner = ? WHERE owner = 0 AND endpoint = ? AND event IN (SELECT w.event FROM oneshots w
		WHERE w.owner = 0 AND w.endpoint = ? AND w.requested_at <= ? ORDER BY w.requested_at LIMIT ?)
		RETURNING event, trigger_by, requested_at`
	claimedShotRows = "SELECT " + sqltext.DeliveryColumns + ` FROM oneshots o JOIN deliveries d ON d.event = o.event AND d.endpoint = o.endpoint
		WHERE o.owner = ? AND o.endpoint = ? AND o.requested_at >= ? ORDER BY o.requested_at`
)

// claimShotsOf claims single shots of an endpoint and returns their number.
func (t *tx) claimShotsOf(target *hook.Endpoint, limit int, now time.Time, out *hook.Claimed) (int, error) {
	type shot struct {
		event   hook.ID
		trigger hook.Trigger
		at      int64
	}
	shots, err := unit.Returning(t.Tx, func(row sqltext.Scanner) (s shot, err error) {
		err = row.Scan(sqltext.Blob(s.event[:]), &s.trigger, &s.at)
		return s, err
	}, claimShotRows, t.s.Epoch(), target.ID[:], target.ID[:], sqltext.Micros(now), limit)
	if err != nil || len(shots) == 0 {
		return 0, sqltext.Wrap("claim single shots", err)
	}
	first, triggers := shots[0].at, map[hook.ID]hook.Trigger{}
	for _, s := range shots {
		first, triggers[s.event] = min(first, s.at), s.trigger
	}
	// The rows may include single shots that this process owned before. Their jobs are in
	// memory already.
	rows, err := sqltext.Collect(background, t.Conn, sqltext.ScanDelivery, claimedShotRows, t.s.Epoch(), target.ID[:], first)
	if err != nil {
		return 0, sqltext.Wrap("read single shots", err)
	}
	for _, d := range rows {
		if trigger, ok := triggers[d.Event]; ok {
			out.Jobs = append(out.Jobs, hook.Job{Delivery: d, Target: target, Trigger: trigger, Holder: t.s.Epoch()})
		}
	}
	return len(shots), nil
}

// shotsFor returns the query for which of n endpoints have single shots to claim.
func shotsFor(n int) string {
	return "SELECT DISTINCT endpoint FROM oneshots WHERE owner = 0 AND requested_at <= ? AND endpoint IN (?" + strings.Repeat(", ?", n-1) + ")"
}

// claimShots claims the single shots of the endpoints and reduces their shares by the
// number claimed.
func (t *tx) claimShots(now time.Time, targets map[hook.ID]*hook.Endpoint, shares []sqltext.Share, out *hook.Claimed) error {
	args := []any{sqltext.Micros(now)}
	for i := range shares {
		args = append(args, shares[i].Endpoint[:])
	}
	found, err := sqltext.Collect(background, t.Conn, sqltext.ScanID, shotsFor(len(shares)), args...)
	if err != nil {
		return sqltext.Wrap("find single shots", err)
	}
	for i := range shares {
		share := &shares[i]
		if !slices.Contains(found, share.Endpoint) {
			continue
		}
		n, err := t.claimShotsOf(targets[share.Endpoint], shotsOf(share.Limit), now, out)
		if err != nil {
			return err
		}
		share.Limit -= n
	}
	return nil
}

// shotsOf returns how much of a share single shots may take: half, rounded up, so that the
// scheduled deliveries of an endpoint continue however many single shots are requested.
func shotsOf(limit int) int { return (limit + 1) / 2 }

// disownShots is disownRows for single shots.
func disownShots(dead string) string {
	return `UPDATE oneshots SET owner = 0 WHERE (event, endpoint) IN
		(SELECT event, endpoint FROM oneshots WHERE ` + dead + ` LIMIT ?) AND ` + dead
}
