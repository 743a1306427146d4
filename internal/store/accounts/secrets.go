package accounts

import (
	"cmp"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// SaveSecrets makes the stored secrets equal to the snapshot's list. It numbers and seals
// new ones so that the first in the list has the highest version. It deletes those that
// have expired or are not in the list.
func (d Duties) SaveSecrets(t *unit.Tx, e *hook.Endpoint) error {
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
			if err := d.accounts.insertSecret(t, e, &secret); err != nil {
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

func (s *Accounts) insertSecret(t *unit.Tx, e *hook.Endpoint, secret *hook.Secret) error {
	sealed, err := s.core.Keys.Seal(directory.SecretPlace(e, secret.Version), []byte(secret.Text))
	if err != nil {
		return err
	}
	_, err = t.Exec("insert secret", `INSERT INTO secrets (endpoint, version, mode, tenant, encoding, sealed, created_at, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, e.ID[:], secret.Version, int64(e.Scope.Mode), e.Scope.Tenant, string(secret.Encoding), sealed,
		sqltext.Micros(secret.CreatedAt), sqltext.Micros(secret.ExpiresAt))
	return err
}
