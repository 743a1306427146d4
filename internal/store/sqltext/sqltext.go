// Package sqltext owns what both databases share: the texts of statements, written once
// for two dialects, the columns of the tables and how their rows are read, and the
// contract of a connection that writes ([Conn]).
//
// It promises that a text means the same in both dialects. It runs nothing by itself,
// and knows neither drivers nor transactions.
package sqltext

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of opening a store that callers branch on.
var (
	// ErrLocked says that another process has the database open.
	ErrLocked = errors.New("the database is in use by another process")
	// ErrNewerSchema says that a newer release wrote the database. Nothing was
	// changed; start that release, or restore a backup.
	ErrNewerSchema = errors.New("the database was written by a newer release")
	// ErrMasterKeyMismatch says that the secrets in the database were sealed
	// under another master key.
	ErrMasterKeyMismatch = errors.New("the master key is not the one this database was made with")
	// ErrCorrupt says that the file is not a database or is damaged.
	ErrCorrupt = errors.New("the database is damaged")
)

// Dialect turns the shared text of a statement into that of one database. Places are
// written ?; words in braces stand for what the databases spell differently:
//
//	{anybody}  the owner of a delivery d may be anybody
//	{bytes}    no bytes, of the type of ids
//	{lock}     the rows that are read stay as they are until the commit
//	{free}     as {lock}, without the rows that somebody else has locked
//	{then}     joins what comes after row by row to what comes before
//	{stopped}  after the name of deliveries: use the index on held and failed ones
//	{away}     and the node that the endpoint's listener is connected to is gone
//	{idkey}    what finds the ids given by platforms to events, and
//	{idcols}   the columns of events that it is equal to
//	{turn}     true if no other node does now what one node does for all
type Dialect struct {
	words    atomic.Pointer[strings.Replacer]
	numbered bool // places are $1, $2, ...
	known    sync.Map
	count    atomic.Int64
}

// maxTexts bounds the statements that are remembered; searches are put together
// from parts, and there are many ways to do so.
const maxTexts = 4096

// NewDialect returns a dialect with pairs of words and what stands for them. Numbered
// says that places are $1, $2 and so on.
func NewDialect(numbered bool, words ...string) *Dialect {
	d := &Dialect{numbered: numbered}
	d.words.Store(strings.NewReplacer(words...))
	return d
}

// SetWords gives the words other meanings. No text may have been asked for before that
// has one of them.
func (d *Dialect) SetWords(words ...string) { d.words.Store(strings.NewReplacer(words...)) }

// Text returns the text of a statement in this dialect.
func (d *Dialect) Text(query string) string {
	if known, ok := d.known.Load(query); ok {
		return known.(string)
	}
	text := d.words.Load().Replace(query)
	if d.numbered {
		text = number(text)
	}
	if d.count.Load() < maxTexts {
		d.known.Store(query, text)
		d.count.Add(1)
	}
	return text
}

// number writes $1, $2, ... for the places. No statement has a question mark of
// another meaning.
func number(query string) string {
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(query, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		query = after
	}
}

// Reader is a pool of connections that only read.
type Reader struct {
	DB      *sql.DB
	Dialect *Dialect
	OneView sql.TxOptions // of a transaction in which all reads see the same
	// Again reports whether a read that failed so many times may succeed if it is tried
	// again: the reason was the connection. Nil: it never is.
	Again func(err error, failed int) bool
}

// QueryContext runs a query given as shared text.
func (r *Reader) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	var rows *sql.Rows
	err := r.Retry(ctx, func() (err error) {
		rows, err = r.DB.QueryContext(ctx, r.Dialect.Text(query), args...)
		return err
	})
	return rows, err
}

// QueryRowContext runs a query for one row given as shared text.
func (r *Reader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	var row *sql.Row
	_ = r.Retry(ctx, func() error {
		row = r.DB.QueryRowContext(ctx, r.Dialect.Text(query), args...)
		return row.Err()
	})
	return row
}

// Retry reads, and reads again while only the connection is the reason for a failure.
func (r *Reader) Retry(ctx context.Context, read func() error) error {
	for failed := 1; ; failed++ {
		err := read()
		if err == nil || r.Again == nil || !r.Again(err, failed) || ctx.Err() != nil {
			return err
		}
	}
}

// View is a transaction in which all reads see the same.
type View struct {
	tx      *sql.Tx
	dialect *Dialect
}

// View begins one. The caller calls Done.
func (r *Reader) View(ctx context.Context) (*View, error) {
	tx, err := r.DB.BeginTx(ctx, &r.OneView)
	if err != nil {
		return nil, err
	}
	return &View{tx: tx, dialect: r.Dialect}, nil
}

// Snapshot is a view on a connection of the pool that sees what is committed now.
func (r *Reader) Snapshot(ctx context.Context, conn *sql.Conn) (*View, error) {
	tx, err := conn.BeginTx(ctx, &r.OneView)
	if err != nil {
		return nil, err
	}
	v := &View{tx: tx, dialect: r.Dialect}
	var one int // the first read takes the snapshot
	if _, err := ReadRow(ctx, v, "SELECT 1 FROM meta LIMIT 1", nil, &one); err != nil {
		v.Done()
		return nil, err
	}
	return v, nil
}

// QueryContext runs a query given as shared text.
func (v *View) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return v.tx.QueryContext(ctx, v.dialect.Text(query), args...)
}

// Done ends the view.
func (v *View) Done() { _ = v.tx.Rollback() }

// Querier is what reading needs: the pool of readers, a view, or the writer's
// connection inside its transaction.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Scanner is a row.
type Scanner interface{ Scan(dest ...any) error }

// ReadRow reads one row; ok is false if there is none.
func ReadRow(ctx context.Context, q Querier, query string, args []any, dest ...any) (ok bool, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		return false, lost(q, rows.Err())
	}
	if err := rows.Scan(dest...); err != nil {
		return false, err
	}
	return true, lost(q, rows.Close())
}

// lost lets the connection say that the error means its loss: rows come while they are
// read, so that it may be lost in the middle of them.
func lost(q Querier, err error) error {
	if c, ok := q.(interface{ Lost(error) error }); ok {
		return c.Lost(err)
	}
	return err
}

// Collect reads all rows of a query.
func Collect[T any](ctx context.Context, q Querier, scan func(Scanner) (T, error), query string, args ...any) ([]T, error) {
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
	return all, lost(q, rows.Err())
}

// Blob scans a column of fixed length into the bytes it is given.
type Blob []byte

// Scan implements sql.Scanner. NULL leaves zeros.
func (b Blob) Scan(value any) error {
	text, _ := value.([]byte)
	copy(b, text)
	return nil
}

// OrNull keeps nothing as NULL.
func OrNull(text []byte) any {
	if text == nil {
		return nil
	}
	return text
}

// Micros is how times are stored: microseconds since 1970, 0 for none.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// FromMicros is the inverse of Micros. The time is UTC.
func FromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// Wrap names the act in an error, if there is one.
func Wrap(act string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", act, err)
}

// Pause waits, or until ctx ends, which is its error.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
