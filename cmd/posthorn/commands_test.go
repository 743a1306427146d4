package main

import (
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
