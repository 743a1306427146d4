package client

// Codes of a [Problem]. A later server may have more: treat one that is not known by
// its status.
const (
	CodeInvalidJSON       = "invalid_json"                   // 400: not strict JSON
	CodeInvalidRequest    = "invalid_request"                // 422: a member is missing or has a wrong value
	CodeUnknownField      = "unknown_field"                  // 422: a member that is not known
	CodeUnauthorized      = "unauthorized"                   // 401
	CodeKeyExpired        = "key_expired"                    // 401: the time of the key is over
	CodeForbidden         = "forbidden"                      // 403: the key's kind may not
	CodeKeyReadOnly       = "key_read_only"                  // 403: the key may only read
	CodeTypeNotAllowed    = "event_type_not_allowed"         // 403: the key may not publish this type
	CodeAddressNotAllowed = "address_not_allowed"            // 403: the key may not be used from the caller's address
	CodeRevealDisabled    = "reveal_disabled"                // 403: the server does not show secrets again
	CodeNotFound          = "not_found"                      // 404
	CodeRouteNotFound     = "route_not_found"                // 404: no such path; the server's address may be wrong
	CodeTenantNotFound    = "tenant_not_found"               // 404
	CodeConflict          = "conflict"                       // 409
	CodeTenantExists      = "tenant_exists"                  // 409
	CodeEventConflict     = "event_id_conflict"              // 409
	CodeEndpointLimit     = "endpoint_limit_reached"         // 409: as many endpoints as the tenant may have
	CodeTypeUnknown       = "event_type_unknown"             // 422: not in the profile's catalogue
	CodeEndpointDisabled  = "endpoint_disabled"              // 409
	CodeUnverified        = "endpoint_unverified"            // 409: its receiver has not agreed to get deliveries
	CodeEndpointDamaged   = "endpoint_damaged"               // 409: its secret cannot be opened, and a new one is needed
	CodeSecretLimit       = "secret_limit_reached"           // 409: as many secrets in force as an endpoint may have
	CodeSecretChanged     = "secret_not_in_force"            // 409: a repeated request whose answer held a secret that is not in force any more
	CodeWrongNode         = "wrong_node"                     // 421: another node than the one it belongs to
	CodeLoop              = "loop_detected"                  // 508: the request is a delivery of this server
	CodeReplayEnded       = "replay_ended"                   // 409: nothing left to pause, resume or cancel
	CodeReplayLimit       = "replay_limit_reached"           // 409: as many replays as may run or be paused
	CodeNoMatch           = "no_endpoint_matches"            // 422: nobody would get the event, and require_match was set
	CodeDeliverySettled   = "delivery_settled"               // 409: nothing left to cancel
	CodeIdempotencyReused = "idempotency_key_reused"         // 422
	CodeTooLarge          = "payload_too_large"              // 413
	CodeTooManyDeliveries = "too_many_deliveries"            // 422: fan-out over its bound
	CodeDataInvalid       = "event_data_invalid"             // 422: not what the schema of the event type asks for
	CodeContentType       = "content_type_not_supported"     // 415
	CodeContentEncoding   = "content_encoding_not_supported" // 415
	CodeMethodNotAllowed  = "method_not_allowed"             // 405
	CodePrecondition      = "precondition_failed"            // 412: If-Match names another state
	CodeRateLimited       = "rate_limited"                   // 429
	CodeBacklogFull       = "backlog_full"                   // 429
	CodeStorageFull       = "storage_full"                   // 503
	CodeStorageDown       = "storage_unavailable"            // 503
	CodeServerBusy        = "server_busy"                    // 503: no memory for the request's body now
	CodeShuttingDown      = "shutting_down"                  // 503
	CodeInternal          = "internal_error"                 // 500
	CodeURLInvalid        = "endpoint_url_invalid"
	CodeURLScheme         = "endpoint_url_scheme_not_allowed"
	CodeURLCredentials    = "endpoint_url_credentials_not_allowed"
	CodeURLHost           = "endpoint_url_host_invalid"
	CodeURLNotPublic      = "endpoint_url_host_not_public"
	CodeURLAddress        = "endpoint_url_address_not_allowed"
	CodeURLPort           = "endpoint_url_port_not_allowed"
	CodeHeaderRefused     = "endpoint_header_not_allowed"
	CodeHeaderInvalid     = "endpoint_header_invalid"
	CodeSecretInvalid     = "secret_invalid"
)

// Kinds of a [Key].
const (
	KindOperator  = "operator"  // everything in its mode
	KindPublisher = "publisher" // publish only
	KindTenant    = "tenant"    // one tenant's endpoints and deliveries
)

// Modes of a [Key] and of what it sees.
const (
	ModeLive = "live"
	ModeTest = "test"
)

// States of a [Delivery].
const (
	StatePending   = "pending" // an attempt is due, now or later
	StateHeld      = "held"    // waits until its endpoint is enabled
	StateSucceeded = "succeeded"
	StateFailed    = "failed" // given up
	StateCancelled = "cancelled"
)

// Reasons for which an [Endpoint] is disabled.
const (
	DisabledByHand       = "by_hand"
	DisabledByFailures   = "failures"
	DisabledGone         = "gone"          // the receiver answered 410
	DisabledListenerAway = "listener_away" // nobody listens under its name
	DisabledUnverified   = "unverified"    // its receiver has not answered the challenge yet
	DisabledDamaged      = "damaged"       // what is kept of it cannot be opened
)

// States of a [Verification].
const (
	VerificationNotRequired = "not_required"
	VerificationPending     = "pending"
	VerificationVerified    = "verified"
	VerificationFailed      = "failed"
)

// Triggers of an [Attempt].
const (
	TriggerSchedule = "schedule"
	TriggerManual   = "manual" // a retry of the delivery
	TriggerTest     = "test"
	TriggerReplay   = "replay" // a resend of the event, or a replay
)

// Classes of a failed attempt: Error of an [Attempt], LastError of a [Delivery]. A later
// server may have more.
const (
	ErrorStatus          = "status_not_success"    // an answer outside the profile's success set
	ErrorRedirect        = "redirect_not_followed" // 3xx
	ErrorGone            = "endpoint_gone"         // 410
	ErrorBlockedAddress  = "blocked_address"
	ErrorURLRefused      = "url_refused" // the stored URL is not admitted any more
	ErrorDNSNotFound     = "dns_not_found"
	ErrorDNSTimeout      = "dns_timeout" // of this name only: others are found
	ErrorDNSFailed       = "dns_failed"  // the same
	ErrorRefused         = "connection_refused"
	ErrorReset           = "connection_reset"
	ErrorConnectTimeout  = "timeout_connect"
	ErrorTLSTimeout      = "timeout_tls"
	ErrorTimeout         = "timeout_response"
	ErrorConnectFailed   = "connection_failed"
	ErrorTLSExpired      = "tls_certificate_expired"
	ErrorTLSUntrusted    = "tls_certificate_untrusted"
	ErrorTLSName         = "tls_certificate_name_mismatch"
	ErrorTLSHandshake    = "tls_handshake_failed"
	ErrorHeadersTooLarge = "response_headers_too_large"
	ErrorResponseInvalid = "response_invalid"
	ErrorTruncated       = "response_truncated" // a success whose body was cut
	ErrorNotSent         = "not_sent"           // we could not build or sign the request
)
