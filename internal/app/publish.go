package app

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// maxDelay is how far ahead the platform may ask for the first attempt of an event.
const maxDelay = 24 * time.Hour

// MaxBatch is the maximum number of events in one batch.
const MaxBatch = 1000

// Event is an event from the platform. Data is a JSON object that has already been
// checked. Err is set on an item of a batch that could not be parsed; it becomes the
// result of that item.
type Event struct {
	Tenant    string
	Type      string
	Channels  []string // checked by Publish; nil: none
	Version   int      // of the type, whose schema the data matches; 0: the type's own choice
	Data      []byte
	ID        hook.ID // the platform's own, as hook.EventID returned it; zero: Posthorn's
	GivenID   string
	CreatedAt time.Time // the platform's; zero: the time of acceptance
	DeliverAt time.Time // the schedule makes no attempt before; zero or past: at once
	// RequireMatch refuses the event if no endpoint would receive it.
	RequireMatch bool
	// PayloadRetention is how long Data is kept after the last delivery was settled. Nil: as
	// long as the tenant's other payloads.
	PayloadRetention *time.Duration
	Tags             hook.Tags // of JSON strings; their names and values are checked by Publish
	Err              error
}

// Publish stores one event and its deliveries. When it returns without an error they
// are on disk. Operators and publishers only.
func (s *Service) Publish(ctx context.Context, c Caller, e Event, once *Once) (hook.Published, *hook.Replay, error) {
	accepted, err := s.accept(c, &e)
	if err != nil {
		return hook.Published{}, nil, err
	}
	if err := s.spend(ctx, c, limitEvents, 1); err != nil {
		return hook.Published{}, nil, err
	}
	var kept *hook.Once
	if once != nil {
		kept = once.in(accepted.Scope, func(stored any) any { return first(stored) })
	}
	done, replay, err := s.o.Store.Publish(ctx, []hook.NewEvent{accepted}, s.profileOf, kept)
	if err != nil || replay != nil {
		return hook.Published{}, replay, err
	}
	return done[0], nil, done[0].Err
}

func first(stored any) hook.Published {
	if done, ok := stored.([]hook.Published); ok && len(done) > 0 {
		return done[0]
	}
	return hook.Published{Err: &hook.Error{Code: hook.CodeInternal, Message: "The event has no result."}}
}

// PublishBatch stores up to MaxBatch events in one commit. It returns a result for
// each, in order. A refused event has Err set and does not affect the others.
func (s *Service) PublishBatch(ctx context.Context, c Caller, events []Event, once *Once) ([]hook.Published, *hook.Replay, error) {
	if c.Kind != hook.Operator && c.Kind != hook.Publisher {
		return nil, nil, errForbidden
	}
	if err := c.write(); err != nil {
		return nil, nil, err
	}
	if err := s.spend(ctx, c, limitEvents, len(events)); err != nil {
		return nil, nil, err
	}
	results := make([]hook.Published, len(events))
	accepted := make([]hook.NewEvent, 0, len(events))
	place := make([]int, 0, len(events))
	for i := range events {
		if events[i].Err != nil {
			results[i].Err = events[i].Err
			continue
		}
		one, err := s.accept(c, &events[i])
		if err != nil {
			results[i].Err = err
			continue
		}
		accepted, place = append(accepted, one), append(place, i)
	}
	if len(accepted) == 0 {
		return results, nil, nil
	}
	merge := func(done []hook.Published) []hook.Published {
		for i, one := range done {
			results[place[i]] = one
		}
		return results
	}
	scope := hook.Scope{Tenant: c.Tenant, Mode: c.Mode}
	kept := once.in(scope, func(stored any) any {
		done, _ := stored.([]hook.Published)
		return merge(done)
	})
	done, replay, err := s.o.Store.Publish(ctx, accepted, s.profileOf, kept)
	if err != nil || replay != nil {
		return nil, replay, err
	}
	return merge(done), nil, nil
}

// accept checks one event and converts it to the form that the store accepts.
func (s *Service) accept(c Caller, e *Event) (hook.NewEvent, error) {
	scope, err := c.publish(e.Tenant)
	if err != nil {
		return hook.NewEvent{}, err
	}
	if !hook.ValidType(e.Type) {
		return hook.NewEvent{}, errType("type", e.Type)
	}
	if hook.ReservedType(e.Type) {
		return hook.NewEvent{}, errReserved("type", e.Type)
	}
	if err := c.publishType(e.Type); err != nil {
		return hook.NewEvent{}, err
	}
	if err := checkTags(e.Tags); err != nil {
		return hook.NewEvent{}, err
	}
	channels, err := checkChannels(e.Channels)
	if err != nil {
		return hook.NewEvent{}, err
	}
	if e.DeliverAt.Sub(s.o.Now()) > maxDelay {
		return hook.NewEvent{}, invalid("deliver_at", "\"deliver_at\" must be at most 24 hours ahead of the server's clock. Nothing was stored. Publish the event later, or give an earlier time.")
	}
	rule := s.ruleOf(scope.Mode, e.Type)
	return hook.NewEvent{Scope: scope, PublicID: e.ID, GivenID: e.GivenID, Type: e.Type, Channels: channels, CreatedAt: e.CreatedAt, DeliverAt: e.DeliverAt,
		Data: e.Data, CreateTenant: s.o.CreateTenants && c.Tenant == "", Mismatch: s.mismatch(&rule, e.Type, e.Version, e.Data), RequireMatch: e.RequireMatch,
		Tags: e.Tags, Found: found(rule.searchable, e.Data, e.Tags), PayloadRetention: e.PayloadRetention}, nil
}

// errType refuses the name of an event type and states what is wrong with it.
func errType(field, name string) error {
	return invalid(field, "\""+field+"\" "+hook.TypeFault(name)+". "+hook.TypeRule)
}

// profileOf returns the hash of the profile text with which an endpoint's deliveries
// are rendered. A profile that is no longer in the server's set is replaced by the
// default: an event is never refused because of the configuration of one endpoint.
func (s *Service) profileOf(e *hook.Endpoint) hook.ProfileHash {
	return s.profileNamed(e.Profile).Hash()
}
