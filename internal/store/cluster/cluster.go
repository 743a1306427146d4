// Package cluster makes a process one node among others that share a PostgreSQL
// database: its lease, the connections that write under it, the version of the
// configuration in memory, and which nodes are dead.
//
// The lease is the node's row in the table nodes. Others may take its work once the row
// is older than the lease by the database's clock; every commit checks the row, so a
// node whose work was taken writes nothing. The node itself counts from before it asked,
// on its monotonic clock, so it stops attempting no later than others may begin.
//
// It promises that no write of a node whose lease is over is committed, that the answer
// to a commit that was lost is found out ([Cluster.Find]) before anything depends on it,
// and that a change of configuration is known before the next commit that depends on it.
// It decides nothing about events, and takes no work over by itself: [Hooks] does.
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
	// interval is how often a node looks at the configuration and at the other nodes.
	interval = 500 * time.Millisecond
	// silence is how long a commit may go without an answer before callers are refused.
	silence = 2 * time.Second
	// connectFor bounds one attempt to connect.
	connectFor = 3 * time.Second
)

var background = context.Background()

// Options of Open. All but Dir are required.
type Options struct {
	URL     string
	Dir     string // gives the node its name; empty: it gets one that nobody had
	Lease   time.Duration
	Version string // of the release, for operators
	Durable bool   // commits wait for the disk
	Keys    *seal.Keyring
	Now     func() time.Time
	Machine func() bool // whether Now is this machine's clock, which has to agree with the database's
	Log     *slog.Logger
}

// Hooks are what the cluster needs of those above it.
type Hooks struct {
	// Changed is told on the writer, between two transactions, what other nodes changed.
	// It may read through the connection.
	Changed func(c sqltext.Conn, changes sqltext.Changes) error
	// TakeOver takes over the work of dead nodes and learns what waits; with nil only the
	// latter. It is called from one goroutine of the cluster's.
	TakeOver func(ctx context.Context, left []sqltext.Abandoned) error
	// Writer is the one under which Begin and Commit are called.
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
	name  string   // of the node: that of its data directory
	start int64    // of the clock that goes on while the machine sleeps
	lock  *os.File // of the data directory; nil: there is none
	floor hook.ID
	days  postgres.Days

	config      *pgx.ConnConfig
	read        *sqltext.Reader
	control     *sql.DB // for the lease
	connections [postgres.Writers]*connection

	// The writer's alone.
	version int64 // of the configuration in memory
	changes int64 // lines read so far

	epoch                    atomic.Int64
	seenVersion, seenChanges atomic.Int64 // copies for the heartbeat
	renewed                  atomic.Int64 // when the lease was renewed last, since start
	nodes                    atomic.Int64 // that are alive, this one included
	stale                    atomic.Bool  // the configuration is to be read before the next write
	leaseOver                atomic.Bool  // the node is to register again before the next write

	look  chan struct{} // the heartbeat is to look now
	dead  chan []int64
	loops sync.WaitGroup
	stop  context.CancelFunc
}

// connection is one that writes, with the numbers of its writes.
type connection struct {
	*postgres.Conn
	index  int64 // among the node's
	number int64 // of the last write that was begun
	// acknowledged is the number of the last write that the database answered.
	acknowledged int64
	epoch        int64        // under which the last write was begun
	busy         bool         // a commit is on its way
	sentAt       atomic.Int64 // when the commit was sent that is not answered; 0: none
}

// Epoch returns the number of this registration; it is the owner of the deliveries that
// this node holds in memory.
func (c *Cluster) Epoch() int64 { return c.epoch.Load() }

// Floor returns an id below every one that may still be given, as of the start.
func (c *Cluster) Floor() hook.ID { return c.floor }

// Reader returns the connections that read.
func (c *Cluster) Reader() *sqltext.Reader { return c.read }

// Shared is true: other nodes change the rows too.
func (c *Cluster) Shared() bool { return true }

// Nodes returns how many nodes share the database now, at least 1.
func (c *Cluster) Nodes() int { return max(1, int(c.nodes.Load())) }

// Holds reports whether jobs handed over under the epoch may still be attempted.
func (c *Cluster) Holds(epoch int64) bool {
	return epoch == c.Epoch() && !c.leaseOver.Load() && c.sinceStart()-c.renewed.Load() < int64(c.opts.Lease)
}

// sinceStart is in nanoseconds, of a clock that goes on while the machine sleeps.
func (c *Cluster) sinceStart() int64 { return bootTime() - c.start }

func bootTime() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return time.Now().UnixNano() // no Linux without that clock
	}
	return now.Nano()
}

// register makes a row for this node under a new epoch. What it held under an
// earlier one is no longer its own. Only the writer calls it, or Open.
func (c *Cluster) register(ctx context.Context) error {
	at := c.sinceStart()
	var epoch int64
	err := c.control.QueryRowContext(ctx, `INSERT INTO nodes (epoch, name, version, started_at, seen_at, lease)
		VALUES (nextval('node_epochs'), $1, $2, clock_timestamp(), clock_timestamp(), $3 * interval '1 millisecond') RETURNING epoch`,
		c.name, c.opts.Version, c.opts.Lease.Milliseconds()).Scan(&epoch)
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

// leave gives the lease up, so that others need not wait for its end.
func (c *Cluster) leave() {
	ctx, cancel := context.WithTimeout(background, connectFor)
	defer cancel()
	if _, err := c.control.ExecContext(ctx, "UPDATE nodes SET gone = true WHERE epoch = $1", c.Epoch()); err != nil {
		c.log.Warn("the lease could not be given up: other nodes wait for its end", "error", postgres.OneLine(err))
	}
}

// Close gives the lease up and closes the connections. The writer must have ended.
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

// Run starts what goes on beside the writer. It is called once, before the writer
// begins.
func (c *Cluster) Run(h Hooks) {
	c.hooks = h
	ctx, stop := context.WithCancel(background)
	c.stop = stop
	c.loops.Go(func() { c.heartbeat(ctx) })
	c.loops.Go(func() { c.takeOver(ctx) })
	c.loops.Go(func() { c.listen(ctx) })
	c.loops.Go(func() { c.watch(ctx) })
}

// heartbeat renews the lease and looks for changes and dead nodes.
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

// alive is true for a row of nodes whose lease is not over.
const alive = "taker = 0 AND NOT gone AND seen_at + lease >= clock_timestamp()"

// abandoned is true for a node n that is dead, or whose taker died before it was done.
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
		default: // a takeover is under way
		}
	}
	return nil
}

// probe has something committed while callers are refused: only a commit proves that
// the database is back.
func (c *Cluster) probe() {
	if !c.hooks.Writer.Away() {
		return
	}
	for _, conn := range c.connections {
		if conn.sentAt.Load() != 0 {
			return // one is on its way
		}
	}
	c.hooks.Writer.Probe()
}

// takeOver has the work of dead nodes taken over, beside the heartbeat, which must not
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

// watch refuses callers while a commit gets no answer, as when the synchronous standby
// is away: the writer itself can only wait.
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

// listen waits for notifications, which make changes known at once. They are a hint:
// a pooler may swallow them, and the heartbeat looks twice a second anyway.
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

// hear returns when the connection ends.
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

// Class says what an error means for a batch.
func (c *Cluster) Class(err error) batch.Class { return postgres.Class(err) }

// MakeRoom is of no use: the disk is the server's.
func (c *Cluster) MakeRoom() bool { return false }

// Find tells whether the last commit of a connection took place whose answer was lost.
// The connection's row in node_writes says so: a write that holds its lock is waited
// for, and one that has not come so far is given up.
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
			// The database does not know this node: it is another one, such as a standby
			// that was behind. What it does not know of was not committed there.
			c.leaseOver.Store(true)
			c.back()
			return false, nil
		}
		if lost = fmt.Errorf("ask for the last write: %w", err); !pause(interval/5, shown(lost)) {
			return false, fmt.Errorf("%w (%w)", errClosing, lost)
		}
	}
}

// errClosing says that nobody waits for the database any more.
var errClosing = errors.New("the store is being closed")

// giveUp asks for a write and, unless it was committed, sees to it that it never will be:
// a server that did not notice the loss of the connection may still be at it.
const giveUp = `UPDATE node_writes SET number = CASE WHEN number = $3 THEN number ELSE greatest(number, $3 + 1) END
	WHERE epoch = $1 AND lane = $2 RETURNING number`

// shown is an error of the connection as operators may see it.
func shown(err error) error { return errors.New(postgres.OneLine(postgres.StartError(err))) }

// Mend does what a batch needs that failed for a reason beyond it.
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
	default: // others changed something: at best what is in memory
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

// reconnect waits for the database.
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

// connect connects what is not connected. A connection that is busy says for itself
// what became of it.
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

// recall finds out whether the database still knows what it answered. One that does not
// is another one, such as a standby that was behind: rows that were settled are pending
// again there, and this node has forgotten them. So it gives up all that it holds, for
// whoever takes it over, and goes on as a new node that has read nothing yet.
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

// back notes that the database answers.
func (c *Cluster) back() {
	if c.hooks.Writer.SetAway(false) {
		c.log.Info("the database is back")
	}
}

// notDurable refuses publishing until a commit would wait for the disk again. The
// setting may be one that sessions begin with, so this one ends.
func (c *Cluster) notDurable(conn *connection, err error) {
	if c.hooks.Writer.SetAway(true) {
		c.log.Error("the database would not keep what it acknowledges: publishing is refused until it does", "error", shown(err))
	}
	conn.Disconnect()
}
