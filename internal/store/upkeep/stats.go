package upkeep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Statistics: what each transaction counts, and how it becomes tallies per minute and
// hour.
//
// A transaction collects samples and writes their tallies as one fresh row of stat_log for
// each unit.StatSubjects endpoints. So the statistics contain exactly what is
// committed. The row belongs to the minute of the transaction's time.
//
// In the background, SumStats adds up the rows of each span and moves a span that is over
// to stats, one row per subject. Rows that move out of the minutes go to the log of the
// hour in the same transaction. Each step deletes the rows that it read and inserts their
// sum, so every count is in exactly one row of the minutes or the minutes' log, and in
// exactly one row of the minutes' log, the hours' log or the hours. Steps check how many
// rows they delete. If another node took some, the step is undone.

const (
	// statSums bounds the subjects whose sums are in memory at once, and statBytes the bytes
	// of the rows that are added up at once.
	statSums  = 20_000
	statBytes = 8 << 20
	// statHeads bounds the rows of the log that one step examines.
	statHeads = 4000
	// StatAge is how old a row of the log must be before it is added up: on PostgreSQL a
	// younger one may not be visible yet while later ones are. statLate is how long after its
	// end a span counts as over. Rows that arrive later are still added.
	StatAge  = 5 * time.Second
	statLate = 10 * time.Second
	// dropStatsPage bounds the rows of stats that a page of retention drops.
	dropStatsPage = 1000
)

// logHead is a row of the log without its data.
type logHead struct {
	id          int64
	span, start int64
	fresh       bool
	subjects    int
	bytes       int
}

const (
	logHeads = "SELECT id, span, start, fresh, subjects, length(data) FROM stat_log WHERE id < ? ORDER BY id LIMIT ?"
	logData  = "SELECT data FROM stat_log WHERE id >= ? AND id <= ? AND span = ? AND start = ? AND fresh >= ? ORDER BY id LIMIT ?"
	dropLog  = "DELETE FROM stat_log WHERE id >= ? AND id <= ? AND span = ? AND start = ? AND fresh >= ?"
)

// SumStats adds up the log and moves spans that are over. It returns how long from now
// there may be work again, and 0 if the log is empty.
func (d Duties) SumStats(ctx context.Context) (time.Duration, error) {
	s := d.keeper
	for range 100 { // each round makes progress; the rest is left for the next call
		next, busy, err := s.sumRound(ctx)
		if err != nil || !busy {
			return next, err
		}
	}
	return StatAge, nil
}

func (s *Keeper) sumRound(ctx context.Context) (next time.Duration, busy bool, err error) {
	now := s.core.Now()
	heads, err := sqltext.Collect(ctx, s.core.Read, func(row sqltext.Scanner) (h logHead, err error) {
		var fresh int
		err = row.Scan(&h.id, &h.span, &h.start, &fresh, &h.subjects, &h.bytes)
		h.fresh = fresh == 1
		return h, err
	}, logHeads, unit.StatTime(now.Add(-StatAge)), statHeads)
	if err != nil {
		return 0, false, s.core.ReadError("read log of statistics", err)
	}
	if len(heads) == 0 {
		var one int
		young, err := sqltext.ReadRow(ctx, s.core.Read, "SELECT 1 FROM stat_log LIMIT 1", nil, &one)
		if err != nil || !young {
			return 0, false, sqltext.Wrap("read log of statistics", err)
		}
		return StatAge, false, nil
	}
	type span struct{ span, start int64 }
	groups := map[span][]logHead{}
	for _, h := range heads {
		groups[span{h.span, h.start}] = append(groups[span{h.span, h.start}], h)
	}
	next = time.Hour
	for at, group := range groups {
		over := sqltext.FromMicros(at.start).Add(time.Duration(at.span)*time.Second + statLate)
		if page := pageToSum(group); page != nil {
			err = s.sumPage(ctx, page)
			busy = true
		} else if !over.After(now) {
			err = s.moveSpan(ctx, group)
			busy = true
		} else {
			next = min(next, over.Sub(now))
		}
		if errors.Is(err, ErrNotMine) {
			return StatAge, false, nil // another node does it
		}
		if err != nil {
			return 0, false, err
		}
	}
	return max(next, StatAge), busy, nil
}

// pageToSum returns the rows of a span to be added up next: all of them if they fit,
// otherwise the first fresh ones. It returns nil if there are no fresh rows.
func pageToSum(group []logHead) []logHead {
	subjects, bytes, fresh := 0, 0, group[:0:0]
	for _, h := range group {
		subjects += h.subjects
		bytes += h.bytes
		if h.fresh {
			fresh = append(fresh, h)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if subjects <= statSums && bytes <= statBytes {
		return group
	}
	subjects, bytes = 0, 0
	for i, h := range fresh {
		if subjects, bytes = subjects+h.subjects, bytes+h.bytes; i > 0 && (subjects > statSums || bytes > statBytes) {
			return fresh[:i]
		}
	}
	return fresh
}

// ErrNotMine means that another node adds up the same rows.
var ErrNotMine = errors.New("another node adds up the statistics")

// sumPage replaces rows of a span with their sum.
func (s *Keeper) sumPage(ctx context.Context, page []logHead) error {
	first, last := page[0], page[len(page)-1]
	fresh := int64(1)
	if slices.ContainsFunc(page, func(h logHead) bool { return !h.fresh }) {
		fresh = 0
	}
	args := []any{first.id, last.id, first.span, first.start, fresh}
	sums, raw := &unit.Sums{}, &unit.Sums{}
	sums.Reset()
	raw.Reset()
	found, err := sqltext.Collect(ctx, s.core.Read, func(row sqltext.Scanner) (none struct{}, err error) {
		var data []byte
		if err := row.Scan(&data); err != nil {
			return none, err
		}
		return none, sums.AddLog(data, raw)
	}, logData, append(args, statHeads)...)
	if err != nil {
		return s.core.ReadError("read log of statistics", err)
	}
	sums.AddRaw(raw)
	return s.step(ctx, "add up statistics", len(found)+len(sums.List)/unit.StatSubjects, func(t *tx) error {
		gone, err := t.Exec("drop log of statistics", dropLog, args...)
		if err != nil {
			return err
		}
		if gone != int64(len(found)) {
			return ErrNotMine
		}
		return sums.Rows(false, func(subjects int, data []byte) error {
			return t.LogRow(first.span, first.start, false, subjects, data)
		})
	})
}

// step is one operation of sumStats. One node at a time runs it.
func (s *Keeper) step(ctx context.Context, name string, rows int, apply func(*tx) error) error {
	return s.core.Submit(ctx, &unit.Op{Name: name, Rows: rows, Stays: true, Apply: s.on(func(t *tx) error {
		var mine bool
		if _, err := t.Row("take turn", "SELECT {turn}", nil, &mine); err != nil {
			return err
		}
		if !mine {
			return ErrNotMine
		}
		return apply(t)
	})})
}

// moveSpan moves the rows of a span that is over to stats. Rows of a minute also go to the
// log of its hour.
func (s *Keeper) moveSpan(ctx context.Context, group []logHead) error {
	for _, h := range group {
		err := s.step(ctx, "keep statistics", h.subjects, func(t *tx) error { return t.moveRow(h) })
		if err != nil {
			return err
		}
		if err := sqltext.Pause(ctx, statPause); err != nil {
			return err
		}
	}
	return nil
}

// statPause is the pause after each page, which leaves the writer to other operations.
const statPause = time.Millisecond

func (t *tx) moveRow(h logHead) error {
	var data []byte
	found, err := t.Row("read log of statistics", "SELECT data FROM stat_log WHERE id = ?{lock}", []any{h.id}, &data)
	if err != nil || !found {
		return err
	}
	if _, err := t.Exec("drop log of statistics", "DELETE FROM stat_log WHERE id = ?", h.id); err != nil {
		return err
	}
	if h.span == sqltext.SpanMinute {
		if err := t.LogRow(sqltext.SpanHour, sqltext.StartOf(sqltext.FromMicros(h.start), sqltext.SpanHour), true, h.subjects, data); err != nil {
			return err
		}
	}
	part := t.StatID()
	return sqltext.ReadLog(data, func(subject sqltext.Subject, _ bool, tally []byte) error {
		endpoint := []byte{}
		if !subject.Endpoint.IsZero() {
			endpoint = slices.Clone(subject.Endpoint[:])
		}
		return t.Insert("keep statistics", sqltext.Stats, h.span, h.start, int64(subject.Mode), subject.Tenant, endpoint, part, tally)
	})
}

// watchStats adds up the log a few seconds after rows are added, and again until it is
// empty. Nothing is read while nothing is counted.
func (s *Keeper) watchStats(ctx context.Context) {
	const first = 0 // for rows that an earlier process left
	unit.Later(ctx, s.counted, first, StatAge, func(ctx context.Context) time.Duration {
		next, err := s.duties().SumStats(ctx)
		if err != nil && ctx.Err() == nil {
			s.core.Log.Warn("could not add up statistics, will try again", "error", err)
			return time.Minute
		}
		return next
	})
}

// oldStats are the tallies of a page of retention.
const oldStats = `SELECT span, start, mode, tenant, endpoint, part FROM stats WHERE span = ? AND start < ?
	ORDER BY span, start, mode, tenant, endpoint, part LIMIT ?`

// DropStats drops tallies past their retention. Each page is read before the writer drops it:
// where it is no longer in memory, the disk is waited for here and not by everybody who writes.
func (d Duties) DropStats(ctx context.Context) error {
	s := d.keeper
	now, err := s.duties().TrustedNow(ctx)
	if err != nil {
		return err
	}
	for _, kept := range []struct {
		span int64
		keep time.Duration
	}{{sqltext.SpanMinute, hook.MinuteStats}, {sqltext.SpanHour, hook.HourStats}} {
		until := sqltext.StartOf(now.Add(-kept.keep), kept.span)
		for n := int64(dropStatsPage); n == dropStatsPage; {
			page := []any{kept.span, until, int64(dropStatsPage)}
			if _, err := sqltext.ReadRow(ctx, s.core.Read, "SELECT count(*) FROM ("+oldStats+") p", page, &n); err != nil {
				return fmt.Errorf("read old statistics: %w", err)
			}
			if n == 0 {
				break
			}
			err := s.maintain(ctx, "drop old statistics", dropStatsPage, func(t *tx) (err error) {
				n, err = t.Exec("drop old statistics", "DELETE FROM stats WHERE (span, start, mode, tenant, endpoint, part) IN ("+oldStats+")", page...)
				return err
			})
			if err != nil {
				return fmt.Errorf("drop old statistics: %w", err)
			}
			if err := sqltext.Pause(ctx, unit.PagePause); err != nil {
				return err
			}
		}
	}
	return nil
}

// addUpStats is sumStats for housekeeping.
func (s *Keeper) addUpStats(ctx context.Context) error {
	_, err := s.duties().SumStats(ctx)
	return err
}
