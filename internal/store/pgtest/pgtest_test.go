package pgtest_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/store/pgtest"
)

// connect opens a connection that is closed at the end of the test.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// one reads a single value as text.
func one(t *testing.T, conn *pgx.Conn, query string) string {
	t.Helper()
	var out string
	if err := conn.QueryRow(t.Context(), query).Scan(&out); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return out
}

func exec1(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// eventually polls until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

func TestDatabase(t *testing.T) {
	first := connect(t, pgtest.Database(t))
	for query, want := range map[string]string{
		"SELECT current_user::text":       pgtest.User,
		"SELECT current_setting('fsync')": "on",
		"SHOW server_encoding":            "UTF8",
		"SHOW lc_collate":                 "C",
		"SHOW listen_addresses":           "",
		"SHOW synchronous_commit":         "on",
		"SELECT (count(*) = 0)::text FROM pg_class WHERE relnamespace = 'public'::regnamespace":       "true",
		"SELECT (current_setting('server_version_num')::int >= 150000)::text":                         "true",
		"SELECT (rolsuper OR rolcreatedb OR rolreplication)::text FROM pg_roles WHERE rolname = user": "false",
	} {
		if got := one(t, first, query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	exec1(t, first, "CREATE TABLE kept (n int)")
	exec1(t, first, "INSERT INTO kept VALUES (7)")

	var url, name string
	t.Run("another", func(t *testing.T) {
		url = pgtest.Database(t)
		conn, err := pgx.Connect(t.Context(), url) // left open: the database is dropped nevertheless
		if err != nil {
			t.Fatal(err)
		}
		name = one(t, conn, "SELECT current_database()::text")
		if got := one(t, conn, "SELECT (to_regclass('kept') IS NULL)::text"); got != "true" {
			t.Error("two databases are one")
		}
	})
	if got := one(t, first, "SELECT count(*)::text FROM pg_database WHERE datname = '"+name+"'"); got != "0" {
		t.Errorf("%s was not dropped", name)
	}
	if _, err := pgx.Connect(t.Context(), url); err == nil {
		t.Error("the dropped database takes connections")
	}
}

func TestDatabaseFrom(t *testing.T) {
	template := pgtest.Database(t)
	conn := connect(t, template)
	exec1(t, conn, "CREATE TABLE kept AS SELECT 7 AS n")
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	copied := connect(t, pgtest.DatabaseFrom(t, template))
	if got := one(t, copied, "SELECT n::text FROM kept"); got != "7" {
		t.Errorf("the copy holds %s", got)
	}
	exec1(t, copied, "DROP TABLE kept") // it belongs to the same role
}

func TestServerOfItsOwn(t *testing.T) {
	s := pgtest.Start(t, map[string]string{"max_connections": "17", "synchronous_commit": "off"})
	url := s.Database(t)
	conn := connect(t, url)
	if got := one(t, conn, "SHOW max_connections") + one(t, conn, "SHOW synchronous_commit"); got != "17off" {
		t.Errorf("settings %s", got)
	}
	exec1(t, conn, "SET synchronous_commit = on")
	exec1(t, conn, "CREATE TABLE kept AS SELECT 7 AS n")
	for _, mode := range []string{"immediate", "fast"} {
		s.Stop(t, mode)
		if _, err := pgx.Connect(t.Context(), url); err == nil {
			t.Fatalf("%s: it still takes connections", mode)
		}
		s.Start(t)
		if got := one(t, connect(t, url), "SELECT n::text FROM kept"); got != "7" {
			t.Errorf("%s: after the restart %s", mode, got)
		}
	}
	s.Exec(t, "ALTER SYSTEM SET synchronous_commit = on", "SELECT pg_reload_conf()")
	eventually(t, "the setting holds", func() bool { return one(t, connect(t, url), "SHOW synchronous_commit") == "on" })
	if s.URL() == pgtest.Shared(t).URL() {
		t.Error("the server is the shared one")
	}
}

// child is the environment variable that makes this binary the child that is killed.
const child = "PGTEST_IS_THE_CHILD"

// TestServerEndsWithTheTests checks that a test binary that is killed or panics leaves no
// server and no directory. As a control, both must exist before.
func TestServerEndsWithTheTests(t *testing.T) {
	if how := os.Getenv(child); how != "" {
		own, all := pgtest.Start(t, nil), pgtest.Shared(t)
		for _, s := range []*pgtest.Server{own, all} {
			fmt.Printf("server %d %s\n", s.PID(t), s.Dir())
		}
		if how == "panic" {
			go func() { panic("on purpose") }()
		}
		select {}
	}
	for _, how := range []string{"kill", "panic"} {
		t.Run(how, func(t *testing.T) { diesWith(t, how) })
	}
}

func diesWith(t *testing.T, how string) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServerEndsWithTheTests$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), child+"="+how)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pids, dirs := []int{}, []string{}
	for lines := bufio.NewScanner(out); len(pids) < 2; {
		if !lines.Scan() {
			t.Fatal("the child ended before it told of two servers")
		}
		var pid int
		var dir string
		if n, _ := fmt.Sscanf(lines.Text(), "server %d %s", &pid, &dir); n == 2 {
			pids, dirs = append(pids, pid), append(dirs, dir)
		}
	}
	if how == "kill" {
		for i, pid := range pids {
			if _, err := os.Stat(dirs[i]); err != nil || !isServer(pid) {
				t.Fatalf("server %d in %s is not there while its tests run: %v", pid, dirs[i], err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended well")
	}
	for i, pid := range pids {
		eventually(t, "the server ends", func() bool { return !isServer(pid) })
		eventually(t, "its directory is removed", func() bool { _, err := os.Stat(dirs[i]); return os.IsNotExist(err) })
	}
}

// isServer reports whether the process is a PostgreSQL server and not a zombie.
func isServer(pid int) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(line, []byte("postgres"))
}

// TestNoServerIsAFailure checks that tests fail without a server that is new enough, and
// name the package to install. If an old and a new server are installed, the newest is
// found.
func TestNoServerIsAFailure(t *testing.T) {
	path, debian := t.TempDir(), t.TempDir()
	t.Setenv("PATH", path)
	install := func(dir, version string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"postgres", "initdb"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho 'postgres (PostgreSQL) "+version+"'\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	install(path, "14.9")
	install(filepath.Join(debian, "9", "bin"), "9.6")
	places := filepath.Join(debian, "*", "bin")
	if _, err := pgtest.Binaries(places); err == nil || !strings.Contains(err.Error(), "postgresql-15") {
		t.Errorf("old servers alone: %v", err)
	}
	install(filepath.Join(debian, "15", "bin"), "15.14 (Debian 15.14-0+deb12u1)")
	install(filepath.Join(debian, "18", "bin"), "18beta1")
	if dir, err := pgtest.Binaries(places); err != nil || dir != filepath.Join(debian, "18", "bin") {
		t.Errorf("beside old ones: %s, %v", dir, err)
	}
	install(path, "16.1")
	if dir, err := pgtest.Binaries(places); err != nil || dir != path {
		t.Errorf("in PATH: %s, %v", dir, err)
	}
}
