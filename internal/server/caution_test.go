package server

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A key out of a guide, or one that repeats a short text, starts no server but one for
// development. The control is --dev.
func TestExampleKeysAreRefused(t *testing.T) {
	good := make([]byte, 16)
	rand.Read(good)
	for _, key := range []string{"change-me-change-me-change-me-change-me", "test-me-test-me-test-me-test-me-test-me", strings.Repeat("0", 32),
		strings.Repeat("ab", 20), strings.Repeat("0123456789abcdef", 2), strings.Repeat("secret", 6) + "sec"} {
		for _, flag := range []string{"--operator-key", "--operator-test-key"} {
			_, err := loaded(t, "", flag, key)
			if err == nil || !strings.Contains(err.Error(), flag) || !strings.Contains(err.Error(), "openssl rand -hex 32") || strings.Contains(err.Error(), key) {
				t.Errorf("%s: %v", key, err)
			}
			if _, err := loaded(t, "", flag, key, "--dev"); err != nil {
				t.Errorf("control: %s with --dev: %v", key, err)
			}
		}
	}
	for range 200 {
		rand.Read(good)
		if _, err := loaded(t, "", "--operator-key", hex.EncodeToString(good)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := loaded(t, "", "--operator-key", strings.Repeat("a", 31)+"b", "--operator-test-key", "0f4c9c1e7ab52d3386d07e9b41fa5c28")
	if err != nil {
		t.Fatal(err)
	}
	if w := c.easyKeys(); len(w) != 1 || !strings.HasPrefix(w[0], "--operator-key: the key is easy to guess") {
		t.Errorf("%q", w)
	}
}

// What is said about a key names the place where the key is, which has to be changed.
func TestKeysAreNamedByTheirSource(t *testing.T) {
	easy := strings.Repeat("a", 31) + "b"
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(easy+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, variable, value, file, want string }{
		{"variable", "POSTHORN_OPERATOR_KEY", easy, "", "POSTHORN_OPERATOR_KEY: the key is easy"},
		{"file of the variable", "POSTHORN_OPERATOR_KEY_FILE", path, "", "POSTHORN_OPERATOR_KEY_FILE: the key is easy"},
		{"configuration", "POSTHORN_DEV", "false", "listen: 127.0.0.1:1\noperator_key: " + easy + "\n", "posthorn.yaml:2: operator_key: the key is easy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(c.variable, c.value)
			config, err := loaded(t, c.file)
			if err != nil {
				t.Fatal(err)
			}
			if w := config.easyKeys(); len(w) != 1 || !strings.Contains(w[0], c.want) || strings.Contains(w[0], "--") || strings.Contains(w[0], easy) {
				t.Errorf("%q, want %q", w, c.want)
			}
		})
	}
	t.Setenv("POSTHORN_OPERATOR_KEY", "short")
	if _, err := loaded(t, ""); err == nil || !strings.HasPrefix(err.Error(), "POSTHORN_OPERATOR_KEY: must be 32 to 200") {
		t.Errorf("a short key: %v", err)
	}
}

// Secrets on the command line are warned of, those that come from elsewhere are not.
func TestSecretsOnTheCommandLine(t *testing.T) {
	const key = "an-operator-key-of-at-least-32-characters"
	t.Setenv("POSTHORN_OPERATOR_TEST_KEY", key+"-test")
	for _, c := range []struct {
		args []string
		want string // part of the one warning; empty: none
	}{
		{[]string{"--operator-key", key}, "--operator-key holds a secret"},
		{[]string{"--store", "postgres://posthorn:planted@db/posthorn"}, "POSTHORN_STORE_FILE"},
		{[]string{"--store", "postgres://db/posthorn?user=posthorn&password=planted"}, "POSTHORN_STORE_FILE"},
		{[]string{"--store", "postgres://posthorn:pl%zzanted@db/posthorn"}, "POSTHORN_STORE_FILE"},
		{[]string{"--store", "postgres://posthorn@db/posthorn"}, ""}, {[]string{"--store", "sqlite:/x"}, ""}, {[]string{"--operator-key", ""}, ""}, {nil, ""},
	} {
		f := (&Config{}).Flags()
		if err := f.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		text := strings.Join(onCommandLine(f), "\n")
		if c.want == "" && text != "" || !strings.Contains(text, c.want) || strings.Contains(text, "planted") || strings.Contains(text, key) {
			t.Errorf("%q: %q", c.args, text)
		}
	}
}
