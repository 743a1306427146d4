// Package directory caches what publishing and sending need to know about tenants:
// snapshots of their endpoints with opened secrets, health records, and keys by hash.
//
// The package guarantees that a snapshot is never changed, that no reader replaces a newer
// snapshot with an older one, and that memory is bounded: what does not fit is removed and
// read again when it is needed. If a sealed value of an endpoint cannot be opened, the
// endpoint is marked as damaged, and the others are still read. The package writes nothing
// to the database.
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
	maxHealth  = 100_000  // health records in memory
	maxKeys    = 10_000   // keys in memory
)

// Scope contains what publishing and sending need to know about one tenant in one mode. It
// is immutable once it is in the directory.
type Scope struct {
	Tenant    bool             // the tenant exists and is not deleted
	Rate      float64          // the tenant's RateLimit
	Endpoints []*hook.Endpoint // all that are not deleted, ordered by id
}

// size returns the approximate size of the entry in memory, in bytes.
func (e *Scope) size() int64 {
	const scope, endpoint, item = 400, 800, 48 // bytes for structs, allocations and maps
	n := scope
	for _, ep := range e.Endpoints {
		n += endpoint + len(ep.URL) + len(ep.Title) + len(ep.Description)
		for _, name := range ep.Types {
			n += item + len(name)
		}
		for _, name := range ep.Channels {
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

// Find returns the endpoint with the id, or nil if there is none.
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
	next := &Scope{Tenant: e.Tenant, Rate: e.Rate, Endpoints: slices.Clone(e.Endpoints)}
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

// Directory contains the snapshots that the writer matches events with and that readers
// get. The writer updates it after each commit. Its methods are safe for concurrent use,
// except Health and KeepHealth.
type Directory struct {
	keys *seal.Keyring
	log  *slog.Logger

	mu     sync.Mutex
	scopes *lru[hook.Scope, *Scope]
	age    int64 // raised by each commit that changed something

	health *lru[hook.ID, hook.Health] // used only by the writer

	unbound atomic.Bool // values that are not bound to a URL may be opened, see bound.go
}

// New returns an empty directory. Sealed values are opened with keys.
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

// Offer stores an entry that a reader loaded, unless a commit changed something since the
// reader called Get. In that case the entry may be older than the commit.
func (d *Directory) Offer(scope hook.Scope, e *Scope, age int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.age == age && e.Tenant {
		d.scopes.put(scope, e, e.size())
	}
}

// Merge stores the entries that a commit changed. Each call with a change makes earlier
// results of Get too old for Offer.
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

// KeyCache stores keys by their hash, so that a request needs no database read. Any change
// of keys clears it, so that a revoked key is refused at once (S-10). It is safe for
// concurrent use.
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

// Offer stores a key that a reader found, unless keys changed since it called Get.
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

// Clear removes all keys.
func (c *KeyCache) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.age++
	clear(c.keys)
}

// Health returns an endpoint's health record, if it is in memory. Only the writer may call
// Health and KeepHealth.
func (d *Directory) Health(id hook.ID) (hook.Health, bool) { return d.health.get(id) }

// KeepHealth stores an endpoint's health record in memory.
func (d *Directory) KeepHealth(id hook.ID, h hook.Health) { d.health.put(id, h, 1) }

// Drop removes a scope, so that it is read again.
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

// Read reads a scope from the database. It uses one view, so that no endpoint is read
// without its secrets.
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
