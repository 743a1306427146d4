package transfer

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqlite"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// movedTables lists the tables that both databases have, in the order in which they are
// copied. Their columns are read from both schemas and must be the same.
var movedTables = []string{
	"tenants", "keys", "oauth_tokens", "partner_users", "event_types", "profiles",
	"endpoints", "secrets", "endpoint_revisions", "health",
	"events", "event_ids", "event_tags", "deliveries", "attempts", "oneshots", "replays", "erasures", "web_sessions", "web_links", "alert_sums", "audit", "idempotency", "stat_log", "stats",
}

// movedTable is a moved table with its columns sorted by name.
type movedTable struct {
	name    string
	columns []string
	read    string // the statement that reads the rows, the same for both databases
	kind    int    // index of the column kind, -1 if there is none
	owner   int
}

// table reads the columns of a table from both schemas.
func (m *mover) table(ctx context.Context, name string) (*movedTable, error) {
	rows, err := m.conn.Query(ctx, `SELECT attname::text FROM pg_attribute
		WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attname::text COLLATE "C"`, name)
	if err != nil {
		return nil, postgres.Refused(postgres.StartError(err))
	}
	t := &movedTable{name: name}
	var column string
	_, err = pgx.ForEachRow(rows, []any{&column}, func() error {
		t.columns = append(t.columns, column)
		return nil
	})
	if err != nil {
		return nil, postgres.Refused(postgres.StartError(err))
	}
	there, err := sqltext.Collect(ctx, m.source, func(row sqltext.Scanner) (name string, err error) { err = row.Scan(&name); return name, err },
		"SELECT name FROM pragma_table_info(?)", name)
	if err != nil {
		return nil, sqlite.Opening("read schema", err)
	}
	slices.Sort(there)
	if !slices.Equal(there, t.columns) {
		return nil, fmt.Errorf("%w: table %s has the columns %s in the file and %s in PostgreSQL", ErrDiffers, name,
			strings.Join(there, ", "), strings.Join(t.columns, ", "))
	}
	t.read = `SELECT "` + strings.Join(t.columns, `", "`) + `" FROM ` + name
	t.kind, t.owner = slices.Index(t.columns, "kind"), slices.Index(t.columns, "owner")
	return t, nil
}

// sourceRows reads a table of the file row by row and converts the values for PostgreSQL.
type sourceRows struct {
	rows  *sql.Rows
	table *movedTable
	epoch int64
	n     int64
	tick  func(rows int64)
	row   []any
	dest  []any
	err   error
}

func (m *mover) sourceRows(ctx context.Context, t *movedTable, tick func(int64)) (*sourceRows, error) {
	rows, err := m.source.QueryContext(ctx, t.read)
	if err != nil {
		return nil, sqlite.Opening("read "+t.name, err)
	}
	s := &sourceRows{rows: rows, table: t, epoch: m.epoch, tick: tick, row: make([]any, len(t.columns)), dest: make([]any, len(t.columns))}
	for i := range s.row {
		s.dest[i] = &s.row[i]
	}
	return s, nil
}

// Next, Values and Err implement pgx.CopyFromSource.
func (s *sourceRows) Next() bool {
	if s.err != nil || !s.rows.Next() {
		return false
	}
	if s.err = s.rows.Scan(s.dest...); s.err != nil {
		return false
	}
	s.n++
	s.tick(s.n)
	s.err = s.adjust()
	return s.err == nil
}

func (s *sourceRows) Values() ([]any, error) { return s.row, nil }

func (s *sourceRows) Err() error {
	if s.err != nil {
		return s.err
	}
	if err := s.rows.Err(); err != nil {
		return sqlite.Opening("read "+s.table.name, err)
	}
	return nil
}

// adjust converts what the driver read into what must be written. Deliveries lose their
// owner, except for test events in progress. Those, single shots, replays and erasures are only found
// by their owner, so they are assigned to the node that has left.
func (s *sourceRows) adjust() error {
	t := s.table
	for i, v := range s.row {
		switch v := v.(type) {
		case []byte:
			if v == nil { // empty; NULL is a plain nil
				s.row[i] = []byte{}
			}
		case string:
			if strings.IndexByte(v, 0) >= 0 || !utf8.ValidString(v) {
				return fmt.Errorf("row %d of %s: column %s holds a text with NUL or broken UTF-8, which PostgreSQL cannot keep", s.n, t.name, t.columns[i])
			}
		}
	}
	if t.owner < 0 {
		return nil
	}
	const testEvent = int64(1)
	switch {
	case t.kind < 0: // single shots, replays and erasures
		s.row[t.owner] = s.epoch
	case s.row[t.owner] != int64(0) && s.row[t.kind] == testEvent:
		s.row[t.owner] = s.epoch
	default:
		s.row[t.owner] = int64(0)
	}
	return nil
}

// copyAll copies every table and updates the records that go with them.
func (m *mover) copyAll(ctx context.Context) error {
	// The node's lease has expired from the start.
	err := m.conn.QueryRow(ctx, `INSERT INTO nodes (epoch, name, version, started_at, seen_at, lease, gone)
		VALUES (nextval('node_epochs'), $1, $2, clock_timestamp(), clock_timestamp(), interval '0', true) RETURNING epoch`,
		sqltext.MovedNode, m.opts.Version).Scan(&m.epoch)
	if err != nil {
		return postgres.Refused(postgres.StartError(err))
	}
	for _, name := range movedTables {
		if err := m.copyTable(ctx, name); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	meta, err := m.meta(ctx)
	if err != nil {
		return err
	}
	for key, value := range meta {
		if _, err := m.conn.Exec(ctx, "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value); err != nil {
			return postgres.Refused(postgres.StartError(err))
		}
	}
	for _, text := range []string{
		"SELECT setval(pg_get_serial_sequence('tenants', 'seq'), max(seq)) FROM tenants HAVING max(seq) > 0",
		// Ids that nodes create from now on are greater than those in the file, whatever
		// their clocks, because their order is the order of acceptance.
		`UPDATE config SET version = version + 1, floor = greatest(floor, (SELECT id FROM events ORDER BY id DESC LIMIT 1),
			(SELECT substr(sweep_bound, 1, 16) FROM endpoints ORDER BY sweep_bound DESC LIMIT 1))`,
	} {
		if _, err := m.conn.Exec(ctx, text); err != nil {
			return postgres.Refused(postgres.StartError(err))
		}
	}
	return nil
}

// meta reads the file's table meta, except for the number of openings.
func (m *mover) meta(ctx context.Context) (map[string][]byte, error) {
	rows, err := m.source.QueryContext(ctx, "SELECT key, value FROM meta WHERE key <> 'epoch'")
	if err != nil {
		return nil, sqlite.Opening("read meta", err)
	}
	defer func() { _ = rows.Close() }()
	all := map[string][]byte{}
	for rows.Next() {
		var key string
		var value []byte
		if err := rows.Scan(&key, &value); err != nil {
			return nil, sqlite.Opening("read meta", err)
		}
		all[key] = value
	}
	if err := rows.Err(); err != nil {
		return nil, sqlite.Opening("read meta", err)
	}
	return all, nil
}

// metaDiffers returns the first key whose value differs in PostgreSQL, or "".
func (m *mover) metaDiffers(ctx context.Context) (string, error) {
	meta, err := m.meta(ctx)
	if err != nil {
		return "", err
	}
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		var same bool
		if err := m.conn.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM meta WHERE key = $1 AND value = $2)", key, meta[key]).Scan(&same); err != nil {
			return "", postgres.Refused(postgres.StartError(err))
		}
		if !same {
			return key, nil
		}
	}
	return "", nil
}

func (m *mover) copyTable(ctx context.Context, name string) error {
	t, err := m.table(ctx, name)
	if err != nil {
		return err
	}
	rows, err := m.sourceRows(ctx, t, m.ticker("copied", name))
	if err != nil {
		return err
	}
	defer func() { _ = rows.rows.Close() }()
	if _, err := m.conn.CopyFrom(ctx, pgx.Identifier{name}, t.columns, rows); err != nil {
		if readErr := rows.Err(); readErr != nil {
			return readErr
		}
		return postgres.Refused(postgres.StartError(err))
	}
	m.opts.Progress("copied", name, rows.n)
	return nil
}

// progressRows is the number of rows between two calls of Progress.
const progressRows = 20_000

func (m *mover) ticker(act, table string) func(int64) {
	return func(rows int64) {
		if rows%progressRows == 0 {
			m.opts.Progress(act, table, rows)
		}
	}
}

// compareAll reads every table from both databases and compares them.
func (m *mover) compareAll(ctx context.Context) ([]TableCount, error) {
	var counts []TableCount
	var differ []string
	key, err := m.metaDiffers(ctx)
	if err != nil {
		return nil, err
	}
	if key != "" {
		differ = append(differ, "meta has another "+key)
	}
	for _, name := range movedTables {
		source, target, err := m.compareTable(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("compare %s: %w", name, err)
		}
		switch {
		case source.rows != target.rows:
			differ = append(differ, fmt.Sprintf("%s has %d rows in the file and %d in PostgreSQL", name, source.rows, target.rows))
		case !source.equals(target):
			differ = append(differ, name+" has as many rows but not the same")
		}
		counts = append(counts, TableCount{Table: name, Rows: source.rows})
	}
	if len(differ) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrDiffers, strings.Join(differ, "; "))
	}
	return counts, nil
}

// compareTable reads both databases concurrently.
func (m *mover) compareTable(ctx context.Context, name string) (source, target *content, err error) {
	t, err := m.table(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	source, target = &content{}, &content{}
	read := make(chan error, 1)
	go func() {
		read <- m.readSource(ctx, t, source)
	}()
	err = m.readTarget(ctx, t, target)
	if err != nil {
		cancel()
	}
	sourceErr := <-read
	if err != nil {
		return nil, nil, err
	}
	return source, target, sourceErr
}

func (m *mover) readSource(ctx context.Context, t *movedTable, into *content) error {
	rows, err := m.sourceRows(ctx, t, func(int64) {})
	if err != nil {
		return err
	}
	defer func() { _ = rows.rows.Close() }()
	for rows.Next() {
		if err := into.add(rows.row); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (m *mover) readTarget(ctx context.Context, t *movedTable, into *content) error {
	rows, err := m.conn.Query(ctx, t.read)
	if err != nil {
		return postgres.Refused(postgres.StartError(err))
	}
	defer rows.Close()
	tick := m.ticker("compared", t.name)
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		if err := into.add(values); err != nil {
			return err
		}
		tick(into.rows)
	}
	if err := rows.Err(); err != nil {
		return postgres.Refused(postgres.StartError(err))
	}
	m.opts.Progress("compared", t.name, into.rows)
	return nil
}

// content summarizes a table by the number of its rows and the sum of their hashes, which
// does not depend on the order of rows.
type content struct {
	rows int64
	sum  [4]uint64
	row  []byte
}

// add adds a row. Each value is hashed with its type and its length, so that no two
// different rows have the same encoding.
func (c *content) add(values []any) error {
	b := c.row[:0]
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			b = append(b, 'n')
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, 'i'), uint64(v))
		case float64:
			b = binary.BigEndian.AppendUint64(append(b, 'f'), math.Float64bits(v))
		case string:
			b = binary.BigEndian.AppendUint64(append(b, 't'), uint64(len(v)))
			b = append(b, v...)
		case []byte:
			b = binary.BigEndian.AppendUint64(append(b, 'b'), uint64(len(v)))
			b = append(b, v...)
		default:
			return errors.New("a value of an unexpected type")
		}
	}
	c.row = b
	hash := sha256.Sum256(b)
	for i := range c.sum {
		c.sum[i] += binary.BigEndian.Uint64(hash[8*i:])
	}
	c.rows++
	return nil
}

// equals reports whether both summarize the same rows.
func (c *content) equals(other *content) bool { return c.rows == other.rows && c.sum == other.sum }
