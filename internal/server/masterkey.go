package server

import (
	"cmp"
	"context"
	"fmt"
	"os"

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
