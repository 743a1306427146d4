package native_test

import (
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

func TestPartnerUsers(t *testing.T) {
	h := newTestAPI(t)
	for _, id := range []string{"agency", "acme", "other"} {
		h.tenant(id)
	}
	const route = "/v1/partner-users"
	body := `{"partner":"agency","user":"u-1","tenant":"acme"}`
	once := map[string]string{"Idempotency-Key": "k"}
	made := want[client.PartnerUser](h, 201, call{"POST", route, liveKey, body, once})
	again := want[client.PartnerUser](h, 201, call{"POST", route, liveKey, body, once})
	if made != again || made.Partner != "agency" || made.User != "u-1" || made.Tenant != "acme" || made.CreatedAt.IsZero() {
		t.Errorf("%+v, again %+v", made, again)
	}
	want[client.PartnerUser](h, 201, post(route, `{"partner":"other","user":"u-1","tenant":"acme"}`))
	for path, n := range map[string]int{route: 2, route + "?partner=agency": 1, route + "?partner=acme": 0} {
		if got := want[client.Page[client.PartnerUser]](h, 200, get(path)); len(got.Data) != n {
			t.Errorf("%s: %d rows, want %d", path, len(got.Data), n)
		}
	}
	refused(h, 409, hook.CodeConflict, "user", post(route, `{"partner":"agency","user":"u-1","tenant":"other"}`))
	refused(h, 422, hook.CodeInvalidRequest, "user", post(route, `{"partner":"agency","tenant":"acme"}`))
	refused(h, 422, hook.CodeInvalidRequest, "user", post(route, `{"partner":"agency","user":"a b","tenant":"acme"}`))
	refused(h, 422, hook.CodeInvalidRequest, "partner", post(route, `{"user":"u","tenant":"acme"}`))
	refused(h, 422, hook.CodeUnknownField, "colour", post(route, `{"partner":"agency","user":"u","tenant":"acme","colour":1}`))
	refused(h, 404, hook.CodeTenantNotFound, "tenant", post(route, `{"partner":"agency","user":"u","tenant":"nobody"}`))
	refused(h, 404, hook.CodeTenantNotFound, "partner", post(route, `{"partner":"nobody","user":"u","tenant":"acme"}`))
	refused(h, 404, hook.CodeNotFound, "", call{"DELETE", route + "/x", liveKey, nil, nil})
	refused(h, 404, hook.CodeNotFound, "", call{"DELETE", route + "/" + made.ID, testKey, nil, nil})
	want[struct{}](h, 204, call{"DELETE", route + "/" + made.ID, liveKey, nil, nil})
	refused(h, 404, hook.CodeNotFound, "", call{"DELETE", route + "/" + made.ID, liveKey, nil, nil})
	want[client.PartnerUser](h, 201, post(route, `{"partner":"agency","user":"u-1","tenant":"other"}`)) // the name is free again
}
