// Package directory keeps in memory what publishing and sending need to know of tenants:
// snapshots of their endpoints with secrets open, records of health, and keys by hash.
//
// It promises that a snapshot is never changed, that no reader replaces a newer snapshot
// by an older one, and that memory is bounded: what does not fit is forgotten and read
// again when it is needed. If a sealed value of an endpoint cannot be opened, the
// endpoint is marked as damaged, and the others are read all the same. The package writes
// nothing to the database.
package directory

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const (
	scopeBytes = 64 << 20 // approximate size of the snapshots in memory
	maxHealth  = 100_000  // records of health in memory
	maxKeys    = 10_000   // keys in memory
)

// Scope is what publishing and sending need to know of one tenant in one mode. It is
// immutable once it is in the directory.
type Scope struct {
	Tenant    bool             // the tenant exists and is not deleted
	Endpoints []*hook.Endpoint // all that are not deleted, by id
}

// size returns the approximate size of the entry in memory, in bytes.
func (e *Scope) size() int64 {
	const scope, endpoint, item = 400, 800, 48 // of structs, allocations and maps
	n := scope
	for _, ep := range e.Endpoints {
		n += endpoint + len(ep.URL) + len(ep.Title) + len(ep.Description)
		for _, name := range ep.Types {
			n += item + len(name)
		}
		for _, h := range ep.Headers {
			n += item + len(h.Name) + len(h.Value)
		}
		for _, secret := range ep.Secrets {
			n += 3*item + len(secret.Text)
		}
		if ep.Retry != nil {
			n += 3*item + 8*len(ep.Retry.Steps)
		}
	}
	return int64(n)
}

// Find returns the endpoint with the id, nil if there is none.
func (e *Scope) Find(id hook.ID) *hook.Endpoint {
	i, ok := slices.BinarySearchFunc(e.Endpoints, id, func(ep *hook.Endpoint, id hook.ID) int {
		return bytes.Compare(ep.ID[:], id[:])
	})
	if !ok {
		return nil
	}
	return e.Endpoints[i]
}

// With returns a copy of the scope with the snapshot of an endpoint. If the snapshot is of
// a deleted endpoint, the copy is without it.
func (e *Scope) With(ep *hook.Endpoint) *Scope {
	i, ok := slices.BinarySearchFunc(e.Endpoints, ep.ID, func(ep *hook.Endpoint, id hook.ID) int {
		return bytes.Compare(ep.ID[:], id[:])
	})
	next := &Scope{Tenant: e.Tenant, Endpoints: slices.Clone(e.Endpoints)}
	switch {
	case ep.Status == hook.Deleted && ok:
		next.Endpoints = slices.Delete(next.Endpoints, i, i+1)
	case ep.Status == hook.Deleted:
	case ok:
		next.Endpoints[i] = ep
	default:
		next.Endpoints = slices.Insert(next.Endpoints, i, ep)
	}
	return next
}

// Directory holds the snapshots that the writer matches events with and that readers get.
// The writer updates it after each commit.
type Directory struct {
	keys *seal.Keyring
	log  *slog.Logger

	mu     sync.Mutex
	scopes *lru[hook.Scope, *Scope]
	age    int64 // raised by each commit that changed something

	health *lru[hook.ID, hook.Health] // the writer's alone

	unbound atomic.Bool // values that are not bound to a URL are opened, see bound.go
}

// New returns an empty one. What is sealed is opened with the keys.
func New(keys *seal.Keyring, log *slog.Logger) *Directory {
	return &Directory{keys: keys, log: log, scopes: newLRU[hook.Scope, *Scope](scopeBytes), health: newLRU[hook.ID, hook.Health](maxHealth)}
}

// Get returns the entry of a scope, nil if it is not in memory, and the directory's age
// for Offer.
func (d *Directory) Get(scope hook.Scope) (*Scope, int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, _ := d.scopes.get(scope)
	return e, d.age
}

// Each calls do for every scope in memory.
func (d *Directory) Each(do func(hook.Scope)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for scope := range d.scopes.items {
		do(scope)
	}
}

// Offer keeps an entry that a reader loaded, unless a commit changed something since the
// reader called Get: the entry may be older than that commit.
func (d *Directory) Offer(scope hook.Scope, e *Scope, age int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.age == age && e.Tenant {
		d.scopes.put(scope, e, e.size())
	}
}

// Merge takes over the entries that a commit changed.
func (d *Directory) Merge(scopes map[hook.Scope]*Scope, changed bool) {
	if len(scopes) == 0 && !changed {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.age++
	for scope, e := range scopes {
		if e.Tenant {
			d.scopes.put(scope, e, e.size())
		} else {
			d.scopes.drop(scope)
		}
	}
}

// KeyCache keeps keys by their hash, so that a request costs no read. Any change of keys
// clears it, so that a revoked key is refused at once (S-10).
type KeyCache struct {
	mu   sync.RWMutex
	keys map[[32]byte]hook.Key
	age  int64
}

// NewKeyCache returns an empty cache.
func NewKeyCache() *KeyCache { return &KeyCache{keys: map[[32]byte]hook.Key{}} }

// Get returns a key, if it is in the cache, and the cache's age for Offer.
func (c *KeyCache) Get(hash [32]byte) (hook.Key, int64, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k, ok := c.keys[hash]
	return k, c.age, ok
}

// Offer keeps a key that a reader found, unless keys changed since it called Get.
func (c *KeyCache) Offer(k hook.Key, age int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.age != age {
		return
	}
	if len(c.keys) >= maxKeys {
		clear(c.keys)
	}
	c.keys[k.Hash] = k
}

// Clear forgets all keys.
func (c *KeyCache) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.age++
	clear(c.keys)
}

// Health returns an endpoint's record of failures, if it is in memory. Only the writer may
// call Health and KeepHealth.
func (d *Directory) Health(id hook.ID) (hook.Health, bool) { return d.health.get(id) }

// KeepHealth keeps an endpoint's record of failures in memory.
func (d *Directory) KeepHealth(id hook.ID, h hook.Health) { d.health.put(id, h, 1) }

// Drop forgets a scope, so that it is read again.
func (d *Directory) Drop(scope hook.Scope) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scopes.drop(scope)
}

// Entry returns the entry of a scope for a reader, from memory if it is there.
func (d *Directory) Entry(ctx context.Context, r *sqltext.Reader, scope hook.Scope) (*Scope, error) {
	e, age := d.Get(scope)
	if e != nil {
		return e, nil
	}
	e, err := d.Read(ctx, r, scope)
	if err != nil {
		return nil, err
	}
	d.Offer(scope, e, age)
	return e, nil
}

// Read reads a scope from the database. It does so in one view, so that no endpoint is
// read without its secrets.
func (d *Directory) Read(ctx context.Context, r *sqltext.Reader, scope hook.Scope) (e *Scope, err error) {
	err = r.Retry(ctx, func() error {
		view, err := r.View(ctx)
		if err != nil {
			return err
		}
		defer view.Done()
		e, err = d.Load(ctx, view, scope)
		return err
	})
	return e, err
}
