package store

import (
	"database/sql"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver used by the migration

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
)

// retyped changes the result types of statements that a node keeps prepared: the commit's
// guard, the claim, and the reads of deliveries, endpoints and tenants.
var retyped = []string{
	"ALTER TABLE deliveries ALTER COLUMN last_status TYPE integer",
	"ALTER TABLE endpoints ALTER COLUMN revision TYPE integer",
	"ALTER TABLE tenants ALTER COLUMN created_at TYPE numeric(20)",
	`ALTER FUNCTION posthorn_guard RENAME TO posthorn_guard_before;
	CREATE FUNCTION posthorn_guard(bigint, bigint, bigint, bigint, boolean, boolean) RETURNS numeric LANGUAGE sql
		AS 'SELECT posthorn_guard_before($1, $2, $3, $4, $5, $6)::numeric'`,
}

// A node continues without a restart when another one migrates the schema.
func TestNodeGoesOnBesideAMigration(t *testing.T) {
	url := pgtest.Database(t)
	p := newPeer(t, url, 10*time.Second, nil)
	e := p.endpoint()
	// Every connection keeps its statements prepared.
	cycle := func() {
		t.Helper()
		p.publish()
		for _, j := range p.take() {
			p.settled(j, 500)
			if got := p.row(j); got.Attempts != j.Delivery.Attempts+1 {
				t.Errorf("%d attempts are recorded", got.Attempts)
			}
		}
		p.status(e, hook.Disabled, false)
		p.status(e, hook.Enabled, false)
		if _, err := p.Tenant(t.Context(), acme.Tenant); err != nil {
			t.Error(err)
		}
		if _, err := p.core.Directory.Read(t.Context(), p.core.Read, acme); err != nil {
			t.Error(err)
		}
		if _, err := p.Claim(t.Context(), hook.Claim{Now: time.Now(), Shares: []hook.Share{{Endpoint: e.ID, Limit: 10}}}); err != nil {
			t.Error(err)
		}
	}
	for range 8 {
		cycle()
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, statement := range retyped {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for range 8 {
		cycle()
	}
}
