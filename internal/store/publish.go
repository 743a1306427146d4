package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Publish stores events, and a delivery for each endpoint that they match, in one commit.
// It answers each event separately. If once is set and its key was used before, Publish
// returns the earlier answer as a Replay and stores nothing. The events may belong to any
// scopes of one mode.
func (s *Store) Publish(ctx context.Context, events []hook.NewEvent, profileOf func(*hook.Endpoint) hook.ProfileHash, once *hook.Once) ([]hook.Published, *hook.Replay, error) {
	if err := s.withinBudget(); err != nil {
		return nil, nil, err
	}
	o := op{Name: "publish", Hot: true, Detail: &lookups{once: once, events: events}}
	if len(events) > 0 {
		o.Key = events[0].Scope
	}
	for i := range events {
		o.Rows += 2 + len(events[i].Tags) + len(events[i].Found)
		o.Bytes += len(events[i].Data)
	}
	var out []hook.Published
	var replay *hook.Replay
	o.Apply = func(t *tx) (err error) {
		t.bytes += o.Bytes
		replay, err = t.once(once, func() (any, bool, error) {
			out, err = t.publish(events, profileOf)
			return out, slices.ContainsFunc(out, func(p hook.Published) bool { return p.Err == nil }), err
		})
		return err
	}
	if err := s.writeCounted(ctx, o); err != nil {
		return nil, nil, err
	}
	return out, replay, nil
}

func (t *tx) publish(events []hook.NewEvent, profileOf func(*hook.Endpoint) hook.ProfileHash) ([]hook.Published, error) {
	if err := t.backlogsKnown(events); err != nil {
		return nil, err
	}
	out := make([]hook.Published, len(events))
	left := t.s.opts.MaxRequestFanOut
	if n := len(events); n > 1 {
		t.jobs, t.samples, t.growth = slices.Grow(t.jobs, min(n, txJobs)), slices.Grow(t.samples, 2*n), slices.Grow(t.growth, 2*n)
	}
	err := t.c.Together(func() (err error) {
		for i := range events {
			if out[i], err = t.publishOne(&events[i], left, profileOf); err != nil {
				return err
			}
			if out[i].Err == nil && !out[i].Repeated {
				left -= out[i].Deliveries
			}
		}
		return nil
	})
	return out, err
}

// publishOne stores an event if it makes at most left deliveries.
func (t *tx) publishOne(n *hook.NewEvent, left int, profileOf func(*hook.Endpoint) hook.ProfileHash) (hook.Published, error) {
	entry, err := t.scope(n.Scope)
	if err != nil {
		return hook.Published{}, err
	}
	if !entry.Tenant {
		if !n.CreateTenant {
			return hook.Published{Err: errNoTenant()}, nil
		}
		if refused := mismatch(n); refused != nil {
			return hook.Published{Err: refused}, nil
		}
		if n.RequireMatch { // a new tenant has no endpoints
			return hook.Published{Err: errNoMatch}, nil
		}
		if err := t.createTenant(hook.Tenant{ID: n.Scope.Tenant, CreatedAt: t.now}); err != nil {
			if hook.CodeOf(err) == hook.CodeTenantExists { // the id of a deleted tenant stays in use
				return hook.Published{Err: errNoTenant()}, nil
			}
			return hook.Published{}, err
		}
		if entry, err = t.scope(n.Scope); err != nil {
			return hook.Published{}, err
		}
	}
	targets := t.targetsOf(entry, n.Type)
	if !n.PublicID.IsZero() {
		if first, ok, err := t.publishedBefore(n); ok || err != nil {
			return first, err
		}
	}
	if refused := mismatch(n); refused != nil { // after the ids: accepted events stay accepted
		return hook.Published{Err: refused}, nil
	}
	if n.RequireMatch && len(targets) == 0 {
		return hook.Published{Err: errNoMatch}, nil
	}
	if len(targets) > t.s.opts.MaxFanOut {
		return hook.Published{Err: t.tooMany(len(targets))}, nil
	}
	if len(targets) > left {
		return hook.Published{Err: t.tooManyInRequest(len(targets), left)}, nil
	}
	if n.PayloadRetention != nil {
		if err := hook.CheckKept("payload_retention", *n.PayloadRetention, t.s.kept.Load().of(n.Scope).Payloads); err != nil {
			return hook.Published{Err: err}, nil
		}
	}
	if full, err := t.backlogFull(n.Scope, len(targets)); full != nil || err != nil {
		return hook.Published{Err: full}, err
	}
	e := t.newEvent(n)
	if err := t.storeEvent(e); err != nil {
		return hook.Published{}, err
	}
	if err := t.keepPayload(e, n.PayloadRetention); err != nil {
		return hook.Published{}, err
	}
	if !n.PublicID.IsZero() {
		hash := contentHash(n)
		if err := t.insert("insert event id", sqltext.EventIDs, int64(n.Scope.Mode), n.PublicID[:], n.Scope.Tenant, e.ID[:], hash[:]); err != nil {
			return hook.Published{}, err
		}
	}
	for _, tags := range [][]hook.Tag{n.Tags, n.Found} {
		for _, tag := range tags {
			if err := t.insert("insert tag", sqltext.EventTags, e.ID[:], tag.Name, tag.Value, int64(n.Scope.Mode), n.Scope.Tenant); err != nil {
				return hook.Published{}, err
			}
		}
	}
	for _, target := range targets {
		if _, err := t.deliver(e, target, profileOf(target)); err != nil {
			return hook.Published{}, err
		}
	}
	return hook.Published{Event: e.ID, PublicID: e.PublicID, Type: e.Type, Tenant: n.Scope.Tenant,
		CreatedAt: e.CreatedAt, Deliveries: len(targets), Size: len(e.Data), Mismatch: n.Mismatch}, nil
}

// targetsOf returns the endpoints that get a delivery of an event. An endpoint that was
// disabled by hand gets none. One that tripped gets a held one.
func (t *tx) targetsOf(entry *directory.Scope, eventType string) []*hook.Endpoint {
	var targets []*hook.Endpoint
	for _, ep := range entry.Endpoints {
		if ep.Status != hook.Disabled && ep.Wants(eventType) {
			targets = append(targets, ep)
		}
	}
	return targets
}

func (t *tx) tooMany(n int) *hook.Error {
	return &hook.Error{Code: hook.CodeTooManyDeliveries,
		Message: fmt.Sprintf("The event matches %d endpoints; at most %d are allowed. Nothing was stored.", n, t.s.opts.MaxFanOut)}
}

func (t *tx) tooManyInRequest(n, left int) *hook.Error {
	most := t.s.opts.MaxRequestFanOut
	return &hook.Error{Code: hook.CodeTooManyDeliveries, Message: fmt.Sprintf(
		"The event matches %d endpoints, but the events before it in this request leave only %d of the %d deliveries that one request may make. It was not stored. Send it again in a request of its own, or in a smaller batch.",
		n, left, most)}
}

var errNoMatch = &hook.Error{Code: hook.CodeNoMatch, Field: "require_match",
	Message: "No endpoint of the tenant would get an event of this type, and \"require_match\" asks for one. Nothing was stored. POST /v1/events/match says who would get one."}

func errNoTenant() *hook.Error {
	return &hook.Error{Code: hook.CodeTenantNotFound, Message: "No such tenant.", Field: "tenant"}
}

func (t *tx) newEvent(n *hook.NewEvent) *hook.Event {
	e := &hook.Event{ID: t.s.ids.Next(), PublicID: n.PublicID, Scope: n.Scope, Type: n.Type,
		CreatedAt: n.CreatedAt.UTC().Truncate(time.Microsecond), AcceptedAt: t.accept(), Data: n.Data}
	if e.PublicID.IsZero() {
		e.PublicID = e.ID
	}
	if n.CreatedAt.IsZero() {
		e.CreatedAt = e.AcceptedAt
	}
	return e
}

// accept returns the time of acceptance of a new event. No two events share a microsecond,
// because that may be the only difference between two bodies (paywise). If the clock was
// set back by a second or more, accept follows it.
func (t *tx) accept() time.Time {
	at := t.now
	if ahead := t.accepted.Sub(at); ahead >= 0 && ahead < time.Second {
		at = t.accepted.Add(time.Microsecond)
	}
	t.accepted = at
	return at
}

func (t *tx) storeEvent(e *hook.Event) error {
	var public any
	if e.PublicID != e.ID {
		public = e.PublicID[:]
	}
	t.stats.Events++
	t.grew(e.Scope, e.ID, hook.DiskBytes{Payloads: int64(len(e.Data)), Metadata: eventRow + int64(len(e.Type))})
	if e.Kind != hook.TestEvent {
		t.note(sample{subject: sqltext.Subject{Scope: e.Scope}, published: true})
	}
	return t.insert("insert event", sqltext.Events, e.ID[:], int64(e.Scope.Mode), e.Scope.Tenant, public, int64(e.Kind), e.Type,
		sqltext.Micros(e.CreatedAt), sqltext.Micros(e.AcceptedAt), e.Data, sqltext.Checksum(e.Data))
}

// deliver stores the delivery of an event to an endpoint. Its job is handed over on commit
// if roomFor finds room; otherwise the delivery waits in the table.
func (t *tx) deliver(e *hook.Event, target *hook.Endpoint, profile hook.ProfileHash) (hook.Delivery, error) {
	return t.deliverAs(e, target, profile, true)
}

// deliverLater is deliver, but the delivery waits in the table, behind fresh ones.
func (t *tx) deliverLater(e *hook.Event, target *hook.Endpoint, profile hook.ProfileHash) (hook.Delivery, error) {
	return t.deliverAs(e, target, profile, false)
}

func (t *tx) deliverAs(e *hook.Event, target *hook.Endpoint, profile hook.ProfileHash, now bool) (hook.Delivery, error) {
	d := hook.Delivery{ID: hook.DeliveryID(e.ID), Event: e.ID, Endpoint: target.ID, Scope: e.Scope, EventType: e.Type,
		Kind: e.Kind, Profile: profile, CreatedAt: t.now, Due: t.now, Fence: 1}
	trigger, heldAt := hook.BySchedule, int64(0)
	switch {
	case e.Kind == hook.TestEvent: // handed over at once, whatever the endpoint's status
		trigger, d.Owner = hook.ByTest, t.s.Epoch()
	case target.Status == hook.Tripped:
		d.State, d.Reason, d.Due, heldAt = hook.Held, heldReason(target), time.Time{}, sqltext.Micros(t.now)
	case target.Damage != 0: // waits in the table until the endpoint is repaired
	case now && t.canAttempt(target) && t.roomFor(target):
		d.Owner = t.s.Epoch()
	default:
		t.noteDue(target, t.now)
	}
	err := t.insert("insert delivery", sqltext.Deliveries, d.Event[:], d.Endpoint[:], d.ID[:], int64(d.Scope.Mode), d.Scope.Tenant,
		d.EventType, int64(d.Kind), d.Profile[:], int64(d.State), string(d.Reason), int64(0), int64(0), sqltext.Micros(d.Due),
		int64(0), "", sqltext.Micros(d.CreatedAt), int64(0), heldAt, d.Owner, d.Fence)
	if err != nil {
		return d, err
	}
	t.stats.Deliveries++
	t.grew(d.Scope, d.Event, hook.DiskBytes{Metadata: deliveryRow + int64(len(d.EventType))})
	if d.Kind != hook.TestEvent {
		t.note(sample{subject: sqltext.Subject{Scope: d.Scope, Endpoint: d.Endpoint}, accepted: true})
	}
	t.addOpen(d.Scope, 1)
	if d.Owner != 0 {
		t.jobs = append(t.jobs, hook.Job{Delivery: d, Event: e, Target: target, Trigger: trigger, Holder: d.Owner})
	}
	return d, nil
}

// mismatch returns an error if the event's schema refuses its data.
func mismatch(n *hook.NewEvent) error {
	if n.Mismatch == nil || !n.Mismatch.Refused {
		return nil
	}
	return &hook.Error{Code: hook.CodeDataInvalid, Field: n.Mismatch.Field, Message: n.Mismatch.Message}
}

// publishedBefore answers an event whose id the platform has used before: with the first
// answer if the content is the same, with a conflict if not. It costs one index lookup,
// and only for events with an id.
func (t *tx) publishedBefore(n *hook.NewEvent) (hook.Published, bool, error) {
	known, err := t.readEventID(n)
	if err != nil || known == nil {
		return hook.Published{}, false, err
	}
	event, hash := known.Event, known.Hash
	if want := contentHash(n); !bytes.Equal(hash, want[:]) {
		return hook.Published{Err: &hook.Error{Code: hook.CodeEventConflict, Field: "id",
			Message: "An event with this id and other content was published before."}}, true, nil
	}
	first := hook.Published{Event: hook.ID(event), PublicID: n.PublicID, Type: n.Type, Tenant: n.Scope.Tenant,
		Size: len(n.Data), Repeated: true}
	var created int64
	if ok, err := t.row("read event", "SELECT created_at, (SELECT count(*) FROM deliveries WHERE event = e.id) FROM events e WHERE id = ?",
		[]any{event}, &created, &first.Deliveries); err != nil || !ok {
		return hook.Published{}, false, err
	}
	first.CreatedAt = sqltext.FromMicros(created)
	return first, true, nil
}

// contentHash returns the hash of what the platform sent. Lengths separate the parts, and
// the data, a JSON object, ends before the tags.
func contentHash(n *hook.NewEvent) [32]byte {
	var b []byte
	b = binary.AppendUvarint(b, uint64(len(n.Type)))
	b = append(b, n.Type...)
	b = binary.AppendVarint(b, sqltext.Micros(n.CreatedAt))
	h := sha256.New()
	h.Write(b)
	h.Write(n.Data)
	b = b[:0]
	for _, tag := range n.Tags {
		for _, text := range []string{tag.Name, tag.Value} {
			b = binary.AppendUvarint(b, uint64(len(text)))
			b = append(b, text...)
		}
	}
	h.Write(b)
	return [32]byte(h.Sum(nil))
}

// PublishTest stores a test event with one delivery to the endpoint, whatever the
// endpoint's filter and status, and hands its job over at once. It also returns the
// delivery's id. It returns CodeUnverified for an unverified endpoint.
func (s *Store) PublishTest(ctx context.Context, scope hook.Scope, endpoint hook.ID, eventType string, data []byte,
	profile hook.ProfileHash, once *hook.Once) (hook.Published, hook.ID, *hook.Replay, error) {
	var out hook.Published
	var delivery hook.ID
	var replay *hook.Replay
	if err := s.withinBudget(); err != nil {
		return out, delivery, nil, err
	}
	err := s.doFor(ctx, scope, "publish test event", 2, func(t *tx) (err error) {
		t.bytes += len(data)
		replay, err = t.once(once, func() (any, bool, error) {
			target, err := t.endpointByID(scope, endpoint)
			if err != nil {
				return nil, false, err
			}
			if target.Unverified() {
				return nil, false, hook.NotVerified()
			}
			if !t.canAttempt(target) {
				return nil, false, errElsewhere()
			}
			e := t.newEvent(&hook.NewEvent{Scope: target.Scope, Type: eventType, Data: data})
			e.Kind = hook.TestEvent
			if err := t.storeEvent(e); err != nil {
				return nil, false, err
			}
			if _, err := t.deliver(e, target, profile); err != nil {
				return nil, false, err
			}
			out = hook.Published{Event: e.ID, PublicID: e.ID, Type: eventType, Tenant: target.Scope.Tenant, CreatedAt: e.CreatedAt, Deliveries: 1}
			delivery = t.jobs[len(t.jobs)-1].Delivery.ID
			t.audited(hook.ActEndpointTested, "endpoint", target.ID.String(), target.Scope, "event "+e.ID.String())
			return hook.TestPublished{Published: out, Delivery: delivery}, true, nil
		})
		return err
	})
	if err != nil {
		return hook.Published{}, hook.ID{}, nil, err
	}
	return out, delivery, replay, nil
}
