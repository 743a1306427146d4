package store

import (
	"bytes"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// sealedAt is the place of a sealed value of an endpoint.
type sealedAt struct{ table, column, where string }

func (at sealedAt) read(p *peer, id hook.ID) (sealed []byte) {
	p.t.Helper()
	if _, err := sqltext.ReadRow(p.t.Context(), p.Store.read, "SELECT "+at.column+" FROM "+at.table+" WHERE "+at.where, []any{id[:]}, &sealed); err != nil || sealed == nil {
		p.t.Fatalf("read %s: %v", at.column, err)
	}
	return sealed
}

// flip changes a bit of the value. A second call repairs it.
func (at sealedAt) flip(p *peer, id hook.ID) {
	p.t.Helper()
	value := bytes.Clone(at.read(p, id))
	value[len(value)-1] ^= 1
	p.must(p.do(p.t.Context(), "test", 1, func(x *tx) error {
		_, err := x.exec("damage", "UPDATE "+at.table+" SET "+at.column+" = ? WHERE "+at.where, value, id[:])
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
// deliveries are made and wait, and they are attempted when it is repaired.
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
	if e, err := p.Endpoint(t.Context(), acme, bad.ID); err != nil || !e.Damaged || e.Receives() {
		t.Fatalf("%+v %v", e, err)
	}
	if list, _, err := p.Endpoints(t.Context(), hook.EndpointQuery{Scope: acme}); err != nil || len(list) != 2 {
		t.Errorf("%d endpoints listed, %v", len(list), err)
	}
	out := p.publish()
	if jobs := p.take(); out.Deliveries != 2 || len(jobs) != 1 || jobs[0].Delivery.Endpoint != good.ID || p.toldDue(bad) {
		t.Fatalf("%d deliveries, jobs %+v", out.Deliveries, jobs)
	}
	claim := hook.Claim{Now: p.now().Add(time.Second), Shares: []hook.Share{{Scope: acme, Endpoint: bad.ID, Limit: 10}, {Scope: acme, Endpoint: good.ID, Limit: 10}}}
	if got, err := p.Claim(t.Context(), claim); err != nil || len(got.Jobs) != 0 || len(got.Due) != 0 {
		t.Errorf("claimed %+v, %v", got, err)
	}
	// Sealed values are not overwritten, and the status can be changed all the same.
	was := at.read(p, bad.ID)
	_, err := p.UpdateEndpoint(t.Context(), acme, bad.ID, func(old hook.Endpoint) (hook.Endpoint, error) { old.Title = "x"; return old, nil }, false)
	if hook.CodeOf(err) != hook.CodeEndpointDamaged {
		t.Errorf("changed: %v", err)
	}
	if _, _, err := p.RotateSecret(t.Context(), acme, bad.ID, hook.Secret{Text: "whsec_x"}, 0, nil); hook.CodeOf(err) != hook.CodeEndpointDamaged {
		t.Errorf("rotated: %v", err)
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
	for deadline := time.Now().Add(10 * time.Second); ; { // the sweep may still be under way
		claim.Now = p.now()
		got, err := p.Claim(t.Context(), claim)
		p.must(err)
		if len(got.Jobs) == 1 && got.Jobs[0].Delivery.Event == out.Event && !got.Jobs[0].Target.Damaged {
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
		if _, err := sqltext.ReadRow(t.Context(), p.read, `SELECT (SELECT count(*) FROM secrets) + (SELECT count(*) FROM endpoints WHERE headers_sealed IS NOT NULL)`, nil, &left); err != nil || left != 0 {
			t.Errorf("%d sealed values left, %v", left, err)
		}
	})
}
