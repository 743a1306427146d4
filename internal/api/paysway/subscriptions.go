package paysway

import (
	"net/http"
	"strings"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// subscription is an endpoint in PaySway's format (PaySway docs: get webhook
// subscription). Secret is set only in the response to its creation.
type subscription struct {
	ID          string      `json:"id"`
	CreatedDate client.Time `json:"createdDate"`
	Enabled     bool        `json:"enabled"`
	Title       string      `json:"title"`
	URL         string      `json:"url"`
	Events      []string    `json:"events"`
	Secret      string      `json:"secret,omitempty"`
}

func wire(e app.Endpoint) subscription {
	return subscription{ID: e.ID.String(), CreatedDate: client.Time{Time: e.CreatedAt}, Enabled: e.Receives(),
		Title: e.Title, URL: e.URL, Events: append([]string{}, e.Types...), Secret: e.Secret}
}

// item returns the methods of one subscription. A text that is not an id gets the same
// response as an unknown id.
func (a *api) item(c app.Caller, text string) methods {
	id, err := hook.ParseID(text)
	with := func(do func(w http.ResponseWriter, r *http.Request, c app.Caller, id hook.ID) error) adapter.Handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			if err != nil {
				return hook.NotFound("subscription")
			}
			return do(w, r, c, id)
		}
	}
	return methods{http.MethodGet: with(a.get), http.MethodPatch: with(a.update), http.MethodDelete: with(a.delete)}
}

func (a *api) create(w http.ResponseWriter, r *http.Request, c app.Caller) error {
	m, err := adapter.Object(r, c)
	if err != nil {
		return err
	}
	for _, name := range []string{"title", "url", "events"} {
		if !m.Has(name) {
			return &failure{status: 400, Code: "JSON_PAYLOAD_MISSING_REQUIRED_FIELD", Message: "Missing required field: /" + name}
		}
	}
	change, err := readChange(m)
	if err != nil {
		return err
	}
	in := app.NewEndpoint{Title: *change.Title, URL: *change.URL, Types: *change.Types,
		Disabled: change.Enabled != nil && !*change.Enabled}
	made, err := a.mount.CreateEndpoint(r.Context(), c, in, a.o.Limit)
	if err != nil {
		return err
	}
	return adapter.Answer(w, http.StatusCreated, wire(made))
}

// everything is the window of a list without pages: PaySway's lists have none.
var everything = hook.Window{Limit: 1 << 30}

func (a *api) list(w http.ResponseWriter, r *http.Request, c app.Caller) error {
	all, _, err := a.mount.Endpoints(r.Context(), c, nil, everything)
	if err != nil {
		return err
	}
	out := struct {
		Items []subscription `json:"items"`
	}{make([]subscription, 0, len(all))}
	for _, e := range all {
		out.Items = append(out.Items, wire(e))
	}
	return adapter.Answer(w, http.StatusOK, out)
}

func (a *api) get(w http.ResponseWriter, r *http.Request, c app.Caller, id hook.ID) error {
	e, err := a.mount.Endpoint(r.Context(), c, id)
	if err != nil {
		return err
	}
	return adapter.Answer(w, http.StatusOK, wire(e))
}

func (a *api) update(w http.ResponseWriter, r *http.Request, c app.Caller, id hook.ID) error {
	m, err := adapter.Object(r, c)
	if err != nil {
		return err
	}
	change, err := readChange(m)
	if err != nil {
		return err
	}
	if change.Title == nil && change.URL == nil && change.Types == nil && change.Enabled == nil {
		return a.get(w, r, c, id)
	}
	e, err := a.mount.UpdateEndpoint(r.Context(), c, id, change)
	if err != nil {
		return err
	}
	return adapter.Answer(w, http.StatusOK, wire(e))
}

func (a *api) delete(w http.ResponseWriter, r *http.Request, c app.Caller, id hook.ID) error {
	if err := a.mount.DeleteEndpoint(r.Context(), c, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// readChange reads the writable members. It reports only the first error.
func readChange(m *adapter.Members) (app.EndpointChange, error) {
	change := app.EndpointChange{
		Title:   adapter.Take[string](m, "title", "a string"),
		URL:     adapter.Take[string](m, "url", "a string"),
		Types:   adapter.Take[[]string](m, "events", "an array of strings"),
		Enabled: adapter.Take[bool](m, "enabled", "true or false"),
	}
	m.Refuse("cannot be written.", "id", "createdDate", "secret")
	if wrong := m.Wrong(); len(wrong) > 0 {
		return change, badRequest("/" + wrong[0].Field + " " + wrong[0].Message)
	}
	return change, nil
}

// pointer converts the field of a Posthorn error to a JSON pointer into PaySway's
// objects.
func pointer(field string) string {
	if rest, ok := strings.CutPrefix(field, "event_types"); ok {
		return "events" + rest
	}
	return field
}
