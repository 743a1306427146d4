package cluster

import (
	"database/sql"

	"github.com/posthorn/posthorn/internal/store/postgres"
)

// The functions below exist for the tests of the store, which observe a node from outside
// and make it fail.

// Writers returns the connections that write. Only the writer may use them.
func (c *Cluster) Writers() []*postgres.Conn {
	var all []*postgres.Conn
	for _, conn := range c.connections {
		all = append(all, conn.Conn)
	}
	return all
}

// Control returns the connection that renews the lease.
func (c *Cluster) Control() *sql.DB { return c.control }

// Halt ends the goroutines that keep the node alive, as a crash does. Its row stays.
func (c *Cluster) Halt() {
	c.stop()
	c.loops.Wait()
}

// UpToDate reports whether the node has read all changes, so that its next write sends only
// a commit.
func (c *Cluster) UpToDate() bool { return !c.stale.Load() && c.seenChanges.Load() > 0 }

// Forget makes the node read the changes before its next write. If lease is true, the node
// also registers again.
func (c *Cluster) Forget(lease bool) {
	c.stale.Store(true)
	if lease {
		c.leaseOver.Store(true)
	}
}

// Waiting reports whether a commit was sent and not yet answered.
func (c *Cluster) Waiting() bool {
	for _, conn := range c.connections {
		if conn.sentAt.Load() != 0 {
			return true
		}
	}
	return false
}

// Version returns the version of the configuration that the node has in memory.
func (c *Cluster) Version() int64 { return c.seenVersion.Load() }

// GiveUp is the statement that reads the number of a write and prevents it if it was not
// committed.
const GiveUp = giveUp
