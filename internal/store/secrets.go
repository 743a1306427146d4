package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// saveSecrets makes the stored secrets equal to the snapshot's list. It numbers and seals
// new ones so that the first in the list has the highest version. It deletes those that
// have expired or are not in the list.
func (t *tx) saveSecrets(e *hook.Endpoint) error {
	stored, err := sqltext.Collect(background, t.Conn, func(row sqltext.Scanner) (v [2]int64, err error) {
		err = row.Scan(&v[0], &v[1])
		return v, err
	}, "SELECT version, expires_at FROM secrets WHERE endpoint = ?", e.ID[:])
	if err != nil {
		return sqltext.Wrap("read versions of secrets", err)
	}
	expires, newest := map[int64]int64{}, int64(0)
	for _, v := range stored {
		expires[v[0]] = v[1]
		newest = max(newest, v[0])
	}
	var kept []hook.Secret
	for _, secret := range slices.Backward(e.Secrets) {
		if !secret.Live(t.Now) {
			continue
		}
		if secret.Version == 0 {
			newest = max(newest, highest(e.Secrets)) + 1
			secret.Version, secret.CreatedAt = newest, t.Now
			if err := t.insertSecret(e, &secret); err != nil {
				return err
			}
		} else if was, ok := expires[secret.Version]; ok && was != sqltext.Micros(secret.ExpiresAt) {
			if _, err := t.Exec("expire secret", "UPDATE secrets SET expires_at = ? WHERE endpoint = ? AND version = ?",
				sqltext.Micros(secret.ExpiresAt), e.ID[:], secret.Version); err != nil {
				return err
			}
		}
		delete(expires, secret.Version)
		kept = append(kept, secret)
	}
	for version := range expires {
		if _, err := t.Exec("delete secret", "DELETE FROM secrets WHERE endpoint = ? AND version = ?", e.ID[:], version); err != nil {
			return err
		}
	}
	slices.SortFunc(kept, func(a, b hook.Secret) int { return cmp.Compare(b.Version, a.Version) })
	e.Secrets = kept
	return nil
}

func highest(secrets []hook.Secret) int64 {
	var n int64
	for _, s := range secrets {
		n = max(n, s.Version)
	}
	return n
}

func (t *tx) insertSecret(e *hook.Endpoint, secret *hook.Secret) error {
	sealed, err := t.s.core.Keys.Seal(directory.SecretPlace(e, secret.Version), []byte(secret.Text))
	if err != nil {
		return err
	}
	_, err = t.Exec("insert secret", `INSERT INTO secrets (endpoint, version, mode, tenant, encoding, sealed, created_at, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, e.ID[:], secret.Version, int64(e.Scope.Mode), e.Scope.Tenant, string(secret.Encoding), sealed,
		sqltext.Micros(secret.CreatedAt), sqltext.Micros(secret.ExpiresAt))
	return err
}

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
			t.alertEndpoint(hook.AlertEndpointUpdated, made, "secrets")
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
