package native_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// At most ten secrets are in force, and the older ones can be expired.
func TestSecretsInForce(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	path := "/v1/endpoints/" + h.endpoint("acme", "*").ID + "/secret/"
	rotate := call{method: "POST", path: path + "rotate", key: liveKey, body: `{"overlap":"168h"}`}
	for range hook.MaxSecrets - 1 {
		want[client.RotatedSecret](h, 200, rotate)
	}
	refused(h, 409, hook.CodeSecretLimit, "", rotate)
	expire := call{method: "POST", path: path + "expire", key: liveKey}
	want[any](h, 204, expire)
	want[any](h, 204, expire)
	for range hook.MaxSecrets - 1 {
		want[client.RotatedSecret](h, 200, rotate)
	}
	refused(h, 409, hook.CodeSecretLimit, "", rotate)
	want[client.RotatedSecret](h, 200, call{method: "POST", path: path + "rotate", key: liveKey, body: `{"overlap":"0s"}`})
	want[client.RotatedSecret](h, 200, rotate)

	h.tenant("other")
	for key, code := range map[string]int{h.key("tenant", "other"): 404, h.key("publisher", "acme"): 403, testKey: 404, "": 401} {
		if w := h.do(call{method: "POST", path: path + "expire", key: key}); w.Code != code {
			t.Errorf("a stranger's call: %d, want %d", w.Code, code)
		}
	}
	refused(h, 404, hook.CodeNotFound, "", call{method: "POST", path: "/v1/endpoints/no-id/secret/expire", key: liveKey})
}

// A repeated request shows a secret only while it is in force.
func TestARepeatShowsNoOldSecret(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	once := func(key, path string, body string) call {
		return call{"POST", path, liveKey, body, map[string]string{"Idempotency-Key": key}}
	}
	gone := func(c call, secret string) {
		t.Helper()
		if p := refused(h, 409, hook.CodeSecretChanged, "Idempotency-Key", c); strings.Contains(p.Detail, secret) {
			t.Errorf("the secret is in %q", p.Detail)
		}
	}
	create := once("1", "/v1/endpoints", `{"tenant":"acme","url":"https://hooks.example.com/in","event_types":["*"]}`)
	made := want[client.Endpoint](h, 201, create)
	if again := want[client.Endpoint](h, 201, create); again.Secret != made.Secret || made.Secret == "" { // control
		t.Errorf("repeated: %q, first %q", again.Secret, made.Secret)
	}
	if n := strings.Count(h.log.String(), "audit: secret repeated"); n != 1 {
		t.Errorf("%d lines of audit", n)
	}
	rotate := once("2", "/v1/endpoints/"+made.ID+"/secret/rotate", `{}`)
	first := want[client.RotatedSecret](h, 200, rotate)
	if again := want[client.RotatedSecret](h, 200, rotate); again.Secret != first.Secret { // control
		t.Errorf("repeated: %q, first %q", again.Secret, first.Secret)
	}
	gone(create, made.Secret)
	want[client.RotatedSecret](h, 200, call{method: "POST", path: rotate.path, key: liveKey, body: `{}`})
	gone(rotate, first.Secret)
	want[any](h, 204, call{method: "DELETE", path: "/v1/endpoints/" + made.ID, key: liveKey})
	gone(create, made.Secret)
	refused(h, 404, hook.CodeNotFound, "", rotate)

	key := once("3", "/v1/keys", `{"kind":"tenant","tenant":"acme"}`)
	k := want[client.Key](h, 201, key)
	if again := want[client.Key](h, 201, key); again.Key != k.Key { // control
		t.Errorf("repeated: %q, first %q", again.Key, k.Key)
	}
	want[any](h, 204, call{method: "DELETE", path: "/v1/keys/" + k.ID, key: liveKey})
	gone(key, k.Key)
}
