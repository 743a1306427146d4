package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// changesFor is how long nodes can read what they told each other, the latest lines
// longer. A node that missed some reads everything again.
const changesFor = 10 * time.Minute

// Housekeep makes the partitions of the days to come and forgets what no node needs.
func (c *Cluster) Housekeep(ctx context.Context) error {
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

// DropDays drops the partitions that are older than the moment, and returns the tables
// of events from which the rest is to be dropped page by page.
func (c *Cluster) DropDays(ctx context.Context, until time.Time) ([]string, error) {
	return c.days.Drop(ctx, until)
}

// ClockApart returns by how much the clock now is ahead of the database's.
func (c *Cluster) ClockApart(ctx context.Context, now func() time.Time) (time.Duration, error) {
	var theirs time.Time
	if err := c.read.DB.QueryRowContext(ctx, "SELECT clock_timestamp()").Scan(&theirs); err != nil {
		return 0, fmt.Errorf("compare clocks: %w", err)
	}
	return now().Sub(theirs), nil
}

// Abandoned lists the dead nodes whose work nobody has taken over.
func (c *Cluster) Abandoned(ctx context.Context) ([]sqltext.Abandoned, error) {
	epochs, err := sqltext.Collect(ctx, c.read, func(row sqltext.Scanner) (n int64, err error) { err = row.Scan(&n); return n, err },
		"SELECT n.epoch FROM nodes n WHERE NOT n.done AND n.epoch <> ? AND "+abandoned+" ORDER BY n.epoch", c.Epoch())
	if err != nil {
		return nil, fmt.Errorf("look for dead nodes: %w", err)
	}
	return WorkOf(epochs), nil
}

// WorkOf returns the work of nodes by their epochs.
func WorkOf(epochs []int64) []sqltext.Abandoned {
	var all []sqltext.Abandoned
	for _, epoch := range epochs {
		all = append(all, sqltext.Abandoned{Epoch: epoch, Rows: fmt.Sprintf("owner = %d", epoch),
			Tests: fmt.Sprintf("owner IN (0, %d)", epoch), Shots: fmt.Sprintf("owner = %d", epoch)})
	}
	return all
}

// TakeOver marks a dead node's row, inside a transaction, and reports whether its work
// is this node's: another one may have been first. Until Done is called, what is not
// taken is left to this node's next look, or to whoever finds this one dead.
func (c *Cluster) TakeOver(conn sqltext.Conn, epoch int64) (name string, mine bool, err error) {
	// Writes that the node is just ending come first; no later one finds it alive.
	if _, err := conn.Exec("SELECT pg_advisory_xact_lock(7596481, 1)"); err != nil {
		return "", false, fmt.Errorf("lock nodes: %w", err)
	}
	n, err := conn.Exec("UPDATE nodes n SET taker = ? WHERE n.epoch = ? AND NOT n.done AND (n.taker = ? OR "+abandoned+")",
		c.Epoch(), epoch, c.Epoch()) // a takeover that this node began and did not end counts too
	if err != nil || n == 0 {
		return "", false, sqltext.Wrap("take over node", err)
	}
	_, err = sqltext.ReadRow(background, conn, "SELECT name FROM nodes WHERE epoch = ?", []any{epoch}, &name)
	return name, true, sqltext.Wrap("read node", err)
}

// Done ends takeovers, inside a transaction.
func (c *Cluster) Done(conn sqltext.Conn, epochs []int64) error {
	_, err := conn.Exec("UPDATE nodes SET done = true WHERE taker = ? AND epoch = ANY(?)", c.Epoch(), epochs)
	return sqltext.Wrap("end takeover", err)
}

// TakenOver counts takeovers that ended.
func (c *Cluster) TakenOver(n int) { c.takeovers.Add(int64(n)) }
