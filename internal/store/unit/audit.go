package unit

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// The audit log. The operation that an entry describes writes the entry, in the same
// transaction.
//
// An operation calls Audited after it has done its work. This only records the entry in
// the effects, so an operation that is refused drops its entry too. Flush assigns the
// entries their position in the chain and inserts them. So exactly the committed entries
// are chained.
//
// The head of each chain is kept in memory between commits. After a transaction with
// entries failed to commit, the head is discarded and read again. Such a transaction
// begins only after the previous one has ended; otherwise both could follow the same
// entry. Only the writer goroutine uses the heads.

// AuditHead is the newest entry of a chain. A sequence of 0 means an empty chain.
type AuditHead struct {
	Chain, Sequence int64
	Hash            [32]byte
}

// maxAuditText bounds the texts of an entry, in bytes.
const maxAuditText = 200

// Audited records an act of the current actor. It does nothing if there is no actor.
func (t *Tx) Audited(act hook.Act, object, id string, scope hook.Scope, detail ...string) {
	if t.actor == nil {
		return
	}
	t.Audit(hook.AuditEntry{Actor: *t.actor, Act: act, Object: object, ObjectID: id, Mode: scope.Mode, Tenant: scope.Tenant,
		Outcome: hook.AuditOK, Detail: strings.Join(detail, ", ")})
}

// AuditScope returns the scope under which an act on a tenant is recorded. A tenant spans
// both modes; the actor has one.
func (t *Tx) AuditScope(tenant string) hook.Scope {
	if t.actor == nil {
		return hook.Scope{}
	}
	return hook.Scope{Tenant: tenant, Mode: t.actor.Mode}
}

// Audit records an entry for Flush.
func (t *Tx) Audit(e hook.AuditEntry) {
	e.At = t.Now
	for _, text := range []*string{&e.ObjectID, &e.Detail, &e.Actor.Address, &e.Actor.Request} {
		*text = auditText(*text)
	}
	t.audits = append(t.audits, e)
	t.Rows++
	t.Bytes += maxAuditText
}

// auditText truncates a text and replaces what a database may reject.
func auditText(text string) string {
	if len(text) > maxAuditText {
		text = text[:maxAuditText]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?")
}

// ActFor sets on whose behalf the operation that follows acts; nil means nobody's.
func (t *Tx) ActFor(actor *hook.Actor) { t.actor = actor }

// Actor returns on whose behalf the running operation acts, nil if nobody's.
func (t *Tx) Actor() *hook.Actor { return t.actor }

// AuditHead returns the newest entry of this process's chain of a mode.
func (t *Tx) AuditHead(mode hook.Mode) (AuditHead, error) {
	head := AuditHead{}
	if t.core.Peers.Shared() {
		head.Chain = t.core.Peers.Epoch()
	}
	if t.heads == nil {
		t.heads = t.core.copyHeads()
	}
	if known, ok := t.heads[mode]; ok && known.Chain == head.Chain {
		return known, nil
	}
	var last hook.ID
	_, err := t.Row("read head of audit log", "SELECT seq, id, hash FROM audit WHERE chain = ? AND mode = ? ORDER BY seq DESC LIMIT 1",
		[]any{head.Chain, int64(mode)}, &head.Sequence, sqltext.Blob(last[:]), sqltext.Blob(head.Hash[:]))
	if err == nil {
		t.core.IDs.Above(last) // ids follow the order of the chain
		t.heads[mode] = head
	}
	return head, err
}

// flushAudit assigns the entries their position and inserts them.
func (t *Tx) flushAudit() error {
	for i := range t.audits {
		e := &t.audits[i]
		head, err := t.AuditHead(e.Mode)
		if err != nil {
			return err
		}
		if head.Sequence == 0 {
			begin := hook.AuditEntry{Actor: hook.Actor{Kind: hook.ActorItself, ID: hook.ActorItself}, Act: hook.ActAuditBegan, Object: "epoch", ObjectID: strconv.FormatInt(t.core.Peers.Epoch(), 10),
				Mode: e.Mode, Outcome: hook.AuditOK, At: t.Now}
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
func (t *Tx) chain(e *hook.AuditEntry) error {
	head := t.heads[e.Mode]
	e.ID, e.Chain, e.Sequence = t.core.IDs.Next(), head.Chain, head.Sequence+1
	e.Hash = e.Sum(head.Hash)
	t.heads[e.Mode] = AuditHead{e.Chain, e.Sequence, e.Hash}
	return t.Insert("insert audit entry", sqltext.Audit, e.Chain, int64(e.Mode), e.Sequence, e.ID[:], sqltext.Micros(e.At), e.Tenant,
		e.Actor.Kind, e.Actor.ID, e.Actor.Address, e.Actor.Request, string(e.Act), e.Object, e.ObjectID, e.Outcome, e.Detail, e.Hash[:])
}

// mayAudit reports whether one of the operations may write an entry.
func mayAudit[T batch.Tx](ops []*batch.Op[T]) bool {
	return slices.ContainsFunc(ops, func(o *batch.Op[T]) bool { d, ok := o.Detail.(*Lookups); return ok && d.Audits })
}

// BeginAudit makes a batch that may write entries wait for the one before it. It returns
// batch.ErrDrain if that one has not ended.
func BeginAudit[T batch.Tx](c *Core, ops []*batch.Op[T]) error {
	if c.auditing && mayAudit(ops) {
		return batch.ErrDrain
	}
	return nil
}

// copyHeads returns a copy of the heads for a transaction to change.
func (c *Core) copyHeads() map[hook.Mode]AuditHead {
	if len(c.heads) == 0 {
		return map[hook.Mode]AuditHead{}
	}
	return maps.Clone(c.heads)
}
