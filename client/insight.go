package client

import (
	"context"
	"encoding/json"
	"net/url"
)

// Explanation reports for each endpoint of an event's tenant why it did or did not receive
// the event.
type Explanation struct {
	Event      string              `json:"event" doc:"The id of the event, as you gave it or as the server made it."`
	Tenant     string              `json:"tenant" doc:"The tenant of the event."`
	Mode       string              `json:"mode" enum:"test,live" doc:"The mode of the event."`
	Type       string              `json:"type" doc:"The type of the event."`
	Channels   []string            `json:"channels,omitempty" nullable:"false" doc:"The channels of the event. Absent: none."`
	AcceptedAt Time                `json:"accepted_at" doc:"When the server accepted the event."`
	Endpoints  []ExplainedEndpoint `json:"endpoints" nullable:"false" doc:"The tenant's endpoints, those deleted since included."`
	More       bool                `json:"more" doc:"The tenant has more endpoints than the 1,000 shown."`
	OtherMode  bool                `json:"other_mode" doc:"The tenant has endpoints in the other mode; they never get events of this one."`
}

// ExplainedEndpoint reports why one endpoint did or did not receive an event. URL and
// EventTypes are as they were when the event was accepted.
type ExplainedEndpoint struct {
	Endpoint   string    `json:"endpoint" format:"uuid" doc:"The id of the endpoint."`
	URL        *string   `json:"url" doc:"Its URL when the event was accepted. null: not known."`
	EventTypes []string  `json:"event_types" nullable:"false" doc:"Its filter when the event was accepted."`
	Channels   []string  `json:"channels,omitempty" nullable:"false" doc:"The channels that it listened to when the event was accepted. Absent: to all events."`
	Reason     string    `json:"reason" enum:"matched,resent,test,type,channel,disabled,deleted,not_created,unknown" doc:"Why it did or did not get the event, a stable word."`
	Message    string    `json:"message" doc:"The same as a sentence."`
	Delivery   *Delivery `json:"delivery" doc:"The delivery, if the endpoint got one. null: it did not."`
	WaitsFor   *string   `json:"waits_for" enum:"cap,rate_limit,retry_after,host_in_flight,host_rate,tenant_share,server_fault,turn" doc:"What a pending delivery that is due waits for, as far as the node that was asked knows; null: nothing is known. message says it in words."`
}

// Resend requests one more attempt of an event, either to one Endpoint or to every
// endpoint that matches the event now.
type Resend struct {
	Endpoint string `json:"endpoint,omitempty" format:"uuid" doc:"To this endpoint only, whatever its filter. Absent: to each that wants the event now."`
}

// Resent reports what a resend requested. Existing deliveries are reused.
type Resent struct {
	Event      string     `json:"event" doc:"The id of the event, as you gave it or as the server made it."`
	Deliveries []Delivery `json:"deliveries" nullable:"false" doc:"The deliveries that get one more attempt."`
	Created    int        `json:"created" doc:"Of the deliveries, those that did not exist before."`
	Skipped    int        `json:"skipped" doc:"Endpoints disabled by failures that have a delivery already: enable them first."`
}

// RevealedSecret is the current signing secret of an endpoint.
type RevealedSecret struct {
	Secret    string `json:"secret" doc:"The signing secret in force."`
	CreatedAt Time   `json:"created_at" doc:"When this secret was made."`
}

// Counts are the numbers of deliveries by state.
type Counts struct {
	Pending   int `json:"pending" doc:"An attempt is due, now or later."`
	Held      int `json:"held" doc:"They wait until the endpoint is enabled."`
	Succeeded int `json:"succeeded" doc:"The receiver has them."`
	Failed    int `json:"failed" doc:"Given up."`
	Cancelled int `json:"cancelled" doc:"Stopped by hand, or with their endpoint."`
}

// RecentStats cover the latest deliveries of an endpoint: at most 1,000 deliveries, from
// at most the tenant's latest 10,000 events, with at most 5,000 attempts.
type RecentStats struct {
	Since        *Time          `json:"since" doc:"Acceptance of the oldest delivery looked at."`
	Deliveries   Counts         `json:"deliveries" doc:"The deliveries that were looked at, by state."`
	Attempts     int            `json:"attempts" doc:"The attempts that were looked at."`
	SuccessRate  *float64       `json:"success_rate" doc:"Successful attempts of all attempts, 0 to 1; null without attempts."`
	LatencyP50MS *float64       `json:"latency_p50_ms" doc:"Half of the attempts took no longer than this, in milliseconds. null: no attempts."`
	LatencyP95MS *float64       `json:"latency_p95_ms" doc:"95 in 100 attempts took no longer than this, in milliseconds. null: no attempts."`
	Errors       map[string]int `json:"errors" doc:"Failed attempts by their class."`
}

// EndpointStats are the statistics of an endpoint. Test events are not counted. A count of
// 100,000 means that many or more.
type EndpointStats struct {
	Endpoint        string         `json:"endpoint" format:"uuid" doc:"The id of the endpoint."`
	Pending         int            `json:"pending" doc:"Now."`
	Held            int            `json:"held" doc:"Now."`
	Failed          int            `json:"failed" doc:"All that are kept."`
	OldestPendingAt *Time          `json:"oldest_pending_at" doc:"When the oldest pending delivery was made. null: none is pending."`
	Recent          RecentStats    `json:"recent" doc:"About the latest deliveries."`
	OldestPending   *OldestPending `json:"oldest_pending" doc:"The oldest pending delivery and what it waits for. null: none is pending."`
	Buckets
	Pace *Pace `json:"pace" doc:"How attempts go now, on the node that was asked; null if it has nothing of the endpoint in memory."`
}

// Pace describes how attempts to an endpoint are progressing on one node at one moment.
type Pace struct {
	InFlight  int     `json:"in_flight" doc:"Attempts under way."`
	Cap       int     `json:"cap" doc:"Attempts at once that the endpoint is given now. It starts at 2, grows by one with each success while it is reached, falls to 1 on a timeout and to half on 429, 502, 503, 504 or a broken connection."`
	Limit     int     `json:"limit" doc:"To which the cap grows: the node's part of max_in_flight."`
	LoweredBy *string `json:"cap_lowered_by" doc:"Class of the attempt that lowered the cap last; null if none did, or the cap has grown to its limit since."`
	Waiting   int     `json:"waiting" doc:"Deliveries that wait in memory; others may wait in the store."`
	WaitsFor  *string `json:"waits_for" enum:"cap,rate_limit,retry_after,host_in_flight,host_rate,tenant_share,server_fault,turn" doc:"What they wait for; null if none waits in memory."`
	NotBefore *Time   `json:"not_before" doc:"No attempt begins earlier; null: at once."`
	Message   string  `json:"message" doc:"The same in words; empty if there is nothing to say."`
}

// Explain reports why each endpoint did or did not receive an event. The tenant is needed
// only if several tenants have an event with this id.
func (c *Client) Explain(ctx context.Context, id, tenant string) (Explanation, error) {
	return get[Explanation](ctx, c, "/v1/events/"+url.PathEscape(id)+"/explain"+ofTenant(tenant))
}

// ResendEvent requests one more attempt of an event. The tenant is needed only if several
// tenants have an event with this id.
func (c *Client) ResendEvent(ctx context.Context, id, tenant string, r Resend) (Resent, error) {
	return post[Resent](ctx, c, "/v1/events/"+url.PathEscape(id)+"/resend"+ofTenant(tenant), r)
}

func ofTenant(tenant string) string {
	if tenant == "" {
		return ""
	}
	return "?tenant=" + url.QueryEscape(tenant)
}

// RevealSecret returns the current signing secret of an endpoint, if the server's operator
// allows it. The server logs every use.
func (c *Client) RevealSecret(ctx context.Context, id string) (RevealedSecret, error) {
	return act[RevealedSecret](ctx, c, "/v1/endpoints/"+url.PathEscape(id)+"/secret/reveal")
}

// EndpointStats returns the statistics of an endpoint. The buckets cover span; without one
// they cover the last hour.
func (c *Client) EndpointStats(ctx context.Context, id string, span ...StatsSpan) (EndpointStats, error) {
	query := ""
	if len(span) > 0 {
		query = queryOf(span[0])
	}
	return get[EndpointStats](ctx, c, "/v1/endpoints/"+url.PathEscape(id)+"/stats"+query)
}

// Status is the response of the health routes.
type Status struct {
	Status string `json:"status" doc:"ok: the process lives. ready: requests are accepted."`
	Detail string `json:"detail,omitzero" doc:"What is wrong although requests are accepted."`
}

// Alive reports whether the server's process is running. It needs no key.
func (c *Client) Alive(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/healthz")
}

// Ready reports whether the server currently accepts requests. It needs no key.
func (c *Client) Ready(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/readyz")
}

// OpenAPI returns the server's OpenAPI document. It needs no key.
func (c *Client) OpenAPI(ctx context.Context) (json.RawMessage, error) {
	return get[json.RawMessage](ctx, c, "/openapi.json")
}
