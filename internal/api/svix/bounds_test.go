package svix_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// attempts adds n failed attempts to each delivery of the tenant, with responses of more
// than size bytes that differ.
func (h *testAPI) attempts(n, size int) {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+h.file+"?_pragma=busy_timeout(10000)")
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, statement := range []string{
		fmt.Sprintf(`WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)
		INSERT OR IGNORE INTO attempts (event, endpoint, number, mode, tenant, at, duration_us, status, class, message, trigger_by, response_body, truncated)
		SELECT event, endpoint, n, mode, tenant, 1000000 * n, 5, 500, 'status', 'It answered 500.', 0, CAST(hex(zeroblob(%d)) || hex(id) || n AS BLOB), 0 FROM deliveries, n`, size/2),
		`UPDATE deliveries SET attempts = ?`,
	} {
		if _, err := db.ExecContext(h.t.Context(), statement, n); err != nil {
			h.t.Fatal(err)
		}
	}
}

// list is a page of attempts or messages.
type list struct {
	Data []struct {
		ID, MsgID, Response string
		Payload             json.RawMessage
		Msg                 *struct{ Payload json.RawMessage }
	}
	Iterator, PrevIterator string
	Done                   bool
}

// page reads a page of a list, and the size of the answer.
func (h *testAPI) page(path string) (p list, size int) {
	h.t.Helper()
	got := h.api("GET", root+path, operatorKey, "")
	if err := json.Unmarshal([]byte(got.text), &p); err != nil || got.status != 200 {
		h.t.Fatalf("%s: %d %v %.300s", path, got.status, err, got.text)
	}
	return p, len(got.text)
}

func (h *testAPI) endpoints(n int) (last string) {
	h.t.Helper()
	h.tenant("acme", hook.Live)
	for i := range n {
		got := h.api("POST", root+"app/acme/endpoint", operatorKey, fmt.Sprintf(`{"url":"https://example.com/%d"}`, i))
		last, _ = got.object(h.t)["id"].(string)
	}
	return last
}

func (h *testAPI) message(size int) (id string) {
	h.t.Helper()
	got := h.api("POST", root+"app/acme/msg", operatorKey, `{"eventType":"a.b","payload":{"x":"`+strings.Repeat("x", size)+`"}}`)
	id, _ = got.object(h.t)["id"].(string)
	if got.status != 202 {
		h.t.Fatal(got.status, got.text)
	}
	return id
}

// Every attempt of a message has its response, also where all responses together are more
// than an answer may hold.
func TestAttemptsOfAMessageInPages(t *testing.T) {
	h := newTestAPI(t)
	h.endpoints(5)
	msg := h.message(1)
	h.attempts(100, 16<<10) // 8 MiB of responses
	seen := map[string]bool{}
	from := ""
	for pages := 0; ; pages++ {
		p, size := h.page("app/acme/attempt/msg/" + msg + "?limit=100&iterator=" + from)
		if len(p.Data) != 100 || size > 2<<20 {
			t.Fatalf("page %d: %d attempts, %d bytes", pages, len(p.Data), size)
		}
		for _, one := range p.Data {
			if seen[one.Response] || len(one.Response) < 16<<10 {
				t.Fatalf("%s: a response of %d bytes, seen before: %v", one.ID, len(one.Response), seen[one.Response])
			}
			seen[one.Response] = true
		}
		if from = p.Iterator; p.Done {
			break
		}
	}
	if len(seen) != 500 {
		t.Errorf("%d responses", len(seen))
	}
	if p, size := h.page("app/acme/attempt/msg/" + msg + "?limit=100&with_content=false"); len(p.Data) != 100 || size > 100<<10 {
		t.Errorf("without content: %d attempts, %d bytes", len(p.Data), size)
	}
}

// A message with more attempts than can be sorted in memory is listed endpoint by endpoint.
func TestAttemptsOfAMessageAreBounded(t *testing.T) {
	h := newTestAPI(t)
	ep := h.endpoints(12)
	msg := h.message(1)
	h.attempts(999, 2)
	path := root + "app/acme/attempt/msg/" + msg
	if got := h.api("GET", path, operatorKey, ""); got.status != 422 || !strings.Contains(got.text, `["query","endpoint_id"]`) {
		t.Errorf("%d %.300s", got.status, got.text)
	}
	if got := h.api("GET", path+"?endpoint_id="+ep, operatorKey, ""); got.status != 200 { // control
		t.Errorf("%d %.300s", got.status, got.text)
	}
}

// Attempts with their messages end a page early rather than fill the memory.
func TestAttemptsWithMessagesAreBounded(t *testing.T) {
	h := newTestAPI(t)
	ep := h.endpoints(1)
	const messages = 25
	for range messages {
		h.message(250_000)
	}
	h.attempts(1, 2)
	seen, pages, from := map[string]bool{}, 0, ""
	for done := false; !done; pages++ {
		p, size := h.page("app/acme/attempt/endpoint/" + ep + "?with_msg=true&limit=250&iterator=" + from)
		if len(p.Data) == 0 || size > 5<<20 {
			t.Fatalf("page %d: %d attempts, %d bytes", pages, len(p.Data), size)
		}
		for _, one := range p.Data {
			if seen[one.MsgID] = true; len(one.Msg.Payload) < 250_000 {
				t.Fatalf("%s: a payload of %d bytes", one.ID, len(one.Msg.Payload))
			}
		}
		from, done = p.Iterator, p.Done
	}
	if len(seen) != messages || pages < 2 {
		t.Errorf("%d of %d messages on %d pages", len(seen), messages, pages)
	}
}
