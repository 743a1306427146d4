package portal

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// replayLine is a replay in a list.
type replayLine struct {
	State               badge
	Href, Host, Path    string
	Key                 string // the id
	Source              string
	Done, Total         string
	Started             moment
	Delivered, Failed   string
	Percent             int
	Running, Paused     bool
	Reason, Estimate    string
	Base, From, To, All string
}

func (v *visit) replayLine(r *app.Replay) replayLine {
	line := replayLine{Key: r.ID.String(), Href: v.At("replays/" + r.ID.String()), Base: "replays/" + r.ID.String(), Source: v.T("replay.source_" + string(r.Source)), Started: v.when(r.CreatedAt),
		Done: v.words.number(int64(r.Done())), Total: v.words.number(int64(r.Total)), Delivered: v.words.number(int64(r.Delivered)), Failed: v.words.number(int64(r.Failed)),
		Running: r.State == hook.ReplayRunning, Paused: r.State == hook.ReplayPaused, Host: page.Short(r.Endpoint)}
	classes := map[hook.ReplayState][2]string{hook.ReplayRunning: {"wait", "replay"}, hook.ReplayPaused: {"held", "held"}, hook.ReplayDone: {"ok", "ok"}, hook.ReplayCancelled: {"off", "off"}, hook.ReplayFailed: {"bad", "x"}}
	line.State = v.badge(classes[r.State][0], classes[r.State][1], "replay_"+r.State.String())
	if !r.Exact {
		line.Total = v.T("number.least", "n", r.Total)
	}
	if r.Total > 0 {
		line.Percent = min(100, 100*r.Done()/r.Total)
	}
	if r.State == hook.ReplayDone {
		line.Percent = 100
	}
	if r.Reason != hook.ReasonNone {
		line.Reason = v.reason(r.Reason)
	}
	if !r.Estimate.IsZero() && line.Running {
		line.Estimate = v.T("replay.estimate", "span", v.span(max(time.Second, r.Estimate.Sub(v.now))))
	}
	if e, err := v.service().EndpointNamed(v.ctx(), v.caller, v.caller.Tenant, r.Endpoint); err == nil {
		line.Host, line.Path = page.HostOf(e.URL)
		line.All = v.At("deliveries", "endpoint", r.Endpoint.String())
	}
	line.From, line.To = exact(v, r.Filter.After), exact(v, r.Filter.Before)
	return line
}

func exact(v *visit, at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return v.when(at).Exact
}

func replays(v *visit) (*screen, error) {
	rows, next, err := v.service().Replays(v.ctx(), v.caller, hook.ReplayQuery{Page: hook.Page{Cursor: v.query.Get("cursor")}})
	if err != nil {
		return nil, err
	}
	var lines []replayLine
	for i := range rows {
		lines = append(lines, v.replayLine(&rows[i]))
	}
	older := ""
	if next != "" {
		older = v.At("replays", "cursor", next)
	}
	return &screen{Template: "replays.html", Heading: "replays.title", Nav: "deliveries", Data: struct {
		Lines []replayLine
		Older string
	}{lines, older}}, nil
}

// replayForm is the form of a replay, with its preview.
type replayForm struct {
	Endpoint, Source, Types, After, Before string
	Endpoints, Sources                     []option
	Problem                                string
	Preview                                string // a sentence; empty: not asked
	Sample                                 []string
	Trouble                                string // of the endpoint
	Ready                                  bool
	Once                                   string // key of the form, which starts one replay
}

func newReplay(v *visit) (*screen, error) {
	if !v.May("replay") {
		return nil, errMissing
	}
	f := &replayForm{Endpoint: v.query.Get("endpoint"), Source: "failed", After: v.now.UTC().Add(-24 * time.Hour).Format(formTime), Before: v.now.UTC().Add(time.Minute).Format(formTime)} // with what came in this minute
	return v.replayScreen(f)
}

// formTime is the form of a time in an input of a browser.
const formTime = "2006-01-02T15:04"

func (v *visit) replayScreen(f *replayForm) (*screen, error) {
	var err error
	if f.Endpoints, err = v.endpointOptions(f.Endpoint, false); err != nil {
		return nil, err
	}
	for _, s := range []string{"failed", "missing", "all"} {
		f.Sources = append(f.Sources, option{s, v.T("replay.source_" + s), s == f.Source})
	}
	s := &screen{Template: "replay_new.html", Heading: "replay.new", Nav: "deliveries", Data: f}
	f.Once = rand.Text()
	if f.Problem != "" {
		s.Status = 422
	}
	return s, nil
}

// startReplay counts what a replay would send, or starts it.
func startReplay(v *visit) (*screen, error) {
	in := v.r.PostForm
	f := &replayForm{Endpoint: in.Get("endpoint"), Source: in.Get("source"), Types: in.Get("types"), After: in.Get("after"), Before: in.Get("before")}
	n := hook.NewReplay{Source: hook.ReplaySource(f.Source), Filter: hook.ReplayFilter{Types: strings.Fields(f.Types)}}
	var err error
	if n.Endpoint, err = hook.ParseID(f.Endpoint); err != nil {
		return nil, hook.NotFound("endpoint")
	}
	for text, at := range map[string]*time.Time{f.After: &n.Filter.After, f.Before: &n.Filter.Before} {
		if text == "" {
			continue
		}
		if *at, err = time.Parse(formTime, text); err != nil {
			f.Problem = v.T("replay.time_wrong")
			return v.replayScreen(f)
		}
	}
	dry := in.Get("do") != "start"
	var once *app.Once
	if !dry {
		once = v.once("replays/new", in.Get("once"), func(result any) string {
			r, _ := result.(app.Replay)
			return r.ID.String()
		})
	}
	made, again, err := v.service().CreateReplay(v.ctx(), v.caller, n, nil, dry, once)
	if code := hook.CodeOf(err); err != nil && (code == hook.CodeInvalidRequest || code == hook.CodeEndpointDisabled || code == hook.CodeReplayLimit) {
		f.Problem = v.says(err)
		return v.replayScreen(f)
	}
	if err != nil {
		return nil, err
	}
	if again != nil { // pressed twice
		return to(v.At("replays/" + string(again.Body))), nil
	}
	if !dry {
		return to(v.At("replays/" + made.ID.String())), nil
	}
	f.Ready = made.Total > 0 || !made.Exact
	switch {
	case !f.Ready:
		f.Preview = v.T("replay.nothing")
	case made.Exact:
		f.Preview = v.T("replay.would", "n", made.Total, "span", v.span(max(time.Second, time.Duration(float64(made.Total)/made.Rate*float64(time.Second)))))
	default:
		f.Preview = v.T("replay.would_least", "n", made.Total)
	}
	if e, err := v.service().Endpoint(v.ctx(), v.caller, n.Endpoint); err == nil && e.Health != nil && e.Health.Failures > 0 {
		_, f.Trouble = v.endpointState(e.Endpoint, *e.Health)
	}
	for _, m := range made.Preview.Sample {
		f.Sample = append(f.Sample, m.Type+"  "+hook.PublicText(m.PublicID, m.GivenID))
	}
	return v.replayScreen(f)
}

func replay(v *visit) (*screen, error) {
	id, err := v.id("replay")
	if err != nil {
		return nil, err
	}
	r, err := v.service().Replay(v.ctx(), v.caller, id)
	if err != nil {
		return nil, err
	}
	line := v.replayLine(&r)
	return &screen{Template: "replay.html", Title: v.T("replay.title", "endpoint", line.Host+line.Path), Nav: "deliveries", Refresh: line.Running, Data: line}, nil
}

func moveReplay(move func(*app.Service, context.Context, app.Caller, hook.ID) (app.Replay, error)) func(*visit) (*screen, error) {
	return func(v *visit) (*screen, error) {
		id, err := v.id("replay")
		if err != nil {
			return nil, err
		}
		_, err = move(v.service(), v.ctx(), v.caller, id)
		return to(v.At("replays/" + id.String())), err
	}
}

var (
	pauseReplay  = moveReplay((*app.Service).PauseReplay)
	resumeReplay = moveReplay((*app.Service).ResumeReplay)
	cancelReplay = moveReplay((*app.Service).CancelReplay)
)
