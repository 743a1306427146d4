package storetest

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

// Opened is a store outside the suite, with the tenant acme, one endpoint in live mode, and its jobs.
type Opened struct {
	*store.Store
	mu   sync.Mutex
	jobs []hook.Job
}

// Open opens a store that takes all jobs into memory, until the test ends. It makes the tenant and
// the endpoint if there are none.
func Open(t testing.TB, o store.Options) *Opened {
	t.Helper()
	s := &Opened{}
	if o.Keys == nil {
		o.Keys = Keyring(t, 7)
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

// Take returns the jobs since the last Take.
func (s *Opened) Take() []hook.Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	jobs := s.jobs
	s.jobs = nil
	return jobs
}

// PublishBytes publishes an event with data of the size.
func (s *Opened) PublishBytes(size int) (hook.ID, error) {
	profileOf := func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{1} }
	out, _, err := s.Publish(context.Background(), []hook.NewEvent{{Scope: live, Type: "a", Data: bytes.Repeat([]byte("x"), size)}}, profileOf, nil)
	if err != nil {
		return hook.ID{}, err
	}
	return out[0].Event, out[0].Err
}

// Succeed settles jobs with success.
func (s *Opened) Succeed(jobs ...hook.Job) error {
	var done []hook.Settlement
	for _, j := range jobs {
		done = append(done, hook.Settlement{Job: j, Outcome: hook.Outcome{StartedAt: time.Now(), Success: true, Status: 200, Policy: &hook.Policy{}}})
	}
	_, err := s.Settle(context.Background(), done)
	return err
}

// Keyring returns a keyring with one key that consists of one byte, repeated.
func Keyring(t testing.TB, fill byte) *seal.Keyring {
	t.Helper()
	k, err := seal.New(bytes.Repeat([]byte{fill}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Bytes returns the content of all files in the directory.
func Bytes(t testing.TB, dir string) []byte {
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
