package accounts

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// CreateKey stores a key under its hash. It sets the id and the time. It returns
// CodeTenantNotFound if the key names a tenant that does not exist, and CodeConflict if
// the hash is known, even that of a revoked key.
func (s *Accounts) CreateKey(ctx context.Context, k hook.Key, once *hook.Once) (hook.Key, *hook.Replay, error) {
	var made hook.Key
	var replay *hook.Replay
	err := s.do(ctx, "create key", 1, func(t *tx) (err error) {
		replay, err = t.Once(once, func() (any, bool, error) {
			if k.Tenant != "" {
				entry, err := t.Scope(hook.Scope{Tenant: k.Tenant, Mode: k.Mode})
				if err != nil {
					return nil, false, err
				}
				if !entry.Tenant || k.Tenant == hook.OperatorTenant {
					return nil, false, unit.NoTenant()
				}
			}
			made = k
			made.ID, made.CreatedAt = t.s.core.IDs.Next(), t.Now
			t.KeysChanged()
			n, err := t.Exec("insert key", "INSERT INTO keys ("+read.KeyColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", read.KeyValues(&made)...)
			if err == nil && n == 0 {
				err = &hook.Error{Code: hook.CodeConflict, Message: "This key exists or existed."}
			}
			t.Audited(hook.ActKeyCreated, "key", made.ID.String(), hook.Scope{Tenant: made.Tenant, Mode: made.Mode}, string(made.Kind))
			return made, true, err
		})
		return err
	})
	if err != nil {
		return hook.Key{}, nil, err
	}
	return made, replay, nil
}

// RevokeKey revokes a key. An empty tenant means every tenant of the mode.
func (s *Accounts) RevokeKey(ctx context.Context, scope hook.Scope, id hook.ID) error {
	return s.doFor(ctx, scope, "revoke key", 1, func(t *tx) error {
		t.KeysChanged()
		of, err := unit.Returning(t.Tx, scanText, "UPDATE keys SET revoked_at = ? WHERE id = ? AND mode = ? AND (? = '' OR tenant = ?) AND revoked_at = 0 RETURNING tenant",
			sqltext.Micros(t.Now), id[:], int64(scope.Mode), scope.Tenant, scope.Tenant)
		if err != nil {
			return sqltext.Wrap("revoke key", err)
		}
		if len(of) == 0 {
			return hook.NotFound("key")
		}
		t.Audited(hook.ActKeyRevoked, "key", id.String(), hook.Scope{Tenant: of[0], Mode: scope.Mode})
		return nil
	})
}

// CreateToken stores a token of a key of the scope, which must have a tenant. It returns
// CodeNotFound if the key is unknown there or was revoked, even a moment ago.
func (s *Accounts) CreateToken(ctx context.Context, scope hook.Scope, token hook.Token) error {
	return s.doFor(ctx, scope, "create token", 1, func(t *tx) error {
		n, err := t.Exec("insert token", `INSERT INTO oauth_tokens (hash, key, mode, tenant, created_at, expires_at)
			SELECT ?, id, mode, tenant, ?, ? FROM keys WHERE id = ? AND mode = ? AND tenant = ? AND revoked_at = 0`,
			token.Hash[:], sqltext.Micros(t.Now), sqltext.Micros(token.ExpiresAt), token.Key[:], int64(scope.Mode), scope.Tenant)
		if err == nil && n == 0 {
			return hook.NotFound("key")
		}
		t.Audited(hook.ActTokenIssued, "key", token.Key.String(), scope)
		return err
	})
}

// expireTokens deletes expired tokens.
func (s *Accounts) expireTokens(ctx context.Context) error {
	for more := true; more; {
		err := s.maintain(ctx, "expire tokens", unit.HousekeepPage, func(t *tx) error {
			n, err := t.Exec("expire tokens", `DELETE FROM oauth_tokens WHERE hash IN
				(SELECT hash FROM oauth_tokens WHERE expires_at <= ? LIMIT ?)`, sqltext.Micros(t.Now), int64(unit.HousekeepPage))
			more = n == unit.HousekeepPage
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// CreatePartnerUser stores a grant. It sets the id and the time. If one of the two tenants
// does not exist, it returns CodeTenantNotFound with the field that names it. If the user
// already has a grant, for any tenant, it returns CodeConflict.
func (s *Accounts) CreatePartnerUser(ctx context.Context, p hook.PartnerUser, once *hook.Once) (hook.PartnerUser, *hook.Replay, error) {
	var made hook.PartnerUser
	var replay *hook.Replay
	err := s.do(ctx, "create partner user", 1, func(t *tx) (err error) {
		replay, err = t.Once(once, func() (any, bool, error) {
			for _, named := range [][2]string{{"partner", p.Partner}, {"tenant", p.Tenant}} {
				if _, err := t.Tenant(named[1]); hook.CodeOf(err) == hook.CodeNotFound {
					return nil, false, &hook.Error{Code: hook.CodeTenantNotFound, Field: named[0], Message: "No such tenant."}
				} else if err != nil {
					return nil, false, err
				}
			}
			made = p
			made.ID, made.CreatedAt = t.s.core.IDs.Next(), t.Now
			n, err := t.Exec("insert partner user", `INSERT INTO partner_users (id, mode, partner, user_id, tenant, created_at)
				VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (mode, partner, user_id) DO NOTHING`,
				made.ID[:], int64(made.Mode), made.Partner, made.User, made.Tenant, sqltext.Micros(made.CreatedAt))
			if err == nil && n == 0 {
				err = &hook.Error{Code: hook.CodeConflict, Field: "user", Message: "The partner has a grant for this user already. Delete it first."}
			}
			t.Audited(hook.ActPartnerUserCreated, "partner_user", made.ID.String(), hook.Scope{Tenant: made.Tenant, Mode: made.Mode}, "partner "+made.Partner)
			return made, true, err
		})
		return err
	})
	if err != nil {
		return hook.PartnerUser{}, nil, err
	}
	return made, replay, nil
}

// DeletePartnerUser revokes a grant at once. An empty tenant means every tenant of the
// mode.
func (s *Accounts) DeletePartnerUser(ctx context.Context, scope hook.Scope, id hook.ID) error {
	return s.doFor(ctx, scope, "delete partner user", 1, func(t *tx) error {
		of, err := unit.Returning(t.Tx, scanText, "DELETE FROM partner_users WHERE id = ? AND mode = ? AND (? = '' OR partner = ?) RETURNING tenant",
			id[:], int64(scope.Mode), scope.Tenant, scope.Tenant)
		if err != nil {
			return sqltext.Wrap("delete partner user", err)
		}
		if len(of) == 0 {
			return hook.NotFound("partner user")
		}
		t.Audited(hook.ActPartnerUserDeleted, "partner_user", id.String(), hook.Scope{Tenant: of[0], Mode: scope.Mode})
		return nil
	})
}

func scanText(row sqltext.Scanner) (text string, err error) {
	err = row.Scan(&text)
	return text, err
}
