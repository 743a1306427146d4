package upkeep

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// measurement shows how large the store is to whoever asks, and measures it at most a
// hundredth of the time. Measuring takes as long as it takes: it goes on when those who asked
// have given up, and the next ones get its result.
type measurement struct {
	asked chan struct{}

	mu    sync.Mutex
	shown hook.DiskUse
	err   error
	until time.Time     // shown is not measured again before; by the monotonic clock
	done  chan struct{} // closed at the end of the measurement that was asked for; nil: none was
	ended bool
}

var errNotMeasured = errors.New("the store is closed")

func newMeasurement() *measurement { return &measurement{asked: make(chan struct{}, 1)} }

// get returns the last result, or waits for the next one.
func (m *measurement) get(ctx context.Context) (hook.DiskUse, error) {
	m.mu.Lock()
	if m.ended {
		m.mu.Unlock()
		return hook.DiskUse{}, errNotMeasured
	}
	if time.Now().Before(m.until) {
		defer m.mu.Unlock()
		return m.shown, nil
	}
	if m.done == nil {
		m.done = make(chan struct{})
		unit.Wake(m.asked)
	}
	done := m.done
	m.mu.Unlock()
	select {
	case <-ctx.Done():
		return hook.DiskUse{}, ctx.Err()
	case <-done:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shown, m.err
}

// run measures whenever that is asked for, until the context ends.
func (m *measurement) run(ctx context.Context, measure func(context.Context) (hook.DiskUse, error)) {
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.ended, m.err = true, errNotMeasured
		if m.done != nil {
			close(m.done)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.asked:
		}
		began := time.Now()
		use, err := measure(ctx)
		m.mu.Lock()
		if m.shown, m.err = use, err; err == nil {
			m.until = time.Now().Add(max(diskShown, 100*time.Since(began)))
		}
		close(m.done)
		m.done = nil
		m.mu.Unlock()
	}
}
