package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	// patience bounds how long one exchange with the database may take before the
	// connection counts as lost.
	patience = 5 * time.Second
	// connectFor bounds one attempt to connect.
	connectFor = 3 * time.Second
	// connectionsANode is what a node opens: those that write, keeper, listener and readers.
	connectionsANode = lanes + 2 + pgReaders
	// lanes is how many connections write: while one waits for the disk, the next
	// batch is on its way.
	lanes     = 2
	pgReaders = 4
)

// pg is the engine over PostgreSQL: one connection that writes. Rows of the hot path
// gather as arrays and go out with the commit, in one exchange for the whole
// transaction.
type pg struct {
	store   *Store
	config  *pgx.ConnConfig
	dialect *dialect
	db      *sql.DB
	sql     *sql.Conn
	raw     *pgx.Conn
	// hot are the statements that this connection has prepared; nil where a pooler
	// stands in between that does not know prepared statements.
	hot map[string]*pgconn.StatementDescription

	begun           bool
	tables          []*bulk
	moves           *columns
	least, greatest hook.ID // events of the moves: the partitions between them are looked at
	lane            int64   // which of the node's writing connections this is
	number          int64   // of the last write that was begun
	busy            bool    // a commit is on its way
	batch           []*op   // of that commit
	// acknowledged is the number of the last write that the database answered.
	acknowledged int64
	last         *ending      // that was begun
	sentAt       atomic.Int64 // when the commit was sent that is not answered; 0: none

	// fault, set by tests only, makes statements fail.
	fault func(query string) error
}

type bulk struct {
	table *table
	*columns
}

// hotTables are in the order in which their rows are inserted: what another node may
// have inserted too comes first, attempts after the moves that number them.
var hotTables = []*table{onceTable, eventIDsTable, eventsTable, deliveriesTable, attemptsTable}

func newPG(s *Store, config *pgx.ConnConfig, lane int64, words *dialect) *pg {
	p := &pg{store: s, config: config, lane: lane, dialect: words, moves: newColumns(moveKinds)}
	for _, t := range hotTables {
		p.tables = append(p.tables, &bulk{t, newColumns(t.kinds)})
	}
	return p
}

func pgDialect() *dialect {
	return newDialect(true, "{anybody}", "d.owner >= 0", "{bytes}", "''::bytea", "{lock}", " FOR UPDATE", "{then}", "JOIN", "{stopped}", "")
}

// prepares reports whether the server may be asked to keep statements.
func (p *pg) prepares() bool {
	return p.config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement
}

// byIndex keeps plans to the indexes that were made for our statements. Plans are made
// while tables are small, and kept; and a list must not become a scan of a table when
// the statistics of a young partition say that it is small.
const byIndex = "SET enable_seqscan = off"

// pool opens a pool of connections of the same kind.
func (p *pg) pool(most int, after ...string) *sql.DB {
	// Compiling costs more than any statement of ours. All joins of ours look rows up by
	// their key; reading a whole table for a hash would cost more the more is retained.
	after = append([]string{"SET jit = off", "SET enable_hashjoin = off", "SET enable_mergejoin = off"}, after...)
	db := stdlib.OpenDB(*p.config, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
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

// connect takes the writer's connection, or another one after that was lost.
func (p *pg) connect(ctx context.Context) error {
	p.disconnect()
	if p.db == nil {
		// A node that is paused in a transaction must not keep its locks from the others.
		after := []string{"SET idle_in_transaction_session_timeout = '1s'", "SET lock_timeout = '2s'", byIndex}
		if p.prepares() {
			after = append(after, "SET plan_cache_mode = force_generic_plan")
		}
		p.db = p.pool(1, after...)
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
	p.sql, p.begun = c, false
	p.hot = nil
	if p.prepares() {
		p.hot = map[string]*pgconn.StatementDescription{}
	}
	return nil
}

func (p *pg) disconnect() {
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

func (p *pg) close() error {
	p.disconnect()
	if p.db == nil {
		return nil
	}
	return p.db.Close()
}

func (p *pg) lost(err error) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*errBroken](err); !known && (p.raw == nil || p.raw.IsClosed()) {
		return &errBroken{err}
	}
	return err
}

func (p *pg) wait() { _ = p.raw.PgConn().Conn().SetDeadline(time.Now().Add(patience)) }

func (p *pg) connected() bool { return p.raw != nil && !p.raw.IsClosed() }

func (p *pg) begin() error {
	if !p.connected() {
		return &errBroken{errors.New("not connected")}
	}
	p.begun = false
	p.forget()
	return nil
}

// forget drops rows that were gathered.
func (p *pg) forget() {
	for _, b := range p.tables {
		b.reset()
	}
	p.moves.reset()
}

func (p *pg) insert(into *table, args ...any) error {
	for _, b := range p.tables {
		if b.table == into {
			return b.add(args...)
		}
	}
	return fmt.Errorf("%s takes no rows here", into.name)
}

func (p *pg) exec(query string, args ...any) (int64, error) {
	if err := p.flush(); err != nil {
		return 0, err
	}
	if p.fault != nil {
		if err := p.fault(query); err != nil {
			return 0, err
		}
	}
	p.wait()
	tag, err := p.raw.Exec(background, p.dialect.text(query), args...)
	return tag.RowsAffected(), p.lost(err)
}

// QueryContext reads inside the transaction.
func (p *pg) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := p.flush(); err != nil {
		return nil, err
	}
	p.wait()
	rows, err := p.sql.QueryContext(ctx, p.dialect.text(query), args...)
	return rows, p.lost(err)
}

// outside gives reads before the transaction begins.
func (p *pg) outside() querier { return outside{p} }

type outside struct{ *pg }

// QueryContext reads on the writer's connection without a transaction.
func (o outside) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if o.fault != nil {
		if err := o.fault(query); err != nil {
			return nil, err
		}
	}
	o.wait()
	rows, err := o.sql.QueryContext(ctx, o.dialect.text(query), args...)
	return rows, o.lost(err)
}

// The move of deliveries: rows that are exactly as their jobs say.
const (
	moveKinds = "bbiiiitiiiitii"
	moveRows  = `WITH u AS (SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::text[],
			$8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::text[], $13::int8[], $14::int8[])
			AS u(event, endpoint, fence, was, holder, state, reason, attempts, scheduled, due, last_status, last_error, settled_at, owner)),
		m AS (UPDATE deliveries d SET state = u.state, reason = u.reason, attempts = u.attempts, scheduled = u.scheduled, due = u.due,
			last_status = u.last_status, last_error = u.last_error, settled_at = u.settled_at, owner = u.owner FROM u
			WHERE d.event BETWEEN $15 AND $16 AND d.event = u.event AND d.endpoint = u.endpoint AND d.fence = u.fence AND d.state = 0 AND d.attempts = u.was AND d.owner = u.holder
			RETURNING 1)
		SELECT posthorn_expect((SELECT count(*) FROM m), cardinality($1::bytea[]))`
)

// move promises that the row will be moved: if it cannot be, the commit fails and the
// next run asks for each row.
func (p *pg) move(before, after *hook.Delivery) (bool, error) {
	if p.store.cluster.careful {
		n, err := p.exec(settleFast, int64(after.State), string(after.Reason), int64(after.Attempts), int64(after.Scheduled),
			micros(after.Due), int64(after.LastStatus), string(after.LastError), micros(after.SettledAt), after.Owner,
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
		int64(after.State), string(after.Reason), int64(after.Attempts), int64(after.Scheduled), micros(after.Due),
		int64(after.LastStatus), string(after.LastError), micros(after.SettledAt), after.Owner)
}
