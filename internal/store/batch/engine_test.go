package batch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/store/batch"
)

// fault is an error of the database.
type fault struct {
	class  batch.Class
	stored bool // a commit that still took place
}

func (f *fault) Error() string { return fmt.Sprintf("fault of class %d", f.class) }

var (
	errLost    = &fault{class: batch.Lost}
	errAgain   = &fault{class: batch.Again}
	errFull    = &fault{class: batch.Full}
	errAway    = &fault{class: batch.Unavailable}
	errFatal   = &fault{class: batch.Fatal}
	errRefused = errors.New("refused")
	// errUnheard is the lost answer to a commit that took place.
	errUnheard = &fault{class: batch.Lost, stored: true}
)

// database is an engine in memory. fault may make any of its steps fail.
type database struct {
	connections int
	fault       func(step string, t *txn) error
	liar        bool         // claims that every commit took place
	forgetful   bool         // undoes nothing
	hold        func(t *txn) // what a commit in progress waits for; nil: nothing

	failing sync.Mutex

	mu      sync.Mutex
	stored  map[int]int // how often, by id
	told    map[int]int
	commits [][]int
	begun   int
	unknown map[int]bool // whose commit could not be determined
	wrong   []string
}

// txn is a transaction. Check and the commit validate what it writes.
type txn struct {
	db      *database
	rows    []row
	more    int // rows that no operation declared
	bytes   int
	closed  bool
	mark    int // -1: none
	flushed bool
	stored  bool
}

type row struct {
	id  int
	bad bool
}

func newDatabase(connections int) *database {
	return &database{connections: connections, stored: map[int]int{}, told: map[int]int{}, unknown: map[int]bool{}}
}

func (d *database) at(step string, t *txn) error {
	if d.fault == nil {
		return nil
	}
	d.failing.Lock() // commits in progress fail outside the writer
	defer d.failing.Unlock()
	return d.fault(step, t)
}

func (t *txn) write(r row) error {
	if err := t.db.at("write", t); err != nil {
		return err
	}
	t.rows = append(t.rows, r)
	return nil
}

func (t *txn) has(id int) bool {
	for _, r := range t.rows {
		if r.id == id {
			return true
		}
	}
	return false
}

func (t *txn) Written() (rows, bytes int, closed bool) {
	return len(t.rows) + t.more, t.bytes, t.closed
}
func (t *txn) Unguard()     { t.mark = -1 }
func (t *txn) Flush() error { t.flushed = true; return t.db.at("flush", t) }

func (t *txn) Guard(bool) error {
	t.mark = len(t.rows)
	return t.db.at("guard", t)
}

func (t *txn) Check() error {
	for _, r := range t.rows[max(t.mark, 0):] {
		if r.bad {
			return errRefused
		}
	}
	return t.db.at("check", t)
}

func (t *txn) Undo() error {
	if t.mark >= 0 && !t.db.forgetful {
		t.rows = t.rows[:t.mark]
	}
	return t.db.at("undo", t)
}

func (d *database) Connections() int { return d.connections }

func (d *database) Begin([]*batch.Op[*txn]) (*txn, error) {
	d.begun++
	t := &txn{db: d, mark: -1}
	return t, d.at("begin", t)
}

func (d *database) Commit(t *txn, later func(func() error)) (bool, error) {
	if !t.flushed {
		d.complain("a commit without a flush")
	}
	if d.connections == 1 {
		return false, d.end(t)
	}
	go func() {
		if d.hold != nil {
			d.hold(t)
		}
		err := d.end(t)
		later(func() error { return err })
	}()
	return true, nil
}

// end commits a transaction on the database's side.
func (d *database) end(t *txn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range t.rows {
		if r.bad {
			return errRefused
		}
	}
	err := d.at("commit", t)
	if f, ok := errors.AsType[*fault](err); err != nil && !(ok && f.stored) {
		return err
	}
	t.stored = true
	var ids []int
	for _, r := range t.rows {
		d.stored[r.id]++
		ids = append(ids, r.id)
	}
	d.commits = append(d.commits, ids)
	return err
}

func (d *database) Rollback(*txn) {}

func (d *database) Committed(t *txn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range t.rows {
		d.told[r.id]++
	}
}

func (d *database) Class(err error) batch.Class {
	if err == nil {
		return batch.NoError
	}
	if f, ok := errors.AsType[*fault](err); ok {
		return f.class
	}
	return batch.OwnFault
}

func (d *database) Mend(_ error, pause batch.Pause) bool {
	for {
		err := d.at("mend", nil)
		if err == nil || !pause(100*time.Millisecond, err) {
			return err == nil
		}
	}
}

func (d *database) Find(t *txn, lost error, pause batch.Pause) (bool, error) {
	for {
		err := d.at("find", t)
		if err == nil {
			return t.stored || d.liar, nil
		}
		if !pause(100*time.Millisecond, err) {
			d.mu.Lock()
			defer d.mu.Unlock()
			for _, r := range t.rows {
				d.unknown[r.id] = true
			}
			return false, fmt.Errorf("%w (%w)", err, lost)
		}
	}
}

func (d *database) MakeRoom() bool { return d.at("room", nil) == nil }

func (d *database) complain(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wrong = append(d.wrong, fmt.Sprintf(format, args...))
}

// script makes the n-th occurrence of a step fail with the n-th error; nil means none.
func script(faults map[string][]error) func(string, *txn) error {
	return func(step string, _ *txn) error {
		if len(faults[step]) == 0 {
			return nil
		}
		err := faults[step][0]
		faults[step] = faults[step][1:]
		return err
	}
}

// desk is a writer and its callers. It runs in a synctest bubble.
type desk struct {
	*batch.Writer[*txn]
	t       *testing.T
	db      *database
	callers sync.WaitGroup
	mu      sync.Mutex
	answers map[int][]error
	order   []int // in which they were answered
}

func open(t *testing.T, db *database, o batch.Options[*txn]) *desk {
	o.Engine, o.Log = db, slog.New(slog.NewTextHandler(io.Discard, nil))
	k := &desk{Writer: batch.New(o), t: t, db: db, answers: map[int][]error{}}
	t.Cleanup(k.Close)
	return k
}

// writes returns an operation that writes one row of its own.
func writes(id int, o batch.Op[*txn]) *batch.Op[*txn] {
	if o.Name == "" {
		o.Name = "write"
	}
	if o.Rows == 0 {
		o.Rows = 1
	}
	if o.Apply == nil {
		o.Apply = func(tx *txn) error { return tx.write(row{id: id}) }
	}
	return &o
}

// hand submits an operation to the writer from a goroutine of its own, and waits until it
// is queued or answered.
func (k *desk) hand(ctx context.Context, id int, o *batch.Op[*txn]) {
	k.callers.Go(func() { k.do(ctx, id, o) })
	synctest.Wait()
}

func (k *desk) do(ctx context.Context, id int, o *batch.Op[*txn]) {
	err := k.Do(ctx, o)
	k.db.mu.Lock()
	told, stored := k.db.told[id], k.db.stored[id]
	k.db.mu.Unlock()
	if err == nil && (told != 1 || stored != 1) {
		k.db.complain("%d was answered when it was stored %d times and told %d times", id, stored, told)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answers[id] = append(k.answers[id], err)
	k.order = append(k.order, id)
}

// block blocks the writer until the returned function is called.
func (k *desk) block() (release func()) {
	hold := make(chan struct{})
	k.callers.Go(func() {
		_ = k.Do(context.Background(), &batch.Op[*txn]{Name: "block", Key: "block", Hot: true, Apply: func(*txn) error { <-hold; return nil }})
	})
	synctest.Wait()
	return func() { close(hold) }
}

// together submits operations so that they are gathered into one batch. Their ids are
// their indexes.
func (k *desk) together(ops ...*batch.Op[*txn]) {
	release := k.block()
	for id, o := range ops {
		k.hand(context.Background(), id, o)
	}
	release()
	k.callers.Wait()
}

// answered returns whose callers have been answered so far.
func (k *desk) answered() []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.order)
}

// answer returns the answer of the caller.
func (k *desk) answer(id int) error {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.answers[id]); n != 1 {
		k.t.Fatalf("%d was answered %d times", id, n)
	}
	return k.answers[id][0]
}

// settle ends the writer and checks what holds for every run: every commit was made known,
// and nothing was stored twice.
func (k *desk) settle() {
	k.t.Helper()
	k.Close()
	k.callers.Wait()
	for _, w := range k.db.check() {
		k.t.Error(w)
	}
}

func (d *database) check() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	wrong := d.wrong
	for id, n := range d.stored {
		if n > 1 {
			wrong = append(wrong, fmt.Sprintf("%d was stored %d times", id, n))
		}
		if d.told[id] != n && !d.unknown[id] {
			wrong = append(wrong, fmt.Sprintf("%d was stored %d times and told %d times", id, n, d.told[id]))
		}
	}
	for id, n := range d.told {
		if d.stored[id] == 0 {
			wrong = append(wrong, fmt.Sprintf("%d was told %d times and not stored", id, n))
		}
	}
	return wrong
}

// both runs a test in a bubble with one connection and with two.
func both(t *testing.T, test func(t *testing.T, db *database)) {
	for _, connections := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d connections", connections), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newDatabase(connections)) })
		})
	}
}
