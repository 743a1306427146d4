package client

import (
	"context"
	"net/http"
	"net/url"
)

// PartnerUser is a grant: keys of the tenant Partner that name User, in paywise's
// management API with the header X-User-Id, act for Tenant. It belongs to one mode.
type PartnerUser struct {
	ID        string `json:"id"`
	Partner   string `json:"partner"`
	User      string `json:"user"`
	Tenant    string `json:"tenant"`
	CreatedAt Time   `json:"created_at"`
}

// NewPartnerUser asks for a grant in the caller's mode.
type NewPartnerUser struct {
	Partner string `json:"partner" doc:"The tenant whose keys may act."`
	User    string `json:"user" doc:"The partner's name for the user: 1 to 200 printable ASCII characters without spaces."`
	Tenant  string `json:"tenant" doc:"The tenant acted for."`
}

// CreatePartnerUser makes a grant.
func (c *Client) CreatePartnerUser(ctx context.Context, p NewPartnerUser) (PartnerUser, error) {
	return post[PartnerUser](ctx, c, "/v1/partner-users", p)
}

// PartnerUsers lists the grants of the caller's mode; filter: partner.
func (c *Client) PartnerUsers(ctx context.Context, o ListOptions) (Page[PartnerUser], error) {
	return get[Page[PartnerUser]](ctx, c, "/v1/partner-users"+o.query())
}

// DeletePartnerUser ends a grant at once.
func (c *Client) DeletePartnerUser(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/partner-users/"+url.PathEscape(id), "", nil, nil)
}
