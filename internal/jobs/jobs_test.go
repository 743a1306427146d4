package jobs

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// script returns the steps of a replay one after another, and then one that is Over.
type script struct {
	mu      sync.Mutex
	answers []func() (hook.ReplayStep, error)
	at      []time.Time
	most    []int
	beside  int // steps in progress
	twice   bool
}

func (s *script) StepReplay(ctx context.Context, _ hook.ReplayRef, most int, _ func(*hook.Endpoint) hook.ProfileHash) (hook.ReplayStep, error) {
	s.mu.Lock()
	s.beside++
	s.twice = s.twice || s.beside > 1
	s.at, s.most = append(s.at, time.Now()), append(s.most, most)
	var next func() (hook.ReplayStep, error)
	if len(s.answers) > 0 {
		next, s.answers = s.answers[0], s.answers[1:]
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.beside--
	}()
	if next == nil {
		return hook.ReplayStep{Over: true}, ctx.Err()
	}
	return next()
}

func (s *script) StepErasure(ctx context.Context, _ hook.ErasureRef) (hook.ReplayStep, error) {
	return s.StepReplay(ctx, hook.ReplayRef{}, 0, nil)
}

// steps returns the number of steps so far.
func (s *script) steps() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.at)
}

func did(n int) func() (hook.ReplayStep, error) {
	return func() (hook.ReplayStep, error) { return hook.ReplayStep{Done: n}, nil }
}

func TestRunnerKeepsTheRate(t *testing.T) {
	for _, c := range []struct {
		rate float64
		most int
		took time.Duration // ten full steps
	}{{0.1, 1, 100 * time.Second}, {50, 10, 2 * time.Second}, {1000, 25, time.Second / 4}} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{}
			for range 10 {
				s.answers = append(s.answers, did(c.most))
			}
			r := New(slog.New(slog.DiscardHandler))
			r.Wake([]hook.ReplayRef{{ID: hook.ID{1}, Fence: 1, Rate: c.rate}}) // before Start
			r.Start(s, nil)
			r.running.Wait()
			if took := s.at[10].Sub(s.at[0]); len(s.at) != 11 || s.most[0] != c.most || took != c.took || s.twice {
				t.Errorf("%v a second: %d steps of %v in %v, beside each other: %v", c.rate, len(s.at), s.most, took, s.twice)
			}
			r.Stop()
		})
	}
}

func TestRunnerWaitsForBusyEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		wait := func() (hook.ReplayStep, error) { return hook.ReplayStep{Waiting: true}, nil }
		for range 10 {
			s.answers = append(s.answers, wait)
		}
		s.answers = append(s.answers, did(1), wait, func() (hook.ReplayStep, error) { return hook.ReplayStep{}, errors.New("the disk is away") })
		r := New(slog.New(slog.DiscardHandler))
		r.Start(s, nil)
		r.Wake([]hook.ReplayRef{{ID: hook.ID{1}, Fence: 1, Rate: 1000}})
		r.running.Wait()
		if pause := s.at[10].Sub(s.at[9]); pause != lastPause {
			t.Errorf("after ten pauses the next is %v", pause)
		}
		if pause := s.at[12].Sub(s.at[11]); pause != firstPause {
			t.Errorf("after a step the next pause is %v", pause)
		}
		if pause := s.at[13].Sub(s.at[12]); pause != 2*firstPause {
			t.Errorf("after an error the pause is %v", pause)
		}
	})
}

func TestRunnerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func() (hook.ReplayStep, error){did(1), did(1)}}
		r := New(slog.New(slog.DiscardHandler))
		r.Start(s, nil)
		r.Wake([]hook.ReplayRef{{ID: hook.ID{1}, Rate: 0.1}})
		synctest.Wait()
		r.Stop()
		r.Wake([]hook.ReplayRef{{ID: hook.ID{2}, Rate: 0.1}})
		synctest.Wait()
		if len(s.at) != 1 {
			t.Errorf("%d steps", len(s.at))
		}
	})
}

// A job that is woken again and again has one run, and the former ones end while they wait.
func TestAJobHasOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		for range 1000 {
			s.answers = append(s.answers, func() (hook.ReplayStep, error) { return hook.ReplayStep{Waiting: true}, nil })
		}
		r := New(slog.New(slog.DiscardHandler))
		r.Start(s, nil)
		for fence := range int64(100) {
			r.Wake([]hook.ReplayRef{{ID: hook.ID{1}, Fence: fence, Rate: 1}})
			synctest.Wait()
		}
		if len(r.runs) != 1 || s.steps() != 100 {
			t.Errorf("%d runs, %d steps", len(r.runs), s.steps())
		}
		before := s.steps()
		time.Sleep(time.Minute)
		r.Stop()
		if s.twice {
			t.Error("two runs made steps at the same time")
		}
		if n := s.steps() - before; n < 10 || n > 20 { // one run looks every five seconds at last; a hundred would be 1,500
			t.Errorf("%d steps in a minute", n)
		}
		if len(r.runs) != 0 {
			t.Errorf("%d runs are kept", len(r.runs))
		}
	})
}

// A page without a match is followed by a pause that is as long.
func TestPagesWithoutAMatchPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		for range 10 {
			s.answers = append(s.answers, func() (hook.ReplayStep, error) {
				time.Sleep(100 * time.Millisecond)
				return hook.ReplayStep{}, nil
			})
		}
		r := New(slog.New(slog.DiscardHandler))
		r.Start(s, nil)
		r.Wake([]hook.ReplayRef{{ID: hook.ID{1}, Fence: 1, Rate: 1000}})
		r.running.Wait()
		if took := s.at[10].Sub(s.at[0]); took != 2*time.Second {
			t.Errorf("ten pages of 0.1 s took %v", took)
		}
		r.Stop()
	})
}

// An erasure runs as a replay does, and after each step leaves as much time to others.
func TestRunnerErases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		for range 3 {
			s.answers = append(s.answers, func() (hook.ReplayStep, error) {
				time.Sleep(time.Second)
				return hook.ReplayStep{}, nil
			})
		}
		r := New(slog.New(slog.DiscardHandler))
		r.WakeErasures([]hook.ErasureRef{{ID: hook.ID{1}, Fence: 1}}) // before Start
		r.Start(s, nil)
		r.running.Wait()
		if took := s.at[3].Sub(s.at[0]); len(s.at) != 4 || took != 6*time.Second || s.twice {
			t.Errorf("%d steps in %v, beside each other: %v", len(s.at), took, s.twice)
		}
	})
}
