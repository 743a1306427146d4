package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func loaded(t *testing.T, file string, args ...string) (*Config, error) {
	t.Helper()
	c := &Config{}
	f := c.flags()
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	if file != "" {
		path := filepath.Join(t.TempDir(), "posthorn.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		file = path
	}
	return c, c.load(f, file)
}

func TestFlagsWinOverEnvironmentOverFile(t *testing.T) {
	t.Setenv("POSTHORN_LISTEN", "127.0.0.1:2")
	t.Setenv("POSTHORN_DATA", "/env")
	t.Setenv("POSTHORN_ALLOW_NETWORK", "10.0.0.0/8,192.168.1.7/16")
	c, err := loaded(t, "listen: 127.0.0.1:3\ndata: /file\nprofile: paywise\nheld_for: 48h\n", "--listen", "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:1" || c.Data != "/env" || c.Profile != "paywise" || c.HeldFor != 48*time.Hour || c.Synchronous != "full" {
		t.Errorf("%+v", c)
	}
	if len(c.networks) != 2 || c.networks[1].String() != "192.168.0.0/16" {
		t.Errorf("networks %v", c.networks)
	}
	c, err = loaded(t, "allow_network: [10.0.0.0/8, 172.16.0.0/12]\n", "--allow-network", "fd00::/8")
	if err != nil || len(c.networks) != 1 {
		t.Errorf("networks %v, %v", c.networks, err)
	}
}

func TestSecretsComeFromFilesAndAreMasked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	const secret = "planted-operator-key-of-32-characters-or-more"
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("POSTHORN_OPERATOR_KEY_FILE", path)
	c := &Config{}
	f := c.flags()
	if err := c.load(f, ""); err != nil || c.OperatorKey != secret {
		t.Fatalf("%q %v", c.OperatorKey, err)
	}
	var out bytes.Buffer
	show(&out, f)
	if strings.Contains(out.String(), "planted") || !strings.Contains(out.String(), "operator_key: \"***\"\n") {
		t.Errorf("shown:\n%s", out.String())
	}
}

func TestWrongConfigurationIsRefusedByName(t *testing.T) {
	const key = "an-operator-key-of-at-least-32-characters"
	for _, c := range []struct {
		name, file string
		args       []string
		env        [2]string
		says       string
	}{
		{name: "unknown member", file: "lisen: x\n", says: `:1: unknown option "lisen"; did you mean listen?`},
		{name: "flag's spelling in the file", file: "allow-http: true\n", says: "unknown option"},
		{name: "twice", file: "dev: true\ndev: false\n", says: ":2: option \"dev\" stands twice"},
		{name: "wrong type", file: "dev: perhaps\n", says: `:1: dev: "perhaps" is not true or false`},
		{name: "wrong type further down", file: "dev: true\n\nretention: 5\n", says: `:3: retention: "5" is not a duration such as 30s or 1h30m`},
		{name: "member of the file", file: "dev: true\nmax_in_flight: 0\n", says: ":2: max_in_flight: 0 is not between"},
		{name: "empty list in the file", file: "deny_network: ''\n", says: ":1: deny_network: the value is empty"},
		{name: "no value in the file", file: "deny_host:\n", says: ":1: deny_host: the value is empty"},
		{name: "not a mapping", file: "- a\n", says: "name: value"},
		{name: "nested", file: "listen: {a: b}\n", says: "plain value"},
		{name: "not YAML", file: "a: [", says: "posthorn.yaml"},
		{name: "value not in the list", args: []string{"--synchronous", "fast"}, says: `--synchronous: "fast" is not one of full, normal, off`},
		{name: "address", args: []string{"--listen", "8080"}, says: "--listen"},
		{name: "network", args: []string{"--allow-network", "10.0.0.0"}, says: "--allow-network"},
		{name: "denied network", args: []string{"--deny-network", "10.0.0.0/33"}, says: `--deny-network: "10.0.0.0/33" is not a network`},
		{name: "denied address", args: []string{"--deny-host", "10.0.0.1"}, says: `--deny-host: "10.0.0.1": it is not a host name`},
		{name: "allowed host", args: []string{"--allow-host", "app.internal,*"}, says: `--allow-host: "*": it is not a host name`},
		{name: "drain delay", args: []string{"--drain-delay", "11m"}, says: "between 0s and 10m"},
		{name: "short key", args: []string{"--operator-key", "short"}, says: "32 to 200"},
		{name: "one key for both modes", args: []string{"--operator-key", key, "--operator-test-key", key}, says: "must differ"},
		{name: "store", args: []string{"--store", "mysql://u:planted@h/db"}, says: `got "mysql:..."`},
		{name: "variable", env: [2]string{"POSTHORN_DEV", "perhaps"}, says: `POSTHORN_DEV: "perhaps" is not true or false`},
		{name: "number in a variable", env: [2]string{"POSTHORN_HOST_RATE", "1e400"}, says: `POSTHORN_HOST_RATE: "1e400" is out of range; give a number such as 0.5`},
		{name: "value of a variable", env: [2]string{"POSTHORN_HOST_RATE", "0.5"}, says: "POSTHORN_HOST_RATE: 0.5 is neither 0"},
		{name: "empty variable", env: [2]string{"POSTHORN_DENY_HOST", ""}, says: "POSTHORN_DENY_HOST: the value is empty"},
		{name: "public name", args: []string{"--allow-host", "app.internal,hooks.example.com"}, says: `--allow-host: "hooks.example.com" is a public name`},
		{name: "names under a public one", args: []string{"--allow-host", "*.example.com"}, says: `--allow-host: "*.example.com" is a public name`},
		{name: "number", args: []string{"--max-in-flight", "0"}, says: "between 1 and 100000"},
		{name: "retention", args: []string{"--retention", "23h"}, says: "0 keeps events for ever"},
		{name: "timeout", args: []string{"--shutdown-timeout", "-1s"}, says: "between 0s and 1h"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.env[0] != "" {
				t.Setenv(c.env[0], c.env[1])
			}
			_, err := loaded(t, c.file, c.args...)
			e, ok := errors.AsType[*exitError](err)
			if !ok || e.code != exitUsage || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "planted") {
				t.Errorf("got %v, want code 2 and %q", err, c.says)
			}
		})
	}
}

// Whatever flag of whatever command gets a value of another kind, the refusal has the flag,
// the value and what is expected, and nothing of the language that the command is
// written in.
func TestValuesAreRefusedInPlainWords(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"serve --drain-delay 5", `--drain-delay: "5" is not a duration such as 30s or 1h30m`},
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
		{"serve --drain-delay", "--drain-delay needs a value, a duration such as 30s or 1h30m"},
		{"serve --data", "--data needs a value"},
		{"event list --limit ten", `--limit: "ten" is not a whole number such as 64`},
		{"doctor --timeout 5", `--timeout: "5" is not a duration such as 30s or 1h30m`},
		{"healthcheck --timeout soon", `--timeout: "soon" is not a duration such as 30s or 1h30m`},
	} {
		_, errOut, code := invoke(t, "", strings.Fields(c.args)...)
		if code != exitUsage || !strings.Contains(errOut, c.says) || strings.Contains(errOut, "strconv") || strings.Contains(errOut, "pars") || strings.Contains(errOut, "invalid argument") {
			t.Errorf("%s: code %d, %q, want %q", c.args, code, errOut, c.says)
		}
	}
}

// A list that is left out, or has no entries in the file, is no mistake: what config
// prints can be loaded.
func TestListsMayBeLeftOut(t *testing.T) {
	var out bytes.Buffer
	f := (&Config{}).flags()
	show(&out, f)
	if !strings.Contains(out.String(), "deny_network: []\n") {
		t.Fatalf("shown:\n%s", out.String())
	}
	if c, err := loaded(t, out.String(), "--allow-host", "app.internal,*.svc.cluster.local"); err != nil || len(c.targets.allowHosts) != 2 {
		t.Errorf("%v", err)
	}
}

func TestUnknownVariablesAreNamed(t *testing.T) {
	c := &Config{}
	got := unknownVariables(c.flags(), []string{"POSTHORN_OPERTOR_KEY=x", "POSTHORN_KEY=x", "POSTHORN_OPERATOR_KEY_FILE=x", "POSTHORN_DEV=1", "POSTHORN_PORT_8080_TCP=x", "HOME=x", "POSTHORN_QUITE_ANOTHER=x"})
	if want := []string{"POSTHORN_OPERTOR_KEY (did you mean POSTHORN_OPERATOR_KEY?)", "POSTHORN_QUITE_ANOTHER"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	t.Setenv("POSTHORN_LISSEN", "x")
	if _, errOut, code := invoke(t, "", "config"); code != exitOK || !strings.Contains(errOut, "POSTHORN_LISSEN (did you mean POSTHORN_LISTEN?)") {
		t.Errorf("code %d, %q", code, errOut)
	}
}

func TestWrongCommandLines(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"version"}, exitOK},
		{[]string{"config"}, exitOK},
		{[]string{"serv"}, exitUsage},
		{[]string{"serve", "--lisen", "x"}, exitUsage},
		{[]string{"serve", "extra"}, exitUsage},
		{[]string{"demo", "--profile", "nope"}, exitUsage},
		{[]string{"--version"}, exitOK},
		{[]string{"help", "endpoint", "create"}, exitOK},
		{[]string{"help", "nope"}, exitUsage},
		{[]string{"help", "endpoint", "nope"}, exitUsage},
		{[]string{"send"}, exitUsage},
		{[]string{"send", "--key", "k", "--tenant", "a", "--type", "b", "--data", "{"}, exitUsage},
		{[]string{"send", "--key", "k", "--tenant", "a", "--type", "b", "--data", "{}", "--server", "http://127.0.0.1:1"}, exitUnreachable},
		{[]string{"serve", "--config", "/does/not/exist"}, exitUsage},
		{[]string{"serve", "--profile-dir", t.TempDir()}, exitUsage},
		{[]string{"config", "--profile-dir", t.TempDir()}, exitUsage},
		{[]string{"serve", "--profile", "nope"}, exitUsage},
		{[]string{"config", "--profile", "nope"}, exitUsage},
		{[]string{"config", "--profile", "paywise"}, exitOK},
	} {
		if code := run(c.args); code != c.code {
			t.Errorf("posthorn %s: exit code %d, want %d", strings.Join(c.args, " "), code, c.code)
		}
	}
}
