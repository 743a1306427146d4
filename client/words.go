package client

// Codes of a [Problem]. A newer server may send others. Treat an unknown code according to
// its status.
const (
	CodeInvalidJSON       = "invalid_json"                   // 400: not strict JSON
	CodeInvalidRequest    = "invalid_request"                // 422: a member is missing or has a wrong value
	CodeUnknownField      = "unknown_field"                  // 422: an unknown member
	CodeUnauthorized      = "unauthorized"                   // 401
	CodeKeyExpired        = "key_expired"                    // 401: the key has expired
	CodeForbidden         = "forbidden"                      // 403: not allowed for the key's kind
	CodeKeyReadOnly       = "key_read_only"                  // 403: the key may only read
	CodeTypeReserved      = "event_type_reserved"            // 422: only the server publishes events of this type
	CodeTypeNotAllowed    = "event_type_not_allowed"         // 403: the key may not publish this type
	CodeAddressNotAllowed = "address_not_allowed"            // 403: the key may not be used from the caller's address
	CodeRevealDisabled    = "reveal_disabled"                // 403: the server does not show secrets again
	CodeNotFound          = "not_found"                      // 404
	CodeRouteNotFound     = "route_not_found"                // 404: no such path; the server's URL may be wrong
	CodeTenantNotFound    = "tenant_not_found"               // 404
	CodeConflict          = "conflict"                       // 409
	CodeTenantExists      = "tenant_exists"                  // 409
	CodeEventConflict     = "event_id_conflict"              // 409
	CodeEndpointLimit     = "endpoint_limit_reached"         // 409: the tenant has its maximum number of endpoints
	CodeTypeUnknown       = "event_type_unknown"             // 422: not in the profile's catalogue
	CodeEndpointDisabled  = "endpoint_disabled"              // 409
	CodeUnverified        = "endpoint_unverified"            // 409: the receiver has not agreed to receive deliveries
	CodeEndpointDamaged   = "endpoint_damaged"               // 409: sealed data of the endpoint cannot be decrypted and must be set anew
	CodeSecretLimit       = "secret_limit_reached"           // 409: the endpoint has its maximum number of active secrets
	CodeSecretChanged     = "secret_not_in_force"            // 409: a repeated request whose response held a secret that is no longer active
	CodeWrongNode         = "wrong_node"                     // 421: sent to another node than the one that must handle it
	CodeLoop              = "loop_detected"                  // 508: the request is a delivery of this server
	CodeReplayEnded       = "replay_ended"                   // 409: the replay has ended and cannot be paused, resumed or cancelled
	CodeKeyRotating       = "master_key_rotating"            // 409: a rotation of the master key is in progress
	CodeKeyMissing        = "master_key_missing"             // 409: not all nodes have the key
	CodeKeyNotNewer       = "master_key_not_newer"           // 409: there is no newer key, and none can be added
	CodeKeyNeeded         = "master_key_needed"              // 409: stored values need the key
	CodeKeySource         = "master_key_source"              // 409: the place of the keys cannot be read or changed by the server
	CodeReplayLimit       = "replay_limit_reached"           // 409: the maximum number of replays is running or paused
	CodeErasureLimit      = "erasure_limit_reached"          // 409: the maximum number of erasures is running
	CodePortalLimit       = "portal_session_limit_reached"   // 409: the maximum number of portal sessions of the tenant can be used
	CodeNoMatch           = "no_endpoint_matches"            // 422: no endpoint would receive the event, and require_match was set
	CodeDeliverySettled   = "delivery_settled"               // 409: the delivery is settled and cannot be cancelled
	CodeIdempotencyReused = "idempotency_key_reused"         // 422
	CodeTooLarge          = "payload_too_large"              // 413
	CodeTooManyDeliveries = "too_many_deliveries"            // 422: the fan-out exceeds its limit
	CodeDataInvalid       = "event_data_invalid"             // 422: the data does not conform to the schema of the event type
	CodeContentType       = "content_type_not_supported"     // 415
	CodeContentEncoding   = "content_encoding_not_supported" // 415
	CodeMethodNotAllowed  = "method_not_allowed"             // 405
	CodePrecondition      = "precondition_failed"            // 412: If-Match names another state
	CodeRateLimited       = "rate_limited"                   // 429
	CodeBacklogFull       = "backlog_full"                   // 429
	CodeStorageFull       = "storage_full"                   // 503
	CodeStorageDown       = "storage_unavailable"            // 503
	CodeServerBusy        = "server_busy"                    // 503: no memory for the request's body, or too many searches of the tenant
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
	KindPublisher = "publisher" // publishing only
	KindTenant    = "tenant"    // one tenant's endpoints and deliveries
)

// Modes of a [Key] and of the objects that it can access.
const (
	ModeLive = "live"
	ModeTest = "test"
)

// States of a [Delivery].
const (
	StatePending   = "pending" // an attempt is due, now or later
	StateHeld      = "held"    // waits until its endpoint is enabled
	StateSucceeded = "succeeded"
	StateFailed    = "failed" // no attempts are left
	StateCancelled = "cancelled"
)

// Reasons why an [Endpoint] is disabled.
const (
	DisabledByHand       = "by_hand"
	DisabledByFailures   = "failures"
	DisabledGone         = "gone"          // the receiver answered 410
	DisabledListenerAway = "listener_away" // no listener is connected under its name
	DisabledUnverified   = "unverified"    // the receiver has not answered the challenge yet
	DisabledDamaged      = "damaged"       // sealed data of the endpoint cannot be decrypted
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

// Error classes of a failed attempt: Error of an [Attempt], LastError of a [Delivery]. A
// newer server may send others.
const (
	ErrorStatus          = "status_not_success"    // the response status is not in the profile's success set
	ErrorRedirect        = "redirect_not_followed" // 3xx
	ErrorGone            = "endpoint_gone"         // 410
	ErrorBlockedAddress  = "blocked_address"
	ErrorURLRefused      = "url_refused" // the stored URL is no longer permitted
	ErrorDNSNotFound     = "dns_not_found"
	ErrorDNSTimeout      = "dns_timeout" // for this name only; others resolve
	ErrorDNSFailed       = "dns_failed"  // for this name only; others resolve
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
	ErrorTruncated       = "response_truncated" // a success whose body was cut off
	ErrorNotSent         = "not_sent"           // the server could not build or sign the request
)
