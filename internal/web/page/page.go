// Package page has what the pages for operators and the pages for customers share: how
// foreign text and numbers are shown, templates, the ids of requests, the statuses of errors,
// and the refusal of requests from other sites.
package page

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strconv"

	"github.com/posthorn/posthorn/internal/hook"
)

// Changes reports whether a request may change something.
func Changes(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// Guard passes requests to next, except those that change something and do not come from a
// page of the same site.
func Guard(next http.Handler, refuse http.HandlerFunc) http.Handler {
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(refuse)
	return guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if Changes(r) && r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "" {
			refuse(w, r) // not from a browser, or from one too old to send the form's origin
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// Run runs do and passes its error or panic to fail.
func Run(do func() error, fail func(error)) {
	defer func() {
		switch x := recover(); x {
		case nil:
		case http.ErrAbortHandler: // net/http's documented way to drop a connection
			panic(x)
		default:
			fail(fmt.Errorf("panic: %v\n%s", x, debug.Stack()))
		}
	}()
	if err := do(); err != nil {
		fail(err)
	}
}

type requestKey struct{}

// Named gives a request an id for the log and for the footer of its page.
func Named(r *http.Request) *http.Request {
	id := strconv.FormatUint(rand.Uint64(), 36) + "-" + strconv.FormatUint(rand.Uint64()>>32, 36)
	return r.WithContext(context.WithValue(r.Context(), requestKey{}, id))
}

// RequestID returns the id of a request, or an empty text if it has none.
func RequestID(r *http.Request) string {
	id, _ := r.Context().Value(requestKey{}).(string)
	return id
}

var statuses = map[hook.Code]int{
	hook.CodeNotFound: 404, hook.CodeTenantNotFound: 404, hook.CodeForbidden: 403, hook.CodeAddressNotAllowed: 403, hook.CodeKeyReadOnly: 403, hook.CodeTypeNotAllowed: 403,
	hook.CodeRevealDisabled: 403, hook.CodeUnauthorized: 401, hook.CodeMethodNotAllowed: 405, hook.CodeConflict: 409, hook.CodeEndpointDisabled: 409, hook.CodeDeliverySettled: 409,
	hook.CodeEndpointDamaged: 409, hook.CodeUnverified: 409, hook.CodeEndpointLimit: 409, hook.CodeReplayEnded: 409, hook.CodeReplayLimit: 409, hook.CodeSecretLimit: 409,
	hook.CodePayloadGone: 410, hook.CodePrecondition: 412, hook.CodeTooLarge: 413, hook.CodeWrongNode: 421, hook.CodeRateLimited: 429, hook.CodeBacklogFull: 429,
	hook.CodeStorageFull: 503, hook.CodeStorageDown: 503, hook.CodeServerBusy: 503, hook.CodeShuttingDown: 503, hook.CodeInternal: 500,
}

// Status returns the status of a page that shows an error.
func Status(code hook.Code) int {
	if status, ok := statuses[code]; ok {
		return status
	}
	return http.StatusUnprocessableEntity
}

// Templates returns the templates below templates/ by name, each with the shared ones. base
// has the functions and the name of the layout.
func Templates(base *template.Template, files fs.FS, shared ...string) (map[string]*template.Template, error) {
	layout, err := base.ParseFS(files, shared...)
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	out := map[string]*template.Template{}
	for _, name := range names {
		if slices.Contains(shared, name) {
			continue
		}
		t, err := layout.Clone()
		if err == nil {
			t, err = t.ParseFS(files, name)
		}
		if err != nil {
			return nil, err
		}
		out[path.Base(name)] = t
	}
	return out, nil
}

// FormKey returns the idempotency key for the hidden key of a form: 64 characters, whatever
// was sent.
func FormKey(sent string) string {
	sum := sha256.Sum256([]byte(sent))
	return hex.EncodeToString(sum[:])
}
