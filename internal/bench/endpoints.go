package bench

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store"
)

// fill makes the tenants and endpoints of the setting and of its flood, in a data directory
// or a database. It does so before a server starts, because 100,000 endpoints would take
// minutes through the API.
func (r *rig) fill(ctx context.Context, dir, database string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	keys, err := seal.LoadOrCreate(filepath.Join(dir, "master.key"))
	if err != nil {
		return err
	}
	to, err := store.Open(ctx, store.Options{Dir: dir, Postgres: database, Keys: keys, Log: slog.New(slog.DiscardHandler), Synchronous: "off"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	standard, ok := profile.Builtin().Get("standard")
	if !ok {
		return errors.New("there is no profile standard")
	}
	if err := to.KeepProfile(ctx, standard.Hash(), standard.Name(), string(standard.Text())); err != nil {
		return err
	}
	s := &r.setting
	name := strings.TrimPrefix(filepath.Base(r.dir), "posthorn-") // of this run, because a store that was filled may have the tenants of others
	r.measured = load{types: s.endpoints, size: s.size, batch: s.batch, content: s.content, svix: s.svix}
	if s.all {
		r.measured.types = 1
	}
	url := func(int) string { return r.receiver.hook }
	if err := r.measured.fill(ctx, to, name, s.tenants, s.endpoints, s.all, url); err != nil || s.flood.endpoints == 0 {
		return err
	}
	r.flood = load{types: 10, size: 1000}
	port := r.silent.hook[strings.LastIndexByte(r.silent.hook, ':')+1:]
	return r.flood.fill(ctx, to, name+"-flood", s.flood.endpoints/10, 10, false, func(n int) string {
		if s.flood.dead && n%2 == 0 {
			return fmt.Sprintf("http://127.2.%d.%d:9/hook", n/250, n%250+1) // nobody listens there
		}
		return "http://" + floodAddress(n) + ":" + port
	})
}

// floodAddress is where the n-th endpoint of a flood is: each has a host of its own.
func floodAddress(n int) string { return fmt.Sprintf("127.1.%d.%d", n/250, n%250+1) }

// fill makes tenants with endpoints each. An endpoint is for all events of its tenant, or for
// those of a type of its own. The argument of url counts all endpoints.
func (l *load) fill(ctx context.Context, to *store.Store, name string, tenants, endpoints int, all bool, url func(int) string) error {
	secret := hook.Secret{Text: "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32)), Encoding: hook.EncodingWhsec}
	l.tenants = make([]string, tenants)
	err := each(64, tenants, func(i int) error {
		tenant := name + "-" + strconv.Itoa(i)
		l.tenants[i] = tenant
		if _, _, err := to.CreateTenant(ctx, hook.Tenant{ID: tenant}, nil); err != nil {
			return fmt.Errorf("create tenant: %w", err)
		}
		for n := range endpoints {
			types := hook.Filter{"*"}
			if !all {
				types = hook.Filter{typeName(n)}
			}
			e := hook.Endpoint{Scope: hook.Scope{Tenant: tenant, Mode: hook.Live}, Profile: "standard", URL: url(i*endpoints + n), Types: types, Secrets: []hook.Secret{secret}}
			if _, _, err := to.CreateEndpoint(ctx, e, nil); err != nil {
				return fmt.Errorf("create endpoint: %w", err)
			}
		}
		return nil
	})
	rand.New(rand.NewPCG(1, 2)).Shuffle(tenants, func(i, j int) { l.tenants[i], l.tenants[j] = l.tenants[j], l.tenants[i] })
	return err
}
