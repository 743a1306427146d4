package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"

	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// LockTurn waits for the lock of migrations and of other tasks that one node does for all.
const LockTurn = "SELECT pg_advisory_xact_lock(7596481, 2)"

// NoTimeouts switches off the timeouts of statements, locks and idleness for the rest of a
// transaction that holds LockTurn. A role or database may set them, and behind a pooler they
// may be left over from another client. A timeout would end the transaction and its lock
// while the task that the lock protects goes on.
const NoTimeouts = `SELECT set_config(name, '0', true) FROM pg_settings
	WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')`

// lockWait is how long a migration waits for a table. Other statements on the table queue
// behind it, so it is shorter than callers wait (store.callerWaits).
const lockWait = 2 * time.Second

// lockPauses are the pauses between a migration's attempts to lock its tables.
var lockPauses = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second}

// turnLook is how often a migration looks whether it still has its turn.
const turnLook = 2 * time.Second

// turnAnswer is how long the server may take to answer that. It may be busy with the migration.
const turnAnswer = 30 * time.Second

var errTurnLost = errors.New("the connection that holds the lock of migrations was lost, so another node may be migrating: nothing was left half done; start again")

// migration brings a schema up to date.
type migration struct {
	files    fs.FS
	lockWait time.Duration
	turnLook time.Duration // 0: turnLook
	pauses   []time.Duration
	log      *slog.Logger
}

// Migrate brings the schema up to date while other nodes work. Nodes that start at the same
// time wait for the first. The lock belongs to a transaction, so it also works through a
// pooler.
func Migrate(ctx context.Context, config *pgx.ConnConfig, log *slog.Logger) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	m := migration{files: files, lockWait: lockWait, pauses: lockPauses, log: log}
	return m.run(ctx, config)
}

func (m *migration) run(ctx context.Context, config *pgx.ConnConfig) error {
	ours, err := sqltext.NewestMigration(m.files)
	if err != nil {
		return err
	}
	// Another node's migration may take long, and so may ours, during which this transaction
	// is idle.
	turn := Pool(config, 1)
	defer func() { _ = turn.Close() }()
	lock, err := turn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return Refused(StartError(err))
	}
	defer func() { _ = lock.Rollback() }()
	for _, statement := range []string{NoTimeouts, LockTurn} {
		if _, err := lock.ExecContext(ctx, statement); err != nil {
			return Refused(StartError(err))
		}
	}
	version, err := SchemaVersion(ctx, lock)
	if err != nil {
		return Refused(StartError(err))
	}
	if version > ours {
		return fmt.Errorf("schema %d, this release knows %d: %w", version, ours, sqltext.ErrNewerSchema)
	}
	if version == ours {
		return nil
	}
	db := Pool(config, 1, fmt.Sprintf("SET lock_timeout = %d", m.lockWait.Milliseconds()))
	defer func() { _ = db.Close() }()
	ctx, stop := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		m.watch(ctx, lock, stop)
	}()
	err = m.up(ctx, db)
	stop(nil)
	<-watched
	if err != nil && errors.Is(context.Cause(ctx), errTurnLost) {
		return Refused(errTurnLost)
	}
	return err
}

// watch stops the migration when the transaction that holds the lock is gone. The lock cannot
// be on the connection of the migrations, which have a transaction each: between two of them
// it would have to belong to the session, which a pooler may give to others.
func (m *migration) watch(ctx context.Context, lock *sql.Tx, stop context.CancelCauseFunc) {
	look := time.NewTicker(cmp.Or(m.turnLook, turnLook))
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		asked, cancel := context.WithTimeout(ctx, turnAnswer)
		_, err := lock.ExecContext(asked, "SELECT 1")
		cancel()
		if err != nil {
			stop(errTurnLost) // nothing if the migration has ended
			return
		}
	}
}

// up runs the missing migrations, each in its own transaction. A migration that does not
// get its locks in time is retried after a pause, during which the statements that queued
// behind it continue.
func (m *migration) up(ctx context.Context, db *sql.DB) error {
	provider, err := goose.NewProvider(goose.DialectPostgres, db, m.files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	for tried := 0; ; tried++ {
		_, err := provider.Up(ctx)
		switch {
		case err == nil:
			return nil
		case State(err) == "":
			return fmt.Errorf("migrate: %w", err)
		case State(err) != lockNotAvailable && State(err) != deadlock:
			return Refused(StartError(err))
		}
		holder := m.holder(ctx, db)
		if tried == len(m.pauses) {
			return Refused(fmt.Errorf("a table that is to be changed was locked by others each of %d times that it was waited for (%s): %s; end that, then start again",
				tried+1, m.lockWait, holder))
		}
		m.log.Warn("a table that is to be changed is locked by others: the schema is brought up to date later", "again_in", m.pauses[tried].String(), "holder", holder)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(m.pauses[tried]):
		}
	}
}

// holder describes the session that locks one of our tables and has had its transaction
// open for longer than the wait. If there are several, it describes the one with the oldest
// transaction.
func (m *migration) holder(ctx context.Context, db *sql.DB) string {
	var pid int
	var name, role, state string
	var seconds int64
	err := db.QueryRowContext(ctx, `SELECT a.pid, coalesce(nullif(a.application_name, ''), a.backend_type, 'unknown'), coalesce(a.usename, ''), coalesce(a.state, ''),
		extract(epoch FROM clock_timestamp() - a.xact_start)::int8
		FROM pg_stat_activity a WHERE a.pid <> pg_backend_pid() AND a.xact_start < clock_timestamp() - $1 * interval '1 millisecond'
		AND EXISTS (SELECT 1 FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE l.pid = a.pid AND l.granted
			AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND c.relnamespace = current_schema()::regnamespace)
		ORDER BY a.xact_start LIMIT 1`, m.lockWait.Milliseconds()).Scan(&pid, &name, &role, &state, &seconds)
	if errors.Is(err, sql.ErrNoRows) {
		return "who it is cannot be seen by this role (pg_locks and pg_stat_activity show it to others)"
	}
	if err != nil {
		return "who it is cannot be asked: " + OneLine(err)
	}
	return fmt.Sprintf("process %d of %s (role %s, %s) has had a transaction open for %d s; SELECT pg_terminate_backend(%d) ends it", pid, name, role, state, seconds, pid)
}
