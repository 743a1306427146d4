package hook

import (
	"errors"
	"time"
)

// Code is the stable, documented name of an error that callers see.
type Code string

// The codes. A table of the API maps each to a status.
const (
	CodeInvalidJSON       Code = "invalid_json"                   // 400: not strict JSON
	CodeInvalidRequest    Code = "invalid_request"                // 422: a member is missing or has a wrong value
	CodeUnknownField      Code = "unknown_field"                  // 422: an unknown member
	CodeUnauthorized      Code = "unauthorized"                   // 401
	CodeKeyExpired        Code = "key_expired"                    // 401: the key has expired
	CodeForbidden         Code = "forbidden"                      // 403: wrong kind of key
	CodeKeyReadOnly       Code = "key_read_only"                  // 403: the key may only read
	CodeTypeReserved      Code = "event_type_reserved"            // 422: only Posthorn publishes events of this type
	CodeTypeNotAllowed    Code = "event_type_not_allowed"         // 403: the key may not publish this type
	CodeAddressNotAllowed Code = "address_not_allowed"            // 403: the key may not be used from the caller's address
	CodeRevealDisabled    Code = "reveal_disabled"                // 403: secrets are not shown again
	CodeNotFound          Code = "not_found"                      // 404
	CodeRouteNotFound     Code = "route_not_found"                // 404: unknown path; the server's address may be wrong
	CodeTenantNotFound    Code = "tenant_not_found"               // 404
	CodeConflict          Code = "conflict"                       // 409
	CodeTenantExists      Code = "tenant_exists"                  // 409
	CodeEventConflict     Code = "event_id_conflict"              // 409
	CodeEndpointLimit     Code = "endpoint_limit_reached"         // 409: the tenant has too many
	CodeTypeUnknown       Code = "event_type_unknown"             // 422: not in the catalogue
	CodeEndpointDisabled  Code = "endpoint_disabled"              // 409
	CodeWrongNode         Code = "wrong_node"                     // 421: belongs to another node
	CodeUnverified        Code = "endpoint_unverified"            // 409: the receiver has not agreed to get deliveries
	CodeEndpointDamaged   Code = "endpoint_damaged"               // 409: its secret cannot be opened; it needs a new one
	CodeSecretLimit       Code = "secret_limit_reached"           // 409: too many secrets of an endpoint are in force
	CodeSecretChanged     Code = "secret_not_in_force"            // 409: the first answer has a secret that is no longer in force
	CodeReplayEnded       Code = "replay_ended"                   // 409: it cannot be paused, resumed or cancelled
	CodeKeyRotating       Code = "master_key_rotating"            // 409: a rotation is in progress
	CodeKeyMissing        Code = "master_key_missing"             // 409: not all nodes have the key
	CodeKeyNotNewer       Code = "master_key_not_newer"           // 409: there is no key to rotate to
	CodeKeyNeeded         Code = "master_key_needed"              // 409: stored values need the key
	CodeKeySource         Code = "master_key_source"              // 409: where the keys are cannot be read or changed
	CodeReplayLimit       Code = "replay_limit_reached"           // 409: too many replays run or are paused
	CodeErasureLimit      Code = "erasure_limit_reached"          // 409: too many erasures run
	CodePortalLimit       Code = "portal_session_limit_reached"   // 409: the tenant has too many
	CodeNoMatch           Code = "no_endpoint_matches"            // 422: the request requires an endpoint that gets it
	CodeDeliverySettled   Code = "delivery_settled"               // 409: it cannot be cancelled
	CodeIdempotencyReused Code = "idempotency_key_reused"         // 422
	CodeTooLarge          Code = "payload_too_large"              // 413
	CodeTooManyDeliveries Code = "too_many_deliveries"            // 422: too many endpoints match
	CodeDataInvalid       Code = "event_data_invalid"             // 422: does not match the schema
	CodeContentType       Code = "content_type_not_supported"     // 415
	CodeContentEncoding   Code = "content_encoding_not_supported" // 415
	CodeMethodNotAllowed  Code = "method_not_allowed"             // 405
	CodePrecondition      Code = "precondition_failed"            // 412: If-Match does not match
	CodeRateLimited       Code = "rate_limited"                   // 429
	CodeBacklogFull       Code = "backlog_full"                   // 429
	CodeStorageFull       Code = "storage_full"                   // 503
	CodeStorageDown       Code = "storage_unavailable"            // 503
	CodeServerBusy        Code = "server_busy"                    // 503: no memory for the body now, or too many searches of a scope
	CodeShuttingDown      Code = "shutting_down"                  // 503
	CodeInternal          Code = "internal_error"                 // 500
	CodeLoopDetected      Code = "loop_detected"                  // 508: a delivery of its own

	CodeURLInvalid     Code = "endpoint_url_invalid"
	CodeURLScheme      Code = "endpoint_url_scheme_not_allowed"
	CodeURLCredentials Code = "endpoint_url_credentials_not_allowed"
	CodeURLHost        Code = "endpoint_url_host_invalid"
	CodeURLNotPublic   Code = "endpoint_url_host_not_public"
	CodeURLAddress     Code = "endpoint_url_address_not_allowed"
	CodeURLPort        Code = "endpoint_url_port_not_allowed"
	CodeHeaderRefused  Code = "endpoint_header_not_allowed"
	CodeHeaderInvalid  Code = "endpoint_header_invalid"
	CodeSecretInvalid  Code = "secret_invalid"
)

// Error is an error for the caller: a stable code, a message that says what happened and
// what to do, and the field at fault. Err is for the log only.
type Error struct {
	Code    Code
	Message string
	Field   string // JSON pointer without the leading slash, or a query parameter; empty: none
	Err     error
	// RetryAfter is the time after which the same request may succeed. 0 means the default
	// of the code.
	RetryAfter time.Duration
	// Logged reports that this error has been logged, or others like it a short time ago.
	Logged bool
}

// Logged reports whether an error has been logged already.
func Logged(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Logged
}

// Error returns the message.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first *Error in the chain, or CodeInternal.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// NotFound returns the error for an id that is unknown, or belongs to another tenant or
// mode. It is the same in all cases (S-09).
func NotFound(noun string) *Error {
	return &Error{Code: CodeNotFound, Message: "No such " + noun + "."}
}
