package store

import (
	"context"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// awayPage bounds the listeners that one operation trips.
const awayPage = 50

// ListenersAway trips every listener that is still marked as connected, and returns their
// number. It is called when a process starts, because no receiver is connected yet.
func (s *Store) ListenersAway(ctx context.Context) (int, error) {
	count, err := s.tripAway(ctx, false, func(*hook.Endpoint) bool { return true },
		"status = ? AND substr(url, 1, ?) = ?{away}", hook.Enabled, len(hook.ListenScheme), hook.ListenScheme)
	return count, sqltext.Wrap("trip listeners", err)
}

// tripAway trips the enabled endpoints that match a condition and for which away returns
// true, and returns their number. Each page is an operation.
func (s *Store) tripAway(ctx context.Context, settles bool, away func(*hook.Endpoint) bool, where string, args ...any) (count int, err error) {
	type found struct {
		scope hook.Scope
		id    hook.ID
	}
	var last hook.ID
	for more := true; more; {
		var tripped int
		var next hook.ID
		err := s.write(ctx, &op{Name: "trip listeners", Rows: 8 * awayPage, Stays: true, Hot: true, Outcome: settles, Apply: func(t *tx) error {
			tripped = 0
			rows, err := sqltext.Collect(background, t.Conn, func(row sqltext.Scanner) (f found, err error) {
				err = row.Scan(sqltext.Blob(f.id[:]), &f.scope.Mode, &f.scope.Tenant)
				return f, err
			}, "SELECT id, mode, tenant FROM endpoints WHERE "+where+" AND id > ? ORDER BY id LIMIT ?", append(slices.Clone(args), last[:], awayPage)...)
			if err != nil {
				return sqltext.Wrap("read listeners", err)
			}
			for _, f := range rows {
				next = f.id
				e, err := t.Endpoint(f.scope, f.id)
				if err != nil {
					return err
				}
				if e == nil || e.Status != hook.Enabled || !away(e) {
					continue
				}
				gone := *e
				gone.Home = 0
				if err := t.trip(&gone, hook.DisabledAway); err != nil {
					return err
				}
				tripped++
			}
			more = len(rows) == awayPage
			return nil
		}})
		if err != nil {
			return count, err
		}
		count, last = count+tripped, next
	}
	return count, nil
}

// errElsewhere refuses an attempt that only another node can make.
func errElsewhere() *hook.Error {
	return &hook.Error{Code: hook.CodeConflict, Message: "The listener is connected to another node of this server. Send the request there, or connect the listener here."}
}

// listenersAway trips the listeners that were connected to a node that has ended.
func (s *Store) listenersAway(ctx context.Context, epoch int64) error {
	_, err := s.tripAway(ctx, true, func(e *hook.Endpoint) bool { return e.Home == epoch }, "home = ? AND home <> 0", epoch)
	return err
}
