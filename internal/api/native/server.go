package native

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	pathpkg "path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/api/bodies"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// Limits of requests (S-13), in bytes.
const (
	MaxEvent = 256 << 10 // the body of a publish, and each item of a batch
	MaxBatch = 4 << 20   // the body of a batch
	MaxBody  = 64 << 10  // every other body
)

// Options configures the handler. Service is required.
type Options struct {
	Service *app.Service
	Log     *slog.Logger                    // nil: slog.Default()
	Ready   func(ctx context.Context) error // whether requests can be accepted; nil: always
	Notice  func() string                   // a problem that does not prevent requests, for /readyz; nil or empty: none
	Version string
	// Refused, if set, is called for each response of 401, 403 or 429 with its code. It
	// is called concurrently.
	Refused func(status int, code string)
}

type api struct {
	o     Options
	mux   *http.ServeMux
	spec  []byte           // the OpenAPI document
	takes map[string]taken // by pattern
}

// New returns the handler of the native API. It is safe for concurrent use. Timeouts
// are the responsibility of the server around it. New panics if two routes collide, so
// a handler that it returned has valid routes.
func New(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	a := &api{o: o, mux: http.NewServeMux()}
	a.routes()
	return a
}

const requestIDHeader = "X-Request-Id"

// batchRoute reads its own body, which is larger than others.
const batchRoute = "POST /v1/events/batch"

// noStore and noSniff are shared between responses and must not be modified.
var noStore, noSniff = []string{"no-store"}, []string{"nosniff"}

// ServeHTTP handles one request.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := []string{requestID(r)}
	h := w.Header()
	h[requestIDHeader], h["Request-Id"] = id, id
	h["Cache-Control"], h["X-Content-Type-Options"] = noStore, noSniff
	defer a.recover(w, r)
	if r.Method == http.MethodPost && r.URL.Path == "/v1/events" {
		a.publish(w, r)
		return
	}
	handler, pattern := a.mux.Handler(r)
	if pattern == "" || r.URL.Path != cleaned(r.URL.Path) {
		a.unrouted(w, r, handler)
		return
	}
	if pattern == batchRoute {
		a.batch(w, r)
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		if err := checkOpen(pattern, r); err != nil {
			a.refuse(w, r, err)
			return
		}
		a.mux.ServeHTTP(w, r)
		return
	}
	q, err := a.open(w, r, a.takes[pattern])
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	a.mux.ServeHTTP(w, q.WithContext(context.WithValue(q.Context(), requestKey{}, q)))
}

// request is what a handler knows about its request besides its parameters.
type request struct {
	*http.Request
	id     string
	caller app.Caller
	query  url.Values // one value each, none empty
}

type requestKey struct{}

// open authenticates the caller, reads the parameters and the body of a small request,
// and refuses what its route does not accept.
func (a *api) open(w http.ResponseWriter, r *http.Request, takes taken) (*request, error) {
	caller, err := a.authenticate(r)
	if err != nil {
		return nil, err
	}
	r, err = adapter.Count(w, r, a.o.Service, caller)
	if err != nil {
		adapter.AuditRefused(r, a.o.Service, caller, err)
		return nil, err
	}
	q, err := readRequest(w, r, caller, takes)
	if err != nil {
		adapter.AuditRefused(r, a.o.Service, caller, err)
	}
	return q, err
}

// readRequest reads the parameters and the body of an authenticated caller's request.
func readRequest(w http.ResponseWriter, r *http.Request, caller app.Caller, takes taken) (q *request, err error) {
	q = &request{Request: r, id: w.Header().Get(requestIDHeader), caller: caller}
	if q.query, err = strict.Query(r.URL.RawQuery, takes.query...); err != nil {
		return nil, err
	}
	if err := q.checkCursor(); err != nil {
		return nil, err
	}
	if r.ContentLength == 0 {
		return q, nil
	}
	text, err := bodies.Read(r, caller, MaxBody)
	switch {
	case err != nil:
		return nil, err
	case !takes.body:
		return q, checkNoBody(text)
	case len(text) > 0:
		err = checkContent(r, kindsOf(r.Method)...)
		r.Header["Content-Type"] = jsonContent // huma distinguishes media types by their spelling
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	return q, err
}

// kindsOf returns the media types that a method accepts for a body. PATCH also accepts
// that of a merge patch, which has its own name (RFC 7396).
func kindsOf(method string) []string {
	if method == http.MethodPatch {
		return []string{jsonType, mergePatch}
	}
	return []string{jsonType}
}

func (a *api) authenticate(r *http.Request) (app.Caller, error) {
	if err := adapter.CheckLoop(r, a.o.Service.Loop()); err != nil {
		return app.Caller{}, err
	}
	if len(r.Header["Authorization"]) > 1 { // with two headers, another reader of the request might use the other one
		return app.Caller{}, &hook.Error{Code: hook.CodeUnauthorized, Message: "Send one Authorization header, not several."}
	}
	text, _ := adapter.Bearer(r) // an empty text means no key
	return a.o.Service.Authenticate(r.Context(), text, adapter.Address(r))
}

const jsonType, mergePatch = "application/json", "application/merge-patch+json"

// checkContent refuses bodies with another content coding, a media type that is not one
// of kinds, or a character set other than UTF-8.
func checkContent(r *http.Request, kinds ...string) error {
	if coding := strings.Join(r.Header["Content-Encoding"], ","); coding != "" && !strings.EqualFold(coding, "identity") {
		return &hook.Error{Code: hook.CodeContentEncoding, Field: "Content-Encoding", Message: "Send the body uncompressed: only identity is accepted."}
	}
	if values := r.Header["Content-Type"]; len(values) == 1 && values[0] == jsonType {
		return nil // the common case
	}
	if kind := bodies.MediaType(r); kind != "" && slices.Contains(kinds, kind) {
		return nil
	}
	return &hook.Error{Code: hook.CodeContentType, Field: "Content-Type",
		Message: "Content-Type must be " + strings.Join(kinds, " or ") + ", in UTF-8."}
}

// recover converts a panic to internal_error. The stack trace is only logged.
func (a *api) recover(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v) // net/http's way to drop a connection
	}
	a.refuse(w, r, fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
}

// unrouted responds to requests that no route accepts. The mux marks a wrong method by
// the Allow header that its handler sets. OPTIONS is answered from the same header.
func (a *api) unrouted(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	seen := &listener{header: http.Header{}}
	if r.URL.Path == cleaned(r.URL.Path) {
		handler.ServeHTTP(seen, r)
	}
	if seen.status != http.StatusMethodNotAllowed {
		a.refuse(w, r, &hook.Error{Code: hook.CodeRouteNotFound, Message: noRoute(r.URL.Path)})
		return
	}
	allow := seen.header.Get("Allow")
	if r.Method == http.MethodOptions {
		w.Header().Set("Allow", allow+", OPTIONS")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Allow", allow)
	a.refuse(w, r, &hook.Error{Code: hook.CodeMethodNotAllowed, Message: "This route takes " + allow + " only."})
}

// seedRoots are the paths of the management APIs other than this one. If these are
// mounted, the outer mux does not send their requests here.
var seedRoots = []struct{ path, api, name string }{
	{"/oauth2", "PaySway", "paysway"}, {"/webhooks", "PaySway", "paysway"}, {"/v1/webhooks", "paywise", "paywise"}, {"/api/v1", "Svix", "svix"},
}

// noRoute says that there is no such path, and why if that is known.
func noRoute(path string) string {
	for _, seed := range seedRoots {
		if path == cleaned(path) && (path == seed.path || strings.HasPrefix(path, seed.path+"/")) {
			return "This server does not serve " + seed.api + "'s API; start it with --mount " + seed.name + "."
		}
	}
	return "There is no such route."
}

// listener records the headers and the status that a handler writes.
type listener struct {
	header http.Header
	status int
}

// Header returns the headers that the handler sets.
func (l *listener) Header() http.Header { return l.header }

// WriteHeader records the status.
func (l *listener) WriteHeader(status int) { l.status = status }

// Write discards the body.
func (l *listener) Write(b []byte) (int, error) { return len(b), nil }

// cleaned returns the path without empty and dotted parts. The mux would redirect to
// it, but a plain 404 is more useful to a caller of an API.
func cleaned(path string) string {
	if !strings.Contains(path, "//") && !strings.Contains(path, "/.") {
		return path
	}
	clean := pathpkg.Clean("/" + path)
	if strings.HasSuffix(path, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// requestID returns the caller's id if it is safe to log and to echo. Otherwise it
// creates one.
func requestID(r *http.Request) string {
	for _, name := range [...]string{requestIDHeader, "Request-Id"} {
		if values := r.Header[name]; len(values) == 1 && safeID(values[0]) {
			return values[0]
		}
	}
	var b [32]byte
	text := strconv.AppendUint(b[:0], rand.Uint64(), 36)
	return string(strconv.AppendUint(append(text, '-'), rand.Uint64()>>32, 36))
}

func safeID(id string) bool {
	return hook.ValidID(id, 64) // ids allow harmless characters only
}
