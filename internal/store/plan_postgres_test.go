package store

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/alerts"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// planRows is the number of events with which the plans are checked. POSTHORN_PLAN_ROWS
// overrides it for manual runs.
const planRows = 100_000

// sortedAhead is how many rows more than it returns an incremental sort may read: it sorts
// the deliveries of some events at a time.
const sortedAhead = 32

// sweepOf is the page size of a sweep, smaller than the backlog of an endpoint here.
const sweepOf = 5

// No list and no claim scans a whole partition. The control is a query that has no index.
func TestPlansOnPostgres(t *testing.T) {
	rows := planRows
	if text := os.Getenv("POSTHORN_PLAN_ROWS"); text != "" {
		rows, _ = strconv.Atoi(text)
	}
	s, err := Open(t.Context(), Options{Postgres: pgtest.Database(t), Keys: testKeys(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	began := time.Now()
	_, busy := waitingFor(t, s, "busy", 2000)
	fillForPlans(t, s, rows)
	t.Logf("FIGURE plans on PostgreSQL with %d events, filled in %v", rows, time.Since(began).Round(time.Second))
	endpoint, tenant := hook.ID{}, "t-1"
	if err := s.core.Read.QueryRowContext(t.Context(), "SELECT id, tenant FROM endpoints ORDER BY id LIMIT 1 OFFSET 3").Scan(sqltext.Blob(endpoint[:]), &tenant); err != nil {
		t.Fatal(err)
	}
	var event, delivery hook.ID
	if err := s.core.Read.QueryRowContext(t.Context(), "SELECT event, id FROM deliveries ORDER BY event DESC LIMIT 1 OFFSET 500").
		Scan(sqltext.Blob(event[:]), sqltext.Blob(delivery[:])); err != nil {
		t.Fatal(err)
	}
	scope := hook.Scope{Tenant: tenant, Mode: hook.Live}
	now := sqltext.Micros(time.Now())
	ids, most := [][]byte{endpoint[:]}, []int64{256}
	low, high := sqltext.FirstID(time.Now().Add(-time.Hour)), sqltext.FirstID(time.Now().Add(time.Hour))
	type statement struct {
		query string
		args  []any
	}
	plans := map[string]statement{
		"claim":            {postgres.ClaimText, []any{int64(1), ids, most, now}},
		"earliest":         {postgres.EarliestText, []any{ids}},
		"earliest one":     {sqltext.EarliestDue, []any{endpoint[:], endpoint[:]}},
		"single shots for": {shotsFor(1), []any{now, endpoint[:]}},
		"disown":           {disownRows("owner = 7"), []any{int64(2000)}},
		"summary":          {summaryRows, nil},
		"hold":             {holdRows, sweepArgs(busy.ID[:], bytes.Repeat([]byte{0xff}, 16), sweepOf)},
		"cancel":           {cancelPendingRows, sweepArgs(busy.ID[:], sweepOf)},
		"held":             {moveHeldRows, sweepArgs(endpoint[:], sweepOf)},
		"expire":           {expireRows, []any{"held_expired", now, busy.ID[:], low[:], high[:], now}},
		"old held":         {heldPageEnd, []any{busy.ID[:], low[:], high[:], sweepOf - 1}},
		"holders":          {endpointsWithOldHeld, []any{hook.Disabled, hook.Tripped, high[:]}},
		"backlog":          {sqltext.CountOpen, []any{int64(hook.Live), tenant}},
		"kept of all":      {sqltext.KeptOfAll, []any{low[:], high[:], int64(5)}},
		"kept of a tenant": {sqltext.KeptOfTenant, []any{int64(hook.Live), tenant, low[:], high[:], int64(5)}},
		"kept deliveries":  {sqltext.In(sqltext.KeptDeliveries, 16), append(sqltext.ListArgs([]hook.ID{event, low}), int64(5))},
		"kept shots":       {sqltext.In(sqltext.KeptShots, 16), sqltext.ListArgs([]hook.ID{event, low})},
		"remove payloads":  {sqltext.In(sqltext.RemovePayloads, 16), append([]any{now}, sqltext.ListArgs([]hook.ID{event, low})...)},
		"old answers":      {sqltext.In(sqltext.OldAnswers, 16), append(sqltext.ListArgs([]hook.ID{event, low}), now, int64(5))},
		"newer answers":    {sqltext.In(sqltext.NewerAnswers, 16), append(sqltext.ListArgs([]hook.ID{event, low}), now)},
		"due events":       {sqltext.DueEvents, []any{int64(0), now, int64(5)}},
		"find":             {sqltext.FindDelivery, sqltext.FindDeliveryArgs(scope, delivery)},
		"scope":            {directory.EndpointsWhere(directory.LiveOfScope), []any{int64(hook.Live), tenant}},
		"secrets":          {directory.SecretsWhere(directory.LiveOfScope), []any{int64(hook.Live), tenant}},
		"secret":           {directory.SecretsWhere(directory.WithID), []any{endpoint[:]}},
		"one delivery":     {"SELECT " + sqltext.DeliveryColumns + " FROM deliveries d WHERE d.event = ? AND d.endpoint = ?", []any{event[:], endpoint[:]}},
		"events":           {"SELECT e.id FROM events e WHERE e.mode = ? AND e.tenant = ? AND e.id >= ? AND e.id < ? ORDER BY e.id DESC LIMIT 51", []any{int64(hook.Live), tenant, low[:], high[:]}},
		"event":            {"SELECT " + sqltext.EventColumns + " FROM events e WHERE e.id = ?", []any{event[:]}},
		"bound":            {"SELECT e.id FROM events e WHERE e.mode = ? AND e.tenant = ? ORDER BY e.id DESC LIMIT 1 OFFSET ?", []any{int64(hook.Live), tenant, 19_999}},
		"attempts":         {"SELECT number FROM attempts WHERE event = ? AND endpoint = ? ORDER BY number", []any{event[:], endpoint[:]}},
		"sums":             {alerts.Statements()["sums"], []any{int64(hook.Live), tenant, int64(5)}},
		"summed":           {alerts.Statements()["summed"], []any{int64(0), "", int64(5)}},
		"newest event":     {sqltext.NewestEvent, nil},
		"of an event":      {"SELECT d.id FROM deliveries d JOIN events e ON e.id = d.event WHERE d.event = ?", []any{event[:]}},
		"of the tenant":    {"SELECT d.id FROM events e {then} deliveries d ON d.event = e.id WHERE e.mode = ? AND e.tenant = ? AND e.id >= ? AND e.id < ? ORDER BY d.event DESC, d.endpoint DESC LIMIT 51", []any{int64(hook.Live), tenant, low[:], high[:]}},
	}
	for name, search := range read.Statements(scope, endpoint) {
		plans[name] = statement{search.Query, search.Args}
	}
	sweeps := map[string]bool{"hold": true, "cancel": true, "held": true, "expire": true, "old held": true}
	maySort := map[string]bool{"find endpoint of mode": true, // sorts the endpoints that were created within 65 seconds, here all
		"tries": true, // sorts the attempts of 16 deliveries
	}
	// A filter must not lead the planner to begin with the deliveries: it would read all that
	// is retained if none matches.
	perEvent := func(query string, args []any) bool {
		plan, _ := explain(t, s, s.core.Read.DB, query, args)
		return strings.Contains(plan, "Subquery Scan on d ")
	}
	for _, name := range []string{"deliveries of mode", "deliveries of tenant", "recent", "log"} {
		if p := plans[name]; !perEvent(p.query, p.args) {
			t.Errorf("%s may begin with the deliveries", name)
		}
	}
	if p := plans["deliveries of mode"]; perEvent(strings.Replace(p.query, "{deliveries}{each}", "{then} deliveries d ON d.event = e.id", 1), p.args) {
		t.Error("control: a plain join looks up the deliveries of each event")
	}
	writer := writerPool(t, s)
	defer func() { _ = writer.Close() }()
	for name, p := range plans {
		db := s.core.Read.DB
		if sweeps[name] {
			db = writer
		}
		plan, took := explain(t, s, db, p.query, p.args)
		if read := readThrough(plan); read > 0 {
			t.Errorf("%s reads %d rows from one end of a partition to the other:\n%s", name, read, plan)
		}
		if read := mostRead(plan); sweeps[name] && read > sweepOf {
			t.Errorf("%s reads %d rows for a page of %d:\n%s", name, read, sweepOf, plan)
		}
		if in, out := sorted(plan); in > out+sortedAhead && !maySort[name] {
			t.Errorf("%s sorts %d rows for %d:\n%s", name, in, out, plan)
		}
		t.Logf("%-14s %8.2f ms", name, took)
	}
	if plan, _ := explain(t, s, s.core.Read.DB, "SELECT count(*) FROM deliveries d WHERE d.last_status = ?", []any{418}); readThrough(plan) < rows/2 {
		t.Errorf("control: a query without an index reads nothing through:\n%s", plan)
	}
	if plan, _ := explain(t, s, s.core.Read.DB, holdRows, plans["hold"].args); mostRead(plan) <= sweepOf {
		t.Errorf("control: a page of a backlog is read without a bitmap where these are allowed:\n%s", plan)
	}
	for name, order := range map[string]string{"limit": "LIMIT 5", "lock below the limit": "LIMIT 5 FOR UPDATE"} {
		plan, _ := explain(t, s, s.core.Read.DB, "SELECT d.event FROM deliveries d WHERE d.state = 0 AND d.owner >= 0 AND d.endpoint = ? ORDER BY d.due "+order, []any{endpoint[:]})
		if in, out := sorted(plan); in <= out {
			t.Errorf("control: an order that no index has, with a %s, sorts %d rows for %d:\n%s", name, in, out, plan)
		}
	}
	plan, _ := explain(t, s, s.core.Read.DB, literalMoves(event, endpoint), nil)
	if readThrough(plan) > 0 {
		t.Errorf("settling reads a partition from one end to the other:\n%s", plan)
	}
}

// Settling finds a delivery by its key, even in a partition without statistics. The
// control tests the state as the index over open work does; PostgreSQL then searches for
// each row among the endpoint's whole backlog.
func TestSettlingFindsRowsByTheirKey(t *testing.T) {
	s, err := Open(t.Context(), Options{Postgres: pgtest.Database(t), Keys: testKeys(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	_, busy := waitingFor(t, s, "busy", 500)
	var event hook.ID
	if err := s.core.Read.QueryRowContext(t.Context(), "SELECT event FROM deliveries LIMIT 1").Scan(sqltext.Blob(event[:])); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		query string
		args  []any
	}{
		"move":      {literalMoves(event, busy.ID), nil},
		"give back": {giveBackRow, []any{int64(1), event[:], busy.ID[:], int64(1), int64(0)}},
		"settle": {sqltext.MoveDelivery, []any{int64(2), "", int64(1), int64(1), int64(0), int64(200), "", int64(1), int64(0),
			event[:], busy.ID[:], int64(1), int64(0), int64(0)}},
	} {
		for query, byKey := range map[string]bool{c.query: true, strings.Replace(c.query, "state + 0 = 0", "state = 0", 1): false} {
			plan, _ := explain(t, s, s.core.Read.DB, query, c.args)
			if strings.Contains(plan, "owner_due_idx") == byKey {
				t.Errorf("%s by its key: %v, want %v\n%s", name, !byKey, byKey, plan)
			}
		}
	}
}

// writerPool opens a connection with the settings of the connections that write.
func writerPool(t *testing.T, s *Store) *sql.DB {
	t.Helper()
	config, err := postgres.ParseURL(s.opts.Postgres)
	if err != nil {
		t.Fatal(err)
	}
	return postgres.Pool(config, 1, postgres.WriterSettings...)
}

// readThrough counts the rows that sequential scans of partitions read. Empty partitions,
// such as the default ones, cost nothing to read.
func readThrough(plan string) (rows int) {
	scanning := false
	for line := range strings.Lines(plan) {
		if _, after, ok := strings.Cut(line, "Seq Scan on "); ok && !strings.HasPrefix(after, "endpoints") {
			scanning = true
			if _, actual, ok := strings.Cut(line, "actual rows="); ok {
				n, _ := strconv.Atoi(actual[:strings.IndexByte(actual, ' ')])
				rows += n
			}
		} else if strings.Contains(line, "->") {
			scanning = false
		}
		if _, removed, ok := strings.Cut(line, "Rows Removed by Filter: "); ok && scanning {
			n, _ := strconv.Atoi(strings.TrimSpace(removed))
			rows += n
		}
	}
	return rows
}

// sorted returns how many rows enter a sort of the plan and how many of them are used. A
// LIMIT above a sort does not make the sort cheap, even with a lock in between. If there
// are several sorts, it returns the numbers of the one that wastes the most.
func sorted(plan string) (in, out int) {
	lines := strings.Split(plan, "\n")
	limits := map[int]int{} // the rows of each LIMIT, by its depth in the plan
	for i, line := range lines {
		depth := len(line) - len(strings.TrimLeft(line, " "))
		node := strings.TrimPrefix(strings.TrimLeft(line, " "), "->  ")
		for at := range limits {
			if at >= depth && strings.Contains(line, "(cost=") {
				delete(limits, at)
			}
		}
		switch {
		case !strings.Contains(line, "(cost="):
		case strings.HasPrefix(node, "Limit "):
			limits[depth] = actualRows(line)
		case strings.HasPrefix(node, "Sort ") || strings.HasPrefix(node, "Incremental Sort "):
			most := actualRows(line)
			for _, rows := range limits {
				most = min(most, rows)
			}
			for _, below := range lines[i+1:] {
				if strings.Contains(below, "(cost=") {
					if rows := actualRows(below); rows-most > in-out {
						in, out = rows, most
					}
					break
				}
			}
		}
	}
	return in, out
}

// mostRead returns the highest number of rows that a scan of the plan returned.
func mostRead(plan string) (most int) {
	for line := range strings.Lines(plan) {
		if strings.Contains(line, "Scan") {
			most = max(most, actualRows(line))
		}
	}
	return most
}

// actualRows returns how many rows a node of a plan returned in all its loops.
func actualRows(line string) int {
	_, actual, ok := strings.Cut(line, "actual rows=")
	if !ok {
		return 0 // never executed
	}
	var rows, loops int
	if _, err := fmt.Sscanf(actual, "%d loops=%d", &rows, &loops); err != nil {
		return 0
	}
	return rows * loops
}

// sweepArgs returns the arguments of a statement of moveState.
func sweepArgs(page ...any) []any {
	return append([]any{int64(hook.Held), "by_hand", int64(0), int64(0), int64(1)}, page...)
}

// literalMoves returns the statement that settles, with one row instead of its arrays.
func literalMoves(event, endpoint hook.ID) string {
	text := strings.Replace(postgres.MoveText, "posthorn_expect((SELECT count(*) FROM m), cardinality($1::bytea[]))", "(SELECT count(*) FROM m)", 1)
	text = strings.NewReplacer("$15", postgres.BytesLiteral(event)+"::bytea", "$16", postgres.BytesLiteral(event)+"::bytea").Replace(text)
	values := []string{postgres.BytesLiteral(event), postgres.BytesLiteral(endpoint), "1", "0", "1", "2", "''", "1", "1", "0", "200", "''", "1", "0"}
	for i := len(values); i >= 1; i-- {
		text = strings.ReplaceAll(text, fmt.Sprintf("$%d::", i), "ARRAY["+values[i-1]+"]::")
	}
	return text
}

func explain(t *testing.T, s *Store, db *sql.DB, query string, args []any) (plan string, ms float64) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	rows, err := tx.QueryContext(t.Context(), "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY ON) "+s.core.Read.Dialect.Text(query), args...)
	if err != nil {
		t.Fatalf("%v in %s", err, query)
	}
	defer func() { _ = rows.Close() }()
	var lines []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		if _, rest, ok := strings.Cut(line, "Execution Time: "); ok {
			ms, _ = strconv.ParseFloat(strings.TrimSuffix(rest, " ms"), 64)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"), ms
}

// fillForPlans makes 100 endpoints of 20 tenants and the given number of events over the
// days that have partitions. Each event has a delivery and an attempt. One in 50 is
// pending, one in 50 failed.
func fillForPlans(t *testing.T, s *Store, rows int) {
	t.Helper()
	ctx := context.Background()
	for _, statement := range []string{
		"SET LOCAL synchronous_commit = off",
		"INSERT INTO tenants (id, name, created_at) SELECT 't-' || n, 't', 1 FROM generate_series(0, 19) n",
		`INSERT INTO endpoints (id, mode, tenant, url, types, title, description, profile, rate_limit, max_in_flight, max_failures, status,
			disabled_reason, disabled_at, created_at, updated_at, revision, enablings)
			SELECT decode(lpad(to_hex(n), 32, '0'), 'hex'), 2, 't-' || n % 20, 'https://example.com', '["*"]', '', '', 'standard', 0, 0, 0, 0, '', 0, 1, 1, 1, 1
			FROM generate_series(0, 99) n`,
		`INSERT INTO secrets (endpoint, version, mode, tenant, encoding, sealed, created_at, expires_at)
			SELECT decode(lpad(to_hex(n), 32, '0'), 'hex'), 1, 2, 't-' || n % 20, 'whsec_', '\x00', 1, 0 FROM generate_series(0, 99) n`,
		fmt.Sprintf(`CREATE TEMPORARY TABLE fill AS SELECT n, decode(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint + n::bigint * 604800000 / %d), 12, '0')
			|| '7' || lpad(to_hex(n %% 4096), 3, '0') || '8' || substr(md5(n::text), 1, 15), 'hex') AS id FROM generate_series(1, %d) n`, rows, rows),
		`INSERT INTO events SELECT id, 2, 't-' || n % 100 % 20, NULL, 0, 'a.b', 1, 1, decode(repeat('ab', 200), 'hex'), 0 FROM fill ORDER BY n`,
		`INSERT INTO deliveries SELECT id, decode(lpad(to_hex(n % 100), 32, '0'), 'hex'), substr(id, 1, 8) || substr(md5(n::text)::bytea, 1, 8), 2, 't-' || n % 100 % 20, 'a.b', 0, '\x00',
			CASE WHEN n / 100 % 50 = 0 THEN 0 WHEN n / 100 % 50 = 1 THEN 3 ELSE 2 END, '', 1, 1, CASE WHEN n / 100 % 50 = 0 THEN n ELSE 0 END, 200, '', 1, 1, 0, 0, 1 FROM fill ORDER BY n`,
		`INSERT INTO attempts SELECT id, decode(lpad(to_hex(n % 100), 32, '0'), 'hex'), 1, 2, 't-' || n % 100 % 20, 1, 1, 200, '', '', 0, NULL, NULL, 0 FROM fill ORDER BY n`,
	} {
		if _, err := node(s).Control().ExecContext(ctx, statement); err != nil {
			t.Fatalf("%v in %s", err, statement)
		}
	}
	for _, statement := range []string{"DROP TABLE fill", "VACUUM (ANALYZE) events", "VACUUM (ANALYZE) deliveries", "VACUUM (ANALYZE) attempts", "ANALYZE endpoints"} {
		if _, err := node(s).Control().ExecContext(ctx, statement); err != nil {
			t.Fatalf("%v in %s", err, statement)
		}
	}
}
