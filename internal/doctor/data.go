package doctor

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/server"
	"github.com/posthorn/posthorn/internal/store/sqlite"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

func (p *doctorPlan) checkData(ctx context.Context, c *checkup) {
	if server.IsPostgres(p.store) {
		p.checkPostgres(ctx, c)
		return
	}
	database := p.database()
	dir := cmp.Or(p.data, filepath.Dir(database))
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && p.data == "" && p.store == "":
		c.warn("data", "there is no %s here; name the data directory with --data", dir)
		return
	case err != nil:
		c.fail("data", "%v; \"posthorn serve\" makes a data directory at its first start", err)
		return
	case !info.IsDir():
		c.fail("data", "%s is not a directory", dir)
		return
	}
	c.directory(dir, info)
	keys := p.keys(c, cmp.Or(p.masterKey, filepath.Join(dir, "master.key")), database)
	c.lock(database + ".lock")
	c.schema(ctx, database)
	c.sealedInFile(ctx, database, keys)
	c.auditInFile(ctx, database, p.auditMost())
	c.eventIDs(ctx, database)
	c.databaseLog(database)
	c.space(filepath.Dir(database))
}

// descriptors compares the descriptor limit of this process with what the budgets of
// attempts need. A server that is started in the same way has the same limit.
func (c *checkup) descriptors(have int) {
	cfg := &server.Config{}
	if err := cfg.Load(cfg.Flags(), ""); err != nil {
		cfg = &server.Config{} // "posthorn config" reports what is wrong; the defaults suffice here
		cfg.Flags()
	}
	if need := server.DescriptorsFor(cfg.Fast, cfg.Slow); have < need {
		c.warn("descriptors", "a process may have %d open here, and %d + %d attempts at once need %d; raise the limit (LimitNOFILE, ulimit -n) or lower --fast-attempts and --slow-attempts", have, cfg.Fast, cfg.Slow, need)
		return
	}
	c.ok("descriptors", "a process may have %d open here, enough for %d attempts at once", have, cfg.Fast+cfg.Slow)
}

func (c *checkup) directory(dir string, info fs.FileInfo) {
	mode := info.Mode().Perm()
	switch {
	case unix.Access(dir, unix.W_OK|unix.X_OK) != nil:
		c.fail("data", "%s cannot be written to by this user", dir)
	case mode&0o022 != 0:
		c.fail("data", "%s has mode %04o: others may replace the database; chmod 700", dir, mode)
	case mode&0o055 != 0:
		c.warn("data", "%s has mode %04o: others may look into it; chmod 700", dir, mode)
	default:
		c.ok("data", "%s, mode %04o", dir, mode)
	}
}

// keys reports what is wrong with the master key, and returns the key if it is usable.
func (p *doctorPlan) keys(c *checkup, path, database string) *seal.Keyring {
	switch {
	case p.readyErr != nil:
		c.fail("master_key", "%v", p.readyErr)
		return nil
	case p.ready != nil:
		c.ok("master_key", "%s", p.readyFrom)
		return p.ready
	}
	c.masterKey(path, database)
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	keys, _ := seal.LoadOrCreate(path) // the file exists, so no key is created; problems with it are already reported
	return keys
}

func (c *checkup) masterKey(path, database string) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(database); err == nil {
			c.fail("master_key", "there is a database but no master key at %s; put it back, its secrets cannot be opened without", path)
			return
		}
		c.ok("master_key", "none yet; it is made at the first start")
		return
	}
	if err == nil {
		_, err = seal.LoadOrCreate(path) // the file exists, so no key is created
	}
	mode := fs.FileMode(0)
	if info != nil {
		mode = info.Mode().Perm()
	}
	switch {
	case err != nil:
		c.fail("master_key", "%v", err)
	case mode&0o007 != 0:
		c.fail("master_key", "%s has mode %04o: everybody on this machine may read it; chmod 600", path, mode)
	case mode&0o070 != 0:
		c.warn("master_key", "%s has mode %04o: its group may read it; chmod 600", path, mode)
	default:
		c.ok("master_key", "%s, mode %04o", path, mode)
	}
}

// lock reports which process uses the directory. It reads the kernel's lock table and takes
// no lock itself, because a lock held even for a moment would fail a server that is
// starting.
func (c *checkup) lock(path string) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		c.ok("lock", "no process has worked here yet")
		return
	}
	holder, err := lockHolder("/proc/locks", stat.Ino)
	switch {
	case err != nil:
		c.warn("lock", "cannot tell who holds %s: %v", path, err)
	case holder > 0:
		c.ok("lock", "held by process %d%s", holder, processName(holder))
	case holder < 0:
		c.ok("lock", "held by a process of another container")
	default:
		c.ok("lock", "free: no server works here")
	}
}

// lockHolder returns the process that holds a flock on the inode. It returns 0 if there is
// none, and -1 if this process cannot see it. A line of the table has the form "1: FLOCK
// ADVISORY  WRITE 1234 00:2e:1573 0 EOF".
func lockHolder(table string, inode uint64) (int, error) {
	f, err := os.Open(table)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // opened for reading only
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[1] != "FLOCK" {
			continue
		}
		if !strings.HasSuffix(fields[5], ":"+strconv.FormatUint(inode, 10)) {
			continue
		}
		pid, err := strconv.Atoi(fields[4])
		if err != nil || pid <= 0 {
			return -1, nil
		}
		return pid, nil
	}
	return 0, nil
}

func processName(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return " (" + strings.TrimSpace(string(name)) + ")"
}

func (c *checkup) schema(ctx context.Context, database string) {
	info, err := os.Stat(database)
	if errors.Is(err, fs.ErrNotExist) {
		c.ok("schema", "no database yet; it is made at the first start")
		return
	}
	version, ours, schemaErr := sqlite.SchemaVersion(ctx, database)
	if err == nil {
		err = schemaErr
	}
	switch {
	case err != nil:
		c.fail("schema", "%s cannot be read: %v", database, err)
	case version > ours:
		c.fail("schema", "%s has schema %d, this release knows %d: start the newer release", database, version, ours)
	case version < ours:
		c.ok("schema", "%s has schema %d; the next start brings it to %d", database, version, ours)
	default:
		c.ok("schema", "%s has schema %d, %s", database, version, cli.Size(uint64(info.Size())))
	}
}

// eventIDs checks the newest event of a database that has a schema.
func (c *checkup) eventIDs(ctx context.Context, database string) {
	if version, ours, err := sqlite.SchemaVersion(ctx, database); err != nil || version == 0 || version > ours {
		return // already reported
	}
	newest, err := sqlite.NewestEvent(ctx, database)
	if err != nil {
		c.fail("ids", "the newest event cannot be read: %v", err)
		return
	}
	c.ids(newest, time.Now())
}

// ids reports whether the ids of events are ahead of the clock.
func (c *checkup) ids(newest, now time.Time) {
	switch {
	case sqltext.ClockWasAhead(newest, now):
		c.warn("ids", "the newest event has an id of %s, which is to come: the clock was ahead once; set it by NTP. Lists by time take longer until then, nothing else is wrong",
			newest.Format(time.RFC3339))
	case newest.IsZero():
		c.ok("ids", "there is no event yet")
	default:
		c.ok("ids", "the newest event is of %s", newest.Format(time.RFC3339))
	}
}

// logWarns is a length of SQLite's write-ahead log, in bytes, that it reaches only during a
// long read: the log restarts at 16 MiB.
const logWarns = 256 << 20

// databaseLog checks the length of SQLite's write-ahead log.
func (c *checkup) databaseLog(database string) {
	info, err := os.Stat(database + "-wal")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.ok("log", "there is none: no server works here")
	case err != nil:
		c.warn("log", "cannot tell: %v", err)
	case info.Size() > logWarns:
		c.warn("log", "%s-wal has %s: somebody has read the database for long, such as a backup or a sqlite3 session with an open transaction; end it (fuser %s names it)",
			database, cli.Size(uint64(info.Size())), database)
	default:
		c.ok("log", "%s-wal has %s", database, cli.Size(uint64(info.Size())))
	}
}

// Free space below which the doctor reports a problem.
const (
	spaceFails = 64 << 20
	spaceWarns = 1 << 30
)

func (c *checkup) space(dir string) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		c.warn("space", "cannot tell: %v", err)
		return
	}
	c.room(dir, stat.Bavail*uint64(stat.Bsize))
}

func (c *checkup) room(dir string, free uint64) {
	switch {
	case free < spaceFails:
		c.fail("space", "%s has %s left; publishing answers 503 when it is full", dir, cli.Size(free))
	case free < spaceWarns:
		c.warn("space", "%s has %s left", dir, cli.Size(free))
	default:
		c.ok("space", "%s has %s left", dir, cli.Size(free))
	}
}
