package app

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"

	"github.com/posthorn/posthorn/internal/hook"
)

// SecretInForce returns CodeSecretChanged unless text is the newest secret of the
// endpoint. It is called before a stored response shows the secret to a repeated
// request. Success is logged like a reveal (S-11).
func (s *Service) SecretInForce(ctx context.Context, c Caller, id hook.ID, text string) error {
	if err := c.may(hook.MaySeeSecret); err != nil {
		return err
	}
	scope, err := c.reach("")
	if err != nil {
		return err
	}
	ep, err := s.o.Store.EndpointNow(ctx, scope, id)
	if hook.CodeOf(err) == hook.CodeNotFound {
		return errNotInForce
	}
	if err != nil {
		return err
	}
	if len(ep.Secrets) == 0 || ep.Damage.Has(hook.DamagedSecrets) || subtle.ConstantTimeCompare([]byte(ep.Secrets[0].Text), []byte(text)) != 1 {
		return errNotInForce
	}
	return s.auditReveal(ctx, c, ep, "secret repeated", "to a repeated request")
}

// KeyInForce is SecretInForce for the text of a key.
func (s *Service) KeyInForce(ctx context.Context, text string) error {
	key, err := s.o.Store.KeyByHash(ctx, sha256.Sum256([]byte(text)))
	if hook.CodeOf(err) == hook.CodeNotFound {
		return errNotInForce
	}
	if err != nil {
		return err
	}
	return s.o.Store.Audit(ctx, hook.AuditEntry{Mode: key.Mode, Tenant: key.Tenant, Act: hook.ActKeyShown, Object: "key", ObjectID: key.ID.String(),
		Outcome: hook.AuditOK, Detail: "to a repeated request"})
}

var errNotInForce = &hook.Error{Code: hook.CodeSecretChanged, Field: "Idempotency-Key",
	Message: "This request was carried out before, and the secret or key in its answer is not in force any more: it was rotated, deleted or revoked since." +
		" Nothing was done. To get a new one, rotate the secret or create a key with another idempotency key."}
