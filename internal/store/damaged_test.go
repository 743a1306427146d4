package store

import (
	"bytes"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// sealedAt locates a sealed value of an endpoint.
type sealedAt struct{ table, column, where string }

func (at sealedAt) read(p *peer, id hook.ID) (sealed []byte) {
	p.t.Helper()
	if _, err := sqltext.ReadRow(p.t.Context(), p.Store.core.Read, "SELECT "+at.column+" FROM "+at.table+" WHERE "+at.where, []any{id[:]}, &sealed); err != nil || sealed == nil {
		p.t.Fatalf("read %s: %v", at.column, err)
	}
	return sealed
}

// flip inverts a bit of the value. A second call repairs it.
func (at sealedAt) flip(p *peer, id hook.ID) {
	p.t.Helper()
	value := bytes.Clone(at.read(p, id))
	value[len(value)-1] ^= 1
	p.must(p.do(p.t.Context(), "test", 1, func(x *tx) error {
		_, err := x.Exec("damage", "UPDATE "+at.table+" SET "+at.column+" = ? WHERE "+at.where, value, id[:])
		return err
	}))
}

func (p *peer) toldDue(e *hook.Endpoint) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.due {
		if d.Target.ID == e.ID {
			return true
		}
	}
	return false
}

// A damaged endpoint does not affect its tenant's other endpoints and loses nothing. Its
// deliveries are created and wait, and they are attempted when it is repaired.
func TestDamagedEndpoint(t *testing.T) {
	for name, c := range map[string]sealedAt{
		"headers":          {"endpoints", "headers_sealed", "id = ?"},
		"query":            {"endpoints", "query_sealed", "id = ?"},
		"newest secret":    {"secrets", "sealed", "endpoint = ? AND version = 2"},
		"secret that ends": {"secrets", "sealed", "endpoint = ? AND version = 1"},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, open func() *peer) {
				p := open()
				bad, good := p.signing("https://example.com/bad?token=1"), p.signing("https://example.com/good?token=2")
				c.flip(p, bad.ID)
				damagedEndpoint(t, p, open, bad, good, c)
			})
		})
	}
}

func damagedEndpoint(t *testing.T, p *peer, open func() *peer, bad, good *hook.Endpoint, at sealedAt) {
	reopen := func() []hook.Due {
		p.must(p.Close())
		p = open()
		due, _, err := p.Recover(t.Context())
		p.must(err)
		return due
	}
	reopen()
	if e, err := p.Endpoint(t.Context(), acme, bad.ID); err != nil || e.Damage == 0 || e.Receives() {
		t.Fatalf("%+v %v", e, err)
	}
	if list, _, err := p.Endpoints(t.Context(), hook.EndpointQuery{Scope: acme}); err != nil || len(list) != 2 || list[1].ID != bad.ID || list[1].Damage == 0 || list[0].Damage != 0 {
		t.Errorf("%d endpoints listed, %v", len(list), err)
	}
	out := p.publish()
	if jobs := p.take(); out.Deliveries != 2 || len(jobs) != 1 || jobs[0].Delivery.Endpoint != good.ID || p.toldDue(bad) {
		t.Fatalf("%d deliveries, jobs %+v", out.Deliveries, jobs)
	}
	claim := hook.Claim{Now: p.core.Now().Add(time.Second), Shares: []hook.Share{{Scope: acme, Endpoint: bad.ID, Limit: 10}, {Scope: acme, Endpoint: good.ID, Limit: 10}}}
	if got, err := p.Claim(t.Context(), claim); err != nil || len(got.Jobs) != 0 || len(got.Due) != 0 {
		t.Errorf("claimed %+v, %v", got, err)
	}
	// Damaged values are not overwritten, and everything else can still be changed.
	was := at.read(p, bad.ID)
	e, err := p.UpdateEndpoint(t.Context(), acme, bad.ID, func(old hook.Endpoint) (hook.Endpoint, error) { old.Title = "x"; return old, nil }, false)
	if err != nil || e.Title != "x" || e.Damage == 0 {
		t.Errorf("changed: %+v, %v", e, err)
	}
	p.status(bad, hook.Disabled, false)
	p.status(bad, hook.Enabled, false)
	if !bytes.Equal(was, at.read(p, bad.ID)) {
		t.Error("a change of status touched what is sealed")
	}
	for _, d := range reopen() {
		if d.Target.ID == bad.ID {
			t.Error("recovery offers a damaged endpoint's work")
		}
	}
	at.flip(p, bad.ID)
	reopen()
	claim.Shares = claim.Shares[:1]
	for deadline := time.Now().Add(10 * time.Second); ; { // the sweep may still be in progress
		claim.Now = p.core.Now()
		got, err := p.Claim(t.Context(), claim)
		p.must(err)
		if len(got.Jobs) == 1 && got.Jobs[0].Delivery.Event == out.Event && got.Jobs[0].Target.Damage == 0 {
			break
		}
		if len(got.Jobs) > 0 || time.Now().After(deadline) {
			t.Fatalf("repaired: claimed %+v", got)
		}
	}
	if e, err := p.Endpoint(t.Context(), acme, bad.ID); err != nil || e.URL != bad.URL || len(e.Secrets) != 2 || len(e.Headers) != 1 {
		t.Errorf("repaired: %+v, %v", e, err)
	}
}

// A damaged endpoint can be deleted, with all its sealed values.
func TestDamagedEndpointIsDeleted(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() *peer) {
		p := open()
		bad := p.signing("https://example.com/bad?token=1")
		sealedAt{"endpoints", "headers_sealed", "id = ?"}.flip(p, bad.ID)
		p.must(p.Close())
		p = open()
		p.must(p.DeleteEndpoint(t.Context(), acme, bad.ID))
		var left int
		if _, err := sqltext.ReadRow(t.Context(), p.core.Read, `SELECT (SELECT count(*) FROM secrets) + (SELECT count(*) FROM endpoints WHERE headers_sealed IS NOT NULL)`, nil, &left); err != nil || left != 0 {
			t.Errorf("%d sealed values left, %v", left, err)
		}
	})
}

// A change that replaces the damaged value repairs the endpoint: its work is sent, and the
// undamaged values are unchanged. Another change repairs nothing.
func TestDamagedEndpointIsMended(t *testing.T) {
	change := func(do func(e *hook.Endpoint)) func(p *peer, id hook.ID) (*hook.Endpoint, error) {
		return func(p *peer, id hook.ID) (*hook.Endpoint, error) {
			return p.UpdateEndpoint(p.t.Context(), acme, id, func(old hook.Endpoint) (hook.Endpoint, error) { do(&old); return old, nil }, false)
		}
	}
	for name, c := range map[string]struct {
		at   sealedAt
		mend func(p *peer, id hook.ID) (*hook.Endpoint, error)
		says func(e *hook.Endpoint) bool
	}{
		"headers": {sealedAt{"endpoints", "headers_sealed", "id = ?"},
			change(func(e *hook.Endpoint) {
				e.Headers, e.Damage = []hook.Header{{Name: "X-New", Value: "n"}}, e.Damage&^hook.DamagedHeaders
			}),
			func(e *hook.Endpoint) bool {
				return len(e.Headers) == 1 && e.Headers[0].Name == "X-New" && e.URL == "https://example.com/bad?token=1" && len(e.Secrets) == 2
			}},
		"no headers": {sealedAt{"endpoints", "headers_sealed", "id = ?"},
			change(func(e *hook.Endpoint) { e.Damage &^= hook.DamagedHeaders }),
			func(e *hook.Endpoint) bool { return len(e.Headers) == 0 && len(e.Secrets) == 2 }},
		"query": {sealedAt{"endpoints", "query_sealed", "id = ?"},
			change(func(e *hook.Endpoint) {
				e.URL, e.Damage = "https://example.com/bad?token=2", e.Damage&^hook.DamagedQuery
			}),
			func(e *hook.Endpoint) bool {
				return e.URL == "https://example.com/bad?token=2" && len(e.Headers) == 1 && len(e.Secrets) == 2
			}},
		"secret": {sealedAt{"secrets", "sealed", "endpoint = ? AND version = 2"},
			func(p *peer, id hook.ID) (*hook.Endpoint, error) {
				e, _, err := p.RotateSecret(p.t.Context(), acme, id, hook.Secret{Text: "whsec_3", Encoding: hook.EncodingWhsec}, time.Hour, nil)
				return e, err
			},
			func(e *hook.Endpoint) bool {
				return len(e.Secrets) == 2 && e.Secrets[0].Text == "whsec_3" && e.Secrets[1].Text == "whsec_old" && len(e.Headers) == 1
			}},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, open func() *peer) {
				p := open()
				id := p.signing("https://example.com/bad?token=1").ID
				c.at.flip(p, id)
				p.must(p.Close())
				p = open()
				out := p.publish()
				if e, err := change(func(e *hook.Endpoint) { e.Description = "control" })(p, id); err != nil || e.Receives() || p.toldDue(e) {
					t.Fatalf("control: another change gives %+v, %v", e, err)
				}
				e, err := c.mend(p, id)
				if err != nil || !e.Receives() || !c.says(e) || !p.toldDue(e) {
					t.Fatalf("mended: %+v, %v", e, err)
				}
				got, err := p.Claim(t.Context(), hook.Claim{Now: p.core.Now(), Shares: []hook.Share{{Scope: acme, Endpoint: id, Limit: 10}}})
				if err != nil || len(got.Jobs) != 1 || got.Jobs[0].Delivery.Event != out.Event {
					t.Errorf("claimed %+v, %v", got, err)
				}
				p.must(p.Close())
				p = open()
				if e, err = p.Endpoint(t.Context(), acme, id); err != nil || !e.Receives() || !c.says(e) {
					t.Errorf("read again: %+v, %v", e, err)
				}
			})
		})
	}
}
