package live

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// page is a page that takes a time to read, and counts how often it is.
type page struct {
	mu    sync.Mutex
	began []time.Time
	takes time.Duration
}

func (p *page) look(key string) *Look {
	return &Look{Key: key, Read: func(ctx context.Context) Now {
		p.mu.Lock()
		p.began = append(p.began, time.Now())
		n := len(p.began)
		p.mu.Unlock()
		select {
		case <-time.After(p.takes):
		case <-ctx.Done():
			return Now{End: "cancelled"}
		}
		return Now{HTML: fmt.Sprintf(`<p data-live="n">%d</p>`, n)}
	}}
}

func few() int { return 1 }

// Streams with the same key share what one of them reads, also for a while afterwards. Streams
// without a key, or with another one, do not.
func TestLooksAreShared(t *testing.T) {
	for key, want := range map[string]int{"same": 1, "": 5} {
		synctest.Test(t, func(t *testing.T) {
			var l looks
			p := &page{takes: 10 * time.Millisecond}
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					if s, reason := l.see(t.Context(), nil, few, p.look(key)); s == nil || reason != "" || s.parts["n"] == "" {
						t.Errorf("%+v %q", s, reason)
					}
				})
			}
			all.Wait()
			if len(p.began) != want {
				t.Errorf("key %q: read %d times, want %d", key, len(p.began), want)
			}
			if l.see(t.Context(), nil, few, p.look(key)); key != "" && len(p.began) != want {
				t.Error("what was just read is read again")
			}
			time.Sleep(soon)
			if l.see(t.Context(), nil, few, p.look(key)); key != "" && len(p.began) != want+1 {
				t.Error("what was read long ago is shown")
			}
			time.Sleep(time.Minute)
			if len(l.of) > 0 && key != "" {
				t.Error("what nobody looks at is kept")
			}
		})
	}
}

// However many streams there are, reading takes a bounded share of the time.
func TestLooksRest(t *testing.T) {
	for takes, want := range map[time.Duration]time.Duration{10 * time.Millisecond: 310 * time.Millisecond, time.Second: time.Second + mostRest} {
		synctest.Test(t, func(t *testing.T) {
			var l looks
			p := &page{takes: takes}
			var all sync.WaitGroup
			for i := range 4 {
				all.Go(func() { l.see(t.Context(), nil, few, p.look(fmt.Sprint(i))) })
			}
			all.Wait()
			for i, at := range p.began[1:] {
				if since := at.Sub(p.began[i]); since != want {
					t.Errorf("reads of %v begin %v after each other, want %v", takes, since, want)
				}
			}
			time.Sleep(time.Minute)
		})
	}
}

// With many streams the rest is shorter, but there is one.
func TestRestOf(t *testing.T) {
	for streams, want := range map[int]time.Duration{0: 30, 1: 30, 20: 30, 40: 15, 60: 10, 120: 5, 200: 5} {
		if got := restOf(streams); got != want {
			t.Errorf("%d streams: %d, want %d", streams, got, want)
		}
	}
}

// A stream that ends while it waits does not wait on. If it read for others, its page is read
// to the end, and if it had not begun, another one reads.
func TestLooksEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l looks
		p := &page{takes: time.Second}
		gone, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		see := func(ctx context.Context, end <-chan string, key string, want bool, reason string) {
			all.Go(func() {
				s, why := l.see(ctx, end, few, p.look(key))
				if (s != nil) != want || why != reason || s != nil && s.End != "" {
					t.Errorf("%s: %+v %q", key, s, why)
				}
			})
			synctest.Wait()
		}
		see(gone, nil, "first", true, "")        // reads
		see(t.Context(), nil, "first", true, "") // waits for it
		end := make(chan string, 1)
		see(t.Context(), end, "second", false, "limit") // waits for its turn
		see(t.Context(), nil, "second", true, "")       // waits for the one before, and then reads
		leave()
		end <- "limit"
		all.Wait()
		if len(p.began) != 2 {
			t.Errorf("read %d times", len(p.began))
		}
		if s, reason := l.see(gone, nil, few, p.look("third")); s != nil || reason != "" { // the rest is not over
			t.Errorf("%+v %q", s, reason)
		}
		time.Sleep(time.Minute)
	})
}
