package web

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/chart"
	"github.com/posthorn/posthorn/internal/web/live"
	"github.com/posthorn/posthorn/internal/web/page"
)

// trouble returns a sentence about why an endpoint does not work, or "" if it works.
func trouble(e *hook.Endpoint, health hook.Health, now time.Time) string {
	since := ""
	if !e.DisabledAt.IsZero() {
		since = " " + when(e.DisabledAt, now).Text
	}
	switch {
	case e.Unverified():
		return "Its receiver has not agreed to get events. New events are held."
	case e.DisabledReason == hook.DisabledAway:
		return "Nobody is connected to it with posthorn listen. New events are held."
	case e.Status == hook.Tripped && e.DisabledReason == hook.DisabledGone:
		return "Disabled" + since + ": it answered 410 Gone. New events are held."
	case e.Status == hook.Tripped:
		return "Disabled" + since + " because its attempts failed. New events are held."
	case e.Status == hook.Disabled:
		return "Disabled by hand" + since + ". It gets no new events; what waited is held."
	case e.Damage != 0:
		return "A sealed value of it cannot be opened. Its deliveries wait until the value is replaced."
	case health.Failures == 1:
		return "Its last attempt failed, " + when(health.LastFailureAt, now).Text + "."
	case health.Failures > 1:
		first := when(health.FirstFailureAt, now)
		return fmt.Sprintf("Every attempt has failed since %s UTC (%s), %d in a row.", first.Clock, strings.TrimSuffix(first.Text, " ago"), health.Failures)
	}
	return ""
}

// endpointStates are the choices above the list of endpoints. Failing ones are those of the
// overview.
var endpointStates = [][2]string{{"All", ""}, {"Enabled", "enabled"}, {"Needs attention", "attention"}, {"Disabled", "disabled"}}

func endpoints(v *visit) (*screen, error) {
	filter := v.filters("tenant", "state", "type", "profile", "host")
	q := hook.EndpointQuery{Scope: hook.Scope{Tenant: filter["tenant"]}, EventType: filter["type"], Profile: filter["profile"], Page: hook.Page{Cursor: v.query.Get("cursor")}}
	yes, no := true, false
	var rows []hook.Endpoint
	var next string
	var err error
	switch filter["state"] {
	case "enabled":
		q.Enabled = &yes
	case "disabled":
		q.Enabled = &no
	}
	looked := ""
	switch {
	case filter["state"] == "attention":
		rows, err = v.troubled(filter)
	case filter["host"] != "":
		n := 0
		if rows, n, err = v.endpointsAt(filter["host"], q); err == nil {
			looked = fmt.Sprintf("%d found among the %d that were looked at, newest first.", len(rows), n)
		}
	default:
		rows, next, err = v.service().Endpoints(v.quiet, v.caller, q)
	}
	l, err := v.list("endpoints", filter, next, err)
	if err != nil {
		return nil, err
	}
	l.Shown = looked
	found, err := v.endpointLines(rows)
	if err != nil {
		return nil, err
	}
	v.withNow(found, rows)
	failing, _ := v.counts()
	var states []choice
	for _, s := range endpointStates {
		one := choice{Name: s[0], Current: filter["state"] == s[1], Href: v.at("endpoints", pairs(filter, "state", s[1])...)}
		if s[1] == "attention" && failing > 0 {
			one.N, one.Class, one.Icon = number(int64(failing)), "bad", "warn"
		}
		states = append(states, one)
	}
	return &screen{Template: "endpoints.html", Title: "Endpoints", Heading: "Endpoints", Nav: "endpoints", Commands: []string{"posthorn endpoint list" + flags(filter, "tenant")}, API: []string{"GET /v1/endpoints" + queryOf(filter, "tenant", "type:event_type")}, About: aboutTenant(filter["tenant"]),
		Data: struct {
			listed
			States []choice
			Lines  []endpointLine
			New    string
		}{l, states, found, v.at("endpoints/new", "tenant", filter["tenant"])}}, nil
}

// troubled returns the endpoints that need attention and pass the filter.
func (v *visit) troubled(filter map[string]string) (out []hook.Endpoint, err error) {
	now, err := v.overall()
	for i := range now.concerns {
		e := &now.concerns[i].endpoint
		if (filter["tenant"] == "" || filter["tenant"] == e.Scope.Tenant) && (filter["profile"] == "" || filter["profile"] == e.Profile) && (filter["type"] == "" || e.Types.Match(filter["type"])) &&
			strings.Contains(strings.ToLower(hook.MaskURL(e.URL)), strings.ToLower(filter["host"])) {
			out = append(out, *e)
		}
	}
	return out, err
}

// endpointPage is the content of the page of an endpoint.
type endpointPage struct {
	endpointLine
	ID, URL, Description           string
	Enabled, CanEnable, CanReveal  bool
	Held                           string
	Tab                            string
	Tabs                           []choice
	Spans                          []choice
	Figures                        []figure
	Chart                          *chart.Attempts
	Strip                          *chart.Strip
	Reasons                        []reasonLine
	Ends                           string // when failures disable it
	Pace                           string
	TypeList, Channels, Headers    []string
	Rate, InFlight, MaxFail, Retry string
	Secrets                        []secretLine
	PublicKey                      string
	Created, Disabled              moment
	Revision                       int64
	Test, Enable, Disable, All     string
	Replay, Edit, Delete           string
	Rotate, Reveal, LastFailure    string
	Table                          deliveryTable
	History                        []auditLine
	Snippets                       []page.Snippet
	ProfileHref, Customer          string
	// Why a box could not be read; empty: it could.
	NoNumbers, NoTable, NoHistory string
}

// secretLine is a secret in force, without its text.
type secretLine struct {
	Newest        bool
	Made, Expires moment
}

// endpointTabs are the parts of the page of an endpoint.
var endpointTabs = [][2]string{{"health", "Health"}, {"deliveries", "Deliveries"}, {"settings", "Settings"}, {"secret", "Secret"}, {"history", "History"}}

func endpoint(v *visit) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	e, err := v.service().Endpoint(v.quiet, v.caller, id)
	if err != nil {
		return nil, err
	}
	lines, err := v.endpointLines([]hook.Endpoint{*e.Endpoint})
	if err != nil {
		return nil, err
	}
	path := v.at("endpoints/" + id.String())
	p := &endpointPage{endpointLine: lines[0], ID: id.String(), URL: hook.MaskURL(e.URL), Description: e.Description, Enabled: e.Status == hook.Enabled, Tab: v.query.Get("tab"),
		CanEnable: e.Status != hook.Enabled && !e.Unverified() && !e.Listener(), CanReveal: v.service().MayReveal(), Held: count(e.Held, hook.StatsCap), PublicKey: e.PublicKey,
		TypeList: e.Types, Channels: e.Channels, Created: when(e.CreatedAt, v.now), Disabled: when(e.DisabledAt, v.now), Revision: e.Revision, Ends: v.disabledOn(e.Endpoint, *e.Health),
		Test: path + "/test", Enable: path + "/enable", Disable: path + "/disable", Edit: path + "/edit", Delete: path + "/delete", Rotate: path + "/rotate", Reveal: path + "/reveal",
		All: v.at("deliveries", "endpoint", id.String(), "tenant", e.Scope.Tenant), Replay: v.at("replays/new", "endpoint", id.String()), ProfileHref: v.at("profiles/" + e.Profile), Customer: v.at("tenants/" + e.Scope.Tenant + "/customer")}
	known := false
	for _, tab := range endpointTabs {
		known = known || tab[0] == p.Tab
	}
	if !known {
		p.Tab = endpointTabs[0][0]
	}
	for _, tab := range endpointTabs {
		p.Tabs = append(p.Tabs, choice{Name: tab[1], Value: tab[0], Href: v.at("endpoints/"+p.ID, "tab", tab[0]), Current: p.Tab == tab[0]})
	}
	p.settings(v, e.Endpoint)
	p.fill(v, &e)
	return &screen{Template: "endpoint.html", Title: p.Host, Heading: p.Host + p.Path, Nav: "endpoints", API: []string{"GET /v1/endpoints/" + p.ID, "GET /v1/endpoints/" + p.ID + "/stats"},
		Commands: []string{"posthorn endpoint get " + p.ID, "posthorn endpoint stats " + p.ID, "posthorn replay create --endpoint " + p.ID + " --source failed --dry-run"}, Data: p, About: live.About{Scope: e.Scope, Endpoint: id}}, nil
}

// fill reads what the tab shows.
func (p *endpointPage) fill(v *visit, e *app.Endpoint) {
	latest := func(few int) side {
		return side{&p.NoTable, "deliveries", func(v *visit) error {
			rows, _, err := v.service().Deliveries(v.quiet, v.caller, hook.DeliveryQuery{Scope: e.Scope, Endpoint: e.ID, Page: hook.Page{Limit: few}})
			if err == nil {
				p.Table = deliveryTable{Lines: v.lines(rows[:min(len(rows), p.shown())]), Own: true}
				p.LastFailure = v.lastFailure(rows, e)
			}
			return err
		}}
	}
	switch p.Tab {
	case "health":
		v.beside(side{&p.NoNumbers, "statistics", func(v *visit) error { return p.numbers(v, e) }}, latest(50))
	case "deliveries":
		v.beside(latest(50))
	case "secret":
		p.Snippets = page.Snippets(e.Profile)
	case "history":
		v.beside(side{&p.NoHistory, "audit log", func(v *visit) error {
			rows, _, err := v.service().AuditEntries(v.quiet, v.caller, hook.AuditQuery{Scope: e.Scope, Object: "endpoint", ObjectID: p.ID, Page: hook.Page{Limit: 50}})
			p.History = v.auditLines(rows)
			return err
		}})
	}
}

// shown returns how many deliveries the tab shows.
func (p *endpointPage) shown() int {
	if p.Tab == "health" {
		return 6
	}
	return 50
}

// lastFailure returns the path of the newest delivery whose last attempt failed, while the
// endpoint fails.
func (v *visit) lastFailure(rows []hook.DeliveryRow, e *app.Endpoint) string {
	for i := range rows {
		if rows[i].LastError != hook.ClassNone && e.Health.Failures > 0 {
			return v.at("deliveries/" + rows[i].ID.String())
		}
	}
	return ""
}

// settings fills in the endpoint's settings.
func (p *endpointPage) settings(v *visit, e *hook.Endpoint) {
	for _, head := range e.Headers {
		p.Headers = append(p.Headers, head.Name)
	}
	policy := v.service().PolicyOf(e)
	p.Rate, p.InFlight, p.MaxFail, p.Retry = "no limit", "the server's default", "the profile's rule", "the profile's plan"
	if n := attemptsOf(policy.Retry); n > 0 {
		p.Retry = tries(n)
		var all time.Duration
		for i := 1; i < n; i++ {
			d, _ := policy.Retry.Delay(i)
			all += d
		}
		p.Retry += " in " + span(all)
	} else if policy.Retry.MaxAge == 0 {
		p.Retry = "without an end"
	}
	if e.Retry != nil {
		p.Retry += ", its own plan"
	}
	if rate := e.Rate(); rate > 0 {
		p.Rate = strconv.FormatFloat(rate, 'g', -1, 64) + " a second"
	}
	if e.RateLimit == 0 && e.TenantRate > 0 {
		p.Rate += ", the tenant's limit"
	}
	if e.MaxInFlight > 0 {
		p.InFlight = strconv.Itoa(e.MaxInFlight)
	}
	switch t := policy.Trip; {
	case e.MaxFailures > 0:
		p.MaxFail = number(int64(e.MaxFailures)) + " failures in a row"
	case t.Count == hook.TripDuration && t.For > 0:
		p.MaxFail = "nothing but failures for " + span(t.For)
	case t.Count == hook.TripAttempts && t.N > 0:
		p.MaxFail = number(int64(t.N)) + " failed attempts in a row"
	case t.Count == hook.TripDeliveries && t.N > 0:
		p.MaxFail = number(int64(t.N)) + " failed deliveries in a row"
	}
	for i, secret := range e.Secrets {
		if secret.Live(v.now) {
			p.Secrets = append(p.Secrets, secretLine{Newest: i == 0, Made: when(secret.CreatedAt, v.now), Expires: when(secret.ExpiresAt, v.now)})
		}
	}
}

// numbers fills in the endpoint's statistics.
func (p *endpointPage) numbers(v *visit, e *app.Endpoint) error {
	var word string
	word, p.Spans = v.spanOf("endpoints/"+p.ID, 3)
	stats, err := v.service().EndpointFigures(v.quiet, v.caller, e.ID, app.Span{From: v.now.Add(-since[word]), Open: hook.OpenFew})
	if err != nil {
		return err
	}
	hours, err := v.service().EndpointBuckets(v.quiet, v.caller, e.ID, app.Span{From: v.now.Add(-59 * time.Hour), Step: "1h"})
	if err != nil {
		return err
	}
	var all hook.Tally
	for i := range stats.Buckets.Buckets {
		all.Add(&stats.Buckets.Buckets[i])
	}
	in := " in " + spanWord(word)
	succeeded, _ := chart.Outcomes(&all)
	p.Chart, p.Strip = chart.AttemptsOf(&stats.Buckets, v.now), chart.StripOf(&hours)
	p.Reasons, _ = v.reasons(&all, "endpoint", p.ID, "since", word)
	p.Figures = []figure{
		{Name: "Delivered", Value: chart.Share(succeeded, all.Attempts), Unit: "%", Note: number(succeeded) + " of " + number(all.Attempts) + " attempts" + in},
		{Name: "Waiting", Value: count(stats.Pending, hook.FewCap), Note: "nothing waits", Href: v.at("deliveries", "endpoint", p.ID, "state", hook.Pending.String())},
		{Name: "Answer time", Value: "–", Note: "no attempt" + in},
		{Name: "In flight", Value: "0", Note: "on this node"},
		{Name: "Held", Value: p.Held, Note: "enabled", Href: v.at("deliveries", "endpoint", p.ID, "state", hook.Held.String())},
		{Name: "Failed", Value: count(stats.Failed, hook.FewCap), Note: "were given up", Href: v.at("deliveries", "endpoint", p.ID, "state", hook.Failed.String())},
	}
	if all.Attempts == 0 {
		p.Figures[0].Unit = ""
	}
	if stats.Pending > 0 && !stats.OldestPending.IsZero() {
		p.Figures[1].Note = "oldest " + when(stats.OldestPending, v.now).Text
	}
	if t := &all.AttemptTime; t.Count() > 0 {
		f := &p.Figures[2]
		f.Value, f.Unit, _ = strings.Cut(short3(t.Quantile(95)), " ")
		f.Unit += " p95"
		f.Note = "p50 " + short3(t.Quantile(50)) + " · p99 " + short3(t.Quantile(99))
	}
	if !p.Enabled {
		p.Figures[4].Note = "until it is enabled"
	}
	if pace := stats.Pace; pace != nil {
		f := &p.Figures[3]
		f.Value, f.Unit = strconv.Itoa(pace.InFlight), "of "+strconv.Itoa(pace.Cap)
		if pace.LoweredBy != hook.ClassNone {
			f.Note = "slowed, of at most " + strconv.Itoa(pace.Limit)
		}
		if p.Pace = strings.TrimSpace(app.WaitText(pace)); p.Pace == "" {
			p.Pace = strings.TrimSpace(app.CapText(pace))
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
	host, path := page.HostOf(e.URL)
	held := count(e.Held, hook.StatsCap) + plural(e.Held, " delivery is", " deliveries are") + " held for it. "
	return asks("endpoints", "Enable "+host+path+"?", confirm{
		Says: []string{held + "What is held is sent when it is enabled, oldest first, or cancelled if you discard it. New events are sent in both cases."},
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
	host, path := page.HostOf(e.URL)
	return asks("endpoints", "Disable "+host+path+"?", confirm{
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

func confirmDelete(v *visit) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	e, err := v.service().EndpointNamed(v.quiet, v.caller, "", id)
	if err != nil {
		return nil, err
	}
	return v.askDelete(e, ""), nil
}

func (v *visit) askDelete(e *hook.Endpoint, problem string) *screen {
	host, path := page.HostOf(e.URL)
	back := v.at("endpoints/" + e.ID.String())
	return asks("endpoints", "Delete "+host+path+"?", confirm{Problem: problem,
		Says:    []string{"What waits for it is cancelled, and it gets no more events. It cannot be undone; its deliveries can be looked at until the retention removes them."},
		Buttons: []button{{Action: back + "/delete", Label: "Delete the endpoint", Danger: true, Type: host}}, Back: back})
}

func deleteEndpoint(v *visit) (*screen, string, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, "", err
	}
	e, err := v.service().EndpointNamed(v.quiet, v.caller, "", id)
	if err != nil {
		return nil, "", err
	}
	if host, _ := page.HostOf(e.URL); strings.TrimSpace(v.r.PostForm.Get("typed")) != host {
		s := v.askDelete(e, "Type the host as it is shown: "+host+". Nothing was deleted.")
		s.Status = http.StatusUnprocessableEntity
		return s, "", nil
	}
	return nil, v.at("endpoints", "done", "deleted"), v.service().DeleteEndpoint(v.ctx(), v.caller, id)
}

// overlaps are the times during which an old secret may keep signing, as the form offers them.
var overlaps = []struct {
	word string
	time.Duration
}{{"24h", 24 * time.Hour}, {"168h", app.MaxOverlap}, {"1h", time.Hour}, {"0s", 0}}

func confirmRotate(v *visit) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	e, err := v.service().EndpointNamed(v.quiet, v.caller, "", id)
	if err != nil {
		return nil, err
	}
	host, path := page.HostOf(e.URL)
	back := v.at("endpoints/"+id.String(), "tab", "secret")
	c := confirm{Says: []string{"A new secret is made and shown once. Meanwhile both sign, so that the receiver can change over without losing an event."}, Back: back,
		Buttons: []button{{Action: v.at("endpoints/" + id.String() + "/rotate"), Label: "Rotate the secret", Fields: [][2]string{{"once", rand.Text()}}, Choice: &field{Name: "overlap", Label: "The old secret keeps signing for"}}}}
	for _, o := range overlaps {
		name := span(o.Duration)
		if o.Duration == 0 {
			name = "not at all: it may be known to others"
		}
		c.Buttons[0].Choice.Values = append(c.Buttons[0].Choice.Values, choice{Name: name, Value: o.word})
	}
	return asks("endpoints", "Rotate the secret of "+host+path+"?", c), nil
}

func rotateSecret(v *visit) (*screen, string, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, "", err
	}
	overlap := overlaps[0].Duration
	for _, o := range overlaps {
		if o.word == v.r.PostForm.Get("overlap") {
			overlap = o.Duration
		}
	}
	f := v.filled()
	made, again, err := v.service().RotateSecret(v.ctx(), v.caller, id, "", overlap, v.once("rotate "+id.String(), &f, func(result any) string {
		r, _ := result.(app.Rotated)
		return r.Secret
	}))
	if err != nil {
		return nil, "", err
	}
	if again != nil {
		made.Secret = string(again.Body)
	}
	says := "The old secret does not sign any more."
	if overlap > 0 {
		says = "The old secret signs too for " + span(overlap) + "."
	}
	return v.secretPage("The secret was rotated", made.Secret, says, v.at("endpoints/"+id.String(), "tab", "secret"), id.String()), "", nil
}

func confirmReveal(v *visit) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	e, err := v.service().EndpointNamed(v.quiet, v.caller, "", id)
	if err != nil {
		return nil, err
	}
	host, path := page.HostOf(e.URL)
	back := v.at("endpoints/"+id.String(), "tab", "secret")
	c := confirm{Says: []string{"Whoever has it can make requests that the receiver takes for ours. The audit log records who looked."}, Back: back,
		Buttons: []button{{Action: v.at("endpoints/" + id.String() + "/reveal"), Label: "Show the secret"}}}
	if !v.service().MayReveal() {
		c = confirm{Says: []string{"This server does not show secrets again (--allow-reveal). Rotate the secret to get a new one."}, Back: back}
	}
	return asks("endpoints", "Show the secret of "+host+path+"?", c), nil
}

func revealSecret(v *visit) (*screen, string, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, "", err
	}
	secret, err := v.service().RevealSecret(v.ctx(), v.caller, id)
	if err != nil {
		return nil, "", err
	}
	return v.secretPage("The secret of the endpoint", secret.Text, "The audit log has an entry about this.", v.at("endpoints/"+id.String(), "tab", "secret"), ""), "", nil
}
