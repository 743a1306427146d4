package seal

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// LoadOrCreate reads the master key from a file that contains 32 bytes as standard base64
// text. If the file does not exist, LoadOrCreate creates it with a random key and mode
// 0600. The file is synced before the keyring is returned, so nothing is ever sealed under
// a key that a power failure could remove. Errors wrap ErrKeyFile or ErrKeySize.
func LoadOrCreate(path string) (*Keyring, error) {
	k, err := load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if err := create(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create %s: %w: %w", path, ErrKeyFile, err)
	}
	return load(path)
}

func load(path string) (*Keyring, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", path, ErrKeyFile, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", path, ErrKeyFile, err)
	}
	// The decoder's own error would quote part of the key.
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, ErrKeySize)
	}
	k, err := New(key)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	k.loose = info.Mode().Perm()&0o077 != 0
	return k, nil
}

// create writes the key to a temporary file and links it into place, so that neither a
// crash nor a second process can leave a partial key or replace one in use.
func create(path string) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".master-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	key := make([]byte, KeySize)
	_, _ = rand.Read(key)
	_, err = tmp.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
