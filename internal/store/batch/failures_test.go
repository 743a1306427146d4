package batch_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/store/batch"
)

// A batch whose transaction fails for a reason outside it is run again, and each of its
// operations is stored once.
func TestABatchIsRunAgain(t *testing.T) {
	slow := batch.TimedOut(errAgain)
	cases := []struct {
		name    string
		faults  map[string][]error
		commits int // more than the one of a run without faults
	}{
		{"nothing fails", nil, 0},
		{"lost at begin", map[string][]error{"begin": {nil, errLost}}, 0},
		{"others in the way of an operation", map[string][]error{"write": {nil, errAgain}}, 0},
		{"lost in an operation", map[string][]error{"write": {nil, errLost}}, 0},
		{"lost at the flush", map[string][]error{"flush": {errLost}}, 0},
		{"refused at the commit", map[string][]error{"commit": {errAgain}}, 0},
		{"an own fault at the commit", map[string][]error{"commit": {errRefused}}, 0},
		{"guard fails", map[string][]error{"commit": {errRefused}, "guard": {nil, nil, nil, errLost}}, 0},
		{"check fails", map[string][]error{"commit": {errRefused}, "check": {nil, errAgain}}, 0},
		{"lost and not committed", map[string][]error{"commit": {errLost}}, 0},
		{"lost and committed", map[string][]error{"commit": {errUnheard}}, 0},
		{"lost and not found at once", map[string][]error{"commit": {errUnheard}, "find": {errLost, errLost}}, 0},
		{"slow once", map[string][]error{"commit": {slow}}, 0},
		{"slow twice", map[string][]error{"commit": {slow, slow}}, 1},
		{"nine times", map[string][]error{"commit": {errAgain, errAgain, errAgain, errLost, errAgain, errAgain, errAgain, errLost, errAgain}}, 0},
		{"ten times", map[string][]error{"commit": {errAgain, errAgain, errAgain, errLost, errAgain, errAgain, errAgain, errLost, errAgain, errAgain}}, 1},
		{"mended late", map[string][]error{"commit": {errLost}, "mend": {errLost, errLost, errLost}}, 0},
	}
	for _, c := range cases {
		for connections := 1; connections <= 2; connections++ {
			t.Run(fmt.Sprintf("%s, %d connections", c.name, connections), func(t *testing.T) {
				faults := map[string][]error{}
				for step, list := range c.faults {
					faults[step] = list
				}
				synctest.Test(t, func(t *testing.T) {
					db := newDatabase(connections)
					db.fault = script(faults)
					k := open(t, db, batch.Options[*txn]{})
					k.together(writes(0, batch.Op[*txn]{Hot: true}), writes(1, batch.Op[*txn]{}), writes(2, batch.Op[*txn]{Stays: true}))
					for id := range 3 {
						if err := k.answer(id); err != nil {
							t.Errorf("%d: %v", id, err)
						}
					}
					k.settle()
					if len(db.commits) != 1+c.commits {
						t.Errorf("stored in %v", db.commits)
					}
				})
				for step, list := range faults {
					if len(list) > 0 {
						t.Errorf("control: %d faults at %s did not happen", len(list), step)
					}
				}
			})
		}
	}
}

// What cannot be stored is answered with the reason, and no part of it is stored.
func TestABatchThatCannotBeStored(t *testing.T) {
	cases := []struct {
		name string
		err  error
		want error
	}{
		{"unavailable", errAway, batch.ErrUnavailable},
		{"full", errFull, batch.ErrFull},
		{"fatal", errFatal, batch.ErrStopped},
	}
	for _, c := range cases {
		for _, step := range []string{"begin", "write", "flush", "commit"} {
			t.Run(c.name+" at "+step, func(t *testing.T) {
				both(t, func(t *testing.T, db *database) {
					fatal := 0
					k := open(t, db, batch.Options[*txn]{Fatal: func(error) { fatal++ }})
					var armed atomic.Bool
					db.fault = func(at string, _ *txn) error {
						if armed.Load() && at == step {
							return c.err
						}
						return nil
					}
					release := k.block()
					for id := range 3 {
						k.hand(context.Background(), id, writes(id, batch.Op[*txn]{Stays: id == 2}))
					}
					armed.Store(true)
					release()
					k.callers.Wait()
					for id := range 3 {
						if err := k.answer(id); !errors.Is(err, c.want) || !errors.Is(err, c.err) {
							t.Errorf("%d: %v", id, err)
						}
					}
					armed.Store(false)
					k.hand(context.Background(), 3, writes(3, batch.Op[*txn]{}))
					if err, stopped := k.answer(3), c.want == batch.ErrStopped; stopped != errors.Is(err, batch.ErrStopped) || stopped != (fatal == 1) {
						t.Errorf("afterwards: %v; told to end %d times", err, fatal)
					}
					k.settle()
					if len(db.stored) > 1 {
						t.Errorf("stored: %v", db.stored)
					}
				})
			})
		}
	}
}

// An operation that is refused undoes its own writes and no others: the rest of its batch
// is stored in one commit.
func TestARefusedOperationHarmsNoNeighbour(t *testing.T) {
	for _, c := range refusals {
		for _, hot := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, hot %t", c.name, hot), func(t *testing.T) {
				both(t, func(t *testing.T, db *database) {
					if c.undo != nil {
						db.fault = script(map[string][]error{"undo": {c.undo}})
					}
					k := open(t, db, batch.Options[*txn]{})
					k.together(writes(0, batch.Op[*txn]{Hot: true}), writes(1, batch.Op[*txn]{}), writes(2, batch.Op[*txn]{Hot: hot, Apply: c.apply}),
						writes(3, batch.Op[*txn]{Hot: true}), writes(4, batch.Op[*txn]{}))
					if err := k.answer(2); err == nil || errors.Is(err, batch.ErrUnavailable) {
						t.Errorf("the refused one got %v", err)
					}
					for _, id := range []int{0, 1, 3, 4} {
						if err := k.answer(id); err != nil {
							t.Errorf("neighbour %d: %v", id, err)
						}
					}
					k.settle()
					if len(db.commits) != 1 || len(db.commits[0]) != 4 || db.stored[2] != 0 {
						t.Errorf("stored in %v", db.commits)
					}
				})
			})
		}
	}
	t.Run("control: a database that takes back nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			db := newDatabase(1)
			db.forgetful = true
			k := open(t, db, batch.Options[*txn]{})
			k.together(writes(0, batch.Op[*txn]{}), writes(1, batch.Op[*txn]{Apply: func(tx *txn) error { _ = tx.write(row{id: 1}); return errRefused }}))
			k.Close()
			if db.stored[1] != 1 {
				t.Error("the test does not see what was not taken back")
			}
		})
	})
}

var refusals = []struct {
	name  string
	apply func(*txn) error
	undo  error
}{
	{"before it writes", func(*txn) error { return errRefused }, nil},
	{"after it wrote", func(tx *txn) error { return errors.Join(tx.write(row{id: 2}), errRefused) }, nil},
	{"by a panic", func(tx *txn) error { _ = tx.write(row{id: 2}); panic("bad") }, nil},
	{"by a panic before it writes", func(*txn) error { panic("bad") }, nil},
	{"by the database", func(tx *txn) error { return tx.write(row{id: 2, bad: true}) }, nil},
	{"and cannot be taken back at first", func(tx *txn) error { return errors.Join(tx.write(row{id: 2}), errRefused) }, errRefused},
}

// A batch that times out is halved until the operation that causes it is alone. That one
// gets the error; the others are stored.
func TestTheOperationThatTakesTooLongIsFound(t *testing.T) {
	for _, lost := range []*fault{errLost, errAgain} {
		t.Run(lost.Error(), func(t *testing.T) {
			both(t, func(t *testing.T, db *database) {
				const all, culprit = batch.MaxRows, 333
				tries := 0
				db.fault = func(step string, tx *txn) error {
					if step == "commit" && tx.has(culprit) {
						tries++
						return batch.TimedOut(lost)
					}
					return nil
				}
				k := open(t, db, batch.Options[*txn]{})
				var ops []*batch.Op[*txn]
				for id := range all {
					ops = append(ops, writes(id, batch.Op[*txn]{Hot: id%2 == 0}))
				}
				k.together(ops...)
				for id := range all {
					if err := k.answer(id); (id == culprit) != (err != nil) || err != nil && !errors.Is(err, batch.ErrUnavailable) {
						t.Errorf("%d: %v", id, err)
					}
				}
				k.settle()
				if tries < 3 || tries > 12 {
					t.Errorf("it was tried %d times", tries)
				}
				if len(db.stored) != all-1 {
					t.Errorf("%d are stored", len(db.stored))
				}
			})
		})
	}
}

// If the writer is closing, the answer to a lost commit can no longer be determined. Then
// the batch is not run again, because it may be stored.
func TestACommitThatNobodyKnowsOfIsNotRepeated(t *testing.T) {
	both(t, func(t *testing.T, db *database) {
		db.fault = func(step string, _ *txn) error {
			switch step {
			case "commit":
				if len(db.commits) == 0 {
					return errUnheard
				}
			case "find":
				return errLost
			}
			return nil
		}
		k := open(t, db, batch.Options[*txn]{})
		k.hand(context.Background(), 0, writes(0, batch.Op[*txn]{Stays: true}))
		k.Close()
		k.callers.Wait()
		if err := k.answer(0); !errors.Is(err, batch.ErrUnavailable) {
			t.Errorf("answered %v", err)
		}
		if db.stored[0] != 1 {
			t.Errorf("stored %d times", db.stored[0])
		}
	})
}

// The control for all of the above: a wrong answer about a lost commit is detected.
func TestALieAboutALostCommitIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase(1)
		db.liar = true
		db.fault = script(map[string][]error{"commit": {errLost}})
		k := open(t, db, batch.Options[*txn]{})
		k.hand(context.Background(), 0, writes(0, batch.Op[*txn]{}))
		k.Close()
		if len(db.check()) == 0 {
			t.Error("the checks do not see that a write is lost")
		}
	})
}

// Operations whose callers give up before they begin are not run; once they run they are
// stored.
func TestCallersThatGoAway(t *testing.T) {
	both(t, func(t *testing.T, db *database) {
		k := open(t, db, batch.Options[*txn]{CallerWaits: time.Minute})
		release := k.block()
		gone, leave := context.WithCancel(context.Background())
		k.hand(gone, 0, writes(0, batch.Op[*txn]{Bytes: 5}))
		k.hand(gone, 1, writes(1, batch.Op[*txn]{Stays: true}))
		k.hand(context.Background(), 2, writes(2, batch.Op[*txn]{}))
		running := make(chan struct{})
		goOn := make(chan struct{})
		during, leaveToo := context.WithCancel(context.Background())
		k.hand(during, 3, writes(3, batch.Op[*txn]{Apply: func(tx *txn) error { close(running); <-goOn; return tx.write(row{id: 3}) }}))
		leave()
		synctest.Wait()
		if err := k.answer(0); !errors.Is(err, context.Canceled) {
			t.Errorf("who went away got %v", err)
		}
		release()
		<-running
		leaveToo()
		synctest.Wait()
		if err := k.answer(3); !errors.Is(err, context.Canceled) {
			t.Errorf("who went away meanwhile got %v", err)
		}
		k.hand(gone, 4, writes(4, batch.Op[*txn]{}))
		close(goOn)
		k.callers.Wait()
		if errors.Join(k.answer(1), k.answer(2)) != nil || !errors.Is(k.answer(4), context.Canceled) {
			t.Errorf("others got %v, %v and %v", k.answer(1), k.answer(2), k.answer(4))
		}
		k.settle()
		if db.stored[0] != 0 || db.stored[1] != 1 || db.stored[2] != 1 || db.stored[3] != 1 || db.stored[4] != 0 {
			t.Errorf("stored: %v", db.stored)
		}
	})
}
