package batch_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/store/batch"
)

// While the database is away, callers are refused after a second: those of the batch, of
// commits in progress and of the queue. Operations that stay are kept, and stored when it
// is back.
func TestTheDatabaseIsAway(t *testing.T) {
	both(t, func(t *testing.T, db *database) {
		var away atomic.Bool
		away.Store(true)
		db.fault = func(step string, tx *txn) error {
			if away.Load() && (step == "begin" || step == "mend" || step == "find") {
				return errLost
			}
			if step == "commit" && tx.has(0) {
				return errLost
			}
			return nil
		}
		k := open(t, db, batch.Options[*txn]{})
		stays := func(id int) *batch.Op[*txn] { return writes(id, batch.Op[*txn]{Stays: true}) }
		began := time.Now()
		refused := map[int]time.Duration{}
		leave := func(id int, o *batch.Op[*txn]) {
			k.callers.Go(func() {
				k.do(context.Background(), id, o)
				k.mu.Lock()
				defer k.mu.Unlock()
				refused[id] = time.Since(began)
			})
			synctest.Wait()
		}
		leave(1, writes(1, batch.Op[*txn]{}))
		leave(2, stays(2))
		leave(3, writes(3, batch.Op[*txn]{}))
		for id := 100; id < 140; id++ { // more than one batch retries at once
			leave(id, stays(id))
		}
		<-time.After(900 * time.Millisecond)
		if early := k.answered(); len(early) != 0 || k.Ready() != nil {
			t.Errorf("after 0.9 s %v were answered, ready: %v", early, k.Ready())
		}
		<-time.After(300 * time.Millisecond)
		synctest.Wait()
		for _, id := range []int{1, 3} {
			if err := k.answer(id); !errors.Is(err, batch.ErrUnavailable) || refused[id] < time.Second {
				t.Errorf("%d got %v after %v", id, err, refused[id])
			}
		}
		leave(4, writes(4, batch.Op[*txn]{}))
		leave(5, stays(5))
		if err := k.answer(4); !errors.Is(err, batch.ErrUnavailable) || !errors.Is(k.Ready(), batch.ErrUnavailable) || !k.Away() {
			t.Errorf("who comes later got %v, ready: %v", err, k.Ready())
		}
		<-time.After(time.Hour)
		if all := k.answered(); len(all) != 3 || k.Queued() != 0 {
			t.Errorf("answered: %v, in the queue: %d", all, k.Queued())
		}
		away.Store(false)
		k.callers.Wait()
		k.SetAway(false)
		for _, id := range []int{2, 5, 100, 139} {
			if err := k.answer(id); err != nil {
				t.Errorf("%d, which stays, got %v", id, err)
			}
		}
		k.settle()
		if len(db.stored) != 42 || db.stored[1]+db.stored[3]+db.stored[4] != 0 {
			t.Errorf("stored: %v", db.stored)
		}
	})
}

// Callers whose commit is in progress, or whose batch is to be run next, are refused with
// the others. Their writes may still be stored.
func TestCallersOnTheirWayAreRefusedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase(2)
		arrives := make(chan struct{})
		db.hold = func(tx *txn) {
			if tx.has(0) {
				<-arrives
			}
		}
		var away atomic.Bool
		away.Store(true)
		db.fault = func(step string, tx *txn) error {
			switch {
			case step == "commit" && tx.has(2):
				return batch.TimedOut(errAgain) // 2 and 3 are halved, and one of them waits on the stack
			case step == "mend" && away.Load() && db.begun == 5: // of 2 and 3
				return errLost
			}
			return nil
		}
		k := open(t, db, batch.Options[*txn]{})
		release := k.block()
		k.hand(context.Background(), 0, writes(0, batch.Op[*txn]{Rows: batch.MaxRows - 1}))
		k.hand(context.Background(), 1, writes(1, batch.Op[*txn]{Stays: true}))
		for id := 2; id <= 5; id++ {
			k.hand(context.Background(), id, writes(id, batch.Op[*txn]{}))
		}
		release()
		<-time.After(5 * time.Second)
		for _, id := range []int{0, 2, 3, 4, 5} {
			if err := k.answer(id); !errors.Is(err, batch.ErrUnavailable) {
				t.Errorf("%d got %v", id, err)
			}
		}
		away.Store(false)
		close(arrives)
		k.callers.Wait()
		if err := k.answer(1); err != nil {
			t.Errorf("who stays got %v", err)
		}
		k.settle()
		if db.stored[0] != 1 || db.stored[1] != 1 {
			t.Errorf("stored: %v", db.stored)
		}
	})
}

// If Begin returns ErrDrain, the commits in progress end first.
func TestCommitsAreEndedBeforeItBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase(2)
		arrives := make(chan struct{})
		db.hold = func(tx *txn) {
			if tx.has(0) {
				<-arrives
			}
		}
		asked := 0
		db.fault = func(step string, _ *txn) error {
			if step == "begin" && db.begun > 1 {
				select {
				case <-arrives:
				default:
					asked++
					return batch.ErrDrain
				}
			}
			return nil
		}
		k := open(t, db, batch.Options[*txn]{})
		k.hand(context.Background(), 0, writes(0, batch.Op[*txn]{}))
		k.hand(context.Background(), 1, writes(1, batch.Op[*txn]{}))
		if answered := k.answered(); asked != 1 || len(answered) != 0 {
			t.Errorf("asked %d times, answered: %v", asked, answered)
		}
		close(arrives)
		k.callers.Wait()
		if err := errors.Join(k.answer(0), k.answer(1)); err != nil {
			t.Error(err)
		}
		k.settle()
	})
}

// A writer that is closed while the database is away gives up. It retries no more often
// than for one batch, however much waits, and answers every caller.
func TestCloseWhileTheDatabaseIsAway(t *testing.T) {
	both(t, func(t *testing.T, db *database) {
		var mended atomic.Int64
		db.fault = func(step string, _ *txn) error {
			switch step {
			case "begin":
				return errLost
			case "mend":
				mended.Add(1)
				<-time.After(3 * time.Second) // connecting takes that long
				return errLost
			}
			return nil
		}
		k := open(t, db, batch.Options[*txn]{})
		const all = 500
		for id := range all {
			k.hand(context.Background(), id, writes(id, batch.Op[*txn]{Stays: true}))
		}
		<-time.After(time.Minute)
		before, began := mended.Load(), time.Now()
		k.Close()
		k.callers.Wait()
		for id := range all {
			if err := k.answer(id); !errors.Is(err, batch.ErrUnavailable) {
				t.Fatalf("%d got %v", id, err)
			}
		}
		if mended.Load() > before+2 || time.Since(began) > 10*time.Second {
			t.Errorf("it took %v and %d attempts", time.Since(began), mended.Load()-before)
		}
		k.settle()
	})
}

// Close runs what was accepted; later operations are refused.
func TestCloseCarriesOutWhatWasAccepted(t *testing.T) {
	both(t, func(t *testing.T, db *database) {
		db.fault = script(map[string][]error{"commit": {errAgain, nil, errUnheard}})
		k := open(t, db, batch.Options[*txn]{})
		release := k.block()
		for id := range 2000 {
			k.callers.Go(func() { k.do(context.Background(), id, writes(id, batch.Op[*txn]{Stays: id%2 == 0})) })
		}
		synctest.Wait()
		closed := make(chan struct{})
		go func() { k.Close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("closed before what waits was carried out")
		default:
		}
		if !errors.Is(k.Ready(), batch.ErrClosed) || !k.Closed() {
			t.Errorf("ready: %v", k.Ready())
		}
		k.hand(context.Background(), -1, writes(-1, batch.Op[*txn]{Stays: true}))
		if err := k.answer(-1); !errors.Is(err, batch.ErrClosed) {
			t.Errorf("handed over to a closed writer: %v", err)
		}
		release()
		<-closed
		k.callers.Wait()
		for id := range 2000 {
			if err := k.answer(id); err != nil {
				t.Fatalf("%d: %v", id, err)
			}
		}
		k.settle()
		if len(db.stored) != 2000 {
			t.Errorf("%d are stored", len(db.stored))
		}
	})
}

// On a full disk the reserve is released for outcomes, and nothing else is stored until
// there is space for it again.
func TestOutcomesUseTheReserve(t *testing.T) {
	dir := t.TempDir()
	both(t, func(t *testing.T, db *database) {
		var full atomic.Bool
		reserve := batch.NewReserve(filepath.Join(dir, t.Name()[len(t.Name())-13:]), 4096)
		db.fault = func(step string, _ *txn) error {
			if full.Load() && (step == "commit" && !reserve.Spent() || step == "room") {
				return errFull
			}
			return nil
		}
		k := open(t, db, batch.Options[*txn]{Reserve: reserve})
		outcome := batch.Op[*txn]{Outcome: true, Stays: true}
		k.together(writes(0, batch.Op[*txn]{}), writes(1, outcome))
		full.Store(true)
		release := k.block()
		k.hand(context.Background(), 2, writes(2, batch.Op[*txn]{}))
		k.hand(context.Background(), 3, writes(3, outcome))
		release()
		k.callers.Wait()
		if errors.Join(k.answer(0), k.answer(1), k.answer(3)) != nil || !errors.Is(k.answer(2), batch.ErrFull) {
			t.Errorf("on the full disk an event got %v and an outcome %v", k.answer(2), k.answer(3))
		}
		if !reserve.Spent() || !errors.Is(k.Ready(), batch.ErrFull) {
			t.Errorf("ready: %v", k.Ready())
		}
		k.hand(context.Background(), 4, writes(4, batch.Op[*txn]{}))
		k.hand(context.Background(), 5, writes(5, outcome))
		if !errors.Is(k.answer(4), batch.ErrFull) || k.answer(5) != nil {
			t.Errorf("afterwards an event got %v and an outcome %v", k.answer(4), k.answer(5))
		}
		full.Store(false)
		<-time.After(time.Second)
		k.hand(context.Background(), 6, writes(6, batch.Op[*txn]{}))
		if err := k.answer(6); err != nil || reserve.Spent() {
			t.Errorf("with space again: %v", err)
		}
		k.settle()
		if db.stored[2]+db.stored[4] != 0 {
			t.Errorf("stored: %v", db.stored)
		}
	})
}

// A caller of an operation that does not stay waits no longer than Options.CallerWaits.
func TestCallersWaitNoLongerThanTold(t *testing.T) {
	both(t, func(t *testing.T, db *database) {
		k := open(t, db, batch.Options[*txn]{CallerWaits: 3 * time.Second})
		release := k.block()
		began := time.Now()
		k.callers.Go(func() { k.do(context.Background(), 1, writes(1, batch.Op[*txn]{Stays: true})) })
		k.do(context.Background(), 0, writes(0, batch.Op[*txn]{}))
		if err := k.answer(0); !errors.Is(err, batch.ErrUnavailable) || time.Since(began) != 3*time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		release()
		k.callers.Wait()
		k.settle()
		if db.stored[0] != 1 || k.answer(1) != nil {
			t.Errorf("stored: %v", db.stored)
		}
	})
}
