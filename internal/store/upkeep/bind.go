package upkeep

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Binding. Headers and queries that earlier releases sealed are sealed again, bound to the
// URL they belong to (directory/bound.go). Once all are bound, a sealed record in the
// database says so, and unbound values are no longer opened. On PostgreSQL this waits
// until all nodes run this release, because earlier releases can open only unbound values.

const bindPage = 100

// bindSealed binds the values that are not yet bound, in pages.
func (s *Keeper) bindSealed(ctx context.Context) error {
	if !s.core.Directory.Unbound() {
		return nil
	}
	if alike, err := s.core.Peers.Alike(ctx); err != nil || !alike {
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
			if err := sqltext.Pause(ctx, unit.PagePause); err != nil {
				return err
			}
		}
	}
	s.core.Directory.Bound()
	return nil
}

// bindPage binds the values of the next endpoints. After the last of them it records that
// all are bound. Values that cannot be opened stay as they are.
func (t *tx) bindPage(after hook.ID) (last hook.ID, more bool, err error) {
	ids, err := sqltext.Collect(background, t.Conn, sqltext.ScanID, `SELECT id FROM endpoints
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
	sealed, err := t.s.core.Directory.SealBound()
	if err != nil {
		return last, false, err
	}
	_, err = t.Exec("write that sealed values are bound", `INSERT INTO meta (key, value) VALUES ('bound_to_urls', ?)
		ON CONFLICT (key) DO UPDATE SET value = excluded.value`, sealed)
	return last, false, err
}

func (t *tx) bind(id hook.ID) error {
	found, err := t.s.core.Directory.LoadEndpoints(background, t.Conn, directory.WithID, id[:])
	if err != nil || len(found) == 0 {
		return err
	}
	e := found[0]
	head, query, headers, err := t.s.core.Directory.SealRow(e)
	if err != nil {
		return err
	}
	if !e.Damage.Has(hook.DamagedQuery) {
		if _, err := t.Exec("bind query", "UPDATE endpoints SET url = ?, query_sealed = ? WHERE id = ?", head, query, id[:]); err != nil {
			return err
		}
	}
	if e.Damage.Has(hook.DamagedHeaders) {
		return nil
	}
	_, err = t.Exec("bind headers", "UPDATE endpoints SET headers_sealed = ? WHERE id = ?", headers, id[:])
	return err
}
