package store

import (
	"context"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
)

// A preview ends in time even if one statement of it does not: it says what it counted, and
// that this is not exact.
func TestAPreviewEndsWithinAStatement(t *testing.T) {
	f := newFaultyOn(t, Options{Postgres: pgtest.Database(t)})
	scope := hook.Scope{Tenant: "acme", Mode: hook.Live}
	if _, _, err := f.CreateTenant(t.Context(), hook.Tenant{ID: scope.Tenant}, nil); err != nil {
		t.Fatal(err)
	}
	e := f.another(scope)
	if _, _, err := f.Publish(t.Context(), []hook.NewEvent{{Scope: scope, Type: "a", Data: []byte("{}")}}, noProfile, nil); err != nil {
		t.Fatal(err)
	}
	wanted := hook.NewReplay{Scope: scope, Endpoint: e.ID, Source: hook.FromAll}
	if p, err := f.PreviewReplay(t.Context(), wanted); err != nil || p.Matched != 1 || !p.Exact { // control
		t.Fatalf("%+v, %v", p, err)
	}
	other, err := f.core.Read.DB.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Rollback() }()
	if _, err := other.ExecContext(t.Context(), "LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	patient, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if p, err := f.PreviewReplay(patient, wanted); err != nil || p.Matched != 0 || p.Exact {
		t.Errorf("%+v, %v", p, err)
	}
}
