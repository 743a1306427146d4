// Package cluster makes a process one node among others that share a PostgreSQL database.
// It manages the node's lease, the connections that write under it and the version of the
// configuration in memory, and it detects dead nodes.
//
// The lease is the node's row in the table nodes. Other nodes may take over its work once
// the row is older than the lease by the database's clock. Every commit checks the row, so
// a node whose work was taken over writes nothing. The node itself measures the lease on
// its monotonic clock, starting before it sent the query that renews it. It therefore stops
// making attempts no later than other nodes may begin.
//
// The package guarantees that no write of a node whose lease is over is committed, that the
// outcome of a commit whose answer was lost is determined ([Cluster.Find]) before anything
// depends on it, and that a change of configuration is read before the next commit that
// depends on it. It makes no decision about events and takes over no work; [Hooks] does
// that.
package cluster

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const (
	// interval is how often a node checks the configuration and the other nodes.
	interval = 500 * time.Millisecond
	// silence is how long a commit may remain unanswered before callers are refused.
	silence = 2 * time.Second
	// connectFor bounds one attempt to connect.
	connectFor = 3 * time.Second
)

var background = context.Background()

// Options are the options of Open. All but Dir are required.
type Options struct {
	URL     string
	Dir     string // gives the node its name; empty: it gets a new, unique name
	Lease   time.Duration
	Version string // of the release, shown to operators
	Durable bool   // commits wait for the disk
	Keys    *seal.Keyring
	Now     func() time.Time
	Machine func() bool // whether Now is this machine's clock, which must agree with the database's
	Log     *slog.Logger
}

// Hooks are what the cluster needs from the packages above it.
type Hooks struct {
	// Changed receives the changes of other nodes. The writer calls it between two
	// transactions. It may read through the connection.
	Changed func(c sqltext.Conn, changes sqltext.Changes) error
	// TakeOver takes over the work of dead nodes and reads which work is due in the tables.
	// If left is nil, it only does the latter. It is called from one goroutine of the
	// cluster.
	TakeOver func(ctx context.Context, left []sqltext.Abandoned) error
	// Writer is the writer that calls Begin and Commit.
	Writer interface {
		Wake()
		Probe()
		Away() bool
		SetAway(bool) (changed bool)
	}
}

// Cluster is this node. Begin, Commit, Rollback, Mend and Find belong to the writer;
// the other methods may be called from any goroutine.
type Cluster struct {
	opts  Options
	log   *slog.Logger
	hooks Hooks
	name  string   // of the node, from its data directory
	start int64    // of the clock that continues while the machine is suspended
	lock  *os.File // of the data directory; nil if there is none
	floor hook.ID
	days  postgres.Days

	config      *pgx.ConnConfig
	read        *sqltext.Reader
	control     *sql.DB // for the lease
	connections [postgres.Writers]*connection

	// Used only by the writer.
	version int64 // of the configuration in memory
	changes int64 // changes read so far

	epoch                    atomic.Int64
	seenVersion, seenChanges atomic.Int64 // copies for the heartbeat
	renewed                  atomic.Int64 // when the lease was last renewed, relative to start
	nodes                    atomic.Int64 // nodes that are alive, including this one
	clockAhead               atomic.Int64 // of the database's clock, in nanoseconds, when it was last compared
	stale                    atomic.Bool  // the configuration must be read before the next write
	leaseOver                atomic.Bool  // the node must register again before the next write

	look  chan struct{} // wakes the heartbeat
	dead  chan []int64
	loops sync.WaitGroup
	stop  context.CancelFunc
}

// connection is a connection that writes, with the numbers of its writes.
type connection struct {
	*postgres.Conn
	index  int64 // among the connections of the node
	number int64 // of the last write that was started
	// acknowledged is the number of the last write that the database acknowledged.
	acknowledged int64
	epoch        int64        // under which the last write was started
	busy         bool         // a commit is in progress
	sentAt       atomic.Int64 // when the unanswered commit was sent; 0: none
}

// Epoch returns the number of this registration. It is the owner of the deliveries that
// this node holds in memory.
func (c *Cluster) Epoch() int64 { return c.epoch.Load() }

// Floor returns an id below every id that may still be created, as of the start.
func (c *Cluster) Floor() hook.ID { return c.floor }

// Reader returns the pool of connections that read.
func (c *Cluster) Reader() *sqltext.Reader { return c.read }

// Shared returns true, because other nodes change the rows too.
func (c *Cluster) Shared() bool { return true }

// Nodes returns how many nodes currently share the database, at least 1.
func (c *Cluster) Nodes() int { return max(1, int(c.nodes.Load())) }

// ClockAhead returns how far this machine's clock was ahead of the database's when they were
// last compared.
func (c *Cluster) ClockAhead() time.Duration { return time.Duration(c.clockAhead.Load()) }

// Holds reports whether jobs that were handed over under the epoch may still be attempted.
func (c *Cluster) Holds(epoch int64) bool {
	return epoch == c.Epoch() && !c.leaseOver.Load() && c.sinceStart()-c.renewed.Load() < int64(c.opts.Lease)
}

// sinceStart returns nanoseconds on a clock that continues while the machine is suspended.
func (c *Cluster) sinceStart() int64 { return bootTime() - c.start }

func bootTime() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return time.Now().UnixNano() // every Linux has that clock
	}
	return now.Nano()
}

// register inserts a row for this node under a new epoch. What the node held under an
// earlier epoch no longer belongs to it. Only the writer and Open call register.
func (c *Cluster) register(ctx context.Context) error {
	at := c.sinceStart()
	var epoch int64
	err := c.control.QueryRowContext(ctx, `INSERT INTO nodes (epoch, name, version, started_at, seen_at, lease, master_keys)
		VALUES (nextval('node_epochs'), $1, $2, clock_timestamp(), clock_timestamp(), $3 * interval '1 millisecond', $4) RETURNING epoch`,
		c.name, c.opts.Version, c.opts.Lease.Milliseconds(), c.masterKeys()).Scan(&epoch)
	if err != nil {
		return err
	}
	for _, conn := range c.connections {
		conn.number, conn.acknowledged = 0, 0
		if _, err := c.control.ExecContext(ctx, "INSERT INTO node_writes (epoch, lane, number) VALUES ($1, $2, 0)", epoch, conn.index); err != nil {
			return err
		}
	}
	c.epoch.Store(epoch)
	c.renewed.Store(at)
	return nil
}

// leave gives up the lease, so that other nodes need not wait until it expires.
func (c *Cluster) leave() {
	ctx, cancel := context.WithTimeout(background, connectFor)
	defer cancel()
	if _, err := c.control.ExecContext(ctx, "UPDATE nodes SET gone = true WHERE epoch = $1", c.Epoch()); err != nil {
		c.log.Warn("the lease could not be given up: other nodes wait for its end", "error", postgres.OneLine(err))
	}
}

// Close gives up the lease and closes the connections. The writer must have ended.
func (c *Cluster) Close() error {
	if c.stop != nil {
		c.stop()
	}
	c.loops.Wait()
	var errs []error
	if c.read != nil && c.read.DB != nil {
		errs = append(errs, c.read.DB.Close())
	}
	if c.control != nil {
		if c.Epoch() != 0 {
			c.leave()
		}
		errs = append(errs, c.control.Close())
	}
	for _, conn := range c.connections {
		if conn != nil {
			errs = append(errs, conn.Close())
		}
	}
	if c.lock != nil {
		errs = append(errs, c.lock.Close())
	}
	return errors.Join(errs...)
}

// Run starts the goroutines that run beside the writer. It must be called once, before the
// writer starts.
func (c *Cluster) Run(h Hooks) {
	c.hooks = h
	ctx, stop := context.WithCancel(background)
	c.stop = stop
	c.loops.Go(func() { c.heartbeat(ctx) })
	c.loops.Go(func() { c.takeOver(ctx) })
	c.loops.Go(func() { c.listen(ctx) })
	c.loops.Go(func() { c.watch(ctx) })
}

// heartbeat renews the lease and checks for changes and dead nodes.
func (c *Cluster) heartbeat(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-c.look:
		}
		asking, cancel := context.WithTimeout(ctx, min(connectFor, c.opts.Lease/4))
		if err := c.lookAround(asking); err != nil && ctx.Err() == nil {
			c.log.Debug("look at the other nodes", "error", postgres.OneLine(err))
		}
		cancel()
	}
}

const around = `SELECT c.version, c.news,
	(SELECT count(*) FROM nodes WHERE ` + alive + `),
	(SELECT coalesce(string_agg(n.epoch::text, ','), '') FROM nodes n WHERE NOT n.done AND n.epoch <> $1 AND (n.taker = $1 OR ` + abandoned + `))
	FROM config c`

// alive is true for a row of nodes whose lease has not expired.
const alive = "taker = 0 AND NOT gone AND seen_at + lease >= clock_timestamp()"

// abandoned is true for a node n that is dead and whose work nobody is taking over, or
// whose taker died before it finished.
const abandoned = `(n.taker = 0 AND (n.gone OR n.seen_at + n.lease < clock_timestamp()) OR n.taker <> 0 AND NOT EXISTS
	(SELECT 1 FROM nodes k WHERE k.epoch = n.taker AND k.taker = 0 AND NOT k.gone AND k.seen_at + k.lease >= clock_timestamp()))`

func (c *Cluster) lookAround(ctx context.Context) error {
	me := c.Epoch()
	if at := c.sinceStart(); at-c.renewed.Load() > int64(c.opts.Lease)/5 {
		result, err := c.control.ExecContext(ctx, "UPDATE nodes SET seen_at = clock_timestamp() WHERE epoch = $1 AND taker = 0", me)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err == nil && n == 0 {
			if me == c.Epoch() {
				c.leaseOver.Store(true)
				c.hooks.Writer.Wake()
			}
			return nil
		}
		if at > c.renewed.Load() && me == c.Epoch() {
			c.renewed.Store(at)
		}
	}
	var version, changes, nodes int64
	var dead string
	if err := c.control.QueryRowContext(ctx, around, me).Scan(&version, &changes, &nodes, &dead); err != nil {
		return err
	}
	c.nodes.Store(nodes)
	c.probe()
	if version != c.seenVersion.Load() || changes != c.seenChanges.Load() {
		c.stale.Store(true)
		c.hooks.Writer.Wake()
	}
	if dead != "" {
		select {
		case c.dead <- parseEpochs(dead):
		default: // a takeover is in progress
		}
	}
	return nil
}

// probe causes a commit while callers are refused. Only a commit proves that the database
// is available again.
func (c *Cluster) probe() {
	if !c.hooks.Writer.Away() {
		return
	}
	for _, conn := range c.connections {
		if conn.sentAt.Load() != 0 {
			return // a commit is in progress
		}
	}
	c.hooks.Writer.Probe()
}

// takeOver runs takeovers of dead nodes' work. It runs beside the heartbeat, which must not
// wait.
func (c *Cluster) takeOver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case dead := <-c.dead:
			err := c.hooks.TakeOver(ctx, workOf(dead))
			if err != nil && ctx.Err() == nil {
				c.log.Error("take over the work of a node that is gone; it will be tried again", "error", postgres.OneLine(err))
			}
		}
	}
}

// watch refuses callers while a commit gets no answer, for example because the synchronous
// standby is unavailable. The writer itself can only wait.
func (c *Cluster) watch(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, conn := range c.connections {
			if at := conn.sentAt.Load(); at != 0 && c.sinceStart()-at > int64(silence) && c.hooks.Writer.SetAway(true) {
				c.log.Error("the database does not answer a commit: publishing is refused until it does", "waited", time.Duration(c.sinceStart()-at).Round(interval).String())
			}
		}
	}
}

// listen waits for notifications, so that changes are read at once. They are only a hint: a
// connection pooler may drop them, and the heartbeat checks twice a second in any case.
func (c *Cluster) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.hear(ctx); err != nil && ctx.Err() == nil {
			c.log.Debug("listen for changes", "error", postgres.OneLine(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
	}
}

// hear waits for notifications on one connection. It returns when the connection ends.
func (c *Cluster) hear(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, c.config)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, "LISTEN posthorn"); err != nil {
		return err
	}
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
		select {
		case c.look <- struct{}{}:
		default:
		}
	}
}

// Class classifies an error for the batch.
func (c *Cluster) Class(err error) batch.Class { return postgres.Class(err) }

// MakeRoom does nothing, because the disk belongs to the database server.
func (c *Cluster) MakeRoom() bool { return false }

// Find reports whether the last commit of a connection took effect after its answer was
// lost. The connection's row in node_writes records it. If the write holds the row's lock,
// Find waits for it. If the write has not got that far, Find makes sure that it can no
// longer commit.
func (c *Cluster) Find(sc sqltext.Conn, lost error, pause batch.Pause) (bool, error) {
	conn := sc.(*connection)
	c.log.Warn("the answer to a commit was lost", "error", postgres.OneLine(lost))
	for {
		if err := c.reconnect(pause); err != nil {
			return false, fmt.Errorf("%w (%w)", err, lost)
		}
		var number int64
		err := conn.QueryRow(background, giveUp, conn.epoch, conn.index, conn.number).Scan(&number)
		switch {
		case err == nil:
			c.back()
			asked := conn.number
			conn.number = max(conn.number, number)
			return number == asked, nil
		case errors.Is(err, pgx.ErrNoRows):
			// The database does not know this node, so it is a different one, such as a
			// standby that lagged behind. A write that it does not know was not committed
			// there.
			c.leaseOver.Store(true)
			c.back()
			return false, nil
		}
		if lost = fmt.Errorf("ask for the last write: %w", err); !pause(interval/5, shown(lost)) {
			return false, fmt.Errorf("%w (%w)", errClosing, lost)
		}
	}
}

// errClosing means that the store is closing and nothing waits for the database any more.
var errClosing = errors.New("the store is being closed")

// giveUp reads the number of the last write. Unless the write was committed, giveUp also
// prevents it from ever committing: a server that did not notice the loss of the connection
// may still be executing it.
const giveUp = `UPDATE node_writes SET number = CASE WHEN number = $3 THEN number ELSE greatest(number, $3 + 1) END
	WHERE epoch = $1 AND lane = $2 RETURNING number`

// shown returns an error of the connection in a form that operators may see.
func shown(err error) error { return errors.New(postgres.OneLine(postgres.StartError(err))) }

// Mend restores what a batch needs after it failed for a reason outside the batch.
func (c *Cluster) Mend(err error, pause batch.Pause) bool {
	if postgres.Class(err) == batch.Lost && !c.connected() {
		began := time.Now()
		c.log.Warn("connection to the database lost", "error", postgres.OneLine(err))
		if c.reconnect(pause) != nil {
			return false
		}
		c.log.Info("connected to the database again", "after", time.Since(began).Round(time.Millisecond).String())
		c.back()
		return true
	}
	switch postgres.State(err) {
	case postgres.LeaseOver:
		c.leaseOver.Store(true)
	case postgres.MovedByOthers:
		c.setCareful(true)
	default: // others changed something: what is in memory may be outdated
		c.stale.Store(true)
	}
	return true
}

func (c *Cluster) setCareful(careful bool) {
	for _, conn := range c.connections {
		conn.Careful = careful
	}
}

func (c *Cluster) connected() bool {
	for _, conn := range c.connections {
		if !conn.busy && !conn.Connected() {
			return false
		}
	}
	return true
}

// reconnect waits until the database is reachable.
func (c *Cluster) reconnect(pause batch.Pause) error {
	for d := 20 * time.Millisecond; ; d = min(2*d, interval) {
		err := c.connect()
		if err == nil {
			return nil
		}
		if !pause(d, shown(err)) {
			return errClosing
		}
	}
}

// connect opens the connections that are not connected. It skips a busy connection, whose
// commit reports its own outcome.
func (c *Cluster) connect() error {
	ctx, cancel := context.WithTimeout(background, connectFor)
	defer cancel()
	for _, conn := range c.connections {
		if conn.busy || conn.Connected() {
			continue
		}
		if err := conn.Connect(ctx); err != nil {
			return err
		}
		if err := c.recall(ctx, conn); err != nil {
			conn.Disconnect()
			return err
		}
	}
	return nil
}

// recall checks that the database still has the writes that it acknowledged. If it does
// not, it is a different database, such as a standby that lagged behind: rows that were
// settled are pending again there, and this node has forgotten them. The node then gives up
// everything that it holds, so that it can be taken over, and continues as a new node that
// has read nothing yet.
func (c *Cluster) recall(ctx context.Context, conn *connection) error {
	if conn.acknowledged == 0 {
		return nil
	}
	var number int64
	err := conn.QueryRow(ctx, "SELECT coalesce(max(number), 0) FROM node_writes WHERE epoch = $1 AND lane = $2", c.Epoch(), conn.index).Scan(&number)
	if err != nil || number >= conn.acknowledged {
		return err
	}
	c.log.Error("the database has forgotten writes that it had acknowledged: it is another one, or was set back", "lost_since", number, "acknowledged", conn.acknowledged)
	if err := conn.Run(ctx, "UPDATE nodes SET gone = true WHERE epoch = $1", c.Epoch()); err != nil {
		return err
	}
	c.changes = -1
	c.leaseOver.Store(true)
	return nil
}

// back records that the database answers.
func (c *Cluster) back() {
	if c.hooks.Writer.SetAway(false) {
		c.log.Info("the database is back")
	}
}

// notDurable refuses publishing until commits wait for the disk again. It closes the
// connection, because sessions may get the setting when they start.
func (c *Cluster) notDurable(conn *connection, err error) {
	if c.hooks.Writer.SetAway(true) {
		c.log.Error("the database would not keep what it acknowledges: publishing is refused until it does", "error", shown(err))
	}
	conn.Disconnect()
}
