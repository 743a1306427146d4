package native

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/hook"
)

// routes registers every route and renders the OpenAPI document.
func (a *api) routes() {
	h := humago.New(a.mux, a.config())
	a.tenantRoutes(h)
	a.retentionRoutes(h)
	a.keyRoutes(h)
	a.endpointRoutes(h)
	a.eventRoutes(h)
	a.deliveryRoutes(h)
	a.insightRoutes(h)
	a.statsRoutes(h)
	a.replayRoutes(h)
	a.masterKeyRoutes(h)
	a.catalogueRoutes(h)
	a.partnerRoutes(h)
	a.sessionRoutes(h)
	a.auditRoutes(h)
	a.erasureRoutes(h)
	a.searchRoutes(h)
	a.documentPublish(h)
	a.finish(h.OpenAPI())
	a.takes = takenBy(h.OpenAPI())
	a.mux.HandleFunc("POST /v1/events", a.publish)
	a.mux.HandleFunc(batchRoute, a.batch)
	a.mux.HandleFunc("GET /healthz", a.healthz)
	a.mux.HandleFunc("GET /readyz", a.readyz)
	a.mux.HandleFunc("GET /version", a.version)
	a.mux.HandleFunc("GET /openapi.json", a.openapi)
	a.docsRoutes(h.OpenAPI())
	a.mux.HandleFunc("GET /{$}", a.root)
	a.spec, _ = encode(h.OpenAPI()) // the same at every start: a test reads it
}

func (a *api) config() huma.Config {
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	alias[client.Time, *timeText](schemas)
	alias[client.Optional[string], *string](schemas)
	alias[client.Optional[bool], *bool](schemas)
	alias[client.Optional[int], *int](schemas)
	alias[client.Optional[float64], *float64](schemas)
	alias[client.Optional[[]string], []string](schemas)
	alias[client.Optional[map[string]*string], map[string]*string](schemas)
	alias[client.Optional[map[string]string], map[string]string](schemas)
	alias[client.Optional[client.Retry], *client.Retry](schemas)
	alias[client.Optional[json.RawMessage], json.RawMessage](schemas)
	alias[client.Optional[[]client.EventTypeVersion], []client.EventTypeVersion](schemas)
	return huma.Config{
		OpenAPI:       newDocument(schemas),
		Formats:       map[string]huma.Format{"application/json": format, "json": format}, // "json" is for media types that end in +json
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{a.translate},
	}
}

// timeText represents client.Time in the document.
type timeText string

// Schema returns the schema of an instant.
func (timeText) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Description: "RFC 3339, UTC, microseconds."}
}

func alias[T, As any](r huma.Registry) {
	r.RegisterTypeAlias(reflect.TypeFor[T](), reflect.TypeFor[As]())
}

// operation returns the document's entry of a route.
func operation(method, path, id, summary string, status int) huma.Operation {
	return huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, DefaultStatus: status,
		SkipValidateBody: true, MaxBodyBytes: -1, RequestBody: nil,
		// The body is read when huma gets it. Its own limit of 5 s would count on while the handler
		// works, and then cancel this request and every later one on its connection.
		BodyReadTimeout: -1,
		// One entry besides the success keeps huma from adding its own error response.
		Responses: map[string]*huma.Response{strconv.Itoa(status): {Description: http.StatusText(status)}, "default": {}}}
}

// register adds a route to the mux and to the document.
func register[I, O any](a *api, h huma.API, op huma.Operation, do func(ctx context.Context, q *request, in *I) (*O, error)) {
	huma.Register(h, op, func(ctx context.Context, in *I) (*O, error) {
		q := of(ctx)
		out, err := do(ctx, q, in)
		if err != nil {
			adapter.AuditRefused(q.Request, a.o.Service, q.caller, err)
			return nil, a.fail(ctx, q.id, err)
		}
		return out, nil
	})
}

// none is the response of an operation that has nothing to return.
type none struct{}

// ItemIn identifies one object by its id.
type ItemIn struct {
	ID string `path:"id"`
}

// parsed parses the id. A text that is not an id gets the same response as an unknown
// id.
func (i ItemIn) parsed(noun string) (hook.ID, error) { return parseID(i.ID, noun) }

// event is parsed for an event, whose id may be any text that the platform gave it.
func (i ItemIn) event() (hook.ID, error) {
	id, _, ok := hook.EventID(i.ID)
	if !ok {
		return id, hook.NotFound("event")
	}
	return id, nil
}

func parseID(text, noun string) (hook.ID, error) {
	id, err := hook.ParseID(text)
	if err != nil {
		return hook.ID{}, hook.NotFound(noun)
	}
	return id, nil
}

// OnceIn documents the header that onceFor reads.
type OnceIn struct {
	Key string `header:"Idempotency-Key" doc:"1 to 255 printable ASCII characters: the request happens once within 24 hours."`
}

// PageIn selects a page of a list. Like the other embedded inputs it is exported,
// because huma ignores embedded fields that are not.
type PageIn struct {
	Cursor string `query:"cursor" doc:"From next_cursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"250" default:"50"`
}

func (p PageIn) page() hook.Page { return hook.Page{Cursor: unbound(p.Cursor), Limit: p.Limit} }

// searched is page for a search that may have stopped at its bound.
func searched[W any](q *request, rows []W, next string, reach hook.Reach) *reply[client.Page[W]] {
	out := page(q, rows, next)
	out.Body.value.Scanned, out.Body.value.Until = reach.Scanned, someTime(reach.Until)
	return out
}

// page returns a page of a list, with the URL of the next page as a Link (RFC 8288).
func page[W any](q *request, rows []W, next string) *reply[client.Page[W]] {
	if next != "" {
		next = q.binding() + next
	}
	out := ok(client.Page[W]{Data: rows, NextCursor: some(next)})
	if next != "" {
		values := maps.Clone(q.query)
		if values == nil {
			values = url.Values{}
		}
		values.Set("cursor", next)
		target := url.URL{Path: q.URL.Path, RawQuery: values.Encode()}
		out.Link = "<" + target.String() + `>; rel="next"`
	}
	return out
}
