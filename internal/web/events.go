package web

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/live"
	"github.com/posthorn/posthorn/internal/web/page"
)

// eventLine is an event in a list.
type eventLine struct {
	Href, Type, ID     string
	Key, Whole         string // of the row; of the event, as ID shows it shortened
	Tenant, TenantHref string
	Test               bool
	Accepted           moment
	Dots               []badge // one for each delivery, as many as were read
	Count              string  // of deliveries; empty: not known
}

// maxDots limits the deliveries of an event that its row shows.
const maxDots = 12

// batchSpan is more than the events of one batch are accepted apart. Their deliveries have the
// time of the first one.
const batchSpan = app.MaxBatch * time.Microsecond

// eventDots adds the deliveries of a page of events to its lines, with two reads at most. A
// delivery that a resend made is among them only on the first page.
func (v *visit) eventDots(lines []eventLine, rows []hook.Event, tenant string) {
	if len(rows) == 0 {
		return
	}
	q := hook.DeliveryQuery{Scope: hook.Scope{Tenant: tenant}, Type: v.query.Get("type"), After: rows[len(rows)-1].AcceptedAt.Add(-batchSpan), Page: hook.Page{Limit: 250}}
	if v.query.Get("cursor") != "" {
		q.Before = rows[0].ID.Time().Add(time.Millisecond) // an id may be younger than the time of acceptance
	}
	at := map[hook.ID]int{}
	for i := range rows {
		at[rows[i].ID] = i
	}
	n, last, whole := make([]int, len(rows)), hook.ID{}, false
	for range 2 {
		found, next, err := v.service().Deliveries(v.quiet, v.caller, q)
		if err != nil {
			return // the list stands without the dots
		}
		for i := range found {
			d := &found[i]
			last = d.Event
			if e, ok := at[d.Event]; ok {
				if n[e]++; n[e] <= maxDots {
					lines[e].Dots = append(lines[e].Dots, stateBadge(&d.Delivery))
				}
			}
		}
		if q.Cursor = next; next == "" {
			whole = true
			break
		}
	}
	for i := range lines {
		if whole || bytes.Compare(rows[i].ID[:], last[:]) > 0 { // deliveries come in the order of their events
			lines[i].Count = strconv.Itoa(n[i])
		}
	}
}

func (v *visit) eventLines(rows []hook.Event) []eventLine {
	out := make([]eventLine, 0, len(rows))
	for i := range rows {
		e := &rows[i]
		out = append(out, eventLine{Href: v.at("events/"+e.PublicID.String(), "tenant", e.Scope.Tenant), Type: e.Type, ID: page.ShortEvent(e.PublicID, e.GivenID), Key: e.ID.String(), Whole: hook.PublicText(e.PublicID, e.GivenID), Tenant: e.Scope.Tenant,
			TenantHref: v.at("tenants/" + e.Scope.Tenant), Test: e.Kind == hook.TestEvent, Accepted: when(e.AcceptedAt, v.now)})
	}
	return out
}

func events(v *visit) (*screen, error) {
	filter := v.filters("tenant", "type", "tag", "test", "since", "after", "before")
	var reach hook.Reach
	rows, next, err := v.eventPage(filter, &reach)
	l, err := v.list("events", filter, next, err)
	l.stopped(reach)
	if err != nil {
		return nil, err
	}
	lines := v.eventLines(rows)
	v.eventDots(lines, rows, filter["tenant"])
	s := &screen{Template: "events.html", Title: "Events", Heading: "Events", Nav: "events", Commands: []string{"posthorn event list" + flags(filter, "tenant", "type:event-type")}, API: []string{"GET /v1/events" + queryOf(filter, "tenant", "type:event_type", "after", "before")}, About: aboutTenant(filter["tenant"])}
	first := ""
	for i := range rows {
		if l.Newest == "" {
			s.Rows = append(s.Rows, rows[i].ID.String())
		}
		first = rows[0].ID.String()
		l.Shown = shown(len(rows), rows[i].AcceptedAt, v.now)
	}
	s.Data = struct {
		listed
		Lines        []eventLine
		First, Fresh string
	}{l, lines, first, v.at("events", pairs(filter)...)}
	return s, nil
}

func (v *visit) eventPage(filter map[string]string, reach *hook.Reach) ([]hook.Event, string, error) {
	q := hook.EventQuery{Scope: hook.Scope{Tenant: filter["tenant"]}, Type: filter["type"], Page: hook.Page{Cursor: v.query.Get("cursor"), Reach: reach}}
	switch filter["test"] {
	case "yes", "no":
		only := filter["test"] == "yes"
		q.Test = &only
	}
	var err error
	if q.Tag, err = app.ParseTag(filter["tag"]); err != nil {
		return nil, "", err
	}
	if q.After, q.Before, err = v.bounds(); err != nil {
		return nil, "", err
	}
	return v.service().Events(v.quiet, v.caller, q)
}

// whyLine is an endpoint that did or did not receive an event.
type whyLine struct {
	State            badge
	Href, Host, Path string
	Delivery         string // path of its page; empty if there is no delivery
	Message          string
	Resend           button
}

// eventPageData is the content of the page of an event.
type eventPageData struct {
	eventLine
	FullID              string
	Created             moment
	Data                payload
	Gone                bool // retention removed the payload
	Raw                 bool
	PrettyHref, RawHref string
	Download, Report    string
	Reached, Missed     []whyLine
	More, OtherMode     bool
	Resend              string
	Tags                []tagLine
	Channels            []string
}

func event(v *visit) (*screen, error) {
	id, err := v.id("event")
	if err != nil {
		return nil, err
	}
	found, err := v.service().Explain(v.quiet, v.caller, v.query.Get("tenant"), id)
	if err != nil {
		return nil, err
	}
	e := found.Event
	path, tenant := "events/"+e.PublicID.String(), e.Scope.Tenant
	p := eventPageData{eventLine: v.eventLines([]hook.Event{*e})[0], FullID: hook.PublicText(e.PublicID, e.GivenID), Created: when(e.CreatedAt, v.now), Raw: v.query.Get("view") == "raw",
		PrettyHref: v.at(path, "tenant", tenant), RawHref: v.at(path, "tenant", tenant, "view", "raw"), Download: v.at(path+"/data", "tenant", tenant), Report: v.at(path+"/report", "tenant", tenant),
		Resend: v.at(path+"/resend", "tenant", tenant), More: found.More, OtherMode: found.OtherMode, Tags: v.tagLines(e.Tags), Channels: e.Channels}
	if p.Gone = !e.PayloadRemovedAt.IsZero(); p.Gone {
		p.Data = v.removed(e)
	} else {
		show, why := v.view(hook.ActEventRead, "event", e.PublicID, e.Scope)
		if p.Data = why; show {
			p.Data = payloadOf(e.Data, p.Raw)
		}
		p.Data.note(e)
	}
	open, delivered := false, 0
	for i := range found.Endpoints {
		line := v.why(&found.Endpoints[i])
		line.Resend = button{Action: v.at(path + "/resend"), Label: "Send", Fields: [][2]string{{"tenant", tenant}, {"endpoint", found.Endpoints[i].Endpoint.String()}}}
		if line.Delivery != "" {
			p.Reached = append(p.Reached, line)
			state := found.Endpoints[i].Delivery.State
			open = open || state == hook.Pending
			if state == hook.Succeeded {
				delivered++
			}
		} else {
			p.Missed = append(p.Missed, line)
		}
	}
	s := &screen{Template: "event.html", Title: e.Type + " of " + tenant, Heading: p.sentence(delivered), Nav: "events", Soon: open, API: []string{"GET /v1/events/" + p.FullID + "?tenant=" + tenant, "GET /v1/events/" + p.FullID + "/explain?tenant=" + tenant},
		Commands: []string{"posthorn event get " + p.FullID, "posthorn event explain " + p.FullID}, Data: p, About: live.About{Scope: e.Scope}}
	if !p.Gone {
		s.Commands = append(s.Commands, "posthorn event resend "+p.FullID)
	}
	return s, nil
}

// sentence returns the opening sentence of the page: the outcome of the event. done is how
// many of its deliveries succeeded.
func (p *eventPageData) sentence(done int) string {
	switch n := len(p.Reached); {
	case n == 0:
		return p.Type + " of " + p.Tenant + " went to no endpoint"
	case n == 1 && done == 1:
		return p.Type + " of " + p.Tenant + " was delivered"
	case done == n:
		return fmt.Sprintf("%s of %s was delivered to all %d endpoints that wanted it", p.Type, p.Tenant, n)
	default:
		return fmt.Sprintf("%s of %s was delivered to %d of %d endpoints that wanted it", p.Type, p.Tenant, done, n)
	}
}

func (v *visit) why(e *app.Explained) whyLine {
	line := whyLine{State: badge{"off", "off", "Not sent"}, Href: v.at("endpoints/" + e.Endpoint.String()), Host: page.Short(e.Endpoint), Message: e.Message}
	switch types := strings.Join(e.Types, " "); {
	case e.Why == app.WhyMatched && len(e.Channels) == 0 && types == "*":
		line.Message = "It wanted every event type."
	case e.Why == app.WhyMatched && len(e.Channels) == 0:
		line.Message = "It wanted " + types + "."
	case e.Why == app.WhyType && types == "":
		line.Message = "It wanted no event type when this one was published."
	case e.Why == app.WhyType:
		line.Message = "It wanted only " + types + " when the event was published."
	}
	if e.URL != "" {
		line.Host, line.Path = page.HostOf(e.URL)
	}
	if e.Delivery != nil {
		line.State = stateBadge(&e.Delivery.Delivery)
		line.Delivery = v.at("deliveries/" + e.Delivery.ID.String())
		if e.Delivery.Attempts > 0 {
			line.Message = answerWords(e.Delivery.LastStatus, e.Delivery.LastError) + " (" + tries(e.Delivery.Attempts) + "). " + line.Message
		}
	}
	return line
}

// eventData sends the payload byte for byte, apart from what is redacted, with headers that
// keep browsers from rendering it.
func eventData(v *visit) (*screen, error) {
	id, err := v.id("event")
	if err != nil {
		return nil, err
	}
	e, _, err := v.service().Event(v.quiet, v.caller, v.query.Get("tenant"), id)
	if err != nil {
		return nil, err
	}
	if !e.PayloadRemovedAt.IsZero() {
		return nil, hook.PayloadGone(e.PayloadRemovedAt)
	}
	if v.h.o.Payloads == PayloadsAsked {
		v.r.URL.RawQuery += "&payload=show" // a download is a question
	}
	if ok, why := v.view(hook.ActEventRead, "event", e.PublicID, e.Scope); !ok {
		return nil, &hook.Error{Code: hook.CodeForbidden, Message: why.Why, Logged: true}
	}
	v.attach(payloadName(e), len(e.Data))
	_, _ = v.w.Write(e.Data) // the client disconnected
	return nil, nil
}

func confirmResend(v *visit) (*screen, error) {
	id, err := v.id("event")
	if err != nil {
		return nil, err
	}
	e, rows, err := v.service().Event(v.quiet, v.caller, v.query.Get("tenant"), id)
	if err != nil {
		return nil, err
	}
	back := v.at("events/"+id.String(), "tenant", e.Scope.Tenant)
	return asks("events", "Resend "+e.Type+" to every endpoint that wants it?", confirm{
		Says: []string{fmt.Sprintf("The event has %d deliveries. Each endpoint of %s that wants the type now gets one more attempt, also those that got it: receivers know it by its id.", len(rows), e.Scope.Tenant),
			"To send it to one endpoint only, use the button beside it on the event's page."},
		Buttons: []button{{Action: v.at("events/" + id.String() + "/resend"), Label: "Resend to all", Fields: [][2]string{{"tenant", e.Scope.Tenant}}}}, Back: back}), nil
}

func resendEvent(v *visit) (string, error) {
	id, err := v.id("event")
	if err != nil {
		return "", err
	}
	var to hook.ID
	if name := v.r.PostForm.Get("endpoint"); name != "" {
		if to, err = hook.ParseID(name); err != nil {
			return "", hook.NotFound("endpoint")
		}
	}
	tenant := v.r.PostForm.Get("tenant")
	_, _, err = v.service().ResendEvent(v.ctx(), v.caller, tenant, id, to, nil)
	return v.at("events/"+id.String(), "tenant", tenant, "done", "resent"), err
}

// eventReport sends what a support case needs about an event as a file: no payload.
func eventReport(v *visit) (*screen, error) {
	id, err := v.id("event")
	if err != nil {
		return nil, err
	}
	found, err := v.service().Explain(v.quiet, v.caller, v.query.Get("tenant"), id)
	if err != nil {
		return nil, err
	}
	type one struct {
		Endpoint string `json:"endpoint"`
		Why      string `json:"why"`
		Message  string `json:"message"`
		Delivery string `json:"delivery,omitempty"`
		State    string `json:"state,omitempty"`
		Attempts int    `json:"attempts"`
	}
	out := struct {
		Event     string    `json:"event"`
		Tenant    string    `json:"tenant"`
		Mode      string    `json:"mode"`
		Type      string    `json:"type"`
		Created   time.Time `json:"created_at"`
		Accepted  time.Time `json:"accepted_at"`
		Bytes     int       `json:"bytes"`
		Endpoints []one     `json:"endpoints"`
		More      bool      `json:"more_endpoints"`
		Made      time.Time `json:"report_made_at"`
		Server    string    `json:"server"`
	}{hook.PublicText(found.Event.PublicID, found.Event.GivenID), found.Event.Scope.Tenant, v.mode.String(), found.Event.Type, found.Event.CreatedAt.UTC(), found.Event.AcceptedAt.UTC(), len(found.Event.Data), []one{}, found.More, v.now.UTC(), v.h.o.Version}
	for i := range found.Endpoints {
		e := &found.Endpoints[i]
		row := one{Endpoint: e.Endpoint.String(), Why: string(e.Why), Message: e.Message}
		if e.Delivery != nil {
			row.Delivery, row.State, row.Attempts = e.Delivery.ID.String(), e.Delivery.State.String(), e.Delivery.Attempts
		}
		out.Endpoints = append(out.Endpoints, row)
	}
	return nil, v.file("event-"+id.String()+".json", out)
}
