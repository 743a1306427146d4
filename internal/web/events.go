package web

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// eventLine is an event in a list.
type eventLine struct {
	Href, Type, ID     string
	Tenant, TenantHref string
	Test               bool
	Accepted           moment
}

func (v *visit) eventLines(rows []hook.Event) []eventLine {
	out := make([]eventLine, 0, len(rows))
	for i := range rows {
		e := &rows[i]
		out = append(out, eventLine{Href: v.at("events/"+e.PublicID.String(), "tenant", e.Scope.Tenant), Type: e.Type, ID: short(e.PublicID), Tenant: e.Scope.Tenant,
			TenantHref: v.at("tenants/" + e.Scope.Tenant), Test: e.Kind == hook.TestEvent, Accepted: when(e.AcceptedAt, v.now)})
	}
	return out
}

func events(v *visit) (*screen, error) {
	filter := v.filters("tenant", "type", "test", "since", "after", "before")
	rows, next, err := v.eventPage(filter)
	l, err := v.list("events", filter, next, err)
	if err != nil {
		return nil, err
	}
	return &screen{Template: "events.html", Title: "Events", Heading: "Events", Nav: "events", Commands: []string{"posthorn event list"},
		Data: struct {
			listed
			Lines []eventLine
		}{l, v.eventLines(rows)}}, nil
}

func (v *visit) eventPage(filter map[string]string) ([]hook.Event, string, error) {
	q := hook.EventQuery{Scope: hook.Scope{Tenant: filter["tenant"]}, Type: filter["type"], Page: hook.Page{Cursor: v.query.Get("cursor")}}
	switch filter["test"] {
	case "yes", "no":
		only := filter["test"] == "yes"
		q.Test = &only
	}
	var err error
	if q.After, q.Before, err = v.bounds(); err != nil {
		return nil, "", err
	}
	return v.service().Events(v.ctx(), v.caller, q)
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
	Removed             moment // when retention removed the payload; Text is empty if it did not
	Data                text
	Raw                 bool
	PrettyHref, RawHref string
	Download            string
	Reached, Missed     []whyLine
	More, OtherMode     bool
	Resend              string
}

func event(v *visit) (*screen, error) {
	id, err := v.id("event")
	if err != nil {
		return nil, err
	}
	found, err := v.service().Explain(v.ctx(), v.caller, v.query.Get("tenant"), id)
	if err != nil {
		return nil, err
	}
	e := found.Event
	path, tenant := "events/"+e.PublicID.String(), e.Scope.Tenant
	p := eventPageData{eventLine: v.eventLines([]hook.Event{*e})[0], FullID: e.PublicID.String(), Created: when(e.CreatedAt, v.now), Raw: v.query.Get("view") == "raw",
		PrettyHref: v.at(path, "tenant", tenant), RawHref: v.at(path, "tenant", tenant, "view", "raw"), Download: v.at(path+"/data", "tenant", tenant),
		Resend: v.at(path+"/resend", "tenant", tenant), More: found.More, OtherMode: found.OtherMode}
	shown := e.Data
	if !p.Raw {
		shown = pretty(e.Data)
	}
	p.Data = foreign(shown, maxShown)
	p.Data.Size = size(len(e.Data))
	if !e.PayloadRemovedAt.IsZero() {
		p.Removed, p.Data.Size = when(e.PayloadRemovedAt, v.now), "removed"
	}
	for i := range found.Endpoints {
		line := v.why(&found.Endpoints[i])
		line.Resend = button{Action: v.at(path + "/resend"), Label: "Send", Fields: [][2]string{{"tenant", tenant}, {"endpoint", found.Endpoints[i].Endpoint.String()}}}
		if line.Delivery != "" {
			p.Reached = append(p.Reached, line)
		} else {
			p.Missed = append(p.Missed, line)
		}
	}
	return &screen{Template: "event.html", Title: e.Type + " of " + tenant, Heading: p.sentence(), Nav: "events",
		Commands: []string{"posthorn event get " + p.FullID, "posthorn event explain " + p.FullID, "posthorn event resend " + p.FullID}, Data: p}, nil
}

// sentence returns the opening sentence of the page: the outcome of the event.
func (p *eventPageData) sentence() string {
	done := 0
	for _, line := range p.Reached {
		if line.State.Word == "Delivered" {
			done++
		}
	}
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
	line := whyLine{State: badge{"off", "off", "Not sent"}, Href: v.at("endpoints/" + e.Endpoint.String()), Host: short(e.Endpoint), Message: e.Message}
	if e.URL != "" {
		line.Host, line.Path = hostOf(e.URL)
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

// eventData sends the payload byte for byte, with headers that keep browsers from rendering
// it.
func eventData(v *visit) (*screen, error) {
	id, err := v.id("event")
	if err != nil {
		return nil, err
	}
	e, _, err := v.service().Event(v.ctx(), v.caller, v.query.Get("tenant"), id)
	if err != nil {
		return nil, err
	}
	if !e.PayloadRemovedAt.IsZero() {
		return nil, hook.PayloadGone(e.PayloadRemovedAt)
	}
	head := v.w.Header()
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Content-Disposition", `attachment; filename="event-`+e.PublicID.String()+`.json"`)
	head.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	head.Set("Content-Length", strconv.Itoa(len(e.Data)))
	v.w.WriteHeader(http.StatusOK)
	_, _ = v.w.Write(e.Data) // the client disconnected
	return nil, nil
}

func confirmResend(v *visit) (*screen, error) {
	id, err := v.id("event")
	if err != nil {
		return nil, err
	}
	e, rows, err := v.service().Event(v.ctx(), v.caller, v.query.Get("tenant"), id)
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
