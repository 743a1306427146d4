package proof_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to write a schema version of a later release
)

// run executes a command line that must exit, and returns its exit code and its standard
// error.
func run(t *testing.T, env []string, args ...string) (code int, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t), args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = t.TempDir()
	var said bytes.Buffer
	cmd.Stderr = &said
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("posthorn %v stays up:\n%s", args, said.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), said.String()
}

// fingerprint returns a hash over the names, kinds and contents under a directory.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintln(sum, path, d.Type())
		if d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(sum, "%d %x\n", len(text), sha256.Sum256(text))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// Exit codes documented in docs/operating.md.
const (
	exitUsage     = 2
	exitListen    = 10
	exitLocked    = 11
	exitMasterKey = 12
	exitSchema    = 13
)

// TestRefusesToStart starts the binary under conditions in which it cannot run. The exit
// code is the documented one, one line states the reason, and the data directory is
// unchanged.
func TestRefusesToStart(t *testing.T) {
	n := startNode(t)
	n.tenant("kept")
	n.publish("kept", "a.b", `{"keep":"me"}`)
	taken := strings.TrimPrefix(n.url, "http://")
	free := freePorts(t, 1)[0]

	old := filepath.Join(t.TempDir(), "old")
	other := newNode(t, old, "--dev")
	other.start()
	other.tenant("old")
	other.stop()
	if code := other.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("SIGTERM ended the node with %d", code)
	}
	future := copyDir(t, old)
	db, err := sql.Open("sqlite", filepath.Join(future, "posthorn.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (999999, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	badKey := filepath.Join(t.TempDir(), "bad.key")
	wrongKey := filepath.Join(t.TempDir(), "wrong.key")
	badYAML := filepath.Join(t.TempDir(), "bad.yaml")
	for path, text := range map[string]string{
		badKey:   "too short\n",
		wrongKey: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
		badYAML:  "listen: 127.0.0.1:0\nno_such_option: 1\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nowhere := filepath.Join(t.TempDir(), "never-made")
	cases := []struct {
		name  string
		code  int
		dir   string // the data directory, which must not change
		says  string
		env   []string
		serve []string // arguments after serve --data dir
	}{
		{"unknown flag", exitUsage, nowhere, "--lisen", nil, []string{"--lisen", free}},
		{"extra argument", exitUsage, nowhere, "surplus", nil, []string{"surplus"}},
		{"no address", exitUsage, nowhere, "--listen", nil, []string{"--listen", "everywhere"}},
		{"no network", exitUsage, nowhere, "--allow-network", nil, []string{"--allow-network", "10.0.0.0/99"}},
		{"unknown profile", exitUsage, nowhere, "no-such-profile", nil, []string{"--profile", "no-such-profile"}},
		{"synchronous", exitUsage, nowhere, "--synchronous", nil, []string{"--synchronous", "perhaps"}},
		{"bad variable", exitUsage, nowhere, "POSTHORN_DEV", []string{"POSTHORN_DEV=perhaps"}, nil},
		{"short key", exitUsage, nowhere, "POSTHORN_OPERATOR_KEY", []string{"POSTHORN_OPERATOR_KEY=short"}, nil},
		{"example key", exitUsage, nowhere, "openssl rand", []string{"POSTHORN_OPERATOR_KEY=change-me-change-me-change-me-change-me"}, nil},
		{"unknown member of the file", exitUsage, nowhere, "bad.yaml:2", nil, []string{"--config", badYAML}},
		{"no such file", exitUsage, nowhere, "missing.yaml", nil, []string{"--config", "missing.yaml"}},
		{"port taken", exitListen, old, taken, nil, []string{"--listen", taken}},
		{"port taken, fresh directory", exitListen, nowhere, taken, nil, []string{"--listen", taken}},
		{"directory locked", exitLocked, n.dir, "in use", nil, []string{"--listen", free}},
		{"bad master key", exitMasterKey, old, "master key", nil, []string{"--listen", free, "--master-key-file", badKey}},
		{"master key is a directory", exitMasterKey, old, "master key", nil, []string{"--listen", free, "--master-key-file", t.TempDir()}},
		{"missing master key", exitMasterKey, old, "master_key_missing", nil, []string{"--listen", free, "--master-key-file", filepath.Join(t.TempDir(), "none.key")}},
		{"another master key", exitMasterKey, old, "master_key", nil, []string{"--listen", free, "--master-key-file", wrongKey}},
		{"newer schema", exitSchema, future, "newer", nil, []string{"--listen", free}},
	}
	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			before := ""
			if c.dir != nowhere {
				before = fingerprint(t, c.dir)
			}
			code, said := run(t, c.env, append([]string{"serve", "--data", c.dir}, c.serve...)...)
			if code != c.code {
				t.Errorf("exit code %d, want %d:\n%s", code, c.code, said)
			}
			checkMessage(t, said, c.says)
			if c.dir == nowhere {
				if _, err := os.Stat(nowhere); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the data directory was made by a start that was refused")
				}
			} else if fingerprint(t, c.dir) != before {
				t.Error("the data directory changed")
			}
		})
	}
	t.Run("unknown_command", func(t *testing.T) {
		code, said := run(t, nil, "sreve")
		if code != exitUsage {
			t.Errorf("exit code %d, want %d", code, exitUsage)
		}
		checkMessage(t, said, "sreve")
	})
	// The control: without a fault, the same directory starts.
	other.start()
	other.must(200, "GET", "/v1/tenants/old", nil)
	t.Logf("FIGURE refused starts: %d cases, each with its exit code and one line", len(cases)+1)
}

// checkMessage requires exactly one line of plain text, which contains the words.
func checkMessage(t *testing.T, said, words string) {
	t.Helper()
	var lines []string
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "{") { // a log record
			lines = append(lines, line)
		}
	}
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "posthorn: ") || !strings.Contains(lines[0], words) {
		t.Errorf("want one line that names %q, got %d:\n%s", words, len(lines), said)
	}
}

func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}
