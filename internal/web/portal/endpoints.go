package portal

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// endpointLine is an endpoint in a list.
type endpointLine struct {
	State            badge
	Href, Host, Path string
	Key              string // the id
	Title, Types     string
	Trouble          string
	Day, DayNote     string // share delivered in 24 hours, and of how many
	Changed          moment
	Failing          bool
}

func (v *visit) endpointLine(e *hook.Endpoint, h hook.Health) endpointLine {
	line := endpointLine{Key: e.ID.String(), Href: v.At("endpoints/" + e.ID.String()), Title: e.Title, Types: v.typesText(e.Types), Changed: v.when(e.UpdatedAt)}
	line.State, line.Trouble = v.endpointState(e, h)
	line.Host, line.Path = page.HostOf(e.URL)
	line.Failing = line.Trouble != "" && e.Status != hook.Disabled
	return line
}

func (v *visit) typesText(types hook.Filter) string {
	switch {
	case len(types) == 0:
		return v.T("types.none")
	case slices.Contains(types, "*"):
		return v.T("types.all")
	}
	return strings.Join(types, " ")
}

func (v *visit) endpointLines(limit int, cursor string) ([]endpointLine, string, error) {
	rows, next, err := v.service().Endpoints(v.ctx(), v.caller, hook.EndpointQuery{Page: hook.Page{Limit: limit, Cursor: cursor}})
	if err != nil {
		return nil, "", err
	}
	healths, err := v.service().Healths(v.ctx(), v.caller, rows)
	if err != nil {
		return nil, "", err
	}
	day, err := v.service().StatsOf(v.ctx(), v.caller, rows, app.Span{From: v.now.Add(-23 * time.Hour), Step: "1h"})
	if err != nil && page.Status(hook.CodeOf(err)) < 500 {
		return nil, "", err
	}
	out := make([]endpointLine, len(rows))
	for i := range rows {
		out[i] = v.endpointLine(&rows[i], healths[rows[i].ID])
		var all hook.Tally
		for k := range day[rows[i].ID] {
			all.Add(&day[rows[i].ID][k])
		}
		out[i].Day = v.share(all.Delivered, all.Accepted)
		if all.Accepted > 0 {
			out[i].DayNote = v.T("endpoint.of", "n", int(all.Accepted))
		}
	}
	return out, next, nil
}

// Limits of the lists on the start page.
const (
	homeEndpoints  = 20
	homeDeliveries = 8
)

func home(v *visit) (*screen, error) {
	lines, more, err := v.endpointLines(homeEndpoints, "")
	if err != nil {
		return nil, err
	}
	rows, _, err := v.service().Deliveries(v.ctx(), v.caller, hook.DeliveryQuery{Page: hook.Page{Limit: homeDeliveries}})
	if err != nil {
		return nil, err
	}
	var failing []endpointLine
	for _, l := range lines {
		if l.Failing {
			failing = append(failing, l)
		}
	}
	s := &screen{Template: "home.html", Nav: ""}
	switch {
	case len(lines) == 0:
		s.Heading = "home.empty"
	case len(failing) > 0:
		s.Title = v.T("home.failing", "n", len(failing), "host", failing[0].Host)
	case len(rows) == 0:
		s.Heading = "home.quiet"
	default:
		s.Heading = "home.fine"
	}
	latest := v.lines(rows)
	var newest string
	newest, s.Rows = first(latest)
	s.Data = struct {
		Endpoints  []endpointLine
		More       bool
		Failing    []endpointLine
		Deliveries []deliveryLine
		First      string
	}{lines, more != "", failing, latest, newest}
	return s, nil
}

func endpoints(v *visit) (*screen, error) {
	lines, next, err := v.endpointLines(50, v.query.Get("cursor"))
	if err != nil {
		return nil, err
	}
	older := ""
	if next != "" {
		older = v.At("endpoints", "cursor", next)
	}
	return &screen{Template: "endpoints.html", Heading: "menu.endpoints", Nav: "endpoints", Data: struct {
		Endpoints []endpointLine
		Older     string
	}{lines, older}}, nil
}

// figure is a number with its name.
type figure struct {
	Name, Value, Note string
	Share             int64 // of the largest one, in percent, for a bar
}

// endpointPage is the content of the page of an endpoint.
type endpointPage struct {
	endpointLine
	ID, URL, Description, Profile string
	Tab                           string
	Tabs                          []entry
	Base                          string // path of the endpoint
	Enabled, CanEnable            bool
	Unverified                    bool
	VerifySays                    string
	Ahead                         string // when failures disable it
	CanTest                       bool
	CanReplay                     bool
	Figures                       []figure
	Chart                         *chart
	Reasons                       []figure
	Deliveries                    []deliveryLine
	First, Here                   string
	All                           string
	Form                          *endpointForm
	Headers                       []string
	Secrets                       []secretLine
	Reveals                       bool
	PublicKey                     string
	Created                       moment
	Held                          string
}

type secretLine struct {
	Newest           bool
	Created, Expires moment
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
	return v.endpointScreen(&e, v.query.Get("tab"), nil)
}

// endpointScreen is the page of an endpoint at one of its tabs. form holds what was not
// accepted; nil shows what is stored.
func (v *visit) endpointScreen(e *app.Endpoint, tab string, form *endpointForm) (*screen, error) {
	health := hook.Health{}
	if e.Health != nil {
		health = *e.Health
	}
	p := &endpointPage{endpointLine: v.endpointLine(e.Endpoint, health), ID: e.ID.String(), URL: hook.MaskURL(e.URL), Description: e.Description, Profile: e.Profile,
		Base: "endpoints/" + e.ID.String(), Enabled: e.Status == hook.Enabled, Unverified: e.Unverified(), CanEnable: e.Status != hook.Enabled && !e.Unverified() && !e.Listener(),
		CanTest: v.May("test") && !e.Unverified(), CanReplay: v.May("replay") && e.Status == hook.Enabled && !e.Listener(), Created: v.when(e.CreatedAt), Held: v.count(e.Held, hook.StatsCap), PublicKey: e.PublicKey}
	if p.Unverified {
		p.VerifySays = v.T("verification." + e.Verification.State.String())
	}
	if p.Enabled {
		p.Ahead = v.ahead(v.service().PolicyOf(e.Endpoint).Trip, health)
	}
	tabs := []string{"health", "deliveries", "settings", "secret"}
	if !slices.Contains(tabs, tab) {
		tab = "health"
	}
	p.Tab = tab
	for _, name := range tabs {
		p.Tabs = append(p.Tabs, entry{Name: v.T("tab." + name), Href: v.At(p.Base, "tab", name), Current: name == tab})
	}
	var err error
	switch tab {
	case "health":
		if err = p.numbers(v, e.ID); err == nil {
			err = p.latest(v, e.ID, 8)
		}
	case "deliveries":
		err = p.latest(v, e.ID, 50)
	case "settings":
		if p.Form = form; form == nil {
			p.Form = formOf(e.Endpoint)
		}
		for _, head := range e.Headers {
			p.Headers = append(p.Headers, head.Name)
		}
	case "secret":
		p.Reveals = v.service().MayReveal()
		for i, s := range e.Secrets {
			p.Secrets = append(p.Secrets, secretLine{Newest: i == 0, Created: v.when(s.CreatedAt), Expires: v.when(s.ExpiresAt)})
		}
	}
	if err != nil {
		return nil, err
	}
	s := &screen{Template: "endpoint.html", Title: p.Host + p.Path, Nav: "endpoints", Data: p}
	if form != nil {
		s.Status = 422
	}
	p.First, s.Rows = first(p.Deliveries)
	p.Here = v.At(p.Base, "tab", tab)
	return s, nil
}

func (p *endpointPage) latest(v *visit, id hook.ID, limit int) error {
	rows, _, err := v.service().Deliveries(v.ctx(), v.caller, hook.DeliveryQuery{Endpoint: id, Page: hook.Page{Limit: limit}})
	p.Deliveries, p.All = v.lines(rows), v.At("deliveries", "endpoint", p.ID)
	return err
}

// numbers fills in the figures and the chart of the last 24 hours.
func (p *endpointPage) numbers(v *visit, id hook.ID) error {
	s, err := v.service().EndpointFigures(v.ctx(), v.caller, id, app.Span{From: v.now.Add(-24 * time.Hour), To: v.now, Step: "15m", Open: hook.OpenFew})
	if err != nil {
		return err
	}
	var all hook.Tally
	for i := range s.Buckets.Buckets {
		all.Add(&s.Buckets.Buckets[i])
	}
	oldest := v.T("figure.nothing")
	if !s.OldestPending.IsZero() {
		oldest = v.T("figure.oldest", "when", v.when(s.OldestPending).Text)
	}
	half, most := "–", "–"
	if t := &all.AttemptTime; t.Count() > 0 {
		half, most = v.span(t.Quantile(50)), v.span(t.Quantile(95))
	}
	p.Figures = []figure{
		{Name: v.T("figure.delivered"), Value: v.share(all.Delivered, all.Accepted), Note: v.T("figure.delivered_note", "n", int(all.Delivered), "of", int(all.Accepted))},
		{Name: v.T("figure.attempts"), Value: v.share(all.Delivered, all.Attempts), Note: v.T("figure.attempts_note", "n", int(all.Attempts))},
		{Name: v.T("figure.answer"), Value: half, Note: v.T("figure.answer_note", "most", most)},
		{Name: v.T("figure.waiting"), Value: v.count(s.Pending, hook.FewCap), Note: oldest},
		{Name: v.T("figure.held"), Value: v.count(s.Held, hook.FewCap), Note: v.T("figure.held_note")},
		{Name: v.T("figure.failed"), Value: v.count(s.Failed, hook.FewCap), Note: v.T("figure.failed_note")},
	}
	p.Chart = v.chart(&s.Buckets)
	slices.SortFunc(all.Errors, func(a, b hook.ErrorCount) int { return int(b.N - a.N) })
	for _, e := range all.Errors {
		p.Reasons = append(p.Reasons, figure{v.class(e.Class), v.words.number(e.N), string(e.Class), 100 * e.N / all.Errors[0].N})
	}
	return nil
}

func newEndpoint(v *visit) (*screen, error) {
	if !v.May("manage_endpoints") {
		return nil, errMissing
	}
	return v.newScreen(&endpointForm{Once: rand.Text(), URL: "https://"}, nil)
}

// errMissing refuses a page that a session may not open. What it would do is refused by app.
var errMissing = &hook.Error{Code: hook.CodeForbidden, Message: "This session of the portal may not do that."}

func (v *visit) newScreen(f *endpointForm, picked []string) (*screen, error) {
	var err error
	if f.Known, err = v.choices(picked); err != nil {
		return nil, err
	}
	if f.Problem == "" && len(f.Known) == 0 {
		f.Types = "*"
	}
	s := &screen{Template: "new.html", Heading: "new.title", Nav: "endpoints", Data: f}
	if f.Problem != "" {
		s.Status = 422
	}
	return s, nil
}

// secretPage shows a secret, once.
type secretPage struct {
	Secret, PublicKey string
	Says              string
	Base              string
	Previous          moment
}

func createEndpoint(v *visit) (*screen, error) {
	f := v.formIn()
	picked := v.r.PostForm["type"]
	types, rate, headers, err := f.parts(v, picked)
	var made app.Endpoint
	var again *hook.Replay
	if err == nil && len(types) == 0 {
		err = v.refuse(hook.CodeInvalidRequest, "event_types", "form.types_missing")
	}
	if err == nil {
		in := app.NewEndpoint{URL: f.URL, Types: types, Title: f.Title, Description: f.Description, Headers: headers, RateLimit: rate}
		made, again, err = v.service().CreateEndpoint(v.ctx(), v.caller, in, v.once("endpoints/new", f.Once, func(result any) string {
			e, _ := result.(app.Endpoint)
			if e.Endpoint == nil {
				return ""
			}
			return e.ID.String()
		}))
	}
	if err != nil {
		if err := f.wrong(v, err); err != nil {
			return nil, err
		}
		return v.newScreen(f, picked)
	}
	if again != nil { // pressed twice: the secret is shown once
		return to(v.At("endpoints/"+string(again.Body), "tab", "secret")), nil
	}
	return v.secretScreen("secret.made", made.Endpoint, secretPage{Secret: made.Secret, PublicKey: made.PublicKey}), nil
}

func (v *visit) secretScreen(says string, e *hook.Endpoint, p secretPage) *screen {
	p.Says, p.Base = says, "endpoints/"+e.ID.String()
	host, path := page.HostOf(e.URL)
	return &screen{Template: "secret.html", Title: v.T("secret.title", "endpoint", host+path), Nav: "endpoints", Data: p}
}

func changeEndpoint(v *visit) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	e, err := v.service().Endpoint(v.ctx(), v.caller, id)
	if err != nil {
		return nil, err
	}
	f := v.formIn()
	types, rate, headers, err := f.parts(v, nil)
	if err == nil {
		change := app.EndpointChange{URL: &f.URL, Title: &f.Title, Description: &f.Description, Types: &types, RateLimit: &rate, Check: func(now hook.Endpoint) error {
			if strconv.FormatInt(now.Revision, 10) != f.Revision {
				return &hook.Error{Code: hook.CodePrecondition, Message: "The endpoint was changed meanwhile."}
			}
			return nil
		}}
		for _, name := range f.Remove {
			change.Headers = append(change.Headers, app.HeaderChange{Name: name})
		}
		for _, head := range headers {
			change.Headers = append(change.Headers, app.HeaderChange{Name: head.Name, Value: &head.Value})
		}
		_, err = v.service().UpdateEndpoint(v.ctx(), v.caller, id, change)
	}
	if err != nil {
		if err := f.wrong(v, err); err != nil {
			return nil, err
		}
		if f.Conflict {
			f.Revision = strconv.FormatInt(e.Revision, 10)
		}
		return v.endpointScreen(&e, "settings", f)
	}
	return to(v.At("endpoints/"+id.String(), "tab", "settings", "done", "saved")), nil
}

// ask is a page that asks whether to act.
type ask struct {
	Says    []string
	Buttons []button
	Back    string
	Type    string // text that has to be typed
	Problem string // what was wrong with what was typed
}

// button is a form with a single button. Fields are pairs of hidden names and values.
type button struct {
	Action, Label string
	Danger        bool
	Fields        [][2]string
}

func (v *visit) asks(e *hook.Endpoint, heading string, a ask) *screen {
	host, path := page.HostOf(e.URL)
	a.Back = v.At("endpoints/" + e.ID.String())
	return &screen{Template: "ask.html", Title: v.T(heading, "endpoint", host+path), Nav: "endpoints", Data: a}
}

// managed returns the endpoint of the path for a page that asks before an act.
func (v *visit) managed() (app.Endpoint, string, error) {
	if !v.May("manage_endpoints") {
		return app.Endpoint{}, "", errMissing
	}
	id, err := v.id("endpoint")
	if err != nil {
		return app.Endpoint{}, "", err
	}
	e, err := v.service().Endpoint(v.ctx(), v.caller, id)
	return e, v.At("endpoints/" + id.String()), err
}

func askEnable(v *visit) (*screen, error) {
	e, _, err := v.managed()
	if err != nil {
		return nil, err
	}
	act := v.At("endpoints/" + e.ID.String() + "/enable")
	if e.Held == 0 {
		return v.asks(e.Endpoint, "enable.title", ask{Says: []string{v.T("enable.none")}, Buttons: []button{{Action: act, Label: v.T("enable.do")}}}), nil
	}
	return v.asks(e.Endpoint, "enable.title", ask{Says: []string{v.T("enable.says", "n", e.Held)}, Buttons: []button{
		{Action: act, Label: v.T("enable.send")}, {Action: act, Label: v.T("enable.discard"), Danger: true, Fields: [][2]string{{"discard", "yes"}}}}}), nil
}

func enableEndpoint(v *visit) (*screen, error) {
	yes, word := true, "enabled"
	change := app.EndpointChange{Enabled: &yes, Discard: v.r.PostForm.Get("discard") == "yes"}
	if change.Discard {
		word = "discarded"
	}
	return v.change(change, word)
}

func (v *visit) change(change app.EndpointChange, word string) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	_, err = v.service().UpdateEndpoint(v.ctx(), v.caller, id, change)
	return to(v.At("endpoints/"+id.String(), "done", word)), err
}

func askDisable(v *visit) (*screen, error) {
	e, _, err := v.managed()
	if err != nil {
		return nil, err
	}
	return v.asks(e.Endpoint, "disable.title", ask{Says: []string{v.T("disable.held"), v.T("disable.lost")},
		Buttons: []button{{Action: v.At("endpoints/" + e.ID.String() + "/disable"), Label: v.T("disable.do"), Danger: true}}}), nil
}

func disableEndpoint(v *visit) (*screen, error) {
	no := false
	return v.change(app.EndpointChange{Enabled: &no}, "disabled")
}

func askDelete(v *visit) (*screen, error) { return v.deleteScreen("") }

func (v *visit) deleteScreen(problem string) (*screen, error) {
	e, _, err := v.managed()
	if err != nil {
		return nil, err
	}
	host, _ := page.HostOf(e.URL)
	return v.asks(e.Endpoint, "delete.title", ask{Says: []string{v.T("delete.says"), v.T("delete.type", "host", host)}, Type: host, Problem: problem,
		Buttons: []button{{Action: v.At("endpoints/" + e.ID.String() + "/delete"), Label: v.T("delete.do"), Danger: true}}}), nil
}

func deleteEndpoint(v *visit) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	typed, other := strings.TrimSpace(v.r.PostForm.Get("host")), false
	err = v.service().DeleteEndpoint(v.ctx(), v.caller, id, func(now hook.Endpoint) error {
		host, _ := page.HostOf(now.URL)
		if other = host != typed; other {
			return &hook.Error{Code: hook.CodeInvalidRequest, Field: "host", Message: "The typed host is not that of the endpoint."}
		}
		return nil
	})
	if other {
		s, err := v.deleteScreen(v.T("delete.wrong"))
		if err == nil {
			s.Status = http.StatusUnprocessableEntity
		}
		return s, err
	}
	return to(v.At("endpoints", "done", "deleted")), err
}

func challengeEndpoint(v *visit) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	_, _, err = v.service().VerifyEndpoint(v.ctx(), v.caller, id, false, nil)
	return to(v.At("endpoints/"+id.String(), "done", "challenged")), err
}

func testEndpoint(v *visit) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	test, _, err := v.service().TestEndpoint(v.ctx(), v.caller, id, v.r.PostForm.Get("type"), nil, nil)
	return to(v.At("deliveries/"+test.Delivery.String(), "done", "tested")), err
}

// overlaps are how long an old secret may go on signing.
var overlaps = map[string]time.Duration{"0h": 0, "1h": time.Hour, "24h": 24 * time.Hour, "168h": 168 * time.Hour}

func rotateSecret(v *visit) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	overlap, ok := overlaps[v.r.PostForm.Get("overlap")]
	if !ok {
		overlap = 24 * time.Hour
	}
	made, _, err := v.service().RotateSecret(v.ctx(), v.caller, id, "", overlap, nil)
	if err != nil {
		return nil, err
	}
	e, err := v.service().Endpoint(v.ctx(), v.caller, id)
	if err != nil {
		return nil, err
	}
	return v.secretScreen("secret.rotated", e.Endpoint, secretPage{Secret: made.Secret, PublicKey: made.PublicKey, Previous: v.when(made.PreviousExpiresAt)}), nil
}

func revealSecret(v *visit) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	secret, err := v.service().RevealSecret(v.ctx(), v.caller, id)
	if err != nil {
		return nil, err
	}
	e, err := v.service().Endpoint(v.ctx(), v.caller, id)
	if err != nil {
		return nil, err
	}
	return v.secretScreen("secret.revealed", e.Endpoint, secretPage{Secret: secret.Text, PublicKey: e.PublicKey}), nil
}
