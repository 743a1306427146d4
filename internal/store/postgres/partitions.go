package postgres

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const (
	// Span is the period of time that a partition covers.
	Span = 24 * time.Hour
	// Ahead is the number of days for which partitions are created in advance. A node that
	// cannot create partitions for that long still stores everything in partitions, and
	// after that in the default partition.
	Ahead = 7
)

// Partitioned lists the tables that are partitioned by time, in the order in which rows are
// moved and tables dropped.
var Partitioned = []string{"events", "deliveries", "attempts"}

// Days manages the partitions of a database: one per table for each day, by the time in the
// event's id.
type Days struct {
	DB  *sql.DB
	Log *slog.Logger
	Now func() time.Time
}

// Make creates the missing partitions of the coming days. If that is not possible now, the
// default partition takes the rows, and the next call an hour later tries again.
func (p *Days) Make(ctx context.Context) error {
	day := p.Now().Truncate(Span)
	var there int
	err := p.DB.QueryRowContext(ctx, "SELECT count(*) FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NOT NULL",
		partitionNames(day)).Scan(&there)
	if err != nil || there == len(Partitioned)*(Ahead+1) {
		return err
	}
	err = p.makeDays(ctx, day)
	switch State(err) {
	case "55P03", "40P01", "23514": // a lock; or the default partition already has rows of the day
		p.Log.Warn("partitions of the next days could not be made: it will be tried again", "error", OneLine(err))
		return nil
	}
	return sqltext.Wrap("make partitions", err)
}

func (p *Days) makeDays(ctx context.Context, day time.Time) error {
	tx, err := p.DB.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range []string{"SET LOCAL lock_timeout = '3s'", LockTurn, "SET LOCAL lock_timeout = '1s'"} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	for range Ahead + 1 {
		if err := p.makeDay(ctx, tx, day); err != nil {
			return err
		}
		day = day.Add(Span)
	}
	return tx.Commit()
}

// makeDay creates the partitions of a day. It skips a day of which the default partition
// already has rows: no partition was created in time, and the rows would have to be moved.
func (p *Days) makeDay(ctx context.Context, tx *sql.Tx, day time.Time) error {
	var there, late bool
	low, high := sqltext.FirstID(day), sqltext.FirstID(day.Add(Span))
	err := tx.QueryRowContext(ctx, `SELECT to_regclass($3) IS NOT NULL, EXISTS (SELECT 1 FROM events_default WHERE id >= $1 AND id < $2)
		OR EXISTS (SELECT 1 FROM deliveries_default WHERE event >= $1 AND event < $2)
		OR EXISTS (SELECT 1 FROM attempts_default WHERE event >= $1 AND event < $2)`, low[:], high[:], PartitionName("attempts", day)).Scan(&there, &late)
	if err != nil || there {
		return err
	}
	if late {
		p.Log.Warn("a day has no partition of its own: the default partition has events of it", "day", day.Format(time.DateOnly))
		return nil
	}
	for _, statement := range MakePartitions(day)[:len(Partitioned)] {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// PartitionName returns the name of a table's partition for a day.
func PartitionName(table string, day time.Time) string { return table + day.Format("_20060102") }

func partitionNames(day time.Time) (names []string) {
	for range Ahead + 1 {
		for _, table := range Partitioned {
			names = append(names, PartitionName(table, day))
		}
		day = day.Add(Span)
	}
	return names
}

// MakePartitions returns the statements that create the partitions of a day and of the
// Ahead days after it. Rows of deliveries change a few times and then never again, so their
// dead versions are vacuumed early, a little at a time.
func MakePartitions(day time.Time) (statements []string) {
	options := map[string]string{
		"events":     "autovacuum_vacuum_insert_scale_factor = 0.2",
		"deliveries": "fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 1, autovacuum_analyze_scale_factor = 0.05",
		"attempts":   "autovacuum_vacuum_insert_scale_factor = 0.2",
	}
	for range Ahead + 1 {
		next := day.Add(Span)
		for _, table := range Partitioned {
			statements = append(statements, fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s PARTITION OF %s FOR VALUES FROM (%s) TO (%s) WITH (%s)",
				PartitionName(table, day), table, BytesLiteral(sqltext.FirstID(day)), BytesLiteral(sqltext.FirstID(next)), options[table]))
		}
		day = next
	}
	return statements
}

// BytesLiteral returns an id as a literal in a statement.
func BytesLiteral(id hook.ID) string { return `'\x` + hex.EncodeToString(id[:]) + `'` }

const (
	// CarriedMost bounds the rows that are carried over while nobody can write.
	CarriedMost = 20_000
	// dropWait is how long a drop waits for a lock. Other statements queue behind it. All
	// of its lock waits together are shorter than the second after which PostgreSQL checks
	// for deadlocks, so it is the drop that gives up.
	dropWait = "300ms"
	// vacuumWait is how long a drop waits for vacuum. Nobody waits for the drop during that
	// time.
	vacuumWait = "5s"
	// dropTries is how often a drop is tried before it is left for the next call, and
	// dropPause is the time between two tries.
	dropTries = 4
	dropPause = 3 * time.Second
	// DropLate is how long past the retention a day is kept because too many of its rows
	// are still needed. After that, the rows that may go are deleted page by page, as on
	// SQLite.
	DropLate = 7 * 24 * time.Hour
	// idsPage is how many ids given by platforms are deleted at a time.
	idsPage = 5000
)

// tryTurn is LockTurn for a caller that has nothing to do when another node does the task.
const tryTurn = "pg_try_advisory_xact_lock(7596481, 2)"

// Drop drops the partitions in which everything is older than until. It returns the tables
// of events from which the remaining rows must be deleted page by page.
func (p *Days) Drop(ctx context.Context, until time.Time) (byPage []string, err error) {
	conn, err := p.DB.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("drop old days: %w", err)
	}
	defer func() { _ = conn.Close() }()
	names, err := sqltext.Collect(ctx, conn, func(row sqltext.Scanner) (name string, err error) { err = row.Scan(&name); return name, err },
		"SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'events'::regclass ORDER BY c.relname")
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	for _, name := range names {
		day, err := time.Parse("events_20060102", name)
		if err != nil || day.Add(Span).After(until) {
			continue // the default partition, or too young
		}
		inPages, err := p.dropDay(ctx, conn, day, until)
		if errors.Is(err, errBusy) {
			p.Log.Warn("a day older than the retention could not be dropped: somebody reads it for long, such as a backup; it will be tried again",
				"day", day.Format(time.DateOnly))
			break
		}
		if err != nil && State(err) != "42P01" { // another node has dropped it meanwhile
			return nil, fmt.Errorf("drop %s: %w", name, err)
		}
		if inPages {
			byPage = append(byPage, name)
		}
	}
	return append(byPage, "events_default"), nil
}

// dropDay drops the partitions of a day and carries the rows that are still needed over to
// the default partitions, in one short transaction. It reports whether the day must be
// deleted page by page instead.
func (p *Days) dropDay(ctx context.Context, conn *sql.Conn, day, until time.Time) (inPages bool, err error) {
	d := NewOldDay(conn, day, until)
	rows, err := d.look(ctx)
	switch {
	case err != nil:
		return false, err
	case rows > CarriedMost && until.Sub(day.Add(Span)) > DropLate:
		return true, nil
	case rows > CarriedMost:
		p.Log.Info("a day older than the retention is kept for now: too much of it is still needed",
			"day", day.Format(time.DateOnly), "rows", rows)
		return false, nil
	}
	if err := d.forgetIDs(ctx); err != nil {
		return false, err
	}
	for try := 1; ; try++ {
		began := time.Now()
		gone, err := d.Drop(ctx)
		if err == nil {
			if gone {
				p.Log.Info("dropped a day older than the retention", "day", day.Format(time.DateOnly),
					"still_needed", d.carried, "took", time.Since(began).Round(time.Millisecond).String())
			}
			return false, nil
		}
		if state := State(err); state != "55P03" && state != "40P01" {
			return false, err
		}
		if try == dropTries {
			return false, errBusy
		}
		if err := sqltext.Pause(ctx, dropPause); err != nil {
			return false, err
		}
	}
}

// OldDay is a day that is being dropped.
type OldDay struct {
	conn      *sql.Conn
	day       time.Time
	until     time.Time
	low, high hook.ID
	needed    []hook.ID // its events that must be kept
	carried   int       // how many events were kept
}

// NewOldDay returns an OldDay. What was settled by until may be dropped.
func NewOldDay(conn *sql.Conn, day, until time.Time) *OldDay {
	return &OldDay{conn: conn, day: day, until: until, low: sqltext.FirstID(day), high: sqltext.FirstID(day.Add(Span))}
}

// Text replaces {events}, {deliveries} and {attempts} in a statement with the names of the
// day's partitions.
func (d *OldDay) Text(query string) string {
	for _, table := range Partitioned {
		query = strings.ReplaceAll(query, "{"+table+"}", PartitionName(table, d.day))
	}
	return query
}

// look finds the events that are still needed, without blocking anybody, and returns the
// number of their rows. It stops counting beyond CarriedMost.
func (d *OldDay) look(ctx context.Context) (rows int, err error) {
	d.needed, err = sqltext.Collect(ctx, d.conn, sqltext.ScanID, d.Text(`SELECT d.event FROM {deliveries} d WHERE d.state < 2 OR d.settled_at > $3
		UNION SELECT o.event FROM oneshots o WHERE o.event >= $1 AND o.event < $2 LIMIT $4`), d.low[:], d.high[:], sqltext.Micros(d.until), CarriedMost+1)
	if err != nil || len(d.needed) > CarriedMost {
		return len(d.needed), err
	}
	err = d.conn.QueryRowContext(ctx, d.Text(`SELECT (SELECT count(*) FROM {deliveries} WHERE event = ANY($1)) + (SELECT count(*) FROM {attempts} WHERE event = ANY($1))`),
		idList(d.needed)).Scan(&rows)
	return len(d.needed) + rows, err
}

// forgetIDs deletes the ids that platforms gave to the events that are dropped, and their
// tags, a page at a time. Their tables are not Partitioned: ids stay unique, and a search
// by tag looks into one table.
func (d *OldDay) forgetIDs(ctx context.Context) error {
	for _, table := range []string{"event_ids", "event_tags"} {
		if err := d.forget(ctx, table); err != nil {
			return err
		}
	}
	return nil
}

// forget deletes the rows of a table whose events are dropped. A page begins with the last
// event of the page before, which may have more rows.
func (d *OldDay) forget(ctx context.Context, table string) error {
	for after, more := d.low[:], true; more; {
		began := time.Now()
		err := d.once(ctx, func(tx *sql.Tx) error {
			err := tx.QueryRowContext(ctx, d.Text(`WITH page AS (SELECT event FROM `+table+` WHERE event >= $1 AND event < $2 ORDER BY event LIMIT $4),
				gone AS (DELETE FROM `+table+` i USING page p WHERE i.event = p.event
					AND NOT EXISTS (SELECT 1 FROM {deliveries} d WHERE d.event = p.event AND (d.state < 2 OR d.settled_at > $3))
					AND NOT EXISTS (SELECT 1 FROM oneshots o WHERE o.event = p.event))
				SELECT event FROM page ORDER BY event OFFSET $4 - 1`), after, d.high[:], sqltext.Micros(d.until), idsPage).Scan(&after)
			if more = err == nil; errors.Is(err, sql.ErrNoRows) { // that was the last page
				return nil
			}
			return err
		})
		if errors.Is(err, errNotOurTurn) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("forget %s: %w", table, err)
		}
		if err := sqltext.Pause(ctx, time.Since(began)); err != nil {
			return err
		}
	}
	return nil
}

// errBusy means that a drop could not get its locks.
var errBusy = errors.New("the tables are in use")

// errNotOurTurn means that another node is doing the task that one node does for all.
var errNotOurTurn = errors.New("another node is at it")

// once runs do in a transaction that runs on one node at a time.
func (d *OldDay) once(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := d.conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var mine bool
	if err := tx.QueryRowContext(ctx, "SELECT "+tryTurn).Scan(&mine); err != nil {
		return err
	}
	if !mine {
		return errNotOurTurn
	}
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// Drop runs the transaction during which nobody else can write. Everybody locks a table
// before its partitions, so nobody uses the partitions once the tables are locked. It
// reports whether it dropped the day; it did not if the day was gone or another node is at
// it.
func (d *OldDay) Drop(ctx context.Context) (gone bool, err error) {
	err = d.once(ctx, func(tx *sql.Tx) error {
		var there bool
		if err := tx.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", PartitionName("events", d.day)).Scan(&there); err != nil || !there {
			return err
		}
		for _, statement := range []string{
			// Vacuum blocks only a drop. It ends when another session waits for it.
			"SET LOCAL lock_timeout = '" + vacuumWait + "'",
			"LOCK TABLE {events}, {deliveries}, {attempts}, events_default, deliveries_default, attempts_default IN SHARE UPDATE EXCLUSIVE MODE",
			"SET LOCAL lock_timeout = '" + dropWait + "'", "SET LOCAL enable_seqscan = off",
			"LOCK TABLE ONLY events, ONLY deliveries, ONLY attempts IN ACCESS EXCLUSIVE MODE",
		} {
			if _, err := tx.ExecContext(ctx, d.Text(statement)); err != nil {
				return err
			}
		}
		gone = true
		return d.exchange(ctx, tx)
	})
	if errors.Is(err, errNotOurTurn) {
		return false, nil
	}
	return gone && err == nil, err
}

// exchange replaces the day's partitions with the rows that are still needed. Since look,
// deliveries may have been created or requested again; the indexes over open work find
// them. A delivery that succeeded by hand just now, after all this time, is no longer
// needed.
func (d *OldDay) exchange(ctx context.Context, tx *sql.Tx) error {
	since, err := sqltext.Collect(ctx, tx, sqltext.ScanID, d.Text(`SELECT event FROM {deliveries} WHERE state = 0
		UNION SELECT event FROM {deliveries} WHERE state = 1 UNION SELECT event FROM oneshots WHERE event >= $1 AND event < $2`), d.low[:], d.high[:])
	if err != nil {
		return err
	}
	needed := idList(append(since, d.needed...))
	d.carried = len(needed)
	for _, table := range Partitioned {
		if _, err := tx.ExecContext(ctx, d.Text("ALTER TABLE "+table+" DETACH PARTITION {"+table+"}")); err != nil {
			return err
		}
	}
	for _, table := range Partitioned {
		key := "event"
		if table == "events" {
			key = "id"
		}
		if _, err := tx.ExecContext(ctx, d.Text("INSERT INTO "+table+" SELECT p.* FROM {"+table+"} p WHERE p."+key+" = ANY($1)"), needed); err != nil {
			return err
		}
	}
	for _, table := range []string{"event_ids", "event_tags"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE event >= $1 AND event < $2 AND NOT (event = ANY($3))", d.low[:], d.high[:], needed); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, d.Text("DROP TABLE {events}, {deliveries}, {attempts}"))
	return err
}

// idList returns ids as an argument, without duplicates.
func idList(ids []hook.ID) [][]byte {
	seen := make(map[hook.ID]bool, len(ids))
	list := make([][]byte, 0, len(ids))
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			list = append(list, id[:])
		}
	}
	return list
}
