package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// A command line that is not complete, or that names a server by a flag of another
// meaning, sends the key to nobody.
func TestTheKeyStaysHere(t *testing.T) {
	asked := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer elsewhere.Close()
	t.Setenv("POSTHORN_KEY", servertest.Key)
	t.Setenv("POSTHORN_URL", elsewhere.URL)
	for says, args := range map[string][]string{
		"--url is required":         {"endpoint", "create", "--tenant", "acme", "--event-types", "*"},
		"--event-types is required": {"endpoint", "create", "--url", elsewhere.URL},
		"--kind is required":        {"key", "create"},
		"--name is required":        {"event-type", "create"},
		"--user is required":        {"partner-user", "create", "--partner", "agency", "--tenant", "acme"},
		"did you mean --server?":    {"tenant", "list", "--url", elsewhere.URL},
		"did you mean --url?":       {"endpoint", "create", "--target", elsewhere.URL},
		`"a..b" is not an event`:    {"endpoint", "create", "--url", elsewhere.URL, "--event-types", "a.b, a..b"},
		`such as {"steps":`:         {"endpoint", "create", "--url", elsewhere.URL, "--event-types", "*", "--retry", "5s"},
		"byte 9":                    {"send", "--tenant", "acme", "--type", "a", "--data", `{"n": 1,}`},
		"2026-11-21T22:00:00Z":      {"event", "list", "--after", "yesterday"},
	} {
		if _, errOut, code := invoke(t, "", args...); code != exit.Usage || !strings.Contains(errOut, says) {
			t.Errorf("%v: code %d, want %q: %s", args, code, says, errOut)
		}
	}
	if asked != 0 {
		t.Errorf("the server was asked %d times", asked)
	}
	// Control: the same commands, complete, ask it, and its empty answer is no answer.
	for _, args := range [][]string{
		{"endpoint", "create", "--tenant", "acme", "--url", elsewhere.URL, "--event-types", "*"}, {"tenant", "list"},
		{"tenant", "get", "acme", "--json"}, {"send", "--tenant", "acme", "--type", "a", "--data", "{}"},
	} {
		before := asked
		if _, errOut, code := invoke(t, "", args...); code != exit.Unreachable || !strings.Contains(errOut, "not from a Posthorn server; is --server") || strings.Contains(errOut, "%!") || asked == before {
			t.Errorf("%v: code %d, asked %d: %s", args, code, asked-before, errOut)
		}
	}
}

func TestAnswersThatAreNotPosthorns(t *testing.T) {
	body, status := "", http.StatusOK
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	defer other.Close()
	t.Setenv("POSTHORN_KEY", servertest.Key)
	for _, c := range []struct {
		status int
		body   string
	}{{200, "<html></html>"}, {200, "{}"}, {200, "[]"}, {200, `"text"`}, {404, "not here"}, {302, ""}} {
		status, body = c.status, c.body
		for _, args := range [][]string{{"tenant", "list"}, {"tenant", "get", "acme"}, {"tenant", "create", "--id", "acme"}} {
			if _, errOut, code := invoke(t, "", append(args, "--server", other.URL)...); code != exit.Unreachable || !strings.Contains(errOut, "is --server (POSTHORN_URL) right?") {
				t.Errorf("%d %q, %v: code %d, %s", c.status, c.body, args, code, errOut)
			}
		}
	}
}

func TestNextSteps(t *testing.T) {
	s := newShell(t)
	target, got := captures(t)
	s.OK("tenant", "create", "--id", "acme")
	e := s.JSON("endpoint", "create", "--tenant", "acme", "--url", target+"/hook", "--event-types", "payment.* , refund.*")
	id := e["id"].(string)
	servertest.Contains(t, squeezed(s.OK("endpoint", "get", id)), "event_types payment.*,refund.*\n")
	servertest.Contains(t, squeezed(s.OK("endpoint", "test", id)), "outcome succeeded, status 200 (")
	next(t, got)
	if out := s.OK("endpoint", "test", id, "--no-wait"); strings.Contains(out, "outcome") {
		t.Errorf("--no-wait: %s", out)
	}
	next(t, got)
	delivery := s.held(id, target, got)
	s.Refused(exit.Refused, "posthorn endpoint enable "+id, "delivery", "retry", delivery)
	says := func(want string, args ...string) {
		t.Helper()
		if _, errOut, code := invoke(t, "", args...); code != exit.OK || !strings.Contains(errOut, want) {
			t.Errorf("%v: code %d, want %q: %s", args, code, want, errOut)
		}
	}
	says("do not reach this endpoint", "endpoint", "disable", id)
	says("1 held delivery is sent now.", "endpoint", "enable", id)
	next(t, got)
	s.until("succeeded", "delivery", "get", delivery)
	says("posthorn delivery get "+delivery, "delivery", "retry", delivery)
	next(t, got)
	event := s.JSON("delivery", "get", delivery)["event"].(string)
	servertest.Contains(t, squeezed(s.OK("event", "get", event)), "data {}\n")
	says("0 new deliveries, 1 sent again.", "event", "resend", event)
	says("warning: ", "send", "--tenant", "acme", "--type", "payment.created", "--data", `{"n": "`+strings.Repeat("x", 100_000)+`"}`)
	key := s.JSON("key", "create", "--kind", "tenant", "--tenant", "acme")["key"].(string)
	s.Refused(exit.Refused, "leave out --tenant", "endpoint", "list", "--tenant", "other", "--key", key)
	s.Refused(exit.Usage, "--tenant is needed with an operator key", "listen", "--print-only")
	s.Refused(exit.Usage, "cannot be combined", "listen", "--print-only", "--forward", target)
	s.Refused(exit.Refused, "the root of the server", "tenant", "list", "--server", s.URL+"/docs/nothing")
	s.OK("tenant", "create", "--id", "agency")
	grant := s.JSON("partner-user", "create", "--partner", "agency", "--user", "u-1", "--tenant", "acme")["id"].(string)
	servertest.Contains(t, s.OK("partner-user", "list", "--partner", "agency"), grant, "u-1")
	servertest.Contains(t, s.OK("partner-user", "delete", grant, "--yes"), "deleted partner user")
}

// What listen saves and what it prints as JSON verifies with the printed secret.
func TestListenSaves(t *testing.T) {
	l := startLive(t, "--dev")
	key := l.tenantKey()
	t.Setenv("POSTHORN_URL", l.API.URL)
	t.Setenv("POSTHORN_KEY", key.Key)
	dir := filepath.Join(t.TempDir(), "captures")
	r := l.listens(key.Key, "--print-only", "--save", dir, "--json")
	l.Publish("payment.settled", "{\"n\":  1, \"text\": \"za\u017c\u00f3\u0142\u0107\"}")
	l.Until("it is shown", func() bool { return strings.Contains(r.out.String(), `"delivery":`) })
	var hello struct {
		Listening struct{ Secret, Endpoint string }
	}
	var line struct {
		Delivery struct{ Request json.RawMessage }
	}
	for text := range strings.Lines(r.out.String()) {
		if err := json.Unmarshal([]byte(text), &hello); err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal([]byte(text), &line)
	}
	files, err := filepath.Glob(dir + "/*.http")
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	saved, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, capture := range map[string]string{"saved": string(saved), "printed": string(line.Delivery.Request)} {
		if out, errOut, code := invoke(t, capture, "verify", "-", "--secret", hello.Listening.Secret); code != exit.OK {
			t.Errorf("%s: code %d, %s%s\n%s", name, code, out, errOut, capture)
		}
		if _, _, code := invoke(t, strings.Replace(capture, "1,", "2,", 1), "verify", "-", "--secret", hello.Listening.Secret); code != exit.Failed {
			t.Errorf("control: %s, changed: code %d", name, code)
		}
	}
	r.stop()
	<-r.done
	if !strings.Contains(r.out.String(), "posthorn endpoint delete "+hello.Listening.Endpoint) {
		t.Errorf("no goodbye: %s", r.out.String())
	}
	if _, _, code := invoke(t, "", "endpoint", "get", hello.Listening.Endpoint); code != exit.OK {
		t.Error("control: without --remove the endpoint stays")
	}
	r = l.listens(key.Key, "--print-only", "--remove")
	r.stop()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	if _, _, code := invoke(t, "", "endpoint", "get", hello.Listening.Endpoint); code != exit.Refused {
		t.Errorf("--remove left the endpoint: code %d\n%s", code, r.out.String())
	}
}

// The channels of an event are one flag, for sending it and for asking who would get it.
func TestChannelFlag(t *testing.T) {
	s := newShell(t)
	target, _ := captures(t)
	s.OK("tenant", "create", "--id", "acme")
	id := s.JSON("endpoint", "create", "--tenant", "acme", "--url", target+"/hook", "--event-types", "*", "--channels", "c2")["id"].(string)
	for count, channels := range map[string][]string{"1": {"--channel", "c1", "--channel", "c2"}, "0": {"--channel", "c1"}} { // the second is the control
		out := s.OK(append([]string{"event", "match", "--tenant", "acme", "--type", "a.b"}, channels...)...)
		servertest.Contains(t, out, "count   "+count+"\n")
		if strings.Contains(out, id) != (count == "1") {
			t.Errorf("%v: %s", channels, out)
		}
	}
	s.Refused(exit.Usage, "--channel", "event", "match", "--tenant", "acme", "--type", "a.b", "--channel", "c 1")
}

// A replay from the command line, and a retry that passes a disabled endpoint, on a node
// that runs.
func TestReplayCommands(t *testing.T) {
	s := newShell(t)
	target, got := captures(t)
	s.OK("tenant", "create", "--id", "acme")
	for range 3 {
		s.OK("send", "--tenant", "acme", "--type", "payment.settled", "--data", "{}")
	}
	id := s.JSON("endpoint", "create", "--tenant", "acme", "--url", target+"/hook", "--event-types", "payment.*")["id"].(string)
	servertest.Contains(t, s.OK("event", "match", "--tenant", "acme", "--type", "payment.settled"), "count   1\n", "endpoints: 1", id)
	replay := []string{"replay", "create", "--endpoint", id, "--source", "missing", "--event-types", "payment.*", "--after", "1h", "--rate", "1000"}
	servertest.Contains(t, s.OK(append(replay, "--dry-run")...), "dry_run", "3 events would be sent", "sample: 3", "payment.settled")
	if len(got) != 0 {
		t.Error("the dry run sent something")
	}
	out, errOut, code := invoke(t, "", append(replay, "--wait")...)
	if code != exit.OK || !strings.Contains(out, "Done: 0 delivered, 0 failed, 3 deliveries made.") {
		t.Errorf("code %d, %s%s", code, out, errOut)
	}
	for range 3 {
		next(t, got)
	}
	out = s.OK(append(replay, "--wait")...)
	servertest.Contains(t, out, "Nothing matched. Nothing was sent.")
	again := s.JSON("replay", "create", "--endpoint", id, "--source", "all", "--rate", "0.1")["id"].(string)
	next(t, got)
	servertest.Contains(t, s.OK("replay", "pause", again), "paused", "1 of 3 dealt with.")
	servertest.Contains(t, s.OK("replay", "list", "--endpoint", id, "--state", "paused"), again)
	servertest.Contains(t, s.OK("replay", "cancel", again), "cancelled")
	s.Refused(exit.Refused, "The replay is cancelled already", "replay", "resume", again)
	s.Refused(exit.Refused, "must be from 0.1 to 1000", "replay", "create", "--endpoint", id, "--rate", "0")
	s.Refused(exit.Refused, "must be from 0.1 to 1000", "replay", "create", "--endpoint", id, "--rate", "1000000")
	s.Refused(exit.Usage, "--endpoint is required", "replay", "create")

	s.OK("endpoint", "disable", id)
	s.Refused(exit.Refused, "posthorn endpoint enable "+id, "replay", "create", "--endpoint", id)
	delivery := s.JSON("delivery", "list", "--endpoint", id)["data"].([]any)[0].(map[string]any)["id"].(string)
	s.Refused(exit.Refused, "even_if_disabled", "delivery", "retry", delivery)
	out, errOut, code = invoke(t, "", "delivery", "retry", delivery, "--even-if-disabled")
	if code != exit.OK || !strings.Contains(out, "outcome   succeeded, status 200") || !strings.Contains(errOut, "posthorn endpoint enable "+id) {
		t.Errorf("code %d, %s%s", code, out, errOut)
	}
	next(t, got)
}
