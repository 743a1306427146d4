package store_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *storetest.Harness {
		dir := t.TempDir()
		return &storetest.Harness{
			Open: func(o store.Options) (*store.Store, error) {
				o.Dir, o.Reserve = dir, -1
				return store.Open(context.Background(), o)
			},
			Bytes: func() []byte { return slurp(t, dir) },
		}
	})
}

// slurp returns the contents of all files in the directory.
func slurp(t *testing.T, dir string) []byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	var all bytes.Buffer
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.Bytes()
}

func keyring(t testing.TB, fill byte) *seal.Keyring {
	t.Helper()
	k, err := seal.New(bytes.Repeat([]byte{fill}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var live = hook.Scope{Tenant: "acme", Mode: hook.Live}
