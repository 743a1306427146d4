package batch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/internal/store/batch"
)

// plan is one run of the simulation: who writes what and when, and what fails.
type plan struct {
	connections int
	writes      []planned
	faults      []int // what each step of the database in order does, see faultOf
	closed      time.Duration
}

// planned is an operation of a plan.
type planned struct {
	key, kind           int
	at, leaves          time.Duration
	hot, stays, outcome bool
	more                int // rows that it does not declare
}

// The kinds of operations.
const (
	good      = iota
	refused   // after it wrote
	panicking // after it wrote
	bad       // refused by the database when it is checked
	idle      // writes nothing
	kinds
)

func drawPlan(t *rapid.T) plan {
	ms := func(name string, most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, name)) * time.Millisecond
	}
	p := plan{connections: rapid.IntRange(1, 2).Draw(t, "connections")}
	for range rapid.IntRange(1, 40).Draw(t, "writes") {
		w := planned{key: rapid.IntRange(0, 2).Draw(t, "key"), at: ms("at", 20), stays: rapid.Bool().Draw(t, "stays"), outcome: rapid.Bool().Draw(t, "outcome")}
		if rapid.IntRange(0, 3).Draw(t, "is special") == 0 {
			w.kind = rapid.IntRange(0, kinds-1).Draw(t, "kind")
		}
		if rapid.IntRange(0, 3).Draw(t, "may go") == 0 {
			w.leaves = time.Millisecond + ms("leaves", 3000)
		}
		if rapid.IntRange(0, 5).Draw(t, "is large") == 0 {
			w.more = batch.MaxRows
		}
		w.hot = rapid.Bool().Draw(t, "hot")
		p.writes = append(p.writes, w)
	}
	p.faults = rapid.SliceOfN(rapid.IntRange(0, 40), 0, 150).Draw(t, "faults")
	p.closed = time.Minute
	if rapid.IntRange(0, 3).Draw(t, "closes early") == 0 {
		p.closed = ms("closed", 2000)
	}
	return p
}

// faultOf returns the fault of a step for a number of a plan: mostly none.
func faultOf(step string, n int) error {
	slow := func(err error) error { return batch.TimedOut(err) }
	choices := map[string][]error{
		"begin":  {errLost, errAgain, errAway, errFull, slow(errAgain), errLost, errLost, errAgain},
		"write":  {errLost, errAgain, slow(errLost), errFull, errRefused, errLost, errAgain, errAway},
		"guard":  {errLost, errAgain, slow(errAgain)},
		"check":  {errLost, errAgain, slow(errAgain)},
		"flush":  {errLost, errAgain, errFull, slow(errLost)},
		"undo":   {errLost, errRefused},
		"commit": {errLost, errUnheard, errUnheard, errAgain, errFull, slow(errUnheard), slow(errLost), slow(errAgain), errAway, errLost, errUnheard, errFatal},
		"mend":   {errLost, errLost, errLost, errLost, errLost, errLost, errLost, errLost, errLost, errLost},
		"find":   {errLost, errAway, errLost, errAgain, errLost},
		"room":   {errFull, errFull, errFull},
	}[step]
	if n == 0 || n > len(choices) {
		return nil
	}
	return choices[n-1]
}

// run carries out a plan and returns the violations of the package's guarantees.
func (p plan) run(t *testing.T, db *database) []string {
	step := 0
	db.fault = func(at string, _ *txn) error {
		n := 0
		if step < len(p.faults) {
			n = p.faults[step]
		}
		step++
		return faultOf(at, n)
	}
	k := open(t, db, batch.Options[*txn]{CallerWaits: 5 * time.Second})
	for id, w := range p.writes {
		k.callers.Go(func() {
			<-time.After(w.at)
			ctx, cancel := context.Background(), context.CancelFunc(func() {})
			if w.leaves > 0 {
				ctx, cancel = context.WithTimeout(ctx, w.leaves)
			}
			defer cancel()
			o := writes(id, batch.Op[*txn]{Key: w.key, Hot: w.hot, Stays: w.stays, Outcome: w.outcome, Apply: w.apply(id)})
			if w.kind == idle {
				err := k.Do(ctx, o)
				k.mu.Lock()
				defer k.mu.Unlock()
				k.answers[id] = append(k.answers[id], err)
				return
			}
			k.do(ctx, id, o)
		})
	}
	<-time.After(p.closed)
	k.Close()
	k.callers.Wait()
	wrong := db.check()
	for id, w := range p.writes {
		if len(k.answers[id]) != 1 {
			wrong = append(wrong, fmt.Sprintf("%d was answered %d times", id, len(k.answers[id])))
			continue
		}
		if problem := w.judge(k.answers[id][0], db.stored[id]); problem != "" {
			wrong = append(wrong, fmt.Sprintf("%d (%+v) %s", id, w, problem))
		}
	}
	return wrong
}

func (w planned) apply(id int) func(*txn) error {
	return func(tx *txn) error {
		if w.kind == idle {
			return nil
		}
		tx.more += w.more
		if err := tx.write(row{id: id, bad: w.kind == bad}); err != nil {
			return err
		}
		switch w.kind {
		case refused:
			return errRefused
		case panicking:
			panic("bad")
		}
		return nil
	}
}

// judge returns what is wrong with an answer, given how often the operation is stored.
func (w planned) judge(err error, stored int) string {
	known := err == nil || !errors.Is(err, batch.ErrUnavailable) && !errors.Is(err, batch.ErrStopped) &&
		!errors.Is(err, context.DeadlineExceeded)
	healthy := w.kind == good || w.kind == idle
	switch {
	case stored > 0 && !healthy:
		return "is stored although it is refused"
	case err == nil && !healthy:
		return "is refused and was told that it is stored"
	case err != nil && known && stored > 0:
		return fmt.Sprintf("is stored and got %v", err)
	case err != nil && strings.Contains(err.Error(), "panicked") && w.kind != panicking:
		return fmt.Sprintf("got %v of another", err)
	}
	return ""
}

// Whatever fails, in whatever order: no caller is told that a write is stored when it is
// not, nothing is stored twice, every caller is answered once, a refused operation undoes
// its own writes and no others, and every commit is made known once and before its callers
// are answered.
func TestSimulation(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		var wrong []string
		synctest.Test(t, func(t *testing.T) { wrong = p.run(t, newDatabase(p.connections)) })
		if len(wrong) > 0 {
			rt.Fatalf("%s", strings.Join(wrong, "\n"))
		}
	})
}

// The simulation detects broken databases.
func TestTheSimulationSeesBrokenDatabases(t *testing.T) {
	broken := map[string]func(*database){
		"finds every commit": func(d *database) { d.liar = true },
		"takes back nothing": func(d *database) { d.forgetful = true },
	}
	for name, breaks := range broken {
		t.Run(name, func(t *testing.T) {
			for seed := range 500 {
				p := rapid.Custom(drawPlan).Example(seed)
				seen := false
				synctest.Test(t, func(t *testing.T) {
					db := newDatabase(p.connections)
					breaks(db)
					seen = len(p.run(t, db)) > 0
				})
				if seen {
					return
				}
			}
			t.Error("in 500 runs it was not seen")
		})
	}
}
