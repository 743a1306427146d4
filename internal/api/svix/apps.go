package svix

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	gojson "github.com/go-json-experiment/json"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// application is a tenant in Svix's format.
type application struct {
	ID           string            `json:"id"`
	UID          *string           `json:"uid"`
	Name         string            `json:"name"`
	ThrottleRate *int              `json:"throttleRate"` // of its endpoints that have none
	RateLimit    *int              `json:"rateLimit"`
	CreatedAt    client.Time       `json:"createdAt"`
	UpdatedAt    client.Time       `json:"updatedAt"`
	Metadata     map[string]string `json:"metadata"`
}

// wireApp renders a tenant. Its id is the caller's uid, or else was made by newAppID; a
// tenant never gets another one.
func wireApp(t hook.Tenant) application {
	out := application{ID: t.ID, Name: t.Name, CreatedAt: client.Time{Time: t.CreatedAt}, UpdatedAt: client.Time{Time: t.CreatedAt}, Metadata: app.Notes(t.Metadata)}
	if !strings.HasPrefix(t.ID, appPrefix) {
		out.UID = &out.ID
	}
	out.ThrottleRate = throttle(t.RateLimit)
	out.RateLimit = out.ThrottleRate
	return out
}

// newAppID returns an id for an application without a uid.
func newAppID() string {
	var random [idSize]byte
	_, _ = rand.Read(random[:]) // never fails
	return appPrefix + hook.Short(random[:])
}

// readApp reads a tenant. needs says which members must be there.
func readApp(o *object) (t hook.Tenant, err error) {
	name := take[string](o, "a string", "name")
	if name == nil || *name == "" {
		o.blame("name", "name must be a text of at least 1 character")
	} else {
		t.Name = *name
	}
	t.ID = readAppUID(o)
	t.Metadata = readMetadata(o)
	if rate := readThrottle(o); rate != nil {
		t.RateLimit = float64(*rate)
	}
	return t, o.err()
}

func readAppUID(o *object) string {
	uid := take[string](o, "a string", "uid")
	switch {
	case uid == nil:
		return ""
	case !validUID(*uid, appPrefix) && !isID(*uid, appPrefix):
		o.blame("uid", "uid must be 1 to 256 letters, digits, hyphens, underscores and dots, must not begin with app_, and is neither . nor ..")
	}
	return *uid
}

func readMetadata(o *object) string {
	values := take[map[string]string](o, "an object of strings", "metadata")
	if values == nil {
		return ""
	}
	return app.Metadata(*values)
}

func appAnswer(status int) func(result any) (int, []byte) {
	return func(result any) (int, []byte) {
		t, ok := result.(hook.Tenant)
		if !ok {
			return 0, nil
		}
		return status, encode(wireApp(t))
	}
}

// encode renders an answer that is kept. A value that cannot be rendered is not kept.
func encode(v any) []byte {
	text, err := gojson.Marshal(v, gojson.Deterministic(true))
	if err != nil {
		return nil
	}
	return text
}

func (a *api) createApp(q *call) error {
	o, err := q.object(maxBody)
	if err != nil {
		return err
	}
	t, err := readApp(o)
	if err != nil {
		return err
	}
	reuse, err := q.values.flag("get_if_exists", false)
	if err != nil {
		return err
	}
	made, replay, err := a.makeApp(q, t)
	if reuse && hook.CodeOf(err) == hook.CodeTenantExists {
		there, missing := a.o.Service.TenantExists(q.r.Context(), q.c, t.ID)
		if missing == nil {
			return q.answer(http.StatusOK, wireApp(there))
		}
	}
	if err != nil {
		return err
	}
	if replay != nil {
		return q.repeated(replay)
	}
	return q.answer(http.StatusCreated, wireApp(made))
}

func (a *api) makeApp(q *call, t hook.Tenant) (hook.Tenant, *hook.Replay, error) {
	if t.ID == "" {
		t.ID = newAppID()
	}
	once, err := q.once(appAnswer(http.StatusCreated))
	if err != nil {
		return t, nil, err
	}
	return a.o.Service.MakeTenant(q.r.Context(), q.c, t, once)
}

func (a *api) getApp(q *call) error {
	t, err := a.o.Service.TenantExists(q.r.Context(), q.c, q.app)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, wireApp(t))
}

func (a *api) putApp(q *call) error {
	o, err := q.object(maxBody)
	if err != nil {
		return err
	}
	t, err := readApp(o)
	if err != nil {
		return err
	}
	id := q.parts["name"]
	_, err = a.o.Service.TenantExists(q.r.Context(), q.c, id)
	if hook.CodeOf(err) == hook.CodeTenantNotFound {
		made, replay, err := a.makeApp(q, t)
		if err != nil {
			return err
		}
		if replay != nil {
			return q.repeated(replay)
		}
		return q.answer(http.StatusCreated, wireApp(made))
	}
	if err != nil {
		return err
	}
	if err := keepsUID(id, t.ID); err != nil {
		return err
	}
	return a.updateApp(q, id, app.TenantChange{Name: &t.Name, Metadata: app.ReplaceMetadata(t.Metadata), RateLimit: &t.RateLimit})
}

// keepsUID refuses to change the uid of an application: it is the tenant's id.
func keepsUID(id, uid string) error {
	if uid == id || uid == "" && strings.HasPrefix(id, appPrefix) {
		return nil
	}
	return invalid("uid", "The uid of an application cannot change: it is the tenant's id. Nothing was changed. Send the uid that it has, or make another application.")
}

func (a *api) patchApp(q *call) error {
	o, err := q.object(maxBody)
	if err != nil {
		return err
	}
	name := take[string](o, "a string", "name")
	if o.null("name") || name != nil && *name == "" {
		o.blame("name", "name must be a text of at least 1 character")
	}
	uid := readAppUID(o)
	change := app.TenantChange{Name: name}
	if rate := readThrottle(o); o.has("throttleRate") || o.has("rateLimit") {
		change.RateLimit = new(float64)
		if rate != nil {
			*change.RateLimit = float64(*rate)
		}
	}
	if o.has("metadata") {
		change.Metadata = app.ReplaceMetadata(readMetadata(o))
	}
	if err := o.err(); err != nil {
		return err
	}
	if o.has("uid") {
		if err := keepsUID(q.app, uid); err != nil {
			return err
		}
	}
	return a.updateApp(q, q.app, change)
}

func (a *api) updateApp(q *call, id string, change app.TenantChange) error {
	t, err := a.o.Service.UpdateTenant(q.r.Context(), q.c, id, change)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, wireApp(t))
}

func (a *api) deleteApp(q *call) error {
	if err := a.o.Service.DeleteTenant(q.r.Context(), q.c, q.app); err != nil {
		return err
	}
	return q.done()
}

// rounds bounds the native pages that one page of a list reads.
const rounds = 5

func (a *api) listApps(q *call) error {
	w, err := q.values.window(true)
	if err != nil {
		return err
	}
	for name := range url.Values(q.values) {
		if strings.HasPrefix(name, "exclude_apps_with_") && name != "exclude_apps_with_svix_play_endpoints" {
			return badQuery(name + " is not supported. Leave it out.")
		}
	}
	tq := hook.TenantQuery{After: w.from, Ascending: w.ascending != w.back, Page: hook.Page{Limit: w.limit}}
	var list []hook.Tenant
	more := true
	for range rounds {
		tq.Limit = w.limit - len(list)
		rows, next, err := a.o.Service.Tenants(q.r.Context(), q.c, tq)
		if e, ok := errors.AsType[*hook.Error](err); ok && e.Code == hook.CodeNotFound {
			return badIterator()
		}
		if err != nil {
			return err
		}
		list, tq.Cursor, tq.After, more = append(list, rows...), next, "", next != ""
		if !more || len(list) == w.limit {
			break
		}
	}
	if w.back {
		slices.Reverse(list)
	}
	data := make([]application, len(list))
	for i, t := range list {
		data[i] = wireApp(t)
	}
	return q.answer(http.StatusOK, pageOf(data, !more, func(v application) string { return v.ID }))
}
