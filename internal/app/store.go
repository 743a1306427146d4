package app

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Store is the part of the store that app uses, one interface per noun.
type Store interface {
	EventStore
	DeliveryStore
	TenantStore
	KeyStore
	EndpointStore
	EventTypeStore
	InsightStore
	TokenStore
	PartnerStore
	MountStore
}

// ErasureStore erases, and keeps the receipts.
type ErasureStore interface {
	Erase(ctx context.Context, n hook.NewErasure, once *hook.Once) (hook.Erasure, *hook.Replay, error)
	Erasure(ctx context.Context, mode hook.Mode, id hook.ID) (hook.Erasure, error)
	Erasures(ctx context.Context, q hook.ErasureQuery) ([]hook.Erasure, string, error)
	Reclaim(ctx context.Context, most int64) (hook.Reclaimed, error)
}

// AuditStore stores the audit log. Writes also add their own entries, with the actor of
// their context.
type AuditStore interface {
	Audit(ctx context.Context, e hook.AuditEntry) error
	AuditEntries(ctx context.Context, q hook.AuditQuery) ([]hook.AuditEntry, string, error)
}

// EventStore stores published events.
type EventStore interface {
	Publish(ctx context.Context, events []hook.NewEvent, profileOf func(*hook.Endpoint) hook.ProfileHash, once *hook.Once) ([]hook.Published, *hook.Replay, error)
	PublishTest(ctx context.Context, scope hook.Scope, endpoint hook.ID, eventType string, data []byte, profile hook.ProfileHash, once *hook.Once) (hook.Published, hook.ID, *hook.Replay, error)
	EventByPublicID(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Event, error)
	Events(ctx context.Context, q hook.EventQuery) ([]hook.Event, string, error)
	Resend(ctx context.Context, scope hook.Scope, event, endpoint hook.ID, profileOf func(*hook.Endpoint) hook.ProfileHash, once *hook.Once) (hook.Resent, *hook.Replay, error)
}

// DeliveryStore stores deliveries with their attempts, and replays of them.
type DeliveryStore interface {
	ReplayStore
	Deliveries(ctx context.Context, q hook.DeliveryQuery) ([]hook.DeliveryRow, string, error)
	Delivery(ctx context.Context, scope hook.Scope, id hook.ID) (hook.DeliveryRow, []hook.Attempt, error)
	DeliveryRow(ctx context.Context, scope hook.Scope, id hook.ID) (hook.DeliveryRow, error)
	RetryAnyway(ctx context.Context, scope hook.Scope, id hook.ID, once *hook.Once) (hook.Delivery, *hook.Replay, error)
	RetryDelivery(ctx context.Context, scope hook.Scope, id hook.ID, once *hook.Once) (hook.Delivery, *hook.Replay, error)
	CancelDelivery(ctx context.Context, scope hook.Scope, id hook.ID) (hook.Delivery, error)
}

// TenantStore stores tenants, and erases.
type TenantStore interface {
	ErasureStore
	RetentionStore
	CreateTenant(ctx context.Context, t hook.Tenant, once *hook.Once) (hook.Tenant, *hook.Replay, error)
	Tenant(ctx context.Context, id string) (hook.Tenant, error)
	Tenants(ctx context.Context, q hook.TenantQuery) ([]hook.Tenant, string, error)
	UpdateTenant(ctx context.Context, id string, update func(old hook.Tenant) (hook.Tenant, error)) (hook.Tenant, error)
	DeleteTenant(ctx context.Context, id string, checks ...func(hook.Tenant) error) error
}

// KeyStore stores keys by the SHA-256 of their text, sessions that act for them, and has the
// master keys.
type KeyStore interface {
	MasterKeyStore
	WebStore
	CreateKey(ctx context.Context, k hook.Key, once *hook.Once) (hook.Key, *hook.Replay, error)
	KeyByHash(ctx context.Context, hash [32]byte) (hook.Key, error)
	// KeyUsed notes that a request used the key. It does not block.
	KeyUsed(id hook.ID)
	Keys(ctx context.Context, q hook.KeyQuery) ([]hook.Key, string, error)
	RevokeKey(ctx context.Context, scope hook.Scope, id hook.ID) error
}

// EndpointStore stores endpoints.
type EndpointStore interface {
	CreateEndpoint(ctx context.Context, e hook.Endpoint, once *hook.Once) (*hook.Endpoint, *hook.Replay, error)
	Endpoint(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Endpoint, error)
	EndpointNow(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Endpoint, error)
	Endpoints(ctx context.Context, q hook.EndpointQuery) ([]hook.Endpoint, string, error)
	Health(ctx context.Context, scope hook.Scope, id hook.ID) (hook.Health, int, error)
	UpdateEndpoint(ctx context.Context, scope hook.Scope, id hook.ID, update func(old hook.Endpoint) (hook.Endpoint, error), discardHeld bool) (*hook.Endpoint, error)
	VerifyEndpoint(ctx context.Context, scope hook.Scope, id hook.ID, v hook.Verification, once *hook.Once) (*hook.Endpoint, *hook.Replay, error)
	DeleteEndpoint(ctx context.Context, scope hook.Scope, id hook.ID, checks ...func(hook.Endpoint) error) error
	RotateSecret(ctx context.Context, scope hook.Scope, id hook.ID, secret hook.Secret, overlap time.Duration, once *hook.Once) (*hook.Endpoint, *hook.Replay, error)
}

// TokenStore stores the tokens that were issued for keys, by the SHA-256 of their text.
type TokenStore interface {
	CreateToken(ctx context.Context, scope hook.Scope, token hook.Token) error
	TokenKey(ctx context.Context, hash [32]byte) (hook.Key, error)
}

// PartnerStore stores which tenants partners may act for.
type PartnerStore interface {
	CreatePartnerUser(ctx context.Context, p hook.PartnerUser, once *hook.Once) (hook.PartnerUser, *hook.Replay, error)
	PartnerTenant(ctx context.Context, scope hook.Scope, user string) (string, error)
	PartnerUsers(ctx context.Context, scope hook.Scope, page hook.Page) ([]hook.PartnerUser, string, error)
	DeletePartnerUser(ctx context.Context, scope hook.Scope, id hook.ID) error
}

// MountStore has the reads and writes that only the PaySway and paywise management APIs
// need.
type MountStore interface {
	CreateEndpointIf(ctx context.Context, e hook.Endpoint, admit func(existing []*hook.Endpoint) error, once *hook.Once) (*hook.Endpoint, *hook.Replay, error)
	TenantEndpoints(ctx context.Context, scope hook.Scope) ([]*hook.Endpoint, error)
	Healths(ctx context.Context, scope hook.Scope, ids []hook.ID) (map[hook.ID]hook.Health, error)
	EndpointLog(ctx context.Context, q hook.EndpointLog) ([]hook.LoggedDelivery, int, error)
}

// ReplayStore stores replays.
type ReplayStore interface {
	PreviewReplay(ctx context.Context, n hook.NewReplay) (hook.ReplayPreview, error)
	CreateReplay(ctx context.Context, n hook.NewReplay, once *hook.Once) (hook.ReplayJob, *hook.Replay, error)
	Replay(ctx context.Context, scope hook.Scope, id hook.ID) (hook.ReplayJob, error)
	Replays(ctx context.Context, q hook.ReplayQuery) ([]hook.ReplayJob, string, error)
	PauseReplay(ctx context.Context, scope hook.Scope, id hook.ID) (hook.ReplayJob, error)
	ResumeReplay(ctx context.Context, scope hook.Scope, id hook.ID) (hook.ReplayJob, error)
	CancelReplay(ctx context.Context, scope hook.Scope, id hook.ID) (hook.ReplayJob, error)
}

// EventTypeStore stores the catalogue of event types of each mode.
type EventTypeStore interface {
	CreateEventType(ctx context.Context, e hook.EventType, once *hook.Once) (hook.EventType, *hook.Replay, error)
	EventType(ctx context.Context, mode hook.Mode, name string) (hook.EventType, error)
	EventTypes(ctx context.Context, q hook.TypeQuery) ([]hook.EventType, string, error)
	Subscribers(ctx context.Context, scope hook.Scope, types []string, most int) ([]hook.Subscribers, error)
	CheckedEventTypes(ctx context.Context, limit int) ([]hook.EventType, error)
	UpdateEventType(ctx context.Context, mode hook.Mode, name string, update func(old hook.EventType) (hook.EventType, error)) (hook.EventType, error)
	DeleteEventType(ctx context.Context, mode hook.Mode, name string, checks ...func(hook.EventType) error) error
}

// CountStore counts deliveries as they are now.
type CountStore interface {
	StateCounts(ctx context.Context, scope hook.Scope, endpoint hook.ID) (hook.StateCounts, error)
	OpenOf(ctx context.Context, scope hook.Scope, endpoints []hook.ID) (map[hook.ID]hook.OpenCounts, error)
}

// InsightStore reports what happened and why.
type InsightStore interface {
	AuditStore
	CountStore
	FindID(ctx context.Context, q hook.IDQuery) (hook.FoundPage, error)
	History(ctx context.Context, scope hook.Scope, at time.Time) (list []hook.History, more bool, err error)
	HasEndpoints(ctx context.Context, scope hook.Scope) (bool, error)
	RecentStats(ctx context.Context, scope hook.Scope, id hook.ID) (hook.EndpointStats, error)
	Buckets(ctx context.Context, q hook.StatsQuery) (hook.Stats, error)
	BucketsOf(ctx context.Context, q hook.StatsQuery, endpoints []hook.ID) (map[hook.ID][]hook.Tally, error)
}
