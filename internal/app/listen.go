package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
)

// maxListeners is how many listeners a tenant may have in one mode, connected or not:
// events for a listener that is not connected are kept.
const maxListeners = 16

// NewListener describes a receiver that connects.
type NewListener struct {
	Tenant  string
	Name    string   // valid according to hook.ValidListenName
	Types   []string // entries of a filter; none: all types
	Profile string   // empty: unchanged, or the server's default for a new listener
}

// Listen returns the endpoint of the caller's listener with that name, and its secret.
// It creates the endpoint if there is none. The secret is shown at every connection,
// not only at the first: whoever holds the tenant's key receives the events themselves,
// and nothing else is signed with this secret. Listen does not enable the endpoint.
func (s *Service) Listen(ctx context.Context, c Caller, in NewListener) (Endpoint, error) {
	if err := c.may(never); err != nil {
		return Endpoint{}, err
	}
	scope, err := c.reach(in.Tenant)
	if err != nil {
		return Endpoint{}, err
	}
	if scope.Tenant == "" {
		return Endpoint{}, invalid("tenant", "\"tenant\" is required.")
	}
	if !hook.ValidTenantID(scope.Tenant) {
		return Endpoint{}, noTenant("tenant")
	}
	if !hook.ValidListenName(in.Name) {
		return Endpoint{}, invalid("name", "\"name\" must be 1 to 32 letters, digits, dots, underscores and hyphens, but not . or .. alone.")
	}
	if len(in.Types) == 0 {
		in.Types = []string{"*"}
	}
	ep, err := s.makeListener(ctx, scope, in)
	if exists, ok := errors.AsType[*errListenerExists](err); ok {
		ep, err = s.adjustListener(ctx, exists.endpoint, in)
	}
	if err != nil {
		return Endpoint{}, err
	}
	if len(ep.Secrets) == 0 {
		return Endpoint{}, fmt.Errorf("listener %s has no secret", ep.ID)
	}
	if err := s.auditReveal(ctx, c, ep, "listener connects and is shown its secret", "listener "+in.Name); err != nil {
		return Endpoint{}, err
	}
	return Endpoint{Endpoint: ep, Secret: ep.Secrets[0].Text}, nil
}

// ListenerStatus returns the current status of a listener's endpoint.
func (s *Service) ListenerStatus(ctx context.Context, c Caller, id hook.ID) (hook.Status, error) {
	ep, err := s.endpoint(ctx, c, id)
	if err != nil {
		return 0, err
	}
	return ep.Status, nil
}

// Sees returns the scope in which the caller may see deliveries: one tenant, or all
// tenants of the mode.
func (c Caller) Sees() (hook.Scope, error) { return c.reach("") }

// errListenerExists carries the existing endpoint out of the transaction.
type errListenerExists struct{ endpoint *hook.Endpoint }

// Error implements error.
func (e *errListenerExists) Error() string { return "there is a listener of this name" }

// makeListener creates the endpoint. Its status is Tripped until a receiver connects.
// Deliveries arrive one at a time, so that a person can follow them.
func (s *Service) makeListener(ctx context.Context, scope hook.Scope, in NewListener) (*hook.Endpoint, error) {
	ep, p, err := s.draft(scope, NewEndpoint{Types: in.Types, Title: "Listener " + in.Name, Profile: in.Profile, MaxInFlight: 1})
	if err != nil {
		return nil, err
	}
	secret, err := s.newSecret(p, "")
	if err != nil {
		return nil, err
	}
	ep.URL, ep.Status, ep.Secrets = hook.ListenURL(in.Name), hook.Tripped, []hook.Secret{secret}
	made, _, err := s.o.Store.CreateEndpointIf(ctx, ep, func(existing []*hook.Endpoint) error {
		listeners := 0
		for _, e := range existing {
			if e.URL == ep.URL {
				return &errListenerExists{e}
			}
			if e.Listener() {
				listeners++
			}
		}
		if listeners >= maxListeners {
			return &hook.Error{Code: hook.CodeEndpointLimit, Field: "name",
				Message: fmt.Sprintf("There are %d listeners. Delete one that is not used any more.", listeners)}
		}
		return nil
	}, nil)
	return made, err
}

// adjustListener changes an existing listener to the filter and the format that its
// receiver requests now.
func (s *Service) adjustListener(ctx context.Context, old *hook.Endpoint, in NewListener) (*hook.Endpoint, error) {
	profile := old.Profile
	if in.Profile != "" {
		profile = in.Profile
	}
	if profile == old.Profile && slices.Equal(old.Types, in.Types) {
		return old, nil
	}
	p, ok := s.o.Profiles.Get(profile)
	if !ok {
		return nil, s.errProfile()
	}
	secret, err := s.newSecret(p, "")
	if err != nil {
		return nil, err
	}
	return s.o.Store.UpdateEndpoint(ctx, old.Scope, old.ID, func(row hook.Endpoint) (hook.Endpoint, error) {
		row.Types, row.Profile = slices.Clone(in.Types), profile
		if !expresses(p, row.Secrets) {
			row.Secrets = []hook.Secret{secret}
		}
		return row, s.checkEndpoint(&row, old)
	}, false)
}

// checkListener refuses changes of the settings that define a listener. If one were
// enabled without a connection, attempts would reach nobody.
func checkListener(old *hook.Endpoint, change EndpointChange) error {
	switch {
	case !old.Listener():
	case change.URL != nil:
		return invalid("url", "A listener has no URL to change: it connects to the server.")
	case change.Profile != nil:
		return invalid("profile", "A listener chooses its profile when it connects.")
	case change.Enabled != nil && *change.Enabled && old.Status != hook.Enabled:
		return &hook.Error{Code: hook.CodeConflict, Field: "enabled", Message: "A listener is enabled by connecting."}
	}
	return nil
}
