package server

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
)

// StartBare starts a node that stores no events: the baseline of the benchmark.
func StartBare(ctx context.Context, cfg *Config, log *slog.Logger, firstKeys io.Writer) (*Node, error) {
	n := &Node{cfg: cfg, log: log, firstKeys: firstKeys}
	n.without = &bareStore{ids: hook.NewIDs(time.Now), endpoints: map[hook.Scope][]*hook.Endpoint{}}
	return n, n.begin(ctx)
}

// bareStore is a store that passes everything on except events. What remains is the cost of
// the two HTTP hops and of validating, matching, rendering and signing.
type bareStore struct {
	app.Store
	dispatch.Queue
	committed func(hook.Commit)
	ids       *hook.IDs

	mu        sync.Mutex
	endpoints map[hook.Scope][]*hook.Endpoint
}

// Publish hands the event to the dispatcher without storing it.
func (b *bareStore) Publish(ctx context.Context, events []hook.NewEvent, profileOf func(*hook.Endpoint) hook.ProfileHash, _ *hook.Once) ([]hook.Published, *hook.Replay, error) {
	out := make([]hook.Published, 0, len(events))
	var jobs []hook.Job
	for _, e := range events {
		targets, err := b.targets(ctx, e.Scope)
		if err != nil {
			return nil, nil, err
		}
		now := time.Now()
		id := b.ids.Next()
		event := &hook.Event{ID: id, PublicID: id, Scope: e.Scope, Type: e.Type, CreatedAt: now, AcceptedAt: now, Data: e.Data}
		n := 0
		for _, t := range targets {
			if !t.Wants(e.Type, e.Channels) {
				continue
			}
			n++
			jobs = append(jobs, hook.Job{Target: t, Event: event, Delivery: hook.Delivery{
				ID: hook.DeliveryID(id), Event: id, Endpoint: t.ID, Scope: e.Scope, EventType: e.Type,
				Profile: profileOf(t), Due: now, CreatedAt: now,
			}})
		}
		out = append(out, hook.Published{Event: id, PublicID: id, Type: e.Type, Tenant: e.Scope.Tenant, CreatedAt: now, Deliveries: n})
	}
	b.committed(hook.Commit{Jobs: jobs})
	return out, nil, nil
}

func (b *bareStore) targets(ctx context.Context, scope hook.Scope) ([]*hook.Endpoint, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, ok := b.endpoints[scope]; ok {
		return known, nil
	}
	found, _, err := b.Endpoints(ctx, hook.EndpointQuery{Scope: scope, Page: hook.Page{Limit: 250}})
	if err != nil {
		return nil, err
	}
	for i := range found {
		b.endpoints[scope] = append(b.endpoints[scope], &found[i])
	}
	return b.endpoints[scope], nil
}

// Settle discards the result.
func (b *bareStore) Settle(context.Context, []hook.Settlement) ([]hook.Due, error) { return nil, nil }
