package doctor

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/transfer"
)

// Limits of what the doctor considers normal on PostgreSQL.
const (
	databaseSkewWarns  = 2 * time.Second
	holderTransactions = 1_000_000
	partitionsWarn     = 3 // days ahead
	deadWarns          = 100_000
)

// checkPostgres examines the data directory of this node, if one is given, and the database.
func (p *doctorPlan) checkPostgres(ctx context.Context, c *checkup) {
	key := p.masterKey
	if p.data != "" {
		info, err := os.Stat(p.data)
		if err != nil || !info.IsDir() {
			c.fail("data", "%s is not a directory; \"posthorn serve\" makes it at its first start", p.data)
			return
		}
		c.directory(p.data, info)
		key = cmp.Or(key, filepath.Join(p.data, "master.key"))
		c.lock(filepath.Join(p.data, "node.lock"))
		c.space(p.data)
	}
	var keys *seal.Keyring
	if key != "" || p.ready != nil || p.readyErr != nil {
		keys = p.keys(c, key, "")
	}
	ctx, cancel := context.WithTimeout(ctx, 6*p.timeout)
	defer cancel()
	x, err := transfer.Examine(ctx, p.store, keys)
	if err != nil {
		c.fail("postgres", "%v", err)
		return
	}
	c.postgres(x)
	c.databaseSchema(x, key, keys != nil)
	c.databaseClock(x)
	c.holders(x, p.holderAge)
	if x.Schema > 0 {
		if x.Schema == x.Ours {
			c.auditInPostgres(ctx, p.store, p.auditMost())
		}
		if keys != nil && x.KeyFits && x.Schema == x.Ours {
			c.sealedInPostgres(ctx, p.store, keys)
		}
		c.nodes(x)
		c.partitions(x)
		c.ids(x.NewestEvent, time.Now().Add(x.ClockAhead))
		c.waste(x)
	}
}

func (c *checkup) postgres(x *transfer.Examination) {
	on := func(name string) bool { return x.Settings[name] == "on" }
	synchronous := x.Settings["synchronous_commit"]
	switch {
	case x.TooOld:
		c.fail("postgres", "the server is PostgreSQL %s; Posthorn needs 15 or later", x.Version)
	case x.Standby:
		c.fail("postgres", "this is a standby, which cannot be written to; name the primary, or all hosts with target_session_attrs=read-write")
	case on("transaction_read_only"):
		c.fail("postgres", "default_transaction_read_only is on for this role or database: nothing can be written")
	default:
		c.ok("postgres", "PostgreSQL %s, writable", x.Version)
	}
	switch {
	case !on("fsync"):
		c.fail("durability", "fsync is off: a power cut may lose the whole database; set fsync = on")
	case synchronous != "on" && synchronous != "remote_apply":
		c.fail("durability", "synchronous_commit is %s: acknowledged events could be lost; set it to on for this role and database", synchronous)
	case !on("full_page_writes"):
		c.warn("durability", "full_page_writes is off: a power cut may damage the database unless the file system never tears a page; set it to on")
	default:
		c.ok("durability", "fsync and full_page_writes are on, synchronous_commit is %s", synchronous)
	}
	c.connections(x.Free, x.Connections)
}

func (c *checkup) connections(free, used int) {
	const each = postgres.ConnectionsANode
	switch more := free / each; {
	case more == 0:
		c.warn("connections", "%d in use, %d left, and a node opens %d: none more can start; raise max_connections or put PgBouncer in front", used, free, each)
	default:
		c.ok("connections", "%d in use, %d left: enough for %d more nodes of %d each", used, free, more, each)
	}
}

func (c *checkup) databaseSchema(x *transfer.Examination, key string, haveKey bool) {
	switch {
	case x.Schema == 0:
		c.ok("schema", "none yet; it is made by the first node that starts, or by \"posthorn migrate\"")
	case x.Schema > x.Ours:
		c.fail("schema", "the database has schema %d, this release knows %d: use the newer release", x.Schema, x.Ours)
	case x.Schema < x.Ours:
		c.ok("schema", "the database has schema %d; the next start of this release brings it to %d", x.Schema, x.Ours)
	default:
		c.ok("schema", "the database has schema %d", x.Schema)
	}
	switch {
	case x.KeyChecked && !x.KeyFits:
		c.fail("key_fits", "%s is not the master key that sealed the secrets in the database; copy that of a node that works", key)
	case x.KeyChecked:
		c.ok("key_fits", "the master key is the one that sealed the secrets in the database")
	case x.Schema > 0 && key != "" && !haveKey:
		c.fail("key_fits", "there is no usable master key at %s, and the database was sealed with one; copy that of a node that works", key)
	}
}

func (c *checkup) databaseClock(x *transfer.Examination) {
	switch ahead := x.ClockAhead.Round(10 * time.Millisecond); {
	case ahead.Abs() > time.Hour+x.ClockError:
		c.fail("db_clock", "the database's clock is %v ahead of this machine's: no node starts here; set both by NTP", ahead)
	case ahead.Abs() > databaseSkewWarns+x.ClockError:
		c.warn("db_clock", "the database's clock is %v ahead of this machine's; set both by NTP", ahead)
	default:
		c.ok("db_clock", "the database's clock agrees with this machine's within %v", max(ahead.Abs(), 10*time.Millisecond))
	}
}

// undone is the longest time for which the work of a lost node may wait until another node
// takes it.
const undone = time.Minute

func (c *checkup) nodes(x *transfer.Examination) {
	alive, left := 0, 0
	for _, n := range x.Nodes {
		switch {
		case n.Alive:
			alive++
		case !n.Done && n.Silent > undone:
			left++
		}
	}
	for _, n := range x.Nodes {
		if n.Alive && n.Version != build.Version() {
			c.warn("nodes", "node %s (epoch %d) runs version %s, this command is %s", n.Name, n.Epoch, n.Version, build.Version())
		}
	}
	switch {
	case alive > 0 && left > 0:
		c.warn("nodes", "%d alive; the work of %d that are gone was not taken over within %v: look for \"take over\" in the logs of the nodes", alive, left, undone)
	case alive == 0 && left > 0:
		c.warn("nodes", "none is alive; what %d had in memory is taken over by the next one that starts", left)
	case alive == 0:
		c.warn("nodes", "none is alive: nothing is delivered until one starts")
	default:
		c.ok("nodes", "%d alive, all work of others was taken over", alive)
	}
}

func (c *checkup) partitions(x *transfer.Examination) {
	old := ""
	if x.OldInDefault {
		old = "; the default partition holds what is kept for longer than its own"
	}
	switch {
	case x.InDefault > 0:
		c.warn("partitions", "%d events are in the default partition for want of one of their day, where they are not dropped as a whole; were all nodes away, or is the clock of one wrong?", x.InDefault)
	case x.PartitionsAhead < partitionsWarn:
		c.warn("partitions", "made for %d days from today on: the nodes should be further ahead; look for \"make partitions\" in their logs%s", x.PartitionsAhead, old)
	default:
		c.ok("partitions", "made for %d days from today on%s", x.PartitionsAhead, old)
	}
}

func (c *checkup) waste(x *transfer.Examination) {
	last := "never yet"
	if !x.Vacuumed.IsZero() {
		last = time.Since(x.Vacuumed).Round(time.Second).String() + " ago"
	}
	switch {
	case x.Settings["autovacuum"] != "on" || x.Settings["track_counts"] != "on":
		c.fail("vacuum", "autovacuum or track_counts is off: deliveries get slower with every day; set both to on")
	case x.Dead > deadWarns && x.Dead > x.Live/5:
		c.warn("vacuum", "deliveries have %d dead rows to %d live ones, vacuumed %s: see who holds them (holder), or give autovacuum more to do (autovacuum_vacuum_cost_limit)", x.Dead, x.Live, last)
	default:
		c.ok("vacuum", "deliveries have %d dead rows to %d live ones, vacuumed %s", x.Dead, x.Live, last)
	}
}

// holders reports what prevents old rows from being removed for too long.
func (c *checkup) holders(x *transfer.Examination, longest time.Duration) {
	old := 0
	for _, h := range x.Holders {
		if h.Age < longest && h.Transactions < holderTransactions {
			continue
		}
		old++
		c.warn("holder", "%s: vacuum removes nothing that was deleted since; %s", who(h), remedy(h))
	}
	hidden := ""
	if x.Hidden > 0 {
		hidden = fmt.Sprintf("; %d sessions of other roles could not be looked into: GRANT pg_read_all_stats to this one", x.Hidden)
	}
	switch {
	case old > 0:
	case x.Hidden > 0:
		c.warn("holder", "nobody seen holds vacuum back%s", hidden)
	default:
		c.ok("holder", "nobody holds vacuum back for longer than %v", longest)
	}
}

// who describes a holder without any text of its statements.
func who(h transfer.Holder) string {
	text := h.Kind
	if h.Name != "" {
		text += fmt.Sprintf(" %q", h.Name)
	}
	if h.PID != 0 {
		text += fmt.Sprintf(", process %d", h.PID)
	}
	if h.User != "" {
		text += ", role " + h.User
	}
	if h.State != "" {
		text += ", " + h.State
	}
	if h.Age > 0 {
		text += fmt.Sprintf(", for %v", h.Age.Round(time.Millisecond))
	}
	return text + fmt.Sprintf(", %d transactions behind", h.Transactions)
}

func remedy(h transfer.Holder) string {
	switch h.Kind {
	case "replication slot":
		if h.State == "inactive" {
			return fmt.Sprintf("nobody reads it: start its reader, or SELECT pg_drop_replication_slot('%s')", h.Name)
		}
		return "its reader is behind: look there"
	case "standby":
		return "a query runs there: end it, or set hot_standby_feedback = off on that standby"
	case "prepared transaction":
		return fmt.Sprintf("finish it: COMMIT PREPARED or ROLLBACK PREPARED '%s'", h.Name)
	}
	if h.State == "active" {
		return fmt.Sprintf("it works: wait, or SELECT pg_cancel_backend(%d)", h.PID)
	}
	return fmt.Sprintf("it was forgotten: SELECT pg_terminate_backend(%d), and set idle_in_transaction_session_timeout for its role", h.PID)
}
