// Package threshold notices when figures of this process pass their thresholds, and when
// they are well below them again. It reads figures that are in memory, never a table.
//
// It guarantees one change for each time that a figure stays above its threshold, however
// much the figure varies around it.
package threshold

import (
	"context"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	// every is the time between two readings.
	every = 10 * time.Second
	// over is how long a figure must stay above its threshold, and below how long it must
	// stay below the easing of it, before that is a change.
	over  = 30 * time.Second
	below = time.Minute
	// easing is the part of a threshold below which a figure counts as normal again.
	easing = 0.95
	// reading bounds one call of Announce.
	reading = 10 * time.Second
)

// Figure is a figure that is watched.
type Figure struct {
	Name  string
	Limit float64 // 0: it is not watched
	// Read returns the value now. ok is false if it is unknown.
	Read func(now time.Time) (value float64, ok bool)
}

// Change is a figure that passed its threshold.
type Change struct {
	Figure       string
	Value, Limit float64
	Since        time.Time // when it was first seen above
	Cleared      bool      // it is normal again
}

// Options configure Run. Announce is required.
type Options struct {
	// Announce publishes a change. If it fails, it is called again with the next reading.
	Announce func(ctx context.Context, c Change) error
	Log      *slog.Logger // slog.Default
}

// state is what is known of a figure.
type state struct {
	Figure
	raised bool      // the change to above was announced
	since  time.Time // when the figure was first seen above; zero: it is not
	normal time.Time // when it was first seen below again; zero: it is not
}

// next returns the change that a reading makes, nil if none.
func (s *state) next(value float64, now time.Time) *Change {
	switch {
	case value > s.Limit:
		if s.normal = (time.Time{}); s.since.IsZero() {
			s.since = now
		}
		if !s.raised && now.Sub(s.since) >= over {
			return &Change{Figure: s.Name, Value: value, Limit: s.Limit, Since: s.since}
		}
	case !s.raised:
		s.since = time.Time{}
	case value <= s.Limit*easing:
		if s.normal.IsZero() {
			s.normal = now
		}
		if now.Sub(s.normal) >= below {
			return &Change{Figure: s.Name, Value: value, Limit: s.Limit, Since: s.since, Cleared: true}
		}
	default:
		s.normal = time.Time{}
	}
	return nil
}

// announced notes that a change was published.
func (s *state) announced(c *Change) {
	s.raised, s.normal = !c.Cleared, time.Time{}
	if c.Cleared {
		s.since = time.Time{}
	}
}

// Run watches the figures until ctx ends.
func Run(ctx context.Context, o Options, figures ...Figure) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	var watched []*state
	for _, f := range figures {
		if f.Limit > 0 {
			watched = append(watched, &state{Figure: f})
		}
	}
	if len(watched) == 0 {
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		for _, s := range watched {
			value, ok := s.Read(now)
			if !ok {
				continue
			}
			c := s.next(value, now)
			if c == nil {
				continue
			}
			limited, cancel := context.WithTimeout(ctx, reading)
			err := o.Announce(limited, *c)
			cancel()
			if err == nil {
				s.announced(c)
			} else if ctx.Err() == nil {
				o.Log.Warn("could not publish that a figure passed its threshold; it will be tried again", "figure", c.Figure, "value", c.Value, "error", err)
			}
		}
	}
}

// DiskUsed returns how much of the file system of a directory is in use, in percent, as a
// process without privileges sees it.
func DiskUsed(dir string) (float64, bool) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil || fs.Blocks == 0 {
		return 0, false
	}
	used := fs.Blocks - fs.Bfree
	total := used + uint64(max(fs.Bavail, 0))
	if total == 0 {
		return 0, false
	}
	return 100 * float64(used) / float64(total), true
}

// delaysFor is how long a delay counts.
const delaysFor = time.Minute

// Delays collects how long first attempts took to begin. The zero value is ready. It is
// safe for concurrent use.
type Delays struct {
	mu      sync.Mutex
	current hook.Histogram
	before  hook.Histogram // of the part of delaysFor before the current one
	started time.Time      // of the current part
	last    time.Time      // when an attempt last began
}

// Note counts a first attempt that began at a time, a delay after its acceptance.
func (d *Delays) Note(now time.Time, delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn(now)
	d.current.Note(delay)
	d.last = now
}

// turn starts the next part if the current one is over.
func (d *Delays) turn(now time.Time) {
	switch age := now.Sub(d.started); {
	case age < 0 || age >= 2*delaysFor:
		d.before, d.current, d.started = hook.Histogram{}, hook.Histogram{}, now
	case age >= delaysFor:
		d.before, d.current, d.started = d.current, hook.Histogram{}, now
	}
}

// Read returns the 90th percentile of the delays of the last one to two minutes. If none
// began although deliveries wait, it returns how long ago the last one began, so that a
// standstill is seen, too.
func (d *Delays) Read(now time.Time, waiting bool) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn(now)
	var all hook.Histogram
	all.Add(&d.before)
	all.Add(&d.current)
	if all.Count() > 0 {
		return all.Quantile(90)
	}
	if d.last.IsZero() || !waiting {
		d.last = now // nothing waits: from here on
	}
	return now.Sub(d.last)
}
