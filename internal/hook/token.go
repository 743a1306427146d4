package hook

import "time"

// Token is a short-lived bearer credential that a tenant key was exchanged for
// (OAuth 2 client credentials, RFC 6749 section 4.4). Like a key it is stored as
// the SHA-256 of its text only, and it is worth nothing once its key is revoked.
type Token struct {
	Hash      [32]byte
	Key       ID
	ExpiresAt time.Time // it is refused from this moment on
}

// PartnerUser is a grant by an operator: a key of the tenant Partner that names
// User acts for the tenant Tenant. It belongs to one mode, like keys do.
type PartnerUser struct {
	ID        ID
	Mode      Mode
	Partner   string
	User      string // the partner's own name for the user, 1 to 200 printable characters
	Tenant    string
	CreatedAt time.Time
}

// Window asks for a part of a list by position, newest first, for the APIs that
// page by offset.
type Window struct {
	Offset int // rows to pass over
	Limit  int // rows wanted, at least 1
}

// Stage is a state of a delivery with, where it matters, whether it was attempted.
type Stage struct {
	State     State
	Attempted *bool // nil: either way
}

// EndpointLog asks for the deliveries of one endpoint, newest event first.
type EndpointLog struct {
	Scope    Scope // both members are required
	Endpoint ID
	Type     string  // of the event; empty: all
	Stages   []Stage // any of them; none: all
	Window
}

// LoggedDelivery is a delivery with what its latest attempt left behind.
type LoggedDelivery struct {
	DeliveryRow
	Message   string    // of the latest attempt; empty on a plain success or before the first
	UpdatedAt time.Time // of the latest change: creation, attempt or settlement
}
