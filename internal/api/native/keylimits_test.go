package native_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/isolationtest"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

// clocked returns a testAPI whose service has its own clock.
func clocked(t *testing.T) (h *testAPI, pass func(time.Duration)) {
	t.Helper()
	var ahead atomic.Int64
	h = newTestAPI(t, func(a *app.Options, _ *store.Options) {
		a.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	return h, func(d time.Duration) { ahead.Add(int64(d)) }
}

// mint creates a key with limits.
func (h *testAPI) mint(k client.NewKey) client.Key {
	h.t.Helper()
	return want[client.Key](h, 201, call{"POST", "/v1/keys", liveKey, k, nil})
}

// from sends a request from an address and returns the status and the code.
func (h *testAPI) from(remote, key string) (int, string) {
	r := httptest.NewRequest("GET", "/v1/endpoints", nil)
	r.RemoteAddr = remote
	r.Header.Set("Authorization", "Bearer "+key)
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// readsByPost is the route that asks a question with a body. It writes nothing.
const readsByPost = "POST /v1/events/match"

// A read-only key of any kind is refused on every route that writes. The control is the
// same call with a key of the same kind without the limit.
func TestReadOnlyKeysWriteNothing(t *testing.T) {
	w := victims(t)
	ask := func(method, path, key, body string) (int, string) {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		r.Header.Set("Authorization", "Bearer "+key)
		answer := httptest.NewRecorder()
		w.Handler.ServeHTTP(answer, r)
		return answer.Code, answer.Body.String()
	}
	mint := func(body string) string {
		code, answer := ask("POST", "/v1/keys", liveKey, body)
		if code != 201 {
			t.Fatal(answer)
		}
		_, rest, _ := strings.Cut(answer, `"key":"`)
		text, _, _ := strings.Cut(rest, `"`)
		return text
	}
	operator, tenant := mint(`{"kind":"operator","read_only":true}`), mint(`{"kind":"tenant","tenant":"victim","read_only":true}`)
	const refusal = `"code":"key_read_only"`
	before := w.Hash()
	written, read := map[string]bool{}, 0
	for _, row := range w.Rows {
		method, _, _ := strings.Cut(row.Route, " ")
		if row.Owner == "" && method == http.MethodGet {
			continue
		}
		keys := []string{operator}
		if row.Owner == "the tenant" {
			keys = append(keys, tenant)
		}
		for _, key := range keys {
			code, answer := ask(method, row.Path, key, row.Body)
			switch {
			case (method == http.MethodGet || row.Route == readsByPost) && code == 200:
				read++
			case method == http.MethodGet, code != 403, !strings.Contains(answer, refusal):
				t.Errorf("%s: %d %s", row.Route, code, answer)
			default:
				written[row.Route] = true
			}
		}
	}
	for _, route := range w.Routes {
		if !strings.HasPrefix(route, "GET ") && written[route] == (route == readsByPost) {
			t.Errorf("%s was not tried", route)
		}
	}
	if read == 0 || w.Hash() != before {
		t.Errorf("%d reads, and rows of the victim changed: %v", read, w.Hash() != before)
	}
	for _, row := range w.Rows { // control
		at := slices.IndexFunc(w.Owners, func(o isolationtest.Identity) bool { return o.Name == row.Owner })
		if method, _, _ := strings.Cut(row.Route, " "); at >= 0 && method != http.MethodGet && method != http.MethodDelete {
			key := strings.TrimPrefix(w.Owners[at].Header.Get("Authorization"), "Bearer ")
			if _, answer := ask(method, row.Path, key, row.Body); strings.Contains(answer, refusal) {
				t.Errorf("control: %s: %s", row.Route, answer)
			}
		}
	}
}

func TestKeysExpire(t *testing.T) {
	h, pass := clocked(t)
	h.tenant("acme")
	end := client.Time{Time: time.Now().Add(time.Hour)}
	k := h.mint(client.NewKey{Kind: "publisher", ExpiresAt: &end})
	forever := h.key("publisher", "")
	publish := func(key string) call {
		return call{"POST", "/v1/events", key, `{"tenant":"acme","type":"a.b","data":{}}`, map[string]string{"Idempotency-Key": "once"}}
	}
	first := want[client.Published](h, 202, publish(k.Key))
	create := call{"POST", "/v1/keys", liveKey, client.NewKey{Kind: "operator", ExpiresAt: &end}, map[string]string{"Idempotency-Key": "key"}}
	short := want[client.Key](h, 201, create)
	want[client.Key](h, 201, create)
	pass(time.Hour - time.Minute)
	want[client.Published](h, 202, publish(k.Key)) // repeated
	// A key that expires cannot create one that expires later.
	later := client.Time{Time: end.Add(time.Second)}
	refused(h, 422, hook.CodeInvalidRequest, "expires_at", call{"POST", "/v1/keys", short.Key, client.NewKey{Kind: "publisher"}, nil})
	refused(h, 422, hook.CodeInvalidRequest, "expires_at", call{"POST", "/v1/keys", short.Key, client.NewKey{Kind: "publisher", ExpiresAt: &later}, nil})
	want[client.Key](h, 201, call{"POST", "/v1/keys", short.Key, client.NewKey{Kind: "publisher", ExpiresAt: &end}, nil})
	pass(2 * time.Minute)
	refused(h, 401, hook.CodeKeyExpired, "", publish(k.Key)) // neither a new event nor a repetition
	refused(h, 401, hook.CodeKeyExpired, "", call{"GET", "/v1/tenants", short.Key, nil, nil})
	refused(h, 422, hook.CodeInvalidRequest, "expires_at", create)                       // the repeat shows no key
	if again := want[client.Published](h, 202, publish(forever)); again.ID != first.ID { // control
		t.Errorf("%s, want %s", again.ID, first.ID)
	}
	for _, wrong := range []string{`"2020-01-01T00:00:00Z"`, `"tomorrow"`, `""`, `7`} {
		if w := h.do(call{"POST", "/v1/keys", liveKey, `{"kind":"publisher","expires_at":` + wrong + `}`, nil}); w.Code != 422 {
			t.Errorf("%s: %d %s", wrong, w.Code, w.Body)
		}
	}
}

func TestKeysPublishTheirTypesOnly(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	k := h.mint(client.NewKey{Kind: "publisher", EventTypes: []string{"invoice.*", "paid"}})
	event := func(eventType string) string { return `{"tenant":"acme","type":"` + eventType + `","data":{}}` }
	publish := func(key, eventType string) call { return call{"POST", "/v1/events", key, event(eventType), nil} }
	for _, allowed := range []string{"invoice.sent", "invoice.line.added", "paid"} {
		want[client.Published](h, 202, publish(k.Key, allowed))
	}
	for _, other := range []string{"invoice", "payment.failed", "paid.late", "invoice.line/added"} {
		if p := refused(h, 403, hook.CodeTypeNotAllowed, "type", publish(k.Key, other)); !strings.Contains(p.Detail, `"`+other+`"`) {
			t.Errorf("the type is not named: %s", p.Detail)
		}
		want[client.Published](h, 202, publish(h.key("publisher", ""), other)) // control
	}
	batch := h.do(call{"POST", "/v1/events/batch", k.Key, "[" + event("paid") + "," + event("other") + "]", nil})
	if text := batch.Body.String(); batch.Code != 202 || strings.Count(text, `"code":"event_type_not_allowed"`) != 1 || strings.Count(text, `"delivery_count"`) != 1 {
		t.Errorf("%d %s", batch.Code, text)
	}
	for body, field := range map[string]string{
		`{"kind":"publisher","event_types":[]}`:                              "event_types",
		`{"kind":"publisher","event_types":["a b"]}`:                         "event_types/0",
		`{"kind":"publisher","event_types":["a","*.created"]}`:               "event_types/1",
		`{"kind":"tenant","tenant":"acme","event_types":["a"]}`:              "event_types",
		`{"kind":"operator","event_types":["a"]}`:                            "event_types",
		`{"kind":"publisher","read_only":true}`:                              "read_only",
		`{"kind":"publisher","networks":[]}`:                                 "networks",
		`{"kind":"publisher","networks":["10.0.0.1"]}`:                       "networks/0",
		`{"kind":"publisher","networks":["10.0.0.0/8","10.0.0.1/8"]}`:        "networks/1",
		`{"kind":"publisher","networks":["::ffff:10.0.0.0/95"]}`:             "networks/0",
		`{"kind":"publisher","networks":["fe80::%eth0/10"]}`:                 "networks/0",
		`{"kind":"publisher","networks":["localhost"]}`:                      "networks/0",
		`{"kind":"publisher","networks":["10.0.0.0/33"]}`:                    "networks/0",
		`{"kind":"publisher","networks":["` + many("10.0.0.0/8", 21) + `"]}`: "networks",
		`{"kind":"publisher","event_types":["` + many("a", 51) + `"]}`:       "event_types",
	} {
		refused(h, 422, hook.CodeInvalidRequest, field, call{"POST", "/v1/keys", liveKey, body, nil})
	}
}

func many(text string, n int) string { return strings.Repeat(text+`","`, n-1) + text }

func TestKeysKeepToTheirNetworks(t *testing.T) {
	h := newTestAPI(t)
	k := h.mint(client.NewKey{Kind: "operator", Networks: []string{"10.1.0.0/16", "::ffff:203.0.113.7/128", "2001:db8::/32"}})
	if got := strings.Join(k.Networks, " "); got != "10.1.0.0/16 203.0.113.7/32 2001:db8::/32" {
		t.Errorf("networks %s", got)
	}
	for remote, ok := range map[string]bool{
		"10.1.2.3:80": true, "[::ffff:10.1.2.3]:80": true, "203.0.113.7:1": true, "[2001:db8:1::9]:80": true, "[2001:db8::1%eth0]:80": true,
		"10.2.0.1:80": false, "[::ffff:10.2.0.1]:80": false, "203.0.113.8:1": false, "[2001:db9::1]:80": false, "[::10.1.2.3]:80": false, "@": false, "": false,
	} {
		code, answer := h.from(remote, k.Key)
		if ok != (code == 200) || !ok && (code != 403 || !strings.Contains(answer, `"address_not_allowed"`) || strings.Contains(answer, "10.1.")) {
			t.Errorf("%q: %d %s", remote, code, answer)
		}
		if code, answer := h.from(remote, liveKey); code != 200 { // control
			t.Errorf("control %q: %d %s", remote, code, answer)
		}
	}
	// It cannot create a key for other networks. Requests come from 192.0.2.1 here.
	own := h.mint(client.NewKey{Kind: "operator", Networks: []string{"192.0.2.0/24"}}).Key
	for _, networks := range [][]string{nil, {"0.0.0.0/0"}, {"192.0.2.0/25", "10.0.0.0/8"}, {"192.0.0.0/16"}} {
		refused(h, 422, hook.CodeInvalidRequest, "networks", call{"POST", "/v1/keys", own, client.NewKey{Kind: "operator", Networks: networks}, nil})
	}
	want[client.Key](h, 201, call{"POST", "/v1/keys", own, client.NewKey{Kind: "operator", Networks: []string{"192.0.2.0/25"}}, nil})
}

// The list of keys shows their limits, but not their text.
func TestListedKeysShowTheirLimits(t *testing.T) {
	h := newTestAPI(t)
	end := client.Time{Time: time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)}
	k := h.mint(client.NewKey{Kind: "publisher", ExpiresAt: &end, EventTypes: []string{"a.*"}, Networks: []string{"10.0.0.0/8"}})
	got := want[client.Page[client.Key]](h, 200, get("/v1/keys")).Data[0]
	if got.ID != k.ID || got.Key != "" || !got.ExpiresAt.Equal(end.Time) || !slices.Equal(got.EventTypes, k.EventTypes) || !slices.Equal(got.Networks, k.Networks) || got.ReadOnly || got.LastUsedAt != nil {
		t.Errorf("%+v", got)
	}
}

// If no operator key of a store can create others any more, the next start creates new
// ones: nobody is locked out permanently.
func TestFirstKeysDoNotCountWhatCannotMakeKeys(t *testing.T) {
	h, pass := clocked(t)
	end := client.Time{Time: time.Now().Add(time.Hour)}
	h.mint(client.NewKey{Kind: "operator", ReadOnly: true})
	h.mint(client.NewKey{Kind: "operator", ExpiresAt: &end})
	made := 0
	begin := func() {
		t.Helper()
		if err := h.service.FirstKeys(t.Context(), func(string, string, bool) error { made++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if begin(); made != 0 { // control: one of them is still valid
		t.Errorf("made %d times", made)
	}
	pass(time.Hour)
	begin()
	if begin(); made != 1 {
		t.Errorf("made %d times, want once", made)
	}
}
