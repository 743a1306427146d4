package hook

import (
	"fmt"
	"math"
	"time"
)

// Kept is a class of what the store keeps, each with its own retention. The numbers are
// stored.
type Kept uint8

// The classes.
const (
	KeptPayloads Kept = 0 // the data of events
	KeptAnswers  Kept = 1 // what receivers answered
	KeptEvents   Kept = 2 // everything else of an event: its facts, deliveries and attempts
)

// String returns the name of the class in the API and in logs.
func (k Kept) String() string { return [...]string{"payloads", "answers", "events"}[k] }

const (
	// Forever is a retention without an end.
	Forever time.Duration = math.MaxInt64
	// NotSet is the retention of a class for which the wider setting applies.
	NotSet time.Duration = -1
)

// Retention is how long each class is kept: a payload and an event after the last delivery
// was settled, an answer after its attempt. 0 means no longer than it is needed.
type Retention struct{ Payloads, Answers, Events time.Duration }

// NoRetention sets nothing.
var NoRetention = Retention{NotSet, NotSet, NotSet}

// Of returns the retention of a class.
func (r Retention) Of(class Kept) time.Duration {
	return [...]time.Duration{r.Payloads, r.Answers, r.Events}[class]
}

// Within returns the shorter retention of each class. What is not set is that of limit.
func (r Retention) Within(limit Retention) Retention {
	shorter := func(d, limit time.Duration) time.Duration {
		if d < 0 || d > limit {
			return limit
		}
		return d
	}
	return Retention{shorter(r.Payloads, limit.Payloads), shorter(r.Answers, limit.Answers), shorter(r.Events, limit.Events)}
}

// MinEventsKept is the shortest retention of whole events. They are what lists show, and
// repeated requests are recognized by them.
const MinEventsKept = 24 * time.Hour

// CheckWithin returns an error that names the field and the limit if a class is kept for
// longer than limit, or events for less than MinEventsKept.
func (r Retention) CheckWithin(limit Retention) error {
	for class := KeptPayloads; class <= KeptEvents; class++ {
		if err := CheckKept(class.String(), r.Of(class), limit.Of(class)); err != nil {
			return err
		}
	}
	if r.Events >= 0 && r.Events < MinEventsKept {
		return &Error{Code: CodeInvalidRequest, Field: "events", Message: fmt.Sprintf("\"events\" must be at least %dh. For payloads and answers a shorter time is allowed.", MinEventsKept/time.Hour)}
	}
	return nil
}

// CheckKept returns an error that names the field and the limit if d is longer than limit.
func CheckKept(field string, d, limit time.Duration) error {
	if d <= limit {
		return nil
	}
	return &Error{Code: CodeInvalidRequest, Field: field, Message: fmt.Sprintf("%q is longer than what the server allows: at most %s. Choose a shorter time, or ask the operator of the server for a longer one.", field, HoursText(limit))}
}

// HoursText formats a duration without parts that are zero: 720h, 1h30m, 0s.
func HoursText(d time.Duration) string {
	if d > 0 && d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	if d > 0 && d%time.Minute == 0 && d > time.Hour {
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return d.String()
}

// Needs is what retention knows about an event when it decides whether to remove something.
type Needs struct {
	Accepted time.Time
	Settled  time.Time // the last delivery; zero: none was
	Open     bool      // a delivery is pending or held, or a single shot is requested
}

const (
	lookSoonest = time.Minute
	lookLatest  = 24 * time.Hour
)

// Due returns when a class that is kept for so long may be removed. If the event is open,
// that is unknown: Due then returns when to look again, which is later the older the event
// is, and removable is false.
func (n Needs) Due(keep time.Duration, now time.Time) (due time.Time, removable bool) {
	if n.Open {
		return now.Add(min(max(now.Sub(n.Accepted)/8, lookSoonest), lookLatest)), false
	}
	since := n.Accepted
	if n.Settled.After(since) {
		since = n.Settled
	}
	due = since.Add(min(keep, farthest))
	return due, !due.After(now)
}

// farthest keeps a due time within what is stored.
const farthest = 200 * 365 * 24 * time.Hour

// PayloadGone is the error of a request that needs a payload that retention has removed.
func PayloadGone(at time.Time) *Error {
	return &Error{Code: CodePayloadGone, Message: "The payload of this event was removed on " + at.UTC().Format("2006-01-02 at 15:04 UTC") +
		" because its retention had passed, so it cannot be sent again. Publish the event anew."}
}
