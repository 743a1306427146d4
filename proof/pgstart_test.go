package proof_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const exitOpen = 15 // the store cannot be opened; the other codes are in exit_test.go

// pgPassword is in every URL of the refused starts, and must not appear in any output of the
// program.
const pgPassword = "s3cret~of~the~proof"

// withPassword returns the URL of a database with the password in it.
func withPassword(role, addr, database string, params ...string) string {
	return "postgres://" + role + ":" + pgPassword + "@" + addr + "/" + database + "?" +
		strings.Join(append([]string{"sslmode=disable"}, params...), "&")
}

// dump returns the content of a database as SQL, or "" if the database does not exist.
func (p *postgres) dump(database string) string {
	p.t.Helper()
	host, port := p.hostPort()
	out, err := p.command(pgTool(p.t, "pg_dump"), "-h", host, "-p", port, "-U", "postgres", database).CombinedOutput()
	if err != nil {
		if strings.Contains(string(out), "does not exist") {
			return ""
		}
		p.t.Fatalf("pg_dump: %v\n%s", err, out)
	}
	var kept []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) { // contains a random word
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// hold opens idle sessions of Posthorn's role until the server refuses more, and returns
// their number. They end with the test or by release.
func (p *postgres) hold(t *testing.T) (held int, release func()) {
	t.Helper()
	host, port := p.hostPort()
	var sessions []*exec.Cmd
	release = func() {
		const holders = " FROM pg_stat_activity WHERE application_name = 'holder'"
		p.sql("SELECT pg_terminate_backend(pid)" + holders)
		eventually(t, 10*time.Second, "the sessions are gone", func() bool { return p.number("SELECT count(*)"+holders) == 0 })
	}
	t.Cleanup(func() {
		for _, cmd := range sessions {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	for range 100 {
		cmd := exec.Command(pgTool(t, "psql"), "-XAtq", "-h", host, "-p", port, "-U", "posthorn", "-d", "posthorn",
			"-c", "SELECT 'in'", "-c", "SELECT pg_sleep(600)")
		cmd.Env = append(os.Environ(), "LC_ALL=C", "PGAPPNAME=holder")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := make([]byte, 2)
		if _, err := io.ReadFull(out, said); err != nil { // it was refused
			_ = cmd.Wait()
			if len(sessions) == 0 {
				t.Fatal("not a single session was let in")
			}
			return len(sessions), release
		}
		sessions = append(sessions, cmd)
	}
	t.Fatal("a hundred sessions do not use the server up")
	return 0, nil
}

// pretend makes the server report another version to Posthorn's role.
func (p *postgres) pretend(t *testing.T, version, number string) {
	t.Helper()
	p.sql(`CREATE FUNCTION public.current_setting(text) RETURNS text STABLE LANGUAGE sql AS $$ SELECT CASE $1
		WHEN 'server_version_num' THEN '` + number + `' WHEN 'server_version' THEN '` + version + `' ELSE pg_catalog.current_setting($1) END $$`)
	p.sql("ALTER ROLE posthorn SET search_path = public, pg_catalog")
	t.Cleanup(func() {
		p.sql("ALTER ROLE posthorn RESET search_path")
		p.sql("DROP FUNCTION public.current_setting(text)")
	})
}

// attempt runs "serve" where it must exit, and returns its exit code and its entire output.
func attempt(t *testing.T, store, key string) (code int, stderr, all string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ports := freePorts(t, 2)
	cmd := exec.CommandContext(ctx, program(t), "serve", "--dev", "--data", filepath.Join(t.TempDir(), "data"), "--master-key-file", key,
		"--listen", ports[0], "--metrics-listen", ports[1], "--log-level", "debug")
	// In the environment, so that the password cannot come from the command line.
	cmd.Env = append(os.Environ(), "POSTHORN_STORE="+store, "POSTHORN_OPERATOR_KEY="+liveKey, "POSTHORN_OPERATOR_TEST_KEY="+testKey)
	cmd.Dir = t.TempDir()
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("it stays up, or takes more than 20 s to give up:\n%s", said.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), said.String(), out.String() + said.String()
}

// refusedStart is a store on which a node must not start.
type refusedStart struct {
	name    string
	code    int
	says    string                    // what the single line must mention
	kept    string                    // a database that must not change
	arrange func(t *testing.T) string // creates the condition until the end of the test; returns the URL
	key     string                    // another master key
}

// pgRefusals returns the refused starts on one server, whose database posthorn has been used
// by a node with the master key.
func pgRefusals(p *postgres, free, wrongKey string) []refusedStart {
	fixed := func(url string) func(*testing.T) string { return func(*testing.T) string { return url } }
	usual := withPassword("posthorn", p.addr, "posthorn")
	// setting changes a setting of Posthorn's role for the duration of the test.
	setting := func(name, value, url string) func(*testing.T) string {
		return func(t *testing.T) string {
			p.sql("ALTER ROLE posthorn SET " + name + " = '" + value + "'")
			t.Cleanup(func() { p.sql("ALTER ROLE posthorn RESET " + name) })
			return url
		}
	}
	connections := func(most string) func(*testing.T) string {
		return func(t *testing.T) string {
			p.sql("ALTER ROLE posthorn CONNECTION LIMIT " + most)
			t.Cleanup(func() { p.sql("ALTER ROLE posthorn CONNECTION LIMIT -1") })
			return usual
		}
	}
	return []refusedStart{
		{name: "no port", code: exitUsage, says: "--store", arrange: fixed("postgres://posthorn:" + pgPassword + "@127.0.0.1:port/posthorn")},
		{name: "bad escape", code: exitUsage, says: "--store", arrange: fixed("postgres://posthorn:" + pgPassword + "%zz@" + p.addr + "/posthorn")},
		{name: "space in the host", code: exitUsage, says: "--store", arrange: fixed("postgres://posthorn:" + pgPassword + "@a host/posthorn")},
		{name: "unknown sslmode", code: exitUsage, says: "--store", arrange: fixed("postgres://posthorn:" + pgPassword + "@" + p.addr + "/posthorn?sslmode=perhaps")},
		{name: "another database's scheme", code: exitUsage, says: "POSTHORN_STORE", arrange: fixed("mysql://posthorn:" + pgPassword + "@" + p.addr + "/posthorn")},
		{name: "nobody listens", code: exitOpen, says: free, arrange: fixed(withPassword("posthorn", free, "posthorn"))},
		{name: "unknown host", code: exitOpen, says: "nobody.invalid", arrange: fixed(withPassword("posthorn", "nobody.invalid:5432", "posthorn"))},
		{name: "a server that says nothing", code: exitOpen, says: "127.0.0.1", arrange: silence},
		{name: "no TLS", code: exitOpen, says: "TLS", arrange: fixed(strings.Replace(usual, "sslmode=disable", "sslmode=require", 1))},
		{name: "wrong password", code: exitOpen, says: "password", kept: "locked", arrange: fixed(withPassword("locked", p.addr, "locked"))},
		{name: "unknown role", code: exitOpen, says: "nobody", arrange: fixed(withPassword("nobody", p.addr, "posthorn"))},
		{name: "no such database", code: exitOpen, says: "nowhere", arrange: fixed(withPassword("posthorn", p.addr, "nowhere"))},
		{name: "no right to create", code: exitOpen, says: "permission denied", kept: "theirs", arrange: fixed(withPassword("posthorn", p.addr, "theirs"))},
		{name: "too old", code: exitOpen, says: "PostgreSQL 14.10", kept: "posthorn", arrange: func(t *testing.T) string {
			p.pretend(t, "14.10", "140010")
			return usual
		}},
		{name: "read-only", code: exitOpen, says: "read only", kept: "posthorn", arrange: setting("default_transaction_read_only", "on", usual)},
		{name: "synchronous_commit off", code: exitOpen, says: "synchronous_commit", kept: "posthorn", arrange: setting("synchronous_commit", "off", usual)},
		{name: "synchronous_commit off in an empty database", code: exitOpen, says: "synchronous_commit", kept: "empty",
			arrange: setting("synchronous_commit", "off", withPassword("posthorn", p.addr, "empty"))},
		{name: "fsync off", code: exitOpen, says: "fsync", kept: "posthorn", arrange: func(t *testing.T) string {
			p.set("fsync", "off")
			t.Cleanup(func() { p.set("fsync", "on") })
			eventually(t, 5*time.Second, "fsync is off", func() bool { return p.sql("SHOW fsync") == "off" })
			return usual
		}},
		{name: "no connections", code: exitOpen, says: "connections", kept: "posthorn", arrange: connections("0")},
		{name: "too few connections", code: exitOpen, says: "connections", kept: "posthorn", arrange: connections("3")},
		{name: "newer schema", code: exitSchema, says: "newer", kept: "posthorn", arrange: func(t *testing.T) string {
			p.sql("INSERT INTO goose_db_version (version_id, is_applied) VALUES (999999, true)")
			t.Cleanup(func() { p.sql("DELETE FROM goose_db_version WHERE version_id = 999999") })
			return usual
		}},
		{name: "another master key", code: exitMasterKey, says: "master_key", kept: "posthorn", key: wrongKey, arrange: fixed(usual)},
	}
}

// silence is a server that accepts connections and never sends a byte.
func silence(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return withPassword("posthorn", l.Addr().String(), "posthorn")
}

func (c refusedStart) check(t *testing.T, p *postgres, key string) {
	t.Helper()
	store, before := c.arrange(t), ""
	if c.kept != "" {
		before = p.dump(c.kept)
	}
	if c.key != "" {
		key = c.key
	}
	start := time.Now()
	code, said, all := attempt(t, store, key)
	if code != c.code {
		t.Errorf("exit code %d, want %d:\n%s", code, c.code, said)
	}
	checkMessage(t, said, c.says)
	if strings.Contains(all, pgPassword) || strings.Contains(all, "goroutine ") {
		t.Errorf("it says the password, or where in the code it stopped:\n%s", all)
	}
	if c.kept != "" && p.dump(c.kept) != before {
		t.Errorf("the database %s was changed by a start that was refused", c.kept)
	}
	t.Logf("%v: %s", time.Since(start).Round(time.Millisecond), strings.TrimSpace(said))
}

// TestRefusesPostgres starts the binary on databases that it cannot use. Each is refused
// with the documented exit code and one specific line that never contains the password, and
// nothing in the database has changed.
func TestRefusesPostgres(t *testing.T) {
	p := newPostgres(t, "")
	key, wrongKey := masterKey(t), masterKey(t)
	n := newNode(t, filepath.Join(t.TempDir(), "data"), "--dev", "--store", p.url(), "--master-key-file", key)
	n.start()
	n.tenant("kept")
	n.publish("kept", "a.b", `{"keep":"me"}`)
	n.stop()
	if p.dump("posthorn") == "" {
		t.Fatal("the dump of the database is empty: no change could be seen")
	}
	p.sql("CREATE ROLE locked LOGIN PASSWORD 'another'")
	for database, owner := range map[string]string{"locked": "locked", "theirs": "postgres", "empty": "posthorn"} {
		p.sql("CREATE DATABASE " + database + " OWNER " + owner)
	}
	hba := filepath.Join(p.dir, "pg_hba.conf")
	rules, err := os.ReadFile(hba)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hba, append([]byte("host all locked 127.0.0.1/32 scram-sha-256\n"), rules...), 0o600); err != nil {
		t.Fatal(err)
	}
	p.sql("SELECT pg_reload_conf()")

	cases := pgRefusals(p, freePorts(t, 1)[0], wrongKey)
	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) { c.check(t, p, key) })
	}
	t.Run("standby", func(t *testing.T) {
		s := p.standby()
		c := refusedStart{code: exitOpen, says: "read only", kept: "posthorn",
			arrange: func(*testing.T) string { return withPassword("posthorn", s.addr, "posthorn") }}
		c.check(t, p, key)
	})
	t.Run("connections_used_up", func(t *testing.T) {
		small := newPostgres(t, "", "max_connections = 8")
		_, release := small.hold(t)
		c := refusedStart{code: exitOpen, says: "connection", kept: "posthorn",
			arrange: func(*testing.T) string { return withPassword("posthorn", small.addr, "posthorn") }}
		c.check(t, small, key)
		release()
	})
	// The controls: without a fault, the same database starts and serves, and only the
	// password kept the other one closed.
	n.start()
	n.must(200, "GET", "/v1/tenants/kept", nil)
	n.stop()
	p.sql("ALTER ROLE locked PASSWORD '" + pgPassword + "'")
	open := newNode(t, filepath.Join(t.TempDir(), "data"), "--dev", "--store", withPassword("locked", p.addr, "locked"), "--master-key-file", key)
	open.start()
	if !t.Failed() {
		t.Logf("FIGURE refused starts on PostgreSQL: %d cases, each with its exit code and one line, never the password", len(cases)+2)
	}
}
