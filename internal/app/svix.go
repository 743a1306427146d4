package app

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
)

// The operations in this file are those that only the Svix API needs.

// SvixProfile returns the profile of new endpoints of the Svix API: the server's default if
// it belongs to that API, otherwise the built-in one.
func (s *Service) SvixProfile() string {
	if s.Management() == "svix" {
		return s.o.Profile
	}
	return "svix"
}

// TenantEndpoints returns the tenant's endpoints of the caller's mode, oldest first, from
// memory if the tenant is in use. Listeners and operational endpoints are left out. The
// snapshots must not be modified.
func (s *Service) TenantEndpoints(ctx context.Context, c Caller, tenant string) ([]*hook.Endpoint, error) {
	scope, err := c.reach(tenant)
	if err != nil {
		return nil, err
	}
	all, err := s.o.Store.TenantEndpoints(ctx, scope)
	list := make([]*hook.Endpoint, 0, len(all))
	for _, e := range all {
		if !e.Listener() && !e.Operational {
			list = append(list, e)
		}
	}
	return list, err
}

// EventContent returns an event with its data, by the id that receivers see. Values that
// the event's type redacts are replaced.
func (s *Service) EventContent(ctx context.Context, c Caller, tenant string, id hook.ID) (*hook.Event, error) {
	scope, err := c.reach(tenant)
	if err != nil {
		return nil, err
	}
	event, err := s.o.Store.EventByPublicID(ctx, scope, id)
	if err == nil {
		event, err = s.redacted(ctx, event)
	}
	if err == nil {
		s.auditRead(ctx, c, hook.ActEventRead, "event", event.PublicID, event.Scope)
	}
	return event, err
}

// TenantExists returns CodeTenantNotFound if the caller may not see the tenant, or if there
// is none.
func (s *Service) TenantExists(ctx context.Context, c Caller, tenant string) (hook.Tenant, error) {
	if _, err := c.reach(tenant); err != nil || !hook.ValidTenantID(tenant) {
		return hook.Tenant{}, noTenant("tenant")
	}
	t, err := s.o.Store.Tenant(ctx, tenant)
	if hook.CodeOf(err) == hook.CodeNotFound {
		err = noTenant("tenant")
	}
	return t, err
}

// EventHead is EventContent for callers that do not show the content.
func (s *Service) EventHead(ctx context.Context, c Caller, tenant string, id hook.ID) (*hook.Event, error) {
	scope, err := c.reach(tenant)
	if err != nil {
		return nil, err
	}
	return s.o.Store.EventByPublicID(ctx, scope, id)
}

// EventDeliveries returns the deliveries of an event, by the id that receivers see.
func (s *Service) EventDeliveries(ctx context.Context, c Caller, tenant string, id hook.ID) ([]hook.DeliveryRow, error) {
	_, rows, err := s.event(ctx, c, tenant, id)
	return rows, err
}
