package cli

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/posthorn/posthorn/internal/exit"
)

// contexts are the servers and keys that "posthorn login" saves, in one file per user.
type contexts struct {
	Current  string             `json:"current"` // name of the one in use; empty: none
	Contexts map[string]account `json:"contexts"`
}

// account is a server with a key for it.
type account struct {
	URL       string `json:"url"`
	Key       string `json:"key"`
	PlainHTTP bool   `json:"allow_plain_http,omitempty"`
}

const maxContexts = 1 << 20 // bytes of the file

func contextsFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", exit.Usagef("contexts: %w; set HOME or XDG_CONFIG_HOME", err)
	}
	return filepath.Join(dir, "posthorn", "contexts.json"), nil
}

// readContexts reads the file, which may be missing. A file that others may read is an
// error, because it contains keys.
func readContexts() (contexts, error) {
	all := contexts{Contexts: map[string]account{}}
	if os.Getenv("XDG_CONFIG_HOME") == "" && os.Getenv("HOME") == "" {
		return all, nil // a user without a home, such as that of a service, has no contexts
	}
	path, err := contextsFile()
	if err != nil {
		return all, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return all, exit.Usagef("contexts: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return all, exit.Usagef("contexts: %s contains keys and others may read it (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	text, err := readPath(path, maxContexts)
	if err != nil {
		return all, exit.Usagef("contexts: %w", err)
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return all, exit.Usagef("contexts: %s: %w; fix it, or delete it and log in again", path, err)
	}
	if all.Contexts == nil {
		all.Contexts = map[string]account{}
	}
	return all, nil
}

// write replaces the whole file, readable only by the user.
func (c contexts) write() error {
	path, err := contextsFile()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return exit.Usagef("contexts: %w", err)
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "contexts-") // mode 0600
	if err != nil {
		return exit.Usagef("contexts: %w", err)
	}
	defer os.Remove(f.Name()) // gone once it was renamed
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return exit.Usagef("contexts: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return exit.Usagef("contexts: %w", err)
	}
	return nil
}
