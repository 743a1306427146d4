package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// takePage bounds the rows of one step of a takeover.
const takePage = 1000

// takeOverNodes takes over dead nodes and then records the work that waits in the table.
// If left is nil, it only does the latter. A takeover is marked as done after that, so one
// that failed midway is tried again.
func (s *Store) takeOverNodes(ctx context.Context, left []sqltext.Abandoned) error {
	mine, failed := s.takeOver(ctx, left, nil)
	if len(mine.epochs) == 0 && left != nil {
		return failed
	}
	err := s.noteWaitingWork(ctx)
	if err == nil {
		err = s.doneWith(ctx, mine)
	}
	if hook.CodeOf(err) == hook.CodeShuttingDown {
		err = nil
	}
	return errors.Join(failed, err)
}

// taken lists the processes whose work this process took over.
type taken struct {
	epochs []int64
	nodes  int64 // of these, nodes that died or stopped; the work of a moved store belongs to no node
}

// takeOver takes over the work of ended processes and returns the processes that it
// claimed. An error with one does not keep the others from being taken over.
func (s *Store) takeOver(ctx context.Context, left []sqltext.Abandoned, jobs *[]hook.Job) (mine taken, err error) {
	var failed error
	for _, work := range left {
		done, name, err := s.takeWork(ctx, work, jobs)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("take over epoch %d: %w", work.Epoch, err))
		} else if done {
			mine.epochs = append(mine.epochs, work.Epoch)
			if name != sqltext.MovedNode {
				mine.nodes++
			}
		}
	}
	return mine, failed
}

// takeWork returns the rows of an ended process to the table. It takes over the test
// events and their single shots as jobs, which it appends to jobs, or hands to the
// dispatcher if jobs is nil.
func (s *Store) takeWork(ctx context.Context, work sqltext.Abandoned, jobs *[]hook.Job) (mine bool, name string, err error) {
	err = s.recover(ctx, "take over", 1, func(t *tx) (err error) {
		name, mine, err = s.core.Peers.TakeOver(t.Conn, work.Epoch)
		t.Rows++
		return err
	})
	if err != nil || !mine {
		return false, name, err
	}
	s.upkeep.WakeReseal() // it may have been the one that was sealing values again
	if err := s.takeJobs(ctx, work, jobs); err != nil {
		return true, name, err
	}
	if err := errors.Join(s.replays.TakeOver(ctx, work.Rows), s.upkeep.TakeErasures(ctx, work.Rows)); err != nil {
		return true, name, err
	}
	if err := s.listenersAway(ctx, work.Epoch); err != nil {
		return true, name, err
	}
	rows, err := s.disown(ctx, work.Rows, takePage)
	if err != nil {
		return true, name, err
	}
	switch {
	case work.Epoch == 0:
	case name == sqltext.MovedNode:
		s.core.Log.Info("took over the work that was open in the store that was moved", "epoch", work.Epoch, "deliveries", rows)
	default:
		s.stats.takenOver.Add(rows)
		s.core.Log.Info("took over the work of a node that is gone", "epoch", work.Epoch, "node", name, "deliveries", rows)
	}
	s.wakeSweeper()
	return true, name, nil
}

func (s *Store) takeJobs(ctx context.Context, work sqltext.Abandoned, jobs *[]hook.Job) error {
	if err := s.recoverTests(ctx, work.Tests, jobs); err != nil {
		return err
	}
	var found []hook.Job
	err := s.recover(ctx, "take over jobs", takePage, func(t *tx) error {
		found = nil // the operation may run more than once
		if err := t.recoverTestShots(work.Shots, &found); err != nil {
			return err
		}
		if jobs == nil {
			t.Jobs = append(t.Jobs, found...)
		}
		return nil
	})
	if err == nil && jobs != nil {
		*jobs = append(*jobs, found...)
	}
	return err
}

// doneWith marks takeovers as done.
func (s *Store) doneWith(ctx context.Context, mine taken) error {
	if len(mine.epochs) == 0 {
		return nil
	}
	err := s.recover(ctx, "end takeover", 1, func(t *tx) error {
		t.Rows++
		return s.core.Peers.Done(t.Conn, mine.epochs)
	})
	if err == nil && s.core.Peers.Shared() {
		s.stats.takeovers.Add(mine.nodes)
	}
	return err
}

// noteWaitingWork tells the dispatcher when the work in the table is due, because a dead
// node had retries in memory that no other node knows of.
func (s *Store) noteWaitingWork(ctx context.Context) error {
	return s.waitingWork(ctx, func(t *tx, due []hook.Due) {
		for _, d := range due {
			t.NoteDueHere(d.Target, d.At)
		}
	})
}
