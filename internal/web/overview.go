package web

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// figure is a number on the overview.
type figure struct{ Name, Value, Note, Href string }

// most is the maximum number of rows that the overview counts. Beyond it, a number is "or
// more".
const most = 100

// overviewPage is the content of the overview.
type overviewPage struct {
	Attention []endpointLine
	Figures   []figure
	Spans     []choice
	Chart     *chart // nil if there was no attempt
	Reasons   []reasonLine
	Latest    []deliveryLine
	Failed    []deliveryLine
	Empty     bool // no event was ever published in the mode
	Command   string
	All       string
}

// numbers fills in the statistics of the span in the URL, which defaults to 24 hours.
func (p *overviewPage) numbers(v *visit) error {
	word := v.query.Get("span")
	if _, ok := since[word]; !ok {
		word = "24h"
	}
	stats, err := v.service().Stats(v.ctx(), v.caller, "", app.Span{From: v.now.Add(-since[word])})
	if err != nil {
		return err
	}
	for _, one := range []string{"1h", "24h", "7d", "30d"} {
		p.Spans = append(p.Spans, choice{Name: one, Href: v.at("", "span", one), Current: one == word})
	}
	var all hook.Tally
	p.Figures, all = v.figures(&stats)
	p.Chart = chartOf(&stats)
	slices.SortStableFunc(all.Errors, func(a, b hook.ErrorCount) int { return cmp.Compare(b.N, a.N) })
	for _, e := range all.Errors[:min(len(all.Errors), 8)] {
		p.Reasons = append(p.Reasons, reasonLine{Words: answerWords(0, e.Class), Class: string(e.Class), N: e.N, Href: v.at("deliveries", "class", string(e.Class), "since", word)})
	}
	return nil
}

func overview(v *visit) (*screen, error) {
	p := overviewPage{All: v.at("deliveries"), Command: "posthorn send --tenant acme --type payment.settled --data '{\"amount\": 1}'"}
	no, yes := false, true
	for _, enabled := range []*bool{&no, &yes} { // disabled endpoints come first
		rows, _, err := v.service().Endpoints(v.ctx(), v.caller, hook.EndpointQuery{Enabled: enabled, Page: hook.Page{Limit: most}})
		if err != nil {
			return nil, err
		}
		lines, err := v.endpointLines(rows)
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			if line.Trouble != "" && line.State.Word != "Disabled by hand" && len(p.Attention) < 20 {
				p.Attention = append(p.Attention, line)
			}
		}
	}
	if err := p.numbers(v); err != nil {
		return nil, err
	}
	failed := hook.Failed
	lost, _, err := v.service().Deliveries(v.ctx(), v.caller, hook.DeliveryQuery{State: &failed, Page: hook.Page{Limit: 5}})
	if err != nil {
		return nil, err
	}
	p.Failed = v.lines(lost)
	rows, _, err := v.service().Deliveries(v.ctx(), v.caller, hook.DeliveryQuery{Page: hook.Page{Limit: 10}})
	if err != nil {
		return nil, err
	}
	p.Latest, p.Empty = v.lines(rows), len(rows) == 0
	s := &screen{Template: "overview.html", Title: "Overview", Heading: "No endpoint needs attention", Commands: []string{"posthorn endpoint list", "posthorn delivery list"}, Data: p}
	switch n := len(p.Attention); {
	case n == 1:
		s.Heading = "One endpoint needs attention"
	case n > 1:
		s.Heading = count(n, 20) + " endpoints need attention"
	case p.Empty:
		s.Heading = "Nothing was sent yet"
	}
	return s, nil
}

// hit is the result of a search.
type hit struct{ Kind, Href, Name string }

// search redirects to the object with the given id: an event, a delivery, an endpoint or a
// tenant. It searches only the visit's mode.
func search(v *visit) (*screen, error) {
	asked := strings.TrimSpace(v.query.Get("q"))
	hits, err := v.find(asked)
	if err != nil {
		return nil, err
	}
	if len(hits) == 1 {
		redirect(v.w, v.r, hits[0].Href)
		return nil, nil
	}
	s := &screen{Template: "search.html", Title: "Search", Heading: "Several things have this id", Nav: "-", Data: struct {
		Asked, Other string
		Hits         []hit
	}{asked, at(otherMode(v.mode), "search", "q", asked), hits}}
	if len(hits) == 0 {
		s.Heading, s.Status = "Nothing was found", http.StatusNotFound
	}
	return s, nil
}

func otherMode(mode hook.Mode) hook.Mode {
	if mode == hook.Live {
		return hook.Test
	}
	return hook.Live
}

func (v *visit) find(asked string) (hits []hit, err error) {
	id, err := hook.ParseID(asked)
	if err != nil {
		return v.findTenant(asked)
	}
	missing := func(err error) bool {
		return hook.CodeOf(err) == hook.CodeNotFound || hook.CodeOf(err) == hook.CodeTenantNotFound
	}
	if d, _, err := v.service().Delivery(v.ctx(), v.caller, id); err == nil {
		hits = append(hits, hit{"Delivery", v.at("deliveries/" + id.String()), d.EventType})
	} else if !missing(err) {
		return nil, err
	}
	if e, err := v.service().EndpointNamed(v.ctx(), v.caller, "", id); err == nil {
		host, path := hostOf(e.URL)
		hits = append(hits, hit{"Endpoint", v.at("endpoints/" + id.String()), host + path})
	} else if !missing(err) {
		return nil, err
	}
	e, _, err := v.service().Event(v.ctx(), v.caller, "", id)
	switch {
	case err == nil:
		hits = append(hits, hit{"Event", v.at("events/"+id.String(), "tenant", e.Scope.Tenant), e.Type})
	case hook.CodeOf(err) == hook.CodeConflict:
		return nil, &hook.Error{Code: hook.CodeConflict, Message: "Several tenants have an event with this id. Open the events of the tenant and choose it there."}
	case !missing(err):
		return nil, err
	}
	more, err := v.findTenant(asked)
	return append(hits, more...), err
}

func (v *visit) findTenant(asked string) ([]hit, error) {
	if !hook.ValidTenantID(asked) {
		return nil, nil
	}
	t, err := v.service().Tenant(v.ctx(), v.caller, asked)
	switch {
	case err == nil:
		return []hit{{"Tenant", v.at("tenants/" + t.ID), t.Name}}, nil
	case hook.CodeOf(err) == hook.CodeNotFound || hook.CodeOf(err) == hook.CodeTenantNotFound:
		return nil, nil
	}
	return nil, err
}
