package store

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// tx is the store's view of a transaction of the writer, see package unit. It implements
// batch.Tx.
type tx struct {
	*unit.Tx
	s *Store
}

// newTx starts a transaction on a connection.
func newTx(s *Store, c sqltext.Conn) *tx {
	both := &struct {
		view tx
		unit unit.Tx
	}{}
	s.core.Start(&both.unit, c)
	both.view = tx{Tx: &both.unit, s: s}
	return &both.view
}

// op is an operation of the writer. Its Detail may be unit.Lookups.
type op = batch.Op[*tx]

// transactions adapts the store to batch.Engine.
type transactions struct{ *Store }

func (s transactions) Connections() int                       { return s.core.Engine.Connections() }
func (s transactions) Class(err error) batch.Class            { return s.core.Engine.Class(err) }
func (s transactions) MakeRoom() bool                         { return s.core.Engine.MakeRoom() }
func (s transactions) Committed(t *tx)                        { t.committed() }
func (s transactions) Mend(err error, pause batch.Pause) bool { return s.core.Engine.Mend(err, pause) }
func (s transactions) Rollback(t *tx)                         { s.core.Rollback(t.Tx) }

func (s transactions) Find(t *tx, lost error, pause batch.Pause) (bool, error) {
	return s.core.Engine.Find(t.Conn, lost, pause)
}

func (s transactions) Commit(t *tx, later func(func() error)) (sent bool, err error) {
	return s.core.Commit(t.Tx, later)
}

func (s transactions) Begin(ops []*op) (*tx, error) {
	if err := unit.BeginAudit(s.core, ops); err != nil {
		return nil, err
	}
	conn, err := s.core.Engine.Begin()
	if err != nil {
		return nil, err
	}
	t := newTx(s.Store, conn)
	if err := unit.LookUp(t.Tx, ops); err != nil {
		s.core.Engine.Rollback(conn)
		return nil, err
	}
	return t, nil
}

// write submits an operation to the writer and maps its error to a hook.Error. The
// operation runs as the actor of the context.
func (s *Store) write(ctx context.Context, o *op) error {
	if actor := hook.ActorOf(ctx); actor != nil {
		asks, _ := o.Detail.(*unit.Lookups)
		if asks == nil {
			asks = &unit.Lookups{}
		}
		next, apply := *asks, o.Apply
		next.Audits = true
		o.Detail, o.Apply = &next, func(t *tx) error {
			t.ActFor(actor)
			defer t.ActFor(nil)
			return apply(t)
		}
	}
	return unit.Answer(s.writer.Do(ctx, o))
}

// submit is write for an operation of another package.
func (s *Store) submit(ctx context.Context, o *unit.Op) error {
	return s.write(ctx, &op{Name: o.Name, Key: o.Key, Rows: o.Rows, Bytes: o.Bytes, Hot: o.Hot, Outcome: o.Outcome, Stays: o.Stays, Detail: o.Detail,
		Apply: func(t *tx) error { return o.Apply(t.Tx) }})
}

// do writes for a caller. If ctx ends, do returns, and the write is still carried out.
func (s *Store) do(ctx context.Context, name string, rows int, apply func(*tx) error) error {
	return s.write(ctx, &op{Name: name, Key: unit.Administration, Rows: rows, Apply: apply})
}

// doFor is do for a tenant. The writer serves tenants round-robin. A scope without a
// tenant is an operator's.
func (s *Store) doFor(ctx context.Context, scope hook.Scope, name string, rows int, apply func(*tx) error) error {
	return s.write(ctx, &op{Name: name, Key: scope, Rows: rows, Apply: apply})
}

// maintain writes for the store itself. It waits for the result even if ctx ends, because
// nobody else would use it.
func (s *Store) maintain(ctx context.Context, name string, rows int, apply func(*tx) error) error {
	return s.write(ctx, &op{Name: name, Rows: rows, Apply: apply, Stays: true, Hot: true})
}

// recover is maintain for writes that must also succeed on a full disk.
func (s *Store) recover(ctx context.Context, name string, rows int, apply func(*tx) error) error {
	return s.write(ctx, &op{Name: name, Rows: rows, Apply: apply, Stays: true, Hot: true, Outcome: true})
}

// writeCounted is write for an operation that may add to the backlog of a tenant.
func (s *Store) writeCounted(ctx context.Context, o op) error {
	return unit.Counted(ctx, s.core, o, s.write)
}
