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
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Publish stores events, and a delivery for each endpoint that they match, in one commit.
// It answers each event separately. If once is set and its key was used before, Publish
// returns the earlier answer as a Replay and stores nothing. The events may belong to any
// scopes of one mode.
func (s *Store) Publish(ctx context.Context, events []hook.NewEvent, profileOf func(*hook.Endpoint) hook.ProfileHash, once *hook.Once) ([]hook.Published, *hook.Replay, error) {
	if err := s.upkeep.WithinBudget(); err != nil {
		return nil, nil, err
	}
	o := op{Name: "publish", Hot: true, Detail: &unit.Lookups{Once: once, Events: events}}
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
		t.Bytes += o.Bytes
		replay, err = t.Once(once, func() (any, bool, error) {
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
	if err := t.BacklogsKnown(events); err != nil {
		return nil, err
	}
	out := make([]hook.Published, len(events))
	left := t.s.opts.MaxRequestFanOut
	if n := len(events); n > 1 {
		t.Jobs, t.Samples, t.Growth = slices.Grow(t.Jobs, min(n, txJobs)), slices.Grow(t.Samples, 2*n), slices.Grow(t.Growth, 2*n)
	}
	for i := range events {
		var err error
		if out[i], err = t.publishOne(&events[i], left, profileOf); err != nil {
			return out, err
		}
		if out[i].Err == nil && !out[i].Repeated {
			left -= out[i].Deliveries
		}
	}
	return out, nil
}

// publishOne stores an event if it makes at most left deliveries.
func (t *tx) publishOne(n *hook.NewEvent, left int, profileOf func(*hook.Endpoint) hook.ProfileHash) (hook.Published, error) {
	entry, err := t.Scope(n.Scope)
	if err != nil {
		return hook.Published{}, err
	}
	if !entry.Tenant {
		if !n.CreateTenant {
			return hook.Published{Err: unit.NoTenant()}, nil
		}
		if refused := mismatch(n); refused != nil {
			return hook.Published{Err: refused}, nil
		}
		if n.RequireMatch { // a new tenant has no endpoints
			return hook.Published{Err: errNoMatch}, nil
		}
		if err := t.s.accounts.CreateTenant(t.Tx, hook.Tenant{ID: n.Scope.Tenant, CreatedAt: t.Now}); err != nil {
			if hook.CodeOf(err) == hook.CodeTenantExists { // the id of a deleted tenant stays in use
				return hook.Published{Err: unit.NoTenant()}, nil
			}
			return hook.Published{}, err
		}
		if entry, err = t.Scope(n.Scope); err != nil {
			return hook.Published{}, err
		}
	}
	targets := targetsOf(entry, n.Type, n.Channels)
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
		if err := hook.CheckKept("payload_retention", *n.PayloadRetention, t.s.upkeep.Kept(n.Scope).Payloads); err != nil {
			return hook.Published{Err: err}, nil
		}
	}
	if full, err := t.BacklogFull(n.Scope, len(targets)); full != nil || err != nil {
		return hook.Published{Err: full}, err
	}
	e := t.newEvent(n)
	if err := t.storeEvent(e); err != nil {
		return hook.Published{}, err
	}
	if err := t.s.upkeep.KeepPayload(t.Tx, e, n.PayloadRetention); err != nil {
		return hook.Published{}, err
	}
	if !n.PublicID.IsZero() {
		hash := contentHash(n)
		if err := t.Insert("insert event id", sqltext.EventIDs, int64(n.Scope.Mode), n.PublicID[:], n.Scope.Tenant, e.ID[:], hash[:]); err != nil {
			return hook.Published{}, err
		}
	}
	for _, tags := range [][]hook.Tag{n.Tags, n.Found} {
		for _, tag := range tags {
			if err := t.Insert("insert tag", sqltext.EventTags, e.ID[:], tag.Name, tag.Value, int64(n.Scope.Mode), n.Scope.Tenant); err != nil {
				return hook.Published{}, err
			}
		}
	}
	for _, target := range targets {
		if _, err := t.deliver(e, target, profileOf(target)); err != nil {
			return hook.Published{}, err
		}
	}
	return hook.Published{Event: e.ID, PublicID: e.PublicID, GivenID: e.GivenID, Type: e.Type, Tenant: n.Scope.Tenant,
		CreatedAt: e.CreatedAt, DeliverAt: e.DeliverAt, Deliveries: len(targets), Size: len(e.Data), Mismatch: n.Mismatch}, nil
}

// targetsOf returns the endpoints that get a delivery of an event. An endpoint that was
// disabled by hand gets none. One that tripped gets a held one.
func targetsOf(entry *directory.Scope, eventType string, channels hook.Channels) []*hook.Endpoint {
	var targets []*hook.Endpoint
	for _, ep := range entry.Endpoints {
		if ep.Status != hook.Disabled && ep.Wants(eventType, channels) {
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
	Message: "No endpoint of the tenant would get this event, and \"require_match\" asks for one. Nothing was stored. POST /v1/events/match says who would get one."}

func (t *tx) newEvent(n *hook.NewEvent) *hook.Event {
	e := &hook.Event{ID: t.s.core.IDs.Next(), PublicID: n.PublicID, GivenID: n.GivenID, Scope: n.Scope, Type: n.Type, Channels: n.Channels,
		CreatedAt: n.CreatedAt.UTC().Truncate(time.Microsecond), AcceptedAt: t.accept(), Data: n.Data}
	if e.PublicID.IsZero() {
		e.PublicID = e.ID
	}
	if n.CreatedAt.IsZero() {
		e.CreatedAt = e.AcceptedAt
	}
	if n.DeliverAt.After(t.Now) {
		e.DeliverAt = n.DeliverAt.UTC().Truncate(time.Microsecond)
	}
	return e
}

// accept returns the time of acceptance of a new event. No two events share a microsecond,
// because that may be the only difference between two bodies (paywise). If the clock was
// set back by a second or more, accept follows it.
func (t *tx) accept() time.Time {
	at := t.Now
	if ahead := t.Accepted.Sub(at); ahead >= 0 && ahead < time.Second {
		at = t.Accepted.Add(time.Microsecond)
	}
	t.Accepted = at
	return at
}

func (t *tx) storeEvent(e *hook.Event) error {
	var public, channels, deliver any
	if e.PublicID != e.ID {
		public = sqltext.PublicValue(e.PublicID, e.GivenID)
	}
	if !e.DeliverAt.IsZero() {
		deliver = sqltext.Micros(e.DeliverAt)
	}
	if len(e.Channels) > 0 {
		channels = e.Channels.Text()
	}
	t.Counts.Events++
	t.Grew(e.Scope, e.ID, hook.DiskBytes{Payloads: int64(len(e.Data)), Metadata: unit.EventRow + int64(len(e.Type))})
	if e.Kind != hook.TestEvent {
		t.Note(unit.Sample{Subject: sqltext.Subject{Scope: e.Scope}, Published: true})
	}
	return t.Insert("insert event", sqltext.Events, e.ID[:], int64(e.Scope.Mode), e.Scope.Tenant, public, int64(e.Kind), e.Type,
		sqltext.Micros(e.CreatedAt), sqltext.Micros(e.AcceptedAt), e.Data, sqltext.Checksum(e.Data), channels, deliver)
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
		Kind: e.Kind, Profile: profile, CreatedAt: t.Now, Due: t.Now, Fence: 1}
	if e.DeliverAt.After(t.Now) { // like a retry that is due then
		d.Due, now = e.DeliverAt, false
	}
	trigger, heldAt := hook.BySchedule, int64(0)
	switch {
	case e.Kind == hook.TestEvent: // handed over at once, whatever the endpoint's status
		trigger, d.Owner = hook.ByTest, t.s.Epoch()
	case target.Status == hook.Tripped:
		d.State, d.Reason, d.Due, heldAt = hook.Held, heldReason(target), e.DeliverAt, sqltext.Micros(t.Now)
	case target.Damage != 0: // waits in the table until the endpoint is repaired
	case now && t.CanAttempt(target) && t.roomFor(target):
		d.Owner = t.s.Epoch()
	default:
		t.NoteDue(target, d.Due)
	}
	err := t.Insert("insert delivery", sqltext.Deliveries, d.Event[:], d.Endpoint[:], d.ID[:], int64(d.Scope.Mode), d.Scope.Tenant,
		d.EventType, int64(d.Kind), d.Profile[:], int64(d.State), string(d.Reason), int64(0), int64(0), sqltext.Micros(d.Due),
		int64(0), "", sqltext.Micros(d.CreatedAt), int64(0), heldAt, d.Owner, d.Fence)
	if err != nil {
		return d, err
	}
	t.Counts.Deliveries++
	t.Grew(d.Scope, d.Event, hook.DiskBytes{Metadata: unit.DeliveryRow + int64(len(d.EventType))})
	if d.Kind != hook.TestEvent {
		t.Note(unit.Sample{Subject: sqltext.Subject{Scope: d.Scope, Endpoint: d.Endpoint}, Accepted: true})
	}
	t.AddOpen(d.Scope, 1)
	if d.Owner != 0 {
		t.Jobs = append(t.Jobs, hook.Job{Delivery: d, Event: e, Target: target, Trigger: trigger, Holder: d.Owner})
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
	known, err := t.ReadEventID(n)
	if err != nil || known == nil {
		return hook.Published{}, false, err
	}
	event, hash := known.Event, known.Hash
	if want := contentHash(n); !bytes.Equal(hash, want[:]) {
		return hook.Published{Err: &hook.Error{Code: hook.CodeEventConflict, Field: "id",
			Message: "An event with this id and other content was published before."}}, true, nil
	}
	first := hook.Published{Event: hook.ID(event), PublicID: n.PublicID, GivenID: n.GivenID, Type: n.Type, Tenant: n.Scope.Tenant,
		Size: len(n.Data), Repeated: true}
	var created, deliver int64
	if ok, err := t.Row("read event", "SELECT created_at, coalesce(deliver_at, 0), (SELECT count(*) FROM deliveries WHERE event = e.id) FROM events e WHERE id = ?",
		[]any{event}, &created, &deliver, &first.Deliveries); err != nil || !ok {
		return hook.Published{}, false, err
	}
	first.CreatedAt, first.DeliverAt = sqltext.FromMicros(created), sqltext.FromMicros(deliver)
	return first, true, nil
}

// contentHash returns the hash of what the platform sent. Lengths separate the parts, and
// the data, a JSON object, ends before the tags. Channels, if there are any, follow a
// length that no name of a tag has.
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
	if len(n.Channels) > 0 { // a tag has a name, so no tag begins with 0
		b = append(append(b, 0), n.Channels.Text()...)
	}
	if !n.DeliverAt.IsZero() { // a channel has a name, so none begins with 0
		b = binary.AppendVarint(append(b, 0, 0), sqltext.Micros(n.DeliverAt))
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
	if err := s.upkeep.WithinBudget(); err != nil {
		return out, delivery, nil, err
	}
	err := s.doFor(ctx, scope, "publish test event", 2, func(t *tx) (err error) {
		t.Bytes += len(data)
		replay, err = t.Once(once, func() (any, bool, error) {
			target, err := t.EndpointByID(scope, endpoint)
			if err != nil {
				return nil, false, err
			}
			if target.Unverified() {
				return nil, false, hook.NotVerified()
			}
			if !t.CanAttempt(target) {
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
			delivery = t.Jobs[len(t.Jobs)-1].Delivery.ID
			t.Audited(hook.ActEndpointTested, "endpoint", target.ID.String(), target.Scope, "event "+e.ID.String())
			return hook.TestPublished{Published: out, Delivery: delivery}, true, nil
		})
		return err
	})
	if err != nil {
		return hook.Published{}, hook.ID{}, nil, err
	}
	return out, delivery, replay, nil
}

// publishAlert stores an alert as an event with its deliveries.
func (s *Store) publishAlert(u *unit.Tx, audience hook.Scope, eventType string, data []byte, targets []*hook.Endpoint) error {
	t := &tx{u, s}
	e := t.newEvent(&hook.NewEvent{Scope: audience, Type: eventType, Data: data})
	t.Bytes += len(data)
	if err := t.storeEvent(e); err != nil {
		return err
	}
	for _, target := range targets {
		if _, err := t.deliver(e, target, s.opts.ProfileOf(target)); err != nil {
			return err
		}
	}
	return nil
}
