// Package isolationtest tests the isolation between tenants and modes of an API (S-09,
// S-10): every route is called with every identity that must not have access.
//
// A route without a row fails. A response other than 401, 403 or 404 fails, unless the
// row states why it is lawful. No response may show anything of the victim, and no row
// of the victim may change. The control calls the same routes with the victim's own
// keys and must observe the opposite. The package knows no particular API: the test
// that mounts routes provides a [World].
package isolationtest

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// Identity is a caller.
type Identity struct {
	Name   string
	Header http.Header // its credentials
}

// Bearer returns an identity with the given key.
func Bearer(name, key string) Identity {
	return Identity{Name: name, Header: http.Header{"Authorization": {"Bearer " + key}}}
}

// Row is one call of a route. A route may have several.
type Row struct {
	Route   string // "METHOD /path/{id}", as in World.Routes
	Path    string // with the victim's ids filled in
	Body    string // JSON; empty: none
	Content string // media type of the body; empty: application/json

	// Owner names the victim's identity that may make this call. The control uses it,
	// and it is not foreign here. Empty: the route needs no key and shows nothing.
	Owner string
	// Lawful names the identities that may make this call for their own tenant, their
	// mode, or data that belongs to nobody. Any status is accepted, but what they see
	// and what changes is still checked. If one of them is the victim's own, it is not
	// called.
	Lawful []string
	// Inert states why the owner's call neither shows nor changes anything of the
	// victim.
	Inert string
}

// World is a server with a victim.
type World struct {
	Handler  http.Handler
	Routes   []string // all routes of the API
	Rows     []Row
	Foreign  []Identity
	Owners   []Identity // the victim's own
	Canaries []string   // texts that only the victim may see
	Hash     func() string
	// Audited returns the number of entries in the audit log. Control checks that each
	// call that writes adds one. It may be nil.
	Audited func() int
}

// Run calls every row as every foreign identity and reports the findings of Check as
// failures.
func Run(t *testing.T, w World) {
	t.Helper()
	findings := Check(w)
	for _, finding := range findings {
		t.Error(finding)
	}
	t.Logf("%d routes x %d identities, %d crossings", len(w.Routes), len(w.Foreign)+len(w.Owners), len(findings))
}

// Check calls every row as every foreign identity. It returns the violations of
// isolation and the routes without a row. An owner is foreign to the rows of the other
// owners.
func Check(w World) []string {
	var findings []string
	for _, route := range w.Routes {
		if !slices.ContainsFunc(w.Rows, func(r Row) bool { return r.Route == route }) {
			findings = append(findings, route+" has no row: say who may call it")
		}
	}
	before := w.Hash()
	for _, row := range w.Rows {
		for _, who := range append(slices.Clone(w.Foreign), w.Owners...) {
			if who.Name == row.Owner || w.owns(who) && slices.Contains(row.Lawful, who.Name) {
				continue
			}
			status, answer := w.call(row, who)
			found := w.judge(row, who, status, answer)
			if after := w.Hash(); after != before {
				found = append(found, fmt.Sprintf("rows of the victim changed (status %d)", status))
				before = after
			}
			for _, what := range found {
				findings = append(findings, fmt.Sprintf("%s %s as %s: %s", row.Route, row.Path, who.Name, what))
			}
		}
	}
	return findings
}

func (w World) owns(who Identity) bool {
	return slices.ContainsFunc(w.Owners, func(o Identity) bool { return o.Name == who.Name })
}

// judge returns what is wrong with a response to a foreign identity.
func (w World) judge(row Row, who Identity, status int, answer string) []string {
	var findings []string
	refused := status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusNotFound
	if !refused && row.Owner != "" && !slices.Contains(row.Lawful, who.Name) {
		findings = append(findings, fmt.Sprintf("status %d: %.200s", status, answer))
	}
	for _, canary := range w.Canaries {
		if strings.Contains(answer, canary) && !strings.Contains(row.Path+row.Body, canary) {
			findings = append(findings, fmt.Sprintf("the answer shows %q", canary))
		}
	}
	return findings
}

// Control calls every row as its owner, each in a world of its own. A GET must show a
// canary, and every other call must change rows. Without this control, the silence of
// Run would prove nothing.
func Control(t *testing.T, rows int, fresh func(t *testing.T) World) {
	t.Helper()
	for i := range rows {
		w := fresh(t)
		row := w.Rows[i]
		if row.Owner == "" || row.Inert != "" {
			continue
		}
		at := slices.IndexFunc(w.Owners, func(who Identity) bool { return who.Name == row.Owner })
		if at < 0 {
			t.Errorf("%s: there is no owner %q", row.Route, row.Owner)
			continue
		}
		before, audited := w.Hash(), 0
		if w.Audited != nil {
			audited = w.Audited()
		}
		status, answer := w.call(row, w.Owners[at])
		if w.Audited != nil && !strings.HasPrefix(row.Route, "GET ") {
			if n := w.Audited() - audited; n != 1 {
				t.Errorf("%s %s as its owner: %d entries in the audit log, want 1", row.Route, row.Path, n)
			}
		}
		if status/100 != 2 {
			t.Errorf("%s %s as its owner: %d %.300s", row.Route, row.Path, status, answer)
		}
		shows := slices.ContainsFunc(w.Canaries, func(c string) bool { return strings.Contains(answer, c) })
		if reads := strings.HasPrefix(row.Route, "GET "); reads && !shows || !reads && !shows && w.Hash() == before {
			t.Errorf("%s %s as its owner: nothing shown, nothing changed: %.300s", row.Route, row.Path, answer)
		}
	}
}

func (w World) call(row Row, who Identity) (int, string) {
	method, _, _ := strings.Cut(row.Route, " ")
	r := httptest.NewRequest(method, row.Path, strings.NewReader(row.Body))
	if row.Body != "" {
		content := row.Content
		if content == "" {
			content = "application/json"
		}
		r.Header.Set("Content-Type", content)
	}
	for name, values := range who.Header {
		r.Header[name] = values
	}
	answer := httptest.NewRecorder()
	w.Handler.ServeHTTP(answer, r)
	return answer.Code, answer.Body.String()
}

// AuditedRows returns a function that counts the entries of the audit log, except those
// of the store.
func AuditedRows(db *sql.DB) func() int {
	return func() int {
		n := -1
		_ = db.QueryRow("SELECT count(*) FROM audit WHERE actor_kind <> 'posthorn'").Scan(&n) // -1: the query failed
		return n
	}
}

// HashRows returns a digest of every row of a tenant in one mode (2 is live): of every
// table with a tenant column, of the tenant itself, and of every table that belongs to
// a mode as a whole. It leaves out the tables audit, stats and disk_usage.
func HashRows(db *sql.DB, tenant string, mode int) (string, error) {
	tables, err := column(db, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, table := range tables {
		columns, err := column(db, "SELECT name FROM pragma_table_info('"+table+"')")
		if err != nil {
			return "", err
		}
		// The store changes these in the background, when it processes sweeps and notes
		// uses of keys: no call of a caller does.
		columns = slices.DeleteFunc(columns, func(name string) bool { return strings.HasPrefix(name, "sweep") || name == "last_used_at" })
		where := ""
		switch hasMode := slices.Contains(columns, "mode"); {
		case table == "audit", table == "stats", table == "disk_usage":
			continue // audit records refusals of the victim's own keys; the others are added up in the background
		case table == "tenants":
			where = fmt.Sprintf("id = '%s'", tenant)
		case hasMode && slices.Contains(columns, "tenant"):
			where = fmt.Sprintf("tenant = '%s' AND mode = %d", tenant, mode)
		case hasMode:
			where = fmt.Sprintf("mode = %d", mode)
		default:
			continue
		}
		quoted := make([]string, len(columns))
		for i, name := range columns {
			quoted[i] = "quote(" + name + ")"
		}
		rows, err := column(db, "SELECT "+strings.Join(quoted, " || ',' || ")+" FROM "+table+" WHERE "+where+" ORDER BY 1")
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n", table, len(rows))
		sum.Write(bytes.Join(bytesOf(rows), []byte("\n")))
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
}

func bytesOf(texts []string) [][]byte {
	out := make([][]byte, len(texts))
	for i, text := range texts {
		out[i] = []byte(text)
	}
	return out
}

func column(db *sql.DB, query string) ([]string, error) {
	rows, err := db.Query(query)
	if err != nil {
		return nil, fmt.Errorf("hash rows: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("hash rows: %w", err)
		}
		out = append(out, text)
	}
	return out, rows.Err()
}
