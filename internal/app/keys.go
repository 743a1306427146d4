package app

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/posthorn/posthorn/internal/hook"
)

// NewKey is a key with its text, which is shown once and not kept.
type NewKey struct {
	hook.Key
	Text string
}

// CreateKey makes a key of the caller's mode. Operators only.
func (s *Service) CreateKey(ctx context.Context, c Caller, kind hook.Kind, tenant, name string, once *Once) (NewKey, *hook.Replay, error) {
	if err := c.administer(); err != nil {
		return NewKey{}, nil, err
	}
	if err := checkKey(kind, tenant, name); err != nil {
		return NewKey{}, nil, err
	}
	made := NewKey{Text: NewKeyText(c.Mode, kind)}
	made.Key = hook.Key{Kind: kind, Mode: c.Mode, Tenant: tenant, Name: name, Hash: sha256.Sum256([]byte(made.Text))}
	key, replay, err := s.o.Store.CreateKey(ctx, made.Key, once.in(hook.Scope{Mode: c.Mode}, func(stored any) any {
		key, _ := stored.(hook.Key)
		return NewKey{Key: key, Text: made.Text}
	}))
	return NewKey{Key: key, Text: made.Text}, replay, err
}

func checkKey(kind hook.Kind, tenant, name string) error {
	switch kind {
	case hook.Operator:
		if tenant != "" {
			return invalid("tenant", "An operator key stands for all tenants: leave \"tenant\" out.")
		}
	case hook.TenantKey:
		if tenant == "" {
			return invalid("tenant", "\"tenant\" is required for a tenant key.")
		}
	case hook.Publisher:
	default:
		return invalid("kind", "\"kind\" must be operator, publisher or tenant.")
	}
	return checkText("name", name, maxName)
}

// Keys returns a page of the keys of the caller's mode. Operators only. The mode of
// q.Scope is not looked at.
func (s *Service) Keys(ctx context.Context, c Caller, q hook.KeyQuery) ([]hook.Key, string, error) {
	if err := c.administer(); err != nil {
		return nil, "", err
	}
	q.Scope.Mode = c.Mode
	rows, next, err := s.o.Store.Keys(ctx, q)
	if err == nil && len(rows) == 0 {
		err = s.checkNamed(ctx, c, q.Scope.Tenant)
	}
	return rows, next, err
}

// RevokeKey ends a key of the caller's mode at once. Operators only.
func (s *Service) RevokeKey(ctx context.Context, c Caller, id hook.ID) error {
	if err := c.administer(); err != nil {
		return err
	}
	return s.o.Store.RevokeKey(ctx, hook.Scope{Mode: c.Mode}, id)
}

// FirstKeys makes one operator key for each mode if the live mode has none yet,
// and shows their texts. When they cannot be shown they are revoked again: nobody
// would have them. It is for the start of a server without bootstrap keys; used
// says that the store has tenants, so it has served before, with keys of another kind.
func (s *Service) FirstKeys(ctx context.Context, show func(live, test string, used bool) error) error {
	for page := (hook.Page{}); ; {
		keys, next, err := s.o.Store.Keys(ctx, hook.KeyQuery{Scope: hook.Scope{Mode: hook.Live}, Kind: hook.Operator, Page: page})
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			return nil
		}
		if next == "" {
			break
		}
		page.Cursor = next
	}
	tenants, _, err := s.o.Store.Tenants(ctx, hook.TenantQuery{Page: hook.Page{Limit: 1}})
	if err != nil {
		return err
	}
	// The live key comes last: a crash in between is made good by the next start.
	var made [2]NewKey
	for i, mode := range []hook.Mode{hook.Test, hook.Live} {
		var err error
		if made[i], _, err = s.CreateKey(ctx, Caller{Kind: hook.Operator, Mode: mode}, hook.Operator, "", "first start", nil); err != nil {
			return err
		}
	}
	err = show(made[1].Text, made[0].Text, len(tenants) > 0)
	if err != nil {
		for _, k := range made {
			err = errors.Join(err, s.o.Store.RevokeKey(ctx, hook.Scope{Mode: k.Mode}, k.ID))
		}
	}
	return err
}
