package importsvix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// script answers requests in the process, one entry for each; the last one goes on.
type script struct {
	answers []func(w http.ResponseWriter) error
	keys    []string
}

// RoundTrip is one request.
func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.keys = append(s.keys, r.Header.Get("Idempotency-Key"))
	w := httptest.NewRecorder()
	if err := s.answers[min(len(s.keys), len(s.answers))-1](w); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func status(code int, retryAfter string) func(http.ResponseWriter) error {
	return func(w http.ResponseWriter) error {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
		_, err := io.WriteString(w, `{"data":[],"done":true}`)
		return err
	}
}

// Requests are repeated after 429, 5xx and lost connections, after Retry-After, and not for
// ever. A repeated POST has the same idempotency key.
func TestRepeats(t *testing.T) {
	lost := func(http.ResponseWriter) error { return io.ErrUnexpectedEOF }
	for name, c := range map[string]struct {
		answers  []func(http.ResponseWriter) error
		requests int
		least    time.Duration
		most     time.Duration
		status   int // of the error, 0: none
		reached  bool
	}{
		"at once":            {[]func(http.ResponseWriter) error{status(200, "")}, 1, 0, 0, 0, true},
		"429, 503, 500, 502": {[]func(http.ResponseWriter) error{status(429, ""), status(503, ""), status(500, ""), status(502, ""), status(200, "")}, 5, 3 * time.Second, 8 * time.Second, 0, true},
		"Retry-After":        {[]func(http.ResponseWriter) error{status(429, "70"), status(200, "")}, 2, 70 * time.Second, 70 * time.Second, 0, true},
		"a date":             {[]func(http.ResponseWriter) error{status(503, "Sat, 01 Jan 2000 00:01:30 GMT"), status(200, "")}, 2, 90 * time.Second, 90 * time.Second, 0, true},
		"too long":           {[]func(http.ResponseWriter) error{status(429, "121")}, 1, 0, 0, 429, true},
		"not for ever":       {[]func(http.ResponseWriter) error{status(500, "")}, tries, 30 * time.Second, 95 * time.Second, 500, true},
		"lost":               {[]func(http.ResponseWriter) error{lost, lost, status(200, "")}, 3, 0, 2 * time.Second, 0, true},
		"never answered":     {[]func(http.ResponseWriter) error{lost, status(200, "")}, 1, 0, 0, -1, false},
		"refused":            {[]func(http.ResponseWriter) error{status(422, "")}, 1, 0, 0, 422, true},
		"not implemented":    {[]func(http.ResponseWriter) error{status(501, "")}, 1, 0, 0, 501, true},
		"a redirect":         {[]func(http.ResponseWriter) error{status(302, "")}, 1, 0, 0, 302, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: c.answers}
				r := &remote{name: "Svix", url: "https://svix.example", token: "x", http: &http.Client{Transport: s, CheckRedirect: defaultHTTP.CheckRedirect}}
				r.answered.Store(c.reached)
				began := time.Now()
				err := r.call(t.Context(), http.MethodPost, "app", map[string]string{}, nil)
				took := time.Since(began)
				if len(s.keys) != c.requests || took < c.least || took > c.most {
					t.Errorf("%d requests in %v, want %d in %v to %v", len(s.keys), took, c.requests, c.least, c.most)
				}
				if (err == nil) != (c.status == 0) || c.status > 0 && statusOf(err) != c.status {
					t.Errorf("%v", err)
				}
				for _, key := range s.keys {
					if key == "" || key != s.keys[0] {
						t.Errorf("keys %q", s.keys)
					}
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // a pause ends with the context
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r := &remote{name: "Svix", url: "https://svix.example", http: &http.Client{Transport: &script{answers: []func(http.ResponseWriter) error{status(429, "100")}}}}
		if err := r.get(ctx, "app", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// A list that does not end, or that is none, ends the import.
func TestEach(t *testing.T) {
	for text, says := range map[string]string{`{"data":[{"id":"a"}],"iterator":"a","done":false}`: "does not end", `{"data":[{"id":"a"}],"iterator":null,"done":false}`: "does not end",
		`{"rows":[]}`: "not one of Svix's API", `<html>`: "not one of Svix's API", `{"data":[],"done":true}`: ""} {
		r := &remote{name: "Svix", url: "https://svix.example", http: &http.Client{Transport: &script{answers: []func(http.ResponseWriter) error{func(w http.ResponseWriter) error {
			_, err := io.WriteString(w, text)
			return err
		}}}}}
		err := each(t.Context(), r, "app", func(application) error { return nil })
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Iterators that go in a circle end the import soon, also if the circle begins late. A list of
// as many pages that ends is read to its end.
func TestEachInACircle(t *testing.T) {
	for name, c := range map[string]struct{ lead, circle, pages, most int }{"of two": {0, 2, 0, 10}, "late": {5, 7, 0, 60}, "long": {0, 100, 0, 500}, "control": {0, 0, 200, 200}} {
		s := &script{}
		s.answers = []func(http.ResponseWriter) error{func(w http.ResponseWriter) error {
			n := len(s.keys)
			if c.circle > 0 && n > c.lead {
				n = c.lead + (n-c.lead)%c.circle
			}
			_, err := fmt.Fprintf(w, `{"data":[{"id":"a"}],"iterator":"i%d","done":%t}`, n, len(s.keys) == c.pages)
			return err
		}}
		r := &remote{name: "Svix", url: "https://svix.example", http: &http.Client{Transport: s}}
		err := each(t.Context(), r, "app", func(application) error { return nil })
		if len(s.keys) > c.most || (err == nil) != (c.circle == 0) || err != nil && !strings.Contains(err.Error(), "does not end") || c.circle == 0 && len(s.keys) != c.pages {
			t.Errorf("%s: %d requests, %v", name, len(s.keys), err)
		}
	}
}

// Wrong options, tokens, keys and addresses end the command before anything is written.
func TestWrongUse(t *testing.T) {
	s, to := newStandIn(t), newTarget(t)
	without := servertest.Start(t, "--dev")
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>hello</html>") }))
	defer other.Close()
	tenant := func(kind string) string {
		var out struct{ Key string }
		if err := to.API.Do(t.Context(), http.MethodPost, "/v1/keys", "", map[string]any{"kind": kind, "tenant": map[string]any{"tenant": "acme"}[kind], "read_only": kind == "operator"}, &out); err != nil {
			t.Fatal(err)
		}
		return out.Key
	}
	t.Setenv("POSTHORN_URL", to.Node.URL())
	t.Setenv("POSTHORN_KEY", to.Config.OperatorKey)
	s.types = []eventType{{Name: "a.b"}}
	for name, c := range map[string]struct {
		token string
		args  []string
		code  int
		says  string
	}{
		"no --from":        {token, nil, exit.Usage, "--from is required"},
		"no URL":           {token, []string{"--from", "svix"}, exit.Usage, "is not a URL"},
		"no token":         {"", []string{"--from", s.URL}, exit.Usage, "set the variable SVIX_AUTH_TOKEN"},
		"odd token":        {"a b", []string{"--from", s.URL}, exit.Usage, "set the variable SVIX_AUTH_TOKEN"},
		"both":             {token, []string{"--from", s.URL, "--disabled", "--enable"}, exit.Usage, "exclude each other"},
		"wrong token":      {"wrong-token", []string{"--from", s.URL}, exit.Refused, "Svix answered 401: Invalid token; check SVIX_AUTH_TOKEN"},
		"not Svix":         {token, []string{"--from", other.URL}, exit.Unreachable, "is not one of Svix's API; is --from the root"},
		"a path":           {token, []string{"--from", s.URL + "/app"}, exit.Unreachable, "is --from the root"},
		"nobody there":     {token, []string{"--from", "http://127.0.0.1:1"}, exit.Unreachable, "connection refused; is the server running, and is --from right?"},
		"wrong key":        {token, []string{"--from", s.URL, "--key", strings.Repeat("k", 40)}, exit.Refused, "Posthorn answered 401: Invalid token; check --key"},
		"tenant key":       {token, []string{"--from", s.URL, "--key", tenant("tenant")}, exit.Refused, "this needs an operator key (--key)"},
		"publisher key":    {token, []string{"--from", s.URL, "--key", tenant("publisher")}, exit.Refused, "this needs an operator key (--key)"},
		"read-only key":    {token, []string{"--from", s.URL, "--key", tenant("operator"), "--apply"}, exit.Refused, "Posthorn answered 403: "},
		"no mount":         {token, []string{"--from", s.URL, "--server", without.Node.URL(), "--key", without.Config.OperatorKey}, exit.Refused, "It needs --mount svix or --profile svix"},
		"no server":        {token, []string{"--from", s.URL, "--server", "http://127.0.0.1:1", "--key", token}, exit.Unreachable, "is --server (POSTHORN_URL) right?"},
		"no such app":      {token, []string{"--from", s.URL, "--app", "nobody"}, exit.Failed, "1 could not be copied"},
		"control, dry run": {token, []string{"--from", s.URL}, exit.OK, ""},
	} {
		t.Setenv(tokenName, c.token)
		out, errOut, code := servertest.Run(t, cli.Root(Command()), "", append([]string{"import", "svix"}, c.args...)...)
		if code != c.code || !strings.Contains(errOut, c.says) || c.token != "" && strings.Contains(out+errOut, c.token) {
			t.Errorf("%s: %d %s, want %d %s\n%s", name, code, errOut, c.code, c.says, out)
		}
	}
	if list, err := to.API.EventTypes(t.Context(), client.EventTypeQuery{}); err != nil || len(list.Data) > 0 {
		t.Errorf("something was written: %v %v", list, err)
	}
}
