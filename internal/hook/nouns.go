package hook

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// Mode is test or live. The two are separate: every key, endpoint, event, delivery,
// secret and statistic belongs to exactly one. The numbers are stored.
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

// ParseMode parses "test" or "live".
func ParseMode(s string) (Mode, bool) {
	switch s {
	case "test":
		return Test, true
	case "live":
		return Live, true
	}
	return 0, false
}

// Scope is one tenant in one mode. Every store method is limited to a scope. An empty
// Tenant means all tenants of the mode. It is allowed only where a method says so.
type Scope struct {
	Tenant string
	Mode   Mode
}

// Tenant is a customer account of the platform. It spans both modes.
type Tenant struct {
	ID        string
	Name      string
	Metadata  string  // the platform's own notes, a JSON object of texts; empty: none
	RateLimit float64 // attempts per second of each of its endpoints that has no limit of its own; 0: none
	CreatedAt time.Time
}

// Kind is the kind of a key. It determines what the key may do.
type Kind string

// The kinds of key, and of the caller of a session.
const (
	Operator  Kind = "operator"
	Publisher Kind = "publisher"
	TenantKey Kind = "tenant"
	// PortalUser is the kind of a caller with a session of the portal. No key has it.
	PortalUser Kind = "portal"
)

// Key is a bearer credential. Only the SHA-256 of its text is stored.
type Key struct {
	ID        ID
	Kind      Kind
	Mode      Mode
	Tenant    string // empty: all tenants (operator, publisher)
	Name      string
	Hash      [32]byte
	CreatedAt time.Time
	// LastUsedAt is the minute of the last request with the key. Zero: none yet.
	LastUsedAt time.Time
	KeyLimits
}

// KeyLimits are additional limits of a key. The zero value limits nothing. The filter and
// the networks must not be modified.
type KeyLimits struct {
	ExpiresAt  time.Time      // the key is refused from then on; zero: never
	ReadOnly   bool           // the key may only read
	EventTypes Filter         // the types that a publisher key may publish; empty: every type
	Networks   []netip.Prefix // the networks from which it may be used; empty: all
}

// Limited reports whether there is a limit.
func (l *KeyLimits) Limited() bool {
	return l.ReadOnly || !l.ExpiresAt.IsZero() || len(l.EventTypes) > 0 || len(l.Networks) > 0
}

// Expired reports whether the key has expired at the given time.
func (l *KeyLimits) Expired(now time.Time) bool {
	return !l.ExpiresAt.IsZero() && !now.Before(l.ExpiresAt)
}

// Admits reports whether a request may come from the address. An IPv4-mapped IPv6 address
// counts as IPv4. The zero Addr is admitted only if Networks is empty.
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

// Encoding is how the text of a secret becomes the bytes of a key.
type Encoding string

// The encodings of secrets that profiles name.
const (
	EncodingText   Encoding = "text"   // the UTF-8 bytes of the text
	EncodingBase64 Encoding = "base64" // standard alphabet, padded
	EncodingWhsec  Encoding = "whsec_" // prefix whsec_, then standard base64, padded
	EncodingWhsk   Encoding = "whsk_"  // ed25519: prefix whsk_, then base64 of seed and public key
)

// Secret is one signing secret of an endpoint, unsealed. Its text is never printed.
type Secret struct {
	Version   int64    // increases per endpoint; part of the associated data of its seal
	Text      string   // as shown to the receiver
	Encoding  Encoding // of the text; it stays when the profile changes
	CreatedAt time.Time
	ExpiresAt time.Time // zero: does not expire
}

// MaxSecrets bounds the secrets of an endpoint that are in force at the same time. Every
// request carries a signature by each of them in one header, and servers limit the size
// of a header.
const MaxSecrets = 10

// Live reports whether the secret is in force at the given time.
func (s Secret) Live(at time.Time) bool { return s.ExpiresAt.IsZero() || at.Before(s.ExpiresAt) }

// LogValue keeps the text out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue("***") }

// String keeps the text out of formatted text.
func (s Secret) String() string { return "***" }

// GoString keeps the text out of %#v.
func (s Secret) GoString() string { return "hook.Secret{***}" }

// MarshalJSON keeps the text out of JSON, including JSON logs.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"***"`), nil }

// Status is whether an endpoint receives deliveries. The numbers are stored.
type Status uint8

// The states of an endpoint.
const (
	Enabled  Status = 0
	Disabled Status = 1 // by hand: new events get no delivery, open deliveries are held
	Tripped  Status = 2 // otherwise, see DisabledReason: open and new deliveries are held
	Deleted  Status = 3 // kept until retention; open deliveries are cancelled
)

// Endpoint is a tenant's URL with its filter, secrets, policy and health. A value that
// the store returns is a snapshot: it is shared and must not be modified.
type Endpoint struct {
	ID          ID
	Scope       Scope
	URL         string // canonical, as admitted
	Types       Filter
	Channels    Channels // it listens to these only; nil: to all events
	Title       string
	Description string
	Profile     string
	UID         string // the platform's name for it, unique in its scope; empty: none
	Metadata    string // the platform's own notes, a JSON object of texts; empty: none
	Headers     []Header
	Secrets     []Secret // newest first

	RateLimit   float64 // attempts per second; 0: the tenant's
	TenantRate  float64 // the tenant's RateLimit; not part of its revision
	MaxInFlight int     // concurrent attempts; 0: the server's default
	MaxFailures int     // consecutive failures that trip it; 0: the profile's
	Retry       *Retry  // nil: the profile's

	// Damage is the set of sealed values that could not be opened. While it is not 0, new
	// deliveries wait until the endpoint is repaired. Damaged values are absent: there
	// are no headers, the URL has no query, and Secrets has only those that opened.
	Damage Damage

	// Operational endpoints get alerts (see alert.go) and nothing else. It never changes.
	Operational bool
	Alarm       Alarm // the alerts about its health so far; not part of its revision

	Verification Verification // while Unverified is true, Status is never Enabled

	Status         Status
	DisabledReason string // a stable word: by_hand, failures, gone, listener_away, unverified
	DisabledAt     time.Time
	CreatedAt      time.Time
	UpdatedAt      time.Time
	Revision       int64 // increases with every change
	Home           int64 // of a listener: epoch of the process that its receiver is connected to
	Enablings      int64 // how often it was enabled; older attempts do not count for health
}

// Receives reports whether the schedule may make attempts at the endpoint now.
func (e *Endpoint) Receives() bool { return e.Status == Enabled && e.Damage == 0 }

// Rate returns the attempts per second that the endpoint gets at most. 0: no limit.
func (e *Endpoint) Rate() float64 {
	if e.RateLimit > 0 {
		return e.RateLimit
	}
	return e.TenantRate
}

// WhyDisabled returns a stable word for why the endpoint gets no attempts now: the reason
// why it is disabled, or "damaged". It returns "" if it receives.
func (e *Endpoint) WhyDisabled() string {
	if e.Status == Enabled && e.Damage != 0 {
		return "damaged"
	}
	return e.DisabledReason
}

// Damage is a set of sealed values of an endpoint that could not be opened. A change that
// replaces a value repairs it.
type Damage uint8

// The values that can be damaged.
const (
	DamagedHeaders Damage = 1 << iota
	DamagedQuery          // of the URL
	DamagedSecrets        // at least one
)

// Has reports whether the set holds one of the parts.
func (d Damage) Has(part Damage) bool { return d&part != 0 }

// LogValue returns only the id. It keeps headers and secrets out of logs.
func (e *Endpoint) LogValue() slog.Value { return slog.StringValue(e.ID.String()) }

// EventKind distinguishes the platform's events from test events. The numbers are stored.
type EventKind uint8

// The kinds of event.
const (
	NormalEvent EventKind = 0
	TestEvent   EventKind = 1 // one delivery, one attempt, not counted for health or statistics
)

// Event is an event of the platform. Data is stored and sent byte for byte.
type Event struct {
	ID         ID     // internal key
	PublicID   ID     // shown to callers and receivers: the platform's own id, or else ID
	GivenID    string // the platform's own id if it is no UUID, shown in place of PublicID, which is made of it
	Scope      Scope
	Kind       EventKind
	Type       string
	Channels   Channels
	CreatedAt  time.Time // set by the platform and sent to receivers
	AcceptedAt time.Time // set by the store; determines order and retention
	DeliverAt  time.Time // the schedule makes no attempt before; zero: at once
	Data       []byte
	// PayloadRemovedAt is when retention removed Data. Zero: Data is there.
	PayloadRemovedAt time.Time
	Tags             Tags     // set in lists and when one event is read; not sent to receivers
	Redacted         []string // JSON pointers to values that are replaced in Data; only in what package app shows
}

// ProfileHash identifies one exact text of a profile: the first 16 bytes of its SHA-256.
type ProfileHash [16]byte

// Attempt is one recorded attempt of a delivery.
type Attempt struct {
	Number          int
	At              time.Time
	Duration        time.Duration
	Status          int // 0: no response
	Class           Class
	Message         string
	Trigger         Trigger
	ResponseHeaders []byte // "Name: value" lines
	ResponseBody    []byte // the first bytes
	Truncated       bool
	AnswerRemovedAt time.Time  // when retention removed the response; zero: it was not
	Address         netip.Addr // of the connection, or dialled for it; zero: none, or recorded by an earlier release
	Timing          Timing
}

// Timing is how long the phases of an attempt took. 0 means that there was none. The
// phases follow each other in this order; reading the response takes the rest.
type Timing struct {
	DNS       time.Duration // until the name was looked up
	Connect   time.Duration // until the connection was open
	TLS       time.Duration // until the handshake was complete
	FirstByte time.Duration // from the request's first byte to the response's
	Reused    bool          // on a kept connection, which has none of the first three
}
