package jobs

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// script returns the steps of a replay one after another, and then one that is Over.
type script struct {
	answers []func() (hook.ReplayStep, error)
	at      []time.Time
	most    []int
	beside  int // steps in progress
	twice   bool
}

func (s *script) StepReplay(ctx context.Context, _ hook.ReplayRef, most int, _ func(*hook.Endpoint) hook.ProfileHash) (hook.ReplayStep, error) {
	s.beside++
	s.twice = s.twice || s.beside > 1
	defer func() { s.beside-- }()
	s.at, s.most = append(s.at, time.Now()), append(s.most, most)
	if len(s.answers) == 0 {
		return hook.ReplayStep{Over: true}, ctx.Err()
	}
	next := s.answers[0]
	s.answers = s.answers[1:]
	return next()
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
