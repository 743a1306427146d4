package native

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

func (a *api) endpointRoutes(h huma.API) {
	register(a, h, operation("POST", "/v1/endpoints", "create-endpoint", "Create an endpoint; its secret is shown once", 201), a.createEndpoint)
	register(a, h, operation("GET", "/v1/endpoints", "list-endpoints", "List endpoints", 200), a.listEndpoints)
	register(a, h, operation("GET", "/v1/endpoints/{id}", "get-endpoint", "Get an endpoint with its health", 200), a.getEndpoint)
	register(a, h, operation("PATCH", "/v1/endpoints/{id}", "update-endpoint", "Change an endpoint (merge patch)", 200), a.updateEndpoint)
	register(a, h, operation("DELETE", "/v1/endpoints/{id}", "delete-endpoint", "Delete an endpoint; what waits is cancelled", 204), a.deleteEndpoint)
	rotate := operation("POST", "/v1/endpoints/{id}/secret/rotate", "rotate-secret", "Give an endpoint a new secret; both sign for the overlap", 200)
	test := operation("POST", "/v1/endpoints/{id}/test", "test-endpoint", "Send a test event", 202)
	verify := operation("POST", "/v1/endpoints/{id}/verify", "verify-endpoint", "Send an unverified endpoint another challenge", 202)
	rotate.RequestBody, test.RequestBody, verify.RequestBody = &huma.RequestBody{}, &huma.RequestBody{}, &huma.RequestBody{}
	register(a, h, rotate, a.rotateSecret)
	register(a, h, test, a.testEndpoint)
	register(a, h, verify, a.verifyEndpoint)
	register(a, h, operation("POST", "/v1/endpoints/{id}/secret/expire", "expire-secrets", "End all secrets of an endpoint but the newest", 204), a.expireSecrets)
	rotate.RequestBody.Required, test.RequestBody.Required, verify.RequestBody.Required = false, false, false // an empty body means the defaults
}

type newEndpointIn struct {
	OnceIn
	Body body[client.NewEndpoint]
}

func (a *api) createEndpoint(ctx context.Context, q *request, in *newEndpointIn) (*reply[client.Endpoint], error) {
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	want := in.Body.value
	if want.URL == "" {
		return nil, strict.Missing("url")
	}
	if want.EventTypes == nil {
		return nil, strict.Missing("event_types")
	}
	retry, err := readRetry(want.Retry)
	if err != nil {
		return nil, err
	}
	once, err := onceFor(q, in.Body.text, 201, wireEndpoint)
	if err != nil {
		return nil, err
	}
	created, replay, err := a.o.Service.CreateEndpoint(ctx, q.caller, app.NewEndpoint{Tenant: want.Tenant, URL: want.URL,
		Types: want.EventTypes, Channels: want.Channels, Disabled: want.Enabled != nil && !*want.Enabled, Title: want.Title,
		Description: want.Description, Profile: want.Profile, Headers: headerList(want.Headers), RateLimit: want.RateLimit,
		MaxInFlight: want.MaxInFlight, MaxFailures: want.MaxConsecutiveFailures, Retry: retry, Secret: want.Secret, Operational: want.Operational,
		UID: want.UID, Metadata: app.Metadata(want.Metadata)}, once)
	if err != nil {
		return nil, err
	}
	if replay != nil {
		return made(201, client.Endpoint{}, replay), a.replayEndpoint(ctx, q, hook.ID{}, replay)
	}
	return made(201, wireEndpoint(created), nil), nil
}

// headerList sorts headers, so that their order is the same on every call.
func headerList(headers map[string]string) []hook.Header {
	var out []hook.Header
	for name, value := range headers {
		out = append(out, hook.Header{Name: name, Value: value})
	}
	slices.SortFunc(out, func(a, b hook.Header) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// readRetry converts a retry plan. Package app checks its bounds.
func readRetry(want *client.Retry) (*hook.Retry, error) {
	if want == nil {
		return nil, nil
	}
	out := &hook.Retry{Factor: want.Factor, Jitter: want.Jitter, MaxAttempts: want.MaxAttempts}
	switch want.Then {
	case "", "fail":
	case "repeat":
		out.Repeat = true
	default:
		return nil, strict.Wrong("retry/then", "fail or repeat")
	}
	for i, text := range want.Steps {
		step, err := readDuration("retry/steps/"+strconv.Itoa(i), text)
		if err != nil {
			return nil, err
		}
		out.Steps = append(out.Steps, step)
	}
	for _, one := range []struct {
		field, text string
		to          *time.Duration
	}{{"retry/first", want.First, &out.First}, {"retry/cap", want.Cap, &out.Cap}, {"retry/max_age", want.MaxAge, &out.MaxAge}} {
		if one.text == "" {
			continue
		}
		var err error
		if *one.to, err = readDuration(one.field, one.text); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func readDuration(field, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, strict.Wrong(field, "a duration such as \"5s\" or \"1h30m\"")
	}
	return d, nil
}

type endpointsIn struct {
	PageIn
	Tenant      string `query:"tenant" doc:"Endpoints of this tenant. Absent: of all tenants that the key sees." example:"acme"`
	Enabled     string `query:"enabled" enum:"true,false" doc:"true: enabled ones only. false: disabled ones only." example:"true"`
	EventType   string `query:"event_type" doc:"Endpoints whose filter lets this type pass." example:"payment.settled"`
	UID         string `query:"uid" doc:"The endpoint with this uid, the platform's own name for it. Of each tenant one, without tenant." example:"shop-1"`
	Profile     string `query:"profile" doc:"Endpoints that are served with this wire format." example:"standard"`
	Operational string `query:"operational" enum:"true,false" doc:"true: operational endpoints only. false: the others only." example:"true"`
	Reason      string `query:"disabled_reason" enum:"by_hand,damaged,failures,gone,listener_away,unverified" doc:"Endpoints that are disabled for this reason." example:"failures"`
}

func (a *api) listEndpoints(ctx context.Context, q *request, in *endpointsIn) (*reply[client.Page[client.Endpoint]], error) {
	query := hook.EndpointQuery{Scope: hook.Scope{Tenant: in.Tenant}, EventType: in.EventType, Enabled: yesOrNo(in.Enabled),
		UID: in.UID, Profile: in.Profile, Reason: in.Reason, Operational: yesOrNo(in.Operational), Page: in.page()}
	rows, next, err := a.o.Service.Endpoints(ctx, q.caller, query)
	if err != nil {
		return nil, err
	}
	return page(q, wireAll(rows, func(e hook.Endpoint) client.Endpoint { return wireRow(&e) }), next), nil
}

type endpointIn struct {
	ItemIn
	ReadIn
}

func (a *api) getEndpoint(ctx context.Context, q *request, in *endpointIn) (*reply[client.Endpoint], error) {
	id, err := in.parsed("endpoint")
	if err != nil {
		return nil, err
	}
	e, err := a.o.Service.Endpoint(ctx, q.caller, id)
	if err != nil {
		return nil, err
	}
	return single(q, 200, wireEndpoint(e), e.Revision)
}

type endpointPatchIn struct {
	ItemIn
	ChangeIn
	Body members[client.EndpointPatch]
}

func (a *api) updateEndpoint(ctx context.Context, q *request, in *endpointPatchIn) (*reply[client.Endpoint], error) {
	id, err := in.parsed("endpoint")
	if err != nil {
		return nil, err
	}
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	change, err := readChange(in.Body.values)
	if err != nil {
		return nil, err
	}
	for _, check := range ifMatch(q, revisionTag) {
		change.Check = check
	}
	e, err := a.o.Service.UpdateEndpoint(ctx, q.caller, id, change)
	if err != nil {
		return nil, err
	}
	return single(q, 200, wireEndpoint(e), e.Revision)
}

// readChange reads the merge patch of an endpoint.
func readChange(values map[string]jsontext.Value) (app.EndpointChange, error) {
	p := &patch{values: values}
	out := app.EndpointChange{
		URL:         required[string](p, "url", "a URL"),
		Types:       required[[]string](p, "event_types", "an array"),
		Channels:    patched[[]string](p, "channels", nil),
		Enabled:     patched(p, "enabled", true),
		Title:       patched(p, "title", ""),
		Description: patched(p, "description", ""),
		Profile:     patched(p, "profile", ""),
		RateLimit:   patched(p, "rate_limit", 0.0),
		MaxInFlight: patched(p, "max_in_flight", 0),
		UID:         patched(p, "uid", ""),
		Metadata:    mergedMetadata(p),
	}
	_, reset, _ := p.peek("max_consecutive_failures")
	out.MaxFailures = patched(p, "max_consecutive_failures", 0)
	if out.MaxFailures != nil && *out.MaxFailures == 0 && !reset {
		p.blame(strict.Wrong("max_consecutive_failures", "1 to 1000"))
	}
	if backlog := required[string](p, "backlog", "drain or discard"); backlog != nil {
		out.Discard = *backlog == "discard"
		if *backlog != "drain" && !out.Discard {
			p.blame(strict.Wrong("backlog", "drain or discard"))
		}
		if out.Enabled == nil || !*out.Enabled {
			p.blame(&hook.Error{Code: hook.CodeInvalidRequest, Field: "backlog", Message: "\"backlog\" goes with \"enabled\": true only."})
		}
	}
	readHeaders(p, &out)
	if value, null, present := p.take("retry"); present {
		out.Retry = func(old *hook.Retry) (*hook.Retry, error) { return mergeRetry(old, value, null) }
		if _, err := mergeRetry(nil, value, null); err != nil {
			p.blame(err)
		}
	}
	p.readOnly("id", "tenant", "mode", "operational", "verification", "secret", "public_key", "health", "warnings", "disabled_reason", "disabled_at", "created_at", "updated_at")
	return out, p.end()
}

// mergedMetadata reads the notes of a merge patch: null removes one, or all.
func mergedMetadata(p *patch) app.MetadataChange {
	if notes := patched[map[string]*string](p, "metadata", nil); notes != nil {
		return app.MergeMetadata(*notes)
	}
	return nil
}

func readHeaders(p *patch, out *app.EndpointChange) {
	_, null, present := p.peek("headers")
	if !present {
		return
	}
	out.ResetHeads = null
	headers := patched[map[string]*string](p, "headers", nil)
	for name, value := range *headers {
		out.Headers = append(out.Headers, app.HeaderChange{Name: name, Value: value})
	}
	slices.SortFunc(out.Headers, func(a, b app.HeaderChange) int { return strings.Compare(a.Name, b.Name) })
}

// mergeRetry applies the members of a patch to the current plan: decoding keeps absent
// members as they are and clears those that are null.
func mergeRetry(old *hook.Retry, value jsontext.Value, null bool) (*hook.Retry, error) {
	if null {
		return nil, nil
	}
	plan := &client.Retry{}
	if old != nil {
		plan = wireRetry(old)
	}
	p := &patch{}
	p.decode("retry", value, plan)
	if p.err != nil {
		return nil, p.err
	}
	return readRetry(plan)
}

type endpointDeleteIn struct {
	ItemIn
	ChangeIn
}

func (a *api) deleteEndpoint(ctx context.Context, q *request, in *endpointDeleteIn) (*none, error) {
	id, err := in.parsed("endpoint")
	if err != nil {
		return nil, err
	}
	return nil, a.o.Service.DeleteEndpoint(ctx, q.caller, id, ifMatch(q, revisionTag)...)
}

type rotateIn struct {
	ItemIn
	OnceIn
	Body body[client.RotateSecret]
}

// defaultOverlap is how long the old secret keeps signing if the request does not
// specify it.
const defaultOverlap = 24 * time.Hour

func (a *api) rotateSecret(ctx context.Context, q *request, in *rotateIn) (*reply[client.RotatedSecret], error) {
	id, err := in.parsed("endpoint")
	if err != nil {
		return nil, err
	}
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	overlap := defaultOverlap
	if text := in.Body.value.Overlap; text != "" {
		if overlap, err = readDuration("overlap", text); err != nil {
			return nil, err
		}
	}
	once, err := onceFor(q, in.Body.text, 200, wireRotated)
	if err != nil {
		return nil, err
	}
	out, replay, err := a.o.Service.RotateSecret(ctx, q.caller, id, in.Body.value.Secret, overlap, once)
	if err != nil {
		return nil, err
	}
	return made(200, wireRotated(out), replay), a.replayEndpoint(ctx, q, id, replay)
}

func (a *api) expireSecrets(ctx context.Context, q *request, in *ItemIn) (*none, error) {
	id, err := in.parsed("endpoint")
	if err != nil {
		return nil, err
	}
	return nil, a.o.Service.ExpireSecrets(ctx, q.caller, id)
}

type testIn struct {
	ItemIn
	OnceIn
	Body body[client.TestRequest]
}

func (a *api) testEndpoint(ctx context.Context, q *request, in *testIn) (*reply[client.TestEvent], error) {
	id, err := in.parsed("endpoint")
	if err != nil {
		return nil, err
	}
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	data := in.Body.value.Data
	if jsontext.Value(data).Kind() == 'n' {
		data = nil
	}
	if data != nil && jsontext.Value(data).Kind() != '{' {
		return nil, strict.Wrong("data", "an object")
	}
	once, err := onceFor(q, in.Body.text, 202, wireTest)
	if err != nil {
		return nil, err
	}
	out, replay, err := a.o.Service.TestEndpoint(ctx, q.caller, id, in.Body.value.Type, json.RawMessage(data), once)
	if err != nil {
		return nil, err
	}
	return made(202, wireTest(out), replay), nil
}

type verifyIn struct {
	ItemIn
	OnceIn
	Body body[client.VerifyRequest]
}

func (a *api) verifyEndpoint(ctx context.Context, q *request, in *verifyIn) (*reply[client.Endpoint], error) {
	id, err := in.parsed("endpoint")
	if err != nil {
		return nil, err
	}
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	once, err := onceFor(q, in.Body.text, 202, wireEndpoint)
	if err != nil {
		return nil, err
	}
	out, replay, err := a.o.Service.VerifyEndpoint(ctx, q.caller, id, in.Body.value.Trust, once)
	if err != nil {
		return nil, err
	}
	return made(202, wireEndpoint(out), replay), nil
}
