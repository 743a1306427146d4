package cluster

import (
	"database/sql"

	"github.com/posthorn/posthorn/internal/store/postgres"
)

// What follows is for tests of the store, which look at a node from outside and make it
// fail.

// Writers returns the connections that write. Only the writer may use them.
func (c *Cluster) Writers() []*postgres.Conn {
	var all []*postgres.Conn
	for _, conn := range c.connections {
		all = append(all, conn.Conn)
	}
	return all
}

// Control returns the connection for the lease.
func (c *Cluster) Control() *sql.DB { return c.control }

// Halt ends what keeps the node alive, as a crash does; its row stays.
func (c *Cluster) Halt() {
	c.stop()
	c.loops.Wait()
}

// UpToDate reports whether the node has read all changes, so that its next write is
// nothing but a commit.
func (c *Cluster) UpToDate() bool { return !c.stale.Load() && c.seenChanges.Load() > 0 }

// Forget makes the node read the changes before its next write, and with lease register
// again.
func (c *Cluster) Forget(lease bool) {
	c.stale.Store(true)
	if lease {
		c.leaseOver.Store(true)
	}
}

// Waiting reports whether a commit was sent that is not answered.
func (c *Cluster) Waiting() bool {
	for _, conn := range c.connections {
		if conn.sentAt.Load() != 0 {
			return true
		}
	}
	return false
}

// Version is the version of the configuration that the node has in memory.
func (c *Cluster) Version() int64 { return c.seenVersion.Load() }

// GiveUp is the statement that asks for a write and gives it up.
const GiveUp = giveUp
