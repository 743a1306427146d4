package client

import (
	"context"
	"net/http"
	"net/url"
)

// PartnerUser is a grant. It allows keys of the tenant Partner to act for Tenant by naming
// User in the header X-User-Id of paywise's management API. A grant belongs to one mode.
type PartnerUser struct {
	ID        string `json:"id" format:"uuid" doc:"The id of the grant."`
	Partner   string `json:"partner" doc:"The tenant whose keys may act."`
	User      string `json:"user" doc:"The partner's name for the user, sent as X-User-Id."`
	Tenant    string `json:"tenant" doc:"The tenant acted for."`
	CreatedAt Time   `json:"created_at" doc:"When the grant was made."`
}

// NewPartnerUser describes a grant to create in the caller's mode.
type NewPartnerUser struct {
	Partner string `json:"partner" doc:"The tenant whose keys may act."`
	User    string `json:"user" doc:"The partner's name for the user: 1 to 200 printable ASCII characters without spaces."`
	Tenant  string `json:"tenant" doc:"The tenant acted for."`
}

// CreatePartnerUser creates a grant.
func (c *Client) CreatePartnerUser(ctx context.Context, p NewPartnerUser) (PartnerUser, error) {
	return post[PartnerUser](ctx, c, "/v1/partner-users", p)
}

// PartnerUsers returns one page of the grants of the caller's mode, newest first.
func (c *Client) PartnerUsers(ctx context.Context, q PartnerUserQuery) (Page[PartnerUser], error) {
	return get[Page[PartnerUser]](ctx, c, "/v1/partner-users"+queryOf(q))
}

// DeletePartnerUser revokes a grant with immediate effect.
func (c *Client) DeletePartnerUser(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/partner-users/"+url.PathEscape(id), "", nil, nil)
}
