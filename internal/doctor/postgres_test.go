package doctor

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/transfer"
)

// withDatabase makes the rest of the test use a database and no server.
func withDatabase(t *testing.T, address string) {
	t.Helper()
	t.Setenv("POSTHORN_URL", "")
	t.Setenv("POSTHORN_KEY", "")
	t.Setenv("POSTHORN_STORE", address)
}

func session(t *testing.T, address string, statements ...string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	for _, s := range statements {
		if _, err := c.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return c
}

func TestDoctorOfADatabase(t *testing.T) {
	address, data := pgtest.Database(t), filepath.Join(t.TempDir(), "data")
	withDatabase(t, address)
	lines, code := doctor(t)
	expect(t, lines, map[string]string{"postgres": "ok writable", "durability": "ok synchronous_commit is on", "connections": fmt.Sprintf("ok more nodes of %d each", postgres.ConnectionsANode),
		"schema": "ok none yet", "db_clock": "ok agrees", "holder": "ok no session"})
	if code != exit.OK || len(lines) != 6 {
		t.Errorf("an empty database: code %d, %v", code, lines)
	}
	n := servertest.DatabaseNode(t, address, data)
	lines, code = doctor(t, "--data", data)
	expect(t, lines, map[string]string{"schema": "ok has schema", "nodes": "ok 1 alive", "partitions": "ok exist for 8 days", "vacuum": "ok never yet", "ids": "ok no events yet", "key_fits": "ok is the one",
		"data": "ok 0700", "lock": fmt.Sprintf("ok held by process %d", os.Getpid())})
	if code != exit.OK {
		t.Errorf("with a node: code %d, %v", code, lines)
	}
	other := servertest.WriteFile(t, t.TempDir(), "other.key", servertest.AnotherKey)
	lines, code = doctor(t, "--master-key-file", other)
	expect(t, lines, map[string]string{"key_fits": "fail is not the master key"})
	if code != exit.Failed {
		t.Errorf("wrong key: code %d, %v", code, lines)
	}
	lines, _ = doctor(t, "--master-key-file", other+".none")
	expect(t, lines, map[string]string{"key_fits": "fail no usable master key"})
	servertest.StopNode(t, n)
	lines, _ = doctor(t)
	expect(t, lines, map[string]string{"nodes": "warn none is alive"})

	c := session(t, address, "UPDATE nodes SET seen_at = seen_at - interval '1 hour'")
	lines, _ = doctor(t)
	expect(t, lines, map[string]string{"nodes": "warn the work of 1 "})
	for _, s := range []string{"UPDATE nodes SET done = true",
		"INSERT INTO nodes (epoch, name, version, started_at, seen_at, lease) VALUES (77, 'n', 'older', now(), now(), interval '1 hour')",
		"INSERT INTO events SELECT '\\xff' || substr(sha256('x'), 1, 15), 1, 'a', NULL, 0, 't', 0, 0, '', 0"} {
		if _, err := c.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	lines, _ = doctor(t)
	expect(t, lines, map[string]string{"partitions": "warn 1 events are in the default", "nodes": "ok 1 alive", "ids": "warn the clock was ahead"})
	for _, s := range []string{"DELETE FROM events", "DROP TABLE " + time.Now().UTC().Add(24*time.Hour).Format("deliveries_20060102"),
		"INSERT INTO events SELECT '\\x00' || substr(sha256('x'), 1, 15), 1, 'a', NULL, 0, 't', 0, 0, '', 0", "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)"} {
		if _, err := c.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	lines, code = doctor(t)
	expect(t, lines, map[string]string{"partitions": "warn exist for 1 days from today: there should be more; look for \"make partitions\" in the logs of the nodes; the default", "schema": "fail use the newer release"})
	if code != exit.Failed {
		t.Errorf("newer schema: code %d, %v", code, lines)
	}
}

// A forgotten transaction is reported while it exists, and not afterwards.
func TestDoctorNamesWhoHoldsVacuum(t *testing.T) {
	server := pgtest.Start(t, map[string]string{"autovacuum": "off"}) // nobody else begins a transaction
	address := server.Database(t)
	withDatabase(t, address)
	session(t, address, "CREATE TABLE x (n int)", "INSERT INTO x VALUES (1)")
	short := []string{"--holder-age", "1ms"}
	clean := func(when string) {
		t.Helper()
		// A closed session releases what it held a moment later.
		for deadline := time.Now().Add(10 * time.Second); ; {
			lines, _ := doctor(t, short...)
			if strings.HasPrefix(lines["holder"], "ok ") {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s", when, lines["holder"])
			}
		}
	}
	clean("before")
	reader := session(t, address+"&application_name=nightly-report", "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 'hush-hush' FROM x")
	session(t, address, "UPDATE x SET n = 2")
	lines, code := doctor(t, short...)
	expect(t, lines, map[string]string{"holder": "warn \"nightly-report\", process " + fmt.Sprint(reader.PgConn().PID())})
	for _, part := range []string{"idle in transaction", "role posthorn", "pg_terminate_backend", "1 transactions behind"} {
		if !strings.Contains(lines["holder"], part) {
			t.Errorf("%q is not in %q", part, lines["holder"])
		}
	}
	if code != exit.OK || strings.Contains(fmt.Sprint(lines), "hush-hush") {
		t.Errorf("code %d, %v", code, lines)
	}
	if lines, _ := doctor(t); !strings.HasPrefix(lines["holder"], "ok ") {
		t.Errorf("younger than five minutes: %v", lines)
	}
	if _, err := reader.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	clean("after the transaction")

	writer := session(t, address, "BEGIN", "UPDATE x SET n = 3") // holds no snapshot any more, but has written
	lines, _ = doctor(t, short...)
	expect(t, lines, map[string]string{"holder": "warn process " + fmt.Sprint(writer.PgConn().PID())})
	if _, err := writer.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	clean("after the writer")

	// Without the necessary privilege, sessions of another role are not visible.
	u, err := url.Parse(server.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	mine, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = mine.Path
	admin := session(t, u.String(), "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1 FROM x")
	lines, _ = doctor(t, short...)
	expect(t, lines, map[string]string{"holder": "warn 1 sessions of other roles are not visible"})
	server.Exec(t, "GRANT pg_read_all_stats TO posthorn")
	t.Cleanup(func() { server.Exec(t, "REVOKE pg_read_all_stats FROM posthorn") })
	lines, _ = doctor(t, short...)
	expect(t, lines, map[string]string{"holder": "warn role postgres"})
	if err := admin.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	clean("after the other role")
}

// Slots, prepared transactions and settings require a server of their own.
func TestDoctorOfAServer(t *testing.T) {
	server := pgtest.Start(t, map[string]string{"max_prepared_transactions": "3", "wal_level": "logical", "max_connections": strconv.Itoa(postgres.ConnectionsANode + 5), "max_wal_senders": "2",
		"synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"})
	address := server.Database(t)
	withDatabase(t, address)
	n := servertest.DatabaseNode(t, address+"&synchronous_commit=on", filepath.Join(t.TempDir(), "data"))
	lines, code := doctor(t)
	expect(t, lines, map[string]string{"durability": "fail synchronous_commit is off", "vacuum": "fail autovacuum", "connections": "warn no more nodes can start"})
	if code != exit.Failed {
		t.Errorf("code %d, %v", code, lines)
	}
	servertest.StopNode(t, n)
	t.Setenv("POSTHORN_STORE", address+"&synchronous_commit=on")
	lines, _ = doctor(t)
	expect(t, lines, map[string]string{"durability": "warn full_page_writes", "connections": "ok enough for 1 more"})
	t.Setenv("POSTHORN_STORE", address+"&default_transaction_read_only=on")
	lines, _ = doctor(t)
	expect(t, lines, map[string]string{"postgres": "fail read_only is on"})
	t.Setenv("POSTHORN_STORE", address)

	session(t, address, "CREATE TABLE x (n int)", "BEGIN", "INSERT INTO x VALUES (1)", "PREPARE TRANSACTION 'transfer-7'")
	lines, _ = doctor(t, "--holder-age", "1ms")
	expect(t, lines, map[string]string{"holder": "warn prepared transaction \"transfer-7\", role posthorn"})
	session(t, address, "ROLLBACK PREPARED 'transfer-7'")
	u, err := url.Parse(server.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	mine, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = mine.Path
	session(t, u.String(), "SELECT pg_create_logical_replication_slot('old_consumer', 'pgoutput')")
	x, err := transfer.Examine(t.Context(), address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Holders) != 1 || x.Holders[0].Name != "old_consumer" || x.Holders[0].State != "inactive" || x.Holders[0].Kind != "replication slot" {
		t.Errorf("the slot: %+v", x.Holders)
	}
}

func TestDoctorJudgesHolders(t *testing.T) {
	for want, h := range map[string]transfer.Holder{
		"SELECT pg_drop_replication_slot('s')": {Kind: "replication slot", Name: "s", State: "inactive", Transactions: holderTransactions},
		"its reader lags behind":               {Kind: "replication slot", Name: "s", State: "active", Transactions: holderTransactions},
		"hot_standby_feedback = off":           {Kind: "standby", Name: "walreceiver", PID: 7, Transactions: holderTransactions},
		"ROLLBACK PREPARED 'g'":                {Kind: "prepared transaction", Name: "g", Age: time.Hour},
		"SELECT pg_cancel_backend(7)":          {Kind: "session", State: "active", PID: 7, Age: time.Hour},
		"session \"app\", process 7, role r, idle in transaction, for 1h0m0s, 3 transactions behind": {Kind: "session", Name: "app", User: "r", State: "idle in transaction", PID: 7, Age: time.Hour, Transactions: 3},
	} {
		c := &checkup{}
		young := h
		young.Age, young.Transactions = time.Minute, holderTransactions-1
		c.holders(&transfer.Examination{Holders: []transfer.Holder{young, h}}, 5*time.Minute)
		if len(c.Findings) != 1 || c.Findings[0].Status != "warn" || !strings.Contains(c.Findings[0].Message, want) {
			t.Errorf("%+v, want %q", c.Findings, want)
		}
	}
	c := &checkup{}
	for _, ahead := range []time.Duration{time.Second, 3 * time.Second, -time.Minute} {
		c.databaseClock(&transfer.Examination{ClockAhead: ahead, ClockError: time.Millisecond})
	}
	c.databaseClock(&transfer.Examination{ClockAhead: 3 * time.Second, ClockError: 2 * time.Second})
	c.waste(&transfer.Examination{Settings: map[string]string{"autovacuum": "on", "track_counts": "on"}, Dead: 200_000, Live: 500_000})
	c.postgres(&transfer.Examination{TooOld: true, Settings: map[string]string{"fsync": "off"}})
	c.postgres(&transfer.Examination{Standby: true})
	var got []string
	for _, f := range c.Findings {
		got = append(got, f.Check+" "+f.Status)
	}
	want := "db_clock ok,db_clock warn,db_clock warn,db_clock ok,vacuum warn,postgres fail,durability fail,connections warn,postgres fail,durability fail,connections warn"
	if strings.Join(got, ",") != want {
		t.Errorf("%s\nwant %s", strings.Join(got, ","), want)
	}
}
