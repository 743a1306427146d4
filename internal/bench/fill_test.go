package bench

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store"
)

// The figures of "bench reads" mean something only if every kind of row is there.
func TestFillMakesEveryKindOfRow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := fill(t.Context(), dir, "", 5000, func(string, ...any) {}); err != nil {
		t.Fatal(err)
	}
	keys, err := seal.LoadOrCreate(filepath.Join(dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Dir: dir, Keys: keys, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	count := func(q hook.DeliveryQuery) int {
		t.Helper()
		q.Limit = 250
		rows, _, err := s.Deliveries(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return len(rows)
	}
	live := hook.Scope{Mode: hook.Live}
	for _, state := range []hook.State{hook.Pending, hook.Held, hook.Succeeded, hook.Failed} {
		if n := count(hook.DeliveryQuery{Scope: live, State: &state}); n == 0 {
			t.Errorf("no delivery is %v", state)
		}
	}
	cancelled := hook.Cancelled
	if n := count(hook.DeliveryQuery{Scope: live, State: &cancelled}); n > 0 {
		t.Errorf("control: %d deliveries are cancelled", n)
	}
	for name, q := range map[string]hook.DeliveryQuery{
		"the largest tenant": {Scope: hook.Scope{Mode: hook.Live, Tenant: tenantName(0)}},
		"test mode":          {Scope: hook.Scope{Mode: hook.Test}},
		"a tag":              {Scope: live, Tag: &hook.Tag{Name: "channel", Value: "web"}},
		"the rarest type":    {Scope: live, Type: rareType},
		"no answer":          {Scope: live, Error: hook.ClassTimeout},
	} {
		if count(q) == 0 {
			t.Errorf("no delivery of %s", name)
		}
	}
	due, jobs, err := s.Recover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(jobs) > 0 || len(due) == 0 {
		t.Errorf("a server has %d jobs at its start and retries of %d endpoints", len(jobs), len(due))
	}
	for _, d := range due {
		if time.Until(d.At) < time.Hour {
			t.Errorf("endpoint %s has work at %v", d.Target.ID, d.At)
		}
	}
}

// A database that cannot be opened leaves no directory behind, which would refuse the next
// run with a right one.
func TestFillWithoutDatabase(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, database := range []string{"postgres://127.0.0.1:1/none?connect_timeout=1", "not a url"} {
		cmd := Command()
		cmd.SetArgs([]string{"reads", "--store", database, "--deliveries", "10000", "--data", "made"})
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		if err := cmd.ExecuteContext(t.Context()); err == nil {
			t.Errorf("%s: filled", database)
		}
		if _, err := os.Stat("made"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the directory is there: %v", database, err)
		}
	}
}
