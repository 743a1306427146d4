package svix

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/hook"
)

// failure is an error in one of Svix's two shapes: a code and a sentence, or a list of
// what is wrong in the request.
type failure struct {
	status     int
	code, text string
	details    []detail // replaces code and text
	retry      int      // Retry-After in seconds, 0: none
}

// detail is one thing that is wrong in a request.
type detail struct {
	Loc  []string `json:"loc"`
	Msg  string   `json:"msg"`
	Type string   `json:"type"`
}

// Error returns the first sentence.
func (f *failure) Error() string {
	if len(f.details) > 0 {
		return f.details[0].Msg
	}
	return f.text
}

const valueError = "value_error"

// invalid returns the error for a member of the body.
func invalid(member, sentence string) error { return wrongPart("body", member, sentence) }

func wrongPart(part, name, sentence string) *failure {
	return &failure{status: http.StatusUnprocessableEntity, details: []detail{{located(part, name), sentence, valueError}}}
}

// located returns the place of a member, or of a parameter of the query by its own name. name
// is a pointer such as "headers/x" or "event_types/0".
func located(part, name string) []string {
	loc := []string{part}
	for i, step := range strings.Split(name, "/") {
		if ours, renamed := names[step]; renamed && i == 0 && part == "body" {
			step = ours
		}
		if _, err := strconv.Atoi(step); err == nil {
			step = "[" + step + "]"
		}
		if step != "" {
			loc = append(loc, step)
		}
	}
	return loc
}

// names maps members of Posthorn that have another name in this API.
var names = map[string]string{"event_types": "filterTypes", "type": "eventType", "data": "payload", "rate_limit": "throttleRate", "schema": "schemas",
	"other_versions": "schemas", "example": "schemas", "group": "groupName", "overlap": "gracePeriodSeconds", "cursor": "iterator", "id": "uid", "deliver_at": "deliverAt"}

var errNoApplication = &failure{status: http.StatusNotFound, code: "not_found", text: "Application not found"}

// kinds maps Posthorn's codes to statuses and Svix's codes. A code that is missing is an
// error in the body.
var kinds = map[hook.Code]failure{
	hook.CodeUnauthorized:      {status: 401, code: "authentication_failed"},
	hook.CodeKeyExpired:        {status: 401, code: "authentication_failed"},
	hook.CodeForbidden:         {status: 403, code: "insufficient access"},
	hook.CodeKeyReadOnly:       {status: 403, code: "insufficient access"},
	hook.CodeTypeNotAllowed:    {status: 403, code: "insufficient access"},
	hook.CodeAddressNotAllowed: {status: 403, code: "insufficient access"},
	hook.CodeRevealDisabled:    {status: 403, code: "insufficient access"},
	hook.CodeNotFound:          {status: 404, code: "not_found", text: "Entity not found"},
	hook.CodeTenantNotFound:    {status: 404, code: "not_found", text: "Application not found"},
	hook.CodeConflict:          {status: 409, code: "conflict"},
	hook.CodeTenantExists:      {status: 409, code: "conflict"},
	hook.CodeEventConflict:     {status: 409, code: "conflict"},
	hook.CodeEndpointLimit:     {status: 409, code: "limit_reached"},
	hook.CodeReplayLimit:       {status: 409, code: "limit_reached"},
	hook.CodePortalLimit:       {status: 409, code: "limit_reached"},
	hook.CodeSecretLimit:       {status: 400, code: "limit_reached"},
	hook.CodeEndpointDisabled:  {status: 409, code: "conflict"},
	hook.CodeEndpointDamaged:   {status: 409, code: "conflict"},
	hook.CodeUnverified:        {status: 409, code: "conflict"},
	hook.CodeWrongNode:         {status: 409, code: "conflict"},
	hook.CodeSecretChanged:     {status: 409, code: "conflict"},
	hook.CodeIdempotencyReused: {status: 409, code: "conflict"},
	hook.CodePayloadGone:       {status: 400, code: "missing_payload"},
	hook.CodeTooLarge:          {status: 413, code: "payload_too_large"},
	hook.CodeContentType:       {status: 415, code: "unsupported_media_type"},
	hook.CodeContentEncoding:   {status: 415, code: "unsupported_media_type"},
	hook.CodeRateLimited:       {status: 429, code: "rate_limited", retry: 1},
	hook.CodeBacklogFull:       {status: 429, code: "rate_limited", retry: 5},
	hook.CodeStorageFull:       {status: 503, code: "service_unavailable", retry: 10},
	hook.CodeStorageDown:       {status: 503, code: "service_unavailable", retry: 5},
	hook.CodeServerBusy:        {status: 503, code: "service_unavailable", retry: 1},
	hook.CodeShuttingDown:      {status: 503, code: "service_unavailable", retry: 2},
	hook.CodeInternal:          {status: 500, code: "server_error"},
	hook.CodeLoopDetected:      {status: 508, code: "loop_detected"},
}

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
		out := wrongPart("body", e.Field, e.Message)
		if e.Code == hook.CodeInvalidJSON {
			out.details[0].Type = "value_error.jsondecode"
		}
		return out
	}
	if f.retry = max(f.retry, adapter.Seconds(e.RetryAfter)); f.text == "" {
		f.text = e.Message
	}
	if e.Code == hook.CodeInternal {
		f.text = "Something went wrong on our side."
	}
	if e.Code == hook.CodeUnauthorized {
		f.text = "Invalid token"
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
	adapter.LogRefused(a.o.Log, w, r, f.status, f.retry > 0, err)
	if f.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.retry))
	}
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if f.details != nil {
		_ = adapter.Answer(w, f.status, map[string]any{"detail": f.details}) // plain strings: cannot fail
		return
	}
	_ = adapter.Answer(w, f.status, map[string]string{"code": f.code, "detail": f.text})
}
