package jwks_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/api/jwks"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// The key of RFC 8037 appendix A: its private and public parts and its thumbprint.
const (
	rfcSeed  = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
	rfcX     = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	rfcKeyID = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
)

// otherSecret and otherX are vector C of Standard Webhooks.
const (
	otherSecret = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	otherX      = "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4"
)

// shelf is a store that has endpoints by scope.
type shelf struct {
	app.Store
	of map[hook.Scope][]*hook.Endpoint
}

func (s shelf) TenantEndpoints(_ context.Context, scope hook.Scope) ([]*hook.Endpoint, error) {
	return s.of[scope], nil
}

func open(t *testing.T, s shelf, now func() time.Time) func(method, path, remote, tag string) *httptest.ResponseRecorder {
	t.Helper()
	p, err := profile.ReadFile("../../../examples/profiles/standard-ed25519.yaml")
	if err != nil {
		t.Fatal(err)
	}
	profiles := profile.Builtin()
	if err := profiles.Add(p); err != nil {
		t.Fatal(err)
	}
	service, err := app.New(app.Options{Store: s, Profiles: profiles, Now: now, CheckHeaders: func([]hook.Header) error { return nil },
		Admit: func(context.Context, string, bool) (string, []app.Warning, error) { return "", nil, nil }})
	if err != nil {
		t.Fatal(err)
	}
	h := jwks.New(jwks.Options{Service: service, Log: slog.New(slog.DiscardHandler)})
	return func(method, path, remote, tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		r.RemoteAddr = remote
		if tag != "" {
			r.Header.Set("If-None-Match", tag)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
}

func TestPublicKeysOfATenant(t *testing.T) {
	seed, err := base64.RawURLEncoding.DecodeString(rfcSeed)
	if err != nil {
		t.Fatal(err)
	}
	rfcSecret := "whsk_" + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed))
	start := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	now := start
	live, test := hook.Scope{Tenant: "acme", Mode: hook.Live}, hook.Scope{Tenant: "acme", Mode: hook.Test}
	asymmetric := func(id byte, secrets ...hook.Secret) *hook.Endpoint {
		return &hook.Endpoint{ID: hook.ID{15: id}, Profile: "standard-ed25519", Secrets: secrets}
	}
	secret := func(text string, end time.Time) hook.Secret {
		return hook.Secret{Text: text, Encoding: hook.EncodingWhsk, ExpiresAt: end}
	}
	rotated := asymmetric(1, secret(rfcSecret, time.Time{}), secret(otherSecret, start.Add(time.Hour)))
	damaged := asymmetric(3, secret(otherSecret, time.Time{}))
	damaged.Damage = hook.DamagedSecrets
	ask := open(t, shelf{of: map[hook.Scope][]*hook.Endpoint{
		live: {
			rotated,
			{ID: hook.ID{15: 2}, Profile: "standard", Secrets: []hook.Secret{{Text: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Encoding: hook.EncodingWhsec}}},
			damaged,
		},
		test: {asymmetric(4, secret(otherSecret, time.Time{}))},
	}}, func() time.Time { return now })
	keys := func(path string) string {
		t.Helper()
		w := ask("GET", path, "192.0.2.1:1", "")
		var set jwks.Set
		if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || w.Code != 200 || set.Keys == nil {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		var xs []string
		for _, k := range set.Keys {
			if k.Type != "OKP" || k.Curve != "Ed25519" || k.Use != "sig" || k.Algorithm != "EdDSA" || (k.X == rfcX) != (k.KeyID == rfcKeyID) {
				t.Errorf("%s: %+v", path, k)
			}
			xs = append(xs, k.X)
		}
		if strings.Contains(w.Body.String(), "whs") || strings.Contains(w.Body.String(), rfcSeed) {
			t.Errorf("%s: a secret is shown: %s", path, w.Body)
		}
		return strings.Join(xs, " ")
	}
	const root = "/.well-known/webhook-keys/"
	for path, want := range map[string]string{
		root + "acme/jwks.json":                                 rfcX + " " + otherX, // both keys during the overlap
		root + "acme/test/jwks.json":                            otherX,
		root + "nobody/jwks.json":                               "",
		root + "%20/jwks.json":                                  "",
		root + "acme/jwks.json?endpoint=" + rotated.ID.String(): rfcX + " " + otherX,
		root + "acme/jwks.json?endpoint=" + damaged.ID.String(): "",
	} {
		if got := keys(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	got := ask("GET", root+"acme/jwks.json", "192.0.2.1:1", "")
	if h := got.Header(); h.Get("Cache-Control") != "public, max-age=300" || h.Get("Content-Type") != "application/jwk-set+json" {
		t.Errorf("headers %v", h)
	}
	if w := ask("GET", root+"acme/jwks.json", "192.0.2.1:1", got.Header().Get("ETag")); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	now = start.Add(time.Hour)
	if got := keys(root + "acme/jwks.json"); got != rfcX {
		t.Errorf("after the overlap: %q", got)
	}
	for path, status := range map[string]int{
		"POST " + root + "acme/jwks.json": 405, "GET " + root + "acme/jwks.json?endpoint=x": 422, "GET " + root + "acme/jwks.json?all=1": 422,
		"GET " + root + "acme": 404, "GET " + root: 404, "GET " + root + "acme/live/jwks.json": 404,
	} {
		method, path, _ := strings.Cut(path, " ")
		if w := ask(method, path, "192.0.2.1:1", ""); w.Code != status {
			t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	}
}

// Responses to anonymous requests are bounded: the keys in a response, and the requests
// of an address.
func TestPublicKeysAreBounded(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	scope := hook.Scope{Tenant: "acme", Mode: hook.Live}
	var many []*hook.Endpoint
	for i := range 1100 {
		key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("s", 28) + string(rune('a'+i/400)) + string([]byte{byte(i), byte(i >> 8), 1})))
		many = append(many, &hook.Endpoint{ID: hook.ID{14: byte(i >> 8), 15: byte(i)}, Profile: "standard-ed25519",
			Secrets: []hook.Secret{{Text: "whsk_" + base64.StdEncoding.EncodeToString(key), Encoding: hook.EncodingWhsk}}})
	}
	ask := open(t, shelf{of: map[hook.Scope][]*hook.Endpoint{scope: many}}, func() time.Time { return now })
	const path = "/.well-known/webhook-keys/acme/jwks.json"
	if w := ask("GET", path, "192.0.2.1:1", ""); strings.Count(w.Body.String(), `"kid"`) != 1000 {
		t.Errorf("%d keys", strings.Count(w.Body.String(), `"kid"`))
	}
	codes := map[int]int{}
	const other = "/.well-known/webhook-keys/nobody/jwks.json"
	for range 310 {
		codes[ask("GET", other, "192.0.2.1:1", "").Code]++
	}
	if codes[200] != 299 || codes[429] != 11 {
		t.Errorf("answers %v", codes)
	}
	if w := ask("GET", other, "192.0.2.2:1", ""); w.Code != 200 { // control: another address
		t.Errorf("%d", w.Code)
	}
	now = now.Add(time.Minute)
	if w := ask("GET", other, "192.0.2.1:1", ""); w.Code != 200 {
		t.Errorf("a minute later: %d", w.Code)
	}
}
