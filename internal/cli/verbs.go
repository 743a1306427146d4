package cli

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
)

// The verbs of the API's nouns, as data: cli.go turns each into a command.

// paramKind says how the text of a flag becomes a value.
type paramKind uint8

const (
	asText     paramKind = iota // a string
	asList                      // comma separated, to an array of strings
	asNumber                    // a JSON number
	asObject                    // a JSON object, @FILE or -
	asPairs                     // "Name: value", repeated, to an object
	asSwitch                    // no value: sets the param's own
	asTime                      // RFC 3339, or a duration that long ago
	asExpiry                    // RFC 3339, or a duration that long from now
	asDuration                  // a duration, which may have days
	asSecret                    // a string, @FILE or -
)

// param is one flag. It goes into the body, or the query if the verb reads.
type param struct {
	flag, usage string
	member      string // in the body or query; empty: the flag with underscores
	kind        paramKind
	sets        string   // JSON that an asSwitch sets
	values      []string // offered by completion
	query       bool     // goes into the query also where there is a body
	required    bool
	entry       func(string) bool // of an asList: refuses entries that are not entryIs
	entryIs     string
}

// verb is one command of a noun.
type verb struct {
	name, short string
	arg         string // name of the one argument; empty: none
	method      string
	path        string // {} stands for the argument
	params      []param
	fixed       map[string]string // members that the verb itself sets, as JSON
	columns     []string          // of a list; nil: the answer is one thing
	tables      map[string][]string
	done        string                       // said when the answer is empty; %s is the argument
	once        bool                         // takes an Idempotency-Key
	note        string                       // said on standard error after success; {} stands for the argument
	empty       string                       // member that the server leaves out when it is an empty object
	before      func(*call, *server) string  // asked before the call for what to say after it
	told        func(json.RawMessage) string // what to say about the answer
	waits       bool                         // waits for the outcome of the delivery in the answer
	follows     bool                         // with --wait waits until the replay in the answer has ended
	example     string
}

type noun struct {
	name, short string
	verbs       []verb
}

var (
	tenantParam = param{flag: "tenant", usage: "tenant; a tenant key may leave it out"}
	// ofTenantParam tells events of the same id apart.
	ofTenantParam = param{flag: "tenant", query: true, usage: "needed only if several tenants have an event with this id"}
	spanParams    = []param{
		{flag: "after", kind: asTime, usage: "not before this time: RFC 3339, or a duration such as 24h or 7d that long ago"},
		{flag: "before", kind: asTime, usage: "before this time"},
	}
	states        = []string{"pending", "held", "succeeded", "failed", "cancelled"}
	deliveryShape = []string{"id", "event_type", "endpoint", "state", "attempts", "last_status", "last_error", "next_attempt_at", "created_at"}
	attemptShape  = map[string][]string{"attempt_log": {"number", "at", "trigger", "status", "error", "duration_ms", "message"}}
	shownOnce     = "The secret is shown this once: keep it now."
)

var tenantNoun = noun{name: "tenant", short: "Tenants: your customers", verbs: []verb{
	{name: "create", short: "Create a tenant", method: http.MethodPost, path: "/v1/tenants", once: true, params: []param{
		{flag: "id", usage: "your own id, 1 to 64 letters, digits, dots, underscores and hyphens; without it a UUID is made"},
		{flag: "name", usage: "for people"},
	}, example: `  posthorn tenant create --id acme --name "Acme Ltd"`},
	{name: "list", short: "List tenants, newest first", method: http.MethodGet, path: "/v1/tenants", columns: []string{"id", "name", "created_at"}, params: []param{
		{flag: "name", usage: "with exactly this name"},
	}},
	{name: "get", short: "Show a tenant", arg: "ID", method: http.MethodGet, path: "/v1/tenants/{}"},
	{name: "update", short: "Rename a tenant", arg: "ID", method: http.MethodPatch, path: "/v1/tenants/{}", params: []param{{flag: "name", usage: "for people"}}},
	{name: "delete", short: "Delete a tenant with its endpoints and keys, at once", arg: "ID", method: http.MethodDelete, path: "/v1/tenants/{}", done: "deleted tenant %s"},
}}

var keyNoun = noun{name: "key", short: "Keys of the API", verbs: []verb{
	{name: "create", short: "Create a key of the mode of your own", method: http.MethodPost, path: "/v1/keys", once: true, note: "The key is shown this once: keep it now.", params: []param{
		{flag: "kind", required: true, usage: "operator (everything), publisher (publish only) or tenant (one tenant's endpoints and deliveries)", values: []string{"operator", "publisher", "tenant"}},
		{flag: "tenant", usage: "the tenant of a tenant key; narrows a publisher key"},
		{flag: "name", usage: "for people"},
		{flag: "expires", member: "expires_at", kind: asExpiry, usage: "refuse it from then on: RFC 3339, or a duration such as 90d or 12h from now; without it never"},
		{flag: "read-only", kind: asSwitch, sets: "true", usage: "it may only read; not for publisher keys"},
		{flag: "event-types", kind: asList, usage: "comma separated; what a publisher key may publish, such as invoice.paid,payment.*", entry: hook.ValidFilterType, entryIs: "an event type, a beginning such as payment.* or orders/*, or *"},
		{flag: "networks", kind: asList, usage: "comma separated; where it may be used from, such as 203.0.113.0/24,2001:db8::/32"},
	}, example: `  posthorn key create --kind tenant --tenant acme --name "Acme's own"
  posthorn key create --kind publisher --event-types "invoice.*" --networks 203.0.113.0/24 --expires 90d`},
	{name: "list", short: "List the keys of your mode, without their texts", method: http.MethodGet, path: "/v1/keys", columns: []string{"id", "kind", "mode", "tenant", "name", "expires_at", "last_used_at", "created_at"}, params: []param{
		{flag: "kind", usage: "operator, publisher or tenant", values: []string{"operator", "publisher", "tenant"}},
		{flag: "tenant", usage: "of this tenant"},
		{flag: "name", usage: "with exactly this name"},
	}},
	{name: "revoke", short: "End a key at once", arg: "ID", method: http.MethodDelete, path: "/v1/keys/{}", done: "revoked key %s"},
}}

// endpointParams are the members that creating and updating share.
var endpointParams = []param{
	{flag: "url", usage: "URL of the endpoint: where requests are sent to"},
	{flag: "event-types", kind: asList, usage: `comma separated; "*" for all, empty for none`, entry: hook.ValidFilterType, entryIs: "an event type, a beginning such as payment.* or orders/*, or *"},
	{flag: "title", usage: "for people"},
	{flag: "description", usage: "for people"},
	{flag: "profile", usage: "wire format"},
	{flag: "header", member: "headers", kind: asPairs, usage: `further header "Name: value"; may be repeated`},
	{flag: "rate-limit", kind: asNumber, usage: "deliveries a second; 0: no limit"},
	{flag: "max-in-flight", kind: asNumber, usage: "attempts at once; 0: the server's default"},
	{flag: "max-consecutive-failures", kind: asNumber, usage: "failures in a row that disable it"},
	{flag: "retry", kind: asObject, usage: `retry plan as JSON, such as {"steps": ["5s", "1m"]}; @FILE, or - for standard input`},
}

var endpointNoun = noun{name: "endpoint", short: "Endpoints: where deliveries go", verbs: []verb{
	{name: "create", short: "Create an endpoint; its secret is shown once", method: http.MethodPost, path: "/v1/endpoints", once: true, note: shownOnce,
		params: append([]param{tenantParam,
			{flag: "secret", kind: asSecret, usage: "take over this secret instead of a new one: as it is, @FILE, or - for standard input"},
			{flag: "disabled", member: "enabled", kind: asSwitch, sets: "false", usage: "create it disabled"},
		}, requiring(endpointParams, "url", "event-types")...),
		example: `  posthorn endpoint create --tenant acme --url https://example.com/hook --event-types "payment.settled,payment.failed"`},
	{name: "list", short: "List endpoints, newest first", method: http.MethodGet, path: "/v1/endpoints",
		columns: []string{"id", "tenant", "url", "event_types", "enabled", "disabled_reason", "verification.state", "profile", "created_at"}, params: []param{tenantParam,
			{flag: "enabled", usage: "true or false", values: []string{"true", "false"}},
			{flag: "event-type", usage: "those that this type reaches"},
			{flag: "profile", usage: "of this wire format"},
			{flag: "disabled-reason", usage: "by_hand, failures, gone, listener_away or unverified", values: []string{"by_hand", "failures", "gone", "listener_away", "unverified"}},
		}},
	{name: "get", short: "Show an endpoint with its health", arg: "ID", method: http.MethodGet, path: "/v1/endpoints/{}"},
	{name: "update", short: "Change an endpoint; what is not named stays", arg: "ID", method: http.MethodPatch, path: "/v1/endpoints/{}", params: endpointParams},
	{name: "enable", short: "Enable an endpoint; what was held is delivered", arg: "ID", method: http.MethodPatch, path: "/v1/endpoints/{}", before: heldNote,
		fixed: map[string]string{"enabled": "true"}, params: []param{{flag: "discard", member: "backlog", kind: asSwitch, sets: `"discard"`, usage: "give up what was held"}}},
	{name: "disable", short: "Disable an endpoint; what waits is held, what is published from then on does not reach it", arg: "ID", method: http.MethodPatch, path: "/v1/endpoints/{}",
		fixed: map[string]string{"enabled": "false"}, note: "What waits is held. Events published from now on do not reach this endpoint; \"posthorn replay create --source missing\" sends them later."},
	{name: "delete", short: "Delete an endpoint; what waits is cancelled", arg: "ID", method: http.MethodDelete, path: "/v1/endpoints/{}", done: "deleted endpoint %s"},
	{name: "rotate-secret", short: "Give an endpoint a new secret; both sign for the overlap", arg: "ID", method: http.MethodPost, path: "/v1/endpoints/{}/secret/rotate", once: true, note: shownOnce, params: []param{
		{flag: "overlap", kind: asDuration, usage: "how long the old secret goes on signing, 0s to 7d; without it 1d"},
		{flag: "secret", kind: asSecret, usage: "take over this secret instead of a new one: as it is, @FILE, or - for standard input"},
	}},
	{name: "expire-secrets", short: "End all secrets of an endpoint but the newest", arg: "ID", method: http.MethodPost, path: "/v1/endpoints/{}/secret/expire", done: "ended the earlier secrets of endpoint %s"},
	{name: "reveal-secret", short: "Show the secret in force, where the operator allows it", arg: "ID", method: http.MethodPost, path: "/v1/endpoints/{}/secret/reveal"},
	{name: "verify", short: "Send an unverified endpoint another challenge", arg: "ID", method: http.MethodPost, path: "/v1/endpoints/{}/verify", once: true,
		note: "What came of the challenge: posthorn endpoint get {}", params: []param{
			{flag: "trust", kind: asSwitch, sets: "true", usage: "mark it as verified without a challenge; operator keys only"},
		}},
	{name: "stats", short: "Show counts, latency and what waits", arg: "ID", method: http.MethodGet, path: "/v1/endpoints/{}/stats",
		tables: map[string][]string{"buckets": {"start", "accepted", "delivered", "first_try", "given_up", "attempts", "errors"}}},
	{name: "test", short: "Send a test event: one attempt, signed and logged like any other", arg: "ID", method: http.MethodPost, path: "/v1/endpoints/{}/test", once: true, waits: true, params: []param{
		{flag: "type", usage: "event type; without it the profile's own"},
		{flag: "data", kind: asObject, usage: "data as JSON, @FILE, or - for standard input; without it the profile's own"},
	}},
}}

// eventNoun lacks publish, which is send under another name.
var eventNoun = noun{name: "event", short: "Events: what was published", verbs: []verb{
	{name: "list", short: "Search events, newest first", method: http.MethodGet, path: "/v1/events", columns: []string{"id", "tenant", "type", "test", "accepted_at"},
		params: append([]param{tenantParam, {flag: "type", usage: "event type"},
			{flag: "test", usage: "true: test events only; false: none of them", values: []string{"true", "false"}}}, spanParams...),
		example: `  posthorn event list --tenant acme --after 24h
  posthorn event list --all --json > events.json`},
	{name: "get", short: "Show an event with its data and deliveries", arg: "ID", method: http.MethodGet, path: "/v1/events/{}",
		params: []param{ofTenantParam}, empty: "data", tables: map[string][]string{"deliveries": deliveryShape}},
	{name: "explain", short: "Say for each endpoint why it did or did not get the event", arg: "ID", method: http.MethodGet, path: "/v1/events/{}/explain",
		params: []param{ofTenantParam}, tables: map[string][]string{"endpoints": {"endpoint", "url", "event_types", "reason", "message"}}},
	{name: "resend", short: "Send an event again: to one endpoint, or to all that want it now", arg: "ID", method: http.MethodPost, path: "/v1/events/{}/resend", once: true, told: resentNote,
		params: []param{ofTenantParam, {flag: "endpoint", usage: "to this endpoint only"}}, tables: map[string][]string{"deliveries": deliveryShape}},
	{name: "match", short: "Say who would get an event of a type", method: http.MethodPost, path: "/v1/events/match", params: []param{tenantParam,
		{flag: "type", required: true, usage: "event type"}}, tables: map[string][]string{"endpoints": {"endpoint", "held"}}},
}}

var deliveryNoun = noun{name: "delivery", short: "Deliveries: one event to one endpoint", verbs: []verb{
	{name: "list", short: "Search deliveries, newest first", method: http.MethodGet, path: "/v1/deliveries", columns: deliveryShape, params: append([]param{tenantParam,
		{flag: "endpoint", usage: "id of the endpoint"},
		{flag: "event", usage: "id of the event"},
		{flag: "event-type", usage: "event type"},
		{flag: "type", usage: "the older name of --event-type"},
		{flag: "state", usage: "pending, held, succeeded, failed or cancelled", values: states},
		{flag: "status-class", usage: "of the last answer: 2xx, 3xx, 4xx or 5xx", values: []string{"2xx", "3xx", "4xx", "5xx"}},
		{flag: "error", usage: "class of the last attempt's failure, such as timeout_response"},
	}, spanParams...), example: `  posthorn delivery list --tenant acme --state failed --after 24h`},
	{name: "get", short: "Show a delivery with all its attempts", arg: "ID", method: http.MethodGet, path: "/v1/deliveries/{}", tables: attemptShape},
	{name: "retry", short: "Make one more attempt now", arg: "ID", method: http.MethodPost, path: "/v1/deliveries/{}/retry", tables: attemptShape, note: "One attempt was asked for; see: posthorn delivery get {}",
		params: []param{{flag: "even-if-disabled", kind: asSwitch, sets: "true", usage: "also while the endpoint is disabled: wait for the outcome, and say how to enable it"}}},
	{name: "cancel", short: "Stop a delivery that is still open", arg: "ID", method: http.MethodPost, path: "/v1/deliveries/{}/cancel", tables: attemptShape},
}}

var replayShape = []string{"id", "endpoint", "source", "state", "processed", "total", "delivered", "failed", "created_at", "ended_at"}

var replayNoun = noun{name: "replay", short: "Replays: send again to one endpoint what was accepted before", verbs: []verb{
	{name: "create", short: "Begin a replay, or count what it would send (--dry-run)", method: http.MethodPost, path: "/v1/replays", once: true, follows: true, told: replayNote,
		params: append([]param{
			{flag: "endpoint", required: true, usage: "id of the endpoint; no other gets anything"},
			{flag: "source", usage: "failed (the default), all, or missing: what the endpoint wants now and never got", values: []string{"failed", "all", "missing"}},
			{flag: "event-types", kind: asList, usage: "only these types, comma separated", entry: hook.ValidFilterType, entryIs: "an event type, a prefix such as payment.*, or *"},
			{flag: "state", usage: "only deliveries in this state, with --source all", values: states},
			{flag: "status-class", usage: "only deliveries whose last answer was 2xx, 3xx, 4xx or 5xx", values: []string{"2xx", "3xx", "4xx", "5xx"}},
			{flag: "error", usage: "only deliveries whose last attempt failed with this class, such as timeout_response"},
			{flag: "order", usage: "oldest (the default) or newest first", values: []string{"oldest", "newest"}},
			{flag: "rate", kind: asNumber, usage: "deliveries a second, 0.1 to 1000; without it 50"},
			{flag: "hold", kind: asSwitch, sets: "true", usage: "wait while the endpoint is disabled"},
			{flag: "dry-run", kind: asSwitch, sets: "true", usage: "only count, and show a sample"},
		}, spanParams...), tables: map[string][]string{"sample": {"event", "event_type", "accepted_at", "state", "last_status", "last_error"}},
		example: `  posthorn replay create --endpoint ID --after 24h --dry-run
  posthorn replay create --endpoint ID --after 24h --rate 100 --wait
  posthorn replay create --endpoint ID --source missing --event-types "payment.*" --after 168h`},
	{name: "list", short: "List replays, newest first", method: http.MethodGet, path: "/v1/replays", columns: replayShape, params: []param{tenantParam,
		{flag: "endpoint", usage: "to this endpoint"},
		{flag: "state", usage: "running, paused, done, cancelled or failed", values: []string{"running", "paused", "done", "cancelled", "failed"}},
	}},
	{name: "get", short: "Show a replay with its progress", arg: "ID", method: http.MethodGet, path: "/v1/replays/{}", follows: true},
	{name: "pause", short: "Pause a replay; what it asked for already is still attempted", arg: "ID", method: http.MethodPost, path: "/v1/replays/{}/pause"},
	{name: "resume", short: "Let a paused replay go on", arg: "ID", method: http.MethodPost, path: "/v1/replays/{}/resume", follows: true},
	{name: "cancel", short: "End a replay", arg: "ID", method: http.MethodPost, path: "/v1/replays/{}/cancel"},
}}

var eventTypeNoun = noun{name: "event-type", short: "The catalogue of event types", verbs: []verb{
	{name: "create", short: "Add a type to the catalogue", method: http.MethodPost, path: "/v1/event-types", once: true,
		params: append([]param{{flag: "name", required: true, usage: "the type, such as payment.settled"}}, eventTypeParams...)},
	{name: "list", short: "List the catalogue", method: http.MethodGet, path: "/v1/event-types", columns: []string{"name", "description", "check", "updated_at"}},
	{name: "get", short: "Show a type with its schema and example", arg: "NAME", method: http.MethodGet, path: "/v1/event-types/{}"},
	{name: "update", short: "Change a type; what is not named stays", arg: "NAME", method: http.MethodPatch, path: "/v1/event-types/{}", params: eventTypeParams},
	{name: "delete", short: "Take a type out of the catalogue", arg: "NAME", method: http.MethodDelete, path: "/v1/event-types/{}", done: "deleted event type %s"},
}}

var eventTypeParams = []param{
	{flag: "description", usage: "for people"},
	{flag: "schema", kind: asObject, usage: "JSON Schema of the data; @FILE, or - for standard input"},
	{flag: "example", kind: asObject, usage: "data of an event; @FILE, or - for standard input"},
	{flag: "check", usage: "what becomes of published data that the schema refuses: off, warn or reject", values: []string{"off", "warn", "reject"}},
}

var auditNoun = noun{name: "audit", short: "The audit log: who did what", verbs: []verb{
	{name: "list", short: "Search the audit log, newest first", method: http.MethodGet, path: "/v1/audit",
		columns: []string{"at", "actor.id", "act", "object_id", "tenant", "outcome", "detail"}, params: append([]param{tenantParam,
			{flag: "actor", usage: "id of a key, or bootstrap"},
			{flag: "act", usage: "such as endpoint.deleted"},
			{flag: "object", usage: "kind of the object, such as endpoint"},
			{flag: "object-id", usage: "id of the object"},
		}, spanParams...),
		example: `  posthorn audit list --act endpoint.secret_revealed --after 168h`},
}}

var partnerUserNoun = noun{name: "partner-user", short: "Partner users: for whom a partner's keys may act in paywise's API", verbs: []verb{
	{name: "create", short: "Let a partner's keys act for a tenant", method: http.MethodPost, path: "/v1/partner-users", once: true, params: []param{
		{flag: "partner", required: true, usage: "the tenant whose keys may act"},
		{flag: "user", required: true, usage: "the partner's name for the user, sent as X-User-Id"},
		{flag: "tenant", required: true, usage: "the tenant acted for"},
	}, example: `  posthorn partner-user create --partner agency --user u-1 --tenant acme`},
	{name: "list", short: "List for whom partners may act", method: http.MethodGet, path: "/v1/partner-users", columns: []string{"id", "partner", "user", "tenant", "created_at"},
		params: []param{{flag: "partner", usage: "of this partner"}}},
	{name: "delete", short: "End a partner's grant at once", arg: "ID", method: http.MethodDelete, path: "/v1/partner-users/{}", done: "deleted partner user %s"},
}}

// requiring returns the params, those flags required.
func requiring(params []param, flags ...string) []param {
	out := slices.Clone(params)
	for i := range out {
		out[i].required = slices.Contains(flags, out[i].flag)
	}
	return out
}
