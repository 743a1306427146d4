package native_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// The platform's own names, notes and default limits.
func TestUIDAndMetadata(t *testing.T) {
	h := newTestAPI(t)
	show := func(e client.Endpoint) string {
		uid := "-"
		if e.UID != nil {
			uid = *e.UID
		}
		return fmt.Sprint(uid, e.Metadata, e.RateLimit)
	}
	tenant := want[client.Tenant](h, 201, post("/v1/tenants", `{"id":"acme","metadata":{"plan":"gold"," ":""},"rate_limit":2.5}`))
	h.tenant("other")
	if got := fmt.Sprint(tenant.Metadata, tenant.RateLimit); got != "map[ : plan:gold] 2.5" {
		t.Error(got)
	}
	const base = `"url":"https://hooks.example.com/in","event_types":["*"]`
	create := func(rest string) call { return post("/v1/endpoints", "{"+base+","+rest+"}") }
	e := want[client.Endpoint](h, 201, create(`"tenant":"acme","uid":"shop-1","metadata":{"a":"1","b":"2"}`))
	if got := show(e); got != "shop-1map[a:1 b:2] 0" {
		t.Error(got)
	}
	at := "/v1/endpoints/" + e.ID
	plain := h.endpoint("acme", "*")
	if got := show(plain); got != "-map[] 0" {
		t.Error(got)
	}
	for _, c := range []struct{ body, want string }{
		{`{"metadata":{"b":null,"c":"3"}}`, "shop-1map[a:1 c:3] 0"}, {`{"title":"T"}`, "shop-1map[a:1 c:3] 0"}, {`{"metadata":null,"uid":"shop-2"}`, "shop-2map[] 0"}, {`{"uid":null,"metadata":{}}`, "-map[] 0"}, {`{"uid":"shop-1"}`, "shop-1map[] 0"},
	} {
		if got := show(want[client.Endpoint](h, 200, call{"PATCH", at, liveKey, c.body, nil})); got != c.want {
			t.Errorf("%s: %s, want %s", c.body, got, c.want)
		}
	}
	found := want[client.Page[client.Endpoint]](h, 200, get("/v1/endpoints?tenant=acme&uid=shop-1")).Data
	if len(found) != 1 || found[0].ID != e.ID {
		t.Errorf("%+v", found)
	}
	if none := want[client.Page[client.Endpoint]](h, 200, get("/v1/endpoints?tenant=other&uid=shop-1")).Data; len(none) != 0 { // control
		t.Errorf("%+v", none)
	}
	for _, uid := range []string{"a%20b", "..", "a/b", "%C3%A4", strings.Repeat("u", 257)} {
		refused(h, 422, hook.CodeInvalidRequest, "uid", get("/v1/endpoints?uid="+uid))
	}
	refused(h, 409, hook.CodeConflict, "uid", create(`"tenant":"acme","uid":"shop-1"`))
	refused(h, 409, hook.CodeConflict, "uid", call{"PATCH", "/v1/endpoints/" + plain.ID, liveKey, `{"uid":"shop-1"}`, nil})
	want[client.Endpoint](h, 201, create(`"tenant":"other","uid":"shop-1"`))
	h2 := create(`"tenant":"acme","uid":"shop-1"`)
	h2.key = testKey
	want[client.Endpoint](h, 201, h2) // the other mode has its own
	patch := func(body string) call { return call{"PATCH", at, liveKey, body, nil} }
	long := strings.Repeat("x", 4096)
	for body, field := range map[string]string{
		`"uid":"a/b"`: "uid", `"uid":".."`: "uid", `"uid":""`: "uid", `"uid":"` + long[:257] + `"`: "uid", `"uid":7`: "uid", `"uid":["a"]`: "uid",
		`"metadata":{"a":"` + long + `"}`: "metadata", `"metadata":{"a":1}`: "metadata/a", `"metadata":{"a":"1","":"v"}`: "metadata", `"metadata":["a"]`: "metadata", `"metadata":"a"`: "metadata",
	} {
		refused(h, 422, hook.CodeInvalidRequest, field, create(`"tenant":"acme",`+body))
		refused(h, 422, hook.CodeInvalidRequest, field, patch("{"+body+"}"))
	}
	change := func(body string) call { return call{"PATCH", "/v1/tenants/acme", liveKey, body, nil} }
	for body, field := range map[string]string{`"rate_limit":-1`: "rate_limit", `"rate_limit":10001`: "rate_limit", `"rate_limit":"1"`: "rate_limit", `"metadata":{"a":"` + long + `"}`: "metadata", `"metadata":{"a":{}}`: "metadata/a", `"metadata":{"":"v"}`: "metadata"} {
		refused(h, 422, hook.CodeInvalidRequest, field, change("{"+body+"}"))
		refused(h, 422, hook.CodeInvalidRequest, field, post("/v1/tenants", `{"id":"new",`+body+"}"))
	}
	for _, c := range []struct{ body, want string }{
		{`{"metadata":{" ":null,"":null,"note":"n"}}`, "map[note:n plan:gold] 2.5"}, {`{"name":"Acme","rate_limit":7}`, "map[note:n plan:gold] 7"}, {`{"rate_limit":null,"metadata":null}`, "map[] 0"},
	} {
		got := want[client.Tenant](h, 200, change(c.body))
		if text := fmt.Sprint(got.Metadata, got.RateLimit); text != c.want {
			t.Errorf("%s: %s, want %s", c.body, text, c.want)
		}
	}
}

// A filter that nothing can match is refused. One that nothing matches is an empty list.
func TestFiltersThatNothingCanMatch(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	for path, field := range map[string]string{"events?type=": "type", "deliveries?event_type=": "event_type", "deliveries?type=": "event_type", "endpoints?profile=": "profile", "endpoints?event_type=": "event_type", "endpoints?uid=": "uid"} {
		for _, wrong := range []string{"a%20b", "a.%2A", "%C3%A4", "..", strings.Repeat("x", 257)} {
			refused(h, 422, hook.CodeInvalidRequest, field, get("/v1/"+path+wrong))
		}
		want[client.Page[struct{}]](h, 200, get("/v1/"+path+"no.such")) // control
	}
}

// What refuses an id of dots alone says that they are not allowed alone.
func TestDotsAreNoID(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	for _, dots := range []string{".", ".."} {
		for field, c := range map[string]call{
			"id":   post("/v1/tenants", `{"id":"`+dots+`"}`),
			"id ":  post("/v1/events", `{"tenant":"acme","type":"a.b","data":{},"id":"`+dots+`"}`),
			"uid":  post("/v1/endpoints", `{"tenant":"acme","url":"https://hooks.example.com/in","event_types":["*"],"uid":"`+dots+`"}`),
			"uid ": get("/v1/endpoints?uid=" + dots),
			"q":    get("/v1/search?q=" + dots),
		} {
			if p := refused(h, 422, hook.CodeInvalidRequest, strings.TrimSpace(field), c); !strings.Contains(p.Detail, hook.IDRule) || !strings.Contains(p.Detail, "not . or ..") {
				t.Errorf("%s: %s", c.path, p.Detail)
			}
		}
	}
}
