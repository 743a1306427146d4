package app

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// oneSession is a store with one session.
type oneSession struct {
	noStore
	one  hook.WebSession
	seen int
	fail error
}

func (s *oneSession) WebSession(context.Context, [32]byte) (hook.WebSession, error) {
	return s.one, s.fail
}

func (s *oneSession) SeenWebSession(_ context.Context, _ hook.ID, mode hook.Mode) error {
	s.seen++
	return nil
}

// A session is over at its end, when it was ended, when it is of the other kind, and when its
// key is not in force; an operator's also after half an hour without use. Its use is noted
// once a minute.
func TestWhenASessionIsOver(t *testing.T) {
	now := time.Date(2026, 11, 27, 14, 0, 0, 0, time.UTC)
	kept := &oneSession{}
	s := &Service{o: Options{Store: kept, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)}}
	good := hook.WebSession{Mode: hook.Live, ExpiresAt: now.Add(time.Second), SeenAt: now.Add(-29 * time.Minute), MakerIn: true}
	for name, c := range map[string]struct {
		kind   hook.WebKind
		change func(*hook.WebSession)
		ok     bool
	}{
		"an operator's":                   {hook.WebOperator, func(*hook.WebSession) {}, true},
		"a customer's":                    {hook.WebPortal, func(*hook.WebSession) {}, true},
		"at its end":                      {hook.WebOperator, func(o *hook.WebSession) { o.ExpiresAt = now }, false},
		"idle":                            {hook.WebOperator, func(o *hook.WebSession) { o.SeenAt = now.Add(-hook.WebSessionIdle) }, false},
		"a customer's, idle":              {hook.WebPortal, func(o *hook.WebSession) { o.SeenAt = now.Add(-hook.WebSessionIdle) }, true},
		"ended":                           {hook.WebPortal, func(o *hook.WebSession) { o.EndedAt = now.Add(-time.Hour) }, false},
		"whose key was revoked":           {hook.WebPortal, func(o *hook.WebSession) { o.MakerIn = false; o.Maker = hook.ID{1} }, false},
		"of a bootstrap key that is gone": {hook.WebPortal, func(o *hook.WebSession) { o.MakerIn = false; o.Maker = s.maker(Caller{Mode: hook.Live}) }, false},
		"of the other kind":               {hook.WebPortal, func(o *hook.WebSession) { o.Kind = hook.WebOperator }, false},
	} {
		kept.one = good
		kept.one.Kind = c.kind
		c.change(&kept.one)
		if _, ok, err := s.Session(t.Context(), c.kind, "cookie", 0); ok != c.ok || err != nil {
			t.Errorf("%s: %v %v", name, ok, err)
		}
	}
	kept.one, kept.seen = good, 0
	kept.one.Kind, kept.one.SeenAt = hook.WebOperator, now.Add(-59*time.Second)
	_, _, _ = s.Session(t.Context(), hook.WebOperator, "cookie", hook.Live)
	if kept.seen != 0 {
		t.Error("written twice within a minute")
	}
	_, _, _ = s.Session(t.Context(), hook.WebOperator, "cookie", hook.Test)
	if kept.seen != 1 {
		t.Error("the mode that was viewed is not noted")
	}
	kept.fail = &hook.Error{Code: hook.CodeStorageDown}
	if _, ok, err := s.Session(t.Context(), hook.WebOperator, "cookie", 0); ok || err == nil {
		t.Error("a store that is down looks like no session")
	}
}
