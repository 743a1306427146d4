package web_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
)

// The forms make, change and delete event types, as the API sees them. What is wrong is said
// beside its field, keeps what was typed, and stores nothing.
func TestFormsOfEventTypes(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	const made, at = "/ui/live/type/new", "/ui/live/type/edit/pay%2Fin"
	once := field(t, b.get(made).body, "once")
	form := func(pairs ...string) url.Values {
		f := url.Values{"once": {once}, "name": {"pay/in"}, "version": {"1"}, "check": {"off"}, "schema": {"{\"properties\": {\r\n \"a\": {\"maximum\": 1.50}}}"}, "example": {`{"a": 1.50}`}, "description": {"One\r\nTwo"}}
		for i := 0; i < len(pairs); i += 2 {
			f.Set(pairs[i], pairs[i+1])
		}
		return f
	}
	wrong := map[string][]string{
		"name": {"", "a b", "posthorn.own"}, "schema": {"{", "[]", `{"a":1,"a":2}`, `{} {}`, "{\"type\": 7}", "{\"a\": \"\xff\"}", strings.Repeat("[", 20000)}, "example": {"1", "{'a': 1}", `{"a": "` + strings.Repeat("x", 61<<10) + `"}`}, "check": {"loud"},
		"group": {strings.Repeat("g", 65)}, "searchable": {"order order/id", "a /a\na /b", "no pointer"}, "redact": {"iban"}, "replacement": {"a.b"}, "version": {"x"},
	}
	for name, values := range wrong {
		for _, value := range values {
			f := form(name, value, "check", "warn")
			if name == "check" {
				f.Set(name, value)
			}
			a := b.post(made, f, own)
			at := `id="w-` + name + `"`
			if len(value) > 60<<10 {
				at = "are allowed" // the whole entry is too large, whichever part
			}
			if a.status != 422 || !strings.Contains(a.body, at) {
				t.Errorf("%s %.40q: %d, it does not say %s: %s", name, value, a.status, at, alert.FindString(a.body))
			}
		}
	}
	if _, err := w.API.EventType(t.Context(), "pay/in"); err == nil {
		t.Fatal("a refused form stored something")
	}
	if a := b.post(made, form("description", strings.Repeat("x", 300<<10)), own); a.status != 413 {
		t.Errorf("a huge form: %d", a.status)
	}
	for range 2 { // the same button twice
		if a := b.post(made, form(), own); a.status != 303 || a.header.Get("Location") != "/ui/live/types/pay%2Fin?done=typemade" {
			t.Fatalf("%d %v %s", a.status, a.header, alert.FindString(a.body))
		}
	}
	if got, err := w.API.EventType(t.Context(), "pay/in"); err != nil || string(got.Schema) != `{"properties":{"a":{"maximum":1.50}}}` || got.Description != "One\nTwo" {
		t.Errorf("%+v %v", got, err)
	}
	if a := b.post(made, form("once", "other"), own); a.status != 422 || !strings.Contains(a.body, `role="alert"`) {
		t.Errorf("a name that is taken: %d", a.status)
	}

	// A version that the type does not have, then one that is not the current one.
	next := b.get(at + "?version=new").body
	change := form("changed", field(t, next, "changed"), "version", field(t, next, "version"), "schema", `{"required":["b"]}`, "deprecated", "yes", "replacement", "pay.in", "hidden", "yes", "searchable", "order /order", "redact", "/iban\n/name")
	if a := b.post(at, change, own); a.status != 303 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	got, err := w.API.EventType(t.Context(), "pay/in")
	if err != nil || got.Version != 1 || len(got.OtherVersions) != 1 || string(got.OtherVersions[0].Schema) != `{"required":["b"]}` || !got.Deprecated || !got.Hidden || got.Searchable["order"] != "/order" || len(got.Redact) != 2 || got.Replacement != "pay.in" {
		t.Errorf("%+v %v", got, err)
	}
	a := b.post(at, change, own) // the state that it was made from is gone
	if a.status != 412 || !strings.Contains(a.body, "Somebody else changed the event type meanwhile") {
		t.Errorf("%d %s", a.status, a.body)
	}
	change.Set("changed", field(t, a.body, "changed"))
	change.Set("use", "yes")
	change.Set("schema", `{"type": 9}`)
	change.Set("check", "warn")
	if a := b.post(at, change, own); a.status != 422 || !strings.Contains(a.body, `id="w-schema"`) {
		t.Errorf("%d %s", a.status, alert.FindString(a.body))
	}
	change.Del("use") // then it is the schema of another version
	if a := b.post(at, change, own); a.status != 422 || !strings.Contains(a.body, `id="w-schema"`) {
		t.Errorf("%d %s", a.status, alert.FindString(a.body))
	}
	change.Set("use", "yes")
	change.Set("schema", "")
	change.Set("check", "off")
	if a := b.post(at, change, own); a.status != 303 {
		t.Errorf("%d %s", a.status, alert.FindString(a.body))
	}
	if got, err = w.API.EventType(t.Context(), "pay/in"); err != nil || got.Version != 2 || string(got.Schema) != "null" || len(got.OtherVersions) != 1 || string(got.OtherVersions[0].Schema) != `{"properties":{"a":{"maximum":1.50}}}` {
		t.Errorf("%+v %v", got, err)
	}
	for _, version := range []string{"4", "0", "99999", "-1"} {
		change.Set("version", version)
		if a := b.post(at, change, own); a.status != 422 || !strings.Contains(a.body, `id="w-version"`) {
			t.Errorf("version %s: %d", version, a.status)
		}
	}

	const drop = "/ui/live/type/drop/pay%2Fin"
	if a := b.get(drop + "?version=9"); a.status != 404 {
		t.Errorf("a version that is not there: %d", a.status)
	}
	stamp := field(t, b.get(drop+"?version=1").body, "changed")
	for v, status := range map[string]int{"2": 422, "x": 404, "": 422} {
		if a := b.post(drop, url.Values{"version": {v}, "changed": {stamp}}, own); a.status != status {
			t.Errorf("remove version %q: %d", v, a.status)
		}
	}
	if a := b.post(drop, url.Values{"version": {"1"}, "changed": {"old"}}, own); a.status != 412 {
		t.Errorf("remove from another state: %d", a.status)
	}
	if a := b.post(drop, url.Values{"version": {"1"}, "changed": {stamp}}, own); a.status != 303 {
		t.Errorf("remove: %d", a.status)
	}
	if got, err = w.API.EventType(t.Context(), "pay/in"); err != nil || len(got.OtherVersions) != 0 {
		t.Errorf("%+v %v", got, err)
	}
	if a := b.post("/ui/live/type/delete/pay%2Fin", nil, own); a.status != 303 {
		t.Errorf("delete: %d", a.status)
	}
	if _, err := w.API.EventType(t.Context(), "pay/in"); err == nil {
		t.Error("the type is still there")
	}
	acts := map[string]int{}
	entries, err := w.API.AuditEntries(t.Context(), client.AuditQuery{Object: "event_type", ObjectID: "pay/in"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries.Data {
		acts[e.Act]++
	}
	if acts["event_type.created"] != 1 || acts["event_type.updated"] != 3 || acts["event_type.deleted"] != 1 {
		t.Errorf("the audit log has %v", acts)
	}
}
