package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// endpointLine is an endpoint in a list.
type endpointLine struct {
	State            badge
	Href, Host, Path string
	Title, Tenant    string
	TenantHref       string
	Types, Profile   string
	Trouble          string
	Changed          moment
}

func (v *visit) endpointLines(rows []hook.Endpoint) ([]endpointLine, error) {
	healths, err := v.service().Healths(v.ctx(), v.caller, rows)
	if err != nil {
		return nil, err
	}
	out := make([]endpointLine, 0, len(rows))
	for i := range rows {
		e := &rows[i]
		health := healths[e.ID]
		line := endpointLine{State: endpointBadge(e, health.Failures), Href: v.at("endpoints/" + e.ID.String()), Title: e.Title, Tenant: e.Scope.Tenant,
			TenantHref: v.at("tenants/" + e.Scope.Tenant), Types: strings.Join(e.Types, " "), Profile: e.Profile, Trouble: trouble(e, health, v.now), Changed: when(e.UpdatedAt, v.now)}
		line.Host, line.Path = hostOf(e.URL)
		out = append(out, line)
	}
	return out, nil
}

// trouble returns a sentence about why an endpoint does not work, or "" if it works.
func trouble(e *hook.Endpoint, health hook.Health, now time.Time) string {
	since := ""
	if !e.DisabledAt.IsZero() {
		since = " " + when(e.DisabledAt, now).Text
	}
	switch {
	case e.Unverified():
		return "Its receiver has not agreed to get events. What comes is held."
	case e.DisabledReason == "listener_away":
		return "Nobody is connected to it with posthorn listen. What comes is held."
	case e.Status == hook.Tripped && e.DisabledReason == "gone":
		return "Disabled" + since + ": it answered 410 Gone. What comes is held."
	case e.Status == hook.Tripped:
		return "Disabled" + since + " because its attempts failed. What comes is held."
	case e.Status == hook.Disabled:
		return "Disabled by hand" + since + ". It gets no new events; what waited is held."
	case e.Damage != 0:
		return "A sealed value of it cannot be opened. Its deliveries wait until the value is replaced."
	case health.Failures == 1:
		return "Its last attempt failed, " + when(health.LastFailureAt, now).Text + "."
	case health.Failures > 1:
		return fmt.Sprintf("Its last %d attempts failed, the first %s.", health.Failures, when(health.FirstFailureAt, now).Text)
	}
	return ""
}

func endpoints(v *visit) (*screen, error) {
	filter := v.filters("tenant", "state", "type", "profile")
	q := hook.EndpointQuery{Scope: hook.Scope{Tenant: filter["tenant"]}, EventType: filter["type"], Profile: filter["profile"], Page: hook.Page{Cursor: v.query.Get("cursor")}}
	yes, no := true, false
	switch filter["state"] {
	case "enabled":
		q.Enabled = &yes
	case "disabled":
		q.Enabled = &no
	}
	rows, next, err := v.service().Endpoints(v.ctx(), v.caller, q)
	l, err := v.list("endpoints", filter, next, err)
	if err != nil {
		return nil, err
	}
	found, err := v.endpointLines(rows)
	if err != nil {
		return nil, err
	}
	var states []choice
	for _, s := range [][2]string{{"All", ""}, {"Enabled", "enabled"}, {"Disabled", "disabled"}} {
		states = append(states, choice{Name: s[0], Current: filter["state"] == s[1], Href: v.at("endpoints", pairs(filter, "state", s[1])...)})
	}
	return &screen{Template: "endpoints.html", Title: "Endpoints", Heading: "Endpoints", Nav: "endpoints", Commands: []string{"posthorn endpoint list"},
		Data: struct {
			listed
			States []choice
			Lines  []endpointLine
		}{l, states, found}}, nil
}

// endpointPage is the content of the page of an endpoint.
type endpointPage struct {
	endpointLine
	ID, URL, Description           string
	Enabled, CanEnable             bool
	Held                           string
	Pending, Failed                string
	OldestPending                  moment
	Attempts, Succeeded, P50, P95  string
	Since                          moment
	Pace                           string
	Headers                        []string
	Rate, InFlight, MaxFail, Retry string
	Secrets                        int
	PublicKey                      string
	Created, Disabled              moment
	Revision                       int64
	Test, Enable, Disable, All     string
	Deliveries                     []deliveryLine
}

func endpoint(v *visit) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	e, err := v.service().Endpoint(v.ctx(), v.caller, id)
	if err != nil {
		return nil, err
	}
	lines, err := v.endpointLines([]hook.Endpoint{*e.Endpoint})
	if err != nil {
		return nil, err
	}
	path := v.at("endpoints/" + id.String())
	p := &endpointPage{endpointLine: lines[0], ID: id.String(), URL: hook.MaskURL(e.URL), Description: e.Description, Enabled: e.Status == hook.Enabled,
		CanEnable: e.Status != hook.Enabled && !e.Unverified() && !e.Listener(), Held: count(e.Held, hook.StatsCap), Secrets: len(e.Secrets), PublicKey: e.PublicKey,
		Created: when(e.CreatedAt, v.now), Disabled: when(e.DisabledAt, v.now), Revision: e.Revision,
		Test: path + "/test", Enable: path + "/enable", Disable: path + "/disable", All: v.at("deliveries", "endpoint", id.String(), "tenant", e.Scope.Tenant)}
	p.settings(e.Endpoint)
	if err := p.numbers(v, id); err != nil {
		return nil, err
	}
	rows, _, err := v.service().Deliveries(v.ctx(), v.caller, hook.DeliveryQuery{Scope: e.Scope, Endpoint: id, Page: hook.Page{Limit: 10}})
	if err != nil {
		return nil, err
	}
	p.Deliveries = v.lines(rows)
	return &screen{Template: "endpoint.html", Title: p.Host, Heading: p.Host + p.Path, Nav: "endpoints",
		Commands: []string{"posthorn endpoint get " + p.ID, "posthorn endpoint stats " + p.ID, "posthorn endpoint test " + p.ID}, Data: p}, nil
}

// settings fills in the endpoint's settings.
func (p *endpointPage) settings(e *hook.Endpoint) {
	for _, head := range e.Headers {
		p.Headers = append(p.Headers, head.Name)
	}
	p.Rate, p.InFlight, p.MaxFail, p.Retry = "no limit", "the server's default", "the profile's rule", "the profile's plan"
	if e.RateLimit > 0 {
		p.Rate = strconv.FormatFloat(e.RateLimit, 'g', -1, 64) + " a second"
	}
	if e.MaxInFlight > 0 {
		p.InFlight = strconv.Itoa(e.MaxInFlight)
	}
	if e.MaxFailures > 0 {
		p.MaxFail = strconv.Itoa(e.MaxFailures) + " failures in a row"
	}
	if e.Retry != nil {
		p.Retry = "its own plan"
	}
}

// numbers fills in the endpoint's statistics.
func (p *endpointPage) numbers(v *visit, id hook.ID) error {
	stats, err := v.service().EndpointStats(v.ctx(), v.caller, id, app.Span{})
	if err != nil {
		return err
	}
	p.Pending, p.Failed = count(stats.Pending, hook.StatsCap), count(stats.Failed, hook.StatsCap)
	p.OldestPending, p.Since = when(stats.OldestPending, v.now), when(stats.Since, v.now)
	if stats.Attempts > 0 {
		p.Attempts = strconv.Itoa(stats.Attempts)
		p.Succeeded = strconv.FormatFloat(100*float64(stats.Successes)/float64(stats.Attempts), 'f', 1, 64) + " %"
		p.P50, p.P95 = span(stats.Latency.P50), span(stats.Latency.P95)
	}
	if stats.Pace != nil {
		p.Pace = strings.TrimSpace(app.WaitText(stats.Pace))
		if p.Pace == "" {
			p.Pace = strings.TrimSpace(app.CapText(stats.Pace))
		}
	}
	return nil
}

func testEndpoint(v *visit) (string, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return "", err
	}
	test, _, err := v.service().TestEndpoint(v.ctx(), v.caller, id, "", nil, nil)
	return v.at("deliveries/"+test.Delivery.String(), "done", "tested"), err
}

func confirmEnable(v *visit) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	e, err := v.service().Endpoint(v.ctx(), v.caller, id)
	if err != nil {
		return nil, err
	}
	back := v.at("endpoints/" + id.String())
	host, _ := hostOf(e.URL)
	held := count(e.Held, hook.StatsCap)
	return asks("endpoints", "Enable "+host+"?", confirm{
		Says: []string{held + " deliveries are held for it. They are sent when it is enabled, oldest first, or cancelled if you discard them. New events are sent in both cases."},
		Buttons: []button{{Action: back + "/enable", Label: "Enable and send what is held"},
			{Action: back + "/enable", Label: "Enable and discard what is held", Danger: true, Fields: [][2]string{{"discard", "yes"}}}}, Back: back}), nil
}

func enableEndpoint(v *visit) (string, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return "", err
	}
	yes, word := true, "enabled"
	change := app.EndpointChange{Enabled: &yes, Discard: v.r.PostForm.Get("discard") == "yes"}
	if change.Discard {
		word = "discarded"
	}
	_, err = v.service().UpdateEndpoint(v.ctx(), v.caller, id, change)
	return v.at("endpoints/"+id.String(), "done", word), err
}

func confirmDisable(v *visit) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	e, err := v.service().EndpointNamed(v.ctx(), v.caller, "", id)
	if err != nil {
		return nil, err
	}
	back := v.at("endpoints/" + id.String())
	host, _ := hostOf(e.URL)
	return asks("endpoints", "Disable "+host+"?", confirm{
		Says: []string{"What waits for it is held until it is enabled, and fails when it was held for too long.",
			"Events that are published meanwhile are not queued for it: after it is enabled, each has to be resent."},
		Buttons: []button{{Action: back + "/disable", Label: "Disable the endpoint", Danger: true}}, Back: back}), nil
}

func disableEndpoint(v *visit) (string, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return "", err
	}
	no := false
	_, err = v.service().UpdateEndpoint(v.ctx(), v.caller, id, app.EndpointChange{Enabled: &no})
	return v.at("endpoints/"+id.String(), "done", "disabled"), err
}
