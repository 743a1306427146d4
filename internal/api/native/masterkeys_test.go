package native_test

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store"
)

// keysInMemory is a place with two master keys. The newer one seals.
type keysInMemory struct {
	mu   sync.Mutex
	keys [][]byte
}

func newKeysInMemory() *keysInMemory {
	k := &keysInMemory{}
	for range 2 {
		_ = k.Add(context.Background())
	}
	return k
}

func (k *keysInMemory) Where() string { return "memory" }
func (k *keysInMemory) Own() bool     { return true }

func (k *keysInMemory) Read(context.Context) (*seal.Keyring, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return seal.New(k.keys...)
}

func (k *keysInMemory) Add(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := make([]byte, seal.KeySize)
	rand.Read(key)
	k.keys = append(k.keys, key)
	return nil
}

func (k *keysInMemory) Remove(_ context.Context, id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = slices.DeleteFunc(k.keys, func(key []byte) bool {
		one, err := seal.New(key)
		return err == nil && one.Newest().String() == id
	})
	return nil
}

// unused returns the id of the master key that does not seal.
func (s *site) unused() string {
	keys, err := s.MasterKeys(s.ctx, client.ListOptions{})
	if err != nil || len(keys.Data) == 0 {
		return ""
	}
	return keys.Data[0].ID
}

func TestMasterKeys(t *testing.T) {
	h := newTestAPI(t)
	before := want[client.Page[client.MasterKey]](h, 200, get("/v1/master-keys")).Data
	if len(before) != 2 || before[0].State != "unused" || before[1].State != "seals" || before[1].Missing == nil {
		t.Fatalf("%+v", before)
	}
	first := want[client.Page[client.MasterKey]](h, 200, get("/v1/master-keys?limit=1"))
	if len(first.Data) != 1 || first.NextCursor == nil {
		t.Fatalf("%+v", first)
	}
	if rest := want[client.Page[client.MasterKey]](h, 200, get("/v1/master-keys?cursor="+*first.NextCursor)); len(rest.Data) != 1 || rest.Data[0].ID != before[1].ID || rest.NextCursor != nil {
		t.Errorf("%+v", rest)
	}
	refused := func(status int, code string, c call) {
		t.Helper()
		if p := want[client.Problem](h, status, c); p.Code != code {
			t.Errorf("%s: %+v", c.path, p)
		}
	}
	h.tenant("acme")
	for _, key := range []string{testKey, h.key("tenant", "acme"), h.key("publisher", "")} {
		refused(403, client.CodeForbidden, call{"GET", "/v1/master-keys", key, nil, nil})
		refused(403, client.CodeForbidden, call{"POST", "/v1/master-keys/rotate", key, nil, nil})
		refused(403, client.CodeForbidden, call{"DELETE", "/v1/master-keys/" + before[0].ID, key, nil, nil})
	}
	refused(409, client.CodeKeyNeeded, call{"DELETE", "/v1/master-keys/" + before[1].ID, liveKey, nil, nil})
	for _, id := range []string{"ffffffff", "x", strings.Repeat("f", 300), "..;"} {
		refused(404, client.CodeNotFound, call{"DELETE", "/v1/master-keys/" + id, liveKey, nil, nil})
	}
	want[struct{}](h, 204, call{"DELETE", "/v1/master-keys/" + before[0].ID, liveKey, nil, nil})
	r := want[client.MasterKeyRotation](h, 200, call{"POST", "/v1/master-keys/rotate", liveKey, nil, nil})
	if r.From != before[1].ID || r.To == r.From {
		t.Errorf("%+v", r)
	}

	h = newTestAPI(t, func(_ *app.Options, s *store.Options) { s.KeySource = nil })
	refused(409, client.CodeKeySource, call{"POST", "/v1/master-keys/rotate", liveKey, nil, nil})
}
