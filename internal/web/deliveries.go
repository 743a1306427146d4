package web

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/live"
	"github.com/posthorn/posthorn/internal/web/page"
)

// deliveryTable is a list of deliveries.
type deliveryTable struct {
	Lines []deliveryLine
	Own   bool // of one endpoint
	Pick  bool // rows can be ticked
}

// deliveryLine is a delivery in a list.
type deliveryLine struct {
	State          badge
	Key            string // the whole id
	Href, Type, ID string
	Endpoint, Host string // path of the page, host of the URL
	Path, Tenant   string
	TenantHref     string
	Answer, Code   string
	Tone           string // classes of the colour of the answer
	Tries          int
	Next, Accepted moment
	Took           string // how long it took until it ended
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
			e, _ = v.service().EndpointNamed(v.quiet, v.caller, d.Scope.Tenant, d.Endpoint) // deleted: nil
			known[d.Endpoint] = e
		}
		line := deliveryLine{State: stateBadge(&d.Delivery), Key: d.ID.String(), Href: v.at("deliveries/" + d.ID.String()), Type: d.EventType, ID: page.Short(d.ID),
			Endpoint: v.at("endpoints/" + d.Endpoint.String()), Host: page.Short(d.Endpoint), Tenant: d.Scope.Tenant, TenantHref: v.at("tenants/" + d.Scope.Tenant),
			Answer: answerWords(d.LastStatus, d.LastError), Code: string(d.LastError), Tries: d.Attempts, Next: when(d.Due, v.now), Accepted: when(d.CreatedAt, v.now),
			Test: d.Kind == hook.TestEvent, EventHref: v.at("events/"+d.PublicID.String(), "tenant", d.Scope.Tenant)}
		if !d.Due.IsZero() && !d.Due.After(v.now) {
			line.Next.Text = "queued"
		}
		switch {
		case d.Attempts == 0 && d.State == hook.Cancelled:
			line.Answer, line.Code, line.Tone = "Cancelled before an attempt", string(d.Reason), "muted"
		case d.Attempts == 0:
			line.Answer, line.Tone = "Not attempted yet", "muted"
		case d.State == hook.Pending && d.LastError != hook.ClassNone:
			line.Tone = "tone retry"
		case d.State == hook.Failed:
			line.Tone = "tone bad"
		}
		if d.State == hook.Succeeded && !d.SettledAt.IsZero() {
			line.Took = short3(max(0, d.SettledAt.Sub(d.CreatedAt)))
		}
		if e != nil {
			line.Host, line.Path = page.HostOf(e.URL)
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
	Class, Icon, N    string
	Current           bool
}

// listed holds what every list shows around its rows.
type listed struct {
	Filter  map[string]string
	Problem string // what is wrong with the filter
	Words   string // the filter in words; empty if there is none
	Clear   string
	Parts   []choice // the parts of the filter; Href drops one
	Newest  string   // path of the first page; empty on the first page
	Older   string
	// Scanned and Until say where a search stopped at its bound; Scanned is 0 otherwise.
	Scanned int
	Until   string
	Shown   string // how many rows there are, and how far back they go
}

// stopped records where a search ended at its bound.
func (l *listed) stopped(reach hook.Reach) {
	if l.Scanned = reach.Scanned; l.Scanned > 0 {
		l.Until = reach.Until.UTC().Format("2006-01-02 15:04:05 UTC")
	}
}

// filterNames are the parameters that narrow lists, with how sentences call them.
var filterNames = [][2]string{{"state", "state"}, {"tried", "tried"}, {"tenant", "tenant"}, {"type", "type"}, {"tag", "tag"}, {"endpoint", "endpoint"}, {"since", "accepted in the last"}, {"after", "accepted after"}, {"before", "accepted before"},
	{"class", "why"}, {"test", "test events"}, {"status", "answered"}, {"q", "named"}, {"kind", "kind"}, {"profile", "profile"}, {"host", "URL with"}, {"act", "act"}, {"object", "object"}, {"object_id", "id"}, {"actor", "who"}}

// partWords returns a part of a filter as sentences call it.
func partWords(name, called, value string) string {
	switch {
	case name == "tried" && value == "yes":
		return "attempted already"
	case name == "tried" && value == "no":
		return "not attempted yet"
	case name == "state":
		return called + " " + strings.ReplaceAll(value, ",", " or ")
	case name == "class" && classWords[hook.Class(value)] != "":
		return classWords[hook.Class(value)]
	}
	return called + " " + value
}

// shown says how many rows a page has and how far back they go.
func shown(n int, last, now time.Time) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d shown, read back to %s UTC.", n, when(last, now).Clock)
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
	for _, name := range filterNames {
		value := filter[name[0]]
		if value == "" {
			continue
		}
		words := partWords(name[0], name[1], value)
		l.Words += ", " + words
		if several := strings.Split(value, ","); name[0] == "state" && len(several) > 1 { // each can be dropped
			for i, one := range several {
				rest := strings.Join(slices.Delete(slices.Clone(several), i, i+1), ",")
				l.Parts = append(l.Parts, choice{Name: partWords(name[0], name[1], one), Href: v.at(path, pairs(filter, name[0], rest)...)})
			}
			continue
		}
		l.Parts = append(l.Parts, choice{Name: words, Href: v.at(path, pairs(filter, name[0], "")...)})
	}
	l.Words = strings.TrimPrefix(l.Words, ", ")
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
			if *to, err = parseTime(text); err != nil {
				return after, before, &hook.Error{Code: hook.CodeInvalidRequest, Field: name, Message: "\"" + name + "\" is " + err.Error() + "."}
			}
		}
	}
	return after, before, nil
}

// parseTime parses a time of the API, or of a field for a time, which is in UTC.
func parseTime(text string) (time.Time, error) {
	if at, err := time.Parse("2006-01-02T15:04", text); err == nil {
		return at, nil
	}
	return hook.ParseTime(text)
}

// stateChoices lists the states in the order in which operators review them.
var stateChoices = []struct{ name, state, tried, class, icon string }{
	{"All", "", "", "", ""}, {"Pending", hook.Pending.String(), "no", "wait", "wait"}, {"Retrying", hook.Pending.String(), "yes", "retry", "replay"}, {"Held", hook.Held.String(), "", "held", "held"},
	{"Delivered", hook.Succeeded.String(), "", "ok", "ok"}, {"Failed", hook.Failed.String(), "", "bad", "x"}, {"Cancelled", hook.Cancelled.String(), "", "off", "off"},
}

// classChoices are the reasons why attempts fail. One that has no words is a choice if it is the
// current one.
func classChoices(current string) (out []choice) {
	for _, class := range slices.Sorted(maps.Keys(classWords)) {
		out = append(out, choice{Name: answerWords(0, class), Value: string(class), Current: current == string(class)})
	}
	if _, known := classWords[hook.Class(current)]; !known && current != "" {
		out = append(out, choice{Name: current, Value: current, Current: true})
	}
	return out
}

// deliveriesPage is the content of the list of deliveries.
type deliveriesPage struct {
	listed
	States  []choice
	Several bool     // more than one state is asked for
	Ticks   []choice // the same states, several of which can be chosen
	Table   deliveryTable
	Classes []choice
	Replay  string // path of the form that replays what matches
	Many    string // path of the action on ticked rows
	First   string // id of the first row
	Fresh   string // path of the newest page
}

func deliveries(v *visit) (*screen, error) {
	filter := v.filters("state", "tried", "tenant", "endpoint", "type", "tag", "class", "status", "since", "after", "before")
	filter["state"] = strings.Join(v.states(), ",")
	var reach hook.Reach
	q := hook.DeliveryQuery{Scope: hook.Scope{Tenant: filter["tenant"]}, Type: filter["type"], Error: hook.Class(filter["class"]), Page: hook.Page{Cursor: v.query.Get("cursor"), Reach: &reach}}
	rows, next, err := v.deliveryPage(&q, filter)
	l, err := v.list("deliveries", filter, next, err)
	l.stopped(reach)
	if err != nil {
		return nil, err
	}
	if len(rows) > 0 {
		l.Shown = shown(len(rows), rows[len(rows)-1].CreatedAt, v.now)
	}
	p := deliveriesPage{listed: l, Several: len(q.States) > 1, States: v.stateChips(filter, q.Endpoint), Ticks: stateTicks(filter["state"]), Table: deliveryTable{Lines: v.lines(rows), Pick: true}, Many: v.at("deliveries/many"), Fresh: v.at("deliveries", pairs(filter)...)}
	p.Classes = classChoices(filter["class"])
	p.Replay = v.at("replays/new", "endpoint", filter["endpoint"], "types", filter["type"], "class", filter["class"], "after", v.afterText(), "before", filter["before"], "source", replaySource(filter["state"]))
	equal := ofAPI(filter)
	s := &screen{Template: "deliveries.html", Title: "Deliveries", Heading: "Deliveries", Nav: "deliveries", Commands: []string{"posthorn delivery list" + flags(equal, "state", "tried", "tenant", "endpoint", "type:event-type", "class:error", "status", "status_class:status-class", "tag")},
		API: []string{"GET /v1/deliveries" + queryOf(equal, "state", "tried", "tenant", "endpoint", "type:event_type", "class:error", "status", "status_class", "tag", "after", "before")}, Data: &p, About: live.About{Scope: hook.Scope{Tenant: filter["tenant"]}, Endpoint: q.Endpoint}}
	if l.Newest == "" {
		for i := range rows {
			s.Rows = append(s.Rows, rows[i].ID.String())
		}
	}
	if len(rows) > 0 {
		p.First = rows[0].ID.String()
	}
	return s, nil
}

// replaySource returns the source of a replay of the deliveries of a state.
func replaySource(state string) string {
	if state == "" || state == hook.Failed.String() {
		return string(hook.FromFailed)
	}
	return string(hook.FromAll)
}

// afterText returns the time after which the list begins, as a parameter of a path.
func (v *visit) afterText() string {
	if d, ok := since[v.query.Get("since")]; ok {
		return v.now.Add(-d).UTC().Format(time.RFC3339)
	}
	return v.query.Get("after")
}

// states returns the states that the list is narrowed to: the parameter may be repeated, and
// have several with commas between them, as in the API. Unknown ones are kept, to be refused.
func (v *visit) states() (out []string) {
	for _, several := range v.query["state"] {
		for one := range strings.SplitSeq(several, ",") {
			if one = strings.TrimSpace(one); one != "" && !slices.Contains(out, one) && len(out) < maxStates {
				out = append(out, one)
			}
		}
	}
	return out
}

// maxStates is more than there are states.
const maxStates = 6

// ofAPI returns the filter as the parameters of the API have it.
func ofAPI(filter map[string]string) map[string]string {
	out := maps.Clone(filter)
	out["tried"] = map[string]string{"yes": "true", "no": "false"}[filter["tried"]]
	if strings.Contains(filter["status"], "xx") {
		out["status"], out["status_class"] = "", filter["status"]
	}
	return out
}

// stateTicks returns the states as choices of a form.
func stateTicks(chosen string) (out []choice) {
	for _, s := range stateChoices {
		if s.state != "" && s.tried != "yes" {
			name := s.name
			if s.tried == "no" {
				name = "Pending or retrying"
			}
			out = append(out, choice{Name: name, Value: s.state, Current: slices.Contains(strings.Split(chosen, ","), s.state)})
		}
	}
	return out
}

// stateChips returns the chips above the list, with how many deliveries of the tenant or the
// endpoint have the state now. A list that is narrowed further has no numbers: they would not
// be those of its rows.
func (v *visit) stateChips(filter map[string]string, endpoint hook.ID) (out []choice) {
	numbers, missing := map[string]string{}, ""
	wide := true
	for name, value := range filter {
		wide = wide && (value == "" || slices.Contains([]string{"state", "tried", "tenant", "endpoint"}, name))
	}
	if wide && (filter["endpoint"] == "" || !endpoint.IsZero()) {
		v.beside(side{&missing, "numbers of deliveries", func(v *visit) error {
			n, err := v.service().StateCounts(v.ctx(), v.caller, filter["tenant"], endpoint)
			if err == nil {
				numbers["Pending"], numbers["Retrying"], numbers["Held"], numbers["Failed"] = bounded(n.Pending), bounded(n.Retrying), bounded(n.Held), bounded(n.Failed)
			}
			return err
		}})
	}
	for _, s := range stateChoices {
		with := pairs(filter, "state", s.state, "tried", s.tried)
		one := choice{Name: s.name, Class: s.class, Icon: s.icon, Href: v.at("deliveries", with...)}
		if missing == "" {
			one.N = numbers[s.name]
		}
		switch chosen := strings.Split(filter["state"], ","); {
		case s.state == "" || s.tried == "":
			one.Current = slices.Contains(chosen, s.state) && filter["tried"] == ""
		default:
			one.Current = slices.Contains(chosen, s.state) && (filter["tried"] == s.tried || filter["tried"] == "")
		}
		out = append(out, one)
	}
	return out
}

// bounded writes a count that may have ended at its bound. A bound that was reached before
// the first one says nothing.
func bounded(n hook.AtLeast) string {
	switch {
	case n.More && n.N == 0:
		return ""
	case n.More:
		return "at least " + number(int64(n.N))
	}
	return number(int64(n.N))
}

// statusOf adds the status of the last answer to a search: 503, or one or several classes such
// as 4xx,5xx.
func statusOf(text string, q *hook.DeliveryQuery) error {
	text = strings.ToLower(strings.ReplaceAll(text, " ", ""))
	if text == "" {
		return nil
	}
	if n, err := strconv.Atoi(text); err == nil && n >= 100 && n <= 599 && len(text) == 3 {
		q.Status = n
		return nil
	}
	for one := range strings.SplitSeq(text, ",") {
		if len(one) != 3 || one[1:] != "xx" || one[0] < '2' || one[0] > '5' || len(q.StatusClasses) == 4 {
			return &hook.Error{Code: hook.CodeInvalidRequest, Field: "status", Message: "\"status\" is one status, such as 503, or classes from 2xx to 5xx with commas between them."}
		}
		q.StatusClasses = append(q.StatusClasses, int(one[0]-'0'))
	}
	return nil
}

func (v *visit) deliveryPage(q *hook.DeliveryQuery, filter map[string]string) (rows []hook.DeliveryRow, next string, err error) {
	if q.After, q.Before, err = v.bounds(); err != nil {
		return nil, "", err
	}
	if q.Tag, err = app.ParseTag(filter["tag"]); err != nil {
		return nil, "", err
	}
	for _, word := range v.states() {
		state, ok := hook.ParseState(word)
		if !ok {
			return nil, "", &hook.Error{Code: hook.CodeInvalidRequest, Field: "state", Message: "There is no state " + strconv.Quote(word) + "."}
		}
		q.States = append(q.States, state)
	}
	if tried := filter["tried"]; tried == "yes" || tried == "no" {
		yes := tried == "yes"
		q.Tried = &yes
	}
	if err := statusOf(filter["status"], q); err != nil {
		return nil, "", err
	}
	if text := filter["endpoint"]; text != "" {
		if q.Endpoint, err = hook.ParseID(text); err != nil {
			if q.Endpoint, err = v.endpointAt(text, filter["tenant"]); err != nil {
				return nil, "", err
			}
			filter["endpoint"] = q.Endpoint.String()
		}
	}
	return v.service().Deliveries(v.quiet, v.caller, *q)
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
	Problem string // with what was typed
	Buttons []button
	Back    string
}

// button is a form with a single button. Fields are pairs of hidden names and values.
type button struct {
	Action, Label string
	Danger        bool
	Fields        [][2]string
	Type          string // what has to be typed into the field "typed"; empty: nothing
	Choice        *field // a choice before the button; nil: none
}

// field is a choice of a form.
type field struct {
	Name, Label string
	Values      []choice
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

// maxMany limits the deliveries of one action: the rows of a page.
const maxMany = 250

// manyDeliveries retries the ticked deliveries, or cancels them after a question.
func manyDeliveries(v *visit) (*screen, string, error) {
	ids := v.r.PostForm["id"]
	if len(ids) == 0 || len(ids) > maxMany {
		return nil, "", &hook.Error{Code: hook.CodeInvalidRequest, Field: "id", Message: "Tick the deliveries first: 1 to " + strconv.Itoa(maxMany) + " of one page."}
	}
	end := v.r.PostForm.Get("do") == "cancel"
	if end && v.r.PostForm.Get("sure") != "yes" {
		b := button{Action: v.at("deliveries/many"), Label: fmt.Sprintf("Cancel %d %s", len(ids), plural(len(ids), "delivery", "deliveries")), Danger: true, Fields: [][2]string{{"do", "cancel"}, {"sure", "yes"}}}
		for _, id := range ids {
			b.Fields = append(b.Fields, [2]string{"id", id})
		}
		return asks("deliveries", b.Label+"?", confirm{Says: []string{"They will not be attempted any more, as far as they are still open. A resend or a retry by hand can still send them."},
			Buttons: []button{b}, Back: v.at("deliveries")}), "", nil
	}
	for _, text := range ids {
		id, err := hook.ParseID(text)
		if err != nil {
			return nil, "", hook.NotFound("delivery")
		}
		if end {
			_, err = v.service().CancelDelivery(v.ctx(), v.caller, id)
		} else {
			_, _, err = v.service().RetryDelivery(v.ctx(), v.caller, id, false, nil)
		}
		if err != nil && hook.CodeOf(err) != hook.CodeDeliverySettled {
			return nil, "", err
		}
	}
	if end {
		return nil, v.at("deliveries", "done", "manyend"), nil
	}
	return nil, v.at("deliveries", "done", "manyretry"), nil
}
