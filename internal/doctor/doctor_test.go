package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// doctor runs the command and returns its lines by check, as "status message".
func doctor(t *testing.T, args ...string) (lines map[string]string, code int) {
	t.Helper()
	out, errOut, code := invoke(t, "", append([]string{"doctor"}, args...)...)
	lines = map[string]string{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			t.Fatalf("%q %s", line, errOut)
		}
		lines[fields[1]] = fields[0] + " " + strings.Join(fields[2:], " ")
	}
	return lines, code
}

func expect(t *testing.T, lines map[string]string, want map[string]string) {
	t.Helper()
	for check, says := range want {
		status, part, _ := strings.Cut(says, " ")
		if got := lines[check]; !strings.HasPrefix(got, status+" ") || !strings.Contains(got, part) {
			t.Errorf("%s: %q, want %q", check, got, says)
		}
	}
}

func TestDoctorOfAHealthyServer(t *testing.T) {
	s := newShell(t)
	lines, code := doctor(t, "--data", s.Data, "--server", s.URL)
	if code != exit.OK {
		t.Errorf("code %d: %v", code, lines)
	}
	expect(t, lines, map[string]string{
		"data": "ok mode 0700", "master_key": "ok mode 0600", "lock": fmt.Sprintf("ok held by process %d", os.Getpid()), "schema": "ok has schema",
		"server": "ok as this command", "ready": "ok accepts events", "clock": "ok agrees", "key": "ok bootstrap operator key",
	})
	if !strings.Contains(lines["space"], "left") {
		t.Errorf("space: %q", lines["space"])
	}
	s.OK("tenant", "create", "--id", "acme")
	for kind, says := range map[string]string{"tenant": "ok tenant key of mode live", "publisher": "ok publisher key of mode live", "operator": "ok operator key of mode live"} {
		args := []string{"key", "create", "--kind", kind}
		if kind == "tenant" {
			args = append(args, "--tenant", "acme")
		}
		lines, _ := doctor(t, "--key", s.JSON(args...)["key"].(string))
		expect(t, lines, map[string]string{"key": says})
		if lines["data"] != "" {
			t.Error("a server alone was asked for, and the directory was looked at")
		}
	}
	s.OK("endpoint", "create", "--tenant", "acme", "--url", "http://127.0.0.1:9999/", "--event-types", "")
	tenant := s.JSON("key", "create", "--kind", "tenant", "--tenant", "acme")["key"].(string)
	lines, _ = doctor(t, "--key", tenant)
	expect(t, lines, map[string]string{"key": "ok mode live, tenant acme"})
	lines, _ = doctor(t)
	expect(t, lines, map[string]string{"key": "ok bootstrap operator key of mode live, for all tenants"})
	t.Setenv("POSTHORN_KEY", "ph_live_tenant_nonsense")
	lines, _ = doctor(t)
	expect(t, lines, map[string]string{"key": "fail check POSTHORN_KEY"})
	lines, code = doctor(t, "--key", "ph_live_tenant_nonsense")
	expect(t, lines, map[string]string{"key": "fail check --key"})
	if code != exit.Failed {
		t.Errorf("code %d with a wrong key", code)
	}
	s.Node.Linger(0) // reports that it is not ready
	lines, code = doctor(t)
	expect(t, lines, map[string]string{"ready": "fail shutting_down", "server": "ok "})
	if code != exit.Failed {
		t.Errorf("code %d when not ready", code)
	}
	var report struct {
		OK     bool
		Checks []struct{ Check, Status, Message string }
	}
	out, _, _ := invoke(t, "", "doctor", "--json")
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.OK || len(report.Checks) != 4 {
		t.Errorf("--json: %s %v", out, err)
	}
}

// A directory is damaged in one way after another. Each time the doctor must report it, and
// must be satisfied again after the repair.
func TestDoctorOfASickDirectory(t *testing.T) {
	s := newShell(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.Node.Stop(ctx)
	t.Setenv("POSTHORN_URL", "")
	t.Setenv("POSTHORN_KEY", "")
	key, database := filepath.Join(s.Data, "master.key"), filepath.Join(s.Data, "posthorn.db")
	mode := func(path string, mode os.FileMode) func() {
		return func() {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	swap := func(path, with string) func() {
		return func() {
			if err := os.Rename(path, path+".kept"); err != nil {
				t.Fatal(err)
			}
			if with == "" {
				return
			}
			if err := os.WriteFile(path, []byte(with), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	back := func(path string) func() {
		return func() {
			if err := os.Rename(path+".kept", path); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name        string
		harm, heal  func()
		check, says string
	}{
		{"directory open to all", mode(s.Data, 0o777), mode(s.Data, 0o700), "data", "fail chmod 700"},
		{"directory readable", mode(s.Data, 0o755), mode(s.Data, 0o700), "data", "warn others may read it"},
		{"key readable by all", mode(key, 0o644), mode(key, 0o600), "master_key", "fail everybody"},
		{"key readable by group", mode(key, 0o640), mode(key, 0o600), "master_key", "warn group"},
		{"key gone", swap(key, ""), back(key), "master_key", "fail restore the key"},
		{"key damaged", swap(key, "short"), back(key), "master_key", "fail 32 bytes"},
		{"database damaged", swap(database, strings.Repeat("not a database ", 1000)), back(database), "schema", "fail cannot be read"},
		{"newer schema", func() {
			servertest.Alter(t, database, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")
		},
			func() { servertest.Alter(t, database, "DELETE FROM goose_db_version WHERE version_id = 9999") }, "schema", "fail use the newer release"},
		{"clock was ahead", func() {
			servertest.Alter(t, database, "INSERT INTO events (id, mode, tenant, kind, type, created_at, accepted_at, data, checksum) VALUES (x'7f000000000000000000000000000001', 1, 'a', 0, 't', 0, 0, x'', 0)")
		},
			func() { servertest.Alter(t, database, "DELETE FROM events") }, "ids", "warn the clock was ahead"},
		{"sealed value damaged", func() {
			servertest.Alter(t, database, `INSERT INTO endpoints (id, mode, tenant, url, types, title, description, profile, headers_sealed, rate_limit, max_in_flight, max_failures, status,
				disabled_reason, disabled_at, created_at, updated_at, revision, enablings) VALUES (x'01000000000000000000000000000001', 2, 'acme', 'https://a.example/', '[]', '', '', '',
				x'00', 0, 0, 0, 0, '', 0, 0, 0, 1, 1)`)
		}, func() {
			servertest.Alter(t, database, "DELETE FROM endpoints WHERE title = '' AND headers_sealed = x'00'")
		},
			"sealed", "fail endpoints.headers_sealed of endpoint 01000000-0000-0000-0000-000000000001 (tenant acme, live)"},
		{"long log", func() {
			if err := os.WriteFile(database+"-wal", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(database+"-wal", logWarns+1); err != nil {
				t.Fatal(err)
			}
		}, func() {
			if err := os.Remove(database + "-wal"); err != nil {
				t.Fatal(err)
			}
		}, "log", "warn has read the database for a long time"},
	} {
		c.harm()
		lines, code := doctor(t, "--data", s.Data)
		expect(t, lines, map[string]string{c.check: c.says})
		if fails := strings.HasPrefix(c.says, "fail"); fails != (code == exit.Failed) {
			t.Errorf("%s: code %d", c.name, code)
		}
		c.heal()
		lines, code = doctor(t, "--data", s.Data)
		expect(t, lines, map[string]string{c.check: "ok ", "lock": "ok free"})
		if code != exit.OK {
			t.Errorf("%s, put right: code %d, %v", c.name, code, lines)
		}
	}
	if _, code := doctor(t, "--data", s.Data+"/none"); code != exit.Failed {
		t.Errorf("no directory: code %d", code)
	}
	if _, code := doctor(t, "--data", database); code != exit.Failed {
		t.Errorf("a file as directory: code %d", code)
	}
}

func TestDoctorTellsTheTime(t *testing.T) {
	t.Setenv("POSTHORN_KEY", "")
	for ahead, says := range map[time.Duration]string{0: "ok ", 30 * time.Second: "warn 30s", -10 * time.Minute: "fail -10m", time.Hour: "fail NTP"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			_, _ = w.Write([]byte(`{"version": "other"}`))
		}))
		lines, _ := doctor(t, "--server", server.URL)
		expect(t, lines, map[string]string{"clock": says, "server": "warn version other", "key": "warn no key was given"})
		server.Close()
	}
	lines, code := doctor(t, "--server", "http://127.0.0.1:1")
	expect(t, lines, map[string]string{"server": "fail is it running"})
	if code != exit.Failed || len(lines) != 1 {
		t.Errorf("code %d, %v", code, lines)
	}
}

func TestDoctorKnowsNumbers(t *testing.T) {
	c := &checkup{}
	for _, free := range []uint64{10 << 20, 500 << 20, 5 << 30} {
		c.room("/data", free)
	}
	for i, want := range []string{"fail", "warn", "ok"} {
		if c.Findings[i].Status != want {
			t.Errorf("%+v, want %s", c.Findings[i], want)
		}
	}
	table := filepath.Join(t.TempDir(), "locks")
	lines := "1: POSIX  ADVISORY  WRITE 7 00:2e:42 0 EOF\n2: FLOCK  ADVISORY  WRITE 8 00:2e:142 0 EOF\n3: FLOCK  ADVISORY  WRITE 9 00:2e:42 0 EOF\n4: FLOCK  ADVISORY  WRITE -1 00:2e:43 0 EOF\n"
	if err := os.WriteFile(table, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	for inode, want := range map[uint64]int{42: 9, 142: 8, 43: -1, 2: 0} {
		if pid, err := lockHolder(table, inode); pid != want || err != nil {
			t.Errorf("inode %d: %d %v, want %d", inode, pid, err, want)
		}
	}
}

// A key that would be sent over plain http to another machine is a finding, unless the
// network is declared trusted.
func TestDoctorWarnsOfPlainHTTP(t *testing.T) {
	s := newShell(t)
	const warning = "the key is sent unencrypted to 0.0.0.0:"
	remote := strings.Replace(s.URL, "127.0.0.1", "0.0.0.0", 1)
	out, _, code := invoke(t, "", "doctor", "--server", remote, "--key", servertest.Key)
	if code != exit.OK || strings.Count(out, warning) != 1 || !strings.Contains(out, "valid: ") {
		t.Errorf("doctor: %d %s", code, out)
	}
	t.Setenv("POSTHORN_ALLOW_PLAIN_HTTP", "true")
	if out, _, code = invoke(t, "", "doctor", "--server", remote, "--key", servertest.Key); code != exit.OK || strings.Contains(out, warning) {
		t.Errorf("doctor, allowed: %d %s", code, out)
	}
}

// doctor and audit verify take server and key from a context, as the commands that call the
// API do: the named one, or the current one if nothing else names a server.
func TestDoctorTakesContexts(t *testing.T) {
	s := newShell(t)
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("POSTHORN_URL", "")
	t.Setenv("POSTHORN_KEY", "")
	t.Chdir(t.TempDir())                                               // without a data directory
	for _, key := range []string{servertest.Key, servertest.TestKey} { // whose mode shows in keys that they make
		s.OK("key", "create", "--kind", "operator", "--server", s.URL, "--key", key)
	}
	s.OKWith(servertest.Key+"\n", "login", "mine", "--server", s.URL)
	s.OKWith(servertest.TestKey+"\n", "login", "tests", "--server", s.URL)
	key := func(mode string) map[string]string {
		return map[string]string{"server": "ok as this command", "key": "ok bootstrap operator key of mode " + mode}
	}
	named, code := doctor(t, "--context", "mine")
	expect(t, named, key("live"))
	if _, data := named["data"]; data || code != exit.OK {
		t.Errorf("a named server only: code %d, %v", code, named)
	}
	both, _ := doctor(t) // the current context is that of the last login
	expect(t, both, key("test"))
	if _, data := both["data"]; !data {
		t.Errorf("neither is named: %v", both)
	}
	if only, _ := doctor(t, "--data", s.Data); only["server"] != "" || only["data"] == "" {
		t.Errorf("a directory only: %v", only)
	}
	t.Setenv("POSTHORN_CONTEXT", "mine")
	lines, _ := doctor(t, "--data", s.Data)
	expect(t, lines, key("live"))
	lines, _ = doctor(t, "--server", s.URL) // control: a named server gets the key of no context
	expect(t, lines, map[string]string{"key": "warn no key was given"})
	if out, errOut, code := invoke(t, "", "audit", "verify"); code != exit.OK || !strings.Contains(out, "live") {
		t.Errorf("audit verify: %d %s%s", code, out, errOut)
	}
	for _, args := range [][]string{{"doctor", "--context", "none"}, {"doctor", "--context", "mine", "--server", s.URL}, {"audit", "verify", "--context", "none"}} {
		if _, errOut, code := invoke(t, "", args...); code != exit.Usage || !strings.Contains(errOut, "context") {
			t.Errorf("%v: %d %s", args, code, errOut)
		}
	}
}
