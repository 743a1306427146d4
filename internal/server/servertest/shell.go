package servertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server"
)

// The operator keys of the nodes that are started here.
const (
	Key     = "cli-test-live-operator-key-0123456789abcdef"
	TestKey = "cli-test-test-operator-key-0123456789abcdef"
)

// Shell is a running node and a way to run commands against it.
type Shell struct {
	T    *testing.T
	Root func() *cobra.Command
	Node *server.Node
	URL  string
	Data string
}

// NewShell starts a node that the environment names to the commands of root.
func NewShell(t *testing.T, root func() *cobra.Command) *Shell {
	t.Helper()
	t.Setenv("POSTHORN_KEY", Key)
	cfg := &server.Config{}
	flags := cfg.Flags()
	cfg.Data, cfg.Listen, cfg.Dev = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", true
	cfg.OperatorKey, cfg.OperatorTestKey = Key, TestKey
	if err := cfg.Load(flags, ""); err != nil {
		t.Fatal(err)
	}
	n, err := server.Start(t.Context(), cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &Shell{T: t, Root: root, Node: n, URL: n.URL(), Data: cfg.Data}
	t.Setenv("POSTHORN_URL", s.URL)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		n.Stop(ctx)
	})
	return s
}

// Run runs one command line and returns what it printed and its exit code.
func Run(t *testing.T, root *cobra.Command, stdin string, args ...string) (out, errOut string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&o)
	root.SetErr(&e)
	root.SetArgs(args)
	err := root.ExecuteContext(exit.WithArgs(t.Context(), args))
	if err == nil {
		return o.String(), e.String(), exit.OK
	}
	e.WriteString(err.Error())
	if x, ok := errors.AsType[*exit.Error](err); ok {
		return o.String(), e.String(), x.Code
	}
	return o.String(), e.String(), exit.Failed
}

// OK runs a command that must succeed.
func (s *Shell) OK(args ...string) string {
	s.T.Helper()
	return s.OKWith("", args...)
}

// OKWith is ok with something on standard input.
func (s *Shell) OKWith(stdin string, args ...string) string {
	s.T.Helper()
	out, errOut, code := Run(s.T, s.Root(), stdin, args...)
	if code != exit.OK {
		s.T.Fatalf("posthorn %s: code %d, %s", strings.Join(args, " "), code, errOut)
	}
	return out
}

// JSON runs a command with --json and reads its answer.
func (s *Shell) JSON(args ...string) map[string]any {
	s.T.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(s.OK(append(args, "--json")...)), &v); err != nil {
		s.T.Fatal(err)
	}
	return v
}

// Refused runs a command that must end with the code and print nothing else.
func (s *Shell) Refused(code int, says string, args ...string) {
	s.T.Helper()
	out, errOut, got := Run(s.T, s.Root(), "", args...)
	if got != code || !strings.Contains(errOut, says) || out != "" {
		s.T.Errorf("posthorn %s: code %d, want %d and %q: %s%s", strings.Join(args, " "), got, code, says, out, errOut)
	}
}

// Contains demands each part in the text.
func Contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}

// DatabaseNode starts a node on PostgreSQL; it ends with the test.
func DatabaseNode(t *testing.T, address, data string) *server.Node {
	t.Helper()
	cfg := &server.Config{}
	flags := cfg.Flags()
	cfg.Data, cfg.Listen, cfg.Dev = data, "127.0.0.1:0", true
	if err := flags.Set("store", address); err != nil { // before the environment
		t.Fatal(err)
	}
	cfg.OperatorKey, cfg.OperatorTestKey = Key, TestKey
	if err := cfg.Load(flags, ""); err != nil {
		t.Fatal(err)
	}
	n, err := server.Start(t.Context(), cfg, server.NewLog(&server.Config{LogLevel: "error"}, os.Stderr), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// StopNode ends a node in order.
func StopNode(t *testing.T, n *server.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	n.Stop(ctx)
}
