package seal_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/seal"
)

func ring(t *testing.T, fill byte) *seal.Keyring {
	t.Helper()
	k, err := seal.New(bytes.Repeat([]byte{fill}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestOpenReturnsWhatWasSealed(t *testing.T) {
	k := ring(t, 1)
	for _, plain := range []string{"", "x", strings.Repeat("secret", 1000)} {
		sealed, err := k.Seal([]byte("place"), []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		if plain == strings.Repeat("secret", 1000) && bytes.Contains(sealed, []byte("secret")) {
			t.Error("the plaintext is in the blob")
		}
		got, err := k.Open([]byte("place"), sealed)
		if err != nil || string(got) != plain {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	k := ring(t, 1)
	sealed, err := k.Seal([]byte("place"), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Open([]byte("other"), sealed); !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("another place: %v", err)
	}
	if _, err := ring(t, 2).Open([]byte("place"), sealed); !errors.Is(err, seal.ErrOtherKey) {
		t.Errorf("another key: %v", err)
	}
	for i := range sealed {
		bent := bytes.Clone(sealed)
		bent[i] ^= 1
		if _, err := k.Open([]byte("place"), bent); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if _, err := k.Open([]byte("place"), sealed[:i]); err == nil {
			t.Errorf("opened when cut at %d", i)
		}
	}
}

func TestKeyringCannotBePrinted(t *testing.T) {
	k := ring(t, 'K')
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "k", k)
	text := log.String() + fmt.Sprintf("%v %+v %#v %s %x %d %q", k, k, k, k, k, k, k)
	for _, leak := range []string{"KKKK", "4b4b4b", "75 75 75"} {
		if strings.Contains(text, leak) {
			t.Errorf("the key shows as %q in %s", leak, text)
		}
	}
}

func TestLoadOrCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	first, err := seal.LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	sealed, err := first.Seal(nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := seal.LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open(nil, sealed); err != nil || string(got) != "x" || again.Loose() {
		t.Errorf("second load: %q, %v, loose %v", got, err, again.Loose())
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if k, err := seal.LoadOrCreate(path); err != nil || !k.Loose() {
		t.Errorf("a file others may read is not reported: %v", err)
	}
}

func TestLoadOrCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"empty":  "",
		"short":  base64.StdEncoding.EncodeToString(make([]byte, 31)),
		"long":   base64.StdEncoding.EncodeToString(make([]byte, 33)),
		"broken": "not base64 at all!!",
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.LoadOrCreate(path); !errors.Is(err, seal.ErrKeySize) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := seal.LoadOrCreate(filepath.Join(dir, "none", "key")); !errors.Is(err, seal.ErrKeyFile) {
		t.Errorf("no directory: %v", err)
	}
	if _, err := seal.LoadOrCreate(dir); !errors.Is(err, seal.ErrKeyFile) {
		t.Errorf("a directory: %v", err)
	}
}

// Nodes with the same master key have the same installation id. Another key gives another
// id.
func TestInstallation(t *testing.T) {
	one, same, other := ring(t, 1).Installation(), ring(t, 1).Installation(), ring(t, 2).Installation()
	if one != same || one == other || len(one) != 16 || strings.Trim(one, "0123456789abcdef") != "" {
		t.Errorf("%q %q %q", one, same, other)
	}
}

// The mark of a code is made with a master key, and holds while the key is in the ring.
func TestMarks(t *testing.T) {
	const code = "a-code"
	old, both, other := ring(t, 1), rings(t, 1, 2), ring(t, 3)
	mark := old.Mark(code)
	if len(mark) != 12 || mark != ring(t, 1).Mark(code) || mark == both.Mark(code) {
		t.Errorf("%q %q", mark, both.Mark(code))
	}
	if !old.Marked(code, mark) || !both.Marked(code, mark) || !both.Marked(code, both.Mark(code)) {
		t.Error("a mark does not hold")
	}
	for _, wrong := range [][2]string{{code, ""}, {code, mark[1:]}, {code, mark + "A"}, {"b-code", mark}, {"", ""}, {code, other.Mark(code)}} {
		if both.Marked(wrong[0], wrong[1]) {
			t.Errorf("%q holds", wrong)
		}
	}
}
