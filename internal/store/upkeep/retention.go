package upkeep

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

const (
	// retentionPage bounds the events that a page of retention reads.
	retentionPage = 250
	// RetentionRows bounds the deliveries that a page of retention reads and the rows that it
	// drops.
	RetentionRows = 2000
	// clockPace is how many times faster than the monotonic clock the clock of retention may
	// move, see retentionClock.
	clockPace = 4
)

// stillNeeded is the condition under which a delivery d keeps its event: it is open, or
// was settled after a given time.
const stillNeeded = "(d.state < 2 OR d.settled_at > ?)"

// retentionClock is the state of the clock that retention follows if the store uses the
// machine's clock. If that clock is set to another year, retention must drop no more than
// what expires within a few hours.
type retentionClock struct {
	checked time.Time // last check, or the opening of the store; only its monotonic part is used
}

// retain drops events that were accepted and settled longer ago than Options.Retention,
// with all their rows. It also drops endpoints that were deleted before the oldest
// remaining event, and removes what is older than the retention of its class.
func (s *Keeper) retain(ctx context.Context) error {
	now, err := s.duties().TrustedNow(ctx)
	if err != nil {
		return err
	}
	var until time.Time // everything is younger
	if s.opts.Retention != 0 {
		until = now.Add(-s.opts.Retention)
	}
	tables, err := s.core.Peers.DropDays(ctx, until)
	if err != nil || len(tables) == 0 {
		return err
	}
	if s.opts.Retention == 0 {
		return s.retainClasses(ctx, now)
	}
	for _, from := range tables {
		if err := s.duties().DropPages(ctx, from, until); err != nil {
			return err
		}
	}
	if err := s.dropEndpoints(ctx, until); err != nil {
		return err
	}
	return s.retainClasses(ctx, now)
}

// TrustedNow returns the time that retention follows. That is the machine's clock, but
// while the store is open it advances at most clockPace times as fast as the monotonic
// clock. It does not advance while the store is closed, and never goes back. After a jump
// it catches up slowly, so that an operator has time to notice. If Options.Now is set,
// TrustedNow returns its time.
func (d Duties) TrustedNow(ctx context.Context) (time.Time, error) {
	s := d.keeper
	now := s.core.Now()
	if s.retention == nil {
		return now, nil
	}
	looked := time.Now()
	most := clockPace * looked.Sub(s.retention.checked)
	var trusted time.Time
	err := s.maintain(ctx, "advance the retention clock", 1, func(t *tx) error {
		var err error
		if trusted, err = t.retentionClock(now); err != nil {
			return err
		}
		if next := trusted.Add(min(most, now.Sub(trusted))); next.After(trusted) {
			trusted = next
		}
		_, err = t.Exec("write retention clock", `INSERT INTO meta (key, value) VALUES ('retention_clock', ?)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value`, binary.BigEndian.AppendUint64(nil, uint64(sqltext.Micros(trusted))))
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	s.retention.checked = looked
	if trusted.After(now) {
		trusted = now
	}
	return trusted, nil
}

// retentionClock reads the stored clock. A store without one starts with the time of its
// newest event.
func (t *tx) retentionClock(now time.Time) (time.Time, error) {
	var kept []byte
	found, err := t.Row("read retention clock", "SELECT value FROM meta WHERE key = 'retention_clock'{lock}", nil, &kept)
	if err != nil {
		return time.Time{}, err
	}
	if found && len(kept) == 8 {
		return sqltext.FromMicros(int64(binary.BigEndian.Uint64(kept))), nil
	}
	var newest hook.ID
	if found, err = t.Row("read newest event", "SELECT id FROM events ORDER BY id DESC LIMIT 1", nil, sqltext.Blob(newest[:])); err != nil {
		return time.Time{}, err
	}
	if at := newest.Time(); found && at.Before(now) {
		return at, nil
	}
	return now, nil
}

// DropPages walks the events of a table before until, oldest first. Each page is an
// operation and continues after the last event of the page before, so a page of needed
// events is read only once.
func (d Duties) DropPages(ctx context.Context, from string, until time.Time) error {
	s := d.keeper
	var dropped int64
	for at, more := (hook.ID{}), true; more; {
		var page DroppedPage
		began := time.Now()
		err := s.core.Maintain(ctx, "drop old events", RetentionRows, func(t *unit.Tx) (err error) {
			page, err = d.DropPage(t, from, until, at)
			return err
		})
		if err != nil {
			return fmt.Errorf("drop old events: %w", err)
		}
		dropped += page.Events
		if at, more = page.Last, page.More; !more {
			break
		}
		if err := afterPage(ctx, began); err != nil {
			return err
		}
	}
	if dropped > 0 {
		s.core.Log.Info("dropped events older than the retention", "events", dropped)
	}
	return nil
}

// afterPage pauses after a page that began at the time. The longer pages take, with their
// wait for other writes, the longer it pauses: retention uses at most a third of a busy
// writer.
func afterPage(ctx context.Context, began time.Time) error {
	return sqltext.Pause(ctx, max(unit.PagePause, 2*time.Since(began)))
}

// dropEndpoints drops endpoints that were deleted before until and at least a day before
// the oldest stored event. Such endpoints cannot have deliveries left.
func (s *Keeper) dropEndpoints(ctx context.Context, until time.Time) error {
	oldest, err := sqltext.Collect(ctx, s.core.Read, sqltext.ScanID, "SELECT id FROM events ORDER BY id LIMIT 1")
	if err != nil {
		return s.core.ReadError("read oldest event", err)
	}
	if len(oldest) > 0 {
		if before := oldest[0].Time().Add(-24 * time.Hour); before.Before(until) {
			until = before
		}
	}
	ids, err := sqltext.Collect(ctx, s.core.Read, sqltext.ScanID, "SELECT id FROM endpoints WHERE status = ? AND sweep = '' AND updated_at <= ?", hook.Deleted, sqltext.Micros(until))
	if err != nil {
		return s.core.ReadError("list deleted endpoints", err)
	}
	for len(ids) > 0 {
		var gone int
		err := s.maintain(ctx, "drop endpoints", unit.HousekeepPage, func(t *tx) (err error) {
			gone, err = t.dropDeleted(ids)
			return err
		})
		if err != nil {
			return fmt.Errorf("drop deleted endpoints: %w", err)
		}
		if ids = ids[gone:]; len(ids) > 0 {
			if err := sqltext.Pause(ctx, unit.PagePause); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropDeleted drops as many of the endpoints as fit into a page, in order, and returns
// their number. An endpoint may have any number of revisions. They are dropped first, and
// the endpoint with the last of them.
func (t *tx) dropDeleted(ids []hook.ID) (gone int, err error) {
	left := int64(unit.HousekeepPage)
	for _, id := range ids {
		n, err := t.Exec("drop revisions", `DELETE FROM endpoint_revisions WHERE (endpoint, revision) IN
			(SELECT endpoint, revision FROM endpoint_revisions WHERE endpoint = ? LIMIT ?)`, id[:], left)
		if err != nil || n == left { // there may be more revisions
			return gone, err
		}
		for _, statement := range []string{
			"DELETE FROM secrets WHERE endpoint = ?", "DELETE FROM health WHERE endpoint = ?", "DELETE FROM endpoints WHERE id = ?",
		} {
			if _, err := t.Exec("drop deleted endpoint", statement, id[:]); err != nil {
				return gone, err
			}
		}
		gone++
		if left -= n + dropCost; left <= 0 {
			break
		}
	}
	return gone, nil
}

// dropCost is how many rows of a page the statements that drop an endpoint count as.
const dropCost = 8
