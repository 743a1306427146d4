package seal_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
)

func keyText(fill byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, seal.KeySize))
}

func rings(t *testing.T, fills ...byte) *seal.Keyring {
	t.Helper()
	var lines []string
	for _, fill := range fills {
		lines = append(lines, keyText(fill))
	}
	k, err := seal.FromText(strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The newest key seals and all open. Control: without its key, a blob does not open.
func TestKeyringOpensWithEveryKey(t *testing.T) {
	old, both := rings(t, 1), rings(t, 1, 2)
	place := []byte("place")
	before, err := old.Seal(place, []byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	after, err := both.Seal(place, []byte("after"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := both.Open(place, before); err != nil || string(got) != "before" {
		t.Errorf("%q, %v", got, err)
	}
	if by, ok := seal.KeyOf(after); !ok || by != both.Newest() || by != rings(t, 2).Current() {
		t.Errorf("sealed by %s", by)
	}
	if _, err := old.Open(place, after); !errors.Is(err, seal.ErrOtherKey) {
		t.Errorf("control: %v", err)
	}
	if _, err := both.Open([]byte("other"), before); !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("another place: %v", err)
	}
	// A head that names another key of the ring opens nothing.
	forged := bytes.Clone(before)
	copy(forged[1:5], after[1:5])
	if _, err := both.Open(place, forged); !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("forged: %v", err)
	}
}

func TestKeyringsThatAreRefused(t *testing.T) {
	var many []string
	for i := range byte(seal.MaxKeys + 1) {
		many = append(many, keyText(i))
	}
	for name, one := range map[string]struct {
		text string
		want error
	}{
		"twice":                {keyText(1) + "\n" + keyText(2) + "\n" + keyText(1), seal.ErrKeyTwice},
		"cut in the last line": {keyText(1) + "\n" + keyText(2)[:20], seal.ErrKeySize},
		"cut in the first":     {keyText(1)[20:] + "\n" + keyText(2), seal.ErrKeySize},
		"padding between":      {keyText(1) + keyText(2), seal.ErrKeySize},
		"a comment":            {"# new\n" + keyText(1), seal.ErrKeySize},
		"too many":             {strings.Join(many, "\n"), seal.ErrKeyCount},
		"very many":            {strings.Repeat("AAAA ", 1<<16), seal.ErrKeyCount},
		"none":                 {" \n ", seal.ErrKeySize},
	} {
		_, err := seal.FromText(one.text)
		if !errors.Is(err, one.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), keyText(1)[:12]) {
			t.Errorf("%s: the message quotes a key: %v", name, err)
		}
	}
}

func TestReplaceKeepsWhatIsNeeded(t *testing.T) {
	k := rings(t, 1)
	for _, fills := range [][]byte{{2}, {2, 3}} {
		if err := k.Replace(rings(t, fills...)); !errors.Is(err, seal.ErrOtherKey) || !strings.Contains(err.Error(), k.Current().String()) {
			t.Errorf("%v: %v", fills, err)
		}
	}
	if err := k.Replace(rings(t, 1, 2)); err != nil || k.Current() != rings(t, 1).Current() || k.Newest() != rings(t, 2).Current() {
		t.Errorf("%v, seals %s", err, k.Current())
	}
	if err := k.Use(rings(t, 2).Current()); err != nil {
		t.Error(err)
	}
	if err := k.Use(rings(t, 3).Current()); !errors.Is(err, seal.ErrOtherKey) {
		t.Error(err)
	}
	if err := k.Replace(rings(t, 2), rings(t, 1).Current()); !errors.Is(err, seal.ErrOtherKey) {
		t.Errorf("a key that is needed went: %v", err)
	}
	if err := k.Replace(rings(t, 2)); err != nil {
		t.Error(err)
	}
}

// A store is opened only with the key of its check value and that of a rotation in
// progress.
func TestFit(t *testing.T) {
	checked, err := rings(t, 2).SealCheck(rings(t, 2).Current())
	if err != nil {
		t.Fatal(err)
	}
	running := seal.RotationRecord(&hook.Rotation{From: rings(t, 1).Current().String(), To: rings(t, 2).Current().String()})
	bent := bytes.Clone(checked)
	bent[len(bent)-1]++
	for name, one := range map[string]struct {
		ring            *seal.Keyring
		check, rotation []byte
		want            error
	}{
		"both":               {rings(t, 1, 2), checked, running, nil},
		"the other way":      {rings(t, 2, 1), checked, running, nil},
		"the new one":        {rings(t, 2), checked, running, seal.ErrOtherKey},
		"the new one, ended": {rings(t, 2), checked, nil, nil},
		"the old one":        {rings(t, 1), checked, nil, seal.ErrOtherKey},
		"none of them":       {rings(t, 3), checked, running, seal.ErrOtherKey},
		"bent":               {rings(t, 1, 2), bent, nil, seal.ErrDamaged},
		"cut":                {rings(t, 1, 2), checked[:10], nil, seal.ErrDamaged},
		"empty":              {rings(t, 1, 2), nil, nil, seal.ErrDamaged},
	} {
		if err := one.ring.Fit(one.check, one.rotation); !errors.Is(err, one.want) {
			t.Errorf("%s: %v", name, err)
		}
		if one.want == nil && one.ring.Current() != rings(t, 2).Current() {
			t.Errorf("%s: %s seals", name, one.ring.Current())
		}
	}
	if err := rings(t, 1, 2).Fit(checked, []byte(`{"from":"zz"}`)); err == nil {
		t.Error("a record that names no key was accepted")
	}
}

func TestAppendAndRemoveKey(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "keys", "master.key"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	first, err := seal.LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	two, err := seal.AppendKey(link)
	if err != nil || len(two.IDs()) != 2 || two.IDs()[0] != first.Newest() {
		t.Fatalf("%v, %v", two.IDs(), err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if again, err := seal.LoadOrCreate(path); err != nil || again.Newest() != two.Newest() {
		t.Errorf("%v", err)
	}
	if left, err := seal.RemoveKey(path, first.Newest()); err != nil || len(left.IDs()) != 1 || left.Newest() != two.Newest() {
		t.Errorf("%v", err)
	}
	if _, err := seal.RemoveKey(path, two.Newest()); !errors.Is(err, seal.ErrKeyCount) {
		t.Errorf("the last key went: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]string{"cut": string(text[:20]), "empty": ""} {
		if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.AppendKey(path); !errors.Is(err, seal.ErrKeySize) {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != broken {
			t.Errorf("%s: the file was changed to %q", name, now)
		}
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".master*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
