package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// formValues are the fields of a form as they were filled in, with what is wrong with them.
type formValues struct {
	Value   map[string]string
	Problem map[string]string // by field
	Top     string            // a problem of the whole form
	Once    string            // Idempotency-Key
}

// Wrong returns a field with what is wrong with it, for templates.
func (f formValues) Wrong(field string) [2]string { return [2]string{field, f.Problem[field]} }

// filled returns the named fields of a form that was sent.
func (v *visit) filled(names ...string) formValues {
	f := formValues{Value: map[string]string{}, Problem: map[string]string{}, Once: v.r.PostForm.Get("once")}
	for _, name := range names {
		f.Value[name] = v.r.PostForm.Get(name)
	}
	return f
}

// fresh returns a form whose fields have values.
func fresh(pairs ...string) formValues {
	f := formValues{Value: map[string]string{}, Problem: map[string]string{}, Once: rand.Text()}
	for i := 0; i+1 < len(pairs); i += 2 {
		f.Value[pairs[i]] = pairs[i+1]
	}
	return f
}

// refuse notes an error beside its field. It returns false for an error that is not about
// what was filled in.
func (f *formValues) refuse(err error) bool {
	e, ok := errors.AsType[*hook.Error](err)
	if !ok {
		return false
	}
	if status := page.Status(e.Code); status >= 500 || status == http.StatusForbidden || status == http.StatusUnauthorized {
		return false
	}
	field, _, _ := strings.Cut(e.Field, "/")
	switch {
	case field == "event_types":
		field = "types"
	case e.Code == hook.CodeTenantNotFound:
		field = "tenant"
	}
	if _, known := f.Value[field]; known {
		f.Problem[field] = e.Message
	} else {
		f.Top = e.Message
	}
	return true
}

// once makes an action happen once for the key of its form, also after a second press. of is
// what the form asks for.
func (v *visit) once(route string, f *formValues, answer func(result any) string) *app.Once {
	if f.Once == "" {
		return nil
	}
	form := url.Values{}
	for name, values := range v.r.PostForm {
		form[name] = values
	}
	return &app.Once{Route: "UI " + route, Key: page.FormKey(f.Once), BodyHash: sha256.Sum256([]byte(form.Encode())),
		Answer: func(result any) (int, []byte) { return http.StatusCreated, []byte(answer(result)) }}
}

// words splits a list that was typed: at commas and white space.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' })
}

// endpointFields are the fields of the form of an endpoint.
var endpointFields = []string{"tenant", "url", "types", "channels", "title", "description", "profile", "headers", "rate_limit", "max_in_flight", "max_consecutive_failures", "retry", "revision"}

// endpointForm is the content of the form of an endpoint.
type endpointForm struct {
	formValues
	Action, Back string
	New          bool
	Profiles     []choice
	Types        []string // of the catalogue
	Exponential  bool     // the endpoint has a plan that this form cannot show
	Differs      []difference
}

// difference is a field whose value was changed by somebody else meanwhile.
type difference struct{ Field, Yours, Now string }

func (v *visit) endpointForm(f formValues, e *hook.Endpoint) *screen {
	p := &endpointForm{formValues: f, New: e == nil, Action: v.at("endpoints/new"), Back: v.at("endpoints")}
	s := &screen{Template: "endpointform.html", Title: "New endpoint", Heading: "New endpoint", Nav: "endpoints", Data: p,
		Commands: []string{"posthorn endpoint create --tenant acme --url https://example.com/hook --event-types \"*\""}}
	if e != nil {
		host, path := page.HostOf(e.URL)
		p.Back = v.at("endpoints/" + e.ID.String())
		p.Action = p.Back + "/edit"
		p.Exponential = e.Retry != nil && len(e.Retry.Steps) == 0
		s.Title, s.Heading = "Change "+host, "Change "+host+path
		s.Commands = []string{"posthorn endpoint update " + e.ID.String() + " --title \"Payments\""}
	}
	for _, one := range v.service().Profiles() {
		chosen := f.Value["profile"]
		p.Profiles = append(p.Profiles, choice{Name: one.Name, Value: one.Name, Current: chosen == one.Name || chosen == "" && one.Default})
	}
	if rows, _, err := v.service().EventTypes(v.quiet, v.caller, hook.TypeQuery{Page: hook.Page{Limit: 250}}); err == nil {
		for i := range rows {
			p.Types = append(p.Types, rows[i].Name)
		}
	}
	if len(f.Problem) > 0 || f.Top != "" {
		s.Status = http.StatusUnprocessableEntity
	}
	return s
}

func newEndpoint(v *visit) (*screen, error) {
	return v.endpointForm(fresh("tenant", v.query.Get("tenant"), "types", "*"), nil), nil
}

// number parses an optional number of a form.
func (f *formValues) number(name string, of func(string) error) {
	if text := strings.TrimSpace(f.Value[name]); text != "" {
		if of(text) != nil {
			f.Problem[name] = "This must be a number."
		}
	}
}

// headerLines parses "Name: value" lines.
func (f *formValues) headerLines() (out []hook.Header) {
	for _, line := range strings.Split(f.Value["headers"], "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			f.Problem["headers"] = "Each line must be a name, a colon and a value."
		}
		out = append(out, hook.Header{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	return out
}

// channels parses the channels of an endpoint; nil: events of any channel.
func (f *formValues) channels() []string {
	if names := words(f.Value["channels"]); len(names) > 0 {
		return names
	}
	return nil
}

// retrySteps parses the delays of a plan; nil: the profile's.
func (f *formValues) retrySteps() *hook.Retry {
	parts := words(f.Value["retry"])
	if len(parts) == 0 {
		return nil
	}
	r := &hook.Retry{}
	for _, part := range parts {
		d, err := time.ParseDuration(part)
		if err != nil {
			f.Problem["retry"] = strconv.Quote(part) + " is not a delay such as 5s, 30m or 2h."
			return nil
		}
		r.Steps = append(r.Steps, d)
	}
	return r
}

func createEndpoint(v *visit) (*screen, string, error) {
	f := v.filled(endpointFields...)
	in := app.NewEndpoint{Tenant: strings.TrimSpace(f.Value["tenant"]), URL: strings.TrimSpace(f.Value["url"]), Types: append([]string{}, words(f.Value["types"])...), Channels: f.channels(),
		Title: strings.TrimSpace(f.Value["title"]), Description: unixLines(f.Value["description"]), Profile: f.Value["profile"], Headers: f.headerLines(), Retry: f.retrySteps()}
	f.number("rate_limit", func(s string) (err error) { in.RateLimit, err = strconv.ParseFloat(s, 64); return err })
	f.number("max_in_flight", func(s string) (err error) { in.MaxInFlight, err = strconv.Atoi(s); return err })
	f.number("max_consecutive_failures", func(s string) error {
		n, err := strconv.Atoi(s)
		in.MaxFailures = &n
		return err
	})
	if len(f.Problem) > 0 {
		return v.endpointForm(f, nil), "", nil
	}
	type answer struct{ ID, Secret string }
	made, again, err := v.service().CreateEndpoint(v.ctx(), v.caller, in, v.once("endpoints", &f, func(result any) string {
		e, _ := result.(app.Endpoint)
		text, _ := json.Marshal(answer{e.ID.String(), e.Secret})
		return string(text)
	}))
	if err != nil {
		if f.refuse(err) {
			return v.endpointForm(f, nil), "", nil
		}
		return nil, "", err
	}
	shown := answer{}
	if again != nil {
		err = json.Unmarshal(again.Body, &shown)
	} else {
		shown = answer{made.ID.String(), made.Secret}
	}
	if err != nil {
		return nil, "", err
	}
	var warnings []string
	for _, w := range made.Warnings {
		warnings = append(warnings, w.Message)
	}
	host, _ := page.HostOf(in.URL)
	return v.secretPage("The endpoint "+host+" was made", shown.Secret, "Its receiver needs the secret to verify signatures.", v.at("endpoints/"+shown.ID), shown.ID, warnings...), "", nil
}

func unixLines(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }

// secretPage shows a secret once.
type secretPage struct {
	What, Secret, Says string
	Next, Test         string
	Warnings           []string
}

func (v *visit) secretPage(heading, secret, says, next, endpoint string, warnings ...string) *screen {
	p := secretPage{What: "secret", Secret: secret, Says: says, Next: next, Warnings: warnings}
	if endpoint != "" {
		p.Test = v.at("endpoints/" + endpoint + "/test")
	}
	return &screen{Template: "secret.html", Title: "Secret", Heading: heading, Nav: "endpoints", Secret: true, Data: p}
}

// valuesOf returns the fields of an endpoint as its form shows them.
func valuesOf(e *hook.Endpoint) []string {
	out := []string{"tenant", e.Scope.Tenant, "url", hook.MaskURL(e.URL), "types", strings.Join(e.Types, "\n"), "channels", strings.Join(e.Channels, " "), "title", e.Title, "description", e.Description, "profile", e.Profile,
		"revision", strconv.FormatInt(e.Revision, 10), "rate_limit", "", "max_in_flight", "", "max_consecutive_failures", "", "retry", "", "headers", ""}
	set := func(name, value string) {
		for i := 0; i < len(out); i += 2 {
			if out[i] == name {
				out[i+1] = value
			}
		}
	}
	if e.RateLimit > 0 {
		set("rate_limit", strconv.FormatFloat(e.RateLimit, 'g', -1, 64))
	}
	if e.MaxInFlight > 0 {
		set("max_in_flight", strconv.Itoa(e.MaxInFlight))
	}
	if e.MaxFailures > 0 {
		set("max_consecutive_failures", strconv.Itoa(e.MaxFailures))
	}
	if e.Retry != nil {
		var steps []string
		for _, d := range e.Retry.Steps {
			steps = append(steps, strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m"))
		}
		set("retry", strings.Join(steps, " "))
	}
	var heads []string
	for _, h := range e.Headers {
		heads = append(heads, h.Name+": ***")
	}
	set("headers", strings.Join(heads, "\n"))
	return out
}

func editEndpoint(v *visit) (*screen, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, err
	}
	e, err := v.service().EndpointNamed(v.quiet, v.caller, "", id)
	if err != nil {
		return nil, err
	}
	return v.endpointForm(fresh(valuesOf(e)...), e), nil
}

// errChanged is the answer to a form of an endpoint that somebody else changed meanwhile.
var errChanged = &hook.Error{Code: hook.CodePrecondition, Message: "Somebody else changed the endpoint meanwhile. Nothing of yours was saved yet."}

func changeEndpoint(v *visit) (*screen, string, error) {
	id, err := v.id("endpoint")
	if err != nil {
		return nil, "", err
	}
	old, err := v.service().EndpointNamed(v.quiet, v.caller, "", id)
	if err != nil {
		return nil, "", err
	}
	f := v.filled(endpointFields...)
	types, title, description, profile, address := append([]string{}, words(f.Value["types"])...), strings.TrimSpace(f.Value["title"]), unixLines(f.Value["description"]), f.Value["profile"], strings.TrimSpace(f.Value["url"])
	channels := f.channels()
	var limit float64
	var flight, failures int
	change := app.EndpointChange{Types: &types, Channels: &channels, Title: &title, Description: &description, Profile: &profile, URL: &address, RateLimit: &limit, MaxInFlight: &flight, MaxFailures: &failures}
	f.number("rate_limit", func(s string) (err error) { limit, err = strconv.ParseFloat(s, 64); return err })
	f.number("max_in_flight", func(s string) (err error) { flight, err = strconv.Atoi(s); return err })
	f.number("max_consecutive_failures", func(s string) (err error) { failures, err = strconv.Atoi(s); return err })
	change.Headers = headerChanges(old, f.headerLines())
	if plan := f.retrySteps(); old.Retry == nil || len(old.Retry.Steps) > 0 {
		change.Retry = func(before *hook.Retry) (*hook.Retry, error) {
			if plan != nil && before != nil && slices.Equal(plan.Steps, before.Steps) {
				return before, nil // as it was, with what the form does not show
			}
			return plan, nil
		}
	}
	if address == hook.MaskURL(old.URL) {
		change.URL = nil
	}
	if profile == old.Profile {
		change.Profile = nil
	}
	if len(f.Problem) > 0 {
		return v.endpointForm(f, old), "", nil
	}
	change.Check = func(now hook.Endpoint) error {
		if strconv.FormatInt(now.Revision, 10) != f.Value["revision"] {
			return errChanged
		}
		return nil
	}
	made, err := v.service().UpdateEndpoint(v.ctx(), v.caller, id, change)
	switch {
	case hook.CodeOf(err) == hook.CodePrecondition && err != nil, hook.CodeOf(err) == hook.CodeConflict && err != nil:
		return v.changedMeanwhile(id, f)
	case err != nil && f.refuse(err):
		return v.endpointForm(f, old), "", nil
	case err != nil:
		return nil, "", err
	case made.Secret != "":
		return v.secretPage("The endpoint was changed and has a new secret", made.Secret, "The new profile cannot use the old secret, so its receiver needs this one from now on.", v.at("endpoints/"+id.String()), id.String()), "", nil
	}
	return nil, v.at("endpoints/"+id.String(), "done", "changed"), nil
}

// headerChanges returns the changes from the headers of an endpoint to those of its form,
// where *** stands for a value that is not shown.
func headerChanges(old *hook.Endpoint, lines []hook.Header) (out []app.HeaderChange) {
	for _, h := range old.Headers {
		if !slices.ContainsFunc(lines, func(l hook.Header) bool { return strings.EqualFold(l.Name, h.Name) }) {
			out = append(out, app.HeaderChange{Name: h.Name})
		}
	}
	for _, l := range lines {
		out = append(out, app.HeaderChange{Name: l.Name, Value: &l.Value})
	}
	return out
}

// changedMeanwhile shows both versions side by side. Saving again writes the own one.
func (v *visit) changedMeanwhile(id hook.ID, f formValues) (*screen, string, error) {
	now, err := v.service().EndpointNamed(v.quiet, v.caller, "", id)
	if err != nil {
		return nil, "", err
	}
	var differs []difference
	current := valuesOf(now)
	for i := 0; i < len(current); i += 2 {
		if name := current[i]; name != "revision" && strings.Join(strings.Fields(unixLines(f.Value[name])), " ") != strings.Join(strings.Fields(current[i+1]), " ") {
			differs = append(differs, difference{name, f.Value[name], current[i+1]})
		}
	}
	f.Value["revision"] = strconv.FormatInt(now.Revision, 10)
	f.Top = errChanged.Message + " Compare the two below: saving again writes your values over the others."
	s := v.endpointForm(f, now)
	s.Status = http.StatusPreconditionFailed
	p, _ := s.Data.(*endpointForm)
	p.Differs = differs
	return s, "", nil
}
