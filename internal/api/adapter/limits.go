package adapter

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// errLoop refuses a request that is one of this installation's own deliveries.
var errLoop = &hook.Error{Code: hook.CodeLoopDetected, Field: hook.LoopHeader,
	Message: "This request is a webhook that this installation sent (CDN-Loop, RFC 8586). Nothing was done. Point the endpoint's URL at a receiver, not at this API."}

// CheckLoop refuses a request that this installation sent. An endpoint whose URL leads
// to the API would otherwise make deliveries that request deliveries without end.
func CheckLoop(r *http.Request, own hook.Loop) error {
	if values := r.Header["Cdn-Loop"]; len(values) > 0 && own.In(values) {
		return errLoop
	}
	return nil
}

// Metered returns the request's context, in which each limit adds what is left of it to
// the RateLimit and RateLimit-Policy fields of the response, as in
// draft-ietf-httpapi-ratelimit-headers-11: q is the most requests at once, w the
// seconds in which q are restored, r what is left, and t the seconds until q are
// available again. For a refused request t equals Retry-After, which may not end before
// t (section 6).
func Metered(w http.ResponseWriter, r *http.Request) context.Context {
	return app.Metered(r.Context(), func(q app.Quota) {
		window := math.Ceil(float64(q.Rate.Burst) / q.Rate.PerSecond)
		join(w.Header(), "RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", q.Name, q.Rate.Burst, int64(window)))
		join(w.Header(), "RateLimit", fmt.Sprintf("%q;r=%d;t=%d", q.Name, q.Left, int64((q.Until+time.Second-1)/time.Second)))
	})
}

// join appends an item to a list in a single header line.
func join(h http.Header, name, item string) {
	if before := h.Get(name); before != "" {
		item = before + ", " + item
	}
	h.Set(name, item)
}

// Acting returns the request's context, in which the caller's actions are recorded in
// the audit log.
func Acting(w http.ResponseWriter, r *http.Request, c app.Caller) context.Context {
	address := ""
	if from := Address(r); from.IsValid() { // transports other than IP have none
		address = from.Unmap().String()
	}
	return c.Acting(r.Context(), address, w.Header().Get(RequestIDHeader))
}

// AuditRefused records that a write of an authenticated caller was refused. The request
// is the one that Count returned.
func AuditRefused(r *http.Request, s *app.Service, c app.Caller, refused error) {
	if writes(r) {
		s.AuditRefused(r.Context(), c, r.Method, r.URL.EscapedPath(), refused)
	}
}

// Count counts an authenticated caller's request against the reads or writes of its
// key. It returns the request with the context of Metered and
// Acting, even if it refuses.
func Count(w http.ResponseWriter, r *http.Request, s *app.Service, c app.Caller) (*http.Request, error) {
	r = r.WithContext(Acting(w, r.WithContext(Metered(w, r)), c))
	return r, s.Call(r.Context(), c, writes(r))
}

// writes reports whether a request asks for a change. One question is asked by POST,
// because it has a body.
func writes(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead && !(r.Method == http.MethodPost && r.URL.Path == "/v1/events/match")
}

// Seconds returns a duration in seconds for Retry-After, rounded up.
func Seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
