package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
)

var somebody = hook.Actor{Mode: hook.Live, Kind: "operator", ID: hook.ActorBootstrap}

// checkAudit returns the number of entries in live mode, and what is wrong with the
// chains.
func checkAudit(t *testing.T, s *Store) (int, error) {
	t.Helper()
	q, check := hook.AuditQuery{Scope: hook.Scope{Mode: hook.Live}, Page: hook.Page{Limit: 250}}, hook.AuditCheck{}
	for {
		rows, next, err := s.AuditEntries(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range rows {
			err = errors.Join(err, check.Add(e))
		}
		if err != nil {
			return check.Checked, err
		}
		if q.Cursor = next; next == "" {
			return check.Checked, check.End()
		}
	}
}

func rename(ctx context.Context, s *Store, id string) error {
	_, err := s.UpdateTenant(hook.WithActor(ctx, somebody), id, func(old hook.Tenant) (hook.Tenant, error) { old.Name += "x"; return old, nil })
	return err
}

// A batch that fails at any statement leaves no entries, and the next batch continues
// after the last committed entry.
func TestAuditOverFaults(t *testing.T) {
	for name, f := range map[string]*faulty{"sqlite": newFaulty(t), "postgres": newFaultyOn(t, Options{Postgres: pgtest.Database(t)})} {
		if _, _, err := f.CreateTenant(t.Context(), hook.Tenant{ID: "acme"}, nil); err != nil {
			t.Fatal(err)
		}
		done, failed := 0, 0
		for n := 1; n < 30; n++ {
			f.failAt(n)
			err := rename(t.Context(), f.Store, "acme")
			fired := f.fired
			f.failAt(0)
			if err != nil {
				failed++
			} else {
				done++
			}
			if err == nil && !fired {
				break
			}
			if err := rename(t.Context(), f.Store, "acme"); err != nil {
				t.Fatal(err)
			}
			done++
		}
		got, err := checkAudit(t, f.Store)
		if err != nil || got != done+1 {
			t.Errorf("%s: %d entries of %d writes: %v", name, got, done, err)
		}
		if failed < 3 {
			t.Errorf("%s: only %d writes failed", name, failed)
		}
		// Control: an entry that is changed outside the store is detected.
		if err := f.do(t.Context(), "test", 1, func(tx *tx) error {
			_, err := tx.Exec("test", "UPDATE audit SET object_id = ? WHERE seq = ?", "other", int64(3))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := checkAudit(t, f.Store); err == nil {
			t.Errorf("%s: a changed entry is not found", name)
		}
	}
}

// After a kill, the entries on disk form a chain that can be continued.
func TestAuditAfterAKill(t *testing.T) {
	f := newFaulty(t)
	if _, _, err := f.CreateTenant(t.Context(), hook.Tenant{ID: "acme"}, nil); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := rename(t.Context(), f.Store, "acme"); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir() // what a killed process leaves
	for _, name := range []string{"posthorn.db", "posthorn.db-wal"} {
		text, err := os.ReadFile(filepath.Join(f.opts.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := newFaultyOn(t, Options{Dir: dir})
	if err := rename(t.Context(), again.Store, "acme"); err != nil {
		t.Fatal(err)
	}
	if n, err := checkAudit(t, again.Store); err != nil || n != 7 {
		t.Errorf("%d entries: %v", n, err)
	}
}

// Nodes write concurrently, one dies, and each chain is valid.
func TestAuditOfSeveralNodes(t *testing.T) {
	url := pgtest.Database(t)
	a, b := newPeer(t, url, time.Second, nil), newPeer(t, url, time.Minute, nil)
	a.endpoint()
	for range 5 {
		a.must(rename(t.Context(), a.Store, acme.Tenant))
		b.must(rename(t.Context(), b.Store, acme.Tenant))
	}
	a.die()
	c := newPeer(t, url, time.Minute, nil)
	c.must(rename(t.Context(), c.Store, acme.Tenant))
	n, err := checkAudit(t, b.Store)
	if err != nil || n != 5+1+5+1+1+1 {
		t.Errorf("%d entries: %v", n, err)
	}
}
