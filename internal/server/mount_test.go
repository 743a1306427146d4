package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mounted starts a node with the options and returns a way to call it.
func mounted(t *testing.T, args ...string) func(method, path, key, body string) (int, string) {
	t.Helper()
	c, err := loaded(t, "", append(args, "--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data"), "--operator-key", mountKey)...)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Start(t.Context(), c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		n.Stop(ctx)
	})
	return func(method, path, key, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.api.Addr().String()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("Content-Type", "application/json")
		if path == "/oauth2/token" {
			r.Header.Del("Authorization")
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		got, err := http.DefaultTransport.RoundTrip(r) // follows no redirect
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = got.Body.Close() }()
		text, err := io.ReadAll(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		return got.StatusCode, string(text)
	}
}

const mountKey = "an-operator-key-of-at-least-32-characters"

// member cuts one text out of a flat JSON object.
func member(text, name string) string {
	_, after, _ := strings.Cut(text, `"`+name+`":"`)
	value, _, _ := strings.Cut(after, `"`)
	return value
}

// The three APIs stand side by side, and none takes a route of another.
func TestMountsBesideTheNativeAPI(t *testing.T) {
	do := mounted(t, "--mount", "paysway,paywise", "--paysway-subscription-limit", "1")
	expect := func(status int, part, method, path, key, body string) string {
		t.Helper()
		got, text := do(method, path, key, body)
		if got != status || !strings.Contains(text, part) {
			t.Errorf("%s %s: %d %.300s; want %d with %s", method, path, got, text, status, part)
		}
		return text
	}
	expect(201, `"acme"`, "POST", "/v1/tenants", mountKey, `{"id":"acme"}`)
	made := expect(201, `"key"`, "POST", "/v1/keys", mountKey, `{"kind":"tenant","tenant":"acme"}`)
	key, id := member(made, "key"), member(made, "id")
	const url1 = `"url":"https://93.184.215.14/hook"` // an address: nothing is looked up
	expect(201, `"whsec_`, "POST", "/v1/endpoints", key, `{`+url1+`,"event_types":["*"]}`)
	expect(201, `"secret_key"`, "POST", "/v1/webhooks/", key, `{`+url1+`,"events":["claim.created"]}`)
	expect(200, `"count":1`, "GET", "/v1/webhooks/", key, "")
	expect(200, `"data"`, "GET", "/v1/endpoints", key, "")
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {key}}.Encode()
	token := member(expect(200, `"expires_in":3600`, "POST", "/oauth2/token", "", form), "access_token")
	expect(200, `{"items":[]}`, "GET", "/webhooks/subscriptions", token, "")
	// Each credential is valid for its own API only.
	expect(401, `"unauthorized"`, "GET", "/v1/endpoints", token, "")
	expect(401, `"detail"`, "GET", "/v1/webhooks/", token, "")
	expect(401, `AUTH_TOKEN_INVALID`, "GET", "/webhooks/subscriptions", key, "")
	// What no API has is answered in the words of the API it looks like.
	expect(404, `"detail"`, "GET", "/v1/webhooks", key, "")
	expect(404, `"NOT_FOUND"`, "GET", "/webhooks", token, "")
	expect(404, `"route_not_found"`, "GET", "/v1/webhook", key, "")
	expect(404, `"route_not_found"`, "GET", "/webhook", key, "")
	// A key that is revoked takes its token along at once.
	if got, text := do("DELETE", "/v1/keys/"+id, mountKey, ""); got != 204 {
		t.Fatal(got, text)
	}
	expect(401, `AUTH_TOKEN_INVALID`, "GET", "/webhooks/subscriptions", token, "")
	expect(401, `"detail"`, "GET", "/v1/webhooks/", key, "")
}

// Without the option the default profile decides; none means none.
func TestDefaultMount(t *testing.T) {
	for name, c := range map[string]struct {
		args             []string
		paysway, paywise string // a part of the answer to a caller without a key
	}{
		"standard":        {nil, `start it with --mount paysway`, `start it with --mount paywise`},
		"paysway":         {[]string{"--profile", "paysway"}, `AUTH_TOKEN_INVALID`, `"route_not_found"`},
		"paysway-2025-09": {[]string{"--profile", "paysway-2025-09"}, `AUTH_TOKEN_INVALID`, `"route_not_found"`},
		"paywise":         {[]string{"--profile", "paywise"}, `"route_not_found"`, `"detail"`},
		"svix":            {[]string{"--profile", "svix"}, `start it with --mount paysway`, `start it with --mount paywise`},
		"none":            {[]string{"--profile", "paywise", "--mount", "none"}, `"route_not_found"`, `"route_not_found"`},
		"another":         {[]string{"--profile", "paywise", "--mount", "paysway"}, `AUTH_TOKEN_INVALID`, `"route_not_found"`},
	} {
		t.Run(name, func(t *testing.T) {
			do := mounted(t, c.args...)
			for path, want := range map[string]string{"/webhooks/subscriptions": c.paysway, "/v1/webhooks/": c.paywise} {
				if status, text := do("GET", path, "x", ""); !strings.Contains(text, want) || status != 401 && status != 404 {
					t.Errorf("%s: %d %s; want %s", path, status, text, want)
				}
			}
		})
	}
}

func TestMountOptions(t *testing.T) {
	for _, args := range [][]string{{"--mount", "stripe"}, {"--mount", "none,paysway"}, {"--paysway-subscription-limit", "-1"}, {"--paysway-subscription-limit", "100001"}} {
		if _, err := loaded(t, "", args...); err == nil || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("%v: %v", args, err)
		}
	}
	c, err := loaded(t, "mount: [paysway, paywise]\n")
	if err != nil || len(c.Mount) != 2 || c.SubscriptionLimit != 20 {
		t.Errorf("%+v %v", c, err)
	}
}
