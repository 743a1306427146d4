package portal

import (
	"html/template"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Route is a row of the route table, for tests that iterate over all of it.
type Route struct {
	Path            string
	Needs           hook.Capabilities
	Show, Act, Live bool
}

// Routes returns the table of pages and actions.
func Routes() []Route {
	var out []Route
	for _, one := range table() {
		out = append(out, Route{one.path, one.needs, one.show != nil, one.act != nil, one.live})
	}
	return out
}

// Texts returns the catalogue of a language, with the two forms of counted texts joined.
func Texts(lang string) map[string]string {
	all, err := catalogues()
	if err != nil {
		panic(err)
	}
	out := map[string]string{}
	for key, t := range all[lang].texts {
		out[key] = strings.TrimSpace(t.one + " " + t.other)
	}
	return out
}

// Files returns the templates and the Go files' embedded words.
var Files = files

// Templates returns the parsed templates.
func (h *Handler) Templates() map[string]*template.Template { return h.templates }

// Asked returns the note about a Retry-After of an attempt.
func Asked(lang string, row hook.DeliveryRow, attempts []hook.Attempt, i int) string {
	all, err := catalogues()
	if err != nil {
		panic(err)
	}
	return (&visit{lang: lang, words: all[lang]}).asked(&row, attempts, i)
}

// Ahead returns when failures disable an endpoint, in words.
func Ahead(lang string, t hook.Trip, h hook.Health, now time.Time) string {
	all, err := catalogues()
	if err != nil {
		panic(err)
	}
	return (&visit{lang: lang, words: all[lang], now: now}).ahead(t, h)
}
