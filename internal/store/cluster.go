package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	// beat is how often a node looks at the configuration and at the other nodes.
	beat = 500 * time.Millisecond
	// outageAfter is how long callers wait for a database that is away before they
	// are told so.
	outageAfter = time.Second
	// fullNews is how many news are read one by one; after more, or after a gap,
	// everything in memory is read again.
	fullNews = 10_000
)

// cluster is this node among those that share a PostgreSQL database: its lease, the
// version of the configuration it knows, and the work of dead nodes that it takes over.
//
// The lease is the node's row. Others may take its work once the row is older than
// the lease by the database's clock; every write checks the row, so a node whose work
// was taken writes nothing. The node itself counts from before it asked, on its
// monotonic clock, so it stops attempting no later than others may begin.
type cluster struct {
	store   *Store
	lanes   [lanes]*pg
	lease   time.Duration
	name    string // of the node: that of its data directory
	durable bool   // commits wait for the disk
	start   int64  // of the clock that goes on while the machine sleeps
	keeper  *sql.DB
	lock    *os.File // of the data directory; nil: there is none

	// The writer's alone.
	version int64 // of the configuration in memory
	careful bool  // moves are asked for one by one, for some rows are not as expected
	news    int64 // read so far
	stash   []*op // outcomes that came while the database was away

	seenVersion, seenNews atomic.Int64 // copies for the keeper
	renewed               atomic.Int64 // when the lease was renewed last, since start
	nodes                 atomic.Int64 // that are alive, this one included
	stale                 atomic.Bool  // the configuration is to be read before the next write
	leaseOver             atomic.Bool  // the node is to register again before the next write
	outage                atomic.Bool  // the database is away
	staleSettles          atomic.Int64
	takeovers             atomic.Int64
	takenRows             atomic.Int64

	poke    chan struct{} // the keeper is to look
	wake    chan struct{} // the writer is to look at its flags
	dead    chan []int64
	closing chan struct{}
	loops   sync.WaitGroup
	stop    context.CancelFunc
}

// ClusterStats are numbers of a node among others. All are 0 on SQLite.
type ClusterStats struct {
	Nodes           int   // alive now
	Takeovers       int64 // of dead nodes, by this one
	TakenDeliveries int64 // that these had in memory
	StaleSettles    int64 // outcomes of jobs that were no longer this node's
}

// ClusterStats returns the numbers since the store was opened.
func (s *Store) ClusterStats() ClusterStats {
	c := s.cluster
	if c == nil {
		return ClusterStats{}
	}
	return ClusterStats{Nodes: int(c.nodes.Load()), Takeovers: c.takeovers.Load(), TakenDeliveries: c.takenRows.Load(), StaleSettles: c.staleSettles.Load()}
}

// Nodes returns how many nodes share the database now, at least 1.
func (s *Store) Nodes() int {
	if s.cluster == nil {
		return 1
	}
	return max(1, int(s.cluster.nodes.Load()))
}

// Holds reports whether a job that was handed over may be attempted: the lease under
// which it was handed over is not over. An attempt that is not made for that reason
// is to be settled as skipped.
func (s *Store) Holds(j *hook.Job) bool {
	c := s.cluster
	return c == nil || j.Holder == s.Epoch() && !c.leaseOver.Load() && c.sinceStart()-c.renewed.Load() < int64(c.lease)
}

// sinceStart is in nanoseconds, of a clock that goes on while the machine sleeps.
func (c *cluster) sinceStart() int64 { return bootTime() - c.start }

func bootTime() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return time.Now().UnixNano() // no Linux without that clock
	}
	return now.Nano()
}

// register makes a row for this node under a new epoch. What it held under an
// earlier one is no longer its own. Only the writer calls it, or open.
func (c *cluster) register(ctx context.Context) error {
	at := c.sinceStart()
	var epoch int64
	err := c.keeper.QueryRowContext(ctx, `INSERT INTO nodes (epoch, name, version, started_at, seen_at, lease)
		VALUES (nextval('node_epochs'), $1, $2, clock_timestamp(), clock_timestamp(), $3 * interval '1 millisecond') RETURNING epoch`,
		c.name, c.store.opts.Version, c.lease.Milliseconds()).Scan(&epoch)
	if err != nil {
		return err
	}
	for _, lane := range c.lanes {
		lane.number, lane.acknowledged = 0, 0
		if _, err := c.keeper.ExecContext(ctx, "INSERT INTO node_writes (epoch, lane, number) VALUES ($1, $2, 0)", epoch, lane.lane); err != nil {
			return err
		}
	}
	c.store.epoch.Store(epoch)
	c.renewed.Store(at)
	return nil
}

// leave gives the lease up, so that others need not wait for its end.
func (c *cluster) leave() {
	ctx, cancel := context.WithTimeout(background, connectFor)
	defer cancel()
	if _, err := c.keeper.ExecContext(ctx, "UPDATE nodes SET gone = true WHERE epoch = $1", c.store.Epoch()); err != nil {
		c.store.log.Warn("the lease could not be given up: other nodes wait for its end", "error", oneLine(err))
	}
}

func (c *cluster) close() error {
	if c.stop != nil {
		c.stop()
	}
	c.loops.Wait()
	var errs []error
	if c.keeper != nil {
		if c.store.Epoch() != 0 {
			c.leave()
		}
		errs = append(errs, c.keeper.Close())
	}
	for _, lane := range c.lanes {
		errs = append(errs, lane.close())
	}
	if c.lock != nil {
		errs = append(errs, c.lock.Close())
	}
	return errors.Join(errs...)
}

// run starts what goes on beside the writer.
func (c *cluster) run() {
	ctx, stop := context.WithCancel(background)
	c.stop = stop
	c.loops.Go(func() { c.keep(ctx) })
	c.loops.Go(func() { c.take(ctx) })
	c.loops.Go(func() { c.listen(ctx) })
	c.loops.Go(func() { c.watch(ctx) })
}

// keep renews the lease and looks for changes and dead nodes.
func (c *cluster) keep(ctx context.Context) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-c.poke:
		}
		asking, cancel := context.WithTimeout(ctx, min(connectFor, c.lease/4))
		if err := c.look(asking); err != nil && ctx.Err() == nil {
			c.store.log.Debug("look at the other nodes", "error", oneLine(err))
		}
		cancel()
	}
}

const lookAround = `SELECT c.version, c.news,
	(SELECT count(*) FROM nodes WHERE ` + alive + `),
	(SELECT coalesce(string_agg(n.epoch::text, ','), '') FROM nodes n WHERE NOT n.done AND n.epoch <> $1 AND (n.taker = $1 OR ` + abandoned + `))
	FROM config c`

// alive is true for a row of nodes whose lease is not over.
const alive = "taker = 0 AND NOT gone AND seen_at + lease >= clock_timestamp()"

// abandoned is true for a node n that is dead, or whose taker died before it was done.
const abandoned = `(n.taker = 0 AND (n.gone OR n.seen_at + n.lease < clock_timestamp()) OR n.taker <> 0 AND NOT EXISTS
	(SELECT 1 FROM nodes k WHERE k.epoch = n.taker AND k.taker = 0 AND NOT k.gone AND k.seen_at + k.lease >= clock_timestamp()))`

func (c *cluster) look(ctx context.Context) error {
	me := c.store.Epoch()
	if at := c.sinceStart(); at-c.renewed.Load() > int64(c.lease)/5 {
		result, err := c.keeper.ExecContext(ctx, "UPDATE nodes SET seen_at = clock_timestamp() WHERE epoch = $1 AND taker = 0", me)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err == nil && n == 0 {
			if me == c.store.Epoch() {
				c.leaseOver.Store(true)
				c.wakeWriter()
			}
			return nil
		}
		if at > c.renewed.Load() && me == c.store.Epoch() {
			c.renewed.Store(at)
		}
	}
	var version, news, nodes int64
	var dead string
	if err := c.keeper.QueryRowContext(ctx, lookAround, me).Scan(&version, &news, &nodes, &dead); err != nil {
		return err
	}
	c.nodes.Store(nodes)
	if c.outage.Load() {
		c.probe()
	}
	if version != c.seenVersion.Load() || news != c.seenNews.Load() {
		c.stale.Store(true)
		c.wakeWriter()
	}
	if dead != "" {
		select {
		case c.dead <- parseEpochs(dead):
		default: // it is at it
		}
	}
	return nil
}

// wakeWriter makes the writer look at its flags.
func (c *cluster) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// probe makes the writer commit something while publishing is refused: only a commit
// proves that the database is back.
func (c *cluster) probe() {
	for _, lane := range c.lanes {
		if lane.sentAt.Load() != 0 {
			return // it is at it
		}
	}
	o := &op{apply: func(t *tx) error { t.writes++; return nil }, done: make(chan struct{})}
	s := c.store
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return
	}
	select {
	case s.ops <- o:
	default: // others wait to be written
	}
}

// before brings the writer up to date.
func (c *cluster) before() error {
	if c.leaseOver.Load() {
		if err := c.registerAgain(); err != nil {
			return err
		}
	}
	if c.stale.Load() {
		return wrap("read configuration", c.refresh())
	}
	return nil
}

// registerAgain goes on under a new epoch after others took the work of this one:
// its jobs in memory are no longer attempted (see Holds).
func (c *cluster) registerAgain() error {
	ctx, cancel := context.WithTimeout(background, connectFor)
	defer cancel()
	c.store.landAll() // writes of the old epoch are asked for under it
	old := c.store.Epoch()
	if err := c.register(ctx); err != nil {
		return fmt.Errorf("register again: %w", err)
	}
	c.leaseOver.Store(false)
	c.stale.Store(true)
	c.store.log.Warn("the lease was over and other nodes took this node's work: it goes on as a new node",
		"epoch_before", old, "epoch", c.store.Epoch())
	return nil
}

// mend does what a write needs that failed for a reason beyond it, and reports
// whether to run it again.
func (c *cluster) mend(err error, batch []*op) bool {
	if c.store.engine.trouble(err) == broken {
		began := time.Now()
		c.store.log.Warn("connection to the database lost", "error", oneLine(err))
		if !c.reconnect(began, batch) {
			return false
		}
		c.store.log.Info("connected to the database again", "after", time.Since(began).Round(time.Millisecond).String())
		c.back()
		return true
	}
	switch pgState(err) {
	case stateLeaseOver:
		c.leaseOver.Store(true)
	case stateMovedByOthers:
		c.careful = true
	default: // others changed something: at best what is in memory
		c.stale.Store(true)
	}
	return true
}

// reconnect waits for the database. Callers do not wait that long: they are told
// that the store is away, whatever then becomes of their writes; outcomes wait. It
// returns false when the store is closed meanwhile.
func (c *cluster) reconnect(began time.Time, batch []*op) bool {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, beat) {
		err := c.connectLanes()
		if err == nil {
			return true
		}
		c.away(began, batch, err)
		select {
		case <-c.closing:
			return false
		case <-time.After(pause):
		}
	}
}

// away tells those who wait, once they have waited for some time.
func (c *cluster) away(began time.Time, batch []*op, err error) {
	if time.Since(began) < outageAfter {
		return
	}
	if !c.outage.Swap(true) {
		c.store.log.Error("the database is away: publishing is refused until it is back", "error", oneLine(startError(err)))
	}
	c.refuse(batch, err)
}

// notDurable refuses publishing until a commit would wait for the disk again. The
// setting may be one that sessions begin with, so this one ends.
func (c *cluster) notDurable(lane *pg, err error) {
	if !c.outage.Swap(true) {
		c.store.log.Error("the database would not keep what it acknowledges: publishing is refused until it does", "error", oneLine(startError(err)))
	}
	lane.disconnect()
}

// back notes that the database answers.
func (c *cluster) back() {
	if c.outage.Swap(false) {
		c.store.log.Info("the database is back")
	}
}

// watch refuses new writes while a commit gets no answer, as when the synchronous
// standby is away: the writer itself can only wait.
func (c *cluster) watch(ctx context.Context) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, lane := range c.lanes {
			if at := lane.sentAt.Load(); at != 0 && c.sinceStart()-at > int64(2*outageAfter) && !c.outage.Swap(true) {
				c.store.log.Error("the database does not answer a commit: publishing is refused until it does", "waited", time.Duration(c.sinceStart()-at).Round(beat).String())
			}
		}
	}
}

// connectLanes connects the lanes that are not connected. One that is busy says for
// itself what became of it.
func (c *cluster) connectLanes() error {
	ctx, cancel := context.WithTimeout(background, connectFor)
	defer cancel()
	for _, lane := range c.lanes {
		if !lane.busy && !lane.connected() {
			if err := lane.connect(ctx); err != nil {
				return err
			}
			if err := c.recall(ctx, lane); err != nil {
				lane.disconnect()
				return err
			}
		}
	}
	return nil
}

// recall finds out whether the database still knows what it answered. One that does not
// is another one, such as a standby that was behind: rows that were settled are pending
// again there, and this node has forgotten them. So it gives up all that it holds, for
// whoever takes it over, and goes on as a new node that has read nothing yet.
func (c *cluster) recall(ctx context.Context, lane *pg) error {
	if lane.acknowledged == 0 {
		return nil
	}
	var number int64
	err := lane.raw.QueryRow(ctx, "SELECT coalesce(max(number), 0) FROM node_writes WHERE epoch = $1 AND lane = $2", c.store.Epoch(), lane.lane).Scan(&number)
	if err != nil || number >= lane.acknowledged {
		return err
	}
	c.store.log.Error("the database has forgotten writes that it had acknowledged: it is another one, or was set back", "lost_since", number, "acknowledged", lane.acknowledged)
	if _, err := lane.raw.Exec(ctx, "UPDATE nodes SET gone = true WHERE epoch = $1", c.store.Epoch()); err != nil {
		return err
	}
	c.news = -1
	c.leaseOver.Store(true)
	return nil
}

// refuse answers those who wait: of the batch and in the queue.
func (c *cluster) refuse(batch []*op, err error) {
	for _, waiting := range [][]*op{batch, c.lanes[0].batch, c.lanes[1].batch} {
		for _, o := range waiting {
			if o.ctx != nil && !o.ended {
				o.err = errStorageDown(err)
				o.end()
			}
		}
	}
	for {
		select {
		case o, ok := <-c.store.ops:
			switch {
			case !ok:
				return
			case o.ctx != nil:
				o.err = errStorageDown(err)
				o.end()
			default:
				c.stash = append(c.stash, o)
			}
		default:
			return
		}
	}
}

// giveUp asks for a write and, unless it was committed, sees to it that it never will be:
// a server that did not notice the loss of the connection may still be at it.
const giveUp = `UPDATE node_writes SET number = CASE WHEN number = $3 THEN number ELSE greatest(number, $3 + 1) END
	WHERE epoch = $1 AND lane = $2 RETURNING number`

// committed finds out whether the last write was committed whose answer was lost. The
// lane's row says so: a write that holds its lock is waited for, and one that has not
// come so far is given up.
func (c *cluster) committed(lane *pg, batch []*op, cause error) (bool, error) {
	began := time.Now()
	c.store.log.Warn("the answer to a commit was lost", "error", oneLine(cause))
	for {
		if !c.reconnect(began, batch) {
			return false, errStorageDown(cause)
		}
		var number int64
		lane.wait()
		err := lane.raw.QueryRow(background, giveUp, lane.last.epoch, lane.lane, lane.last.number).Scan(&number)
		switch {
		case err == nil:
			c.back()
			lane.number = max(lane.number, number)
			return number == lane.last.number, nil
		case errors.Is(err, pgx.ErrNoRows):
			// The database does not know this node: it is another one, such as a standby
			// that was behind. What it does not know of was not committed there.
			c.leaseOver.Store(true)
			c.back()
			return false, nil
		}
		cause = fmt.Errorf("ask for the last write: %w", err)
		c.away(began, batch, cause)
		select {
		case <-c.closing:
			return false, errStorageDown(cause)
		case <-time.After(beat / 5):
		}
	}
}
