package store

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Binding: sealed headers and queries of earlier releases are sealed again, bound to the
// URL they belong to (directory/bound.go). When all are, the database says so, sealed, and
// nobody opens an unbound value any more. On PostgreSQL that waits until all nodes run
// this release, because earlier ones open only what is unbound.

const bindPage = 100

// bindSealed binds what is not bound yet, in pages.
func (s *Store) bindSealed(ctx context.Context) error {
	if !s.dir.Unbound() {
		return nil
	}
	if alike, err := s.peers.Alike(ctx); err != nil || !alike {
		return err
	}
	for at, more := (hook.ID{}), true; more; {
		var last hook.ID
		err := s.maintain(ctx, "bind sealed values", bindPage, func(t *tx) (err error) {
			last, more, err = t.bindPage(at)
			return err
		})
		if err != nil {
			return err
		}
		if at = last; more {
			if err := sqltext.Pause(ctx, retentionPause); err != nil {
				return err
			}
		}
	}
	s.dir.Bound()
	return nil
}

// bindPage binds the next endpoints, and after the last of them writes that all are bound.
// What does not open stays as it is.
func (t *tx) bindPage(after hook.ID) (last hook.ID, more bool, err error) {
	ids, err := sqltext.Collect(background, t.c, sqltext.ScanID, `SELECT id FROM endpoints
		WHERE (headers_sealed IS NOT NULL OR query_sealed IS NOT NULL) AND id > ? ORDER BY id LIMIT ?{lock}`, after[:], bindPage)
	if err != nil {
		return after, false, sqltext.Wrap("read sealed values", err)
	}
	for _, id := range ids {
		last = id
		if err := t.bind(id); err != nil {
			return after, false, err
		}
	}
	if len(ids) == bindPage {
		return last, true, nil
	}
	sealed, err := t.s.dir.SealBound()
	if err != nil {
		return last, false, err
	}
	_, err = t.exec("write that sealed values are bound", `INSERT INTO meta (key, value) VALUES ('bound_to_urls', ?)
		ON CONFLICT (key) DO UPDATE SET value = excluded.value`, sealed)
	return last, false, err
}

func (t *tx) bind(id hook.ID) error {
	found, err := t.s.dir.LoadEndpoints(background, t.c, directory.WithID, id[:])
	if err != nil || len(found) == 0 {
		return err
	}
	e := found[0]
	head, query, headers, err := t.s.dir.SealRow(e)
	if err != nil {
		return err
	}
	if !e.Damage.Has(hook.DamagedQuery) {
		if _, err := t.exec("bind query", "UPDATE endpoints SET url = ?, query_sealed = ? WHERE id = ?", head, query, id[:]); err != nil {
			return err
		}
	}
	if e.Damage.Has(hook.DamagedHeaders) {
		return nil
	}
	_, err = t.exec("bind headers", "UPDATE endpoints SET headers_sealed = ? WHERE id = ?", headers, id[:])
	return err
}
