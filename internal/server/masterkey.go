package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/seal"
)

// The variables with the master key itself, and with the command that prints it.
const (
	masterKeyVariable     = "POSTHORN_MASTER_KEY"
	masterKeyCommandFlag  = "master-key-command"
	masterKeyFileVariable = "POSTHORN_MASTER_KEY_FILE"
)

// MasterKeyElsewhere returns the master key if it does not come from a file: from the
// variable POSTHORN_MASTER_KEY, the command, or POSTHORN_MASTER_KEY_COMMAND. from names the
// source for messages. Without any of them keys is nil. More than one of them, or one
// together with a file, is a usage error.
func MasterKeyElsewhere(ctx context.Context, file, command string) (keys *seal.Keyring, from string, err error) {
	text := os.Getenv(masterKeyVariable)
	command = cmp.Or(command, os.Getenv(envName(masterKeyCommandFlag)))
	given := 0
	for _, one := range []string{text, command, cmp.Or(file, os.Getenv(masterKeyFileVariable))} {
		if one != "" {
			given++
		}
	}
	switch {
	case text == "" && command == "":
		return nil, "", nil
	case given > 1:
		return nil, "", exit.Usagef("the master key is set more than once: use only one of --master-key-file, --%s and %s", masterKeyCommandFlag, masterKeyVariable)
	case text != "":
		from = masterKeyVariable
		keys, err = seal.FromText(text)
	default:
		from = "of --" + masterKeyCommandFlag
		keys, err = seal.FromCommand(ctx, command)
	}
	if err != nil {
		return nil, "", exit.With(exit.MasterKey, fmt.Errorf("master key, %s: %w", from, err))
	}
	return keys, from, nil
}

// StoredKey is the master key of a store that exists. The zero value names none.
type StoredKey struct {
	From string // the file, or the source for messages

	ready *seal.Keyring // nil: in the file
}

// FindStoredKey returns where the master key of the store in a data directory is: in the
// file that a flag names, else in POSTHORN_MASTER_KEY or the output of a command, else in
// the file of POSTHORN_MASTER_KEY_FILE, else in master.key in the directory. Errors are
// those of [MasterKeyElsewhere].
func FindStoredKey(ctx context.Context, flag, data string) (k StoredKey, err error) {
	if flag == "" {
		if k.ready, k.From, err = MasterKeyElsewhere(ctx, "", ""); err != nil {
			return StoredKey{}, err
		}
	}
	k.From = cmp.Or(flag, k.From, os.Getenv(masterKeyFileVariable), filepath.Join(data, "master.key"))
	return k, nil
}

// Exists reports whether there is a key to read.
func (k StoredKey) Exists() bool {
	_, err := os.Stat(k.From)
	return k.ready != nil || err == nil
}

// Read returns the key. It generates none: one that is not there yet decrypts nothing. advice
// ends the message about a missing file.
func (k StoredKey) Read(advice string) (*seal.Keyring, error) {
	if k.ready != nil {
		return k.ready, nil
	}
	if _, err := os.Stat(k.From); errors.Is(err, fs.ErrNotExist) {
		return nil, exit.With(exit.MasterKey, fmt.Errorf("master_key_missing: there is no master key at %s%s", k.From, advice))
	}
	keys, err := seal.LoadOrCreate(k.From)
	if err != nil {
		return nil, exit.With(exit.MasterKey, fmt.Errorf("master key: %w", err))
	}
	return keys, nil
}
