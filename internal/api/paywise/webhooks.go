package paywise

import (
	"context"
	"net/http"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// webhook is an endpoint in paywise's format (paywise docs: manage-endpoints).
// SecretKey is set only in the response to its creation.
type webhook struct {
	ID                     string       `json:"id"`
	URL                    string       `json:"url"`
	Enabled                bool         `json:"enabled"`
	Events                 []string     `json:"events"`
	AccessMode             string       `json:"access_mode"`
	SecretKey              string       `json:"secret_key,omitempty"`
	Description            string       `json:"description"`
	MaxConsecutiveFailures int          `json:"max_consecutive_failures"`
	ConsecutiveFailures    int          `json:"consecutive_failures"`
	LastFailureAt          *client.Time `json:"last_failure_at"`
	Created                client.Time  `json:"created"`
	Updated                client.Time  `json:"updated"`
}

// maxFailures bounds max_consecutive_failures (paywise docs: manage-endpoints).
const maxFailures = 1000

func (a *api) wire(e app.Endpoint) webhook {
	return webhook{ID: e.ID.String(), URL: e.URL, Enabled: e.Receives(), Events: append([]string{}, e.Types...),
		AccessMode: accessMode(e.Scope.Mode), SecretKey: e.Secret, Description: e.Description,
		MaxConsecutiveFailures: a.mount.MaxFailures(e.Endpoint), ConsecutiveFailures: e.Health.Failures,
		LastFailureAt: someTime(e.Health.LastFailureAt), Created: client.Time{Time: e.CreatedAt}, Updated: client.Time{Time: e.UpdatedAt}}
}

// accessMode returns paywise's word for a mode.
func accessMode(m hook.Mode) string {
	if m == hook.Live {
		return "production"
	}
	return m.String()
}

func (a *api) create(w http.ResponseWriter, r *http.Request, c app.Caller) error {
	m, err := adapter.Object(r, c)
	if err != nil {
		return err
	}
	for _, name := range []string{"url", "events"} {
		if !m.Has(name) {
			m.Blame(name, "is required.")
		}
	}
	change, err := readChange(m)
	if err != nil {
		return a.whole(r.Context(), c, hook.ID{}, change, err)
	}
	in := app.NewEndpoint{URL: *change.URL, Types: *change.Types, MaxFailures: change.MaxFailures,
		Disabled: change.Enabled != nil && !*change.Enabled}
	if change.Description != nil {
		in.Description = *change.Description
	}
	made, err := a.mount.CreateEndpoint(r.Context(), c, in, 0)
	if err != nil {
		return a.whole(r.Context(), c, hook.ID{}, change, err)
	}
	return adapter.Answer(w, http.StatusCreated, a.wire(made))
}

func (a *api) list(w http.ResponseWriter, r *http.Request, c app.Caller) error {
	query, err := readQuery(r)
	if err != nil {
		return err
	}
	window, err := readWindow(query)
	if err != nil {
		return err
	}
	enabled, err := readEnabled(query)
	if err != nil {
		return err
	}
	rows, count, err := a.mount.Endpoints(r.Context(), c, enabled, window)
	if err != nil {
		return err
	}
	results := make([]webhook, 0, len(rows))
	for _, e := range rows {
		results = append(results, a.wire(e))
	}
	return adapter.Answer(w, http.StatusOK, paged(r, window, count, results))
}

// readEnabled parses the filter. It also accepts True and False, which Python scripts
// write.
func readEnabled(query map[string][]string) (*bool, error) {
	text, given, err := single(query, "enabled")
	if err != nil || !given {
		return nil, err
	}
	yes := text == "true" || text == "True"
	if !yes && text != "false" && text != "False" {
		return nil, invalid("enabled", "This parameter must be true or false.")
	}
	return &yes, nil
}

func (a *api) get(w http.ResponseWriter, r *http.Request, c app.Caller, id hook.ID) error {
	e, err := a.mount.Endpoint(r.Context(), c, id)
	if err != nil {
		return err
	}
	return adapter.Answer(w, http.StatusOK, a.wire(e))
}

func (a *api) update(w http.ResponseWriter, r *http.Request, c app.Caller, id hook.ID) error {
	m, err := adapter.Object(r, c)
	if err != nil {
		return err
	}
	change, err := readChange(m)
	if err != nil {
		return a.whole(r.Context(), c, id, change, err)
	}
	if change.URL == nil && change.Types == nil && change.Enabled == nil && change.Description == nil && change.MaxFailures == nil {
		return a.get(w, r, c, id)
	}
	e, err := a.mount.UpdateEndpoint(r.Context(), c, id, change)
	if err != nil {
		return a.whole(r.Context(), c, id, change, err)
	}
	return adapter.Answer(w, http.StatusOK, a.wire(e))
}

func (a *api) delete(w http.ResponseWriter, r *http.Request, c app.Caller, id hook.ID) error {
	if err := a.mount.DeleteEndpoint(r.Context(), c, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// whole adds to the error of one member the errors of the others: the framework's
// responses report all of them at once.
func (a *api) whole(ctx context.Context, c app.Caller, id hook.ID, change app.EndpointChange, err error) error {
	f := failureOf(err)
	if f.fields == nil || c.Kind != hook.TenantKey {
		return err
	}
	for _, fault := range a.mount.Faults(ctx, c, id, change) {
		if field := fieldOf(fault.Field); field != "" && len(f.fields[field]) == 0 {
			f.fields[field] = []string{fault.Message}
		}
	}
	return f
}

// readChange reads the writable members and collects all errors.
func readChange(m *adapter.Members) (app.EndpointChange, error) {
	change := app.EndpointChange{
		URL:         adapter.Take[string](m, "url", "a string"),
		Types:       adapter.Take[[]string](m, "events", "an array of strings"),
		Enabled:     adapter.Take[bool](m, "enabled", "true or false"),
		Description: adapter.Take[string](m, "description", "a string"),
		MaxFailures: adapter.Take[int](m, "max_consecutive_failures", "a whole number"),
	}
	if change.Types != nil && len(*change.Types) == 0 {
		m.Blame("events", "must name at least one event.")
	}
	if n := change.MaxFailures; n != nil && (*n < 1 || *n > maxFailures) {
		m.Blame("max_consecutive_failures", "must be 1 to 1000.")
	}
	m.Refuse("cannot be written.", "id", "access_mode", "secret_key", "consecutive_failures", "last_failure_at", "created", "updated")
	if wrong := m.Wrong(); len(wrong) > 0 {
		return change, invalidAll(wrong)
	}
	return change, nil
}
