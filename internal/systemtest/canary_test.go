package systemtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/native"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/mail/mailtest"
	"github.com/posthorn/posthorn/internal/server"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// canary is a planted secret and the places where it may appear.
type canary struct {
	name, text string
	answers    []string // calls whose response contains it; each of them must
	request    string   // path of the receiver that gets it; empty if none does
	files      []string // files that contain it; each of them must
	plain      bool     // not a secret: the control, which is found wherever it belongs
}

// trap is a node at debug level whose entire output is recorded.
type trap struct {
	*live
	dir   string
	metal *httptest.Server // a receiver with an untrusted certificate

	mu       sync.Mutex
	answers  map[string][]string // by call
	requests map[string][]string // by path of the receiver
	crash    http.Handler        // the native API over a store that panics
	canaries []canary
}

func newTrap(t *testing.T) *trap {
	t.Helper()
	x := &trap{dir: t.TempDir(), answers: map[string][]string{}, requests: map[string][]string{}}
	x.live = &live{&servertest.Live{T: t, Config: &server.Config{}, Log: &servertest.LogBook{}}}
	x.Receiver = httptest.NewServer(http.HandlerFunc(x.receive))
	t.Cleanup(x.Receiver.Close)
	x.metal = httptest.NewUnstartedServer(http.HandlerFunc(x.receive))
	x.metal.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	x.metal.StartTLS()
	t.Cleanup(x.metal.Close)
	flags := x.Config.Flags()
	x.canaries = []canary{
		{name: "operator live key", text: "live+" + rand.Text() + rand.Text()},
		{name: "operator test key", text: "test/" + rand.Text() + rand.Text()},
		{name: "password of the egress proxy", text: rand.Text()},
	}
	proxy := egresstest.NewReceiver(t, egresstest.Tunnels(func(r *http.Request) (answer, to string) { return egresstest.OpenTunnel, r.RequestURI }))
	cert, key := egresstest.Write(t, egresstest.NewCA(t).Issue([]string{"sender.example"}))
	if text, err := os.ReadFile(key); err != nil {
		t.Fatal(err)
	} else {
		x.canaries = append(x.canaries, canary{name: "key of the client certificate", text: strings.Split(string(text), "\n")[1]})
	}
	smtp := mailtest.New()
	smtp.NoTLS = true
	smtp.Start(t)
	mailPassword := rand.Text()
	x.canaries = append(x.canaries, canary{name: "password of the mail server", text: mailPassword})
	// Every option that exposes something is on: mounts, metrics, reveal.
	if err := flags.Parse([]string{"--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--data", x.dir, "--synchronous", "off", "--dev",
		"--mount", "paysway,paywise", "--profile-dir", exampleDir, "--allow-reveal", "--create-tenants", "--log-level", "debug",
		"--egress-proxy", "http://egress:" + x.canaries[2].text + "@" + proxy.Addr(), "--client-cert", cert, "--client-key", key,
		"--smtp-url", "smtp://ph:" + mailPassword + "@" + smtp.Addr + "?tls=none", "--smtp-from", "posthorn@example.org", "--smtp-to", "ops@example.com",
		"--operator-key", x.canaries[0].text, "--operator-test-key", x.canaries[1].text}); err != nil {
		t.Fatal(err)
	}
	if err := x.Config.Load(flags, ""); err != nil {
		t.Fatal(err)
	}
	// Everything is logged twice, once in each format, and messages of libraries are included.
	all := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	log := slog.New(slog.NewMultiHandler(slog.NewJSONHandler(x.Log, all), slog.NewTextHandler(x.Log, all)))
	before := slog.Default()
	slog.SetDefault(log)
	t.Cleanup(func() { slog.SetDefault(before) })
	x.begin(log)
	t.Cleanup(x.Stop)
	return x
}

func (x *trap) begin(log *slog.Logger) {
	x.T.Helper()
	n, err := server.Start(context.WithoutCancel(x.T.Context()), x.Config, log, nil)
	if err != nil {
		x.T.Fatal(err)
	}
	x.Node = n
	service, err := app.New(app.Options{Store: panicking{n.Store()}, Profiles: n.Profiles(), OperatorKey: x.Config.OperatorKey, Admit: admitAll, CheckHeaders: egress.CheckHeaders, Log: log})
	if err != nil {
		x.T.Fatal(err)
	}
	x.crash = native.New(native.Options{Service: service, Log: log})
}

func admitAll(_ context.Context, url string, _ bool) (string, []app.Warning, error) {
	return url, nil, nil
}

// panicking is a store that panics while it holds secrets.
type panicking struct{ app.Store }

func (panicking) CreateEndpointIf(_ context.Context, e hook.Endpoint, _ func([]*hook.Endpoint) error, _ *hook.Once) (*hook.Endpoint, *hook.Replay, error) {
	panic(e.Secrets)
}

func (panicking) Publish(context.Context, []hook.NewEvent, func(*hook.Endpoint) hook.ProfileHash, *hook.Once) ([]hook.Published, *hook.Replay, error) {
	var none *hook.Endpoint
	panic(none.URL) // a runtime error, with its stack
}

// receive records an entire request under its path.
func (x *trap) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s %s %s\n", r.Method, r.RequestURI, r.Host)
	_ = r.Header.Write(&text) // into memory
	text.Write(body)
	x.mu.Lock()
	x.requests[r.URL.Path] = append(x.requests[r.URL.Path], text.String())
	x.mu.Unlock()
	if r.URL.Path == "/broken" {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func (x *trap) received(path string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.requests[path])
}

// ask makes a call and records the response under what, which is the method and the route.
func (x *trap) ask(what, path, key, body string, header ...string) string {
	x.T.Helper()
	method, _, _ := strings.Cut(what, " ")
	r, err := http.NewRequestWithContext(x.T.Context(), method, x.Node.URL()+path, strings.NewReader(body))
	if err != nil {
		x.T.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	got, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		x.T.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		x.T.Fatal(err)
	}
	x.keep(what, got.StatusCode, got.Header, text)
	return string(text)
}

// keep records a response. A refused call is recorded under another name, so that it cannot
// be mistaken for a successful one.
func (x *trap) keep(what string, status int, header http.Header, body []byte) {
	var whole bytes.Buffer
	_ = header.Write(&whole) // into memory
	whole.Write(body)
	if status/100 != 2 {
		what = "refused " + what
	}
	x.answers[what] = append(x.answers[what], whole.String())
}

// plant records a canary.
func (x *trap) plant(c canary) string {
	x.T.Helper()
	if len(c.text) < 20 && !c.plain {
		x.T.Fatalf("%s: %q is too short to search for", c.name, c.text)
	}
	x.canaries = append(x.canaries, c)
	return c.text
}

// forms returns the ways in which a text may be encoded: unchanged, escaped for a URL, in
// hex, and inside base64-encoded data at each of the three offsets.
func forms(text string) []string {
	list := []string{text, url.QueryEscape(text), url.PathEscape(text), hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text)))}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for offset := range 3 {
			whole := encoding.EncodeToString(append(make([]byte, offset), text...))
			list = append(list, whole[(offset*8+5)/6:len(whole)-1]) // the characters that do not depend on adjacent bytes
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// allForms returns the forms of the text, and of the key that it represents.
func (c canary) allForms() []string {
	list := forms(c.text)
	for _, prefix := range []string{"", "whsec_", "whsk_"} {
		rest, ok := strings.CutPrefix(c.text, prefix)
		if key, err := base64.StdEncoding.Strict().DecodeString(rest); ok && err == nil && len(key) >= 24 {
			list = append(list, forms(string(key))...)
		}
	}
	return list
}

func seen(text string, list []string) bool {
	return slices.ContainsFunc(list, func(form string) bool { return strings.Contains(text, form) })
}

// TestCanariesStayInside plants secrets of every kind, uses every route, makes deliveries
// with every outcome and causes panics. It then searches for the secrets in all output and
// in all files (S-11).
func TestCanariesStayInside(t *testing.T) {
	x := newTrap(t)
	x.plantAll()
	x.everyRoute()
	x.mistakes()
	x.crashes()
	log := slog.Default()
	x.scan("while it runs")
	x.Stop()
	x.Config.Dev, x.Config.AllowHTTP = false, true // loopback is now a forbidden address
	x.begin(log)
	x.blocked()
	x.scan("after a restart")
}

// plantAll creates tenants, keys and endpoints with a secret in every possible place.
func (x *trap) plantAll() {
	t, operator := x.T, x.Config.OperatorKey
	const tenant = "planted-tenant"
	x.plant(canary{name: "control: the tenant's name", text: "Planted Name Ltd", plain: true})
	x.ask("POST /v1/tenants", "/v1/tenants", operator, `{"id":"`+tenant+`","name":"Planted Name Ltd"}`)
	x.plant(canary{name: "control: the tenant's id", text: tenant, plain: true})
	key := func(name, body string) (text, id string) {
		made := x.ask("POST /v1/keys "+name, "/v1/keys", operator, body)
		return x.plant(canary{name: name, text: member(made, "key"), answers: []string{"POST /v1/keys " + name}}), member(made, "id")
	}
	tenantKey, keyID := key("tenant key", `{"kind":"tenant","tenant":"`+tenant+`"}`)
	key("publisher key", `{"kind":"publisher"}`)
	master, err := os.ReadFile(filepath.Join(x.dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	x.plant(canary{name: "master key", text: strings.TrimSpace(string(master)), files: []string{"master.key"}})

	endpoint := func(name, path, extra string, header ...string) (id, secret string) {
		made := x.ask("POST /v1/endpoints "+name, "/v1/endpoints", operator,
			`{"tenant":"`+tenant+`","url":"`+x.at(path)+`","event_types":["*"],"retry":{"steps":["1h"]}`+extra+`}`, header...)
		return member(made, "id"), member(made, "secret")
	}
	imported := "whsec_" + base64.StdEncoding.EncodeToString([]byte(rand.Text()+rand.Text()))
	endpoint("imported", "/imported", `,"secret":"`+imported+`"`)
	x.plant(canary{name: "imported signing secret", text: imported, answers: []string{"POST /v1/endpoints imported"}})
	_, generated := endpoint("generated", "/generated", ``)
	x.plant(canary{name: "generated signing secret", text: generated, answers: []string{"POST /v1/endpoints generated"}})
	rotatedID, old := endpoint("rotated", "/rotated", ``)
	x.plant(canary{name: "rotated-out signing secret", text: old, answers: []string{"POST /v1/endpoints rotated"}})
	fresh := member(x.ask("POST /v1/endpoints/{id}/secret/rotate", "/v1/endpoints/"+rotatedID+"/secret/rotate", operator, `{"overlap":"0s"}`), "secret")
	x.ask("POST /v1/endpoints/{id}/secret/expire", "/v1/endpoints/"+rotatedID+"/secret/expire", operator, "")
	x.ask("POST /v1/endpoints/{id}/secret/reveal", "/v1/endpoints/"+rotatedID+"/secret/reveal", operator, "")
	x.plant(canary{name: "secret that was revealed", text: fresh, answers: []string{"POST /v1/endpoints/{id}/secret/rotate", "POST /v1/endpoints/{id}/secret/reveal"}})
	_, private := endpoint("ed25519", "/ed25519", `,"profile":"standard-ed25519"`)
	x.plant(canary{name: "private key", text: private, answers: []string{"POST /v1/endpoints ed25519"}})

	value := "value-" + rand.Text() + rand.Text()
	endpoint("header", "/header", `,"headers":{"X-Api-Key":"`+value+`"}`)
	x.plant(canary{name: "header value", text: value, request: "/header"})
	token := "token-" + rand.Text() + rand.Text()
	endpoint("query", "/query?access_token="+token, ``)
	x.plant(canary{name: "token in the URL's query", text: token, request: "/query"})
	_, kept := endpoint("kept", "/kept", ``, "Idempotency-Key", "canary-once")
	if _, again := endpoint("kept again", "/kept", ``, "Idempotency-Key", "canary-once"); again != kept {
		t.Errorf("the answer was not kept: %q", again)
	}
	x.plant(canary{name: "secret in a kept answer", text: kept, answers: []string{"POST /v1/endpoints kept", "POST /v1/endpoints kept again"}})
	endpoint("broken", "/broken", ``)
	x.ask("POST /v1/endpoints tls", "/v1/endpoints", operator, `{"tenant":"`+tenant+`","url":"`+x.metal.URL+`/tls?access_token=`+token+`","event_types":["*"],"retry":{"steps":["1h"]},"headers":{"X-Api-Key":"`+value+`"}}`)
	refusing := httptest.NewServer(nil)
	refusing.Close()
	x.ask("POST /v1/endpoints refusing", "/v1/endpoints", operator, `{"tenant":"`+tenant+`","url":"`+refusing.URL+`/?access_token=`+token+`","event_types":["*"],"retry":{"steps":["1h"]}}`)

	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {keyID}, "client_secret": {tenantKey}}.Encode()
	bearer := x.plant(canary{name: "OAuth token", answers: []string{"POST /oauth2/token"},
		text: member(x.ask("POST /oauth2/token", "/oauth2/token", "", form, "Content-Type", "application/x-www-form-urlencoded"), "access_token")})
	made := x.ask("POST /webhooks/subscriptions", "/webhooks/subscriptions", bearer, `{"title":"t","url":"`+x.at("/paysway")+`","events":["RECIPIENT.CREATED"]}`)
	x.plant(canary{name: "PaySway secret", text: member(made, "secret"), answers: []string{"POST /webhooks/subscriptions"}})
	x.ask("GET /webhooks/subscriptions", "/webhooks/subscriptions", bearer, "")
	x.ask("GET /webhooks/subscriptions/{id}", "/webhooks/subscriptions/"+member(made, "id"), bearer, "")
	made = x.ask("POST /v1/webhooks/", "/v1/webhooks/", tenantKey, `{"url":"`+x.at("/paywise")+`","events":["mandate.created"]}`)
	x.plant(canary{name: "paywise secret", text: member(made, "secret_key"), answers: []string{"POST /v1/webhooks/"}})
	x.ask("GET /v1/webhooks/", "/v1/webhooks/", tenantKey, "")
	x.ask("POST /v1/webhooks/{id}/test/", "/v1/webhooks/"+member(made, "id")+"/test/", tenantKey, "")
	x.ask("GET /v1/webhooks/{id}/deliveries/", "/v1/webhooks/"+member(made, "id")+"/deliveries/", tenantKey, "")
}

// everyRoute calls every route of the OpenAPI document, and waits until deliveries of every
// kind have been made and recorded.
func (x *trap) everyRoute() {
	operator := x.Config.OperatorKey
	call := func(what, path, body string) string { return x.ask(what, path, operator, body) }
	for _, path := range []string{"/healthz", "/readyz", "/version", "/openapi.json", "/docs", "/v1/profiles", "/v1/tenants", "/v1/keys", "/v1/endpoints", "/v1/audit", "/v1/stats", "/v1/deliveries/counts", "/v1/tenants/{id}", "/v1/tenants/{id}/stats", "/v1/tenants/{id}/retention", "/v1/disk"} {
		call("GET "+path, strings.Replace(path, "{id}", "planted-tenant", 1), "")
	}
	call("GET /v1/search", "/v1/search?q=planted-tenant", "")
	x.ask("GET /v1/endpoints as tests", "/v1/endpoints", x.Config.OperatorTestKey, "")
	call("PATCH /v1/tenants/{id}", "/v1/tenants/planted-tenant", `{"name":"Planted Name Ltd"}`)
	call("PATCH /v1/tenants/{id}/retention", "/v1/tenants/planted-tenant/retention", `{"payloads":"48h"}`)
	call("POST /v1/events", "/v1/events", `{"tenant":"planted-tenant","type":"mandate.created","data":{}}`)
	call("POST /v1/events/batch", "/v1/events/batch", `[{"tenant":"planted-tenant","type":"RECIPIENT.CREATED","data":{}}]`)
	paths := []string{"/imported", "/generated", "/rotated", "/ed25519", "/header", "/query", "/kept", "/broken", "/paysway", "/paywise"}
	x.Until("every endpoint got a request", func() bool {
		return !slices.ContainsFunc(paths, func(p string) bool { return x.received(p) == 0 })
	})
	list := func() client.Page[client.Delivery] {
		var page client.Page[client.Delivery]
		if err := json.Unmarshal([]byte(call("GET /v1/deliveries", "/v1/deliveries?tenant=planted-tenant&limit=250", "")), &page); err != nil {
			x.T.Fatal(err)
		}
		return page
	}
	x.Until("every attempt is recorded", func() bool {
		return !slices.ContainsFunc(list().Data, func(d client.Delivery) bool { return d.Attempts == 0 })
	})
	errors := map[string]bool{}
	for _, d := range list().Data {
		if d.LastError != nil {
			errors[*d.LastError] = true
		}
		call("GET /v1/deliveries/{id}", "/v1/deliveries/"+d.ID, "")
		call("GET /v1/endpoints/{id}", "/v1/endpoints/"+d.Endpoint, "")
		call("GET /v1/endpoints/{id}/stats", "/v1/endpoints/"+d.Endpoint+"/stats", "")
		if d.State == "pending" {
			call("POST /v1/deliveries/{id}/retry", "/v1/deliveries/"+d.ID+"/retry", "")
			call("POST /v1/deliveries/{id}/cancel", "/v1/deliveries/"+d.ID+"/cancel", "")
		}
	}
	for _, class := range []hook.Class{hook.ClassStatus, hook.ClassConnectFailed, hook.ClassTLSUntrusted} {
		if !errors[string(class)] {
			x.T.Errorf("no delivery ended with %s: %v", class, errors)
		}
	}
	d := list().Data[0]
	call("GET /v1/events", "/v1/events?tenant=planted-tenant", "")
	call("GET /v1/events/{id}", "/v1/events/"+d.Event, "")
	call("GET /v1/events/{id}/explain", "/v1/events/"+d.Event+"/explain", "")
	call("POST /v1/events/{id}/resend", "/v1/events/"+d.Event+"/resend", "")
	call("POST /v1/endpoints/{id}/verify", "/v1/endpoints/"+d.Endpoint+"/verify", "")
	call("POST /v1/endpoints/{id}/test", "/v1/endpoints/"+d.Endpoint+"/test", "")
	call("POST /v1/events/match", "/v1/events/match", `{"tenant":"planted-tenant","type":"a.b"}`)
	replay := ""
	for _, then := range []string{"resume", "cancel"} { // both while it is paused, because a running replay may end at any time
		replay = member(call("POST /v1/replays", "/v1/replays", `{"endpoint":"`+d.Endpoint+`","source":"all","rate":0.1}`), "id")
		call("POST /v1/replays/{id}/pause", "/v1/replays/"+replay+"/pause", "")
		call("POST /v1/replays/{id}/"+then, "/v1/replays/"+replay+"/"+then, "")
	}
	call("GET /v1/replays", "/v1/replays?tenant=planted-tenant", "")
	call("GET /v1/replays/{id}", "/v1/replays/"+replay, "")
	call("PATCH /v1/endpoints/{id}", "/v1/endpoints/"+d.Endpoint, `{"title":"T"}`)
	call("POST /v1/event-types", "/v1/event-types", `{"name":"a.b"}`)
	call("GET /v1/event-types", "/v1/event-types", "")
	call("GET /v1/event-types/{id}", "/v1/event-types/a.b", "")
	call("GET /v1/event-types/{id}/subscribers", "/v1/event-types/a.b/subscribers", "")
	call("GET /v1/event-types/{id}/differences", "/v1/event-types/a.b/differences", "")
	call("PATCH /v1/event-types/{id}", "/v1/event-types/a.b", `{"description":"d"}`)
	call("DELETE /v1/event-types/{id}", "/v1/event-types/a.b", "")
	call("POST /v1/tenants", "/v1/tenants", `{"id":"other"}`)
	user := member(call("POST /v1/partner-users", "/v1/partner-users", `{"partner":"other","user":"u","tenant":"planted-tenant"}`), "id")
	call("GET /v1/partner-users", "/v1/partner-users", "")
	call("DELETE /v1/partner-users/{id}", "/v1/partner-users/"+user, "")
	session := member(call("POST /v1/portal/sessions", "/v1/portal/sessions", `{"tenant":"planted-tenant"}`), "id")
	call("GET /v1/portal/sessions", "/v1/portal/sessions", "")
	call("DELETE /v1/portal/sessions/{id}", "/v1/portal/sessions/"+session, "")
	call("DELETE /v1/portal/sessions", "/v1/portal/sessions?tenant=other", "")
	call("POST /v1/ui/links", "/v1/ui/links", "")
	spare := member(call("POST /v1/keys", "/v1/keys", `{"kind":"publisher"}`), "id")
	call("DELETE /v1/keys/{id}", "/v1/keys/"+spare, "")
	gone := member(call("POST /v1/endpoints", "/v1/endpoints", `{"tenant":"other","url":"`+x.at("/gone")+`","event_types":[]}`), "id")
	call("POST /v1/endpoints/{id}/verify", "/v1/endpoints/"+gone+"/verify", "")
	call("DELETE /v1/endpoints/{id}", "/v1/endpoints/"+gone, "")
	call("DELETE /v1/tenants/{id}", "/v1/tenants/other", "")
	erasure := member(call("POST /v1/erasures", "/v1/erasures", `{"tenant":"other"}`), "id")
	call("GET /v1/erasures", "/v1/erasures?tenant=other", "")
	call("GET /v1/erasures/{id}", "/v1/erasures/"+erasure, "")
	call("POST /v1/reclaim", "/v1/reclaim", "")
	before := ""
	for range 2 { // the planted key stays in its file, the one after it goes
		before = member(call("POST /v1/master-keys/rotate", "/v1/master-keys/rotate", ""), "from")
		x.Until("the key before is no longer needed", func() bool {
			return strings.Contains(call("GET /v1/master-keys", "/v1/master-keys", ""), `"`+before+`","state":"unused"`)
		})
	}
	call("DELETE /v1/master-keys/{id}", "/v1/master-keys/"+before, "")
	x.complete(call("GET /openapi.json", "/openapi.json", ""))
}

// complete compares the calls that were made with the document.
func (x *trap) complete(document string) {
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(document), &doc); err != nil || len(doc.Paths) < 20 {
		x.T.Fatalf("%d paths in the document, %v", len(doc.Paths), err)
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			if strings.HasPrefix(path, "/v1/listen") {
				continue // a stream, not a call
			}
			if what := strings.ToUpper(method) + " " + path; len(x.answers[what]) == 0 {
				x.T.Errorf("%s was not used, or never answered well", what)
			}
		}
	}
}

// mistakes sends every secret where it does not belong. Neither the refusal nor the log may
// repeat it.
func (x *trap) mistakes() {
	operator := x.Config.OperatorKey
	for _, c := range x.canaries {
		if c.plain {
			continue
		}
		text, _ := json.Marshal(c.text)
		value, query := string(text), url.QueryEscape(c.text)
		for _, body := range []string{
			`{"tenant":"planted-tenant","url":"https://10.0.0.1/?a=` + query + `","event_types":["*"]}`,
			`{"tenant":"planted-tenant","url":"https://user:` + query + `@example.com/","event_types":["*"]}`,
			`{"tenant":"planted-tenant","url":"https://example.com/","event_types":["*"],"secret":` + value + `x}`,
			`{"tenant":"planted-tenant","url":"https://example.com/","event_types":["*"],"secret":"` + c.text + `!"}`,
			`{"tenant":"planted-tenant","url":"https://example.com/","event_types":["*"],"headers":{"X-A":"` + c.text + `\n"}}`,
			`{"tenant":"planted-tenant","url":"https://example.com/","event_types":["*"],"headers":{"Host":` + value + `}}`,
			`{"tenant":"planted-tenant","url":"https://example.com/","event_types":["*"],"rate_limit":` + value + `}`,
			`{"tenant":"planted-tenant","url":"https://example.com/","event_types":["*"],"profile":` + value + `}`,
		} {
			x.ask("POST /v1/endpoints", "/v1/endpoints", operator, body)
		}
		x.ask("GET /v1/tenants", "/v1/tenants", c.text+"x", "")
		x.ask("GET /v1/deliveries", "/v1/deliveries?api_key="+query, operator, "")
		x.ask("POST /v1/events", "/v1/events?key="+query, "", `{}`)
		x.ask("GET /webhooks/subscriptions", "/webhooks/subscriptions", c.text+"x", "")
		x.ask("GET /v1/webhooks/", "/v1/webhooks/", c.text+"x", "")
		x.ask("POST /oauth2/token", "/oauth2/token", "", "grant_type=client_credentials&client_id=x&client_secret="+query+"x", "Content-Type", "application/x-www-form-urlencoded")
	}
}

// crashes makes handlers panic while they hold secrets.
func (x *trap) crashes() {
	for path, body := range map[string]string{
		"/v1/endpoints": `{"tenant":"planted-tenant","url":"` + x.at("/crash?access_token="+x.named("token in the URL's query")) + `","event_types":["*"],"secret":"` +
			x.named("imported signing secret") + `","headers":{"X-Api-Key":"` + x.named("header value") + `"}}`,
		"/v1/events": `{"tenant":"planted-tenant","type":"a.b","data":{"k":1}}`,
	} {
		r := httptest.NewRequest("POST", path+"?token="+url.QueryEscape(x.named("token in the URL's query")), strings.NewReader(body))
		r.URL.RawQuery = ""
		r.Header.Set("Authorization", "Bearer "+x.Config.OperatorKey)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		x.crash.ServeHTTP(w, r)
		if w.Code != 500 {
			x.T.Errorf("no crash at %s: %d %s", path, w.Code, w.Body)
		}
		x.keep("POST "+path, w.Code, w.Header(), w.Body.Bytes())
	}
	if n := strings.Count(x.Log.String(), "panic:"); n < 2 {
		x.T.Errorf("%d panics in the log", n)
	}
}

func (x *trap) named(name string) string {
	i := slices.IndexFunc(x.canaries, func(c canary) bool { return c.name == name })
	return x.canaries[i].text
}

// blocked makes deliveries to addresses that have become forbidden.
func (x *trap) blocked() {
	operator := x.Config.OperatorKey
	x.ask("POST /v1/events", "/v1/events", operator, `{"tenant":"planted-tenant","type":"mandate.created","data":{}}`)
	var page client.Page[client.Delivery]
	x.Until("deliveries are refused as forbidden", func() bool {
		text := x.ask("GET /v1/deliveries", "/v1/deliveries?tenant=planted-tenant&limit=250", operator, "")
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			x.T.Fatal(err)
		}
		return strings.Contains(text, `"`+string(hook.ClassBlockedAddress)+`"`) && strings.Contains(text, `"`+string(hook.ClassURLRefused)+`"`)
	})
	for _, d := range page.Data {
		x.ask("GET /v1/deliveries/{id}", "/v1/deliveries/"+d.ID, operator, "")
	}
	if !strings.Contains(x.Log.String(), "egress_blocked") {
		x.T.Error("the log says nothing about blocked deliveries")
	}
}

// scan searches everything for every canary.
func (x *trap) scan(when string) {
	t := x.T
	t.Helper()
	metrics := x.metricsText()
	if !strings.Contains(metrics, "posthorn_attempts_total{") || !strings.Contains(metrics, "posthorn_egress_proxy_info{proxy=\"http://127.0.0.1:") {
		t.Errorf("%s: the metrics are not there: %.300s", when, metrics)
	}
	files := x.files()
	log := x.Log.String()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.canaries {
		list := c.allForms()
		if c.plain {
			x.control(when, c, list, log, files)
			continue
		}
		if seen(log, list) {
			t.Errorf("%s: the log shows the %s: %s", when, c.name, around(log, list))
		}
		if seen(metrics, list) {
			t.Errorf("%s: the metrics show the %s", when, c.name)
		}
		for name, text := range files {
			if found, allowed := seen(text, list), slices.Contains(c.files, name); found != allowed {
				t.Errorf("%s: file %s holds the %s: %v", when, name, c.name, found)
			}
		}
		for what, answers := range x.answers {
			for _, text := range answers {
				if found, allowed := seen(text, list), slices.Contains(c.answers, what); found != allowed {
					t.Errorf("%s: the answer of %s shows the %s: %v: %.400s", when, what, c.name, found, text)
				}
			}
		}
		for path, requests := range x.requests {
			for _, text := range requests {
				if found, allowed := seen(text, list), path == c.request; found != allowed {
					t.Errorf("%s: a request to %s carries the %s: %v", when, path, c.name, found)
				}
			}
		}
	}
}

// control requires that canaries that are not secrets are found, which shows that the search
// works everywhere.
func (x *trap) control(when string, c canary, list []string, log string, files map[string]string) {
	t := x.T
	t.Helper()
	inFiles := slices.ContainsFunc([]string{"posthorn.db", "posthorn.db-wal"}, func(name string) bool { return seen(files[name], list) })
	if what := "GET /v1/tenants/{id}"; !inFiles || len(x.answers[what]) == 0 || !seen(x.answers[what][0], list) {
		t.Errorf("%s: %s is not found in the database (%v) or in the answers", when, c.name, inFiles)
	}
	if c.name != "control: the tenant's id" {
		return
	}
	if len(x.requests["/paywise"]) == 0 || !seen(x.requests["/paywise"][0], list) || !seen(log, list) {
		t.Errorf("%s: %s is not found in requests or in the log", when, c.name)
	}
}

// around returns the line that contains a canary.
func around(text string, list []string) string {
	for line := range strings.Lines(text) {
		if seen(line, list) {
			return line
		}
	}
	return ""
}

func (x *trap) metricsText() string {
	x.T.Helper()
	r, err := http.NewRequestWithContext(x.T.Context(), "GET", x.Node.MetricsURL(), nil)
	if err != nil {
		x.T.Fatal(err)
	}
	got, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		x.T.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		x.T.Fatal(err)
	}
	return string(text)
}

// files reads all files in the data directory.
func (x *trap) files() map[string]string {
	x.T.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(x.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, x.dir+string(filepath.Separator))] = string(text)
		return err
	})
	if err != nil || len(all["posthorn.db"]) == 0 || len(all["posthorn.db-wal"]) == 0 || len(all["master.key"]) == 0 {
		x.T.Fatalf("data directory with %d files, %v", len(all), err)
	}
	return all
}

// The search finds a canary in every encoding.
func TestCanaryFormsAreFound(t *testing.T) {
	secret := canary{text: "whsec_" + base64.StdEncoding.EncodeToString([]byte("an-unlikely-key-of-32-characters"))}
	key, list := "an-unlikely-key-of-32-characters", secret.allForms()
	for name, text := range map[string]string{
		"as it is": `"` + secret.text + `"`, "without prefix": secret.text[6:], "hex": fmt.Sprintf("%x", secret.text), "key": key, "key in hex": fmt.Sprintf("%X", key),
		"basic": base64.StdEncoding.EncodeToString([]byte("user:" + secret.text + ":")), "basic, other offset": base64.URLEncoding.EncodeToString([]byte("us:" + secret.text)),
		"query": url.Values{"a": {secret.text}}.Encode(), "bytes": fmt.Sprintf("\x00\x01%s\xff", key),
	} {
		if !seen(text, list) {
			t.Errorf("%s: %q is not found", name, text)
		}
	}
	for _, text := range []string{"", "whsec_", key[:31], base64.StdEncoding.EncodeToString([]byte("another key"))} {
		if seen(text, list) {
			t.Errorf("%q is found", text)
		}
	}
}
