package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// levelAudit is the level of log lines about actions of callers, such as uses of
// secrets. They stay in the log unless the operator wants errors only.
const levelAudit = slog.LevelWarn

// audit returns the attributes of a log line that state who did something to an
// endpoint.
func (c Caller) audit(ep *hook.Endpoint) []slog.Attr {
	return []slog.Attr{slog.String("endpoint", ep.ID.String()), slog.String("tenant", ep.Scope.Tenant),
		slog.String("mode", ep.Scope.Mode.String()), slog.String("key", c.keyName()), slog.String("kind", string(c.Kind))}
}

// keyName returns the key's id. Bootstrap keys have none; they are named
// ActorBootstrap.
func (c Caller) keyName() string {
	if c.KeyID.IsZero() {
		return hook.ActorBootstrap
	}
	return c.KeyID.String()
}

// Acting returns a context in which the caller's actions are recorded in the audit log,
// with the address and the request id.
func (c Caller) Acting(ctx context.Context, address, request string) context.Context {
	return hook.WithActor(ctx, hook.Actor{Mode: c.Mode, Kind: string(c.Kind), ID: c.keyName(), Address: address, Request: request})
}

// Refused calls and reads of payloads get entries within these limits for each holder, so
// that nobody can fill the disk with them. Beyond these limits they appear only in the
// log of the process.
var (
	limitAuditRefused = &limit{name: "audited refusals"}
	limitAuditReads   = &limit{name: "audited reads"}
	auditRefused      = Rate{PerSecond: 1.0 / 6, Burst: 10}
	auditReads        = Rate{PerSecond: 1, Burst: 60}
)

// AuditRefused records that a write of an authenticated caller was refused. Ids are
// removed from the path. Server errors are not recorded.
func (s *Service) AuditRefused(ctx context.Context, c Caller, method, path string, refused error) {
	e, ok := errors.AsType[*hook.Error](refused)
	if !ok || s == nil || hook.ActorOf(ctx) == nil {
		return
	}
	switch e.Code {
	case hook.CodeInternal, hook.CodeStorageFull, hook.CodeStorageDown, hook.CodeServerBusy, hook.CodeShuttingDown, hook.CodeLoopDetected, hook.CodeUnauthorized:
		return
	}
	holder := bucket{limitAuditRefused, c.holder()}
	if _, wait := s.buckets.take(holder, auditRefused, 1, s.o.Now()); wait > 0 {
		return
	}
	s.record(ctx, hook.AuditEntry{Mode: c.Mode, Tenant: c.Tenant, Act: hook.ActCallRefused, Object: "call", ObjectID: method + " " + withoutIDs(path), Outcome: string(e.Code)})
}

// withoutIDs returns a path with its ids removed, in each form that an API reads: they may
// belong to another tenant.
func withoutIDs(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		_, digits, _ := strings.Cut(part, "_")
		_, short := hook.ParseShort(digits, len(hook.ID{})+4) // that of an attempt has a number, too
		if _, err := hook.ParseID(part); err == nil || short {
			parts[i] = "{id}"
		}
	}
	return strings.Join(parts, "/")
}

// auditRead records that somebody read the content of an event or a delivery, once per
// readsFor for each key and object.
func (s *Service) auditRead(ctx context.Context, c Caller, act hook.Act, object string, id hook.ID, scope hook.Scope) {
	if hook.ActorOf(ctx) == nil || !s.reads.first(seen{by: Caller{KeyID: c.KeyID, Mode: c.Mode}, id: id}, s.o.Now()) {
		return
	}
	holder := bucket{limitAuditReads, c.holder()}
	if _, wait := s.buckets.take(holder, auditReads, 1, s.o.Now()); wait > 0 {
		s.o.Log.InfoContext(ctx, "audit: read, not in the audit log: too many within a minute", "act", string(act), "id", id.String(), "key", c.keyName())
		return
	}
	s.record(ctx, hook.AuditEntry{Mode: scope.Mode, Tenant: scope.Tenant, Act: act, Object: object, ObjectID: id.String(), Outcome: hook.AuditOK})
}

// record writes an audit entry about an action that happens even if the entry cannot be
// written.
func (s *Service) record(ctx context.Context, e hook.AuditEntry) {
	if err := s.o.Store.Audit(ctx, e); err != nil && ctx.Err() == nil {
		s.o.Log.WarnContext(ctx, "could not write to the audit log", "act", string(e.Act), "object", e.Object, "id", e.ObjectID, "error", err)
	}
}

// auditReveal records in both logs that a secret is shown. If the audit log cannot be
// written, it returns an error and the secret must not be shown.
func (s *Service) auditReveal(ctx context.Context, c Caller, ep *hook.Endpoint, message, detail string) error {
	s.o.Log.LogAttrs(ctx, levelAudit, "audit: "+message, c.audit(ep)...)
	return s.o.Store.Audit(ctx, hook.AuditEntry{Mode: ep.Scope.Mode, Tenant: ep.Scope.Tenant, Act: hook.ActSecretRevealed, Object: "endpoint",
		ObjectID: ep.ID.String(), Outcome: hook.AuditOK, Detail: detail})
}

// AuditEntries returns a page of the audit log. q.Scope.Tenant is the tenant that the
// caller requested. Callers other than operators see only the kind of an actor that is
// an operator.
func (s *Service) AuditEntries(ctx context.Context, c Caller, q hook.AuditQuery) ([]hook.AuditEntry, string, error) {
	if err := c.may(never); err != nil {
		return nil, "", err
	}
	scope, err := c.reach(q.Scope.Tenant)
	if err != nil {
		return nil, "", err
	}
	q.Scope = scope
	if c.Kind != hook.Operator && q.Actor == hook.ActorBootstrap {
		return nil, "", nil // tenants cannot see that it was the actor
	}
	rows, next, err := s.o.Store.AuditEntries(ctx, q)
	if err == nil && len(rows) == 0 {
		err = s.checkNamed(ctx, c, scope.Tenant)
	}
	if c.Kind == hook.Operator {
		return rows, next, err
	}
	for i := range rows {
		if a := &rows[i].Actor; a.Kind == string(hook.Operator) {
			*a = hook.Actor{Kind: a.Kind}
		}
	}
	return rows, next, err
}

// readsFor is the time during which repeated reads of one object with one key are not
// recorded.
const readsFor = 5 * time.Minute

// maxSeen bounds the reads in memory. Beyond the bound all are dropped and recorded
// again.
const maxSeen = 10_000

// seen is one object read with one key, or in one session of a person.
type seen struct {
	by      Caller
	id      hook.ID
	session [32]byte // zero: a call of the API
}

// reads holds the recent reads. It is safe for concurrent use.
type reads struct {
	mu sync.Mutex
	at map[seen]time.Time
}

// first reports whether the object was not read within readsFor.
func (r *reads) first(what seen, now time.Time) bool {
	if r.recent(what, now) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil || len(r.at) >= maxSeen {
		r.at = map[seen]time.Time{}
	}
	r.at[what] = now
	return true
}

// recent reports whether the object was read within readsFor.
func (r *reads) recent(what seen, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.at[what]
	return ok && now.Sub(at) < readsFor && !now.Before(at)
}
