package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const (
	// retentionPage is how many events one page of retention looks at, and
	// retentionPause is how long it then leaves the writer to others.
	retentionPage  = 500
	retentionPause = 10 * time.Millisecond
	// clockPace is how much faster than this process's own time the clock that
	// retention goes by may move, see retentionClock.
	clockPace = 4
	// clockApart is how far the database's clock may be from this node's.
	clockApart = time.Hour
)

// stillNeeded is true for a delivery d that keeps its event: it is open, or was
// settled after the moment given.
const stillNeeded = "(d.state < 2 OR d.settled_at > ?)"

// retentionClock is the memory of a store that goes by the machine's clock: one that
// was set to another year must not cost anything but what lies within a few hours.
type retentionClock struct {
	looked time.Time // last, or when the store was opened; its monotonic part counts
}

// retain drops events that were accepted and settled longer ago than
// Options.Retention, with all that hangs on them, and endpoints that were deleted
// before the oldest event that is left.
func (s *Store) retain(ctx context.Context) error {
	if s.opts.Retention == 0 {
		return nil
	}
	now, err := s.trustedNow(ctx)
	if err != nil {
		return err
	}
	until := now.Add(-s.opts.Retention)
	if ok, err := s.clocksAgree(ctx); err != nil || !ok {
		return err
	}
	tables, err := s.peers.DropDays(ctx, until)
	if err != nil {
		return err
	}
	for _, from := range tables {
		if err := s.dropPages(ctx, from, until); err != nil {
			return err
		}
	}
	return s.dropEndpoints(ctx, until)
}

// clocksAgree compares the clock of this machine with the one that others go by: where
// they differ, one of them is wrong, and nothing is dropped.
func (s *Store) clocksAgree(ctx context.Context) (bool, error) {
	if s.retention == nil {
		return true, nil
	}
	apart, err := s.peers.ClockApart(ctx, s.now)
	if err != nil || apart.Abs() <= clockApart {
		return err == nil, err
	}
	s.log.Error("the clocks of this machine and of the database differ: nothing is dropped by age", "apart", apart.Round(time.Second).String())
	return false, nil
}

// trustedNow returns the time that retention goes by. It follows the clock, but no
// faster than clockPace while the store is open and not at all while it is not, and
// never back: after a jump it takes its time to catch up, in which somebody may notice.
// A clock that was given in Options is believed.
func (s *Store) trustedNow(ctx context.Context) (time.Time, error) {
	now := s.now()
	if s.retention == nil {
		return now, nil
	}
	looked := time.Now()
	most := clockPace * looked.Sub(s.retention.looked)
	var trusted time.Time
	err := s.maintain(ctx, "trusted now", 1, func(t *tx) error {
		var err error
		if trusted, err = t.retentionClock(now); err != nil {
			return err
		}
		if next := trusted.Add(min(most, now.Sub(trusted))); next.After(trusted) {
			trusted = next
		}
		_, err = t.exec("keep clock of retention", `INSERT INTO meta (key, value) VALUES ('retention_clock', ?)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value`, binary.BigEndian.AppendUint64(nil, uint64(sqltext.Micros(trusted))))
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	s.retention.looked = looked
	if trusted.After(now) {
		trusted = now
	}
	return trusted, nil
}

// retentionClock reads where the clock was. A store that kept none yet begins with
// its newest event.
func (t *tx) retentionClock(now time.Time) (time.Time, error) {
	var kept []byte
	found, err := t.row("read clock of retention", "SELECT value FROM meta WHERE key = 'retention_clock'{lock}", nil, &kept)
	if err != nil {
		return time.Time{}, err
	}
	if found && len(kept) == 8 {
		return sqltext.FromMicros(int64(binary.BigEndian.Uint64(kept))), nil
	}
	var newest hook.ID
	if found, err = t.row("read newest event", "SELECT id FROM events ORDER BY id DESC LIMIT 1", nil, sqltext.Blob(newest[:])); err != nil {
		return time.Time{}, err
	}
	if at := newest.Time(); found && at.Before(now) {
		return at, nil
	}
	return now, nil
}

// dropPages walks the events of a table that are older than the moment, oldest first,
// a page a write. It remembers where it got to, so a page of events that are needed
// costs its look at them and no more.
func (s *Store) dropPages(ctx context.Context, from string, until time.Time) error {
	var dropped int64
	var after hook.ID
	for {
		var last hook.ID
		var n int64
		err := s.maintain(ctx, "drop pages", retentionPage, func(t *tx) (err error) {
			last, n, err = t.dropPage(from, after, until)
			return err
		})
		if err != nil {
			return fmt.Errorf("drop old events: %w", err)
		}
		dropped += n
		if last.IsZero() {
			break
		}
		after = last
		if err := pause(ctx, retentionPause); err != nil {
			return err
		}
	}
	if dropped > 0 {
		s.log.Info("dropped events older than the retention", "events", dropped)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// dropPage drops what may go of the next events, and returns the last it looked at if
// there may be more. The rows are locked before they are judged: on PostgreSQL another
// node may be asked for one more attempt of them.
func (t *tx) dropPage(from string, after hook.ID, until time.Time) (last hook.ID, dropped int64, err error) {
	var mine bool
	if _, err := t.row("take turn", "SELECT {turn}", nil, &mine); err != nil || !mine {
		return last, 0, err // another node is at it
	}
	bound := sqltext.FirstID(until)
	ids, err := sqltext.Collect(background, t.c, sqltext.ScanID, oldPage(from)+"{lock}",
		after[:], bound[:], retentionPage)
	if err != nil || len(ids) == 0 {
		return last, 0, sqltext.Wrap("read old events", err)
	}
	low, high := ids[0], ids[len(ids)-1]
	if t.s.peers.Shared() {
		if _, err := sqltext.Collect(background, t.c, sqltext.ScanID, "SELECT event FROM deliveries WHERE event >= ? AND event <= ? ORDER BY event, endpoint FOR UPDATE",
			low[:], high[:]); err != nil {
			return last, 0, sqltext.Wrap("lock old deliveries", err)
		}
	}
	needed, err := sqltext.Collect(background, t.c, sqltext.ScanID, neededOfPage, low[:], high[:], sqltext.Micros(until), low[:], high[:])
	if err != nil {
		return last, 0, sqltext.Wrap("read what is needed", err)
	}
	for _, r := range runsWithout(ids, needed) {
		if err := t.dropRun(r.low, r.high); err != nil {
			return last, 0, err
		}
		dropped += int64(r.events)
	}
	if len(ids) == retentionPage {
		last = high
	}
	return last, dropped, nil
}

func oldPage(from string) string {
	return "SELECT id FROM " + from + " WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
}

const neededOfPage = "SELECT d.event FROM deliveries d WHERE d.event >= ? AND d.event <= ? AND " + stillNeeded +
	" UNION SELECT event FROM oneshots WHERE event >= ? AND event <= ?"

// run is a run of events that follow each other and may all go.
type run struct {
	low, high hook.ID
	events    int
}

func runsWithout(ids, needed []hook.ID) (runs []run) {
	keep := make(map[hook.ID]bool, len(needed))
	for _, id := range needed {
		keep[id] = true
	}
	open := false
	for _, id := range ids {
		switch {
		case keep[id]:
			open = false
		case open:
			last := &runs[len(runs)-1]
			last.high, last.events = id, last.events+1
		default:
			runs, open = append(runs, run{id, id, 1}), true
		}
	}
	return runs
}

// dropRun drops the events from low to high with everything that hangs on them.
func (t *tx) dropRun(low, high hook.ID) error {
	for _, statement := range []string{
		"DELETE FROM attempts WHERE event >= ? AND event <= ?",
		"DELETE FROM deliveries WHERE event >= ? AND event <= ?",
		"DELETE FROM event_ids WHERE {idsof}", // given by platforms to events that go
		"DELETE FROM events WHERE id >= ? AND id <= ?",
	} {
		if _, err := t.exec("drop old events", statement, low[:], high[:]); err != nil {
			return err
		}
	}
	return nil
}

// dropEndpoints drops endpoints that were deleted longer ago than the moment and a
// day before the oldest event that is there: no delivery can be to them.
func (s *Store) dropEndpoints(ctx context.Context, until time.Time) error {
	oldest, err := sqltext.Collect(ctx, s.read, sqltext.ScanID, "SELECT id FROM events ORDER BY id LIMIT 1")
	if err != nil {
		return s.readError("read oldest event", err)
	}
	if len(oldest) > 0 {
		if before := oldest[0].Time().Add(-24 * time.Hour); before.Before(until) {
			until = before
		}
	}
	ids, err := sqltext.Collect(ctx, s.read, sqltext.ScanID, "SELECT id FROM endpoints WHERE status = ? AND sweep = '' AND updated_at <= ?", hook.Deleted, sqltext.Micros(until))
	if err != nil {
		return s.readError("list deleted endpoints", err)
	}
	for len(ids) > 0 {
		page := ids[:min(len(ids), housekeepPage)]
		ids = ids[len(page):]
		err := s.maintain(ctx, "drop endpoints", len(page), func(t *tx) error {
			for _, id := range page {
				if err := t.dropEndpoint(id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("drop deleted endpoints: %w", err)
		}
	}
	return nil
}

func (t *tx) dropEndpoint(id hook.ID) error {
	for _, statement := range []string{
		"DELETE FROM secrets WHERE endpoint = ?", "DELETE FROM endpoint_revisions WHERE endpoint = ?",
		"DELETE FROM health WHERE endpoint = ?", "DELETE FROM endpoints WHERE id = ?",
	} {
		if _, err := t.exec("drop deleted endpoint", statement, id[:]); err != nil {
			return err
		}
	}
	return nil
}
