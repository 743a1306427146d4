package native

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

func (a *api) replayRoutes(h huma.API) {
	register(a, h, operation("POST", "/v1/replays", "create-replay", "Send again to one endpoint what was accepted before", 201), a.createReplay)
	register(a, h, operation("GET", "/v1/replays", "list-replays", "List replays, newest first", 200), a.listReplays)
	register(a, h, operation("GET", "/v1/replays/{id}", "get-replay", "Get a replay with its progress", 200), a.getReplay)
	register(a, h, operation("POST", "/v1/replays/{id}/pause", "pause-replay", "Pause a replay", 200), a.moveReplay(a.o.Service.PauseReplay))
	register(a, h, operation("POST", "/v1/replays/{id}/resume", "resume-replay", "Let a paused replay go on", 200), a.moveReplay(a.o.Service.ResumeReplay))
	register(a, h, operation("POST", "/v1/replays/{id}/cancel", "cancel-replay", "End a replay", 200), a.moveReplay(a.o.Service.CancelReplay))
	register(a, h, operation("POST", "/v1/events/match", "match-event", "Say who would get an event of a type", 200), a.matchEvent)
}

type newReplayIn struct {
	OnceIn
	Body body[client.NewReplay]
}

func (a *api) createReplay(ctx context.Context, q *request, in *newReplayIn) (*reply[client.Replay], error) {
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	n, err := newReplay(&in.Body.value)
	if err != nil {
		return nil, err
	}
	once, err := onceFor(q, in.Body.text, 201, wireReplay)
	if err != nil {
		return nil, err
	}
	out, replay, err := a.o.Service.CreateReplay(ctx, q.caller, n, in.Body.value.Rate, in.Body.value.DryRun, once)
	if err != nil {
		return nil, err
	}
	return made(201, wireReplay(out), replay), nil
}

// newReplay reads the members of a request. Package app checks their combination.
func newReplay(want *client.NewReplay) (n hook.NewReplay, err error) {
	if n.Endpoint, err = filterID("endpoint", want.Endpoint); err != nil {
		return n, err
	}
	n.Source, n.Hold, n.Newest = hook.ReplaySource(want.Source), want.Hold, want.Order == "newest"
	n.Filter = hook.ReplayFilter{Types: want.EventTypes, Channel: want.Channel, Error: hook.Class(want.Error)}
	if want.Order != "" && want.Order != "oldest" && !n.Newest {
		return n, strict.Wrong("order", "oldest or newest")
	}
	if want.State != "" {
		state, known := hook.ParseState(want.State)
		if !known {
			return n, strict.Wrong("state", "pending, held, succeeded, failed or cancelled")
		}
		n.Filter.State = &state
	}
	switch want.StatusClass {
	case "":
	case "2xx", "3xx", "4xx", "5xx":
		n.Filter.StatusClass = int(want.StatusClass[0] - '0')
	default:
		return n, strict.Wrong("status_class", "2xx, 3xx, 4xx or 5xx")
	}
	if !errorWord(want.Error) {
		return n, strict.Wrong("error", "a class of failures, such as timeout_response")
	}
	if want.After != nil {
		n.Filter.After = want.After.Time
	}
	if want.Before != nil {
		n.Filter.Before = want.Before.Time
	}
	return n, nil
}

// errorWord reports whether a text can be a class of failures, or is empty.
func errorWord(text string) bool {
	for i := range len(text) {
		if c := text[i]; c != '_' && (c < 'a' || 'z' < c) {
			return false
		}
	}
	return len(text) <= 64
}

func wireReplay(r app.Replay) client.Replay {
	f := &r.Filter
	out := client.Replay{Tenant: r.Scope.Tenant, Mode: r.Scope.Mode.String(), Endpoint: r.Endpoint.String(), Source: string(r.Source),
		EventTypes: append([]string{}, f.Types...), Channel: some(f.Channel), Error: some(string(f.Error)), After: someTime(f.After), Before: someTime(f.Before),
		Order: "oldest", Rate: r.Rate, Hold: r.Hold, State: r.State.String(), Reason: some(string(r.Reason)),
		Total: r.Total, TotalExact: r.Exact, Processed: r.Done(), Requested: r.Requested, Created: r.Created, Skipped: r.Skipped,
		Pending: max(r.Pending(), 0), Delivered: r.Delivered, Failed: r.Failed, Dropped: r.Dropped, Estimated: someTime(r.Estimate),
		Message: r.Message, CreatedAt: someTime(r.CreatedAt), UpdatedAt: someTime(r.UpdatedAt), EndedAt: someTime(r.EndedAt)}
	if r.Newest {
		out.Order = "newest"
	}
	if f.State != nil {
		out.OfState = some(f.State.String())
	}
	if f.StatusClass != 0 {
		out.StatusClass = some(string(rune('0'+f.StatusClass)) + "xx")
	}
	if r.Waits {
		out.WaitsFor = some("endpoint")
	}
	if r.Preview != nil {
		out.State = client.ReplayDryRun
		out.PayloadGone = r.Preview.Gone
		out.Sample = wireAll(r.Preview.Sample, wireMatch)
		return out
	}
	out.ID = some(r.ID.String())
	return out
}

func wireMatch(m hook.ReplayMatch) client.ReplayMatch {
	out := client.ReplayMatch{Event: hook.PublicText(m.PublicID, m.GivenID), EventType: m.Type, AcceptedAt: wireTime(m.AcceptedAt),
		LastStatus: some(m.LastStatus), LastError: some(string(m.LastError))}
	if m.Exists {
		out.State = some(m.State.String())
	}
	return out
}

type replaysIn struct {
	PageIn
	Tenant   string `query:"tenant" doc:"Replays of this tenant. Absent: of all tenants that the key sees." example:"acme"`
	Endpoint string `query:"endpoint" format:"uuid" doc:"Replays to this endpoint." example:"019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a"`
	State    string `query:"state" enum:"running,paused,done,cancelled,failed" doc:"Replays in this state." example:"running"`
}

func (a *api) listReplays(ctx context.Context, q *request, in *replaysIn) (*reply[client.Page[client.Replay]], error) {
	query := hook.ReplayQuery{Scope: hook.Scope{Tenant: in.Tenant}, Page: in.page()}
	var err error
	if query.Endpoint, err = filterID("endpoint", in.Endpoint); err != nil {
		return nil, err
	}
	if state, known := hook.ParseReplayState(in.State); known {
		query.State = &state
	}
	rows, next, err := a.o.Service.Replays(ctx, q.caller, query)
	if err != nil {
		return nil, err
	}
	return page(q, wireAll(rows, wireReplay), next), nil
}

func (a *api) getReplay(ctx context.Context, q *request, in *ItemIn) (*reply[client.Replay], error) {
	id, err := in.parsed("replay")
	if err != nil {
		return nil, err
	}
	r, err := a.o.Service.Replay(ctx, q.caller, id)
	if err != nil {
		return nil, err
	}
	return ok(wireReplay(r)), nil
}

func (a *api) moveReplay(move func(context.Context, app.Caller, hook.ID) (app.Replay, error)) func(context.Context, *request, *ItemIn) (*reply[client.Replay], error) {
	return func(ctx context.Context, q *request, in *ItemIn) (*reply[client.Replay], error) {
		id, err := in.parsed("replay")
		if err != nil {
			return nil, err
		}
		r, err := move(ctx, q.caller, id)
		if err != nil {
			return nil, err
		}
		return ok(wireReplay(r)), nil
	}
}

type matchIn struct {
	Body body[client.MatchRequest]
}

func (a *api) matchEvent(ctx context.Context, q *request, in *matchIn) (*reply[client.Match], error) {
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	if in.Body.value.Type == "" {
		return nil, strict.Missing("type")
	}
	m, err := a.o.Service.Match(ctx, q.caller, in.Body.value.Tenant, in.Body.value.Type, in.Body.value.Channels)
	if err != nil {
		return nil, err
	}
	return ok(client.Match{Tenant: m.Tenant, Type: m.Type, Count: m.Count, Endpoints: wireAll(m.Endpoints, func(e *hook.Endpoint) client.MatchingEndpoint {
		return client.MatchingEndpoint{Endpoint: e.ID.String(), Held: e.Status == hook.Tripped}
	})}), nil
}
