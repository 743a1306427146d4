package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// widest is the length of the longest line.
func widest(text string) (n int) {
	for line := range strings.Lines(text) {
		n = max(n, utf8.RuneCountInString(strings.TrimRight(line, "\n")))
	}
	return n
}

// Every list and every table of one thing fits 80 columns and has its ids whole, whatever
// is in it. The control is --wide.
func TestTablesFitTheScreen(t *testing.T) {
	const id = "01a2212b-d163-7000-b867-4a0e40907348"
	long := strings.Repeat("a long text ", 12)
	row := map[string]any{"id": id, "endpoint": id, "event": id, "kind": "publisher", "mode": "live", "state": "cancelled", "enabled": true, "builtin": true, "attempts": 1234567, "number": 1234,
		"status": 200, "last_status": 200, "duration_ms": 12345.678, "trigger": "schedule", "reason": "listener_away", "test": false, "last_error": "body_read_timeout_of_the_receiver"}
	for _, name := range []string{"tenant", "name", "url", "event_type", "type", "description", "user", "partner", "message", "error"} {
		row[name] = long
	}
	row["event_types"] = []string{"payment.*", "refund.created", "a.very.long.one"}
	for _, name := range []string{"created_at", "accepted_at", "updated_at", "next_attempt_at", "at", "expires_at", "last_used_at"} {
		row[name] = "2026-11-21T22:00:00.123456Z"
	}
	text, err := json.Marshal(row)
	if err != nil {
		t.Fatal(err)
	}
	shapes := map[string][]string{"contexts": {"current", "name", "mode", "kind", "url"}, "profiles": {"name", "builtin", "kind", "description"}}
	for _, n := range nouns {
		for _, v := range n.verbs {
			if v.columns != nil {
				shapes[n.name+" "+v.name] = v.columns
			}
			for member, columns := range v.tables {
				shapes[n.name+" "+v.name+" "+member] = columns
			}
		}
	}
	tooWide := 0
	for name, columns := range shapes {
		var narrow, wide strings.Builder
		for wideToo, out := range map[bool]*strings.Builder{false: &narrow, true: &wide} {
			if err := newTable(out, columns, wideToo).print([]json.RawMessage{text, text}, true); err != nil {
				t.Fatal(err)
			}
		}
		if n := widest(narrow.String()); n > 80 {
			t.Errorf("%s: %d columns\n%s", name, n, narrow.String())
		}
		if name == "endpoint list" && !strings.Contains(narrow.String(), "URL") {
			t.Errorf("no URLs in\n%s", narrow.String())
		}
		if columns[0] == "id" && strings.Count(narrow.String(), id) < 2 {
			t.Errorf("%s: the ids are cut\n%s", name, narrow.String())
		}
		if widest(wide.String()) > 80 {
			tooWide++
		}
	}
	if tooWide < len(shapes)/2 {
		t.Errorf("control: with --wide only %d of %d tables are wider", tooWide, len(shapes))
	}
}

// The answers of a receiver are shown below the attempts, and nothing in them acts on a
// terminal.
func TestDeliveryShowsTheAnswer(t *testing.T) {
	l := startLive(t, "--dev")
	l.Answers(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "{\n  \"error\": \"no \x1b[31mtea\"\n}\n"+strings.Repeat("more\n", 40))
	})
	e := l.Endpoint(client.NewEndpoint{Retry: &client.Retry{Steps: []string{"1h"}}})
	l.Publish("payment.settled", `{}`)
	l.Await(1)
	t.Setenv("POSTHORN_URL", l.API.URL)
	t.Setenv("POSTHORN_KEY", l.API.Key)
	delivery := ""
	l.Until("the attempt is recorded", func() bool {
		var page struct {
			Data []struct {
				ID       string
				Attempts int
			}
		}
		out, _, _ := invoke(t, "", "delivery", "list", "--endpoint", e.ID, "--json")
		if err := json.Unmarshal([]byte(out), &page); err != nil {
			t.Fatal(err)
		}
		delivery = page.Data[0].ID
		return page.Data[0].Attempts == 1
	})
	out, _, _ := invoke(t, "", "delivery", "get", delivery)
	servertest.Contains(t, out, "\nattempt 1\n", "  |   \"error\": \"no \\x1b[31mtea\"\n", "418", "--json shows the stored response")
	if strings.Count(out, "| more") > answerLines || hostile(out) {
		t.Errorf("%q", out)
	}
}

// terminal is a pair of a terminal and who types on it.
func terminal(t *testing.T) (typist, screen *os.File) {
	t.Helper()
	typist, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { typist.Close() })
	if err := unix.IoctlSetPointerInt(int(typist.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(typist.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	return typist, screen
}

// typed runs a command on a terminal on which somebody types.
func typed(t *testing.T, line string, args ...string) (said string, err error) {
	t.Helper()
	typist, screen := terminal(t)
	if _, err := typist.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	root := Root()
	root.SetIn(screen)
	root.SetOut(&text)
	root.SetErr(&text)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return text.String(), err
}

// Deleting asks on a terminal, and without one needs --yes. What was not said yes to is
// still there.
func TestDeletesAsk(t *testing.T) {
	s := newShell(t)
	s.OK("tenant", "create", "--id", "acme")
	s.Refused(exit.Usage, "add --yes", "tenant", "delete", "acme")
	for _, line := range []string{"", "n", "yess", "nein", "no"} {
		said, err := typed(t, line, "tenant", "delete", "acme")
		if err == nil || !strings.Contains(err.Error(), "nothing was done") || !strings.Contains(said, "tenant delete acme at "+s.URL+": continue? [y/N]") {
			t.Errorf("%q: %v %s", line, err, said)
		}
	}
	s.OK("tenant", "get", "acme")
	if said, err := typed(t, "Yes", "tenant", "delete", "acme"); err != nil || !strings.Contains(said, "deleted tenant acme") {
		t.Errorf("%v %s", err, said)
	}
	s.Refused(exit.Refused, "not_found", "tenant", "get", "acme")
}

// Secrets and keys come from files and standard input, so that no command line has them.
func TestSecretsComeFromFiles(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	s := newShell(t)
	dir := t.TempDir()
	servertest.WriteFile(t, dir, "secret", secret+"\n")
	servertest.WriteFile(t, dir, "empty", "\n")
	s.OK("tenant", "create", "--id", "acme")
	create := []string{"endpoint", "create", "--tenant", "acme", "--url", "http://127.0.0.1:9999/", "--event-types", "*", "--json", "--secret"}
	for given, stdin := range map[string]string{"@" + filepath.Join(dir, "secret"): "", "-": secret + "\n", secret: ""} {
		if out := s.OKWith(stdin, append(create, given)...); !strings.Contains(out, secret) {
			t.Errorf("%s: %s", given, out)
		}
	}
	for says, given := range map[string]string{"the secret is empty": "@" + filepath.Join(dir, "empty"), "no such file": "@" + filepath.Join(dir, "none")} {
		s.Refused(exit.Usage, says, append(create, given)...)
	}
	s.Refused(exit.Usage, "--overlap: ", "endpoint", "rotate-secret", "x", "--overlap", "1 day")
	request := "POST / HTTP/1.1\nwebhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek\nwebhook-timestamp: 1614265330\nwebhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\n\n{\"test\": 2432232314}"
	servertest.WriteFile(t, dir, "request", request)
	for _, args := range [][]string{{"verify", "-", "--secret", "@" + filepath.Join(dir, "secret")}, {"verify", filepath.Join(dir, "request"), "--secret", "-"}} {
		stdin := request
		if args[1] != "-" {
			stdin = secret
		}
		if out, errOut, code := invoke(t, stdin, append(args, "--at", "1614265330")...); code != exit.OK {
			t.Errorf("%v: %d %s%s", args, code, out, errOut)
		}
	}
	if _, errOut, code := invoke(t, request, "verify", "-", "--secret", "-"); code != exit.Usage || !strings.Contains(errOut, "standard input") {
		t.Errorf("both from standard input: %d %s", code, errOut)
	}
	servertest.WriteFile(t, dir, "key", servertest.Key+"\n")
	t.Setenv("POSTHORN_KEY", "")
	t.Setenv("POSTHORN_KEY_FILE", filepath.Join(dir, "key"))
	s.OK("tenant", "get", "acme")
	t.Setenv("POSTHORN_KEY_FILE", filepath.Join(dir, "empty"))
	s.Refused(exit.Usage, "is empty", "tenant", "get", "acme")
	t.Setenv("POSTHORN_KEY_FILE", filepath.Join(dir, "none"))
	s.Refused(exit.Usage, "POSTHORN_KEY_FILE: ", "tenant", "get", "acme")
}

// A context is server and key together, in a file for the user alone, and gives way to
// whatever else names either.
func TestContexts(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	s := newShell(t)
	s.OK("tenant", "create", "--id", "acme")
	t.Setenv("POSTHORN_KEY", "")
	t.Setenv("POSTHORN_URL", "")
	file := filepath.Join(home, "posthorn", "contexts.json")
	// Without a terminal the key is piped in. It is tried before anything is kept.
	if _, errOut, code := invoke(t, "not-a-key\n", "login", "--server", s.URL); code != exit.Refused || !strings.Contains(errOut, "unauthorized") {
		t.Errorf("a wrong key: %d %s", code, errOut)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a wrong key was kept")
	}
	shown := s.OKWith(servertest.Key+"\n", "login", "--server", s.URL)
	said, err := typed(t, servertest.TestKey, "login", "tests", "--server", s.URL)
	if shown += said; err != nil || !strings.Contains(said, "(not shown)") {
		t.Errorf("typed: %v %s", err, said)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	shown += s.OK("context", "list") + s.OK("context", "list", "--json")
	servertest.Contains(t, shown, "tests", s.URL)
	live := strings.TrimPrefix(s.URL, "http://")
	s.Refused(exit.Refused, "not_found", "tenant", "get", "nobody")
	shown += s.OK("context", "use", live)
	servertest.Contains(t, s.OK("tenant", "list"), "acme")
	servertest.Contains(t, s.OK("tenant", "list", "--context", "tests"), "acme") // tenants are of both modes
	if strings.Contains(shown, servertest.Key) || strings.Contains(shown, servertest.TestKey) {
		t.Errorf("a key is printed:\n%s", shown)
	}
	// The key of a context goes to its own server alone.
	keys := []string{}
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { keys = append(keys, r.Header.Get("Authorization")) }))
	defer other.Close()
	s.Refused(exit.Usage, "a key is required", "tenant", "list", "--server", other.URL)
	t.Setenv("POSTHORN_URL", other.URL)
	s.Refused(exit.Usage, "a key is required", "tenant", "list")
	t.Setenv("POSTHORN_URL", "")
	s.Refused(exit.Usage, "leave out --server and --key", "tenant", "list", "--context", "tests", "--server", other.URL)
	s.Refused(exit.Usage, "there is no context", "tenant", "list", "--context", "nope")
	s.Refused(exit.Usage, "there is no context", "context", "use", "nope")
	if len(keys) != 0 {
		t.Errorf("another server got %q", keys)
	}
	t.Setenv("POSTHORN_CONTEXT", "tests")
	s.OK("tenant", "list")
	t.Setenv("POSTHORN_CONTEXT", "")
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	s.Refused(exit.Usage, "chmod 600", "tenant", "list")
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	s.OK("context", "remove", live)
	s.Refused(exit.Usage, "a key is required", "tenant", "list")
	servertest.Contains(t, s.OK("context", "list"), "tests")
}

// The shell offers what the server has, and nothing if it does not answer in time.
func TestCompletionAsksTheServer(t *testing.T) {
	s := newShell(t)
	s.OK("tenant", "create", "--id", "acme", "--name", "Acme Ltd")
	s.OK("event-type", "create", "--name", "payment.settled")
	id := s.JSON("endpoint", "create", "--tenant", "acme", "--url", "http://127.0.0.1:9999/hook", "--event-types", "*")["id"].(string)
	for want, args := range map[string][]string{
		"acme\tAcme Ltd\n":                         {"tenant", "get", ""},
		id + "\tacme http://127.0.0.1:9999/hook\n": {"endpoint", "test", id[:8]},
		id + "\tacme":                              {"delivery", "list", "--tenant", "acme", "--endpoint", ""},
		"payment.settled\n":                        {"send", "--tenant", "acme", "--type", "pay"},
		"\nacme\t":                                 {"listen", "--tenant", ""},
	} {
		out, _, _ := invoke(t, "", append([]string{"__complete"}, args...)...)
		if !strings.Contains("\n"+out, want) || !strings.Contains(out, ":4\n") {
			t.Errorf("%v: no %q in %q", args, want, out)
		}
	}
	for _, args := range [][]string{{"tenant", "get", "nobody"}, {"tenant", "get", "acme", ""}} {
		if out, _, _ := invoke(t, "", append([]string{"__complete"}, args...)...); strings.Contains(out, "acme") {
			t.Errorf("%v: %q", args, out)
		}
	}
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	if out, _, code := invoke(t, "", "__complete", "tenant", "get", "--server", silent.URL, ""); code != exit.OK || strings.Contains(out, "acme") {
		t.Errorf("a server that does not answer: %d %q", code, out)
	}
}

// Progress is one line on a terminal, written anew and then gone. The control is a writer
// that is none.
func TestProgress(t *testing.T) {
	typist, screen := terminal(t)
	p := NewProgress(NewScreen(screen), 0)
	p.Say("%d rows", 5)
	p.Say("%s", strings.Repeat("long", 50))
	p.Done()
	p.Done()
	if _, err := screen.WriteString("end\n"); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(typist).ReadString('\n')
	if want := "\r\x1b[K5 rows\r\x1b[K" + strings.Repeat("long", 50)[:78] + "…\r\x1b[Kend\r\n"; err != nil || said != want {
		t.Errorf("%v %q, want %q", err, said, want)
	}
	var b strings.Builder
	p = NewProgress(&b, 0)
	p.Say("5 rows")
	if p.Done(); b.Len() != 0 {
		t.Errorf("control: %q", b.String())
	}
}
