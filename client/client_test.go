package client_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
)

func TestErrorsAreProblems(t *testing.T) {
	answers := map[string]func(http.ResponseWriter){
		"http_502": func(w http.ResponseWriter) { w.WriteHeader(502); _, _ = io.WriteString(w, "<html>") },
		"http_302": func(w http.ResponseWriter) { w.Header().Set("Location", "/elsewhere"); w.WriteHeader(302) },
		"storage_full": func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(503)
			_, _ = io.WriteString(w, `{"code":"storage_full","detail":"d","status":503,"request_id":"r"}`)
		},
	}
	for code, answer := range answers {
		calls := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls++
			answer(w)
		}))
		_, err := (&client.Client{URL: server.URL, Key: "k", Attempts: 1}).Tenant(t.Context(), "acme")
		p, ok := errors.AsType[*client.Problem](err)
		if !ok || p.Code != code || p.Detail == "" || p.Status == 0 || calls != 1 {
			t.Errorf("%s: %v after %d calls", code, err, calls)
		}
		if code == "storage_full" && p.RetryAfter != 7*time.Second {
			t.Errorf("Retry-After: %v", p.RetryAfter)
		}
		server.Close()
	}
}

func TestWhatIsSent(t *testing.T) {
	var got, body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got, body = r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Authorization")+" "+r.Header.Get("Idempotency-Key"), string(text)
		_, _ = io.WriteString(w, `{}`)
	}))
	defer server.Close()
	c := &client.Client{URL: server.URL + "/", Key: "k"}
	ctx := t.Context()
	for _, step := range []struct {
		call      func() error
		got, body string
	}{
		{func() error { _, err := c.Tenant(ctx, "a/b"); return err }, "GET /v1/tenants/a%2Fb Bearer k ", ""},
		{func() error {
			_, err := c.Events(ctx, client.EventQuery{ListOptions: client.ListOptions{Limit: 2, Cursor: "x"}, Tenant: "a"})
			return err
		}, "GET /v1/events?cursor=x&limit=2&tenant=a Bearer k ", ""},
		{func() error {
			_, err := c.UpdateEndpoint(ctx, "1", client.EndpointPatch{Title: client.Set(""), URL: client.Null[string](), Backlog: "drain"})
			return err
		}, "PATCH /v1/endpoints/1 Bearer k ", `{"url":null,"backlog":"drain","title":""}`},
		{func() error {
			_, err := c.Publish(ctx, client.NewEvent{Tenant: "a", Type: "t", Data: json.RawMessage(` {"x": "<>" } `)}, client.PublishOptions{IdempotencyKey: "i"})
			return err
		}, "POST /v1/events Bearer k i", `{"tenant":"a","type":"t","data":{"x": "<>" }}`},
	} {
		if err := step.call(); err != nil || got != step.got || body != step.body {
			t.Errorf("%v\n got %s %s\nwant %s %s", err, got, body, step.got, step.body)
		}
	}
	got = ""
	if _, err := c.Publish(ctx, client.NewEvent{Data: json.RawMessage(`{`)}, client.PublishOptions{}); err == nil || got != "" {
		t.Errorf("data that is not JSON was sent: %v %s", err, got)
	}
}

func TestTimesHaveSixDigits(t *testing.T) {
	at := client.Time{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))}
	text, err := json.Marshal(at)
	if err != nil || string(text) != `"2026-01-02T02:04:05.000000Z"` {
		t.Errorf("%s %v", text, err)
	}
	var back client.Time
	if err := json.Unmarshal(text, &back); err != nil || !back.Equal(at.Time) {
		t.Errorf("%v %v", back, err)
	}
}
