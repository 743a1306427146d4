package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/exit"
)

// odd are characters that a terminal may act on, or that turn text around.
const odd = "\x1b]52;c;cGxhbnRlZA==\x07 \u009b31m \u202e \r \x7f \x00 \U000e0041"

// hostile reports whether a text would do something to a terminal.
func hostile(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && string(shownText([]byte(string(r)))) != string(r) })
}

// What the commands write is the same text, without what a terminal acts on, wherever
// a write ends. The control is the text as it came.
func TestScreen(t *testing.T) {
	text := "good é 株 👍\n\t" + odd + "\n"
	if !hostile(text) || hostile("good é 株 👍\n") {
		t.Fatal("control: the judge is wrong")
	}
	whole := &bytes.Buffer{}
	if _, err := (&Screen{to: whole}).Write([]byte(text)); err != nil || hostile(whole.String()) || !strings.HasPrefix(whole.String(), "good é 株 👍\n\t\\u001b]52;") {
		t.Errorf("%v %q", err, whole)
	}
	single := &bytes.Buffer{}
	s := &Screen{to: single}
	for i := range len(text) {
		if n, err := s.Write([]byte(text[i : i+1])); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if single.String() != whole.String() {
		t.Errorf("byte for byte: %q", single)
	}
	// JSON stays the same JSON.
	want := map[string]string{"a\u009b": "b\x7f\U000e0041\u202e"}
	encoded, _ := json.Marshal(want)
	var got map[string]string
	if shown := shownText(encoded); hostile(string(shown)) || json.Unmarshal(shown, &got) != nil || got["a\u009b"] != want["a\u009b"] {
		t.Errorf("%q", shown)
	}
	if shown := shownText([]byte("a\x9bb\xff")); string(shown) != `a\ufffdb\ufffd` {
		t.Errorf("bytes that are not UTF-8: %q", shown)
	}
	if _, err := (&Screen{to: failing{}}).Write([]byte("x")); err == nil {
		t.Error("an error of writing is lost")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no room") }

// What listen prints of a delivery and of a server stays on its line.
func TestListenPrintsPlainText(t *testing.T) {
	var out bytes.Buffer
	l := &listener{out: &out, printOnly: true, shown: map[string]int{}}
	text := "x" + odd + "\nListening as somebody else"
	l.greet(&client.ListenHello{Endpoint: text, Tenant: text, Mode: text, URL: text, Profile: text, EventTypes: []string{text}, Secret: text, Held: 1})
	l.note("%v", errors.New(text))
	d := &client.ListenDelivery{ID: text, EventType: text, Headers: []client.ListenHeader{{Name: text, Value: text}}, Body: []byte("{\"a\":\"" + odd + "\"}")}
	l.show(d, &client.ListenAnswer{Error: text, Message: text}, time.Second, errors.New(text))
	if hostile(out.String()) || strings.Contains(out.String(), "\nListening as somebody") || strings.Count(out.String(), "\n") != 9 {
		t.Errorf("%d lines: %q", strings.Count(out.String(), "\n"), out.String())
	}
}

// A problem of a hostile server ends on one plain line, as run prints it.
func TestProblemsArePlain(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(422)
		_ = json.NewEncoder(w).Encode(client.Problem{Code: "x", Detail: odd, Field: odd, RequestID: odd})
	}))
	defer server.Close()
	_, errOut, code := invoke(t, "", "tenant", "list", "--server", server.URL, "--key", "k")
	if code != exit.Refused || !hostile(errOut) {
		t.Fatalf("control: %d %q", code, errOut)
	}
	if line := PlainText(OneLine(errOut)); hostile(line) || strings.Contains(line, "\n") {
		t.Errorf("%q", line)
	}
}

// A flag whose text is empty, as out of a variable that is not set, is refused before
// anything is sent. The controls leave it out.
func TestEmptyFlagsAreRefused(t *testing.T) {
	s := newShell(t)
	s.OK("tenant", "create", "--id", "acme", "--name", "")
	s.OK("endpoint", "create", "--tenant", "acme", "--url", "http://127.0.0.1:9999/", "--event-types", "", "--title", "", "--description", "")
	for _, args := range [][]string{
		{"tenant", "create", "--id", ""}, {"key", "create", "--kind", "publisher", "--tenant", ""}, {"key", "create", "--kind", ""},
		{"endpoint", "list", "--tenant", ""}, {"endpoint", "list", "--enabled", ""}, {"event", "list", "--tenant="}, {"event", "list", "--type", ""},
		{"event", "list", "--after", ""}, {"event", "list", "--cursor", ""}, {"event", "resend", "019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a", "--endpoint", ""},
		{"delivery", "list", "--endpoint", ""}, {"delivery", "list", "--state", ""}, {"send", "--type", "a.b", "--data", "{}", "--tenant", ""},
		{"send", "--type", "a.b", "--data", "{}", "--tenant", "acme", "--id", ""}, {"send", "--type", "a.b", "--data", "{}", "--tenant", "acme", "--idempotency-key", ""},
		{"tenant", "list", "--server", ""}, {"tenant", "list", "--key", ""}, {"endpoint", "test", "019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a", "--type", ""},
		{"endpoint", "rotate-secret", "019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a", "--overlap", ""}, {"healthcheck", "--server", ""},
		{"listen", "--print-only", "--tenant", ""}, {"listen", "--print-only", "--types", ""}, {"listen", "--print-only", "--name", ""},
		{"event", "list", "--after", "2026-01-31T12:00:00,5Z"},
	} {
		if out, errOut, code := invoke(t, "", args...); code != exit.Usage || out != "" || !strings.Contains(errOut, "--") {
			t.Errorf("%q: code %d, %s %s", args, code, out, errOut)
		}
	}
	if out := s.OK("tenant", "list", "--json"); strings.Count(out, `"id"`) != 1 {
		t.Errorf("something was made: %s", out)
	}
	s.OK("tenant", "create")
	s.OK("key", "create", "--kind", "publisher")
	s.OK("event", "list")
}
