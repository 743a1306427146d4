package hook

import (
	"errors"
	"time"
)

// Code is the stable, documented name of an error that callers see.
type Code string

// The codes. The API's table maps each to a status.
const (
	CodeInvalidJSON       Code = "invalid_json"                   // 400: not strict JSON
	CodeInvalidRequest    Code = "invalid_request"                // 422: a member is missing or has a wrong value
	CodeUnknownField      Code = "unknown_field"                  // 422: a member that is not known
	CodeUnauthorized      Code = "unauthorized"                   // 401
	CodeKeyExpired        Code = "key_expired"                    // 401: the time of the key is over
	CodeForbidden         Code = "forbidden"                      // 403: the key's kind may not
	CodeKeyReadOnly       Code = "key_read_only"                  // 403: the key may only read
	CodeTypeNotAllowed    Code = "event_type_not_allowed"         // 403: the key may not publish this type
	CodeAddressNotAllowed Code = "address_not_allowed"            // 403: the key may not be used from the caller's address
	CodeRevealDisabled    Code = "reveal_disabled"                // 403: the server does not show secrets again
	CodeNotFound          Code = "not_found"                      // 404
	CodeRouteNotFound     Code = "route_not_found"                // 404: no such path; the server's address may be wrong
	CodeTenantNotFound    Code = "tenant_not_found"               // 404
	CodeConflict          Code = "conflict"                       // 409
	CodeTenantExists      Code = "tenant_exists"                  // 409
	CodeEventConflict     Code = "event_id_conflict"              // 409
	CodeEndpointLimit     Code = "endpoint_limit_reached"         // 409: as many endpoints as the tenant may have
	CodeTypeUnknown       Code = "event_type_unknown"             // 422: not in the profile's catalogue
	CodeEndpointDisabled  Code = "endpoint_disabled"              // 409
	CodeWrongNode         Code = "wrong_node"                     // 421: another node than the one it belongs to
	CodeUnverified        Code = "endpoint_unverified"            // 409: its receiver has not agreed to get deliveries
	CodeEndpointDamaged   Code = "endpoint_damaged"               // 409: its secret cannot be opened, and a new one is needed
	CodeSecretLimit       Code = "secret_limit_reached"           // 409: as many secrets in force as an endpoint may have
	CodeSecretChanged     Code = "secret_not_in_force"            // 409: a repeated request whose answer held a secret that is not in force any more
	CodeReplayEnded       Code = "replay_ended"                   // 409: nothing left to pause, resume or cancel
	CodeReplayLimit       Code = "replay_limit_reached"           // 409: as many replays as may run or be paused
	CodeNoMatch           Code = "no_endpoint_matches"            // 422: nobody would get the event, and the request asks for somebody
	CodeDeliverySettled   Code = "delivery_settled"               // 409: nothing left to cancel
	CodeIdempotencyReused Code = "idempotency_key_reused"         // 422
	CodeTooLarge          Code = "payload_too_large"              // 413
	CodeTooManyDeliveries Code = "too_many_deliveries"            // 422: fan-out over its bound
	CodeDataInvalid       Code = "event_data_invalid"             // 422: not what the schema of the type asks for
	CodeContentType       Code = "content_type_not_supported"     // 415
	CodeContentEncoding   Code = "content_encoding_not_supported" // 415
	CodeMethodNotAllowed  Code = "method_not_allowed"             // 405
	CodePrecondition      Code = "precondition_failed"            // 412: If-Match names another state
	CodeRateLimited       Code = "rate_limited"                   // 429
	CodeBacklogFull       Code = "backlog_full"                   // 429
	CodeStorageFull       Code = "storage_full"                   // 503
	CodeStorageDown       Code = "storage_unavailable"            // 503
	CodeServerBusy        Code = "server_busy"                    // 503: no memory for the request's body now
	CodeShuttingDown      Code = "shutting_down"                  // 503
	CodeInternal          Code = "internal_error"                 // 500
	CodeLoopDetected      Code = "loop_detected"                  // 508: a delivery of this installation came back to its API

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

// Error is an error meant for the caller: a stable code, a sentence that says
// what happened and what to do, and the member to blame. Err is for the log only.
type Error struct {
	Code    Code
	Message string
	Field   string // JSON pointer without the leading slash, or a query parameter; empty: none
	Err     error
	// RetryAfter says when the same request may succeed; 0: as the code's table says.
	RetryAfter time.Duration
	// Logged says that there is a line about it in the log already, or was about others
	// like it a short time ago.
	Logged bool
}

// Logged reports whether an error needs no line in the log.
func Logged(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Logged
}

// Error returns the sentence.
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

// NotFound is the one answer to unknown, foreign and wrong-mode ids (S-09).
func NotFound(noun string) *Error {
	return &Error{Code: CodeNotFound, Message: "No such " + noun + "."}
}
