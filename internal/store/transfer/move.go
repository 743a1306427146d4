// Package transfer works on databases from outside. It moves a whole store from a SQLite
// file to PostgreSQL and compares the two, backs up and restores a file, and examines a
// PostgreSQL database for operators.
//
// The package guarantees that a move or a backup ends with a complete and checked copy or
// with nothing, and that the source is only read. It opens no store and does not join a
// cluster.
package transfer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqlite"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Errors of Move that callers branch on, besides those of the packages sqltext and
// postgres.
var (
	// ErrOlderSchema means that an older release wrote the file and this release has not
	// opened it yet.
	ErrOlderSchema = errors.New("the database was written by an older release")
	// ErrDiffers means that the two stores are not equal.
	ErrDiffers = errors.New("the stores are not equal")
	// ErrUnknown means that the connection was lost during the commit, so the target
	// contains either everything or nothing. Compare determines which.
	ErrUnknown = errors.New("it is not known whether the move was completed")
)

// Options describe a move from a SQLite file to a PostgreSQL database.
type Options struct {
	From string // path of the SQLite file
	To   string // URL of the database
	Keys *seal.Keyring
	// Version is the release that performs the move, shown to operators.
	Version string
	// Progress is called from time to time with the number of rows of a table that are
	// "copied" or "compared". Calls never overlap. It may be nil.
	Progress func(act, table string, rows int64)
}

// TableCount is the number of rows of a table.
type TableCount struct {
	Table string
	Rows  int64
}

// Move copies a whole store from a SQLite file that no server uses to an empty PostgreSQL
// database. It compares all data as both databases return it, and only then commits.
// Whatever happens, the target contains a complete copy or nothing. The source is only
// read. Nodes that start on the target meanwhile wait until the move ends.
//
// Errors wrap sqltext.ErrLocked, sqltext.ErrNewerSchema, sqltext.ErrMasterKeyMismatch,
// sqltext.ErrCorrupt, postgres.ErrUnusable, postgres.ErrURL, ErrOlderSchema, ErrDiffers or
// ErrUnknown where applicable. They contain no secret.
func Move(ctx context.Context, o Options) ([]TableCount, error) {
	m, err := openMove(ctx, o)
	if err != nil {
		return nil, err
	}
	defer m.close()
	if err := m.prepare(ctx); err != nil {
		return nil, err
	}
	tx, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := m.refuseUsed(ctx); err != nil {
		return nil, err
	}
	if err := m.copyAll(ctx); err != nil {
		return nil, err
	}
	counts, err := m.compareAll(ctx)
	if err != nil {
		return nil, err
	}
	if err := tx.Commit(ctx); err != nil {
		if postgres.State(err) == "" {
			return nil, fmt.Errorf("%w: the connection was lost at the commit (%s)", ErrUnknown, postgres.OneLine(err))
		}
		return nil, postgres.Refused(postgres.StartError(err))
	}
	// The planner has no statistics of the rows yet, and autovacuum never analyzes the
	// parents of partitions. The move has succeeded even if this fails.
	for _, t := range movedTables {
		_, _ = m.conn.Exec(ctx, "ANALYZE "+t)
	}
	return counts, nil
}

// Compare compares what Move would have copied, and changes nothing. Once a node has used
// the target, the stores differ as expected.
func Compare(ctx context.Context, o Options) ([]TableCount, error) {
	m, err := openMove(ctx, o)
	if err != nil {
		return nil, err
	}
	defer m.close()
	version, err := m.targetSchema(ctx)
	if err != nil {
		return nil, err
	}
	if version == 0 {
		return nil, fmt.Errorf("%w: the target holds no store", ErrDiffers)
	}
	tx, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := m.conn.QueryRow(ctx, "SELECT coalesce(max(epoch), 0) FROM nodes WHERE name = $1", sqltext.MovedNode).Scan(&m.epoch); err != nil {
		return nil, postgres.Refused(postgres.StartError(err))
	}
	return m.compareAll(ctx)
}

// mover is a move in progress.
type mover struct {
	opts   Options
	lock   *os.File
	source *sql.DB
	config *pgx.ConnConfig
	conn   *pgx.Conn
	epoch  int64 // epoch of the node that the work in progress will belong to
}

func openMove(ctx context.Context, o Options) (*mover, error) {
	if o.Progress == nil {
		o.Progress = func(string, string, int64) {}
	}
	m := &mover{opts: o}
	if err := m.openSource(ctx); err != nil {
		m.close()
		return nil, fmt.Errorf("%s: %w", o.From, err)
	}
	if err := m.openTarget(ctx); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// openSource locks the file as a server does, and then opens it for reading only.
func (m *mover) openSource(ctx context.Context) error {
	path := m.opts.From
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file")
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("this is a directory; name the file in it, such as posthorn.db")
	}
	if m.lock, err = sqltext.Lock(path + ".lock"); err != nil {
		return err
	}
	version, ours, err := sqlite.SchemaVersion(ctx, path)
	switch {
	case err != nil:
		return err
	case version == 0:
		return errors.New("there is no store in this file")
	case version > ours:
		return fmt.Errorf("schema %d, this release knows %d: %w", version, ours, sqltext.ErrNewerSchema)
	case version < ours:
		return fmt.Errorf("schema %d, this release writes %d: %w", version, ours, ErrOlderSchema)
	}
	if m.source, err = sqlite.OpenUnchanged(path); err != nil {
		return err
	}
	return checkKey(ctx, m.source, m.opts.Keys)
}

// checkKey returns an error that wraps ErrMasterKeyMismatch if keys are not those of the
// database in a file.
func checkKey(ctx context.Context, db *sql.DB, keys *seal.Keyring) error {
	var check, rotation []byte
	if err := db.QueryRowContext(ctx, sqltext.KeyRecords).Scan(&check, &rotation); err != nil {
		return sqlite.Opening("read master key check", err)
	}
	if err := keys.Fit(check, rotation); err != nil {
		return fmt.Errorf("%w: %w", sqltext.ErrMasterKeyMismatch, err)
	}
	return nil
}

func (m *mover) openTarget(ctx context.Context) error {
	var err error
	if m.config, err = postgres.ParseURL(m.opts.To); err != nil {
		return err
	}
	if m.conn, err = pgx.ConnectConfig(ctx, m.config); err != nil {
		return postgres.Refused(postgres.StartError(err))
	}
	return postgres.CheckServer(ctx, m.conn, false) // nodes check the rest when they start
}

// targetSchema returns the version of the target's schema, 0 if there is none.
func (m *mover) targetSchema(ctx context.Context) (int64, error) {
	db := postgres.Pool(m.config, 1)
	defer func() { _ = db.Close() }()
	version, err := postgres.SchemaVersion(ctx, db)
	if err != nil {
		return 0, postgres.Refused(postgres.StartError(err))
	}
	return version, nil
}

// prepare creates the schema and the partitions. They remain if the move fails later,
// because an empty store consists of the same.
func (m *mover) prepare(ctx context.Context) error {
	version, err := m.targetSchema(ctx)
	if err != nil {
		return err
	}
	if version == 0 {
		err = m.refuseForeign(ctx)
	} else {
		err = m.refuseUsed(ctx)
	}
	if err != nil {
		return err
	}
	if err := postgres.Migrate(ctx, m.config, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	days, err := m.days(ctx)
	if err != nil {
		return err
	}
	if err := m.checkLocks(ctx, len(days)); err != nil {
		return err
	}
	for _, day := range days {
		if err := m.partition(ctx, day); err != nil {
			return err
		}
	}
	return nil
}

// refuseForeign refuses a database in which another program has tables with our names.
func (m *mover) refuseForeign(ctx context.Context) error {
	var name string
	err := m.conn.QueryRow(ctx, "SELECT coalesce(min(name), '') FROM unnest($1::text[]) AS name WHERE to_regclass(quote_ident(current_schema()) || '.' || name) IS NOT NULL",
		append([]string{"meta", "config", "news", "nodes", "node_writes"}, movedTables...)).Scan(&name)
	if err != nil {
		return postgres.Refused(postgres.StartError(err))
	}
	if name != "" {
		return postgres.Refused(fmt.Errorf("the target has a table %s that is not Posthorn's; name a database of its own (createdb)", name))
	}
	return nil
}

// refuseUsed refuses a target that contains data or that a node is using.
func (m *mover) refuseUsed(ctx context.Context) error {
	var nodes int
	err := m.conn.QueryRow(ctx, "SELECT count(*) FROM nodes WHERE taker = 0 AND NOT gone AND seen_at + lease >= clock_timestamp()").Scan(&nodes)
	if err != nil {
		return postgres.Refused(postgres.StartError(err))
	}
	if nodes > 0 {
		return postgres.Refused(fmt.Errorf("%d nodes work on the target; a store is moved into an empty database before the nodes start", nodes))
	}
	for _, table := range movedTables {
		var used bool
		// Tables of newer migrations do not exist yet.
		err := m.conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", table).Scan(&used)
		if err == nil && used {
			err = m.conn.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM "+table+")").Scan(&used)
		}
		if err != nil {
			return postgres.Refused(postgres.StartError(err))
		}
		if used {
			return postgres.Refused(fmt.Errorf("the target is not empty: %s has rows; name an empty database (createdb), for nothing is ever mixed or overwritten", table))
		}
	}
	return nil
}

// days returns the days of which the source has rows. For each day that it finds, it
// searches for the first row after that day.
func (m *mover) days(ctx context.Context) ([]time.Time, error) {
	seen := map[time.Time]bool{}
	var days []time.Time
	for _, table := range postgres.Partitioned {
		column := "event"
		if table == "events" {
			column = "id"
		}
		for next := (hook.ID{}); ; {
			var first []byte
			err := m.source.QueryRowContext(ctx, "SELECT min("+column+") FROM "+table+" WHERE "+column+" >= ?", next[:]).Scan(&first)
			if err != nil {
				return nil, sqlite.Opening("read "+table, err)
			}
			if len(first) != len(next) {
				break
			}
			day := hook.ID(first).Time().Truncate(postgres.Span)
			if !seen[day] {
				seen[day] = true
				days = append(days, day)
			}
			next = sqltext.FirstID(day.Add(postgres.Span))
		}
	}
	return days, nil
}

// locksADay is how many objects of one day are locked by a transaction that writes and
// reads all of the day: three tables with their TOAST tables, and all indexes.
const locksADay = 16

// checkLocks detects before a long copy what would fail at its end: a transaction locks
// every partition, and PostgreSQL's lock table has a fixed size.
func (m *mover) checkLocks(ctx context.Context, days int) error {
	var room, slots int
	err := m.conn.QueryRow(ctx, `SELECT current_setting('max_locks_per_transaction')::int,
		current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int`).Scan(&room, &slots)
	if err != nil {
		return postgres.Refused(postgres.StartError(err))
	}
	if need := days * locksADay; need > room*slots {
		return postgres.Refused(fmt.Errorf("the store holds events of %d days, and a partition for each needs more locks than the server has; set max_locks_per_transaction to %d or more, and restart PostgreSQL",
			days, need/slots+1))
	}
	return nil
}

// partition creates the partitions of one day.
func (m *mover) partition(ctx context.Context, day time.Time) error {
	err := pgx.BeginFunc(ctx, m.conn, func(tx pgx.Tx) error {
		statements := []string{"SET LOCAL lock_timeout = '3s'", postgres.LockTurn}
		for _, s := range append(statements, postgres.MakePartitions(day)[:len(postgres.Partitioned)]...) {
			if _, err := tx.Exec(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return postgres.Refused(fmt.Errorf("make partitions of %s: %w", day.Format(time.DateOnly), postgres.StartError(err)))
	}
	return nil
}

// begin starts the transaction of the move. Its lock makes nodes that start, and other
// moves, wait until the end.
func (m *mover) begin(ctx context.Context) (pgx.Tx, error) {
	tx, err := m.conn.Begin(ctx)
	if err != nil {
		return nil, postgres.Refused(postgres.StartError(err))
	}
	for _, s := range []string{postgres.NoTimeouts, postgres.LockTurn, "SET LOCAL synchronous_commit = on"} {
		if _, err := tx.Exec(ctx, s); err != nil {
			return nil, postgres.Refused(postgres.StartError(err))
		}
	}
	return tx, nil
}

func (m *mover) close() {
	if m.source != nil {
		_ = m.source.Close()
	}
	if m.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = m.conn.Close(ctx)
	}
	if m.lock != nil {
		_ = m.lock.Close()
	}
}
