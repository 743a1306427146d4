package client

import (
	"context"
	"encoding/json"
	"net/url"
)

// Explanation says for each endpoint of an event's tenant why it did or did not
// get the event.
type Explanation struct {
	Event      string              `json:"event"`
	Tenant     string              `json:"tenant"`
	Mode       string              `json:"mode" enum:"test,live"`
	Type       string              `json:"type"`
	AcceptedAt Time                `json:"accepted_at"`
	Endpoints  []ExplainedEndpoint `json:"endpoints" nullable:"false"`
	More       bool                `json:"more" doc:"The tenant has more endpoints than the 1,000 shown."`
	OtherMode  bool                `json:"other_mode" doc:"The tenant has endpoints in the other mode; they never get events of this one."`
}

// ExplainedEndpoint is why one endpoint did or did not get an event. URL and
// EventTypes are what they were when the event was accepted.
type ExplainedEndpoint struct {
	Endpoint   string    `json:"endpoint"`
	URL        *string   `json:"url"`
	EventTypes []string  `json:"event_types" nullable:"false"`
	Reason     string    `json:"reason" enum:"matched,resent,test,type,disabled,deleted,not_created,unknown"`
	Message    string    `json:"message"`
	Delivery   *Delivery `json:"delivery"`
}

// Resend asks for one more attempt of an event: to one Endpoint, or to each that
// wants it now.
type Resend struct {
	Endpoint string `json:"endpoint,omitempty"`
}

// Resent says what a resend asked for. Deliveries that existed are used again.
type Resent struct {
	Event      string     `json:"event"`
	Deliveries []Delivery `json:"deliveries" nullable:"false"`
	Created    int        `json:"created" doc:"Of the deliveries, those that did not exist before."`
	Skipped    int        `json:"skipped" doc:"Endpoints disabled by failures that have a delivery already: enable them first."`
}

// RevealedSecret is the signing secret in force.
type RevealedSecret struct {
	Secret    string `json:"secret"`
	CreatedAt Time   `json:"created_at"`
}

// Counts are numbers of deliveries by state.
type Counts struct {
	Pending   int `json:"pending"`
	Held      int `json:"held"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
	Cancelled int `json:"cancelled"`
}

// RecentStats are about the latest deliveries of an endpoint: at most 1,000, of at
// most the tenant's latest 10,000 events, with at most 5,000 attempts.
type RecentStats struct {
	Since        *Time          `json:"since" doc:"Acceptance of the oldest delivery looked at."`
	Deliveries   Counts         `json:"deliveries"`
	Attempts     int            `json:"attempts"`
	SuccessRate  *float64       `json:"success_rate" doc:"Successful attempts of all attempts, 0 to 1; null without attempts."`
	LatencyP50MS *float64       `json:"latency_p50_ms"`
	LatencyP95MS *float64       `json:"latency_p95_ms"`
	Errors       map[string]int `json:"errors" doc:"Failed attempts by their class."`
}

// EndpointStats are numbers about an endpoint. Test events are not in them. A
// count of 100,000 means that many or more.
type EndpointStats struct {
	Endpoint        string      `json:"endpoint"`
	Pending         int         `json:"pending" doc:"Now."`
	Held            int         `json:"held" doc:"Now."`
	Failed          int         `json:"failed" doc:"All that are kept."`
	OldestPendingAt *Time       `json:"oldest_pending_at"`
	Recent          RecentStats `json:"recent"`
}

// Explain says why each endpoint did or did not get an event. The tenant is needed
// only if several tenants have an event with this id.
func (c *Client) Explain(ctx context.Context, id, tenant string) (Explanation, error) {
	return get[Explanation](ctx, c, "/v1/events/"+url.PathEscape(id)+"/explain"+ofTenant(tenant))
}

// ResendEvent asks for one more attempt of an event. The tenant is needed only if
// several tenants have an event with this id.
func (c *Client) ResendEvent(ctx context.Context, id, tenant string, r Resend) (Resent, error) {
	return post[Resent](ctx, c, "/v1/events/"+url.PathEscape(id)+"/resend"+ofTenant(tenant), r)
}

func ofTenant(tenant string) string {
	if tenant == "" {
		return ""
	}
	return "?tenant=" + url.QueryEscape(tenant)
}

// RevealSecret shows the signing secret in force again, if the server's operator
// allows that; every use is logged there.
func (c *Client) RevealSecret(ctx context.Context, id string) (RevealedSecret, error) {
	return post[RevealedSecret](ctx, c, "/v1/endpoints/"+url.PathEscape(id)+"/secret/reveal", nil)
}

// EndpointStats returns numbers about an endpoint.
func (c *Client) EndpointStats(ctx context.Context, id string) (EndpointStats, error) {
	return get[EndpointStats](ctx, c, "/v1/endpoints/"+url.PathEscape(id)+"/stats")
}

// Status answers the health routes.
type Status struct {
	Status string `json:"status"`
	Detail string `json:"detail,omitzero" doc:"What is wrong although requests are accepted."`
}

// Alive asks whether the server's process lives. It needs no key.
func (c *Client) Alive(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/healthz")
}

// Ready asks whether the server accepts requests now. It needs no key.
func (c *Client) Ready(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/readyz")
}

// OpenAPI returns the server's OpenAPI document. It needs no key.
func (c *Client) OpenAPI(ctx context.Context) (json.RawMessage, error) {
	return get[json.RawMessage](ctx, c, "/openapi.json")
}
