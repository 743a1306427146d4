package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

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
