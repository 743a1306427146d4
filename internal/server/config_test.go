package server

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/exit"
)

func loaded(t *testing.T, file string, args ...string) (*Config, error) {
	t.Helper()
	c := &Config{}
	f := c.Flags()
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
	return c, c.Load(f, file)
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
	f := c.Flags()
	if err := c.Load(f, ""); err != nil || c.OperatorKey != secret {
		t.Fatalf("%q %v", c.OperatorKey, err)
	}
	var out bytes.Buffer
	ShowConfig(&out, f)
	if strings.Contains(out.String(), "planted") || !strings.Contains(out.String(), "operator_key: \"***\"\n") {
		t.Errorf("shown:\n%s", out.String())
	}
}

func TestProxyIsShownWithoutCredentials(t *testing.T) {
	for text, want := range map[string]string{"http://u:planted@proxy:3128": "http://***@proxy:3128", "http://proxy:3128": "http://proxy:3128"} {
		c := &Config{}
		f := c.Flags()
		if err := f.Parse([]string{"--egress-proxy", text}); err != nil {
			t.Fatal(err)
		}
		if warned := len(onCommandLine(f)) == 1; warned != strings.Contains(text, "planted") {
			t.Errorf("%s: warned of the command line: %v", text, warned)
		}
		var out bytes.Buffer
		ShowConfig(&out, f)
		if strings.Contains(out.String(), "planted") || !strings.Contains(out.String(), `egress_proxy: "`+want+`"`) {
			t.Errorf("shown:\n%s", out.String())
		}
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
		{name: "twice", file: "dev: true\ndev: false\n", says: ":2: option \"dev\" is set twice"},
		{name: "wrong type", file: "dev: perhaps\n", says: `:1: dev: "perhaps" is not true or false`},
		{name: "wrong type further down", file: "dev: true\n\nretention: 5\n", says: `:3: retention: "5" is not a duration such as 30s, 1h30m or 30d`},
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
		{name: "payloads", args: []string{"--retention-payloads", "-1h"}, says: "--retention-payloads: must not be negative"},
		{name: "answers", env: [2]string{"POSTHORN_RETENTION_ANSWERS", "-1d"}, says: "POSTHORN_RETENTION_ANSWERS: must not be negative"},
		{name: "budget without unit", env: [2]string{"POSTHORN_DISK_BUDGET", "20"}, says: `"20" is not a size with a unit, such as 500MB`},
		{name: "negative budget", env: [2]string{"POSTHORN_DISK_BUDGET", "-20GB"}, says: `"-20GB" is not a size`},
		{name: "tiny budget", file: "disk_budget: 1MB\n", says: `disk_budget: 1 MB is less than 100 MB`},
		{name: "retention", args: []string{"--retention", "23h"}, says: "0 keeps events forever"},
		{name: "age", args: []string{"--connection-max-age", "10ms"}, says: "--connection-max-age: 10ms is neither 0s (any age) nor between 1s and 24h"},
		{name: "authority that is not there", args: []string{"--ca-file", "/does/not/exist"}, says: "--ca-file: stat /does/not/exist: no such file"},
		{name: "authority without certificate", args: []string{"--ca-file", "config_test.go"}, says: "--ca-file: config_test.go: there is no certificate in it"},
		{name: "certificate without key", args: []string{"--client-cert", "x"}, says: "--client-cert: --client-key is missing"},
		{name: "key without certificate", args: []string{"--client-key", "x"}, says: "--client-key: --client-cert is missing"},
		{name: "client certificate", args: []string{"--client-cert", "config_test.go", "--client-key", "/does/not/exist"}, says: "/does/not/exist: no such file"},
		{name: "proxy", args: []string{"--egress-proxy", "socks5://u:planted@h:1"}, says: "--egress-proxy: it must start with http:// or https://"},
		{name: "timeout", args: []string{"--shutdown-timeout", "-1s"}, says: "between 0s and 1h"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.env[0] != "" {
				t.Setenv(c.env[0], c.env[1])
			}
			_, err := loaded(t, c.file, c.args...)
			e, ok := errors.AsType[*exit.Error](err)
			if !ok || e.Code != exit.Usage || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "planted") {
				t.Errorf("got %v, want code 2 and %q", err, c.says)
			}
		})
	}
}

func TestUnknownVariablesAreNamed(t *testing.T) {
	c := &Config{}
	got := UnknownVariables(c.Flags(), []string{"POSTHORN_OPERTOR_KEY=x", "POSTHORN_KEY=x", "POSTHORN_OPERATOR_KEY_FILE=x", "POSTHORN_DEV=1", "POSTHORN_PORT_8080_TCP=x", "HOME=x", "POSTHORN_QUITE_ANOTHER=x"})
	if want := []string{"POSTHORN_OPERTOR_KEY (did you mean POSTHORN_OPERATOR_KEY?)", "POSTHORN_QUITE_ANOTHER"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
