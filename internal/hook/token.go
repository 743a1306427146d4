package hook

import "time"

// Token is a short-lived bearer credential that was issued for a tenant key (OAuth 2
// client credentials, RFC 6749 section 4.4). As with a key, only the SHA-256 of its text
// is stored. It is invalid once its key is revoked.
type Token struct {
	Hash      [32]byte
	Key       ID
	ExpiresAt time.Time // it is refused from this time on
}

// PartnerUser is a grant by an operator: a key of the tenant Partner may act for the
// tenant Tenant if its request names User. Like a key, it belongs to one mode.
type PartnerUser struct {
	ID        ID
	Mode      Mode
	Partner   string
	User      string // the partner's name for the user, 1 to 200 printable characters
	Tenant    string
	CreatedAt time.Time
}

// Window selects a part of a list by position, newest first, for APIs that page by
// offset.
type Window struct {
	Offset int // rows to skip
	Limit  int // rows to return, at least 1
}

// Stage is a state of a delivery, optionally with whether it was attempted.
type Stage struct {
	State     State
	Attempted *bool // nil: both
}

// EndpointLog selects the deliveries of one endpoint, newest event first.
type EndpointLog struct {
	Scope    Scope // both members are required
	Endpoint ID
	Type     string  // of the event; empty: all
	Stages   []Stage // deliveries in any of these; empty: all
	Window
}

// LoggedDelivery is a delivery with the result of its latest attempt.
type LoggedDelivery struct {
	DeliveryRow
	Message   string    // of the latest attempt; empty on success or before the first attempt
	UpdatedAt time.Time // time of the latest change: creation, attempt or settlement
}
