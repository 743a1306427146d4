// Package postgres contains everything that is specific to PostgreSQL: connections that
// write and the single exchange of a transaction, the guard that decides about a commit,
// claims with arrays, the meaning of errors, the checks of a server, the schema and the
// partitions by day.
//
// The package guarantees that what a transaction gathered is sent with its commit or not at
// all, that every exchange has a deadline, and that no error contains a password. It
// depends on neither nodes nor events, and opens no connection unless asked to.
package postgres

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const (
	// patience bounds how long one exchange with the database may take before the
	// connection counts as lost. patienceRow and patienceByte extend it for each row and
	// byte that is sent.
	patience     = 5 * time.Second
	patienceRow  = 100 * time.Microsecond
	patienceByte = 250 * time.Nanosecond
	// connectFor bounds one attempt to connect.
	connectFor = 3 * time.Second
	// Writers is the number of connections that write. While the commit on one waits for
	// the disk, the next batch uses the other.
	Writers = 2
	// Readers is the number of connections that read.
	Readers = 4
	// ConnectionsANode is the number of connections that a node opens: those that write and
	// read, one for the lease and one that listens for changes.
	ConnectionsANode = Writers + 2 + Readers
)

var background = context.Background()

// Conn is a connection that writes. Rows of the hot path are gathered as arrays and sent
// with the commit, in one exchange for the whole transaction. Only one goroutine may use a
// Conn at a time.
type Conn struct {
	// Fault, set only by tests, makes statements fail.
	Fault func(query string) error
	// Careful makes Move execute each move at once and report its result, because some rows
	// are not as expected.
	Careful bool

	config  *pgx.ConnConfig
	dialect *sqltext.Dialect
	db      *sql.DB
	sql     *sql.Conn
	raw     *pgx.Conn
	// hot contains the statements that this connection has prepared. It is nil behind a
	// pooler that does not support prepared statements.
	hot map[string]*pgconn.StatementDescription
	// outdated means that the prepared statements must be prepared again.
	outdated bool

	begun           bool
	marked          bool // the transaction has a savepoint
	tables          []*bulk
	moves           *columns
	least, greatest hook.ID // range of the moved events: only its partitions are searched
}

type bulk struct {
	table *sqltext.Table
	*columns
}

// hotTables are in the order in which their rows are inserted. Tables into which another
// node may have inserted the same key come first. Attempts come after the moves that number
// them.
var hotTables = []*sqltext.Table{sqltext.Answers, sqltext.EventIDs, sqltext.Events, sqltext.EventTags, sqltext.Deliveries, sqltext.Attempts, sqltext.OneShots, sqltext.StatLog, sqltext.Stats, sqltext.Audit, sqltext.RetentionDue}

// NewConn returns a connection that is not connected yet.
func NewConn(config *pgx.ConnConfig, words *sqltext.Dialect) *Conn {
	c := &Conn{config: config, dialect: words, moves: newColumns(moveKinds)}
	for _, t := range hotTables {
		c.tables = append(c.tables, &bulk{t, newColumns(t.Kinds)})
	}
	return c
}

// NewDialect returns the dialect of PostgreSQL. The deliveries of events are a lateral
// subquery with an OFFSET, which the planner neither moves nor adds conditions to. Else it
// reads all deliveries from the newest on, because it expects that the first ones match, and
// so all that is retained if none does.
func NewDialect() *sqltext.Dialect {
	return sqltext.NewDialect(true, "{anybody}", "d.owner >= 0", "{bytes}", "''::bytea", "{lock}", " FOR UPDATE", "{free}", " FOR UPDATE SKIP LOCKED", "{then}", "JOIN", "{deliveries}", "JOIN LATERAL (SELECT * FROM deliveries d WHERE d.event = e.id", "{each}", " OFFSET 0) d ON true",
		"{stopped}", "",
		"{away}", ` AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.epoch = endpoints.home AND n.taker = 0 AND NOT n.gone
			AND n.seen_at + n.lease >= clock_timestamp())`,
		"{turn}", tryTurn, "{oldest}", `decode(min(encode(w.event, 'hex') COLLATE "C"), 'hex')`, "{idkey}", "event", "{idcols}", "id", "{tags}", "(SELECT json_object_agg(t.name, t.value)::text FROM event_tags t WHERE t.event = e.id)")
}

// prepares reports whether the server may keep prepared statements.
func prepares(config *pgx.ConnConfig) bool {
	return config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement
}

// byIndex makes the planner use the indexes that were created for our statements. Plans are
// made while tables are small, and kept. A list must not scan a whole table because the
// statistics of a young partition say that it is small.
const byIndex = "SET enable_seqscan = off"

// WriterSettings are the settings of a connection that writes. A node that is suspended
// inside a transaction must not keep its locks. A bitmap scan would read a whole backlog
// each time that one page of it is needed.
var WriterSettings = []string{"SET idle_in_transaction_session_timeout = '1s'", "SET lock_timeout = '2s'", byIndex, "SET enable_bitmapscan = off"}

// Pool opens a pool with the given maximum number of connections. Each connection runs the
// statements in after when it is opened.
func Pool(config *pgx.ConnConfig, most int, after ...string) *sql.DB {
	// JIT compilation costs more than any of our statements. All our joins look up rows by
	// key; reading a whole table for a hash join would cost more the more is retained.
	after = append([]string{"SET jit = off", "SET enable_hashjoin = off", "SET enable_mergejoin = off"}, after...)
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		for _, statement := range after {
			if _, err := c.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
		}
		return nil
	}))
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	db.SetConnMaxIdleTime(10 * time.Minute)
	return db
}

// ReadersPool opens the pool of connections that only read.
func ReadersPool(config *pgx.ConnConfig) *sql.DB { return Pool(config, Readers, byIndex) }

// Connect opens the connection, or opens it again after it was lost.
func (p *Conn) Connect(ctx context.Context) error {
	p.Disconnect()
	if p.db == nil {
		after := slices.Clone(WriterSettings)
		if prepares(p.config) {
			after = append(after, "SET plan_cache_mode = force_generic_plan")
		}
		p.db = Pool(p.config, 1, after...)
	}
	c, err := p.db.Conn(ctx)
	if err != nil {
		return err
	}
	err = c.Raw(func(raw any) error {
		p.raw = raw.(*stdlib.Conn).Conn()
		return nil
	})
	if err != nil {
		_ = c.Close()
		return err
	}
	p.sql, p.begun, p.outdated = c, false, false
	p.hot = nil
	if prepares(p.config) {
		p.hot = map[string]*pgconn.StatementDescription{}
	}
	return nil
}

// Disconnect closes the connection. Connect can open it again.
func (p *Conn) Disconnect() {
	if p.sql == nil {
		return
	}
	_ = p.sql.Raw(func(any) error {
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		return p.raw.Close(ctx)
	})
	_ = p.sql.Close()
	p.sql, p.raw = nil, nil
}

// Close closes the connection permanently.
func (p *Conn) Close() error {
	p.Disconnect()
	if p.db == nil {
		return nil
	}
	return p.db.Close()
}

// Lost wraps err as the loss of the connection if the connection is closed. It marks err as
// a timeout if a deadline, a lock wait or a cancelled statement caused it.
func (p *Conn) Lost(err error) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*lostError](err); !known && (p.raw == nil || p.raw.IsClosed()) {
		lost := error(&lostError{err})
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			lost = batch.TimedOut(lost)
		}
		return lost
	}
	p.outdated = p.outdated || outdated(err)
	switch State(err) {
	case lockNotAvailable, "57014": // a lock or the statement took too long
		return batch.TimedOut(err)
	}
	return err
}

// wait sets the deadline of the next exchange, which grows with the rows and bytes that are
// sent.
func (p *Conn) wait(rows, bytes int) {
	patience := patience + time.Duration(rows)*patienceRow + time.Duration(bytes)*patienceByte
	_ = p.raw.PgConn().Conn().SetDeadline(time.Now().Add(patience))
}

// Connected reports whether the connection is open, as far as is known.
func (p *Conn) Connected() bool { return p.raw != nil && !p.raw.IsClosed() }

// PID returns the process id of the server process that serves the connection.
func (p *Conn) PID() int { return int(p.raw.PgConn().PID()) }

// QueryRow reads a row outside any transaction. text is in PostgreSQL's own dialect.
func (p *Conn) QueryRow(ctx context.Context, text string, args ...any) pgx.Row {
	p.wait(0, 0)
	return p.raw.QueryRow(ctx, text, args...)
}

// Run executes a statement outside any transaction. text is in PostgreSQL's own dialect.
func (p *Conn) Run(ctx context.Context, text string, args ...any) error {
	p.wait(0, 0)
	_, err := p.raw.Exec(ctx, text, args...)
	return err
}

// Begin starts a transaction. Nothing is sent before its first statement.
func (p *Conn) Begin() error {
	if !p.Connected() {
		return &lostError{errors.New("not connected")}
	}
	p.begun, p.marked = false, false
	p.forget()
	return nil
}

// Lookup reads outside the transaction. Rows that it finds do not disappear. If another
// node inserts a row that it did not find, the unique index detects it.
func (p *Conn) Lookup(keys []sqltext.OnceKey, ids []sqltext.GivenID) (*sqltext.Known, error) {
	return lookup(outside{p}, keys, ids)
}

// Savepoint sets the savepoint to which Undo rolls back. Rows gathered before it are sent
// first and remain.
func (p *Conn) Savepoint() error {
	x := p.exchange()
	x.start()
	if p.marked {
		x.add("RELEASE op", nil, nil)
	}
	x.add("SAVEPOINT op", nil, nil)
	p.marked = true
	_, err := x.run()
	p.forget()
	return err
}

// Undo rolls back to the savepoint.
func (p *Conn) Undo() error {
	if !p.Connected() {
		return &lostError{errors.New("not connected")}
	}
	p.forget()
	p.wait(0, 0)
	_, err := p.raw.PgConn().Exec(background, "ROLLBACK TO op").ReadAll()
	return p.Lost(err)
}

// Usable reports whether the transaction can continue after a failed statement.
func (p *Conn) Usable() bool {
	if !p.Connected() {
		return false
	}
	status := p.raw.PgConn().TxStatus()
	return p.begun && status == 'T' || !p.begun && status == 'I'
}

// Check sends the gathered rows, so that the database checks them.
func (p *Conn) Check() error { return p.flush() }

// forget discards the gathered rows.
func (p *Conn) forget() {
	for _, b := range p.tables {
		b.reset()
	}
	p.moves.reset()
}

// Insert gathers a row. It is sent with the commit or before the next statement.
func (p *Conn) Insert(into *sqltext.Table, args ...any) error {
	for _, b := range p.tables {
		if b.table == into {
			return b.add(args...)
		}
	}
	return fmt.Errorf("%s takes no rows here", into.Name)
}

// Exec sends the gathered rows and executes a statement.
func (p *Conn) Exec(query string, args ...any) (int64, error) {
	if err := p.flush(); err != nil {
		return 0, err
	}
	if p.Fault != nil {
		if err := p.Fault(query); err != nil {
			return 0, err
		}
	}
	p.wait(0, 0)
	tag, err := p.raw.Exec(background, p.dialect.Text(query), args...)
	return tag.RowsAffected(), p.Lost(err)
}

// QueryContext sends the gathered rows and runs a query inside the transaction.
func (p *Conn) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := p.flush(); err != nil {
		return nil, err
	}
	p.wait(0, 0)
	rows, err := p.sql.QueryContext(ctx, p.dialect.Text(query), args...)
	return rows, p.Lost(err)
}

// outside reads on a Conn before the transaction begins.
type outside struct{ *Conn }

// QueryContext runs a query on the writer's connection without a transaction.
func (o outside) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if o.Fault != nil {
		if err := o.Fault(query); err != nil {
			return nil, err
		}
	}
	o.wait(0, 0)
	rows, err := o.sql.QueryContext(ctx, o.dialect.Text(query), args...)
	return rows, o.Lost(err)
}

// The statement that moves deliveries. It changes only rows that are exactly as their jobs
// say. The condition state + 0 keeps the planner from the index over open work, which would
// search for each row among everything that its endpoint has in memory.
const (
	moveKinds = "bbiiiitiiiitii"
	// MoveText executes all moves of a transaction.
	MoveText = `WITH u AS (SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::text[],
			$8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::text[], $13::int8[], $14::int8[])
			AS u(event, endpoint, fence, was, holder, state, reason, attempts, scheduled, due, last_status, last_error, settled_at, owner)),
		m AS (UPDATE deliveries d SET state = u.state, reason = u.reason, attempts = u.attempts, scheduled = u.scheduled, due = u.due,
			last_status = u.last_status, last_error = u.last_error, settled_at = u.settled_at, owner = u.owner FROM u
			WHERE d.event BETWEEN $15 AND $16 AND d.event = u.event AND d.endpoint = u.endpoint AND d.fence = u.fence AND d.state + 0 = 0 AND d.attempts = u.was AND d.owner = u.holder
			RETURNING 1)
		SELECT posthorn_expect((SELECT count(*) FROM m), cardinality($1::bytea[]))`
)

// Move gathers a move and returns true. If the row then cannot be moved, the commit fails,
// and the next run executes each move separately (see Careful).
func (p *Conn) Move(before, after *hook.Delivery) (bool, error) {
	if p.Careful {
		n, err := p.Exec(sqltext.MoveDelivery, int64(after.State), string(after.Reason), int64(after.Attempts), int64(after.Scheduled),
			sqltext.Micros(after.Due), int64(after.LastStatus), string(after.LastError), sqltext.Micros(after.SettledAt), after.Owner,
			before.Event[:], before.Endpoint[:], before.Fence, int64(before.Attempts), before.Owner)
		return n == 1, err
	}
	if p.moves.rows() == 0 || bytes.Compare(before.Event[:], p.least[:]) < 0 {
		p.least = before.Event
	}
	if p.moves.rows() == 0 || bytes.Compare(before.Event[:], p.greatest[:]) > 0 {
		p.greatest = before.Event
	}
	return true, p.moves.add(before.Event[:], before.Endpoint[:], before.Fence, int64(before.Attempts), before.Owner,
		int64(after.State), string(after.Reason), int64(after.Attempts), int64(after.Scheduled), sqltext.Micros(after.Due),
		int64(after.LastStatus), string(after.LastError), sqltext.Micros(after.SettledAt), after.Owner)
}
