package sqltext

import (
	"strconv"
	"strings"
)

// Table is a table that rows are inserted into on the hot path.
type Table struct {
	Name    string
	Columns string
	Kinds   string // one letter for each column: b bytes, i integer, t text
	One     string // the statement that inserts one row
	Arrays  string // the same for rows given as arrays of columns, for PostgreSQL
}

func newTable(name, columns, kinds string) *Table {
	t := &Table{Name: name, Columns: columns, Kinds: kinds}
	t.One = "INSERT INTO " + name + " (" + columns + ") VALUES (?" + strings.Repeat(", ?", len(kinds)-1) + ")"
	arrays := make([]string, len(kinds))
	for i, kind := range kinds {
		arrays[i] = "$" + strconv.Itoa(i+1) + "::" + arrayTypes[kind]
	}
	t.Arrays = "INSERT INTO " + name + " (" + columns + ") SELECT * FROM unnest(" + strings.Join(arrays, ", ") + ")"
	return t
}

var arrayTypes = map[rune]string{'b': "bytea[]", 'i': "int8[]", 't': "text[]"}

// The tables of the hot path.
var (
	Events = newTable("events",
		"id, mode, tenant, public_id, kind, type, created_at, accepted_at, data, checksum, channels", "bitbitiibit")
	Deliveries = newTable("deliveries",
		`event, endpoint, id, mode, tenant, type, kind, profile, state, reason, attempts, scheduled, due, last_status, last_error,
		created_at, settled_at, held_at, owner, fence`, "bbbittibitiiiitiiiii")
	Attempts = newTable("attempts",
		`event, endpoint, number, mode, tenant, at, duration_us, status, class, message, trigger_by, response_headers,
		response_body, truncated, timing`, "bbiitiiittibbib")
	EventIDs  = newTable("event_ids", "mode, public_id, tenant, event, hash", "ibtbb")
	EventTags = newTable("event_tags", "event, name, value, mode, tenant", "bttit")
	OneShots  = newTable("oneshots", "event, endpoint, mode, tenant, trigger_by, requested_at, owner, replay", "bbitiiib")
	// Audit is not on the hot path, but its rows are also sent with the commit.
	Audit = newTable("audit",
		"chain, mode, seq, id, at, tenant, actor_kind, actor, address, request, act, object, object_id, outcome, detail, hash", "iiibittttttttttb")
	Answers = newTable("idempotency", "mode, tenant, route, key, body_hash, status, answer, created_at", "itttbibi")
)

// MovedNode is the name of a node in a database to which a store was moved. The work in
// progress belongs to it. It has left the cluster, so the first node that starts takes the
// work over.
const MovedNode = "moved from SQLite"
