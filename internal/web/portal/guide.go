package portal

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/portal"
	"github.com/posthorn/posthorn/internal/web/page"
)

// typeLine is an event type in a list.
type typeLine struct{ Name, Href, Description string }

func types(v *visit) (*screen, error) {
	rows, next, err := v.service().EventTypes(v.ctx(), v.caller, hook.TypeQuery{Page: hook.Page{Limit: 100, Cursor: v.query.Get("cursor")}})
	if err != nil {
		return nil, err
	}
	var lines []typeLine
	for i := range rows {
		lines = append(lines, typeLine{rows[i].Name, v.typeHref(rows[i].Name), rows[i].Description})
	}
	older := ""
	if next != "" {
		older = v.At("types", "cursor", next)
	}
	return &screen{Template: "types.html", Heading: "menu.types", Nav: "types", Data: struct {
		Lines []typeLine
		Older string
	}{lines, older}}, nil
}

func (v *visit) typeHref(name string) string {
	return v.At("types/" + strings.ReplaceAll(name, "/", "%2F"))
}

func eventType(v *visit) (*screen, error) {
	t, err := v.service().EventType(v.ctx(), v.caller, v.r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return &screen{Template: "type.html", Title: t.Name, Nav: "types", Data: struct {
		Description     string
		Schema, Example code
	}{t.Description, v.foreign(page.Pretty(t.Schema), page.MaxShown), v.foreign(page.Pretty(t.Example), page.MaxShown)}}, nil
}

// verifyPage is the content of the page about verifying requests.
type verifyPage struct {
	Endpoints []option
	Endpoint  string
	Profile   string
	Headers   []string
	Snippets  []page.Snippet
	Capture   string
	Problem   string
	Good      bool
	Cause     string // of a failure; empty: not asked, or valid
	Says      string
}

func verify(v *visit) (*screen, error) { return v.verifyScreen(v.query.Get("endpoint"), &verifyPage{}) }

func (v *visit) verifyScreen(endpoint string, p *verifyPage) (*screen, error) {
	rows, _, err := v.service().Endpoints(v.ctx(), v.caller, hook.EndpointQuery{Page: hook.Page{Limit: 100}})
	if err != nil {
		return nil, err
	}
	for i := range rows {
		host, path := page.HostOf(rows[i].URL)
		id := rows[i].ID.String()
		if endpoint == "" {
			endpoint = id
		}
		if id == endpoint {
			p.Profile, p.Endpoint = rows[i].Profile, id
		}
		p.Endpoints = append(p.Endpoints, option{id, host + path, id == endpoint})
	}
	for _, one := range v.service().Profiles() {
		if one.Name == p.Profile || p.Profile == "" && one.Default {
			p.Profile, p.Headers = one.Name, one.Headers
		}
	}
	p.Snippets = page.Snippets(p.Profile)
	return &screen{Template: "verify.html", Heading: "menu.verify", Nav: "verify", Data: p}, nil
}

func checkRequest(v *visit) (*screen, error) {
	p := &verifyPage{Capture: v.r.PostForm.Get("capture")}
	id, err := hook.ParseID(v.r.PostForm.Get("endpoint"))
	if err != nil {
		return nil, hook.NotFound("endpoint")
	}
	verdict, err := v.service().CheckRequest(v.ctx(), v.caller, id, []byte(p.Capture))
	switch code := hook.CodeOf(err); {
	case err == nil && verdict.Valid():
		p.Good, p.Says = true, v.T("cause.valid")
	case err == nil:
		p.Cause, p.Says = string(verdict.Cause), v.T("cause."+string(verdict.Cause))
	case code == hook.CodeInvalidRequest || code == hook.CodeTooLarge || code == hook.CodeEndpointDamaged:
		p.Problem = v.T("verify.unreadable")
		if v.lang == "en" {
			p.Problem = err.Error()
		}
	default:
		return nil, err
	}
	s, err := v.verifyScreen(id.String(), p)
	if err == nil && p.Problem != "" {
		s.Status = http.StatusUnprocessableEntity
	}
	return s, err
}

// fonts are the families behind the words of a theme.
var fonts = map[string]string{"serif": "ui-serif, Georgia, \"Times New Roman\", serif", "mono": "var(--mono)"}

// theme sends the look of the session as a style sheet. It is written from checked values
// only.
func theme(v *visit) (*screen, error) {
	t := v.session.Settings.Theme
	var b strings.Builder
	b.WriteString(":root {\n")
	if p, ok := portal.Colors(t.Accent); ok {
		fmt.Fprintf(&b, "  --link: light-dark(%s, %s);\n  --focus: light-dark(%s, %s);\n  --solid: light-dark(%s, %s);\n  --solid-hover: light-dark(%s, %s);\n  --tint: light-dark(%s, %s);\n",
			p.Light.Link, p.Dark.Link, p.Light.Link, p.Dark.Link, p.Light.Solid, p.Dark.Solid, p.Light.Hover, p.Dark.Hover, p.Light.Tint, p.Dark.Tint)
	}
	if t.Radius != nil && *t.Radius >= 0 && *t.Radius <= 16 {
		fmt.Fprintf(&b, "  --r: %dpx;\n  --r-sm: %dpx;\n", *t.Radius, *t.Radius*5/8)
	}
	if family, ok := fonts[t.Font]; ok {
		fmt.Fprintf(&b, "  --sans: %s;\n", family)
	}
	b.WriteString("}\n")
	v.w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = v.w.Write([]byte(b.String())) // the client disconnected
	return nil, nil
}

// logo sends the logo of the session.
func logo(v *visit) (*screen, error) {
	kind, data, ok := strings.Cut(strings.TrimPrefix(v.session.Settings.Theme.Logo, "data:"), ";base64,")
	raw, err := base64.StdEncoding.DecodeString(data)
	if !ok || err != nil || !slices.Contains([]string{"image/png", "image/jpeg", "image/webp"}, kind) {
		return nil, hook.NotFound("logo")
	}
	v.w.Header().Set("Content-Type", kind)
	_, _ = v.w.Write(raw) // the client disconnected
	return nil, nil
}
