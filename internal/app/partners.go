package app

import (
	"context"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
)

// maxUser bounds a partner's name for a user, in bytes.
const maxUser = 200

// ActFor returns the caller for a partner's key that names one of the partner's users:
// the tenant to which an operator mapped the user, in the key's mode. An unknown user
// and a key that is not a tenant key give CodeForbidden.
func (s *Service) ActFor(ctx context.Context, c Caller, user string) (Caller, error) {
	refused := &hook.Error{Code: hook.CodeForbidden, Message: "This key may not act for this user."}
	if c.Kind != hook.TenantKey || !validUser(user) {
		return Caller{}, refused
	}
	tenant, err := s.o.Store.PartnerTenant(ctx, hook.Scope{Tenant: c.Tenant, Mode: c.Mode}, user)
	if hook.CodeOf(err) == hook.CodeNotFound {
		return Caller{}, refused
	}
	if err != nil {
		return Caller{}, fmt.Errorf("look up partner's user: %w", err)
	}
	c.Tenant = tenant
	return c, nil
}

// CreatePartnerUser permits keys of the tenant partner, in the caller's mode, to act
// for the tenant when they name the user. Operators only.
func (s *Service) CreatePartnerUser(ctx context.Context, c Caller, partner, user, tenant string, once *Once) (hook.PartnerUser, *hook.Replay, error) {
	if err := c.administer(); err != nil {
		return hook.PartnerUser{}, nil, err
	}
	for _, named := range [][2]string{{"partner", partner}, {"tenant", tenant}} {
		if named[1] == "" {
			return hook.PartnerUser{}, nil, invalid(named[0], "\""+named[0]+"\" is required.")
		}
		if !hook.ValidTenantID(named[1]) {
			return hook.PartnerUser{}, nil, noTenant(named[0])
		}
	}
	if !validUser(user) {
		return hook.PartnerUser{}, nil, invalid("user", "\"user\" must be 1 to 200 printable ASCII characters without spaces.")
	}
	return s.o.Store.CreatePartnerUser(ctx, hook.PartnerUser{Mode: c.Mode, Partner: partner, User: user, Tenant: tenant},
		once.in(hook.Scope{Mode: c.Mode}, same))
}

// PartnerUsers returns a page of the grants of the caller's mode. A named partner
// limits it to that partner's grants. Operators only.
func (s *Service) PartnerUsers(ctx context.Context, c Caller, partner string, page hook.Page) ([]hook.PartnerUser, string, error) {
	if err := c.administer(); err != nil {
		return nil, "", err
	}
	return s.o.Store.PartnerUsers(ctx, hook.Scope{Tenant: partner, Mode: c.Mode}, page)
}

// DeletePartnerUser revokes a grant of the caller's mode. It takes effect at once.
// Operators only.
func (s *Service) DeletePartnerUser(ctx context.Context, c Caller, id hook.ID) error {
	if err := c.administer(); err != nil {
		return err
	}
	return s.o.Store.DeletePartnerUser(ctx, hook.Scope{Mode: c.Mode}, id)
}

// validUser reports whether a header can carry the name unchanged.
func validUser(user string) bool {
	for i := 0; i < len(user); i++ {
		if user[i] <= ' ' || user[i] > '~' {
			return false
		}
	}
	return user != "" && len(user) <= maxUser
}
