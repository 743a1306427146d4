package svix

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/bodies"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// message is an event in Svix's format. Its id is what receivers see as svix-id.
type message struct {
	ID        string         `json:"id"`
	EventID   *string        `json:"eventId"`
	EventType string         `json:"eventType"`
	Payload   jsontext.Value `json:"payload"`
	Channels  *[]string      `json:"channels"`
	Timestamp client.Time    `json:"timestamp"`
	DeliverAt *client.Time   `json:"deliverAt,omitempty"`
}

var noPayload, expired = jsontext.Value(`{}`), jsontext.Value(`{"expired":true}`)

// wireMessage renders an event.
func wireMessage(e *hook.Event, content bool) message {
	m := message{ID: messagePrefix + e.PublicID.Short(), EventType: e.Type, Payload: noPayload, Channels: wireChannels(e.Channels), Timestamp: client.Time{Time: e.AcceptedAt}}
	m.DeliverAt = timeOf(e.DeliverAt)
	if content {
		if m.Payload = e.Data; len(e.Data) == 0 {
			m.Payload = expired
		}
	}
	if e.PublicID != e.ID {
		name := hook.PublicText(e.PublicID, e.GivenID)
		m.EventID = &name
	}
	return m
}

// kept is what is kept of the answer to a message, for a request that is repeated.
type kept struct {
	ID        string       `json:"id"`
	Timestamp client.Time  `json:"timestamp"`
	DeliverAt *client.Time `json:"deliverAt,omitempty"`
}

// createMessage is POST /api/v1/app/{app}/msg. Svix's libraries send an idempotency key
// with every message; without one, an eventId keeps a message from being sent twice.
func (a *api) createMessage(q *call) error {
	o, err := q.object(maxMessage)
	if err != nil {
		return err
	}
	content, err := q.values.flag("with_content", true)
	if err != nil {
		return err
	}
	e, name, err := readMessage(o)
	if err != nil {
		return err
	}
	if len(e.Data) > maxPayload {
		return bodies.TooLarge(maxPayload)
	}
	e.Tenant = q.app
	once, err := q.once(func(result any) (int, []byte) {
		p, ok := result.(hook.Published)
		if !ok || p.Err != nil || p.Repeated {
			return 0, nil
		}
		return http.StatusAccepted, encode(kept{messagePrefix + p.PublicID.Short(), client.Time{Time: p.CreatedAt}, timeOf(p.DeliverAt)})
	})
	if err != nil {
		return err
	}
	published, replay, err := a.o.Service.Publish(q.r.Context(), q.c, e, once)
	if hook.CodeOf(err) == hook.CodeTenantNotFound && o.has("application") && !o.null("application") {
		if err := a.o.Service.Call(q.r.Context(), q.c, true); err != nil { // unlike the message, this is a write
			return err
		}
		if err := a.makeOnTheWay(q, o); err != nil {
			return err
		}
		published, replay, err = a.o.Service.Publish(q.r.Context(), q.c, e, once)
	}
	if err != nil {
		return err
	}
	if published.Repeated {
		return &hook.Error{Code: hook.CodeEventConflict, Message: "A message with this eventId exists. Nothing was sent again."}
	}
	out := message{ID: messagePrefix + published.PublicID.Short(), EventType: e.Type, Payload: noPayload, Channels: wireChannels(hook.NewChannels(e.Channels...)), Timestamp: client.Time{Time: published.CreatedAt}, DeliverAt: timeOf(published.DeliverAt)}
	if replay != nil {
		var first kept
		if err := json.Unmarshal(replay.Body, &first); err != nil {
			return err
		}
		out.ID, out.Timestamp, out.DeliverAt = first.ID, first.Timestamp, first.DeliverAt
		q.w.Header().Set("Idempotency-Replayed", "true")
	}
	if name != "" {
		out.EventID = &name
	}
	if content {
		out.Payload = e.Data
	}
	return q.answer(http.StatusAccepted, out)
}

func timeOf(at time.Time) *client.Time {
	if at.IsZero() {
		return nil
	}
	return &client.Time{Time: at}
}

// readMessage reads the members of a message and returns its eventId too.
func readMessage(o *object) (e app.Event, name string, err error) {
	eventType := take[string](o, "a string", "eventType")
	switch {
	case eventType == nil:
		o.blame("eventType", "eventType is required")
	case !hook.ValidType(*eventType):
		o.blame("eventType", "eventType "+hook.TypeFault(*eventType)+". "+hook.TypeRule)
	default:
		e.Type = *eventType
	}
	payload := o.values["payload"]
	if payload == nil {
		payload = o.values["data"]
	}
	if payload.Kind() != '{' {
		o.blame("payload", "payload is required and must be a JSON object")
	}
	e.Data = payload
	if id := take[string](o, "a string", "eventId"); id != nil {
		if name = *id; !validUID(name, messagePrefix) {
			o.blame("eventId", "eventId must be 1 to 256 letters, digits, hyphens, underscores and dots, must not begin with msg_, and is neither . nor ..")
		}
		e.ID, e.GivenID, _ = hook.EventID(name)
	}
	if raw := rawPayload(o); raw != nil {
		e.Data = raw
	}
	e.Channels = readChannels(o)
	o.refuse("Posthorn does not keep tags. Nothing was stored. Leave tags out, or put them into the payload.", "tags")
	if at := take[string](o, "a string", "deliverAt"); at != nil {
		if e.DeliverAt, err = hook.ParseTime(*at); err != nil {
			o.blame("deliverAt", "deliverAt is "+err.Error())
		}
	}
	o.refuse("Posthorn keeps every payload for the time that the operator set (--retention). Nothing was stored. Leave this member out.", "payloadRetentionPeriod", "payloadRetentionHours")
	return e, name, o.err()
}

// rawPayload returns the body that transformationsParams asks for. A text that is a JSON
// object is sent byte for byte. Everything else that the member can say is refused.
func rawPayload(o *object) []byte {
	const member = "transformationsParams"
	if !o.has(member) || o.null(member) {
		return nil
	}
	params := take[map[string]jsontext.Value](o, "an object", member)
	if params == nil || len(*params) == 0 {
		return nil
	}
	const sentence = "Posthorn has no transformations. Only a rawPayload that is a JSON object can be sent. Nothing was stored."
	var text string
	for name, value := range *params {
		switch name {
		case "rawPayload":
			if json.Unmarshal(value, &text) != nil {
				o.blame(member+"/rawPayload", sentence)
				return nil
			}
		case "headers":
			var headers map[string]string
			if json.Unmarshal(value, &headers) != nil {
				o.blame(member+"/headers", sentence)
				return nil
			}
			for header, value := range headers {
				if !strings.EqualFold(header, "content-type") || !strings.EqualFold(value, "application/json") {
					o.blame(member+"/headers", sentence)
					return nil
				}
			}
		default:
			o.blame(member+"/"+name, sentence)
			return nil
		}
	}
	raw := jsontext.Value(text)
	if raw.Kind() != '{' || strict.Decode(raw, new(jsontext.Value)) != nil {
		o.blame(member+"/rawPayload", sentence)
		return nil
	}
	return raw
}

// makeOnTheWay creates the application that the body of a message describes.
func (a *api) makeOnTheWay(q *call, o *object) error {
	values := take[map[string]jsontext.Value](o, "an object", "application")
	if values == nil {
		return o.err()
	}
	inner := &object{values: *values}
	t, err := readApp(inner)
	if err != nil {
		for i := range inner.wrong {
			inner.wrong[i].Loc = slices.Insert(inner.wrong[i].Loc, 1, "application")
		}
		return inner.err()
	}
	wrong := func(kind, text string) error {
		return &failure{status: http.StatusUnprocessableEntity, details: []detail{{[]string{"body", "application", "uid"}, text, kind}}}
	}
	if t.ID == "" {
		return wrong("application_uid_missing", "application.uid is required here")
	}
	if t.ID != q.app {
		return wrong("application_uid_mismatch", "application.uid must be the application in the path")
	}
	_, _, err = a.o.Service.MakeTenant(q.r.Context(), q.c, t, nil)
	if hook.CodeOf(err) == hook.CodeTenantExists { // made meanwhile, or deleted: publishing finds out
		return nil
	}
	return err
}

// event finds the event that the path names, with its data if the content is shown.
func (a *api) event(q *call, content bool) (*hook.Event, error) {
	id, ok := messageID(q.parts["msg"])
	if !ok {
		return nil, hook.NotFound("event")
	}
	return a.eventByID(q, id, content)
}

func (a *api) eventByID(q *call, id hook.ID, content bool) (*hook.Event, error) {
	if content {
		return a.o.Service.EventContent(q.r.Context(), q.c, q.app, id)
	}
	return a.o.Service.EventHead(q.r.Context(), q.c, q.app, id)
}

func (a *api) getMessage(q *call) error {
	content, err := q.values.flag("with_content", true)
	if err != nil {
		return err
	}
	e, err := a.event(q, content)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, wireMessage(e, content))
}

// maxContent bounds the payloads of a page, in bytes. A page ends early, but has one
// message at least.
const maxContent = 4 << 20

// listMessages lists messages, newest first.
func (a *api) listMessages(q *call) error {
	w, err := q.values.window(false)
	if err != nil {
		return err
	}
	content, err := q.values.flag("with_content", true)
	if err != nil {
		return err
	}
	s, err := readSearch(q.values)
	if err != nil {
		return err
	}
	eq := hook.EventQuery{Scope: hook.Scope{Tenant: q.app}, Before: s.before, After: s.after, Type: s.single(), Channel: s.channel}
	if w.from != "" {
		id, ok := parseID(messagePrefix, w.from)
		if !ok {
			return badIterator()
		}
		if e, err := a.o.Service.EventHead(q.r.Context(), q.c, q.app, id); err == nil {
			id = e.ID
		} else if hook.CodeOf(err) != hook.CodeNotFound {
			return err
		}
		eq.Cursor = hook.CursorAt(id)
	}
	eq.Ascending = w.back || w.from == "" && !s.after.IsZero() && s.before.IsZero()
	var list []hook.Event
	last, more := "", !s.nothing
	for turn := 0; more && turn < rounds && len(list) < w.limit; turn++ {
		eq.Limit = w.limit - len(list)
		rows, next, err := a.o.Service.Events(q.r.Context(), q.c, eq)
		if err != nil {
			return err
		}
		for _, e := range rows {
			last = messagePrefix + e.PublicID.Short()
			if s.wants(e.Type) && !hook.ReservedType(e.Type) {
				list = append(list, e)
			}
		}
		eq.Cursor, more = next, next != ""
	}
	data, size := []message{}, 0
	for i := range list {
		e := &list[i]
		if content {
			if size > maxContent {
				more, last = true, data[len(data)-1].ID
				break
			}
			if e, err = a.o.Service.EventContent(q.r.Context(), q.c, q.app, e.PublicID); err != nil {
				return err
			}
			size += len(e.Data)
		}
		data = append(data, wireMessage(e, content))
	}
	if eq.Ascending {
		slices.Reverse(data)
	}
	p := pageOf(data, !more, func(m message) string { return m.ID })
	if more && last != "" { // what was examined and left out counts too
		if back := "-" + last; eq.Ascending {
			p.PrevIterator = &back
		} else {
			p.Iterator = &last
		}
	}
	return q.answer(http.StatusOK, p)
}

// search are the filters of lists of messages and attempts.
type search struct {
	types         []string
	channel       string
	before, after time.Time // after is the first time that counts
	nothing       bool      // a filter that nothing can match
}

func readSearch(v query) (s search, err error) {
	if s.before, err = v.at("before"); err != nil {
		return s, err
	}
	if s.after, err = v.at("after"); err != nil {
		return s, err
	}
	if !s.after.IsZero() {
		s.after = s.after.Add(time.Microsecond)
	}
	if s.types = v.list("event_types"); len(s.types) > maxLimit {
		return s, wrongPart("query", "event_types", "event_types must have at most 250 entries")
	}
	for _, name := range s.types {
		if !hook.ValidType(name) {
			return s, wrongPart("query", "event_types", "event_types must be names of event types. "+hook.TypeRule)
		}
	}
	if s.channel = url.Values(v).Get("channel"); s.channel != "" && !hook.ValidChannel(s.channel) {
		return s, wrongPart("query", "channel", "channel must be the name of one channel. "+hook.ChannelRule)
	}
	s.nothing = url.Values(v).Get("tag") != "" || !s.before.IsZero() && !s.after.IsZero() && !s.after.Before(s.before)
	return s, nil
}

// single returns the only event type, or "".
func (s *search) single() string {
	if len(s.types) == 1 {
		return s.types[0]
	}
	return ""
}

func (s *search) wants(eventType string) bool {
	return len(s.types) == 0 || slices.Contains(s.types, eventType)
}

// precheck says whether an endpoint would get a message.
func (a *api) precheck(q *call) error {
	o, err := q.object(maxBody)
	if err != nil {
		return err
	}
	eventType := take[string](o, "a string", "eventType")
	if eventType == nil {
		o.blame("eventType", "eventType is required")
	}
	channels := readChannels(o)
	if err := o.err(); err != nil {
		return err
	}
	found, err := a.o.Service.Match(q.r.Context(), q.c, q.app, *eventType, channels)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, map[string]bool{"active": found.Count > 0})
}

// sendExample sends the example of an event type to one endpoint.
func (a *api) sendExample(q *call) error {
	o, err := q.object(maxBody)
	if err != nil {
		return err
	}
	eventType := take[string](o, "a string", "eventType")
	if eventType == nil {
		o.blame("eventType", "eventType is required")
	}
	if err := o.err(); err != nil {
		return err
	}
	e, err := a.endpoint(q, q.parts["endpoint"])
	if err != nil {
		return err
	}
	data := []byte(`{"success":true}`)
	if *eventType != "svix.ping" {
		known, err := a.o.Service.EventType(q.r.Context(), q.c, *eventType)
		if err != nil {
			return err
		}
		if data = known.Example; len(data) == 0 {
			return badQuery("The event type has no example. Add one to the \"examples\" of its schema.")
		}
	}
	render := func(t app.Test) message {
		return message{ID: messagePrefix + t.Event.Short(), EventType: t.Type, Payload: noPayload, Timestamp: client.Time{Time: t.Event.Time()}}
	}
	once, err := q.once(func(result any) (int, []byte) {
		t, ok := result.(app.Test)
		if !ok {
			return 0, nil
		}
		return http.StatusAccepted, encode(render(t))
	})
	if err != nil {
		return err
	}
	sent, replay, err := a.o.Service.TestEndpoint(q.r.Context(), q.c, e.ID, *eventType, data, once)
	if err != nil {
		return err
	}
	if replay != nil {
		return q.repeated(replay)
	}
	return q.answer(http.StatusAccepted, render(sent))
}
