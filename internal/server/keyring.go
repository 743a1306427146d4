package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store"
)

// keySource is where the master keys of a node are stored. It implements
// store.KeySource.
type keySource struct {
	file    string // empty: they come from elsewhere
	command string // empty: from the variable
}

func (n *Node) keySource() keySource {
	switch command := cmp.Or(n.cfg.MasterKeyCommand, os.Getenv(envName(masterKeyCommandFlag))); {
	case os.Getenv(masterKeyVariable) != "":
		return keySource{}
	case command != "":
		return keySource{command: command}
	}
	return keySource{file: cmp.Or(n.cfg.MasterKeyFile, filepath.Join(n.cfg.Data, "master.key"))}
}

// Where names the source.
func (k keySource) Where() string {
	switch {
	case k.file != "":
		return k.file
	case k.command != "":
		return "the output of --" + masterKeyCommandFlag
	}
	return masterKeyVariable
}

// Own reports whether the keys are in a file, which this process may be able to change.
func (k keySource) Own() bool { return k.file != "" }

// Read reads the keys. Those of the variable are those of the start.
func (k keySource) Read(ctx context.Context) (*seal.Keyring, error) {
	switch {
	case k.command != "":
		return seal.FromCommand(ctx, k.command)
	case k.file == "":
		return seal.FromText(os.Getenv(masterKeyVariable))
	}
	if _, err := os.Stat(k.file); err != nil { // LoadOrCreate would make a new one
		return nil, err
	}
	return seal.LoadOrCreate(k.file)
}

// Add adds a new key to the file.
func (k keySource) Add(context.Context) error {
	if k.file == "" {
		return errors.New("the keys are not in a file")
	}
	_, err := seal.AppendKey(k.file)
	return err
}

// Remove removes a key from the file.
func (k keySource) Remove(_ context.Context, id string) error {
	key, err := seal.ParseKeyID(id)
	if err == nil && k.file == "" {
		err = errors.New("the keys are not in a file")
	}
	if err == nil {
		_, err = seal.RemoveKey(k.file, key)
	}
	return err
}

// ReloadMasterKeys reads the master keys again and logs the result. If one that the store
// needs is missing, everything stays as it was.
func (n *Node) ReloadMasterKeys(ctx context.Context) {
	err := n.store.ReadMasterKeys(ctx)
	if refused, ok := errors.AsType[*hook.Error](err); ok {
		n.log.Error("master keys not reloaded", "reason", refused.Message)
		return
	}
	if err != nil {
		n.log.Error("master keys not reloaded", "error", err)
		return
	}
	keys, err := n.store.MasterKeys(ctx)
	if err != nil {
		return // the store is away, and says so
	}
	var ids []string
	for _, k := range keys.Keys {
		ids = append(ids, k.ID+" "+k.State)
	}
	n.log.Info("master keys reloaded", "keys", ids)
}

// fatal returns the error with which the node ends after the store has failed for good.
func fatal(err error) error {
	if errors.Is(err, store.ErrMasterKeyMismatch) {
		return exit.With(exit.MasterKey, fmt.Errorf("master_key_mismatch: %w; put that key into the place of this node's master keys, then start again", err))
	}
	return exit.With(exit.Storage, fmt.Errorf("the disk failed and can no longer be trusted: %w; nothing was acknowledged after the failure; check the disk, then start again", err))
}
