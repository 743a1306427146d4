// Package svix is the HTTP adapter for programs that were written for Svix: its REST API
// as Svix's libraries use it, on top of package app. An application is a tenant, a message
// is an event, an attempt is one of a delivery's attempts. docs/from-svix.md says what is
// the same and what differs.
//
// The package makes no decisions about permissions and keeps no state between requests.
// Like Svix, it ignores members and parameters that it does not know. What would change
// what is delivered and cannot be done is refused with a sentence.
package svix

import (
	"errors"
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

const root = "/api/v1/"

// Patterns returns the handler's patterns for an http.ServeMux.
func Patterns() []string { return []string{root[:len(root)-1], root} }

type api struct{ o Options }

// New returns the handler.
func New(o Options) (http.Handler, error) {
	if o.Service == nil {
		return nil, errors.New("svix: Service is required")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &api{o}, nil
}

// ServeHTTP handles one request.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	adapter.Serve(w, r, a.route, a.refuse)
}

// call is one request of an authenticated caller.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	c      app.Caller
	app    string            // the tenant that the path names
	parts  map[string]string // the variable parts of the path
	values query
	body   []byte // as read by object
}

type handler func(q *call) error

// The levels of access of a route.
const (
	noToken    = iota // no token
	publishing        // keys of the operator and of publishers; it has its own limits
	operators         // keys of the operator; publishers as far as their key goes
	tenants           // and keys of the tenant that the path names
)

type route struct {
	method, pattern string
	access          int
	do              func(a *api, q *call) error
}

// route checks first whether the path exists, then authenticates the caller.
func (a *api) route(w http.ResponseWriter, r *http.Request) error {
	path := strings.Split(strings.Trim(strings.TrimPrefix(r.URL.Path+"/", root), "/"), "/")
	methods, parts := map[string]route{}, map[string]map[string]string{}
	for _, candidate := range table {
		if found, ok := match(candidate.pattern, path); ok {
			if _, earlier := methods[candidate.method]; !earlier {
				methods[candidate.method], parts[candidate.method] = candidate, found
			}
		}
	}
	if len(methods) == 0 {
		for _, prefix := range unsupported {
			if _, ok := match(prefix, path[:min(len(path), strings.Count(prefix, "/")+1)]); ok {
				return errUnsupported
			}
		}
		return &failure{status: http.StatusNotFound, code: "not_found", text: "There is no such route. docs/from-svix.md lists the routes that are served."}
	}
	to, sentence := adapter.Choose(w, r, methods)
	if to.do == nil {
		return &failure{status: http.StatusMethodNotAllowed, code: "method_not_allowed", text: sentence}
	}
	q := &call{w: w, r: r, parts: parts[to.method]}
	if to.access == noToken {
		return to.do(a, q)
	}
	if err := adapter.CheckLoop(r, a.o.Service.Loop()); err != nil {
		return err
	}
	token, given := adapter.Bearer(r)
	if given && token == "" { // not as "no key": the token is malformed
		token = " "
	}
	var err error
	if q.c, err = a.o.Service.Authenticate(r.Context(), token, adapter.Address(r)); err != nil {
		return err
	}
	if to.access == publishing {
		q.r = r.WithContext(adapter.Acting(w, r.WithContext(adapter.Metered(w, r)), q.c))
	} else {
		q.r, err = adapter.Count(w, r, a.o.Service, q.c)
	}
	if err == nil {
		err = a.run(q, to)
	}
	if err != nil {
		adapter.AuditRefused(q.r, a.o.Service, q.c, err)
	}
	return err
}

// run checks the access and finds the application that the path names.
func (a *api) run(q *call, to route) (err error) {
	if to.access != tenants && q.c.Kind == hook.TenantKey {
		return &hook.Error{Code: hook.CodeForbidden, Message: "This token is of one application. The call needs a token of the organization: an operator key."}
	}
	if q.values, err = readQuery(q.r); err != nil {
		return err
	}
	name, named := q.parts["app"]
	switch {
	case !named:
	case to.access == publishing: // it finds out without a read
		if !hook.ValidTenantID(name) {
			return errNoApplication
		}
		q.app = name
	default:
		if q.c.Kind == hook.Publisher {
			return &hook.Error{Code: hook.CodeForbidden, Message: "A publisher key may only create messages."}
		}
		if _, err := a.o.Service.TenantExists(q.r.Context(), q.c, name); err != nil {
			return err
		}
		q.app = name
	}
	return to.do(a, q)
}

// match compares a path with a pattern such as "app/{app}/msg" and returns the variable
// parts.
func match(pattern string, path []string) (map[string]string, bool) {
	if strings.Count(pattern, "/")+1 != len(path) {
		return nil, false
	}
	rest, part := pattern, ""
	for _, given := range path { // most patterns do not match: nothing is allocated before
		if part, rest, _ = strings.Cut(rest, "/"); part != given && (part[0] != '{' || given == "") {
			return nil, false
		}
	}
	parts := map[string]string{}
	for i, part := range strings.Split(pattern, "/") {
		if part[0] == '{' {
			parts[part[1:len(part)-1]] = path[i]
		}
	}
	return parts, true
}

// table lists the routes. Of two that match, the first counts.
var table = []route{
	{"GET", "health", noToken, (*api).health},
	{"GET", "health/ping", noToken, (*api).health},

	{"GET", "app", operators, (*api).listApps},
	{"POST", "app", operators, (*api).createApp},
	{"GET", "app/{app}", tenants, (*api).getApp},
	{"PUT", "app/{name}", operators, (*api).putApp},
	{"PATCH", "app/{app}", operators, (*api).patchApp},
	{"DELETE", "app/{app}", operators, (*api).deleteApp},

	{"GET", "app/{app}/endpoint", tenants, (*api).listEndpoints},
	{"POST", "app/{app}/endpoint", tenants, (*api).createEndpoint},
	{"GET", "app/{app}/endpoint/{endpoint}", tenants, (*api).getEndpoint},
	{"PUT", "app/{app}/endpoint/{endpoint}", tenants, (*api).putEndpoint},
	{"PATCH", "app/{app}/endpoint/{endpoint}", tenants, (*api).patchEndpoint},
	{"DELETE", "app/{app}/endpoint/{endpoint}", tenants, (*api).deleteEndpoint},
	{"GET", "app/{app}/endpoint/{endpoint}/headers", tenants, (*api).getHeaders},
	{"PUT", "app/{app}/endpoint/{endpoint}/headers", tenants, (*api).putHeaders},
	{"PATCH", "app/{app}/endpoint/{endpoint}/headers", tenants, (*api).patchHeaders},
	{"GET", "app/{app}/endpoint/{endpoint}/secret", tenants, (*api).getSecret},
	{"POST", "app/{app}/endpoint/{endpoint}/secret/rotate", tenants, (*api).rotateSecret},
	{"POST", "app/{app}/endpoint/{endpoint}/recover", tenants, (*api).recover},
	{"POST", "app/{app}/endpoint/{endpoint}/replay-missing", tenants, (*api).replayMissing},
	{"POST", "app/{app}/endpoint/{endpoint}/bulk-replay", tenants, (*api).bulkReplay},
	{"POST", "app/{app}/endpoint/{endpoint}/send-example", operators, (*api).sendExample},
	{"GET", "app/{app}/endpoint/{endpoint}/stats", tenants, (*api).stats},
	{"GET", "app/{app}/endpoint/{endpoint}/msg", tenants, (*api).attemptedMessages},
	{"GET", "app/{app}/endpoint/{endpoint}/transformation", tenants, (*api).transformation},

	{"GET", "app/{app}/msg", tenants, (*api).listMessages},
	{"POST", "app/{app}/msg", publishing, (*api).createMessage},
	{"POST", "app/{app}/msg/precheck/active", operators, (*api).precheck},
	{"GET", "app/{app}/msg/{msg}", tenants, (*api).getMessage},
	{"GET", "app/{app}/msg/{msg}/endpoint", tenants, (*api).attemptedDestinations},
	{"GET", "app/{app}/msg/{msg}/attempt", tenants, (*api).attemptsOfMessage},
	{"GET", "app/{app}/msg/{msg}/attempt/{attempt}", tenants, (*api).getAttempt},
	{"GET", "app/{app}/msg/{msg}/endpoint/{endpoint}/attempt", tenants, (*api).attemptsOfMessage},
	{"POST", "app/{app}/msg/{msg}/endpoint/{endpoint}/resend", tenants, (*api).resend},
	{"GET", "app/{app}/attempt/endpoint/{endpoint}", tenants, (*api).attemptsOfEndpoint},
	{"GET", "app/{app}/attempt/msg/{msg}", tenants, (*api).attemptsOfMessage},

	{"GET", "event-type", tenants, (*api).listTypes},
	{"POST", "event-type", operators, (*api).createType},
	{"GET", "event-type/{type}", tenants, (*api).getType},
	{"PUT", "event-type/{type}", operators, (*api).putType},
	{"PATCH", "event-type/{type}", operators, (*api).patchType},
	{"DELETE", "event-type/{type}", operators, (*api).deleteType},

	{"POST", "auth/app-portal-access/{name}", operators, (*api).portalAccess},
	{"POST", "auth/dashboard-access/{name}", operators, (*api).portalAccess},
	{"POST", "auth/app/{app}/expire-all", operators, (*api).expireAll},

	{"GET", "background-task", operators, (*api).listTasks},
	{"GET", "background-task/{task}", operators, (*api).getTask},
}

// unsupported are the beginnings of paths that Svix serves and this API does not.
var unsupported = []string{"auth", "integration", "connector", "stream", "ingest", "environment", "management", "operational-webhook", "stats", "admin", "broadcast",
	"event-type/import", "event-type/schema", "app/{app}/integration", "app/{app}/poller", "app/{app}/polling-endpoint", "app/{app}/destination", "app/{app}/autoconfig",
	"app/{app}/msg/{msg}/content", "app/{app}/msg/{msg}/raw", "app/{app}/msg/bulk-expunge", "app/{app}/msg/expunge-all-contents", "app/{app}/msg/{msg}/attempt", "app/{app}/endpoint/{endpoint}"}

var errUnsupported = &failure{status: http.StatusNotFound, code: "not_supported",
	text: "Posthorn does not have this part of Svix's API. Nothing was done. docs/from-svix.md says what to use instead."}

// Routes returns "METHOD /path" of each route, for tests.
func Routes() (list []string) {
	for _, r := range table {
		list = append(list, r.method+" "+root+r.pattern)
	}
	return list
}

func (a *api) health(q *call) error {
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}
