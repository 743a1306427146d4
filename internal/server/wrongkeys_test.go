package server_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// knock makes a request with a credential and returns its status and Retry-After.
func knock(l *servertest.Live, method, path, credential, body string) (status int, retryAfter string) {
	l.T.Helper()
	r, err := http.NewRequestWithContext(l.T.Context(), method, l.API.URL+path, strings.NewReader(body))
	if err != nil {
		l.T.Fatal(err)
	}
	if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("X-Forwarded-For", "192.0.2.9") // anybody may write that
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		l.T.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode, res.Header.Get("Retry-After")
}

// Wrong keys of one address are counted over all APIs, and beyond the limit they are
// answered with 429 and not logged one by one. The control is a valid key from the same
// address, which is served all the while.
func TestWrongKeysAreThrottled(t *testing.T) {
	l := startLive(t, "--mount", "paysway,paywise")
	const form = "grant_type=client_credentials&client_id=x&client_secret=y"
	kinds := []struct{ method, path, credential, body string }{
		{"GET", "/v1/events", "", ""}, {"POST", "/v1/events", "wrong", ""}, {"POST", "/v1/events/batch", "wrong", ""}, {"GET", "/v1/listen?name=a", "wrong", ""},
		{"POST", "/oauth2/token", "", form}, {"GET", "/webhooks/subscriptions", "wrong", ""}, {"GET", "/webhooks/subscriptions", "", ""},
		{"GET", "/v1/webhooks/", "wrong", ""}, {"GET", "/v1/webhooks/", "", ""},
	}
	for i := range 20 {
		k := kinds[i%len(kinds)]
		if status, _ := knock(l, k.method, k.path, k.credential, k.body); status != 401 {
			t.Fatalf("request %d, %s %s: %d", i, k.method, k.path, status)
		}
	}
	for range 5 {
		for _, k := range kinds {
			if status, after := knock(l, k.method, k.path, k.credential, k.body); status != 429 || after == "" || after == "0" {
				t.Errorf("%s %s: %d, Retry-After %q", k.method, k.path, status, after)
			}
		}
		if _, err := l.API.Tenant(context.WithoutCancel(t.Context()), "acme"); err != nil {
			t.Errorf("a valid key: %v", err)
		}
	}
	if _, err := (&client.Client{URL: l.API.URL, Key: "wrong", Attempts: 1}).Tenant(t.Context(), "acme"); err == nil || !strings.Contains(err.Error(), "Requests with a valid key are served") {
		t.Errorf("%v", err)
	}
	lines := strings.Count(l.Log.String(), "too many requests without a valid key")
	if refused := strings.Count(l.Log.String(), `msg="request refused"`); lines != 1 || refused != 20 || !strings.Contains(l.Log.String(), "address=127.0.0.1/32") {
		t.Errorf("%d lines about the address, %d about requests\n%s", lines, refused, l.Log)
	}
}
