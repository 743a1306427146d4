// Package jobs runs long jobs: replays. It decides when the next step of each is made, and
// nothing else: what a step does, and how far a job has come, is in the store.
//
// It promises that a job is run by one goroutine of this process at a time and no faster
// than its rate, that a job whose endpoint is busy or disabled costs little while it
// waits, and that a job of which another process is in charge is left alone: the store
// refuses steps with an old fence.
package jobs

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Store makes the steps. StepReplay is called concurrently, for each replay from one
// goroutine at a time.
type Store interface {
	StepReplay(ctx context.Context, ref hook.ReplayRef, most int, profileOf func(*hook.Endpoint) hook.ProfileHash) (hook.ReplayStep, error)
}

// The pace of steps.
const (
	stepEvery  = 200 * time.Millisecond // at rates that allow a match in this time
	mostAStep  = 25                     // a page of more holds the writer for longer than fresh events should wait
	firstPause = 200 * time.Millisecond // while the endpoint has enough waiting, or is disabled
	lastPause  = 5 * time.Second
)

// Runner runs jobs until it is stopped. Its methods are safe for concurrent use.
type Runner struct {
	log *slog.Logger

	mu        sync.Mutex
	waiting   []hook.ReplayRef // until Start
	store     Store
	profileOf func(*hook.Endpoint) hook.ProfileHash
	running   sync.WaitGroup
	life      context.Context // ends with Stop
	stop      context.CancelFunc
}

// New returns a runner that runs nothing before Start.
func New(log *slog.Logger) *Runner {
	r := &Runner{log: log}
	r.life, r.stop = context.WithCancel(context.Background())
	return r
}

// Wake makes the runner run jobs that became this process's. It does not block: the
// store's writer calls it after a commit.
func (r *Runner) Wake(refs []hook.ReplayRef) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.store == nil {
		r.waiting = append(r.waiting, refs...)
		return
	}
	r.begin(refs)
}

// Start runs the jobs that Wake named so far, and from now on those that it names.
func (r *Runner) Start(s Store, profileOf func(*hook.Endpoint) hook.ProfileHash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.store, r.profileOf = s, profileOf
	r.begin(r.waiting)
	r.waiting = nil
}

func (r *Runner) begin(refs []hook.ReplayRef) {
	if r.life.Err() != nil {
		return
	}
	for _, ref := range refs {
		r.running.Go(func() { r.run(ref) })
	}
}

// Stop ends the steps under way and makes no more. The next process continues the jobs.
func (r *Runner) Stop() {
	r.mu.Lock()
	r.stop()
	r.mu.Unlock()
	r.running.Wait()
}

// run makes the steps of one job until it is over or somebody else's.
func (r *Runner) run(ref hook.ReplayRef) {
	most := min(max(int(ref.Rate*stepEvery.Seconds()), 1), mostAStep)
	pause := firstPause
	for r.life.Err() == nil {
		began := time.Now()
		step, err := r.store.StepReplay(r.life, ref, most, r.profileOf)
		var wait time.Duration
		switch {
		case err != nil:
			if code := hook.CodeOf(err); code == hook.CodeInternal && r.life.Err() == nil {
				r.log.Error("a step of a replay failed and will be tried again", "replay", ref.ID, "error", err, "retry_in", pause)
			}
			wait, pause = pause, min(2*pause, lastPause)
		case step.Over:
			return
		case step.Waiting:
			wait, pause = pause, min(2*pause, lastPause)
		default:
			pause = firstPause
			wait = time.Duration(math.Ceil(float64(step.Done)/ref.Rate*1e9)) - time.Since(began)
		}
		select {
		case <-r.life.Done():
		case <-time.After(wait):
		}
	}
}
