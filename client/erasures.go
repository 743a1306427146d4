package client

import (
	"context"
	"iter"
	"net/url"
)

// States of an [Erasure].
const (
	ErasureRunning = "running"
	ErasureDone    = "done"
)

// NewErasure names what to erase: a tenant of both modes, or one event. It cannot be undone.
type NewErasure struct {
	Tenant string `json:"tenant,omitempty" doc:"The tenant to erase, in both modes. With event: the tenant of the event, needed only if several tenants have an event with this id."`
	Event  string `json:"event,omitempty" doc:"The id of the event to erase."`
}

// Erasure is a job that erases a tenant or an event, and its receipt.
type Erasure struct {
	ID        string           `json:"id" format:"uuid" doc:"The id of the erasure."`
	Mode      string           `json:"mode" enum:"test,live" doc:"The mode of the key that asked for it."`
	Tenant    string           `json:"tenant" doc:"The tenant that is erased, or that the event belonged to."`
	Event     *string          `json:"event" format:"uuid" doc:"The event that is erased; the UUID made of its id if that is none. null: the whole tenant."`
	State     string           `json:"state" enum:"running,done" doc:"Where it stands. An erasure cannot be stopped."`
	Step      *string          `json:"step" doc:"What it works on. null: it is done."`
	Removed   map[string]int64 `json:"removed" nullable:"false" doc:"Rows removed so far, by table. For stat_log: counts in rows of it. For audit: entries from which whom they were about was removed."`
	Rows      int64            `json:"rows" doc:"The sum of removed."`
	Kept      []string         `json:"kept" nullable:"false" doc:"What an erasure leaves, as sentences."`
	By        AuditActor       `json:"by" doc:"Who asked for it."`
	Message   string           `json:"message" doc:"How it stands, as a sentence."`
	CreatedAt Time             `json:"created_at" doc:"When it was asked for."`
	UpdatedAt Time             `json:"updated_at" doc:"When it last moved."`
	EndedAt   *Time            `json:"ended_at" doc:"When it was done. The receipt is kept for five years after that."`
}

// ErasureQuery selects erasures.
type ErasureQuery struct {
	ListOptions
	Tenant string `query:"tenant"`
	State  string `query:"state"` // such as ErasureRunning
}

// Erase starts to erase a tenant or an event. If that is being erased, or was erased before
// and is gone, the result is that erasure.
func (c *Client) Erase(ctx context.Context, n NewErasure) (Erasure, error) {
	return post[Erasure](ctx, c, "/v1/erasures", n)
}

// Erasures returns one page of erasures, newest first.
func (c *Client) Erasures(ctx context.Context, q ErasureQuery) (Page[Erasure], error) {
	return get[Page[Erasure]](ctx, c, "/v1/erasures"+queryOf(q))
}

// AllErasures iterates over all pages of Erasures.
func (c *Client) AllErasures(ctx context.Context, q ErasureQuery) iter.Seq2[Erasure, error] {
	return all(&q.Cursor, func() (Page[Erasure], error) { return c.Erasures(ctx, q) })
}

// Erasure returns one erasure.
func (c *Client) Erasure(ctx context.Context, id string) (Erasure, error) {
	return get[Erasure](ctx, c, "/v1/erasures/"+url.PathEscape(id))
}

// Reclaimed is the result of giving free space of the database back to the file system.
type Reclaimed struct {
	FreedBytes int64   `json:"freed_bytes" doc:"Bytes that this call gave back."`
	LeftBytes  int64   `json:"left_bytes" doc:"Free bytes that another call would give back."`
	SizeBytes  int64   `json:"size_bytes" doc:"Size of the database now."`
	Kept       *string `json:"kept" doc:"Why free space stays in the database. null: it does not."`
}

// Reclaim gives free space of the database back to the file system, at most 64 MiB a call.
// Call it again while LeftBytes is not 0.
func (c *Client) Reclaim(ctx context.Context) (Reclaimed, error) {
	return act[Reclaimed](ctx, c, "/v1/reclaim")
}
