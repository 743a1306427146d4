package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/client"
)

// things are ids that requests name: of the largest tenant, which has half of all events,
// and of a small one.
type things struct {
	big, small                       string
	endpoint, failing, disabled, one string // endpoints; one is of the small tenant
	event, old                       client.Event
	delivery, pending, failed, held  client.Delivery
	replay, key, session             string
	order                            string
	long, day                        string // times: before most events, and the last day
}

// prepare logs in, looks up ids and lists what is requested.
func (m *reader) prepare(ctx context.Context) error {
	if _, err := m.enter(ctx, "/ui/login", url.Values{"key": {benchKey}}); err != nil {
		return err
	}
	t, err := m.find(ctx)
	if err != nil {
		return err
	}
	m.words = t.words()
	opened := map[string]string{}
	for _, tenant := range []string{t.big, t.small} {
		session, err := m.api.CreatePortalSession(ctx, client.NewPortalSession{Tenant: tenant,
			Capabilities: []string{"view", "manage_endpoints", "see_secret", "retry", "replay", "test"}})
		if err != nil {
			return err
		}
		_, code, _ := strings.Cut(session.URL, "/portal/enter/")
		to, err := m.enter(ctx, "/portal/enter/"+code, nil)
		if err != nil {
			return err
		}
		sid, _, _ := strings.Cut(strings.TrimPrefix(to, "/portal/back/"), "/")
		opened[tenant] = "/portal/" + sid
		t.session = session.ID
	}
	m.calls(t)
	m.pages(t)
	m.portal(t, t.big, opened[t.big], t.endpoint, t.delivery, t.event)
	m.portal(t, t.small, opened[t.small], t.one, client.Delivery{}, client.Event{})
	return nil
}

// words replaces ids by what they stand for in the table.
func (t *things) words() *strings.Replacer {
	var pairs []string
	for _, one := range [][2]string{{t.endpoint, "BIG"}, {t.failing, "FAILING"}, {t.disabled, "DISABLED"}, {t.one, "SMALL"}, {t.event.ID, "NEW"}, {t.old.ID, "OLD"},
		{t.delivery.ID, "DELIVERED"}, {t.pending.ID, "PENDING"}, {t.failed.ID, "FAILED"}, {t.held.ID, "HELD"}, {t.replay, "REPLAY"}} {
		pairs = append(pairs, one[0], one[1], one[0][:13], one[1]+"[:13]", one[0][:8], one[1]+"[:8]")
	}
	pairs = append(pairs, "order%3A"+t.order, "order:o-N", url.QueryEscape(t.long), "5D", url.QueryEscape(t.day), "1D", "%3A", ":", "%2C", ",")
	return strings.NewReplacer(pairs...)
}

// find looks up ids.
func (m *reader) find(ctx context.Context) (*things, error) {
	t := &things{big: tenantName(0), small: tenantName(150)}
	now := time.Now().UTC()
	t.long, t.day = now.Add(-5*24*time.Hour).Format(time.RFC3339), now.Add(-24*time.Hour).Format(time.RFC3339)
	for _, tenant := range []string{t.big, t.small} {
		list, err := m.api.Endpoints(ctx, client.EndpointQuery{Tenant: tenant})
		if err != nil {
			return nil, err
		}
		for _, e := range list.Data {
			switch {
			case !e.Enabled:
				t.disabled = e.ID
			case tenant == t.small:
				t.one = e.ID
			case slices.Contains(e.EventTypes, "*"):
				t.endpoint = e.ID
			case slices.Contains(e.EventTypes, "refund.*"):
				t.failing = e.ID
			}
		}
	}
	first := func(to *client.Delivery, q client.DeliveryQuery) error {
		q.Limit = 1
		page, err := m.api.Deliveries(ctx, q)
		if err == nil && len(page.Data) == 0 {
			err = fmt.Errorf("there is no delivery as %+v asks for", q)
		}
		if err == nil {
			*to = page.Data[0]
		}
		return err
	}
	event := func(to *client.Event, q client.EventQuery) error {
		q.Limit = 1
		page, err := m.api.Events(ctx, q)
		if err == nil && len(page.Data) == 0 {
			err = fmt.Errorf("there is no event as %+v asks for", q)
		}
		if err == nil {
			*to = page.Data[0]
		}
		return err
	}
	before, _ := time.Parse(time.RFC3339, t.long)
	var tagged client.Event
	for _, err := range []error{
		first(&t.delivery, client.DeliveryQuery{Tenant: t.big, Endpoint: t.endpoint, State: "succeeded"}),
		first(&t.pending, client.DeliveryQuery{Tenant: t.big, Endpoint: t.failing, State: "pending"}),
		first(&t.failed, client.DeliveryQuery{Tenant: t.big, Endpoint: t.endpoint, State: "failed"}),
		first(&t.held, client.DeliveryQuery{Tenant: t.big, Endpoint: t.disabled, State: "held"}),
		event(&t.event, client.EventQuery{Tenant: t.big}),
		event(&t.old, client.EventQuery{Tenant: t.big, Before: before}),
		event(&tagged, client.EventQuery{Tenant: t.big, Tag: "channel:web"}),
	} {
		if err != nil {
			return nil, err
		}
	}
	t.order = tagged.Tags["order"]
	replays, err := m.api.Replays(ctx, client.ReplayQuery{})
	if err == nil && len(replays.Data) > 0 && replays.Data[0].ID != nil {
		t.replay = *replays.Data[0].ID
	}
	return t, err
}

// reading adds a request.
func (m *reader) reading(key bool, path string, query ...string) {
	for i := 0; i+1 < len(query); i += 2 {
		mark := "&"
		if i == 0 {
			mark = "?"
		}
		path += mark + query[i] + "=" + url.QueryEscape(query[i+1])
	}
	m.reads = append(m.reads, &oneRead{name: m.words.Replace(path), method: http.MethodGet, path: path, key: key})
}

// calls lists the calls of the API.
func (m *reader) calls(t *things) {
	get := func(path string, query ...string) { m.reading(true, path, query...) }
	for _, path := range []string{"/v1/tenants", "/v1/endpoints", "/v1/events", "/v1/deliveries", "/v1/keys", "/v1/replays", "/v1/erasures", "/v1/audit",
		"/v1/event-types", "/v1/portal/sessions", "/v1/partner-users", "/v1/profiles", "/v1/master-keys", "/v1/disk", "/v1/stats"} {
		get(path)
	}
	for _, tenant := range []string{t.big, t.small} {
		for _, path := range []string{"/v1/endpoints", "/v1/events", "/v1/deliveries", "/v1/keys", "/v1/replays", "/v1/audit", "/v1/portal/sessions", "/v1/disk", "/v1/erasures"} {
			get(path, "tenant", tenant)
		}
		get("/v1/tenants/" + tenant)
		get("/v1/tenants/" + tenant + "/retention")
		get("/v1/tenants/" + tenant + "/stats")
		get("/v1/tenants/"+tenant+"/stats", "from", t.long, "step", "1h")
		get("/v1/events", "tenant", tenant, "type", rareType)
		get("/v1/deliveries", "tenant", tenant, "event_type", rareType)
		get("/v1/deliveries", "tenant", tenant, "status", "418")
		get("/v1/deliveries", "tenant", tenant, "state", "failed")
		get("/v1/deliveries", "tenant", tenant, "before", t.long)
	}
	get("/v1/tenants", "name", "Tenant 12")
	get("/v1/tenants", "name", "nobody")
	for _, path := range []string{"/v1/events", "/v1/deliveries"} {
		get(path, "limit", "250")
		get(path, "before", t.long)
		get(path, "after", t.day, "limit", "250")
		get(path, "tag", "order:"+t.order)
		get(path, "tag", "channel:web")
		get(path, "tag", "channel:none")
		get(path, "tag", "channel:web", "tenant", t.big)
	}
	get("/v1/events", "type", rareType)
	get("/v1/events", "type", "nothing.such")
	get("/v1/events", "test", "true")
	for _, state := range []string{"pending", "held", "failed", "succeeded", "cancelled", "pending,held,failed"} {
		get("/v1/deliveries", "state", state)
		get("/v1/deliveries", "state", state, "tenant", t.big)
	}
	for _, query := range [][]string{{"event_type", rareType}, {"event_type", "nothing.such"}, {"status", "503"}, {"status", "418"}, {"status_class", "4xx"}, {"status_class", "2xx"}, {"error", "timeout_response"}, {"error", "dns_timeout"}} {
		get("/v1/deliveries", query...)
	}
	m.things(t)
	for _, source := range []string{"failed", "missing", "all"} {
		m.reads = append(m.reads, &oneRead{name: "POST /v1/replays dry_run source=" + source, method: http.MethodPost, path: "/v1/replays", key: true,
			body: fmt.Sprintf(`{"endpoint":%q,"source":%q,"dry_run":true}`, t.endpoint, source)})
	}
}

// things lists the calls of the API that name one thing, and searches.
func (m *reader) things(t *things) {
	get := func(path string, query ...string) { m.reading(true, path, query...) }
	for _, endpoint := range []string{t.endpoint, t.failing, t.disabled, t.one} {
		get("/v1/endpoints/" + endpoint)
		get("/v1/endpoints/" + endpoint + "/stats")
		get("/v1/endpoints/"+endpoint+"/stats", "from", t.long, "step", "1h")
		get("/v1/deliveries", "endpoint", endpoint)
		get("/v1/deliveries", "endpoint", endpoint, "state", "failed")
		get("/v1/deliveries", "endpoint", endpoint, "state", "pending")
		get("/v1/deliveries", "endpoint", endpoint, "state", "held")
		get("/v1/deliveries", "endpoint", endpoint, "state", "cancelled")
	}
	for _, query := range [][]string{{"enabled", "false"}, {"event_type", "payment.settled"}, {"profile", "nobody"}, {"operational", "true"}} {
		get("/v1/endpoints", query...)
	}
	for _, e := range []client.Event{t.event, t.old} {
		get("/v1/events/"+e.ID, "tenant", t.big)
		get("/v1/events/" + e.ID)
		get("/v1/events/"+e.ID+"/explain", "tenant", t.big)
		get("/v1/deliveries", "event", e.ID)
	}
	for _, d := range []client.Delivery{t.delivery, t.pending, t.failed, t.held} {
		get("/v1/deliveries/" + d.ID)
	}
	get("/v1/replays/" + t.replay)
	get("/v1/replays", "state", "failed")
	get("/v1/replays", "endpoint", t.endpoint)
	for _, q := range []string{t.event.ID, t.event.ID[:8], t.old.ID[:13], t.delivery.ID, t.failed.ID[:13], t.endpoint, t.endpoint[:8], t.replay, t.big, "tenant-1", "nobody", "ffffffff"} {
		get("/v1/search", "q", q)
	}
	for _, query := range [][]string{{"act", "tenant.updated"}, {"act", "endpoint.deleted"}, {"object", "tenant"}, {"object_id", t.small}, {"actor", "bootstrap"}, {"actor", "nobody"}, {"request_id", "nobody"}, {"before", t.long}} {
		get("/v1/audit", query...)
	}
	get("/v1/keys", "kind", "operator")
	get("/v1/keys", "name", "nobody")
	get("/v1/event-types", "group", "Group 3")
	get("/v1/event-types/payment.settled")
	get("/v1/event-types/payment.settled/subscribers")
	get("/v1/stats", "from", t.day)
	get("/v1/stats", "from", t.long, "step", "1h")
	get("/v1/stats", "from", t.day, "step", "1m")
}

// pages lists the pages of the dashboard.
func (m *reader) pages(t *things) {
	get := func(path string, query ...string) { m.reading(false, "/ui/live/"+path, query...) }
	for _, path := range []string{"", "deliveries", "endpoints", "endpoints/new", "events", "tenants", "tenants/new", "replays", "replays/new", "types", "types/payment.settled",
		"profiles", "profiles/standard", "keys", "keys/new", "audit", "nodes", "settings", "shortcuts"} {
		get(path)
	}
	for _, span := range []string{"1h", "24h", "7d", "30d"} {
		get("", "span", span)
	}
	for _, tenant := range []string{t.big, t.small} {
		for _, path := range []string{"deliveries", "endpoints", "events", "replays", "keys", "audit"} {
			get(path, "tenant", tenant)
		}
		get("tenants/" + tenant)
		get("tenants/"+tenant, "span", "7d")
		get("tenants/" + tenant + "/portal")
		get("tenants/" + tenant + "/delete")
	}
	get("tenants", "q", "tenant-1")
	get("tenants", "q", "nobody")
	for _, query := range [][]string{{"state", "pending"}, {"state", "held"}, {"state", "failed"}, {"state", "cancelled"}, {"state", "pending", "tried", "1"}, {"type", rareType}, {"type", "nothing.such"}, {"class", "timeout_response"},
		{"class", "dns_timeout"}, {"status", "503"}, {"since", "1h"}, {"endpoint", t.endpoint}, {"endpoint", t.failing, "state", "failed"}, {"before", t.long}, {"tag", "order:" + t.order}} {
		get("deliveries", query...)
	}
	for _, query := range [][]string{{"type", rareType}, {"type", "nothing.such"}, {"before", t.long}, {"tag", "channel:web"}, {"tag", "order:" + t.order}, {"test", "true"}} {
		get("events", query...)
	}
	for _, query := range [][]string{{"type", "payment.settled"}, {"profile", "nobody"}, {"state", "disabled"}, {"state", "failing"}} {
		get("endpoints", query...)
	}
	for _, endpoint := range []string{t.endpoint, t.failing, t.disabled, t.one} {
		for _, tab := range []string{"health", "deliveries", "settings", "secret", "history"} {
			get("endpoints/"+endpoint, "tab", tab)
		}
		get("endpoints/"+endpoint, "span", "7d")
	}
	for _, act := range []string{"edit", "disable", "delete", "rotate"} {
		get("endpoints/" + t.endpoint + "/" + act)
	}
	get("endpoints/" + t.disabled + "/enable")
	for _, d := range []client.Delivery{t.delivery, t.pending, t.failed, t.held} {
		get("deliveries/" + d.ID)
		get("deliveries/" + d.ID + "/report")
	}
	get("deliveries/" + t.pending.ID + "/cancel")
	for _, e := range []client.Event{t.event, t.old} {
		get("events/"+e.ID, "tenant", t.big)
		get("events/"+e.ID+"/data", "tenant", t.big)
		get("events/"+e.ID+"/report", "tenant", t.big)
		get("events/"+e.ID+"/resend", "tenant", t.big)
	}
	for _, q := range []string{t.event.ID[:8], t.old.ID[:13], t.endpoint[:8], "tenant-1", "nobody"} {
		get("search", "q", q)
	}
	get("replays/" + t.replay)
	for _, source := range []string{"failed", "missing", "all"} {
		get("replays/new", "endpoint", t.endpoint, "source", source, "preview", "1")
	}
	for _, query := range [][]string{{"act", "tenant.updated"}, {"object", "tenant"}, {"actor", "nobody"}, {"before", t.long}} {
		get("audit", query...)
	}
}

// portal lists the pages of the portal of a tenant.
func (m *reader) portal(t *things, tenant, at, endpoint string, d client.Delivery, e client.Event) {
	get := func(path string, query ...string) {
		m.reading(false, at+"/"+path, query...)
		last := m.reads[len(m.reads)-1]
		last.name = "/portal/" + tenant + strings.TrimPrefix(last.name, at)
	}
	for _, path := range []string{"", "endpoints", "endpoints/new", "deliveries", "replays", "replays/new", "types", "types/payment.settled", "verify"} {
		get(path)
	}
	for _, query := range [][]string{{"state", "failed"}, {"state", "pending"}, {"state", "held"}, {"state", "cancelled"}, {"type", rareType}, {"endpoint", endpoint}} {
		get("deliveries", query...)
	}
	for _, tab := range []string{"health", "deliveries", "settings", "secret"} {
		get("endpoints/"+endpoint, "tab", tab)
	}
	if tenant != t.big {
		return
	}
	get("endpoints/"+t.failing, "tab", "health")
	get("endpoints/"+t.disabled, "tab", "health")
	get("endpoints/" + t.disabled + "/enable")
	get("endpoints/" + endpoint + "/disable")
	get("endpoints/" + endpoint + "/delete")
	get("deliveries/" + d.ID)
	get("events/" + e.ID)
	get("events/" + e.ID + "/data")
	get("replays/" + t.replay)
}

// readingPaths returns the paths of an OpenAPI document that have a GET.
func readingPaths(document json.RawMessage) ([]string, error) {
	var d struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		return nil, err
	}
	var out []string
	for path, methods := range d.Paths {
		if methods["get"] != nil {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out, nil
}
