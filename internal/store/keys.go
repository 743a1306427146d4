package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const keyColumns = "id, kind, mode, tenant, name, hash, created_at"

func scanKey(row sqltext.Scanner) (hook.Key, error) {
	var k hook.Key
	var created int64
	err := row.Scan(sqltext.Blob(k.ID[:]), &k.Kind, &k.Mode, &k.Tenant, &k.Name, sqltext.Blob(k.Hash[:]), &created)
	k.CreatedAt = sqltext.FromMicros(created)
	return k, err
}

// CreateKey stores a key under its hash; id and time are set here. A tenant that
// is named must exist: CodeTenantNotFound. A hash that is known, also of a
// revoked key, gives CodeConflict.
func (s *Store) CreateKey(ctx context.Context, k hook.Key, once *hook.Once) (hook.Key, *hook.Replay, error) {
	var made hook.Key
	var replay *hook.Replay
	err := s.do(ctx, "create key", 1, func(t *tx) (err error) {
		replay, err = t.once(once, func() (any, bool, error) {
			if k.Tenant != "" {
				entry, err := t.scope(hook.Scope{Tenant: k.Tenant, Mode: k.Mode})
				if err != nil {
					return nil, false, err
				}
				if !entry.tenant {
					return nil, false, errNoTenant()
				}
			}
			made = k
			made.ID, made.CreatedAt = t.s.ids.Next(), t.now
			t.keysChanged()
			n, err := t.exec("insert key", "INSERT INTO keys ("+keyColumns+") VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", made.ID[:], string(made.Kind),
				int64(made.Mode), made.Tenant, made.Name, made.Hash[:], sqltext.Micros(made.CreatedAt))
			if err == nil && n == 0 {
				err = &hook.Error{Code: hook.CodeConflict, Message: "This key exists or existed."}
			}
			return made, true, err
		})
		return err
	})
	if err != nil {
		return hook.Key{}, nil, err
	}
	return made, replay, nil
}

// KeyByHash returns the key with this SHA-256 of its text. Unknown and revoked
// keys give the same CodeNotFound (S-10). A revocation counts from its commit on.
func (s *Store) KeyByHash(ctx context.Context, hash [32]byte) (hook.Key, error) {
	k, age, ok := s.known.get(hash)
	if ok {
		return k, nil
	}
	k, err := scanKey(s.read.QueryRowContext(ctx, "SELECT "+keyColumns+" FROM keys WHERE hash = ? AND revoked_at = 0", hash[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return hook.Key{}, hook.NotFound("key")
	}
	if err != nil {
		return hook.Key{}, s.readError("read key", err)
	}
	s.known.offer(k, age)
	return k, nil
}

// Keys lists the keys of a scope that are not revoked, newest first. An empty
// tenant means all of the mode.
func (s *Store) Keys(ctx context.Context, scope hook.Scope, page hook.Page) ([]hook.Key, string, error) {
	before, err := sqltext.BeforeOf(page, 1)
	if err != nil {
		return nil, "", err
	}
	list, err := sqltext.Collect(ctx, s.read, scanKey, "SELECT "+keyColumns+` FROM keys e WHERE e.mode = ? AND `+sqltext.TenantIs(scope)+`
		AND revoked_at = 0 AND id < ? ORDER BY id DESC LIMIT ?`, scope.Mode, scope.Tenant, before[0][:], sqltext.LimitOf(page)+1)
	if err != nil {
		return nil, "", s.readError("list keys", err)
	}
	if len(list) <= sqltext.LimitOf(page) {
		return list, "", nil
	}
	list = list[:sqltext.LimitOf(page)]
	return list, sqltext.CursorOf(list[len(list)-1].ID), nil
}

// RevokeKey ends a key. An empty scope tenant means all of the mode.
func (s *Store) RevokeKey(ctx context.Context, scope hook.Scope, id hook.ID) error {
	return s.doFor(ctx, scope, "revoke key", 1, func(t *tx) error {
		t.keysChanged()
		n, err := t.exec("revoke key", "UPDATE keys SET revoked_at = ? WHERE id = ? AND mode = ? AND (? = '' OR tenant = ?) AND revoked_at = 0",
			sqltext.Micros(t.now), id[:], int64(scope.Mode), scope.Tenant, scope.Tenant)
		if err == nil && n == 0 {
			return hook.NotFound("key")
		}
		return err
	})
}

// seqID and seqOf carry a number in a cursor of ids.
func seqID(n int64) (id hook.ID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

func seqOf(id hook.ID) int64 { return int64(binary.BigEndian.Uint64(id[8:])) }
