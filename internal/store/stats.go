package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Statistics: what each transaction counts, and how it becomes tallies per minute and
// hour.
//
// A transaction collects samples and writes their tallies as one fresh row of stat_log for
// each statSubjects endpoints (logSamples). So the statistics contain exactly what is
// committed. The row belongs to the minute of the transaction's time.
//
// In the background, sumStats adds up the rows of each span and moves a span that is over
// to stats, one row per subject. Rows that move out of the minutes go to the log of the
// hour in the same transaction. Each step deletes the rows that it read and inserts their
// sum, so every count is in exactly one row of the minutes or the minutes' log, and in
// exactly one row of the minutes' log, the hours' log or the hours. Steps check how many
// rows they delete. If another node took some, the step is undone.

// sample is an event in the life of an endpoint's deliveries, or of a tenant's events.
type sample struct {
	subject sqltext.Subject

	published, accepted bool // an event, a delivery

	attempted bool
	class     hook.Class    // why the attempt failed; empty if it succeeded
	took      time.Duration // duration of the attempt

	delivered, first bool          // the delivery succeeded; with its first attempt
	since            time.Duration // time since its acceptance, or since its event asked for it
	givenUp          int64         // deliveries that failed
}

func (t *tx) note(s sample) { t.samples = append(t.samples, s) }

// noteAttempt counts an attempt and its effect on its delivery.
func (t *tx) noteAttempt(after *hook.Delivery, was hook.State, o *hook.Outcome) {
	if after.Kind == hook.TestEvent {
		return
	}
	s := sample{subject: sqltext.Subject{Scope: after.Scope, Endpoint: after.Endpoint}, attempted: true, took: o.Duration}
	if !o.Success {
		s.class = cmp.Or(o.Class, hook.ClassStatus)
	}
	if was != hook.Succeeded && after.State == hook.Succeeded {
		s.delivered, s.first, s.since = true, after.Attempts == 1, o.StartedAt.Add(o.Duration).Sub(after.Begins(o.DeliverAt))
	}
	if was.Open() && after.State == hook.Failed {
		s.givenUp = 1
	}
	t.note(s)
}

func (s *sample) count(t *hook.Tally) {
	if s.published {
		t.Events++
	}
	if s.accepted {
		t.Accepted++
	}
	if s.attempted {
		t.Attempts++
		t.AttemptTime.Note(s.took)
		if s.class != "" {
			t.AddError(s.class, 1)
		}
	}
	if s.delivered {
		t.Delivered++
		t.DeliveryTime.Note(s.since)
		if s.first {
			t.FirstTry++
		}
	}
	t.GivenUp += s.givenUp
}

// tallies holds sums by subject. After a reset it keeps its memory for the next sums.
type tallies struct {
	at   map[sqltext.Subject]int
	list []subjectTally
	log  sqltext.LogWriter
}

type subjectTally struct {
	subject sqltext.Subject
	tally   hook.Tally
}

// keptTallies bounds the subjects whose memory is kept, because clearing a big map is
// slow.
const keptTallies = 2048

func (a *tallies) reset() {
	if a.at == nil || len(a.list) > keptTallies {
		a.at, a.list = map[sqltext.Subject]int{}, nil
	}
	clear(a.at)
	a.list = a.list[:0]
}

func (a *tallies) of(s sqltext.Subject) *hook.Tally {
	at, ok := a.at[s]
	if !ok {
		at = len(a.list)
		a.at[s] = at
		if at < cap(a.list) {
			a.list = a.list[:at+1]
			a.list[at].subject = s
			a.list[at].tally.Reset()
		} else {
			a.list = append(a.list, subjectTally{subject: s})
		}
	}
	return &a.list[at].tally
}

// rows calls write for rows of the log, each with at most statSubjects subjects.
func (a *tallies) rows(raw bool, write func(subjects int, data []byte) error) error {
	slices.SortFunc(a.list, func(x, y subjectTally) int { return x.subject.Compare(y.subject) })
	for part := range slices.Chunk(a.list, statSubjects) {
		a.log.Reset(raw)
		for i := range part {
			a.log.Add(part[i].subject, &part[i].tally)
		}
		if err := write(len(part), slices.Clone(a.log.Data)); err != nil {
			return err
		}
	}
	return nil
}

const (
	// statSubjects bounds the subjects of a row of the log, and with them the rows of stats
	// that a page of sumStats inserts.
	statSubjects = 500
	// statSums bounds the subjects whose sums are in memory at once, and statBytes the bytes
	// of the rows that are added up at once.
	statSums  = 20_000
	statBytes = 8 << 20
	// statHeads bounds the rows of the log that one step examines.
	statHeads = 4000
	// statAge is how old a row of the log must be before it is added up: on PostgreSQL a
	// younger one may not be visible yet while later ones are. statLate is how long after its
	// end a span counts as over. Rows that arrive later are still added.
	statAge  = 5 * time.Second
	statLate = 10 * time.Second
	// dropStatsPage bounds the rows of stats that a page of retention drops.
	dropStatsPage = 1000
)

// logSamples writes what the transaction counted.
func (t *tx) logSamples() error {
	if len(t.samples) == 0 {
		return nil
	}
	sums := &t.s.tallies
	sums.reset()
	for i := range t.samples {
		t.samples[i].count(sums.of(t.samples[i].subject))
	}
	return sums.rows(true, func(subjects int, data []byte) error {
		return t.logRow(sqltext.SpanMinute, sqltext.StartOf(t.now, sqltext.SpanMinute), true, subjects, data)
	})
}

func (t *tx) logRow(span, start int64, fresh bool, subjects int, data []byte) error {
	one := int64(0)
	if fresh {
		one = 1
	}
	return t.insert("log statistics", sqltext.StatLog, t.statID(), span, start, one, int64(subjects), data)
}

// statID returns a number that no other row of the statistics has. It starts with the
// time. The last bits are those of the process, so nodes do not return the same number.
func (t *tx) statID() int64 {
	of := t.s.Epoch() & (1<<statBits - 1)
	t.s.lastStat = max(statTime(t.now)+of, t.s.lastStat+1<<statBits)
	return t.s.lastStat
}

const statBits = 10

// statTime returns the smallest number that statID may return at the time, up to the year
// 2112.
func statTime(at time.Time) int64 { return min(at.UnixMicro(), 1<<(62-statBits)) << statBits }

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

// sumStats adds up the log and moves spans that are over. It returns how long from now
// there may be work again, and 0 if the log is empty.
func (s *Store) sumStats(ctx context.Context) (time.Duration, error) {
	for range 100 { // each round makes progress; the rest is left for the next call
		next, busy, err := s.sumRound(ctx)
		if err != nil || !busy {
			return next, err
		}
	}
	return statAge, nil
}

func (s *Store) sumRound(ctx context.Context) (next time.Duration, busy bool, err error) {
	now := s.now()
	heads, err := sqltext.Collect(ctx, s.read, func(row sqltext.Scanner) (h logHead, err error) {
		var fresh int
		err = row.Scan(&h.id, &h.span, &h.start, &fresh, &h.subjects, &h.bytes)
		h.fresh = fresh == 1
		return h, err
	}, logHeads, statTime(now.Add(-statAge)), statHeads)
	if err != nil {
		return 0, false, s.readError("read log of statistics", err)
	}
	if len(heads) == 0 {
		var one int
		young, err := sqltext.ReadRow(ctx, s.read, "SELECT 1 FROM stat_log LIMIT 1", nil, &one)
		if err != nil || !young {
			return 0, false, sqltext.Wrap("read log of statistics", err)
		}
		return statAge, false, nil
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
		if errors.Is(err, errNotMine) {
			return statAge, false, nil // another node does it
		}
		if err != nil {
			return 0, false, err
		}
	}
	return max(next, statAge), busy, nil
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

// errNotMine means that another node adds up the same rows.
var errNotMine = errors.New("another node adds up the statistics")

// sumPage replaces rows of a span with their sum.
func (s *Store) sumPage(ctx context.Context, page []logHead) error {
	first, last := page[0], page[len(page)-1]
	fresh := int64(1)
	if slices.ContainsFunc(page, func(h logHead) bool { return !h.fresh }) {
		fresh = 0
	}
	args := []any{first.id, last.id, first.span, first.start, fresh}
	sums, raw := &tallies{}, &tallies{}
	sums.reset()
	raw.reset()
	found, err := sqltext.Collect(ctx, s.read, func(row sqltext.Scanner) (none struct{}, err error) {
		var data []byte
		if err := row.Scan(&data); err != nil {
			return none, err
		}
		return none, sums.addLog(data, raw)
	}, logData, append(args, statHeads)...)
	if err != nil {
		return s.readError("read log of statistics", err)
	}
	sums.addRaw(raw)
	return s.step(ctx, "add up statistics", len(found)+len(sums.list)/statSubjects, func(t *tx) error {
		gone, err := t.exec("drop log of statistics", dropLog, args...)
		if err != nil {
			return err
		}
		if gone != int64(len(found)) {
			return errNotMine
		}
		return sums.rows(false, func(subjects int, data []byte) error {
			return t.logRow(first.span, first.start, false, subjects, data)
		})
	})
}

// addLog adds a row of the log. Rows without sums of tenants and modes go to raw.
func (a *tallies) addLog(data []byte, raw *tallies) error {
	return sqltext.ReadLog(data, func(subject sqltext.Subject, isRaw bool, tally []byte) error {
		if isRaw {
			return sqltext.AddTally(raw.of(subject), tally)
		}
		return sqltext.AddTally(a.of(subject), tally)
	})
}

// addRaw adds tallies together with the sums of their tenants and modes.
func (a *tallies) addRaw(raw *tallies) {
	for i := range raw.list {
		subject, tally := raw.list[i].subject, &raw.list[i].tally
		a.of(subject).Add(tally)
		if !subject.Endpoint.IsZero() {
			subject.Endpoint = hook.ID{}
			a.of(subject).Add(tally)
		}
		subject.Tenant = ""
		a.of(subject).Add(tally)
	}
}

// step is one operation of sumStats. One node at a time runs it.
func (s *Store) step(ctx context.Context, name string, rows int, apply func(*tx) error) error {
	return s.write(ctx, &op{Name: name, Rows: rows, Stays: true, Apply: func(t *tx) error {
		var mine bool
		if _, err := t.row("take turn", "SELECT {turn}", nil, &mine); err != nil {
			return err
		}
		if !mine {
			return errNotMine
		}
		return apply(t)
	}})
}

// moveSpan moves the rows of a span that is over to stats. Rows of a minute also go to the
// log of its hour.
func (s *Store) moveSpan(ctx context.Context, group []logHead) error {
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
	found, err := t.row("read log of statistics", "SELECT data FROM stat_log WHERE id = ?{lock}", []any{h.id}, &data)
	if err != nil || !found {
		return err
	}
	if _, err := t.exec("drop log of statistics", "DELETE FROM stat_log WHERE id = ?", h.id); err != nil {
		return err
	}
	if h.span == sqltext.SpanMinute {
		if err := t.logRow(sqltext.SpanHour, sqltext.StartOf(sqltext.FromMicros(h.start), sqltext.SpanHour), true, h.subjects, data); err != nil {
			return err
		}
	}
	part := t.statID()
	return sqltext.ReadLog(data, func(subject sqltext.Subject, _ bool, tally []byte) error {
		endpoint := []byte{}
		if !subject.Endpoint.IsZero() {
			endpoint = slices.Clone(subject.Endpoint[:])
		}
		return t.insert("keep statistics", sqltext.Stats, h.span, h.start, int64(subject.Mode), subject.Tenant, endpoint, part, tally)
	})
}

// watchStats adds up the log a few seconds after rows are added, and again until it is
// empty. Nothing is read while nothing is counted.
func (s *Store) watchStats(ctx context.Context) {
	timer := time.NewTimer(0) // for rows that an earlier process left
	defer timer.Stop()
	waiting := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.counted:
			if !waiting {
				timer.Reset(statAge)
				waiting = true
			}
			continue
		case <-timer.C:
		}
		next, err := s.sumStats(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("could not add up statistics, will try again", "error", err)
			next = time.Minute
		}
		if waiting = next > 0; waiting {
			timer.Reset(next)
		}
	}
}

// dropStats drops tallies past their retention.
func (s *Store) dropStats(ctx context.Context) error {
	now, err := s.trustedNow(ctx)
	if err != nil {
		return err
	}
	for _, kept := range []struct {
		span int64
		keep time.Duration
	}{{sqltext.SpanMinute, hook.MinuteStats}, {sqltext.SpanHour, hook.HourStats}} {
		until := sqltext.StartOf(now.Add(-kept.keep), kept.span)
		for n := int64(dropStatsPage); n == dropStatsPage; {
			err := s.maintain(ctx, "drop old statistics", dropStatsPage, func(t *tx) (err error) {
				n, err = t.exec("drop old statistics", `DELETE FROM stats WHERE (span, start, mode, tenant, endpoint, part) IN
					(SELECT span, start, mode, tenant, endpoint, part FROM stats WHERE span = ? AND start < ?
					ORDER BY span, start, mode, tenant, endpoint, part LIMIT ?)`, kept.span, until, int64(dropStatsPage))
				return err
			})
			if err != nil {
				return fmt.Errorf("drop old statistics: %w", err)
			}
			if err := sqltext.Pause(ctx, retentionPause); err != nil {
				return err
			}
		}
	}
	return nil
}

// addUpStats is sumStats for housekeeping.
func (s *Store) addUpStats(ctx context.Context) error {
	_, err := s.sumStats(ctx)
	return err
}
