package store

import (
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// A reader that loaded before a commit must not put what it saw in place of what
// the commit made.
func TestLateOffersAreRefused(t *testing.T) {
	scope := hook.Scope{Tenant: "acme", Mode: hook.Live}
	old, next := &scopeEntry{tenant: true}, &scopeEntry{tenant: true}
	d := newDirectory()
	_, age := d.get(scope)
	d.merge(map[hook.Scope]*scopeEntry{scope: next}, true)
	d.offer(scope, old, age)
	if got, _ := d.get(scope); got != next {
		t.Error("an old entry replaced a new one")
	}
	_, age = d.get(scope)
	d.offer(scope, old, age)
	if got, _ := d.get(scope); got != old {
		t.Error("an offer in time was refused")
	}

	c := newKeyCache()
	_, age, _ = c.get([32]byte{1})
	c.clear()
	c.offer(hook.Key{Hash: [32]byte{1}}, age)
	if _, _, ok := c.get([32]byte{1}); ok {
		t.Error("a revoked key came back")
	}
	_, age, _ = c.get([32]byte{1})
	c.offer(hook.Key{Hash: [32]byte{1}}, age)
	if _, _, ok := c.get([32]byte{1}); !ok {
		t.Error("an offer in time was refused")
	}
}

// The directory is bounded whatever comes.
func TestDirectoryIsBounded(t *testing.T) {
	d := newDirectory()
	for i := range maxScopes + 100 {
		scope := hook.Scope{Tenant: string(rune('a' + i)), Mode: hook.Live}
		d.merge(map[hook.Scope]*scopeEntry{scope: {tenant: true}}, false)
	}
	if len(d.scopes) != maxScopes {
		t.Errorf("%d scopes, want %d", len(d.scopes), maxScopes)
	}
}
