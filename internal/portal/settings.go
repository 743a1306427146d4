package portal

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/hook"
)

// Wanted is a request for a portal session, as it came.
type Wanted struct {
	Capabilities []string // nil: view
	ExpiresIn    *int64   // seconds; nil: an hour
	hook.PortalSettings
}

// Rules are the server's own limits.
type Rules struct {
	Origins []string // that may show the portal in a frame; empty: every https origin
	Dev     bool     // http is allowed for this machine
}

// Bounds of a session.
const (
	defaultLife = 3600
	minLife     = 60
	maxLife     = 86400
	maxOrigins  = 10
	maxName     = 60
	maxURL      = 2000
	maxPage     = 500
	maxLogo     = 32 << 10
	maxRadius   = 16
)

// Warning describes something of a request that was changed.
type Warning struct{ Code, Message string }

// Check returns the settings and the life of a session as they are stored, or an error with
// the member at fault.
func Check(w Wanted, rules Rules) (hook.PortalSettings, time.Duration, []Warning, error) {
	s := w.PortalSettings
	for i, name := range w.Capabilities {
		one, ok := hook.ParseCapability(name)
		if !ok {
			return s, 0, nil, wrong("capabilities/"+strconv.Itoa(i), "A capability is one of view, manage_endpoints, see_secret, retry, replay, test.")
		}
		s.Capabilities |= one
	}
	life := int64(defaultLife)
	if w.ExpiresIn != nil {
		life = *w.ExpiresIn
	}
	if life < minLife || life > maxLife {
		return s, 0, nil, wrong("expires_in", "\"expires_in\" must be 60 to 86400 seconds. Absent, it is 3600.")
	}
	if err := checkOrigins(s.FrameOrigins, rules); err != nil {
		return s, 0, nil, err
	}
	switch {
	case !slices.Contains([]string{"", "en", "de"}, s.Locale):
		return s, 0, nil, wrong("locale", "\"locale\" must be en or de. Absent, it is the browser's.")
	case s.ReturnURL != "" && !goodURL(s.ReturnURL, rules.Dev):
		return s, 0, nil, wrong("return_url", "\"return_url\" must be an https URL of at most 2000 characters, without a user name.")
	case s.Page != "" && !GoodPage(s.Page):
		return s, 0, nil, wrong("page", "\"page\" must be a path below the portal, such as /endpoints or /deliveries/{id}.")
	}
	warnings, err := checkTheme(&s.Theme)
	return s, time.Duration(life) * time.Second, warnings, err
}

func wrong(field, message string) error {
	return &hook.Error{Code: hook.CodeInvalidRequest, Field: field, Message: message}
}

func checkOrigins(origins []string, rules Rules) error {
	if len(origins) > maxOrigins {
		return wrong("frame_origins", "\"frame_origins\" must have at most 10 entries.")
	}
	for i, text := range origins {
		field := "frame_origins/" + strconv.Itoa(i)
		origin, ok := Origin(text, rules.Dev)
		if !ok {
			return wrong(field, "An entry of \"frame_origins\" must be an exact origin: https:// and a host, with a port if it is not 443, and nothing after it. Wildcards are not allowed.")
		}
		if origin != text {
			return wrong(field, "An entry of \"frame_origins\" must be written as browsers do: did you mean "+origin+"?")
		}
		if len(rules.Origins) > 0 && !slices.Contains(rules.Origins, origin) {
			return wrong(field, "This server does not allow the portal in a frame of "+origin+" (--portal-origin).")
		}
	}
	return nil
}

// Origin returns an origin as browsers write it. Only https is accepted, and with dev also
// http to this machine.
func Origin(text string, dev bool) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" || strings.HasSuffix(text, "#") {
		return "", false
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if !goodHost(host) || strings.HasSuffix(u.Host, ":") {
		return "", false
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return "", false
		}
	}
	switch {
	case u.Scheme == "https" && port == "443", u.Scheme == "http" && port == "80":
		port = ""
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && dev && local(host)) {
		return "", false
	}
	if port != "" {
		host += ":" + port
	}
	return u.Scheme + "://" + host, true
}

// goodHost accepts names and addresses in the characters that a policy header can carry.
func goodHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return !strings.Contains(host, "%")
	}
	if host == "" || len(host) > 253 {
		return false
	}
	for _, label := range strings.Split(host, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// local reports whether a host is this machine.
func local(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.IsLoopback()
}

func goodURL(text string, dev bool) bool {
	u, err := url.Parse(text)
	return err == nil && len(text) <= maxURL && u.User == nil && u.Opaque == "" && plain(text) && !strings.Contains(text, "\\") && goodHost(strings.ToLower(u.Hostname())) &&
		(u.Scheme == "https" || u.Scheme == "http" && dev && local(u.Hostname()))
}

// pages are the first parts of the portal's paths.
var pages = []string{"", "endpoints", "deliveries", "events", "replays", "types", "verify"}

// GoodPage reports whether a text is a path of a page of the portal, with or without a query.
func GoodPage(text string) bool {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxPage || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || u.Scheme != "" || u.Host != "" || u.Fragment != "" ||
		strings.Contains(text, "\\") || !plain(text) {
		return false
	}
	parts := strings.Split(u.EscapedPath(), "/")
	for _, part := range parts {
		if part == "." || part == ".." || strings.Contains(strings.ToLower(part), "%2e") || strings.Contains(strings.ToLower(part), "%5c") {
			return false
		}
	}
	return slices.Contains(pages, parts[1]) && !slices.Contains(parts[2:], "")
}

// plain reports whether a text has no control characters, spaces or invalid bytes.
func plain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r == 0x7f || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
	})
}

func checkTheme(t *hook.PortalTheme) ([]Warning, error) {
	var warnings []Warning
	if t.Accent != "" {
		p, ok := Colors(t.Accent)
		if !ok {
			return nil, wrong("theme/accent", "\"accent\" must be a color written as #rrggbb.")
		}
		t.Accent = strings.ToLower(t.Accent)
		if p.Adjusted {
			warnings = append(warnings, Warning{"accent_adjusted", fmt.Sprintf(
				"Text in %s cannot be read well, so the portal uses %s for links on light and %s on dark pages, and %s below white text.", t.Accent, p.Light.Link, p.Dark.Link, p.Light.Solid)})
		}
	}
	switch {
	case !slices.Contains([]string{"", "auto", "light", "dark"}, t.Mode):
		return nil, wrong("theme/mode", "\"mode\" must be auto, light or dark.")
	case t.Radius != nil && (*t.Radius < 0 || *t.Radius > maxRadius):
		return nil, wrong("theme/radius", "\"radius\" must be 0 to 16.")
	case !slices.Contains([]string{"", "system", "serif", "mono"}, t.Font):
		return nil, wrong("theme/font", "\"font\" must be system, serif or mono.")
	case !slices.Contains([]string{"", "full", "bare"}, t.Chrome):
		return nil, wrong("theme/chrome", "\"chrome\" must be full or bare.")
	case utf8.RuneCountInString(t.Name) > maxName || !plain(strings.ReplaceAll(t.Name, " ", "")):
		return nil, wrong("theme/name", "\"name\" must be at most 60 characters without control characters.")
	}
	if t.Logo != "" && !goodLogo(t.Logo) {
		return nil, wrong("theme/logo", "\"logo\" must be a data URI with base64 of a PNG, WebP or JPEG image of at most 32 KB. A URL is not accepted: the portal loads nothing from elsewhere.")
	}
	return warnings, nil
}

// goodLogo reports whether a text is a data URI of an image of one of three types, by its
// first bytes too.
func goodLogo(text string) bool {
	for kind, starts := range map[string]func([]byte) bool{
		"png":  func(b []byte) bool { return bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")) },
		"jpeg": func(b []byte) bool { return bytes.HasPrefix(b, []byte{0xff, 0xd8, 0xff}) },
		"webp": func(b []byte) bool {
			return len(b) > 12 && bytes.HasPrefix(b, []byte("RIFF")) && string(b[8:12]) == "WEBP"
		},
	} {
		data, ok := strings.CutPrefix(text, "data:image/"+kind+";base64,")
		if !ok {
			continue
		}
		if len(data) > base64.StdEncoding.EncodedLen(maxLogo) {
			return false
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(data)
		return err == nil && !strings.ContainsAny(data, "\r\n") && len(raw) <= maxLogo && starts(raw)
	}
	return false
}
