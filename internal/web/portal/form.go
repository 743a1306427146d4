package portal

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// endpointForm is the form of an endpoint, as it was filled in.
type endpointForm struct {
	URL, Title, Description, Types, Rate, Headers string
	Remove                                        []string
	Revision, Once                                string
	Problem, Field                                string // what is wrong, and where
	Conflict                                      bool
	Known                                         []typeChoice
}

type typeChoice struct {
	Name, Description string
	Checked           bool
}

func formOf(e *hook.Endpoint) *endpointForm {
	f := &endpointForm{URL: hook.MaskURL(e.URL), Title: e.Title, Description: e.Description, Types: strings.Join(e.Types, " "), Revision: strconv.FormatInt(e.Revision, 10)}
	if e.RateLimit > 0 {
		f.Rate = strconv.FormatFloat(e.RateLimit, 'g', -1, 64)
	}
	return f
}

func (v *visit) formIn() *endpointForm {
	in := v.r.PostForm
	return &endpointForm{URL: strings.TrimSpace(in.Get("url")), Title: in.Get("title"), Description: strings.ReplaceAll(in.Get("description"), "\r\n", "\n"), Types: in.Get("types"),
		Rate: strings.TrimSpace(in.Get("rate")), Headers: in.Get("headers"), Remove: in["remove"], Revision: in.Get("revision"), Once: in.Get("once")}
}

// wrong notes what app says is wrong with the form. Other errors are returned.
func (f *endpointForm) wrong(v *visit, err error) error {
	status := page.Status(hook.CodeOf(err))
	if status != 422 && status != 409 && status != 412 {
		return err
	}
	var field string
	if e, ok := errors.AsType[*hook.Error](err); ok {
		field, _, _ = strings.Cut(e.Field, "/")
	}
	f.Problem, f.Field, f.Conflict = v.says(err), field, hook.CodeOf(err) == hook.CodePrecondition
	switch field {
	case "event_types":
		f.Field = "types"
	case "rate_limit":
		f.Field = "rate"
	case "url", "title", "description", "headers":
	default:
		f.Field = "" // not one of the form's
	}
	return nil
}

// parts reads the lines and numbers of the form.
func (f *endpointForm) parts(v *visit, picked []string) (types []string, rate float64, headers []hook.Header, err error) {
	types = append(strings.FieldsFunc(f.Types, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\r' || r == '\t' }), picked...)
	slices.Sort(types)
	types = slices.Compact(types)
	if types == nil {
		types = []string{}
	}
	if f.Rate != "" {
		rate, err = strconv.ParseFloat(strings.Replace(f.Rate, ",", ".", 1), 64)
		if err != nil || !(rate >= 0) {
			return types, 0, nil, v.refuse(hook.CodeInvalidRequest, "rate_limit", "form.rate_wrong")
		}
	}
	for line := range strings.Lines(f.Headers) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return types, rate, nil, v.refuse(hook.CodeHeaderInvalid, "headers", "form.headers_wrong")
		}
		headers = append(headers, hook.Header{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	return types, rate, headers, nil
}

// choices returns the catalogue of event types for the form.
func (v *visit) choices(picked []string) ([]typeChoice, error) {
	rows, _, err := v.service().EventTypes(v.ctx(), v.caller, hook.TypeQuery{Page: hook.Page{Limit: 100}})
	var out []typeChoice
	for i := range rows {
		out = append(out, typeChoice{rows[i].Name, rows[i].Description, slices.Contains(picked, rows[i].Name)})
	}
	return out, err
}

// once makes a form that was sent twice act once. made returns the id of what was made, or an
// empty text if nothing was.
func (v *visit) once(route, key string, made func(result any) string) *app.Once {
	if key == "" {
		return nil
	}
	return &app.Once{Route: "portal " + route, Key: page.FormKey(key), BodyHash: sha256.Sum256([]byte(v.r.PostForm.Encode())), Answer: func(result any) (int, []byte) {
		id := made(result)
		if id == "" {
			return 0, nil
		}
		return http.StatusCreated, []byte(id)
	}}
}
