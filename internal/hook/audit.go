package hook

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// The audit log records who did what. The entries of one mode form chains: each entry has
// a hash over the previous hash and its own content, so that changed, removed and moved
// entries are detected (see AuditCheck). Someone with write access to the database can
// recompute a whole chain. To detect that, compare the newest hash with a copy that is
// kept elsewhere.

// Actor is who acts, and from where.
type Actor struct {
	Mode    Mode   // of the key
	Kind    string // the kind of the key; ActorItself for the store
	ID      string // of the key; ActorBootstrap for a key from the configuration
	Address string // of the connection
	Request string // id of the request
}

// Actors without a stored key.
const (
	ActorItself    = "posthorn"
	ActorBootstrap = "bootstrap"
)

type actorKey struct{}

// WithActor returns a context whose writes are recorded as made by the actor.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, &a)
}

// ActorOf returns the actor of the context. It is nil if there is none; then nothing is
// recorded.
func ActorOf(ctx context.Context) *Actor {
	a, _ := ctx.Value(actorKey{}).(*Actor)
	return a
}

// Act is what was done. The texts are stored and hashed, so they must not change.
type Act string

// The acts.
const (
	ActTenantCreated      Act = "tenant.created"
	ActTenantUpdated      Act = "tenant.updated"
	ActTenantRetention    Act = "tenant.retention_set"
	ActTenantDeleting     Act = "tenant.deleting" // one step in deleting a large tenant
	ActTenantDeleted      Act = "tenant.deleted"
	ActKeyCreated         Act = "key.created"
	ActKeyRevoked         Act = "key.revoked"
	ActKeyShown           Act = "key.shown" // again, to a repeated request
	ActTokenIssued        Act = "token.issued"
	ActPartnerUserCreated Act = "partner_user.created"
	ActPartnerUserDeleted Act = "partner_user.deleted"
	ActEventTypeCreated   Act = "event_type.created"
	ActEventTypeUpdated   Act = "event_type.updated"
	ActEventTypeDeleted   Act = "event_type.deleted"
	ActEndpointCreated    Act = "endpoint.created"
	ActEndpointUpdated    Act = "endpoint.updated"
	ActEndpointEnabled    Act = "endpoint.enabled"
	ActEndpointDisabled   Act = "endpoint.disabled"
	ActEndpointDeleted    Act = "endpoint.deleted"
	ActEndpointTested     Act = "endpoint.tested"
	ActEndpointChallenged Act = "endpoint.challenged"
	ActEndpointVerified   Act = "endpoint.verified" // by an operator, without a challenge
	ActSecretRotated      Act = "endpoint.secret_rotated"
	ActSecretExpired      Act = "endpoint.secret_expired"
	ActSecretRevealed     Act = "endpoint.secret_revealed"
	ActEventRead          Act = "event.read"
	ActEventResent        Act = "event.resent"
	ActDeliveryRead       Act = "delivery.read"
	ActDeliveryRetried    Act = "delivery.retried"
	ActDeliveryCancelled  Act = "delivery.cancelled"
	ActReplayCreated      Act = "replay.created"
	ActReplayPaused       Act = "replay.paused"
	ActReplayResumed      Act = "replay.resumed"
	ActReplayCancelled    Act = "replay.cancelled"
	ActErasureCreated     Act = "erasure.created"
	ActErasureDone        Act = "erasure.done"
	ActReclaimed          Act = "store.reclaimed"
	ActPortalCreated      Act = "portal_session.created"
	ActPortalEnded        Act = "portal_session.ended"
	ActPortalOpened       Act = "portal_session.opened" // its link was used
	ActPortalLeft         Act = "portal_session.left"
	ActUILinkCreated      Act = "ui_link.created"
	ActUIOpened           Act = "ui_session.opened"
	ActUIClosed           Act = "ui_session.closed"
	ActUIEnded            Act = "ui_session.ended" // by an operator, maybe another one
	ActMasterKeyRotated   Act = "master_key.rotated"
	ActMasterKeyDropped   Act = "master_key.dropped"
	ActCallRefused        Act = "call.refused"

	ActAuditBegan   Act = "audit.began"   // the first entry of a chain
	ActAuditTrimmed Act = "audit.trimmed" // older entries were removed: see AuditAnchor
	ActAuditErased  Act = "audit.erased"  // entries lost what identifies a tenant: see AuditEntry.Erase
)

// AuditOK is the outcome of an act that succeeded. Any other outcome is the code of an
// error.
const AuditOK = "ok"

// AuditEntry is one entry. The store sets Chain, Sequence, ID, At and Hash.
type AuditEntry struct {
	ID       ID
	Chain    int64 // 0 on SQLite; on PostgreSQL the epoch of the node
	Sequence int64 // in its chain, from 1
	Hash     [32]byte

	At       time.Time
	Mode     Mode
	Tenant   string // the owner of the object; empty: none
	Actor    Actor
	Act      Act
	Object   string // kind of the object, such as "endpoint"
	ObjectID string
	Outcome  string
	Detail   string
}

// AuditQuery selects entries, newest first. An empty Scope.Tenant means all tenants of
// the mode.
type AuditQuery struct {
	Scope    Scope
	Actor    string // id of a key or ActorBootstrap
	Act      string
	Object   string // kind of the object
	ObjectID string
	Request  string // id of the request
	After    time.Time
	Before   time.Time
	Page
}

// Sum returns the hash of the entry, where before is the hash of the previous entry. It
// covers every member except Hash and Actor.Mode. Each text is preceded by its length.
func (e *AuditEntry) Sum(before [32]byte) [32]byte {
	b := append([]byte("posthorn audit 1\n"), before[:]...)
	b = append(b, e.ID[:]...)
	for _, n := range []int64{e.Chain, e.Sequence, e.At.UnixMicro(), int64(e.Mode)} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	for _, text := range []string{e.Tenant, e.Actor.Kind, e.Actor.ID, e.Actor.Address, e.Actor.Request, string(e.Act), e.Object, e.ObjectID, e.Outcome, e.Detail} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return sha256.Sum256(b)
}

// AuditAnchor returns the detail of an ActAuditTrimmed entry: the sequence and hash of
// the last entry that was removed. The object of that entry is the chain.
func AuditAnchor(sequence int64, hash [32]byte) string { return fmt.Sprintf("%d:%x", sequence, hash) }

// erasedMark begins the detail of an erased entry.
const erasedMark = "erased "

// Erase removes from an entry everything that says whom it was about: tenant, address,
// request, object id and detail. The hash stays as it was, so the chain goes on, but it is
// no longer that of the content. Entries that are erased together form a group, oldest
// first. Each keeps the sum of the one before it in place of the request. An
// ActAuditErased entry with AuditErased as its detail vouches for the sum of the last one.
// Erase returns the sum.
func (e *AuditEntry) Erase(group ID, before [32]byte) [32]byte {
	e.Tenant, e.Actor.Address, e.Actor.Request, e.ObjectID, e.Detail = "", "", hex.EncodeToString(before[:]), "", erasedMark+group.String()
	return e.erasedSum(before)
}

// erasedSum covers the content that is left, and the hash.
func (e *AuditEntry) erasedSum(before [32]byte) [32]byte {
	return e.Sum(sha256.Sum256(append(before[:], e.Hash[:]...)))
}

// About reports whether an entry that was not erased says something of a tenant: as the
// owner of its object, as a partner, or in the path of a refused call.
func (e *AuditEntry) About(tenant string) bool {
	switch {
	case e.Erased():
		return false
	case e.Act == ActCallRefused && strings.Contains(e.ObjectID+"/", "/tenants/"+tenant+"/"), strings.HasPrefix(string(e.Act), "partner_user.") && e.Detail == "partner "+tenant:
		return true
	}
	return e.Tenant == tenant
}

// Erased reports whether Erase was called for the entry.
func (e *AuditEntry) Erased() bool { return strings.HasPrefix(e.Detail, erasedMark) }

// AuditErased returns the detail of an ActAuditErased entry. The object of that entry is
// the chain.
func AuditErased(group ID, sum [32]byte) string {
	return fmt.Sprintf("%s%s:%x", erasedMark, group, sum)
}

// erasedGroup is what AuditCheck knows of a group of erased entries.
type erasedGroup struct {
	last  AuditEntry // the first that was seen
	sum   [32]byte   // of that
	below [32]byte   // the sum that the next older one must have
}

// erased checks an erased entry against those of its group that are newer.
func (c *AuditCheck) erased(e *AuditEntry) error {
	before, err := hex.DecodeString(e.Actor.Request)
	if err != nil || len(before) != 32 {
		return &AuditFault{*e, "it is marked as erased, but does not belong to a group of erased entries"}
	}
	sum, key := e.erasedSum([32]byte(before)), fmt.Sprintf("%d %s", e.Chain, e.Detail)
	group, known := c.groups[key]
	switch {
	case !known:
		group.last, group.sum = *e, sum
	case group.below != sum:
		return &AuditFault{*e, "it is erased, and was changed afterwards"}
	}
	group.below = [32]byte(before)
	c.groups[key] = group
	return nil
}

// AuditCheck verifies the chains of one mode. The zero value is ready to use. Add must be
// called with all entries of the mode, newest first, and then End.
type AuditCheck struct {
	Checked int
	Until   time.Time // of the oldest entry seen
	Newest  map[int64]AuditEntry
	waiting map[int64]AuditEntry // the oldest entry of each chain so far; its predecessor comes next
	anchors map[string]bool      // chain and detail
	groups  map[string]erasedGroup
}

// AuditFault is the first entry that does not match its chain.
type AuditFault struct {
	Entry AuditEntry
	Why   string
}

// Error returns the entry and what is wrong with it.
func (f *AuditFault) Error() string {
	return fmt.Sprintf("entry %s (chain %d, sequence %d, %s, %s): %s", f.Entry.ID, f.Entry.Chain, f.Entry.Sequence,
		f.Entry.At.UTC().Format(time.RFC3339), f.Entry.Act, f.Why)
}

// Add checks the next entry. An error is an *AuditFault.
func (c *AuditCheck) Add(e AuditEntry) error {
	if c.waiting == nil {
		c.Newest, c.waiting, c.anchors = map[int64]AuditEntry{}, map[int64]AuditEntry{}, map[string]bool{}
		c.groups = map[string]erasedGroup{}
	}
	c.Checked++
	c.Until = e.At
	if later, ok := c.waiting[e.Chain]; !ok {
		c.Newest[e.Chain] = e
	} else {
		switch {
		case later.Sequence != e.Sequence+1:
			return &AuditFault{later, fmt.Sprintf("the entry before it has the sequence %d, not %d: entries are missing or were moved", e.Sequence, later.Sequence-1)}
		case later.Sum(e.Hash) != later.Hash && !later.Erased():
			return &AuditFault{later, "its hash is not that of its content and the entry before it: one of the two was changed"}
		}
	}
	c.waiting[e.Chain] = e
	if e.Erased() && e.Act != ActAuditErased {
		return c.erased(&e)
	}
	if e.Act == ActAuditTrimmed || e.Act == ActAuditErased {
		c.anchors[e.ObjectID+" "+e.Detail] = true
	}
	return nil
}

// End checks the beginning of each chain. It must be called after every entry was added.
// An error is an *AuditFault.
func (c *AuditCheck) End() error {
	for chain, e := range c.waiting {
		if e.Sequence == 1 {
			if e.Sum([32]byte{}) != e.Hash && !e.Erased() {
				return &AuditFault{e, "its hash is not that of its content: it was changed"}
			}
			continue
		}
		if !c.anchored(chain, &e) {
			return &AuditFault{e, "the entries before it are missing, and no entry audit.trimmed says that the retention removed them"}
		}
	}
	for key, g := range c.groups {
		if !c.anchors[fmt.Sprintf("%s:%x", key, g.sum)] {
			return &AuditFault{g.last, "it is erased, and no entry audit.erased says so of this content"}
		}
		if g.below != [32]byte{} && c.waiting[g.last.Chain].Sequence == 1 {
			return &AuditFault{g.last, "entries that were erased together with it are missing or were changed"}
		}
	}
	return nil
}

// anchored reports whether an anchor holds the sequence and hash that precede the entry.
func (c *AuditCheck) anchored(chain int64, e *AuditEntry) bool {
	for anchor := range c.anchors {
		var of, sequence int64
		var sum []byte
		if n, err := fmt.Sscanf(anchor, "%d %d:%x", &of, &sequence, &sum); n != 3 || err != nil || len(sum) != 32 {
			continue
		}
		if of == chain && sequence == e.Sequence-1 && (e.Sum([32]byte(sum)) == e.Hash || e.Erased()) {
			return true
		}
	}
	return false
}
