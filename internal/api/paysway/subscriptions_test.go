package paysway_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

const (
	path = "/webhooks/subscriptions"
	good = `{"title":"Recipients","url":"https://example.com/webhook","events":["RECIPIENT.CREATED","RECIPIENT.UPDATED"]}`
)

// shown lists the members of a subscription without the secret.
var shown = []string{"createdDate", "enabled", "events", "id", "title", "url"}

func withSecret() []string { return append(slices.Clone(shown), "secret") }

var instant = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)

// The calls of a script that follows PaySway's documentation work.
func TestEveryRoute(t *testing.T) {
	h := newTestAPI(t, "paysway", 20)
	token := h.token(h.tenant("acme", hook.Live))

	if got := h.api("GET", path, token, ""); got.status != 200 || got.text != `{"items":[]}` {
		t.Errorf("%d %s", got.status, got.text)
	}
	made := h.has(h.api("POST", path, token, good), 201, withSecret()...)
	id, _ := made["id"].(string)
	key, err := base64.StdEncoding.DecodeString(made["secret"].(string))
	if _, bad := hook.ParseID(id); bad != nil || err != nil || len(key) != 32 || !instant.MatchString(made["createdDate"].(string)) ||
		made["enabled"] != true || made["title"] != "Recipients" || made["url"] != "https://example.com/webhook" ||
		fmt.Sprint(made["events"]) != "[RECIPIENT.CREATED RECIPIENT.UPDATED]" {
		t.Errorf("%v", made)
	}
	got := h.has(h.api("GET", path+"/"+id, token, ""), 200, shown...)
	for _, member := range shown {
		if fmt.Sprint(got[member]) != fmt.Sprint(made[member]) {
			t.Errorf("%s: %v, was made with %v", member, got[member], made[member])
		}
	}
	off := h.has(h.api("PATCH", path+"/"+id, token, `{"enabled":false}`), 200, shown...)
	if off["enabled"] != false || off["title"] != "Recipients" {
		t.Errorf("%v", off)
	}
	all := h.has(h.api("PATCH", path+"/"+id, token, `{"enabled":true,"title":"T","url":"https://example.org/x","events":[]}`), 200, shown...)
	if all["enabled"] != true || all["title"] != "T" || all["url"] != "https://example.org/x" || fmt.Sprint(all["events"]) != "[]" {
		t.Errorf("%v", all)
	}
	before := h.rows()
	h.has(h.api("PATCH", path+"/"+id, token, `{}`), 200, shown...)
	if h.rows() != before {
		t.Error("a PATCH of nothing changed something")
	}
	h.has(h.api("POST", path, token, `{"title":"","url":"https://example.com/2","events":[],"enabled":false}`), 201, withSecret()...)
	var list struct{ Items []map[string]any }
	text := h.api("GET", path, token, "")
	h.has(text, 200, "items")
	if err := json.Unmarshal([]byte(text.text), &list); err != nil || len(list.Items) != 2 || len(list.Items[0]) != len(shown) ||
		list.Items[0]["url"] != "https://example.com/2" || list.Items[0]["enabled"] != false || list.Items[1]["id"] != id {
		t.Errorf("%v %s", err, text.text)
	}
	if got := h.api("DELETE", path+"/"+id, token, ""); got.status != 204 || got.text != "" {
		t.Errorf("%d %q", got.status, got.text)
	}
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		body := ""
		if method == "PATCH" {
			body = `{"title":"x"}`
		}
		h.refused(method+" after DELETE", h.api(method, path+"/"+id, token, body), 404, "NOT_FOUND", "")
	}
	if head := h.api("HEAD", path, token, ""); head.status != 200 || head.text != "" {
		t.Errorf("HEAD: %d %q", head.status, head.text)
	}
}

// Errors have PaySway's format, and a refused request changes nothing.
func TestBadInput(t *testing.T) {
	h := newTestAPI(t, "paysway", 20)
	token := h.token(h.tenant("acme", hook.Live))
	id := h.has(h.api("POST", path, token, good), 201, withSecret()...)["id"].(string)
	with := func(member, value string) string {
		var m map[string]json.RawMessage
		_ = json.Unmarshal([]byte(good), &m) // a constant
		m[member] = json.RawMessage(value)
		text, _ := json.Marshal(m)
		return string(text)
	}
	long := `"https://example.com/` + strings.Repeat("a", 2049-len("https://example.com/")) + `"`
	for _, c := range []struct{ method, body, code, part string }{
		{"POST", `{"url":"https://example.com/","events":[]}`, "JSON_PAYLOAD_MISSING_REQUIRED_FIELD", "/title"},
		{"POST", `{"title":"x","events":[]}`, "JSON_PAYLOAD_MISSING_REQUIRED_FIELD", "/url"},
		{"POST", `{"title":"x","url":"https://example.com/"}`, "JSON_PAYLOAD_MISSING_REQUIRED_FIELD", "/events"},
		{"POST", `{}`, "JSON_PAYLOAD_MISSING_REQUIRED_FIELD", "/title"},
		{"POST", ``, "JSON_PAYLOAD_MALFORMED", ""},
		{"POST", `{"title":`, "JSON_PAYLOAD_MALFORMED", ""},
		{"POST", good + `x`, "JSON_PAYLOAD_MALFORMED", ""},
		{"POST", with("title", `"a\ud800"`), "JSON_PAYLOAD_MALFORMED", ""},
		{"POST", `{"title":"a","title":"b","url":"https://example.com/","events":[]}`, "JSON_PAYLOAD_MALFORMED", "twice"},
		{"POST", strings.Repeat("[", 100), "JSON_PAYLOAD_MALFORMED", "levels"},
		{"POST", `[]`, "BAD_REQUEST", "object"}, {"POST", `null`, "BAD_REQUEST", "object"}, {"POST", `"x"`, "BAD_REQUEST", "object"},
		{"POST", with("colour", `1`), "BAD_REQUEST", "/colour"},
		{"POST", with("secret", `"zTOJGr3vYdAHM/F5ZiDsVvgPZq5/Y3Ktbo9xw9Ncf8Y="`), "BAD_REQUEST", "/secret"},
		{"*", with("title", `1`), "BAD_REQUEST", "/title"}, {"*", with("title", `null`), "BAD_REQUEST", "/title"},
		{"*", with("title", `"`+strings.Repeat("x", 257)+`"`), "BAD_REQUEST", "/title"},
		{"*", with("url", `["https://example.com/"]`), "BAD_REQUEST", "/url"},
		{"*", with("events", `"RECIPIENT.CREATED"`), "BAD_REQUEST", "/events"}, {"*", with("events", `null`), "BAD_REQUEST", "/events"},
		{"*", with("events", `[1]`), "BAD_REQUEST", "/events/0"},
		{"*", with("events", `["RECIPIENT.CREATED","RECIPIENT.CREATED"]`), "BAD_REQUEST", "/events/1"},
		{"*", with("events", `["RECIPIENT_CREATED"]`), "JSON_PAYLOAD_INVALID_ENUM_VALUE", "/events/0"},
		{"*", with("events", `["*"]`), "JSON_PAYLOAD_INVALID_ENUM_VALUE", "/events/0"},
		{"*", with("events", `["RECIPIENT.CREATED","recipient.created"]`), "JSON_PAYLOAD_INVALID_ENUM_VALUE", "/events/1"},
		{"*", with("events", `[null]`), "JSON_PAYLOAD_INVALID_ENUM_VALUE", "/events/0"},
		{"*", with("enabled", `"true"`), "BAD_REQUEST", "/enabled"}, {"*", with("enabled", `null`), "BAD_REQUEST", "/enabled"},
		{"*", with("url", `""`), "WEBHOOK_ENDPOINT_URL_INVALID", "/url"},
		{"*", with("url", `"http://example.com/"`), "WEBHOOK_ENDPOINT_URL_INVALID", "https"},
		{"*", with("url", `"https://93.184.215.14/"`), "WEBHOOK_ENDPOINT_URL_INVALID", "name"},
		{"*", with("url", `"https://[2606:2800:220::1]/"`), "WEBHOOK_ENDPOINT_URL_INVALID", "name"},
		{"*", with("url", `"https://127.0.0.1/"`), "WEBHOOK_ENDPOINT_URL_INVALID", ""},
		{"*", with("url", `"https://localhost/"`), "WEBHOOK_ENDPOINT_URL_INVALID", ""},
		{"*", with("url", `"https://user:pass@example.com/"`), "WEBHOOK_ENDPOINT_URL_INVALID", "password"},
		{"*", with("url", long), "WEBHOOK_ENDPOINT_URL_INVALID", "2,048"},
		{"PATCH", `{"id":"` + id + `"}`, "BAD_REQUEST", "/id"},
		{"PATCH", `{"createdDate":"2026-01-01T00:00:00.000000Z"}`, "BAD_REQUEST", "/createdDate"},
		{"PATCH", `{"secret":"x"}`, "BAD_REQUEST", "/secret"},
		{"PATCH", `{"title":"x","colour":1}`, "BAD_REQUEST", "/colour"},
	} {
		for _, method := range []string{"POST", "PATCH"} {
			if c.method != method && c.method != "*" {
				continue
			}
			target := path
			if method == "PATCH" {
				target += "/" + id
			}
			before := h.rows()
			h.refused(fmt.Sprintf("%s %.100s", method, c.body), h.api(method, target, token, c.body), 400, c.code, c.part)
			if h.rows() != before {
				t.Errorf("%s %.100s changed something", method, c.body)
			}
		}
	}
	before := h.rows()
	for _, other := range []string{"x", "00000000-0000-0000-0000-000000000000", id + "0", strings.Repeat("9", 300), "%2e%2e"} {
		h.refused(other, h.api("GET", path+"/"+other, token, ""), 404, "NOT_FOUND", "")
		h.refused(other, h.api("PATCH", path+"/"+other, token, `{"title":"x"}`), 404, "NOT_FOUND", "")
		h.refused(other, h.api("DELETE", path+"/"+other, token, ""), 404, "NOT_FOUND", "")
	}
	h.refused("slash", h.api("GET", path+"/", token, ""), 404, "NOT_FOUND", "")
	h.refused("below", h.api("GET", path+"/"+id+"/deliveries", token, ""), 404, "NOT_FOUND", "")
	h.refused("root", h.api("GET", "/webhooks", token, ""), 404, "NOT_FOUND", "")
	h.refused("form", h.do("POST", path, "Bearer "+token, "application/x-www-form-urlencoded", good), 400, "BAD_REQUEST", "Content-Type")
	h.refused("long", h.api("POST", path, token, strings.Repeat(" ", 65<<10)), 413, "BAD_REQUEST", "65536")
	put := h.api("PUT", path+"/"+id, token, good)
	if h.refused("PUT", put, 405, "BAD_REQUEST", ""); put.header.Get("Allow") != "GET, PATCH, DELETE" {
		t.Errorf("Allow: %q", put.header.Get("Allow"))
	}
	if h.rows() != before {
		t.Error("something was changed")
	}
	// Control: the hash does detect a change.
	h.has(h.api("PATCH", path+"/"+id, token, `{"title":"other"}`), 200, shown...)
	if h.rows() == before {
		t.Error("the hash over the rows did not see a PATCH")
	}
}

// Another tenant, the other mode and another format get the response for an unknown id.
func TestForeignSubscriptions(t *testing.T) {
	h := newTestAPI(t, "paysway", 20)
	acme, other, test := h.token(h.tenant("acme", hook.Live)), h.token(h.tenant("other", hook.Live)), h.token(h.tenant("acme", hook.Test))
	id := h.has(h.api("POST", path, acme, good), 201, withSecret()...)["id"].(string)
	before := h.rows()
	for name, token := range map[string]string{"other tenant": other, "other mode": test} {
		h.refused(name, h.api("GET", path+"/"+id, token, ""), 404, "NOT_FOUND", "No such subscription.")
		h.refused(name, h.api("PATCH", path+"/"+id, token, `{"enabled":false}`), 404, "NOT_FOUND", "")
		h.refused(name, h.api("DELETE", path+"/"+id, token, ""), 404, "NOT_FOUND", "")
		if got := h.api("GET", path, token, ""); got.text != `{"items":[]}` {
			t.Errorf("%s sees %s", name, got.text)
		}
	}
	if h.rows() != before {
		t.Error("a stranger changed something")
	}
	for _, format := range []string{"standard", "paywise"} {
		e, _, err := h.service.CreateEndpoint(t.Context(), h.operator, app.NewEndpoint{Tenant: "acme", URL: "https://example.com/", Types: []string{"*"}, Profile: format}, nil)
		if err != nil {
			t.Fatal(err)
		}
		h.refused(format, h.api("GET", path+"/"+e.ID.String(), acme, ""), 404, "NOT_FOUND", "")
		h.refused(format, h.api("DELETE", path+"/"+e.ID.String(), acme, ""), 404, "NOT_FOUND", "")
	}
	if got := h.api("GET", path, acme, ""); strings.Count(got.text, `"id"`) != 1 {
		t.Errorf("other formats are listed: %s", got.text)
	}
	if got := h.api("DELETE", path+"/"+id, acme, ""); got.status != 204 { // control: the owner may delete
		t.Errorf("%d", got.status)
	}
}

// The later spelling has its own catalogue; a profile without one accepts any name.
func TestCatalogueOfTheVariant(t *testing.T) {
	builtin, _ := profile.Builtin().Get("paysway")
	text := strings.Replace(string(builtin.Text()), "name: paysway\n", "name: in-house\n", 1)
	head, _, _ := strings.Cut(text, "\ncatalogue:")
	free, err := profile.Load("in-house.yaml", []byte(head+text[strings.Index(text, "\ntest_event:"):]))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ takes, refuses string }{
		"paysway":         {"RECIPIENT.CREATED", "RECIPIENT_CREATED"},
		"paysway-2025-09": {"RECIPIENT_CREATED", "RECIPIENT.CREATED"},
		"standard":        {"RECIPIENT.CREATED", "RECIPIENT_CREATED"}, // mounted beside it: the first spelling
		"in-house":        {"anything.at_all", "*"},
	} {
		h := newTestAPI(t, name, 20, free)
		token := h.token(h.tenant("acme", hook.Live))
		body := `{"title":"t","url":"https://example.com/","events":["%s"]}`
		id := h.has(h.api("POST", path, token, fmt.Sprintf(body, c.takes)), 201, withSecret()...)["id"].(string)
		h.refused(name, h.api("POST", path, token, fmt.Sprintf(body, c.refuses)), 400, "JSON_PAYLOAD_INVALID_ENUM_VALUE", "/events/0")
		h.refused(name, h.api("PATCH", path+"/"+id, token, `{"events":["`+c.refuses+`"]}`), 400, "JSON_PAYLOAD_INVALID_ENUM_VALUE", "/events/0")
		parsed, _ := hook.ParseID(id)
		e, err := h.service.Endpoint(t.Context(), h.operator, parsed)
		want := name
		if name == "standard" {
			want = "paysway"
		}
		if err != nil || e.Profile != want {
			t.Errorf("%s: made with profile %q, %v", name, e.Profile, err)
		}
	}
}

// The quota holds when many requests take the last places at once, and a deletion frees
// one.
func TestQuota(t *testing.T) {
	h := newTestAPI(t, "paysway", 3)
	acme, other := h.token(h.tenant("acme", hook.Live)), h.token(h.tenant("other", hook.Live))
	answers := make([]answer, 12)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = h.api("POST", path, acme, good) })
	}
	all.Wait()
	var ids []string
	for _, a := range answers {
		if a.status == 201 {
			ids = append(ids, a.object(t)["id"].(string))
			continue
		}
		h.refused("over the limit", a, 409, "WEBHOOK_SUBSCRIPTIONS_LIMIT_REACHED", "3")
	}
	if len(ids) != 3 {
		t.Fatalf("%d made, the limit is 3", len(ids))
	}
	h.has(h.api("POST", path, other, good), 201, withSecret()...)
	if got := h.api("DELETE", path+"/"+ids[0], acme, ""); got.status != 204 {
		t.Fatal(got.status)
	}
	h.has(h.api("POST", path, acme, good), 201, withSecret()...)
	h.refused("full again", h.api("POST", path, acme, good), 409, "WEBHOOK_SUBSCRIPTIONS_LIMIT_REACHED", "")

	free := newTestAPI(t, "paysway", 0) // control: without a limit all are created
	token := free.token(free.tenant("acme", hook.Live))
	for range 5 {
		free.has(free.api("POST", path, token, good), 201, withSecret()...)
	}
}
