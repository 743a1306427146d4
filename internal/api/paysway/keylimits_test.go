package paysway_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// The limits of a key apply to it and to the tokens that were issued for it.
func TestLimitsOfKeys(t *testing.T) {
	h := newTestAPI(t, "paysway", 20)
	plain := h.tenant("acme", hook.Live)
	make := func(limits hook.KeyLimits) (token, id, text string) {
		k, _, err := h.service.CreateKey(t.Context(), h.operator, hook.Key{Kind: hook.TenantKey, Tenant: "acme", KeyLimits: limits}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(limits.Networks) > 0 {
			return "", k.ID.String(), k.Text
		}
		return h.token(k), k.ID.String(), k.Text
	}
	reader, _, _ := make(hook.KeyLimits{ReadOnly: true})
	short, id, text := make(hook.KeyLimits{ExpiresAt: time.Now().Add(time.Minute)})
	_, farID, far := make(hook.KeyLimits{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	want := func(what string, got answer, status int, code string) {
		if t.Helper(); got.status != status || code != "" && h.has(got, status, "code", "message")["code"] != code {
			t.Errorf("%s: %d %s, want %d %s", what, got.status, got.text, status, code)
		}
	}
	want("read", h.api("GET", path, reader, ""), 200, "")
	want("write", h.api("POST", path, reader, "{}"), 403, "FORBIDDEN")
	want("control", h.api("POST", path, h.token(plain), "{}"), 400, "")
	want("elsewhere", h.form("", grant, "client_credentials", "client_id", farID, "client_secret", far), 403, "FORBIDDEN")
	want("before the end", h.api("GET", path, short, ""), 200, "")
	h.ahead.Add(int64(2 * time.Minute))
	want("token of an expired key", h.api("GET", path, short, ""), 401, "AUTH_TOKEN_INVALID")
	want("expired key", h.form("", grant, "client_credentials", "client_id", id, "client_secret", text), 401, "AUTH_INVALID_CLIENT_CREDENTIALS")
	want("control: a token of its age", h.api("GET", path, reader, ""), 200, "")
}
