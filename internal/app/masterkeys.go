package app

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
)

// MasterKeyStore has the master keys of this process. They never leave it.
type MasterKeyStore interface {
	MasterKeys(ctx context.Context) (hook.MasterKeys, error)
	RotateMasterKey(ctx context.Context) (hook.Rotation, error)
	DropMasterKey(ctx context.Context, id string) error
}

// errMasterKeys keeps test keys from what affects live endpoints.
var errMasterKeys = &hook.Error{Code: hook.CodeForbidden,
	Message: "The master keys protect both modes: only an operator key of live mode may see or change them."}

func (c Caller) masterKeys() error {
	if err := c.administer(); err != nil {
		return err
	}
	if c.Mode != hook.Live {
		return errMasterKeys
	}
	return nil
}

// MasterKeys describes the keys of this node. Live operators only.
func (s *Service) MasterKeys(ctx context.Context, c Caller) (hook.MasterKeys, error) {
	if err := c.masterKeys(); err != nil {
		return hook.MasterKeys{}, err
	}
	return s.o.Store.MasterKeys(ctx)
}

// RotateMasterKey makes the newest key seal and begins to seal stored values again. Live
// operators only.
func (s *Service) RotateMasterKey(ctx context.Context, c Caller) (hook.Rotation, error) {
	if err := c.masterKeys(); err != nil {
		return hook.Rotation{}, err
	}
	return s.o.Store.RotateMasterKey(ctx)
}

// DropMasterKey removes a key that nothing in the database needs. Live operators only.
func (s *Service) DropMasterKey(ctx context.Context, c Caller, id string) error {
	if err := c.masterKeys(); err != nil {
		return err
	}
	return s.o.Store.DropMasterKey(ctx, id)
}
