package app

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
)

// RetentionStore stores how long tenants keep their data, and measures what they take.
type RetentionStore interface {
	Retention(ctx context.Context, scope hook.Scope) (own, inForce hook.Retention, err error)
	SetRetention(ctx context.Context, scope hook.Scope, own hook.Retention) error
	DiskUse(ctx context.Context) (hook.DiskUse, error)
	TenantDisk(ctx context.Context, scope hook.Scope) (hook.DiskBytes, error)
}

// Retention returns how long a tenant keeps its data in the caller's mode: what it set, and
// what is in force. Operators only.
func (s *Service) Retention(ctx context.Context, c Caller, tenant string) (own, inForce hook.Retention, err error) {
	if err := c.administer(); err != nil {
		return own, inForce, err
	}
	return s.o.Store.Retention(ctx, hook.Scope{Tenant: tenant, Mode: c.Mode})
}

// SetRetention changes how long a tenant keeps its data in the caller's mode. update gets
// what the tenant has set. A class that would be kept for longer than the server keeps it is
// refused. Operators only.
func (s *Service) SetRetention(ctx context.Context, c Caller, tenant string, update func(own hook.Retention) (hook.Retention, error)) (own, inForce hook.Retention, err error) {
	if err := c.administer(); err != nil {
		return own, inForce, err
	}
	scope := hook.Scope{Tenant: tenant, Mode: c.Mode}
	if own, _, err = s.o.Store.Retention(ctx, scope); err != nil {
		return own, inForce, err
	}
	if own, err = update(own); err != nil {
		return own, inForce, err
	}
	if err := s.o.Store.SetRetention(ctx, scope, own); err != nil {
		return own, inForce, err
	}
	return s.o.Store.Retention(ctx, scope)
}

// Disk returns what the store takes on disk. Both modes share the store; the tenants are
// those of the caller's mode with the most bytes, or only the named one. Operators only.
func (s *Service) Disk(ctx context.Context, c Caller, tenant string) (hook.DiskUse, error) {
	if err := c.administer(); err != nil {
		return hook.DiskUse{}, err
	}
	if err := s.checkNamed(ctx, c, tenant); err != nil {
		return hook.DiskUse{}, err
	}
	use, err := s.o.Store.DiskUse(ctx)
	if err != nil {
		return use, err
	}
	all := use.Tenants
	use.Tenants = nil
	for _, d := range all {
		if d.Scope.Mode == c.Mode && (tenant == "" || d.Scope.Tenant == tenant) {
			use.Tenants = append(use.Tenants, d)
		}
	}
	if tenant != "" && len(use.Tenants) == 0 {
		scope := hook.Scope{Tenant: tenant, Mode: c.Mode}
		bytes, err := s.o.Store.TenantDisk(ctx, scope)
		if err != nil {
			return use, err
		}
		use.Tenants = []hook.TenantDisk{{Scope: scope, DiskBytes: bytes}}
	}
	return use, nil
}
