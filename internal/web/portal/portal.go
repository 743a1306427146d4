// Package portal implements the pages that show one customer its own webhooks: server-rendered,
// in English and German, usable without scripts, and for frames of exact origins.
//
// A page shows and does only what internal/app lets the caller of its session see and do. The
// session's short id in the path says which session is meant; its cookie proves it.
package portal

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
	"github.com/posthorn/posthorn/internal/web/live"
	"github.com/posthorn/posthorn/internal/web/page"
)

//go:embed templates/*.html static/* words/*.yaml
var files embed.FS

// Options configures the portal. Service and Log are required.
type Options struct {
	Service      *app.Service
	Log          *slog.Logger
	Dev          bool // cookies may be sent over plain http
	Now          func() time.Time
	Style, Icons []byte      // the style sheet and the icons of the dashboard
	Live         []byte      // the script that keeps pages up to date
	Hints        *live.Hints // about what was committed; nil: pages look from time to time only
	Origins      []string    // may show pages without a session in a frame
}

// Handler serves everything under /portal/. It is safe for concurrent use.
type Handler struct {
	o         Options
	outer     *http.ServeMux // /portal/...
	inner     *http.ServeMux // below /portal/{sid}
	guarded   http.Handler
	templates map[string]*template.Template
	static    map[string][]byte
	hash      string // of the static files
	words     map[string]*catalogue
	streams   live.Streams
}

// New returns the handler of the portal. It returns an error if a template or a catalogue is
// invalid.
func New(o Options) (*Handler, error) {
	if o.Service == nil || o.Log == nil {
		return nil, errors.New("portal: Service and Log are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Hints == nil {
		o.Hints = new(live.Hints)
	}
	h := &Handler{o: o, outer: http.NewServeMux(), inner: http.NewServeMux(),
		static: map[string][]byte{"posthorn.css": o.Style, "icons.svg": o.Icons, "live.js": o.Live}}
	var err error
	if h.words, err = catalogues(); err == nil {
		err = h.load()
	}
	if err != nil {
		return nil, fmt.Errorf("portal: %w", err)
	}
	h.routes()
	h.guarded = page.Guard(h.outer, h.otherSite)
	return h, nil
}

func (h *Handler) load() error {
	names, err := fs.Glob(files, "static/*")
	if err != nil {
		return err
	}
	for _, name := range names {
		if h.static[path.Base(name)], err = files.ReadFile(name); err != nil {
			return err
		}
	}
	sum := sha256.New()
	for _, name := range []string{"posthorn.css", "icons.svg", "portal.css", "portal.js", "live.js"} {
		sum.Write(h.static[name])
	}
	h.hash = hex.EncodeToString(sum.Sum(nil)[:8])
	h.templates, err = page.Templates(template.New("layout.html").Funcs(template.FuncMap{"icon": h.icon, "static": h.file}), files, "templates/layout.html")
	return err
}

// file returns the path of a static file, and icon that of an icon, for templates.
func (h *Handler) file(name string) string { return "/portal/static/" + h.hash + "/" + name }
func (h *Handler) icon(name string) string { return h.file("icons.svg") + "#" + name }

// policy permits a page its own style sheets, scripts, images and stream, and being shown in
// frames of the origins. Only the trusted-types policy "posthorn" of live.js makes HTML of text.
func policy(origins []string) string {
	ancestors := "'none'"
	if len(origins) > 0 {
		ancestors = strings.Join(origins, " ")
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors " + ancestors +
		"; require-trusted-types-for 'script'; trusted-types posthorn"
}

// ServeHTTP serves the pages under /portal/.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Security-Policy", policy(h.o.Origins))
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "same-origin") // not no-referrer: forms would have "Origin: null"
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=(), clipboard-write=(self)")
	head.Set("Cache-Control", "no-store")
	if page.Changes(r) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	}
	h.guarded.ServeHTTP(w, page.Named(r))
}

// maxForm is the maximum size of a form, in bytes. The largest holds a captured request of
// app.MaxCapture, escaped.
const maxForm = 3*app.MaxCapture + 16<<10

func (h *Handler) serveFile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	text, ok := h.static[name]
	if !ok || r.PathValue("hash") != h.hash {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
}

// otherSite refuses a form that was not submitted from one of these pages.
func (h *Handler) otherSite(w http.ResponseWriter, r *http.Request) {
	h.show(w, h.stranger(r, nil), &screen{Template: "closed.html", Heading: "closed.other_site", Status: http.StatusForbidden, Data: closed{Says: "closed.other_site_says"}})
}
