package batch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/store/batch"
)

// A batch ends with the operation that reaches its budget, and the rest continues in the
// next.
func TestTheBudgetOfABatch(t *testing.T) {
	const many = 30
	cases := []struct {
		name    string
		op      batch.Op[*txn]
		extra   func(*txn)
		largest int // operations in a commit
	}{
		{"nothing to stop it", batch.Op[*txn]{}, func(*txn) {}, many},
		{"rows as said", batch.Op[*txn]{Rows: batch.MaxRows / 4}, func(*txn) {}, 4},
		{"rows that were not said", batch.Op[*txn]{}, func(tx *txn) { tx.more += batch.MaxRows/4 - 1 }, 4},
		{"more rows than a batch has", batch.Op[*txn]{}, func(tx *txn) { tx.more += 2 * batch.MaxRows }, 1},
		{"bytes as said", batch.Op[*txn]{Bytes: batch.MaxBytes / 2}, func(*txn) {}, 2},
		{"bytes that were not said", batch.Op[*txn]{}, func(tx *txn) { tx.bytes += batch.MaxBytes / 2 }, 2},
		{"time", batch.Op[*txn]{}, func(*txn) { <-time.After(batch.Hold / 5) }, 5},
		{"an operation that ends the transaction", batch.Op[*txn]{}, func(tx *txn) { tx.closed = true }, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, db *database) {
				k := open(t, db, batch.Options[*txn]{})
				var ops []*batch.Op[*txn]
				for id := range many {
					o := c.op
					o.Apply = func(tx *txn) error { c.extra(tx); return tx.write(row{id: id}) }
					ops = append(ops, writes(id, o))
				}
				k.together(ops...)
				next := 0
				for id := range many {
					if err := k.answer(id); err != nil {
						t.Errorf("%d: %v", id, err)
					}
				}
				slices.SortFunc(db.commits, slices.Compare) // two in progress may swap
				for _, ids := range db.commits {
					if len(ids) > c.largest {
						t.Errorf("%d operations in a commit", len(ids))
					}
					for _, id := range ids {
						if id != next {
							t.Fatalf("not in the order of their coming: %v", db.commits)
						}
						next++
					}
				}
				if len(db.commits) != (many+c.largest-1)/c.largest {
					t.Errorf("%d commits", len(db.commits))
				}
				k.settle()
			})
		})
	}
}

// Keys are served round-robin. However much one key has waiting, and however large its
// operations are, another key waits for the batch in progress and then for one operation
// of it.
func TestKeysTakeTurns(t *testing.T) {
	const many = 1000
	cases := []struct {
		name  string
		busy  []string // keys that have many operations waiting
		extra int      // rows that each of these writes beyond its Rows
	}{
		{"rows as said", []string{"a"}, 0},
		{"each as large as a batch", []string{"a"}, batch.MaxRows},
		{"half as large", []string{"a"}, batch.MaxRows / 2},
		{"two keys, as said", []string{"a", "b"}, 0},
		{"two keys, large", []string{"a", "b"}, batch.MaxRows},
		{"five keys, large", []string{"a", "b", "c", "d", "e"}, batch.MaxRows},
		{"five keys, a third", []string{"a", "b", "c", "d", "e"}, batch.MaxRows / 3},
	}
	for _, c := range cases {
		for _, at := range []int{0, 1, 7, 100} {
			t.Run(fmt.Sprintf("%s, after %d", c.name, at), func(t *testing.T) {
				both(t, func(t *testing.T, db *database) {
					k := open(t, db, batch.Options[*txn]{})
					release := k.block()
					arrived, ran := -1, []string{}
					begun := 0 // transactions when it was queued
					since := map[string]int{}
					for i := range many {
						key := c.busy[i%len(c.busy)]
						k.callers.Go(func() {
							_ = k.Do(context.Background(), &batch.Op[*txn]{Name: "busy", Key: key, Rows: 1, Apply: func(tx *txn) error {
								if len(ran) == at && arrived < 0 {
									arrived, begun = len(ran), db.begun
									go func() {
										k.do(context.Background(), 1, writes(1, batch.Op[*txn]{Key: "late", Apply: func(tx *txn) error {
											ran = append(ran, "late")
											return tx.write(row{id: 1})
										}}))
									}()
									<-time.After(time.Millisecond) // by then it is in the queue
								}
								if arrived >= 0 && db.begun > begun && !slices.Contains(ran, "late") {
									since[key]++
								}
								ran = append(ran, key)
								tx.more += c.extra
								return tx.write(row{id: -1 - i})
							}})
						})
					}
					synctest.Wait()
					release()
					k.callers.Wait()
					synctest.Wait()
					if !slices.Contains(ran, "late") {
						t.Fatal("control: it did not run")
					}
					for _, key := range c.busy {
						if since[key] > 1 {
							t.Errorf("it waited for %d operations of %s", since[key], key)
						}
					}
					k.settle()
				})
			})
		}
	}
}

// The operations of one key run in order of arrival.
func TestAKeyKeepsItsOrder(t *testing.T) {
	both(t, func(t *testing.T, db *database) {
		k := open(t, db, batch.Options[*txn]{})
		ran := map[string][]int{}
		var ops []*batch.Op[*txn]
		for id := range 300 {
			key := fmt.Sprint(id % 7)
			ops = append(ops, writes(id, batch.Op[*txn]{Key: key, Apply: func(tx *txn) error {
				ran[key] = append(ran[key], id)
				tx.more += id % 5 * 100
				return tx.write(row{id: id})
			}}))
		}
		k.together(ops...)
		k.settle()
		for key, ids := range ran {
			if !slices.IsSorted(ids) {
				t.Errorf("key %s: %v", key, ids)
			}
		}
	})
}

// Bytes beyond the writer's limit are refused, including those of callers that gave up.
// Operations that stay are not counted.
func TestTheQueueIsBoundedInBytes(t *testing.T) {
	both(t, func(t *testing.T, db *database) {
		k := open(t, db, batch.Options[*txn]{})
		release := k.block()
		ctx, leave := context.WithCancel(context.Background())
		k.hand(ctx, 0, writes(0, batch.Op[*txn]{Bytes: batch.MaxQueued - 10}))
		leave()
		synctest.Wait()
		k.hand(context.Background(), 1, writes(1, batch.Op[*txn]{Bytes: 11}))
		if err := k.answer(1); !errors.Is(err, batch.ErrBusy) {
			t.Errorf("beyond the bound: %v", err)
		}
		k.hand(context.Background(), 2, writes(2, batch.Op[*txn]{Bytes: 11, Stays: true}))
		k.hand(context.Background(), 3, writes(3, batch.Op[*txn]{Bytes: 10}))
		release()
		k.callers.Wait()
		if err := errors.Join(k.answer(2), k.answer(3)); err != nil {
			t.Error(err)
		}
		k.hand(context.Background(), 4, writes(4, batch.Op[*txn]{Bytes: batch.MaxQueued + 1}))
		if err := k.answer(4); err != nil {
			t.Errorf("one that is too large by itself, while nothing waits: %v", err)
		}
		k.settle()
	})
}
