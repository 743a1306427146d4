package svix_test

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/api/isolationtest"
	"github.com/posthorn/posthorn/internal/api/svix"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

const root = "/api/v1/"

// victims returns a world in which the tenant "victim" has an endpoint, a message and an
// attempt of it in live mode.
func victims(t *testing.T) isolationtest.World {
	t.Helper()
	h := newTestAPI(t)
	text := func(a answer, status int) map[string]any {
		t.Helper()
		if a.status != status {
			t.Fatalf("%d %s, want %d", a.status, a.text, status)
		}
		return a.object(t)
	}
	key := h.tenant("victim", hook.Live)
	ep, _ := text(h.api("POST", root+"app/victim/endpoint", key.Text, `{"url":"https://example.com/canary-url","uid":"canary-uid","description":"canary-text"}`), 201)["id"].(string)
	msg, _ := text(h.api("POST", root+"app/victim/msg", operatorKey, `{"eventType":"a.b","payload":{"x":"canary-payload"}}`), 202)["id"].(string)
	text(h.api("POST", root+"event-type", operatorKey, `{"name":"a.type","description":"canary-type","archived":true}`), 201)
	attempt := h.attempted("victim")
	task, _ := text(h.api("POST", root+"app/victim/endpoint/"+ep+"/bulk-replay", key.Text, `{"since":"2026-01-01T00:00:00Z"}`), 202)["id"].(string)
	revoked, other := h.tenant("victim", hook.Live), h.tenant("other", hook.Live)
	if err := h.service.RevokeKey(t.Context(), h.operator, revoked.ID); err != nil {
		t.Fatal(err)
	}
	bodies := map[string]string{
		"POST auth/app-portal-access/{app}":                   `{}`,
		"POST auth/dashboard-access/{app}":                    `{}`,
		"POST app":                                            `{"name":"new"}`,
		"PUT app/{app}":                                       `{"name":"canary-name","uid":"victim"}`,
		"PATCH app/{app}":                                     `{"name":"canary-name"}`,
		"POST app/{app}/endpoint":                             `{"url":"https://example.com/canary-new"}`,
		"PUT app/{app}/endpoint/{endpoint}":                   `{"url":"https://example.com/canary-put"}`,
		"PATCH app/{app}/endpoint/{endpoint}":                 `{"description":"canary-patch"}`,
		"PUT app/{app}/endpoint/{endpoint}/headers":           `{"headers":{"X-Canary":"1"}}`,
		"PATCH app/{app}/endpoint/{endpoint}/headers":         `{"headers":{"X-Canary":"1"}}`,
		"POST app/{app}/endpoint/{endpoint}/secret/rotate":    `{}`,
		"POST app/{app}/endpoint/{endpoint}/recover":          `{"since":"` + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339) + `"}`,
		"POST app/{app}/endpoint/{endpoint}/replay-missing":   `{"since":"2026-01-01T00:00:00Z"}`,
		"POST app/{app}/endpoint/{endpoint}/bulk-replay":      `{"since":"2026-01-01T00:00:00Z"}`,
		"POST app/{app}/endpoint/{endpoint}/send-example":     `{"eventType":"svix.ping"}`,
		"POST app/{app}/msg":                                  `{"eventType":"a.b","payload":{"x":1}}`,
		"POST app/{app}/msg/precheck/active":                  `{"eventType":"a.b"}`,
		"POST event-type":                                     `{"name":"b.type","description":"new"}`,
		"PUT event-type/{type}":                               `{"description":"other"}`,
		"PATCH event-type/{type}":                             `{"description":"other"}`,
		"POST app/{app}/msg/{msg}/endpoint/{endpoint}/resend": "",
	}
	filled := strings.NewReplacer("{app}", "victim", "{name}", "victim", "{endpoint}", ep, "{msg}", msg, "{attempt}", attempt, "{type}", "a.type", "{task}", task)
	const operator, tenant = "the operator", "the tenant"
	anyKey := []string{"another tenant", "the tenant in test mode", "a publisher in test mode", "the operator in test mode", operator, tenant}
	var rows []isolationtest.Row
	for _, route := range svix.Routes() {
		method, path, _ := strings.Cut(route, " ")
		short := method + " " + strings.Replace(strings.TrimPrefix(path, root), "{name}", "{app}", 1)
		row := isolationtest.Row{Route: route, Path: filled.Replace(path), Body: bodies[short], Owner: operator}
		switch {
		case strings.Contains(path, "/health"):
			row.Owner = ""
		case strings.HasPrefix(short, "POST auth/"):
			row.Lawful = []string{"the operator in test mode"} // a session of its own mode
			if strings.HasSuffix(short, "expire-all") {
				row.Inert = "the victim has no session"
			}
		case short == "GET app", short == "POST app":
			row.Lawful, row.Inert = []string{operator, "the operator in test mode"}, "tenants span the modes, so a list shows no text of one mode, and a new one is not the victim"
		case short == "GET app/{app}":
			row.Lawful, row.Inert = []string{operator, tenant, "the operator in test mode", "the tenant in test mode"}, "it shows the tenant's own name, in both modes"
		case strings.HasPrefix(short, "GET event-type"):
			row.Lawful, row.Inert = anyKey, "the catalogue belongs to no tenant"
			if strings.HasSuffix(short, "{type}") {
				row.Inert = ""
			}
		case strings.Contains(short, "event-type"), short == "GET background-task": // the test mode's own
			row.Lawful = []string{"the operator in test mode"}
		case strings.HasPrefix(short, "POST app/{app}/msg") || strings.HasSuffix(short, "send-example"):
			row.Lawful = []string{"the operator in test mode", "a publisher in test mode"}
			if strings.Contains(short, "precheck") {
				row.Inert = "it says whether an endpoint would get a message"
				row.Lawful = []string{"the operator in test mode"}
			}
			if strings.HasSuffix(short, "resend") {
				row.Owner, row.Lawful = tenant, []string{operator}
			}
			if strings.HasSuffix(short, "send-example") {
				row.Lawful = nil
			}
		case strings.HasPrefix(path, root+"app/{app}/") || short == "GET app/{app}":
			row.Owner, row.Lawful = tenant, []string{operator}
			if !strings.Contains(short, "{endpoint}") && !strings.Contains(short, "{msg}") {
				row.Lawful = append(row.Lawful, "the operator in test mode", "the tenant in test mode") // their mode's own
			}
		}
		switch short {
		case "DELETE event-type/{type}":
			row.Path += "?expunge=true"
		case "GET app/{app}/endpoint/{endpoint}/stats", "GET app/{app}/endpoint/{endpoint}/transformation", "GET app/{app}/endpoint/{endpoint}/headers":
			row.Inert = "it shows only numbers, and names that nobody set"
		case "PUT app/{name}", "PUT app/{app}":
			row.Lawful = nil
		case "PUT app/{app}/endpoint/{endpoint}": // an unknown one is made, in the caller's own mode
			row.Lawful = []string{operator, "the operator in test mode", "the tenant in test mode"}
		case "PUT event-type/{type}":
			row.Lawful = []string{"the operator in test mode"}
		}
		rows = append(rows, row)
	}
	return isolationtest.World{
		Handler: h.handler,
		Routes:  svix.Routes(),
		Rows:    rows,
		Owners:  []isolationtest.Identity{isolationtest.Bearer(operator, operatorKey), isolationtest.Bearer(tenant, key.Text)},
		Foreign: []isolationtest.Identity{
			{Name: "nobody"},
			isolationtest.Bearer("an empty key", ""),
			isolationtest.Bearer("a revoked key", revoked.Text),
			isolationtest.Bearer("another tenant", other.Text),
			isolationtest.Bearer("the tenant in test mode", h.tenant("victim", hook.Test).Text),
			isolationtest.Bearer("the operator in test mode", testKey),
			isolationtest.Bearer("a publisher in test mode", h.publisher(hook.Test)),
		},
		Canaries: []string{ep, msg, attempt, task, "canary-", "X-Canary", "whsec_"},
		Audited: func() int { // of a message that is created, the event itself is the record
			published := 0
			if err := h.db.QueryRowContext(t.Context(), "SELECT count(*) FROM events WHERE kind = 0").Scan(&published); err != nil {
				t.Fatal(err)
			}
			return published + isolationtest.AuditedRows(h.db)()
		},
		Hash: func() string {
			sum, err := isolationtest.HashRows(h.db, "victim", int(hook.Live))
			if err != nil {
				t.Fatal(err)
			}
			return sum
		},
	}
}

// attempted records a failed attempt of the tenant's only delivery and returns its id.
func (h *testAPI) attempted(tenant string) string {
	h.t.Helper()
	scope := hook.Scope{Tenant: tenant, Mode: hook.Live}
	rows, _, err := h.store.Deliveries(h.t.Context(), hook.DeliveryQuery{Scope: scope})
	if err != nil || len(rows) != 1 {
		h.t.Fatal(len(rows), err)
	}
	target, err := h.store.Endpoint(h.t.Context(), scope, rows[0].Endpoint)
	if err != nil {
		h.t.Fatal(err)
	}
	o := hook.Outcome{StartedAt: time.Now(), Duration: 20 * time.Millisecond, Status: 500, Class: hook.ClassStatus, Message: "The endpoint answered 500.", Enablings: target.Enablings,
		Policy: &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Hour}}}}
	if _, err := h.store.Settle(h.t.Context(), []hook.Settlement{{Job: hook.Job{Delivery: rows[0].Delivery, Target: target}, Outcome: o}}); err != nil {
		h.t.Fatal(err)
	}
	page := h.api("GET", root+"app/"+tenant+"/attempt/endpoint/"+"ep_"+rows[0].Endpoint.Short(), operatorKey, "").object(h.t)
	list, _ := page["data"].([]any)
	if len(list) != 1 {
		h.t.Fatal(page)
	}
	one, _ := list[0].(map[string]any)
	id, _ := one["id"].(string)
	return id
}

func (h *testAPI) publisher(mode hook.Mode) string {
	h.t.Helper()
	k, _, err := h.service.CreateKey(h.t.Context(), app.Caller{Kind: hook.Operator, Mode: mode}, hook.Key{Kind: hook.Publisher}, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return k.Text
}

func TestIsolation(t *testing.T) { isolationtest.Run(t, victims(t)) }

// TestIsolationControl shows that the same calls have visible effects when they succeed.
func TestIsolationControl(t *testing.T) { isolationtest.Control(t, len(victims(t).Rows), victims) }

// Ids of one application lead nowhere below another one, with any key.
func TestIDsOfAnotherApplication(t *testing.T) {
	h := newTestAPI(t)
	ep := h.endpoints(1)
	msg := h.message(1)
	attempt := h.attempted("acme")
	other := h.tenant("other", hook.Live).Text
	calls := 0
	for _, route := range svix.Routes() {
		method, path, _ := strings.Cut(route, " ")
		if method != "GET" && method != "DELETE" && !strings.HasSuffix(path, "/resend") || !strings.Contains(path, "{endpoint}") && !strings.Contains(path, "{msg}") {
			continue // the others read a body first
		}
		fill := func(app string) string {
			return strings.NewReplacer("{app}", app, "{endpoint}", ep, "{msg}", msg, "{attempt}", attempt).Replace(path)
		}
		for _, key := range []string{operatorKey, other} {
			if got := h.api(method, fill("other"), key, ""); got.status != 404 {
				t.Errorf("%s %s: %d %s", method, fill("other"), got.status, got.text)
			}
		}
		if calls++; method == "DELETE" { // the other calls need the endpoint
			continue
		}
		if got := h.api(method, fill("acme"), operatorKey, ""); got.status/100 != 2 { // control
			t.Errorf("%s %s: %d %s", method, fill("acme"), got.status, got.text)
		}
	}
	if calls < 15 {
		t.Errorf("%d routes", calls)
	}
}
