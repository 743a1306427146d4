package store

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const (
	scopeBytes = 64 << 20 // of snapshots, about, kept in memory
	maxHealth  = 100_000  // kept in memory
	maxKeys    = 10_000   // kept in memory
)

// scopeEntry is what publishing and sending need to know of one tenant in one
// mode. It is immutable once it is in the directory.
type scopeEntry struct {
	tenant    bool             // the tenant exists and is not deleted
	endpoints []*hook.Endpoint // all but the deleted, by id
}

// size is about how many bytes of memory the entry takes.
func (e *scopeEntry) size() int64 {
	const scope, endpoint, item = 400, 800, 48 // of structs, allocations and maps
	n := scope
	for _, ep := range e.endpoints {
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

func (e *scopeEntry) find(id hook.ID) *hook.Endpoint {
	i, ok := slices.BinarySearchFunc(e.endpoints, id, func(ep *hook.Endpoint, id hook.ID) int {
		return bytes.Compare(ep.ID[:], id[:])
	})
	if !ok {
		return nil
	}
	return e.endpoints[i]
}

// with returns a copy in which the endpoint has this snapshot, or is gone if the
// snapshot is of a deleted one.
func (e *scopeEntry) with(ep *hook.Endpoint) *scopeEntry {
	i, ok := slices.BinarySearchFunc(e.endpoints, ep.ID, func(ep *hook.Endpoint, id hook.ID) int {
		return bytes.Compare(ep.ID[:], id[:])
	})
	next := &scopeEntry{tenant: e.tenant, endpoints: slices.Clone(e.endpoints)}
	switch {
	case ep.Status == hook.Deleted && ok:
		next.endpoints = slices.Delete(next.endpoints, i, i+1)
	case ep.Status == hook.Deleted:
	case ok:
		next.endpoints[i] = ep
	default:
		next.endpoints = slices.Insert(next.endpoints, i, ep)
	}
	return next
}

// directory holds the snapshots that the writer matches events with and that
// readers are handed. The writer brings it up to date after each commit.
type directory struct {
	mu     sync.Mutex
	scopes *lru[hook.Scope, *scopeEntry]
	age    int64 // raised whenever a commit changed something

	health *lru[hook.ID, hook.Health] // the writer's alone
}

func newDirectory() *directory {
	return &directory{scopes: newLRU[hook.Scope, *scopeEntry](scopeBytes), health: newLRU[hook.ID, hook.Health](maxHealth)}
}

func (d *directory) get(scope hook.Scope) (*scopeEntry, int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, _ := d.scopes.get(scope)
	return e, d.age
}

// each calls do for every scope that is kept.
func (d *directory) each(do func(hook.Scope)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for scope := range d.scopes.items {
		do(scope)
	}
}

// offer keeps an entry that a reader loaded, unless a commit came in between:
// what the reader saw may be from before it.
func (d *directory) offer(scope hook.Scope, e *scopeEntry, age int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.age == age && e.tenant {
		d.scopes.put(scope, e, e.size())
	}
}

func (d *directory) merge(scopes map[hook.Scope]*scopeEntry, changed bool) {
	if len(scopes) == 0 && !changed {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.age++
	for scope, e := range scopes {
		if e.tenant {
			d.scopes.put(scope, e, e.size())
		} else {
			d.scopes.drop(scope)
		}
	}
}

func (d *directory) mergeHealth(health map[hook.ID]*healthEntry) {
	for id, h := range health {
		if h.shared {
			return
		}
		d.health.put(id, h.Health, 1)
	}
}

// scope returns the writer's view of a scope, with what this transaction changed.
func (t *tx) scope(scope hook.Scope) (*scopeEntry, error) {
	if e := t.scopes[scope]; e != nil {
		return e, nil
	}
	if e, _ := t.s.dir.get(scope); e != nil {
		return e, nil
	}
	e, err := t.s.loadScope(context.Background(), t.c, scope)
	if err != nil {
		return nil, err
	}
	t.scopes[scope] = e
	return e, nil
}

// endpoint returns the writer's view of a live endpoint, nil if there is none.
func (t *tx) endpoint(scope hook.Scope, id hook.ID) (*hook.Endpoint, error) {
	e, err := t.scope(scope)
	if err != nil {
		return nil, err
	}
	return e.find(id), nil
}

// change gives an endpoint a new snapshot.
func (t *tx) change(ep *hook.Endpoint) error {
	e, err := t.scope(ep.Scope)
	if err != nil {
		return err
	}
	t.scopes[ep.Scope] = e.with(ep)
	t.changed = append(t.changed, ep)
	t.tell(sqltext.ChangedScope, ep.Scope, hook.Ref{Endpoint: ep.ID})
	return nil
}

// reload makes the next look at the scope read the database.
func (t *tx) reload(scope hook.Scope) error {
	e, err := t.s.loadScope(context.Background(), t.c, scope)
	if err != nil {
		return err
	}
	t.scopes[scope] = e
	return nil
}

// entry returns the readers' view of a scope.
func (s *Store) entry(ctx context.Context, scope hook.Scope) (*scopeEntry, error) {
	e, age := s.dir.get(scope)
	if e != nil {
		return e, nil
	}
	e, err := s.readEntry(ctx, scope)
	if err != nil {
		return nil, err
	}
	s.dir.offer(scope, e, age)
	return e, nil
}

// readEntry reads a scope as it is stored, in one view: an endpoint must not be seen
// without its secrets.
func (s *Store) readEntry(ctx context.Context, scope hook.Scope) (e *scopeEntry, err error) {
	err = s.read.Retry(ctx, func() error {
		view, err := s.read.View(ctx)
		if err != nil {
			return err
		}
		defer view.Done()
		e, err = s.loadScope(ctx, view, scope)
		return err
	})
	return e, err
}

// keyCache remembers keys by their hash, so that a request costs no read. Any
// change of keys clears it: a revoked key is refused at once (S-10).
type keyCache struct {
	mu   sync.RWMutex
	keys map[[32]byte]hook.Key
	age  int64
}

func newKeyCache() *keyCache { return &keyCache{keys: map[[32]byte]hook.Key{}} }

func (c *keyCache) get(hash [32]byte) (hook.Key, int64, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k, ok := c.keys[hash]
	return k, c.age, ok
}

func (c *keyCache) offer(k hook.Key, age int64) {
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

func (c *keyCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.age++
	clear(c.keys)
}
