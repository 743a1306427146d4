// Package adapter has the steps that the HTTP adapters of PaySway's, paywise's and Svix's
// APIs share: request ids, bounded bodies, bearer credentials, JSON members
// read one by one, and responses.
//
// A handler that panics produces an error response like any other error, and nothing is
// read beyond its limit. The package knows no routes and no statuses of errors: each
// adapter defines those that its own API documents.
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

// MaxBody bounds the body of a request, in bytes (S-13).
const MaxBody = 64 << 10

// RequestIDHeader carries the id that identifies a request in the log and in the
// response.
const RequestIDHeader = "X-Request-Id"

// Handler responds to a request or returns an error.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Serve runs a handler. If it returns an error or panics, refuse writes the response.
// Responses are never cached, because they contain secrets.
func Serve(w http.ResponseWriter, r *http.Request, do Handler, refuse func(w http.ResponseWriter, r *http.Request, err error)) {
	h := w.Header()
	h.Set(RequestIDHeader, requestID(r))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler: // net/http's way to drop a connection
			panic(v)
		default:
			refuse(w, r, fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
		}
	}()
	if err := do(w, r); err != nil {
		refuse(w, r, err)
	}
}

// requestID returns the caller's id if it is safe to log and to echo. Otherwise it
// creates one.
func requestID(r *http.Request) string {
	if values := r.Header[RequestIDHeader]; len(values) == 1 && hook.ValidID(values[0], 64) { // ids allow the same harmless characters
		return values[0]
	}
	return strconv.FormatUint(rand.Uint64(), 36) + "-" + strconv.FormatUint(rand.Uint64()>>32, 36)
}

// Bearer returns the credential of the Authorization header. given reports whether the
// request has such a header. If it has two, neither counts: another reader of the
// request might choose the other one.
func Bearer(r *http.Request) (text string, given bool) {
	const scheme = "Bearer "
	values := r.Header["Authorization"]
	if len(values) != 1 || len(values[0]) < len(scheme) || !strings.EqualFold(values[0][:len(scheme)], scheme) {
		return "", len(values) > 0
	}
	return values[0][len(scheme):], true
}

// Body reads a caller's body of the media type, uncompressed and at most MaxBody bytes
// long. An empty body needs no media type.
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

// Object reads a caller's body that must be a JSON object.
func Object(r *http.Request, caller app.Caller) (*Members, error) {
	text, err := Body(r, caller, "application/json")
	if err != nil {
		return nil, err
	}
	return ReadMembers(text)
}

// Choose returns the handler of a route for the request's method. HEAD is handled like
// GET; the server drops the body. If there is no handler, Choose sets the Allow header
// and returns a sentence for people that lists the methods.
func Choose[H any](w http.ResponseWriter, r *http.Request, methods map[string]H) (do H, sentence string) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if do, ok := methods[method]; ok {
		return do, ""
	}
	var allow []string
	for _, name := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if _, ok := methods[name]; ok {
			allow = append(allow, name)
		}
	}
	takes := strings.Join(allow, ", ")
	w.Header().Set("Allow", takes)
	return do, "This route takes " + takes + " only."
}

// Answer writes a value as JSON. Invalid UTF-8, which receivers may have sent, becomes
// the replacement character.
func Answer(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the caller disconnected
	return nil
}
