package web

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// Bounds of the reads that all viewers of a mode share.
const (
	sharedFor       = 2 * time.Second
	sharedRead      = 5 * time.Second // the longest that one viewer reads for all
	pageOfEndpoints = 250             // endpoints of one read
	newestPages     = 4               // such reads, newest first; beyond them only disabled ones are looked at
	maxAttention    = 50              // endpoints with trouble that are kept
	heldCounted     = 6               // of these, the ones whose held deliveries are counted
	maxRunning      = 10              // replays that are counted
)

// concern is an endpoint that needs attention.
type concern struct {
	endpoint hook.Endpoint
	health   hook.Health
	held     int // -1: not counted
	since    time.Time
}

// overall is what the navigation and the overview of a mode show to everybody.
type overall struct {
	at        time.Time
	err       error     // it could not be read
	concerns  []concern // oldest first
	more      bool      // there are more than are kept
	endpoints int
	all       bool // every endpoint was looked at
	replays   []app.Replay
}

// shared holds the answers that many viewers share. One viewer reads, the others wait.
type shared struct {
	mu sync.Mutex
	of map[hook.Mode]*modeShared
}

type modeShared struct {
	mu  sync.Mutex
	now overall
}

func (s *shared) mode(mode hook.Mode) *modeShared {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[hook.Mode]*modeShared{hook.Live: {}, hook.Test: {}}
	}
	return s.of[mode]
}

// overall returns the shared answer, at most sharedFor old. An error is shared, too, so
// those who wait do not read one after the other from a store that is away.
func (v *visit) overall() (overall, error) {
	one := v.h.shared.mode(v.mode)
	one.mu.Lock()
	defer one.mu.Unlock()
	if !one.now.at.IsZero() && v.now.Sub(one.now.at) < sharedFor && !v.now.Before(one.now.at) {
		return one.now, one.now.err
	}
	limited, cancel := context.WithTimeout(v.quiet, sharedRead)
	defer cancel()
	reader := *v
	reader.quiet = limited
	next, err := reader.readOverall()
	if err != nil && v.quiet.Err() != nil {
		return overall{}, err // the viewer went away
	}
	next.err = err
	one.now = next
	return next, err
}

func (v *visit) readOverall() (overall, error) {
	next := overall{at: v.now, all: true}
	err := v.look(&next, nil, newestPages)
	if no := false; err == nil && !next.all { // the newest ones were counted
		disabled := overall{}
		err = v.look(&disabled, &no, 1)
		known := map[hook.ID]bool{}
		for i := range next.concerns {
			known[next.concerns[i].endpoint.ID] = true
		}
		next.concerns = append(next.concerns, slices.DeleteFunc(disabled.concerns, func(c concern) bool { return known[c.endpoint.ID] })...)
	}
	if err != nil {
		return overall{at: v.now}, err
	}
	slices.SortStableFunc(next.concerns, func(a, b concern) int { return cmp.Compare(a.since.UnixNano(), b.since.UnixNano()) })
	if next.more = len(next.concerns) > maxAttention; next.more {
		next.concerns = next.concerns[:maxAttention]
	}
	for i := range next.concerns {
		if c := &next.concerns[i]; i < heldCounted && c.endpoint.Status != hook.Enabled {
			if e, err := v.service().Endpoint(v.quiet, v.caller, c.endpoint.ID); err == nil {
				c.held = e.Held
			}
		}
	}
	running := hook.ReplayRunning
	if next.replays, _, err = v.service().Replays(v.quiet, v.caller, hook.ReplayQuery{State: &running, Page: hook.Page{Limit: maxRunning}}); err != nil {
		return overall{at: v.now}, err
	}
	return next, nil
}

// look adds the endpoints with trouble among the newest ones, or among the newest enabled or
// disabled ones.
func (v *visit) look(to *overall, enabled *bool, pages int) error {
	q := hook.EndpointQuery{Enabled: enabled, Page: hook.Page{Limit: pageOfEndpoints}}
	for range pages {
		rows, next, err := v.service().Endpoints(v.quiet, v.caller, q)
		if err != nil {
			return err
		}
		healths, err := v.service().Healths(v.quiet, v.caller, rows)
		if err != nil {
			return err
		}
		to.endpoints += len(rows)
		for i := range rows {
			e := &rows[i]
			c := concern{endpoint: *e, health: healths[e.ID], held: -1, since: e.DisabledAt}
			if e.Status == hook.Enabled {
				c.since = c.health.FirstFailureAt
			}
			if needsAttention(e, c.health.Failures) {
				to.concerns = append(to.concerns, c)
			}
		}
		if q.Cursor = next; next == "" {
			return nil
		}
	}
	to.all = false
	return nil
}

// needsAttention reports whether somebody should look at an endpoint. One that was disabled
// by hand, and a receiver that is not connected, are as somebody wants them.
func needsAttention(e *hook.Endpoint, failures int) bool {
	if e.Status == hook.Enabled {
		return failures > 0 || e.Damage != 0
	}
	return e.Status == hook.Tripped && e.DisabledReason != hook.DisabledAway || e.Unverified()
}

// counts returns the numbers of the navigation: endpoints that need attention, and replays
// under way.
func (v *visit) counts() (failing, running int) {
	now, err := v.overall()
	if err != nil {
		return 0, 0 // the page itself says that the store is away
	}
	return len(now.concerns), len(now.replays)
}
