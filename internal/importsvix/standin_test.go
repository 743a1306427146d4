package importsvix

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// token is the token of the stand-in.
const token = "testsk_secret-of-the-stand-in.eu"

// standIn is a server that answers like Svix, from what it is made of.
type standIn struct {
	*httptest.Server
	types     []eventType
	apps      []application
	endpoints map[string][]endpoint // by the id of the application, ascending
	headers   map[string]headers    // by the id of the endpoint; others have none
	secrets   map[string]string     // by the id of the endpoint; others have secretOf
	hosted    bool                  // it has transformations and destinations
	more      map[string]string     // further routes: path below /api/v1/ and answer
	gone      []string              // ids that lists still have, and below which nothing is found

	mu       sync.Mutex
	requests int
	hook     func(n int, w http.ResponseWriter) bool // for each request, counted from 1; true: it was answered
}

// id returns a text in the form of Svix's ids, in the order of n.
func id(prefix string, n int) string { return fmt.Sprintf("%s2Zzzzzzzzzzzzzzzzzz%08d", prefix, n) }

func secretOf(id string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte((id + strings.Repeat("s", 32))[:32]))
}

func newStandIn(t *testing.T) *standIn {
	t.Helper()
	s := &standIn{endpoints: map[string][]endpoint{}, headers: map[string]headers{}, secrets: map[string]string{}, more: map[string]string{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// fill makes applications with five endpoints each; every second one has uids.
func (s *standIn) fill(applications int) {
	for _, name := range []string{"invoice.paid", "invoice.void", "old.type"} {
		s.types = append(s.types, eventType{Name: name, Description: "About " + name, Archived: name == "old.type",
			Schemas: &map[string]json.RawMessage{"1": json.RawMessage(`{"type":"object","required":["id"]}`)}})
	}
	for i := range applications {
		a := application{ID: id("app_", i), Name: fmt.Sprint("Application ", i), Metadata: map[string]string{"row": fmt.Sprint(i)}}
		if i%2 == 0 {
			a.UID = new(fmt.Sprint("tenant-", i))
		}
		s.apps = append(s.apps, a)
		for j := range 5 {
			e := endpoint{ID: id("ep_", i*10+j), URL: fmt.Sprintf("http://127.0.0.1:19999/%d/%d?key=k%d", i, j, j), Description: fmt.Sprint("Endpoint ", j),
				Disabled: j == 3, Metadata: map[string]string{}}
			if a.UID != nil {
				e.UID = new(fmt.Sprint("ep-", j))
			}
			switch j {
			case 1:
				e.Types = &[]string{"invoice.paid", "old.type"}
				e.Metadata["j"] = "1"
			case 2:
				e.Throttle = new(50)
				s.headers[e.ID] = headers{Headers: map[string]string{"X-Tenant": fmt.Sprint("value-", i)}}
			}
			s.endpoints[a.ID] = append(s.endpoints[a.ID], e)
		}
	}
}

func (s *standIn) interrupt(hook func(n int, w http.ResponseWriter) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests, s.hook = 0, hook
}

// count returns the number of requests since the last interrupt.
func (s *standIn) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// ServeHTTP answers.
func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	if s.hook != nil && s.hook(s.requests, w) {
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.Header.Get("Authorization") != "Bearer "+token {
		fail(w, 401, "authentication_failed", "Invalid token")
		return
	}
	if r.Method != http.MethodGet {
		fail(w, 405, "method_not_allowed", "the importer must only read here")
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/api/v1/")
	if text, ok := s.more[path]; ok {
		_, _ = w.Write([]byte(text))
		return
	}
	parts := strings.Split(path, "/")
	for _, part := range parts[:len(parts)-1] {
		if slices.Contains(s.gone, part) {
			fail(w, 404, "not_found", "Entity not found")
			return
		}
	}
	switch {
	case path == "event-type":
		list(w, r, s.types, func(t eventType) string { return t.Name })
	case path == "app":
		list(w, r, s.apps, func(a application) string { return a.ID })
	case len(parts) == 2 && parts[0] == "app":
		for _, a := range s.apps {
			if a.ID == parts[1] || of(a.UID) == parts[1] {
				answer(w, a)
				return
			}
		}
		fail(w, 404, "not_found", "Entity not found")
	case len(parts) == 3 && parts[2] == "endpoint":
		list(w, r, s.endpoints[parts[1]], func(e endpoint) string { return e.ID })
	case len(parts) == 5 && parts[4] == "secret":
		key := s.secrets[parts[3]]
		if key == "" {
			key = secretOf(parts[3])
		}
		answer(w, map[string]string{"key": key})
	case len(parts) == 5 && parts[4] == "headers":
		h := s.headers[parts[3]]
		answer(w, map[string]any{"headers": h.Headers, "sensitive": append([]string{}, h.Sensitive...)})
	case s.hosted && len(parts) == 5 && parts[4] == "transformation":
		answer(w, map[string]any{"code": nil, "enabled": false})
	case s.hosted && len(parts) == 3 && parts[2] == "destination":
		list(w, r, []endpoint{}, nameOf)
	default:
		fail(w, 404, "not_found", "Entity not found")
	}
}

// list answers a page of rows in ascending order of their ids.
func list[T any](w http.ResponseWriter, r *http.Request, rows []T, id func(T) string) {
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	if limit < 1 || limit > 250 {
		fail(w, 422, "", "limit")
		return
	}
	first := 0
	if from := r.URL.Query().Get("iterator"); from != "" {
		first = slices.IndexFunc(rows, func(v T) bool { return id(v) == from }) + 1
	}
	last := min(first+limit, len(rows))
	out := map[string]any{"data": append([]T{}, rows[first:last]...), "iterator": nil, "done": last == len(rows)}
	if last > first {
		out["iterator"] = id(rows[last-1])
	}
	answer(w, out)
}

func answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

func fail(w http.ResponseWriter, status int, code, text string) {
	w.WriteHeader(status)
	answer(w, map[string]string{"code": code, "detail": text})
}
