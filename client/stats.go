package client

import (
	"context"
	"net/url"
	"time"
)

// Quantiles are durations in milliseconds. Each differs from a measured duration by at most
// one part in 32.
type Quantiles struct {
	P50MS float64 `json:"p50_ms" doc:"Half of them took no longer than this."`
	P95MS float64 `json:"p95_ms" doc:"95 in 100 took no longer than this."`
	P99MS float64 `json:"p99_ms" doc:"99 in 100 took no longer than this."`
}

// Tally counts what happened in a span of time. Test events are not counted. An outcome
// belongs to the span in which it was recorded.
type Tally struct {
	Events       *int           `json:"events" doc:"Events that were accepted. null: these are the numbers of one endpoint."`
	Accepted     int            `json:"accepted" doc:"Deliveries that were made."`
	Delivered    int            `json:"delivered" doc:"Deliveries that succeeded."`
	FirstTry     int            `json:"first_try" doc:"Of the delivered ones, those whose first attempt succeeded."`
	GivenUp      int            `json:"given_up" doc:"Deliveries that became failed. One that a retry by hand delivers later counts as delivered too."`
	Attempts     int            `json:"attempts" doc:"Attempts that were made."`
	Errors       map[string]int `json:"errors" doc:"Failed attempts by their class."`
	AttemptTime  *Quantiles     `json:"attempt_time" doc:"How long attempts took. null: there were none."`
	DeliveryTime *Quantiles     `json:"delivery_time" doc:"From the acceptance of a delivery until it had succeeded. null: none succeeded."`
}

// StatsBucket is the tally of one step.
type StatsBucket struct {
	Start Time `json:"start" doc:"The first moment of the bucket."`
	Tally
}

// Buckets are tallies of consecutive spans of equal length, without gaps.
type Buckets struct {
	From    Time          `json:"from" doc:"Start of the first bucket: a multiple of step, in UTC."`
	To      Time          `json:"to" doc:"End of the last bucket."`
	Step    string        `json:"step" enum:"1m,5m,15m,1h,6h,1d" doc:"Length of a bucket."`
	Total   Tally         `json:"total" doc:"All buckets together."`
	Buckets []StatsBucket `json:"buckets" nullable:"false" doc:"The buckets, oldest first. At most 1,500."`
}

// OldestPending is the pending delivery whose event was accepted first.
type OldestPending struct {
	Delivery      string  `json:"delivery" format:"uuid" doc:"The id of the delivery."`
	Endpoint      string  `json:"endpoint" format:"uuid" doc:"The id of its endpoint."`
	At            Time    `json:"at" doc:"When the delivery was made."`
	Attempts      int     `json:"attempts" doc:"Attempts so far."`
	NextAttemptAt *Time   `json:"next_attempt_at" doc:"When the next attempt is due. null: none is planned."`
	LastError     *string `json:"last_error" doc:"Class of the last attempt's failure. null: there was none."`
	WaitsFor      *string `json:"waits_for" enum:"retry,cap,rate_limit,retry_after,host_in_flight,host_rate,tenant_share,server_fault,turn" doc:"What it waits for, as far as the node that was asked knows; retry: the time of its next attempt. null: nothing is known."`
}

// Stats are the statistics of a mode, or of a tenant in that mode. A count of open
// deliveries of 100,000 means that many or more.
type Stats struct {
	Tenant        *string        `json:"tenant" doc:"The tenant. null: all of the mode."`
	Mode          string         `json:"mode" enum:"test,live" doc:"The mode."`
	Pending       int            `json:"pending" doc:"Deliveries that are pending now. For a mode they are counted among the first 100,000 of both modes."`
	Held          int            `json:"held" doc:"Deliveries that are held now."`
	OldestPending *OldestPending `json:"oldest_pending" doc:"The oldest of the pending deliveries that were counted. null: none is pending."`
	Buckets
}

// Count is a number of things that were counted up to a bound.
type Count struct {
	Count int  `json:"count" doc:"How many there are."`
	More  bool `json:"more" doc:"The bound was reached: there are that many or more."`
}

// DeliveryCounts are the deliveries that have not ended well, now. Pending and retrying ones are
// counted up to 1,000 together, held and failed ones up to 10,000 each. Those of a mode are
// counted among the first of both modes.
type DeliveryCounts struct {
	Pending  Count `json:"pending" doc:"Pending, not attempted yet."`
	Retrying Count `json:"retrying" doc:"Pending, after an attempt that failed."`
	Held     Count `json:"held" doc:"Held for an endpoint that gets nothing now."`
	Failed   Count `json:"failed" doc:"Failed: there will be no attempt any more."`
}

// StatsSpan is the period that statistics cover. The server chooses the zero members: the
// last hour, in steps that produce at most 120 buckets.
type StatsSpan struct {
	From time.Time `query:"from"`
	To   time.Time `query:"to"`
	Step string    `query:"step"` // 1m, 5m, 15m, 1h, 6h or 1d
}

// Stats returns the statistics of the key's mode, or with a tenant key those of its tenant.
func (c *Client) Stats(ctx context.Context, span StatsSpan) (Stats, error) {
	return get[Stats](ctx, c, "/v1/stats"+queryOf(span))
}

// TenantStats returns the statistics of a tenant in the key's mode.
func (c *Client) TenantStats(ctx context.Context, tenant string, span StatsSpan) (Stats, error) {
	return get[Stats](ctx, c, "/v1/tenants/"+url.PathEscape(tenant)+"/stats"+queryOf(span))
}
