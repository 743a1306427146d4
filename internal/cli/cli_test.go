package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

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
	s.T.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if out := s.OK(args...); strings.Contains(out, says) {
			return out
		}
		<-tick.C
	}
	s.T.Fatalf("posthorn %s never said %q", strings.Join(args, " "), says)
	return ""
}

func TestTenantAndKeyVerbs(t *testing.T) {
	s := newShell(t)
	servertest.Contains(t, squeezed(s.OK("tenant", "create", "--id", "acme", "--name", "Acme Ltd")), "id acme\n", "name Acme Ltd\n", "created_at 20", "Z\n")
	servertest.Contains(t, s.OKWith(`{"id": "piped"}`, "tenant", "create", "--body", "-", "--name", "laid over"), "piped", "laid over")
	servertest.Contains(t, squeezed(s.OK("tenant", "update", "acme", "--name", "Acme")), "name Acme\n")
	servertest.Contains(t, squeezed(s.OK("tenant", "list")), "ID NAME CREATED_AT\n", "piped laid over 20", "acme Acme 20")
	if got, want := strings.TrimSpace(s.OK("tenant", "get", "acme", "--json")), strings.TrimSpace(s.get("/v1/tenants/acme")); got != want {
		t.Errorf("--json printed %s, the server says %s", got, want)
	}
	first := s.OK("tenant", "create", "--idempotency-key", "once", "--json")
	if again := s.OK("tenant", "create", "--idempotency-key", "once", "--json"); again != first {
		t.Errorf("repeated: %s, then %s", first, again)
	}
	servertest.Contains(t, s.OK("tenant", "delete", "piped", "--yes"), "deleted tenant piped\n")
	if out := s.OK("tenant", "delete", s.JSON("tenant", "create")["id"].(string), "--json", "--yes"); out != "" {
		t.Errorf("an empty answer was printed as %q", out)
	}

	out, errOut, code := invoke(t, "", "key", "create", "--kind", "tenant", "--tenant", "acme", "--name", "own")
	if code != exit.OK || !strings.Contains(out, "ph_live_tenant_") || !strings.Contains(errOut, "only once") {
		t.Errorf("key create: %d %s %s", code, out, errOut)
	}
	key := s.JSON("key", "create", "--kind", "publisher")
	text, id := key["key"].(string), key["id"].(string)
	servertest.Contains(t, squeezed(s.OK("key", "list")), "ID ", "publisher live -", "tenant live acme own")
	if strings.Contains(s.OK("key", "list"), text) {
		t.Error("the list shows a key")
	}
	s.Refused(exit.Refused, "an operator key has full access", "tenant", "list", "--key", text)
	servertest.Contains(t, s.OK("key", "revoke", id, "--yes"), "revoked key "+id)
	s.Refused(exit.Refused, "check --key", "tenant", "list", "--key", text)
}

func TestEndpointVerbs(t *testing.T) {
	s := newShell(t)
	target, got := captures(t)
	s.OK("tenant", "create", "--id", "acme")
	e := s.JSON("endpoint", "create", "--tenant", "acme", "--url", target+"/hook", "--event-types", "payment.*,refund.created",
		"--title", "Main", "--header", "X-One: 1", "--header", "X-Two: a:b", "--rate-limit", "5.5", "--retry", `{"steps": ["5s"]}`)
	id, secret := e["id"].(string), e["secret"].(string)
	servertest.Contains(t, s.OK("endpoint", "list", "--tenant", "acme", "--enabled", "true", "--wide"), "payment.*,refund.created  yes  ", "http://127.0.0.1")
	servertest.Contains(t, squeezed(s.OK("endpoint", "get", id)), `{"X-One":"***","X-Two":"***"}`, "rate_limit", "5.5", "disabled_reason -", "health.held 0\n")
	servertest.Contains(t, squeezed(s.OK("endpoint", "update", id, "--title", "Other", "--event-types", "*", "--reset", "retry,rate_limit")), "Other", "retry -", "rate_limit 0")
	servertest.Contains(t, squeezed(s.OK("endpoint", "update", id, "--event-types", "")), "event_types (none)")
	servertest.Contains(t, squeezed(s.OK("endpoint", "disable", id)), "enabled no", "by_hand")
	s.Refused(exit.Refused, "endpoint_disabled", "delivery", "retry", s.held(id, target, got))
	servertest.Contains(t, squeezed(s.OK("endpoint", "enable", id, "--discard")), "enabled yes")

	test := s.JSON("endpoint", "test", id, "--type", "payment.tested", "--data", `{"n": 1}`)
	capture := next(t, got)
	if !bytes.Contains(capture, []byte("payment.tested")) {
		t.Errorf("the test event was %s", capture)
	}
	s.until("succeeded", "delivery", "get", test["delivery"].(string))

	out, errOut, code := invoke(t, "", "endpoint", "rotate-secret", id, "--overlap", "1h")
	if code != exit.OK || !strings.Contains(out, "whsec_") || !strings.Contains(errOut, "only once") || strings.Contains(out, secret) {
		t.Errorf("rotate-secret: %d %s %s", code, out, errOut)
	}
	servertest.Contains(t, s.OK("endpoint", "delete", id, "-y"), "deleted endpoint")
	s.Refused(exit.Refused, "check the id", "endpoint", "get", id)
}

// held publishes an event to an endpoint that fails, disables it, and returns the
// delivery that waits.
func (s *shell) held(endpoint, target string, got <-chan []byte) string {
	s.T.Helper()
	s.OK("endpoint", "update", endpoint, "--url", target+"/broken", "--event-types", "*")
	s.OK("endpoint", "enable", endpoint)
	s.OK("event", "publish", "--tenant", "acme", "--type", "payment.created", "--data", "{}")
	next(s.T, got)
	s.OK("endpoint", "disable", endpoint)
	s.OK("endpoint", "update", endpoint, "--url", target+"/hook")
	rows := s.JSON("delivery", "list", "--endpoint", endpoint)["data"].([]any)
	return rows[0].(map[string]any)["id"].(string)
}

// From publishing to a verdict about the captured request, by commands alone.
func TestEventsDeliveriesAndVerify(t *testing.T) {
	s := newShell(t)
	target, got := captures(t)
	s.OK("tenant", "create", "--id", "acme")
	e := s.JSON("endpoint", "create", "--tenant", "acme", "--url", target+"/hook", "--event-types", "*")
	broken := s.JSON("endpoint", "create", "--tenant", "acme", "--url", target+"/broken", "--event-types", "refund.*", "--disabled")
	event := strings.Fields(s.OKWith(`{"id":  "pay_1"}`, "event", "publish", "--tenant", "acme", "--type", "payment.settled", "--data", "-"))[0]
	capture := next(t, got)

	servertest.Contains(t, s.OK("event", "list", "--tenant", "acme", "--after", "1h", "--wide"), event, "payment.settled", "no ")
	if out := s.OK("event", "list", "--before", "1h"); strings.Contains(out, event) {
		t.Errorf("--before 1h shows what is new:\n%s", out)
	}
	servertest.Contains(t, s.OK("event", "get", event), `{"id":"pay_1"}`, "deliveries: 1\nID ", "payment.settled")
	delivery := s.JSON("delivery", "list", "--event", event)["data"].([]any)[0].(map[string]any)["id"].(string)
	servertest.Contains(t, squeezed(s.until("succeeded", "delivery", "get", delivery)), "attempt_log: 1\n# AT ", "schedule 200 -")
	servertest.Contains(t, s.OK("delivery", "list", "--state", "succeeded", "--status-class", "2xx"), delivery)
	servertest.Contains(t, squeezed(s.OK("delivery", "retry", delivery)), "state succeeded")
	next(t, got)
	s.Refused(exit.Refused, "delivery_settled", "delivery", "cancel", delivery)

	s.OK("endpoint", "enable", broken["id"].(string))
	s.OK("send", "--tenant", "acme", "--type", "refund.created", "--data", "{}")
	open := s.JSON("delivery", "list", "--endpoint", broken["id"].(string))["data"].([]any)[0].(map[string]any)["id"].(string)
	servertest.Contains(t, squeezed(s.until("attempt_log: 1", "delivery", "get", open)), "schedule 500 status_not_success")
	servertest.Contains(t, s.OK("delivery", "cancel", open), "cancelled")

	servertest.Contains(t, s.OK("event", "explain", event, "--tenant", "acme"), "endpoints: 2\n", "matched", "REASON")
	servertest.Contains(t, s.OK("event", "resend", event, "--tenant", "acme", "--endpoint", e["id"].(string)), "deliveries: 1\n", delivery)
	next(t, got)
	servertest.Contains(t, s.OK("endpoint", "stats", e["id"].(string)), "endpoint ", "buckets: 6", "FIRST_TRY")
	servertest.Contains(t, s.OK("stats", "--endpoint", e["id"].(string)), "by 1m\n", "at the first try", "attempts took       p50 ")
	servertest.Contains(t, s.OK("stats", "--tenant", "acme", "--since", "24h"), "tenant acme, from ", "by 15m\n", "status_not_success", "█")
	servertest.Contains(t, s.OK("stats"), "all that the key sees")
	s.Refused(exit.Refused, "(from)", "stats", "--since", "20000h")
	s.Refused(exit.Refused, "--allow-reveal", "endpoint", "reveal-secret", e["id"].(string))

	file := filepath.Join(t.TempDir(), "request.txt")
	if err := os.WriteFile(file, capture, 0o600); err != nil {
		t.Fatal(err)
	}
	servertest.Contains(t, s.OK("verify", file, "--secret", e["secret"].(string)), "valid (standard)\n")
	out, errOut, code := invoke(t, string(capture), "verify", "-", "--secret", broken["secret"].(string))
	if code != exit.Failed || !strings.Contains(out, "not valid: wrong_secret\n") || !strings.Contains(errOut, "wrong_secret") {
		t.Errorf("control: another endpoint's secret: %d %s %s", code, out, errOut)
	}
}

func TestEventTypeVerbs(t *testing.T) {
	s := newShell(t)
	servertest.Contains(t, s.OKWith(`{"type": "object"}`, "event-type", "create", "--name", "payment.settled", "--schema", "-", "--example", `{"id": "p"}`), `{"type":"object"}`)
	servertest.Contains(t, squeezed(s.OK("event-type", "update", "payment.settled", "--description", "Paid", "--reset", "example")), "Paid", "example -")
	servertest.Contains(t, squeezed(s.OK("event-type", "list")), "NAME ", "payment.settled - 1 off no no Paid")
	servertest.Contains(t, s.OK("event-type", "delete", "payment.settled", "--yes"), "deleted event type payment.settled")
	const types = "event_types:\n  - name: order:paid\n    check: reject\n    schema: {required: [id]}\n  - name: a.b\n"
	servertest.Contains(t, s.OKWith(types, "event-type", "apply", "-f", "-", "--dry-run"), "created    order:paid", "created    a.b")
	servertest.Contains(t, s.OKWith(types, "event-type", "apply", "-f", "-"), "created    order:paid", "created    a.b")
	servertest.Contains(t, s.OKWith(strings.Replace(types, "a.b", "a.b\n    description: B", 1), "event-type", "apply", "-f", "-"), "unchanged  order:paid", "changed    a.b")
	// A name with a slash is one part of the path.
	s.OK("event-type", "create", "--name", "orders/create")
	servertest.Contains(t, s.OK("event-type", "get", "orders/create"), "orders/create")
	servertest.Contains(t, s.OK("event-type", "delete", "orders/create", "--yes"), "deleted event type orders/create")
	s.Refused(exit.Refused, "not_found", "event-type", "get", "payment.settled")
}

func TestPages(t *testing.T) {
	s := newShell(t)
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		s.OK("tenant", "create", "--id", id)
	}
	out, errOut, _ := invoke(t, "", "tenant", "list", "--limit", "2")
	if strings.Count(out, "\n") != 3 || !strings.Contains(errOut, "--all lists all of them, --cursor ") {
		t.Errorf("first page:\n%s%s", out, errOut)
	}
	cursor := s.JSON("tenant", "list", "--limit", "2")["next_cursor"].(string)
	servertest.Contains(t, s.OK("tenant", "list", "--limit", "2", "--cursor", cursor), "\nc  ", "\nb  ")
	if out := s.OK("tenant", "list", "--limit", "2", "--all"); strings.Count(out, "\n") != 6 || strings.Count(out, "ID ") != 1 {
		t.Errorf("--all:\n%s", out)
	}
	var joined, whole any
	if err := json.Unmarshal([]byte(s.OK("tenant", "list", "--limit", "2", "--all", "--json")), &joined); err != nil {
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
	if out := s.OK("key", "list", "--all", "--json"); out != "{\"data\":[],\"next_cursor\":null}\n" {
		t.Errorf("an empty list: %q", out)
	}
}

func TestWrongUseOfVerbs(t *testing.T) {
	s := newShell(t)
	s.Refused(exit.Usage, "the commands are create, delete, get", "tenant", "destroy")
	s.Refused(exit.Usage, "takes one ID", "tenant", "get")
	s.Refused(exit.Usage, "nothing to change", "tenant", "update", "acme")
	s.Refused(exit.Usage, "is not a number", "endpoint", "create", "--rate-limit", "fast")
	s.Refused(exit.Usage, `must be "name:value"`, "endpoint", "create", "--header", "novalue")
	s.Refused(exit.Usage, `--metadata: ":gold" must be "name:value"`, "tenant", "create", "--metadata", ":gold")
	s.Refused(exit.Usage, "not a JSON object", "endpoint", "create", "--body", "[1]")
	s.Refused(exit.Usage, "no such file", "endpoint", "create", "--body", "@/does/not/exist")
	s.Refused(exit.Usage, "is not an address", "tenant", "list", "--server", "localhost:8080")
	if _, errOut, code := invoke(t, "{}", "endpoint", "test", "x", "--body", "-", "--data", "-"); code != exit.Usage || !strings.Contains(errOut, "standard input is already read by another flag") {
		t.Errorf("two flags from one input: %d %s", code, errOut)
	}
	s.Refused(exit.Usage, "--event-types is required", "endpoint", "create", "--tenant", "acme", "--url", "https://example.com/")
	s.Refused(exit.Refused, "posthorn tenant list", "event", "publish", "--tenant", "nobody", "--type", "a", "--data", "{}")
	s.Refused(exit.Unreachable, "is the server running", "tenant", "list", "--server", "http://127.0.0.1:1")
	t.Setenv("POSTHORN_KEY", "")
	s.Refused(exit.Usage, "a key is required", "tenant", "list")
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
		if code != exit.OK || !strings.Contains(out, "posthorn") || len(out) < 1000 {
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
	servertest.Contains(t, out, "create", "rotate-secret")
	out, _, _ = invoke(t, "", "__complete", "delivery", "list", "--state", "")
	servertest.Contains(t, out, "held\n", "succeeded\n")
	out, _, _ = invoke(t, "", "--help")
	servertest.Contains(t, out, "completion", "verify", "healthcheck", "tenant", "endpoint")
}
