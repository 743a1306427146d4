package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/exit"
)

func TestWrongCommandLines(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"version"}, exit.OK},
		{[]string{"config"}, exit.OK},
		{[]string{"serv"}, exit.Usage},
		{[]string{"serve", "--lisen", "x"}, exit.Usage},
		{[]string{"serve", "extra"}, exit.Usage},
		{[]string{"demo", "--profile", "nope"}, exit.Usage},
		{[]string{"--version"}, exit.OK},
		{[]string{"help", "endpoint", "create"}, exit.OK},
		{[]string{"help", "nope"}, exit.Usage},
		{[]string{"help", "endpoint", "nope"}, exit.Usage},
		{[]string{"send"}, exit.Usage},
		{[]string{"send", "--key", "k", "--tenant", "a", "--type", "b", "--data", "{"}, exit.Usage},
		{[]string{"send", "--key", "k", "--tenant", "a", "--type", "b", "--data", "{}", "--server", "http://127.0.0.1:1"}, exit.Unreachable},
		{[]string{"serve", "--config", "/does/not/exist"}, exit.Usage},
		{[]string{"serve", "--profile-dir", t.TempDir()}, exit.Usage},
		{[]string{"config", "--profile-dir", t.TempDir()}, exit.Usage},
		{[]string{"serve", "--profile", "nope"}, exit.Usage},
		{[]string{"config", "--profile", "nope"}, exit.Usage},
		{[]string{"config", "--profile", "paywise"}, exit.OK},
	} {
		if code := run(c.args); code != c.code {
			t.Errorf("posthorn %s: exit code %d, want %d", strings.Join(c.args, " "), code, c.code)
		}
	}
}

// Every warning of the configuration reaches standard error once.
func TestConfigWarns(t *testing.T) {
	const key = "an-operator-key-of-at-least-32-characters"
	t.Setenv("POSTHORN_LISSEN", "x")
	out, errOut, code := invoke(t, "", "config", "--operator-key", key)
	if code != exit.OK || strings.Count(errOut, "posthorn: warning: --operator-key holds a secret") != 1 || strings.Contains(out+errOut, key) {
		t.Errorf("config: %d %s %s", code, out, errOut)
	}
	if !strings.Contains(errOut, "POSTHORN_LISSEN (did you mean POSTHORN_LISTEN?)") {
		t.Errorf("config: %q", errOut)
	}
}

// Whatever flag of whatever command gets a value of another kind, the refusal has the flag,
// the value and what is expected, and nothing of the language that the command is
// written in.
func TestValuesAreRefusedInPlainWords(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"serve --drain-delay 5", `--drain-delay: "5" is not a duration such as 30s, 1h30m or 30d`},
		{"serve --host-in-flight x", `--host-in-flight: "x" is not a whole number such as 64`},
		{"serve --host-in-flight 99999999999999999999", `--host-in-flight: "99999999999999999999" is out of range; give a whole number such as 64`},
		{"serve --host-rate 1e400", `--host-rate: "1e400" is out of range; give a number such as 0.5`},
		{"serve --read-rate fast", `--read-rate: "fast" is not a number such as 0.5`},
		{"serve --dev=perhaps", `--dev: "perhaps" is not true or false`},
		{`serve --deny-host a"b`, `--deny-host: "a\"b" is not a list such as a,b`},
		{"serve --deny-network=", "--deny-network: the value is empty"},
		{"serve --deny-network= --deny-network 10.0.0.0/8", "--deny-network: the value is empty"},
		{"serve --deny-network 10.0.0.0/8 --deny-host=", "--deny-host: the value is empty"},
		{"config --allow-network=", "--allow-network: the value is empty"},
		{"config --allow-host=", "--allow-host: the value is empty"},
		{"config --public-url=", "--public-url: the value is empty"},
		{"serve --drain-delay", "--drain-delay needs a value, a duration such as 30s, 1h30m or 30d"},
		{"serve --data", "--data needs a value"},
		{"event list --limit ten", `--limit: "ten" is not a whole number such as 64`},
		{"doctor --timeout 5", `--timeout: "5" is not a duration such as 30s, 1h30m or 30d`},
		{"healthcheck --timeout soon", `--timeout: "soon" is not a duration such as 30s, 1h30m or 30d`},
	} {
		_, errOut, code := invoke(t, "", strings.Fields(c.args)...)
		if code != exit.Usage || !strings.Contains(errOut, c.says) || strings.Contains(errOut, "strconv") || strings.Contains(errOut, "pars") || strings.Contains(errOut, "invalid argument") {
			t.Errorf("%s: code %d, %q, want %q", c.args, code, errOut, c.says)
		}
	}
}

// A list that is left out, or has no entries in the file, is no mistake: what config
// prints can be loaded.
func TestListsMayBeLeftOut(t *testing.T) {
	out, errOut, code := invoke(t, "", "config")
	if code != exit.OK || !strings.Contains(out, "deny_network: []\n") {
		t.Fatalf("code %d, shown:\n%s%s", code, out, errOut)
	}
	file := filepath.Join(t.TempDir(), "posthorn.yaml")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errOut, code = invoke(t, "", "config", "--config", file, "--allow-host", "app.internal,*.svc.cluster.local"); code != exit.OK || !strings.Contains(out, "app.internal") {
		t.Errorf("code %d: %s%s", code, out, errOut)
	}
}
