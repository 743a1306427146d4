package sqltext

import "strings"

// ErasePage is how many events or endpoints a page of an erasure covers.
const ErasePage = 200

// Erased is a table from which an erasure removes rows. A new table with rows of tenants
// needs an entry in one of the lists below.
type Erased struct {
	Name   string
	Delete string // the statement; its last placeholder is for the most rows, unless Few
	Args   int    // how often Delete needs the ids, or the tenant
	Few    bool   // a page has at most one row for each of its ids
}

// The tables in the order in which an erasure empties them. What others lead to comes last.
var (
	// ErasedByEvent are the tables that the ids of a page of events lead to.
	ErasedByEvent = []Erased{
		byIDs("deliveries", "event, endpoint", "event"), // first, so that no outcome adds an attempt
		byIDs("attempts", "event, endpoint, number", "event"),
		byIDs("oneshots", "event, endpoint", "event"),
		byIDs("event_tags", "event, name", "event"),
		byIDs("retention_due", "class, event", "class IN (0, 1, 2) AND event"), // its index begins with the class
		{Name: "event_ids", Args: 1, Few: true, Delete: "DELETE FROM event_ids WHERE {idkey} IN (SELECT {idcols} FROM events WHERE id IN (" + eraseIDs + ") AND public_id IS NOT NULL)"},
		byID("events", "id"),
	}
	// ErasedByEndpoint are the tables that the ids of a page of endpoints lead to.
	ErasedByEndpoint = []Erased{
		byIDs("endpoint_revisions", "endpoint, revision", "endpoint"),
		byIDs("secrets", "endpoint, version", "endpoint"),
		byID("health", "endpoint"),
		byID("endpoints", "id"),
	}
	// ErasedByTenant are the other tables, with the rows of a tenant in both modes.
	ErasedByTenant = []Erased{
		byTenant("web_links", "hash", "session IN (SELECT id FROM web_sessions WHERE "+portalSessions+")"),
		byTenant("web_sessions", "id", portalSessions),
		byTenant("replays", "id", "mode IN (1, 2) AND tenant = ?"),
		byTenant("idempotency", "mode, tenant, route, key", "mode IN (1, 2) AND tenant = ?"),
		byTenant("oauth_tokens", "hash", "tenant = ?"),
		byTenant("partner_users", "id", "tenant = ? OR partner = ?"),
		byTenant("keys", "id", "mode IN (1, 2) AND tenant = ?"),
		byTenant("tenant_retention", "mode, tenant", "mode IN (1, 2) AND tenant = ?"),
		byTenant("retention_marks", "class, mode, tenant", "class IN (0, 1, 2) AND mode IN (1, 2) AND tenant = ?"),
		byTenant("disk_usage", "mode, tenant, day", "mode IN (1, 2) AND tenant = ?"),
	}
	// ErasedElsewhere names the tables that have steps of their own.
	ErasedElsewhere = []string{"alert_sums", "stat_log", "stats", "audit", "tenants"}
)

// portalSessions selects the sessions of a tenant's people. Those of operators have no tenant.
const portalSessions = "kind = 'portal' AND mode IN (1, 2) AND tenant = ?"

var eraseIDs = "?" + strings.Repeat(", ?", ErasePage-1)

func byID(name, id string) Erased {
	return Erased{Name: name, Args: 1, Few: true, Delete: "DELETE FROM " + name + " WHERE " + id + " IN (" + eraseIDs + ")"}
}

// byIDs repeats the condition, so that PostgreSQL examines the partitions of the ids only.
func byIDs(name, key, id string) Erased {
	where := id + " IN (" + eraseIDs + ")"
	return Erased{Name: name, Args: 2, Delete: "DELETE FROM " + name + " WHERE " + where + " AND (" + key + ") IN (SELECT " + key + " FROM " + name + " WHERE " + where + " LIMIT ?)"}
}

func byTenant(name, key, where string) Erased {
	return Erased{Name: name, Args: strings.Count(where, "?"),
		Delete: "DELETE FROM " + name + " WHERE (" + key + ") IN (SELECT " + key + " FROM " + name + " WHERE " + where + " LIMIT ?)"}
}

// ErasedLast returns a query for those rows of the last table that have one of {in} as id.
func ErasedLast(tables []Erased) string {
	return "SELECT id FROM " + tables[len(tables)-1].Name + " WHERE id IN ({in}) LIMIT 1"
}

// ErasedTables names all tables that an erasure of a tenant removes rows from.
func ErasedTables() (names []string) {
	for _, list := range [][]Erased{ErasedByEvent, ErasedByEndpoint, ErasedByTenant} {
		for i := range list {
			names = append(names, list[i].Name)
		}
	}
	return append(names, ErasedElsewhere...)
}
