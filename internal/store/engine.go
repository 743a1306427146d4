package store

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/posthorn/posthorn/internal/hook"
)

// engine is the database under the store as the writer uses it: one transaction
// at a time, from one goroutine. Everything above it is the same for every
// database, the text of its statements too.
type engine interface {
	querier // reads inside the transaction
	begin() error
	// exec runs a statement and returns the number of rows it changed. Arguments
	// are int64, float64, string, []byte or nil.
	exec(query string, args ...any) (int64, error)
	// insert adds a row. An error may come with a later call, at the latest with commit.
	insert(into *table, args ...any) error
	// move changes a delivery's row if it still is as before says. It may promise
	// that it will; then commit fails with a trouble of kind again if it was not so.
	move(before, after *hook.Delivery) (bool, error)
	// commit makes the transaction last. After a trouble of kind broken nobody
	// knows whether it does.
	commit(t *tx) error
	rollback()
	// trouble classes an error. It may be called from any goroutine.
	trouble(err error) trouble
	// lost returns the error as one of a lost connection if that is what it means.
	lost(err error) error
}

// table is one that rows are inserted into on the hot path.
type table struct {
	name    string
	columns string
	kinds   string // of each column: b bytes, i integer, t text
	sqlite  string // the statement that inserts one row
	arrays  string // the statement that inserts rows given as arrays of columns
}

func newTable(name, columns, kinds string) *table {
	t := &table{name: name, columns: columns, kinds: kinds}
	t.sqlite = "INSERT INTO " + name + " (" + columns + ") VALUES (?" + strings.Repeat(", ?", len(kinds)-1) + ")"
	arrays := make([]string, len(kinds))
	for i, kind := range kinds {
		arrays[i] = "$" + strconv.Itoa(i+1) + "::" + arrayTypes[kind]
	}
	t.arrays = "INSERT INTO " + name + " (" + columns + ") SELECT * FROM unnest(" + strings.Join(arrays, ", ") + ")"
	return t
}

var arrayTypes = map[rune]string{'b': "bytea[]", 'i': "int8[]", 't': "text[]"}

// The tables of the hot path.
var (
	eventsTable = newTable("events",
		"id, mode, tenant, public_id, kind, type, created_at, accepted_at, data, checksum", "bitbitiibi")
	deliveriesTable = newTable("deliveries",
		`event, endpoint, id, mode, tenant, type, kind, profile, state, reason, attempts, scheduled, due, last_status, last_error,
		created_at, settled_at, held_at, owner, fence`, "bbbittibitiiiitiiiii")
	attemptsTable = newTable("attempts",
		`event, endpoint, number, mode, tenant, at, duration_us, status, class, message, trigger_by, response_headers,
		response_body, truncated`, "bbiitiiittibbi")
	eventIDsTable = newTable("event_ids", "mode, public_id, tenant, event, hash", "ibtbb")
	onceTable     = newTable("idempotency", "mode, tenant, route, key, body_hash, status, answer, created_at", "itttbibi")
)

// dialect turns the shared text of a statement into that of one database. Places
// are written ?; words in braces stand for what the databases spell differently:
//
//	{anybody}  the owner of a delivery d may be anybody
//	{bytes}    no bytes, of the type of ids
//	{lock}     the rows that are read stay as they are until the commit
//	{then}     joins what comes after row by row to what comes before
//	{stopped}  after the name of deliveries: use the index on held and failed ones
type dialect struct {
	words    *strings.Replacer
	numbered bool // places are $1, $2, ...
	known    sync.Map
	count    atomic.Int64
}

// maxTexts bounds the statements that are remembered; searches are put together
// from parts, and there are many ways to do so.
const maxTexts = 4096

func newDialect(numbered bool, words ...string) *dialect {
	return &dialect{words: strings.NewReplacer(words...), numbered: numbered}
}

func (d *dialect) text(query string) string {
	if known, ok := d.known.Load(query); ok {
		return known.(string)
	}
	text := d.words.Replace(query)
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

// reader is the pool of connections that only read.
type reader struct {
	db      *sql.DB
	dialect *dialect
	oneView sql.TxOptions // of a transaction in which all reads see the same
}

// QueryContext runs a query given as shared text.
func (r *reader) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := r.db.QueryContext(ctx, r.dialect.text(query), args...)
	if err != nil && isNetwork(err) && ctx.Err() == nil { // that connection was dead; a new one may not be
		rows, err = r.db.QueryContext(ctx, r.dialect.text(query), args...)
	}
	return rows, err
}

// QueryRowContext runs a query for one row given as shared text.
func (r *reader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	row := r.db.QueryRowContext(ctx, r.dialect.text(query), args...)
	if err := row.Err(); err != nil && isNetwork(err) && ctx.Err() == nil {
		row = r.db.QueryRowContext(ctx, r.dialect.text(query), args...)
	}
	return row
}

// view is a transaction in which all reads see the same.
type view struct {
	tx      *sql.Tx
	dialect *dialect
}

// view begins one. The caller calls done.
func (r *reader) view(ctx context.Context) (*view, error) {
	tx, err := r.db.BeginTx(ctx, &r.oneView)
	if err != nil {
		return nil, err
	}
	return &view{tx: tx, dialect: r.dialect}, nil
}

// QueryContext runs a query given as shared text.
func (v *view) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return v.tx.QueryContext(ctx, v.dialect.text(query), args...)
}

func (v *view) done() { _ = v.tx.Rollback() }
