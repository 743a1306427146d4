// Package server runs a server: its configuration, its parts, and the order in which they
// start and stop.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/api/bodies"
	"github.com/posthorn/posthorn/internal/api/native"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/jobs"
	"github.com/posthorn/posthorn/internal/listen"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/web"
	"github.com/posthorn/posthorn/internal/web/live"
)

// Node is a running server.
type Node struct {
	cfg      *Config
	log      *slog.Logger
	apiLog   *slog.Logger // of the APIs; limits what callers can cause
	store    *store.Store
	app      *app.Service
	profiles *profile.Set
	dispatch *dispatch.Dispatcher
	counts   *counts
	egress   *egress.Client
	hub      *listen.Hub // receivers that connect to us
	jobs     *jobs.Runner
	attempts *attemptCounter
	without  *bareStore     // set by the benchmark only: events are not stored
	mux      *http.ServeMux // of the API's listener
	pages    *web.Handler   // the web interface; nil: not served
	hints    live.Hints     // for streams of pages

	firstKeys io.Writer // where generated operator keys are printed before the node serves; nil: none are made

	profilesKept     chan struct{} // by other nodes
	catalogueChanged chan struct{} // by other nodes

	api, metrics net.Listener
	servers      []*http.Server
	stopping     atomic.Bool
	loop         hook.Loop // marks what is sent
	masterKeys   *seal.Keyring
	background   sync.WaitGroup
	cancel       context.CancelFunc
	started      time.Time
	failed       chan error // a disk that can no longer be trusted, or a server that ended
}

// Start starts a node. If the store has no operator key and none is configured, keys are
// generated and printed to firstKeys before the node serves. If firstKeys is nil, none are
// generated.
func Start(ctx context.Context, cfg *Config, log *slog.Logger, firstKeys io.Writer) (*Node, error) {
	n := &Node{cfg: cfg, log: log, firstKeys: firstKeys}
	return n, n.begin(ctx)
}

// begin starts the parts. It listens before it touches the disk, so that a failed start
// changes nothing.
func (n *Node) begin(ctx context.Context) (err error) {
	n.failed, n.cancel, n.mux = make(chan error, 4), func() {}, http.NewServeMux()
	n.profilesKept, n.catalogueChanged, n.apiLog = make(chan struct{}, 1), make(chan struct{}, 1), boundedLog(n.log)
	n.counts = newCounts()
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	cfg, log := n.cfg, n.log
	if n.profiles, err = LoadProfiles(cfg); err != nil {
		return err
	}
	if err := n.listen(); err != nil {
		return err
	}
	n.dispatch = dispatch.New(dispatch.Options{
		Log: log, Fast: cfg.Fast, Slow: cfg.Slow, FastPerTenant: cfg.FastPerTenant, InFlight: cfg.InFlight,
		MaxInFlight:  cfg.Calls.InFlight,
		Nodes:        func() int { return n.store.Nodes() },
		HostInFlight: cmp.Or(cfg.HostInFlight, -1), HostRate: cmp.Or(cfg.HostRate, -1),
	})
	n.jobs = jobs.New(log)
	if err := n.openStore(ctx); err != nil {
		return err
	}
	if err := n.keepProfiles(ctx, n.profiles); err != nil {
		return exit.With(exit.Open, err)
	}
	cfg.targets.announce(log)
	if err := cfg.targets.checkProxy(ctx); err != nil {
		return err
	}
	n.egress = egress.New(n.egressOptions())
	if err := n.refuseSelf(); err != nil {
		return err
	}
	var kept app.Store = n.store
	var queue dispatch.Queue = n.store
	if n.without != nil {
		n.without.Store, n.without.Queue, n.without.committed = n.store, n.store, n.dispatch.Committed
		kept, queue = n.without, n.without
	}
	n.app, err = app.New(app.Options{
		Store: n.tracedStore(kept), Profiles: n.profiles, Profile: cfg.Profile,
		Admit: n.admit, CheckHeaders: egress.CheckHeaders,
		OperatorKey: cfg.OperatorKey, OperatorTestKey: cfg.OperatorTestKey, CreateTenants: cfg.CreateTenants,
		Reads: cfg.Calls.reads(), Writes: cfg.Calls.writes(), AuditedWrites: cfg.Calls.AuditedWrites, Attempts: cfg.Calls.attempts(), WrongKeys: wrongKeys, Ceilings: cfg.Calls.ceilings(), VerifyEndpoints: cfg.Calls.Verify, Loop: n.loop,
		Pace: n.dispatch.Pace, Pages: n.pagesAt(), Marks: n.masterKeys,
		PublishRate: cfg.PublishRate, AllowReveal: cfg.AllowReveal, Mail: cfg.Alerts.server != nil, Log: log,
	})
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	if err := n.app.LoadSchemas(ctx); err != nil {
		return exit.With(exit.Open, fmt.Errorf("read the schemas of event types: %w", err))
	}
	if err := errors.Join(n.mountSeeds(), n.makePages()); err != nil {
		return exit.With(exit.Usage, err)
	}
	if err := n.printFirstKeys(ctx, n.firstKeys); err != nil { // before serve: when the node is ready, the keys are printed
		return err
	}
	if err := n.keepMailEndpoints(ctx); err != nil {
		return exit.With(exit.Open, err)
	}
	n.hub = listen.New(n.store, log)
	n.attempts = newAttemptCounter(&leased{sender: n.sender(), node: n}, cfg.MetricsSeries)
	if err := n.dispatch.Start(ctx, &hintedQueue{queue, &n.hints}, n.attempts); err != nil {
		return exit.With(exit.Open, fmt.Errorf("recover deliveries: %w", err))
	}
	n.jobs.Start(n.store, n.app.ProfileOf)
	n.mountListen(ctx)
	if have, need := Descriptors(), DescriptorsFor(cfg.Fast, cfg.Slow); have < need {
		log.Warn("few descriptors for so many attempts at once: raise the limit (LimitNOFILE, ulimit -n), or lower --fast-attempts and --slow-attempts", "limit", have, "needed", need)
	}
	n.serve()
	return nil
}

func (n *Node) egressOptions() egress.Options {
	cfg := n.cfg
	return egress.Options{
		AllowHTTP: cfg.AllowHTTP || cfg.Dev, AllowLocal: cfg.Dev, AllowNetworks: cfg.networks,
		AllowHosts: cfg.targets.allowHosts, DenyHosts: cfg.targets.denyHosts, DenyNetworks: cfg.targets.denyNetworks, Log: n.log, MaxIdle: keptLimit(Descriptors()),
		OwnHosts: cfg.ownHosts, Blocked: n.counts.dialBlocked, MaxAge: cmp.Or(cfg.ConnectionMaxAge, -1),
		RootCAs: cfg.targets.roots, ClientCertificate: cfg.targets.clientCert, Proxy: cfg.targets.proxy,
	}
}

func (n *Node) listen() error {
	var err error
	if n.api, err = net.Listen("tcp", n.cfg.Listen); err != nil {
		return exit.With(exit.Listen, fmt.Errorf("--listen %s: %w; choose another address or stop the process that uses it", n.cfg.Listen, cause(err)))
	}
	if n.cfg.MetricsListen == "" {
		return nil
	}
	if n.metrics, err = net.Listen("tcp", n.cfg.MetricsListen); err != nil {
		return exit.With(exit.Listen, fmt.Errorf("--metrics-listen %s: %w; choose another address or stop the process that uses it", n.cfg.MetricsListen, cause(err)))
	}
	return nil
}

// cause removes the address, which the message already has.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err
	}
	return err
}

func (n *Node) openStore(ctx context.Context) error {
	path := filepath.Join(n.cfg.Data, "posthorn.db")
	if n.cfg.Store != "" {
		path = strings.TrimPrefix(n.cfg.Store, "sqlite:")
	}
	url := ""
	if n.cfg.postgres() {
		path, url = "", n.cfg.Store
	}
	made := filepath.Join(n.cfg.Data, "master.key")
	if _, err := os.Stat(made); err == nil || n.cfg.MasterKeyFile != "" || url == "" {
		made = ""
	}
	keys, err := n.masterKey(ctx, path)
	if err != nil {
		return err
	}
	n.masterKeys = keys
	n.store, err = store.Open(ctx, store.Options{
		Path: path, Postgres: url, Dir: n.cfg.Data, Lease: n.cfg.NodeLease, Version: build.Version(), ProfilesKept: func() { poke(n.profilesKept) },
		CatalogueChanged: func() { poke(n.catalogueChanged) },
		Keys:             keys, KeySource: n.keySource(), Log: n.log, Synchronous: n.cfg.Synchronous, HeldFor: n.cfg.HeldFor, Retention: n.cfg.Retention, AuditRetention: n.cfg.AuditRetention,
		RetentionPayloads: n.cfg.RetentionPayloads, RetentionAnswers: n.cfg.RetentionAnswers, DiskBudget: hook.DiskBudget(n.cfg.DiskBudget), TenantBacklog: n.cfg.TenantBacklog,
		Committed: n.committed, Room: n.dispatch.Room, CommitTook: n.counts.commitTook, ProfileOf: n.profileOf,
		Fatal: func(err error) { n.failed <- fatal(err) },
	})
	if made != "" && errors.Is(err, store.ErrMasterKeyMismatch) {
		_ = os.Remove(made) // made a moment ago, for a database that has another one
	}
	if err != nil {
		return n.openError(path, err)
	}
	n.loop = hook.Loop(n.store.Installation())
	return nil
}

// StoreKind describes the store for the log.
func (n *Node) StoreKind() string {
	if n.cfg.postgres() {
		return fmt.Sprintf("postgres, epoch %d, %d alive", n.store.Epoch(), n.store.Nodes())
	}
	return "sqlite"
}

// masterKey reads the key that encrypts secrets. It generates one only for a new store: a
// new key would decrypt nothing in an existing store.
func (n *Node) masterKey(ctx context.Context, database string) (*seal.Keyring, error) {
	keys, _, err := MasterKeyElsewhere(ctx, n.cfg.MasterKeyFile, n.cfg.MasterKeyCommand)
	if err != nil {
		return nil, err
	}
	if keys != nil {
		if err := os.MkdirAll(n.cfg.Data, 0o700); err != nil {
			return nil, exit.With(exit.Open, fmt.Errorf("make data directory: %w", err))
		}
		return keys, nil
	}
	path := n.cfg.MasterKeyFile
	if path == "" {
		path = filepath.Join(n.cfg.Data, "master.key")
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(database); err == nil && database != "" {
			return nil, exit.With(exit.MasterKey, fmt.Errorf("master_key_missing: there is a database at %s but no master key at %s; restore the key or name it with --master-key-file", database, path))
		}
		if n.cfg.MasterKeyFile != "" {
			return nil, exit.With(exit.MasterKey, fmt.Errorf("master_key_missing: --master-key-file %s does not exist; leave out the option to generate a key in the data directory", path))
		}
		if err := os.MkdirAll(n.cfg.Data, 0o700); err != nil {
			return nil, exit.With(exit.Open, fmt.Errorf("make data directory: %w", err))
		}
	}
	keys, err = seal.LoadOrCreate(path)
	if err != nil {
		return nil, exit.With(exit.MasterKey, fmt.Errorf("master key: %w", err))
	}
	return keys, nil
}

func (n *Node) openError(path string, err error) error {
	if path == "" {
		path = n.cfg.Data
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrPostgresURL):
		return exit.Usagef("--store: invalid address; the format is postgres://user:password@host:5432/database?sslmode=verify-full, with special characters in the password as %%XX")
	case errors.Is(err, store.ErrLocked) && n.cfg.postgres():
		return exit.With(exit.Locked, fmt.Errorf("%s is in use by another posthorn process; stop it, or give each node of this machine its own --data", n.cfg.Data))
	case errors.Is(err, store.ErrLocked):
		return exit.With(exit.Locked, fmt.Errorf("%s is in use by another posthorn process; stop it or choose another --data", filepath.Dir(path)))
	case errors.Is(err, store.ErrMasterKeyMismatch) && n.cfg.postgres():
		return exit.With(exit.MasterKey, fmt.Errorf("master_key_mismatch: the master key of this node is not the one that sealed the secrets in the database%s; copy master.key from the data directory of another node, or name it with --master-key-file", seal.Why(err)))
	case errors.Is(err, store.ErrMasterKeyMismatch):
		return exit.With(exit.MasterKey, fmt.Errorf("master_key_mismatch: the master key is not the one that sealed the secrets in %s%s", path, seal.Why(err)))
	case errors.Is(err, store.ErrNewerSchema) && n.cfg.postgres():
		return exit.With(exit.Schema, fmt.Errorf("%w; nothing was changed, start the newer release", err))
	case errors.Is(err, store.ErrNewerSchema):
		return exit.With(exit.Schema, fmt.Errorf("%s: %w; nothing was changed, start the newer release", path, err))
	}
	return exit.With(exit.Open, err)
}

// keepProfiles stores the profile texts in use and loads earlier ones, because deliveries
// are rendered with the text that they were accepted with.
func (n *Node) keepProfiles(ctx context.Context, set *profile.Set) error {
	kept, err := n.store.Profiles(ctx)
	if err != nil {
		return fmt.Errorf("read profiles: %w", err)
	}
	for _, old := range kept {
		if _, known := set.ByHash(old.Hash); known {
			continue
		}
		p, err := profile.Load(old.Name, []byte(old.Text))
		if err != nil {
			n.log.Error("an earlier text of a profile cannot be used; its deliveries get the current one", "profile", old.Name, "error", err)
			continue
		}
		set.Keep(p)
	}
	for _, name := range set.Names() {
		p, _ := set.Get(name)
		if err := n.store.KeepProfile(ctx, p.Hash(), p.Name(), string(p.Text())); err != nil {
			return fmt.Errorf("keep profile %s: %w", name, err)
		}
	}
	if n.cfg.postgres() {
		return n.adoptProfiles(ctx, set)
	}
	return nil
}

// adoptProfiles activates the newest text of each profile, which another node may have read
// from its directory, so that all nodes send the same. Built-in profiles are those of each
// node's release.
func (n *Node) adoptProfiles(ctx context.Context, set *profile.Set) error {
	kept, err := n.store.Profiles(ctx)
	if err != nil {
		return fmt.Errorf("read profiles: %w", err)
	}
	newest := map[string]read.Profile{}
	for _, p := range kept {
		newest[p.Name] = p // of a name the newest comes last
	}
	for name, text := range newest {
		now, known := set.Get(name)
		if known && (now.Builtin() || now.Hash() == text.Hash) {
			continue
		}
		p, err := profile.Load(name, []byte(text.Text))
		if err == nil {
			err = set.Reload([]*profile.Profile{p})
		}
		if err != nil {
			n.log.Error("a profile of another node cannot be used", "profile", name, "error", err)
			continue
		}
		n.log.Info("profile taken from another node", "profile", name, "kept_at", text.KeptAt)
	}
	return nil
}

// refuseSelf blocks deliveries to the node's own listeners.
func (n *Node) refuseSelf() error {
	var self []netip.AddrPort
	for _, l := range []net.Listener{n.api, n.metrics} {
		if l == nil {
			continue
		}
		if addr, ok := l.Addr().(*net.TCPAddr); ok {
			self = append(self, addr.AddrPort())
		}
	}
	if err := n.egress.SetSelf(self); err != nil {
		return exit.With(exit.Listen, fmt.Errorf("read own addresses: %w", err))
	}
	return nil
}

func (n *Node) admit(ctx context.Context, rawURL string, ipHosts bool) (string, []app.Warning, error) {
	canonical, found, err := n.egress.Admit(ctx, rawURL, egress.Rules{IPHosts: ipHosts})
	var warnings []app.Warning
	for _, w := range found {
		warnings = append(warnings, app.Warning{Code: w.Code, Message: w.Message})
	}
	return canonical, warnings, err
}

// serve starts the listeners and housekeeping.
func (n *Node) serve() {
	api := native.New(native.Options{Service: n.app, Log: n.apiLog, Version: build.Version(), Ready: n.ready, Notice: n.notice, Refused: n.counts.refuse})
	api = n.traced(api)
	n.mux.Handle("/", api)
	n.mountPages(api)
	apart := n.apart(n.mux)
	budget := bodies.NewBudget(int64(n.cfg.RequestBodyMiB) << 20)
	n.start(n.api, budget.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.stopping.Load() {
			w.Header().Set("Connection", "close") // or the next request on this connection meets its end
		}
		if unclean(r.URL.Path) {
			api.ServeHTTP(w, r) // the mux would answer with a redirect to another path
			return
		}
		apart.ServeHTTP(w, r)
	})))
	if n.metrics != nil {
		n.start(n.metrics, n.metricsPage())
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.background.Go(func() { n.housekeep(ctx) })
	n.background.Go(func() { n.takeProfiles(ctx) })
	n.background.Go(func() { n.watchThresholds(ctx) })
}

// unclean reports whether a path holds empty parts or dots, as no route does.
func unclean(p string) bool {
	return strings.TrimSuffix(p, "/") != strings.TrimSuffix(path.Clean("/"+p), "/")
}

// URL is the address of the API, http://HOST:PORT.
func (n *Node) URL() string { return "http://" + n.api.Addr().String() }

// MetricsURL is the URL of the metrics; empty if they are not served.
func (n *Node) MetricsURL() string {
	if n.metrics == nil {
		return ""
	}
	return "http://" + n.metrics.Addr().String() + "/metrics"
}

// Failure receives the error after which the node cannot continue: of the disk or of a
// listener.
func (n *Node) Failure() <-chan error { return n.failed }

// Store is the store of the node.
func (n *Node) Store() *store.Store { return n.store }

// Profiles are the profiles in force.
func (n *Node) Profiles() *profile.Set { return n.profiles }

// Handle adds a route to the API's listener.
func (n *Node) Handle(pattern string, h http.HandlerFunc) { n.mux.HandleFunc(pattern, h) }

func (n *Node) start(l net.Listener, h http.Handler) {
	bounded := newBoundedListener(l, ConnectionLimit(Descriptors()), n.log)
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      2 * time.Minute, // streams of listeners set their own deadline for each write
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(n.log.Handler(), slog.LevelDebug), // connections that callers broke; bounded logs the rest
		ConnState:         bounded.state,
	}
	n.servers = append(n.servers, server)
	n.background.Go(func() {
		if err := server.Serve(bounded); !errors.Is(err, http.ErrServerClosed) {
			n.failed <- exit.With(exit.Listen, fmt.Errorf("serve %s: %w", l.Addr(), err))
		}
	})
}

// ready returns nil if events can be accepted now.
func (n *Node) ready(ctx context.Context) error {
	if n.stopping.Load() {
		return &hook.Error{Code: hook.CodeShuttingDown, Message: "The server is shutting down."}
	}
	return n.store.Ready(ctx)
}

// takeProfiles loads profiles and schemas that other nodes stored, because this node may
// take over their deliveries.
func (n *Node) takeProfiles(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.catalogueChanged:
			if err := n.app.LoadSchemas(ctx); err != nil && ctx.Err() == nil {
				n.log.Error("take up schemas of other nodes; it will be tried again", "error", err)
				time.AfterFunc(2*time.Second, func() { poke(n.catalogueChanged) })
			}
			continue
		case <-n.profilesKept:
		}
		if err := n.keepProfiles(ctx, n.profiles); err != nil && ctx.Err() == nil {
			n.log.Error("take up profiles of other nodes; it will be tried again", "error", err)
			time.AfterFunc(2*time.Second, func() { poke(n.profilesKept) })
		}
	}
}

// leased makes attempts only while this node holds the lease of the job.
type leased struct {
	sender dispatch.Sender
	node   *Node
}

// Send makes the attempt, or skips it if the lease has expired.
func (l *leased) Send(ctx context.Context, j hook.Job) hook.Outcome {
	if l.node.without == nil && !l.node.store.Holds(&j) {
		return hook.Outcome{Skipped: true}
	}
	return l.sender.Send(ctx, j)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// housekeep deletes expired data once an hour.
func (n *Node) housekeep(ctx context.Context) {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	for {
		if err := n.store.Housekeep(ctx); err != nil && ctx.Err() == nil {
			n.log.Error("housekeeping", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Linger makes /readyz fail but keeps serving for the delay, so that load balancers stop
// sending traffic before connections are refused. It returns an error if the node fails
// meanwhile.
func (n *Node) Linger(delay time.Duration) error {
	n.stopping.Store(true)
	if delay <= 0 {
		return nil
	}
	n.log.Info("draining: not ready, still accepting", "delay", delay.String())
	select {
	case err := <-n.failed:
		return err
	case <-time.After(delay):
		return nil
	}
}

// Stop shuts the node down in order: not ready, no new requests, attempts in progress
// finished and recorded, store closed. It returns how many attempts were aborted; the next
// start repeats them.
func (n *Node) Stop(ctx context.Context) int {
	n.stopping.Store(true)
	n.jobs.Stop() // the next start continues them
	n.closeStreams()
	// In parallel: a slow client must not use up the time for attempts. Events that are
	// still published meanwhile are delivered after the next start.
	var closing sync.WaitGroup
	for _, server := range n.servers {
		closing.Go(func() {
			if err := server.Shutdown(ctx); err != nil {
				_ = server.Close()
			}
		})
	}
	brokenOff := n.dispatch.Stop(ctx)
	closing.Wait()
	n.Close()
	return brokenOff
}

// Close releases everything that was opened.
func (n *Node) Close() {
	n.cancel()
	for _, l := range []net.Listener{n.api, n.metrics} {
		if l != nil {
			_ = l.Close()
		}
	}
	n.background.Wait()
	if n.jobs != nil {
		n.jobs.Stop()
	}
	if n.store != nil {
		if err := n.store.Close(); err != nil {
			n.log.Error("close store", "error", err)
		}
	}
	if n.egress != nil {
		n.egress.CloseIdle()
	}
}
