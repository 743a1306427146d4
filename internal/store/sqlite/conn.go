package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Conn is the connection that writes. Only the writer uses it, so it needs no lock.
// Statements of the hot path go to the driver directly, with their arguments in a reused
// slice. Everything else goes through database/sql on the same connection.
type Conn struct {
	// Fault, set only by tests, makes statements fail.
	Fault func(query string) error

	sql     *sql.Conn
	raw     driver.ConnPrepareContext
	stmts   map[string]*stmt
	queries map[string]*sql.Stmt
	dialect *sqltext.Dialect
	marked  bool // the transaction has a savepoint

	gathered []*gathered
	broken   bool // gathered rows could not be inserted
}

type stmt struct {
	driver.StmtExecContext
	args []driver.NamedValue
}

func newConn(ctx context.Context, db *sql.DB, words *sqltext.Dialect) (*Conn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &Conn{sql: c, stmts: map[string]*stmt{}, queries: map[string]*sql.Stmt{}, dialect: words}
	err = c.Raw(func(raw any) error {
		prepares, ok := raw.(driver.ConnPrepareContext)
		if !ok {
			return errors.New("driver cannot prepare")
		}
		// The connection is pinned while the store is open, so the driver's connection may
		// be kept beyond this call.
		w.raw = prepares
		return nil
	})
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return w, nil
}

// Exec executes a statement, which it keeps prepared, and returns the number of rows that
// it changed. Arguments are int64, float64, string, []byte or nil.
func (c *Conn) Exec(query string, args ...any) (int64, error) {
	if err := c.flush(); err != nil {
		return 0, err
	}
	return c.exec(query, args)
}

func (c *Conn) exec(query string, args []any) (int64, error) {
	if c.Fault != nil {
		if err := c.Fault(query); err != nil {
			return 0, err
		}
	}
	st := c.stmts[query]
	if st == nil {
		text := c.dialect.Text(query)
		prepared, err := c.raw.PrepareContext(context.Background(), text)
		if err != nil {
			return 0, fmt.Errorf("prepare: %w", err)
		}
		executes, ok := prepared.(driver.StmtExecContext)
		if !ok {
			return 0, errors.New("driver cannot execute")
		}
		st = &stmt{StmtExecContext: executes, args: make([]driver.NamedValue, strings.Count(text, "?"))}
		for i := range st.args {
			st.args[i].Ordinal = i + 1
		}
		c.stmts[query] = st
	}
	if len(args) != len(st.args) {
		return 0, fmt.Errorf("%d arguments for %d places", len(args), len(st.args))
	}
	for i, a := range args {
		st.args[i].Value = a
	}
	result, err := st.ExecContext(context.Background(), st.args)
	for i := range st.args {
		st.args[i].Value = nil // do not keep a payload alive
	}
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// maxQueries bounds the queries that are kept prepared. Texts with lists of any length would
// otherwise add up.
const maxQueries = 100

// QueryContext runs a query inside the transaction. It keeps the query prepared, because to
// parse a query takes several times as long as to look something up. The rows must be closed
// before the same query runs again.
func (c *Conn) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := c.flush(); err != nil {
		return nil, err
	}
	prepared := c.queries[query]
	if prepared == nil && len(c.queries) >= maxQueries {
		return c.sql.QueryContext(ctx, c.dialect.Text(query), args...)
	}
	if prepared == nil {
		var err error
		if prepared, err = c.sql.PrepareContext(ctx, c.dialect.Text(query)); err != nil {
			return nil, err
		}
		c.queries[query] = prepared
	}
	return prepared.QueryContext(ctx, args...)
}

// Move changes a delivery's row if it is still as in before. It reports whether it did.
// Gathered rows stay gathered: none is of a delivery that moves, because no delivery is
// attempted before its row is committed.
func (c *Conn) Move(before, after *hook.Delivery) (bool, error) {
	n, err := c.exec(sqltext.MoveDelivery, []any{int64(after.State), string(after.Reason), int64(after.Attempts), int64(after.Scheduled),
		sqltext.Micros(after.Due), int64(after.LastStatus), string(after.LastError), sqltext.Micros(after.SettledAt), after.Owner,
		before.Event[:], before.Endpoint[:], before.Fence, int64(before.Attempts), before.Owner})
	return n == 1, err
}

// ClaimText finds the due deliveries of an endpoint.
const ClaimText = "SELECT " + sqltext.DeliveryColumns + ` FROM deliveries d
	WHERE d.state = 0 AND d.owner = 0 AND d.endpoint = ? AND d.due <= ? ORDER BY d.due LIMIT ?`

// Claim assigns due deliveries to an owner, share by share.
func (c *Conn) Claim(shares []sqltext.Share, owner int64, now time.Time) (*sqltext.Claimed, error) {
	out := &sqltext.Claimed{}
	ctx := context.Background()
	for _, share := range shares {
		rows, err := sqltext.Collect(ctx, c, sqltext.ScanDelivery, ClaimText, share.Endpoint[:], sqltext.Micros(now), max(share.Limit, 0))
		if err != nil {
			return nil, err
		}
		for _, d := range rows {
			d.Owner = owner
			d.Fence++
			if _, err := c.Exec("UPDATE deliveries SET owner = ?, fence = ? WHERE event = ? AND endpoint = ?",
				d.Owner, d.Fence, d.Event[:], d.Endpoint[:]); err != nil {
				return nil, err
			}
			out.Deliveries = append(out.Deliveries, d)
		}
		var due int64
		if _, err := sqltext.ReadRow(ctx, c, sqltext.EarliestDue, []any{share.Endpoint[:], share.Endpoint[:]}, &due); err != nil {
			return nil, err
		}
		if due != 0 {
			out.Left = append(out.Left, sqltext.Waiting{Endpoint: share.Endpoint, Due: sqltext.FromMicros(due)})
		}
	}
	return out, nil
}

// Lookup reads the rows one by one, but all of them before the first row is gathered: a
// read in between would insert the gathered rows.
func (c *Conn) Lookup(keys []sqltext.OnceKey, ids []sqltext.GivenID) (*sqltext.Known, error) {
	known := &sqltext.Known{Once: make(map[sqltext.OnceKey]*sqltext.OnceRow, len(keys)), IDs: make(map[sqltext.GivenID]*sqltext.GivenRow, len(ids))}
	for _, k := range keys {
		r := &sqltext.OnceRow{}
		found, err := sqltext.ReadRow(context.Background(), c, sqltext.FindOnce, []any{int64(k.Scope.Mode), k.Scope.Tenant, k.Route, k.Key},
			&r.Hash, &r.Status, &r.Sealed, &r.Created)
		if err != nil {
			return nil, sqltext.Wrap("read idempotency key", err)
		}
		if !found {
			r = nil
		}
		known.Once[k] = r
	}
	for _, id := range ids {
		r := &sqltext.GivenRow{}
		found, err := sqltext.ReadRow(context.Background(), c, sqltext.FindGiven, []any{int64(id.Scope.Mode), id.ID[:], id.Scope.Tenant}, &r.Event, &r.Hash)
		if err != nil {
			return nil, sqltext.Wrap("read event id", err)
		}
		if !found {
			r = nil
		}
		known.IDs[id] = r
	}
	return known, nil
}

// Savepoint sets the savepoint to which Undo rolls back.
func (c *Conn) Savepoint() error {
	if c.marked {
		if _, err := c.Exec("RELEASE op"); err != nil {
			return err
		}
	}
	_, err := c.Exec("SAVEPOINT op")
	c.marked = err == nil
	return err
}

// Undo rolls back to the savepoint.
func (c *Conn) Undo() error {
	c.forget() // what was gathered before the savepoint is inserted
	c.broken = false
	_, err := c.Exec("ROLLBACK TO op")
	return err
}

// Usable reports whether all gathered rows could be inserted. Any other failed statement has
// no effect.
func (c *Conn) Usable() bool { return !c.broken }

// Check inserts the gathered rows, so that SQLite checks them.
func (c *Conn) Check() error { return c.flush() }

func (c *Conn) begin() error {
	c.marked, c.broken = false, false
	_, err := c.Exec("BEGIN IMMEDIATE")
	return err
}

func (c *Conn) rollback() {
	c.forget()
	_, _ = c.exec("ROLLBACK", nil) // SQLite may have done so already
}

func (c *Conn) close() error {
	for _, st := range c.queries {
		_ = st.Close() // the connection is closed next
	}
	for _, st := range c.stmts {
		if closer, ok := st.StmtExecContext.(driver.Stmt); ok {
			_ = closer.Close()
		}
	}
	return c.sql.Close()
}
