package store

import (
	"context"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// awayPage bounds the listeners that one write trips.
const awayPage = 50

// ListenersAway trips every listener that still counts as connected and returns
// how many these were. It is for the start of a process: nobody is connected to
// it yet.
func (s *Store) ListenersAway(ctx context.Context) (int, error) {
	count, err := s.tripAway(ctx, false, func(*hook.Endpoint) bool { return true },
		"status = ? AND substr(url, 1, ?) = ?{away}", hook.Enabled, len(hook.ListenScheme), hook.ListenScheme)
	return count, sqltext.Wrap("note that listeners are away", err)
}

// tripAway trips the enabled endpoints of a condition that are still away, a page a
// write, and returns how many these were.
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
			rows, err := sqltext.Collect(background, t.c, func(row sqltext.Scanner) (f found, err error) {
				err = row.Scan(sqltext.Blob(f.id[:]), &f.scope.Mode, &f.scope.Tenant)
				return f, err
			}, "SELECT id, mode, tenant FROM endpoints WHERE "+where+" AND id > ? ORDER BY id LIMIT ?", append(slices.Clone(args), last[:], awayPage)...)
			if err != nil {
				return sqltext.Wrap("read listeners", err)
			}
			for _, f := range rows {
				next = f.id
				e, err := t.endpoint(f.scope, f.id)
				if err != nil {
					return err
				}
				if e == nil || e.Status != hook.Enabled || !away(e) {
					continue
				}
				gone := *e
				gone.Home = 0
				if err := t.trip(&gone, disabledAway); err != nil {
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

// mine reports whether this process is the one that can attempt deliveries to the
// endpoint: a listener is connected to one of the nodes.
func (t *tx) mine(target *hook.Endpoint) bool {
	return !target.Listener() || target.Home == t.s.Epoch() || target.Home == 0
}

// errElsewhere refuses an attempt that only another node could make.
func errElsewhere() *hook.Error {
	return &hook.Error{Code: hook.CodeConflict, Message: "The listener is connected to another node of this server. Send the request there, or connect the listener here."}
}

// waitsSomewhere notes work in the table, for this node or the one that can do it.
func (t *tx) waitsSomewhere(target *hook.Endpoint, at time.Time) {
	if !t.mine(target) {
		if !t.told[target.ID] {
			if t.told == nil {
				t.told = map[hook.ID]bool{}
			}
			t.told[target.ID] = true
			t.tell(sqltext.WorkDue, target.Scope, hook.Ref{Endpoint: target.ID})
		}
		return
	}
	t.waits(target, at)
	if target.RateLimit > 0 || target.MaxInFlight > 0 {
		t.offer(target)
	}
}

// offerEvery is how often other nodes are told that an endpoint has work in the table
// that they may take a part of.
const offerEvery = time.Second

// maxOffered is how many endpoints are remembered as told of.
const maxOffered = 4096

// offer tells the other nodes of work in the table, for each of them has a part of the
// endpoint's limit only.
func (t *tx) offer(target *hook.Endpoint) {
	if t.s.Nodes() < 2 || t.now.Sub(t.s.offered[target.ID]) < offerEvery {
		return
	}
	if len(t.s.offered) >= maxOffered {
		clear(t.s.offered)
	}
	t.s.offered[target.ID] = t.now
	t.tell(sqltext.WorkDue, target.Scope, hook.Ref{Endpoint: target.ID})
}

// listenersAway trips the listeners that were connected to a node that is gone.
func (s *Store) listenersAway(ctx context.Context, epoch int64) error {
	_, err := s.tripAway(ctx, true, func(e *hook.Endpoint) bool { return e.Home == epoch }, "home = ? AND home <> 0", epoch)
	return err
}
