package web

import (
	"cmp"
	"slices"

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
