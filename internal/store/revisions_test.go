package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/accounts"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// write runs statements on the writer.
func (p *peer) write(statement string, args ...any) {
	p.t.Helper()
	p.must(p.do(p.t.Context(), "test", 1, func(t *tx) error {
		_, err := t.Exec("test", statement, args...)
		return err
	}))
}

// types sets the types of an endpoint.
func (p *peer) types(e *hook.Endpoint, types ...string) {
	p.t.Helper()
	_, err := p.UpdateEndpoint(p.t.Context(), acme, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) { old.Types = types; return old, nil }, false)
	p.must(err)
}

// revisions returns how many revisions are stored, and how many bytes they have.
func (p *peer) revisions() (rows, bytes int) {
	p.t.Helper()
	p.must(p.core.Read.QueryRowContext(p.t.Context(), "SELECT count(*), coalesce(sum(octet_length(url) + octet_length(types)), 0) FROM endpoint_revisions").Scan(&rows, &bytes))
	return rows, bytes
}

// manyTypes is a list of 30 kB.
func manyTypes(n int) []string {
	list := make([]string, 250)
	for i := range list {
		list[i] = fmt.Sprintf("%s.n%d.n%d", strings.Repeat("a", 110), i, n)
	}
	return list
}

// However often an endpoint changes, it keeps a bounded number of revisions. A change of
// fields that a revision does not show makes none.
func TestRevisionsAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() *peer) {
		p := open()
		e := p.signing("https://example.com/a")
		for n := range 3 * accounts.MaxRevisions {
			p.types(e, fmt.Sprint("t", n%2))
			if n%2 == 0 {
				p.publish()
			}
		}
		if rows, _ := p.revisions(); rows > accounts.MaxRevisions || rows < accounts.MaxRevisions/4 {
			t.Errorf("%d revisions of short lists", rows)
		}
		for n := range 8 {
			p.types(e, manyTypes(n)...)
			p.publish()
		}
		if rows, bytes := p.revisions(); rows < 2 || bytes > accounts.MaxRevisionBytes+40_000 {
			t.Errorf("%d revisions of long lists have %d bytes", rows, bytes)
		}
		before, _ := p.revisions()
		for n := range 3 {
			_, err := p.UpdateEndpoint(t.Context(), acme, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) { old.Title = fmt.Sprint(n); return old, nil }, false)
			p.must(err)
			_, _, err = p.RotateSecret(t.Context(), acme, e.ID, hook.Secret{Text: "s", Encoding: hook.EncodingText}, 0, nil)
			p.must(err)
		}
		if after, _ := p.revisions(); after != before {
			t.Errorf("titles and secrets made %d revisions", after-before)
		}
		// Control, also for stores of earlier releases: nothing else bounds the table.
		many := 3 * accounts.RevisionPage
		p.write(`INSERT INTO endpoint_revisions (endpoint, revision, mode, tenant, at, url, types, status, profile)
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ` + fmt.Sprint(many) + `)
			SELECT r.endpoint, 1000000 + n.i, r.mode, r.tenant, r.at, r.url, '["x"]', r.status, r.profile
			FROM n CROSS JOIN (SELECT * FROM endpoint_revisions ORDER BY revision DESC LIMIT 1) r`)
		if rows, _ := p.revisions(); rows < many {
			t.Fatalf("control: %d rows", rows)
		}
		p.must(p.Housekeep(t.Context()))
		if rows, _ := p.revisions(); rows != accounts.MaxRevisions {
			t.Errorf("housekeeping leaves %d revisions", rows)
		}
	})
}

// A flood of changes removes nothing from the history that stored events need.
func TestHistorySurvivesAFlood(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() *peer) {
		p := open()
		e := p.signing("https://example.com/a")
		first := p.publish()
		p.types(e, "other")
		second := p.publish()
		for n := range 3 * accounts.MaxRevisions {
			p.types(e, fmt.Sprint("t", n))
		}
		for event, want := range map[hook.ID]string{first.Event: "*", second.Event: "other"} {
			stored, err := p.Event(t.Context(), acme, event)
			p.must(err)
			list, _, err := p.History(t.Context(), acme, stored.AcceptedAt)
			if err != nil || len(list) != 1 || len(list[0].Then) != 1 || !slices.Equal(list[0].Then[0].Types, hook.Filter{want}) {
				t.Errorf("want %s, history %+v, %v", want, list, err)
			}
		}
		if rows, _ := p.revisions(); rows > accounts.MaxRevisions {
			t.Errorf("%d revisions", rows)
		}
	})
}

// Housekeeping drops the revisions that ended before the oldest event, and keeps the one
// that was in force then.
func TestOldRevisionsGo(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() *peer) {
		p := open()
		e := p.signing("https://example.com/a")
		for n := range 5 {
			p.types(e, fmt.Sprint("t", n))
		}
		p.must(p.Housekeep(t.Context()))
		if rows, _ := p.revisions(); rows != 6 {
			t.Fatalf("control: %d revisions of today", rows)
		}
		p.write("UPDATE endpoint_revisions SET at = at - ?", sqltext.Micros(time.UnixMicro(0).Add(10*24*time.Hour)))
		p.types(e, "now")
		p.must(p.Housekeep(t.Context()))
		if rows, _ := p.revisions(); rows != 2 {
			t.Errorf("%d revisions", rows)
		}
	})
}

// Endpoints that were made and deleted count too, so that a loop does not fill the disk.
func TestEndpointsADay(t *testing.T) {
	for name, o := range map[string]func(t *testing.T) Options{
		"SQLite":     func(t *testing.T) Options { return Options{Dir: t.TempDir(), Reserve: -1} },
		"PostgreSQL": func(t *testing.T) Options { return Options{Postgres: pgtest.Database(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			opts := o(t)
			opts.EndpointsADay = 5
			p := openPeer(t, opts)
			for range 5 {
				p.must(p.DeleteEndpoint(t.Context(), acme, p.signing("https://example.com/a").ID))
			}
			count := func() int { return p.count("SELECT count(*) FROM endpoints") }
			before := count()
			_, _, err := p.CreateEndpoint(t.Context(), hook.Endpoint{Scope: acme, URL: "https://example.com/a"}, nil)
			known, ok := err.(*hook.Error)
			if !ok || known.Code != hook.CodeRateLimited || known.RetryAfter < 23*time.Hour || known.RetryAfter > 24*time.Hour || count() != before {
				t.Errorf("%+v, %d endpoints", err, count())
			}
			other := hook.Scope{Tenant: acme.Tenant, Mode: hook.Test}
			_, _, err = p.CreateEndpoint(t.Context(), hook.Endpoint{Scope: other, URL: "https://example.com/a"}, nil)
			p.must(err)
			p.must(p.Close())
			opts.EndpointsADay = 6
			p = openPeer(t, opts) // control
			_, _, err = p.CreateEndpoint(t.Context(), hook.Endpoint{Scope: acme, URL: "https://example.com/a"}, nil)
			p.must(err)
		})
	}
}

// An endpoint has a bounded number of secrets in force.
func TestSecretsAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() *peer) {
		p := open()
		e := p.signing("https://example.com/a") // with two secrets
		rotate := func(overlap time.Duration) (*hook.Endpoint, error) {
			e, _, err := p.RotateSecret(t.Context(), acme, e.ID, hook.Secret{Text: "whsec_x", Encoding: hook.EncodingWhsec}, overlap, nil)
			return e, err
		}
		for range hook.MaxSecrets - 2 {
			_, err := rotate(time.Hour)
			p.must(err)
		}
		if _, err := rotate(time.Hour); hook.CodeOf(err) != hook.CodeSecretLimit {
			t.Errorf("one more: %v", err)
		}
		if n := p.count("SELECT count(*) FROM secrets"); n != hook.MaxSecrets {
			t.Errorf("%d secrets stored", n)
		}
		if e, err := rotate(0); err != nil || len(e.Secrets) != 1 {
			t.Errorf("without overlap: %+v, %v", e, err)
		}
	})
}
