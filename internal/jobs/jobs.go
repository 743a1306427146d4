// Package jobs runs long jobs: replays and erasures. It decides only when the next step of
// each job is made. The store defines what a step does and records the progress.
//
// It guarantees that one goroutine of this process at a time runs a job, no faster than
// its rate, and that a job whose endpoint is busy or disabled costs little while it
// waits. It does not run a job that another process has taken over: the store refuses
// steps with an old fence.
package jobs

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Store makes the steps. StepReplay is called concurrently, but for each replay from one
// goroutine at a time. A step handles at most most matches.
type Store interface {
	StepReplay(ctx context.Context, ref hook.ReplayRef, most int, profileOf func(*hook.Endpoint) hook.ProfileHash) (hook.ReplayStep, error)
	// StepErasure is StepReplay for an erasure. What it does is bounded by itself, so it
	// returns no number of matches.
	StepErasure(ctx context.Context, ref hook.ErasureRef) (hook.ReplayStep, error)
}

// job is what the runner knows of a job.
type job struct {
	id   hook.ID
	noun string
	rate float64 // matches per second; 0: each step is followed by a pause as long as itself
	step func(ctx context.Context, s Store, most int) (hook.ReplayStep, error)
}

// The pace of steps.
const (
	stepEvery  = 200 * time.Millisecond // at rates that allow a match in this time
	mostAStep  = 25                     // so that fresh events do not wait long for the writer
	firstPause = 200 * time.Millisecond // while the endpoint is disabled or full, or after an error
	lastPause  = 5 * time.Second
)

// Runner runs jobs until it is stopped. Its methods are safe for concurrent use.
type Runner struct {
	log *slog.Logger

	mu        sync.Mutex
	waiting   []job // to run at Start
	store     Store
	profileOf func(*hook.Endpoint) hook.ProfileHash
	running   sync.WaitGroup
	runs      map[hook.ID]*jobRun // the latest of each job
	life      context.Context     // ends with Stop
	stop      context.CancelFunc
}

// New returns a runner that runs nothing before Start.
func New(log *slog.Logger) *Runner {
	r := &Runner{log: log, runs: map[hook.ID]*jobRun{}}
	r.life, r.stop = context.WithCancel(context.Background())
	return r
}

// Wake runs replays that this process has created or taken over, or that were resumed. It
// does not block, because the store's writer calls it after a commit.
func (r *Runner) Wake(refs []hook.ReplayRef) {
	for _, ref := range refs {
		r.wake(job{ref.ID, "replay", ref.Rate, func(ctx context.Context, s Store, most int) (hook.ReplayStep, error) {
			return s.StepReplay(ctx, ref, most, r.profileOf)
		}})
	}
}

// WakeErasures is Wake for erasures.
func (r *Runner) WakeErasures(refs []hook.ErasureRef) {
	for _, ref := range refs {
		r.wake(job{ref.ID, "erasure", 0, func(ctx context.Context, s Store, _ int) (hook.ReplayStep, error) {
			return s.StepErasure(ctx, ref)
		}})
	}
}

func (r *Runner) wake(j job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.store == nil {
		r.waiting = append(r.waiting, j)
		return
	}
	r.begin(j)
}

// Start runs the jobs that were passed to Wake so far. From then on Wake runs jobs
// immediately.
func (r *Runner) Start(s Store, profileOf func(*hook.Endpoint) hook.ProfileHash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.store, r.profileOf = s, profileOf
	for _, j := range r.waiting {
		r.begin(j)
	}
	r.waiting = nil
}

func (r *Runner) begin(j job) {
	if r.life.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.life)
	before, own := r.runs[j.id], &jobRun{cancel: cancel, done: make(chan struct{})}
	if before != nil {
		before.cancel() // the job was resumed: its former run has an old fence
	}
	r.runs[j.id] = own
	r.running.Go(func() {
		if before != nil {
			<-before.done
		}
		r.run(ctx, &j)
		cancel()
		r.ended(j.id, own)
	})
}

// jobRun is one run of a job: from its start or resumption until it ends.
type jobRun struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func (r *Runner) ended(id hook.ID, own *jobRun) {
	close(own.done)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.runs[id] == own {
		delete(r.runs, id)
	}
}

// Stop cancels the steps in progress, waits for them, and makes no more. The next
// process continues the jobs.
func (r *Runner) Stop() {
	r.mu.Lock()
	r.stop()
	r.mu.Unlock()
	r.running.Wait()
}

// run makes the steps of one job until the job has ended or another process has taken it
// over.
func (r *Runner) run(ctx context.Context, j *job) {
	most := min(max(int(j.rate*stepEvery.Seconds()), 1), mostAStep)
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		step, err := j.step(ctx, r.store, most)
		var wait time.Duration
		switch {
		case err != nil:
			if code := hook.CodeOf(err); code == hook.CodeInternal && ctx.Err() == nil {
				r.log.Error("a step of a job failed and will be tried again", j.noun, j.id, "error", err, "retry_in", pause)
			}
			wait, pause = pause, min(2*pause, lastPause)
		case step.Over:
			return
		case step.Waiting:
			wait, pause = pause, min(2*pause, lastPause)
		default:
			pause = firstPause
			took := time.Since(began)
			wait = took // a page without a match leaves half of the time to other reads
			if step.Done > 0 {
				wait = time.Duration(math.Ceil(float64(step.Done)/j.rate*1e9)) - took
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}
