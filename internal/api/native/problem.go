package native

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/hook"
)

// kind is the HTTP form of a code. retry is the Retry-After in seconds.
type kind struct {
	status int
	title  string
	retry  int
}

// kinds is the only table from codes to statuses.
var kinds = map[hook.Code]kind{
	hook.CodeInvalidJSON:       {status: 400, title: "Not strict JSON"},
	hook.CodeInvalidRequest:    {status: 422, title: "Invalid request"},
	hook.CodeUnknownField:      {status: 422, title: "Unknown field"},
	hook.CodeUnauthorized:      {status: 401, title: "Unauthorized"},
	hook.CodeKeyExpired:        {status: 401, title: "Key expired"},
	hook.CodeForbidden:         {status: 403, title: "Forbidden"},
	hook.CodeKeyReadOnly:       {status: 403, title: "Key may only read"},
	hook.CodeTypeReserved:      {status: 422, title: "Event type is reserved"},
	hook.CodeTypeNotAllowed:    {status: 403, title: "Event type not allowed"},
	hook.CodeAddressNotAllowed: {status: 403, title: "Address not allowed"},
	hook.CodeRevealDisabled:    {status: 403, title: "Secrets are not shown again"},
	hook.CodeNotFound:          {status: 404, title: "Not found"},
	hook.CodeRouteNotFound:     {status: 404, title: "No such route"},
	hook.CodeTenantNotFound:    {status: 404, title: "Tenant not found"},
	hook.CodeConflict:          {status: 409, title: "Conflict"},
	hook.CodeTenantExists:      {status: 409, title: "Tenant exists"},
	hook.CodeEventConflict:     {status: 409, title: "Event id is taken"},
	hook.CodeEndpointLimit:     {status: 409, title: "Endpoint limit reached"},
	hook.CodeTypeUnknown:       {status: 422, title: "Event type unknown"},
	hook.CodeEndpointDisabled:  {status: 409, title: "Endpoint is disabled"},
	hook.CodeUnverified:        {status: 409, title: "Endpoint is not verified"},
	hook.CodeEndpointDamaged:   {status: 409, title: "Endpoint is damaged"},
	hook.CodeWrongNode:         {status: 421, title: "Wrong node"},
	hook.CodeSecretLimit:       {status: 409, title: "Too many secrets"},
	hook.CodeSecretChanged:     {status: 409, title: "Secret is not in force"},
	hook.CodeReplayEnded:       {status: 409, title: "Replay has ended"},
	hook.CodeKeyRotating:       {status: 409, title: "Master key rotation in progress"},
	hook.CodeKeyMissing:        {status: 409, title: "Master key is not on all nodes"},
	hook.CodeKeyNotNewer:       {status: 409, title: "No newer master key"},
	hook.CodeKeyNeeded:         {status: 409, title: "Master key is needed"},
	hook.CodeKeySource:         {status: 409, title: "Master keys cannot be read or changed"},
	hook.CodeReplayLimit:       {status: 409, title: "Too many replays"},
	hook.CodeErasureLimit:      {status: 409, title: "Too many erasures"},
	hook.CodePortalLimit:       {status: 409, title: "Too many portal sessions"},
	hook.CodeNoMatch:           {status: 422, title: "No endpoint matches"},
	hook.CodeDeliverySettled:   {status: 409, title: "Delivery is settled"},
	hook.CodeIdempotencyReused: {status: 422, title: "Idempotency key reused"},
	hook.CodeTooLarge:          {status: 413, title: "Payload too large"},
	hook.CodeDataInvalid:       {status: 422, title: "Event data not as its schema asks"},
	hook.CodeTooManyDeliveries: {status: 422, title: "Too many deliveries"},
	hook.CodeContentType:       {status: 415, title: "Content type not supported"},
	hook.CodeContentEncoding:   {status: 415, title: "Content encoding not supported"},
	hook.CodeMethodNotAllowed:  {status: 405, title: "Method not allowed"},
	hook.CodePrecondition:      {status: 412, title: "Precondition failed"},
	hook.CodeRateLimited:       {status: 429, title: "Rate limited", retry: 1},
	hook.CodeBacklogFull:       {status: 429, title: "Backlog full", retry: 30},
	hook.CodeStorageFull:       {status: 503, title: "Storage full", retry: 10},
	hook.CodeStorageDown:       {status: 503, title: "Storage unavailable", retry: 5},
	hook.CodeServerBusy:        {status: 503, title: "Server busy", retry: 1},
	hook.CodeShuttingDown:      {status: 503, title: "Shutting down", retry: 2},
	hook.CodeInternal:          {status: 500, title: "Internal error"},
	hook.CodeLoopDetected:      {status: 508, title: "Loop detected"},

	hook.CodeURLInvalid:     {status: 422, title: "Endpoint URL invalid"},
	hook.CodeURLScheme:      {status: 422, title: "Endpoint URL scheme not allowed"},
	hook.CodeURLCredentials: {status: 422, title: "Endpoint URL credentials not allowed"},
	hook.CodeURLHost:        {status: 422, title: "Endpoint URL host invalid"},
	hook.CodeURLNotPublic:   {status: 422, title: "Endpoint URL host not public"},
	hook.CodeURLAddress:     {status: 422, title: "Endpoint URL address not allowed"},
	hook.CodeURLPort:        {status: 422, title: "Endpoint URL port not allowed"},
	hook.CodeHeaderRefused:  {status: 422, title: "Endpoint header not allowed"},
	hook.CodeHeaderInvalid:  {status: 422, title: "Endpoint header invalid"},
	hook.CodeSecretInvalid:  {status: 422, title: "Secret invalid"},
}

// problemType is the prefix of the URI of a code. It does not depend on where Posthorn
// is hosted.
const problemType = "urn:posthorn:problem:"

const problemContent = "application/problem+json"

// problemOf converts any error to the document that the caller sees. An error that is
// not meant for callers is logged and becomes internal_error.
func problemOf(ctx context.Context, log *slog.Logger, requestID string, err error) *client.Problem {
	e, ok := errors.AsType[*hook.Error](err)
	if !ok {
		e = &hook.Error{Code: hook.CodeInternal}
	}
	k, ok := kinds[e.Code]
	if !ok {
		e = &hook.Error{Code: hook.CodeInternal}
		k = kinds[hook.CodeInternal]
	}
	p := &client.Problem{Type: problemType + string(e.Code), Title: k.title, Status: k.status,
		Detail: e.Message, Code: string(e.Code), Field: e.Field, RequestID: requestID,
		RetryAfter: max(e.RetryAfter, time.Duration(k.retry)*time.Second)}
	if e.Code == hook.CodeInternal {
		p.Detail = "Something went wrong on our side. The request id helps to find it in the server's log."
	}
	if k.status >= 500 && e.Code != hook.CodeLoopDetected && ctx.Err() == nil { // a loop is caused by the endpoint
		level := slog.LevelError
		if k.retry > 0 {
			level = slog.LevelWarn // temporary; the store logs it once at a higher level
		}
		log.Log(ctx, level, "request failed", "request_id", requestID, "code", p.Code, "error", err)
	}
	return p
}

// noteRefused logs a request that was refused because of its caller. The line contains
// nothing that the caller sent except the request id, by which it can be found.
func noteRefused(ctx context.Context, log *slog.Logger, p *client.Problem) {
	if p.Status < http.StatusInternalServerError {
		log.InfoContext(ctx, "request refused", "request_id", p.RequestID, "status", p.Status, "code", p.Code)
	}
}

// headProblem sets the headers that belong to a problem.
func headProblem(h http.Header, p *client.Problem) {
	k := kinds[hook.Code(p.Code)]
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.RetryAfter+time.Second-1)/time.Second)))
	}
	if k.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
}

// refuse responds with the problem of an error.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if kinds[hook.CodeOf(err)].status == http.StatusUnauthorized {
		err = adapter.WrongKey(r, a.o.Service, a.o.Log, err)
	}
	p := problemOf(r.Context(), a.o.Log, w.Header().Get(requestIDHeader), err)
	if !hook.Logged(err) {
		noteRefused(r.Context(), a.o.Log, p)
	}
	adapter.Refused(a.o.Refused, p.Status, err)
	headProblem(w.Header(), p)
	w.Header().Set("Content-Type", problemContent)
	body, _ := encode(p) // plain strings and numbers: cannot fail
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // an error means that the caller disconnected
}

// failure carries a problem through huma.
type failure struct {
	*client.Problem
	header http.Header
}

// GetStatus returns the status to huma.
func (f *failure) GetStatus() int { return f.Status }

// GetHeaders returns further headers to huma.
func (f *failure) GetHeaders() http.Header { return f.header }

// ContentType returns the media type to huma.
func (f *failure) ContentType(string) string { return problemContent }

// fail wraps an error for huma.
func (a *api) fail(ctx context.Context, requestID string, err error) error {
	f := &failure{Problem: problemOf(ctx, a.o.Log, requestID, err), header: http.Header{}}
	noteRefused(ctx, a.o.Log, f.Problem)
	adapter.Refused(a.o.Refused, f.Status, err)
	headProblem(f.header, f.Problem)
	return f
}

// translate is the huma transformer that converts huma's own errors, those about
// parameters and empty bodies, to a problem.
func (a *api) translate(ctx huma.Context, _ string, v any) (any, error) {
	switch e := v.(type) {
	case *failure:
		return e.Problem, nil
	case *huma.ErrorModel:
		_, w := humago.Unwrap(ctx)
		own := ownError(e)
		if q := of(ctx.Context()); q != nil {
			adapter.AuditRefused(q.Request, a.o.Service, q.caller, own)
		}
		p := problemOf(ctx.Context(), a.o.Log, w.Header().Get(requestIDHeader), own)
		noteRefused(ctx.Context(), a.o.Log, p)
		return p, nil
	}
	return v, nil
}

func ownError(e *huma.ErrorModel) error {
	switch {
	case e.Status == http.StatusBadRequest:
		return &hook.Error{Code: hook.CodeInvalidJSON, Message: "The request body is empty: a JSON object is expected."}
	case e.Status != http.StatusUnprocessableEntity || len(e.Errors) == 0:
		return errors.New(e.Detail)
	}
	first := e.Errors[0]
	name := first.Location
	for _, place := range []string{"query.", "header.", "path."} {
		if len(name) > len(place) && name[:len(place)] == place {
			name = name[len(place):]
		}
	}
	name, _, _ = strings.Cut(name, "[") // an entry of a list
	if name == "after" || name == "before" {
		return &hook.Error{Code: hook.CodeInvalidRequest, Field: name, Message: strconv.Quote(name) +
			" must be RFC 3339 such as 2026-11-21T22:00:00Z, in the years 1970 to 9999 of UTC."}
	}
	return &hook.Error{Code: hook.CodeInvalidRequest, Field: name, Message: "The parameter " + strconv.Quote(name) + " is not valid: " + first.Message + "."}
}
