package cli

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
)

// The commands that call the API, as data: newVerb turns each verb into a command.

// paramKind is how the text of a flag is converted to a JSON value.
type paramKind uint8

const (
	asText     paramKind = iota // a string
	asList                      // comma separated, to an array of strings
	asNumber                    // a JSON number
	asObject                    // a JSON object, @FILE or -
	asPairs                     // "Name: value", repeated, to an object
	asSwitch                    // no value: sets the member to sets
	asTime                      // RFC 3339, or a duration before now
	asExpiry                    // RFC 3339, or a duration from now
	asDuration                  // a duration, in which d is a day of 24 hours
	asSecret                    // a string, @FILE or -
)

// param is one flag. It is sent in the body, or in the query of a GET.
type param struct {
	flag, usage string
	member      string // name in the body or query; empty: the flag with underscores
	kind        paramKind
	sets        string   // JSON that an asSwitch sets
	values      []string // offered by completion
	query       bool     // sent in the query even if there is a body
	required    bool
	entry       func(string) bool // reports whether an entry of an asList is valid: entryIs
	entryIs     string
}

// verb is one command of a noun.
type verb struct {
	name, short string
	arg         string // name of the one argument; empty: none
	method      string
	path        string // {} stands for the argument
	params      []param
	fixed       map[string]string // members that the verb always sets, as JSON
	columns     []string          // of a list; nil: the response is a single object
	tables      map[string][]string
	done        string                       // printed when the response is empty; %s is the argument
	once        bool                         // takes an Idempotency-Key
	note        string                       // printed on standard error after success; {} stands for the argument
	empty       string                       // member that the server omits when it is an empty object
	before      func(*call, *server) string  // called before the request; returns the note to print after it
	told        func(json.RawMessage) string // returns the note to print about the response
	waits       bool                         // waits for the outcome of the delivery in the response
	follows     progressOf                   // with --wait, waits until the job in the response has ended
	argMember   string                       // member of the body that the argument is sent as
	asks        bool                         // asks for confirmation, as a DELETE does
	example     string
}

type noun struct {
	name, short string
	verbs       []verb
}

var (
	tenantParam     = param{flag: "tenant", usage: "tenant ID (default that of a tenant key)"}
	metadataParam   = param{flag: "metadata", kind: asPairs, usage: "note of your platform, name:value; repeatable"}
	tenantRateParam = param{flag: "rate-limit", kind: asNumber, usage: "maximum deliveries per second to each endpoint of the tenant without a limit of its own; 0 for no limit"}
	// ofTenantParam distinguishes events with the same ID.
	ofTenantParam = param{flag: "tenant", query: true, usage: "tenant ID; required only if several tenants have an event with this ID"}
	spanParams    = []param{
		{flag: "after", kind: asTime, usage: "start of the time range, inclusive: RFC 3339, or a duration before now such as 24h or 7d"},
		{flag: "before", kind: asTime, usage: "end of the time range, exclusive: RFC 3339, or a duration before now"},
	}
	states        = []string{"pending", "held", "succeeded", "failed", "cancelled"}
	deliveryShape = []string{"id", "event_type", "endpoint", "state", "attempts", "last_status", "last_error", "next_attempt_at", "created_at"}
	attemptShape  = map[string][]string{"attempt_log": {"number", "at", "trigger", "status", "error", "duration_ms", "address", "message"}}
	channelIs     = "a channel: 1 to 128 letters, digits, hyphens, underscores, dots, colons and plus signs"
	shownOnce     = "The secret is shown only once. Store it now."
)

var tenantNoun = noun{name: "tenant", short: "Manage tenants, the customers of your platform", verbs: []verb{
	{name: "create", short: "Create a tenant", method: http.MethodPost, path: "/v1/tenants", once: true, params: []param{
		{flag: "id", usage: "tenant ID: 1 to 256 letters, digits, dots, underscores and hyphens (default a new UUID)"},
		{flag: "name", usage: "display name"}, metadataParam, tenantRateParam,
	}, example: `  posthorn tenant create --id acme --name "Acme Ltd" --metadata plan:gold`},
	{name: "list", short: "List tenants, newest first", method: http.MethodGet, path: "/v1/tenants", columns: []string{"id", "name", "created_at"}, params: []param{
		{flag: "name", usage: "exact name to match"},
	}},
	{name: "get", short: "Show a tenant", arg: "ID", method: http.MethodGet, path: "/v1/tenants/{}"},
	{name: "update", short: "Update a tenant; fields that are not given stay unchanged", arg: "ID", method: http.MethodPatch, path: "/v1/tenants/{}",
		params: []param{{flag: "name", usage: "display name"}, metadataParam, tenantRateParam}},
	{name: "retention", short: "Show how long a tenant's data is kept in your mode", arg: "ID", method: http.MethodGet, path: "/v1/tenants/{}/retention"},
	{name: "set-retention", short: "Keep a tenant's data in your mode for less time than the server does", arg: "ID", method: http.MethodPatch, path: "/v1/tenants/{}/retention", params: []param{
		{flag: "payloads", kind: asDuration, usage: "time that event data is kept after the last delivery, such as 7d; 0s to remove it then"},
		{flag: "answers", kind: asDuration, usage: "time that responses of receivers are kept after the attempt, such as 24h"},
		{flag: "events", kind: asDuration, usage: "time that events with their deliveries are kept, at least 1d"},
	}, example: `  posthorn tenant set-retention acme --payloads 7d --answers 1d
  posthorn tenant set-retention acme --reset payloads,answers`},
	{name: "delete", short: "Delete a tenant, its endpoints and its keys immediately", arg: "ID", method: http.MethodDelete, path: "/v1/tenants/{}", done: "deleted tenant %s"},
}}

var keyNoun = noun{name: "key", short: "Manage API keys", verbs: []verb{
	{name: "create", short: "Create a key in the same mode as your own key", method: http.MethodPost, path: "/v1/keys", once: true, note: "The key is shown only once. Store it now.", params: []param{
		{flag: "kind", required: true, usage: "kind of key: operator (full access), publisher (publishing only) or tenant (one tenant's endpoints and deliveries)", values: []string{"operator", "publisher", "tenant"}},
		{flag: "tenant", usage: "tenant ID; required for a tenant key, restricts a publisher key"},
		{flag: "name", usage: "display name"},
		{flag: "expires", member: "expires_at", kind: asExpiry, usage: "expiry: RFC 3339, or a duration from now such as 90d or 12h (default never)"},
		{flag: "read-only", kind: asSwitch, sets: "true", usage: "read-only access; not for publisher keys"},
		{flag: "event-types", kind: asList, usage: "comma-separated event types that a publisher key may publish, such as invoice.paid,payment.* (default all)", entry: hook.ValidFilterType, entryIs: "an event type, a prefix such as payment.* or orders/*, or *"},
		{flag: "networks", kind: asList, usage: "comma-separated networks that the key may be used from, such as 203.0.113.0/24,2001:db8::/32 (default any)"},
	}, example: `  posthorn key create --kind tenant --tenant acme --name "Acme's own"
  posthorn key create --kind publisher --event-types "invoice.*" --networks 203.0.113.0/24 --expires 90d`},
	{name: "list", short: "List the keys in your mode, without their values", method: http.MethodGet, path: "/v1/keys", columns: []string{"id", "kind", "mode", "tenant", "name", "expires_at", "last_used_at", "created_at"}, params: []param{
		{flag: "kind", usage: "kind of key: operator, publisher or tenant", values: []string{"operator", "publisher", "tenant"}},
		{flag: "tenant", usage: "tenant ID"},
		{flag: "name", usage: "exact name to match"},
	}},
	{name: "revoke", short: "Revoke a key immediately", arg: "ID", method: http.MethodDelete, path: "/v1/keys/{}", done: "revoked key %s"},
}}

// endpointParams are the members that creating and updating share.
var endpointParams = []param{
	{flag: "url", usage: "URL that requests are sent to"},
	{flag: "uid", usage: "your platform's own name for the endpoint, unique in its tenant and mode"},
	metadataParam,
	{flag: "event-types", kind: asList, usage: `comma-separated event types and prefixes such as payment.*; "*" for all, empty for none`, entry: hook.ValidFilterType, entryIs: "an event type, a prefix such as payment.* or orders/*, or *"},
	{flag: "channels", kind: asList, usage: "comma-separated channels: only events with at least one of them are delivered (default events of any channel)", entry: hook.ValidChannel, entryIs: channelIs},
	{flag: "title", usage: "display name"},
	{flag: "description", usage: "human-readable description"},
	{flag: "profile", usage: "profile (wire format)"},
	{flag: "header", member: "headers", kind: asPairs, usage: `additional request header "Name: value"; repeatable`},
	{flag: "rate-limit", kind: asNumber, usage: "maximum deliveries per second; 0 for the limit of the tenant"},
	{flag: "max-in-flight", kind: asNumber, usage: "maximum concurrent attempts; 0 for the server's default"},
	{flag: "max-consecutive-failures", kind: asNumber, usage: "consecutive failures after which the endpoint is disabled"},
	{flag: "retry", kind: asObject, usage: `retry plan: a JSON object such as {"steps": ["5s", "1m"]}, @FILE, or - for standard input`},
}

var endpointNoun = noun{name: "endpoint", short: "Manage endpoints, the URLs that events are delivered to", verbs: []verb{
	{name: "create", short: "Create an endpoint and show its secret once", method: http.MethodPost, path: "/v1/endpoints", once: true, note: shownOnce,
		params: append([]param{tenantParam,
			{flag: "secret", kind: asSecret, usage: "existing secret to use instead of a new one: the secret, @FILE, or - for standard input"},
			{flag: "disabled", member: "enabled", kind: asSwitch, sets: "false", usage: "create the endpoint disabled"},
			{flag: "operational", kind: asSwitch, sets: "true", usage: "create an operational endpoint, which gets events about endpoints and deliveries only; --tenant @operator for those of all tenants"},
		}, requiring(endpointParams, "url", "event-types")...),
		example: `  posthorn endpoint create --tenant acme --url https://example.com/hook --event-types "payment.settled,payment.failed"
  posthorn endpoint create --operational --tenant @operator --url mailto:ops@example.com --event-types "posthorn.endpoint.*,posthorn.digest"
  posthorn endpoint create --operational --tenant @operator --url https://hooks.slack.com/services/... --event-types "*" --profile slack`},
	{name: "list", short: "List endpoints, newest first", method: http.MethodGet, path: "/v1/endpoints",
		columns: []string{"id", "tenant", "url", "event_types", "enabled", "disabled_reason", "verification.state", "profile", "created_at"}, params: []param{tenantParam,
			{flag: "enabled", usage: "true for enabled endpoints only, false for disabled ones", values: []string{"true", "false"}},
			{flag: "event-type", usage: "event type that the endpoint receives"},
			{flag: "uid", usage: "your platform's own name for the endpoint"},
			{flag: "profile", usage: "profile (wire format)"},
			{flag: "operational", usage: "true for operational endpoints only, false for the others", values: []string{"true", "false"}},
			{flag: "disabled-reason", usage: "why the endpoint is disabled: by_hand, damaged, failures, gone, listener_away or unverified", values: []string{"by_hand", "damaged", "failures", "gone", "listener_away", "unverified"}},
		}},
	{name: "get", short: "Show an endpoint and its health", arg: "ID", method: http.MethodGet, path: "/v1/endpoints/{}"},
	{name: "update", short: "Update an endpoint; fields that are not given stay unchanged", arg: "ID", method: http.MethodPatch, path: "/v1/endpoints/{}", params: endpointParams},
	{name: "enable", short: "Enable an endpoint and send its held deliveries", arg: "ID", method: http.MethodPatch, path: "/v1/endpoints/{}", before: heldNote,
		fixed: map[string]string{"enabled": "true"}, params: []param{{flag: "discard", member: "backlog", kind: asSwitch, sets: `"discard"`, usage: "discard the held deliveries instead of sending them"}}},
	{name: "disable", short: "Disable an endpoint; pending deliveries are held, and new events are not sent to it", arg: "ID", method: http.MethodPatch, path: "/v1/endpoints/{}",
		fixed: map[string]string{"enabled": "false"}, note: "Pending deliveries are held. Events published from now on do not reach this endpoint; \"posthorn replay create --source missing\" sends them later."},
	{name: "delete", short: "Delete an endpoint and cancel its open deliveries", arg: "ID", method: http.MethodDelete, path: "/v1/endpoints/{}", done: "deleted endpoint %s"},
	{name: "rotate-secret", short: "Rotate the secret of an endpoint; both secrets sign during the overlap", arg: "ID", method: http.MethodPost, path: "/v1/endpoints/{}/secret/rotate", once: true, note: shownOnce, params: []param{
		{flag: "overlap", kind: asDuration, usage: "how long the old secret keeps signing, 0s to 7d (default 1d)"},
		{flag: "secret", kind: asSecret, usage: "existing secret to use instead of a new one: the secret, @FILE, or - for standard input"},
	}},
	{name: "expire-secrets", short: "Expire all secrets of an endpoint except the newest", arg: "ID", method: http.MethodPost, path: "/v1/endpoints/{}/secret/expire", done: "expired the earlier secrets of endpoint %s"},
	{name: "reveal-secret", short: "Show the current secret of an endpoint; the server must run with --allow-reveal", arg: "ID", method: http.MethodPost, path: "/v1/endpoints/{}/secret/reveal"},
	{name: "verify", short: "Send a new challenge to an unverified endpoint", arg: "ID", method: http.MethodPost, path: "/v1/endpoints/{}/verify", once: true,
		note: "To see the result, run: posthorn endpoint get {}", params: []param{
			{flag: "trust", kind: asSwitch, sets: "true", usage: "mark the endpoint as verified without a challenge; operator keys only"},
		}},
	{name: "stats", short: "Show counts, latency and backlog of an endpoint", arg: "ID", method: http.MethodGet, path: "/v1/endpoints/{}/stats",
		tables: map[string][]string{"buckets": {"start", "accepted", "delivered", "first_try", "given_up", "attempts", "errors"}}},
	{name: "test", short: "Send a test event in a single attempt, signed and logged like any other", arg: "ID", method: http.MethodPost, path: "/v1/endpoints/{}/test", once: true, waits: true, params: []param{
		{flag: "type", usage: "event type (default the profile's test event)"},
		{flag: "data", kind: asObject, usage: "event data: a JSON object, @FILE, or - for standard input (default the profile's test data)"},
	}},
}}

// eventNoun lacks publish, which is send under another name.
var eventNoun = noun{name: "event", short: "Publish, list and resend events", verbs: []verb{
	{name: "list", short: "List events, newest first", method: http.MethodGet, path: "/v1/events", columns: []string{"id", "tenant", "type", "test", "accepted_at"},
		params: append([]param{tenantParam, {flag: "type", usage: "event type"},
			{flag: "tag", usage: "tag name:value of the event"},
			{flag: "channel", usage: "channel of the event"},
			{flag: "test", usage: "true for test events only, false to exclude them", values: []string{"true", "false"}}}, spanParams...),
		example: `  posthorn event list --tenant acme --after 24h
  posthorn event list --tag order:o-1
  posthorn event list --all --json > events.json`},
	{name: "get", short: "Show an event with its data and deliveries", arg: "ID", method: http.MethodGet, path: "/v1/events/{}",
		params: []param{ofTenantParam}, empty: "data", tables: map[string][]string{"deliveries": deliveryShape}},
	{name: "explain", short: "Explain for each endpoint why it did or did not get an event", arg: "ID", method: http.MethodGet, path: "/v1/events/{}/explain",
		params: []param{ofTenantParam}, tables: map[string][]string{"endpoints": {"endpoint", "url", "event_types", "reason", "message"}}},
	{name: "resend", short: "Resend an event to one endpoint, or to all that match it now", arg: "ID", method: http.MethodPost, path: "/v1/events/{}/resend", once: true, told: resentNote,
		params: []param{ofTenantParam, {flag: "endpoint", usage: "endpoint ID (default all that match)"}}, tables: map[string][]string{"deliveries": deliveryShape}},
	{name: "match", short: "List the endpoints that would get an event of a type", method: http.MethodPost, path: "/v1/events/match", params: []param{tenantParam,
		{flag: "type", required: true, usage: "event type"},
		{flag: "channel", member: "channels", kind: asList, usage: "channel of the event; repeatable, at most 10", entry: hook.ValidChannel, entryIs: channelIs}}, tables: map[string][]string{"endpoints": {"endpoint", "held"}}},
}}

var deliveryNoun = noun{name: "delivery", short: "Manage deliveries, each of one event to one endpoint", verbs: []verb{
	{name: "list", short: "List deliveries, newest first", method: http.MethodGet, path: "/v1/deliveries", columns: deliveryShape, params: append([]param{tenantParam,
		{flag: "endpoint", usage: "endpoint ID"},
		{flag: "event", usage: "event ID"},
		{flag: "event-type", usage: "event type"},
		{flag: "type", usage: "older name of --event-type"},
		{flag: "tag", usage: "tag name:value of the event"},
		{flag: "channel", usage: "channel of the event"},
		{flag: "state", usage: "delivery state: pending, held, succeeded, failed or cancelled; comma-separated for several", values: states},
		{flag: "status-class", usage: "class of the last response status: 2xx, 3xx, 4xx or 5xx; comma-separated for several", values: []string{"2xx", "3xx", "4xx", "5xx"}},
		{flag: "status", usage: "last response status, such as 503"},
		{flag: "error", usage: "error class of the last attempt, such as timeout_response; comma-separated for several"},
		{flag: "tried", usage: "true for deliveries that were attempted only, false for the others", values: []string{"true", "false"}},
	}, spanParams...), example: `  posthorn delivery list --tenant acme --state failed --after 24h`},
	{name: "count", short: "Count the deliveries that have not ended well", method: http.MethodGet, path: "/v1/deliveries/counts", params: []param{tenantParam,
		{flag: "endpoint", usage: "endpoint ID"}}},
	{name: "get", short: "Show a delivery and all its attempts", arg: "ID", method: http.MethodGet, path: "/v1/deliveries/{}", tables: attemptShape},
	{name: "retry", short: "Retry a delivery once, immediately", arg: "ID", method: http.MethodPost, path: "/v1/deliveries/{}/retry", tables: attemptShape, note: "One attempt was requested. To see the result, run: posthorn delivery get {}",
		params: []param{{flag: "even-if-disabled", kind: asSwitch, sets: "true", usage: "retry even if the endpoint is disabled, and wait for the outcome"}}},
	{name: "cancel", short: "Cancel a pending or held delivery", arg: "ID", method: http.MethodPost, path: "/v1/deliveries/{}/cancel", tables: attemptShape},
}}

var replayShape = []string{"id", "endpoint", "source", "state", "processed", "total", "delivered", "failed", "created_at", "ended_at"}

var replayNoun = noun{name: "replay", short: "Replay past events to an endpoint", verbs: []verb{
	{name: "create", short: "Start a replay, or count what it would send with --dry-run", method: http.MethodPost, path: "/v1/replays", once: true, follows: replayProgress, told: replayNote,
		params: append([]param{
			{flag: "endpoint", required: true, usage: "ID of the endpoint to replay to"},
			{flag: "source", usage: "events to replay: failed, all, or missing, those that match now but were never sent (default failed)", values: []string{"failed", "all", "missing"}},
			{flag: "event-types", kind: asList, usage: "comma-separated event types to include (default all)", entry: hook.ValidFilterType, entryIs: "an event type, a prefix such as payment.*, or *"},
			{flag: "channel", usage: "channel of the events to include (default all)"},
			{flag: "state", usage: "delivery state to include; requires --source all", values: states},
			{flag: "status-class", usage: "class of the last response status to include: 2xx, 3xx, 4xx or 5xx", values: []string{"2xx", "3xx", "4xx", "5xx"}},
			{flag: "error", usage: "error class of the last attempt to include, such as timeout_response"},
			{flag: "order", usage: "which events to send first: oldest or newest (default oldest)", values: []string{"oldest", "newest"}},
			{flag: "rate", kind: asNumber, usage: "deliveries per second, 0.1 to 1000 (default 50)"},
			{flag: "hold", kind: asSwitch, sets: "true", usage: "wait while the endpoint is disabled"},
			{flag: "dry-run", kind: asSwitch, sets: "true", usage: "count the matching events and show a sample, without sending"},
		}, spanParams...), tables: map[string][]string{"sample": {"event", "event_type", "accepted_at", "state", "last_status", "last_error"}},
		example: `  posthorn replay create --endpoint ID --after 24h --dry-run
  posthorn replay create --endpoint ID --after 24h --rate 100 --wait
  posthorn replay create --endpoint ID --source missing --event-types "payment.*" --after 168h`},
	{name: "list", short: "List replays, newest first", method: http.MethodGet, path: "/v1/replays", columns: replayShape, params: []param{tenantParam,
		{flag: "endpoint", usage: "endpoint ID"},
		{flag: "state", usage: "replay state: running, paused, done, cancelled or failed", values: []string{"running", "paused", "done", "cancelled", "failed"}},
	}},
	{name: "get", short: "Show a replay and its progress", arg: "ID", method: http.MethodGet, path: "/v1/replays/{}", follows: replayProgress},
	{name: "pause", short: "Pause a replay; deliveries already queued are still attempted", arg: "ID", method: http.MethodPost, path: "/v1/replays/{}/pause"},
	{name: "resume", short: "Resume a paused replay", arg: "ID", method: http.MethodPost, path: "/v1/replays/{}/resume", follows: replayProgress},
	{name: "cancel", short: "Cancel a replay", arg: "ID", method: http.MethodPost, path: "/v1/replays/{}/cancel"},
}}

var eventTypeNoun = noun{name: "event-type", short: "Manage the catalogue of event types", verbs: []verb{
	{name: "create", short: "Add an event type to the catalogue", method: http.MethodPost, path: "/v1/event-types", once: true,
		params: append([]param{{flag: "name", required: true, usage: "name of the event type, such as payment.settled"}}, eventTypeParams...)},
	{name: "list", short: "List the event types of the catalogue", method: http.MethodGet, path: "/v1/event-types", columns: []string{"name", "group", "version", "check", "deprecated", "hidden", "description"}, params: []param{
		{flag: "group", usage: "group of the types"},
		{flag: "deprecated", usage: "whether the types are deprecated: true or false", values: []string{"true", "false"}},
		{flag: "hidden", usage: "whether the types are hidden from tenants: true or false", values: []string{"true", "false"}},
	}},
	{name: "subscribers", short: "Count the endpoints that receive an event type", arg: "NAME", method: http.MethodGet, path: "/v1/event-types/{}/subscribers"},
	{name: "get", short: "Show an event type with its schema and example", arg: "NAME", method: http.MethodGet, path: "/v1/event-types/{}"},
	{name: "update", short: "Update an event type; fields that are not given stay unchanged", arg: "NAME", method: http.MethodPatch, path: "/v1/event-types/{}", params: eventTypeParams},
	{name: "delete", short: "Remove an event type from the catalogue", arg: "NAME", method: http.MethodDelete, path: "/v1/event-types/{}", done: "deleted event type %s"},
}}

var eventTypeParams = []param{
	{flag: "description", usage: "human-readable description"},
	{flag: "schema", kind: asObject, usage: "JSON Schema of the event data: a JSON object, @FILE, or - for standard input"},
	{flag: "example", kind: asObject, usage: "example of the event data: a JSON object, @FILE, or - for standard input"},
	{flag: "redact", kind: asList, usage: "comma-separated JSON pointers to values of the data that are delivered but never shown, such as /card/number; empty for none"},
	{flag: "check", usage: "action on published data that does not match the schema: off, warn or reject", values: []string{"off", "warn", "reject"}},
	{flag: "searchable", kind: asPairs, usage: `member of the data that becomes a tag, as "tag: JSON pointer", such as "order: /order/id"; repeatable, at most 4`},
	{flag: "group", usage: "group that the type belongs to, such as Payments"},
	{flag: "version", kind: asNumber, usage: "version of schema and example, for events that name none; a higher one keeps the version before it"},
	{flag: "deprecated", kind: asSwitch, sets: "true", usage: "mark the type as deprecated"},
	{flag: "replacement", usage: "type to use instead of a deprecated one"},
	{flag: "hidden", kind: asSwitch, sets: "true", usage: "hide the type from tenants; it can be published all the same"},
}

var masterKeyNoun = noun{name: "master-key", short: "List and rotate the master keys that seal secrets", verbs: []verb{
	{name: "list", short: "List the master keys of the node, oldest first", method: http.MethodGet, path: "/v1/master-keys",
		columns: []string{"id", "state", "missing", "resealed", "released_at"}},
	{name: "rotate", short: "Seal with the newest master key from now on, and seal everything stored again; makes that key if the server has the file to itself", method: http.MethodPost, path: "/v1/master-keys/rotate",
		example: `  posthorn master-key rotate
  posthorn master-key list        # until the key before is unused; back up the new one meanwhile`},
	{name: "drop", short: "Remove a master key that nothing in the database needs from the node's key file", arg: "ID", method: http.MethodDelete, path: "/v1/master-keys/{}", done: "removed master key %s"},
}}

var auditNoun = noun{name: "audit", short: "List and verify the audit log", verbs: []verb{
	{name: "list", short: "List entries of the audit log, newest first", method: http.MethodGet, path: "/v1/audit",
		columns: []string{"at", "actor.id", "act", "object_id", "tenant", "outcome", "detail"}, params: append([]param{tenantParam,
			{flag: "actor", usage: "key ID, or bootstrap"},
			{flag: "act", usage: "action, such as endpoint.deleted"},
			{flag: "object", usage: "kind of object, such as endpoint"},
			{flag: "object-id", usage: "object ID"},
			{flag: "request-id", usage: "request ID"},
		}, spanParams...),
		example: `  posthorn audit list --act endpoint.secret_revealed --after 168h`},
}}

var partnerUserNoun = noun{name: "partner-user", short: "Manage the tenants that partners may act for in the paywise API", verbs: []verb{
	{name: "create", short: "Allow a partner's keys to act for a tenant", method: http.MethodPost, path: "/v1/partner-users", once: true, params: []param{
		{flag: "partner", required: true, usage: "tenant ID of the partner"},
		{flag: "user", required: true, usage: "the partner's name for the user, sent in X-User-Id"},
		{flag: "tenant", required: true, usage: "ID of the tenant to act for"},
	}, example: `  posthorn partner-user create --partner agency --user u-1 --tenant acme`},
	{name: "list", short: "List the tenants that partners may act for", method: http.MethodGet, path: "/v1/partner-users", columns: []string{"id", "partner", "user", "tenant", "created_at"},
		params: []param{{flag: "partner", usage: "tenant ID of the partner"}}},
	{name: "delete", short: "Revoke a partner's grant immediately", arg: "ID", method: http.MethodDelete, path: "/v1/partner-users/{}", done: "deleted partner user %s"},
}}

// requiring returns the params with those flags required.
func requiring(params []param, flags ...string) []param {
	out := slices.Clone(params)
	for i := range out {
		out[i].required = slices.Contains(flags, out[i].flag)
	}
	return out
}
