package web

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/chart"
	"github.com/posthorn/posthorn/internal/web/page"
)

// figure is a number with what explains it.
type figure struct {
	Name, Value, Unit, Note, Href string
	Spark                         string // path in a box of 118 by 26; empty: none
}

// concernLine is an endpoint that needs attention.
type concernLine struct {
	State              badge
	Href, Name, Tenant string
	Says               string
}

// overviewPage is the content of the overview.
type overviewPage struct {
	Sub       string
	Attention []concernLine
	More      string // how many more there are, or how far was looked
	Figures   []figure
	Spans     []choice
	Chart     *chart.Attempts // nil if there was no attempt
	Times     *chart.Times    // nil if nothing was delivered
	Table     bool
	TableHref string
	Reasons   []reasonLine
	Failed    int64
	Span      string
	Replays   []replayLine
	Node      *nodeLine
	Latest    []deliveryLine
	Empty     bool // no event was ever published in the mode
	All       string
	AllReplay string
	Disk      *diskBox
	NodesHref string
	// Why a box could not be read; empty: it could.
	NoNumbers, NoLatest, NoDisk string
}

// spanNames are the spans of statistics, as their segment shows them.
var spanNames = [][2]string{{"1h", "1 h"}, {"24h", "24 h"}, {"7d", "7 d"}, {"30d", "30 d"}}

// spanOf returns the span in the URL, 24 hours by default, and its choices.
func (v *visit) spanOf(path string, few int, more ...string) (word string, out []choice) {
	word = v.query.Get("span")
	if _, ok := since[word]; !ok {
		word = "24h"
	}
	for _, one := range spanNames[:few] {
		out = append(out, choice{Name: one[1], Href: v.at(path, append(slices.Clone(more), "span", one[0])...), Current: one[0] == word})
	}
	return word, out
}

// numbers fills in the statistics of the span in the URL.
func (p *overviewPage) numbers(v *visit) error {
	word, spans := v.spanOf("", len(spanNames))
	p.Span, p.Spans = spanWord(word), spans
	stats, err := v.service().Stats(v.ctx(), v.caller, "", app.Span{From: v.now.Add(-since[word]), Open: hook.OpenFew})
	if err != nil {
		return err
	}
	hour, err := v.service().Stats(v.ctx(), v.caller, "", app.Span{From: v.now.Add(-time.Hour), Step: "1m", Open: hook.OpenNone})
	if err != nil {
		return err
	}
	var all hook.Tally
	p.Figures, all = v.figures(&stats, &hour, word)
	p.Chart, p.Times = chart.AttemptsOf(&stats, v.now), chart.TimesOf(&stats)
	p.Table, p.TableHref = v.query.Get("as") == "table", v.at("", "span", word, "as", "table")
	p.Reasons, p.Failed = v.reasons(&all, "since", word)
	return nil
}

// reasons returns why attempts failed, most frequent first.
func (v *visit) reasons(all *hook.Tally, more ...string) (out []reasonLine, total int64) {
	errs := slices.DeleteFunc(slices.Clone(all.Errors), func(e hook.ErrorCount) bool { return e.Class == hook.ClassTruncated }) // a success
	slices.SortStableFunc(errs, func(a, b hook.ErrorCount) int { return cmp.Compare(b.N, a.N) })
	for _, e := range errs {
		total += e.N
	}
	for _, e := range errs[:min(len(errs), 8)] {
		out = append(out, reasonLine{Words: answerWords(0, e.Class), Class: string(e.Class), N: number(e.N), Share: max(1, 100*e.N/max(1, total)),
			Href: v.at("deliveries", append([]string{"class", string(e.Class)}, more...)...)})
	}
	return out, total
}

func overview(v *visit) (*screen, error) {
	p := overviewPage{All: v.at("deliveries"), AllReplay: v.at("replays"), NodesHref: v.at("nodes")}
	now, err := v.overall()
	if err != nil {
		return nil, err
	}
	for i := range now.concerns[:min(len(now.concerns), 20)] {
		c := &now.concerns[i]
		host, path := page.HostOf(c.endpoint.URL)
		p.Attention = append(p.Attention, concernLine{State: endpointBadge(&c.endpoint, c.health.Failures), Href: v.at("endpoints/" + c.endpoint.ID.String()), Name: host + path,
			Tenant: c.endpoint.Scope.Tenant, Says: v.concernWords(c)})
	}
	switch {
	case now.more || len(now.concerns) > 20:
		p.More = fmt.Sprintf("The oldest %d are shown.", len(p.Attention))
	case !now.all:
		p.More = fmt.Sprintf("The newest %d endpoints were looked at.", now.endpoints)
	}
	var low *concernLine
	v.beside(side{&p.NoNumbers, "statistics", p.numbers}, side{&p.NoLatest, "latest deliveries", p.latest}, side{&p.NoDisk, "disk", func(v *visit) error {
		box, use, err := v.disk(shownTenants)
		if err == nil {
			p.Disk, low = box, v.diskConcern(use, box)
		}
		return err
	}})
	if low != nil {
		p.Attention = append(p.Attention, *low)
	}
	for i := range now.replays[:min(len(now.replays), 3)] {
		p.Replays = append(p.Replays, v.replayLine(&now.replays[i]))
	}
	if v.h.o.Node != nil {
		n := v.h.o.Node()
		p.Node = &nodeLine{Node: n, Started: when(n.Started, v.now)}
	}
	s := &screen{Template: "overview.html", Title: "Overview", Commands: []string{"posthorn stats"}, API: []string{"GET /v1/stats"}, Data: &p}
	s.Heading, p.Sub = p.sentence(&now)
	return s, nil
}

// latest fills in the newest deliveries.
func (p *overviewPage) latest(v *visit) error {
	rows, _, err := v.service().Deliveries(v.quiet, v.caller, hook.DeliveryQuery{Page: hook.Page{Limit: 6}})
	if err == nil {
		p.Latest, p.Empty = v.lines(rows), len(rows) == 0
	}
	return err
}

// concernWords says what is wrong with an endpoint, and what follows.
func (v *visit) concernWords(c *concern) string {
	says := trouble(&c.endpoint, c.health, v.now)
	if c.held >= 0 {
		says += " " + count(c.held, hook.StatsCap) + " " + plural(c.held, "delivery waits.", "deliveries wait.")
	}
	if end := v.disabledOn(&c.endpoint, c.health); end != "" {
		says += " " + end
	}
	return says
}

// disabledOn says when failures will disable an endpoint.
func (v *visit) disabledOn(e *hook.Endpoint, health hook.Health) string {
	if e.Status != hook.Enabled || health.Failures == 0 {
		return ""
	}
	t := v.service().PolicyOf(e).Trip
	switch {
	case t.Count == hook.TripDuration && t.For > 0 && !health.FirstFailureAt.IsZero():
		return "Unless an attempt succeeds, it is disabled after " + health.FirstFailureAt.Add(t.For).UTC().Format("Mon 2 Jan 15:04") + " UTC."
	case t.Count == hook.TripAttempts && t.N > 0:
		return fmt.Sprintf("It is disabled after %s failed attempts in a row.", number(int64(t.N)))
	case t.Count == hook.TripDeliveries && t.N > 0:
		return fmt.Sprintf("It is disabled after %s failed deliveries in a row.", number(int64(t.N)))
	}
	return ""
}

// sentence returns the opening sentence of the overview and the one below it.
func (p *overviewPage) sentence(now *overall) (heading, sub string) {
	fast := ""
	if p.Times != nil {
		fast = "; the rest get their events within " + p.Times.P95
	}
	switch n := len(now.concerns); {
	case n == 0 && p.Empty:
		return "Nothing was sent yet", ""
	case n == 0 && p.Times != nil:
		heading = "No endpoint needs attention; events arrive within " + p.Times.P95
	case n == 0:
		heading = "No endpoint needs attention"
	case n == 1:
		heading = "One endpoint needs attention" + fast
	case n < len(numberWords):
		heading = numberWords[n] + " endpoints need attention" + fast
	default:
		heading = strconv.Itoa(n) + " endpoints need attention" + fast
		if now.more {
			heading = "More than " + heading
		}
	}
	if n := now.endpoints; n > 0 && now.all {
		sub = fmt.Sprintf("%d of %d %s.", n-len(now.concerns), n, plural(n, "endpoint is well", "endpoints are well"))
	}
	return heading, sub
}

// numberWords are the numbers at the beginning of a sentence.
var numberWords = []string{"", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"}
