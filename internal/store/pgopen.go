package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"

	"github.com/posthorn/posthorn/internal/hook"
)

// oldestPostgres is the first version that is tested.
const oldestPostgres = 150000

// ErrPostgres says that a PostgreSQL database cannot be used as it is. The text says
// why and what to do; nothing in it is secret.
var ErrPostgres = errors.New("the PostgreSQL database cannot be used")

// ErrPostgresURL says that the address of a PostgreSQL database is not understood.
var ErrPostgresURL = errors.New("the address of the PostgreSQL database is not understood")

func pgRefused(err error) error { return fmt.Errorf("%w: %w", ErrPostgres, err) }

// parsePostgres reads the URL. Its errors hold no password.
func parsePostgres(url string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, ErrPostgresURL // the reason given may repeat the password
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectFor
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "posthorn"
	}
	// pgx describes statements anew in this mode, which no pooler minds.
	if config.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		config.StatementCacheCapacity = 0
	}
	return config, nil
}

func (s *Store) openPostgres(ctx context.Context) error {
	config, err := parsePostgres(s.opts.Postgres)
	if err != nil {
		return err
	}
	words := pgDialect()
	c := &cluster{store: s, lease: s.opts.Lease, durable: s.opts.Synchronous == "full", start: bootTime(),
		poke: make(chan struct{}, 1), wake: make(chan struct{}, 1), dead: make(chan []int64), closing: make(chan struct{})}
	for i := range c.lanes {
		c.lanes[i] = newPG(s, config, int64(i), words)
	}
	p := c.lanes[0]
	s.engine, s.cluster = p, c
	s.read = &reader{dialect: words, oneView: sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}}
	if err := c.nameNode(s.opts.Dir); err != nil {
		return err
	}
	if !c.durable {
		s.log.Warn("the store may lose acknowledged events at a power cut", "synchronous", s.opts.Synchronous)
	}
	if err := p.connect(ctx); err != nil {
		return pgRefused(startError(err))
	}
	if err := p.check(ctx, c.durable); err != nil {
		return err
	}
	if err := p.migrate(ctx); err != nil {
		return err
	}
	c.keeper = p.pool(1)
	s.read.db = p.pool(pgReaders, byIndex)
	if err := c.connectAll(ctx); err != nil {
		return pgRefused(startError(err))
	}
	if err := c.enter(ctx); err != nil {
		if errors.Is(err, ErrMasterKeyMismatch) || errors.Is(err, ErrLocked) {
			return err
		}
		return pgRefused(startError(err))
	}
	return nil
}

// check refuses a server that would not keep its promises, or that nobody tested.
func (p *pg) check(ctx context.Context, durable bool) error {
	var version int
	var text, synchronous, fsync, readOnly string
	var standby bool
	err := p.raw.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('synchronous_commit'),
		current_setting('fsync'), current_setting('transaction_read_only'), pg_is_in_recovery()`).
		Scan(&version, &text, &synchronous, &fsync, &readOnly, &standby)
	if err != nil {
		return pgRefused(startError(err))
	}
	switch {
	case version < oldestPostgres:
		return pgRefused(fmt.Errorf("the server is PostgreSQL %s; Posthorn needs 15 or later", text))
	case standby || readOnly == "on":
		return pgRefused(errReadOnly)
	case durable && fsync != "on":
		return pgRefused(errors.New("fsync is off: a power cut would lose acknowledged events or the whole database; set fsync = on, or start with --synchronous off if nothing in it matters"))
	case durable && synchronous != "on" && synchronous != "remote_apply":
		return pgRefused(fmt.Errorf("synchronous_commit is %s: acknowledged events could be lost; set it to on for this role and database, or start with --synchronous off if nothing in it matters", synchronous))
	}
	return nil
}

// The lock of migrations, and of what else one node does for all.
const lockOnce = "SELECT pg_advisory_xact_lock(7596481, 2)"

// migrate brings the schema up to date. Nodes that start at the same time wait for
// the first. The lock belongs to a transaction, so a pooler may stand in between.
func (p *pg) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations/postgres")
	if err != nil {
		return err
	}
	ours, err := newestOf(files)
	if err != nil {
		return err
	}
	db := p.pool(2)
	defer func() { _ = db.Close() }()
	lock, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return pgRefused(startError(err))
	}
	defer func() { _ = lock.Rollback() }()
	if _, err := lock.ExecContext(ctx, lockOnce); err != nil {
		return pgRefused(startError(err))
	}
	version, err := pgSchema(ctx, lock)
	if err != nil {
		return pgRefused(startError(err))
	}
	if version > ours {
		return fmt.Errorf("schema %d, this release knows %d: %w", version, ours, ErrNewerSchema)
	}
	if version == ours {
		return nil
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		if pgState(err) != "" {
			return pgRefused(startError(err))
		}
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

func newestOf(files fs.FS) (int64, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil || len(names) == 0 {
		return 0, fmt.Errorf("read migrations: %w", err)
	}
	return goose.NumericComponent(names[len(names)-1])
}

// pgSchema returns the version of the schema, 0 for none.
func pgSchema(ctx context.Context, db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}) (version int64, err error) {
	var there bool
	if err := db.QueryRowContext(ctx, "SELECT to_regclass('goose_db_version') IS NOT NULL").Scan(&there); err != nil || !there {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&version)
	return version, err
}

// enter checks the master key, sees to the partitions and joins the nodes.
func (c *cluster) enter(ctx context.Context) error {
	s := c.store
	s.ids = hook.NewIDs(s.opts.Now)
	if err := c.checkKey(ctx); err != nil {
		return err
	}
	if err := c.partition(ctx, c.keeper); err != nil {
		return err
	}
	// The process that had this data directory before has ended: the lock says so.
	if _, err := c.keeper.ExecContext(ctx, "UPDATE nodes SET gone = true WHERE name = $1 AND NOT gone", c.name); err != nil {
		return err
	}
	if err := c.register(ctx); err != nil {
		return err
	}
	// Nothing is in memory yet, so no news is of interest.
	var floor hook.ID
	err := c.keeper.QueryRowContext(ctx, "SELECT version, news, floor FROM config").Scan(&c.version, &c.news, blob(floor[:]))
	if err != nil {
		return err
	}
	s.ids.Above(floor)
	var nodes int64
	if err := c.keeper.QueryRowContext(ctx, "SELECT count(*) FROM nodes WHERE "+alive).Scan(&nodes); err != nil {
		return err
	}
	c.nodes.Store(nodes)
	c.seenVersion.Store(c.version)
	c.seenNews.Store(c.news)
	return nil
}

// connectAll opens every connection that the node will use, the listener's too: a server
// that has too few is found out now, and not under load.
func (c *cluster) connectAll(ctx context.Context) error {
	var held []*sql.Conn
	defer func() {
		for _, conn := range held {
			_ = conn.Close()
		}
	}()
	if err := c.connectLanes(); err != nil {
		return err
	}
	for i := range pgReaders + 1 {
		db := c.keeper
		if i > 0 {
			db = c.store.read.db
		}
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		held = append(held, conn)
	}
	listener, err := pgx.ConnectConfig(ctx, c.lanes[0].config)
	if err != nil {
		return err
	}
	return listener.Close(ctx)
}

// checkKey makes sure that all nodes seal with one key.
func (c *cluster) checkKey(ctx context.Context) error {
	sealed, err := c.store.keys.Seal(checkPlace, []byte("ok"))
	if err != nil {
		return err
	}
	if _, err := c.keeper.ExecContext(ctx, "INSERT INTO meta (key, value) VALUES ('master_key_check', $1) ON CONFLICT (key) DO NOTHING", sealed); err != nil {
		return err
	}
	if err := c.keeper.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'master_key_check'").Scan(&sealed); err != nil {
		return err
	}
	if got, err := c.store.keys.Open(checkPlace, sealed); err != nil || !bytes.Equal(got, []byte("ok")) {
		return ErrMasterKeyMismatch
	}
	return nil
}

// nameNode gives the node the name that its data directory has, and takes the lock
// there: a start after a crash then need not wait for the lease of the dead process.
func (c *cluster) nameNode(dir string) error {
	if dir == "" {
		c.name = hook.NewIDs(time.Now).Next().String()
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	lock, err := flock(filepath.Join(dir, "node.lock"))
	if err != nil {
		return err
	}
	c.lock = lock
	path := filepath.Join(dir, "node.id")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte(hook.NewIDs(time.Now).Next().String() + "\n")
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("name of the node: %w", err)
	}
	id, err := hook.ParseID(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s holds no id: delete it, and the node gets another one", path)
	}
	c.name = id.String()
	return nil
}
