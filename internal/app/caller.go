package app

import "github.com/posthorn/posthorn/internal/hook"

// Caller is who asks: what the key that came with the request stands for.
type Caller struct {
	Kind   hook.Kind
	Mode   hook.Mode
	Tenant string  // empty: all tenants (operator, publisher)
	KeyID  hook.ID // zero for the bootstrap keys
}

var errForbidden = &hook.Error{Code: hook.CodeForbidden, Message: "This kind of key may not do that."}

// administer lets operators pass.
func (c Caller) administer() error {
	if c.Kind != hook.Operator {
		return errForbidden
	}
	return nil
}

// reach returns the scope in which the caller may see and manage the endpoints,
// events and deliveries of the named tenant. Without a name it is all that the
// caller may see. Another tenant's name is answered like an unknown one.
func (c Caller) reach(tenant string) (hook.Scope, error) {
	switch c.Kind {
	case hook.Operator:
		return hook.Scope{Tenant: tenant, Mode: c.Mode}, nil
	case hook.TenantKey:
		if tenant != "" && tenant != c.Tenant {
			return hook.Scope{}, noTenant("tenant")
		}
		return hook.Scope{Tenant: c.Tenant, Mode: c.Mode}, nil
	}
	return hook.Scope{}, errForbidden
}

// publish returns the scope in which the caller may publish to the tenant.
func (c Caller) publish(tenant string) (hook.Scope, error) {
	switch c.Kind {
	case hook.Operator, hook.Publisher:
	default:
		return hook.Scope{}, errForbidden
	}
	if tenant == "" {
		tenant = c.Tenant // a key of one tenant need not name it
	}
	if tenant == "" {
		return hook.Scope{}, invalid("tenant", "\"tenant\" is required.")
	}
	if !hook.ValidTenantID(tenant) || c.Tenant != "" && tenant != c.Tenant {
		return hook.Scope{}, noTenant("tenant")
	}
	return hook.Scope{Tenant: tenant, Mode: c.Mode}, nil
}

func noTenant(field string) error {
	return &hook.Error{Code: hook.CodeTenantNotFound, Field: field, Message: "No such tenant."}
}
