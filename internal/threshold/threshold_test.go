package threshold

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A figure that stays above its threshold is one change, one that comes back another. The
// readings vary around the threshold in between.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		value, fails := 10.0, 1
		var changes []Change
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			Run(ctx, Options{Announce: func(_ context.Context, c Change) error {
				mu.Lock()
				defer mu.Unlock()
				if fails--; fails >= 0 {
					return errors.New("the store is away")
				}
				changes = append(changes, c)
				return nil
			}}, Figure{Name: "off", Limit: 0, Read: func(time.Time) (float64, bool) { panic("it is not watched") }},
				Figure{Name: "f", Limit: 100, Read: func(time.Time) (float64, bool) {
					mu.Lock()
					defer mu.Unlock()
					return value, value >= 0
				}})
		}()
		for _, step := range []struct {
			value float64
			stays time.Duration
			want  int
		}{
			{99, time.Hour, 0}, {101, 25 * time.Second, 0}, {99, 10 * time.Second, 0}, {101, time.Minute, 1}, {1000, time.Hour, 1},
			{99, time.Hour, 1}, {-1, time.Hour, 1}, {90, 50 * time.Second, 1}, {101, time.Minute, 1}, {90, 2 * time.Minute, 2}, {90, time.Hour, 2}, {101, time.Minute, 3},
		} {
			mu.Lock()
			value = step.value
			mu.Unlock()
			time.Sleep(step.stays)
			synctest.Wait()
			mu.Lock()
			n := len(changes)
			mu.Unlock()
			if n != step.want {
				t.Fatalf("%d changes after %+v: %+v", len(changes), step, changes)
			}
		}
		cancel()
		<-ended
		if first, second := changes[0], changes[1]; first.Cleared || !second.Cleared || !first.Since.Equal(second.Since) || second.Value != 90 || first.Limit != 100 {
			t.Errorf("%+v", changes)
		}
	})
}

func TestDelays(t *testing.T) {
	var d Delays
	at := time.Date(2026, 9, 27, 0, 0, 0, 0, time.UTC)
	if got := d.Read(at, false); got != 0 {
		t.Errorf("%v before the first attempt", got)
	}
	if got := d.Read(at.Add(time.Hour), false); got != 0 {
		t.Errorf("%v while nothing waits", got)
	}
	at = at.Add(time.Hour)
	for i := range 100 {
		delay := time.Second
		if i >= 85 {
			delay = time.Minute
		}
		d.Note(at, delay)
	}
	if got := d.Read(at.Add(30*time.Second), true); got < 58*time.Second || got > 62*time.Second {
		t.Errorf("the 90th percentile is %v", got)
	}
	// A standstill: deliveries wait and no attempt begins.
	d.Read(at.Add(61*time.Second), true)
	if got := d.Read(at.Add(10*time.Minute), true); got != 10*time.Minute {
		t.Errorf("%v in a standstill", got)
	}
	if got := d.Read(at.Add(10*time.Minute), false); got != 0 {
		t.Errorf("%v when nothing waits any more", got)
	}
}

func TestDiskUsed(t *testing.T) {
	if used, ok := DiskUsed(t.TempDir()); !ok || used <= 0 || used > 100 {
		t.Errorf("%v %v", used, ok)
	}
	if _, ok := DiskUsed(t.TempDir() + "/missing"); ok {
		t.Error("a directory that does not exist has a file system")
	}
}
