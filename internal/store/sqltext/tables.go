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
	// Usual are the values that most rows have. A statement with these values in its text
	// has fewer arguments to bind.
	Usual []Usual
}

// Usual is the value that most rows have in a column: an int64, an empty text, or nil.
type Usual struct {
	Column int // its place in Columns, from 0
	Value  any
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

// usually sets the usual values of columns.
func (t *Table) usually(values map[string]any) *Table {
	for i, column := range strings.Split(t.Columns, ",") {
		if value, ok := values[strings.TrimSpace(column)]; ok {
			t.Usual = append(t.Usual, Usual{i, value})
		}
	}
	return t
}

// IsUsual reports whether a row has all the usual values.
func (t *Table) IsUsual(row []any) bool {
	for _, u := range t.Usual {
		if row[u.Column] != u.Value {
			return false
		}
	}
	return true
}

// Unusual appends the values of a row that are not in the text of [Table.UsualRows].
func (t *Table) Unusual(dst, row []any) []any {
	next := 0
	for _, u := range t.Usual {
		dst = append(dst, row[next:u.Column]...)
		next = u.Column + 1
	}
	return append(dst, row[next:]...)
}

// UsualRows returns the statement that inserts n rows with the usual values.
func (t *Table) UsualRows(n int) string {
	places := strings.Split("?"+strings.Repeat(" ?", len(t.Kinds)-1), " ")
	for _, u := range t.Usual {
		switch v := u.Value.(type) {
		case int64:
			places[u.Column] = strconv.FormatInt(v, 10)
		case string:
			places[u.Column] = "''"
		default:
			places[u.Column] = "NULL"
		}
	}
	row := "(" + strings.Join(places, ", ") + ")"
	return "INSERT INTO " + t.Name + " (" + t.Columns + ") VALUES " + row + strings.Repeat(", "+row, n-1)
}

var arrayTypes = map[rune]string{'b': "bytea[]", 'i': "int8[]", 't': "text[]"}

// The tables of the hot path.
var (
	Events = newTable("events",
		"id, mode, tenant, public_id, kind, type, created_at, accepted_at, data, checksum, channels, deliver_at", "bitbitiibiti").
		usually(map[string]any{"public_id": nil, "kind": int64(0), "channels": nil, "deliver_at": nil})
	Deliveries = newTable("deliveries",
		`event, endpoint, id, mode, tenant, type, kind, profile, state, reason, attempts, scheduled, due, last_status, last_error,
		created_at, settled_at, held_at, owner, fence`, "bbbittibitiiiitiiiii").
		usually(map[string]any{"kind": int64(0), "state": int64(0), "reason": "", "attempts": int64(0), "scheduled": int64(0), "last_status": int64(0),
			"last_error": "", "settled_at": int64(0), "held_at": int64(0), "fence": int64(1)})
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
