package store

import (
	"context"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
)

// ListenersAway trips every listener that still counts as connected and returns
// how many these were. It is for the start of a process: nobody is connected to
// it yet.
func (s *Store) ListenersAway(ctx context.Context) (int, error) {
	type found struct {
		scope hook.Scope
		id    hook.ID
	}
	count := 0
	err := s.do(ctx, 4, func(t *tx) error {
		count = 0
		if t.s.cluster != nil {
			others, err := t.s.cluster.others(t)
			if err != nil || others > 0 {
				return err // they may be connected there
			}
		}
		rows, err := collect(background, t.q(), func(row scanner) (f found, err error) {
			err = row.Scan(blob(f.id[:]), &f.scope.Mode, &f.scope.Tenant)
			return f, err
		}, "SELECT id, mode, tenant FROM endpoints WHERE status = ? AND substr(url, 1, ?) = ?",
			hook.Enabled, len(hook.ListenScheme), hook.ListenScheme)
		if err != nil {
			return err
		}
		for _, f := range rows {
			e, err := t.endpoint(f.scope, f.id)
			if err != nil {
				return err
			}
			if e == nil || e.Status != hook.Enabled {
				continue
			}
			if err := t.trip(e, disabledAway); err != nil {
				return err
			}
			count++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("note that listeners are away: %w", err)
	}
	return count, nil
}
