package portal

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// deliveryLine is a delivery in a list.
type deliveryLine struct {
	State          badge
	Href, Type, ID string
	Key            string // the whole id
	Endpoint, Host string // path of the page, host of the URL
	Path           string
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
			e, _ = v.service().EndpointNamed(v.ctx(), v.caller, v.caller.Tenant, d.Endpoint) // deleted: nil
			known[d.Endpoint] = e
		}
		line := deliveryLine{State: v.stateBadge(&d.Delivery), Href: v.At("deliveries/" + d.ID.String()), Type: d.EventType, ID: page.Short(d.ID), Key: d.ID.String(), Host: page.Short(d.Endpoint),
			Answer: v.answer(d.LastStatus, d.LastError), Code: string(d.LastError), Tries: d.Attempts, Next: v.when(d.Due), Accepted: v.when(d.CreatedAt),
			Test: d.Kind == hook.TestEvent, EventHref: v.At("events/" + d.PublicID.String())}
		if !d.Due.IsZero() && !d.Due.After(v.now) {
			line.Next.Text = v.T("time.now")
		}
		if d.Attempts == 0 {
			line.Answer = v.T("answer.none")
		}
		if e != nil {
			line.Host, line.Path = page.HostOf(e.URL)
			line.Endpoint = v.At("endpoints/" + d.Endpoint.String())
		}
		out = append(out, line)
	}
	return out
}

// first returns the id of the first line, for the number of newer ones. keys are all ids.
func first(lines []deliveryLine) (id string, keys []string) {
	for _, l := range lines {
		keys = append(keys, l.Key)
	}
	if len(keys) == 0 {
		return "none", nil
	}
	return keys[0], keys
}

// fresh is what the template of the line about newer rows takes.
type fresh struct{ Href, One, Other string }

// Fresh returns the line that is shown when there are newer rows. It leads to the page.
func (f *frame) Fresh(href string) fresh { return fresh{href, f.T("fresh.one"), f.T("fresh.other")} }

// choice is one of several values of a filter.
type choice struct {
	Name, Href, Class, Icon string
	Current                 bool
}

// stateChoices lists the states in the order in which people look for them.
var stateChoices = []struct{ state, class, icon string }{{"", "", ""}, {"pending", "wait", "wait"}, {"held", "held", "held"}, {"succeeded", "ok", "ok"}, {"failed", "bad", "x"}, {"cancelled", "off", "off"}}

// spans are the periods that a list can be restricted to.
var spans = []struct {
	word string
	time.Duration
}{{"1h", time.Hour}, {"24h", 24 * time.Hour}, {"7d", 7 * 24 * time.Hour}, {"30d", 30 * 24 * time.Hour}}

// deliveryList is the content of the list of deliveries.
type deliveryList struct {
	Lines     []deliveryLine
	States    []choice
	Filter    map[string]string
	Filtered  bool
	Problem   string
	Endpoints []option
	Spans     []option
	Newest    string
	Older     string
	First     string // id of the first line
	Here      string // path of the page
}

type option struct {
	Value, Name string
	Current     bool
}

func deliveries(v *visit) (*screen, error) {
	filter := map[string]string{}
	for _, name := range []string{"state", "endpoint", "type", "since"} {
		filter[name] = v.query.Get(name)
	}
	pairs := func(more ...string) []string {
		out := []string{"state", filter["state"], "endpoint", filter["endpoint"], "type", filter["type"], "since", filter["since"]}
		return append(out, more...)
	}
	p := &deliveryList{Filter: filter, Filtered: filter["state"]+filter["endpoint"]+filter["type"]+filter["since"] != ""}
	q := hook.DeliveryQuery{Type: filter["type"], Page: hook.Page{Cursor: v.query.Get("cursor")}}
	var err error
	if filter["state"] != "" {
		if state, ok := hook.ParseState(filter["state"]); ok {
			q.State = &state
		} else {
			p.Problem = v.T("filter.state")
		}
	}
	if filter["endpoint"] != "" {
		if q.Endpoint, err = hook.ParseID(filter["endpoint"]); err != nil {
			p.Problem = v.T("filter.endpoint")
		}
	}
	p.Spans = append(p.Spans, option{"", v.T("since.any"), filter["since"] == ""})
	for _, s := range spans {
		if s.word == filter["since"] {
			q.After = v.now.Add(-s.Duration)
		}
		p.Spans = append(p.Spans, option{s.word, v.T("since." + s.word), s.word == filter["since"]})
	}
	var rows []hook.DeliveryRow
	if p.Problem == "" {
		var next string
		rows, next, err = v.service().Deliveries(v.ctx(), v.caller, q)
		if code := hook.CodeOf(err); err != nil && (code == hook.CodeInvalidRequest || code == hook.CodeTypeUnknown) {
			p.Problem, err = v.says(err), nil
		}
		if err != nil {
			return nil, err
		}
		if next != "" {
			p.Older = v.At("deliveries", pairs("cursor", next)...)
		}
	}
	if v.query.Get("cursor") != "" {
		p.Newest = v.At("deliveries", pairs()...)
	}
	p.Lines = v.lines(rows)
	for _, s := range stateChoices {
		name := s.state
		if name == "" {
			name = "any"
		}
		with := pairs()
		with[1] = s.state
		p.States = append(p.States, choice{Name: v.T("state." + name), Class: s.class, Icon: s.icon, Current: filter["state"] == s.state, Href: v.At("deliveries", with...)})
	}
	if p.Endpoints, err = v.endpointOptions(filter["endpoint"], true); err != nil {
		return nil, err
	}
	s := &screen{Template: "deliveries.html", Heading: "menu.deliveries", Nav: "deliveries", Data: p}
	p.First, s.Rows = first(p.Lines)
	p.Here = v.At("deliveries", pairs()...)
	return s, nil
}

// endpointOptions returns the endpoints to choose from.
func (v *visit) endpointOptions(current string, any bool) ([]option, error) {
	rows, _, err := v.service().Endpoints(v.ctx(), v.caller, hook.EndpointQuery{Page: hook.Page{Limit: 100}})
	var out []option
	if any {
		out = append(out, option{"", v.T("filter.any_endpoint"), current == ""})
	}
	found := current == ""
	for i := range rows {
		host, path := page.HostOf(rows[i].URL)
		id := rows[i].ID.String()
		found = found || id == current
		out = append(out, option{id, host + path, id == current})
	}
	if !found {
		out = append(out, option{current, current, true})
	}
	return out, err
}

// view records that the page shows a payload or answers. Without a record it must not.
func (v *visit) view(act hook.Act, object string, id hook.ID, scope hook.Scope) error {
	err := v.service().View(v.ctx(), v.caller, app.Viewed{Session: sha256.Sum256([]byte(v.session.Short())), Act: act, Object: object, ID: id, Scope: scope})
	if err != nil && !hook.Logged(err) {
		v.h.o.Log.WarnContext(v.ctx(), "page of the portal without its payload: the audit log cannot be written", "object", object, "id", id.String(), "error", err)
	}
	return err
}

// maxAttemptsShown limits the attempts on the page of a delivery.
const maxAttemptsShown = 20

// attemptLine is an attempt in the timeline.
type attemptLine struct {
	Number         int
	Good, Open     bool
	Answer, Code   string
	Message, Says  string
	Phases         []phase
	To             string // address of the connection; empty: not known
	Status         string // status line
	Note           string // about a Retry-After
	Trigger        string
	At             moment
	Took, Gap      string
	Headers, Body  code
	Whole          string // path of the page that shows the entire body
	Truncated, Any bool
	Removed        moment // when retention removed the answer; Text is empty if it did not
}

// phase is a part of the time of an attempt with its words.
type phase struct {
	page.Phase
	Words string
}

// deliveryPage is the content of the page of a delivery.
type deliveryPage struct {
	deliveryLine
	FullID, FullEvent, FullEndpoint string
	Reason, Waits                   string
	Settled                         moment
	Base                            string
	CanRetry, Again                 bool   // Again: it was delivered already
	Of                              string // how many attempts of how many
	Gone                            string // when retention removed the payload; empty if it did not
	URL                             string
	Target, HostName                string
	Sent, Headers                   []string // names of the format's and of the endpoint's own headers
	Data                            code
	Unseen                          bool // payload and answers are not shown
	Elsewhere                       []deliveryLine
	Attempts                        []attemptLine // newest first
	Older                           string
}

func delivery(v *visit) (*screen, error) {
	id, err := v.id("delivery")
	if err != nil {
		return nil, err
	}
	row, attempts, err := v.service().Delivery(v.quiet, v.caller, id)
	if err != nil {
		return nil, err
	}
	p := &deliveryPage{deliveryLine: v.lines([]hook.DeliveryRow{row})[0], FullID: id.String(), FullEvent: hook.PublicText(row.PublicID, row.GivenID), FullEndpoint: row.Endpoint.String(),
		Reason: v.reason(row.Reason), Settled: v.when(row.SettledAt), Base: "deliveries/" + id.String(),
		Again: row.State == hook.Succeeded, Of: v.T("delivery.attempts", "n", row.Attempts)}
	if row.State == hook.Pending && row.Due.IsZero() {
		p.Waits = v.T("delivery.waits")
	}
	if e, err := v.service().EndpointNamed(v.ctx(), v.caller, v.caller.Tenant, row.Endpoint); err == nil {
		p.CanRetry = v.May("retry") && e.Status == hook.Enabled
		v.target(p, &row, e)
	}
	p.Unseen = v.view(hook.ActDeliveryRead, "delivery", row.ID, row.Scope) != nil
	if event, all, err := v.service().Event(v.quiet, v.caller, v.caller.Tenant, row.PublicID); err == nil {
		if !p.Unseen {
			p.Data = v.foreign(page.Pretty(event.Data), 8<<10)
		}
		p.Data.Size, p.Data.Redacted = v.size(len(event.Data)), v.redacted(event)
		if p.Gone = v.gone(event.PayloadRemovedAt); p.Gone != "" {
			p.Data, p.CanRetry = code{}, false
		}
		all = slices.DeleteFunc(all, func(d hook.DeliveryRow) bool { return d.ID == id })
		p.Elsewhere = v.lines(all[:min(len(all), 10)])
	}
	v.timeline(p, &row, attempts)
	host := p.Host
	sentence := map[hook.State]string{hook.Pending: "delivery.on_its_way", hook.Held: "delivery.held", hook.Succeeded: "delivery.succeeded", hook.Failed: "delivery.failed", hook.Cancelled: "delivery.cancelled"}[row.State]
	if row.State == hook.Pending && row.Attempts > 0 {
		sentence = "delivery.retrying"
	}
	s := &screen{Template: "delivery.html", Title: v.T(sentence, "type", row.EventType, "host", host, "n", row.Attempts), Nav: "deliveries", Data: p}
	s.Refresh = row.State == hook.Pending && (row.Kind == hook.TestEvent || v.query.Get("done") == "retried")
	return s, nil
}

// target fills in what the endpoint tells about a delivery: where it goes, and with what.
func (v *visit) target(p *deliveryPage, row *hook.DeliveryRow, e *hook.Endpoint) {
	p.URL = hook.MaskURL(e.URL)
	if p.HostName, p.Target = page.HostOf(e.URL); p.Target == "" {
		p.Target = "/"
	}
	for _, one := range v.service().Profiles() {
		if one.Name == e.Profile {
			p.Sent = one.Headers
		}
	}
	for _, head := range e.Headers {
		p.Headers = append(p.Headers, head.Name)
	}
	r := v.service().PolicyOf(e).Retry
	most := r.MaxAttempts
	if len(r.Steps) > 0 {
		most = len(r.Steps) + 1
	}
	if most > 0 && !r.Repeat && row.Attempts == row.Scheduled && row.Kind != hook.TestEvent && row.State.Open() {
		p.Of = v.T("delivery.attempts_of", "n", row.Attempts, "most", most)
	}
}

// timeline fills in the attempts, newest first. If the query names an attempt, its whole
// answer is shown, and only the attempts up to it.
func (v *visit) timeline(p *deliveryPage, row *hook.DeliveryRow, attempts []hook.Attempt) {
	newest := len(attempts) - 1
	asked, err := strconv.Atoi(v.query.Get("attempt"))
	for i := range attempts {
		if err == nil && attempts[i].Number == asked {
			newest = i
		}
	}
	for i := newest; i >= 0; i-- {
		a := &attempts[i]
		if len(p.Attempts) == maxAttemptsShown {
			p.Older = v.At(p.Base, "attempt", strconv.Itoa(a.Number))
			return
		}
		limit := 2 << 10
		if a.Number == asked {
			limit = page.MaxShown
		}
		good := a.Class == hook.ClassNone || a.Class == hook.ClassTruncated
		line := attemptLine{Number: a.Number, Good: good, Open: i == newest, Answer: v.answer(a.Status, a.Class), Code: string(a.Class), Trigger: v.T("trigger." + a.Trigger.String()),
			At: v.when(a.At), Took: v.span(a.Duration), Truncated: a.Truncated}
		if line.Any = len(a.ResponseHeaders)+len(a.ResponseBody) > 0 && !p.Unseen; line.Any {
			line.Headers, line.Body = v.foreign(bytes.TrimRight(a.ResponseHeaders, "\r\n"), limit), v.foreign(a.ResponseBody, limit)
		}
		line.Removed = v.when(a.AnswerRemovedAt)
		if line.Says = v.T("attempt.counts"); !good {
			line.Says = v.T("attempt.counts_not", "why", v.class(a.Class))
		}
		if v.lang == "en" && a.Class != hook.ClassStatus { // of a status, the answer says the same
			line.Message = a.Message
		}
		line.Status = page.StatusLine(a.Status)
		for _, one := range page.Phases(a) {
			line.Phases = append(line.Phases, phase{one, v.T("timing."+one.Name) + " " + v.took(one.Took)})
		}
		line.To = v.connection(a)
		if !p.Unseen && !good {
			line.Note = v.asked(row, attempts, i)
		}
		if line.Body.Cut || line.Headers.Cut {
			line.Whole = v.At(p.Base, "attempt", strconv.Itoa(a.Number))
		}
		if i > 0 {
			line.Gap = v.span(max(0, a.At.Sub(attempts[i-1].At)))
		}
		p.Attempts = append(p.Attempts, line)
	}
}

// connection says where an attempt went, or returns an empty text if that is not known.
func (v *visit) connection(a *hook.Attempt) string {
	var parts []string
	if a.Address.IsValid() {
		parts = append(parts, v.T("timing.to", "address", a.Address.String()))
	}
	if a.Timing.Reused {
		parts = append(parts, v.T("timing.reused"))
	}
	return strings.Join(parts, ", ")
}

// asked says how long the receiver of a failed attempt asked to wait, and what became of it.
// It returns an empty text if the receiver did not ask.
func (v *visit) asked(row *hook.DeliveryRow, attempts []hook.Attempt, i int) string {
	a := &attempts[i]
	wait := page.RetryAfter(a)
	if wait <= 0 {
		return ""
	}
	says, next, tense := v.T("asked", "span", v.span(wait)), row.Due, "asked.next_"
	if i+1 < len(attempts) {
		if next, tense = attempts[i+1].At, "asked.then_"; attempts[i+1].Trigger != hook.BySchedule {
			return says + " " + v.T("asked.by_hand")
		}
	} else if row.State != hook.Pending {
		if row.State == hook.Failed {
			says += " " + v.T("asked.last")
		}
		return says
	}
	const about = 2 * time.Second // a date of HTTP has whole seconds
	gap, word := next.Sub(a.At.Add(a.Duration)), "kept"
	switch {
	case next.IsZero() || gap < 0:
		return says
	case gap < wait-about:
		word = "less"
	case gap > wait+about:
		word = "more"
	}
	return says + " " + v.T(tense+word, "span", v.span(gap))
}

// gone says when retention removed a payload, or returns an empty text if it did not.
func (v *visit) gone(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return v.T("payload.removed", "when", v.when(at).Exact)
}

func retryDelivery(v *visit) (*screen, error) {
	id, err := v.id("delivery")
	if err != nil {
		return nil, err
	}
	_, _, err = v.service().RetryDelivery(v.ctx(), v.caller, id, false, nil)
	return to(v.At("deliveries/"+id.String(), "done", "retried")), err
}

// whyLine is an endpoint that did or did not get an event, with the reason.
type whyLine struct {
	State      badge
	Host, Path string
	Endpoint   string
	Delivery   string
	Key        string // id of the delivery; empty: there is none
	Why        string
}

// eventPage is the content of the page of an event.
type eventPage struct {
	FullID, Type  string
	Base          string
	Test          bool
	Sent, Stored  moment
	Data          code
	Gone          string // when retention removed the payload; empty if it did not
	Unseen        bool   // the payload is not shown
	Raw           bool
	Pretty, Plain string
	Download      string
	Why           []whyLine
	More          bool
	OtherMode     string
	CanResend     bool
}

func event(v *visit) (*screen, error) {
	id, err := v.id("event")
	if err != nil {
		return nil, err
	}
	x, err := v.service().Explain(v.ctx(), v.caller, v.caller.Tenant, id)
	if err != nil {
		return nil, err
	}
	e := x.Event
	base := "events/" + id.String()
	p := &eventPage{FullID: id.String(), Type: e.Type, Base: base, Test: e.Kind == hook.TestEvent, Sent: v.when(e.CreatedAt), Stored: v.when(e.AcceptedAt), More: x.More,
		Raw: v.query.Get("view") == "raw", Pretty: v.At(base), Plain: v.At(base, "view", "raw"), Download: v.At(base + "/data"), CanResend: v.May("replay") && e.Kind != hook.TestEvent}
	if p.Unseen = v.view(hook.ActEventRead, "event", e.PublicID, e.Scope) != nil; !p.Unseen {
		data := e.Data
		if !p.Raw {
			data = page.Pretty(data)
		}
		p.Data = v.foreign(data, page.MaxShown)
	}
	p.Data.Size, p.Data.Redacted = v.size(len(e.Data)), v.redacted(e)
	if p.Gone = v.gone(e.PayloadRemovedAt); p.Gone != "" {
		p.CanResend = false
	}
	if x.OtherMode && len(x.Endpoints) == 0 {
		p.OtherMode = v.T("why.other_mode")
	}
	got := 0
	for i := range x.Endpoints {
		w := &x.Endpoints[i]
		line := whyLine{State: v.badge("off", "off", "not_sent"), Why: v.T("why."+string(w.Why), "types", strings.Join(w.Types, " "), "channels", strings.Join(w.Channels, " "))}
		line.Host, line.Path = page.HostOf(w.URL)
		if now, err := v.service().EndpointNamed(v.ctx(), v.caller, v.caller.Tenant, w.Endpoint); err == nil {
			line.Endpoint = v.At("endpoints/" + w.Endpoint.String())
			if w.URL == "" {
				line.Host, line.Path = page.HostOf(now.URL)
			}
		}
		if line.Host == "" {
			line.Host = page.Short(w.Endpoint)
		}
		if w.Delivery != nil {
			got++
			line.State, line.Delivery, line.Key = v.stateBadge(&w.Delivery.Delivery), v.At("deliveries/"+w.Delivery.ID.String()), w.Delivery.ID.String()
		}
		p.Why = append(p.Why, line)
	}
	return &screen{Template: "event.html", Title: v.T("event.sentence", "type", e.Type, "n", got), Nav: "deliveries", Data: p}, nil
}

// redacted says which values of an event's data are not shown.
func (v *visit) redacted(e *hook.Event) string {
	if len(e.Redacted) == 0 {
		return ""
	}
	return v.T("payload.redacted", "values", strings.Join(e.Redacted, ", "))
}

// eventData sends the payload as it was published, apart from what is redacted, for
// downloading.
func eventData(v *visit) (*screen, error) {
	id, err := v.id("event")
	if err != nil {
		return nil, err
	}
	e, _, err := v.service().Event(v.quiet, v.caller, v.caller.Tenant, id)
	if err != nil {
		return nil, err
	}
	if !e.PayloadRemovedAt.IsZero() {
		return nil, hook.PayloadGone(e.PayloadRemovedAt)
	}
	if err := v.view(hook.ActEventRead, "event", e.PublicID, e.Scope); err != nil {
		return nil, err
	}
	suffix := ""
	if len(e.Redacted) > 0 {
		suffix = "-redacted"
	}
	head := v.w.Header()
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Content-Disposition", "attachment; filename=\"event-"+id.String()+suffix+".json\"")
	head.Set("Content-Security-Policy", "sandbox; default-src 'none'; frame-ancestors 'none'")
	head.Set("Content-Length", strconv.Itoa(len(e.Data)))
	_, _ = v.w.Write(e.Data) // the client disconnected
	return nil, nil
}

func resendEvent(v *visit) (*screen, error) {
	id, err := v.id("event")
	if err != nil {
		return nil, err
	}
	var endpoint hook.ID
	if text := v.r.PostForm.Get("endpoint"); text != "" {
		if endpoint, err = hook.ParseID(text); err != nil {
			return nil, hook.NotFound("endpoint")
		}
	}
	_, _, err = v.service().ResendEvent(v.ctx(), v.caller, v.caller.Tenant, id, endpoint, nil)
	return to(v.At("events/"+id.String(), "done", "resent")), err
}
