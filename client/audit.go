package client

import (
	"context"
	"iter"
	"time"
)

// AuditEntry records who did what to which object, and with what result.
type AuditEntry struct {
	ID        string      `json:"id" format:"uuid" doc:"The id of the entry."`
	At        Time        `json:"at" doc:"When it was done."`
	Mode      string      `json:"mode" enum:"test,live" doc:"The mode in which it was done."`
	Tenant    *string     `json:"tenant" doc:"Whose object it is. null: no tenant's."`
	Actor     AuditActor  `json:"actor" doc:"Who did it."`
	RequestID *string     `json:"request_id" doc:"The id of the request. null: not done by a request, or not shown to this key."`
	Act       string      `json:"act" doc:"What was done, a stable word."`
	Object    string      `json:"object" doc:"The kind of the object."`
	ObjectID  *string     `json:"object_id" doc:"The id of the object."`
	Outcome   string      `json:"outcome" doc:"ok, or the code of the error."`
	Detail    *string     `json:"detail" doc:"More about it, such as the members that were changed. Never a value of them."`
	Chain     *AuditPlace `json:"chain" doc:"The place in the chain of hashes. null: not shown to this key."`
}

// AuditActor identifies the caller behind an entry.
type AuditActor struct {
	Kind    string  `json:"kind" enum:"operator,publisher,tenant,portal,posthorn" doc:"The kind of the key; portal: a session of the customer portal; posthorn: the server itself."`
	ID      *string `json:"id" doc:"The id of the key; bootstrap: the key from the configuration. null: an operator's, not shown to tenants."`
	Address *string `json:"address" doc:"The address that the connection came from. null: not known, or not shown to this key."`
}

// AuditPlace is the position of an entry in its chain.
type AuditPlace struct {
	Number   int64  `json:"number" doc:"The chain: 0 on SQLite; on PostgreSQL each registration of a node has one."`
	Sequence int64  `json:"sequence" doc:"The place in the chain, from 1 on."`
	Hash     string `json:"hash" doc:"The SHA-256 over the hash before and the entry, in hexadecimal."`
}

// AuditQuery selects entries of the audit log. After is inclusive, Before is exclusive.
type AuditQuery struct {
	ListOptions
	Tenant   string    `query:"tenant"` // optional for a tenant key
	Actor    string    `query:"actor"`
	Act      string    `query:"act"`
	Object   string    `query:"object"`
	ObjectID string    `query:"object_id"`
	After    time.Time `query:"after"`
	Before   time.Time `query:"before"`
}

// AuditEntries returns one page of the audit log, newest first.
func (c *Client) AuditEntries(ctx context.Context, q AuditQuery) (Page[AuditEntry], error) {
	return get[Page[AuditEntry]](ctx, c, "/v1/audit"+queryOf(q))
}

// AllAuditEntries iterates over the audit log, newest first, fetching pages as needed.
func (c *Client) AllAuditEntries(ctx context.Context, q AuditQuery) iter.Seq2[AuditEntry, error] {
	return all(&q.Cursor, func() (Page[AuditEntry], error) { return c.AuditEntries(ctx, q) })
}
