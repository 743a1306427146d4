// Package accounts is what people set up before an event is published, and what they may
// see: tenants, keys with their tokens and uses, grants to partners, sessions in a browser,
// event types, texts of profiles, and the revisions and secrets of endpoints.
//
// Each change is one operation with its entry in the audit log, and is in force on every node
// with its commit. Keys, tokens and cookies are stored only as hashes, secrets only sealed.
//
// It never reads or changes an event or a delivery, and decides no permission: who may call
// is decided by the callers of a store.
package accounts

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Accounts are the operations. They are safe for concurrent use.
type Accounts struct {
	core           *unit.Core
	deleteEndpoint func(*unit.Tx, *hook.Endpoint) error
	uses           *keyUses
}

// New returns the operations, and what other operations of the store ask of them.
// deleteEndpoint deletes an endpoint inside a transaction, and orders that its deliveries are
// cancelled.
func New(core *unit.Core, deleteEndpoint func(*unit.Tx, *hook.Endpoint) error) (*Accounts, Duties) {
	s := &Accounts{core: core, deleteEndpoint: deleteEndpoint, uses: newKeyUses()}
	return s, s.duties()
}

// Duties are what the other operations of a store ask for. They are not part of what a store
// offers.
type Duties struct{ accounts *Accounts }

func (s *Accounts) duties() Duties { return Duties{s} }

// Begin starts the task that writes the uses of keys.
func (d Duties) Begin() { d.accounts.core.Go(d.accounts.writeUses) }

// Hourly returns what is to be done by each Housekeep.
func (d Duties) Hourly() []func(context.Context) error {
	s := d.accounts
	return []func(context.Context) error{s.expireTokens, s.dropRevisions, s.expireWebSessions}
}

// background is the context of statements on the writer: nothing cancels them.
var background = context.Background()

// tx is the view of a transaction, see package unit.
type tx struct {
	*unit.Tx
	s *Accounts
}

func (s *Accounts) on(apply func(*tx) error) func(*unit.Tx) error {
	return func(t *unit.Tx) error { return apply(&tx{t, s}) }
}

// do, doFor and maintain are those of unit.Core.
func (s *Accounts) do(ctx context.Context, name string, rows int, apply func(*tx) error) error {
	return s.core.Do(ctx, name, rows, s.on(apply))
}

func (s *Accounts) doFor(ctx context.Context, scope hook.Scope, name string, rows int, apply func(*tx) error) error {
	return s.core.DoFor(ctx, scope, name, rows, s.on(apply))
}

func (s *Accounts) maintain(ctx context.Context, name string, rows int, apply func(*tx) error) error {
	return s.core.Maintain(ctx, name, rows, s.on(apply))
}
