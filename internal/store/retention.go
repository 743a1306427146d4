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
	// retentionPage is how many events one page of retention looks at most, and
	// retentionRows how many deliveries it looks at and how many rows it drops.
	// retentionPause is how long it then leaves the writer to others.
	retentionPage  = 500
	retentionRows  = 2000
	retentionPause = 10 * time.Millisecond
	// clockPace is how much faster than this process's own time the clock that
	// retention goes by may move, see retentionClock.
	clockPace = 4
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
	tables, err := s.peers.DropDays(ctx, until)
	if err != nil || len(tables) == 0 {
		return err
	}
	for _, from := range tables {
		if err := s.dropPages(ctx, from, until); err != nil {
			return err
		}
	}
	return s.dropEndpoints(ctx, until)
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
	for at, more := (hook.ID{}), true; more; {
		var page droppedPage
		err := s.maintain(ctx, "drop pages", retentionRows, func(t *tx) (err error) {
			page, err = (&dropper{tx: t, from: from, until: until, after: at}).page()
			return err
		})
		if err != nil {
			return fmt.Errorf("drop old events: %w", err)
		}
		dropped += page.events
		if at, more = page.last, page.more; !more {
			break
		}
		if err := sqltext.Pause(ctx, retentionPause); err != nil {
			return err
		}
	}
	if dropped > 0 {
		s.log.Info("dropped events older than the retention", "events", dropped)
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
		var gone int
		err := s.maintain(ctx, "drop endpoints", housekeepPage, func(t *tx) (err error) {
			gone, err = t.dropDeleted(ids)
			return err
		})
		if err != nil {
			return fmt.Errorf("drop deleted endpoints: %w", err)
		}
		if ids = ids[gone:]; len(ids) > 0 {
			if err := sqltext.Pause(ctx, retentionPause); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropDeleted drops the first of the endpoints, as many as a page takes, and returns how
// many these were. An endpoint may have any number of revisions: they go first, and it
// goes with the last of them.
func (t *tx) dropDeleted(ids []hook.ID) (gone int, err error) {
	left := int64(housekeepPage)
	for _, id := range ids {
		n, err := t.exec("drop revisions", `DELETE FROM endpoint_revisions WHERE (endpoint, revision) IN
			(SELECT endpoint, revision FROM endpoint_revisions WHERE endpoint = ? LIMIT ?)`, id[:], left)
		if err != nil || n == left { // there may be more of them
			return gone, err
		}
		for _, statement := range []string{
			"DELETE FROM secrets WHERE endpoint = ?", "DELETE FROM health WHERE endpoint = ?", "DELETE FROM endpoints WHERE id = ?",
		} {
			if _, err := t.exec("drop deleted endpoint", statement, id[:]); err != nil {
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

// dropCost is what the statements that drop an endpoint count for in a page.
const dropCost = 8
