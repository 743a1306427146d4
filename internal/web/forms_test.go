package web_test

import (
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
)

var alert = regexp.MustCompile(`(?s)role="alert">.*?</div>`)

// field returns the value of a hidden field of a page.
func field(t *testing.T, page, name string) string {
	t.Helper()
	found := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("there is no field %q in %s", name, page)
	}
	return found[1]
}

// A form makes one thing, however often its button is pressed, and shows the secret of that
// thing both times. A form that is wrong says so beside the field and keeps what was typed.
func TestFormsMakeOneThing(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	secret := regexp.MustCompile(`class="cmd secret"[^>]*>([^<]+)<`)
	for path, form := range map[string]url.Values{
		"endpoints/new":       {"tenant": {"acme"}, "url": {strings.Replace(w.Receiver.URL, "127.0.0.1", "localhost", 1) + "/new"}, "types": {"a.b\nc.*"}, "title": {"New"}, "headers": {"X-One: 1"}, "retry": {"1s 5m"}, "rate_limit": {"2.5"}},
		"tenants/acme/portal": {"rights": {"look only"}},
		"keys/new":            {"kind": {"publisher"}, "name": {"made on a page"}},
	} {
		form.Set("once", field(t, b.get("/ui/live/"+path).body, "once"))
		first, second := b.post("/ui/live/"+path, form, own), b.post("/ui/live/"+path, form, own)
		if first.status != 200 || second.status != 200 || secret.FindString(first.body) == "" || secret.FindString(first.body) != secret.FindString(second.body) {
			t.Errorf("%s: %d %d\n%s", path, first.status, second.status, first.body)
		}
		if first.header.Get("Content-Encoding") != "" || first.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: a page with a secret has %v", path, first.header)
		}
	}
	page, err := w.API.Endpoints(t.Context(), client.EndpointQuery{})
	if err != nil || len(page.Data) != 2 {
		t.Fatalf("%d endpoints, %v", len(page.Data), err)
	}
	made := page.Data[0]
	if made.Title != "New" || strings.Join(made.EventTypes, " ") != "a.b c.*" || made.Headers["X-One"] == "" || made.RateLimit != 2.5 || made.Retry == nil || len(made.Retry.Steps) != 2 {
		t.Errorf("%+v", made)
	}
	for _, c := range []struct{ path, field, value, says string }{
		{"endpoints/new", "url", "ftp://x", "w-url"}, {"endpoints/new", "retry", "soon", "w-retry"}, {"endpoints/new", "rate_limit", "fast", "w-rate_limit"}, {"endpoints/new", "headers", "no colon", "w-headers"},
		{"endpoints/new", "tenant", "nobody", "w-tenant"}, {"tenants/new", "id", "a b", "w-id"}, {"keys/new", "expires_at", "2020-01-01T00:00", "w-expires_at"}, {"replays/new", "endpoint", "x", "w-endpoint"}, {"replays/new", "after", "x", "w-after"},
	} {
		form := url.Values{"tenant": {"acme"}, "url": {"http://localhost:1025/x"}, "types": {"*"}, "kind": {"publisher"}, "endpoint": {w.endpoint.ID}}
		if c.path == "tenants/new" {
			form = url.Values{}
		}
		form.Set(c.field, c.value)
		if a := b.post("/ui/live/"+c.path, form, own); a.status != 422 || !strings.Contains(a.body, `id="`+c.says+`"`) || !strings.Contains(a.body, c.value) {
			t.Errorf("%s with %s %q: %d, it does not say %s: %s", c.path, c.field, c.value, a.status, c.says, alert.FindString(a.body))
		}
	}
}

// The key of a form is stored in 64 bytes, whatever somebody writes into it.
func TestFormKeysAreBounded(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.Config.Data, "posthorn.db")+"?_pragma=busy_timeout(30000)") // the node writes meanwhile
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	kept := func() (n, longest int) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), "SELECT count(*), coalesce(max(length(CAST(key AS BLOB))), 0) FROM idempotency").Scan(&n, &longest); err != nil {
			t.Fatal(err)
		}
		return n, longest
	}
	before, _ := kept()
	for i, once := range []string{"k", strings.Repeat("k", 50_000), strings.Repeat("k", 49_999) + "l", "\x00\xff\n"} {
		form := url.Values{"id": {"made-" + strconv.Itoa(i)}, "once": {once}}
		for range 2 {
			if a := b.post("/ui/live/tenants/new", form, own); a.status != 303 {
				t.Errorf("%.10q: %d %s", once, a.status, alert.FindString(a.body))
			}
		}
	}
	if n, longest := kept(); n != before+4 || longest != 64 {
		t.Errorf("%d keys were stored, the longest of %d bytes", n-before, longest)
	}
}

// What a form does not change stays: masked values, headers and the retry plan.
func TestEditingKeepsWhatIsNotShown(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	path := "/ui/live/endpoints/" + w.endpoint.ID + "/edit"
	page := b.get(path).body
	form := url.Values{"revision": {field(t, page, "revision")}, "url": {strings.Replace(w.endpoint.URL, "query-secret", "***", 1)}, "types": {"order/*"}, "title": {"Changed"}, "headers": {"X-Token: ***\nX-More: 2"}, "retry": {"1h"}}
	if a := b.post(path, form, own); a.status != 303 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	w.Answers(nil)
	w.Publish("order/created", `{}`)
	got := w.Await(2)[1]
	if got.Header.Get("X-Token") != "header-secret" || got.Header.Get("X-More") != "2" {
		t.Errorf("%v", got.Header)
	}
	a := b.post(path, form, own) // the same revision again
	if a.status != 412 || !strings.Contains(a.body, "Somebody else changed the endpoint meanwhile") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if e, err := w.API.Endpoint(t.Context(), w.endpoint.ID); err != nil || e.Title != "Changed" || e.Retry == nil {
		t.Errorf("%+v %v", e, err)
	}
}

func TestChannelsOfAnEndpoint(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	path := "/ui/live/endpoints/" + w.endpoint.ID
	for _, c := range []struct {
		text   string
		status int
		want   []string
	}{{"c1, c2", 303, []string{"c1", "c2"}}, {"c1 a/b", 422, []string{"c1", "c2"}}, {"", 303, nil}} {
		form := url.Values{"revision": {field(t, b.get(path+"/edit").body, "revision")}, "url": {strings.Replace(w.endpoint.URL, "query-secret", "***", 1)}, "types": {"*"}, "channels": {c.text}}
		if a := b.post(path+"/edit", form, own); a.status != c.status || c.status == 422 && !strings.Contains(a.body, "Entry 2 of") {
			t.Errorf("%q: %d %s", c.text, a.status, a.body)
		}
		if e, err := w.API.Endpoint(t.Context(), w.endpoint.ID); err != nil || !slices.Equal(e.Channels, c.want) {
			t.Errorf("%q: %v %v", c.text, e.Channels, err)
		}
		shown := "events of any channel"
		if len(c.want) > 0 {
			shown = `<span class="code">c2</span>`
		}
		if page := b.get(path + "?tab=settings").body; !strings.Contains(page, shown) {
			t.Errorf("%q: the page does not say %q", c.text, shown)
		}
	}
}

// Deleting asks for the name of what is deleted, and only the right one deletes.
func TestDeletingIsTyped(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	host := strings.TrimPrefix(strings.Replace(w.Receiver.URL, "127.0.0.1", "localhost", 1), "http://")
	for _, c := range []struct{ path, right string }{{"/ui/live/endpoints/" + w.endpoint.ID + "/delete", host}, {"/ui/live/tenants/hostile/delete", "hostile"}} {
		for typed, status := range map[string]int{"": 422, "yes": 422} {
			if a := b.post(c.path, url.Values{"typed": {typed}}, own); a.status != status {
				t.Errorf("%s with %q: %d", c.path, typed, a.status)
			}
		}
		if a := b.post(c.path, url.Values{"typed": {c.right}}, own); a.status != 303 {
			t.Errorf("%s: %d %s", c.path, a.status, a.body)
		}
	}
	if _, err := w.API.Endpoint(t.Context(), w.endpoint.ID); err == nil {
		t.Error("the endpoint is still there")
	}
}

// The equal request of each page is one that the API answers.
func TestRequestsOnPagesAreAnswered(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	request := regexp.MustCompile(`class="cmd curl"[^>]*>[^<]*\$POSTHORN_URL(/v1/[^&<]*)`)
	seen := 0
	for _, path := range []string{"", "events?tenant=acme", "deliveries?state=failed&tenant=acme", "deliveries/" + w.delivery, "endpoints?type=order/created", "endpoints/" + w.endpoint.ID, "events/" + w.event.ID, "tenants/acme", "replays", "audit?act=key.created"} {
		for _, found := range request.FindAllStringSubmatch(unescaped(b.get("/ui/live/"+path).body), -1) {
			seen++
			a := b.get(strings.TrimSuffix(found[1], `"`), bearer(w.Config.OperatorKey))
			if a.status != 200 {
				t.Errorf("%s shows %s: %d %s", path, found[1], a.status, a.body)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d requests were found", seen)
	}
	if a := b.get("/v1/nothing", bearer(w.Config.OperatorKey)); a.status == 200 {
		t.Error("the control is answered")
	}
}

// The audit log downloads in both forms, with all entries of the filter, and no cell that a
// spreadsheet takes for a formula.
func TestAuditDownloads(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	sheet, err := csv.NewReader(strings.NewReader(b.get("/ui/live/audit/download?as=csv&object=tenant").body)).ReadAll()
	if err != nil || len(sheet) != 3 || sheet[1][8] != "tenant.created" { // a head and two tenants
		t.Errorf("%v %v", sheet, err)
	}
	n := 0
	for line := range strings.Lines(b.get("/ui/live/audit/download?as=ndjson").body) {
		var entry struct {
			Act   string
			Chain struct{ Sequence int }
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Act == "" || entry.Chain.Sequence == 0 {
			t.Errorf("%q: %v", line, err)
		}
		n++
	}
	if n < 5 {
		t.Errorf("%d entries", n)
	}
}

// Every class of the style sheet is used by a template or by the code, and the reverse.
func TestClassesAreUsed(t *testing.T) {
	sheet, err := os.ReadFile("static/posthorn.css")
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, dir := range []string{"templates", "static", "."} {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f.Name(), ".html") || strings.HasSuffix(f.Name(), ".js") || strings.HasSuffix(f.Name(), ".go") && !strings.HasSuffix(f.Name(), "_test.go") {
				one, err := os.ReadFile(dir + "/" + f.Name())
				if err != nil {
					t.Fatal(err)
				}
				text += string(one)
			}
		}
	}
	styled := map[string]bool{}
	for _, found := range regexp.MustCompile(`\.([a-z][a-z0-9-]*)[^{};/]*[{,]`).FindAllStringSubmatch(regexp.MustCompile(`/\*[^*]*\*/`).ReplaceAllString(string(sheet), ""), -1) {
		for _, class := range regexp.MustCompile(`\.([a-z][a-z0-9-]*)`).FindAllStringSubmatch(found[0], -1) {
			styled[class[1]] = true
		}
	}
	if len(styled) < 60 {
		t.Fatalf("only %d classes were found", len(styled))
	}
	for class := range styled {
		if !regexp.MustCompile(`["\s{}]`+class+`["\s{}]`).MatchString(text) && !regexp.MustCompile("^p[1-5]$").MatchString(class) { // p1 to p5 are made of numbers
			t.Errorf("nothing has the class %q", class)
		}
	}
	for _, found := range regexp.MustCompile(`class="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		for _, class := range strings.Fields(regexp.MustCompile(`{{[^}]*}}`).ReplaceAllString(found[1], " ")) {
			if !styled[class] && class != "curl" {
				t.Errorf("the class %q has no style", class)
			}
		}
	}
}
