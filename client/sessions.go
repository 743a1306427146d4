package client

import (
	"context"
	"net/http"
	"net/url"
)

// Capabilities of a portal session.
const (
	CapabilityView            = "view"             // always
	CapabilityManageEndpoints = "manage_endpoints" // make, change, disable and delete endpoints
	CapabilitySeeSecret       = "see_secret"       // reveal and rotate secrets
	CapabilityRetry           = "retry"            // retry a delivery
	CapabilityReplay          = "replay"           // resend events and replay
	CapabilityTest            = "test"             // send test events
)

// NewPortalSession describes a session of the portal to create.
type NewPortalSession struct {
	Tenant       string       `json:"tenant,omitempty" doc:"The tenant that the portal shows. Required for operators; the key of a tenant may leave it out."`
	Capabilities []string     `json:"capabilities,omitempty" doc:"What the session may do: view (always), manage_endpoints, see_secret (reveal and rotate), retry, replay (also resend), test. Absent: view."`
	ExpiresIn    *int64       `json:"expires_in,omitempty" doc:"Seconds from now, 60 to 86400. Absent: 3600. It ends no later than the key that makes it."`
	FrameOrigins []string     `json:"frame_origins,omitempty" doc:"Up to 10 exact origins whose pages may show the portal in a frame, such as https://app.example.com. No wildcards. Absent: no frame."`
	Locale       string       `json:"locale,omitempty" enum:"en,de" doc:"The language. Absent: the browser's."`
	Theme        *PortalTheme `json:"theme,omitempty" doc:"The look. Absent: that of Posthorn."`
	ReturnURL    string       `json:"return_url,omitempty" doc:"An https URL: shown as the way back, and where a session that is over leads."`
	Page         string       `json:"page,omitempty" doc:"The page to open first, a path below the portal, such as /endpoints/{id}. Absent: the first page."`
}

// PortalTheme is the look of a portal session.
type PortalTheme struct {
	Accent string `json:"accent,omitempty" doc:"The color of links and buttons as #rrggbb. It is made darker or lighter where text in it could not be read; the answer then has the warning accent_adjusted."`
	Mode   string `json:"mode,omitempty" enum:"auto,light,dark" doc:"Light or dark. Absent: auto, the browser's."`
	Radius *int   `json:"radius,omitempty" doc:"Radius of corners in pixels, 0 to 16. Absent: 8."`
	Font   string `json:"font,omitempty" enum:"system,serif,mono" doc:"The typeface. Absent: system."`
	Logo   string `json:"logo,omitempty" doc:"A data URI with base64 of a PNG, WebP or JPEG image of at most 32 KB. A URL is not accepted: the portal loads nothing from elsewhere."`
	Name   string `json:"name,omitempty" doc:"The name of the platform, shown beside the logo, at most 60 characters."`
	Chrome string `json:"chrome,omitempty" enum:"full,bare" doc:"bare: without logo, name and the way back, for a frame in a page that has them. Absent: full."`
}

// PortalSession is a session of the portal.
type PortalSession struct {
	ID           string   `json:"id" format:"uuid" doc:"The id of the session. It opens nothing."`
	Tenant       string   `json:"tenant" doc:"The tenant that the portal shows."`
	Mode         string   `json:"mode" enum:"test,live" doc:"The mode of the key that made it."`
	Capabilities []string `json:"capabilities" nullable:"false" doc:"What the session may do."`
	FrameOrigins []string `json:"frame_origins" nullable:"false" doc:"Whose pages may show it in a frame. Empty: nobody's."`
	State        string   `json:"state" enum:"new,open,ended" doc:"new: its link was not used. open: it was. ended: it cannot be used any more."`
	CreatedAt    Time     `json:"created_at" doc:"When it was made."`
	LastUsedAt   *Time    `json:"last_used_at" doc:"When it was last used, to the minute. null: not yet."`
	ExpiresAt    Time     `json:"expires_at" doc:"When it ends."`
	EndedAt      *Time    `json:"ended_at" doc:"When it was ended before its time. null: it was not."`
	// URL is set only by CreatePortalSession.
	URL           string    `json:"url,omitempty" doc:"The link that opens the session, once. It is in the answer to the creating request only."`
	LinkExpiresAt *Time     `json:"link_expires_at,omitempty" doc:"Until when the link can be used: five minutes."`
	Warnings      []Warning `json:"warnings,omitempty" doc:"What was changed or is unusual, such as accent_adjusted."`
}

// PortalSessionQuery selects portal sessions of the caller's mode.
type PortalSessionQuery struct {
	ListOptions
	Tenant string `query:"tenant"`
}

// CreatePortalSession makes a session of the portal, and a link that opens it once.
func (c *Client) CreatePortalSession(ctx context.Context, n NewPortalSession) (PortalSession, error) {
	return post[PortalSession](ctx, c, "/v1/portal/sessions", n)
}

// PortalSessions returns one page of portal sessions, newest first, with those that ended
// within a day.
func (c *Client) PortalSessions(ctx context.Context, q PortalSessionQuery) (Page[PortalSession], error) {
	return get[Page[PortalSession]](ctx, c, "/v1/portal/sessions"+queryOf(q))
}

// EndPortalSession ends a portal session at once.
func (c *Client) EndPortalSession(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/portal/sessions/"+url.PathEscape(id), "", nil, nil)
}

// EndPortalSessions ends all portal sessions of a tenant at once.
func (c *Client) EndPortalSessions(ctx context.Context, tenant string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/portal/sessions?tenant="+url.QueryEscape(tenant), "", nil, nil)
}

// UILink is a link that opens the dashboard once, with the key that made it.
type UILink struct {
	URL       string `json:"url" doc:"The link. Whoever opens it first acts with the key that made it."`
	ExpiresAt Time   `json:"expires_at" doc:"Until when it can be used: five minutes."`
}

// CreateUILink makes a link that opens the dashboard.
func (c *Client) CreateUILink(ctx context.Context) (UILink, error) {
	return act[UILink](ctx, c, "/v1/ui/links")
}
