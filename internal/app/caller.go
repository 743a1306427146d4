package app

import (
	"strconv"

	"github.com/posthorn/posthorn/internal/hook"
)

// Caller is the identity behind a request, derived from its key or its session.
type Caller struct {
	Kind   hook.Kind
	Mode   hook.Mode
	Tenant string  // empty: all tenants (operator, publisher)
	KeyID  hook.ID // zero for the bootstrap keys; the session's for the portal
	// Limits are the limits of the key; nil: none. They are immutable.
	Limits *hook.KeyLimits
	// Capabilities are those of a session of the portal; other callers have none.
	Capabilities hook.Capabilities
}

// may returns an error if the caller is a session of the portal without the capability.
func (c Caller) may(needs hook.Capabilities) error {
	if c.Kind != hook.PortalUser || needs != 0 && c.Capabilities.Has(needs) {
		return nil
	}
	what := "this"
	if needs != 0 {
		what = needs.Names()[1]
	}
	return &hook.Error{Code: hook.CodeForbidden, Message: "This session of the portal may not do that: it was made without " + what + ". Nothing was done."}
}

// ofTenant reports whether a customer is behind the request.
func (c Caller) ofTenant() bool { return c.Kind == hook.TenantKey || c.Kind == hook.PortalUser }

// never is what no session of the portal may do.
const never hook.Capabilities = 0

var errForbidden = &hook.Error{Code: hook.CodeForbidden, Message: "This kind of key may not do that."}

// errReadOnly refuses a write with a read-only key.
var errReadOnly = &hook.Error{Code: hook.CodeKeyReadOnly,
	Message: "This key may only read. Nothing was changed. Use a key that was not created with read_only."}

// write returns an error if the caller's key is read-only.
func (c Caller) write() error {
	if c.Limits != nil && c.Limits.ReadOnly {
		return errReadOnly
	}
	return nil
}

// maxKeyTypes bounds the entries of a key's filter of event types, and maxNetworks its
// networks.
const maxKeyTypes, maxNetworks = 50, 20

// publishType returns an error if the caller's key may not publish the event type.
func (c Caller) publishType(name string) error {
	if c.Limits == nil || len(c.Limits.EventTypes) == 0 || c.Limits.EventTypes.Match(name) {
		return nil
	}
	return &hook.Error{Code: hook.CodeTypeNotAllowed, Field: "type", Message: "This key may not publish events of the type " +
		strconv.Quote(name) + ": its event_types do not let it pass. Nothing was stored. Use a key for this type."}
}

// administer returns an error unless the caller is an operator.
func (c Caller) administer() error {
	if c.Kind != hook.Operator {
		return errForbidden
	}
	return nil
}

// reach returns the scope in which the caller may see and manage the endpoints, events
// and deliveries of the named tenant. Without a name the scope is everything that the
// caller may see. The name of another tenant gets the same error as an unknown name.
func (c Caller) reach(tenant string) (hook.Scope, error) {
	switch c.Kind {
	case hook.Operator:
		return hook.Scope{Tenant: tenant, Mode: c.Mode}, nil
	case hook.TenantKey, hook.PortalUser:
		if tenant != "" && tenant != c.Tenant {
			return hook.Scope{}, noTenant("tenant")
		}
		return hook.Scope{Tenant: c.Tenant, Mode: c.Mode}, nil
	}
	return hook.Scope{}, errForbidden
}

// publish returns the scope in which the caller may publish to the tenant.
func (c Caller) publish(tenant string) (hook.Scope, error) {
	scope, err := c.target(tenant)
	if err == nil {
		err = c.write()
	}
	return scope, err
}

// target returns the scope of the events that the caller publishes to the tenant, also for
// a key that may only read.
func (c Caller) target(tenant string) (hook.Scope, error) {
	switch c.Kind {
	case hook.Operator, hook.Publisher:
	default:
		return hook.Scope{}, errForbidden
	}
	if tenant == "" {
		tenant = c.Tenant // a key of one tenant may leave it out
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
