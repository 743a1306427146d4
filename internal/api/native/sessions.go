package native

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/portal"
)

func (a *api) sessionRoutes(h huma.API) {
	register(a, h, operation("POST", "/v1/portal/sessions", "create-portal-session", "Create a session of the portal and a link that opens it", 201), a.createPortalSession)
	register(a, h, operation("GET", "/v1/portal/sessions", "list-portal-sessions", "List portal sessions, newest first", 200), a.listPortalSessions)
	register(a, h, operation("DELETE", "/v1/portal/sessions", "end-portal-sessions", "End all portal sessions of a tenant", 204), a.endPortalSessions)
	register(a, h, operation("DELETE", "/v1/portal/sessions/{id}", "end-portal-session", "End a portal session", 204), a.endPortalSession)
	register(a, h, operation("POST", "/v1/ui/links", "create-ui-link", "Create a link that opens the dashboard", 201), a.createUILink)
}

type newPortalSessionIn struct {
	OnceIn
	Body body[client.NewPortalSession]
}

func (a *api) createPortalSession(ctx context.Context, q *request, in *newPortalSessionIn) (*reply[client.PortalSession], error) {
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	want := in.Body.value
	w := portal.Wanted{Capabilities: want.Capabilities, ExpiresIn: want.ExpiresIn,
		PortalSettings: hook.PortalSettings{FrameOrigins: want.FrameOrigins, Locale: want.Locale, ReturnURL: want.ReturnURL, Page: want.Page}}
	if th := want.Theme; th != nil {
		w.Theme = hook.PortalTheme{Accent: th.Accent, Mode: th.Mode, Radius: th.Radius, Font: th.Font, Logo: th.Logo, Name: th.Name, Chrome: th.Chrome}
	}
	once, err := onceFor(q, in.Body.text, 201, wireNewPortalSession)
	if err != nil {
		return nil, err
	}
	s, replay, err := a.o.Service.CreatePortalSession(ctx, q.caller, want.Tenant, w, once)
	if err != nil {
		return nil, err
	}
	return made(201, wireNewPortalSession(s), replay), nil
}

func wireNewPortalSession(s app.PortalSession) client.PortalSession {
	out := wirePortalSession(s.WebSession, s.CreatedAt)
	out.URL, out.LinkExpiresAt = s.URL, someTime(s.EnterBy)
	for _, w := range s.Warnings {
		out.Warnings = append(out.Warnings, client.Warning{Code: w.Code, Message: w.Message})
	}
	return out
}

func wirePortalSession(s hook.WebSession, now time.Time) client.PortalSession {
	out := client.PortalSession{ID: s.ID.String(), Tenant: s.Tenant, Mode: s.Mode.String(), Capabilities: s.Settings.Capabilities.Names(), FrameOrigins: s.Settings.FrameOrigins,
		State: "new", CreatedAt: wireTime(s.CreatedAt), LastUsedAt: someTime(s.SeenAt), ExpiresAt: wireTime(s.ExpiresAt), EndedAt: someTime(s.EndedAt)}
	if out.FrameOrigins == nil {
		out.FrameOrigins = []string{}
	}
	switch {
	case s.Over(now):
		out.State = "ended"
	case s.Entered:
		out.State = "open"
	}
	return out
}

type portalSessionsIn struct {
	PageIn
	Tenant string `query:"tenant" doc:"Sessions of this tenant." example:"acme"`
}

func (a *api) listPortalSessions(ctx context.Context, q *request, in *portalSessionsIn) (*reply[client.Page[client.PortalSession]], error) {
	rows, next, err := a.o.Service.PortalSessions(ctx, q.caller, hook.WebSessionQuery{Scope: hook.Scope{Tenant: in.Tenant}, Page: in.page()})
	if err != nil {
		return nil, err
	}
	now := a.o.Service.Now()
	return page(q, wireAll(rows, func(s hook.WebSession) client.PortalSession { return wirePortalSession(s, now) }), next), nil
}

type endPortalSessionsIn struct {
	Tenant string `query:"tenant" doc:"The tenant whose sessions end. Required for operators." example:"acme"`
}

func (a *api) endPortalSessions(ctx context.Context, q *request, in *endPortalSessionsIn) (*none, error) {
	return nil, a.o.Service.EndPortalSessions(ctx, q.caller, in.Tenant)
}

func (a *api) endPortalSession(ctx context.Context, q *request, in *ItemIn) (*none, error) {
	id, err := in.parsed("portal session")
	if err != nil {
		return nil, err
	}
	return nil, a.o.Service.EndPortalSession(ctx, q.caller, id)
}

func (a *api) createUILink(ctx context.Context, q *request, in *struct{}) (*reply[client.UILink], error) {
	link, err := a.o.Service.CreateUILink(ctx, q.caller)
	if err != nil {
		return nil, err
	}
	return made(201, client.UILink{URL: link.URL, ExpiresAt: wireTime(link.ExpiresAt)}, nil), nil
}
