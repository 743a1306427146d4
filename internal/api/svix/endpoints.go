package svix

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// endpoint is an endpoint in Svix's format. Some members have an older twin.
type endpoint struct {
	ID           string             `json:"id"`
	UID          *string            `json:"uid"`
	URL          string             `json:"url"`
	Description  string             `json:"description"`
	Disabled     bool               `json:"disabled"`
	EventTypes   *[]string          `json:"eventTypes"`
	FilterTypes  *[]string          `json:"filterTypes"`
	Channels     *[]string          `json:"channels"`
	ThrottleRate *int               `json:"throttleRate"`
	RateLimit    *int               `json:"rateLimit"`
	Version      int                `json:"version"` // always 1
	CreatedAt    client.Time        `json:"createdAt"`
	UpdatedAt    client.Time        `json:"updatedAt"`
	Metadata     *map[string]string `json:"metadata,omitzero"`
}

func wireEndpoint(e *hook.Endpoint) endpoint {
	metadata := app.Notes(e.Metadata)
	out := endpoint{ID: endpointPrefix + e.ID.Short(), URL: hook.MaskURL(e.URL), Description: e.Description, Disabled: e.Status != hook.Enabled, Version: 1,
		CreatedAt: client.Time{Time: e.CreatedAt}, UpdatedAt: client.Time{Time: e.UpdatedAt}, Metadata: &metadata}
	if e.UID != "" {
		out.UID = &e.UID
	}
	if !slices.Contains(e.Types, "*") {
		types := append([]string{}, e.Types...)
		out.EventTypes, out.FilterTypes = &types, &types
	}
	out.Channels = wireChannels(e.Channels)
	out.ThrottleRate = throttle(e.RateLimit)
	out.RateLimit = out.ThrottleRate
	return out
}

// throttle returns a rate limit as Svix writes it: a whole number, or null.
func throttle(rate float64) *int {
	if rate <= 0 {
		return nil
	}
	whole := min(int(math.Ceil(rate)), math.MaxUint16)
	return &whole
}

// wireChannels returns null if there are no channels.
func wireChannels(channels hook.Channels) *[]string {
	if len(channels) == 0 {
		return nil
	}
	list := []string(channels)
	return &list
}

// readThrottle reads a rate limit. Nil: none.
func readThrottle(o *object) *int {
	rate := take[int](o, "a whole number", "throttleRate", "rateLimit")
	if rate != nil && (*rate < 1 || *rate > 10_000) {
		o.blame("throttleRate", "throttleRate must be 1 to 10000")
	}
	return rate
}

// endpoint finds the endpoint that the path, or a parameter, names by its id or its uid.
func (a *api) endpoint(q *call, name string) (*hook.Endpoint, error) {
	if id, ok := parseID(endpointPrefix, name); ok {
		e, err := a.o.Service.EndpointNamed(q.r.Context(), q.c, q.app, id)
		if err == nil && (e.Listener() || e.Operational) {
			return nil, hook.NotFound("endpoint")
		}
		if err == nil || hook.CodeOf(err) != hook.CodeNotFound {
			return e, err
		}
	}
	all, err := a.o.Service.TenantEndpoints(q.r.Context(), q.c, q.app)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if e.UID == name && name != "" {
			return e, nil
		}
	}
	return nil, hook.NotFound("endpoint")
}

// endpointIn are the members of an endpoint as they were sent. nil: not sent, or null.
type endpointIn struct {
	url, description, uid, secret *string
	disabled                      *bool
	types, channels               []string
	rate                          *int
	metadata                      string
	headers                       []app.HeaderChange
}

// readEndpoint reads the members of an endpoint.
func (a *api) readEndpoint(q *call, o *object) (in endpointIn, err error) {
	in.url = take[string](o, "a string", "url")
	in.description = take[string](o, "a string", "description")
	in.uid = take[string](o, "a string", "uid")
	if in.uid != nil && !validUID(*in.uid, endpointPrefix) && !isID(*in.uid, endpointPrefix) {
		o.blame("uid", "uid must be 1 to 256 letters, digits, hyphens, underscores and dots, must not begin with ep_, and is neither . nor ..")
	}
	in.secret = take[string](o, "a string", "secret")
	in.disabled = take[bool](o, "true or false", "disabled")
	in.metadata = readMetadata(o)
	if list := take[map[string]string](o, "an object of strings", "headers"); list != nil {
		for name, value := range *list {
			in.headers = append(in.headers, app.HeaderChange{Name: name, Value: &value})
		}
		slices.SortFunc(in.headers, func(a, b app.HeaderChange) int { return strings.Compare(a.Name, b.Name) })
	}
	in.channels = readChannels(o)
	in.rate = readThrottle(o)
	in.types = []string{"*"}
	if list := take[[]string](o, "an array of strings", "eventTypes", "filterTypes"); list != nil {
		if in.types = *list; len(in.types) == 0 {
			o.blame("filterTypes", "filterTypes must have at least 1 entry. Send null for every event type.")
		}
	}
	if err := o.err(); err != nil {
		return in, err
	}
	return in, a.checkTypes(q, in.types)
}

// readChannels reads the channels of a message or an endpoint. The application checks them.
func readChannels(o *object) []string {
	if list := take[[]string](o, "an array of strings", "channels"); list != nil {
		return *list
	}
	return nil
}

// checkTypes refuses event types that are not in the catalogue, or archived. An empty
// catalogue knows every type.
func (a *api) checkTypes(q *call, types []string) error {
	if len(types) > 250 { // also checked by the application, but not before the reads
		return invalid("filterTypes", "filterTypes must have at most 250 entries")
	}
	empty := false
	for i, name := range types {
		if strings.HasSuffix(name, "*") || empty { // as Posthorn's own API wrote it
			continue
		}
		e, err := a.o.Service.EventType(q.r.Context(), q.c, name)
		if err == nil && !e.Hidden {
			continue
		}
		if err != nil && hook.CodeOf(err) != hook.CodeNotFound {
			return err
		}
		any, _, err := a.o.Service.EventTypes(q.r.Context(), q.c, hook.TypeQuery{Page: hook.Page{Limit: 1}})
		if err != nil {
			return err
		}
		if empty = len(any) == 0; !empty {
			return invalid(fmt.Sprintf("filterTypes/%d", i), fmt.Sprintf("The event type %q is not in the catalogue, or it is archived. Create it first.", name))
		}
	}
	return nil
}

// secretText adds the prefix that Svix lets callers leave out.
func secretText(text string) string {
	if _, err := base64.StdEncoding.DecodeString(text); err == nil && text != "" {
		return "whsec_" + text
	}
	return text
}

func (a *api) createEndpoint(q *call) error {
	o, err := q.object(maxBody)
	if err != nil {
		return err
	}
	in, err := a.readEndpoint(q, o)
	if err != nil {
		return err
	}
	return a.makeEndpoint(q, in)
}

func (a *api) makeEndpoint(q *call, in endpointIn) error {
	if in.url == nil {
		return invalid("url", "url is required")
	}
	n := app.NewEndpoint{Tenant: q.app, URL: *in.url, Types: in.types, Channels: in.channels, Profile: a.o.Service.SvixProfile(), Metadata: in.metadata, Disabled: in.disabled != nil && *in.disabled}
	if in.description != nil {
		n.Description = *in.description
	}
	if in.uid != nil {
		n.UID = *in.uid
	}
	if in.secret != nil {
		n.Secret = secretText(*in.secret)
	}
	if in.rate != nil {
		n.RateLimit = float64(*in.rate)
	}
	for _, h := range in.headers {
		n.Headers = append(n.Headers, hook.Header{Name: h.Name, Value: *h.Value})
	}
	once, err := q.once(func(result any) (int, []byte) {
		e, ok := result.(app.Endpoint)
		if !ok || e.Endpoint == nil {
			return 0, nil
		}
		return http.StatusCreated, encode(wireEndpoint(e.Endpoint))
	})
	if err != nil {
		return err
	}
	made, replay, err := a.o.Service.CreateEndpoint(q.r.Context(), q.c, n, once)
	if err != nil {
		return err
	}
	if replay != nil {
		return q.repeated(replay)
	}
	return q.answer(http.StatusCreated, wireEndpoint(made.Endpoint))
}

func (a *api) getEndpoint(q *call) error {
	e, err := a.endpoint(q, q.parts["endpoint"])
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, wireEndpoint(e))
}

func (a *api) listEndpoints(q *call) error {
	w, err := q.values.window(false)
	if err != nil {
		return err
	}
	from := ""
	if w.from != "" {
		id, ok := parseID(endpointPrefix, w.from)
		if !ok {
			return badIterator()
		}
		from = id.Short()
	}
	all, err := a.o.Service.TenantEndpoints(q.r.Context(), q.c, q.app)
	if err != nil {
		return err
	}
	list, done := cut(all, w, from, func(e *hook.Endpoint) string { return e.ID.Short() })
	data := make([]endpoint, len(list))
	for i, e := range list {
		data[i] = wireEndpoint(e)
	}
	return q.answer(http.StatusOK, pageOf(data, done, func(v endpoint) string { return v.ID }))
}

// putEndpoint replaces everything but the secret and the headers.
func (a *api) putEndpoint(q *call) error {
	o, err := q.object(maxBody)
	if err != nil {
		return err
	}
	in, err := a.readEndpoint(q, o)
	if err != nil {
		return err
	}
	e, err := a.endpoint(q, q.parts["endpoint"])
	if hook.CodeOf(err) == hook.CodeNotFound {
		in.headers, in.secret = nil, nil
		return a.makeEndpoint(q, in)
	}
	if err != nil {
		return err
	}
	if in.url == nil {
		return invalid("url", "url is required")
	}
	enabled, none, rate := in.disabled == nil || !*in.disabled, "", 0.0
	change := app.EndpointChange{URL: in.url, Types: &in.types, Channels: &in.channels, Enabled: &enabled, Description: in.description, UID: in.uid, Metadata: app.ReplaceMetadata(in.metadata), RateLimit: &rate}
	if change.Description == nil {
		change.Description = &none
	}
	if change.UID == nil {
		change.UID = &none
	}
	if in.rate != nil {
		rate = float64(*in.rate)
	}
	return a.changeEndpoint(q, e, change)
}

func (a *api) patchEndpoint(q *call) error {
	o, err := q.object(maxBody)
	if err != nil {
		return err
	}
	e, err := a.endpoint(q, q.parts["endpoint"])
	if err != nil {
		return err
	}
	in, err := a.readEndpoint(q, o)
	if err != nil {
		return err
	}
	for _, name := range []string{"url", "description", "disabled"} {
		if o.null(name) {
			return invalid(name, name+" must not be null")
		}
	}
	change := app.EndpointChange{URL: in.url, Description: in.description}
	if o.has("eventTypes", "filterTypes") {
		change.Types = &in.types
	}
	if o.has("channels") {
		change.Channels = &in.channels
	}
	if in.disabled != nil {
		enabled := !*in.disabled
		change.Enabled = &enabled
	}
	if o.has("uid") {
		if change.UID = in.uid; in.uid == nil {
			change.UID = new(string)
		}
	}
	if o.has("metadata") {
		change.Metadata = app.ReplaceMetadata(in.metadata)
	}
	if o.has("throttleRate", "rateLimit") {
		change.RateLimit = new(float64)
		if in.rate != nil {
			*change.RateLimit = float64(*in.rate)
		}
	}
	return a.changeEndpoint(q, e, change)
}

func (a *api) changeEndpoint(q *call, e *hook.Endpoint, change app.EndpointChange) error {
	changed, err := a.o.Service.UpdateEndpoint(q.r.Context(), q.c, e.ID, change)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, wireEndpoint(changed.Endpoint))
}

func (a *api) deleteEndpoint(q *call) error {
	e, err := a.endpoint(q, q.parts["endpoint"])
	if err != nil {
		return err
	}
	if err := a.o.Service.DeleteEndpoint(q.r.Context(), q.c, e.ID); err != nil {
		return err
	}
	return q.done()
}

// getHeaders names the headers. Their values are secrets, which Posthorn does not show.
func (a *api) getHeaders(q *call) error {
	e, err := a.endpoint(q, q.parts["endpoint"])
	if err != nil {
		return err
	}
	sensitive := []string{}
	for _, h := range e.Headers {
		sensitive = append(sensitive, h.Name)
	}
	return q.answer(http.StatusOK, map[string]any{"headers": map[string]string{}, "sensitive": sensitive})
}

func (a *api) putHeaders(q *call) error { return a.changeHeaders(q, true) }

func (a *api) patchHeaders(q *call) error { return a.changeHeaders(q, false) }

func (a *api) changeHeaders(q *call, replace bool) error {
	o, err := q.object(maxBody)
	if err != nil {
		return err
	}
	values := take[map[string]*string](o, "an object of strings", "headers")
	deleted := take[[]string](o, "an array of strings", "deleteHeaders")
	if values == nil && (replace || deleted == nil) {
		o.blame("headers", "headers is required")
	}
	if err := o.err(); err != nil {
		return err
	}
	change := app.EndpointChange{ResetHeads: replace}
	if values != nil {
		for name, value := range *values {
			if value == nil && replace {
				return invalid("headers/"+name, "The value of a header must be a string")
			}
			change.Headers = append(change.Headers, app.HeaderChange{Name: name, Value: value})
		}
	}
	if deleted != nil && !replace {
		for _, name := range *deleted {
			change.Headers = append(change.Headers, app.HeaderChange{Name: name})
		}
	}
	slices.SortStableFunc(change.Headers, func(a, b app.HeaderChange) int { return strings.Compare(a.Name, b.Name) })
	e, err := a.endpoint(q, q.parts["endpoint"])
	if err != nil {
		return err
	}
	if _, err := a.o.Service.UpdateEndpoint(q.r.Context(), q.c, e.ID, change); err != nil {
		return err
	}
	return q.done()
}

func (a *api) getSecret(q *call) error {
	e, err := a.endpoint(q, q.parts["endpoint"])
	if err != nil {
		return err
	}
	secret, err := a.o.Service.RevealSecret(q.r.Context(), q.c, e.ID)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, map[string]string{"key": secret.Text})
}

func (a *api) rotateSecret(q *call) error {
	o, err := q.object(maxBody)
	if err != nil {
		return err
	}
	key := take[string](o, "a string", "key")
	grace := take[int](o, "a whole number", "gracePeriodSeconds")
	overlap := 24 * time.Hour
	if grace != nil {
		if *grace < 0 || *grace > int(app.MaxOverlap/time.Second) {
			o.blame("gracePeriodSeconds", "gracePeriodSeconds must be 0 to 604800")
		}
		overlap = time.Duration(*grace) * time.Second
	}
	if err := o.err(); err != nil {
		return err
	}
	text := ""
	if key != nil {
		if text = secretText(*key); text == "" {
			return invalid("key", "key must not be empty. Send null for a new one.")
		}
	}
	e, err := a.endpoint(q, q.parts["endpoint"])
	if err != nil {
		return err
	}
	once, err := q.once(func(any) (int, []byte) { return http.StatusNoContent, []byte{} })
	if err != nil {
		return err
	}
	_, replay, err := a.o.Service.RotateSecret(q.r.Context(), q.c, e.ID, text, overlap, once)
	if err != nil {
		return renamed(err, "secret", "key")
	}
	if replay != nil {
		return q.repeated(replay)
	}
	return q.done()
}

// renamed changes the member that an error is about, if it is from or none.
func renamed(err error, from, to string) error {
	e, ok := errors.AsType[*hook.Error](err)
	if !ok || e.Field != from && e.Field != "" {
		return err
	}
	out := *e
	out.Field = to
	return &out
}

// The longest times that statistics and a recovery may cover, with the slack that Svix gives.
const statsWindow, recoverWindow, slack = 28 * 24 * time.Hour, 14 * 24 * time.Hour, 5 * time.Minute

// stats counts the attempts. The bounds are rounded to whole steps of the statistics.
func (a *api) stats(q *call) error {
	e, err := a.endpoint(q, q.parts["endpoint"])
	if err != nil {
		return err
	}
	since, err := q.values.at("since")
	if err != nil {
		return err
	}
	until, err := q.values.at("until")
	if err != nil {
		return err
	}
	now := time.Now()
	bad := func(text string) error {
		return &failure{status: http.StatusBadRequest, code: "invalid_range", text: text}
	}
	if until.IsZero() {
		until = now
	}
	if until.After(now.Add(slack)) {
		return bad("until must not be in the future")
	}
	if since.IsZero() {
		since = until.Add(-statsWindow)
	}
	if until.Sub(since) > statsWindow+slack || !since.Before(until) {
		return bad("since must be before until, by at most 28 days")
	}
	found, err := a.statsOf(q.r.Context(), q.c, e.ID, app.Span{From: since, To: until})
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, found)
}

func (a *api) statsOf(ctx context.Context, c app.Caller, id hook.ID, span app.Span) (map[string]int64, error) {
	found, err := a.o.Service.EndpointStats(ctx, c, id, span)
	if err != nil {
		return nil, err
	}
	var attempts, failed int64
	for i := range found.Buckets.Buckets {
		attempts += found.Buckets.Buckets[i].Attempts
		for _, e := range found.Buckets.Buckets[i].Errors {
			failed += e.N
		}
	}
	return map[string]int64{"success": attempts - failed, "fail": failed, "pending": int64(found.Pending + found.Held), "sending": 0, "canceled": 0}, nil
}

// transformation says that there is none.
func (a *api) transformation(q *call) error {
	if _, err := a.endpoint(q, q.parts["endpoint"]); err != nil {
		return err
	}
	return q.answer(http.StatusOK, map[string]any{"code": nil, "enabled": false, "variables": nil, "updatedAt": nil})
}
