package importsvix

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/posthorn/posthorn/internal/hook"
)

// workers is the number of applications that are copied at once.
const workers = 8

// importer copies from one server to another. What is there already is found by asking the
// target, so an import that was interrupted is repeated from the beginning.
type importer struct {
	from, to *remote
	apply    bool // write to the target
	disabled bool // make every endpoint disabled
	enable   bool // enable endpoints that differ only in being disabled
	secrets  bool // compare the secrets of endpoints that are there
	apps     []string
	report   *report

	// Not every source has these routes.
	transformations, destinationsOf route
}

func (m *importer) run(ctx context.Context) error {
	if err := m.types(ctx); err != nil {
		return err
	}
	if err := m.applications(ctx); err != nil {
		return err
	}
	if err := m.operational(ctx); err != nil {
		return err
	}
	return m.archive(ctx)
}

// find reads an object of the target into out, and reports whether it is there.
func (m *importer) find(ctx context.Context, path string, out any) (bool, error) {
	if strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..") { // would be another path; no such name is admitted
		return false, nil
	}
	err := m.to.get(ctx, path, out)
	if statusOf(err) == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// write makes an object of the target, unless this is a dry run. reason says why the target
// refused it.
func (m *importer) write(ctx context.Context, path string, in any) (reason string, err error) {
	if !m.apply {
		return "", nil
	}
	if err = m.to.call(ctx, http.MethodPost, path, in, nil); aboutItem(err) {
		return err.Error(), nil
	}
	return "", err
}

func (m *importer) types(ctx context.Context) error {
	return each(ctx, m.from, "event-type?include_archived=true&with_content=true", func(t eventType) error {
		var have eventType
		there, err := m.find(ctx, "event-type/"+url.PathEscape(t.Name), &have)
		if err != nil {
			return err
		}
		if there {
			m.report.compared(types, t.Name, differences(
				diff{"description", have.Description == t.Description}, diff{"deprecated", have.Deprecated == t.Deprecated}, diff{"groupName", of(have.Group) == of(t.Group)},
				diff{"schemas", sameSchemas(of(have.Schemas), of(t.Schemas))}, diff{"archived", t.Archived || !have.Archived}))
			return nil
		}
		if of(t.Flag) != "" || len(of(t.Flags)) > 0 {
			m.report.add(types, refused, t.Name, "it has feature flags, and Posthorn shows a type to every application or to none: create it by hand, archived or not")
			return nil
		}
		t.Archived, t.Flag, t.Flags = false, nil, nil // an endpoint may filter by it
		reason, err := m.write(ctx, "event-type", t)
		m.report.made(types, t.Name, reason, err)
		return err
	})
}

// archive archives the event types that are archived at the source. It comes last: an
// endpoint cannot be made with an archived type in its filter.
func (m *importer) archive(ctx context.Context) error {
	if !m.apply {
		return nil
	}
	return each(ctx, m.from, "event-type?include_archived=true", func(t eventType) error {
		if !t.Archived {
			return nil
		}
		var have eventType
		there, err := m.find(ctx, "event-type/"+url.PathEscape(t.Name), &have)
		if err != nil || !there || have.Archived {
			return err
		}
		return m.to.call(ctx, http.MethodDelete, "event-type/"+url.PathEscape(t.Name), nil, nil)
	})
}

// applications copies applications with several workers. The first error ends all.
func (m *importer) applications(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx) // without a cause: the others would take it for the answer to a call of theirs
	defer cancel()
	queue := make(chan application)
	var group sync.WaitGroup
	var once sync.Once
	var first error
	for range workers {
		group.Go(func() {
			for a := range queue {
				if err := m.application(ctx, a); err != nil {
					once.Do(func() { first = err })
					cancel()
					return
				}
			}
		})
	}
	err := m.named(ctx, func(a application) error {
		select {
		case queue <- a:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(queue)
	group.Wait()
	return cmp.Or(first, err)
}

// named calls do for the applications that were asked for.
func (m *importer) named(ctx context.Context, do func(application) error) error {
	if len(m.apps) == 0 {
		return each(ctx, m.from, "app?order=ascending", do)
	}
	for _, name := range m.apps {
		var a application
		switch err := m.from.get(ctx, "app/"+url.PathEscape(name), &a); {
		case statusOf(err) == http.StatusNotFound:
			m.report.add(applications, refused, name, m.from.name+" has no such application")
		case err != nil:
			return err
		default:
			if err := do(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// application copies an application and what is in it. Its uid, or else its id, is the id of
// the tenant.
func (m *importer) application(ctx context.Context, a application) error {
	id := cmp.Or(of(a.UID), a.ID)
	a.Name = cmp.Or(a.Name, id)
	var have application
	there, err := m.find(ctx, "app/"+url.PathEscape(id), &have)
	if err != nil {
		return err
	}
	if there {
		m.report.compared(applications, id, differences(diff{"name", cmp.Or(have.Name, id) == a.Name}, diff{"throttleRate", of(have.rate()) == of(a.rate())}, diff{"metadata", maps.Equal(have.Metadata, a.Metadata)}))
	} else {
		made := newApplication{UID: id, Name: a.Name, Throttle: a.rate(), Metadata: a.Metadata}
		reason, err := m.write(ctx, "app", made)
		if made.Throttle != nil && strings.Contains(reason, "throttleRate") { // the rest is worth having
			m.report.note(applications, id, fmt.Sprintf("its throttleRate of %d is not copied: %s", *made.Throttle, reason))
			made.Throttle = nil
			reason, err = m.write(ctx, "app", made)
		}
		m.report.made(applications, id, reason, err)
		if err != nil {
			return err
		}
		if reason != "" {
			return m.left(ctx, a, id)
		}
	}
	known := targets{}
	if there {
		err := each(ctx, m.to, "app/"+url.PathEscape(id)+"/endpoint", func(e endpoint) error { known.add(e); return nil })
		if err != nil {
			return err
		}
	}
	err = each(ctx, m.from, "app/"+url.PathEscape(a.ID)+"/endpoint?order=ascending", func(e endpoint) error { return m.endpoint(ctx, a, id, e, known) })
	if statusOf(err) == http.StatusNotFound {
		m.report.note(applications, id, "it was deleted at "+m.from.name+" meanwhile, so delete what was copied of it")
		return nil
	}
	if err != nil {
		return err
	}
	return m.destinations(ctx, a, id)
}

// left reports the endpoints of an application that was refused.
func (m *importer) left(ctx context.Context, a application, id string) error {
	err := each(ctx, m.from, "app/"+url.PathEscape(a.ID)+"/endpoint?order=ascending", func(e endpoint) error {
		m.report.add(endpoints, refused, id+"/"+nameOf(e), "its application was not copied")
		return nil
	})
	if statusOf(err) == http.StatusNotFound { // deleted meanwhile
		return nil
	}
	return err
}

// targets are the endpoints of an application that are at the target.
type targets struct {
	byUID, byURL map[string]endpoint // byURL: those without a uid
}

func (t *targets) add(e endpoint) {
	if t.byUID == nil {
		t.byUID, t.byURL = map[string]endpoint{}, map[string]endpoint{}
	}
	if e.UID != nil {
		t.byUID[*e.UID] = e
	} else {
		t.byURL[compared(e.URL)] = e
	}
}

// nameOf is the uid of an endpoint at the target: that at the source, or else its id, so
// that a program that has kept the id finds it.
func nameOf(e endpoint) string { return cmp.Or(of(e.UID), e.ID) }

func (m *importer) endpoint(ctx context.Context, a application, tenant string, e endpoint, known targets) error {
	at, shown := "app/"+url.PathEscape(a.ID)+"/endpoint/"+url.PathEscape(e.ID), tenant+"/"+nameOf(e)
	have, there := known.byUID[nameOf(e)]
	if there {
		err := m.compare(ctx, at, tenant, e, have)
		if statusOf(err) == http.StatusNotFound {
			m.report.add(endpoints, refused, shown, "it was deleted meanwhile")
			return nil
		}
		return err
	}
	if other, there := known.byURL[compared(e.URL)]; there {
		m.report.add(endpoints, differs, shown, "uid: "+other.ID+" has the same URL and no uid. Give it the uid "+nameOf(e)+", or delete it")
		return nil
	}
	made, reason, missing, err := m.read(ctx, at, e)
	if err == nil && reason == "" {
		reason, err = m.write(ctx, "app/"+url.PathEscape(tenant)+"/endpoint", made)
		for _, value := range append(slices.Collect(maps.Values(made.Headers)), made.Secret) {
			if len(value) > 3 {
				reason = strings.ReplaceAll(reason, value, "***")
			}
		}
	}
	m.report.made(endpoints, shown, reason, err)
	if err == nil && reason == "" && len(missing) > 0 {
		m.report.note(endpoints, shown, m.from.name+" does not show the values of "+strings.Join(missing, ", ")+": it is disabled; set them, then enable it")
	}
	return err
}

// read reads what the source keeps of an endpoint beside its row. missing are headers whose
// values are not shown.
func (m *importer) read(ctx context.Context, at string, e endpoint) (made newEndpoint, reason string, missing []string, err error) {
	if strings.Contains(e.URL, "***") && hook.MaskURL(e.URL) == e.URL {
		return made, m.from.name + " does not show the values in the query of its URL: create it by hand", nil, nil
	}
	gone := func(err error) (newEndpoint, string, []string, error) {
		if statusOf(err) == http.StatusNotFound {
			return made, "it was deleted meanwhile", nil, nil
		}
		return made, "", nil, err
	}
	secret, err := m.secret(ctx, m.from, at)
	if err != nil {
		return gone(err)
	}
	if strings.HasPrefix(secret, "whpk_") || strings.HasPrefix(secret, "whsk_") {
		return made, "it signs with ed25519, and its private key is not shown: create it by hand, and give its receiver the new public key", nil, nil
	}
	var h headers
	if err := m.from.get(ctx, at+"/headers", &h); err != nil {
		return gone(err)
	}
	for _, name := range h.Sensitive {
		if _, shown := h.Headers[name]; !shown {
			missing = append(missing, name)
		}
	}
	if code, err := m.transformed(ctx, at); err != nil || code {
		return made, "it has a transformation, which Posthorn does not have", nil, err
	}
	made = newEndpoint{UID: nameOf(e), URL: e.URL, Description: e.Description, Disabled: e.Disabled || m.disabled || len(missing) > 0, Types: cmp.Or(e.Types, e.Filter),
		Channels: e.Channels, Throttle: e.rate(), Metadata: e.Metadata, Headers: h.Headers, Secret: secret}
	return made, "", missing, nil
}

func (m *importer) secret(ctx context.Context, r *remote, at string) (string, error) {
	var out struct {
		Key string `json:"key"`
	}
	err := r.get(ctx, at+"/secret", &out)
	if err == nil && out.Key == "" {
		err = errShape{r.name}
	}
	return out.Key, err
}

// transformed reports whether an endpoint has a transformation in use.
func (m *importer) transformed(ctx context.Context, at string) (bool, error) {
	var out struct {
		Code    *string `json:"code"`
		Enabled bool    `json:"enabled"`
	}
	err := m.transformations.call(func() error { return m.from.get(ctx, at+"/transformation", &out) })
	return out.Enabled && of(out.Code) != "", err
}

// route is a route that not every server has.
type route struct{ answered, missed atomic.Int64 }

// enoughMisses is the number of answers that a route is not there after which it is not
// called again. One alone can be of an object that was just deleted.
const enoughMisses = 10

// call calls the route with do, unless the server does not have it.
func (r *route) call(do func() error) error {
	if r.answered.Load() == 0 && r.missed.Load() >= enoughMisses {
		return nil
	}
	err := do()
	if slices.Contains([]int{http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented}, statusOf(err)) {
		r.missed.Add(1)
		return nil
	}
	r.answered.Add(1)
	return err
}

// compare reports in what an endpoint of the target differs.
func (m *importer) compare(ctx context.Context, at, tenant string, e, have endpoint) error {
	there := "app/" + url.PathEscape(tenant) + "/endpoint/" + url.PathEscape(have.ID)
	var want, got headers
	if err := m.from.get(ctx, at+"/headers", &want); err != nil {
		return err
	}
	if err := m.to.get(ctx, there+"/headers", &got); err != nil {
		return err
	}
	sameSecret := true
	if m.secrets {
		a, err := m.secret(ctx, m.from, at)
		if err != nil {
			return err
		}
		b, err := m.secret(ctx, m.to, there)
		if err != nil {
			return err
		}
		sameSecret = a == b
	}
	disabled := e.Disabled || m.disabled
	found := differences(diff{"url", compared(have.URL) == compared(e.URL)}, diff{"description", have.Description == e.Description},
		diff{"eventTypes", sameSet(cmp.Or(have.Types, have.Filter), cmp.Or(e.Types, e.Filter))}, diff{"channels", sameSet(have.Channels, e.Channels)},
		diff{"throttleRate", of(have.rate()) == of(e.rate())}, diff{"metadata", maps.Equal(have.Metadata, e.Metadata)},
		diff{"headers", slices.Equal(want.names(), got.names())}, diff{"secret", sameSecret}, diff{"disabled", have.Disabled == disabled})
	shown := tenant + "/" + nameOf(e)
	if m.enable && have.Disabled && !disabled && slices.Equal(found, []string{"disabled"}) {
		if m.apply {
			err := m.to.call(ctx, http.MethodPatch, there, map[string]bool{"disabled": false}, nil)
			if err != nil && !aboutItem(err) {
				return err
			}
			if err != nil {
				m.report.add(endpoints, differs, shown, "disabled: "+err.Error())
				return nil
			}
		}
		m.report.enable()
		found = nil
	}
	m.report.compared(endpoints, shown, found)
	return nil
}

// destinations reports what an application has beside endpoints.
func (m *importer) destinations(ctx context.Context, a application, tenant string) error {
	type destination struct {
		ID   string `json:"id"`
		Type string `json:"type"`
	}
	return m.destinationsOf.call(func() error {
		return each(ctx, m.from, "app/"+url.PathEscape(a.ID)+"/destination", func(d destination) error {
			m.report.add(endpoints, refused, tenant+"/"+d.ID, "it is a destination of the type "+d.Type+"; Posthorn delivers over HTTP, without an order between messages")
			return nil
		})
	})
}

// operational reports the endpoints of operational webhooks.
func (m *importer) operational(ctx context.Context) error {
	var some route
	return some.call(func() error {
		return each(ctx, m.from, "operational-webhook/endpoint", func(e endpoint) error {
			m.report.add(endpoints, refused, "operational/"+nameOf(e), "its events have another form here: create it with \"posthorn endpoint create --operational\", see docs/operational-events.md")
			return nil
		})
	})
}

// names are the names of all headers, sorted.
func (h headers) names() (list []string) {
	for name := range h.Headers {
		list = append(list, http.CanonicalHeaderKey(name))
	}
	for _, name := range h.Sensitive {
		list = append(list, http.CanonicalHeaderKey(name))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// diff is a member and whether it is the same on both sides.
type diff struct {
	name string
	same bool
}

func differences(all ...diff) (names []string) {
	for _, d := range all {
		if !d.same {
			names = append(names, d.name)
		}
	}
	return names
}

// of returns what a pointer points to, or the zero value.
func of[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func sameSet(a, b *[]string) bool {
	x, y := slices.Sorted(slices.Values(of(a))), slices.Sorted(slices.Values(of(b)))
	return slices.Equal(slices.Compact(x), slices.Compact(y))
}

func sameSchemas(a, b map[string]json.RawMessage) bool {
	return maps.EqualFunc(a, b, func(x, y json.RawMessage) bool {
		var left, right bytes.Buffer
		return errors.Join(json.Compact(&left, x), json.Compact(&right, y)) == nil && bytes.Equal(left.Bytes(), right.Bytes())
	})
}

// compared returns a URL in the form in which the two servers' can be compared: the target
// hides values of the query, and each writes hosts and empty paths in its own way.
func compared(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	u.Host = strings.ToLower(u.Host)
	if port := u.Port(); port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	u.Path = cmp.Or(u.Path, "/")
	return hook.MaskURL(u.String())
}
