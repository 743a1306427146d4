package client

import (
	"context"
	"net/url"
)

// RetentionTimes are durations such as "720h". null means that there is no end.
type RetentionTimes struct {
	Payloads *string `json:"payloads" doc:"How long the data of an event is kept after its last delivery has ended. null: as long as the event."`
	Answers  *string `json:"answers" doc:"How long the answer of a receiver is kept after its attempt. null: as long as the event."`
	Events   *string `json:"events" doc:"How long everything else of an event is kept after its last delivery has ended. null: for ever."`
}

// TenantRetention is how long a tenant keeps its data in one mode.
type TenantRetention struct {
	Tenant   string         `json:"tenant" doc:"The tenant."`
	Mode     string         `json:"mode" enum:"test,live" doc:"The mode that the times are for: that of the key."`
	Payloads *string        `json:"payloads" doc:"The tenant's own time for the data of events. null: that of the server."`
	Answers  *string        `json:"answers" doc:"The tenant's own time for the answers of receivers. null: that of the server."`
	Events   *string        `json:"events" doc:"The tenant's own time for everything else of an event. null: that of the server."`
	InForce  RetentionTimes `json:"in_force" doc:"What counts: of the tenant's time and the server's the shorter one."`
}

// TenantRetentionPatch describes changes to the retention of a tenant. A time is never
// longer than that of the server.
type TenantRetentionPatch struct {
	Payloads Optional[string] `json:"payloads,omitzero" doc:"0s, which removes the data when the last delivery has ended, or longer, at most the server's --retention-payloads. null: that of the server."`
	Answers  Optional[string] `json:"answers,omitzero" doc:"0s or longer, at most the server's --retention-answers. null: that of the server."`
	Events   Optional[string] `json:"events,omitzero" doc:"24h or longer, at most the server's --retention. null: that of the server."`
}

// DiskBytes are estimated bytes of events, by class.
type DiskBytes struct {
	Payloads int64 `json:"payloads" doc:"Data of events, an estimate."`
	Metadata int64 `json:"metadata" doc:"Events without their data, and deliveries, an estimate."`
	Attempts int64 `json:"attempts" doc:"Attempts with the answers of receivers, an estimate."`
}

// DiskClasses are the parts of the store, in bytes. All but Free add up to UsedBytes.
type DiskClasses struct {
	DiskBytes
	Audit      int64 `json:"audit" doc:"The audit log. On SQLite it counts up to 240 MB."`
	Statistics int64 `json:"statistics" doc:"Statistics in buckets of time. On SQLite they count up to 160 MB."`
	Other      int64 `json:"other" doc:"Indexes, other tables, what pages hold besides rows, and events of before the server counted them."`
	Log        int64 `json:"log" doc:"SQLite's log, which is not in the database file yet."`
	Free       int64 `json:"free" doc:"What SQLite will use again inside its file. PostgreSQL does not tell."`
}

// TenantDisk is what a tenant takes.
type TenantDisk struct {
	Tenant string `json:"tenant" doc:"The tenant."`
	DiskBytes
	Total int64 `json:"total" doc:"The sum."`
}

// Disk is what the store takes on disk. Both modes share it; tenants are those of the key's
// mode.
type Disk struct {
	At           Time         `json:"at" doc:"When it was measured. A measurement is shown for 10 seconds or more."`
	UsedBytes    int64        `json:"used_bytes" doc:"What is in use, with indexes and the log. The budget is about it."`
	FileBytes    int64        `json:"file_bytes" doc:"The size of the files. What is free in them is used again."`
	BudgetBytes  *int64       `json:"budget_bytes" doc:"The server's --disk-budget. null: none."`
	State        string       `json:"state" enum:"ok,warning,full" doc:"warning: 80 % of the budget is used. full: all of it, and publishing is refused until less than 95 % is used."`
	GrowthPerDay *int64       `json:"growth_bytes_per_day" doc:"By how much used_bytes grew a day, on average over the last 7 days, or since the first hour that is known. null: not known yet."`
	OldestEvent  *Time        `json:"oldest_event_at" doc:"When the oldest event was accepted. null: there is none."`
	Classes      DiskClasses  `json:"classes" doc:"The parts of it."`
	Tenants      []TenantDisk `json:"tenants" nullable:"false" doc:"The tenants that take most, of the key's mode, at most 100; or the one that was asked for."`
}

// TenantRetention returns how long a tenant keeps its data in the key's mode.
func (c *Client) TenantRetention(ctx context.Context, tenant string) (TenantRetention, error) {
	return get[TenantRetention](ctx, c, "/v1/tenants/"+url.PathEscape(tenant)+"/retention")
}

// UpdateTenantRetention changes how long a tenant keeps its data in the key's mode. What is
// older is removed within the hour, and cannot be restored.
func (c *Client) UpdateTenantRetention(ctx context.Context, tenant string, p TenantRetentionPatch) (TenantRetention, error) {
	return patch[TenantRetention](ctx, c, "/v1/tenants/"+url.PathEscape(tenant)+"/retention", p)
}

// Disk returns what the store takes on disk, and of which tenants. With a tenant, it is the
// only one that is listed.
func (c *Client) Disk(ctx context.Context, tenant string) (Disk, error) {
	return get[Disk](ctx, c, "/v1/disk"+ofTenant(tenant))
}
