package transfer_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store"
)

func profileOf(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{1} }

// opened is a store with a tenant, one endpoint, and its jobs.
type opened struct {
	*store.Store
	mu   sync.Mutex
	jobs []hook.Job
}

func open(t testing.TB, o store.Options) *opened {
	t.Helper()
	s := &opened{}
	if o.Keys == nil {
		o.Keys = keyring(t, 7)
	}
	o.Room = func(*hook.Endpoint) int { return 1 << 20 }
	o.Committed = func(c hook.Commit) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.jobs = append(s.jobs, c.Jobs...)
	}
	var err error
	if s.Store, err = store.Open(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Tenant(context.Background(), live.Tenant); err == nil {
		return s
	}
	if _, _, err := s.CreateTenant(context.Background(), hook.Tenant{ID: live.Tenant}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateEndpoint(context.Background(), hook.Endpoint{Scope: live, URL: "https://example.com", Types: hook.Filter{"*"}}, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *opened) take() []hook.Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	jobs := s.jobs
	s.jobs = nil
	return jobs
}

func (s *opened) publish(size int) (hook.ID, error) {
	out, _, err := s.Publish(context.Background(), []hook.NewEvent{{Scope: live, Type: "a", Data: bytes.Repeat([]byte("x"), size)}}, profileOf, nil)
	if err != nil {
		return hook.ID{}, err
	}
	return out[0].Event, out[0].Err
}

func (s *opened) settle(jobs ...hook.Job) error {
	var done []hook.Settlement
	for _, j := range jobs {
		done = append(done, hook.Settlement{Job: j, Outcome: hook.Outcome{StartedAt: time.Now(), Success: true, Status: 200, Policy: &hook.Policy{}}})
	}
	_, err := s.Settle(context.Background(), done)
	return err
}

func keyring(t testing.TB, fill byte) *seal.Keyring {
	t.Helper()
	k, err := seal.New(bytes.Repeat([]byte{fill}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var live = hook.Scope{Tenant: "acme", Mode: hook.Live}

// slurp returns the content of every file in the directory.
func slurp(t *testing.T, dir string) []byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	var all bytes.Buffer
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.Bytes()
}
