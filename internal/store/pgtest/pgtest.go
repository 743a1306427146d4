// Package pgtest provides tests with a real PostgreSQL server. The server is temporary,
// uses the installed programs, and listens only on a Unix socket in its own directory. Cut
// is a proxy in front of it that breaks connections at a chosen byte.
//
// The package guarantees that a test never runs without a server (a missing server is a
// failure, not a skip) and that no server and no directory outlives the tests. A small
// shell beside each server waits for the end of a pipe that only the test binary holds
// open. It then stops the server and removes its directory. This works however the process
// ends, so TestMain need not call anything.
//
// The package is test support and never part of the product.
package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// User is the role in the URLs of this package. It owns its databases and has no
// permissions on the server, as an operator would configure it.
const User = "posthorn"

// admin is the superuser of every server.
const admin = "postgres"

// limit bounds each operation on a server. None takes more than a second on a machine that
// is not overloaded.
const limit = time.Minute

// shared is the one server of a test binary. The first test that needs it starts it.
var shared struct {
	sync.Mutex
	server *Server
}

// Shared returns the server that all tests of this binary share. The first call starts it.
// Tests that change settings or stop the server must use Start.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		return shared.server
	}
	s := create(t, nil)
	s.Start(t)
	shared.server = s
	return s
}

// Database creates an empty database on the shared server and returns its URL for User. The
// database is dropped at the end of the test, even if there are connections to it. If the
// test failed, the server's log of that time is shown.
func Database(t testing.TB) string {
	t.Helper()
	return Shared(t).Database(t)
}

// DatabaseFrom is like Database, but copies the database at the given URL, which Database
// returned before and to which nobody may be connected.
func DatabaseFrom(t testing.TB, template string) string {
	t.Helper()
	u, err := url.Parse(template)
	if err != nil {
		t.Fatalf("pgtest: URL of the template: %v", err)
	}
	return Shared(t).database(t, strings.TrimPrefix(u.Path, "/"))
}

// Start creates and starts a server for one test and removes it at the end. settings are
// those of postgresql.conf and override the ones of this package.
func Start(t testing.TB, settings map[string]string) *Server {
	t.Helper()
	s := create(t, settings)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of PostgreSQL's log:\n%s", s.logFrom(0))
		}
		s.remove(t)
	})
	s.Start(t)
	return s
}

var databases atomic.Int64 // for unique names

// Database is like the function Database, on this server.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return s.database(t, "template0")
}

// database copies the template. WAL_LOG was measured to be several times faster here than
// FILE_COPY, which has to wait for two checkpoints.
func (s *Server) database(t testing.TB, template string) string {
	t.Helper()
	from := s.logSize()
	name := fmt.Sprintf("test%d", databases.Add(1))
	s.Exec(t, fmt.Sprintf("CREATE DATABASE %s OWNER %s TEMPLATE %s STRATEGY wal_log", name, User, template))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("PostgreSQL's log since this database was made:\n%s", s.logFrom(from))
		}
		if s.running() { // a test may have stopped its own server
			s.Exec(t, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
		}
	})
	return s.url(name, User)
}

// URL returns the URL of the server's maintenance database for User.
func (s *Server) URL() string { return s.url(admin, User) }

// AdminURL is like URL, for the superuser.
func (s *Server) AdminURL() string { return s.url(admin, admin) }

// Dir returns the server's directory, which contains the socket, "data" and "log".
func (s *Server) Dir() string { return s.dir }

func (s *Server) url(database, user string) string {
	return "postgres:///" + database + "?host=" + url.QueryEscape(s.dir) + "&user=" + user
}

// Exec executes statements without parameters, such as ALTER SYSTEM, as superuser in the
// maintenance database. Each runs outside a transaction.
func (s *Server) Exec(t testing.TB, statements ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn, err := pgconn.Connect(ctx, s.AdminURL())
	if err != nil {
		t.Fatalf("pgtest: connect: %v\n%s", err, s.logFrom(0))
	}
	defer func() { _ = conn.Close(ctx) }() // its error does not matter
	for _, one := range statements {
		if _, err := conn.Exec(ctx, one).ReadAll(); err != nil {
			t.Errorf("pgtest: %s: %v", one, err)
			return
		}
	}
}

func (s *Server) logSize() int64 {
	info, err := os.Stat(filepath.Join(s.dir, "log"))
	if err != nil {
		return 0 // not written yet
	}
	return info.Size()
}

// logFrom returns the server's log from byte n on, at most its last 8 KiB.
func (s *Server) logFrom(n int64) string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	text = text[min(n, int64(len(text))):]
	return string(text[max(0, len(text)-8<<10):])
}
