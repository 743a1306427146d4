package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// The audit log. The operation that an entry describes writes the entry, in the same
// transaction.
//
// An operation calls tx.audited after it has done its work. This only records the entry in
// the effects, so an operation that is refused drops its entry too. Flush assigns the
// entries their position in the chain and inserts them. So exactly the committed entries
// are chained.
//
// The head of each chain is kept in memory between commits. After a transaction with
// entries failed to commit, the head is discarded and read again. Such a transaction
// begins only after the previous one has ended; otherwise both could follow the same
// entry. Only the writer goroutine uses the heads.

// auditHead is the newest entry of a chain. A sequence of 0 means an empty chain.
type auditHead struct {
	chain, sequence int64
	hash            [32]byte
}

// maxAuditText bounds the texts of an entry, in bytes.
const maxAuditText = 200

// audited records an act of the current actor. It does nothing if there is no actor.
func (t *tx) audited(act hook.Act, object, id string, scope hook.Scope, detail ...string) {
	if t.actor == nil {
		return
	}
	t.audit(hook.AuditEntry{Actor: *t.actor, Act: act, Object: object, ObjectID: id, Mode: scope.Mode, Tenant: scope.Tenant,
		Outcome: hook.AuditOK, Detail: strings.Join(detail, ", ")})
}

// auditScope returns the scope under which an act on a tenant is recorded. A tenant spans
// both modes; the actor has one.
func (t *tx) auditScope(tenant string) hook.Scope {
	if t.actor == nil {
		return hook.Scope{}
	}
	return hook.Scope{Tenant: tenant, Mode: t.actor.Mode}
}

// audit records an entry for Flush.
func (t *tx) audit(e hook.AuditEntry) {
	e.At = t.now
	for _, text := range []*string{&e.ObjectID, &e.Detail, &e.Actor.Address, &e.Actor.Request} {
		*text = auditText(*text)
	}
	t.audits = append(t.audits, e)
	t.rows++
	t.bytes += maxAuditText
}

// auditText truncates a text and replaces what a database may reject.
func auditText(text string) string {
	if len(text) > maxAuditText {
		text = text[:maxAuditText]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?")
}

// as returns apply, run on behalf of actor.
func as(actor *hook.Actor, apply func(*tx) error) func(*tx) error {
	return func(t *tx) error {
		t.actor = actor
		defer func() { t.actor = nil }()
		return apply(t)
	}
}

// auditHead returns the newest entry of this process's chain of a mode.
func (t *tx) auditHead(mode hook.Mode) (auditHead, error) {
	head := auditHead{}
	if t.s.peers.Shared() {
		head.chain = t.s.Epoch()
	}
	if t.heads == nil {
		t.heads = t.s.copyHeads()
	}
	if known, ok := t.heads[mode]; ok && known.chain == head.chain {
		return known, nil
	}
	var last hook.ID
	_, err := t.row("read head of audit log", "SELECT seq, id, hash FROM audit WHERE chain = ? AND mode = ? ORDER BY seq DESC LIMIT 1",
		[]any{head.chain, int64(mode)}, &head.sequence, sqltext.Blob(last[:]), sqltext.Blob(head.hash[:]))
	if err == nil {
		t.s.ids.Above(last) // ids follow the order of the chain
		t.heads[mode] = head
	}
	return head, err
}

// flushAudit assigns the entries their position and inserts them.
func (t *tx) flushAudit() error {
	for i := range t.audits {
		e := &t.audits[i]
		head, err := t.auditHead(e.Mode)
		if err != nil {
			return err
		}
		if head.sequence == 0 {
			begin := hook.AuditEntry{Actor: hook.Actor{Kind: hook.ActorItself, ID: hook.ActorItself}, Act: hook.ActAuditBegan, Object: "epoch", ObjectID: itoa(t.s.Epoch()),
				Mode: e.Mode, Outcome: hook.AuditOK, At: t.now}
			if err := t.chain(&begin); err != nil {
				return err
			}
		}
		if err := t.chain(e); err != nil {
			return err
		}
	}
	return nil
}

// chain inserts an entry after the head.
func (t *tx) chain(e *hook.AuditEntry) error {
	head := t.heads[e.Mode]
	e.ID, e.Chain, e.Sequence = t.s.ids.Next(), head.chain, head.sequence+1
	e.Hash = e.Sum(head.hash)
	t.heads[e.Mode] = auditHead{e.Chain, e.Sequence, e.Hash}
	return t.insert("insert audit entry", sqltext.Audit, e.Chain, int64(e.Mode), e.Sequence, e.ID[:], sqltext.Micros(e.At), e.Tenant,
		e.Actor.Kind, e.Actor.ID, e.Actor.Address, e.Actor.Request, string(e.Act), e.Object, e.ObjectID, e.Outcome, e.Detail, e.Hash[:])
}

// audits reports whether one of the operations may write an entry.
func audits(ops []*op) bool {
	return slices.ContainsFunc(ops, func(o *op) bool { d, ok := o.Detail.(*lookups); return ok && d.audits })
}

// beginAudit makes a batch that may write entries wait for the one before it. It returns
// batch.ErrDrain if that one has not ended.
func (s *Store) beginAudit(ops []*op) error {
	if s.auditing && audits(ops) {
		return batch.ErrDrain
	}
	return nil
}

// Audit writes an entry for the actor of the context about something that was read or
// refused. The caller sets Mode, Tenant, Act, Object, ObjectID and Outcome.
func (s *Store) Audit(ctx context.Context, e hook.AuditEntry) error {
	actor := hook.ActorOf(ctx)
	if actor == nil {
		return nil
	}
	return s.doFor(ctx, hook.Scope{Tenant: e.Tenant, Mode: e.Mode}, "audit", 1, func(t *tx) error {
		next := e
		next.Actor = *actor
		t.audit(next)
		return nil
	})
}

const (
	// auditPage bounds the entries that one operation removes.
	auditPage = 500
	// auditSlack is how far the oldest entry must exceed the retention before entries are
	// removed. It keeps the number of anchors small.
	auditSlack = 24 * time.Hour

	oldestAudit = "SELECT chain FROM audit WHERE mode = ? AND id < ? ORDER BY id LIMIT 1"
	pageOfAudit = "SELECT seq, hash FROM audit WHERE chain = ? AND mode = ? AND id < ? ORDER BY seq LIMIT ?{lock}"
	dropAudit   = "DELETE FROM audit WHERE chain = ? AND mode = ? AND seq <= ?"
)

// retainAudit removes entries older than Options.AuditRetention, oldest first. For each
// page it adds an entry with the hash of the last one removed, so the rest can still be
// verified.
func (s *Store) retainAudit(ctx context.Context) error {
	if s.opts.AuditRetention == 0 {
		return nil
	}
	now, err := s.trustedNow(ctx)
	if err != nil {
		return err
	}
	until := now.Add(-s.opts.AuditRetention)
	below, due := sqltext.FirstID(until), sqltext.FirstID(until.Add(-auditSlack))
	for _, mode := range []hook.Mode{hook.Test, hook.Live} {
		var chain int64
		more, err := sqltext.ReadRow(ctx, s.read, oldestAudit, []any{int64(mode), due[:]}, &chain)
		if err != nil {
			return s.readError("read oldest audit entry", err)
		}
		for more {
			err := s.write(ctx, &op{Name: "drop audit entries", Rows: auditPage, Stays: true, Hot: true, Detail: &lookups{audits: true},
				Apply: func(t *tx) error { return t.dropAudit(mode, chain, below) }})
			if err != nil {
				return fmt.Errorf("drop audit entries: %w", err)
			}
			if err := sqltext.Pause(ctx, retentionPause); err != nil {
				return err
			}
			if more, err = sqltext.ReadRow(ctx, s.read, oldestAudit, []any{int64(mode), below[:]}, &chain); err != nil {
				return s.readError("read oldest audit entry", err)
			}
		}
	}
	return nil
}

// dropAudit removes one page of the oldest entries of a chain.
func (t *tx) dropAudit(mode hook.Mode, chain int64, below hook.ID) error {
	if _, err := t.auditHead(mode); err != nil { // before its entry is deleted
		return err
	}
	var last auditHead
	rows, err := sqltext.Collect(background, t.c, func(row sqltext.Scanner) (int64, error) {
		err := row.Scan(&last.sequence, sqltext.Blob(last.hash[:]))
		return last.sequence, err
	}, pageOfAudit, chain, int64(mode), below[:], int64(auditPage))
	if err != nil || len(rows) == 0 {
		return sqltext.Wrap("read old audit entries", err)
	}
	if n, err := t.exec("drop audit entries", dropAudit, chain, int64(mode), last.sequence); err != nil || n == 0 {
		return err
	}
	t.audit(hook.AuditEntry{Actor: hook.Actor{Kind: hook.ActorItself, ID: hook.ActorItself}, Act: hook.ActAuditTrimmed, Object: "chain", ObjectID: itoa(chain), Mode: mode,
		Outcome: hook.AuditOK, Detail: hook.AuditAnchor(last.sequence, last.hash)})
	return nil
}

// copyHeads returns a copy of the heads for a transaction to change.
func (s *Store) copyHeads() map[hook.Mode]auditHead {
	if len(s.heads) == 0 {
		return map[hook.Mode]auditHead{}
	}
	return maps.Clone(s.heads)
}
