package sqltext

import (
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
)

// Statements of retention by class. {in} stands for a list of events, see In.
const (
	// KeptOfAll and KeptOfTenant find the events of a page: after one id and below another.
	KeptOfAll    = "SELECT " + keptColumns + " FROM events e WHERE e.id > ? AND e.id < ? ORDER BY e.id LIMIT ?{lock}"
	KeptOfTenant = "SELECT " + keptColumns + " FROM events e WHERE e.mode = ? AND e.tenant = ? AND e.id > ? AND e.id < ? ORDER BY e.id LIMIT ?{lock}"
	KeptEvents   = "SELECT " + keptColumns + " FROM events e WHERE e.id IN ({in}) ORDER BY e.id{lock}"
	keptColumns  = "e.id, e.mode, e.tenant, e.accepted_at, length(e.data), coalesce(e.payload_removed_at, 0), length(e.type)"

	// KeptDeliveries reads what the deliveries of events need.
	KeptDeliveries = "SELECT d.event, d.endpoint, d.state, d.settled_at, d.attempts FROM deliveries d WHERE d.event IN ({in}) ORDER BY d.event, d.endpoint LIMIT ?{lock}"
	KeptShots      = "SELECT DISTINCT o.event FROM oneshots o WHERE o.event IN ({in})"

	// RemovePayloads leaves a checksum that no data has, so that a release that does not
	// know of removed payloads sends nothing.
	RemovePayloads = "UPDATE events SET data = {bytes}, checksum = -1, payload_removed_at = ? WHERE id IN ({in})"

	oldAnswers = " FROM attempts a WHERE a.event IN ({in}) AND a.at <= ? AND " + hasAnswer + " ORDER BY a.event, a.endpoint, a.number LIMIT ?"
	hasAnswer  = "(a.response_headers IS NOT NULL OR a.response_body IS NOT NULL)"
	// OldAnswers, RemoveAnswers and NewerAnswers are about the answers of attempts up to a
	// time, and after it.
	OldAnswers    = "SELECT a.event, coalesce(length(a.response_headers), 0) + coalesce(length(a.response_body), 0)" + oldAnswers
	RemoveAnswers = `UPDATE attempts SET response_headers = NULL, response_body = NULL, answer_removed_at = ?
		WHERE (event, endpoint, number) IN (SELECT a.event, a.endpoint, a.number` + oldAnswers + ")"
	NewerAnswers = "SELECT a.event, min(a.at) FROM attempts a WHERE a.event IN ({in}) AND a.at > ? AND " + hasAnswer + " GROUP BY a.event"

	KeptMark    = "SELECT keep, mark FROM retention_marks WHERE class = ? AND mode = ? AND tenant = ?{lock}"
	SetKeptMark = `INSERT INTO retention_marks (class, mode, tenant, keep, mark) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (class, mode, tenant) DO UPDATE SET keep = excluded.keep, mark = excluded.mark`

	// DueEvents finds the events that must be looked at again.
	DueEvents = "SELECT event, keep FROM retention_due WHERE class = ? AND due <= ? ORDER BY due LIMIT ?{lock}"
	NextDue   = "SELECT due FROM retention_due WHERE class = ? ORDER BY due LIMIT 1"
	ForgetDue = "DELETE FROM retention_due WHERE class = ? AND event IN ({in})"
	// LookAgain sets when events must be looked at again. {rows} are (class, event, due, keep).
	LookAgain = "INSERT INTO retention_due (class, event, due, keep) VALUES {rows} ON CONFLICT (class, event) DO UPDATE SET due = excluded.due"
	// LookLater is LookAgain for one event that may have a row, which then stays.
	LookLater = "INSERT INTO retention_due (class, event, due, keep) VALUES (?, ?, ?, -1) ON CONFLICT (class, event) DO NOTHING"

	// AddDisk adds to the bytes of tenants. {rows} are (mode, tenant, day, payloads, metadata,
	// attempts). ChangeDisk does so only if there is a row.
	ChangeDisk = "UPDATE disk_usage SET payloads = payloads + ?, metadata = metadata + ?, attempts = attempts + ? WHERE mode = ? AND tenant = ? AND day = ?"
	AddDisk    = `INSERT INTO disk_usage (mode, tenant, day, payloads, metadata, attempts) VALUES {rows} ON CONFLICT (mode, tenant, day) DO UPDATE SET
		payloads = disk_usage.payloads + excluded.payloads, metadata = disk_usage.metadata + excluded.metadata, attempts = disk_usage.attempts + excluded.attempts`
)

// DropKept are the statements that delete events with all their rows, in order.
var DropKept = []string{
	"DELETE FROM attempts WHERE event IN ({in})",
	"DELETE FROM deliveries WHERE event IN ({in})",
	"DELETE FROM event_ids WHERE {idkey} IN (SELECT {idcols} FROM events WHERE id IN ({in}) AND public_id IS NOT NULL)",
	"DELETE FROM event_tags WHERE event IN ({in})",
	"DELETE FROM events WHERE id IN ({in})",
}

// RetentionDue are the events with a retention of their own.
var RetentionDue = newTable("retention_due", "class, event, due, keep", "ibii")

// listSizes are the lengths of lists in statements. There are few, because each is another
// statement.
var listSizes = [...]int{1, 16, 64, 256}

// MostListed is the length of the longest list.
const MostListed = 256

// ListSize returns the length of the list for n values.
func ListSize(n int) int {
	for _, size := range listSizes {
		if n <= size {
			return size
		}
	}
	return MostListed
}

// In puts a list of n places for {in}. A shorter list is filled up by repeating a value.
func In(query string, n int) string {
	return strings.ReplaceAll(query, "{in}", "?"+strings.Repeat(", ?", n-1))
}

// RowChunk returns how many of n rows the next statement takes: the largest size of a list
// that is not more.
func RowChunk(n int) int {
	for i := len(listSizes) - 1; i > 0; i-- {
		if n >= listSizes[i] {
			return listSizes[i]
		}
	}
	return 1
}

// Rows puts n rows of so many places for {rows}.
func Rows(query string, n, columns int) string {
	row := "(?" + strings.Repeat(", ?", columns-1) + ")"
	return strings.ReplaceAll(query, "{rows}", row+strings.Repeat(", "+row, n-1))
}

// ListArgs returns ids as the arguments of a list, filled up with the last one.
func ListArgs(ids []hook.ID) []any {
	args := make([]any, ListSize(len(ids)))
	for i := range args {
		args[i] = ids[min(i, len(ids)-1)][:]
	}
	return args
}
