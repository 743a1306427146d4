// Package paysway is the HTTP adapter of PaySway's own management API: webhook
// subscriptions, and the token that authenticates calls to them, on top of package app.
// It defines routes, members, statuses and error codes as PaySway documents them.
//
// Scripts written for PaySway's webhook subscriptions work unchanged. A subscription is
// an endpoint whose profile has "management: paysway"; no other endpoint is visible.
// The package makes no decisions about permissions and keeps no state between requests.
package paysway

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
	// Limit is the maximum number of subscriptions of a tenant in one mode; 0: no
	// limit.
	Limit int
}

// Patterns returns the handler's patterns for an http.ServeMux.
func Patterns() []string {
	return []string{"/webhooks", "/webhooks/", "/oauth2", "/oauth2/"} // both forms: otherwise the mux would redirect
}

type api struct {
	o     Options
	mount *app.Mount
}

// New returns the handler. It fails if no profile belongs to this API.
func New(o Options) (http.Handler, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	mount, err := o.Service.Mount("paysway")
	if err != nil {
		return nil, err
	}
	return &api{o: o, mount: mount}, nil
}

// ServeHTTP handles one request.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	adapter.Serve(w, r, a.route, a.refuse)
}

const (
	subscriptions = "/webhooks/subscriptions"
	tokenRoute    = "/oauth2/token"
)

// methods holds the handlers of a route, by method.
type methods map[string]adapter.Handler

// route finds the handler. Whether a path exists is visible to everybody. Its methods
// and everything else are visible only to authenticated callers.
func (a *api) route(w http.ResponseWriter, r *http.Request) error {
	id, one := strings.CutPrefix(r.URL.Path, subscriptions+"/")
	switch {
	case r.URL.Path == tokenRoute:
		return choose(w, r, methods{http.MethodPost: a.token})
	case r.URL.Path == subscriptions:
		return a.known(w, r, func(c app.Caller) methods {
			return methods{
				http.MethodGet:  func(w http.ResponseWriter, r *http.Request) error { return a.list(w, r, c) },
				http.MethodPost: func(w http.ResponseWriter, r *http.Request) error { return a.create(w, r, c) },
			}
		})
	case one && id != "" && !strings.Contains(id, "/"):
		return a.known(w, r, func(c app.Caller) methods { return a.item(c, id) })
	}
	return hook.NotFound("route")
}

func (a *api) known(w http.ResponseWriter, r *http.Request, routes func(c app.Caller) methods) error {
	c, err := a.authenticate(r)
	if err != nil {
		return err
	}
	if r, err = adapter.Count(w, r, a.o.Service, c); err == nil {
		err = choose(w, r, routes(c))
	}
	if err != nil {
		adapter.AuditRefused(r, a.o.Service, c, err)
	}
	return err
}

// choose runs the handler for the method.
func choose(w http.ResponseWriter, r *http.Request, m methods) error {
	do, sentence := adapter.Choose(w, r, m)
	if do == nil {
		return &hook.Error{Code: hook.CodeMethodNotAllowed, Message: sentence}
	}
	return do(w, r)
}
