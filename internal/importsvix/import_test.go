package importsvix

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// newTarget starts a server that imports can go to.
func newTarget(t *testing.T, more ...string) *servertest.Live {
	t.Helper()
	return servertest.Start(t, append([]string{"--dev", "--mount", "svix", "--allow-reveal", "--read-rate", "0", "--write-rate", "0"}, more...)...)
}

// newImporter returns an importer and what it prints.
func newImporter(from, fromToken string, to *servertest.Live) (*importer, *bytes.Buffer) {
	out := &bytes.Buffer{}
	return &importer{from: &remote{name: "Svix", url: from, token: fromToken}, to: &remote{name: "Posthorn", url: to.Node.URL(), token: to.Config.OperatorKey},
		apply: true, report: &report{out: out, progress: cli.NewProgress(out, 0)}}, out
}

// faults compares one by one what the stand-in has with what the target has. Secrets and
// headers are compared of every step-th application.
func faults(t *testing.T, s *standIn, m *importer, step int) (list []string) {
	t.Helper()
	ctx := t.Context()
	check := func(what string, same bool) {
		if !same {
			list = append(list, what)
		}
	}
	rows := func(path string) (found []endpoint) {
		if err := each(ctx, m.to, path, func(e endpoint) error { found = append(found, e); return nil }); err != nil {
			t.Fatal(path, err)
		}
		return found
	}
	tenants := map[string]application{}
	if err := each(ctx, m.to, "app", func(a application) error { tenants[a.ID] = a; return nil }); err != nil {
		t.Fatal(err)
	}
	check(fmt.Sprint(len(tenants), " applications"), len(tenants) == len(s.apps)+1) // acme was there before
	for i, a := range s.apps {
		name := cmp.Or(of(a.UID), a.ID)
		have, there := tenants[name]
		check(name, there && have.Name == a.Name && maps.Equal(have.Metadata, a.Metadata) && of(have.UID) == of(a.UID))
		var got []endpoint
		if there {
			got = rows("app/" + name + "/endpoint")
		}
		check(fmt.Sprint(name, " has ", len(got), " endpoints"), len(got) == len(s.endpoints[a.ID]))
		for _, e := range s.endpoints[a.ID] {
			at := slices.IndexFunc(got, func(other endpoint) bool { return of(other.UID) == nameOf(e) })
			if at < 0 {
				check(name+"/"+nameOf(e)+" is missing", false)
				continue
			}
			have := got[at]
			check(name+"/"+nameOf(e), compared(have.URL) == compared(e.URL) && have.Description == e.Description && have.Disabled == e.Disabled &&
				sameSet(have.Filter, e.Types) && of(have.Throttle) == of(e.Throttle) && maps.Equal(have.Metadata, e.Metadata))
			if i%step > 0 {
				continue
			}
			path := "app/" + name + "/endpoint/" + nameOf(e)
			key, err := m.secret(ctx, m.to, path)
			check(path+" secret", err == nil && key == secretOf(e.ID))
			var h headers
			err = m.to.get(ctx, path+"/headers", &h)
			check(path+" headers", err == nil && slices.Equal(h.names(), s.headers[e.ID].names()))
		}
	}
	for _, want := range s.types {
		var have eventType
		err := m.to.get(ctx, "event-type/"+want.Name, &have)
		check(want.Name, err == nil && have.Archived == want.Archived && have.Description == want.Description && sameSchemas(of(have.Schemas), of(want.Schemas)))
	}
	return list
}

// An import that is interrupted twice is completed without a double. The first time it is
// cancelled, the second time the source asks to come back in an hour; in between connections
// break. The control is a double and an omission, which the comparison finds.
func TestImportInterrupted(t *testing.T) {
	const applications = 1000
	s, to := newStandIn(t), newTarget(t)
	s.fill(applications)
	ctx, cancel := context.WithCancel(t.Context())
	s.interrupt(func(n int, w http.ResponseWriter) bool {
		if n == 2500 {
			cancel()
		}
		return false
	})
	m, out := newImporter(s.URL, token, to)
	if err := m.command(ctx, ""); err == nil || !strings.Contains(err.Error(), "interrupted; repeat the command") {
		t.Fatalf("cancelled: %v\n%s", err, out)
	}
	s.interrupt(func(n int, w http.ResponseWriter) bool {
		if n >= 8000 {
			w.Header().Set("Retry-After", "3600")
			fail(w, 429, "rate_limit", "slow down")
			return true
		}
		if n%1500 == 0 {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = c.Close()
			}
			return true
		}
		return false
	})
	m, out = newImporter(s.URL, token, to)
	if err := m.command(t.Context(), ""); exitCode(err) != exit.Refused || !strings.Contains(err.Error(), "slow down") {
		t.Fatalf("refused: %v\n%s", err, out)
	}
	if made := m.report.counts[endpoints]; made[copied] == 0 || made[copied]+made[there] >= 5*applications {
		t.Fatalf("after two interruptions: %v", made)
	}
	s.interrupt(nil)
	m, out = newImporter(s.URL, token, to)
	if err := m.command(t.Context(), ""); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made := m.report.counts
	if made[endpoints][copied] == 0 || made[endpoints][there] == 0 || made[endpoints][copied]+made[endpoints][there] != 5*applications {
		t.Errorf("counts %v\n%s", made, out)
	}
	if list := faults(t, s, m, 20); len(list) > 0 {
		t.Errorf("%d faults, such as %q", len(list), list[0])
	}
	// Controls.
	twice := newEndpoint{UID: "another", URL: "http://127.0.0.1:19999/0/0?key=k0", Secret: secretOf("another")}
	if _, err := m.write(t.Context(), "app/tenant-0/endpoint", twice); err != nil {
		t.Fatal(err)
	}
	if err := m.to.call(t.Context(), http.MethodDelete, "app/tenant-2/endpoint/ep-1", nil, nil); err != nil {
		t.Fatal(err)
	}
	s.apps = s.apps[:4]
	want := []string{"1001 applications", "tenant-0 has 6 endpoints", "tenant-2 has 4 endpoints", "tenant-2/ep-1 is missing"}
	if list := faults(t, s, m, applications); !slices.Equal(list, want) {
		t.Errorf("a double and an omission: %q", list)
	}
}

func exitCode(err error) int {
	if e, ok := err.(*exit.Error); ok {
		return e.Code
	}
	return exit.Failed
}

// What cannot be copied is named with the reason, and what is to be finished by hand too. No
// secret is printed. A second run finds nothing to do.
func TestImportReports(t *testing.T) {
	s, to := newStandIn(t), newTarget(t)
	s.types = []eventType{{Name: "a.b"}, {Name: "flagged", Flags: &[]string{"beta"}}, {Name: "dot."}, {Name: ".."}}
	s.apps = []application{{ID: id("app_", 1), UID: new("one"), Name: "One", Throttle: new(20_000)}, {ID: id("app_", 2), UID: new(strings.Repeat("u", 257)), Name: "Two"}, {ID: id("app_", 3), UID: new("acme"), Name: "Three"}, {ID: id("app_", 4), UID: new(".."), Name: "Four"}}
	one := func(n int, change func(*endpoint)) endpoint {
		e := endpoint{ID: id("ep_", n), UID: new(fmt.Sprint("e", n)), URL: fmt.Sprint("http://127.0.0.1:19999/", n)}
		change(&e)
		return e
	}
	keep := func(*endpoint) {}
	s.endpoints[id("app_", 1)] = []endpoint{one(1, keep), one(2, keep), one(3, keep), one(4, func(e *endpoint) { e.URL = "http://10.1.2.3/hook" }), one(5, func(e *endpoint) { e.Types = &[]string{"no.such"} }),
		one(6, func(e *endpoint) { e.URL += "?key=***" }), one(7, keep), one(8, keep), one(9, func(e *endpoint) { e.UID = nil })}
	s.endpoints[id("app_", 2)] = []endpoint{one(20, keep)}
	s.more["app/"+id("app_", 1)+"/endpoint/"+id("ep_", 2)+"/transformation"] = `{"code":"function handler(w) {}","enabled":true}`
	s.more["app/"+id("app_", 1)+"/endpoint/"+id("ep_", 1)+"/transformation"] = `{"code":"not in use","enabled":false}`
	s.hosted = true
	s.more["app/"+id("app_", 1)+"/destination"] = `{"data":[{"id":"sink_1","type":"fifoEndpoint"}],"iterator":"sink_1","done":true}`
	s.more["operational-webhook/endpoint"] = `{"data":[{"id":"ep_op","url":"https://example.com"}],"iterator":"ep_op","done":true}`
	s.secrets[id("ep_", 3)] = "whpk_cHVibGlj"
	s.secrets[id("ep_", 7)] = "whsec_c2hvcnQ="
	s.headers[id("ep_", 8)] = headers{Headers: map[string]string{"X-A": "1"}, Sensitive: []string{"Authorization"}}

	run := func(apply bool) (string, error) {
		m, out := newImporter(s.URL, token, to)
		m.apply = apply
		err := m.command(t.Context(), "")
		for _, secret := range []string{token, secretOf(id("ep_", 1)), "c2hvcnQ", to.Config.OperatorKey} {
			if strings.Contains(out.String()+fmt.Sprint(err), secret) {
				t.Errorf("a secret is printed: %s", out)
			}
		}
		return out.String(), err
	}
	out, err := run(false)
	servertest.Contains(t, out, "nothing was written", "endpoints             7              0         0           5", "one/e2: it has a transformation", "one/sink_1: it is a destination of the type fifoEndpoint")
	if _, err := to.API.Tenant(t.Context(), "one"); err == nil {
		t.Error("a dry run wrote")
	}
	if exitCode(err) != exit.Failed {
		t.Errorf("dry run: %v", err)
	}
	out, err = run(true)
	servertest.Contains(t, out, "event type flagged: it has feature flags", "event type dot.: Posthorn answered 422: name: ", "event type ..: Posthorn answered 422: name: ", "application ..: Posthorn answered 422: uid: ", "application "+strings.Repeat("u", 257)+": Posthorn answered 422: uid: ", "differs     application acme: name",
		"one/e2: it has a transformation", "one/e3: it signs with ed25519", "one/e4: Posthorn answered 422: url: ", "one/e5: Posthorn answered 422: filterTypes/[0]: ", "one/e6: Svix does not show the values in the query",
		"one/e7: Posthorn answered 422: secret: ", "by hand     endpoint one/e8: Svix does not show the values of Authorization", strings.Repeat("u", 257)+"/e20: its application was not copied",
		"by hand     application one: its throttleRate of 20000 is not copied: Posthorn answered 422: throttleRate", "operational/ep_op: ", "endpoints             3              0         0           9", "applications          1              0         1           2", "To finish by hand: 2")
	if exitCode(err) != exit.Failed || !strings.Contains(err.Error(), "14 could not be copied") {
		t.Errorf("%v", err)
	}
	m, _ := newImporter(s.URL, token, to)
	var have endpoint
	if there, err := m.find(t.Context(), "app/one/endpoint/"+id("ep_", 9), &have); !there || err != nil || have.Disabled {
		t.Errorf("an endpoint by its id at the source: %v %v %+v", there, err, have)
	}
	if there, err := m.find(t.Context(), "app/one/endpoint/e8", &have); !there || err != nil || !have.Disabled {
		t.Errorf("an endpoint without all its headers is not disabled: %v %v %+v", there, err, have)
	}
	// Its uid is taken away by a program that does not know it: no second endpoint is made.
	if err := m.to.call(t.Context(), http.MethodPatch, "app/one/endpoint/"+id("ep_", 9), map[string]any{"uid": nil}, nil); err != nil {
		t.Fatal(err)
	}
	out, _ = run(true)
	servertest.Contains(t, out, "endpoints             0              1         2           9", "differs     endpoint one/e8: headers, disabled", "differs     endpoint one/"+id("ep_", 9)+": uid: ")
}

// What is deleted at the source between a list and what is read of it is skipped with a line,
// in the first run and in one that compares. The rest is copied.
func TestImportOfWhatVanishes(t *testing.T) {
	s, to := newStandIn(t), newTarget(t)
	s.fill(3)
	s.types[2].Archived = false // no endpoint could be made later
	run := func() string {
		t.Helper()
		m, out := newImporter(s.URL, token, to)
		m.secrets = true
		if err := m.command(t.Context(), ""); exitCode(err) != exit.Failed || !strings.Contains(err.Error(), "could not be copied") {
			t.Errorf("%v: %s", err, out)
		}
		return out.String()
	}
	s.gone = []string{id("ep_", 1), id("app_", 1)}
	servertest.Contains(t, run(), "not copied  endpoint tenant-0/ep-1: it was deleted meanwhile", "by hand     application "+id("app_", 1)+": it was deleted at Svix meanwhile", "applications          3              0         0           0", "endpoints             9              0         0           1")
	s.gone = []string{id("ep_", 2), id("app_", 1)}
	servertest.Contains(t, run(), "not copied  endpoint tenant-0/ep-2: it was deleted meanwhile", "by hand     application "+id("app_", 1)+": it was deleted at Svix meanwhile", "endpoints             1              8         0           1")
	s.gone = nil
	m, out := newImporter(s.URL, token, to) // control: nothing is gone
	if err := m.command(t.Context(), ""); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	servertest.Contains(t, out.String(), "endpoints             5             10         0           0")
}

// Endpoints can be copied disabled and enabled when an application is switched.
func TestImportSwitch(t *testing.T) {
	s, to := newStandIn(t), newTarget(t)
	s.fill(2)
	run := func(change func(m *importer)) string {
		t.Helper()
		m, out := newImporter(s.URL, token, to)
		change(m)
		if err := m.command(t.Context(), ""); err != nil {
			t.Fatal(err, out)
		}
		return out.String()
	}
	run(func(m *importer) { m.disabled = true })
	servertest.Contains(t, run(func(*importer) {}), "endpoints             0              2         8           0", "tenant-0/ep-0: disabled")
	s.secrets[id("ep_", 1)] = secretOf("rotated")
	servertest.Contains(t, run(func(m *importer) { m.secrets, m.disabled = true, true }), "tenant-0/ep-1: secret", "endpoints             0              9         1           0")
	servertest.Contains(t, run(func(m *importer) { m.enable, m.apply = true, false }), "Endpoints to enable: 8")
	servertest.Contains(t, run(func(m *importer) { m.enable, m.apps = true, []string{"tenant-0"} }), "Endpoints enabled: 4", "applications          0              1         0           0")
	servertest.Contains(t, run(func(*importer) {}), "endpoints             0              6         4           0")
}

// Posthorn can be the source: it does not show the values of headers and of a URL's query.
func TestImportFromPosthorn(t *testing.T) {
	s, middle, to := newStandIn(t), newTarget(t), newTarget(t)
	s.fill(3)
	m, out := newImporter(s.URL, token, middle)
	if err := m.command(t.Context(), ""); err != nil {
		t.Fatal(err, out)
	}
	for _, a := range s.apps { // without what is not shown
		for i := range s.endpoints[a.ID] {
			e := &s.endpoints[a.ID][i]
			e.URL, _, _ = strings.Cut(e.URL, "?")
			path := "app/" + cmp.Or(of(a.UID), a.ID) + "/endpoint/" + nameOf(*e)
			if i != 4 {
				if err := m.to.call(t.Context(), http.MethodPatch, path, map[string]string{"url": e.URL}, nil); err != nil {
					t.Fatal(err)
				}
			}
			if i == 2 {
				e.Disabled = true // its header is hidden
			}
		}
		s.endpoints[a.ID] = s.endpoints[a.ID][:4]
	}
	second, out := newImporter(middle.Node.URL(), middle.Config.OperatorKey, to)
	if err := second.command(t.Context(), ""); exitCode(err) != exit.Failed || !strings.Contains(err.Error(), "3 could not be copied") {
		t.Fatal(err, out)
	}
	servertest.Contains(t, out.String(), "tenant-0/ep-4: Svix does not show the values in the query", "tenant-0/ep-2: Svix does not show the values of X-Tenant", "applications          3              1", "endpoints            12              0")
	s.headers = map[string]headers{}
	if list := faults(t, s, second, 1); len(list) > 0 {
		t.Errorf("%q", list)
	}
	hidden, out := newImporter(middle.Node.URL(), middle.Config.OperatorTestKey, to)
	if err := hidden.command(t.Context(), ""); err != nil || !strings.Contains(out.String(), "endpoints             0              0") {
		t.Errorf("the other mode has no endpoints: %v %s", err, out)
	}
}
