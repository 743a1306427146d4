package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestMasterKeyFromTextAndCommand(t *testing.T) {
	key := bytes.Repeat([]byte{7}, KeySize)
	text := base64.StdEncoding.EncodeToString(key)
	direct, err := New(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, given := range []string{text, text + "\n", " " + text + " \r\n"} {
		if k, err := FromText(given); err != nil || k.Installation() != direct.Installation() {
			t.Errorf("%q: %v", given, err)
		}
	}
	if k, err := FromCommand(t.Context(), "printf %s "+text[:10]+" && echo "+text[10:]); err != nil || k.Installation() != direct.Installation() {
		t.Errorf("from a command: %v", err)
	}
	for _, wrong := range []string{"", "x", text[:20], text + text, base64.RawURLEncoding.EncodeToString(key)} {
		if _, err := FromText(wrong); !errors.Is(err, ErrKeySize) || wrong != "" && wrong != "x" && strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	for line, want := range map[string]error{
		"echo " + text[:20]:                      ErrKeySize,
		"true":                                   ErrKeySize,
		"echo " + text + "; exit 3":              ErrCommand,
		"echo " + text + " >&2; exit 1":          ErrCommand,
		"/nonexistent/command":                   ErrCommand,
		"while true; do echo " + text + "; done": ErrCommand,
		"head -c 5000 /dev/zero":                 ErrCommand,
	} {
		if _, err := FromCommand(t.Context(), line); !errors.Is(err, want) || strings.Contains(err.Error(), text[:20]) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// A command that hangs is killed with its child processes. Otherwise a pipe that a child
// holds open would delay the start.
func TestACommandThatHangsIsEnded(t *testing.T) {
	began := time.Now()
	_, err := fromCommand(t.Context(), "sleep 600 & sleep 600", 20*time.Millisecond)
	if !errors.Is(err, ErrCommand) || time.Since(began) > time.Minute {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}
