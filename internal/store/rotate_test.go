package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/upkeep"
)

// keysOf returns a keyring of keys that consist of one byte each.
func keysOf(t *testing.T, fills ...byte) *seal.Keyring {
	t.Helper()
	var all [][]byte
	for _, fill := range fills {
		all = append(all, bytes.Repeat([]byte{fill}, seal.KeySize))
	}
	k, err := seal.New(all...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func idOf(t *testing.T, fill byte) string { return keysOf(t, fill).Current().String() }

// memorySource has master keys of one byte each.
type memorySource struct {
	t     *testing.T
	own   bool
	mu    sync.Mutex
	fills []byte
}

func (s *memorySource) Where() string { return "memory" }
func (s *memorySource) Own() bool     { return s.own }

func (s *memorySource) Read(context.Context) (*seal.Keyring, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return keysOf(s.t, s.fills...), nil
}

func (s *memorySource) Add(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fills = append(s.fills, s.fills[len(s.fills)-1]+1)
	return nil
}

func (s *memorySource) Remove(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fills = slices.DeleteFunc(s.fills, func(fill byte) bool { return idOf(s.t, fill) == id })
	return nil
}

// sealedByOthers counts the sealed values that a key did not seal.
const sealedByOthers = `SELECT (SELECT count(*) FROM secrets WHERE substr(sealed, 2, 4) <> ?) + (SELECT count(*) FROM idempotency WHERE substr(answer, 2, 4) <> ?)
	+ (SELECT count(*) FROM endpoints WHERE substr(headers_sealed, 2, 4) <> ?) + (SELECT count(*) FROM endpoints WHERE substr(query_sealed, 2, 4) <> ?)`

func (p *peer) notSealedBy(fill byte) int {
	id := keysOf(p.t, fill).Current()
	return p.count(sealedByOthers, id[:], id[:], id[:], id[:])
}

// columnsSealedBy names the columns of a file with values that begin as those of a key do.
func (p *peer) columnsSealedBy(fill byte) (found []string) {
	p.t.Helper()
	id := keysOf(p.t, fill).Current()
	scan := func(row sqltext.Scanner) (name [2]string, err error) {
		err = row.Scan(&name[0], &name[1])
		return name, err
	}
	columns, err := sqltext.Collect(p.t.Context(), p.core.Read, scan,
		"SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'")
	p.must(err)
	for _, c := range columns {
		if p.count(fmt.Sprintf("SELECT count(*) FROM %q WHERE typeof(%q) = 'blob' AND substr(%[2]q, 1, 5) = ?", c[0], c[1]), append([]byte{1}, id[:]...)) > 0 {
			found = append(found, c[0]+"."+c[1])
		}
	}
	return found
}

func wantRefused(t *testing.T, err error, code hook.Code, words ...string) {
	t.Helper()
	refused, ok := errors.AsType[*hook.Error](err)
	if !ok || refused.Code != code {
		t.Errorf("%v, want %s", err, code)
		return
	}
	for _, word := range words {
		if !strings.Contains(refused.Message, word) {
			t.Errorf("%q does not name %s", refused.Message, word)
		}
	}
}

// The master key is rotated while events are published and endpoints change. No call fails.
// The process ends in the middle, with values under both keys. Control: then, neither key
// alone opens the store. Afterwards the new key alone does, everything is as it was, and the
// earlier key alone opens nothing.
func TestRotateMasterKey(t *testing.T) {
	for name, options := range map[string]func(*testing.T) Options{
		"SQLite":     func(t *testing.T) Options { return Options{Dir: t.TempDir(), Reserve: -1} },
		"PostgreSQL": func(t *testing.T) Options { return Options{Postgres: pgtest.Database(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			base, source := options(t), &memorySource{t: t, own: true, fills: []byte{1}}
			with := func(fills ...byte) Options {
				o := base
				o.Keys, o.KeySource = keysOf(t, fills...), source
				return o
			}
			refuses := func(what string, fills ...byte) {
				t.Helper()
				o := with(fills...)
				if s, err := Open(t.Context(), o); !errors.Is(err, ErrMasterKeyMismatch) || seal.Why(err) == "" {
					t.Errorf("%s: opened with %v: %v", what, fills, err)
					if err == nil {
						_ = s.Close()
					}
				}
			}
			p := openPeer(t, with(1))
			installation := p.Installation()
			var all []*hook.Endpoint
			for i := range 3 * upkeep.ResealPage / 2 {
				all = append(all, p.signing(fmt.Sprintf("https://example.com/%d?token=%d", i, i)))
			}
			once := &hook.Once{Route: "r", Key: "k", Scope: acme, Answer: func(any) (int, []byte) { return 201, []byte("the answer") }}
			key := func() (*hook.Replay, error) {
				_, replay, err := p.CreateKey(t.Context(), hook.Key{Kind: hook.Publisher, Mode: hook.Live, Hash: [32]byte{1}}, once)
				return replay, err
			}
			_, err := key()
			p.must(err)
			p.write("UPDATE secrets SET sealed = ? WHERE endpoint = ? AND version = 1", append([]byte{1}, bytes.Repeat([]byte{9}, 60)...), all[0].ID[:])

			// The walk is held back, so that the process dies before its end.
			p.upkeep.Resealing().Lock()
			p.publish()
			before := p.notSealedBy(2)
			calls := make(chan error, 100)
			var load sync.WaitGroup
			for worker := range 2 {
				load.Go(func() {
					for i := range 25 {
						_, err := p.send(hook.ID{})
						calls <- err
						_, _, err = p.RotateSecret(t.Context(), acme, all[1+worker].ID, hook.Secret{Text: fmt.Sprint("whsec_", i), Encoding: hook.EncodingWhsec}, 0, nil)
						calls <- err
					}
				})
			}
			r, err := p.RotateMasterKey(t.Context())
			if err != nil || r.From != idOf(t, 1) || r.To != idOf(t, 2) {
				t.Fatalf("%+v, %v", r, err)
			}
			_, err = p.RotateMasterKey(t.Context())
			wantRefused(t, err, hook.CodeKeyRotating, r.From, r.To)
			wantRefused(t, p.DropMasterKey(t.Context(), r.From), hook.CodeKeyNeeded, r.From)
			wantRefused(t, p.DropMasterKey(t.Context(), r.To), hook.CodeKeyNeeded, r.To)
			if !slices.Equal(source.fills, []byte{1, 2}) {
				t.Errorf("refused, and yet the source has keys %v", source.fills)
			}
			load.Wait()
			close(calls)
			for err := range calls {
				p.must(err)
			}
			made, id := p.signing("https://example.com/made?token=1"), keysOf(t, 2).Current()
			if n := p.count("SELECT count(*) FROM secrets WHERE endpoint = ? AND substr(sealed, 2, 4) = ?", made.ID[:], id[:]); n != 2 {
				t.Errorf("%d of 2 secrets sealed with the new key at once", n)
			}
			if _, _, err := p.upkeep.ResealTable(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if left := p.notSealedBy(2); left == 0 || left >= before {
				t.Fatalf("%d of %d values left in the middle", left, before)
			}
			p.core.Stop() // nothing of the walk is done after this
			p.upkeep.Resealing().Unlock()
			p.must(p.Close())

			refuses("in the middle", 2)
			refuses("in the middle", 1)
			p = openPeer(t, with(1, 2))
			p.must(p.upkeep.Reseal(t.Context()))
			if left := p.notSealedBy(2); left != 1 { // the damaged one
				t.Errorf("%d values are left under the earlier key", left)
			}
			if name == "SQLite" { // whatever the column: one that is added and forgotten is found
				for fill, want := range map[byte]bool{1: false, 2: true} {
					if found := p.columnsSealedBy(fill); (len(found) > 0) != want {
						t.Errorf("key %d sealed values of %v", fill, found)
					}
				}
			}
			keys, err := p.MasterKeys(t.Context())
			if err != nil || keys.Rotation.Running() || keys.Rotation.Damaged != 1 || keys.Rotation.Resealed < int64(3*len(all)) ||
				len(keys.Keys) != 2 || keys.Keys[0].State != hook.KeyUnused || keys.Keys[1].State != hook.KeySeals {
				t.Errorf("%+v %+v, %v", keys, keys.Rotation, err)
			}
			wantRefused(t, p.DropMasterKey(t.Context(), "00000000"), hook.CodeNotFound)
			p.must(p.DropMasterKey(t.Context(), r.From))
			if len(source.fills) != 1 || source.fills[0] != 2 {
				t.Errorf("the source has keys %v", source.fills)
			}
			p.must(p.Close())

			refuses("after the end", 1)
			p = openPeer(t, with(2))
			for i, e := range all {
				got := p.read1(e.ID)
				if got.URL != e.URL || len(got.Headers) != 1 || got.Headers[0].Value != "v" || (got.Damage != 0) != (i == 0) {
					t.Errorf("endpoint %d: %+v", i, got)
				}
			}
			if replay, err := key(); err != nil || replay == nil || string(replay.Body) != "the answer" {
				t.Errorf("the kept answer: %+v, %v", replay, err)
			}
			if p.Installation() != installation {
				t.Errorf("installation %s, was %s", p.Installation(), installation)
			}
			// A value that was sealed again still belongs to its place.
			p.write("UPDATE endpoints SET headers_sealed = (SELECT headers_sealed FROM endpoints WHERE id = ?) WHERE id = ?", all[2].ID[:], all[3].ID[:])
			p.must(p.Close())
			p = openPeer(t, with(2))
			if got := p.read1(all[3].ID); got.Damage != hook.DamagedHeaders {
				t.Errorf("headers of another endpoint were accepted: %+v", got)
			}
		})
	}
}

// On several nodes, nobody seals with a key that a live node does not have. A node that was
// paused during the rotation writes nothing afterwards and ends.
func TestRotateMasterKeyOnNodes(t *testing.T) {
	url := pgtest.Database(t)
	fatal := make(chan error, 10)
	at := func(fills ...byte) (*peer, *memorySource) {
		source := &memorySource{t: t, own: true, fills: fills}
		return openPeer(t, Options{Postgres: url, Keys: keysOf(t, fills...), KeySource: source, Lease: time.Second, Fatal: func(err error) { fatal <- err }}), source
	}
	a, sourceA := at(1)
	b, sourceB := at(1)
	e := a.signing("https://example.com/?token=1")
	within(t, 30*time.Second, "two nodes", func() bool { return a.Nodes() == 2 })
	_, err := a.RotateMasterKey(t.Context())
	wantRefused(t, err, hook.CodeKeyNotNewer, "2 nodes")
	sourceA.fills = []byte{1, 2}
	_, err = a.RotateMasterKey(t.Context())
	wantRefused(t, err, hook.CodeKeyMissing, idOf(t, 2))
	if keys, err := a.MasterKeys(t.Context()); err != nil || len(keys.Keys) != 2 || len(keys.Keys[1].Missing) != 1 || len(keys.Keys[0].Missing) != 0 {
		t.Errorf("%+v, %v", keys, err)
	}
	sourceB.fills = []byte{2}
	wantRefused(t, b.ReadMasterKeys(t.Context()), hook.CodeKeyNeeded, idOf(t, 1)) // it still seals
	sourceB.fills = []byte{1, 2}
	b.must(b.ReadMasterKeys(t.Context()))

	paused, _ := at(1)
	paused.die()
	within(t, 30*time.Second, "the lease of the paused node is over", func() bool {
		keys, err := a.MasterKeys(t.Context())
		return err == nil && len(keys.Keys[1].Missing) == 0
	})
	// The node that was asked dies before it has sealed anything again.
	a.upkeep.Resealing().Lock()
	defer a.upkeep.Resealing().Unlock()
	r, err := a.RotateMasterKey(t.Context())
	a.must(err)
	// The other node has not learned of it and loses neither key.
	wantRefused(t, b.DropMasterKey(t.Context(), r.To), hook.CodeKeyNeeded, r.To)
	sourceB.fills = []byte{1}
	wantRefused(t, b.ReadMasterKeys(t.Context()), hook.CodeKeyNeeded, r.To)
	sourceB.fills = []byte{1, 2}
	// The very next write of the other node seals with the new key.
	made := b.signing("https://example.com/?token=2")
	id := keysOf(t, 2).Current()
	if n := b.count("SELECT count(*) FROM secrets WHERE endpoint = ? AND substr(sealed, 2, 4) = ?", made.ID[:], id[:]); n != 2 {
		t.Errorf("%d of 2 secrets sealed with the new key on the other node", n)
	}
	if left := b.notSealedBy(2); left == 0 {
		t.Error("control: nothing was left to the other node")
	}
	a.die()
	within(t, 30*time.Second, "another node has sealed everything again", func() bool {
		keys, err := b.MasterKeys(t.Context())
		return err == nil && !keys.Rotation.Running()
	})
	if left := a.notSealedBy(2); left != 0 || a.read1(e.ID).Damage != 0 || b.read1(e.ID).Damage != 0 {
		t.Errorf("%d values left", left)
	}
	before := a.count("SELECT count(*) FROM endpoints")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, _, err = paused.CreateEndpoint(ctx, hook.Endpoint{Scope: acme, URL: "https://example.com/", Types: hook.Filter{"*"}}, nil)
	select {
	case reason := <-fatal:
		if err == nil || !errors.Is(reason, ErrMasterKeyMismatch) || !strings.Contains(reason.Error(), r.To) {
			t.Errorf("it ended by %v, its write by %v", reason, err)
		}
	default:
		t.Errorf("a node without the key goes on: %v", err)
	}
	if n := a.count("SELECT count(*) FROM endpoints"); n != before {
		t.Errorf("%d endpoints, were %d", n, before)
	}
	if s, err := Open(t.Context(), Options{Postgres: url, Keys: keysOf(t, 1)}); !errors.Is(err, ErrMasterKeyMismatch) {
		t.Errorf("a node with the earlier key alone entered: %v", err)
		_ = s.Close()
	}
}
