package transfer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/storetest"
	"github.com/posthorn/posthorn/internal/store/transfer"
)

// Wherever a move is interrupted, the target contains nothing or everything, and Move
// reports which.
func TestMoveIsAllOrNothing(t *testing.T) {
	f, server := fill(t), pgtest.Shared(t)
	target := server.Database(t)
	cut := pgtest.NewCut(t, server)
	o := transfer.Options{From: filepath.Join(f.dir, "posthorn.db"), To: cut.URL(t, target), Keys: storetest.Keyring(t, 7)}
	for _, c := range []struct {
		at      string
		end     func(stop context.CancelFunc)
		unknown bool
		moved   bool
	}{
		{"copied events", func(stop context.CancelFunc) { stop() }, false, false},
		{"copied attempts", func(context.CancelFunc) { cut.CutAll() }, false, false},
		{"compared endpoints", func(context.CancelFunc) { cut.CutAll() }, false, false},
		{"compared stats", func(context.CancelFunc) { cut.After(3, pgtest.ToServer) }, true, false}, // during COMMIT
		{"compared stats", func(context.CancelFunc) { cut.After(1, pgtest.ToClient) }, true, true},  // during its answer
	} {
		ctx, stop := context.WithCancel(t.Context())
		reached := false
		o.Progress = func(act, table string, _ int64) {
			if act+" "+table == c.at && !reached {
				reached = true
				c.end(stop)
			}
		}
		_, err := transfer.Move(ctx, o)
		stop()
		if !reached || err == nil || errors.Is(err, transfer.ErrUnknown) != c.unknown {
			t.Errorf("ended at %s: reached %v, %v", c.at, reached, err)
		}
		direct := o
		direct.To, direct.Progress = target, nil
		if _, err = transfer.Compare(t.Context(), direct); (err == nil) != c.moved {
			t.Errorf("ended at %s, compared: %v", c.at, err)
		}
		if rows := query[int](t, target, "SELECT (SELECT count(*) FROM tenants) + (SELECT count(*) FROM events) + (SELECT count(*) FROM nodes) + (SELECT count(*) FROM meta)"); (rows > 0) != c.moved {
			t.Errorf("ended at %s: %d rows", c.at, rows)
		}
	}
}

// If the target changes a value, the move detects it before the commit.
func TestMoveFindsWhatTheTargetChanges(t *testing.T) {
	f, target := fill(t), pgtest.Database(t)
	if err := openEmpty(t, target).Close(); err != nil {
		t.Fatal(err)
	}
	from := filepath.Join(f.dir, "posthorn.db")
	alterPostgres(t, target, `CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.last_error := 'x'; RETURN NEW; END $$;
		CREATE TRIGGER meddle BEFORE INSERT ON deliveries FOR EACH ROW WHEN (NEW.state = 4) EXECUTE FUNCTION meddle()`)
	_, err := move(t, from, target)
	if !errors.Is(err, transfer.ErrDiffers) || err.Error() != transfer.ErrDiffers.Error()+": deliveries has as many rows but not the same" {
		t.Errorf("one value was changed: %v", err)
	}
	if rows := query[int](t, target, "SELECT count(*) FROM tenants"); rows != 0 {
		t.Errorf("%d tenants were committed all the same", rows)
	}
	alterPostgres(t, target, "DROP TRIGGER meddle ON deliveries")
	if _, err := move(t, from, target); err != nil {
		t.Errorf("control: %v", err)
	}
}

// openEmpty opens an empty store on PostgreSQL.
func openEmpty(t *testing.T, target string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Postgres: target, Keys: storetest.Keyring(t, 7)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The log of a server that was killed is part of its store. It is not changed either.
func TestMoveAfterKill(t *testing.T) {
	f, target := fill(t), pgtest.Database(t)
	o := f.options()
	o.Dir = f.dir
	s := storetest.Open(t, o)
	if _, err := s.PublishBytes(100); err != nil {
		t.Fatal(err)
	}
	killed := t.TempDir()
	for _, name := range []string{"posthorn.db", "posthorn.db-wal"} {
		if err := os.WriteFile(filepath.Join(killed, name), slurpFile(t, filepath.Join(f.dir, name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	database, log := filepath.Join(killed, "posthorn.db"), filepath.Join(killed, "posthorn.db-wal")
	before := string(slurpFile(t, database)) + string(slurpFile(t, log))
	if len(slurpFile(t, log)) == 0 {
		t.Fatal("there is no log: nothing was shown")
	}
	if _, err := move(t, database, target); err != nil {
		t.Fatal(err)
	}
	if before != string(slurpFile(t, database))+string(slurpFile(t, log)) {
		t.Error("the source was changed")
	}
	if rows := query[int](t, target, "SELECT count(*) FROM events WHERE length(data) = 100"); rows != 1 {
		t.Errorf("%d of the events that were in the log only", rows)
	}
}

// An empty value and NULL remain different.
func TestMoveKeepsNullAndEmptyApart(t *testing.T) {
	f, target := fill(t), pgtest.Database(t)
	from := filepath.Join(f.dir, "posthorn.db")
	alterLite(t, from, "UPDATE attempts SET response_headers = x'', response_body = NULL")
	if _, err := move(t, from, target); err != nil {
		t.Fatal(err)
	}
	if rows := query[int](t, target, "SELECT count(*) FROM attempts WHERE response_headers = '' AND response_body IS NULL"); rows == 0 ||
		rows != query[int](t, target, "SELECT count(*) FROM attempts") {
		t.Errorf("%d attempts are as they were", rows)
	}
}
