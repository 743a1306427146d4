package app

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Store is what app asks of the store, one interface per noun.
type Store interface {
	EventStore
	DeliveryStore
	TenantStore
	KeyStore
	EndpointStore
}

// EventStore keeps what was published.
type EventStore interface {
	Publish(ctx context.Context, events []hook.NewEvent, profileOf func(*hook.Endpoint) hook.ProfileHash, once *hook.Once) ([]hook.Published, *hook.Replay, error)
	PublishTest(ctx context.Context, scope hook.Scope, endpoint hook.ID, eventType string, data []byte, profile hook.ProfileHash, once *hook.Once) (hook.Published, hook.ID, *hook.Replay, error)
	EventByPublicID(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Event, error)
	Events(ctx context.Context, q hook.EventQuery) ([]hook.Event, string, error)
}

// DeliveryStore keeps deliveries and their attempts.
type DeliveryStore interface {
	Deliveries(ctx context.Context, q hook.DeliveryQuery) ([]hook.DeliveryRow, string, error)
	Delivery(ctx context.Context, scope hook.Scope, id hook.ID) (hook.DeliveryRow, []hook.Attempt, error)
	RetryDelivery(ctx context.Context, scope hook.Scope, id hook.ID, once *hook.Once) (hook.Delivery, *hook.Replay, error)
	CancelDelivery(ctx context.Context, scope hook.Scope, id hook.ID) (hook.Delivery, error)
}

// TenantStore keeps tenants.
type TenantStore interface {
	CreateTenant(ctx context.Context, t hook.Tenant, once *hook.Once) (hook.Tenant, *hook.Replay, error)
	Tenant(ctx context.Context, id string) (hook.Tenant, error)
	Tenants(ctx context.Context, page hook.Page) ([]hook.Tenant, string, error)
	UpdateTenant(ctx context.Context, id string, update func(old hook.Tenant) (hook.Tenant, error)) (hook.Tenant, error)
	DeleteTenant(ctx context.Context, id string) error
}

// KeyStore keeps keys by the SHA-256 of their text.
type KeyStore interface {
	CreateKey(ctx context.Context, k hook.Key, once *hook.Once) (hook.Key, *hook.Replay, error)
	KeyByHash(ctx context.Context, hash [32]byte) (hook.Key, error)
	Keys(ctx context.Context, scope hook.Scope, page hook.Page) ([]hook.Key, string, error)
	RevokeKey(ctx context.Context, scope hook.Scope, id hook.ID) error
}

// EndpointStore keeps endpoints.
type EndpointStore interface {
	CreateEndpoint(ctx context.Context, e hook.Endpoint, once *hook.Once) (*hook.Endpoint, *hook.Replay, error)
	Endpoint(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Endpoint, error)
	Endpoints(ctx context.Context, q hook.EndpointQuery) ([]hook.Endpoint, string, error)
	Health(ctx context.Context, scope hook.Scope, id hook.ID) (hook.Health, int, error)
	UpdateEndpoint(ctx context.Context, scope hook.Scope, id hook.ID, update func(old hook.Endpoint) (hook.Endpoint, error), discardHeld bool) (*hook.Endpoint, error)
	DeleteEndpoint(ctx context.Context, scope hook.Scope, id hook.ID) error
	RotateSecret(ctx context.Context, scope hook.Scope, id hook.ID, secret hook.Secret, overlap time.Duration, once *hook.Once) (*hook.Endpoint, *hook.Replay, error)
}
