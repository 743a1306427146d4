package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// mostLines bounds the changes that are read one by one. After more changes, or after a
// gap, everything in memory is read again.
const mostLines = 10_000

// Connections returns how many transactions may be open at once.
func (c *Cluster) Connections() int { return len(c.connections) }

// Begin opens a transaction after it has brought the node up to date. If the lease is over
// while commits are in progress, it returns batch.ErrDrain so that they finish first,
// because they were sent under the old epoch.
func (c *Cluster) Begin() (sqltext.Conn, error) {
	if c.leaseOver.Load() {
		for _, conn := range c.connections {
			if conn.busy {
				return nil, batch.ErrDrain
			}
		}
		if err := c.registerAgain(); err != nil {
			return nil, err
		}
	}
	conn := c.free()
	if conn == nil {
		return nil, batch.ErrDrain
	}
	if c.stale.Load() {
		if err := c.refresh(conn); err != nil {
			return nil, sqltext.Wrap("read configuration", err)
		}
	}
	if err := conn.Begin(); err != nil {
		return nil, err
	}
	return conn, nil
}

func (c *Cluster) free() *connection {
	for _, conn := range c.connections {
		if !conn.busy {
			return conn
		}
	}
	return nil
}

// registerAgain continues under a new epoch after other nodes took over the work of this
// one. Jobs of the old epoch in memory are no longer attempted (see Holds).
func (c *Cluster) registerAgain() error {
	ctx, cancel := withTimeout(connectFor)
	defer cancel()
	old := c.Epoch()
	if err := c.register(ctx); err != nil {
		return fmt.Errorf("register again: %w", err)
	}
	c.leaseOver.Store(false)
	c.stale.Store(true)
	c.log.Warn("the lease was over and other nodes took this node's work: it goes on as a new node", "epoch_before", old, "epoch", c.Epoch())
	return nil
}

// refresh brings the node's memory up to date with the current configuration.
func (c *Cluster) refresh(conn *connection) error {
	if err := conn.Begin(); err != nil {
		return err
	}
	defer conn.Rollback()
	var version, newest int64
	var changes sqltext.Changes
	if _, err := sqltext.ReadRow(background, conn, "SELECT version, news, floor FROM config", nil, &version, &newest, sqltext.Blob(changes.Floor[:])); err != nil {
		return err
	}
	lines, err := sqltext.Collect(background, conn, scanChange,
		"SELECT node, kind, mode, tenant, event, endpoint FROM news WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?", c.changes, newest, mostLines)
	if err != nil {
		return sqltext.Wrap("read changes", err)
	}
	if changes.All = int64(len(lines)) != newest-c.changes; changes.All {
		select {
		case c.dead <- nil: // work whose changes are missing is found again
		default:
		}
	}
	me := c.Epoch()
	changes.Lines = slices.DeleteFunc(lines, func(l sqltext.Change) bool { return l.Node == me })
	if err := c.hooks.Changed(conn, changes); err != nil {
		return err
	}
	c.version, c.changes = version, newest
	c.stale.Store(false)
	c.seenVersion.Store(version)
	c.seenChanges.Store(newest)
	return nil
}

func scanChange(row sqltext.Scanner) (l sqltext.Change, err error) {
	err = row.Scan(&l.Node, &l.Kind, &l.Scope.Mode, &l.Scope.Tenant, sqltext.Blob(l.Ref.Event[:]), sqltext.Blob(l.Ref.Endpoint[:]))
	return l, err
}

// Commit commits a transaction. If the transaction executed no statement before, and the
// commit carries no change of configuration, no changes for other nodes and no holds,
// Commit returns with sent set while the commit is in progress; later then receives the
// outcome. Otherwise Commit waits for the answer.
func (c *Cluster) Commit(sc sqltext.Conn, with sqltext.Ending, later func(func() error)) (sent bool, err error) {
	conn := sc.(*connection)
	conn.number++
	conn.epoch = c.Epoch()
	alone := conn.Single() && !conn.Careful && !with.Config && len(with.Changes) == 0 && len(with.Holds) == 0
	commit := conn.End(postgres.Guard{Epoch: conn.epoch, Writer: conn.index, Number: conn.number, Version: c.version, Durable: c.opts.Durable}, with)
	if len(with.Holds) > 0 {
		defer c.stale.Store(true) // the floor of ids has risen
	}
	conn.sentAt.Store(max(1, c.sinceStart()))
	if !alone {
		err := commit.Send()
		conn.sentAt.Store(0)
		if err == nil {
			c.setCareful(false)
		}
		return false, c.answered(conn, commit, err)
	}
	conn.busy = true
	number := conn.number
	go func() {
		err := commit.Send()
		conn.sentAt.Store(0)
		later(func() error {
			conn.busy, conn.number = false, max(conn.number, number)
			return c.answered(conn, commit, err)
		})
	}()
	return true, nil
}

// answered processes the answer to a commit.
func (c *Cluster) answered(conn *connection, commit *postgres.Commit, err error) error {
	if err != nil {
		if postgres.State(err) == postgres.NotDurable {
			c.notDurable(conn, err)
		}
		return err
	}
	conn.Ended()
	conn.acknowledged = max(conn.acknowledged, conn.number)
	c.back()
	c.version = max(c.version, commit.Version())
	c.seenVersion.Store(c.version)
	return nil
}

// Rollback ends a transaction without a commit.
func (c *Cluster) Rollback(sc sqltext.Conn) { sc.(*connection).Rollback() }

func parseEpochs(list string) []int64 {
	var epochs []int64
	for word := range strings.SplitSeq(list, ",") {
		if n, err := strconv.ParseInt(word, 10, 64); err == nil {
			epochs = append(epochs, n)
		}
	}
	slices.SortFunc(epochs, cmp.Compare)
	return epochs
}
