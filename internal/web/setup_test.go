package web_test

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/server/servertest"
	"github.com/posthorn/posthorn/internal/web"
)

// hostile is text that would be markup on a page that does not escape it.
const hostile = `<script>alert('x')</script>"><b>bold</b>`

// world is a server with data on every page, in both modes.
type world struct {
	*servertest.Live
	test     *client.Client
	endpoint client.Endpoint
	event    client.Published
	delivery string
	key      client.Key
	replay   client.Replay
	other    client.Published // in test mode
	session  string           // of an operator
	visitor  string           // of the portal
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Live: servertest.Start(t, "--dev")}
	w.test = &client.Client{URL: w.Node.URL(), Key: w.Config.OperatorTestKey}
	w.Answers(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("X-Odd", hostile)
		rw.WriteHeader(500)
		_, _ = io.WriteString(rw, hostile)
	})
	ctx := t.Context()
	w.endpoint = w.Endpoint(client.NewEndpoint{Title: hostile, Description: hostile, EventTypes: []string{"order/*"}, Headers: map[string]string{"X-Token": "header-secret"},
		URL: strings.Replace(w.Receiver.URL, "127.0.0.1", "localhost", 1) + "/hook?token=query-secret", Retry: &client.Retry{Steps: []string{"1h"}}})
	var err error
	if w.key, err = w.API.CreateKey(ctx, client.NewKey{Kind: "publisher", Name: hostile}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.API.CreateTenant(ctx, client.NewTenant{ID: "hostile", Name: hostile}); err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(map[string]string{"note": hostile})
	if _, err := w.API.CreateEventType(ctx, client.NewEventType{Name: "order/created", Description: hostile, Group: hostile, Example: json.RawMessage(text),
		Deprecated: true, Replacement: "order/made", Hidden: true, Version: 2, Schema: json.RawMessage(`{"properties":{"a":{}}}`),
		OtherVersions: []client.EventTypeVersion{{Version: 1, Schema: json.RawMessage(`{"properties":{"a":{},` + quoted(hostile) + `:{}}}`)}}}); err != nil {
		t.Fatal(err)
	}
	w.event = w.Publish("order/created", `{"note":`+quoted(hostile)+`}`)
	w.Until("the delivery failed once", func() bool {
		page, err := w.API.Deliveries(ctx, client.DeliveryQuery{})
		if err != nil || len(page.Data) == 0 || page.Data[0].Attempts == 0 {
			return false
		}
		w.delivery = page.Data[0].ID
		return true
	})
	if w.replay, err = w.API.CreateReplay(ctx, client.NewReplay{Endpoint: w.endpoint.ID, Source: "missing"}); err != nil {
		t.Fatal(err)
	}
	if w.other, err = w.test.Publish(ctx, client.NewEvent{Tenant: "acme", Type: "only.in.test", Data: json.RawMessage(`{}`)}, client.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	visitor, err := w.API.CreatePortalSession(ctx, client.NewPortalSession{Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	w.visitor = visitor.ID
	if found := regexp.MustCompile(`/ui/live/sessions/([^/"]+)/end"`).FindStringSubmatch(w.browser(w.Config.OperatorKey).get("/ui/live/keys").body); found != nil {
		w.session = found[1]
	}
	return w
}

// quoted writes a text as JSON without escaping HTML characters.
func quoted(text string) string { return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"` }

// aFile reports whether a route answers with a file instead of a page.
func aFile(r web.Route) bool {
	return strings.HasSuffix(r.Path, "/data") || strings.HasSuffix(r.Path, "/report") || strings.HasSuffix(r.Path, "/download")
}

// path returns the path of a route in a mode, with the ids of objects of the world.
func (w *world) path(mode string, r web.Route) string {
	id := map[string]string{"deliveries": w.delivery, "endpoints": w.endpoint.ID, "events": w.event.ID, "tenants": "acme", "keys": w.key.ID, "replays": "", "sessions": w.session, "visitors": w.visitor}
	if w.replay.ID != nil {
		id["replays"] = *w.replay.ID
	}
	noun, _, _ := strings.Cut(r.Path, "/")
	p := strings.ReplaceAll(r.Path, "{id}", id[noun])
	p = strings.ReplaceAll(p, "{name...}", "order%2Fcreated")
	p = strings.ReplaceAll(p, "{name}", "standard")
	p = strings.ReplaceAll(p, "{$}", "")
	if p == "search" {
		p += "?q=none" // no result: it stays on the page
	}
	if strings.HasPrefix(p, "visitors/") {
		p += "?tenant=acme"
	}
	return "/ui/" + mode + "/" + p
}

// browser is a browser without scripts.
type browser struct {
	t      *testing.T
	base   string
	cookie string
}

func (w *world) browser(keys ...string) *browser {
	w.T.Helper()
	b := &browser{t: w.T, base: w.Node.URL()}
	for _, key := range keys {
		a := b.post("/ui/login", url.Values{"key": {key}}, own)
		if a.status != 303 || b.cookie == "" {
			w.T.Fatalf("log-in: %d %s", a.status, a.body)
		}
	}
	return b
}

type answer struct {
	status int
	header http.Header
	body   string
}

// own marks a form as submitted from one of these pages.
func own(h http.Header) { h.Set("Sec-Fetch-Site", "same-origin") }

func (b *browser) do(method, path string, form url.Values, marks ...func(http.Header)) answer {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if b.cookie != "" {
		r.Header.Set("Cookie", b.cookie)
	}
	for _, mark := range marks {
		mark(r.Header)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range res.Cookies() {
		if c.MaxAge >= 0 && c.Value != "" {
			b.cookie = c.Name + "=" + c.Value
		}
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

func (b *browser) get(path string, marks ...func(http.Header)) answer {
	b.t.Helper()
	return b.do("GET", path, nil, marks...)
}

func (b *browser) post(path string, form url.Values, marks ...func(http.Header)) answer {
	b.t.Helper()
	return b.do("POST", path, form, marks...)
}

// unescaped returns the page as it would be without escaping, for controls.
func unescaped(page string) string { return html.UnescapeString(page) }
