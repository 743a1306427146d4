package svix

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"encoding/base64"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// The states of messages and attempts, as Svix numbers them.
const (
	statusSuccess, statusPending, statusFail, statusSending, statusCanceled = 0, 1, 2, 3, 4
)

var statusTexts = [...]string{"success", "pending", "fail", "sending", "canceled"}

// attempt is an attempt in Svix's format.
type attempt struct {
	ID                 string      `json:"id"`
	MsgID              string      `json:"msgId"`
	EndpointID         string      `json:"endpointId"`
	URL                string      `json:"url"` // the endpoint's now; empty if it was deleted
	Response           string      `json:"response"`
	ResponseStatusCode int         `json:"responseStatusCode"`
	ResponseDurationMs int64       `json:"responseDurationMs"`
	Status             int         `json:"status"`
	StatusText         string      `json:"statusText"`
	TriggerType        int         `json:"triggerType"`
	Timestamp          client.Time `json:"timestamp"`
	Msg                *message    `json:"msg,omitempty"`

	unread bool // the response is left out until the attempt is on a page
}

func wireAttempt(row *hook.DeliveryRow, t *hook.Attempt, url string, content bool) attempt {
	out := attempt{ID: attemptID(row.ID, t.Number), MsgID: messagePrefix + row.PublicID.Short(), EndpointID: endpointPrefix + row.Endpoint.Short(), URL: url,
		ResponseStatusCode: t.Status, ResponseDurationMs: t.Duration.Milliseconds(), Timestamp: client.Time{Time: t.At}}
	if t.Class != hook.ClassNone && t.Class != hook.ClassTruncated {
		out.Status = statusFail
	}
	if out.StatusText = statusTexts[out.Status]; t.Trigger != hook.BySchedule {
		out.TriggerType = 1
	}
	if content {
		out.Response = responseOf(t)
	}
	return out
}

func responseOf(t *hook.Attempt) string {
	switch {
	case t.Status == 0:
		return t.Message
	case utf8.Valid(t.ResponseBody):
		return string(t.ResponseBody)
	}
	return base64.StdEncoding.EncodeToString(t.ResponseBody)
}

// statusOf returns the status of a delivery.
func statusOf(d *hook.Delivery, expanded bool) int {
	switch {
	case d.State == hook.Succeeded:
		return statusSuccess
	case d.State == hook.Cancelled && expanded:
		return statusCanceled
	case d.State == hook.Failed, d.State == hook.Cancelled:
		return statusFail
	case d.Attempts > 0:
		return statusSending
	}
	return statusPending
}

// filter are the filters of attempts.
type filter struct {
	search
	status, class     int // -1: all
	content, expanded bool
}

func readFilter(v query) (f filter, err error) {
	if f.search, err = readSearch(v); err != nil {
		return f, err
	}
	if f.content, err = v.flag("with_content", true); err != nil {
		return f, err
	}
	if f.expanded, err = v.flag("expanded_statuses", false); err != nil {
		return f, err
	}
	if f.status, err = v.number("status"); err != nil {
		return f, err
	}
	if f.status > statusCanceled {
		return f, wrongPart("query", "status", "status must be 0 to 4")
	}
	if f.class, err = v.number("status_code_class"); err != nil {
		return f, err
	}
	if f.class > 500 || f.class > 0 && f.class%100 != 0 {
		return f, wrongPart("query", "status_code_class", "status_code_class must be 0, 100, 200, 300, 400 or 500")
	}
	return f, nil
}

// of reports whether a message with the channels is wanted.
func (f *filter) of(channels hook.Channels) bool {
	return f.channel == "" || slices.Contains(channels, f.channel)
}

func (f *filter) wantsAttempt(row *hook.DeliveryRow, t *hook.Attempt) bool {
	failed := t.Class != hook.ClassNone && t.Class != hook.ClassTruncated
	return f.wants(row.EventType) && (f.status < 0 || f.status == statusSuccess && !failed || f.status == statusFail && failed) &&
		(f.class < 0 || t.Status/100*100 == f.class) && (f.before.IsZero() || t.At.Before(f.before)) && (f.after.IsZero() || !t.At.Before(f.after))
}

// The bounds of what one page examines: the deliveries of which it reads the attempts, the
// bytes of their responses, and the attempts that it sorts.
const maxExamined, maxRead, maxSorted = 300, 32 << 20, 10_000

// attemptsOfEndpoint lists the attempts of an endpoint: by message, newest first, and of
// one message the latest first.
func (a *api) attemptsOfEndpoint(q *call) error {
	w, err := q.values.window(false)
	if err != nil {
		return err
	}
	if err := w.onlyForward(); err != nil {
		return err
	}
	f, err := readFilter(q.values)
	if err != nil {
		return err
	}
	withMessage, err := q.values.flag("with_msg", false)
	if err != nil {
		return err
	}
	e, err := a.endpoint(q, q.parts["endpoint"])
	if err != nil {
		return err
	}
	dq := hook.DeliveryQuery{Scope: hook.Scope{Tenant: q.app}, Endpoint: e.ID, Type: f.single(), Channel: f.channel, Before: f.before, Page: hook.Page{Limit: 50}}
	l := attemptList{a: a, q: q, f: f, limit: w.limit, url: hook.MaskURL(e.URL)}
	if w.from != "" {
		id, number, ok := parseAttempt(w.from)
		if !ok {
			return badIterator()
		}
		row, err := l.delivery(id, number)
		if err != nil || row.Endpoint != e.ID {
			return badIterator()
		}
		dq.Cursor = hook.CursorAt(row.Event, row.Endpoint)
	}
	more := !f.nothing
	for turn := 0; more && !l.full() && turn < rounds; turn++ {
		rows, next, err := a.o.Service.Deliveries(q.r.Context(), q.c, dq)
		if err != nil {
			return err
		}
		for i := range rows {
			if l.full() {
				break
			}
			if l.last = attemptID(rows[i].ID, 1); rows[i].Attempts > 0 && f.wants(rows[i].EventType) {
				if _, err := l.delivery(rows[i].ID, 0); err != nil {
					return err
				}
			}
		}
		dq.Cursor, more = next, next != ""
	}
	more = more || l.full()
	if withMessage {
		cut, err := l.messages()
		if err != nil {
			return err
		}
		more = more || cut
	}
	p := pageOf(l.data, !more, func(t attempt) string { return t.ID })
	if p.PrevIterator = nil; more && l.last != "" {
		p.Iterator = &l.last
	}
	return q.answer(http.StatusOK, p)
}

// attemptList collects a page of attempts.
type attemptList struct {
	a        *api
	q        *call
	f        filter
	limit    int
	later    bool // beyond maxContent, responses are read for the page alone
	url      string
	examined int
	size     int // of the responses that were read, in bytes
	data     []attempt
	last     string // the last attempt that was examined
}

func (l *attemptList) full() bool {
	return len(l.data) >= l.limit || l.examined >= maxExamined || l.size >= maxRead
}

// messages adds the messages of the attempts. It reports whether it ended the page early,
// because their payloads are too large for it.
func (l *attemptList) messages() (cut bool, err error) {
	size := 0
	for i := range l.data {
		if i > 0 && l.data[i].MsgID == l.data[i-1].MsgID {
			l.data[i].Msg = l.data[i-1].Msg
			size += len(l.data[i].Msg.Payload)
		} else {
			id, _ := parseID(messagePrefix, l.data[i].MsgID)
			whole, err := l.a.eventByID(l.q, id, l.f.content)
			if err != nil {
				return false, err
			}
			m := wireMessage(whole, l.f.content)
			l.data[i].Msg = &m
			size += len(m.Payload)
		}
		if size > maxContent && i+1 < len(l.data) {
			l.data, l.last = l.data[:i+1], l.data[i].ID
			return true, nil
		}
	}
	return false, nil
}

// responses reads the responses of a page that were left out.
func (l *attemptList) responses(page []attempt) error {
	for i := range page {
		if !page[i].unread {
			continue
		}
		id, _, _ := parseAttempt(page[i].ID)
		row, attempts, err := l.a.o.Service.Delivery(l.q.r.Context(), l.q.c, id)
		if err != nil {
			return err
		}
		byID := make(map[string]*hook.Attempt, len(attempts))
		for j := range attempts {
			byID[attemptID(row.ID, attempts[j].Number)] = &attempts[j]
		}
		for j := i; j < len(page); j++ {
			if t := byID[page[j].ID]; t != nil && page[j].unread {
				page[j].Response, page[j].unread = responseOf(t), false
			}
		}
	}
	return nil
}

// delivery adds the attempts of a delivery, the latest first: those below a number, or all
// if it is 0.
func (l *attemptList) delivery(id hook.ID, below int) (hook.DeliveryRow, error) {
	row, attempts, err := l.a.o.Service.Delivery(l.q.r.Context(), l.q.c, id)
	if err == nil && row.Scope.Tenant != l.q.app {
		err = hook.NotFound("delivery")
	}
	if err != nil {
		return row, err
	}
	l.examined++
	content := l.f.content && (!l.later || l.size <= maxContent)
	for i := range attempts {
		l.size += len(attempts[i].ResponseBody)
	}
	for _, t := range slices.Backward(attempts) {
		if below > 0 && t.Number >= below || len(l.data) >= l.limit {
			continue
		}
		if l.last = attemptID(row.ID, t.Number); l.f.wantsAttempt(&row, &t) {
			one := wireAttempt(&row, &t, l.url, content)
			one.unread = l.f.content && !content
			l.data = append(l.data, one)
		}
	}
	return row, nil
}

// deliveries returns the deliveries of the message that the path names, in the order of
// endpoints.
func (a *api) deliveries(q *call) ([]hook.DeliveryRow, error) {
	id, ok := messageID(q.parts["msg"])
	if !ok {
		return nil, hook.NotFound("event")
	}
	rows, err := a.o.Service.EventDeliveries(q.r.Context(), q.c, q.app, id)
	slices.SortFunc(rows, func(a, b hook.DeliveryRow) int { return slices.Compare(a.Endpoint[:], b.Endpoint[:]) })
	return rows, err
}

// endpointsByID returns the application's endpoints that are not deleted.
func (a *api) endpointsByID(q *call) (map[hook.ID]*hook.Endpoint, error) {
	all, err := a.o.Service.TenantEndpoints(q.r.Context(), q.c, q.app)
	out := make(map[hook.ID]*hook.Endpoint, len(all))
	for _, e := range all {
		out[e.ID] = e
	}
	return out, err
}

// attemptsOfMessage lists the attempts of a message, the latest first.
func (a *api) attemptsOfMessage(q *call) error {
	w, err := q.values.window(false)
	if err != nil {
		return err
	}
	f, err := readFilter(q.values)
	if err != nil {
		return err
	}
	name := q.parts["endpoint"]
	if name == "" {
		name = url.Values(q.values).Get("endpoint_id")
	}
	var only hook.ID
	if name != "" {
		e, err := a.endpoint(q, name)
		if err != nil {
			return err
		}
		only = e.ID
	}
	rows, err := a.deliveries(q)
	if err != nil {
		return err
	}
	endpoints, err := a.endpointsByID(q)
	if err != nil {
		return err
	}
	l := attemptList{a: a, q: q, f: f, limit: 2 * maxSorted, later: true}
	for i := range rows {
		if rows[i].Attempts == 0 || f.nothing || !f.of(rows[i].Channels) || !only.IsZero() && rows[i].Endpoint != only {
			continue
		}
		if l.examined >= maxExamined {
			return wrongPart("query", "endpoint_id", "The message went to more than "+strconv.Itoa(maxExamined)+" endpoints. Name one.")
		}
		if len(l.data) >= maxSorted {
			return wrongPart("query", "endpoint_id", "The message was tried more than "+strconv.Itoa(maxSorted)+" times. Name an endpoint.")
		}
		l.url = ""
		if e := endpoints[rows[i].Endpoint]; e != nil {
			l.url = hook.MaskURL(e.URL)
		}
		if _, err := l.delivery(rows[i].ID, 0); err != nil {
			return err
		}
	}
	slices.SortStableFunc(l.data, func(a, b attempt) int { return a.Timestamp.Compare(b.Timestamp.Time) })
	begin := 0
	list := slices.Clone(l.data)
	if !w.ascending {
		slices.Reverse(list)
	}
	end := len(list)
	if w.from != "" {
		at := slices.IndexFunc(list, func(t attempt) bool { return t.ID == w.from })
		if at < 0 {
			return badIterator()
		}
		if begin = at + 1; w.back {
			begin, end = max(0, at-w.limit), at
		}
	}
	end = min(end, begin+w.limit)
	done := end == len(list)
	if w.back {
		done = begin == 0
	}
	if err := l.responses(list[begin:end]); err != nil {
		return err
	}
	return q.answer(http.StatusOK, pageOf(list[begin:end], done, func(t attempt) string { return t.ID }))
}

func (a *api) getAttempt(q *call) error {
	id, number, ok := parseAttempt(q.parts["attempt"])
	message, named := messageID(q.parts["msg"])
	if !ok || !named {
		return hook.NotFound("attempt")
	}
	row, attempts, err := a.o.Service.Delivery(q.r.Context(), q.c, id)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(attempts, func(t hook.Attempt) bool { return t.Number == number })
	if row.Scope.Tenant != q.app || row.PublicID != message || at < 0 {
		return hook.NotFound("attempt")
	}
	url := ""
	if e, err := a.o.Service.EndpointNamed(q.r.Context(), q.c, q.app, row.Endpoint); err == nil {
		url = hook.MaskURL(e.URL)
	}
	return q.answer(http.StatusOK, wireAttempt(&row, &attempts[at], url, true))
}

// resend requests one attempt at the endpoint, whatever its filter.
func (a *api) resend(q *call) error {
	id, ok := messageID(q.parts["msg"])
	if !ok {
		return hook.NotFound("event")
	}
	e, err := a.endpoint(q, q.parts["endpoint"])
	if err != nil {
		return err
	}
	once, err := q.once(func(any) (int, []byte) { return http.StatusAccepted, []byte(`{}`) })
	if err != nil {
		return err
	}
	_, replay, err := a.o.Service.ResendEvent(q.r.Context(), q.c, q.app, id, e.ID, once)
	if err != nil {
		return err
	}
	if replay != nil {
		return q.repeated(replay)
	}
	return q.answer(http.StatusAccepted, struct{}{})
}

// destination is an endpoint that a message went to. Of a deleted one only the id is left.
type destination struct {
	endpoint
	Status      int          `json:"status"`
	StatusText  string       `json:"statusText"`
	NextAttempt *client.Time `json:"nextAttempt"`
}

func nextAttempt(d *hook.Delivery) *client.Time {
	if d.Due.IsZero() || d.State != hook.Pending {
		return nil
	}
	return &client.Time{Time: d.Due}
}

// attemptedDestinations lists the endpoints that a message was tried at, by id.
func (a *api) attemptedDestinations(q *call) error {
	w, err := q.values.window(true)
	if err != nil {
		return err
	}
	from := ""
	if w.from != "" {
		id, ok := parseID(endpointPrefix, w.from)
		if !ok {
			return badIterator()
		}
		from = id.Short()
	}
	rows, err := a.deliveries(q)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(d hook.DeliveryRow) bool { return d.Attempts == 0 })
	rows, done := cut(rows, w, from, func(d hook.DeliveryRow) string { return d.Endpoint.Short() })
	endpoints, err := a.endpointsByID(q)
	if err != nil {
		return err
	}
	data := make([]destination, len(rows))
	for i := range rows {
		d := &rows[i]
		e := endpoints[d.Endpoint]
		if e == nil {
			e = &hook.Endpoint{ID: d.Endpoint, Types: hook.Filter{"*"}, Status: hook.Deleted, CreatedAt: d.Endpoint.Time(), UpdatedAt: d.Endpoint.Time()}
		}
		status := statusOf(&d.Delivery, true)
		data[i] = destination{endpoint: wireEndpoint(e), Status: status, StatusText: statusTexts[status], NextAttempt: nextAttempt(&d.Delivery)}
		data[i].Metadata = nil
	}
	return q.answer(http.StatusOK, pageOf(data, done, func(v destination) string { return v.ID }))
}

// attempted is a message that was tried at an endpoint.
type attempted struct {
	message
	Status      int          `json:"status"`
	StatusText  string       `json:"statusText"`
	NextAttempt *client.Time `json:"nextAttempt"`
}

// attemptedMessages lists the messages that were tried at an endpoint, newest first.
func (a *api) attemptedMessages(q *call) error {
	w, err := q.values.window(false)
	if err != nil {
		return err
	}
	if err := w.onlyForward(); err != nil {
		return err
	}
	f, err := readFilter(q.values)
	if err != nil {
		return err
	}
	e, err := a.endpoint(q, q.parts["endpoint"])
	if err != nil {
		return err
	}
	dq := hook.DeliveryQuery{Scope: hook.Scope{Tenant: q.app}, Endpoint: e.ID, Type: f.single(), Channel: f.channel, Before: f.before, After: f.after, Page: hook.Page{Limit: w.limit}}
	if state, ok := map[int]hook.State{statusSuccess: hook.Succeeded, statusFail: hook.Failed, statusSending: hook.Pending, statusCanceled: hook.Cancelled}[f.status]; ok {
		dq.State = &state
	}
	if w.from != "" {
		id, ok := parseID(messagePrefix, w.from)
		if !ok {
			return badIterator()
		}
		if event, err := a.o.Service.EventHead(q.r.Context(), q.c, q.app, id); err == nil {
			id = event.ID
		}
		dq.Cursor = hook.CursorAt(id, e.ID)
	}
	data, size, last, more := []attempted{}, 0, "", !f.nothing && f.status != statusPending
	for turn := 0; more && turn < rounds && len(data) < w.limit && size <= maxContent; turn++ {
		dq.Limit = w.limit - len(data)
		rows, next, err := a.o.Service.Deliveries(q.r.Context(), q.c, dq)
		if err != nil {
			return err
		}
		more = next != ""
		for i := range rows {
			d := &rows[i]
			if size > maxContent {
				more = true
				break
			}
			if last = messagePrefix + d.PublicID.Short(); d.Attempts == 0 || !f.wants(d.EventType) {
				continue
			}
			out := attempted{message: wireMessage(&hook.Event{ID: d.Event, PublicID: d.PublicID, GivenID: d.GivenID, Type: d.EventType, Channels: d.Channels, AcceptedAt: d.CreatedAt.Truncate(time.Microsecond)}, false)}
			if f.content {
				whole, err := a.o.Service.EventContent(q.r.Context(), q.c, q.app, d.PublicID)
				if err != nil {
					return err
				}
				out.message = wireMessage(whole, true)
				size += len(whole.Data)
			}
			out.Status, out.NextAttempt = statusOf(&d.Delivery, f.expanded), nextAttempt(&d.Delivery)
			out.StatusText = statusTexts[out.Status]
			data = append(data, out)
		}
		dq.Cursor = next
	}
	p := pageOf(data, !more, func(v attempted) string { return v.ID })
	if p.PrevIterator = nil; more && last != "" {
		p.Iterator = &last
	}
	return q.answer(http.StatusOK, p)
}
