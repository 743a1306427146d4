package client

import (
	"context"
	"iter"
	"net/url"
)

// Sources of a [Replay].
const (
	ReplayFailed  = "failed"  // deliveries that failed
	ReplayAll     = "all"     // deliveries in any state
	ReplayMissing = "missing" // events that match the endpoint now, but for which it never got a delivery
)

// States of a [Replay].
const (
	ReplayRunning   = "running"
	ReplayPaused    = "paused"
	ReplayDone      = "done"
	ReplayCancelled = "cancelled"
	ReplayGivenUp   = "failed" // the endpoint was deleted
	ReplayDryRun    = "dry_run"
)

// NewReplay describes a replay to create: a job that sends previously accepted events to one
// endpoint again.
type NewReplay struct {
	Endpoint    string   `json:"endpoint" format:"uuid" doc:"The endpoint that gets it. No other gets anything."`
	Source      string   `json:"source,omitempty" enum:"failed,all,missing" doc:"failed, the default: deliveries that failed. all: deliveries in any state. missing: events that the endpoint wants now and never got, because it was disabled by hand, was made later, or had another filter."`
	EventTypes  []string `json:"event_types,omitempty" doc:"Only these types, 1 to 100 entries as in the filter of an endpoint. Absent: every type."`
	Channel     string   `json:"channel,omitempty" doc:"Only events that were published to this channel. Absent: all."`
	State       string   `json:"state,omitempty" enum:"pending,held,succeeded,failed,cancelled" doc:"Only deliveries in this state. With source all."`
	StatusClass string   `json:"status_class,omitempty" enum:"2xx,3xx,4xx,5xx" doc:"Only deliveries whose last answer has a status of this class. Not with source missing."`
	Error       string   `json:"error,omitempty" doc:"Only deliveries whose last attempt failed with this class: last_error. Not with source missing."`
	After       *Time    `json:"after,omitempty" doc:"Only events accepted at or after this time."`
	Before      *Time    `json:"before,omitempty" doc:"Only events accepted before this time. Absent: until now."`
	Order       string   `json:"order,omitempty" enum:"oldest,newest" doc:"What goes first. Absent: oldest."`
	Rate        *float64 `json:"rate,omitempty" doc:"Deliveries a second, 0.1 to 1000. Absent: 50. The endpoint's own limits hold beside it."`
	Hold        bool     `json:"hold,omitempty" doc:"Wait while the endpoint is disabled, instead of being refused or paused."`
	DryRun      bool     `json:"dry_run,omitempty" doc:"Only count and show a sample; nothing is sent or stored."`
}

// Replay is a job that sends previously accepted events to one endpoint again. Each match is
// counted as one of Requested, Created and Skipped. Each requested attempt is counted as one
// of Pending, Delivered, Failed and Dropped.
type Replay struct {
	ID          *string       `json:"id" format:"uuid" doc:"The id of the replay. null: a dry run."`
	Tenant      string        `json:"tenant" doc:"The tenant of the endpoint."`
	Mode        string        `json:"mode" enum:"test,live" doc:"The mode of the endpoint."`
	Endpoint    string        `json:"endpoint" format:"uuid" doc:"The endpoint that gets it."`
	Source      string        `json:"source" enum:"failed,all,missing" doc:"What is looked at."`
	EventTypes  []string      `json:"event_types" nullable:"false" doc:"Only these types. Empty: every type."`
	Channel     *string       `json:"channel" doc:"Only events that were published to this channel. null: all."`
	OfState     *string       `json:"of_state" enum:"pending,held,succeeded,failed,cancelled" doc:"Only deliveries in this state: state of the request."`
	StatusClass *string       `json:"status_class" doc:"Only deliveries whose last answer is of this class."`
	Error       *string       `json:"error" doc:"Only deliveries whose last attempt failed with this class."`
	After       *Time         `json:"after" doc:"Only events accepted at or after this time."`
	Before      *Time         `json:"before" doc:"Only events accepted before this time."`
	Order       string        `json:"order" enum:"oldest,newest" doc:"What goes first."`
	Rate        float64       `json:"rate" doc:"Deliveries a second, at most."`
	Hold        bool          `json:"hold" doc:"Whether it waits while the endpoint is disabled."`
	State       string        `json:"state" enum:"running,paused,done,cancelled,failed,dry_run" doc:"Where it stands. failed: the endpoint was deleted."`
	Reason      *string       `json:"reason" enum:"endpoint_disabled,endpoint_deleted" doc:"Why it was paused or failed by itself."`
	WaitsFor    *string       `json:"waits_for" enum:"endpoint" doc:"endpoint: it waits until the endpoint is enabled."`
	Total       int           `json:"total" doc:"Matches counted before it began, at most 100,000."`
	TotalExact  bool          `json:"total_exact" doc:"false: the count stopped at its bound, and there may be more."`
	Processed   int           `json:"processed" doc:"Matches that were dealt with: requested, created and skipped."`
	Requested   int           `json:"requested" doc:"Deliveries that get one more attempt."`
	Created     int           `json:"created" doc:"Deliveries that were made, with the endpoint's retry plan."`
	Skipped     int           `json:"skipped" doc:"Matches that did not match any more when their turn came, had an attempt asked for already, or whose data was removed by retention."`
	Pending     int           `json:"pending" doc:"Of the requested attempts, those not made yet."`
	Delivered   int           `json:"delivered" doc:"Of the requested attempts, those that succeeded."`
	Failed      int           `json:"failed" doc:"Of the requested attempts, those that failed. Their deliveries are as they were."`
	Dropped     int           `json:"dropped" doc:"Of the requested attempts, those that were not made: the replay or the delivery was cancelled."`
	Estimated   *Time         `json:"estimated_end_at" doc:"When it will have dealt with all matches, at the pace so far. null: not known, or it does not run."`
	PayloadGone int           `json:"payload_gone,omitempty" doc:"In a dry run: events that match but whose data was removed by retention. They are not sent. In a replay they count as skipped."`
	Message     string        `json:"message" doc:"How it stands, as a sentence."`
	Sample      []ReplayMatch `json:"sample,omitempty" doc:"The first matches, at most 10; in a dry run only."`
	CreatedAt   *Time         `json:"created_at" doc:"When it was made. null: a dry run."`
	UpdatedAt   *Time         `json:"updated_at" doc:"When it last moved."`
	EndedAt     *Time         `json:"ended_at" doc:"When it was done, cancelled, or failed. It is kept for 90 days after that."`
}

// ReplayMatch is an event that a replay would send.
type ReplayMatch struct {
	Event      string  `json:"event" doc:"The id of the event, as you gave it or as the server made it."`
	EventType  string  `json:"event_type" doc:"The type of the event."`
	AcceptedAt Time    `json:"accepted_at" doc:"When the event was accepted."`
	State      *string `json:"state" enum:"pending,held,succeeded,failed,cancelled" doc:"State of its delivery. null: there is none."`
	LastStatus *int    `json:"last_status" doc:"Status of the last answer. null: none came."`
	LastError  *string `json:"last_error" doc:"Class of the last attempt's failure."`
}

// ReplayQuery selects replays.
type ReplayQuery struct {
	ListOptions
	Tenant   string `query:"tenant"` // optional for a tenant key
	Endpoint string `query:"endpoint"`
	State    string `query:"state"` // such as ReplayRunning
}

// CreateReplay starts a replay, or with DryRun counts what it would send.
func (c *Client) CreateReplay(ctx context.Context, r NewReplay) (Replay, error) {
	return post[Replay](ctx, c, "/v1/replays", r)
}

// Replays returns one page of replays, newest first.
func (c *Client) Replays(ctx context.Context, q ReplayQuery) (Page[Replay], error) {
	return get[Page[Replay]](ctx, c, "/v1/replays"+queryOf(q))
}

// AllReplays iterates over all pages of Replays.
func (c *Client) AllReplays(ctx context.Context, q ReplayQuery) iter.Seq2[Replay, error] {
	return all(&q.Cursor, func() (Page[Replay], error) { return c.Replays(ctx, q) })
}

// Replay returns one replay.
func (c *Client) Replay(ctx context.Context, id string) (Replay, error) {
	return get[Replay](ctx, c, "/v1/replays/"+url.PathEscape(id))
}

// PauseReplay pauses a replay. Attempts that it has already requested are still made.
func (c *Client) PauseReplay(ctx context.Context, id string) (Replay, error) {
	return act[Replay](ctx, c, "/v1/replays/"+url.PathEscape(id)+"/pause")
}

// ResumeReplay resumes a paused replay where it stopped.
func (c *Client) ResumeReplay(ctx context.Context, id string) (Replay, error) {
	return act[Replay](ctx, c, "/v1/replays/"+url.PathEscape(id)+"/resume")
}

// CancelReplay cancels a replay.
func (c *Client) CancelReplay(ctx context.Context, id string) (Replay, error) {
	return act[Replay](ctx, c, "/v1/replays/"+url.PathEscape(id)+"/cancel")
}

// MatchRequest asks which endpoints would receive an event.
type MatchRequest struct {
	Tenant   string   `json:"tenant,omitempty" doc:"Required, unless the key is of one tenant: then it is that one."`
	Type     string   `json:"type" doc:"The type of the event."`
	Channels []string `json:"channels,omitempty" doc:"The channels of the event, 1 to 10. Absent: none."`
}

// Match lists the endpoints that would receive an event if it were published now.
type Match struct {
	Tenant    string             `json:"tenant" doc:"The tenant that was asked about."`
	Type      string             `json:"type" doc:"The type that was asked about."`
	Count     int                `json:"count" doc:"How many endpoints would get it. 0: none."`
	Endpoints []MatchingEndpoint `json:"endpoints" nullable:"false" doc:"The first 100 of them."`
}

// MatchingEndpoint is an endpoint that would receive the event.
type MatchingEndpoint struct {
	Endpoint string `json:"endpoint" format:"uuid" doc:"The id of the endpoint."`
	Held     bool   `json:"held" doc:"It is disabled by failures: its delivery would be held until it is enabled."`
}

// MatchEvent returns the endpoints that would receive an event of a type. Nothing is stored.
func (c *Client) MatchEvent(ctx context.Context, r MatchRequest) (Match, error) {
	var out Match
	err := c.Do(ctx, "POST", "/v1/events/match", "", r, &out)
	return out, err
}
