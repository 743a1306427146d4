package read

import (
	"context"
	"encoding/json"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// WebSessionColumns are the columns that ScanWebSession reads from web_sessions s. They
// take one argument, the time.
const WebSessionColumns = `s.id, s.kind, s.mode, s.tenant, length(s.hash), s.live_key, s.test_key, s.maker, s.settings, s.created_at, s.seen_at, s.expires_at,
	s.enter_by, s.ended_at, (SELECT count(*) FROM keys k WHERE k.id = s.maker AND k.revoked_at = 0 AND (k.expires_at = 0 OR k.expires_at > ?))`

// ScanWebSession reads a session.
func ScanWebSession(row sqltext.Scanner) (hook.WebSession, error) {
	s := hook.WebSession{}
	var entered, in, created, seen, expires, enter, ended int64
	var live, test []byte
	var settings string
	err := row.Scan(sqltext.Blob(s.ID[:]), &s.Kind, &s.Mode, &s.Tenant, &entered, &live, &test, sqltext.Blob(s.Maker[:]), &settings,
		&created, &seen, &expires, &enter, &ended, &in)
	if err != nil {
		return s, err
	}
	s.Entered, s.MakerIn, s.Keys = entered > 0, in > 0, KeyHashes(live, test)
	s.CreatedAt, s.SeenAt, s.ExpiresAt = sqltext.FromMicros(created), sqltext.FromMicros(seen), sqltext.FromMicros(expires)
	s.EnterBy, s.EndedAt = sqltext.FromMicros(enter), sqltext.FromMicros(ended)
	if settings == "" {
		return s, nil
	}
	return s, json.Unmarshal([]byte(settings), &s.Settings)
}

// KeyHashes returns the hashes of operator keys by mode. An empty one means none.
func KeyHashes(live, test []byte) map[hook.Mode][32]byte {
	keys := map[hook.Mode][32]byte{}
	for mode, hash := range map[hook.Mode][]byte{hook.Live: live, hook.Test: test} {
		if len(hash) == 32 {
			keys[mode] = [32]byte(hash)
		}
	}
	return keys
}

const tenantIn = " AND NOT EXISTS (SELECT 1 FROM tenants gone WHERE gone.id = s.tenant AND gone.deleted_at > 0)"

func (l *Lists) webSession(ctx context.Context, where string, args ...any) (hook.WebSession, error) {
	found, err := sqltext.Collect(ctx, l.db, ScanWebSession, "SELECT "+WebSessionColumns+" FROM web_sessions s WHERE "+where,
		append([]any{sqltext.Micros(l.now())}, args...)...)
	if err != nil {
		return hook.WebSession{}, l.fail("read session", err)
	}
	if len(found) == 0 {
		return hook.WebSession{}, hook.NotFound("session")
	}
	return found[0], nil
}

// WebSession returns the session whose cookie has the hash. It may be over.
func (l *Lists) WebSession(ctx context.Context, hash [32]byte) (hook.WebSession, error) {
	return l.webSession(ctx, "s.hash = ? AND length(s.hash) > 0"+tenantIn, hash[:])
}

// PortalSession returns the session with the short id, even if it is over.
func (l *Lists) PortalSession(ctx context.Context, short string) (hook.WebSession, error) {
	return l.webSession(ctx, "s.short = ? AND s.short <> ''"+tenantIn, short)
}

// WebLink returns a link, used or not, with its portal session.
func (l *Lists) WebLink(ctx context.Context, code [32]byte) (hook.WebLink, hook.WebSession, error) {
	link := hook.WebLink{Hash: code}
	var session, live, test []byte
	var expires, spent int64
	ok, err := sqltext.ReadRow(ctx, l.db, "SELECT kind, session, live_key, test_key, again, expires_at, spent_at FROM web_links WHERE hash = ?", []any{code[:]},
		&link.Kind, &session, &live, &test, &link.Again, &expires, &spent)
	if err != nil {
		return link, hook.WebSession{}, l.fail("read link", err)
	}
	if !ok {
		return link, hook.WebSession{}, hook.NotFound("link")
	}
	link.Keys, link.ExpiresAt, link.SpentAt = KeyHashes(live, test), sqltext.FromMicros(expires), sqltext.FromMicros(spent)
	if link.Kind != hook.WebPortal {
		return link, hook.WebSession{}, nil
	}
	copy(link.Session[:], session)
	of, err := l.webSession(ctx, "s.id = ?"+tenantIn, session)
	return link, of, err
}

// OfMode is true for an operator's session that operators of the mode may end: in live mode
// each with a live key, in test mode each with only a test key.
func OfMode(mode hook.Mode) string {
	if mode == hook.Live {
		return "length(live_key) > 0"
	}
	return "length(test_key) > 0 AND length(live_key) = 0"
}

// OperatorSessions lists the sessions of operators in a mode that can be used, newest first, at
// most hook.MaxWebSessions.
func (l *Lists) OperatorSessions(ctx context.Context, mode hook.Mode, page hook.Page) ([]hook.WebSession, string, error) {
	before, err := sqltext.BeforeOf(page, 1)
	if err != nil {
		return nil, "", err
	}
	now := l.now()
	rows, err := sqltext.Collect(ctx, l.db, ScanWebSession, "SELECT "+WebSessionColumns+" FROM web_sessions s WHERE s.kind = ? AND s.id < ? AND s.expires_at > ? AND s.seen_at > ? AND "+OfMode(mode)+" ORDER BY s.id DESC LIMIT ?",
		sqltext.Micros(now), string(hook.WebOperator), before[0][:], sqltext.Micros(now), sqltext.Micros(now.Add(-hook.WebSessionIdle)), int64(sqltext.LimitOf(page)+1))
	if err != nil {
		return nil, "", l.fail("list sessions", err)
	}
	if len(rows) <= sqltext.LimitOf(page) {
		return rows, "", nil
	}
	rows = rows[:sqltext.LimitOf(page)]
	return rows, sqltext.CursorOf(rows[len(rows)-1].ID), nil
}

// PortalSessions lists the portal sessions of a mode, newest first, with those that ended
// within hook.WebSessionKept. It looks at a bounded number of rows.
func (l *Lists) PortalSessions(ctx context.Context, q hook.WebSessionQuery) ([]hook.WebSession, string, error) {
	before, err := sqltext.BeforeOf(q.Page, 1)
	if err != nil {
		return nil, "", err
	}
	done, err := l.slots.take(ctx, q.Scope) // each has a look, with an image
	if err != nil {
		return nil, "", err
	}
	defer done()
	query, args := portalSessions(&q, before[0], l.now())
	rows, err := sqltext.Collect(ctx, l.db, ScanWebSession, query, args...)
	if err != nil {
		return nil, "", l.fail("list sessions", err)
	}
	if len(rows) <= sqltext.LimitOf(q.Page) {
		return rows, "", nil
	}
	rows = rows[:sqltext.LimitOf(q.Page)]
	return rows, sqltext.CursorOf(rows[len(rows)-1].ID), nil
}

// portalSessions returns the query for a page of portal sessions and one more.
func portalSessions(q *hook.WebSessionQuery, before hook.ID, now time.Time) (string, []any) {
	query := "SELECT " + WebSessionColumns + " FROM web_sessions s WHERE s.kind = ? AND s.mode = ? AND s.id < ?"
	args := []any{sqltext.Micros(now), string(hook.WebPortal), int64(q.Scope.Mode), before[:]}
	if q.Scope.Tenant != "" {
		query, args = query+" AND s.tenant = ?", append(args, q.Scope.Tenant)
	}
	return query + tenantIn + " ORDER BY s.id DESC LIMIT ?", append(args, int64(sqltext.LimitOf(q.Page)+1))
}
