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

// LoadOrCreate reads the master keys from a file that contains them as standard base64
// text, one a line, oldest first. If the file does not exist, LoadOrCreate creates it with a random key and mode
// 0600. The file is synced before the keyring is returned, so nothing is ever sealed under
// a key that a power failure could remove. Errors wrap ErrKeyFile, ErrKeySize,
// ErrKeyTwice or ErrKeyCount.
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
	defer clear(text)
	k, err := FromText(string(text))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	k.loose = info.Mode().Perm()&0o077 != 0
	return k, nil
}

// create writes a key to a temporary file and links it into place, so that neither a crash
// nor a second process can leave a partial key or replace one in use.
func create(path string) error {
	return write(path, newKeyText(), 0o600, os.Link)
}

// AppendKey adds a new random key to the file and returns the keyring of all its keys. The
// file is replaced and synced as a whole, and keeps its mode. A symbolic link stays one.
// Errors wrap ErrKeyFile or those of [LoadOrCreate].
func AppendKey(path string) (*Keyring, error) {
	return change(path, func(lines []string) []string { return append(lines, strings.TrimSpace(newKeyText())) })
}

// RemoveKey removes a key from the file and returns the keyring of the others. At least one
// must remain (ErrKeyCount). A key that is not there leaves the file as it is. Errors are
// those of AppendKey.
func RemoveKey(path string, id KeyID) (*Keyring, error) {
	return change(path, func(lines []string) (left []string) {
		for _, line := range lines {
			if k, err := FromText(line); err != nil || k.Newest() != id {
				left = append(left, line)
			}
		}
		return left
	})
}

// change replaces the keys of a file by those that edit returns.
func change(path string, edit func(lines []string) []string) (*Keyring, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("change: %w: %w", ErrKeyFile, err)
	}
	if _, err := load(path); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("change %s: %w: %w", path, ErrKeyFile, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("change %s: %w: %w", path, ErrKeyFile, err)
	}
	lines := edit(strings.Fields(string(text)))
	if _, err := FromText(strings.Join(lines, "\n")); len(lines) == 0 || err != nil {
		return nil, fmt.Errorf("change %s: %w", path, ErrKeyCount)
	}
	if err := write(path, strings.Join(lines, "\n")+"\n", info.Mode().Perm(), os.Rename); err != nil {
		return nil, fmt.Errorf("change %s: %w: %w", path, ErrKeyFile, err)
	}
	return load(path)
}

func newKeyText() string {
	key := make([]byte, KeySize)
	_, _ = rand.Read(key)
	return base64.StdEncoding.EncodeToString(key) + "\n"
}

// write writes a text to a temporary file, syncs it and puts it in place.
func write(path, text string, mode fs.FileMode, place func(from, to string) error) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".master-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.WriteString(text)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := place(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
