package web

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// replayLine is a replay in a list, and on its page.
type replayLine struct {
	State               badge
	Key, Href, Name     string
	Tenant, TenantHref  string
	Endpoint, Message   string
	Percent             int // of the matches that were processed
	Sent, Total         string
	Delivered, Failed   string
	Left, Skipped       string
	Waits               string
	Rate                string
	Made, Ended, Ready  moment
	Pause, Resume, Stop string // paths of acts; empty: not now
	What, Order         string
	After, Before       string
}

var replayBadges = map[hook.ReplayState]badge{
	hook.ReplayRunning: {"wait", "replay", "Running"}, hook.ReplayPaused: {"held", "held", "Paused"}, hook.ReplayDone: {"ok", "ok", "Done"},
	hook.ReplayCancelled: {"off", "off", "Cancelled"}, hook.ReplayFailed: {"bad", "x", "Failed"},
}

var sourceWords = map[hook.ReplaySource]string{hook.FromFailed: "Failed deliveries", hook.FromAll: "All deliveries", hook.FromMissing: "What has no delivery"}

func (v *visit) replayLine(j *app.Replay) replayLine {
	path := v.at("replays/" + j.ID.String())
	line := replayLine{State: replayBadges[j.State], Key: j.ID.String(), Href: path, Tenant: j.Scope.Tenant, TenantHref: v.at("tenants/" + j.Scope.Tenant), Endpoint: v.at("endpoints/" + j.Endpoint.String()),
		Message: j.Message, Sent: number(int64(j.Done())), Total: number(int64(j.Total)), Delivered: number(int64(j.Delivered)), Failed: number(int64(j.Failed)),
		Left: number(int64(max(0, j.Total-j.Done()))), Skipped: number(int64(j.Skipped + j.Dropped)), Waits: number(int64(j.Pending())), Rate: strconv.FormatFloat(j.Rate, 'g', -1, 64),
		Made: when(j.CreatedAt, v.now), Ended: when(j.EndedAt, v.now), Ready: when(j.Estimate, v.now), What: sourceWords[j.Source], Order: "oldest first"}
	line.Name = line.What + " of " + j.Scope.Tenant
	if j.Newest {
		line.Order = "newest first"
	}
	if !j.Exact {
		line.Total = "at least " + line.Total
	}
	if j.Total > 0 {
		line.Percent = min(100, 100*j.Done()/j.Total)
	}
	if len(j.Filter.Types) > 0 {
		line.What += " of " + strings.Join(j.Filter.Types, ", ")
	}
	if j.Filter.Channel != "" {
		line.What += " of channel " + j.Filter.Channel
	}
	for to, at := range map[*string]time.Time{&line.After: j.Filter.After, &line.Before: j.Filter.Before} {
		if !at.IsZero() {
			*to = at.UTC().Format("2 Jan 2006 15:04") + " UTC"
		}
	}
	switch j.State {
	case hook.ReplayRunning:
		line.Pause, line.Stop = path+"/pause", path+"/cancel"
	case hook.ReplayPaused:
		line.Resume, line.Stop = path+"/resume", path+"/cancel"
	}
	return line
}

func replays(v *visit) (*screen, error) {
	filter := v.filters("tenant", "state")
	q := hook.ReplayQuery{Scope: hook.Scope{Tenant: filter["tenant"]}, Page: hook.Page{Cursor: v.query.Get("cursor")}}
	states := []choice{{Name: "All", Href: v.at("replays", pairs(filter, "state", "")...), Current: filter["state"] == ""}}
	for state := hook.ReplayRunning; state <= hook.ReplayFailed; state++ {
		b := replayBadges[state]
		states = append(states, choice{Name: b.Word, Class: b.Class, Icon: b.Icon, Href: v.at("replays", pairs(filter, "state", state.String())...), Current: filter["state"] == state.String()})
		if filter["state"] == state.String() {
			q.State = &state
		}
	}
	rows, next, err := v.service().Replays(v.quiet, v.caller, q)
	l, err := v.list("replays", filter, next, err)
	if err != nil {
		return nil, err
	}
	var lines []replayLine
	soon := false
	for i := range rows {
		lines = append(lines, v.replayLine(&rows[i]))
		soon = soon || rows[i].State == hook.ReplayRunning
	}
	return &screen{Template: "replays.html", Title: "Replays", Heading: "Replays", Nav: "replays", Soon: soon, Commands: []string{"posthorn replay list" + flags(filter, "tenant", "state")}, API: []string{"GET /v1/replays" + queryOf(filter, "tenant", "state")},
		Data: struct {
			listed
			States []choice
			Lines  []replayLine
			New    string
		}{l, states, lines, v.at("replays/new")}}, nil
}

func replay(v *visit) (*screen, error) {
	id, err := v.id("replay")
	if err != nil {
		return nil, err
	}
	j, err := v.service().Replay(v.quiet, v.caller, id)
	if err != nil {
		return nil, err
	}
	line := v.replayLine(&j)
	name := j.Endpoint.String()
	if e, err := v.service().EndpointNamed(v.quiet, v.caller, j.Scope.Tenant, j.Endpoint); err == nil {
		host, path := page.HostOf(e.URL)
		name = host + path
	}
	heading := map[hook.ReplayState]string{hook.ReplayRunning: "The replay to %s is under way", hook.ReplayPaused: "The replay to %s is paused", hook.ReplayDone: "The replay to %s is done",
		hook.ReplayCancelled: "The replay to %s was cancelled", hook.ReplayFailed: "The replay to %s failed"}[j.State]
	return &screen{Template: "replay.html", Title: "Replay", Heading: fmt.Sprintf(heading, name), Nav: "replays", Soon: j.State == hook.ReplayRunning,
		Commands: []string{"posthorn replay get " + id.String()}, API: []string{"GET /v1/replays/" + id.String()},
		Data: struct {
			replayLine
			EndpointName string
		}{line, name}}, nil
}

// replayFields are the fields of the form of a replay.
var replayFields = []string{"endpoint", "source", "types", "class", "after", "before", "order", "rate", "hold"}

// replayForm is the content of the form of a replay.
type replayForm struct {
	formValues
	Action, Back string
	Sources      []choice
	Classes      []choice
	EndpointName string
	EndpointHref string
	Test         string
	Preview      *replayPreview
}

// replayPreview is what a replay would send.
type replayPreview struct {
	Matched, Message string
	Counted          moment
	Sample           []replaySample
	Warning          string
	None             bool
}

type replaySample struct {
	Href, Type, ID, Whole, Answer string
	State                         badge
	Accepted                      moment
}

func newReplay(v *visit) (*screen, error) {
	f := fresh()
	for _, name := range replayFields {
		f.Value[name] = v.query.Get(name)
	}
	if f.Value["endpoint"] == "" || v.query.Get("preview") == "" {
		return v.replayForm(f, nil), nil
	}
	n, rate, ok := f.replay()
	if !ok {
		return v.replayForm(f, nil), nil
	}
	found, _, err := v.service().CreateReplay(v.quiet, v.caller, n, rate, true, nil)
	if err != nil {
		if f.refuse(err) {
			return v.replayForm(f, nil), nil
		}
		return nil, err
	}
	p := &replayPreview{Matched: number(int64(found.Preview.Matched)) + plural(found.Preview.Matched, " event", " events"), Message: found.Message, Counted: when(v.now, v.now), None: found.Preview.Matched == 0 && found.Preview.Exact}
	if !found.Preview.Exact {
		p.Matched = "at least " + p.Matched
	}
	for i := range found.Preview.Sample {
		m := &found.Preview.Sample[i]
		row := replaySample{Href: v.at("events/"+m.PublicID.String(), "tenant", found.Scope.Tenant), Type: m.Type, ID: page.ShortEvent(m.PublicID, m.GivenID), Whole: hook.PublicText(m.PublicID, m.GivenID), Answer: answerWords(m.LastStatus, m.LastError), Accepted: when(m.AcceptedAt, v.now), State: badge{"off", "off", "Missing"}}
		if m.Exists {
			row.State = stateBadge(&hook.Delivery{State: m.State})
		} else {
			row.Answer = "No delivery"
		}
		p.Sample = append(p.Sample, row)
	}
	return v.replayForm(f, p), nil
}

// replay returns what the form asks for.
func (f *formValues) replay() (n hook.NewReplay, rate *float64, ok bool) {
	n = hook.NewReplay{Source: hook.ReplaySource(f.Value["source"]), Newest: f.Value["order"] == "newest", Hold: f.Value["hold"] == "yes"}
	n.Filter.Types, n.Filter.Error = words(f.Value["types"]), hook.Class(f.Value["class"])
	var err error
	if n.Endpoint, err = hook.ParseID(strings.TrimSpace(f.Value["endpoint"])); err != nil {
		f.Problem["endpoint"] = "This must be the id of an endpoint."
	}
	for name, to := range map[string]*time.Time{"after": &n.Filter.After, "before": &n.Filter.Before} {
		if text := f.Value[name]; text != "" {
			if *to, err = parseTime(text); err != nil {
				f.Problem[name] = "This must be a time, such as 2026-11-27T08:25."
			}
		}
	}
	f.number("rate", func(s string) error {
		r, err := strconv.ParseFloat(s, 64)
		rate = &r
		return err
	})
	return n, rate, len(f.Problem) == 0
}

func (v *visit) replayForm(f formValues, preview *replayPreview) *screen {
	p := &replayForm{formValues: f, Action: v.at("replays/new"), Back: v.at("replays"), Preview: preview, Classes: classChoices(f.Value["class"])}
	s := &screen{Template: "replayform.html", Title: "New replay", Heading: "New replay", Nav: "replays", Data: p, Commands: []string{"posthorn replay create --endpoint ID --after 24h --dry-run"}}
	for _, source := range []hook.ReplaySource{hook.FromFailed, hook.FromMissing, hook.FromAll} {
		p.Sources = append(p.Sources, choice{Name: sourceWords[source], Value: string(source), Current: f.Value["source"] == string(source) || f.Value["source"] == "" && source == hook.FromFailed})
	}
	if id, err := hook.ParseID(f.Value["endpoint"]); err == nil {
		if e, err := v.service().EndpointNamed(v.quiet, v.caller, "", id); err == nil {
			host, path := page.HostOf(e.URL)
			p.EndpointName, p.EndpointHref, p.Test = host+path, v.at("endpoints/"+id.String()), v.at("endpoints/"+id.String()+"/test")
			s.Heading = "Replay to " + host + path
			s.Commands = []string{"posthorn replay create --endpoint " + id.String() + " --dry-run"}
			if preview != nil {
				preview.Warning = v.replayWarning(e)
			}
		}
	}
	if len(f.Problem) > 0 || f.Top != "" {
		s.Status = http.StatusUnprocessableEntity
	}
	return s
}

// replayWarning says why a replay to the endpoint may be of no use now.
func (v *visit) replayWarning(e *hook.Endpoint) string {
	healths, err := v.service().Healths(v.quiet, v.caller, []hook.Endpoint{*e})
	if err != nil || !needsAttention(e, healths[e.ID].Failures) {
		return ""
	}
	return trouble(e, healths[e.ID], v.now)
}

func createReplay(v *visit) (*screen, string, error) {
	f := v.filled(replayFields...)
	n, rate, ok := f.replay()
	if !ok {
		return v.replayForm(f, nil), "", nil
	}
	made, again, err := v.service().CreateReplay(v.ctx(), v.caller, n, rate, false, v.once("replays", &f, func(result any) string {
		j, _ := result.(app.Replay)
		return j.ID.String()
	}))
	if err != nil {
		if f.refuse(err) {
			return v.replayForm(f, nil), "", nil
		}
		return nil, "", err
	}
	id := made.ID.String()
	if again != nil {
		id = string(again.Body)
	}
	return nil, v.at("replays/"+id, "done", "started"), nil
}

func pauseReplay(v *visit) (string, error) {
	id, err := v.id("replay")
	if err != nil {
		return "", err
	}
	_, err = v.service().PauseReplay(v.ctx(), v.caller, id)
	return v.at("replays/"+id.String(), "done", "paused"), err
}

func resumeReplay(v *visit) (string, error) {
	id, err := v.id("replay")
	if err != nil {
		return "", err
	}
	_, err = v.service().ResumeReplay(v.ctx(), v.caller, id)
	return v.at("replays/"+id.String(), "done", "resumed"), err
}

func confirmCancelReplay(v *visit) (*screen, error) {
	id, err := v.id("replay")
	if err != nil {
		return nil, err
	}
	j, err := v.service().Replay(v.quiet, v.caller, id)
	if err != nil {
		return nil, err
	}
	line := v.replayLine(&j)
	return asks("replays", "Cancel this replay?", confirm{Says: []string{line.Sent + " of " + line.Total + " were sent; they stay as they are. The other " + line.Left + " are not sent. It cannot be resumed."},
		Buttons: []button{{Action: line.Href + "/cancel", Label: "Cancel the replay", Danger: true}}, Back: line.Href}), nil
}

func cancelReplay(v *visit) (string, error) {
	id, err := v.id("replay")
	if err != nil {
		return "", err
	}
	_, err = v.service().CancelReplay(v.ctx(), v.caller, id)
	return v.at("replays/"+id.String(), "done", "stopped"), err
}
