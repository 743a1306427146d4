package client

import "encoding/json"

// Tenant is a customer account of the platform. It spans both modes.
type Tenant struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	CreatedAt Time   `json:"created_at"`
}

// NewTenant asks for a tenant. Without an ID the server makes a UUID; an own one
// is 1 to 64 letters, digits, dots, underscores and hyphens.
type NewTenant struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// TenantPatch changes a tenant.
type TenantPatch struct {
	Name Optional[string] `json:"name,omitzero"`
}

// Key is a bearer credential. Key, its text, is in the creating answer only.
type Key struct {
	ID        string `json:"id"`
	Kind      string `json:"kind" enum:"operator,publisher,tenant"`
	Mode      string `json:"mode" enum:"test,live"`
	Tenant    string `json:"tenant,omitempty" doc:"Absent: all tenants."`
	Name      string `json:"name,omitempty"`
	Key       string `json:"key,omitempty" doc:"The credential itself; only in the answer that creates it."`
	CreatedAt Time   `json:"created_at"`
}

// NewKey asks for a key of the caller's own mode. A tenant key needs a Tenant, a
// publisher key may have one, an operator key has none.
type NewKey struct {
	Kind   string `json:"kind" enum:"operator,publisher,tenant"`
	Tenant string `json:"tenant,omitempty"`
	Name   string `json:"name,omitempty"`
}

// Retry overrides when failed attempts are repeated: either Steps with Then, or
// First, Factor, Cap and MaxAttempts. Durations are texts such as "5s" or "1h30m".
type Retry struct {
	Steps       []string `json:"steps,omitempty" nullable:"false" doc:"Delay after the 1st, 2nd, ... failure: 1s to 168h each, at most 50."`
	Then        string   `json:"then,omitempty" enum:"fail,repeat" doc:"After the last step: give up (the default) or repeat it for ever."`
	First       string   `json:"first,omitempty" doc:"Exponential: delay after the first failure, 1s to 168h."`
	Factor      float64  `json:"factor,omitempty" doc:"Exponential: 1 to 10, by default 2."`
	Cap         string   `json:"cap,omitempty" doc:"Exponential: the longest delay, by default 168h."`
	Jitter      float64  `json:"jitter,omitempty" doc:"Up to this fraction is added to each delay, 0 to 1."`
	MaxAttempts int      `json:"max_attempts,omitempty" doc:"Exponential: 0 for ever, at most 10000."`
	MaxAge      string   `json:"max_age,omitempty" doc:"No attempt later than this after acceptance: 1s to 8760h."`
}

// Warning says what was odd about a request that was accepted all the same.
type Warning struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Health is an endpoint's record of failures since its last success.
type Health struct {
	ConsecutiveFailures int   `json:"consecutive_failures"`
	FirstFailureAt      *Time `json:"first_failure_at"`
	LastFailureAt       *Time `json:"last_failure_at"`
	Held                int   `json:"held" doc:"Deliveries that wait until the endpoint is enabled."`
}

// Endpoint is a tenant's address with its filter, policy and health. The values of
// Headers and of the URL's query are shown as "***"; sent back, such a URL changes
// nothing. Secret is in creating answers only.
type Endpoint struct {
	ID                     string            `json:"id"`
	Tenant                 string            `json:"tenant"`
	Mode                   string            `json:"mode" enum:"test,live"`
	URL                    string            `json:"url"`
	EventTypes             []string          `json:"event_types" nullable:"false"`
	Enabled                bool              `json:"enabled"`
	DisabledReason         *string           `json:"disabled_reason" doc:"by_hand: a caller disabled it, and events published since do not reach it; failures: too many in a row, what comes is held; gone: the receiver answered 410, what comes is held; listener_away: no receiver is connected, what comes is held. null: enabled."`
	DisabledAt             *Time             `json:"disabled_at"`
	Title                  string            `json:"title"`
	Description            string            `json:"description"`
	Profile                string            `json:"profile"`
	Headers                map[string]string `json:"headers"`
	RateLimit              float64           `json:"rate_limit"`
	MaxInFlight            int               `json:"max_in_flight"`
	MaxConsecutiveFailures *int              `json:"max_consecutive_failures"`
	Retry                  *Retry            `json:"retry"`
	CreatedAt              Time              `json:"created_at"`
	UpdatedAt              Time              `json:"updated_at"`
	Health                 *Health           `json:"health,omitempty"`
	Secret                 string            `json:"secret,omitempty" doc:"The signing secret; only in the answer that makes one."`
	PublicKey              string            `json:"public_key,omitempty" doc:"Verifies the newest signature, where the profile signs with ed25519."`
	Warnings               []Warning         `json:"warnings,omitempty" nullable:"false"`
}

// NewEndpoint asks for an endpoint. EventTypes is required: an empty list matches
// nothing, ["*"] everything. A tenant key may leave Tenant out.
type NewEndpoint struct {
	Tenant                 string            `json:"tenant,omitempty"`
	URL                    string            `json:"url"`
	EventTypes             []string          `json:"event_types" nullable:"false"`
	Enabled                *bool             `json:"enabled,omitempty"`
	Title                  string            `json:"title,omitempty"`
	Description            string            `json:"description,omitempty"`
	Profile                string            `json:"profile,omitempty"`
	Headers                map[string]string `json:"headers,omitempty"`
	RateLimit              float64           `json:"rate_limit,omitempty" doc:"Deliveries a second, 0 (no limit) to 10000."`
	MaxInFlight            int               `json:"max_in_flight,omitempty" doc:"0 (the server's default) to 1000."`
	MaxConsecutiveFailures *int              `json:"max_consecutive_failures,omitempty" doc:"1 to 1000; absent: the profile's rule."`
	Retry                  *Retry            `json:"retry,omitempty"`
	Secret                 string            `json:"secret,omitempty" doc:"A secret to take over instead of a new one."`
}

// EndpointPatch changes an endpoint (RFC 7396): absent members stay, null resets.
// Backlog says what becomes of held deliveries and goes with Enabled true only.
type EndpointPatch struct {
	URL                    Optional[string]             `json:"url,omitzero"`
	EventTypes             Optional[[]string]           `json:"event_types,omitzero"`
	Enabled                Optional[bool]               `json:"enabled,omitzero"`
	Backlog                string                       `json:"backlog,omitempty" enum:"drain,discard"`
	Title                  Optional[string]             `json:"title,omitzero"`
	Description            Optional[string]             `json:"description,omitzero"`
	Profile                Optional[string]             `json:"profile,omitzero"`
	Headers                Optional[map[string]*string] `json:"headers,omitzero" doc:"Merged by name; null takes a header away."`
	RateLimit              Optional[float64]            `json:"rate_limit,omitzero"`
	MaxInFlight            Optional[int]                `json:"max_in_flight,omitzero"`
	MaxConsecutiveFailures Optional[int]                `json:"max_consecutive_failures,omitzero"`
	Retry                  Optional[Retry]              `json:"retry,omitzero"`
}

// RotateSecret asks for a new secret. The old one signs beside it for Overlap: "0s"
// to "168h", by default "24h".
type RotateSecret struct {
	Overlap string `json:"overlap,omitempty"`
	Secret  string `json:"secret,omitempty" doc:"A secret to take over instead of a new one."`
}

// RotatedSecret holds the new secret, shown once.
type RotatedSecret struct {
	Secret            string `json:"secret"`
	PreviousExpiresAt Time   `json:"previous_expires_at"`
	PublicKey         string `json:"public_key,omitempty" doc:"Of the new secret, where the profile signs with ed25519."`
}

// TestRequest asks for a test event. Without a Type it is the profile's own.
type TestRequest struct {
	Type string          `json:"type,omitempty"`
	Data json.RawMessage `json:"data,omitempty"`
}

// TestEvent says which event and delivery a test made.
type TestEvent struct {
	Event    string `json:"event"`
	Delivery string `json:"delivery"`
	Type     string `json:"type"`
}

// NewEvent is an event to publish. Data is a JSON object; its bytes are delivered
// as they are given. ID may be any UUID; CreatedAt goes on the wire only. Tenant may
// be left out with a key of one tenant.
type NewEvent struct {
	Tenant    string          `json:"tenant,omitempty" doc:"Required, unless the key is a publisher's of one tenant: then it is that one."`
	Type      string          `json:"type"`
	Data      json.RawMessage `json:"data"`
	ID        string          `json:"id,omitempty"`
	CreatedAt *Time           `json:"created_at,omitempty" doc:"The platform's time of the event, RFC 3339; absent: the time of acceptance."`
}

// Published answers a publish: the event and its deliveries are on disk.
type Published struct {
	ID         string `json:"id"`
	Tenant     string `json:"tenant"`
	Type       string `json:"type"`
	CreatedAt  Time   `json:"created_at" doc:"The platform's time of the event; the time of acceptance if it gave none."`
	Deliveries int    `json:"deliveries"`

	Warnings []Warning `json:"warnings,omitempty"`
}

// BatchResult is what became of one event of a batch: an ID or an Error.
type BatchResult struct {
	ID         string   `json:"id,omitempty"`
	Deliveries *int     `json:"deliveries,omitempty"`
	Error      *Problem `json:"error,omitempty"`

	Warnings []Warning `json:"warnings,omitempty"`
}

// BatchResults answers a batch, in the order of its items.
type BatchResults struct {
	Results []BatchResult `json:"results" nullable:"false"`
}

// Event is what the platform said. Data and Deliveries are in the answer for one
// event only, not in lists.
type Event struct {
	ID         string          `json:"id"`
	Tenant     string          `json:"tenant"`
	Mode       string          `json:"mode" enum:"test,live"`
	Type       string          `json:"type"`
	Test       bool            `json:"test" doc:"A test event."`
	CreatedAt  Time            `json:"created_at" doc:"The platform's time of the event; the time of acceptance if it gave none."`
	AcceptedAt Time            `json:"accepted_at" doc:"When this server accepted the event. Lists are ordered and bounded by it."`
	Data       json.RawMessage `json:"data,omitempty"`
	Deliveries []Delivery      `json:"deliveries,omitzero" nullable:"false"`
}

// Delivery is one event to one endpoint. AttemptLog is in the answer for one
// delivery only.
type Delivery struct {
	ID            string    `json:"id"`
	Event         string    `json:"event"`
	EventType     string    `json:"event_type"`
	Endpoint      string    `json:"endpoint"`
	Tenant        string    `json:"tenant"`
	State         string    `json:"state" enum:"pending,held,succeeded,failed,cancelled"`
	Reason        *string   `json:"reason"`
	Attempts      int       `json:"attempts"`
	NextAttemptAt *Time     `json:"next_attempt_at"`
	LastStatus    *int      `json:"last_status"`
	LastError     *string   `json:"last_error"`
	CreatedAt     Time      `json:"created_at"`
	SettledAt     *Time     `json:"settled_at"`
	AttemptLog    []Attempt `json:"attempt_log,omitzero" nullable:"false"`
}

// Attempt is one try of a delivery. Error is a stable code, Message a sentence.
type Attempt struct {
	Number            int               `json:"number"`
	At                Time              `json:"at"`
	DurationMS        float64           `json:"duration_ms"`
	Status            *int              `json:"status"`
	Error             *string           `json:"error"`
	Message           *string           `json:"message"`
	Trigger           string            `json:"trigger" enum:"schedule,manual,test,replay" doc:"schedule: the plan; manual: a retry of the delivery; replay: a resend of the event; test: a test event."`
	ResponseHeaders   map[string]string `json:"response_headers"`
	ResponseBody      string            `json:"response_body"`
	ResponseTruncated bool              `json:"response_truncated"`
}
