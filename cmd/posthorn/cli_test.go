package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	cliKey     = "cli-test-live-operator-key-0123456789abcdef"
	cliTestKey = "cli-test-test-operator-key-0123456789abcdef"
)

// shell is a running node and a way to run commands against it.
type shell struct {
	t    *testing.T
	node *node
	url  string
	data string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	t.Setenv("POSTHORN_KEY", cliKey)
	cfg := &Config{}
	flags := cfg.flags()
	cfg.Data, cfg.Listen, cfg.Dev = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", true
	cfg.OperatorKey, cfg.OperatorTestKey = cliKey, cliTestKey
	if err := cfg.load(flags, ""); err != nil {
		t.Fatal(err)
	}
	n, err := startNode(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, node: n, url: "http://" + n.api.Addr().String(), data: cfg.Data}
	t.Setenv("POSTHORN_URL", s.url)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		n.stop(ctx)
	})
	return s
}

// invoke runs one command line and returns what it printed and its exit code, the
// way run does.
func invoke(t *testing.T, stdin string, args ...string) (out, errOut string, code int) {
	t.Helper()
	root := newRoot()
	var o, e bytes.Buffer
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&o)
	root.SetErr(&e)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	if err == nil {
		return o.String(), e.String(), exitOK
	}
	e.WriteString(err.Error())
	if x, ok := errors.AsType[*exitError](err); ok {
		return o.String(), e.String(), x.code
	}
	return o.String(), e.String(), exitFailed
}

// ok runs a command that must succeed.
func (s *shell) ok(args ...string) string {
	s.t.Helper()
	return s.okWith("", args...)
}

func (s *shell) okWith(stdin string, args ...string) string {
	s.t.Helper()
	out, errOut, code := invoke(s.t, stdin, args...)
	if code != exitOK {
		s.t.Fatalf("posthorn %s: code %d, %s", strings.Join(args, " "), code, errOut)
	}
	return out
}

// json runs a command with --json and reads its answer.
func (s *shell) json(args ...string) map[string]any {
	s.t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(s.ok(append(args, "--json")...)), &v); err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *shell) refused(code int, says string, args ...string) {
	s.t.Helper()
	out, errOut, got := invoke(s.t, "", args...)
	if got != code || !strings.Contains(errOut, says) || out != "" {
		s.t.Errorf("posthorn %s: code %d, want %d and %q: %s%s", strings.Join(args, " "), got, code, says, out, errOut)
	}
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}

// get is the server's own answer.
func (s *shell) get(path string) string {
	s.t.Helper()
	req, _ := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	req.Header.Set("Authorization", "Bearer "+cliKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(body)
}

// captures is a receiver that keeps each request as it came.
func captures(t *testing.T) (url string, got <-chan []byte) {
	t.Helper()
	requests := make(chan []byte, 64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := httputil.DumpRequest(r, true)
		if err != nil {
			t.Error(err)
		}
		requests <- text
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

func next(t *testing.T, got <-chan []byte) []byte {
	t.Helper()
	select {
	case text := <-got:
		return text
	case <-time.After(10 * time.Second):
		t.Fatal("no request within 10 s")
		return nil
	}
}

// until runs a command again until it says so.
func (s *shell) until(says string, args ...string) string {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if out := s.ok(args...); strings.Contains(out, says) {
			return out
		}
		<-tick.C
	}
	s.t.Fatalf("posthorn %s never said %q", strings.Join(args, " "), says)
	return ""
}

func TestTenantAndKeyVerbs(t *testing.T) {
	s := newShell(t)
	contains(t, s.ok("tenant", "create", "--id", "acme", "--name", "Acme Ltd"), "id          acme\n", "name        Acme Ltd\n", "created_at  20", "Z\n")
	contains(t, s.okWith(`{"id": "piped"}`, "tenant", "create", "--body", "-", "--name", "laid over"), "piped", "laid over")
	contains(t, s.ok("tenant", "update", "acme", "--name", "Acme"), "name        Acme\n")
	contains(t, s.ok("tenant", "list"), "ID     NAME       CREATED_AT\n", "piped  laid over  20", "acme   Acme       20")
	if got, want := strings.TrimSpace(s.ok("tenant", "get", "acme", "--json")), strings.TrimSpace(s.get("/v1/tenants/acme")); got != want {
		t.Errorf("--json printed %s, the server says %s", got, want)
	}
	first := s.ok("tenant", "create", "--idempotency-key", "once", "--json")
	if again := s.ok("tenant", "create", "--idempotency-key", "once", "--json"); again != first {
		t.Errorf("repeated: %s, then %s", first, again)
	}
	contains(t, s.ok("tenant", "delete", "piped"), "deleted tenant piped\n")
	if out := s.ok("tenant", "delete", s.json("tenant", "create")["id"].(string), "--json"); out != "" {
		t.Errorf("an empty answer was printed as %q", out)
	}

	out, errOut, code := invoke(t, "", "key", "create", "--kind", "tenant", "--tenant", "acme", "--name", "own")
	if code != exitOK || !strings.Contains(out, "ph_live_tenant_") || !strings.Contains(errOut, "this once") {
		t.Errorf("key create: %d %s %s", code, out, errOut)
	}
	key := s.json("key", "create", "--kind", "publisher")
	text, id := key["key"].(string), key["id"].(string)
	contains(t, s.ok("key", "list"), "ID ", "publisher  live  -", "tenant     live  acme    own")
	if strings.Contains(s.ok("key", "list"), text) {
		t.Error("the list shows a key")
	}
	s.refused(exitRefused, "an operator may do everything", "tenant", "list", "--key", text)
	contains(t, s.ok("key", "revoke", id), "revoked key "+id)
	s.refused(exitRefused, "check --key", "tenant", "list", "--key", text)
}

func TestEndpointVerbs(t *testing.T) {
	s := newShell(t)
	target, got := captures(t)
	s.ok("tenant", "create", "--id", "acme")
	e := s.json("endpoint", "create", "--tenant", "acme", "--url", target+"/hook", "--event-types", "payment.*,refund.created",
		"--title", "Main", "--header", "X-One: 1", "--header", "X-Two: a:b", "--rate-limit", "5.5", "--retry", `{"steps": ["5s"]}`)
	id, secret := e["id"].(string), e["secret"].(string)
	contains(t, s.ok("endpoint", "list", "--tenant", "acme", "--enabled", "true"), "payment.*,refund.created  yes  ", "http://127.0.0.1")
	contains(t, s.ok("endpoint", "get", id), `{"X-One":"***","X-Two":"***"}`, "rate_limit", "5.5", "disabled_reason              -", "health.held                  0\n")
	contains(t, s.ok("endpoint", "update", id, "--title", "Other", "--event-types", "*", "--reset", "retry,rate_limit"), "Other", "retry                     -", "rate_limit                0")
	contains(t, s.ok("endpoint", "update", id, "--event-types", ""), "event_types               (none)")
	contains(t, s.ok("endpoint", "disable", id), "enabled                   no", "by_hand")
	s.refused(exitRefused, "endpoint_disabled", "delivery", "retry", s.held(id, target, got))
	contains(t, s.ok("endpoint", "enable", id, "--discard"), "enabled                   yes")

	test := s.json("endpoint", "test", id, "--type", "payment.tested", "--data", `{"n": 1}`)
	capture := next(t, got)
	if !bytes.Contains(capture, []byte("payment.tested")) {
		t.Errorf("the test event was %s", capture)
	}
	s.until("succeeded", "delivery", "get", test["delivery"].(string))

	out, errOut, code := invoke(t, "", "endpoint", "rotate-secret", id, "--overlap", "1h")
	if code != exitOK || !strings.Contains(out, "whsec_") || !strings.Contains(errOut, "this once") || strings.Contains(out, secret) {
		t.Errorf("rotate-secret: %d %s %s", code, out, errOut)
	}
	contains(t, s.ok("endpoint", "delete", id), "deleted endpoint")
	s.refused(exitRefused, "check the id", "endpoint", "get", id)
}

// held publishes an event to an endpoint that fails, disables it, and returns the
// delivery that waits.
func (s *shell) held(endpoint, target string, got <-chan []byte) string {
	s.t.Helper()
	s.ok("endpoint", "update", endpoint, "--url", target+"/broken", "--event-types", "*")
	s.ok("endpoint", "enable", endpoint)
	s.ok("event", "publish", "--tenant", "acme", "--type", "payment.created", "--data", "{}")
	next(s.t, got)
	s.ok("endpoint", "disable", endpoint)
	s.ok("endpoint", "update", endpoint, "--url", target+"/hook")
	rows := s.json("delivery", "list", "--endpoint", endpoint)["data"].([]any)
	return rows[0].(map[string]any)["id"].(string)
}

// From publishing to a verdict about the captured request, by commands alone.
func TestEventsDeliveriesAndVerify(t *testing.T) {
	s := newShell(t)
	target, got := captures(t)
	s.ok("tenant", "create", "--id", "acme")
	e := s.json("endpoint", "create", "--tenant", "acme", "--url", target+"/hook", "--event-types", "*")
	broken := s.json("endpoint", "create", "--tenant", "acme", "--url", target+"/broken", "--event-types", "refund.*", "--disabled")
	event := strings.Fields(s.okWith(`{"id":  "pay_1"}`, "event", "publish", "--tenant", "acme", "--type", "payment.settled", "--data", "-"))[0]
	capture := next(t, got)

	contains(t, s.ok("event", "list", "--tenant", "acme", "--after", "1h"), event, "payment.settled", "no ")
	if out := s.ok("event", "list", "--before", "1h"); strings.Contains(out, event) {
		t.Errorf("--before 1h shows what is new:\n%s", out)
	}
	contains(t, s.ok("event", "get", event), `{"id":"pay_1"}`, "deliveries: 1\nID ", "payment.settled")
	delivery := s.json("delivery", "list", "--event", event)["data"].([]any)[0].(map[string]any)["id"].(string)
	contains(t, s.until("succeeded", "delivery", "get", delivery), "attempt_log: 1\nNUMBER  AT ", "schedule  200     -")
	contains(t, s.ok("delivery", "list", "--state", "succeeded", "--status-class", "2xx"), delivery)
	contains(t, s.ok("delivery", "retry", delivery), "state            succeeded")
	next(t, got)
	s.refused(exitRefused, "delivery_settled", "delivery", "cancel", delivery)

	s.ok("endpoint", "enable", broken["id"].(string))
	s.ok("send", "--tenant", "acme", "--type", "refund.created", "--data", "{}")
	open := s.json("delivery", "list", "--endpoint", broken["id"].(string))["data"].([]any)[0].(map[string]any)["id"].(string)
	contains(t, s.until("attempt_log: 1", "delivery", "get", open), "schedule  500     status_not_success")
	contains(t, s.ok("delivery", "cancel", open), "cancelled")

	contains(t, s.ok("event", "explain", event, "--tenant", "acme"), "endpoints: 2\n", "matched", "REASON")
	contains(t, s.ok("event", "resend", event, "--tenant", "acme", "--endpoint", e["id"].(string)), "deliveries: 1\n", delivery)
	next(t, got)
	contains(t, s.ok("endpoint", "stats", e["id"].(string)), "endpoint ", "buckets: 6", "FIRST_TRY")
	contains(t, s.ok("stats", "--endpoint", e["id"].(string)), "by 1m\n", "at the first try", "attempts took       p50 ")
	contains(t, s.ok("stats", "--tenant", "acme", "--since", "24h"), "tenant acme, from ", "by 15m\n", "status_not_success", "█")
	contains(t, s.ok("stats"), "all that the key sees")
	s.refused(exitRefused, "(from)", "stats", "--since", "20000h")
	s.refused(exitRefused, "--allow-reveal", "endpoint", "reveal-secret", e["id"].(string))

	file := filepath.Join(t.TempDir(), "request.txt")
	if err := os.WriteFile(file, capture, 0o600); err != nil {
		t.Fatal(err)
	}
	contains(t, s.ok("verify", file, "--secret", e["secret"].(string)), "valid (standard)\n")
	out, errOut, code := invoke(t, string(capture), "verify", "-", "--secret", broken["secret"].(string))
	if code != exitFailed || !strings.Contains(out, "not valid: wrong_secret\n") || !strings.Contains(errOut, "wrong_secret") {
		t.Errorf("control: another endpoint's secret: %d %s %s", code, out, errOut)
	}
}

func TestEventTypeVerbs(t *testing.T) {
	s := newShell(t)
	contains(t, s.okWith(`{"type": "object"}`, "event-type", "create", "--name", "payment.settled", "--schema", "-", "--example", `{"id": "p"}`), `{"type":"object"}`)
	contains(t, s.ok("event-type", "update", "payment.settled", "--description", "Paid", "--reset", "example"), "Paid", "example      -")
	contains(t, s.ok("event-type", "list"), "NAME ", "payment.settled  Paid")
	contains(t, s.ok("event-type", "delete", "payment.settled"), "deleted event type payment.settled")
	s.refused(exitRefused, "not_found", "event-type", "get", "payment.settled")
}

func TestPages(t *testing.T) {
	s := newShell(t)
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		s.ok("tenant", "create", "--id", id)
	}
	out, errOut, _ := invoke(t, "", "tenant", "list", "--limit", "2")
	if strings.Count(out, "\n") != 3 || !strings.Contains(errOut, "--all shows them, --cursor ") {
		t.Errorf("first page:\n%s%s", out, errOut)
	}
	cursor := s.json("tenant", "list", "--limit", "2")["next_cursor"].(string)
	contains(t, s.ok("tenant", "list", "--limit", "2", "--cursor", cursor), "\nc  ", "\nb  ")
	if out := s.ok("tenant", "list", "--limit", "2", "--all"); strings.Count(out, "\n") != 6 || strings.Count(out, "ID ") != 1 {
		t.Errorf("--all:\n%s", out)
	}
	var joined, whole any
	if err := json.Unmarshal([]byte(s.ok("tenant", "list", "--limit", "2", "--all", "--json")), &joined); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(s.get("/v1/tenants?limit=250")), &whole); err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(joined)
	b, _ := json.Marshal(whole)
	if !bytes.Equal(a, b) {
		t.Errorf("joined pages %s, in one %s", a, b)
	}
	if out := s.ok("key", "list", "--all", "--json"); out != "{\"data\":[],\"next_cursor\":null}\n" {
		t.Errorf("an empty list: %q", out)
	}
}

func TestWrongUseOfVerbs(t *testing.T) {
	s := newShell(t)
	s.refused(exitUsage, "the commands are create, delete, get", "tenant", "destroy")
	s.refused(exitUsage, "takes one ID", "tenant", "get")
	s.refused(exitUsage, "nothing to change", "tenant", "update", "acme")
	s.refused(exitUsage, "is not a number", "endpoint", "create", "--rate-limit", "fast")
	s.refused(exitUsage, `"Name: value"`, "endpoint", "create", "--header", "novalue")
	s.refused(exitUsage, "not a JSON object", "endpoint", "create", "--body", "[1]")
	s.refused(exitUsage, "no such file", "endpoint", "create", "--body", "@/does/not/exist")
	s.refused(exitUsage, "is not an address", "tenant", "list", "--server", "localhost:8080")
	if _, errOut, code := invoke(t, "{}", "endpoint", "test", "x", "--body", "-", "--data", "-"); code != exitUsage || !strings.Contains(errOut, "standard input is read by another") {
		t.Errorf("two flags from one input: %d %s", code, errOut)
	}
	s.refused(exitUsage, "--event-types is required", "endpoint", "create", "--tenant", "acme", "--url", "https://example.com/")
	s.refused(exitRefused, "posthorn tenant list", "event", "publish", "--tenant", "nobody", "--type", "a", "--data", "{}")
	s.refused(exitUnreachable, "is the server running", "tenant", "list", "--server", "http://127.0.0.1:1")
	t.Setenv("POSTHORN_KEY", "")
	s.refused(exitUsage, "POSTHORN_KEY is required", "tenant", "list")
}

// What a receiver or a tenant wrote must not steer the terminal of who looks.
func TestPrintedTextIsHarmless(t *testing.T) {
	for raw, want := range map[string]string{
		"\"a\\u001b[2Jb\"":                  `a\x1b[2Jb`,
		`"line\nnext\ttab"`:                 `line\nnext\ttab`,
		"\"\u202eevil\"":                    `\u202eevil`,
		`"Zażółć 😀"`:                        "Zażółć 😀",
		`{"k": "\u009b31m"}`:                `{"k": "\u009b31m"}`,
		`"2026-04-24T10:31:40.000001Z"`:     "2026-04-24T10:31:40Z",
		`["a", "b\u0007"]`:                  `a,b\a`,
		"null":                              "-",
		"true":                              "yes",
		`""`:                                "-",
		"12.50":                             "12.50",
		"{\"raw\":\"\x1b[31m is no JSON\"}": `{"raw":"\x1b[31m is no JSON"}`,
	} {
		if got := cell(json.RawMessage(raw)); got != want {
			t.Errorf("%q is shown as %q, want %q", raw, got, want)
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, name := range []string{"bash", "zsh", "fish", "powershell"} {
		out, _, code := invoke(t, "", "completion", name)
		if code != exitOK || !strings.Contains(out, "posthorn") || len(out) < 1000 {
			t.Errorf("completion %s: %d, %d bytes", name, code, len(out))
		}
		if name == "bash" {
			check := exec.CommandContext(t.Context(), "bash", "-n")
			check.Stdin = strings.NewReader(out)
			if said, err := check.CombinedOutput(); err != nil {
				t.Errorf("bash does not take it: %v %s", err, said)
			}
		}
	}
	out, _, _ := invoke(t, "", "__complete", "endpoint", "")
	contains(t, out, "create", "rotate-secret")
	out, _, _ = invoke(t, "", "__complete", "delivery", "list", "--state", "")
	contains(t, out, "held\n", "succeeded\n")
	out, _, _ = invoke(t, "", "--help")
	contains(t, out, "completion", "doctor", "verify", "healthcheck", "tenant", "endpoint")
}
