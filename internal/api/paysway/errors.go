package paysway

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/hook"
)

// failure is an error in PaySway's format (PaySway docs: errors).
type failure struct {
	status int
	Code   string `json:"code"`
	// Message names the invalid member by its JSON pointer.
	Message string `json:"message"`
	retry   int    // Retry-After in seconds, 0: none
	scheme  string // WWW-Authenticate, empty: none
}

// Error returns the message.
func (f *failure) Error() string { return f.Message }

func badRequest(message string) *failure {
	return &failure{status: http.StatusBadRequest, Code: "BAD_REQUEST", Message: message}
}

// kinds maps our codes to PaySway's. A code that is missing is a bad request, or an
// unexpected error if the fault is the server's.
var kinds = map[hook.Code]failure{
	hook.CodeInvalidJSON:       {status: 400, Code: "JSON_PAYLOAD_MALFORMED"},
	hook.CodeTypeUnknown:       {status: 400, Code: "JSON_PAYLOAD_INVALID_ENUM_VALUE"},
	hook.CodeURLInvalid:        {status: 400, Code: "WEBHOOK_ENDPOINT_URL_INVALID"},
	hook.CodeURLScheme:         {status: 400, Code: "WEBHOOK_ENDPOINT_URL_INVALID"},
	hook.CodeURLCredentials:    {status: 400, Code: "WEBHOOK_ENDPOINT_URL_INVALID"},
	hook.CodeURLHost:           {status: 400, Code: "WEBHOOK_ENDPOINT_URL_INVALID"},
	hook.CodeURLNotPublic:      {status: 400, Code: "WEBHOOK_ENDPOINT_URL_INVALID"},
	hook.CodeURLAddress:        {status: 400, Code: "WEBHOOK_ENDPOINT_URL_INVALID"},
	hook.CodeURLPort:           {status: 400, Code: "WEBHOOK_ENDPOINT_URL_INVALID"},
	hook.CodeKeyExpired:        {status: 401, Code: "AUTH_TOKEN_INVALID", scheme: "Bearer"},
	hook.CodeForbidden:         {status: 403, Code: "FORBIDDEN"},
	hook.CodeKeyReadOnly:       {status: 403, Code: "FORBIDDEN"},
	hook.CodeAddressNotAllowed: {status: 403, Code: "FORBIDDEN"},
	hook.CodeNotFound:          {status: 404, Code: "NOT_FOUND"},
	hook.CodeTenantNotFound:    {status: 404, Code: "NOT_FOUND"},
	hook.CodeMethodNotAllowed:  {status: 405, Code: "BAD_REQUEST"},
	hook.CodeConflict:          {status: 409, Code: "BAD_REQUEST"},
	hook.CodeEndpointDamaged:   {status: 409, Code: "BAD_REQUEST"},
	hook.CodeUnverified:        {status: 409, Code: "BAD_REQUEST"},
	hook.CodeEndpointLimit:     {status: 409, Code: "WEBHOOK_SUBSCRIPTIONS_LIMIT_REACHED"},
	hook.CodeTooLarge:          {status: 413, Code: "BAD_REQUEST"},
	hook.CodeRateLimited:       {status: 429, Code: "AUTH_TOO_MANY_REQUESTS", retry: 1},
	hook.CodeStorageFull:       {status: 503, Code: "UNEXPECTED_ERROR", retry: 10},
	hook.CodeStorageDown:       {status: 503, Code: "UNEXPECTED_ERROR", retry: 5},
	hook.CodeServerBusy:        {status: 503, Code: "UNEXPECTED_ERROR", retry: 1},
	hook.CodeShuttingDown:      {status: 503, Code: "UNEXPECTED_ERROR", retry: 2},
	hook.CodeInternal:          {status: 500, Code: "UNEXPECTED_ERROR"},
	hook.CodeLoopDetected:      {status: 508, Code: "BAD_REQUEST"},
}

// failureOf converts any error to the one that the caller sees.
func failureOf(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	e, ok := errors.AsType[*hook.Error](err)
	if !ok {
		e = &hook.Error{Code: hook.CodeInternal}
	}
	f, ok := kinds[e.Code]
	if !ok {
		f = failure{status: 400, Code: "BAD_REQUEST"}
	}
	f.Message = e.Message
	f.retry = max(f.retry, adapter.Seconds(e.RetryAfter))
	if e.Message == hook.NotFound("endpoint").Message { // the store uses this message; a text that is not an id gets the same response
		f.Message = hook.NotFound("subscription").Message
	}
	if e.Code == hook.CodeInternal {
		f.Message = "Something went wrong on our side."
	}
	if e.Field != "" && e.Code != hook.CodeLoopDetected {
		f.Message = "/" + pointer(e.Field) + ": " + f.Message
	}
	return &f
}

// refuse responds with the error. Server errors are logged.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := failureOf(err)
	if f.status == http.StatusUnauthorized {
		err = adapter.WrongKey(r, a.o.Service, a.o.Log, err)
		f = failureOf(err)
	}
	adapter.Refused(a.o.Refused, f.status, err)
	adapter.LogRefused(a.o.Log, w, r, f.status, f.retry > 0, err, "code", f.Code)
	if f.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.retry))
	}
	if f.scheme != "" {
		w.Header().Set("WWW-Authenticate", f.scheme)
	}
	_ = adapter.Answer(w, f.status, f) // two plain strings: cannot fail
}
