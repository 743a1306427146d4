package server

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/portal"
)

// checkPortal checks where the portal is reached and who may show it.
func (c *Config) checkPortal(all *Faults) {
	if c.PortalURL != "" {
		if _, ok := portal.Origin(strings.TrimSuffix(c.PortalURL, "/"), c.Dev); !ok {
			all.add(wrong("portal-url", "%q is not an https URL of a host, such as https://webhooks.example.com", c.PortalURL))
		}
	}
	for _, text := range c.PortalOrigin {
		if origin, ok := portal.Origin(text, c.Dev); !ok || origin != text {
			all.add(wrong("portal-origin", "%q is not an exact origin, such as https://app.example.com", text))
		}
	}
}

// pagesAt returns where people reach the pages. Without --public-url it is this machine.
func (n *Node) pagesAt() app.Pages {
	base := ""
	if len(n.cfg.PublicURL) > 0 {
		base = strings.TrimSuffix(n.cfg.PublicURL[0], "/")
	}
	if base == "" {
		base = "http://localhost"
		if _, port, err := net.SplitHostPort(n.api.Addr().String()); err == nil {
			base += ":" + port
		}
	}
	out := app.Pages{UI: base, Portal: base, Rules: portal.Rules{Origins: n.cfg.PortalOrigin, Dev: n.cfg.Dev}}
	if n.cfg.PortalURL != "" {
		out.Portal = strings.TrimSuffix(n.cfg.PortalURL, "/")
	}
	return out
}

// apart serves the portal on its own host and nothing else there, if --portal-url is set.
// Requests for this machine, such as health checks, are not for that host.
func (n *Node) apart(h http.Handler) http.Handler {
	if n.cfg.PortalURL == "" || n.pages == nil {
		return h
	}
	u, _ := url.Parse(n.cfg.PortalURL)
	at, name := strings.ToLower(u.Host), strings.ToLower(u.Hostname())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := strings.ToLower(r.Host)
		own := host == at || host == name || host == at+":443" // some proxies add the port
		if own != strings.HasPrefix(r.URL.Path, "/portal/") {
			http.NotFound(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}
