package directory

import (
	"context"
	"errors"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Sealing again: every sealed value of the database, table by table, in pages.

// Resealed is a value that was sealed again with the key that seals now.
type Resealed struct {
	Update string // a statement that sets the value if it is still the old one
	Args   []any
}

// Reseals is the result of one page.
type Reseals struct {
	Values  []Resealed
	Damaged int64 // values of the page that do not open with any key
	After   []any // where the next page begins
	More    bool
}

// sealedTable says where the sealed values of a table are.
type sealedTable struct {
	first  []any // below every row
	page   string
	scan   func(row sqltext.Scanner) (key []any, values []sealedValue, err error)
	update string // %s: the column; the arguments are the new value, the key, the old value
}

// sealedValue is a column of a row, with the places in which its value may have been
// sealed.
type sealedValue struct {
	column string
	sealed []byte
	places [][]byte
}

// SealedTables is the number of tables with sealed values, besides meta.
const SealedTables = 3

func (d *Directory) sealedTable(i int) sealedTable {
	return [SealedTables]sealedTable{
		{
			first:  []any{[]byte{}},
			page:   `SELECT id, mode, tenant, url, headers_sealed, query_sealed FROM endpoints WHERE id > ? ORDER BY id LIMIT ?`,
			update: `UPDATE endpoints SET %[1]s = ? WHERE id = ? AND %[1]s = ?`,
			scan: func(row sqltext.Scanner) ([]any, []sealedValue, error) {
				e := &hook.Endpoint{}
				var headers, query []byte
				err := row.Scan(sqltext.Blob(e.ID[:]), &e.Scope.Mode, &e.Scope.Tenant, &e.URL, &headers, &query)
				return []any{e.ID[:]}, []sealedValue{d.ofEndpoint("headers", e, headers), d.ofEndpoint("query", e, query)}, err
			},
		},
		{
			first:  []any{[]byte{}, int64(0)},
			page:   `SELECT endpoint, version, mode, tenant, sealed FROM secrets WHERE (endpoint, version) > (?, ?) ORDER BY endpoint, version LIMIT ?`,
			update: `UPDATE secrets SET %[1]s = ? WHERE endpoint = ? AND version = ? AND %[1]s = ?`,
			scan: func(row sqltext.Scanner) ([]any, []sealedValue, error) {
				e, version, sealed := &hook.Endpoint{}, int64(0), []byte(nil)
				err := row.Scan(sqltext.Blob(e.ID[:]), &version, &e.Scope.Mode, &e.Scope.Tenant, &sealed)
				return []any{e.ID[:], version}, []sealedValue{{"sealed", sealed, [][]byte{SecretPlace(e, version)}}}, err
			},
		},
		{
			first: []any{int64(-1), "", "", ""},
			page: `SELECT mode, tenant, route, key, answer FROM idempotency WHERE (mode, tenant, route, key) > (?, ?, ?, ?)
				ORDER BY mode, tenant, route, key LIMIT ?`,
			update: `UPDATE idempotency SET %[1]s = ? WHERE mode = ? AND tenant = ? AND route = ? AND key = ? AND %[1]s = ?`,
			scan: func(row sqltext.Scanner) ([]any, []sealedValue, error) {
				var scope hook.Scope
				var route, key string
				var sealed []byte
				err := row.Scan(&scope.Mode, &scope.Tenant, &route, &key, &sealed)
				return []any{int64(scope.Mode), scope.Tenant, route, key}, []sealedValue{{"answer", sealed, [][]byte{AnswerPlace(scope, route, key)}}}, err
			},
		},
	}[i]
}

// ofEndpoint returns a value of an endpoint whose URL is the one before its query.
func (d *Directory) ofEndpoint(what string, e *hook.Endpoint, sealed []byte) sealedValue {
	v := sealedValue{what + "_sealed", sealed, [][]byte{boundPlace(what, e, e.URL)}}
	if d.unbound.Load() {
		v.places = append(v.places, unboundPlace(what, e))
	}
	return v
}

// AnswerPlace returns the associated data with which the answer to a request with an
// idempotency key is sealed.
func AnswerPlace(scope hook.Scope, route, key string) []byte {
	return sqltext.Place("answer", scope, route, key)
}

// Reseal reads the next rows of a table and seals those of their values again that another
// key sealed. Each value stays bound to its place. A nil after begins the table. It writes
// nothing. Values that do not open are left out.
func (d *Directory) Reseal(ctx context.Context, q sqltext.Querier, table int, after []any, limit int) (Reseals, error) {
	t, out := d.sealedTable(table), Reseals{After: after}
	if after == nil {
		after = t.first
	}
	now := d.keys.Current()
	rows, err := sqltext.Collect(ctx, q, func(row sqltext.Scanner) (struct{}, error) {
		key, values, err := t.scan(row)
		if err != nil {
			return struct{}{}, err
		}
		out.After = key
		for _, v := range values {
			if len(v.sealed) == 0 {
				continue
			}
			if by, ok := seal.KeyOf(v.sealed); ok && by == now {
				continue
			}
			fresh, err := d.resealed(v)
			if errors.Is(err, seal.ErrDamaged) || errors.Is(err, seal.ErrOtherKey) {
				out.Damaged++
				continue
			}
			if err != nil {
				return struct{}{}, err
			}
			args := append(append([]any{fresh}, key...), v.sealed)
			out.Values = append(out.Values, Resealed{Update: fmt.Sprintf(t.update, v.column), Args: args})
		}
		return struct{}{}, nil
	}, t.page, append(append([]any{}, after...), int64(limit))...)
	out.More = len(rows) == limit
	return out, sqltext.Wrap("read sealed values", err)
}

// resealed opens a value in one of its places and seals it in the same place.
func (d *Directory) resealed(v sealedValue) (fresh []byte, err error) {
	for _, place := range v.places {
		text, openErr := d.keys.Open(place, v.sealed)
		if err = openErr; err == nil {
			return d.keys.Seal(place, text)
		}
	}
	return nil, err
}

// SealBoundWith is SealBound with a chosen key.
func (d *Directory) SealBoundWith(key seal.KeyID) ([]byte, error) {
	return d.keys.SealWith(key, boundMarkPlace, boundMark)
}
