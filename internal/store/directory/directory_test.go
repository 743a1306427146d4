package directory

import (
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// A reader that loaded an entry before a commit must not replace the commit's entry.
func TestLateOffersAreRefused(t *testing.T) {
	scope := hook.Scope{Tenant: "acme", Mode: hook.Live}
	old, next := &Scope{Tenant: true}, &Scope{Tenant: true}
	d := New(nil, slog.New(slog.DiscardHandler))
	_, age := d.Get(scope)
	d.Merge(map[hook.Scope]*Scope{scope: next}, true)
	d.Offer(scope, old, age)
	if got, _ := d.Get(scope); got != next {
		t.Error("an old entry replaced a new one")
	}
	_, age = d.Get(scope)
	d.Offer(scope, old, age)
	if got, _ := d.Get(scope); got != old {
		t.Error("an offer in time was refused")
	}

	c := NewKeyCache()
	_, age, _ = c.Get([32]byte{1})
	c.Clear()
	c.Offer(hook.Key{Hash: [32]byte{1}}, age)
	if _, _, ok := c.Get([32]byte{1}); ok {
		t.Error("a revoked key came back")
	}
	_, age, _ = c.Get([32]byte{1})
	c.Offer(hook.Key{Hash: [32]byte{1}}, age)
	if _, _, ok := c.Get([32]byte{1}); !ok {
		t.Error("an offer in time was refused")
	}
}

// The directory is bounded in bytes and removes the least recently used entry first.
func TestDirectoryIsBounded(t *testing.T) {
	d := New(nil, slog.New(slog.DiscardHandler))
	entry := func(endpoints int) *Scope {
		e := &Scope{Tenant: true}
		for range endpoints {
			e.Endpoints = append(e.Endpoints, &hook.Endpoint{URL: strings.Repeat("x", 1000)})
		}
		return e
	}
	scope := func(i int) hook.Scope { return hook.Scope{Tenant: strconv.Itoa(i), Mode: hook.Live} }
	put := func(i int, e *Scope) { d.Merge(map[hook.Scope]*Scope{scope(i): e}, false) }
	const many = 20_000
	for i := range many {
		put(i, entry(1))
		d.Get(scope(0)) // used all the time
	}
	if n := len(d.scopes.items); n < many || d.scopes.used > scopeBytes {
		t.Errorf("%d scopes of %d are kept in %d bytes", n, many, d.scopes.used)
	}
	put(many, entry(1000)) // a large tenant counts with all its endpoints
	if d.scopes.used < 1_000_000 {
		t.Errorf("a large scope counts %d bytes", d.scopes.used)
	}
	for i := range 4 * many {
		put(many+1+i, entry(1))
		d.Get(scope(0))
	}
	if e, _ := d.Get(scope(0)); e == nil {
		t.Error("a scope that was used all the time is gone")
	}
	if e, _ := d.Get(scope(1)); e != nil {
		t.Error("the scope that was used first is still there")
	}
	if d.scopes.used > scopeBytes || d.scopes.order.Len() != len(d.scopes.items) {
		t.Errorf("%d bytes, %d in order, %d items", d.scopes.used, d.scopes.order.Len(), len(d.scopes.items))
	}
}

func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	c := newLRU[string, int](10)
	c.put("a", 1, 4)
	c.put("b", 2, 4)
	c.get("a")
	c.put("c", 3, 4)
	if _, ok := c.get("b"); ok || c.used != 8 {
		t.Errorf("b was used before a and is kept; %d used", c.used)
	}
	c.put("a", 5, 1) // again, and lighter
	if v, _ := c.get("a"); v != 5 || c.used != 5 {
		t.Errorf("a is %d, %d used", v, c.used)
	}
	c.put("d", 4, 100) // larger than the limit, so it stays alone
	if _, ok := c.get("d"); !ok || len(c.items) != 1 || c.used != 100 {
		t.Errorf("%d items, %d used", len(c.items), c.used)
	}
	if c.drop("d"); c.used != 0 || c.order.Len() != 0 {
		t.Errorf("%d used after all is dropped", c.used)
	}
}

// The health records that were changed longest ago are removed first.
func TestHealthForgetsTheOldest(t *testing.T) {
	d := New(nil, slog.New(slog.DiscardHandler))
	for i := range maxHealth + 10 {
		id := hook.ID{byte(i), byte(i >> 8), byte(i >> 16)}
		d.KeepHealth(id, hook.Health{Failures: i})
	}
	if _, ok := d.health.get(hook.ID{9}); ok || len(d.health.items) != maxHealth {
		t.Errorf("%d records, the tenth among them: %v", len(d.health.items), ok)
	}
	if h, ok := d.health.get(hook.ID{10}); !ok || h.Failures != 10 {
		t.Errorf("the eleventh is gone: %+v", h)
	}
}
