package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/exit"
)

// started runs a node over the directory, returns what it prints of keys and what
// it logs of them, and stops it. use may speak to it.
func started(t *testing.T, dir, key string, use func(*client.Client)) (printed, logged string) {
	t.Helper()
	args := []string{"--listen", "127.0.0.1:0", "--data", dir, "--synchronous", "off"}
	if key != "" {
		args = append(args, "--operator-key", key)
	}
	c, err := loaded(t, "", args...)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := &safeBuffer{}
	n, err := Start(t.Context(), c, slog.New(slog.NewTextHandler(log, nil)), &out)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		n.Stop(ctx)
	}()
	if use != nil {
		use(&client.Client{URL: n.URL(), Key: key})
	}
	return out.String(), log.String()
}

// A store that was used with a bootstrap key before is not told to be new.
func TestFirstKeys(t *testing.T) {
	const warning = "POSTHORN_OPERATOR_KEY is not set"
	fresh := t.TempDir()
	printed, logged := started(t, fresh, "", nil)
	if !strings.HasPrefix(printed, "First start: ") || strings.Contains(logged, warning) {
		t.Errorf("first start: %q, log %q", printed, logged)
	}
	if printed, _ = started(t, fresh, "", nil); printed != "" {
		t.Errorf("second start: %q", printed)
	}
	used := t.TempDir()
	printed, _ = started(t, used, mountKey, func(c *client.Client) {
		if _, err := c.CreateTenant(t.Context(), client.NewTenant{ID: "acme"}); err != nil {
			t.Fatal(err)
		}
	})
	if printed != "" {
		t.Errorf("with a bootstrap key: %q", printed)
	}
	printed, logged = started(t, used, "", nil)
	if !strings.HasPrefix(printed, "No operator key is configured and the store has none") || !strings.Contains(printed, "ph_live_operator_") || !strings.Contains(logged, warning) {
		t.Errorf("without the bootstrap key: %q, log %q", printed, logged)
	}
}

// watched is an output that remembers whether the node answered already when it was
// written to.
type watched struct {
	bytes.Buffer
	node    *Node
	serving []bool
}

// Write is called by the goroutine that starts the node.
func (w *watched) Write(text []byte) (int, error) {
	w.serving = append(w.serving, len(w.node.servers) > 0)
	return w.Buffer.Write(text)
}

// Whoever waits for the server to be ready finds the keys: they are printed before
// anybody is answered. The control is the node afterwards, which is seen to serve.
func TestFirstKeysArePrintedBeforeAnybodyIsAnswered(t *testing.T) {
	c, err := loaded(t, "", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--synchronous", "off")
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{cfg: c, log: slog.New(slog.DiscardHandler)}
	out := &watched{node: n}
	n.firstKeys = out
	if err := n.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer n.Stop(context.WithoutCancel(t.Context()))
	api := &client.Client{URL: "http://" + n.api.Addr().String()}
	if err := api.Do(t.Context(), "GET", "/readyz", "", nil, nil); err != nil || len(n.servers) == 0 {
		t.Fatalf("not ready: %v", err)
	}
	if !slices.Equal(out.serving, []bool{false}) || !strings.Contains(out.String(), "ph_live_operator_") {
		t.Errorf("serving when the keys were printed: %v\n%s", out.serving, out.String())
	}
}

// A node whose first keys cannot be printed answers nobody.
func TestNoStartWithoutFirstKeys(t *testing.T) {
	c, err := loaded(t, "", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--synchronous", "off")
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{cfg: c, log: slog.New(slog.DiscardHandler), firstKeys: full{}}
	err = n.begin(t.Context())
	if e, ok := errors.AsType[*exit.Error](err); !ok || e.Code != exit.Open || len(n.servers) > 0 {
		t.Errorf("%v, %d servers", err, len(n.servers))
	}
}

// full is an output that takes nothing, as a full disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// Keys that could not be printed are worth nothing to anybody: they are revoked, and
// the next start makes others.
func TestFirstKeysThatCannotBePrintedAreNotKept(t *testing.T) {
	c, err := loaded(t, "", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--synchronous", "off")
	if err != nil {
		t.Fatal(err)
	}
	n, err := Start(t.Context(), c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Stop(context.WithoutCancel(t.Context()))
	if err := n.printFirstKeys(t.Context(), full{}); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("printing to a full disk: %v", err)
	}
	var out bytes.Buffer
	if err := n.printFirstKeys(t.Context(), &out); err != nil || !strings.Contains(out.String(), "ph_live_operator_") {
		t.Errorf("the next time: %q, %v", out.String(), err)
	}
	again := out.Len()
	if err := n.printFirstKeys(t.Context(), &out); err != nil || out.Len() != again {
		t.Errorf("keys that were printed are printed again: %v", err)
	}
}

// safeBuffer is a log that a test can read while the node writes it.
type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
