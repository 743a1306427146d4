package store

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// RotateSecret gives the endpoint a new secret. The current secrets sign alongside it
// during the overlap; an overlap of 0 ends them at once. Secrets that cannot be opened are
// deleted. An empty tenant means every tenant of the mode. RotateSecret returns
// CodeSecretLimit if more than hook.MaxSecrets would be in force.
func (s *Store) RotateSecret(ctx context.Context, scope hook.Scope, id hook.ID, secret hook.Secret, overlap time.Duration,
	once *hook.Once) (*hook.Endpoint, *hook.Replay, error) {
	var made *hook.Endpoint
	var replay *hook.Replay
	err := s.doFor(ctx, scope, "rotate secret", 4, func(t *tx) (err error) {
		replay, err = t.Once(once, func() (any, bool, error) {
			old, err := t.EndpointByID(scope, id)
			if err != nil {
				return nil, false, err
			}
			next := *old
			next.Secrets = rotated(old.Secrets, secret, t.Now, overlap)
			next.Damage &^= hook.DamagedSecrets
			if live(next.Secrets, t.Now) > hook.MaxSecrets {
				return nil, false, errTooManySecrets()
			}
			made = &next
			if err := t.saveMended(old, made); err != nil {
				return nil, false, err
			}
			t.Audited(hook.ActSecretRotated, "endpoint", id.String(), made.Scope, "overlap "+overlap.String())
			t.s.alerts.Endpoint(t.Tx, hook.AlertEndpointUpdated, made, "secrets")
			return made, true, nil
		})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return made, replay, nil
}

func live(secrets []hook.Secret, now time.Time) (n int) {
	for _, s := range secrets {
		if s.Live(now) {
			n++
		}
	}
	return n
}

func errTooManySecrets() *hook.Error {
	return &hook.Error{Code: hook.CodeSecretLimit, Message: fmt.Sprintf("The endpoint has %d secrets in force, and each request is signed with all of them; no more are allowed."+
		" Nothing was stored. End the earlier ones (POST /v1/endpoints/{id}/secret/expire), or rotate with an overlap of 0s, which does so too.", hook.MaxSecrets)}
}

func rotated(old []hook.Secret, secret hook.Secret, now time.Time, overlap time.Duration) []hook.Secret {
	secret.Version = 0
	list := []hook.Secret{secret}
	end := now.Add(overlap).Truncate(time.Microsecond)
	for _, s := range old {
		if s.ExpiresAt.IsZero() || end.Before(s.ExpiresAt) {
			s.ExpiresAt = end
		}
		list = append(list, s)
	}
	return list
}
