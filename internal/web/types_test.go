package web_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
)

func TestPageOfAnEventType(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	page := b.get("/ui/live/types/order%2Fcreated").body
	for _, want := range []string{"1, 1 of them enabled, of 1 tenants", "<dt>Group</dt>", "Deprecated.", `href="/ui/live/types/order%2Fmade"`, "Tenants do not see this type",
		"Version 2, for events that name none", "Since version 1", "<strong>breaking</strong> <code>/&lt;script&gt;", "The member is gone.", `aria-label="Schema of version 1"`, `aria-label="Example of version 2"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if i, j := strings.Index(page, ">Version 2"), strings.Index(page, ">Version 1"); i < 0 || j < i {
		t.Error("the newest version is not the first")
	}
	list := b.get("/ui/live/types").body
	for _, want := range []string{"Deprecated: use order/made · Hidden from tenants", ">2</td>", ">1</td>"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %q:\n%s", want, list)
		}
	}
	if _, err := w.API.CreateEventType(t.Context(), client.NewEventType{Name: "plain.one", Group: "Plain"}); err != nil { // control
		t.Fatal(err)
	}
	page = b.get("/ui/live/types/plain.one").body
	for _, no := range []string{"Deprecated", "Hidden", "Since version"} {
		if strings.Contains(page, no) {
			t.Errorf("a plain type: the page has %q", no)
		}
	}
	if list := b.get("/ui/live/types?q=Plain").body; !strings.Contains(list, "plain.one") || strings.Contains(list, "order/created") {
		t.Error("the list is not narrowed by group")
	}
}
