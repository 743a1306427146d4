package app

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"log/slog"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
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

// counted is a store with the session of one cookie, which counts what is read.
type counted struct {
	noStore
	cookie [32]byte
	one    hook.WebSession
	reads  int
}

func (s *counted) WebSession(_ context.Context, hash [32]byte) (hook.WebSession, error) {
	if s.reads++; hash != s.cookie {
		return hook.WebSession{}, hook.NotFound("session")
	}
	return s.one, nil
}

func (s *counted) WebLink(context.Context, [32]byte) (hook.WebLink, hook.WebSession, error) {
	s.reads++
	return hook.WebLink{}, hook.WebSession{}, hook.NotFound("link")
}

func (s *counted) PortalSession(context.Context, string) (hook.WebSession, error) {
	s.reads++
	return hook.WebSession{}, hook.NotFound("session")
}

// Made-up cookies and links cost few reads, however many there are, and keep nobody out who
// has a session.
func TestMadeUpCookiesCostLittle(t *testing.T) {
	ring, err := seal.New(bytes.Repeat([]byte{1}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 27, 14, 0, 0, 0, time.UTC)
	kept := &counted{one: hook.WebSession{Kind: hook.WebOperator, Mode: hook.Live, ExpiresAt: now.Add(time.Hour), SeenAt: now}}
	s := &Service{o: Options{Store: kept, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler), Marks: ring}}
	there := func(cookie string) bool {
		t.Helper()
		kept.cookie = hashOf(cookie)
		_, ok, err := s.SessionStands(t.Context(), hook.WebOperator, cookie)
		if err != nil {
			t.Error(err)
		}
		return ok
	}
	made := func(n int) string {
		return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(make([]byte, 33), uint64(n)))
	}
	flood := func() (cookies, links, shorts int) {
		t.Helper()
		for i, count := range []*int{&cookies, &links, &shorts} {
			kept.reads = 0
			for n := range 5000 {
				var ok bool
				var err error
				switch i {
				case 0:
					_, ok, err = s.SessionStands(t.Context(), hook.WebOperator, made(n))
				case 1:
					_, ok, err = s.WebLink(t.Context(), made(n))
				case 2:
					if _, err = s.PortalShort(t.Context(), made(n)); hook.CodeOf(err) == hook.CodeNotFound {
						err = nil
					}
				}
				if ok || err != nil {
					t.Fatal(ok, err)
				}
			}
			*count = kept.reads
		}
		return cookies, links, shorts
	}
	mine, old := s.newCode(), made(1_000_000)
	if !there(mine) || !there(old) {
		t.Error("a session is not found")
	}
	if cookies, links, shorts := flood(); cookies != strangeReads || links != 0 || shorts != strangeReads {
		t.Errorf("%d, %d and %d reads", cookies, links, shorts)
	}
	if !there(mine) {
		t.Error("others keep a session out")
	}
	if there(old) {
		t.Error("a cookie without a mark is looked for in the flood")
	}
	now = now.Add(time.Minute)
	if !there(old) {
		t.Error("a session of before the oldest master key is not found after the flood")
	}
	s.o.Marks = nil // control
	if cookies, links, _ := flood(); cookies != 5000 || links != 5000 {
		t.Errorf("without marks %d and %d reads", cookies, links)
	}
}
