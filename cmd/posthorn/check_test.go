package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/exit"
)

// serve --check names every fault of flags, variables and file, and makes nothing. The
// control is a configuration without one.
func TestServeCheck(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "posthorn.yaml")
	if err := os.WriteFile(file, []byte("lissen: x\nheld_for: 5m\nretention: soon\ndeny_host: [\"a b\"]\nhost_rate: 0.5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("POSTHORN_MAX_IN_FLIGHT", "many")
	t.Setenv("POSTHORN_OPERATOR_KEY_FILE", filepath.Join(dir, "none"))
	out, errOut, code := invoke(t, "", "serve", "--check", "--config", file, "--data", data, "--synchronous", "maybe", "--listen", "nowhere", "--allow-network", "10/8", "--mount", "x", "--read-rate", "-1")
	for _, fault := range []string{file + ":1: unknown option", file + ":3: retention: \"soon\" is not a duration", file + ":2: held_for: 5m", file + ":4: deny_host: ", file + ":5: host_rate: ", "POSTHORN_MAX_IN_FLIGHT: \"many\" is not a whole number",
		"POSTHORN_OPERATOR_KEY_FILE: ", "--synchronous: ", "--listen: ", "--allow-network: ", "--mount: ", "--read-rate: "} {
		if !strings.Contains(errOut, "\n"+fault) && !strings.HasPrefix(errOut, fault) {
			t.Errorf("no line %q in\n%s", fault, errOut)
		}
	}
	if code != exit.Usage || out != "" || !strings.Contains(errOut, "12 faults in the configuration") {
		t.Errorf("code %d: %s%s", code, out, errOut)
	}
	t.Setenv("POSTHORN_MAX_IN_FLIGHT", "8")
	t.Setenv("POSTHORN_OPERATOR_KEY_FILE", "")
	if out, errOut, code := invoke(t, "", "serve", "--check", "--data", data, "--held-for", "1d12h"); code != exit.OK || out != "The configuration can be used.\n" {
		t.Errorf("control: %d %s%s", code, out, errOut)
	}
	if _, errOut, code := invoke(t, "", "serve", "--check", "--data", data, "--profile", "nope"); code != exit.Usage || !strings.Contains(errOut, "--profile: ") {
		t.Errorf("a profile that is not there: %d %s", code, errOut)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("a data directory was made")
	}
}

// serve --check names every flag that cannot be read, wherever --check is. Without it, the
// first one ends the command, as before.
func TestServeCheckNamesAllFlags(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	t.Setenv("POSTHORN_HOST_RATE", "0.5")
	wrong := []string{"--data", data, "--lissen", "x", "--held-for", "soon", "-q", "--fast-attempts=many", "--ui=perhaps", "--operator-key", "short", "--allow-netwerk=10.0.0.0/8", "--read-rate", "-1", "--slow-attempts"}
	for _, args := range [][]string{append([]string{"serve", "--check"}, wrong...), append(append([]string{"serve"}, wrong[:len(wrong)-1]...), "--check", "--slow-attempts")} {
		out, errOut, code := invoke(t, "", args...)
		lines := strings.Split(errOut, "\n")
		for _, fault := range []string{"unknown flag: --lissen; did you mean --listen?", "--held-for: \"soon\" is not a duration", "unknown shorthand flag: 'q' in -q", "--fast-attempts: \"many\" is not a whole number",
			"--ui: \"perhaps\" is not true or false", "--operator-key: ", "unknown flag: --allow-netwerk; did you mean --allow-network?", "--read-rate: ", "--slow-attempts needs a value", "POSTHORN_HOST_RATE: "} {
			if n := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, fault) }); n < 0 {
				t.Errorf("no line %q in\n%s", fault, errOut)
			}
		}
		if code != exit.Usage || out != "" || !strings.Contains(errOut, "10 faults in the configuration") || strings.Contains(errOut, "short") && strings.Contains(errOut, "\"short\"") {
			t.Errorf("code %d: %s%s", code, out, errOut)
		}
	}
	_, errOut, code := invoke(t, "", append([]string{"serve"}, wrong...)...)
	if code != exit.Usage || errOut != "unknown flag: --lissen; did you mean --listen?" {
		t.Errorf("without --check: %d %s", code, errOut)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("a data directory was made")
	}
}
