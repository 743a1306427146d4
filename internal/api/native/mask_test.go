package native_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// The query of an endpoint's URL often contains a token. It is stored and never shown.
// The names of its parameters are shown, and a masked URL can be sent back.
func TestQueriesOfURLsAreMasked(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	const kept, shown = "https://hooks.example.com/in?token=canary-1&v=canary-2", "https://hooks.example.com/in?token=***&v=***"
	body := `{"tenant":"acme","url":"` + kept + `","event_types":["*"]}`
	answers := []string{h.do(post("/v1/endpoints", body)).Body.String()}
	made := want[client.Page[client.Endpoint]](h, 200, get("/v1/endpoints")).Data[0]
	id, err := hook.ParseID(made.ID)
	if err != nil {
		t.Fatal(err)
	}
	event := h.event("acme", "a.b").ID
	one := "/v1/endpoints/" + made.ID
	for _, path := range []string{one, "/v1/endpoints", "/v1/events/" + event + "/explain?tenant=acme"} {
		answers = append(answers, h.do(get(path)).Body.String())
	}
	patch := func(status int, body string) {
		t.Helper()
		w := h.do(call{"PATCH", one, liveKey, body, nil})
		if w.Code != status {
			t.Errorf("PATCH %s: %d %s", body, w.Code, w.Body)
		}
		if status == 200 {
			answers = append(answers, w.Body.String())
		}
	}
	stored := func() string {
		t.Helper()
		e, err := h.store.Endpoint(t.Context(), hook.Scope{Tenant: "acme", Mode: hook.Live}, id)
		if err != nil {
			t.Fatal(err)
		}
		return e.URL
	}
	patch(200, `{"title":"T"}`)
	patch(200, `{"url":"`+shown+`"}`)
	if got := stored(); got != kept {
		t.Errorf("sent back as shown, and the URL is %s", got)
	}
	for i, text := range answers {
		if strings.Contains(text, "canary") || !strings.Contains(text, shown) {
			t.Errorf("answer %d: %s", i, text)
		}
	}
	patch(422, `{"url":"https://hooks.example.com/moved?token=***&v=***"}`)
	refused(h, 422, hook.CodeURLInvalid, "url", post("/v1/endpoints", strings.Replace(body, "canary-1", "***", 1)))
	if got := stored(); got != kept {
		t.Errorf("a refused change made the URL %s", got)
	}
	answers = nil
	patch(200, `{"url":"https://hooks.example.com/moved?token=other"}`)
	if got := stored(); got != "https://hooks.example.com/moved?token=other" || !strings.Contains(answers[0], "/moved?token=***") {
		t.Errorf("a new URL: %s, %v", got, answers)
	}
}
