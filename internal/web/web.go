// Package web implements the web interface for operators: server-rendered pages under /ui/
// on top of internal/app.
//
// A page shows only what the key of its session may see. Stored and received text appears on
// a page as text only. GET changes nothing, a request from another site changes nothing, and
// no page requests anything from another host. Every page works without scripts, and there
// are none.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/portal"
)

//go:embed templates/*.html static/*
var files embed.FS

// Options configures the pages. Service and Log are required.
type Options struct {
	Service *app.Service
	Log     *slog.Logger
	Version string
	Dev     bool // cookies may be sent over plain http
	Now     func() time.Time
	// PortalOrigins may show the portal in a frame; empty: those that each session names.
	PortalOrigins []string
}

// Handler serves everything under /ui/. It is safe for concurrent use.
type Handler struct {
	o         Options
	mux       *http.ServeMux
	guarded   http.Handler // mux with cross-site request protection
	templates map[string]*template.Template
	static    string // path of the static files, including their hash
	portal    *portal.Handler
}

// New returns the handler of the pages. It returns an error if a template is invalid.
func New(o Options) (*Handler, error) {
	if o.Service == nil || o.Log == nil {
		return nil, errors.New("web: Service and Log are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &Handler{o: o, mux: http.NewServeMux(), templates: map[string]*template.Template{}}
	if err := h.load(); err != nil {
		return nil, err
	}
	style, err := files.ReadFile("static/posthorn.css")
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	icons, err := files.ReadFile("static/icons.svg")
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if h.portal, err = portal.New(portal.Options{Service: o.Service, Log: o.Log, Dev: o.Dev, Now: o.Now, Style: style, Icons: icons, Origins: o.PortalOrigins}); err != nil {
		return nil, err
	}
	h.routes()
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(h.otherSite))
	h.guarded = guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if changes(r) && r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "" {
			h.otherSite(w, r) // not from a browser, or from one too old to send the form's origin
			return
		}
		h.mux.ServeHTTP(w, r)
	}))
	return h, nil
}

// load hashes the static files and parses the templates.
func (h *Handler) load() error {
	sum := sha256.New()
	names, err := fs.Glob(files, "static/*")
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return fmt.Errorf("web: %w", err)
		}
		sum.Write(text)
	}
	h.static = "/ui/static/" + hex.EncodeToString(sum.Sum(nil)[:8])
	layout, err := template.New("layout.html").Funcs(template.FuncMap{"icon": h.icon}).ParseFS(files, "templates/layout.html")
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	pages, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	for _, name := range pages {
		base := path.Base(name)
		if base == "layout.html" {
			continue
		}
		t, err := layout.Clone()
		if err == nil {
			t, err = t.ParseFS(files, name)
		}
		if err != nil {
			return fmt.Errorf("web: %w", err)
		}
		h.templates[base] = t
	}
	return nil
}

// icon returns the path of an icon, for templates.
func (h *Handler) icon(name string) string { return h.static + "/icons.svg#" + name }

// policy permits a page to use its own style sheet and images, and nothing else.
const policy = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP serves the pages under /ui/ and /portal/.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/portal/") {
		h.portal.ServeHTTP(w, r)
		return
	}
	head := w.Header()
	head.Set("Content-Security-Policy", policy)
	head.Set("X-Frame-Options", "DENY")
	head.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: with it, browsers send "Origin: null" with forms of these pages. Such
	// forms are refused where Sec-Fetch-Site is not sent, which is on plain http.
	head.Set("Referrer-Policy", "same-origin")
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	head.Set("Cache-Control", "no-store")
	if changes(r) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	}
	h.guarded.ServeHTTP(w, r)
}

// maxForm is the maximum size of a form, in bytes.
const maxForm = 16 << 10

func changes(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

func (h *Handler) file(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	text, err := files.ReadFile("static/" + name)
	if err != nil || path.Base(path.Dir(r.URL.Path)) != path.Base(h.static) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
}

// otherSite refuses a form that was not submitted from one of these pages.
func (h *Handler) otherSite(w http.ResponseWriter, r *http.Request) {
	h.fail(w, r, nil, &hook.Error{Code: hook.CodeForbidden, Logged: true,
		Message: "This request did not come from a page of this server, so nothing was done. Go back to the page and press the button there."})
}
