package paywise

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/hook"
)

// failure is an error in the framework's format: one sentence, or sentences by member.
type failure struct {
	status int
	detail string
	fields map[string][]string // replaces detail
	retry  int                 // Retry-After in seconds, 0: none
	bearer bool                // set WWW-Authenticate
}

// Error returns the sentence.
func (f *failure) Error() string { return f.detail }

// invalid returns the error for one member or query parameter.
func invalid(field, sentence string) *failure {
	return &failure{status: http.StatusBadRequest, fields: map[string][]string{field: {sentence}}}
}

// kinds maps Posthorn's codes to failures. A code that is missing is an error of the
// caller.
var kinds = map[hook.Code]failure{
	hook.CodeUnauthorized:      {status: 401, bearer: true},
	hook.CodeKeyExpired:        {status: 401, bearer: true},
	hook.CodeForbidden:         {status: 403},
	hook.CodeKeyReadOnly:       {status: 403},
	hook.CodeAddressNotAllowed: {status: 403},
	hook.CodeNotFound:          {status: 404},
	hook.CodeTenantNotFound:    {status: 404},
	hook.CodeConflict:          {status: 409},
	hook.CodeEndpointDamaged:   {status: 409},
	hook.CodeUnverified:        {status: 409},
	hook.CodeTooLarge:          {status: 413},
	hook.CodeContentType:       {status: 415},
	hook.CodeContentEncoding:   {status: 415},
	hook.CodeRateLimited:       {status: 429, retry: 1},
	hook.CodeStorageFull:       {status: 503, retry: 10},
	hook.CodeStorageDown:       {status: 503, retry: 5},
	hook.CodeServerBusy:        {status: 503, retry: 1},
	hook.CodeShuttingDown:      {status: 503, retry: 2},
	hook.CodeInternal:          {status: 500},
	hook.CodeLoopDetected:      {status: 508},
}

// names maps members of Posthorn that have another name in this API.
var names = map[string]string{"event_types": "events"}

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
		f = failure{status: http.StatusBadRequest}
	}
	f.detail = e.Message
	f.retry = max(f.retry, adapter.Seconds(e.RetryAfter))
	if e.Message == hook.NotFound("endpoint").Message { // the store uses this message; a text that is not an id gets the same response
		f.detail = hook.NotFound("webhook").Message
	}
	if e.Code == hook.CodeInternal {
		f.detail = "Something went wrong on our side."
	}
	if field := fieldOf(e.Field); field != "" && f.status == http.StatusBadRequest {
		f.fields = map[string][]string{field: {e.Message}}
	}
	return &f
}

// fieldOf returns this API's name of the member in Posthorn's pointer.
func fieldOf(pointer string) string {
	field, _, _ := strings.Cut(pointer, "/")
	if ours, renamed := names[field]; renamed {
		return ours
	}
	return field
}

// invalidAll combines all errors of a body into one response.
func invalidAll(wrong []*hook.Error) *failure {
	f := &failure{status: http.StatusBadRequest, fields: map[string][]string{}}
	for _, e := range wrong {
		field := fieldOf(e.Field)
		f.fields[field] = append(f.fields[field], "This member "+e.Message)
	}
	return f
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
	if f.bearer {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	var body any = map[string]string{"detail": f.detail}
	if f.fields != nil {
		body = f.fields
	}
	_ = adapter.Answer(w, f.status, body) // plain strings: cannot fail
}
