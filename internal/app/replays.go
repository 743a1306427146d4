package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// defaultReplayRate is the rate of a replay that sets none, in deliveries per second.
const defaultReplayRate = 50

// maxReplayTypes bounds the entries of a replay's filter.
const maxReplayTypes = 100

// Replay is a replay as callers see it.
type Replay struct {
	hook.ReplayJob
	Preview  *hook.ReplayPreview // only for a dry run: nothing was stored
	Waits    bool                // whether it waits until its endpoint is enabled
	Estimate time.Time           // when all matches will have been processed; zero: not known
	Message  string
}

// checkReplay refuses an invalid replay and fills in the defaults.
func checkReplay(n *hook.NewReplay, rate *float64) error {
	f := &n.Filter
	if n.Source == "" {
		n.Source = hook.FromFailed
	}
	n.Rate = defaultReplayRate
	if rate != nil {
		n.Rate = *rate
	}
	switch {
	case n.Endpoint.IsZero():
		return invalid("endpoint", "\"endpoint\" is required: a replay is of one endpoint.")
	case !n.Source.Known():
		return invalid("source", "\"source\" must be failed, all or missing.")
	case !(n.Rate >= hook.MinReplayRate && n.Rate <= hook.MaxReplayRate):
		return invalid("rate", fmt.Sprintf("\"rate\" must be from %g to %g deliveries a second. Absent, it is %d.", hook.MinReplayRate, hook.MaxReplayRate, defaultReplayRate))
	case len(f.Types) > maxReplayTypes:
		return invalid("event_types", fmt.Sprintf("\"event_types\" must have at most %d entries.", maxReplayTypes))
	case checkChannel(f.Channel) != nil:
		return checkChannel(f.Channel)
	case n.Source == hook.FromMissing && (f.State != nil || f.StatusClass != 0 || f.Error != ""):
		return invalid("source", "What is missing has no delivery, so \"state\", \"status_class\" and \"error\" do not go with it.")
	case n.Source == hook.FromFailed && f.State != nil && *f.State != hook.Failed:
		return invalid("state", "Source \"failed\" looks at failed deliveries only. Use source \"all\" for other states.")
	case !f.After.IsZero() && !f.Before.IsZero() && !f.After.Before(f.Before):
		return invalid("before", "\"before\" must be later than \"after\".")
	}
	for i, name := range f.Types {
		if !hook.ValidFilterType(name) {
			return invalid(fmt.Sprintf("event_types/%d", i), "Each entry of \"event_types\" must be an event type, a prefix such as payment.*, or *.")
		}
	}
	return nil
}

// CreateReplay stores and starts a replay. With dry it only counts what the replay
// would send. A nil rate means the default. The error is CodeEndpointDisabled if the
// endpoint is disabled and the replay does not hold.
func (s *Service) CreateReplay(ctx context.Context, c Caller, n hook.NewReplay, rate *float64, dry bool, once *Once) (Replay, *hook.Replay, error) {
	if err := c.may(hook.MayReplay); err != nil {
		return Replay{}, nil, err
	}
	scope, err := c.reach("")
	if err != nil {
		return Replay{}, nil, err
	}
	if err := checkReplay(&n, rate); err != nil {
		return Replay{}, nil, err
	}
	ep, err := s.o.Store.Endpoint(ctx, scope, n.Endpoint)
	if err != nil {
		return Replay{}, nil, err
	}
	n.Scope = ep.Scope
	if err := s.spend(ctx, c, limitAttempts, 1); err != nil {
		return Replay{}, nil, err
	}
	if dry {
		preview, err := s.o.Store.PreviewReplay(ctx, n)
		job := hook.ReplayJob{NewReplay: n, Total: preview.Matched, Exact: preview.Exact}
		out := s.shown(ctx, job)
		out.Preview, out.Estimate, out.Waits = &preview, time.Time{}, false
		out.Message = wouldSend(&job, ep)
		return out, nil, err
	}
	around := func(stored any) any {
		job, _ := stored.(hook.ReplayJob)
		return s.shown(ctx, job)
	}
	job, replay, err := s.o.Store.CreateReplay(ctx, n, once.in(ep.Scope, around))
	if err == nil && replay == nil {
		s.o.Log.LogAttrs(ctx, levelAudit, "audit: replay created", append(c.audit(ep), slog.String("replay", job.ID.String()),
			slog.String("source", string(job.Source)), slog.Int("matches", job.Total))...)
	}
	return s.shown(ctx, job), replay, err
}

// wouldSend returns a sentence that describes what a replay would do.
func wouldSend(j *hook.ReplayJob, ep *hook.Endpoint) string {
	if j.Total == 0 && j.Exact {
		return "Nothing matches. Nothing would be sent."
	}
	text := fmt.Sprintf("%s would be sent, which takes %s at this rate.", matches(j), about(float64(j.Total)/j.Rate))
	if ep.Status != hook.Enabled {
		text += " The endpoint is disabled: enable it first, or use \"hold\"."
	}
	return text
}

// matches returns the number of matches in words.
func matches(j *hook.ReplayJob) string {
	switch {
	case !j.Exact:
		return fmt.Sprintf("At least %d events", j.Total)
	case j.Total == 1:
		return "1 event"
	}
	return fmt.Sprintf("%d events", j.Total)
}

// about formats an approximate duration.
func about(seconds float64) string {
	d := time.Duration(min(seconds, 1e9) * float64(time.Second))
	switch {
	case d >= 10*time.Minute:
		return "about " + d.Round(time.Minute).String()[:len(d.Round(time.Minute).String())-2]
	case d >= time.Second:
		return "about " + d.Round(time.Second).String()
	}
	return "about a second"
}

// shown adds the values that are computed on each read.
func (s *Service) shown(ctx context.Context, j hook.ReplayJob) Replay {
	out := Replay{ReplayJob: j}
	if j.State == hook.ReplayRunning && !j.Exhausted && !j.ID.IsZero() {
		ep, err := s.o.Store.Endpoint(ctx, j.Scope, j.Endpoint)
		out.Waits = err == nil && !ep.Receives()
	}
	left := j.Total - j.Done()
	if j.State == hook.ReplayRunning && j.Exact && !out.Waits && left >= 0 {
		pace := j.Rate
		if took := j.UpdatedAt.Sub(j.CreatedAt).Seconds(); j.Done() > 0 && took > 1 {
			pace = min(pace, float64(j.Done())/took)
		}
		out.Estimate = s.o.Now().Add(time.Duration(min(float64(left)/pace, 1e9) * float64(time.Second)))
	}
	out.Message = replayText(&out)
	return out
}

// replayText returns a sentence that describes the state of a replay.
func replayText(r *Replay) string {
	of := fmt.Sprintf("%d of %d", r.Done(), r.Total)
	if !r.Exact {
		of = fmt.Sprintf("%d of at least %d", r.Done(), r.Total)
	}
	switch {
	case r.Total == 0 && r.Exact && r.State == hook.ReplayDone && r.Done() == 0:
		return "Nothing matched. Nothing was sent."
	case r.Waits:
		return of + " dealt with. It waits until the endpoint is enabled."
	case r.State == hook.ReplayRunning && r.Exhausted:
		return fmt.Sprintf("All dealt with; %d attempts are still to be made.", r.Pending())
	case r.State == hook.ReplayRunning:
		return of + " dealt with."
	case r.State == hook.ReplayPaused && r.Reason == hook.ReplayEndpointDisabled:
		return of + " dealt with. It paused because the endpoint was disabled: enable the endpoint, then resume the replay."
	case r.State == hook.ReplayPaused:
		return of + " dealt with. It is paused: resume it to go on."
	case r.State == hook.ReplayFailed:
		return of + " dealt with. It ended because the endpoint was deleted."
	case r.State == hook.ReplayCancelled:
		return of + " dealt with. It was cancelled."
	}
	text := fmt.Sprintf("Done: %d delivered, %d failed", r.Delivered, r.Failed)
	if r.Created > 0 {
		text += fmt.Sprintf(", %d deliveries made", r.Created)
	}
	if r.Skipped+r.Dropped > 0 {
		text += fmt.Sprintf(", %d not needed any more", r.Skipped+r.Dropped)
	}
	return text + "."
}

// Replay returns one replay.
func (s *Service) Replay(ctx context.Context, c Caller, id hook.ID) (Replay, error) {
	scope, err := c.reach("")
	if err != nil {
		return Replay{}, err
	}
	j, err := s.o.Store.Replay(ctx, scope, id)
	if err != nil {
		return Replay{}, err
	}
	return s.shown(ctx, j), nil
}

// Replays returns a page of replays. q.Scope.Tenant is the tenant that the caller
// requested.
func (s *Service) Replays(ctx context.Context, c Caller, q hook.ReplayQuery) ([]Replay, string, error) {
	scope, err := c.reach(q.Scope.Tenant)
	if err != nil {
		return nil, "", err
	}
	q.Scope = scope
	rows, next, err := s.o.Store.Replays(ctx, q)
	if err == nil && len(rows) == 0 {
		err = s.checkNamed(ctx, c, scope.Tenant)
	}
	out := make([]Replay, len(rows))
	for i, j := range rows {
		out[i] = s.shown(ctx, j)
	}
	return out, next, err
}

// PauseReplay pauses a replay, ResumeReplay resumes it, and CancelReplay ends it. The
// error is CodeReplayEnded if it has ended.
func (s *Service) PauseReplay(ctx context.Context, c Caller, id hook.ID) (Replay, error) {
	return s.moveReplay(ctx, c, id, "audit: replay paused", s.o.Store.PauseReplay)
}

// ResumeReplay is described at [Service.PauseReplay].
func (s *Service) ResumeReplay(ctx context.Context, c Caller, id hook.ID) (Replay, error) {
	if err := c.may(hook.MayReplay); err != nil {
		return Replay{}, err
	}
	if err := s.spend(ctx, c, limitAttempts, 1); err != nil { // it begins work, as creating one does
		return Replay{}, err
	}
	return s.moveReplay(ctx, c, id, "audit: replay resumed", s.o.Store.ResumeReplay)
}

// CancelReplay is described at [Service.PauseReplay].
func (s *Service) CancelReplay(ctx context.Context, c Caller, id hook.ID) (Replay, error) {
	return s.moveReplay(ctx, c, id, "audit: replay cancelled", s.o.Store.CancelReplay)
}

func (s *Service) moveReplay(ctx context.Context, c Caller, id hook.ID, act string,
	move func(context.Context, hook.Scope, hook.ID) (hook.ReplayJob, error)) (Replay, error) {
	if err := c.may(hook.MayReplay); err != nil {
		return Replay{}, err
	}
	scope, err := c.reach("")
	if err != nil {
		return Replay{}, err
	}
	j, err := move(ctx, scope, id)
	if err != nil {
		return Replay{}, err
	}
	if !j.Moved { // it was in this state already
		return s.shown(ctx, j), nil
	}
	s.o.Log.LogAttrs(ctx, levelAudit, act, append(c.audit(&hook.Endpoint{ID: j.Endpoint, Scope: j.Scope}), slog.String("replay", j.ID.String()))...)
	return s.shown(ctx, j), nil
}

// ProfileOf returns the hash of the profile text with which an endpoint's new
// deliveries are rendered.
func (s *Service) ProfileOf(e *hook.Endpoint) hook.ProfileHash { return s.profileOf(e) }

// maxMatching bounds the number of endpoints that Match returns.
const maxMatching = 100

// Matching lists the endpoints that would get an event.
type Matching struct {
	Tenant    string
	Type      string
	Count     int // of all of them
	Endpoints []*hook.Endpoint
}

// Match returns the endpoints that would get an event of the type and with the channels if it were published
// now: the first 100, and the total number. For an endpoint disabled by failures the
// event would be held. The caller must be allowed to publish to the tenant, or be the
// tenant.
func (s *Service) Match(ctx context.Context, c Caller, tenant, eventType string, names []string) (Matching, error) {
	scope, err := c.target(tenant)
	if c.Kind == hook.TenantKey {
		scope, err = c.reach(tenant)
	}
	if err != nil {
		return Matching{}, err
	}
	if !hook.ValidType(eventType) {
		return Matching{}, errType("type", eventType)
	}
	channels, err := checkChannels(names)
	if err != nil {
		return Matching{}, err
	}
	if _, err := s.o.Store.Tenant(ctx, scope.Tenant); err != nil {
		if hook.CodeOf(err) == hook.CodeNotFound {
			err = noTenant("tenant")
		}
		return Matching{}, err
	}
	all, err := s.o.Store.TenantEndpoints(ctx, scope)
	out := Matching{Tenant: scope.Tenant, Type: eventType}
	for _, e := range all {
		if e.Status == hook.Disabled || !e.Wants(eventType, channels) {
			continue
		}
		if out.Count++; out.Count <= maxMatching {
			out.Endpoints = append(out.Endpoints, e)
		}
	}
	return out, err
}
