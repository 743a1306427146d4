package cluster

import (
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

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

func withTimeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(background, d)
}

// Open connects to the database, creates or migrates its schema, checks the server's
// durability settings and the master key, and registers the node.
func Open(ctx context.Context, o Options) (*Cluster, error) {
	c := &Cluster{opts: o, log: o.Log, start: bootTime(), look: make(chan struct{}, 1), dead: make(chan []int64)}
	if err := c.open(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) open(ctx context.Context) error {
	var err error
	if c.config, err = postgres.ParseURL(c.opts.URL); err != nil {
		return err
	}
	words := postgres.NewDialect()
	for i := range c.connections {
		c.connections[i] = &connection{Conn: postgres.NewConn(c.config, words), index: int64(i)}
	}
	c.read = &sqltext.Reader{Dialect: words, Again: postgres.ReadAgain,
		OneView: sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}}
	if err := c.nameNode(); err != nil {
		return err
	}
	first := c.connections[0]
	if err := first.Connect(ctx); err != nil {
		return postgres.Refused(postgres.StartError(err))
	}
	if err := postgres.CheckServer(ctx, first, c.opts.Durable); err != nil {
		return err
	}
	c.control = postgres.Pool(c.config, 1)
	if err := c.refuseOtherTime(ctx); err != nil {
		return err
	}
	if err := postgres.Migrate(ctx, c.config, c.log); err != nil {
		return err
	}
	c.read.DB = postgres.ReadersPool(c.config)
	c.days = postgres.Days{DB: c.read.DB, Log: c.log, Now: c.opts.Now}
	if err := c.connectAll(ctx); err != nil {
		return postgres.Refused(postgres.StartError(err))
	}
	if err := c.enter(ctx); err != nil {
		if errors.Is(err, sqltext.ErrMasterKeyMismatch) || errors.Is(err, sqltext.ErrLocked) {
			return err
		}
		return postgres.Refused(postgres.StartError(err))
	}
	return nil
}

// enter checks the master key, creates the partitions and registers the node.
func (c *Cluster) enter(ctx context.Context) error {
	if err := c.checkKey(ctx); err != nil {
		return err
	}
	if err := c.days.Make(ctx); err != nil {
		return err
	}
	// The lock proves that the previous process with this data directory has ended.
	if _, err := c.control.ExecContext(ctx, "UPDATE nodes SET gone = true WHERE name = $1 AND NOT gone", c.name); err != nil {
		return err
	}
	if err := c.register(ctx); err != nil {
		return err
	}
	if err := c.checkKey(ctx); err != nil { // again, now that other nodes see this one
		return err
	}
	// Nothing is in memory yet, so earlier changes do not matter.
	err := c.control.QueryRowContext(ctx, "SELECT version, news, floor FROM config").Scan(&c.version, &c.changes, sqltext.Blob(c.floor[:]))
	if err != nil {
		return err
	}
	var nodes int64
	if err := c.control.QueryRowContext(ctx, "SELECT count(*) FROM nodes WHERE "+alive).Scan(&nodes); err != nil {
		return err
	}
	c.nodes.Store(nodes)
	c.seenVersion.Store(c.version)
	c.seenChanges.Store(c.changes)
	return nil
}

// connectAll opens every connection that the node will use, including the listener's, so
// that a server with too few connections is detected now and not under load.
func (c *Cluster) connectAll(ctx context.Context) error {
	var held []*sql.Conn
	defer func() {
		for _, conn := range held {
			_ = conn.Close()
		}
	}()
	if err := c.connect(); err != nil {
		return err
	}
	for i := range postgres.Readers + 1 {
		db := c.control
		if i > 0 {
			db = c.read.DB
		}
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		held = append(held, conn)
	}
	listener, err := pgx.ConnectConfig(ctx, c.config)
	if err != nil {
		return err
	}
	return listener.Close(ctx)
}

// checkKey ensures that all nodes seal with the same key.
func (c *Cluster) checkKey(ctx context.Context) error {
	check, err := c.opts.Keys.SealCheck(c.opts.Keys.Current())
	if err != nil {
		return err
	}
	if _, err := c.control.ExecContext(ctx, "INSERT INTO meta (key, value) VALUES ('master_key_check', $1) ON CONFLICT (key) DO NOTHING", check); err != nil {
		return err
	}
	// A rotation under way checks which nodes are alive and commits under this lock. If it
	// did not see this node's row yet, it ends before the check below.
	tx, err := c.control.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock_shared(7596481, 1)"); err != nil {
		return err
	}
	var rotation []byte
	if err := tx.QueryRowContext(ctx, sqltext.KeyRecords).Scan(&check, &rotation); err != nil {
		return err
	}
	if err := c.opts.Keys.Fit(check, rotation); err != nil {
		return fmt.Errorf("%w: %w", sqltext.ErrMasterKeyMismatch, err)
	}
	return nil
}

// nameNode reads the node's name from its data directory and locks the directory. A start
// after a crash then need not wait until the lease of the dead process expires.
func (c *Cluster) nameNode() error {
	dir := c.opts.Dir
	if dir == "" {
		c.name = hook.NewIDs(time.Now).Next().String()
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	lock, err := sqltext.Lock(filepath.Join(dir, "node.lock"))
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
