package directory

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Sealed locates a sealed value of an endpoint.
type Sealed struct {
	Table, Column string
	Scope         hook.Scope
	Endpoint      hook.ID
	Version       int64 // of a secret; 0 for other values
}

// String names the table, the column and the row.
func (s Sealed) String() string {
	row := "endpoint " + s.Endpoint.String()
	if s.Version > 0 {
		row += " version " + strconv.FormatInt(s.Version, 10)
	}
	return s.Table + "." + s.Column + " of " + row + " (tenant " + s.Scope.Tenant + ", " + s.Scope.Mode.String() + ")"
}

// examinePage bounds the rows of one query of Examine.
const examinePage = 500

// maxExamined bounds the damaged values that Examine returns.
const maxExamined = 1000

// Examine opens every header list, query and secret of a database. It returns the number of
// endpoints and secrets that it examined, and at most 1,000 values that cannot be opened.
// It changes nothing and stores no plaintext. It reads page by page, so it keeps no
// transaction open.
func Examine(ctx context.Context, q sqltext.Querier, keys *seal.Keyring) (rows int, damaged []Sealed, err error) {
	d := New(keys, slog.New(slog.DiscardHandler))
	if err := d.ReadBound(ctx, q); err != nil {
		return 0, nil, err
	}
	for _, page := range []func(ctx context.Context, q sqltext.Querier, after Sealed) ([]examined, error){d.examineRows, d.examineSecrets} {
		for after, more := (Sealed{}), true; more; {
			found, err := page(ctx, q, after)
			if err != nil {
				return rows, damaged, fmt.Errorf("examine sealed values: %w", err)
			}
			for _, e := range found {
				after = e.at
				for _, column := range e.damaged {
					if e.at.Column = column; len(damaged) < maxExamined {
						damaged = append(damaged, e.at)
					}
				}
			}
			rows, more = rows+len(found), len(found) == examinePage
		}
	}
	return rows, damaged, nil
}

// examined is a row with the names of its columns that cannot be opened.
type examined struct {
	at      Sealed
	damaged []string
}

func (d *Directory) examineRows(ctx context.Context, q sqltext.Querier, after Sealed) ([]examined, error) {
	return sqltext.Collect(ctx, q, func(row sqltext.Scanner) (examined, error) {
		e, err := d.ScanEndpoint(row)
		if err != nil {
			return examined{}, err
		}
		out := examined{at: Sealed{Table: "endpoints", Scope: e.Scope, Endpoint: e.ID}}
		for _, part := range []struct {
			is     hook.Damage
			column string
		}{{hook.DamagedHeaders, "headers_sealed"}, {hook.DamagedQuery, "query_sealed"}} {
			if e.Damage.Has(part.is) {
				out.damaged = append(out.damaged, part.column)
			}
		}
		return out, nil
	}, "SELECT "+EndpointColumns+" FROM endpoints e WHERE e.id > ? ORDER BY e.id LIMIT ?", after.Endpoint[:], examinePage)
}

func (d *Directory) examineSecrets(ctx context.Context, q sqltext.Querier, after Sealed) ([]examined, error) {
	return sqltext.Collect(ctx, q, func(row sqltext.Scanner) (examined, error) {
		at := Sealed{Table: "secrets"}
		var sealed []byte
		if err := row.Scan(sqltext.Blob(at.Endpoint[:]), &at.Version, &at.Scope.Mode, &at.Scope.Tenant, &sealed); err != nil {
			return examined{}, err
		}
		out := examined{at: at}
		if _, err := d.keys.Open(SecretPlace(&hook.Endpoint{ID: at.Endpoint, Scope: at.Scope}, at.Version), sealed); err != nil {
			out.damaged = []string{"sealed"}
		}
		return out, nil
	}, `SELECT s.endpoint, s.version, s.mode, s.tenant, s.sealed FROM secrets s WHERE (s.endpoint, s.version) > (?, ?)
		ORDER BY s.endpoint, s.version LIMIT ?`, after.Endpoint[:], after.Version, examinePage)
}
