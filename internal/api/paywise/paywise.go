// Package paywise is the HTTP adapter of paywise's own management API: webhook
// endpoints, their test events and their deliveries, on top of package app. It defines
// routes, members, statuses and the text of errors as paywise documents them. Where
// paywise documents nothing, it follows the framework that paywise's API is built with
// (Django REST framework: {"detail": ...} and {"member": [...]}).
//
// Scripts written for paywise's webhooks work unchanged. An endpoint is visible only if
// its profile has "management: paywise". The package makes no decisions about
// permissions and keeps no state between requests.
package paywise

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// Options configures the handler. Service is required.
type Options struct {
	Service *app.Service
	Log     *slog.Logger // nil: slog.Default()
	// Refused, if set, is called for each response of 401, 403 or 429 with our code for
	// it. It is called concurrently.
	Refused func(status int, code string)
}

// Patterns returns the handler's patterns for an http.ServeMux. They do not overlap
// with the native API, which shares the prefix /v1/.
func Patterns() []string {
	return []string{root[:len(root)-1], root} // both forms: otherwise the mux would redirect
}

const root = "/v1/webhooks/"

type api struct {
	o     Options
	mount *app.Mount
}

// New returns the handler. It fails if no profile belongs to this API.
func New(o Options) (http.Handler, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	mount, err := o.Service.Mount("paywise")
	if err != nil {
		return nil, err
	}
	return &api{o: o, mount: mount}, nil
}

// ServeHTTP handles one request.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	adapter.Serve(w, r, a.route, a.refuse)
}

// handler handles a request of an authenticated caller.
type handler func(w http.ResponseWriter, r *http.Request, c app.Caller) error

// methods holds the handlers of a route, by method.
type methods map[string]handler

// route checks first whether the path exists, then authenticates the caller, then
// checks whether the path accepts the method.
func (a *api) route(w http.ResponseWriter, r *http.Request) error {
	if !strings.HasSuffix(r.URL.Path, "/") {
		return &failure{status: http.StatusNotFound, detail: "There is nothing here. Paths of this API end in a slash: " + r.URL.Path + "/"}
	}
	m := a.routes(strings.TrimPrefix(r.URL.Path, root))
	if m == nil {
		return hook.NotFound("route")
	}
	c, err := a.authenticate(r)
	if err != nil {
		return err
	}
	if r, err = adapter.Count(w, r, a.o.Service, c); err == nil {
		err = choose(w, r, m, c)
	}
	if err != nil {
		adapter.AuditRefused(r, a.o.Service, c, err)
	}
	return err
}

// choose runs the handler for the method.
func choose(w http.ResponseWriter, r *http.Request, m methods, c app.Caller) error {
	do, sentence := adapter.Choose(w, r, m)
	if do == nil {
		return &failure{status: http.StatusMethodNotAllowed, detail: sentence}
	}
	return do(w, r, c)
}

// routes returns the methods of the path below the root, or nil if there is no such
// path.
func (a *api) routes(path string) methods {
	if path == "" {
		return methods{http.MethodGet: a.list, http.MethodPost: a.create}
	}
	id, below, _ := strings.Cut(path, "/")
	switch {
	case id == "":
	case below == "":
		return methods{http.MethodGet: with(id, a.get), http.MethodPatch: with(id, a.update), http.MethodDelete: with(id, a.delete)}
	case below == "test/":
		return methods{http.MethodPost: with(id, a.test)}
	case below == "deliveries/":
		return methods{http.MethodGet: with(id, a.deliveries)}
	}
	return nil
}

// with parses the id of a path. A text that is not an id gets the same response as an
// unknown id.
func with(text string, do func(w http.ResponseWriter, r *http.Request, c app.Caller, id hook.ID) error) handler {
	return func(w http.ResponseWriter, r *http.Request, c app.Caller) error {
		id, err := hook.ParseID(text)
		if err != nil {
			return hook.NotFound("webhook")
		}
		return do(w, r, c, id)
	}
}

// userHeader names the user of a partner for whom a call is made (paywise docs: partner
// onboarding).
const userHeader = "X-User-Id"

// authenticate returns the caller: the key's tenant, or the tenant of the user that a
// partner's request names.
func (a *api) authenticate(r *http.Request) (app.Caller, error) {
	if err := adapter.CheckLoop(r, a.o.Service.Loop()); err != nil {
		return app.Caller{}, err
	}
	text, given := adapter.Bearer(r)
	if !given {
		return app.Caller{}, &failure{status: http.StatusUnauthorized, detail: "An API key is required.", bearer: true}
	}
	c, err := a.o.Service.Authenticate(r.Context(), text, adapter.Address(r))
	if err != nil {
		return app.Caller{}, err
	}
	users := r.Header[http.CanonicalHeaderKey(userHeader)]
	switch len(users) {
	case 0:
		return c, nil
	case 1:
		return a.o.Service.ActFor(r.Context(), c, users[0])
	}
	return app.Caller{}, &failure{status: http.StatusForbidden, detail: userHeader + " is given more than once."}
}
