package server

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/api/jwks"
	"github.com/posthorn/posthorn/internal/api/paysway"
	"github.com/posthorn/posthorn/internal/api/paywise"
	"github.com/posthorn/posthorn/internal/api/svix"
	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/web"
)

// mountNone disables all management APIs but the native one.
const mountNone = "none"

// mounts are the management APIs that can be served besides the native one.
var mounts = []string{"paysway", "paywise", "svix"}

// checkMounts rejects unknown APIs, and none together with others.
func (c *Config) checkMounts() error {
	for _, name := range c.Mount {
		if name != mountNone && !slices.Contains(mounts, name) {
			return wrong("mount", "%q is not one of paysway, paywise, svix, none", name)
		}
		if name == mountNone && len(c.Mount) > 1 {
			return wrong("mount", "none cannot be combined with other values")
		}
	}
	if c.SubscriptionLimit < 0 || c.SubscriptionLimit > 100_000 {
		return wrong("paysway-subscription-limit", "%d is not between 0 and 100000", c.SubscriptionLimit)
	}
	return nil
}

// mountSeeds serves the configured management APIs, by default that of the default profile,
// and the public keys if they are enabled.
func (n *Node) mountSeeds() error {
	if n.cfg.PublicJWKS {
		n.mux.Handle(jwks.Pattern, jwks.New(jwks.Options{Service: n.app, Log: n.apiLog, Refused: n.counts.refuse}))
	}
	wanted := n.cfg.Mount
	if len(wanted) == 0 {
		wanted = []string{n.app.Management()}
	}
	for _, name := range mounts {
		if !slices.Contains(wanted, name) {
			continue
		}
		var h http.Handler
		var err error
		patterns := paysway.Patterns()
		switch name {
		case "paysway":
			h, err = paysway.New(paysway.Options{Service: n.app, Log: n.apiLog, Refused: n.counts.refuse, Limit: n.cfg.SubscriptionLimit})
		case "svix":
			h, err = svix.New(svix.Options{Service: n.app, Log: n.apiLog, Refused: n.counts.refuse})
			patterns = svix.Patterns()
		default:
			h, err = paywise.New(paywise.Options{Service: n.app, Log: n.apiLog, Refused: n.counts.refuse})
			patterns = paywise.Patterns()
		}
		if err != nil {
			return fmt.Errorf("--mount %s: %w", name, err)
		}
		for _, pattern := range patterns {
			n.mux.Handle(pattern, h)
		}
		n.log.Info("management API", "mount", name)
	}
	return nil
}

// makePages makes the web interface, if it is enabled.
func (n *Node) makePages() (err error) {
	n.started = time.Now()
	if n.cfg.UI {
		n.pages, err = web.New(web.Options{Service: n.app, Log: n.apiLog, Version: build.Version(), Dev: n.cfg.Dev,
			Payloads: web.Payloads(n.cfg.UIPayloads), Settings: n.settings, Node: n.figures, PortalOrigins: n.cfg.PortalOrigin, Hints: &n.hints})
	}
	return err
}

// closeStreams ends the streams of listeners and of pages, which never become idle by
// themselves.
func (n *Node) closeStreams() {
	n.hub.Close()
	if n.pages != nil {
		n.pages.Close()
	}
}

// settings returns the options in force for the pages.
func (n *Node) settings() (out []web.Setting) {
	n.cfg.options(func(name, value, source string) {
		out = append(out, web.Setting{Name: name, Value: value, Source: source})
	})
	return out
}

// figures returns the state of this node for the pages.
func (n *Node) figures() web.Node {
	s, d := n.store.Stats(), n.dispatch.Stats()
	name, _ := os.Hostname()
	out := web.Node{Name: cmp.Or(name, "node"), Store: "SQLite", Alive: n.store.Nodes(), InFlight: d.InFlight, Waiting: d.Waiting, Endpoints: d.Endpoints, Queued: s.Queued,
		Commits: s.Commits, Deliveries: s.Deliveries, Attempts: s.Attempts, Events: s.Events, LogBytes: s.LogLength, Started: n.started}
	if n.cfg.postgres() {
		out.Store, out.Lease = fmt.Sprintf("PostgreSQL, epoch %d", n.store.Epoch()), n.cfg.NodeLease
	}
	return out
}

// mountPages serves the web interface. A browser that requests / is redirected to it; other
// clients get the response of the API.
func (n *Node) mountPages(api http.Handler) {
	if n.pages == nil {
		return
	}
	n.mux.Handle("/ui", n.pages)
	n.mux.Handle("/ui/", n.pages)
	n.mux.Handle("/portal/", n.pages)
	n.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept"), "text/html") {
			api.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Vary", "Accept")
		http.Redirect(w, r, "/ui/", http.StatusSeeOther)
	})
}
