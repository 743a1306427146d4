package client

import "encoding/json"

// Tenant is a customer account of the platform. A tenant exists in both modes.
type Tenant struct {
	ID        string `json:"id" doc:"The id that the platform gave it, or a UUID."`
	Name      string `json:"name" doc:"For people. Empty: none."`
	CreatedAt Time   `json:"created_at" doc:"When the tenant was made."`

	Metadata  map[string]string `json:"metadata" doc:"The platform's own notes. Empty: none."`
	RateLimit float64           `json:"rate_limit" doc:"Deliveries a second to each endpoint of the tenant that has no rate_limit of its own, in both modes. 0: no limit."`
}

// NewTenant describes a tenant to create. If ID is empty, the server generates a UUID. An ID
// that you choose is 1 to 256 letters, digits, dots, underscores and hyphens.
type NewTenant struct {
	ID   string `json:"id,omitempty" doc:"1 to 256 letters, digits, dots, underscores and hyphens. Absent: the server makes a UUID."`
	Name string `json:"name,omitempty" doc:"For people, at most 256 characters."`

	Metadata  map[string]string `json:"metadata,omitempty" doc:"The platform's own notes, texts by name, at most 4,096 bytes as JSON."`
	RateLimit float64           `json:"rate_limit,omitempty" doc:"Deliveries a second to each endpoint of the tenant that has no rate_limit of its own, 0 (no limit) to 10000."`
}

// TenantPatch describes changes to a tenant.
type TenantPatch struct {
	Name      Optional[string]             `json:"name,omitzero" doc:"For people, at most 256 characters. null: none."`
	Metadata  Optional[map[string]*string] `json:"metadata,omitzero" doc:"Merged by name; null takes one away, or all."`
	RateLimit Optional[float64]            `json:"rate_limit,omitzero" doc:"Deliveries a second to each endpoint of the tenant that has no rate_limit of its own, 0 to 10000. 0 and null: no limit."`
}

// Key is a bearer credential. Its text, the member Key, is set only in the response that
// creates it.
type Key struct {
	ID        string `json:"id" format:"uuid" doc:"The id of the key. It is not secret."`
	Kind      string `json:"kind" enum:"operator,publisher,tenant" doc:"operator: everything in its mode. publisher: publish only. tenant: one tenant's endpoints and deliveries."`
	Mode      string `json:"mode" enum:"test,live" doc:"The mode in which the key acts. It never changes."`
	Tenant    string `json:"tenant,omitempty" doc:"Absent: all tenants."`
	Name      string `json:"name,omitempty" doc:"For people. Absent: none."`
	Key       string `json:"key,omitempty" doc:"The credential itself; only in the answer that creates it."`
	CreatedAt Time   `json:"created_at" doc:"When the key was made."`

	ExpiresAt  *Time    `json:"expires_at,omitempty" doc:"The key is refused from then on. Absent: never."`
	LastUsedAt *Time    `json:"last_used_at,omitempty" doc:"The minute in which a request last came with the key, known a second later. Absent: none yet."`
	ReadOnly   bool     `json:"read_only,omitempty" doc:"The key may only read. Absent: it may write too."`
	EventTypes []string `json:"event_types,omitempty" nullable:"false" doc:"The event types that a publisher key may publish. Absent: all."`
	Networks   []string `json:"networks,omitempty" nullable:"false" doc:"The networks that the key may be used from, in CIDR notation. Absent: any."`
}

// NewKey describes a key to create, in the caller's own mode. A tenant key requires a
// Tenant, a publisher key may have one, and an operator key has none.
type NewKey struct {
	Kind   string `json:"kind" enum:"operator,publisher,tenant" doc:"operator: everything in its mode. publisher: publish only. tenant: one tenant's endpoints and deliveries."`
	Tenant string `json:"tenant,omitempty" doc:"Required for a tenant key. It narrows a publisher key to one tenant. An operator key has none."`
	Name   string `json:"name,omitempty" doc:"For people, at most 256 characters."`

	ExpiresAt  *Time    `json:"expires_at,omitempty" doc:"The key is refused from then on, a time in the future. Absent: never."`
	ReadOnly   bool     `json:"read_only,omitempty" doc:"The key may only read. Not for publisher keys."`
	EventTypes []string `json:"event_types,omitempty" nullable:"false" doc:"For publisher keys: 1 to 50 names of types, such as invoice.paid, or wildcards, such as invoice.*, that the key may publish. Absent: all."`
	Networks   []string `json:"networks,omitempty" nullable:"false" doc:"1 to 20 networks in CIDR notation: the connection must come from one of them. Behind a proxy that is the address of the proxy. Absent: any."`
}

// Retry overrides the schedule of retries. Set either Steps with Then, or First, Factor, Cap
// and MaxAttempts. Durations are texts such as "5s" or "1h30m".
type Retry struct {
	Steps       []string `json:"steps,omitempty" nullable:"false" doc:"Delay after the 1st, 2nd, ... failure: 1s to 168h each, at most 50."`
	Then        string   `json:"then,omitempty" enum:"fail,repeat" doc:"After the last step: give up (the default) or repeat it for ever."`
	First       string   `json:"first,omitempty" doc:"Exponential: delay after the first failure, 1s to 168h."`
	Factor      float64  `json:"factor,omitempty" doc:"Exponential: 1 to 10, by default 2."`
	Cap         string   `json:"cap,omitempty" doc:"Exponential: the longest delay, by default 168h."`
	Jitter      float64  `json:"jitter,omitempty" doc:"Up to this fraction is added to each delay, 0 to 1."`
	MaxAttempts int      `json:"max_attempts,omitempty" doc:"Exponential: 0 for ever, at most 10000."`
	MaxAge      string   `json:"max_age,omitempty" doc:"No attempt later than this after acceptance, or after deliver_at: 1s to 8760h."`
}

// Warning reports something unusual about a request that was accepted.
type Warning struct {
	Code    string `json:"code" doc:"A stable word, such as dns_not_found or payload_large. A later server may have more."`
	Message string `json:"message" doc:"A sentence for people."`
}

// Health is an endpoint's record of failures since its last success.
type Health struct {
	ConsecutiveFailures int   `json:"consecutive_failures" doc:"Failures in a row since the last success, counted as the profile counts them. 0: the last attempt succeeded, or there was none."`
	FirstFailureAt      *Time `json:"first_failure_at" doc:"When this row of failures began. null: no failure since the last success."`
	LastFailureAt       *Time `json:"last_failure_at" doc:"When the latest of them was. null: no failure since the last success."`
	Held                int   `json:"held" doc:"Deliveries that wait until the endpoint is enabled."`
}

// Verification reports whether the receiver of an endpoint has agreed to receive deliveries,
// by answering a challenge with 2xx. Until then, the endpoint is disabled with the reason
// "unverified".
type Verification struct {
	State         string  `json:"state" enum:"not_required,pending,verified,failed" doc:"not_required: deliveries need no agreement; pending: a challenge is on its way; verified: the receiver agreed, or an operator vouched for it; failed: the latest challenge was not answered with 2xx, ask for another."`
	Event         *string `json:"event" format:"uuid" doc:"The id of the event that was the latest challenge. Its delivery shows what the receiver answered. null: none was sent."`
	VerifiedAt    *Time   `json:"verified_at" doc:"When it was verified. null: it is not."`
	LastAttemptAt *Time   `json:"last_attempt_at" doc:"When a challenge was attempted last. null: never."`
	Reason        *string `json:"reason" doc:"Why the latest challenge failed, or that an operator vouched for the endpoint. null: nothing to say."`
}

// VerifyRequest requests another challenge, or with Trust, which only operators may set,
// skips the challenge.
type VerifyRequest struct {
	Trust bool `json:"trust,omitempty" doc:"true: the endpoint counts as verified without a challenge. Operator keys only."`
}

// Endpoint is a tenant's destination for events, with its filter, policy and health. The
// values of Headers and of the URL's query are masked as "***"; a masked URL that is sent
// back changes nothing. Secret is set only in responses that create a secret.
type Endpoint struct {
	ID                     string            `json:"id" format:"uuid" doc:"The id of the endpoint."`
	UID                    *string           `json:"uid" doc:"The platform's own name for it, unique in its tenant and mode. null: none."`
	Tenant                 string            `json:"tenant" doc:"The tenant that owns it."`
	Mode                   string            `json:"mode" enum:"test,live" doc:"The mode in which it was made. It gets events of this mode only."`
	URL                    string            `json:"url" doc:"Where requests go. The values of its query are shown as ***."`
	EventTypes             []string          `json:"event_types" nullable:"false" doc:"Filter: names, beginnings such as payment.* or orders/*, or * for all. Empty: no event."`
	Channels               []string          `json:"channels" doc:"It gets only events with at least one of these channels. null: events of any channel, and those without."`
	Enabled                bool              `json:"enabled" doc:"Whether deliveries are sent."`
	DisabledReason         *string           `json:"disabled_reason" doc:"by_hand: a caller disabled it, and events published since do not reach it; failures: too many in a row, what comes is held; gone: the receiver answered 410, what comes is held; listener_away: no receiver is connected, what comes is held; unverified: its receiver has not answered the challenge yet (see verification), what comes is held; damaged: what the database keeps of it cannot be opened, what comes waits. null: enabled."`
	DisabledAt             *Time             `json:"disabled_at" doc:"When it was disabled. null: it is enabled."`
	Operational            bool              `json:"operational" doc:"true: it gets operational events only, which Posthorn itself publishes. false: it gets the platform's events only."`
	Verification           Verification      `json:"verification" doc:"Whether its receiver agreed to get deliveries, where the server asks for that."`
	Title                  string            `json:"title" doc:"For people. Empty: none."`
	Description            string            `json:"description" doc:"For people. Empty: none."`
	Profile                string            `json:"profile" doc:"Name of the wire format."`
	Headers                map[string]string `json:"headers" doc:"Further headers of each request, by name. The values are shown as ***."`
	Metadata               map[string]string `json:"metadata" doc:"The platform's own notes. Empty: none."`
	RateLimit              float64           `json:"rate_limit" doc:"Deliveries a second. 0: the rate_limit of its tenant."`
	MaxInFlight            int               `json:"max_in_flight" doc:"Attempts at once. 0: the server's default."`
	MaxConsecutiveFailures *int              `json:"max_consecutive_failures" doc:"Failures in a row that disable it. null: the profile's rule."`
	Retry                  *Retry            `json:"retry" doc:"When failed attempts are repeated. null: the profile's plan."`
	CreatedAt              Time              `json:"created_at" doc:"When the endpoint was made."`
	UpdatedAt              Time              `json:"updated_at" doc:"When it was changed last. Its health does not count."`
	Health                 *Health           `json:"health,omitempty" doc:"Failures since the last success. Absent in lists."`
	Secret                 string            `json:"secret,omitempty" doc:"The signing secret; only in the answer that makes one."`
	PublicKey              string            `json:"public_key,omitempty" doc:"Verifies the newest signature, where the profile signs with ed25519."`
	Warnings               []Warning         `json:"warnings,omitempty" nullable:"false" doc:"What was odd about the request. Absent: nothing."`
}

// NewEndpoint describes an endpoint to create. EventTypes is required: an empty list matches
// no event, and ["*"] matches every event. Tenant is optional for a tenant key.
type NewEndpoint struct {
	Tenant                 string            `json:"tenant,omitempty" doc:"The tenant that owns it. A tenant key may leave it out."`
	UID                    string            `json:"uid,omitempty" doc:"The platform's own name for it, 1 to 256 letters, digits, dots, underscores and hyphens, unique in its tenant and mode. Absent: none."`
	URL                    string            `json:"url" doc:"Where requests go: https, at most 2,048 bytes, a host that is reachable from outside."`
	EventTypes             []string          `json:"event_types" nullable:"false" doc:"Filter: names, beginnings such as payment.* or orders/*, or * for all, at most 250 entries. Empty: no event."`
	Channels               []string          `json:"channels,omitempty" doc:"1 to 10 channels: it gets only events with at least one of them. A channel is 1 to 128 letters, digits, hyphens, underscores, dots, colons and plus signs. Absent: events of any channel, and those without."`
	Enabled                *bool             `json:"enabled,omitempty" doc:"Whether deliveries are sent. Absent: true."`
	Title                  string            `json:"title,omitempty" doc:"For people, at most 256 characters."`
	Description            string            `json:"description,omitempty" doc:"For people, at most 4,096 characters."`
	Profile                string            `json:"profile,omitempty" doc:"Name of the wire format. Absent: the server's default."`
	Headers                map[string]string `json:"headers,omitempty" doc:"Further headers of each request, by name. Their values are not shown again."`
	Metadata               map[string]string `json:"metadata,omitempty" doc:"The platform's own notes, texts by name, at most 4,096 bytes as JSON. Receivers do not get them."`
	RateLimit              float64           `json:"rate_limit,omitempty" doc:"Deliveries a second, up to 10000. 0 and absent: the rate_limit of its tenant."`
	MaxInFlight            int               `json:"max_in_flight,omitempty" doc:"0 (the server's default) to 1000."`
	MaxConsecutiveFailures *int              `json:"max_consecutive_failures,omitempty" doc:"1 to 1000; absent: the profile's rule."`
	Retry                  *Retry            `json:"retry,omitempty" doc:"When failed attempts are repeated. Absent: the profile's plan."`
	Secret                 string            `json:"secret,omitempty" doc:"A secret to take over instead of a new one."`
	Operational            bool              `json:"operational,omitempty" doc:"true: it gets operational events only, such as posthorn.endpoint.disabled. It never changes. An operator key may name the tenant @operator for endpoints that get those of all tenants, and give an e-mail address as url, such as mailto:ops@example.com."`
}

// EndpointPatch changes an endpoint as a merge patch (RFC 7396): absent members stay, and
// null resets a member to its default. Backlog determines what happens to held deliveries,
// and is valid only with Enabled set to true.
type EndpointPatch struct {
	UID                    Optional[string]             `json:"uid,omitzero" doc:"The platform's own name for it, 1 to 256 letters, digits, dots, underscores and hyphens, unique in its tenant and mode. null: none."`
	Metadata               Optional[map[string]*string] `json:"metadata,omitzero" doc:"Merged by name; null takes one away, or all."`
	URL                    Optional[string]             `json:"url,omitzero" doc:"Where requests go. *** as a value of the query keeps the value in force." nullable:"false"`
	EventTypes             Optional[[]string]           `json:"event_types,omitzero" doc:"Replaces the whole filter." nullable:"false"`
	Channels               Optional[[]string]           `json:"channels,omitzero" doc:"Replaces all of them, 1 to 10. null: events of any channel, and those without."`
	Enabled                Optional[bool]               `json:"enabled,omitzero" doc:"Whether deliveries are sent. null: true."`
	Backlog                string                       `json:"backlog,omitempty" enum:"drain,discard" doc:"What becomes of deliveries that are held: send them (drain, the default) or give them up (discard). With enabled true only."`
	Title                  Optional[string]             `json:"title,omitzero" doc:"For people, at most 256 characters. null: none."`
	Description            Optional[string]             `json:"description,omitzero" doc:"For people, at most 4,096 characters. null: none."`
	Profile                Optional[string]             `json:"profile,omitzero" doc:"Name of the wire format. null: the server's default."`
	Headers                Optional[map[string]*string] `json:"headers,omitzero" doc:"Merged by name; null takes a header away."`
	RateLimit              Optional[float64]            `json:"rate_limit,omitzero" doc:"Deliveries a second, 0 to 10000. 0 and null: the rate_limit of its tenant."`
	MaxInFlight            Optional[int]                `json:"max_in_flight,omitzero" doc:"Attempts at once, 0 to 1000. 0 and null: the server's default."`
	MaxConsecutiveFailures Optional[int]                `json:"max_consecutive_failures,omitzero" doc:"Failures in a row that disable it, 1 to 1000. null: the profile's rule."`
	Retry                  Optional[Retry]              `json:"retry,omitzero" doc:"Laid over the plan in force, member by member. null: the profile's plan."`
}

// RotateSecret requests a new secret. The previous secret continues to sign beside it for
// Overlap, which is "0s" to "168h" and by default "24h".
type RotateSecret struct {
	Overlap string `json:"overlap,omitempty" doc:"How long the old secret goes on signing beside the new one, 0s to 168h. Absent: 24h."`
	Secret  string `json:"secret,omitempty" doc:"A secret to take over instead of a new one."`
}

// RotatedSecret holds the new secret. It is shown once, unless the server permits
// [Client.RevealSecret].
type RotatedSecret struct {
	Secret            string `json:"secret" doc:"The new signing secret. It is shown this once."`
	PreviousExpiresAt Time   `json:"previous_expires_at" doc:"When the old secret stops signing."`
	PublicKey         string `json:"public_key,omitempty" doc:"Of the new secret, where the profile signs with ed25519."`
}

// TestRequest describes a test event. If Type is empty, the server uses the profile's test
// type.
type TestRequest struct {
	Type string          `json:"type,omitempty" doc:"Type of the test event. Absent: the profile's own."`
	Data json.RawMessage `json:"data,omitempty" doc:"Data of the test event, an object. Absent: the example of the type."`
}

// RetryRequest requests one more attempt of a delivery.
type RetryRequest struct {
	EvenIfDisabled bool `json:"even_if_disabled,omitempty" doc:"true: also while the endpoint is disabled. Then the attempt says nothing of the endpoint's health."`
}

// TestEvent identifies the event and the delivery that a test created.
type TestEvent struct {
	Event    string `json:"event" format:"uuid" doc:"The id of the test event."`
	Delivery string `json:"delivery" format:"uuid" doc:"The id of its delivery."`
	Type     string `json:"type" doc:"The type of the test event."`
}

// NewEvent is an event to publish. Data is a JSON object, whose bytes are delivered
// unchanged. ID may be any UUID. CreatedAt appears on the wire only. Tenant is optional with
// a key that belongs to one tenant.
type NewEvent struct {
	Tenant string `json:"tenant,omitempty" doc:"Required, unless the key is a publisher's of one tenant: then it is that one."`
	Type   string `json:"type" doc:"1 to 128 characters: parts of letters, digits, underscores and hyphens, joined by dots, colons or slashes."`
	// TypeVersion is the version of the type whose schema the data matches.
	TypeVersion int             `json:"type_version,omitempty" doc:"The version of the type that the data is of, 1 to 10,000: its schema is the one that the data is checked against. Absent: the version of the catalogue entry. Receivers do not see it."`
	Data        json.RawMessage `json:"data" doc:"An object. Its bytes reach receivers as they are given."`
	ID          string          `json:"id,omitempty" doc:"The platform's own id: 1 to 256 letters, digits, dots, underscores and hyphens, such as a UUID. Absent: the server makes a UUID. The same id again is the same event, or 409. Receivers get a UUID made of it if it has a dot, or if their wire format demands UUIDs and it is none."`
	CreatedAt   *Time           `json:"created_at,omitempty" doc:"The platform's time of the event, RFC 3339; absent: the time of acceptance."`
	// Channels are a second filter besides the type. Receivers do not get them.
	Channels []string `json:"channels,omitempty" doc:"1 to 10 channels. Endpoints that listen to channels get the event only if it has at least one of theirs; endpoints that do not get it in any case. A channel is 1 to 128 letters, digits, hyphens, underscores, dots, colons and plus signs. Receivers do not get them."`
	// DeliverAt is the earliest time of the first attempt.
	DeliverAt *Time `json:"deliver_at,omitempty" doc:"The schedule makes no attempt before this time, RFC 3339, at most 24 hours ahead. Absent or past: at once."`
	// RequireMatch refuses the event with CodeNoMatch if no endpoint would receive it.
	RequireMatch bool `json:"require_match,omitempty" doc:"true: if no endpoint would get the event, it is refused with no_endpoint_matches and nothing is stored."`
	// PayloadRetention is a duration such as "0s" or "72h".
	PayloadRetention string `json:"payload_retention,omitempty" doc:"How long the data is kept after the last delivery has ended, such as 72h, at most what is in force for the tenant. 0s: it is removed within minutes after that. Absent: as the tenant's other data."`
	// Tags find the event. Receivers do not get them.
	Tags map[string]string `json:"tags,omitempty" doc:"1 to 5 names with values by which lists find the event. Receivers do not get them. A name is a letter and up to 63 letters, digits, underscores, hyphens and dots; a value has 1 to 128 characters."`
}

// Published is the response to a publish. The event and its deliveries are on disk.
type Published struct {
	ID            string `json:"id" doc:"As you gave it, or as the server made it."`
	Tenant        string `json:"tenant" doc:"The tenant that the event is for."`
	Type          string `json:"type" doc:"The type of the event."`
	CreatedAt     Time   `json:"created_at" doc:"The platform's time of the event; the time of acceptance if it gave none."`
	DeliverAt     *Time  `json:"deliver_at,omitempty" doc:"The first attempts are made then. Absent: at once."`
	DeliveryCount int    `json:"delivery_count" doc:"How many endpoints get the event; each has a delivery. 0: none wants it."`

	Warnings []Warning `json:"warnings,omitempty" doc:"What was odd about the event. Absent: nothing."`
}

// BatchResult is the outcome for one event of a batch: either an ID or an Error.
type BatchResult struct {
	ID            string   `json:"id,omitempty" doc:"As you gave it, or as the server made it. Absent beside error."`
	DeliveryCount *int     `json:"delivery_count,omitempty" doc:"How many endpoints get the event. Absent beside error."`
	Error         *Problem `json:"error,omitempty" doc:"Why this event was refused. Nothing of it is stored. Absent: it was accepted."`

	Warnings []Warning `json:"warnings,omitempty" doc:"What was odd about the event. Absent: nothing."`
}

// BatchResults is the response to a batch, in the order of its events.
type BatchResults struct {
	Results []BatchResult `json:"results" nullable:"false" doc:"A result for each event, in the order of the request."`
}

// Event is an event as the platform published it. Data and Deliveries are set only when a
// single event is read, not in lists.
type Event struct {
	ID               string            `json:"id" doc:"As you gave it, or as the server made it."`
	Tenant           string            `json:"tenant" doc:"The tenant that the event is for."`
	Mode             string            `json:"mode" enum:"test,live" doc:"The mode of the key that published it."`
	Type             string            `json:"type" doc:"The type of the event."`
	Channels         []string          `json:"channels,omitempty" nullable:"false" doc:"The channels that it was published to. Absent: none."`
	Test             bool              `json:"test" doc:"A test event."`
	CreatedAt        Time              `json:"created_at" doc:"The platform's time of the event; the time of acceptance if it gave none."`
	AcceptedAt       Time              `json:"accepted_at" doc:"When this server accepted the event. Lists are ordered and bounded by it."`
	DeliverAt        *Time             `json:"deliver_at,omitempty" doc:"The time before which the schedule makes no attempt. Absent: it was sent at once."`
	Tags             map[string]string `json:"tags,omitempty" doc:"The tags that it was published with, and those from searchable members of its data. Absent: none."`
	Data             json.RawMessage   `json:"data,omitempty" doc:"What was published, an object. Absent in lists, when it is {}, and when payload_removed_at is set."`
	Redacted         []string          `json:"redacted,omitempty" nullable:"false" doc:"JSON pointers to values of data that are not shown: *** stands for them. Receivers get the values. Absent: data is shown as it was published."`
	PayloadRemovedAt *Time             `json:"payload_removed_at,omitempty" doc:"When the data was removed because its retention had passed. The event cannot be sent again. Absent: it is there."`
	Deliveries       []Delivery        `json:"deliveries,omitzero" nullable:"false" doc:"The deliveries of the event, at most 1,000. Absent in lists."`
}

// Delivery is one event on its way to one endpoint. AttemptLog is set only when a single
// delivery is read.
type Delivery struct {
	ID            string    `json:"id" format:"uuid" doc:"The id of the delivery."`
	Event         string    `json:"event" doc:"The id of the event, as you gave it or as the server made it."`
	EventType     string    `json:"event_type" doc:"The type of the event."`
	Endpoint      string    `json:"endpoint" format:"uuid" doc:"The id of the endpoint."`
	Tenant        string    `json:"tenant" doc:"The tenant of event and endpoint."`
	State         string    `json:"state" enum:"pending,held,succeeded,failed,cancelled" doc:"pending: an attempt is due. held: it waits until its endpoint is enabled. succeeded is final. failed and cancelled change only by a later success."`
	Reason        *string   `json:"reason" doc:"Why it is held, failed or cancelled, a stable word. null: no special reason."`
	Attempts      int       `json:"attempts" doc:"Attempts made so far."`
	NextAttemptAt *Time     `json:"next_attempt_at" doc:"When the next attempt is due. null: none is planned."`
	DeliverAt     *Time     `json:"deliver_at,omitempty" doc:"The time before which the schedule makes no attempt, as the event asked for. Absent in lists, and if it asked for none."`
	LastStatus    *int      `json:"last_status" doc:"Status of the receiver's last answer. null: there was none."`
	LastError     *string   `json:"last_error" doc:"Class of the last attempt that failed, such as timeout_response. null: no failure."`
	CreatedAt     Time      `json:"created_at" doc:"When the delivery was made."`
	SettledAt     *Time     `json:"settled_at" doc:"When it reached a final state. null: it is open."`
	AttemptLog    []Attempt `json:"attempt_log,omitzero" nullable:"false" doc:"The latest 1,000 attempts, oldest first. Absent in lists."`
}

// Attempt is one attempt of a delivery. Error is a stable code, and Message is a sentence.
type Attempt struct {
	Number            int               `json:"number" doc:"From 1."`
	At                Time              `json:"at" doc:"When the attempt began."`
	DurationMS        float64           `json:"duration_ms" doc:"How long it took, in milliseconds."`
	Status            *int              `json:"status" doc:"Status of the receiver's answer. null: there was none."`
	Error             *string           `json:"error" doc:"Class of the failure, a stable word. null: the attempt succeeded."`
	Message           *string           `json:"message" doc:"What happened, a sentence for people. null: the attempt succeeded."`
	Trigger           string            `json:"trigger" enum:"schedule,manual,test,replay" doc:"schedule: the plan; manual: a retry of the delivery; replay: a resend of the event, or a replay; test: a test event."`
	ResponseHeaders   map[string]string `json:"response_headers" doc:"The receiver's headers, by name. Values of one name are joined by a comma. Empty for all but the latest 100 attempts."`
	ResponseBody      string            `json:"response_body" doc:"The first bytes of the receiver's answer, at most 16 KiB. Bytes that are not UTF-8 are replaced. Empty for all but the latest 100 attempts."`
	ResponseTruncated bool              `json:"response_truncated" doc:"The answer was longer than what is kept."`
	ResponseRemovedAt *Time             `json:"response_removed_at,omitempty" doc:"When headers and body of the answer were removed because their retention had passed. Absent: they were not."`
	Address           *string           `json:"address" doc:"IP address that the request went to. null: there was none, or an earlier release recorded the attempt."`
	Timing            *AttemptTiming    `json:"timing" doc:"How long the phases took. null when address is."`
}

// AttemptTiming is how long the phases of an attempt took, in milliseconds. They follow
// each other; the rest of duration_ms is rendering, signing and reading the answer.
type AttemptTiming struct {
	Reused      bool    `json:"reused" doc:"The request went over a connection that was kept, so that there was no lookup, connect or handshake."`
	DNSMS       float64 `json:"dns_ms" doc:"Lookup of the host name. 0: there was none."`
	ConnectMS   float64 `json:"connect_ms" doc:"Opening the connection. 0: there was none."`
	TLSMS       float64 `json:"tls_ms" doc:"TLS handshake. 0: there was none."`
	FirstByteMS float64 `json:"first_byte_ms" doc:"From the first byte of the request to the first of the answer. 0: there was no answer."`
}
