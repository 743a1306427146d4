package app

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
)

// Viewed is a payload or an answer that a page is about to show.
type Viewed struct {
	Session [32]byte // of the person who looks
	Act     hook.Act
	Object  string
	ID      hook.ID
	Scope   hook.Scope
}

// errViews refuses to show more payloads than the audit log takes.
var errViews = &hook.Error{Code: hook.CodeRateLimited, Message: "More payloads were looked at within a minute than the audit log takes. Wait a little, then load the page again."}

// View records that a person sees a payload on a page, once per 5 minutes for each session
// and object. The page must not show the payload if View returns an error. A session of the
// portal sees payloads of its own tenant and mode only.
func (s *Service) View(ctx context.Context, c Caller, v Viewed) error {
	if c.Kind != hook.PortalUser || v.Scope != (hook.Scope{Tenant: c.Tenant, Mode: c.Mode}) {
		if err := c.administer(); err != nil {
			return err
		}
	}
	what := seen{Caller{KeyID: c.KeyID, Mode: c.Mode}, v.ID, v.Session}
	if s.reads.recent(what, s.o.Now()) {
		return nil
	}
	holder := bucket{limitAuditReads, c.holder()}
	if _, wait := s.buckets.take(holder, auditReads, 1, s.o.Now()); wait > 0 {
		return errViews
	}
	err := s.o.Store.Audit(ctx, hook.AuditEntry{Mode: v.Scope.Mode, Tenant: v.Scope.Tenant, Act: v.Act, Object: v.Object, ObjectID: v.ID.String(), Outcome: hook.AuditOK})
	if err == nil {
		s.reads.first(what, s.o.Now())
	}
	return err
}

// PolicyOf returns the rules by which an endpoint's new deliveries are attempted.
func (s *Service) PolicyOf(e *hook.Endpoint) hook.Policy {
	return s.profileNamed(e.Profile).Policy(e)
}

// ProfileSheet is everything that may be shown about a profile: its text and a request
// that is signed with publicly known secrets.
type ProfileSheet struct {
	Profile
	Text    []byte
	Headers []hook.Header
	Body    []byte
	Success string
	Words   []string // what the profile means, in sentences
}

// ProfileSheet returns the sheet of the named profile.
func (s *Service) ProfileSheet(name string) (ProfileSheet, error) {
	for _, one := range s.Profiles() {
		if one.Name != name {
			continue
		}
		p := s.profileNamed(name)
		w := p.Words()
		out := ProfileSheet{Profile: one, Text: p.Text(), Success: w.Success,
			Words: append(append([]string{}, w.Signatures...), w.Secret, w.Success, w.Retry, w.Timeout, w.Disabling, w.URLs)}
		var err error
		out.Headers, out.Body, err = p.Sample()
		return out, err
	}
	return ProfileSheet{}, hook.NotFound("profile")
}

// MayReveal reports whether the server may show signing secrets again.
func (s *Service) MayReveal() bool { return s.o.AllowReveal }
