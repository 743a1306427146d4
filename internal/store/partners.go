package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const partnerColumns = "p.id, p.mode, p.partner, p.user_id, p.tenant, p.created_at"

func scanPartner(row sqltext.Scanner) (hook.PartnerUser, error) {
	var p hook.PartnerUser
	var created int64
	err := row.Scan(sqltext.Blob(p.ID[:]), &p.Mode, &p.Partner, &p.User, &p.Tenant, &created)
	p.CreatedAt = sqltext.FromMicros(created)
	return p, err
}

// CreatePartnerUser stores a grant; id and time are set here. Both tenants must
// exist: CodeTenantNotFound with the member to blame. A user who is granted
// already gives CodeConflict, whatever the tenant.
func (s *Store) CreatePartnerUser(ctx context.Context, p hook.PartnerUser, once *hook.Once) (hook.PartnerUser, *hook.Replay, error) {
	var made hook.PartnerUser
	var replay *hook.Replay
	err := s.do(ctx, "create partner user", 1, func(t *tx) (err error) {
		replay, err = t.once(once, func() (any, bool, error) {
			for _, named := range [][2]string{{"partner", p.Partner}, {"tenant", p.Tenant}} {
				if _, err := t.tenant(named[1]); hook.CodeOf(err) == hook.CodeNotFound {
					return nil, false, &hook.Error{Code: hook.CodeTenantNotFound, Field: named[0], Message: "No such tenant."}
				} else if err != nil {
					return nil, false, err
				}
			}
			made = p
			made.ID, made.CreatedAt = t.s.ids.Next(), t.now
			n, err := t.exec("insert partner user", `INSERT INTO partner_users (id, mode, partner, user_id, tenant, created_at)
				VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (mode, partner, user_id) DO NOTHING`,
				made.ID[:], int64(made.Mode), made.Partner, made.User, made.Tenant, sqltext.Micros(made.CreatedAt))
			if err == nil && n == 0 {
				err = &hook.Error{Code: hook.CodeConflict, Field: "user", Message: "The partner has a grant for this user already. Delete it first."}
			}
			return made, true, err
		})
		return err
	})
	if err != nil {
		return hook.PartnerUser{}, nil, err
	}
	return made, replay, nil
}

// PartnerTenant returns the tenant that keys of the partner, which is the scope's
// tenant, act for when they name the user. An unknown user and a grant for a
// tenant that was deleted give the same CodeNotFound.
func (s *Store) PartnerTenant(ctx context.Context, scope hook.Scope, user string) (string, error) {
	var tenant string
	err := s.read.QueryRowContext(ctx, `SELECT p.tenant FROM partner_users p JOIN tenants n ON n.id = p.tenant AND n.deleted_at = 0
		WHERE p.mode = ? AND p.partner = ? AND p.user_id = ?`, scope.Mode, scope.Tenant, user).Scan(&tenant)
	if errors.Is(err, sql.ErrNoRows) {
		return "", hook.NotFound("user")
	}
	if err != nil {
		return "", s.readError("read partner user", err)
	}
	return tenant, nil
}

// PartnerUsers lists the grants of a mode, newest first. A scope with a tenant
// lists that partner's only.
func (s *Store) PartnerUsers(ctx context.Context, scope hook.Scope, page hook.Page) ([]hook.PartnerUser, string, error) {
	before, err := sqltext.BeforeOf(page, 1)
	if err != nil {
		return nil, "", err
	}
	list, err := sqltext.Collect(ctx, s.read, scanPartner, "SELECT "+partnerColumns+` FROM partner_users p
		WHERE p.mode = ? AND (? = '' OR p.partner = ?) AND p.id < ? ORDER BY p.id DESC LIMIT ?`,
		scope.Mode, scope.Tenant, scope.Tenant, before[0][:], sqltext.LimitOf(page)+1)
	if err != nil {
		return nil, "", s.readError("list partner users", err)
	}
	if len(list) <= sqltext.LimitOf(page) {
		return list, "", nil
	}
	list = list[:sqltext.LimitOf(page)]
	return list, sqltext.CursorOf(list[len(list)-1].ID), nil
}

// DeletePartnerUser ends a grant at once. An empty scope tenant means all of the
// mode.
func (s *Store) DeletePartnerUser(ctx context.Context, scope hook.Scope, id hook.ID) error {
	return s.doFor(ctx, scope, "delete partner user", 1, func(t *tx) error {
		n, err := t.exec("delete partner user", "DELETE FROM partner_users WHERE id = ? AND mode = ? AND (? = '' OR partner = ?)",
			id[:], int64(scope.Mode), scope.Tenant, scope.Tenant)
		if err == nil && n == 0 {
			return hook.NotFound("partner user")
		}
		return err
	})
}
