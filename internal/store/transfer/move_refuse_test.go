package transfer_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/storetest"
	"github.com/posthorn/posthorn/internal/store/transfer"
)

// query reads one value from a PostgreSQL database.
func query[T any](t *testing.T, address, text string, args ...any) (v T) {
	t.Helper()
	c := connect(t, address)
	if err := c.QueryRow(t.Context(), text, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func alterPostgres(t *testing.T, address, statement string) {
	t.Helper()
	if _, err := connect(t, address).Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func alterLite(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// apart lists the tables that are not moved row by row, because they describe the nodes or
// the database itself. Add a new table here only if nothing in it comes from the file.
var apart = []string{"meta", "config", "news", "nodes", "node_writes", "goose_db_version", "sqlite_sequence", "disk_samples"}

// The comparison detects a change of any value.
func TestMoveComparesEverything(t *testing.T) {
	f, target := fill(t), pgtest.Database(t)
	o := transfer.Options{From: filepath.Join(f.dir, "posthorn.db"), To: target, Keys: storetest.Keyring(t, 7)}
	if _, err := transfer.Move(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	c := connect(t, target)
	rows, err := c.Query(t.Context(), `SELECT c.table_name::text, c.column_name::text, c.data_type::text FROM information_schema.columns c JOIN pg_class r ON r.oid = to_regclass(c.table_name)
		WHERE c.table_schema = current_schema() AND NOT r.relispartition AND NOT c.table_name = ANY($1) ORDER BY 1, 2`, apart)
	if err != nil {
		t.Fatal(err)
	}
	type column struct{ Table, Name, Type string }
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	if err != nil || len(columns) < 100 {
		t.Fatalf("%d columns, %v", len(columns), err)
	}
	of := map[string][]column{}
	for _, col := range columns {
		of[col.Table] = append(of[col.Table], col)
	}
	for round := 0; len(of) > 0; round++ { // one column of each table at a time
		for table, cols := range of {
			if len(cols) <= round {
				delete(of, table)
				continue
			}
			spoil(t, c, table, cols[round].Name, cols[round].Type)
		}
		_, err := transfer.Compare(t.Context(), o)
		if len(of) > 0 && !errors.Is(err, transfer.ErrDiffers) {
			t.Fatalf("round %d: %v", round, err)
		}
		for table, cols := range of {
			if !strings.Contains(err.Error(), " "+table+" has as many rows but not the same") {
				t.Errorf("%s of %s was changed, and the comparison says %v", cols[round].Name, table, err)
			}
			restore(t, c, table)
		}
	}
	if _, err := transfer.Compare(t.Context(), o); err != nil {
		t.Errorf("all put right again: %v", err)
	}
	alterPostgres(t, target, "UPDATE meta SET value = value || '\\x00' WHERE key = 'master_key_check'")
	if _, err := transfer.Compare(t.Context(), o); !errors.Is(err, transfer.ErrDiffers) || !strings.Contains(err.Error(), "meta has another master_key_check") {
		t.Errorf("another check of the master key: %v", err)
	}
	alterPostgres(t, target, "DELETE FROM secrets WHERE version = 1")
	if _, err := transfer.Compare(t.Context(), o); !errors.Is(err, transfer.ErrDiffers) || !strings.Contains(err.Error(), "secrets has 2 rows in the file and 1") {
		t.Errorf("a row is missing: %v", err)
	}
}

// spoil changes one value in a table of which a copy is kept.
func spoil(t *testing.T, c *pgx.Conn, table, column, kind string) {
	t.Helper()
	name := `"` + column + `"`
	changed := map[string]string{"bigint": "coalesce(" + name + ", 0) + 1000", "double precision": name + " + 0.5", "text": "coalesce(" + name + ", '') || 'x'",
		"bytea": "CASE WHEN " + name + ` IS NULL THEN ''::bytea ELSE ` + name + ` || '\x00'::bytea END`}[kind]
	if changed == "" {
		t.Fatalf("%s.%s is of type %s", table, column, kind)
	}
	if table == "tenants" && column == "seq" { // the database generates it
		changed = "DEFAULT"
	}
	if _, err := c.Exec(t.Context(), "CREATE TEMP TABLE kept_"+table+" AS SELECT * FROM "+table); err != nil {
		t.Fatal(err)
	}
	tag, err := c.Exec(t.Context(), "UPDATE "+table+" SET "+name+" = "+changed+" WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM "+table+" LIMIT 1)")
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("change %s of %s: %v, %v", column, table, tag, err)
	}
}

func restore(t *testing.T, c *pgx.Conn, table string) {
	t.Helper()
	if _, err := c.Exec(t.Context(), "DELETE FROM "+table+"; INSERT INTO "+table+" OVERRIDING SYSTEM VALUE SELECT * FROM kept_"+table+"; DROP TABLE kept_"+table); err != nil {
		t.Fatal(err)
	}
}

// A later migration must add its table or column to both schemas, or Move must know.
func TestSchemasAgree(t *testing.T) {
	dir, target := t.TempDir(), pgtest.Database(t)
	for _, o := range []store.Options{{Dir: dir, Reserve: -1}, {Postgres: target}} {
		if err := storetest.Open(t, o).Close(); err != nil {
			t.Fatal(err)
		}
	}
	lite := liteColumns(t, filepath.Join(dir, "posthorn.db"))
	rows, err := connect(t, target).Query(t.Context(), `SELECT c.table_name::text || '.' || c.column_name FROM information_schema.columns c JOIN pg_class r ON r.oid = to_regclass(c.table_name)
		WHERE c.table_schema = current_schema() AND NOT r.relispartition`)
	if err != nil {
		t.Fatal(err)
	}
	postgres, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	isApart := func(column string) bool {
		table, _, _ := strings.Cut(column, ".")
		return slices.Contains(apart, table)
	}
	lite, postgres = slices.DeleteFunc(lite, isApart), slices.DeleteFunc(postgres, isApart)
	slices.Sort(lite)
	slices.Sort(postgres)
	if diff := cmp.Diff(lite, postgres); diff != "" {
		t.Errorf("only in SQLite (-), only in PostgreSQL (+):\n%s", diff)
	}
	tables := map[string]bool{}
	for _, c := range lite {
		table, _, _ := strings.Cut(c, ".")
		tables[table] = true
	}
	empty := pgtest.Database(t)
	counts, err := move(t, filepath.Join(dir, "posthorn.db"), empty)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counts {
		delete(tables, c.Table)
	}
	if len(tables) > 0 {
		t.Errorf("tables that are not moved: %v", tables)
	}
}

func liteColumns(t *testing.T, path string) (all []string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(t.Context(), "SELECT s.name || '.' || c.name FROM sqlite_schema s, pragma_table_info(s.name) c WHERE s.type = 'table'")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var column string
		if err := rows.Scan(&column); err != nil {
			t.Fatal(err)
		}
		all = append(all, column)
	}
	return all
}

func TestMoveRefuses(t *testing.T) {
	f, target := fill(t), pgtest.Database(t)
	from := filepath.Join(f.dir, "posthorn.db")
	template := pgtest.Database(t)
	if err := storetest.Open(t, store.Options{Postgres: template}).Close(); err != nil {
		t.Fatal(err)
	}
	copied := func(statement string) string {
		path := filepath.Join(t.TempDir(), "copy.db")
		if err := os.WriteFile(path, slurpFile(t, from), 0o600); err != nil {
			t.Fatal(err)
		}
		alterLite(t, path, statement)
		return path
	}
	elsewhere := func(statement string) string {
		address := pgtest.Database(t)
		alterPostgres(t, address, statement)
		return address
	}
	nowhere := func() string {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/none"
		return u.String() + "&password=hush-hush"
	}
	empty := filepath.Join(t.TempDir(), "empty.db")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	small := pgtest.Start(t, map[string]string{"max_locks_per_transaction": "10", "max_connections": "10"})
	for name, c := range map[string]struct {
		from, to string
		key      byte
		is       error
		says     string
	}{
		"no file":          {from: from + "x", says: "there is no such file"},
		"directory":        {from: f.dir, says: "name the file in it"},
		"no store":         {from: empty, says: "no store in this file"},
		"damaged":          {from: garbage(t), is: store.ErrCorrupt},
		"older file":       {from: copied("DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)"), is: transfer.ErrOlderSchema},
		"newer file":       {from: copied("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"), is: store.ErrNewerSchema},
		"wrong key":        {key: 8, is: store.ErrMasterKeyMismatch},
		"text with NUL":    {from: copied("UPDATE tenants SET name = 'a' || char(0) WHERE seq = 1"), says: "column name holds a text with NUL"},
		"no address":       {to: "postgres://u:hush-hush@[/x", is: store.ErrPostgresURL},
		"no database":      {to: nowhere(), is: store.ErrPostgres, says: "create it"},
		"used target":      {to: template, is: store.ErrPostgres, says: "not empty: tenants has rows"},
		"another's target": {to: elsewhere("CREATE TABLE events (x int)"), is: store.ErrPostgres, says: "a table events that is not Posthorn's"},
		"newer target":     {to: elsewhere("CREATE TABLE goose_db_version (id serial, version_id bigint, is_applied boolean, tstamp timestamp); INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true); CREATE TABLE nodes (taker int, gone boolean, seen_at timestamptz, lease interval)"), is: store.ErrNewerSchema},
		"read only target": {to: target + "&default_transaction_read_only=on", is: store.ErrPostgres, says: "read only"},
		"too many days": {from: copied(`WITH RECURSIVE n(v) AS (SELECT 80 UNION ALL SELECT v + 1 FROM n WHERE v < 90) INSERT INTO events
			SELECT unhex(printf('01%02x0000000070008000000000000000', v)), mode, tenant, public_id, kind, type, created_at, accepted_at, data, checksum, payload_removed_at, channels, deliver_at
			FROM (SELECT * FROM events LIMIT 1), n`), to: small.Database(t), is: store.ErrPostgres, says: "events of 13 days"},
	} {
		o := transfer.Options{From: c.from, To: c.to, Keys: storetest.Keyring(t, max(c.key, 7))}
		if o.From == "" {
			o.From = from
		}
		if o.To == "" {
			o.To = target
		}
		_, err := transfer.Move(t.Context(), o)
		switch {
		case err == nil:
			t.Errorf("%s: moved", name)
		case c.is != nil && !errors.Is(err, c.is), !strings.Contains(err.Error(), c.says):
			t.Errorf("%s: %v", name, err)
		case strings.Contains(err.Error(), "hush-hush"):
			t.Errorf("%s: the password is shown: %v", name, err)
		}
	}
	o := f.options()
	o.Dir = f.dir
	working := storetest.Open(t, o)
	if _, err := move(t, from, target); !errors.Is(err, store.ErrLocked) {
		t.Errorf("while a server works there: %v", err)
	}
	if err := working.Close(); err != nil {
		t.Fatal(err)
	}
	// None of these attempts left anything behind.
	if _, err := move(t, from, target); err != nil {
		t.Errorf("control: %v", err)
	}
}

func slurpFile(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func garbage(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "damaged.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
