package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqlite"
)

// Rows of a batch are inserted together. All of them are stored, whatever their number; an id
// that the same batch used before is found; and a statement that fails stores nothing.
func TestRowsOfABatchAreInsertedTogether(t *testing.T) {
	f := newFaulty(t)
	ctx := t.Context()
	scope := hook.Scope{Tenant: "gathered", Mode: hook.Live}
	batch := func(n int) []hook.Published {
		t.Helper()
		events := make([]hook.NewEvent, n)
		for i := range events {
			events[i] = hook.NewEvent{Scope: scope, Type: "a.b", Data: fmt.Appendf(nil, `{"n":%d}`, i), CreateTenant: true}
			if i == 20 || i == 40 { // the same event twice, in between rows that wait
				events[i].Data, events[i].PublicID = []byte(`{}`), hook.ID{byte(n), 1}
			}
		}
		out, _, err := f.Publish(ctx, events, func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{} }, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	stored := func() (n int) {
		t.Helper()
		if err := f.core.Read.DB.QueryRowContext(ctx, "SELECT count(*) FROM events WHERE tenant = 'gathered'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	all := 0
	for _, n := range []int{1, 7, 8, 31, 32, 33, 39, 41, 100} {
		for i, p := range batch(n) {
			if p.Err != nil || p.Repeated != (i == 40) {
				t.Fatalf("%d of %d: %+v", i, n, p)
			}
			if !p.Repeated {
				all++
			}
		}
		if got := stored(); got != all {
			t.Fatalf("after a batch of %d: %d events are stored, want %d", n, got, all)
		}
	}
	statements := 0
	conn := f.core.Engine.(*sqlite.DB).Conn()
	conn.Fault = func(query string) error {
		if strings.HasPrefix(query, "INSERT INTO events ") {
			if statements++; statements >= 2 {
				return errors.New("the second statement fails")
			}
		}
		return nil
	}
	events := make([]hook.NewEvent, 40)
	for i := range events {
		events[i] = hook.NewEvent{Scope: scope, Type: "a.b", Data: []byte(`{}`)}
	}
	if _, _, err := f.Publish(context.WithoutCancel(ctx), events, func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{} }, nil); err == nil || statements < 2 {
		t.Errorf("after %d statements: %v", statements, err)
	}
	conn.Fault = nil
	if got := stored(); got != all {
		t.Errorf("a batch that failed left %d events", got-all)
	}
}

// Rows of several callers are inserted together too. If that fails, the batch is run again,
// and only the caller whose rows cannot be inserted is refused, even if it was the read of
// another caller that inserted them.
func TestRowsOfSeveralCallersFailAlone(t *testing.T) {
	keys := []string{"a", "a", "b", "c"} // the second caller reads the key of the first, whose rows are inserted then
	for fail := range 2*len(keys) + 1 {
		t.Run(fmt.Sprint(fail), func(t *testing.T) {
			f, scope, _ := oneEndpoint(t)
			running, hold := make(chan struct{}), make(chan struct{})
			go func() {
				_ = f.do(context.Background(), "block", 0, func(*tx) error { close(running); <-hold; return nil })
			}()
			<-running
			answers := make([]error, len(keys))
			var all sync.WaitGroup
			for i, key := range keys {
				event := hook.NewEvent{Scope: scope, Type: key, Data: []byte("{}")}
				once := &hook.Once{Route: "publish", Key: key, Scope: scope, Answer: func(any) (int, []byte) { return 202, nil }}
				all.Go(func() { _, _, answers[i] = f.Publish(context.Background(), []hook.NewEvent{event}, noProfile, once) })
				within(t, 5*time.Second, "queued", func() bool { return f.Stats().Queued == i+1 })
			}
			inserts := 0
			f.core.Engine.(*sqlite.DB).Conn().Fault = func(query string) error { // blocks the writer
				if strings.HasPrefix(query, "INSERT INTO events ") {
					if inserts++; inserts == fail {
						return errInjected
					}
				}
				return nil
			}
			close(hold)
			all.Wait()
			refused := 0
			for i, err := range answers {
				var stored int
				if err := f.core.Read.QueryRowContext(t.Context(), "SELECT count(*) FROM events WHERE type = ?", keys[i]).Scan(&stored); err != nil {
					t.Fatal(err)
				}
				if err == nil && stored != 1 || err != nil && i > 1 && stored != 0 {
					t.Errorf("caller %d got %v, and %d of its events are stored", i, err, stored)
				}
				if err != nil {
					refused++
				}
			}
			if refused > 1 || fail == 0 && refused > 0 {
				t.Errorf("%d callers were refused", refused)
			}
		})
	}
}
