package migrate

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
	"github.com/posthorn/posthorn/internal/store/pgtest"
)

// A server's store is moved, and a server on PostgreSQL continues with it.
func TestMigrate(t *testing.T) {
	received := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { received <- r.Header.Get("Webhook-Id") }))
	defer receiver.Close()
	s, target := newShell(t), pgtest.Database(t)
	s.OK("tenant", "create", "--id", "acme")
	s.OK("endpoint", "create", "--tenant", "acme", "--url", receiver.URL, "--event-types", "paid", "--secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	key := s.JSON("key", "create", "--kind", "tenant", "--tenant", "acme")["key"].(string)
	from := "sqlite:" + filepath.Join(s.Data, "posthorn.db")
	_, errOut, code := invoke(t, "", "migrate", "--from", from, "--to", target)
	if code != exit.Locked || !strings.Contains(errOut, "stop the server") {
		t.Errorf("while it runs: %d %s", code, errOut)
	}
	servertest.StopNode(t, s.Node)
	out, errOut, code := invoke(t, "", "migrate", "--from", from, "--to", target)
	if code != exit.OK {
		t.Fatalf("%d %s", code, errOut)
	}
	for _, part := range []string{"endpoints", "1 moved", "rows in", "--store postgres://...", "same master key", filepath.Join(s.Data, "master.key")} {
		if !strings.Contains(out, part) {
			t.Errorf("%q is not in what it says:\n%s", part, out)
		}
	}
	t.Setenv("POSTHORN_STORE", target)
	if out, errOut, code = invoke(t, "", "migrate", "--data", s.Data, "--compare"); code != exit.OK || !strings.Contains(out, "are the same") {
		t.Errorf("compared: %d %s%s", code, out, errOut)
	}
	if _, errOut, code = invoke(t, "", "migrate", "--data", s.Data); code != exit.Open || !strings.Contains(errOut, "not empty") || !strings.Contains(errOut, "nothing was moved") {
		t.Errorf("again: %d %s", code, errOut)
	}
	n := servertest.DatabaseNode(t, target, s.Data)
	url := n.URL()
	if out, errOut, code := invoke(t, "", "send", "--server", url, "--tenant", "acme", "--type", "paid", "--data", "{}"); code != exit.OK {
		t.Fatalf("send: %d %s%s", code, out, errOut)
	}
	select {
	case <-received:
	case <-time.After(10 * time.Second):
		t.Error("nothing arrived at the endpoint that was moved")
	}
	if out, errOut, code := invoke(t, "", "endpoint", "list", "--server", url, "--key", key); code != exit.OK || !strings.Contains(out, receiver.URL) {
		t.Errorf("with a key that was moved: %d %s%s", code, out, errOut)
	}
	if _, errOut, code = invoke(t, "", "migrate", "--from", from, "--compare"); code != exit.Failed || !strings.Contains(errOut, "events has 0 rows in the file and 1") {
		t.Errorf("compared after work on the target: %d %s", code, errOut)
	}
}

func TestMigrateRefuses(t *testing.T) {
	s, target := newShell(t), pgtest.Database(t)
	servertest.StopNode(t, s.Node)
	t.Setenv("POSTHORN_DATA", "")
	database, secret := filepath.Join(s.Data, "posthorn.db"), filepath.Join(t.TempDir(), "store")
	if err := os.WriteFile(secret, []byte(target+"&password=hush-hush&user=nobody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := servertest.WriteFile(t, t.TempDir(), "other.key", servertest.AnotherKey)
	older := filepath.Join(t.TempDir(), "older.db")
	text, err := os.ReadFile(database)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(older, text, 0o600); err != nil {
		t.Fatal(err)
	}
	servertest.Alter(t, older, "DELETE FROM goose_db_version WHERE version_id > 3")
	from := []string{"--from", "sqlite:" + database}
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no target":         {from, exit.Usage, "--to is required"},
		"backwards":         {[]string{"--from", target, "--to", "sqlite:" + database}, exit.Usage, "is not supported"},
		"to a file":         {append(from, "--to", "sqlite:x"), exit.Usage, "--to: must be postgres://"},
		"broken address":    {append(from, "--to", "postgres://u:hush-hush@[/x"), exit.Usage, "%XX"},
		"nobody there":      {append(from, "--to", "postgres://u:hush-hush@127.0.0.1:1/x"), exit.Open, "host and port of --to"},
		"no file":           {[]string{"--from", "sqlite:" + database + ".none", "--to", target}, exit.Open, "no such file"},
		"no key":            {append(from, "--to", target, "--master-key-file", other+".none"), exit.MasterKey, "master_key_missing"},
		"wrong key":         {append(from, "--to", target, "--master-key-file", other), exit.MasterKey, "master_key_mismatch"},
		"older":             {[]string{"--from", "sqlite:" + older, "--data", s.Data, "--to", target}, exit.Open, "start \"posthorn serve\" of this release"},
		"compare with none": {append(from, "--to", target, "--compare"), exit.Failed, "holds no store"},
	} {
		out, errOut, code := invoke(t, "", append([]string{"migrate"}, c.args...)...)
		if code != c.code || !strings.Contains(errOut, c.says) {
			t.Errorf("%s: %d %s, want %d %s", name, code, errOut, c.code, c.says)
		}
		if strings.Contains(out+errOut, "hush-hush") {
			t.Errorf("%s: the password is shown: %s", name, errOut)
		}
	}
	t.Setenv("POSTHORN_STORE_FILE", secret)
	_, errOut, code := invoke(t, "", "migrate", "--data", s.Data)
	if code != exit.Open || !strings.Contains(errOut, "nobody") || strings.Contains(errOut, "hush-hush") {
		t.Errorf("an address from a file: %d %s", code, errOut)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &migration{from: "sqlite:" + database, to: target}
	if err := p.run(ctx, os.Stderr, os.Stderr); err == nil || !strings.Contains(err.Error(), "interrupted; nothing was moved") {
		t.Errorf("interrupted: %v", err)
	}
	if _, errOut, code := invoke(t, "", "migrate", "--data", s.Data, "--to", target); code != exit.OK {
		t.Errorf("control: %d %s", code, errOut)
	}
}

// Progress is said, and without a terminal not shown.
func TestMeterIsQuiet(t *testing.T) {
	var b strings.Builder
	meter(cli.NewProgress(&b, 0).Say)("copied", "events", 5)
	if b.Len() != 0 {
		t.Errorf("%q", b.String())
	}
	meter(func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) })("copied", "events", 5)
	if b.String() != "copied 5 rows of events\n" {
		t.Errorf("%q", b.String())
	}
}
