package native

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// healthz reports that the process is alive. It checks nothing else.
func (a *api) healthz(w http.ResponseWriter, _ *http.Request) {
	answerBytes(w, http.StatusOK, []byte(`{"status":"ok"}`))
}

// readyz reports whether requests can be accepted.
func (a *api) readyz(w http.ResponseWriter, r *http.Request) {
	if a.o.Ready != nil {
		if err := a.o.Ready(r.Context()); err != nil {
			a.refuse(w, r, unready(err))
			return
		}
	}
	status := client.Status{Status: "ready"}
	if a.o.Notice != nil {
		status.Detail = a.o.Notice()
	}
	body, _ := encode(status) // plain strings: cannot fail
	answerBytes(w, http.StatusOK, body)
}

func (a *api) version(w http.ResponseWriter, _ *http.Request) {
	body, _ := encode(client.Version{Version: a.o.Version}) // a plain string: cannot fail
	answerBytes(w, http.StatusOK, body)
}

func (a *api) openapi(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json")
	_, _ = w.Write(a.spec)
}

// documentPublish adds the two raw routes to the document.
func (a *api) documentPublish(h huma.API) {
	schemas := h.OpenAPI().Components.Schemas
	ref := func(t reflect.Type) *huma.Schema { return schemas.Schema(t, true, t.Name()) }
	event := ref(reflect.TypeFor[client.NewEvent]())
	header := &huma.Param{Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: huma.TypeString}}

	one := operation("POST", "/v1/events", "publish-event", "Publish an event", 202)
	one.Parameters = []*huma.Param{header}
	one.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: event}}}
	one.Responses["202"].Description = "The event and all its deliveries are on disk."
	one.Responses["202"].Content = map[string]*huma.MediaType{"application/json": {Schema: ref(reflect.TypeFor[client.Published]())}}
	h.OpenAPI().AddOperation(&one)

	many := operation("POST", "/v1/events/batch", "publish-batch", "Publish up to 1,000 events in one commit", 202)
	many.Parameters = []*huma.Param{header}
	many.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Type: huma.TypeArray, Items: event}},
		ndjson:             {Schema: event},
	}}
	many.Responses["202"].Description = "A result for each event, in order."
	many.Responses["202"].Content = map[string]*huma.MediaType{"application/json": {Schema: ref(reflect.TypeFor[client.BatchResults]())}}
	h.OpenAPI().AddOperation(&many)
}

// unready gives an error without a code the code of an unavailable store.
func unready(err error) error {
	if hook.CodeOf(err) != hook.CodeInternal {
		return err
	}
	return &hook.Error{Code: hook.CodeStorageDown, Message: "The server is not ready to accept requests.", Err: err}
}
