package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// Mount is the service as the management API of PaySway or paywise presents it. It
// contains only the endpoints whose profile belongs to that API (the member
// "management" of the profile). New endpoints get the server's default profile if it
// belongs to the API, otherwise the built-in profile with the name of the API. Mount
// accepts only tenant callers. It is safe for concurrent use.
type Mount struct {
	s          *Service
	management string
}

// Mount returns the service for the management API "paysway" or "paywise".
func (s *Service) Mount(management string) (*Mount, error) {
	m := &Mount{s: s, management: management}
	if p := m.profile(); p == nil || p.Management() != management {
		return nil, fmt.Errorf("app: no profile is spoken to in the management API %q", management)
	}
	return m, nil
}

// profile returns the profile of new endpoints.
func (m *Mount) profile() *profile.Profile {
	if p, ok := m.s.o.Profiles.Get(m.s.o.Profile); ok && p.Management() == m.management {
		return p
	}
	p, _ := m.s.o.Profiles.Get(m.management)
	return p
}

func (m *Mount) shows(e *hook.Endpoint) bool {
	return !e.Listener() && !e.Operational && m.s.profileNamed(e.Profile).Management() == m.management
}

// scope accepts only tenant keys: other kinds of key belong to no single tenant whose
// endpoints could be meant.
func (m *Mount) scope(c Caller) (hook.Scope, error) {
	if c.Kind != hook.TenantKey {
		return hook.Scope{}, errForbidden
	}
	return c.reach("")
}

// CreateEndpoint creates an endpoint of the caller's tenant. If the profile has a
// catalogue, its types must be in it. Otherwise the error is CodeTypeUnknown with the
// index in the field. Wildcards are unknown to PaySway and paywise. If limit is above 0
// and the tenant already has that many endpoints, the error is CodeEndpointLimit.
func (m *Mount) CreateEndpoint(ctx context.Context, c Caller, in NewEndpoint, limit int) (Endpoint, error) {
	if _, err := m.scope(c); err != nil {
		return Endpoint{}, err
	}
	p := m.profile()
	if err := checkTypes(p, in.Types); err != nil {
		return Endpoint{}, err
	}
	in.Tenant, in.Profile, in.exempt = c.Tenant, p.Name(), true // these APIs cannot show that an endpoint waits
	in.admit = func(existing []*hook.Endpoint) error {
		n := 0
		for _, e := range existing {
			if m.shows(e) {
				n++
			}
		}
		if limit > 0 && n >= limit {
			return &hook.Error{Code: hook.CodeEndpointLimit, Message: fmt.Sprintf("There are %d already, and no more are allowed. Delete one first.", n)}
		}
		return nil
	}
	made, _, err := m.s.CreateEndpoint(ctx, c, in, nil)
	if err != nil {
		return Endpoint{}, err
	}
	made.Health = &hook.Health{}
	return made, nil
}

// checkTypes refuses duplicate types and types that are not in the profile's catalogue.
func checkTypes(p *profile.Profile, types []string) error {
	catalogue := p.Catalogue()
	for i, name := range types {
		known := len(catalogue) == 0 && hook.ValidType(name) ||
			slices.ContainsFunc(catalogue, func(t profile.EventType) bool { return t.Name == name })
		field := "event_types/" + strconv.Itoa(i)
		if !known {
			return &hook.Error{Code: hook.CodeTypeUnknown, Field: field, Message: strconv.Quote(name) + " is not the name of an event."}
		}
		if slices.Contains(types[:i], name) {
			return invalid(field, strconv.Quote(name)+" stands twice.")
		}
	}
	return nil
}

// Faults returns every error in the URL, the types and the texts of a change, for an
// API that reports all errors at once. It changes nothing. It resolves the host of the
// URL. A zero id means an endpoint that has yet to be created.
func (m *Mount) Faults(ctx context.Context, c Caller, id hook.ID, change EndpointChange) []*hook.Error {
	p := m.profile()
	if !id.IsZero() {
		old, err := m.endpoint(ctx, c, id)
		if err != nil {
			return nil // the operation itself reports it
		}
		p = m.s.profileNamed(old.Profile)
	}
	var found []*hook.Error
	note := func(err error) {
		if e, ok := errors.AsType[*hook.Error](err); ok {
			found = append(found, e)
		}
	}
	if change.URL != nil {
		err := checkNotMasked(*change.URL)
		if err == nil {
			_, _, err = m.s.admit(ctx, c, false, *change.URL, p)
		}
		note(err)
	}
	if change.Types != nil {
		note(checkTypes(p, *change.Types))
	}
	if change.Description != nil {
		note(checkText("description", *change.Description, maxDescription))
	}
	return found
}

// Endpoint returns an endpoint with its health.
func (m *Mount) Endpoint(ctx context.Context, c Caller, id hook.ID) (Endpoint, error) {
	e, err := m.endpoint(ctx, c, id)
	if err != nil {
		return Endpoint{}, err
	}
	list, err := m.withHealth(ctx, e.Scope, []*hook.Endpoint{e})
	if err != nil {
		return Endpoint{}, err
	}
	return list[0], nil
}

func (m *Mount) endpoint(ctx context.Context, c Caller, id hook.ID) (*hook.Endpoint, error) {
	scope, err := m.scope(c)
	if err != nil {
		return nil, err
	}
	e, err := m.s.o.Store.Endpoint(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	if !m.shows(e) {
		return nil, hook.NotFound("endpoint")
	}
	return e, nil
}

// Endpoints returns a window of the endpoints, newest first, with their health, and the
// total number. If enabled is nil, enabled and disabled endpoints are returned.
func (m *Mount) Endpoints(ctx context.Context, c Caller, enabled *bool, w hook.Window) ([]Endpoint, int, error) {
	scope, err := m.scope(c)
	if err != nil {
		return nil, 0, err
	}
	all, err := m.s.o.Store.TenantEndpoints(ctx, scope)
	if err != nil {
		return nil, 0, err
	}
	var page []*hook.Endpoint
	count := 0
	for _, e := range slices.Backward(all) {
		if !m.shows(e) || enabled != nil && *enabled != e.Receives() {
			continue
		}
		if count >= w.Offset && len(page) < w.Limit {
			page = append(page, e)
		}
		count++
	}
	list, err := m.withHealth(ctx, scope, page)
	return list, count, err
}

func (m *Mount) withHealth(ctx context.Context, scope hook.Scope, page []*hook.Endpoint) ([]Endpoint, error) {
	ids := make([]hook.ID, len(page))
	for i, e := range page {
		ids[i] = e.ID
	}
	found, err := m.s.o.Store.Healths(ctx, scope, ids)
	if err != nil {
		return nil, err
	}
	list := make([]Endpoint, len(page))
	for i, e := range page {
		health := found[e.ID]
		list[i] = Endpoint{Endpoint: e, Health: &health}
	}
	return list, nil
}

// UpdateEndpoint changes an endpoint and returns it with its health. It checks types
// like CreateEndpoint.
func (m *Mount) UpdateEndpoint(ctx context.Context, c Caller, id hook.ID, change EndpointChange) (Endpoint, error) {
	old, err := m.endpoint(ctx, c, id)
	if err != nil {
		return Endpoint{}, err
	}
	if change.Types != nil {
		if err := checkTypes(m.s.profileNamed(old.Profile), *change.Types); err != nil {
			return Endpoint{}, err
		}
	}
	change.exempt = true
	changed, err := m.s.UpdateEndpoint(ctx, c, id, change)
	if err != nil {
		return Endpoint{}, err
	}
	list, err := m.withHealth(ctx, old.Scope, []*hook.Endpoint{changed.Endpoint})
	if err != nil {
		return Endpoint{}, err
	}
	return list[0], nil
}

// DeleteEndpoint deletes an endpoint and cancels its open deliveries.
func (m *Mount) DeleteEndpoint(ctx context.Context, c Caller, id hook.ID) error {
	e, err := m.endpoint(ctx, c, id)
	if err != nil {
		return err
	}
	return m.s.o.Store.DeleteEndpoint(ctx, e.Scope, id)
}

// TestEndpoint sends the profile's test event and returns its delivery.
func (m *Mount) TestEndpoint(ctx context.Context, c Caller, id hook.ID) (hook.LoggedDelivery, error) {
	if _, err := m.endpoint(ctx, c, id); err != nil {
		return hook.LoggedDelivery{}, err
	}
	test, _, err := m.s.TestEndpoint(ctx, c, id, "", nil, nil)
	if err != nil {
		return hook.LoggedDelivery{}, err
	}
	row, _, err := m.s.Delivery(ctx, c, test.Delivery)
	return hook.LoggedDelivery{DeliveryRow: row, UpdatedAt: row.CreatedAt}, err
}

// EndpointLog returns a window of an endpoint's deliveries, newest first, and how many
// there are among the tenant's newest 100,000 events. It sets Scope and Endpoint of the
// query.
func (m *Mount) EndpointLog(ctx context.Context, c Caller, id hook.ID, q hook.EndpointLog) ([]hook.LoggedDelivery, int, error) {
	e, err := m.endpoint(ctx, c, id)
	if err != nil {
		return nil, 0, err
	}
	q.Scope, q.Endpoint = e.Scope, e.ID
	return m.s.o.Store.EndpointLog(ctx, q)
}

// MaxFailures returns the number of consecutive failures that disable the endpoint. It
// is 0 if failures never disable it.
func (m *Mount) MaxFailures(e *hook.Endpoint) int {
	return m.s.profileNamed(e.Profile).Policy(e).Trip.N
}

// Management returns the management API to which the server's default profile belongs:
// "none", "paysway" or "paywise".
func (s *Service) Management() string { return s.profileNamed(s.o.Profile).Management() }
