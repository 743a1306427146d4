package web

import (
	"errors"
	"html/template"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// An error page shows what users may know, and the log holds the rest. While the store is
// unavailable, pages reload automatically, but actions are never repeated.
func TestErrorPages(t *testing.T) {
	var log strings.Builder
	h := &Handler{o: Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Now: time.Now}, templates: map[string]*template.Template{}}
	if err := h.load(); err != nil {
		t.Fatal(err)
	}
	down := &hook.Error{Code: hook.CodeStorageDown, Message: "The store cannot be read.", Err: errors.New("inner detail")}
	for _, c := range []struct {
		method  string
		err     error
		status  int
		refresh string
		logged  bool
	}{
		{"GET", down, 503, "5", true}, {"POST", down, 503, "", true}, {"GET", errors.New("inner detail"), 500, "", true},
		{"GET", hook.NotFound("event"), 404, "", false}, {"GET", &hook.Error{Code: hook.CodeRateLimited, Message: "Slowly.", RetryAfter: 1500 * time.Millisecond}, 429, "", false},
	} {
		log.Reset()
		w, r := httptest.NewRecorder(), page.Named(httptest.NewRequest(c.method, "/ui/live/", nil))
		h.serve(w, r, nil, func() error { return c.err })
		if w.Code != c.status || w.Header().Get("Refresh") != c.refresh || strings.Contains(w.Body.String(), "inner detail") || !strings.Contains(w.Body.String(), page.RequestID(r)) {
			t.Errorf("%s, %v: %d %v\n%s", c.method, c.err, w.Code, w.Header(), w.Body)
		}
		if got := strings.Contains(log.String(), "inner detail"); got != c.logged {
			t.Errorf("%v: logged %v: %s", c.err, got, log.String())
		}
		if want := map[int]string{503: "5", 429: "2"}[c.status]; w.Header().Get("Retry-After") != want {
			t.Errorf("%v: Retry-After %q", c.err, w.Header().Get("Retry-After"))
		}
	}
	w, r := httptest.NewRecorder(), page.Named(httptest.NewRequest("GET", "/ui/live/", nil))
	h.serve(w, r, nil, func() error { panic("inner detail") })
	if w.Code != 500 || strings.Contains(w.Body.String(), "inner detail") || strings.Contains(w.Body.String(), "goroutine") || !strings.Contains(log.String(), "goroutine") {
		t.Errorf("a panic: %d %s", w.Code, w.Body)
	}
}
