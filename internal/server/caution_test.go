package server

import (
	"crypto/rand"
	"encoding/hex"
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
	if w := c.easyKeys(); len(w) != 1 || !strings.Contains(w[0], "--operator-key (POSTHORN_OPERATOR_KEY) is easy to guess") {
		t.Errorf("%q", w)
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
