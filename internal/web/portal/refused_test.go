package portal_test

import (
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/posthorn/posthorn/internal/hook"
	rules "github.com/posthorn/posthorn/internal/portal"
	"github.com/posthorn/posthorn/internal/web/portal"
)

// What a form is refused for is said in the language of the page, beside what was filled in,
// and nothing is stored.
func TestRefusedForms(t *testing.T) {
	w := newWorld(t, "")
	it, before := w.of[nordlicht], w.rows(nordlicht)
	for _, one := range []struct {
		path, change, value, says, german string
		kept                              string // what was filled in
	}{
		{"endpoints/new", "types", "", "Choose at least one event type", "Wählen Sie mindestens einen Ereignistyp", "https://new.nordlicht.example/"},
		{"endpoints/new", "rate", "many", "The limit must be a number", "Die Grenze muss eine Zahl sein", `value="many"`},
		{"endpoints/new", "headers", "X-Token", "Each line must have a name", "Jede Zeile braucht einen Namen", ">X-Token</textarea>"},
		{"endpoints/{id}/settings", "rate", "many", "The limit must be a number", "Die Grenze muss eine Zahl sein", `value="Changed"`},
		{"endpoints/{id}/delete", "host", "hooks.example", "Nothing was deleted", "Nichts wurde gelöscht", `name="host"`},
	} {
		for lang, says := range map[string]string{"en": one.says, "de": one.german} {
			b, form := w.open(nordlicht, all, func(x *rules.Wanted) { x.Locale = lang }), it.form(one.path, "nordlicht")
			form.Set(one.change, one.value)
			a := b.post(it.path(portal.Route{Path: one.path}), form)
			if body := html.UnescapeString(a.Body.String()); a.Code != 422 || !strings.Contains(body, says) || !strings.Contains(body, one.kept) || !strings.Contains(body, `aria-invalid="true"`) {
				t.Errorf("%s %s with %q: %d\n%s", lang, one.path, one.value, a.Code, main(t, a))
			}
		}
	}
	if after := w.rows(nordlicht); after != before {
		t.Errorf("stored: %s\nbefore: %s", after, before)
	}
	b := w.open(nordlicht, all) // the control: without what is wrong, each is accepted
	for _, path := range []string{"endpoints/new", "endpoints/{id}/settings", "endpoints/{id}/delete"} {
		if a := b.post(it.path(portal.Route{Path: path}), it.form(path, "nordlicht")); a.Code != 200 && a.Code != 303 {
			t.Errorf("control: %s: %d %s", path, a.Code, main(t, a))
		}
	}
}

// An endpoint that nothing is held for is enabled with one button; the control has two.
func TestEnableAsksOnlyAboutWhatIsHeld(t *testing.T) {
	w := newWorld(t, "")
	b, it := w.open(nordlicht, all), w.of[nordlicht]
	b.post("endpoints/"+it.endpoint.String()+"/disable", nil) // one delivery waits for it
	b.post("endpoints/"+it.other.String()+"/disable", nil)
	for held := 0; held == 0; runtime.Gosched() { // a sweep holds it a moment later
		e, err := w.app.Endpoint(w.ctx, w.admins[hook.Live], it.endpoint)
		w.must(err)
		held = e.Held
	}
	for id, buttons := range map[hook.ID]int{it.endpoint: 2, it.other: 1} {
		a := b.get("endpoints/" + id.String() + "/enable")
		if got := strings.Count(a.Body.String(), "/enable\""); got != buttons {
			t.Errorf("%d buttons, want %d:\n%s", got, buttons, main(t, a))
		}
	}
}

// The preview of a replay warns if its endpoint fails, and only then.
func TestPreviewOfAReplayToAFailingEndpoint(t *testing.T) {
	w := newWorld(t, "")
	b, it := w.open(nordlicht, all), w.of[nordlicht]
	for id, warns := range map[hook.ID]bool{it.endpoint: true, it.other: false} {
		a := b.post("replays/new", url.Values{"endpoint": {id.String()}, "source": {"all"}, "do": {"preview"}})
		if got := strings.Contains(main(t, a), "Send a test event first"); a.Code != 200 || got != warns {
			t.Errorf("%d, warned %v, want %v:\n%s", a.Code, got, warns, main(t, a))
		}
	}
}

// A Retry-After is shown with what became of it.
func TestWhatReceiversAskFor(t *testing.T) {
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	asked := hook.Attempt{Number: 1, At: at(0), Duration: time.Second, Status: 503, Class: hook.ClassStatus, ResponseHeaders: []byte("Retry-After: 240\n")}
	silent := asked
	silent.ResponseHeaders = []byte("Server: x\n")
	row := func(state hook.State, due int) (r hook.DeliveryRow) {
		if r.State = state; due > 0 {
			r.Due = at(due)
		}
		return r
	}
	next := func(s int, by hook.Trigger) []hook.Attempt {
		return []hook.Attempt{asked, {Number: 2, At: at(s), Trigger: by}}
	}
	for _, one := range []struct {
		row      hook.DeliveryRow
		attempts []hook.Attempt
		says     string
	}{
		{row(hook.Pending, 241), []hook.Attempt{asked}, "We do: the next attempt is 4 min after this one."},
		{row(hook.Pending, 3601), []hook.Attempt{asked}, "The next attempt comes later anyway, 1 h after this one."},
		{row(hook.Pending, 61), []hook.Attempt{asked}, "We do not wait that long: the next attempt is 1 min after this one."},
		{row(hook.Pending, 0), []hook.Attempt{asked}, ""},
		{row(hook.Held, 0), []hook.Attempt{asked}, ""},
		{row(hook.Failed, 0), []hook.Attempt{asked}, "There is no further attempt."},
		{row(hook.Pending, 9000), next(242, hook.BySchedule), "We did: the next attempt came 4 min 1 s after this one."},
		{row(hook.Succeeded, 0), next(3601, hook.BySchedule), "The next attempt came later anyway, 1 h after this one."},
		{row(hook.Succeeded, 0), next(31, hook.BySchedule), "We did not wait that long: the next attempt came 30 s after this one."},
		{row(hook.Succeeded, 0), next(5, hook.ByHand), "Then it was sent again by hand."},
	} {
		want := strings.TrimSpace("Your receiver asked to wait 4 min (Retry-After). " + one.says)
		if got := portal.Asked("en", one.row, one.attempts, 0); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if got := portal.Asked("de", one.row, one.attempts, 0); !strings.HasPrefix(got, "Ihr Empfänger bat, 4 min zu warten (Retry-After).") {
			t.Error(got)
		}
	}
	if got := portal.Asked("en", row(hook.Pending, 241), []hook.Attempt{silent}, 0); got != "" { // the control
		t.Errorf("nothing was asked, and the note says %q", got)
	}
}

// An endpoint that fails says what comes next, by the rule in force.
func TestWhatFailuresLeadTo(t *testing.T) {
	failing := hook.Health{Failures: 3, FirstFailureAt: start.Add(-time.Hour)}
	for _, one := range []struct {
		rule hook.Trip
		of   hook.Health
		says string
	}{
		{hook.Trip{Count: hook.TripDuration, N: 10, For: 25 * time.Hour}, failing, "Unless an attempt succeeds, it is disabled in 1 d at the earliest, and what comes is held."},
		{hook.Trip{Count: hook.TripDuration, N: 10, For: time.Hour}, failing, "It is disabled with one of its next failures, and what comes is held."},
		{hook.Trip{Count: hook.TripAttempts, N: 10}, failing, "After 7 more failures in a row it is disabled, and what comes is held."},
		{hook.Trip{Count: hook.TripAttempts, N: 4}, failing, "If the next attempt fails too, it is disabled, and what comes is held."},
		{hook.Trip{Count: hook.TripDeliveries, N: 5}, failing, "After 2 more deliveries that are given up it is disabled, and what comes is held."},
		{hook.Trip{}, failing, ""},
		{hook.Trip{Count: hook.TripAttempts}, failing, ""},
		{hook.Trip{Count: hook.TripAttempts, N: 10}, hook.Health{}, ""}, // the control: nothing failed
	} {
		if got := portal.Ahead("en", one.rule, one.of, start); got != one.says {
			t.Errorf("%+v: %q, want %q", one.rule, got, one.says)
		}
	}
}

// blocks end a paragraph, whatever the source says: the rest of it stands outside.
var blocks = []string{"div", "form", "pre", "ul", "ol", "dl", "table", "section", "fieldset", "h2", "p"}

// broken returns the blocks inside paragraphs.
func broken(source string) (found []string) {
	z, in := html.NewTokenizer(strings.NewReader(source)), false
	for {
		switch z.Next() {
		case html.ErrorToken:
			return found
		case html.StartTagToken:
			name, _ := z.TagName()
			if in && slices.Contains(blocks, string(name)) {
				found = append(found, string(name))
			}
			in = in || string(name) == "p"
		case html.EndTagToken:
			if name, _ := z.TagName(); string(name) == "p" {
				in = false
			}
		}
	}
}

func TestParagraphsHoldNoBlocks(t *testing.T) {
	w := newWorld(t, "")
	b, it := w.open(nordlicht, all), w.of[nordlicht]
	bodies := map[string]string{"made": b.post("endpoints/new", it.form("endpoints/new", "nordlicht")).Body.String(), "left": w.open(nordlicht, all).post("leave", nil).Body.String()}
	for name, path := range pagesOf(it) {
		bodies[name] = b.get(path).Body.String()
	}
	for name, body := range bodies {
		if found := broken(body); len(found) > 0 {
			t.Errorf("%s has %q in paragraphs", name, found)
		}
	}
	if len(broken(`<p class="x">a<form></form></p>`)) != 1 || len(broken("<p>a</p><form></form>")) != 0 {
		t.Error("control: the check finds nothing, or too much")
	}
}
