package paywise_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

const (
	path = "/v1/webhooks/"
	good = `{"url":"https://example.com/webhooks/paywise","events":["mandate.created","payment.created"]}`
)

// shown lists the members of an endpoint without the secret.
var shown = []string{"access_mode", "consecutive_failures", "created", "description", "enabled", "events", "id",
	"last_failure_at", "max_consecutive_failures", "updated", "url"}

func withSecret() []string { return append(slices.Clone(shown), "secret_key") }

var (
	instant   = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)
	secretKey = regexp.MustCompile(`^[A-Za-z0-9_-]{40}$`)
)

func (h *testAPI) create(key, body string) map[string]any {
	h.t.Helper()
	return h.has(h.api("POST", path, key, body), 201, withSecret()...)
}

// The calls of a script that follows paywise's documentation work.
func TestEveryRoute(t *testing.T) {
	h := newTestAPI(t)
	key, test := h.tenant("acme", hook.Live).Text, h.tenant("acme", hook.Test).Text

	if got := h.api("GET", path, key, ""); got.status != 200 || got.text != `{"count":0,"next":null,"previous":null,"results":[]}` {
		t.Errorf("%d %s", got.status, got.text)
	}
	made := h.create(key, good)
	id, _ := made["id"].(string)
	if _, bad := hook.ParseID(id); bad != nil || !secretKey.MatchString(made["secret_key"].(string)) || made["enabled"] != true ||
		made["access_mode"] != "production" || made["description"] != "" || made["max_consecutive_failures"] != 50.0 ||
		made["consecutive_failures"] != 0.0 || made["last_failure_at"] != nil || !instant.MatchString(made["created"].(string)) ||
		!instant.MatchString(made["updated"].(string)) || fmt.Sprint(made["events"]) != "[mandate.created payment.created]" {
		t.Errorf("%v", made)
	}
	one := path + id + "/"
	got := h.has(h.api("GET", one, key, ""), 200, shown...)
	for _, member := range shown {
		if fmt.Sprint(got[member]) != fmt.Sprint(made[member]) {
			t.Errorf("%s: %v, was made with %v", member, got[member], made[member])
		}
	}
	changed := h.has(h.api("PATCH", one, key, `{"events":["claim.created"],"description":"d","max_consecutive_failures":1000,"url":"https://example.org/","enabled":false}`), 200, shown...)
	if fmt.Sprint(changed["events"]) != "[claim.created]" || changed["description"] != "d" || changed["max_consecutive_failures"] != 1000.0 ||
		changed["url"] != "https://example.org/" || changed["enabled"] != false || changed["created"] != made["created"] || changed["updated"] == made["updated"] {
		t.Errorf("%v", changed)
	}
	before := h.rows()
	h.has(h.api("PATCH", one, key, `{}`), 200, shown...)
	if h.rows() != before {
		t.Error("a PATCH of nothing changed something")
	}
	if other := h.create(test, good); other["access_mode"] != "test" {
		t.Errorf("%v", other)
	}
	full := h.create(key, `{"url":"https://93.184.215.14/hook","events":["mandate.closed"],"enabled":false,"description":"x","max_consecutive_failures":1}`)
	if full["enabled"] != false || full["description"] != "x" || full["max_consecutive_failures"] != 1.0 {
		t.Errorf("%v", full)
	}
	sent := h.has(h.api("POST", one+"test/", key, ""), 202, deliveryMembers...)
	if sent["event"] != "webhook.test" || sent["status"] != "pending" || sent["attempts"] != 0.0 {
		t.Errorf("%v", sent)
	}
	h.has(h.api("POST", one+"test/", key, `{}`), 202, deliveryMembers...)
	h.has(h.api("GET", one+"deliveries/", key, ""), 200, "count", "next", "previous", "results")
	if got := h.api("DELETE", one, key, ""); got.status != 204 || got.text != "" {
		t.Errorf("%d %q", got.status, got.text)
	}
	for _, call := range [][3]string{{"GET", one, ""}, {"PATCH", one, `{"enabled":true}`}, {"DELETE", one, ""}, {"POST", one + "test/", ""}, {"GET", one + "deliveries/", ""}} {
		h.detail(call[0]+" after DELETE", h.api(call[0], call[1], key, call[2]), 404, "")
	}
}

// limit and offset select a part of the list, and its links lead from part to part.
func TestPages(t *testing.T) {
	h := newTestAPI(t)
	key := h.tenant("acme", hook.Live).Text
	var ids []string
	for i := range 7 {
		ids = append(ids, h.create(key, fmt.Sprintf(`{"url":"https://example.com/%d","events":["claim.created"],"enabled":%v}`, i, i%2 == 0))["id"].(string))
	}
	slices.Reverse(ids)
	var seen []string
	next := h.server.URL + path + "?limit=3"
	pages, last := 0, page{}
	for next != "" {
		u, err := url.Parse(next)
		if err != nil || u.Scheme+"://"+u.Host != h.server.URL {
			t.Fatalf("%v %q", err, next)
		}
		last = h.page(u.RequestURI(), key)
		for _, row := range last.Results {
			seen = append(seen, row["id"].(string))
		}
		if last.Count != 7 {
			t.Errorf("count %d", last.Count)
		}
		pages, next = pages+1, last.Next
	}
	if pages != 3 || !slices.Equal(seen, ids) {
		t.Errorf("%d pages with %v, want 3 with %v", pages, seen, ids)
	}
	back := h.page(strings.TrimPrefix(last.Previous, h.server.URL), key)
	first := h.page(strings.TrimPrefix(back.Previous, h.server.URL), key)
	if first.Previous != "" || first.Results[0]["id"] != ids[0] || back.Results[0]["id"] != ids[3] {
		t.Errorf("back to %+v", first)
	}
	for query, want := range map[string]int{"": 7, "?enabled=true": 4, "?enabled=false": 3, "?enabled=True": 4, "?limit=250": 7, "?limit=100000": 7, "?offset=7": 0, "?offset=1000000": 0, "?offset=5": 2, "?enabled=true&limit=2": 2} {
		if got := h.page(path+query, key); len(got.Results) != want {
			t.Errorf("%s: %d rows, want %d", query, len(got.Results), want)
		}
	}
	if got := h.page(path+"?enabled=true&limit=2&offset=2", key); got.Count != 4 || got.Next != "" || got.Previous != h.server.URL+path+"?enabled=true&limit=2" {
		t.Errorf("%+v", got)
	}
	if got := h.page(path+"?limit=100000&offset=1", key); got.Previous != h.server.URL+path+"?limit=250" {
		t.Errorf("a limit beyond the largest: previous is %q", got.Previous)
	}
	secure := h.do("GET", path+"?limit=1", map[string]string{"Authorization": "Bearer " + key, "X-Forwarded-Proto": "https"}, "")
	if next, _ := secure.object(t)["next"].(string); !strings.HasPrefix(next, "https://") {
		t.Errorf("behind TLS: next is %q", next)
	}
	for query, field := range map[string]string{"?limit=0": "limit", "?limit=-1": "limit", "?limit=x": "limit", "?limit=": "limit", "?limit=1.5": "limit",
		"?limit=99999999999999999999": "limit", "?limit=1&limit=2": "limit", "?offset=-1": "offset", "?offset=x": "offset",
		"?offset=9999999999": "offset", "?enabled=yes": "enabled", "?enabled=": "enabled", "?offset=": "offset", "?enabled": "enabled"} {
		h.fields(query, h.api("GET", path+query, key, ""), field)
	}
}

type page struct {
	Count          int
	Next, Previous string
	Results        []map[string]any
}

func (h *testAPI) page(path, key string) page {
	h.t.Helper()
	var p page
	got := h.api("GET", path, key, "")
	h.has(got, 200, "count", "next", "previous", "results")
	if err := json.Unmarshal([]byte(got.text), &p); err != nil || p.Results == nil {
		h.t.Errorf("%v %s", err, got.text)
	}
	return p
}

// Errors have the framework's format, and a refused request changes nothing.
func TestBadInput(t *testing.T) {
	h := newTestAPI(t)
	key := h.tenant("acme", hook.Live).Text
	id := h.create(key, good)["id"].(string)
	one := path + id + "/"
	with := func(member, value string) string {
		var m map[string]json.RawMessage
		_ = json.Unmarshal([]byte(good), &m) // a constant
		m[member] = json.RawMessage(value)
		text, _ := json.Marshal(m)
		return string(text)
	}
	long := `"https://example.com/` + strings.Repeat("a", 2049-len("https://example.com/")) + `"`
	both := []string{"POST", "PATCH"}
	for _, c := range []struct {
		methods []string
		body    string
		fields  []string // none: a sentence
	}{
		{both[:1], `{}`, []string{"url", "events"}}, {both[:1], `{"url":"https://example.com/"}`, []string{"events"}},
		{both[:1], `{"events":["claim.created"],"colour":1,"max_consecutive_failures":0}`, []string{"url", "colour", "max_consecutive_failures"}},
		{both, `{"url":"http://example.com/","events":["nope"],"description":"` + strings.Repeat("x", 4097) + `"}`, []string{"url", "events", "description"}},
		{both, `{"url":"http://example.com/","events":["nope"],"enabled":1}`, []string{"url", "events", "enabled"}},
		{both[:1], `{"url":"https://10.0.0.1/"}`, []string{"url", "events"}},
		{both[:1], ``, nil}, {both, `{"url":`, nil}, {both, good + `x`, nil}, {both, `[]`, nil}, {both, `null`, nil}, {both, `1`, nil},
		{both, `{"url":"https://example.com/","url":"https://example.org/","events":["claim.created"]}`, nil},
		{both, with("description", `"a\ud800"`), nil}, {both, strings.Repeat(`{"a":`, 70), nil},
		{both, with("url", `1`), []string{"url"}}, {both, with("url", `null`), []string{"url"}}, {both, with("url", `""`), []string{"url"}},
		{both, with("url", `"http://example.com/"`), []string{"url"}}, {both, with("url", `"https://10.0.0.1/"`), []string{"url"}},
		{both, with("url", `"https://user:pass@example.com/"`), []string{"url"}}, {both, with("url", long), []string{"url"}},
		{both, with("events", `[]`), []string{"events"}}, {both, with("events", `"claim.created"`), []string{"events"}},
		{both, with("events", `null`), []string{"events"}}, {both, with("events", `[1]`), []string{"events"}},
		{both, with("events", `["*"]`), []string{"events"}}, {both, with("events", `["mandate.*"]`), []string{"events"}},
		{both, with("events", `["claim.deleted"]`), []string{"events"}}, {both, with("events", `["webhook.test"]`), []string{"events"}},
		{both, with("events", `["claim.created","claim.created"]`), []string{"events"}},
		{both, with("enabled", `"true"`), []string{"enabled"}}, {both, with("enabled", `null`), []string{"enabled"}},
		{both, with("description", `1`), []string{"description"}}, {both, with("description", `"`+strings.Repeat("x", 4097)+`"`), []string{"description"}},
		{both, with("max_consecutive_failures", `0`), []string{"max_consecutive_failures"}},
		{both, with("max_consecutive_failures", `1001`), []string{"max_consecutive_failures"}},
		{both, with("max_consecutive_failures", `"5"`), []string{"max_consecutive_failures"}},
		{both, with("max_consecutive_failures", `5.5`), []string{"max_consecutive_failures"}},
		{both, with("max_consecutive_failures", `null`), []string{"max_consecutive_failures"}},
		{both, with("id", `"`+id+`"`), []string{"id"}}, {both, with("access_mode", `"test"`), []string{"access_mode"}},
		{both, with("secret_key", `"x"`), []string{"secret_key"}}, {both, with("consecutive_failures", `0`), []string{"consecutive_failures"}},
		{both, with("last_failure_at", `null`), []string{"last_failure_at"}}, {both, with("created", `"x"`), []string{"created"}},
		{both, with("updated", `"x"`), []string{"updated"}}, {both, with("colour", `1`), []string{"colour"}},
	} {
		for _, method := range c.methods {
			target := path
			if method == "PATCH" {
				target = one
			}
			before, what := h.rows(), fmt.Sprintf("%s %.100s", method, c.body)
			got := h.api(method, target, key, c.body)
			if c.fields == nil {
				h.detail(what, got, 400, "")
			} else {
				h.fields(what, got, c.fields...)
			}
			if h.rows() != before {
				t.Errorf("%s changed something", what)
			}
		}
	}
	before := h.rows()
	h.fields("test with members", h.api("POST", one+"test/", key, `{"type":"x"}`), "type")
	h.detail("test with junk", h.api("POST", one+"test/", key, `x`), 400, "")
	for _, other := range []string{"x/", "00000000-0000-0000-0000-000000000000/", id + "0/", id + "/secret/", id + "/test/x/", id + "//"} {
		for _, method := range []string{"GET", "PATCH", "DELETE"} {
			if got := h.api(method, path+other, key, `{}`); got.status != 404 && got.status != 301 && got.status != 307 {
				t.Errorf("%s %s: %d %s", method, other, got.status, got.text)
			}
		}
	}
	for _, slashless := range []string{"/v1/webhooks", path + id, one + "test", one + "deliveries"} {
		for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
			h.detail(method+" "+slashless, h.api(method, slashless, key, `{}`), 404, slashless+"/")
		}
	}
	form := h.do("POST", path, map[string]string{"Authorization": "Bearer " + key, "Content-Type": "text/plain"}, good)
	h.detail("media type", form, 415, "application/json")
	h.detail("long", h.api("POST", path, key, strings.Repeat(" ", 65<<10)), 413, "")
	put := h.api("PUT", one, key, good)
	if h.detail("PUT", put, 405, ""); put.header.Get("Allow") != "GET, PATCH, DELETE" {
		t.Errorf("Allow: %q", put.header.Get("Allow"))
	}
	if h.rows() != before {
		t.Error("something was changed")
	}
	h.has(h.api("PATCH", one, key, `{"description":"other"}`), 200, shown...) // control
	if h.rows() == before {
		t.Error("the hash over the rows did not see a PATCH")
	}
}

// A caller without access is refused and changes nothing.
func TestForeignWebhooks(t *testing.T) {
	h := newTestAPI(t)
	acme, other, test := h.tenant("acme", hook.Live), h.tenant("other", hook.Live), h.tenant("acme", hook.Test)
	revoked := h.tenant("acme", hook.Live)
	publisher, _, err := h.service.CreateKey(t.Context(), h.operator, hook.Key{Kind: hook.Publisher, Tenant: "acme"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	operator, _, err := h.service.CreateKey(t.Context(), h.operator, hook.Key{Kind: hook.Operator, Tenant: ""}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.api("GET", path, revoked.Text, ""); got.status != 200 { // the key is valid, then revoked
		t.Fatal(got.status)
	}
	if err := h.service.RevokeKey(t.Context(), h.operator, revoked.ID); err != nil {
		t.Fatal(err)
	}
	one := path + h.create(acme.Text, good)["id"].(string) + "/"
	standard, _, err := h.service.CreateEndpoint(t.Context(), h.operator, app.NewEndpoint{Tenant: "acme", URL: "https://example.com/", Types: []string{"*"}, Profile: "standard"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	calls := func(one string) [][3]string {
		return [][3]string{{"GET", one, ""}, {"PATCH", one, `{"enabled":false}`}, {"DELETE", one, ""}, {"POST", one + "test/", ""}, {"GET", one + "deliveries/", ""}}
	}
	before := h.rows()
	for name, c := range map[string]struct {
		key    string
		status int
	}{"other tenant": {other.Text, 404}, "other mode": {test.Text, 404}, "revoked": {revoked.Text, 401}, "unknown": {"x", 401}, "none": {"", 401},
		"publisher": {publisher.Text, 403}, "operator": {operator.Text, 403}} {
		for _, call := range calls(one) {
			got := h.api(call[0], call[1], c.key, call[2])
			if h.detail(name, got, c.status, ""); c.status == 401 && got.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s: WWW-Authenticate %q", name, got.header.Get("WWW-Authenticate"))
			}
		}
		if c.status != 404 {
			h.detail(name, h.api("GET", path, c.key, ""), c.status, "")
			h.detail(name, h.api("POST", path, c.key, good), c.status, "")
		} else if got := h.page(path, c.key); got.Count != 0 {
			t.Errorf("%s sees %+v", name, got)
		}
	}
	h.detail("no key", h.do("GET", path, nil, ""), 401, "")
	for _, call := range calls(path + standard.ID.String() + "/") {
		h.detail("other format", h.api(call[0], call[1], acme.Text, call[2]), 404, "")
	}
	if h.rows() != before {
		t.Error("a stranger changed something")
	}
	for _, call := range calls(one) { // control: the owner may
		if got := h.api(call[0], call[1], acme.Text, call[2]); call[0] != "POST" && call[1] == one && got.status > 204 {
			t.Errorf("owner's %s %s: %d", call[0], call[1], got.status)
		}
	}
	if h.rows() == before {
		t.Error("the hash over the rows did not see the owner")
	}
}
