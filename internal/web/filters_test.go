package web_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
)

// rowsOf returns the ids of the rows of a list.
func rowsOf(page string) (ids []string) {
	for _, found := range regexp.MustCompile(`<tr data-id="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		ids = append(ids, found[1])
	}
	return ids
}

// chipsOf returns the text of the chips above a list, by name.
func chipsOf(page string) map[string]string {
	found := map[string]string{}
	chips := page[strings.Index(page, `<nav class="chips"`):]
	for _, one := range regexp.MustCompile(`(?s)<a class="chip[^>]*>(.*?)</a>`).FindAllStringSubmatch(chips[:strings.Index(chips, "</nav>")], -1) {
		name, n, _ := strings.Cut(strings.TrimSpace(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(one[1], "")), " ")
		found[name] = n
	}
	return found
}

// holding makes an endpoint with one held delivery.
func (w *world) holding() client.Delivery {
	w.T.Helper()
	ctx := w.T.Context()
	e := w.Endpoint(client.NewEndpoint{EventTypes: []string{"held"}, Retry: &client.Retry{Steps: []string{"1h"}}})
	w.Publish("held", "{}")
	if _, err := w.API.UpdateEndpoint(ctx, e.ID, client.EndpointPatch{Enabled: client.Set(false)}); err != nil {
		w.T.Fatal(err)
	}
	var one client.Delivery
	w.Until("the delivery is held", func() bool {
		page, err := w.API.Deliveries(ctx, client.DeliveryQuery{Endpoint: e.ID, State: "held"})
		if err != nil || len(page.Data) != 1 {
			return false
		}
		one = page.Data[0]
		return true
	})
	return one
}

// The list of deliveries is narrowed by several states and by the status of the answer, in the
// forms that the form and the API have, and the equal command and request say the same.
func TestDeliveriesByStatesAndStatus(t *testing.T) {
	w := newWorld(t)
	b, held := w.browser(w.Config.OperatorKey), w.holding()
	for query, want := range map[string][]string{
		"":                              {held.ID, w.delivery},
		"state=held&state=pending":      {held.ID, w.delivery},
		"state=held,pending":            {held.ID, w.delivery},
		"state=held&tenant=acme":        {held.ID},
		"state=failed&state=cancelled":  nil,
		"state=pending&tried=yes":       {w.delivery},
		"state=pending&tried=no":        nil,
		"status=500&state=pending":      {w.delivery},
		"status=5xx&state=pending":      {w.delivery},
		"status=4xx,+5XX&state=pending": {w.delivery},
		"status=503":                    nil,
		"status=2xx":                    nil,
	} {
		a := b.get("/ui/live/deliveries?" + query)
		if got := rowsOf(a.body); a.status != 200 || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %d %v, want %v", query, a.status, got, want)
		}
	}
	for _, query := range []string{"status=600", "status=1xx", "status=5", "status=503,504", "status=xx", "state=held&state=lost"} {
		if a := b.get("/ui/live/deliveries?" + query); a.status != 200 || !strings.Contains(a.body, "cannot be narrowed like this") || len(rowsOf(a.body)) > 0 {
			t.Errorf("%s is not refused: %v", query, rowsOf(a.body))
		}
	}
	a := b.get("/ui/live/deliveries?state=held&state=failed&status=5xx&tried=yes")
	for _, want := range []string{`name="state" value="held" checked`, `name="state" value="failed" checked`, `value="5xx"`, "--state &#39;held,failed&#39; --tried true --status-class 5xx", "state=held%2Cfailed", "status_class=5xx", "state failed <span", `href="/ui/live/deliveries?state=failed&amp;status=5xx&amp;tried=yes" title="Drop`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if strings.Contains(a.body, `value="pending" checked`) {
		t.Error("a state is ticked that was not chosen")
	}
}

// The chips have the numbers of the tenant or the endpoint, and none if the list is narrowed
// by more.
func TestChipsHaveNumbers(t *testing.T) {
	w := newWorld(t)
	b, held := w.browser(w.Config.OperatorKey), w.holding()
	for query, want := range map[string]string{"": "0 1 1 0", "state=failed": "0 1 1 0", "tenant=acme": "0 1 1 0", "tenant=hostile": "0 0 0 0", "endpoint=" + url.QueryEscape(held.Endpoint): "0 0 1 0", "tenant=acme&type=held": "   ", "since=1h": "   "} {
		got := chipsOf(b.get("/ui/live/deliveries?" + query).body)
		if numbers := strings.Join([]string{got["Pending"], got["Retrying"], got["Held"], got["Failed"]}, " "); numbers != want || got["Delivered"] != "" {
			t.Errorf("%s: %q, want %q", query, numbers, want)
		}
	}
}

// The list of endpoints says what waits for each, what is held, and when it was last delivered.
func TestEndpointRowsSayWhatWaits(t *testing.T) {
	w := newWorld(t)
	b, held := w.browser(w.Config.OperatorKey), w.holding()
	cells := func(page, id string) (out []string) {
		row := page[strings.Index(page, `<tr data-id="`+id):]
		for _, name := range []string{"w-", "e-", "l-"} {
			_, rest, _ := strings.Cut(row, `data-live="`+name+id+`">`)
			cell, _, _ := strings.Cut(rest, "</td>")
			out = append(out, regexp.MustCompile(`<[^>]*>`).ReplaceAllString(cell, ""))
		}
		return out
	}
	for _, path := range []string{"/ui/live/endpoints", "/ui/live/tenants/acme"} {
		page := b.get(path).body
		if got := strings.Join(cells(page, w.endpoint.ID), "|"); got != "1|0|not in 24 h" {
			t.Errorf("%s: %s", path, got)
		}
		if got := strings.Join(cells(page, held.Endpoint), "|"); got != "0|1|not in 24 h" {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// The page of a profile says which endpoints of the mode use it.
func TestProfilesSayWhoUsesThem(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey, w.Config.OperatorTestKey)
	uses := func(path string) string {
		_, box, _ := strings.Cut(b.get(path).body, `<h2 id="h-u">Who uses it</h2>`)
		box, _, _ = strings.Cut(box, "</section>")
		return box
	}
	if box := uses("/ui/live/profiles/standard"); !strings.Contains(box, "/ui/live/endpoints/"+w.endpoint.ID) || !strings.Contains(box, "Failing") {
		t.Errorf("the endpoint is not listed: %s", box)
	}
	for _, path := range []string{"/ui/live/profiles/paywise", "/ui/test/profiles/standard"} {
		if box := uses(path); strings.Contains(box, "<li>") || !strings.Contains(box, "No endpoint in this mode") {
			t.Errorf("%s: %s", path, box)
		}
	}
}
