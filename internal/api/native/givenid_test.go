package native_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

func TestGivenIDs(t *testing.T) {
	h := newTestAPI(t)
	long := strings.Repeat("t", 256)
	h.tenant(long)
	refused(h, 422, hook.CodeInvalidRequest, "id", post("/v1/tenants", `{"id":"`+long+`t"}`))
	ep := h.endpoint(long, "*")
	publish := func(id string) call {
		return post("/v1/events", `{"tenant":"`+long+`","type":"a.b","data":{"n":1},"id":`+id+`}`)
	}
	for _, id := range []string{"a", "order_4711.1-A", strings.Repeat("e", 256), "00000000-0000-0000-0000-00000000000g", "5f0b9e6c-1111-4222-8333-0123456789ab"} {
		p := want[client.Published](h, 202, publish(`"`+id+`"`))
		again := want[client.Published](h, 202, publish(`"`+id+`"`))
		e := want[client.Event](h, 200, get("/v1/events/"+id+"?tenant="+long))
		d := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?event="+id)).Data
		x := want[client.Explanation](h, 200, get("/v1/events/"+id+"/explain"))
		r := want[client.Resent](h, 202, post("/v1/events/"+id+"/resend", `{"endpoint":"`+ep.ID+`"}`))
		for _, got := range []string{p.ID, again.ID, e.ID, e.Deliveries[0].Event, d[0].Event, x.Event, r.Event, r.Deliveries[0].Event} {
			if got != id {
				t.Errorf("%q, want %q", got, id)
			}
		}
	}
	for _, q := range []string{"a", "order_4711.1-A"} {
		found := want[client.SearchResults](h, 200, get("/v1/search?q="+q)).Data
		if len(found) != 1 || found[0].Kind != "event" || found[0].ID != q || found[0].Path != "/v1/events/"+q+"?tenant="+long {
			t.Errorf("%s: %+v", q, found)
		}
	}
	refused(h, 409, hook.CodeEventConflict, "id", post("/v1/events", `{"tenant":"`+long+`","type":"a.b","data":{"n":2},"id":"a"}`))
	batch := want[client.BatchResults](h, 202, post("/v1/events/batch", `[{"tenant":"`+long+`","type":"a.b","data":{},"id":"b-1"},{"tenant":"`+long+`","type":"a.b","data":{},"id":"b 1"}]`)).Results
	if batch[0].ID != "b-1" || batch[1].Error == nil || batch[1].Error.Field != "id" {
		t.Errorf("%+v", batch)
	}
	for _, bad := range []string{`""`, `"` + strings.Repeat("e", 257) + `"`, `"a b"`, `"a/b"`, `"ä"`, `"."`, `".."`, `"a\nb"`, `7`, `{}`, `"00000000-0000-0000-0000-000000000000"`} {
		refused(h, 422, hook.CodeInvalidRequest, "id", publish(bad))
	}
	refused(h, 404, hook.CodeNotFound, "", get("/v1/events/nothing"))
	refused(h, 422, hook.CodeInvalidRequest, "event", get("/v1/deliveries?event=a%20b"))
}
