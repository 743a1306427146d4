package app

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/diagnose"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/portal"
)

// WebStore stores the sessions of people in browsers, and the links that open them.
type WebStore interface {
	PortalStore
	OpenWebSession(ctx context.Context, s hook.WebSession, cookie [32]byte, replaces *[32]byte) error
	WebSession(ctx context.Context, cookie [32]byte) (hook.WebSession, error)
	SeenWebSession(ctx context.Context, id hook.ID, mode hook.Mode) error
	CloseWebSession(ctx context.Context, cookie [32]byte) error
	OperatorSessions(ctx context.Context, mode hook.Mode, page hook.Page) ([]hook.WebSession, string, error)
	EndWebSession(ctx context.Context, mode hook.Mode, id hook.ID) error
	CreateWebLink(ctx context.Context, link hook.WebLink, key hook.ID, mode hook.Mode) error
	WebLink(ctx context.Context, code [32]byte) (hook.WebLink, hook.WebSession, error)
	SpendWebLink(ctx context.Context, code, cookie, again [32]byte) (hook.WebSession, error)
}

// PortalStore stores the sessions of the portal.
type PortalStore interface {
	CreatePortalSession(ctx context.Context, n hook.NewPortalSession, once *hook.Once) (hook.WebSession, *hook.Replay, error)
	PortalSession(ctx context.Context, short string) (hook.WebSession, error)
	PortalSessions(ctx context.Context, q hook.WebSessionQuery) ([]hook.WebSession, string, error)
	EndPortalSession(ctx context.Context, scope hook.Scope, id hook.ID, act hook.Act) error
	EndPortalSessions(ctx context.Context, scope hook.Scope) (int, error)
}

// Pages says where people reach the pages.
type Pages struct {
	UI     string // base URL of the dashboard, without a slash at its end
	Portal string // of the portal
	Rules  portal.Rules
}

// PortalBesideUI reports whether the portal and the dashboard have one host.
func (s *Service) PortalBesideUI() bool { return s.o.Pages.UI == s.o.Pages.Portal }

// Marks make codes that nobody else can make, so that made-up ones are refused without a read
// from the store.
type Marks interface {
	Mark(code string) string
	Marked(code, mark string) bool
}

const (
	codeLength = 43 // characters of 256 bits
	// strangeReads bounds the reads of a minute for what shows no mark and is not found.
	strangeReads = 600
)

// newCode returns a random text of 256 bits, with its mark.
func (s *Service) newCode() string {
	var value [32]byte
	_, _ = rand.Read(value[:]) // never fails
	code := base64.RawURLEncoding.EncodeToString(value[:])
	if s.o.Marks != nil {
		code += s.o.Marks.Mark(code)
	}
	return code
}

// looks reports whether the store may be read for a code that somebody shows. A code with
// its mark is always looked for, whatever others do. One without may be older than the oldest
// master key, and costs a read only while few such were in vain. found is called with whether
// the code was there.
func (s *Service) looks(code string) (ok bool, found func(bool)) {
	if s.o.Marks == nil || len(code) > codeLength && s.o.Marks.Marked(code[:codeLength], code[codeLength:]) {
		return true, func(bool) {}
	}
	return s.strangers.so(netip.Prefix{}, s.o.Now()) < strangeReads, func(found bool) {
		if !found {
			s.strangers.count(netip.Prefix{}, s.o.Now())
		}
	}
}

func hashOf(text string) [32]byte { return sha256.Sum256([]byte(text)) }

// Link is a link that opens the dashboard once.
type Link struct {
	URL       string
	ExpiresAt time.Time
}

// CreateUILink returns a link that opens a session with the caller's key, once, for five
// minutes. Operators only.
func (s *Service) CreateUILink(ctx context.Context, c Caller) (Link, error) {
	if err := c.administer(); err != nil {
		return Link{}, err
	}
	link, code := hook.WebLink{}, s.newCode()
	link.Hash = hashOf(code)
	if c.KeyID.IsZero() {
		link.Keys = s.bootstrapKeys(c.Mode)
	}
	at := s.o.Now().Add(hook.WebLinkFor)
	return Link{URL: s.o.Pages.UI + "/ui/enter/" + code, ExpiresAt: at}, s.o.Store.CreateWebLink(ctx, link, c.KeyID, c.Mode)
}

// OwnUILink returns a link that opens a session with the keys of the given texts, which must
// be in force. It is called by the process itself, when it starts.
func (s *Service) OwnUILink(ctx context.Context, live, test string) (Link, error) {
	code := s.newCode()
	link := hook.WebLink{Hash: hashOf(code), Keys: map[hook.Mode][32]byte{}}
	for mode, text := range map[hook.Mode]string{hook.Live: live, hook.Test: test} {
		if text != "" {
			link.Keys[mode] = hashOf(text)
		}
	}
	return Link{URL: s.o.Pages.UI + "/ui/enter/" + code, ExpiresAt: s.o.Now().Add(hook.WebLinkFor)}, s.o.Store.CreateWebLink(ctx, link, hook.ID{}, hook.Live)
}

// bootstrapKeys returns the hash of the bootstrap key of a mode.
func (s *Service) bootstrapKeys(mode hook.Mode) map[hook.Mode][32]byte {
	for hash, c := range s.bootstrap {
		if c.Mode == mode {
			return map[hook.Mode][32]byte{mode: hash}
		}
	}
	return nil
}

// maker returns the id that stands for the caller's key in the sessions that it makes. For a
// bootstrap key it is derived from its hash, so that sessions end when the key is changed.
func (s *Service) maker(c Caller) hook.ID {
	if !c.KeyID.IsZero() {
		return c.KeyID
	}
	sum := sha256.Sum256(append([]byte("maker of sessions:"), keyOf(s.bootstrapKeys(c.Mode), c.Mode)...))
	return hook.ID(sum[:16])
}

func keyOf(keys map[hook.Mode][32]byte, mode hook.Mode) []byte {
	hash := keys[mode]
	return hash[:]
}

// PortalSession is a portal session with its link, which is shown once.
type PortalSession struct {
	hook.WebSession
	URL      string
	Warnings []portal.Warning
}

// CreatePortalSession makes a session of the portal for a tenant, and its link. Operators,
// and a tenant's key for its own tenant.
func (s *Service) CreatePortalSession(ctx context.Context, c Caller, tenant string, w portal.Wanted, once *Once) (PortalSession, *hook.Replay, error) {
	scope, err := c.makes(tenant)
	if err != nil {
		return PortalSession{}, nil, err
	}
	settings, life, warnings, err := portal.Check(w, s.o.Pages.Rules)
	if err != nil {
		return PortalSession{}, nil, err
	}
	expires := s.o.Now().Add(life).UTC().Truncate(time.Microsecond)
	if l := c.Limits; l != nil && !l.ExpiresAt.IsZero() && l.ExpiresAt.Before(expires) {
		expires = l.ExpiresAt // the session ends with the key that made it
	}
	code := s.newCode()
	made := PortalSession{URL: s.o.Pages.Portal + "/portal/enter/" + code, Warnings: warnings}
	n := hook.NewPortalSession{Link: hashOf(code), WebSession: hook.WebSession{Mode: scope.Mode, Tenant: scope.Tenant, Maker: s.maker(c), ExpiresAt: expires, Settings: settings}}
	stored, replay, err := s.o.Store.CreatePortalSession(ctx, n, once.in(scope, func(stored any) any {
		made.WebSession, _ = stored.(hook.WebSession)
		return made
	}))
	made.WebSession = stored
	return made, replay, err
}

// makes returns the scope for which the caller may make and end portal sessions.
func (c Caller) makes(tenant string) (hook.Scope, error) {
	if c.Kind == hook.PortalUser {
		return hook.Scope{}, errForbidden
	}
	scope, err := c.reach(tenant)
	if err == nil && scope.Tenant == "" {
		err = invalid("tenant", "\"tenant\" is required.")
	}
	if err == nil && !hook.ValidTenantID(scope.Tenant) {
		err = noTenant("tenant")
	}
	return scope, err
}

// PortalSessions returns a page of portal sessions, also those that ended within a day.
func (s *Service) PortalSessions(ctx context.Context, c Caller, q hook.WebSessionQuery) ([]hook.WebSession, string, error) {
	if c.Kind == hook.PortalUser {
		return nil, "", errForbidden
	}
	scope, err := c.reach(q.Scope.Tenant)
	if err != nil {
		return nil, "", err
	}
	q.Scope = scope
	rows, next, err := s.o.Store.PortalSessions(ctx, q)
	if err == nil && len(rows) == 0 {
		err = s.checkNamed(ctx, c, scope.Tenant)
	}
	for i := range rows {
		if rows[i].EndedAt.IsZero() && !s.madeBy(&rows[i]) {
			rows[i].EndedAt = s.o.Now() // its key was revoked
		}
	}
	return rows, next, err
}

// EndPortalSession ends a session at once, on all nodes.
func (s *Service) EndPortalSession(ctx context.Context, c Caller, id hook.ID) error {
	if c.Kind == hook.PortalUser {
		return errForbidden
	}
	scope, err := c.reach("")
	if err != nil {
		return err
	}
	return s.o.Store.EndPortalSession(ctx, scope, id, hook.ActPortalEnded)
}

// EndPortalSessions ends all sessions of a tenant at once, on all nodes.
func (s *Service) EndPortalSessions(ctx context.Context, c Caller, tenant string) error {
	scope, err := c.makes(tenant)
	if err != nil {
		return err
	}
	n, err := s.o.Store.EndPortalSessions(ctx, scope)
	if err == nil && n == 0 {
		err = s.checkNamed(ctx, c, scope.Tenant)
	}
	return err
}

// madeBy reports whether the key that made a portal session is in force.
func (s *Service) madeBy(one *hook.WebSession) bool {
	return one.MakerIn || one.Maker == s.maker(Caller{Kind: hook.Operator, Mode: one.Mode}) && len(s.bootstrapKeys(one.Mode)) > 0
}

// Over reports whether a portal session cannot be used.
func (s *Service) Over(one *hook.WebSession) bool { return one.Over(s.o.Now()) || !s.madeBy(one) }

// WebLink returns a link by its code, and whether it can be used. For a portal link the
// session is returned even if the link was used or is late, for the way back.
func (s *Service) WebLink(ctx context.Context, code string) (of hook.WebSession, usable bool, err error) {
	look, found := s.looks(code)
	if !look {
		return hook.WebSession{}, false, nil
	}
	link, of, err := s.o.Store.WebLink(ctx, hashOf(code))
	if err != nil {
		if hook.CodeOf(err) == hook.CodeNotFound {
			found(false)
			err = nil
		}
		return hook.WebSession{}, false, err
	}
	of.Kind = link.Kind
	usable = link.SpentAt.IsZero() && s.o.Now().Before(link.ExpiresAt)
	if link.Kind == hook.WebPortal {
		usable = usable && of.EndedAt.IsZero() && s.o.Now().Before(of.ExpiresAt) && s.madeBy(&of) && !(link.Again && !of.SeenAt.IsZero())
	}
	return of, usable, nil
}

// Entered is what using a link gives: a session, the value of its cookie, and for a portal
// session the code of another link, for a browser that does not send the cookie back.
type Entered struct {
	hook.WebSession
	Cookie, Again string
}

// Enter uses a link of the kind. One that is used, late or unknown is CodeNotFound.
func (s *Service) Enter(ctx context.Context, kind hook.WebKind, code, address, request string) (Entered, error) {
	if of, usable, err := s.WebLink(ctx, code); err != nil || !usable || of.Kind != kind {
		if err == nil {
			err = hook.NotFound("link")
		}
		return Entered{}, err
	}
	out := Entered{Cookie: s.newCode(), Again: s.newCode()}
	actor := hook.Actor{Kind: string(hook.PortalUser), Address: address, Request: request}
	var err error
	out.WebSession, err = s.o.Store.SpendWebLink(hook.WithActor(ctx, actor), hashOf(code), hashOf(out.Cookie), hashOf(out.Again))
	return out, err
}

// SessionStands returns the session of a cookie, without noting its use. An operator's
// session that was not used for half an hour is over, and so is one whose time is over.
func (s *Service) SessionStands(ctx context.Context, kind hook.WebKind, cookie string) (hook.WebSession, bool, error) {
	look, found := s.looks(cookie)
	if !look {
		return hook.WebSession{}, false, nil
	}
	one, err := s.o.Store.WebSession(ctx, hashOf(cookie))
	if hook.CodeOf(err) == hook.CodeNotFound && err != nil {
		found(false)
		return one, false, nil
	}
	now := s.o.Now()
	if err != nil || one.Kind != kind || !one.EndedAt.IsZero() || !now.Before(one.ExpiresAt) {
		return one, false, err
	}
	return one, !(kind == hook.WebOperator && now.Sub(one.SeenAt) >= hook.WebSessionIdle || kind == hook.WebPortal && !s.madeBy(&one)), nil
}

// Session is SessionStands, and notes the use of the session. The callers behind it are
// looked up with each request: see Holder and PortalCaller.
func (s *Service) Session(ctx context.Context, kind hook.WebKind, cookie string, mode hook.Mode) (hook.WebSession, bool, error) {
	one, ok, err := s.SessionStands(ctx, kind, cookie)
	if err != nil || !ok {
		return one, false, err
	}
	now := s.o.Now()
	if mode == 0 {
		mode = one.Mode
	}
	if now.Sub(one.SeenAt) >= time.Minute || mode != one.Mode {
		if err := s.o.Store.SeenWebSession(ctx, one.ID, mode); err != nil {
			s.o.Log.WarnContext(ctx, "could not note the use of a session", "session", one.ID.String(), "error", err)
		} else {
			one.SeenAt = now
		}
	}
	return one, true, nil
}

// PortalShort returns a portal session by its short id, even if it is over. It proves
// nothing, so beyond strangeReads a minute none is found.
func (s *Service) PortalShort(ctx context.Context, short string) (hook.WebSession, error) {
	if n, _ := s.shorts.count(netip.Prefix{}, s.o.Now()); n > strangeReads {
		return hook.WebSession{}, hook.NotFound("session")
	}
	return s.o.Store.PortalSession(ctx, short)
}

// PortalCaller returns the caller of a portal session.
func PortalCaller(one *hook.WebSession) Caller {
	return Caller{Kind: hook.PortalUser, Mode: one.Mode, Tenant: one.Tenant, KeyID: one.ID, Capabilities: one.Settings.Capabilities}
}

// LeavePortal ends the caller's own session.
func (s *Service) LeavePortal(ctx context.Context, c Caller) error {
	if c.Kind != hook.PortalUser {
		return errForbidden
	}
	return s.o.Store.EndPortalSession(ctx, hook.Scope{Tenant: c.Tenant, Mode: c.Mode}, c.KeyID, hook.ActPortalLeft)
}

// OpenSession stores an operator's session for the keys, opened from an address, and returns
// the value of its cookie. It ends the session that it replaces, whose cookie is given or empty.
func (s *Service) OpenSession(ctx context.Context, one hook.WebSession, replaces string, from netip.Addr) (string, error) {
	one.Settings.Address = from.Unmap().String()
	cookie := s.newCode()
	var old *[32]byte
	if replaces != "" {
		hash := hashOf(replaces)
		old = &hash
	}
	return cookie, s.o.Store.OpenWebSession(ctx, one, hashOf(cookie), old)
}

// CloseSession ends an operator's session.
func (s *Service) CloseSession(ctx context.Context, cookie string) error {
	return s.o.Store.CloseWebSession(ctx, hashOf(cookie))
}

// OperatorSession is a session of an operator, with the key of the mode that it stands for.
type OperatorSession struct {
	hook.WebSession
	Key     hook.Key // without a name and an id: a key that the server was started with
	Revoked bool     // the key is gone: the session has another one, of test mode, or is refused
}

// OperatorSessions lists the sessions of operators in the caller's mode that can be used. A
// session with keys of both modes belongs to live mode. Operators only.
func (s *Service) OperatorSessions(ctx context.Context, c Caller, page hook.Page) ([]OperatorSession, string, error) {
	if err := c.administer(); err != nil {
		return nil, "", err
	}
	rows, next, err := s.o.Store.OperatorSessions(ctx, c.Mode, page)
	var out []OperatorSession
	for i := range rows {
		one := OperatorSession{WebSession: rows[i]}
		if hash := rows[i].Keys[c.Mode]; err == nil {
			if _, boot := s.bootstrap[hash]; !boot {
				if one.Key, err = s.o.Store.KeyByHash(ctx, hash); err != nil && (hook.CodeOf(err) == hook.CodeNotFound || hook.CodeOf(err) == hook.CodeUnauthorized) {
					one.Revoked, err = true, nil
				}
			}
		}
		out = append(out, one)
	}
	return out, next, err
}

// EndOperatorSession ends a session that OperatorSessions lists, at once on all nodes. Operators
// only.
func (s *Service) EndOperatorSession(ctx context.Context, c Caller, id hook.ID) error {
	if err := c.administer(); err != nil {
		return err
	}
	return s.o.Store.EndWebSession(ctx, c.Mode, id)
}

// AuditSession records that an operator's session was opened or closed.
func (s *Service) AuditSession(ctx context.Context, c Caller, act hook.Act, address netip.Addr, request string) {
	ctx = c.Acting(ctx, address.Unmap().String(), request)
	s.record(ctx, hook.AuditEntry{Mode: c.Mode, Act: act, Object: "ui_session", Outcome: hook.AuditOK})
}

// MaxCapture bounds the captured request that CheckRequest looks at, in bytes.
const MaxCapture = 64 << 10

// CheckRequest says why a captured request does not verify with the secrets of an endpoint,
// which are not shown. It counts as a use of the secret.
func (s *Service) CheckRequest(ctx context.Context, c Caller, id hook.ID, capture []byte) (diagnose.Verdict, error) {
	ep, err := s.endpoint(ctx, c, id)
	if err != nil {
		return diagnose.Verdict{}, err
	}
	if ep.Damage.Has(hook.DamagedSecrets) || len(ep.Secrets) == 0 {
		return diagnose.Verdict{}, errSecretDamaged
	}
	if len(capture) > MaxCapture {
		return diagnose.Verdict{}, &hook.Error{Code: hook.CodeTooLarge, Field: "capture", Message: "The captured request is larger than 64 KiB."}
	}
	read, err := diagnose.ReadCapture(capture, 0)
	if err != nil {
		return diagnose.Verdict{}, &hook.Error{Code: hook.CodeInvalidRequest, Field: "capture", Message: strings.ToUpper(err.Error()[:1]) + err.Error()[1:] + "."}
	}
	if err := s.spend(ctx, c, limitAttempts, 1); err != nil {
		return diagnose.Verdict{}, err
	}
	secrets := make([]string, len(ep.Secrets))
	for i := range ep.Secrets {
		secrets[i] = ep.Secrets[i].Text
	}
	return diagnose.Explain(read, diagnose.Question{Profile: s.profileNamed(ep.Profile), Known: s.o.Profiles, Secrets: slices.Compact(secrets), Now: s.o.Now()}), nil
}
