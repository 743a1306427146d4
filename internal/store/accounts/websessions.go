package accounts

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Sessions of people. They are read from the table with every request, so that their end is
// in force on every node with its commit. Nothing is kept in memory.

const (
	// linksKept is how long a used or late link is kept, for its page to say so.
	linksKept = time.Hour
	// maxUILinks bounds the links of operators that are kept.
	maxUILinks = 1000
	// sessionOver is true for a portal session that cannot be used. It takes the time twice.
	sessionOver = "(ended_at > 0 OR expires_at <= ? OR length(hash) = 0 AND enter_by <= ?)"
	sessionRow  = `INSERT INTO web_sessions (id, short, kind, mode, tenant, hash, live_key, test_key, maker, settings, created_at, seen_at, expires_at, enter_by, ended_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)`
)

func keyHash(keys map[hook.Mode][32]byte, mode hook.Mode) []byte {
	if hash, ok := keys[mode]; ok {
		return hash[:]
	}
	return []byte{}
}

func (t *tx) insertSession(s *hook.WebSession, hash []byte) error {
	settings, short := "", ""
	if s.Kind == hook.WebPortal {
		short = s.Short()
	}
	if s.Kind == hook.WebPortal || s.Settings.Address != "" {
		text, err := json.Marshal(s.Settings)
		if err != nil {
			return sqltext.Wrap("encode settings", err)
		}
		settings = string(text)
	}
	_, err := t.Exec("insert session", sessionRow, s.ID[:], short, string(s.Kind), int64(s.Mode), s.Tenant, hash, keyHash(s.Keys, hook.Live), keyHash(s.Keys, hook.Test),
		s.Maker[:], settings, sqltext.Micros(s.CreatedAt), sqltext.Micros(s.SeenAt), sqltext.Micros(s.ExpiresAt), sqltext.Micros(s.EnterBy))
	return err
}

func (t *tx) insertLink(l *hook.WebLink) error {
	session := l.Session[:]
	if l.Session.IsZero() {
		session = []byte{}
	}
	_, err := t.Exec("insert link", `INSERT INTO web_links (hash, kind, session, live_key, test_key, again, expires_at, spent_at) VALUES (?, ?, ?, ?, ?, ?, ?, 0)`,
		l.Hash[:], string(l.Kind), session, keyHash(l.Keys, hook.Live), keyHash(l.Keys, hook.Test), sqltext.Number(l.Again), sqltext.Micros(l.ExpiresAt))
	return err
}

// OpenWebSession stores an operator's session under the hash of its cookie, and ends the one
// that it replaces. If there are more than hook.MaxWebSessions, the one unused longest ends.
func (s *Accounts) OpenWebSession(ctx context.Context, one hook.WebSession, cookie [32]byte, replaces *[32]byte) error {
	return s.do(ctx, "open session", 2, func(t *tx) error {
		if replaces != nil {
			if _, err := t.Exec("replace session", "DELETE FROM web_sessions WHERE hash = ? AND length(hash) > 0 AND kind = ?", replaces[:], string(hook.WebOperator)); err != nil {
				return err
			}
		}
		return t.openOperator(one, cookie)
	})
}

func (t *tx) openOperator(one hook.WebSession, cookie [32]byte) error {
	one.ID, one.Kind, one.SeenAt = t.s.core.IDs.Next(), hook.WebOperator, t.Now
	if one.CreatedAt.IsZero() {
		one.CreatedAt = t.Now
	}
	one.ExpiresAt = one.CreatedAt.Add(hook.WebSessionMax)
	if by := t.Actor(); by != nil {
		one.Settings.Address = by.Address
	}
	if _, err := t.Exec("drop old sessions", `DELETE FROM web_sessions WHERE id IN (SELECT id FROM web_sessions WHERE kind = ?
		ORDER BY seen_at DESC, id DESC LIMIT 10 OFFSET ?)`, string(hook.WebOperator), int64(hook.MaxWebSessions-1)); err != nil {
		return err
	}
	return t.insertSession(&one, cookie[:])
}

// CloseWebSession ends an operator's session.
func (s *Accounts) CloseWebSession(ctx context.Context, cookie [32]byte) error {
	return s.do(ctx, "close session", 1, func(t *tx) error {
		_, err := t.Exec("close session", "DELETE FROM web_sessions WHERE hash = ? AND length(hash) > 0 AND kind = ?", cookie[:], string(hook.WebOperator))
		return err
	})
}

// EndWebSession ends an operator's session that has a key of the mode, at once on all nodes. One
// that has a live key as well ends only from live mode.
func (s *Accounts) EndWebSession(ctx context.Context, mode hook.Mode, id hook.ID) error {
	return s.do(ctx, "end session", 1, func(t *tx) error {
		n, err := t.Exec("end session", "DELETE FROM web_sessions WHERE id = ? AND kind = ? AND "+read.OfMode(mode), id[:], string(hook.WebOperator))
		if err == nil && n == 0 {
			err = hook.NotFound("session")
		}
		if err == nil {
			t.Audited(hook.ActUIEnded, "ui_session", id.String(), hook.Scope{Mode: mode})
		}
		return err
	})
}

// SeenWebSession notes the use of a session, and the mode that it viewed.
func (s *Accounts) SeenWebSession(ctx context.Context, id hook.ID, mode hook.Mode) error {
	return s.do(context.WithoutCancel(ctx), "use session", 1, func(t *tx) error {
		_, err := t.Exec("use session", "UPDATE web_sessions SET seen_at = ?, mode = ? WHERE id = ? AND ended_at = 0", sqltext.Micros(t.Now), int64(mode), id[:])
		return err
	})
}

// CreateWebLink stores a link for an operator. A hash of a key that is zero stands for the
// key with the id.
func (s *Accounts) CreateWebLink(ctx context.Context, link hook.WebLink, key hook.ID, mode hook.Mode) error {
	return s.do(ctx, "create link", 1, func(t *tx) error {
		if err := t.dropLinks(20); err != nil {
			return err
		}
		var kept int
		if _, err := t.Row("count links", "SELECT count(*) FROM (SELECT 1 AS one FROM web_links WHERE session = ? LIMIT ?) l", []any{[]byte{}, int64(maxUILinks)}, &kept); err != nil {
			return err
		}
		if kept >= maxUILinks {
			return &hook.Error{Code: hook.CodeRateLimited, RetryAfter: time.Minute, Message: fmt.Sprintf("%d links were made within an hour; no more are made. Use one of them, or wait.", maxUILinks)}
		}
		link.Kind, link.ExpiresAt = hook.WebOperator, t.Now.Add(hook.WebLinkFor)
		if !key.IsZero() {
			var hash []byte
			found, err := t.Row("read key", "SELECT hash FROM keys WHERE id = ? AND mode = ? AND revoked_at = 0", []any{key[:], int64(mode)}, &hash)
			if err != nil {
				return err
			}
			if !found || len(hash) != 32 {
				return hook.NotFound("key")
			}
			link.Keys = map[hook.Mode][32]byte{mode: [32]byte(hash)}
		}
		of := hook.ActorBootstrap
		if !key.IsZero() {
			of = key.String()
		}
		t.Audited(hook.ActUILinkCreated, "key", of, hook.Scope{Mode: mode})
		return t.insertLink(&link)
	})
}

// CreatePortalSession stores a portal session with its link. It sets the id and the times;
// n.ExpiresAt is kept.
func (s *Accounts) CreatePortalSession(ctx context.Context, n hook.NewPortalSession, once *hook.Once) (hook.WebSession, *hook.Replay, error) {
	var made hook.WebSession
	var replay *hook.Replay
	scope := hook.Scope{Tenant: n.Tenant, Mode: n.Mode}
	err := s.doFor(ctx, scope, "create portal session", 2, func(t *tx) (err error) {
		replay, err = t.Once(once, func() (any, bool, error) {
			made = n.WebSession
			if err := t.createPortalSession(&made, n.Link); err != nil {
				return nil, false, err
			}
			t.Audited(hook.ActPortalCreated, "portal_session", made.ID.String(), scope, made.Settings.Capabilities.Names()...)
			return made, true, nil
		})
		return err
	})
	if err != nil {
		return hook.WebSession{}, nil, err
	}
	return made, replay, nil
}

func (t *tx) createPortalSession(s *hook.WebSession, code [32]byte) error {
	if _, err := t.Tenant(s.Tenant); hook.CodeOf(err) == hook.CodeNotFound && err != nil {
		return unit.NoTenant()
	} else if err != nil {
		return err
	}
	if err := t.dropLinks(20); err != nil {
		return err
	}
	now := sqltext.Micros(t.Now)
	of := []any{string(hook.WebPortal), int64(s.Mode), s.Tenant}
	const ofScope = "kind = ? AND mode = ? AND tenant = ?"
	if _, err := t.Exec("drop old sessions", "DELETE FROM web_sessions WHERE id IN (SELECT id FROM web_sessions WHERE "+ofScope+" AND "+sessionOver+
		" ORDER BY id DESC LIMIT 10 OFFSET ?)", append(of, now, now, int64(hook.MaxPortalSessions))...); err != nil {
		return err
	}
	var open int
	if _, err := t.Row("count sessions", "SELECT count(*) FROM web_sessions WHERE "+ofScope+" AND NOT "+sessionOver, append(of, now, now), &open); err != nil {
		return err
	}
	if open >= hook.MaxPortalSessions {
		return &hook.Error{Code: hook.CodePortalLimit, Message: fmt.Sprintf(
			"The tenant has %d portal sessions in this mode; no more are allowed. End some, or make them shorter with \"expires_in\".", open)}
	}
	s.ID, s.Kind, s.CreatedAt, s.EnterBy = t.s.core.IDs.Next(), hook.WebPortal, t.Now, t.Now.Add(hook.WebLinkFor)
	if s.EnterBy.After(s.ExpiresAt) {
		s.EnterBy = s.ExpiresAt
	}
	if err := t.insertSession(s, []byte{}); err != nil {
		return err
	}
	return t.insertLink(&hook.WebLink{Hash: code, Kind: hook.WebPortal, Session: s.ID, ExpiresAt: s.EnterBy})
}

// SpendWebLink uses a link once, and stores the session that it opens under the hash of a
// new cookie. For a portal session it also stores another link, with the hash again, for a
// browser that does not send the cookie back; that link ends with the first use of the
// session. A link that is used, late or unknown is CodeNotFound.
func (s *Accounts) SpendWebLink(ctx context.Context, code, cookie, again [32]byte) (hook.WebSession, error) {
	var made hook.WebSession
	err := s.do(ctx, "use link", 3, func(t *tx) error {
		link := hook.WebLink{}
		var live, test, session []byte
		found, err := unit.Returning(t.Tx, func(row sqltext.Scanner) (bool, error) {
			err := row.Scan(&link.Kind, &session, &live, &test, &link.Again)
			return true, err
		}, "UPDATE web_links SET spent_at = ? WHERE hash = ? AND spent_at = 0 AND expires_at > ? RETURNING kind, session, live_key, test_key, again",
			sqltext.Micros(t.Now), code[:], sqltext.Micros(t.Now))
		if err != nil {
			return sqltext.Wrap("use link", err)
		}
		if len(found) == 0 {
			return hook.NotFound("link")
		}
		if link.Kind == hook.WebOperator {
			made = hook.WebSession{Kind: hook.WebOperator, Mode: hook.Test, Keys: read.KeyHashes(live, test)}
			if _, ok := made.Keys[hook.Live]; ok {
				made.Mode = hook.Live
			}
			return t.openOperator(made, cookie)
		}
		made, err = t.openPortal(session, cookie, again, link.Again)
		return err
	})
	return made, err
}

func (t *tx) openPortal(id []byte, cookie, again [32]byte, second bool) (hook.WebSession, error) {
	found, err := sqltext.Collect(background, t.Conn, read.ScanWebSession, "SELECT "+read.WebSessionColumns+
		" FROM web_sessions s WHERE s.id = ? AND NOT EXISTS (SELECT 1 FROM tenants gone WHERE gone.id = s.tenant AND gone.deleted_at > 0){lock}", sqltext.Micros(t.Now), id)
	if err != nil {
		return hook.WebSession{}, sqltext.Wrap("read session", err)
	}
	if len(found) == 0 || !found[0].EndedAt.IsZero() || !t.Now.Before(found[0].ExpiresAt) || second && !found[0].SeenAt.IsZero() {
		return hook.WebSession{}, hook.NotFound("link")
	}
	made := found[0]
	if _, err := t.Exec("open session", "UPDATE web_sessions SET hash = ?, seen_at = 0 WHERE id = ?", cookie[:], id); err != nil {
		return made, err
	}
	if a := t.Actor(); a != nil {
		a.ID = made.ID.String()
	}
	t.Audited(hook.ActPortalOpened, "portal_session", made.ID.String(), hook.Scope{Tenant: made.Tenant, Mode: made.Mode})
	made.Entered, made.SeenAt = true, time.Time{}
	return made, t.insertLink(&hook.WebLink{Hash: again, Kind: hook.WebPortal, Session: made.ID, Again: true, ExpiresAt: t.Now.Add(hook.WebLinkFor)})
}

// EndPortalSession ends a portal session at once, on all nodes. A session that is over
// already is left as it is. An empty tenant means every tenant of the mode.
func (s *Accounts) EndPortalSession(ctx context.Context, scope hook.Scope, id hook.ID, act hook.Act) error {
	return s.doFor(ctx, scope, "end portal session", 1, func(t *tx) error {
		of, err := unit.Returning(t.Tx, scanText, "UPDATE web_sessions SET ended_at = CASE WHEN ended_at = 0 THEN ? ELSE ended_at END WHERE id = ? AND kind = ? AND mode = ? AND (? = '' OR tenant = ?) RETURNING tenant",
			sqltext.Micros(t.Now), id[:], string(hook.WebPortal), int64(scope.Mode), scope.Tenant, scope.Tenant)
		if err != nil {
			return sqltext.Wrap("end session", err)
		}
		if len(of) == 0 {
			return hook.NotFound("portal session")
		}
		if _, err := t.Exec("drop links", "DELETE FROM web_links WHERE session = ?", id[:]); err != nil {
			return err
		}
		t.Audited(act, "portal_session", id.String(), hook.Scope{Tenant: of[0], Mode: scope.Mode})
		return nil
	})
}

// EndPortalSessions ends all portal sessions of a tenant and mode. Their number is bounded by
// hook.MaxPortalSessions. It returns how many were ended.
func (s *Accounts) EndPortalSessions(ctx context.Context, scope hook.Scope) (n int, err error) {
	err = s.doFor(ctx, scope, "end portal sessions", hook.MaxPortalSessions, func(t *tx) error {
		ended, err := t.Exec("end sessions", "UPDATE web_sessions SET ended_at = ? WHERE kind = ? AND mode = ? AND tenant = ? AND ended_at = 0",
			sqltext.Micros(t.Now), string(hook.WebPortal), int64(scope.Mode), scope.Tenant)
		n = int(ended)
		if n > 0 {
			t.Audited(hook.ActPortalEnded, "tenant", scope.Tenant, scope, strconv.FormatInt(ended, 10)+" sessions")
		}
		return err
	})
	return n, err
}

// dropLinks deletes links that expired some time ago.
func (t *tx) dropLinks(most int) error {
	_, err := t.Exec("drop links", "DELETE FROM web_links WHERE hash IN (SELECT hash FROM web_links WHERE expires_at <= ? LIMIT ?)",
		sqltext.Micros(t.Now.Add(-linksKept)), int64(most))
	return err
}

// expireWebSessions deletes sessions and links that expired some time ago.
func (s *Accounts) expireWebSessions(ctx context.Context) error {
	for more := true; more; {
		err := s.maintain(ctx, "expire sessions", unit.HousekeepPage, func(t *tx) error {
			n, err := t.Exec("expire sessions", `DELETE FROM web_sessions WHERE id IN (SELECT id FROM web_sessions WHERE expires_at <= ? LIMIT ?)`,
				sqltext.Micros(t.Now.Add(-hook.WebSessionKept)), int64(unit.HousekeepPage))
			if more = n == unit.HousekeepPage; err != nil {
				return err
			}
			return t.dropLinks(unit.HousekeepPage)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
