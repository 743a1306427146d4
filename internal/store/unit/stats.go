package unit

import (
	"cmp"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Sample is an event in the life of an endpoint's deliveries, or of a tenant's events.
type Sample struct {
	Subject sqltext.Subject

	Published, Accepted bool // an event, a delivery

	Attempted bool
	Class     hook.Class    // why the attempt failed; empty if it succeeded
	Took      time.Duration // duration of the attempt

	Delivered, First bool          // the delivery succeeded; with its first attempt
	Since            time.Duration // time since its acceptance
	GivenUp          int64         // deliveries that failed
}

// Note counts a sample in the statistics, on commit.
func (t *Tx) Note(s Sample) { t.Samples = append(t.Samples, s) }

func (s *Sample) count(t *hook.Tally) {
	if s.Published {
		t.Events++
	}
	if s.Accepted {
		t.Accepted++
	}
	if s.Attempted {
		t.Attempts++
		t.AttemptTime.Note(s.Took)
		if s.Class != "" {
			t.AddError(s.Class, 1)
		}
	}
	if s.Delivered {
		t.Delivered++
		t.DeliveryTime.Note(s.Since)
		if s.First {
			t.FirstTry++
		}
	}
	t.GivenUp += s.GivenUp
}

// Sums holds sums by subject. After a reset it keeps its memory for the next sums.
type Sums struct {
	at   map[sqltext.Subject]int
	List []SubjectTally
	log  sqltext.LogWriter
}

// SubjectTally is the tally of a subject.
type SubjectTally struct {
	Subject sqltext.Subject
	Tally   hook.Tally
}

// keptTallies bounds the subjects whose memory is kept, because clearing a big map is
// slow.
const keptTallies = 2048

// Reset removes all sums.
func (a *Sums) Reset() {
	if a.at == nil || len(a.List) > keptTallies {
		a.at, a.List = map[sqltext.Subject]int{}, nil
	}
	clear(a.at)
	a.List = a.List[:0]
}

func (a *Sums) of(s sqltext.Subject) *hook.Tally {
	at, ok := a.at[s]
	if !ok {
		at = len(a.List)
		a.at[s] = at
		if at < cap(a.List) {
			a.List = a.List[:at+1]
			a.List[at].Subject = s
			a.List[at].Tally.Reset()
		} else {
			a.List = append(a.List, SubjectTally{Subject: s})
		}
	}
	return &a.List[at].Tally
}

// Rows calls write for rows of the log, each with at most statSubjects subjects.
func (a *Sums) Rows(raw bool, write func(subjects int, data []byte) error) error {
	slices.SortFunc(a.List, func(x, y SubjectTally) int { return x.Subject.Compare(y.Subject) })
	for part := range slices.Chunk(a.List, StatSubjects) {
		a.log.Reset(raw)
		for i := range part {
			a.log.Add(part[i].Subject, &part[i].Tally)
		}
		if err := write(len(part), slices.Clone(a.log.Data)); err != nil {
			return err
		}
	}
	return nil
}

// AddLog adds a row of the log. Rows without sums of tenants and modes go to raw.
func (a *Sums) AddLog(data []byte, raw *Sums) error {
	return sqltext.ReadLog(data, func(subject sqltext.Subject, isRaw bool, tally []byte) error {
		if isRaw {
			return sqltext.AddTally(raw.of(subject), tally)
		}
		return sqltext.AddTally(a.of(subject), tally)
	})
}

// AddRaw adds tallies together with the sums of their tenants and modes.
func (a *Sums) AddRaw(raw *Sums) {
	for i := range raw.List {
		subject, tally := raw.List[i].Subject, &raw.List[i].Tally
		a.of(subject).Add(tally)
		if !subject.Endpoint.IsZero() {
			subject.Endpoint = hook.ID{}
			a.of(subject).Add(tally)
		}
		subject.Tenant = ""
		a.of(subject).Add(tally)
	}
}

// StatSubjects bounds the subjects of a row of the log, and with them the rows of stats
// that a page of sumStats inserts.
const StatSubjects = 500

// logSamples writes what the transaction counted.
func (t *Tx) logSamples() error {
	if len(t.Samples) == 0 {
		return nil
	}
	sums := &t.core.sums
	sums.Reset()
	for i := range t.Samples {
		t.Samples[i].count(sums.of(t.Samples[i].Subject))
	}
	return sums.Rows(true, func(subjects int, data []byte) error {
		return t.LogRow(sqltext.SpanMinute, sqltext.StartOf(t.Now, sqltext.SpanMinute), true, subjects, data)
	})
}

// LogRow adds a row to the log of statistics.
func (t *Tx) LogRow(span, start int64, fresh bool, subjects int, data []byte) error {
	one := int64(0)
	if fresh {
		one = 1
	}
	return t.Insert("log statistics", sqltext.StatLog, t.StatID(), span, start, one, int64(subjects), data)
}

// StatID returns a number that no other row of the statistics has. It starts with the
// time. The last bits are those of the process, so nodes do not return the same number.
func (t *Tx) StatID() int64 {
	of := t.core.Peers.Epoch() & (1<<statBits - 1)
	t.core.lastStat = max(StatTime(t.Now)+of, t.core.lastStat+1<<statBits)
	return t.core.lastStat
}

const statBits = 10

// StatTime returns the smallest number that StatID may return at the time, up to the year
// 2112.
func StatTime(at time.Time) int64 { return min(at.UnixMicro(), 1<<(62-statBits)) << statBits }

// NoteAttempt counts an attempt and its effect on its delivery.
func (t *Tx) NoteAttempt(after *hook.Delivery, was hook.State, o *hook.Outcome) {
	if after.Kind == hook.TestEvent {
		return
	}
	s := Sample{Subject: sqltext.Subject{Scope: after.Scope, Endpoint: after.Endpoint}, Attempted: true, Took: o.Duration}
	if !o.Success {
		s.Class = cmp.Or(o.Class, hook.ClassStatus)
	}
	if was != hook.Succeeded && after.State == hook.Succeeded {
		s.Delivered, s.First, s.Since = true, after.Attempts == 1, o.StartedAt.Add(o.Duration).Sub(after.Begins(o.DeliverAt))
	}
	if was.Open() && after.State == hook.Failed {
		s.GivenUp = 1
	}
	t.Note(s)
}
