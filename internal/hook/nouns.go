package hook

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// Mode separates the two worlds that never touch: keys, endpoints, events,
// deliveries, secrets and numbers belong to exactly one. The numbers are stored.
type Mode uint8

// The two modes.
const (
	Test Mode = 1
	Live Mode = 2
)

// String returns "test" or "live".
func (m Mode) String() string {
	switch m {
	case Test:
		return "test"
	case Live:
		return "live"
	}
	return "unknown"
}

// ParseMode reads "test" or "live".
func ParseMode(s string) (Mode, bool) {
	switch s {
	case "test":
		return Test, true
	case "live":
		return Live, true
	}
	return 0, false
}

// Scope is the wall every store method stands behind: one tenant in one mode.
// An empty Tenant, allowed only where a method says so, means all of the mode.
type Scope struct {
	Tenant string
	Mode   Mode
}

// Tenant is a customer account of the platform. It spans both modes.
type Tenant struct {
	ID        string
	Name      string
	CreatedAt time.Time
}

// Kind says what a key may do.
type Kind string

// The three kinds of key.
const (
	Operator  Kind = "operator"
	Publisher Kind = "publisher"
	TenantKey Kind = "tenant"
)

// Key is a bearer credential as it is stored: only the SHA-256 of its text.
type Key struct {
	ID        ID
	Kind      Kind
	Mode      Mode
	Tenant    string // empty: all tenants (operator, publisher)
	Name      string
	Hash      [32]byte
	CreatedAt time.Time
	// LastUsedAt is the minute in which a request last came with the key. Zero: none yet.
	LastUsedAt time.Time
	KeyLimits
}

// KeyLimits are what a key may do less than others of its kind. The zero value limits
// nothing. Filters and networks are never changed.
type KeyLimits struct {
	ExpiresAt  time.Time      // the key is refused from then on; zero: never
	ReadOnly   bool           // it changes nothing
	EventTypes Filter         // what a publisher key may publish; empty: every type
	Networks   []netip.Prefix // where requests with it may come from; empty: anywhere
}

// Limited reports whether there is a limit.
func (l *KeyLimits) Limited() bool {
	return l.ReadOnly || !l.ExpiresAt.IsZero() || len(l.EventTypes) > 0 || len(l.Networks) > 0
}

// Expired reports whether the key is refused at this time.
func (l *KeyLimits) Expired(now time.Time) bool {
	return !l.ExpiresAt.IsZero() && !now.Before(l.ExpiresAt)
}

// Admits reports whether a request may come from the address. IPv4 addresses that are
// written as IPv6 are IPv4. An address that is not known comes from no network.
func (l *KeyLimits) Admits(from netip.Addr) bool {
	if len(l.Networks) == 0 {
		return true
	}
	from = from.Unmap().WithZone("")
	return slices.ContainsFunc(l.Networks, func(n netip.Prefix) bool { return n.Contains(from) })
}

// Header is one custom header of an endpoint. Its value is a secret.
type Header struct {
	Name  string
	Value string
}

// LogValue keeps the value out of logs.
func (h Header) LogValue() slog.Value { return slog.StringValue(h.Name + ": ***") }

// String keeps the value out of formatted text.
func (h Header) String() string { return h.Name + ": ***" }

// GoString keeps the value out of %#v.
func (h Header) GoString() string { return "hook.Header{" + h.Name + ": ***}" }

// Encoding says how the text of a secret becomes the bytes of a key.
type Encoding string

// The encodings of secrets that profiles name.
const (
	EncodingText   Encoding = "text"   // the UTF-8 bytes of the text itself
	EncodingBase64 Encoding = "base64" // standard alphabet, padded
	EncodingWhsec  Encoding = "whsec_" // prefix whsec_, then padded standard base64
	EncodingWhsk   Encoding = "whsk_"  // ed25519: prefix whsk_, then base64 of seed and public key
)

// Secret is one signing secret of an endpoint, opened. It cannot be printed.
type Secret struct {
	Version   int64    // ascends per endpoint; part of what seals it
	Text      string   // as the receiver was shown it
	Encoding  Encoding // the rule its text was issued under; stays when the profile changes
	CreatedAt time.Time
	ExpiresAt time.Time // zero: does not expire
}

// MaxSecrets bounds the secrets of an endpoint that are in force at once. Every request
// carries a signature of each in one header, and receivers' servers bound a header.
const MaxSecrets = 10

// Live reports whether the secret signs at the time.
func (s Secret) Live(at time.Time) bool { return s.ExpiresAt.IsZero() || at.Before(s.ExpiresAt) }

// LogValue keeps the text out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue("***") }

// String keeps the text out of formatted text.
func (s Secret) String() string { return "***" }

// GoString keeps the text out of %#v.
func (s Secret) GoString() string { return "hook.Secret{***}" }

// MarshalJSON keeps the text out of JSON, logs among it.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"***"`), nil }

// Status says whether an endpoint receives. The numbers are stored.
type Status uint8

// The states of an endpoint.
const (
	Enabled  Status = 0
	Disabled Status = 1 // by hand: nothing new is queued, what waits is held
	Tripped  Status = 2 // by failures, a 410, a listener that is away, or not verified yet: what waits and what comes is held
	Deleted  Status = 3 // kept until retention; what waits is cancelled
)

// Endpoint is a tenant's address with its filter, secrets, policy and health.
// A value handed out by the store is a snapshot: it is shared and never changed.
type Endpoint struct {
	ID          ID
	Scope       Scope
	URL         string // canonical, as admitted
	Types       Filter
	Title       string
	Description string
	Profile     string
	Headers     []Header
	Secrets     []Secret // newest first

	RateLimit   float64 // deliveries a second, 0: no limit
	MaxInFlight int     // 0: the server's default
	MaxFailures int     // consecutive failures that trip it, 0: the profile's
	Retry       *Retry  // nil: the profile's

	// Damage says what of it could not be opened. While it is not 0, the endpoint gets
	// deliveries, and they wait until it is mended. Of what is damaged the value holds
	// nothing: no headers, a URL without its query, only the secrets that opened.
	Damage Damage

	Verification Verification // while Unverified, the status is never Enabled

	Status         Status
	DisabledReason string // a stable word: by_hand, failures, gone, listener_away, unverified
	DisabledAt     time.Time
	CreatedAt      time.Time
	UpdatedAt      time.Time
	Revision       int64 // ascends with every change
	Home           int64 // of a listener: the process that its receiver is connected to, by its epoch
	Enablings      int64 // how often it was enabled; attempts begun before the last one do not count for health
}

// Receives reports whether the schedule may make attempts now.
func (e *Endpoint) Receives() bool { return e.Status == Enabled && e.Damage == 0 }

// WhyDisabled returns a stable word for why an endpoint gets no attempts now: the reason
// for which it is disabled, "damaged", or "" if it receives.
func (e *Endpoint) WhyDisabled() string {
	if e.Status == Enabled && e.Damage != 0 {
		return "damaged"
	}
	return e.DisabledReason
}

// Damage is a set of sealed values of an endpoint that could not be opened. A change that
// replaces one of them mends it.
type Damage uint8

// What can be damaged.
const (
	DamagedHeaders Damage = 1 << iota
	DamagedQuery          // of the URL
	DamagedSecrets        // one of them or more
)

// Has reports whether the set holds one of the parts.
func (d Damage) Has(part Damage) bool { return d&part != 0 }

// LogValue names the endpoint only: its headers and secrets stay out of logs.
func (e *Endpoint) LogValue() slog.Value { return slog.StringValue(e.ID.String()) }

// EventKind tells the platform's events from test events. The numbers are stored.
type EventKind uint8

// The kinds of event.
const (
	NormalEvent EventKind = 0
	TestEvent   EventKind = 1 // one delivery, one attempt, not counted for health or statistics
)

// Event is what the platform said. Data is kept and sent byte for byte.
type Event struct {
	ID         ID // ours
	PublicID   ID // what receivers see: the platform's own id, or ours
	Scope      Scope
	Kind       EventKind
	Type       string
	CreatedAt  time.Time // the platform's, goes on the wire
	AcceptedAt time.Time // ours: order and retention
	Data       []byte
}

// ProfileHash names one exact text of a profile: the first 16 bytes of its SHA-256.
type ProfileHash [16]byte

// Attempt is one logged try of a delivery.
type Attempt struct {
	Number          int
	At              time.Time
	Duration        time.Duration
	Status          int // 0: no answer
	Class           Class
	Message         string
	Trigger         Trigger
	ResponseHeaders []byte // "Name: value" lines
	ResponseBody    []byte // the first bytes
	Truncated       bool
}
