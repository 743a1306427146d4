package hook

import (
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
	"time"
)

// Capabilities are what a session of the portal may do besides viewing.
type Capabilities uint8

// The capabilities.
const (
	MayManage    Capabilities = 1 << iota // make, change, disable and delete endpoints
	MaySeeSecret                          // reveal and rotate secrets
	MayRetry                              // retry a delivery
	MayReplay                             // resend events and replay
	MayTest                               // send test events
)

// capabilityNames are the words of the API, in the order of the bits. "view" has no bit:
// every session may view.
var capabilityNames = []string{"manage_endpoints", "see_secret", "retry", "replay", "test"}

// CapabilityView is the capability that every session has.
const CapabilityView = "view"

// Has reports whether all of want are among c.
func (c Capabilities) Has(want Capabilities) bool { return c&want == want }

// Names returns the words of the capabilities, "view" first.
func (c Capabilities) Names() []string {
	out := []string{CapabilityView}
	for i, name := range capabilityNames {
		if c.Has(1 << i) {
			out = append(out, name)
		}
	}
	return out
}

// ParseCapability parses the word of a capability.
func ParseCapability(name string) (Capabilities, bool) {
	i := slices.Index(capabilityNames, name)
	if i < 0 {
		return 0, name == CapabilityView
	}
	return 1 << i, true
}

// WebKind says which pages a session opens.
type WebKind string

// The kinds of sessions.
const (
	WebOperator WebKind = "operator" // the dashboard
	WebPortal   WebKind = "portal"   // the portal of one tenant
)

// WebSession is a person's session in a browser. Its cookie is stored as a hash only.
type WebSession struct {
	ID   ID
	Kind WebKind
	Mode Mode // of a portal session; for an operator the mode viewed last

	// Keys are the hashes of the operator keys that an operator's session stands for.
	Keys map[Mode][32]byte

	Tenant   string // of a portal session
	Maker    ID     // the key that made a portal session; the session ends with it
	MakerIn  bool   // whether Maker is a stored key that is in force
	Entered  bool   // whether its link was used
	Settings PortalSettings

	CreatedAt time.Time
	SeenAt    time.Time // of the last request, to the minute; zero: none yet
	ExpiresAt time.Time
	EnterBy   time.Time // when the first link of a portal session expires
	EndedAt   time.Time // when it was ended before its time; zero: it was not
}

// Over reports whether a portal session cannot be used any more, or never was entered and
// cannot be.
func (s *WebSession) Over(now time.Time) bool {
	return !s.EndedAt.IsZero() || !now.Before(s.ExpiresAt) || !s.Entered && !now.Before(s.EnterBy)
}

// Short returns the id of a session in the paths of the portal: 10 letters and digits. It
// is public; the cookie proves the session.
func (s *WebSession) Short() string { return ShortSession(s.ID) }

// ShortSession returns the short id for the id of a session.
func ShortSession(id ID) string {
	sum := sha256.Sum256(id[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:10])
}

// PortalSettings are the rights and the look of a portal session. They are stored as JSON.
type PortalSettings struct {
	Capabilities Capabilities `json:"capabilities,omitempty"`
	FrameOrigins []string     `json:"frame_origins,omitempty"`
	Locale       string       `json:"locale,omitempty"` // empty: the browser's
	Theme        PortalTheme  `json:"theme,omitzero"`
	ReturnURL    string       `json:"return_url,omitempty"`
	Page         string       `json:"page,omitempty"`        // to open first, a path below the portal
	Address      string       `json:"address,omitempty"`     // of an operator's session: the address that opened it
	AsCustomer   bool         `json:"as_customer,omitempty"` // an operator looks at what the customer sees
}

// PortalTheme is the look of a portal session. The zero value is the default look.
type PortalTheme struct {
	Accent string `json:"accent,omitempty"` // #rrggbb
	Mode   string `json:"mode,omitempty"`   // auto, light, dark
	Radius *int   `json:"radius,omitempty"` // 0 to 16 pixels
	Font   string `json:"font,omitempty"`   // system, serif, mono
	Logo   string `json:"logo,omitempty"`   // a data URI
	Name   string `json:"name,omitempty"`
	Chrome string `json:"chrome,omitempty"` // full, bare
}

// WebLink is a link that opens a session once. Only the hash of its code is stored.
type WebLink struct {
	Hash      [32]byte
	Kind      WebKind
	Session   ID                // the portal session that it opens
	Keys      map[Mode][32]byte // for an operator
	Again     bool              // replaces a cookie that did not come back; valid until the session is used
	ExpiresAt time.Time
	SpentAt   time.Time // zero: it was not used
}

// Bounds of sessions and links.
const (
	// WebLinkFor is how long a link can be used.
	WebLinkFor = 5 * time.Minute
	// MaxPortalSessions bounds the portal sessions of a tenant and mode that can be used.
	MaxPortalSessions = 250
	// WebSessionKept is how long a session is listed after it expired.
	WebSessionKept = 24 * time.Hour
	// MaxWebSessions bounds the sessions of operators; beyond it the one unused longest ends.
	MaxWebSessions = 1000
	// WebSessionMax and WebSessionIdle end an operator's session.
	WebSessionMax  = 12 * time.Hour
	WebSessionIdle = 30 * time.Minute
)

// WebSessionQuery selects portal sessions, newest first. An empty tenant means all of the
// mode.
type WebSessionQuery struct {
	Scope Scope
	Page
}

// NewPortalSession is a request for a portal session. The store sets its id and times.
type NewPortalSession struct {
	WebSession
	Link [32]byte // the hash of the code of its link
}
