package app

import (
	"context"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	maxName        = 256  // characters of a name or title
	maxDescription = 4096 // characters of a description
)

// CreateTenant creates a tenant. An empty id creates a UUID. Operators only.
func (s *Service) CreateTenant(ctx context.Context, c Caller, id, name string, once *Once) (hook.Tenant, *hook.Replay, error) {
	return s.MakeTenant(ctx, c, hook.Tenant{ID: id, Name: name}, once)
}

// Tenant returns a tenant. Operators only.
func (s *Service) Tenant(ctx context.Context, c Caller, id string) (hook.Tenant, error) {
	if err := c.administer(); err != nil {
		return hook.Tenant{}, err
	}
	return s.o.Store.Tenant(ctx, id)
}

// Tenants returns a page of the tenants and the cursor of the next page. Operators
// only.
func (s *Service) Tenants(ctx context.Context, c Caller, q hook.TenantQuery) ([]hook.Tenant, string, error) {
	if err := c.administer(); err != nil {
		return nil, "", err
	}
	return s.o.Store.Tenants(ctx, q)
}

// errBothModes keeps test keys from changing what affects live endpoints and keys.
var errBothModes = &hook.Error{Code: hook.CodeForbidden,
	Message: "A tenant spans both modes: only an operator key of live mode may change or delete it."}

// changeTenant returns an error unless the caller is an operator of live mode.
func (c Caller) changeTenant() error {
	if err := c.administer(); err != nil {
		return err
	}
	if c.Mode != hook.Live {
		return errBothModes
	}
	return nil
}

// RenameTenant changes the name of a tenant. Operators of live mode only. Each check
// receives the current tenant; its error prevents the change.
func (s *Service) RenameTenant(ctx context.Context, c Caller, id, name string, checks ...func(hook.Tenant) error) (hook.Tenant, error) {
	return s.UpdateTenant(ctx, c, id, TenantChange{Name: &name}, checks...)
}

// DeleteTenant deletes a tenant with its endpoints and keys of both modes. Operators of
// live mode only. Each check receives the current tenant; its error prevents the
// deletion.
func (s *Service) DeleteTenant(ctx context.Context, c Caller, id string, checks ...func(hook.Tenant) error) error {
	if err := c.changeTenant(); err != nil {
		return err
	}
	return s.o.Store.DeleteTenant(ctx, id, checks...)
}

// checkNamed returns an error to an operator whose list is empty because the named
// tenant does not exist.
func (s *Service) checkNamed(ctx context.Context, c Caller, tenant string) error {
	if tenant == "" || tenant == hook.OperatorTenant || c.Kind != hook.Operator {
		return nil
	}
	_, err := s.o.Store.Tenant(ctx, tenant)
	if hook.CodeOf(err) == hook.CodeTenantNotFound || hook.CodeOf(err) == hook.CodeNotFound {
		return noTenant("tenant")
	}
	return err
}

// checkText bounds a text for people, in characters. It refuses characters that are
// invisible and change how the surrounding text is shown: control characters, except
// the line feed of a description, and format characters (general category Cf). Joiners
// are allowed, because Persian, the scripts of India and emoji need them.
func checkText(field, text string, limit int) error {
	if utf8.RuneCountInString(text) > limit {
		return invalid(field, fmt.Sprintf("%q is too long: it may have %d characters.", field, limit))
	}
	for _, r := range text {
		if lines := field == "description" && r == '\n'; !lines && hidden(r) {
			return invalid(field, fmt.Sprintf("%q must not contain the control or format character U+%04X. Send plain text.", field, r))
		}
	}
	return nil
}

func hidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) && !unicode.Is(unicode.Join_Control, r)
}

// same is the result function of methods that return what the store returns.
func same(stored any) any { return stored }
