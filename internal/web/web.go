// Package web implements the web interface for operators: server-rendered pages under /ui/
// on top of internal/app.
//
// A page shows only what the key of its session may see. Stored and received text appears on
// a page as text only. GET changes nothing, a request from another site changes nothing, and
// no page requests anything from another host. Every page works without scripts; the ones
// that there are only add to it.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/live"
	"github.com/posthorn/posthorn/internal/web/page"
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

	Payloads Payloads
	Settings func() []Setting // the options in force; nil: not known
	Node     func() Node      // this node now; nil: not known
	Hints    *live.Hints      // about what was committed; nil: pages look from time to time only
	// PortalOrigins may show the portal in a frame; empty: those that each session names.
	PortalOrigins []string
}

// Payloads says when pages show the data of events and the answers of receivers.
type Payloads string

// The values of Payloads.
const (
	PayloadsShown Payloads = "shown" // on their pages; the zero value means the same
	PayloadsAsked Payloads = "asked" // after a press of a button
	PayloadsNever Payloads = "never"
)

// Setting is an option in force. Secrets in Value are masked.
type Setting struct {
	Name, Value string
	Source      string // where it was set; empty: the default
}

// Node is the state of the node that answers.
type Node struct {
	Name, Store         string
	Alive               int // nodes that share the store
	InFlight, Waiting   int // attempts, deliveries in memory
	Endpoints, Queued   int // with a queue in memory; writes that wait
	Commits, Deliveries int64
	Attempts, Events    int64
	LogBytes            int64 // of SQLite's log
	Started             time.Time
	Lease               time.Duration // 0: the store is not shared
}

// Handler serves everything under /ui/. It is safe for concurrent use.
type Handler struct {
	o         Options
	mux       *http.ServeMux
	guarded   http.Handler // mux with cross-site request protection
	templates map[string]*template.Template
	static    string // path of the static files, including their hash
	streams   live.Streams
	shared    shared
	gzipped   map[string][]byte // static files, by name
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
	if o.Hints == nil {
		o.Hints = new(live.Hints)
	}
	h := &Handler{o: o, mux: http.NewServeMux()}
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
	script, err := files.ReadFile("static/live.js")
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if h.portal, err = portal.New(portal.Options{Service: o.Service, Log: o.Log, Dev: o.Dev, Now: o.Now, Style: style, Icons: icons, Live: script, Hints: o.Hints, Origins: o.PortalOrigins}); err != nil {
		return nil, err
	}
	h.routes()
	h.guarded = page.Guard(h.mux, h.otherSite)
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
	if err := h.compress(names); err != nil {
		return err
	}
	base := template.New("layout.html").Funcs(template.FuncMap{"icon": h.icon, "pair": pair, "both": func(a, b any) []any { return []any{a, b} }, "table": func(l []deliveryLine) deliveryTable { return deliveryTable{Lines: l} }})
	if h.templates, err = page.Templates(base, files, "templates/layout.html", "templates/parts.html"); err != nil {
		return fmt.Errorf("web: %w", err)
	}
	return nil
}

// icon returns the path of an icon, for templates.
func (h *Handler) icon(name string) string { return h.static + "/icons.svg#" + name }

// pair joins a name and a text for a template that takes both.
func pair(name, text string) [2]string { return [2]string{name, text} }

// policy permits a page to use its own style sheet, scripts, images and stream, and nothing
// else. Only the trusted-types policy "posthorn" of live.js makes HTML of text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types posthorn"

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
	head.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=(), clipboard-write=(self)")
	head.Set("Cache-Control", "no-store")
	if page.Changes(r) {
		most := int64(maxForm)
		if strings.Contains(r.URL.Path, "/type/") {
			most = maxTypeForm
		}
		r.Body = http.MaxBytesReader(w, r.Body, most)
	}
	h.guarded.ServeHTTP(w, r)
}

// The maximum sizes of a form and of the form of an event type, in bytes. A schema takes up to
// three times its size in a form.
const (
	maxForm     = 64 << 10
	maxTypeForm = 256 << 10
)

// errForm is the answer to a form that is larger than that.
var errForm = &hook.Error{Code: hook.CodeTooLarge, Message: "The form is too large, or was cut on its way here. Nothing was saved. Go back, shorten what you typed, and send it again."}

// mediaTypes are the media types of the static files. The tables of the machine may lack them.
var mediaTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func (h *Handler) file(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	text, err := files.ReadFile("static/" + name)
	if err != nil || path.Base(path.Dir(r.URL.Path)) != path.Base(h.static) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Type", mediaTypes[path.Ext(name)])
	w.Header().Set("Vary", "Accept-Encoding")
	if takesGzip(r) {
		w.Header().Set("Content-Encoding", "gzip")
		text = h.gzipped[name]
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text) // the client disconnected
}

// compress keeps the static files compressed.
func (h *Handler) compress(names []string) error {
	h.gzipped = map[string][]byte{}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return fmt.Errorf("web: %w", err)
		}
		h.gzipped[path.Base(name)] = zip(text)
	}
	return nil
}

func zip(text []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(text) // into memory
	_ = z.Close()
	return out.Bytes()
}

func takesGzip(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
}

// Close ends the streams; browsers open them again at the next start.
func (h *Handler) Close() {
	h.streams.Close()
	h.portal.Close()
}

// otherSite refuses a form that was not submitted from one of these pages.
func (h *Handler) otherSite(w http.ResponseWriter, r *http.Request) {
	h.fail(w, r, nil, &hook.Error{Code: hook.CodeForbidden, Logged: true,
		Message: "This request did not come from a page of this server, so nothing was done. Go back to the page and press the button there."})
}
