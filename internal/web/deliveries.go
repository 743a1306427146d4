package web

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// deliveryLine is a delivery in a list.
type deliveryLine struct {
	State          badge
	Href, Type, ID string
	Endpoint, Host string // path of the page, host of the URL
	Path, Tenant   string
	TenantHref     string
	Answer, Code   string
	Tries          int
	Next, Accepted moment
	Test           bool
	EventHref      string
}

// lines returns the lines of a page of deliveries. Deleted endpoints are shown by their ids.
func (v *visit) lines(rows []hook.DeliveryRow) []deliveryLine {
	known := map[hook.ID]*hook.Endpoint{}
	out := make([]deliveryLine, 0, len(rows))
	for i := range rows {
		d := &rows[i]
		e, asked := known[d.Endpoint]
		if !asked {
			e, _ = v.service().EndpointNamed(v.ctx(), v.caller, d.Scope.Tenant, d.Endpoint) // deleted: nil
			known[d.Endpoint] = e
		}
		line := deliveryLine{State: stateBadge(&d.Delivery), Href: v.at("deliveries/" + d.ID.String()), Type: d.EventType, ID: short(d.ID),
			Endpoint: v.at("endpoints/" + d.Endpoint.String()), Host: short(d.Endpoint), Tenant: d.Scope.Tenant, TenantHref: v.at("tenants/" + d.Scope.Tenant),
			Answer: answerWords(d.LastStatus, d.LastError), Code: string(d.LastError), Tries: d.Attempts, Next: when(d.Due, v.now), Accepted: when(d.CreatedAt, v.now),
			Test: d.Kind == hook.TestEvent, EventHref: v.at("events/"+d.PublicID.String(), "tenant", d.Scope.Tenant)}
		if !d.Due.IsZero() && !d.Due.After(v.now) {
			line.Next.Text = "now"
		}
		if d.Attempts == 0 {
			line.Answer = "Not attempted yet"
		}
		if e != nil {
			line.Host, line.Path = hostOf(e.URL)
		} else {
			line.Endpoint = "" // deleted: it has no page
		}
		out = append(out, line)
	}
	return out
}

// choice is one of several values of a filter.
type choice struct {
	Name, Value, Href string
	Class, Icon       string
	Current           bool
}

// listed holds what every list shows around its rows.
type listed struct {
	Filter  map[string]string
	Problem string // what is wrong with the filter
	Words   string // the filter in words; empty if there is none
	Clear   string
	Newest  string // path of the first page; empty on the first page
	Older   string
}

// filters returns the values of the named query parameters. Links do not keep other
// parameters.
func (v *visit) filters(names ...string) map[string]string {
	out := map[string]string{}
	for _, name := range names {
		out[name] = v.query.Get(name)
	}
	return out
}

// pairs returns the filter in the form that at takes, followed by further pairs.
func pairs(filter map[string]string, more ...string) []string {
	var out []string
	for name, value := range filter {
		out = append(out, name, value)
	}
	return append(out, more...)
}

// list returns the links to the previous and the next page.
func (v *visit) list(path string, filter map[string]string, next string, err error) (listed, error) {
	l := listed{Filter: filter, Clear: v.at(path)}
	for _, name := range []string{"state", "tenant", "type", "endpoint", "since", "after", "before", "class", "test", "status", "q", "kind"} {
		if filter[name] != "" {
			l.Words += ", " + name + " " + filter[name]
		}
	}
	if l.Words != "" {
		l.Words = l.Words[2:]
	}
	if v.query.Get("cursor") != "" {
		l.Newest = v.at(path, pairs(filter)...)
	}
	if next != "" {
		l.Older = v.at(path, pairs(filter, "cursor", next)...)
	}
	switch hook.CodeOf(err) {
	case hook.CodeInvalidRequest, hook.CodeTenantNotFound, hook.CodeTypeUnknown:
		if err != nil {
			l.Problem = err.Error()
			return l, nil
		}
	}
	return l, err
}

// since maps names to the periods that a list can be restricted to.
var since = map[string]time.Duration{"1h": time.Hour, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "30d": 30 * 24 * time.Hour}

// bounds parses the times that a list is restricted to.
func (v *visit) bounds() (after, before time.Time, err error) {
	if d, ok := since[v.query.Get("since")]; ok {
		after = v.now.Add(-d)
	}
	for name, to := range map[string]*time.Time{"after": &after, "before": &before} {
		if text := v.query.Get(name); text != "" {
			if *to, err = hook.ParseTime(text); err != nil {
				return after, before, &hook.Error{Code: hook.CodeInvalidRequest, Field: name, Message: "\"" + name + "\" is " + err.Error() + "."}
			}
		}
	}
	return after, before, nil
}

// stateChoices lists the states in the order in which operators review them.
var stateChoices = []struct{ name, value, class, icon string }{
	{"All", "", "", ""}, {"Pending", "pending", "wait", "wait"}, {"Held", "held", "held", "held"}, {"Delivered", "succeeded", "ok", "ok"},
	{"Failed", "failed", "bad", "x"}, {"Cancelled", "cancelled", "off", "off"},
}

func deliveries(v *visit) (*screen, error) {
	filter := v.filters("state", "tenant", "endpoint", "type", "class", "since", "after", "before")
	q := hook.DeliveryQuery{Scope: hook.Scope{Tenant: filter["tenant"]}, Type: filter["type"], Error: hook.Class(filter["class"]), Page: hook.Page{Cursor: v.query.Get("cursor")}}
	rows, next, err := v.deliveryPage(&q, filter)
	l, err := v.list("deliveries", filter, next, err)
	if err != nil {
		return nil, err
	}
	var states []choice
	for _, s := range stateChoices {
		with := pairs(filter, "state", s.value)
		states = append(states, choice{Name: s.name, Class: s.class, Icon: s.icon, Current: filter["state"] == s.value, Href: v.at("deliveries", with...)})
	}
	return &screen{Template: "deliveries.html", Title: "Deliveries", Heading: "Deliveries", Nav: "deliveries",
		Commands: []string{"posthorn delivery list"},
		Data: struct {
			listed
			States []choice
			Lines  []deliveryLine
		}{l, states, v.lines(rows)}}, nil
}

func (v *visit) deliveryPage(q *hook.DeliveryQuery, filter map[string]string) (rows []hook.DeliveryRow, next string, err error) {
	if q.After, q.Before, err = v.bounds(); err != nil {
		return nil, "", err
	}
	if word := filter["state"]; word != "" {
		state, ok := hook.ParseState(word)
		if !ok {
			return nil, "", &hook.Error{Code: hook.CodeInvalidRequest, Field: "state", Message: "There is no state " + strconv.Quote(word) + "."}
		}
		q.State = &state
	}
	if text := filter["endpoint"]; text != "" {
		if q.Endpoint, err = hook.ParseID(text); err != nil {
			return nil, "", &hook.Error{Code: hook.CodeInvalidRequest, Field: "endpoint", Message: "\"endpoint\" must be the id of an endpoint."}
		}
	}
	return v.service().Deliveries(v.ctx(), v.caller, *q)
}

// maxAttemptsShown limits the attempts on the page of a delivery. A link leads to older
// ones.
const maxAttemptsShown = 20

// attemptLine is an attempt in the timeline.
type attemptLine struct {
	Number               int
	Good, Open, Truncate bool
	Answer, Code         string
	Message, Trigger     string
	At                   moment
	Took, Gap            string
	Headers, Body        text
	Removed              moment // when retention removed the answer
	Whole                string // path of the page that shows the entire body
}

func delivery(v *visit) (*screen, error) {
	id, err := v.id("delivery")
	if err != nil {
		return nil, err
	}
	row, attempts, err := v.service().Delivery(v.ctx(), v.caller, id)
	if err != nil {
		return nil, err
	}
	lines := v.lines([]hook.DeliveryRow{row})
	page := deliveryPage{deliveryLine: lines[0], FullID: id.String(), FullEvent: row.PublicID.String(), FullEndpoint: row.Endpoint.String(),
		Reason: reasonWords[row.Reason], ReasonCode: string(row.Reason), Settled: when(row.SettledAt, v.now),
		Retry: v.at("deliveries/" + id.String() + "/retry"), Cancel: v.at("deliveries/" + id.String() + "/cancel"), Open: row.State.Open()}
	if row.State == hook.Pending {
		page.Waits = "No attempt is planned at a time: it is under way, or waits for its turn."
	}
	page.Profile = fmt.Sprintf("%x", row.Profile[:4])
	if e, err := v.service().EndpointNamed(v.ctx(), v.caller, row.Scope.Tenant, row.Endpoint); err == nil {
		page.URL, page.ProfileName = hook.MaskURL(e.URL), e.Profile
		for _, head := range e.Headers {
			page.Headers = append(page.Headers, head.Name)
		}
	}
	if event, all, err := v.service().Event(v.ctx(), v.caller, row.Scope.Tenant, row.PublicID); err == nil {
		page.Data = foreign(pretty(event.Data), 8<<10)
		page.Data.Size = size(len(event.Data))
		if !event.PayloadRemovedAt.IsZero() {
			page.Removed, page.Data.Size = when(event.PayloadRemovedAt, v.now), "removed"
		}
		all = slices.DeleteFunc(all, func(d hook.DeliveryRow) bool { return d.ID == id })
		page.Elsewhere = v.lines(all[:min(len(all), 10)])
	}
	page.Attempts, page.Older = v.timeline(id, attempts)
	return &screen{Template: "delivery.html", Title: row.EventType + " to " + row.Scope.Tenant, Heading: page.sentence(), Nav: "deliveries",
		Commands: []string{"posthorn delivery get " + id.String(), "posthorn delivery retry " + id.String()}, Data: page}, nil
}

// deliveryPage is the content of the page of a delivery.
type deliveryPage struct {
	deliveryLine
	FullID, FullEvent, FullEndpoint string
	Reason, ReasonCode, Waits       string
	Settled                         moment
	Retry, Cancel                   string
	Open                            bool
	URL, Profile, ProfileName       string
	Headers                         []string // names of the endpoint's own headers
	Data                            text
	Removed                         moment         // when retention removed the payload
	Elsewhere                       []deliveryLine // other deliveries of the same event
	Attempts                        []attemptLine  // newest first
	Older                           string
}

func tries(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return strconv.Itoa(n) + " attempts"
}

// sentence returns the opening sentence of the page.
func (p *deliveryPage) sentence() string {
	tries := tries(p.Tries)
	switch p.State.Word {
	case "Delivered":
		return p.Type + " was delivered to " + p.Tenant + " with " + tries
	case "Retrying":
		return p.Type + " has not reached " + p.Tenant + " yet: " + tries + " failed"
	case "Failed":
		return p.Type + " did not reach " + p.Tenant + ": " + tries + " failed"
	case "Held":
		return p.Type + " is held for " + p.Tenant
	case "Cancelled":
		return p.Type + " to " + p.Tenant + " was cancelled"
	}
	return p.Type + " is on its way to " + p.Tenant
}

// timeline returns the lines of the attempts, newest first. If the query names an attempt,
// the page shows the complete response to it, and only the attempts up to it.
func (v *visit) timeline(id hook.ID, attempts []hook.Attempt) (lines []attemptLine, older string) {
	newest := len(attempts) - 1
	asked, err := strconv.Atoi(v.query.Get("attempt"))
	for i := range attempts {
		if err == nil && attempts[i].Number == asked {
			newest = i
		}
	}
	path := "deliveries/" + id.String()
	for i := newest; i >= 0; i-- {
		a := &attempts[i]
		if len(lines) == maxAttemptsShown {
			return lines, v.at(path, "attempt", strconv.Itoa(a.Number))
		}
		limit := 2 << 10
		if a.Number == asked {
			limit = maxShown
		}
		line := attemptLine{Number: a.Number, Good: a.Class == hook.ClassNone || a.Class == hook.ClassTruncated, Open: i == newest, Answer: answerWords(a.Status, a.Class), Code: string(a.Class),
			Message: a.Message, Trigger: triggerWords[a.Trigger], At: when(a.At, v.now), Took: span(a.Duration),
			Headers: foreign(bytes.TrimRight(a.ResponseHeaders, "\r\n"), limit), Body: foreign(a.ResponseBody, limit), Truncate: a.Truncated, Removed: when(a.AnswerRemovedAt, v.now)}
		if line.Body.Cut || line.Headers.Cut {
			line.Whole = v.at(path, "attempt", strconv.Itoa(a.Number))
		}
		if i > 0 {
			line.Gap = span(max(0, a.At.Sub(attempts[i-1].At)))
		}
		lines = append(lines, line)
	}
	return lines, ""
}

func retryDelivery(v *visit) (string, error) {
	id, err := v.id("delivery")
	if err != nil {
		return "", err
	}
	_, _, err = v.service().RetryDelivery(v.ctx(), v.caller, id, false, nil)
	return v.at("deliveries/"+id.String(), "done", "retried"), err
}

// confirm is a page that asks for confirmation of an action.
type confirm struct {
	Says    []string
	Buttons []button
	Back    string
}

// button is a form with a single button. Fields are pairs of hidden names and values.
type button struct {
	Action, Label string
	Danger        bool
	Fields        [][2]string
}

func asks(nav, heading string, c confirm) *screen {
	return &screen{Template: "confirm.html", Title: heading, Heading: heading, Nav: nav, Status: http.StatusOK, Data: c}
}

func confirmCancel(v *visit) (*screen, error) {
	id, err := v.id("delivery")
	if err != nil {
		return nil, err
	}
	row, _, err := v.service().Delivery(v.ctx(), v.caller, id)
	if err != nil {
		return nil, err
	}
	back := v.at("deliveries/" + id.String())
	return asks("deliveries", "Cancel this delivery?", confirm{
		Says:    []string{row.EventType + " to " + row.Scope.Tenant + " will not be attempted any more. A resend or a retry by hand can still send it."},
		Buttons: []button{{Action: back + "/cancel", Label: "Cancel the delivery", Danger: true}}, Back: back}), nil
}

func cancelDelivery(v *visit) (string, error) {
	id, err := v.id("delivery")
	if err != nil {
		return "", err
	}
	_, err = v.service().CancelDelivery(v.ctx(), v.caller, id)
	return v.at("deliveries/"+id.String(), "done", "cancelled"), err
}
