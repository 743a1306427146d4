package portal_test

import (
	"flag"
	stdhtml "html"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template/parse"
	"unicode"

	"golang.org/x/net/html"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	rules "github.com/posthorn/posthorn/internal/portal"
	"github.com/posthorn/posthorn/internal/web/portal"
)

var update = flag.Bool("update", false, "write the golden texts")

// find returns the first element with the name.
func find(n *html.Node, name string) *html.Node {
	if n.Type == html.ElementNode && n.Data == name {
		return n
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if f := find(c, name); f != nil {
			return f
		}
	}
	return nil
}

func parsed(t *testing.T, a *httptest.ResponseRecorder) *html.Node {
	t.Helper()
	n, err := html.ParseWithOptions(strings.NewReader(a.Body.String()), html.ParseOptionEnableScripting(false)) // with what noscript shows
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var volatile = []struct{ from, to string }{
	{`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`, "ID"}, {`[0-9a-f]{8}-[0-9a-f]{4}…`, "ID…"}, {`[0-9a-z]{9,13}-[0-9a-z]{4,8}\b`, "REQUEST"}, {`whsec_[A-Za-z0-9+/=]+`, "whsec_SECRET"},
}

// text returns the words of a node, one block a line, with what differs each time replaced.
func text(n *html.Node) string {
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		switch {
		case n.Type == html.TextNode:
			b.WriteString(n.Data)
		case n.Type == html.ElementNode && slices.Contains([]string{"p", "h1", "h2", "h3", "tr", "li", "dt", "button", "label", "pre", "summary", "option", "header"}, n.Data):
			b.WriteString("\n")
		case n.Type == html.ElementNode:
			b.WriteString(" ")
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(n)
	out := b.String()
	for _, v := range volatile {
		out = regexp.MustCompile(v.from).ReplaceAllString(out, v.to)
	}
	var lines []string
	for line := range strings.Lines(out) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// main returns the words of the main part of a page.
func main(t *testing.T, a *httptest.ResponseRecorder) string {
	t.Helper()
	n := find(parsed(t, a), "main")
	if n == nil {
		return a.Body.String()
	}
	return text(n)
}

// pagesOf are the pages whose words are compared, and that have every stored text.
func pagesOf(it *things) map[string]string {
	return map[string]string{"home": "", "endpoints": "endpoints", "new": "endpoints/new", "health": "endpoints/" + it.endpoint.String(), "settings": "endpoints/" + it.endpoint.String() + "?tab=settings",
		"secret": "endpoints/" + it.endpoint.String() + "?tab=secret", "deliveries": "deliveries?state=pending", "delivery": "deliveries/" + it.delivery.String(), "event": "events/" + it.event.String(),
		"replays": "replays", "replay": "replays/" + it.replay.String(), "replay_new": "replays/new", "types": "types", "type": "types/payment.settled", "verify": "verify",
		"ask": "endpoints/" + it.endpoint.String() + "/delete", "missing": "nothing"}
}

// The pages say what they said when the golden texts were written and read by a person.
func TestWordsOfThePages(t *testing.T) {
	w := newWorld(t, "")
	for _, lang := range []string{"en", "de"} {
		b := w.open(nordlicht, all, func(x *rules.Wanted) { x.Locale = lang })
		for name, path := range pagesOf(w.of[nordlicht]) {
			a := b.get(path)
			got := main(t, a)
			if find(parsed(t, a), "html").Attr[0].Val != lang {
				t.Errorf("%s has another language than %s", name, lang)
			}
			if name == "verify" {
				got, _, _ = strings.Cut(got, "package main") // code, which examples/receivers tests
			}
			file := filepath.Join("testdata", lang, name+".txt")
			if *update {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || string(want) != got {
				t.Errorf("%s %s (%v): run the test with -update and read the difference. It says:\n%s", lang, name, err, got)
			}
		}
	}
}

// No page shows a secret, a header's value, the query of a URL, or the operator's world.
func TestWhatPagesNeverShow(t *testing.T) {
	w := newWorld(t, "")
	b := w.open(nordlicht, all)
	for name, path := range pagesOf(w.of[nordlicht]) {
		body := b.get(path).Body.String()
		for _, never := range []string{"header-secret", "query-secret", "whsec_", "harbour", "internal.hidden", `"tenant"`, "--allow-reveal"} {
			if strings.Contains(strings.ReplaceAll(body, "whsec_\"", ""), never) && name != "verify" {
				t.Errorf("%s shows %q", name, never)
			}
		}
	}
	if a := b.get("types/internal.hidden"); a.Code != 404 {
		t.Errorf("a hidden event type: %d", a.Code)
	}
	it := w.of[nordlicht]
	made := b.post("endpoints/new", it.form("endpoints/new", "nordlicht")).Body.String()
	secret := regexp.MustCompile(`whsec_[A-Za-z0-9+/=&#;]+`).FindString(html.UnescapeString(made))
	if secret == "" {
		t.Fatalf("the secret is not shown once:\n%s", made)
	}
	again := b.post("endpoints/new", it.form("endpoints/new", "nordlicht"))
	if again.Code != 303 || strings.Contains(again.Body.String(), "whsec_") || strings.Count(w.rows(nordlicht), "https://new.") != 1 {
		t.Errorf("the form sent twice: %d", again.Code)
	}
}

// The form of a replay that is sent twice starts one, and another form another one.
func TestOneReplayOfOneForm(t *testing.T) {
	w := newWorld(t, "")
	b, form := w.open(nordlicht, all), w.of[nordlicht].form("replays/new", "nordlicht")
	started := func(once string) string {
		form.Set("once", once)
		a := b.post("replays/new", form)
		if a.Code != 303 {
			t.Fatalf("%d %s", a.Code, a.Body)
		}
		return a.Header().Get("Location")
	}
	first := started("one")
	if again := started("one"); again != first {
		t.Errorf("the form sent twice started %s and %s", first, again)
	}
	if other := started("two"); other == first {
		t.Errorf("two forms started %s", first)
	}
	long := strings.Repeat("k", 50_000) + "\x00\xff"
	if first := started(long); started(long) != first {
		t.Error("a form with a long key, sent twice, started two")
	}
	preview := w.of[nordlicht].form("replays/new", "nordlicht")
	preview.Set("do", "preview")
	if body := b.post("replays/new", preview).Body.String(); !regexp.MustCompile(`name="once" value="[A-Z0-9]{26}"`).MatchString(body) {
		t.Errorf("the form has no key of its own:\n%s", body)
	}
}

// Text that would be markup changes the words of a page, and nothing of its structure.
func TestHostileText(t *testing.T) {
	hostile := []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg/onload=alert(1)>`, `{{.}} {{$.T "x"}}`, `javascript:alert(1)`, "</pre></main><h1>x", `&lt;b&gt; &amp; &#x3c;`, "\u202eabc\u2066", `<!-- --><a href="https://evil.example">`, `\u003cscript\u003e`, "]]>", strings.Repeat("<b>", 30)}
	tree := func(n *html.Node) string {
		var b strings.Builder
		var walk func(*html.Node)
		walk = func(n *html.Node) {
			if n.Type == html.ElementNode {
				b.WriteString("<" + n.Data)
				for _, a := range n.Attr {
					b.WriteString(" " + a.Key)
				}
			}
			for c := n.FirstChild; c != nil; c = c.NextSibling {
				walk(c)
			}
			if n.Type == html.ElementNode {
				b.WriteString(">")
			}
		}
		walk(n)
		return b.String()
	}
	plain := map[string]string{}
	for i, words := range append([]string{"harmless"}, strings.Join(hostile[:6], " "), strings.Join(hostile[6:], " ")) {
		w := newWorld(t, words)
		b := w.open(nordlicht, all)
		for name, path := range pagesOf(w.of[nordlicht]) {
			a := b.get(path)
			got := tree(parsed(t, a))
			if i == 0 {
				plain[name] = got
				continue
			}
			if got != plain[name] {
				t.Errorf("%s: %s\nwith harmless text: %s", name, got, plain[name])
			}
			if strings.ContainsAny(a.Body.String(), "\u202e\u2066") && slices.Contains([]string{"delivery", "event"}, name) {
				t.Errorf("%s has characters that change the direction of payloads", name)
			}
		}
	}
	// The control: unescaped, the same text would change the structure.
	n, err := html.Parse(strings.NewReader("<p>" + hostile[1] + "</p>"))
	if err != nil || find(n, "img") == nil {
		t.Error("control: the text is harmless")
	}
}

var place = regexp.MustCompile(`\{[a-z]+\}`)

// The two catalogues have the same keys and places, and none is empty, unused or missing.
func TestCatalogues(t *testing.T) {
	en, de := portal.Texts("en"), portal.Texts("de")
	for key, text := range en {
		other, ok := de[key]
		if !ok || text == "" || other == "" {
			t.Errorf("%s: %q and %q", key, text, other)
		}
		places := func(s string) string {
			found := place.FindAllString(s, -1)
			slices.Sort(found)
			return strings.Join(slices.Compact(found), " ")
		}
		if places(text) != places(other) {
			t.Errorf("%s has the places %s and %s", key, places(text), places(other))
		}
	}
	for key := range de {
		if _, ok := en[key]; !ok {
			t.Errorf("%s is German only", key)
		}
	}
	for key, text := range de { // spans stand at the ends of sentences
		if strings.HasPrefix(key, "unit.") && (strings.HasSuffix(text, ".") || strings.HasSuffix(en[key], ".")) {
			t.Errorf("%s ends with a full stop: %q and %q", key, en[key], text)
		}
	}
	var source strings.Builder
	for _, pattern := range []string{"*.go", "templates/*.html"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(raw)
		}
	}
	all := source.String()
	families := []string{"menu.", "state.", "unit.", "class.", "reason.", "trigger.", "why.", "cause.", "error.", "done.", "tab.", "since.", "verification.", "replay.source_", "timing.", "asked.", "ahead."}
	for key := range en {
		if !strings.Contains(all, `"`+key+`"`) && !slices.ContainsFunc(families, func(f string) bool { return strings.HasPrefix(key, f) }) {
			t.Errorf("%s is not used", key)
		}
	}
	for _, m := range regexp.MustCompile(`(?:\.T\(?|Heading: |Says: )\s?"([a-z0-9_.]+)"`).FindAllStringSubmatch(all, -1) {
		if _, ok := en[m[1]]; !ok && !strings.HasSuffix(m[1], ".") && !strings.HasSuffix(m[1], "_") {
			t.Errorf("%s is missing", m[1])
		}
	}
	for _, c := range []hook.Class{hook.ClassStatus, hook.ClassRedirect, hook.ClassGone, hook.ClassBlockedAddress, hook.ClassURLRefused, hook.ClassDNSNotFound, hook.ClassDNSTimeout, hook.ClassDNSFailed, hook.ClassRefused, hook.ClassReset,
		hook.ClassConnectTimeout, hook.ClassTLSTimeout, hook.ClassTimeout, hook.ClassConnectFailed, hook.ClassTLSExpired, hook.ClassTLSUntrusted, hook.ClassTLSName, hook.ClassTLSHandshake, hook.ClassHeadersTooLarge, hook.ClassResponseInvalid, hook.ClassTruncated, hook.ClassNotSent} {
		if en["class."+string(c)] == "" {
			t.Errorf("class %s has no words", c)
		}
	}
	for _, r := range []hook.Reason{hook.ReasonPolicyEnded, hook.ReasonGone, hook.ReasonHeldExpired, hook.ReasonDisabled, hook.ReasonTripped, hook.ReasonAway, hook.ReasonUnverified, hook.ReasonByHand, hook.ReasonEndpointDeleted, hook.ReasonDiscarded, hook.ReasonTestFailed} {
		if en["reason."+string(r)] == "" {
			t.Errorf("reason %s has no words", r)
		}
	}
}

// No template has a letter of its own: every word comes from the catalogue.
func TestTemplatesHaveNoWords(t *testing.T) {
	w := newWorld(t, "")
	words := func(source string) (found []string) {
		z := html.NewTokenizer(strings.NewReader(strings.NewReplacer("<noscript>", "", "</noscript>", "").Replace(source)))
		for {
			switch z.Next() {
			case html.ErrorToken:
				return found
			case html.StartTagToken, html.SelfClosingTagToken:
				for _, a := range z.Token().Attr {
					if slices.Contains([]string{"aria-label", "title", "alt", "placeholder"}, a.Key) && strings.ContainsFunc(a.Val, unicode.IsLetter) {
						found = append(found, a.Key+"="+a.Val)
					}
				}
			case html.TextToken:
				text := strings.NewReplacer("POST", "", "Host:", "", "***", "").Replace(string(z.Text())) // what is sent, not words
				if strings.ContainsFunc(text, unicode.IsLetter) {
					found = append(found, text)
				}
			}
		}
	}
	for name, all := range w.handler.Templates() {
		for _, one := range all.Templates() {
			if one.Tree == nil {
				continue
			}
			var b strings.Builder
			var walk func(parse.Node)
			walk = func(n parse.Node) {
				switch n := n.(type) {
				case *parse.ListNode:
					if n != nil {
						for _, c := range n.Nodes {
							walk(c)
						}
					}
				case *parse.TextNode:
					b.Write(n.Text)
				case *parse.ActionNode:
					b.WriteString("0")
				case *parse.IfNode:
					walk(n.List)
					walk(n.ElseList)
				case *parse.RangeNode:
					walk(n.List)
					walk(n.ElseList)
				case *parse.WithNode:
					walk(n.List)
					walk(n.ElseList)
				}
			}
			walk(one.Tree.Root)
			if found := words(b.String()); len(found) > 0 {
				t.Errorf("%s %s: %q", name, one.Name(), found)
			}
		}
	}
	if len(words("<p>Hello</p>")) == 0 || len(words(`<p title="Hello">0</p>`)) == 0 || len(words(`<p class="x">0</p>`)) > 0 {
		t.Error("control: the check finds nothing, or too much")
	}
}

// A German page has no sentence of the English catalogue.
func TestGermanPagesAreGerman(t *testing.T) {
	w := newWorld(t, "")
	b := w.open(nordlicht, all, func(x *rules.Wanted) { x.Locale = "de" })
	en, de := portal.Texts("en"), portal.Texts("de")
	for name, path := range pagesOf(w.of[nordlicht]) {
		page := "\n" + text(find(parsed(t, b.get(path)), "body"))
		for key, english := range en {
			if english == de[key] || len(english) < 5 || strings.ContainsAny(english, "{:") || key == "state.any" {
				continue
			}
			if strings.Contains(page, "\n"+english+"\n") || strings.Contains(page, english) && strings.Contains(english, " ") {
				t.Errorf("%s says %q (%s)", name, english, key)
			}
		}
		if !strings.Contains(page, "Endpunkte") {
			t.Errorf("control: %s is not German", name)
		}
	}
	if a := b.get("?lang=en"); !strings.Contains(a.Body.String(), `<html lang="en"`) || !strings.Contains(a.Body.String(), "/endpoints?lang=en") {
		t.Error("a chosen language does not stay")
	}
	german := func(h http.Header) { h.Set("Accept-Language", "fr;q=0.2, de-AT, en;q=0.5") }
	if a := w.open(nordlicht, nil).get("", german); !strings.Contains(a.Body.String(), `<html lang="de"`) {
		t.Error("the browser's language is not used")
	}
}

// Pages and the download show a payload without what its type redacts, and say so. The
// control is the same before.
func TestRedactedPayloads(t *testing.T) {
	w := newWorld(t, "canary-note")
	b, it := w.open(nordlicht, all), w.of[nordlicht]
	pages := []string{"events/" + it.event.String(), "events/" + it.event.String() + "?view=raw", "events/" + it.event.String() + "/data", "deliveries/" + it.delivery.String()}
	const note = `"note":"canary-note`
	has := func(a *httptest.ResponseRecorder) bool {
		return strings.Contains(strings.ReplaceAll(stdhtml.UnescapeString(a.Body.String()), " ", ""), note)
	}
	for _, path := range pages {
		if a := b.get(path); a.Code != 200 || !has(a) {
			t.Errorf("control: %s: %d %s", path, a.Code, a.Body)
		}
	}
	_, err := w.app.UpdateEventType(w.ctx, w.admins[hook.Live], "payment.settled", app.EventTypeChange{Redact: &[]string{"/note"}})
	w.must(err)
	for _, path := range pages {
		a := b.get(path)
		says := strings.Contains(a.Body.String(), "Not shown here: /note") || strings.Contains(a.Header().Get("Content-Disposition"), "-redacted.json")
		if a.Code != 200 || !says || has(a) {
			t.Errorf("%s: %d %s", path, a.Code, a.Body)
		}
	}
}
