package hook

import (
	"cmp"
	"math/bits"
	"slices"
	"time"
)

// Tally counts what happened to the deliveries of an endpoint, a tenant or a mode in a
// span of time. Test events are not counted. Add combines the tallies of two spans or
// endpoints.
type Tally struct {
	Events    int64 // accepted; not counted for a single endpoint
	Accepted  int64 // deliveries that were created
	Delivered int64 // deliveries that succeeded
	FirstTry  int64 // of these, the ones that succeeded with their first attempt
	GivenUp   int64 // deliveries that became failed
	Attempts  int64 // attempts that were made and recorded
	Errors    []ErrorCount
	// AttemptTime is how long attempts took. DeliveryTime is the time from the acceptance
	// of a delivery until the end of the attempt that succeeded.
	AttemptTime, DeliveryTime Histogram
}

// ErrorCount is the number of failed attempts of one class.
type ErrorCount struct {
	Class Class
	N     int64
}

// Add adds the counts of another tally.
func (t *Tally) Add(o *Tally) {
	t.Events += o.Events
	t.Accepted += o.Accepted
	t.Delivered += o.Delivered
	t.FirstTry += o.FirstTry
	t.GivenUp += o.GivenUp
	t.Attempts += o.Attempts
	for _, e := range o.Errors {
		t.AddError(e.Class, e.N)
	}
	t.AttemptTime.Add(&o.AttemptTime)
	t.DeliveryTime.Add(&o.DeliveryTime)
}

// AddError counts n failed attempts of a class.
func (t *Tally) AddError(class Class, n int64) {
	at, found := slices.BinarySearchFunc(t.Errors, class, func(e ErrorCount, c Class) int { return cmp.Compare(e.Class, c) })
	if !found {
		t.Errors = slices.Insert(t.Errors, at, ErrorCount{Class: class})
	}
	t.Errors[at].N += n
}

// Failed returns how many attempts failed. The others succeeded, also those that sent a delivered
// event again, which Delivered does not count. ClassTruncated is that of a success.
func (t *Tally) Failed() (n int64) {
	for _, e := range t.Errors {
		if e.Class != ClassTruncated {
			n += e.N
		}
	}
	return n
}

// Reset empties the tally. It keeps the memory for reuse.
func (t *Tally) Reset() {
	*t = Tally{Errors: t.Errors[:0], AttemptTime: Histogram{t.AttemptTime.Cells[:0]}, DeliveryTime: Histogram{t.DeliveryTime.Cells[:0]}}
}

// Histogram counts durations in cells with fixed bounds, so that histograms can be added
// without loss. Up to 32 microseconds each microsecond has a cell. Above that each
// doubling is divided into 16 cells of equal width. A quantile differs from the exact
// duration of its rank by at most HistogramError of that duration.
type Histogram struct {
	Cells []Cell // the cells that are not empty, in the order of their numbers
}

// Cell is the number of durations in one cell.
type Cell struct {
	Number uint16
	N      int64
}

const (
	// HistogramError is the greatest relative error of a quantile.
	HistogramError = 1.0 / 32
	cellBits       = 4         // a doubling has 1<<cellBits cells
	longest        = 1<<42 - 1 // microseconds, 50 days; longer durations count as this
)

// cellOf returns the number of the cell of a duration in microseconds.
func cellOf(us uint64) uint16 {
	if us < 2<<cellBits {
		return uint16(us)
	}
	shift := bits.Len64(us) - cellBits - 1
	return uint16(shift<<cellBits) + uint16(us>>shift)
}

// middle returns the duration in the middle of a cell.
func middle(number uint16) time.Duration {
	n := uint64(number)
	if n < 2<<cellBits {
		return time.Duration(n) * time.Microsecond
	}
	shift := n>>cellBits - 1
	low := (n - shift<<cellBits) << shift
	return time.Duration(low+1<<shift/2) * time.Microsecond
}

// Note counts a duration. A negative one, which occurs if a clock was set back, counts as
// 0.
func (h *Histogram) Note(d time.Duration) {
	h.add(cellOf(uint64(min(max(d.Microseconds(), 0), longest))), 1)
}

// AddCell adds the count of one cell.
func (h *Histogram) AddCell(c Cell) { h.add(c.Number, c.N) }

func (h *Histogram) add(number uint16, n int64) {
	at, found := slices.BinarySearchFunc(h.Cells, number, func(c Cell, n uint16) int { return cmp.Compare(c.Number, n) })
	if !found {
		h.Cells = slices.Insert(h.Cells, at, Cell{Number: number})
	}
	h.Cells[at].N += n
}

// Add adds the counts of another histogram.
func (h *Histogram) Add(o *Histogram) {
	for _, c := range o.Cells {
		h.add(c.Number, c.N)
	}
}

// Count returns how many durations were counted.
func (h *Histogram) Count() (n int64) {
	for _, c := range h.Cells {
		n += c.N
	}
	return n
}

// Quantile returns the duration of the nearest rank, or 0 if the histogram is empty. The
// percentage is from 1 to 100.
func (h *Histogram) Quantile(percent int64) time.Duration {
	left := (h.Count()*percent + 99) / 100
	for _, c := range h.Cells {
		if left -= c.N; left <= 0 {
			return middle(c.Number)
		}
	}
	return 0
}

// StatsQuery selects the statistics of a scope, or of one endpoint in it. A scope without
// a tenant means all tenants of the mode.
type StatsQuery struct {
	Scope    Scope
	Endpoint ID // zero: the whole scope
	From, To time.Time
	Step     time.Duration
	Open     OpenParts
}

// OpenParts says which open work is counted. Each state costs as many rows as are counted.
type OpenParts int

// The values of OpenParts.
const (
	OpenAll  OpenParts = iota // up to StatsCap
	OpenFew                   // up to FewCap, for pages
	OpenHeld                  // held deliveries only, up to FewCap, and no tallies
	OpenNone                  // tallies only
)

// Cap returns how far is counted.
func (p OpenParts) Cap() int {
	if p == OpenAll {
		return StatsCap
	}
	return FewCap
}

// Stats are the tallies of consecutive spans of equal length, without gaps, and the open
// work now.
type Stats struct {
	Scope   Scope
	From    time.Time // of the first bucket
	Step    time.Duration
	Buckets []Tally
	Open    OpenWork
}

// OpenWork is the open work in a scope now. Counts are at most OpenParts.Cap, which means "or
// more".
type OpenWork struct {
	Pending, Held int
	Failed        int       // of one endpoint only
	Oldest        *Delivery // the oldest pending one that was counted; nil: none is pending
	OldestWaits   Wait      // what Oldest waits for, as far as the answering node knows
}

// AtLeast is a count that ends at a bound. More means that there are N or more.
type AtLeast struct {
	N    int
	More bool
}

// StateCounts are the deliveries of a scope that have not ended well, as they are now.
// Retrying ones are pending after an attempt, Pending ones were not attempted. Held
// and Failed ones are counted up to FewCap, the others together up to OpenCap.
type StateCounts struct{ Pending, Retrying, Held, Failed AtLeast }

// OpenCounts are the open deliveries of an endpoint now.
type OpenCounts struct{ Pending, Held AtLeast }

// OpenCap bounds each count in OpenCounts, and those in StateCounts that need rows.
const OpenCap = 1_000

// The spans in which tallies are kept, and for how long.
const (
	MinuteStats  = 24 * time.Hour      // tallies of a minute
	HourStats    = 90 * 24 * time.Hour // tallies of an hour
	MaxStatsSpan = 1500                // buckets of one answer
	MaxStatsOf   = 100                 // endpoints of one answer
)
