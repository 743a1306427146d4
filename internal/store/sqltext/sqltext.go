// Package sqltext contains what both databases share: the texts of statements, written once
// for two dialects, the columns of the tables and how their rows are read, and the contract
// of a connection that writes ([Conn]).
//
// The package guarantees that a text means the same in both dialects. It has no driver and
// manages no transaction of the writer.
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

	"github.com/posthorn/posthorn/internal/hook"
)

// Errors of opening a store that callers branch on.
var (
	// ErrLocked means that another process has the database open.
	ErrLocked = errors.New("the database is in use by another process")
	// ErrNewerSchema means that a newer release wrote the database. Nothing was changed.
	// Start that release, or restore a backup.
	ErrNewerSchema = errors.New("the database was written by a newer release")
	// ErrMasterKeyMismatch means that the secrets in the database were sealed under another
	// master key.
	ErrMasterKeyMismatch = errors.New("the master key is not the one this database was made with")
	// ErrCorrupt means that the file is not a database or is damaged.
	ErrCorrupt = errors.New("the database is damaged")
)

// Dialect translates the shared text of a statement into the spelling of one database.
// Placeholders are written ?. Words in braces stand for what the databases spell
// differently:
//
//	{anybody}  any owner of a delivery d is possible
//	{bytes}    an empty value of the type of ids
//	{lock}     locks the rows that are read until the commit
//	{free}     as {lock}, but skips rows that another transaction has locked
//	{then}     joins what follows to what precedes, row by row
//	{deliveries}, {each}  join the deliveries d of each event e that precedes; between them may be conditions, beginning with AND
//	{stopped}  after the name of deliveries: uses the index on held and failed ones
//	{away}     and the node that the endpoint's listener is connected to is gone
//	{idkey}    the key by which an event id given by a platform is found
//	{idcols}   the columns of events that {idkey} is compared with
//	{tags}     the tags of an event e as a JSON object, or NULL
//	{oldest}   the least of the ids event of w; NULL if there is none
//	{turn}     true if no other node is doing what one node does for all
type Dialect struct {
	words    atomic.Pointer[strings.Replacer]
	numbered bool // placeholders are $1, $2, ...
	known    sync.Map
	count    atomic.Int64
}

// maxTexts bounds the statements that are cached. Searches are assembled from parts, and
// there are many combinations.
const maxTexts = 4096

// NewDialect returns a dialect. words are pairs of a word and its replacement. If numbered
// is true, placeholders become $1, $2 and so on.
func NewDialect(numbered bool, words ...string) *Dialect {
	d := &Dialect{numbered: numbered}
	d.words.Store(strings.NewReplacer(words...))
	return d
}

// SetWords replaces the words. It must be called before Text is called with a statement
// that contains one of them.
func (d *Dialect) SetWords(words ...string) { d.words.Store(strings.NewReplacer(words...)) }

// Text returns a statement in this dialect. It is safe for concurrent use.
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

// number replaces the placeholders with $1, $2 and so on. No statement contains a question
// mark with another meaning.
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
	OneView sql.TxOptions // of a transaction in which all reads see the same state
	// Again reports whether a read that has failed so many times because of the connection
	// may succeed if it is retried. Nil means that it never may.
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

// QueryRowContext runs a query, given as shared text, that returns at most one row.
func (r *Reader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	var row *sql.Row
	_ = r.Retry(ctx, func() error {
		row = r.DB.QueryRowContext(ctx, r.Dialect.Text(query), args...)
		return row.Err()
	})
	return row
}

// Retry calls read again while it fails only because of the connection.
func (r *Reader) Retry(ctx context.Context, read func() error) error {
	for failed := 1; ; failed++ {
		err := read()
		if err == nil || r.Again == nil || !r.Again(err, failed) || ctx.Err() != nil {
			return err
		}
	}
}

// View is a transaction in which all reads see the same state.
type View struct {
	tx      *sql.Tx
	dialect *Dialect
}

// View begins a view. The caller must call Done.
func (r *Reader) View(ctx context.Context) (*View, error) {
	tx, err := r.DB.BeginTx(ctx, &r.OneView)
	if err != nil {
		return nil, err
	}
	return &View{tx: tx, dialect: r.Dialect}, nil
}

// Snapshot begins a view on the given connection of the pool. The view sees what is
// committed now. The caller must call Done.
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

// Querier runs queries: the pool of readers, a view, or the writer's connection inside its
// transaction.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Scanner is a row of a result.
type Scanner interface{ Scan(dest ...any) error }

// ReadRow reads one row. ok is false if there is none.
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

// lost lets the connection wrap an error that means its loss. Rows arrive while they are
// read, so the connection may be lost among them.
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

// Blob scans a column of fixed length into its bytes.
type Blob []byte

// Scan implements sql.Scanner. NULL leaves the bytes unchanged.
func (b Blob) Scan(value any) error {
	text, _ := value.([]byte)
	copy(b, text)
	return nil
}

// PublicPlace scans the column public_id of events: the id of the event for callers and
// receivers, and behind its 16 bytes the platform's own text, if that is no UUID.
type PublicPlace struct {
	ID    *hook.ID
	Given *string
}

// Scan implements sql.Scanner. NULL changes nothing.
func (p PublicPlace) Scan(value any) error {
	text, _ := value.([]byte)
	if n := copy(p.ID[:], text); len(text) > n {
		*p.Given = string(text[n:])
	}
	return nil
}

// PublicValue returns what PublicPlace scans.
func PublicValue(id hook.ID, given string) []byte { return append(id[:], given...) }

// OrNull returns the bytes as an argument. A nil slice becomes NULL.
func OrNull(text []byte) any {
	if text == nil {
		return nil
	}
	return text
}

// Micros returns a time as it is stored: microseconds since 1970, 0 for the zero time.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// FromMicros is the inverse of Micros. The time is in UTC.
func FromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// Wrap adds act to an error. It returns nil if err is nil.
func Wrap(act string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", act, err)
}

// Pause waits for d or until ctx ends. In the latter case it returns the error of ctx.
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
