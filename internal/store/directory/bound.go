package directory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Bound values: to which URL the headers and the query of an endpoint may be sent.
//
// The associated data of both contains the URL before its query. If somebody without the
// master key changes the URL in the database, the endpoint becomes damaged and its tokens
// are not sent to the new URL.
//
// Earlier releases bound values only to the scope and the endpoint. Such unbound values are
// opened until the database records that all its rows are bound (ReadBound), and never
// after that.

// boundPlace returns the associated data of a value that may only be sent to one URL. head
// is the URL before its query.
func boundPlace(what string, e *hook.Endpoint, head string) []byte {
	return sqltext.Place(what+" of url", e.Scope, e.ID.String(), head)
}

func unboundPlace(what string, e *hook.Endpoint) []byte {
	return sqltext.Place(what, e.Scope, e.ID.String())
}

// boundMark is sealed in boundMarkPlace when all rows of a database are bound.
var boundMark, boundMarkPlace = []byte("bound"), []byte("posthorn sealed values are bound to urls")

// ReadBound reads whether all rows of the database are bound. If some may not be, unbound
// values are opened until Bound is called. A new Directory opens none.
func (d *Directory) ReadBound(ctx context.Context, q sqltext.Querier) error {
	var sealed []byte
	if _, err := sqltext.ReadRow(ctx, q, "SELECT value FROM meta WHERE key = 'bound_to_urls'", nil, &sealed); err != nil {
		return fmt.Errorf("read whether sealed values are bound: %w", err)
	}
	text, err := d.keys.Open(boundMarkPlace, sealed)
	d.unbound.Store(err != nil || !bytes.Equal(text, boundMark))
	return nil
}

// Unbound reports whether unbound values may be opened.
func (d *Directory) Unbound() bool { return d.unbound.Load() }

// Bound makes the directory refuse unbound values from now on.
func (d *Directory) Bound() { d.unbound.Store(false) }

// SealBound returns the sealed mark that ReadBound checks for.
func (d *Directory) SealBound() ([]byte, error) { return d.keys.Seal(boundMarkPlace, boundMark) }

func (d *Directory) openBound(what string, e *hook.Endpoint, head string, sealed []byte) ([]byte, error) {
	text, err := d.keys.Open(boundPlace(what, e, head), sealed)
	if errors.Is(err, seal.ErrDamaged) && d.unbound.Load() {
		return d.keys.Open(unboundPlace(what, e), sealed)
	}
	return text, err
}

// SealRow seals the secret parts of an endpoint's row: the query of its URL, which often
// contains a token, and its headers. It returns the URL before the query. Parts that the
// endpoint does not have are nil.
func (d *Directory) SealRow(e *hook.Endpoint) (head string, query, headers any, err error) {
	head, rest, found := strings.Cut(e.URL, "?")
	if found {
		if query, err = d.keys.Seal(boundPlace("query", e, head), []byte("?"+rest)); err != nil {
			return "", nil, nil, err
		}
	}
	if len(e.Headers) == 0 {
		return head, query, nil, nil
	}
	text, err := json.Marshal(e.Headers)
	if err != nil {
		return "", nil, nil, err
	}
	headers, err = d.keys.Seal(boundPlace("headers", e, head), text)
	return head, query, headers, err
}

// MarkDamaged opens the secrets of the endpoints that meet a condition. It marks those
// endpoints of the list whose secrets cannot be opened as damaged. It stores no secret.
func (d *Directory) MarkDamaged(ctx context.Context, q sqltext.Querier, list []*hook.Endpoint, condition string, args ...any) error {
	of := make(map[hook.ID]*hook.Endpoint, len(list))
	for _, e := range list {
		of[e.ID] = e
	}
	_, err := sqltext.Collect(ctx, q, func(row sqltext.Scanner) (struct{}, error) { return struct{}{}, d.scanSecret(row, of) }, SecretsWhere(condition), args...)
	for _, e := range list {
		e.Secrets = nil
	}
	if err != nil {
		return fmt.Errorf("read secrets: %w", err)
	}
	return nil
}
