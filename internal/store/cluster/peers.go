package cluster

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// changesFor is how long changes are kept for other nodes. The newest 1,000 are kept
// longer. A node that missed some reads everything again.
const changesFor = 10 * time.Minute

// Housekeep creates the partitions of the coming days and deletes changes and nodes that
// are no longer needed.
func (c *Cluster) Housekeep(ctx context.Context) error {
	if err := c.watchClock(ctx); err != nil {
		return err
	}
	if err := c.days.Make(ctx); err != nil {
		return err
	}
	db := c.read.DB
	if _, err := db.ExecContext(ctx, "DELETE FROM news WHERE at <= $1 AND seq <= (SELECT news FROM config) - 1000", sqltext.Micros(c.opts.Now().Add(-changesFor))); err != nil {
		return fmt.Errorf("forget changes: %w", err)
	}
	_, err := db.ExecContext(ctx, `WITH gone AS (DELETE FROM nodes WHERE done AND seen_at < clock_timestamp() - interval '1 day' RETURNING epoch)
		DELETE FROM node_writes w USING gone g WHERE w.epoch = g.epoch`)
	return sqltext.Wrap("forget nodes", err)
}

// Alike reports whether all live nodes run this node's release.
func (c *Cluster) Alike(ctx context.Context) (alike bool, err error) {
	err = c.read.DB.QueryRowContext(ctx, "SELECT NOT EXISTS (SELECT 1 FROM nodes WHERE version <> $1 AND "+alive+")", c.opts.Version).Scan(&alike)
	return alike, sqltext.Wrap("compare releases of nodes", err)
}

// DropDays drops the partitions that are older than until. It returns the tables of events
// from which the remaining rows must be deleted page by page. It drops nothing and returns
// none if the clocks differ.
func (c *Cluster) DropDays(ctx context.Context, until time.Time) ([]string, error) {
	if apart, err := c.apart(ctx, c.read.DB); err != nil || apart.Abs() > clockApart {
		return nil, err // watchClock has logged it
	}
	return c.days.Drop(ctx, until)
}

// Scrub vacuums the tables gently, which frees the space of deleted rows for new ones.
// PostgreSQL may keep the bytes in its files until then, and in its log.
func (c *Cluster) Scrub(ctx context.Context, tables []string, write func(int, func(sqltext.Conn) error) error) (done bool, err error) {
	if write == nil {
		return true, nil
	}
	conn, err := c.read.DB.Conn(ctx)
	if err != nil {
		return false, fmt.Errorf("vacuum: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(ctx, "SET vacuum_cost_delay = 2"); err != nil {
		return false, fmt.Errorf("vacuum: %w", err)
	}
	_, err = conn.ExecContext(ctx, "VACUUM (SKIP_LOCKED) "+strings.Join(tables, ", "))
	_, again := conn.ExecContext(context.WithoutCancel(ctx), "RESET vacuum_cost_delay")
	return err == nil, sqltext.Wrap("vacuum", errors.Join(err, again))
}

// Shrink does nothing: PostgreSQL gives space back itself, with whole days of partitions
// and with empty pages at the end of a table.
func (c *Cluster) Shrink(conn sqltext.Conn) (hook.Reclaimed, error) {
	out := hook.Reclaimed{Kept: "PostgreSQL keeps free space for new rows, after autovacuum. Whole days are given back when the retention drops them."}
	_, err := sqltext.ReadRow(background, conn, "SELECT pg_database_size(current_database())", nil, &out.Size)
	return out, sqltext.Wrap("read size of the database", err)
}

// clockApart is how far a node's clock may be from the database's. The ids of events carry
// the node's time. They determine in which partition an event is, what is older than the
// retention, and where a search by time starts and ends.
const clockApart = time.Hour

// apart returns how far this machine's clock is ahead of the database's. It returns 0 if
// Now is not the machine's clock.
func (c *Cluster) apart(ctx context.Context, db *sql.DB) (time.Duration, error) {
	if !c.opts.Machine() {
		return 0, nil
	}
	var theirs time.Time
	if err := db.QueryRowContext(ctx, "SELECT clock_timestamp()").Scan(&theirs); err != nil {
		return 0, fmt.Errorf("compare clocks: %w", err)
	}
	apart := c.opts.Now().Sub(theirs)
	c.clockAhead.Store(int64(apart))
	return apart, nil
}

// refuseOtherTime returns an error at start if the clock is far from the database's.
func (c *Cluster) refuseOtherTime(ctx context.Context) error {
	apart, err := c.apart(ctx, c.control)
	switch {
	case err != nil:
		return postgres.Refused(postgres.StartError(err))
	case apart.Abs() > clockApart:
		return postgres.Refused(fmt.Errorf("this machine's clock is %s the database's, so events would get ids of a wrong time; set both by NTP and start again", aheadOrBehind(apart)))
	}
	return nil
}

// watchClock logs an error if the clocks differ. In that case nothing is dropped by age.
func (c *Cluster) watchClock(ctx context.Context) error {
	apart, err := c.apart(ctx, c.read.DB)
	if apart.Abs() > clockApart {
		c.log.Error("the clocks of this machine and of the database differ: new events get ids of a wrong time, lists by time miss them, and nothing is dropped by age; set both by NTP",
			"apart", apart.Round(time.Second).String())
	}
	return err
}

func aheadOrBehind(apart time.Duration) string {
	if apart < 0 {
		return apart.Abs().Round(time.Second).String() + " behind"
	}
	return apart.Round(time.Second).String() + " ahead of"
}

// Abandoned returns the dead nodes whose work no node has taken over.
func (c *Cluster) Abandoned(ctx context.Context) ([]sqltext.Abandoned, error) {
	epochs, err := sqltext.Collect(ctx, c.read, func(row sqltext.Scanner) (n int64, err error) { err = row.Scan(&n); return n, err },
		"SELECT n.epoch FROM nodes n WHERE NOT n.done AND n.epoch <> ? AND "+abandoned+" ORDER BY n.epoch", c.Epoch())
	if err != nil {
		return nil, fmt.Errorf("look for dead nodes: %w", err)
	}
	return workOf(epochs), nil
}

// workOf returns the work of the nodes with the given epochs, nil if there are none.
func workOf(epochs []int64) []sqltext.Abandoned {
	var all []sqltext.Abandoned
	for _, epoch := range epochs {
		all = append(all, sqltext.Abandoned{Epoch: epoch, Rows: fmt.Sprintf("owner = %d", epoch),
			Tests: fmt.Sprintf("owner IN (0, %d)", epoch), Shots: fmt.Sprintf("owner = %d", epoch)})
	}
	return all
}

// TakeOver marks a dead node's row inside a transaction. It reports whether its work now
// belongs to this node; another node may have been first. Until Done is called, the work
// that was not taken is left to this node's next check, or to the node that finds this one
// dead.
func (c *Cluster) TakeOver(conn sqltext.Conn, epoch int64) (name string, mine bool, err error) {
	// Writes that the node is just committing finish first. No later write finds the node
	// alive.
	if _, err := conn.Exec("SELECT pg_advisory_xact_lock(7596481, 1)"); err != nil {
		return "", false, fmt.Errorf("lock nodes: %w", err)
	}
	n, err := conn.Exec("UPDATE nodes n SET taker = ? WHERE n.epoch = ? AND NOT n.done AND (n.taker = ? OR "+abandoned+")",
		c.Epoch(), epoch, c.Epoch()) // includes a takeover that this node did not finish
	if err != nil || n == 0 {
		return "", false, sqltext.Wrap("take over node", err)
	}
	_, err = sqltext.ReadRow(background, conn, "SELECT name FROM nodes WHERE epoch = ?", []any{epoch}, &name)
	return name, true, sqltext.Wrap("read node", err)
}

// Done marks takeovers as finished, inside a transaction.
func (c *Cluster) Done(conn sqltext.Conn, epochs []int64) error {
	_, err := conn.Exec("UPDATE nodes SET done = true WHERE taker = ? AND epoch = ANY(?)", c.Epoch(), epochs)
	return sqltext.Wrap("end takeover", err)
}
