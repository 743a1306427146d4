// Package adapter is what the HTTP adapters of PaySway's and paywise's management APIs do with every
// request before they look at what it asks: the request id, bounded bodies, the
// bearer credential, JSON members one by one, and answers.
//
// It promises that a handler that panics is answered like any other error and that
// nothing is read beyond its limit. It knows no route and no status of an error:
// each adapter says what its own system documents.
package adapter

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/internal/api/bodies"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// MaxBody is the most that is read of a request's body, in bytes (S-13).
const MaxBody = 64 << 10

// RequestIDHeader carries the id that names a request in the log and the answer.
const RequestIDHeader = "X-Request-Id"

// Handler answers a request or returns what is wrong with it.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Serve runs a handler and has refuse answer its error, also that of a panic.
// Answers are never cached: they hold secrets.
func Serve(w http.ResponseWriter, r *http.Request, do Handler, refuse func(w http.ResponseWriter, r *http.Request, err error)) {
	h := w.Header()
	h.Set(RequestIDHeader, requestID(r))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler: // net/http's own way to drop a connection
			panic(v)
		default:
			refuse(w, r, fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
		}
	}()
	if err := do(w, r); err != nil {
		refuse(w, r, err)
	}
}

// requestID takes the caller's id if it is safe to log and to echo, or makes one.
func requestID(r *http.Request) string {
	if values := r.Header[RequestIDHeader]; len(values) == 1 && hook.ValidTenantID(values[0]) { // the same harmless characters
		return values[0]
	}
	return strconv.FormatUint(rand.Uint64(), 36) + "-" + strconv.FormatUint(rand.Uint64()>>32, 36)
}

// Bearer returns the credential of the Authorization header. given says whether
// there was such a header at all; of two, which another reader of the request might
// tell apart otherwise, none counts.
func Bearer(r *http.Request) (text string, given bool) {
	const scheme = "Bearer "
	values := r.Header["Authorization"]
	if len(values) != 1 || len(values[0]) < len(scheme) || !strings.EqualFold(values[0][:len(scheme)], scheme) {
		return "", len(values) > 0
	}
	return values[0][len(scheme):], true
}

// Body reads a caller's body of the media type, uncompressed and at most MaxBody
// long. An empty one needs no media type.
func Body(r *http.Request, caller app.Caller, mediaType string) ([]byte, error) {
	text, err := bodies.Read(r, caller, MaxBody)
	if err != nil {
		return nil, err
	}
	if coding := strings.Join(r.Header["Content-Encoding"], ","); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, &hook.Error{Code: hook.CodeContentEncoding, Message: "Send the body uncompressed."}
	}
	if len(text) > 0 && bodies.MediaType(r) != mediaType {
		return nil, &hook.Error{Code: hook.CodeContentType, Message: "Content-Type must be " + mediaType + ", in UTF-8."}
	}
	return text, nil
}

// Object reads a caller's body that is a JSON object.
func Object(r *http.Request, caller app.Caller) (*Members, error) {
	text, err := Body(r, caller, "application/json")
	if err != nil {
		return nil, err
	}
	return ReadMembers(text)
}

// Choose returns what a route does for the request's method; HEAD is GET without
// the body, which the server drops. If it does nothing, the Allow header says what
// it takes and sentence says it to a person.
func Choose[H any](w http.ResponseWriter, r *http.Request, methods map[string]H) (do H, sentence string) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if do, ok := methods[method]; ok {
		return do, ""
	}
	var allow []string
	for _, name := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		if _, ok := methods[name]; ok {
			allow = append(allow, name)
		}
	}
	takes := strings.Join(allow, ", ")
	w.Header().Set("Allow", takes)
	return do, "This route takes " + takes + " only."
}

// Answer writes a value as JSON. Bytes that are not UTF-8, which receivers may have
// sent, come out as the replacement character.
func Answer(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller went away: nobody left to tell
	return nil
}
