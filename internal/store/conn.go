package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
)

// conn is the writer's connection. Only the writer uses it, so nothing is locked.
// Statements of the hot path go to the driver directly, with their arguments in a
// reused slice; everything else goes through database/sql on the same connection.
type conn struct {
	sql   *sql.Conn
	raw   driver.ConnPrepareContext
	stmts map[string]*stmt
	// fault, set by tests only, makes statements fail.
	fault   func(query string) error
	dialect *dialect
}

type stmt struct {
	driver.StmtExecContext
	args []driver.NamedValue
}

func newConn(ctx context.Context, db *sql.DB, words *dialect) (*conn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &conn{sql: c, stmts: map[string]*stmt{}, dialect: words}
	err = c.Raw(func(raw any) error {
		prepares, ok := raw.(driver.ConnPrepareContext)
		if !ok {
			return errors.New("driver cannot prepare")
		}
		// The connection is pinned for as long as the store is open, so the
		// driver's own may be kept beyond this call.
		w.raw = prepares
		return nil
	})
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return w, nil
}

// exec runs a statement that is worth keeping prepared and returns the number of
// rows it changed. Arguments are int64, float64, string, []byte or nil.
func (c *conn) exec(query string, args ...any) (int64, error) {
	if c.fault != nil {
		if err := c.fault(query); err != nil {
			return 0, err
		}
	}
	st := c.stmts[query]
	if st == nil {
		prepared, err := c.raw.PrepareContext(context.Background(), c.dialect.text(query))
		if err != nil {
			return 0, fmt.Errorf("prepare: %w", err)
		}
		executes, ok := prepared.(driver.StmtExecContext)
		if !ok {
			return 0, errors.New("driver cannot execute")
		}
		st = &stmt{StmtExecContext: executes, args: make([]driver.NamedValue, strings.Count(query, "?"))}
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
		st.args[i].Value = nil // a payload must not live on here
	}
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (c *conn) close() error {
	for _, st := range c.stmts {
		if closer, ok := st.StmtExecContext.(driver.Stmt); ok {
			_ = closer.Close()
		}
	}
	return c.sql.Close()
}

// querier is what reading needs: the pool of readers, or the writer's connection
// inside its transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// readRow reads one row; ok is false if there is none.
func readRow(ctx context.Context, q querier, query string, args []any, dest ...any) (ok bool, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		return false, rows.Err()
	}
	if err := rows.Scan(dest...); err != nil {
		return false, err
	}
	return true, rows.Close()
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, q querier, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// scanner is a row.
type scanner interface{ Scan(dest ...any) error }
