package upkeep

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// A measurement that takes longer than those who ask for it wait is made once, and the next
// one who asks gets its result. After it the store is left alone for a hundred times as long.
func TestMeasurementGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, end := context.WithCancel(t.Context())
		m := newMeasurement()
		var made atomic.Int64
		const takes = 2500 * time.Millisecond
		go m.run(life, func(context.Context) (hook.DiskUse, error) {
			n := made.Add(1)
			time.Sleep(takes)
			return hook.DiskUse{Used: n}, nil
		})
		ask := func() (int64, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			use, err := m.get(ctx)
			return use.Used, err
		}
		for range 2 { // the first seconds
			if _, err := ask(); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		for range 4 {
			if used, err := ask(); used != 1 || err != nil {
				t.Errorf("%d, %v", used, err)
			}
			time.Sleep(100 * takes / 5)
		}
		if made.Load() != 1 {
			t.Errorf("measured %d times", made.Load())
		}
		time.Sleep(100 * takes) // control: then it is measured again
		if _, err := ask(); !errors.Is(err, context.DeadlineExceeded) || made.Load() != 2 {
			t.Errorf("measured %d times: %v", made.Load(), err)
		}
		end()
		time.Sleep(takes)
		if _, err := ask(); !errors.Is(err, errNotMeasured) {
			t.Error(err)
		}
	})
}

// Whoever waits for a measurement that fails, or that the end of the store prevents, is told.
func TestMeasurementFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, end := context.WithCancel(t.Context())
		m, broken := newMeasurement(), errors.New("broken")
		var fail atomic.Bool
		fail.Store(true)
		go m.run(life, func(ctx context.Context) (hook.DiskUse, error) {
			if fail.Load() {
				return hook.DiskUse{}, broken
			}
			<-ctx.Done()
			return hook.DiskUse{}, ctx.Err()
		})
		if _, err := m.get(t.Context()); !errors.Is(err, broken) {
			t.Error(err)
		}
		fail.Store(false)
		time.AfterFunc(time.Second, end)
		if _, err := m.get(t.Context()); err == nil {
			t.Error("no error")
		}
	})
}
