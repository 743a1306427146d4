package paywise_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

func TestLimitsOfKeys(t *testing.T) {
	h := newTestAPI(t)
	plain := h.tenant("acme", hook.Live)
	make := func(limits hook.KeyLimits) string {
		k, _, err := h.service.CreateKey(t.Context(), h.operator, hook.Key{Kind: hook.TenantKey, Tenant: "acme", KeyLimits: limits}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return k.Text
	}
	reader, short := make(hook.KeyLimits{ReadOnly: true}), make(hook.KeyLimits{ExpiresAt: time.Now().Add(time.Minute)})
	near := make(hook.KeyLimits{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	far := make(hook.KeyLimits{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	want := func(what string, got answer, status int) {
		if t.Helper(); got.status != status {
			t.Errorf("%s: %d %s, want %d", what, got.status, got.text, status)
		}
	}
	want("read", h.api("GET", path, reader, ""), 200)
	want("write", h.api("POST", path, reader, good), 403)
	want("control", h.api("POST", path, plain.Text, good), 201)
	want("from near", h.api("GET", path, near, ""), 200)
	want("from elsewhere", h.api("GET", path, far, ""), 403)
	want("before the end", h.api("GET", path, short, ""), 200)
	h.ahead.Add(int64(2 * time.Minute))
	got := h.api("GET", path, short, "")
	want("after the end", got, 401)
	if got.header.Get("WWW-Authenticate") != "Bearer" {
		t.Error("the answer does not say how to authenticate")
	}
	want("control", h.api("GET", path, reader, ""), 200)
}
