package portal

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

var png = "data:image/png;base64," + base64.StdEncoding.EncodeToString([]byte("\x89PNG\r\n\x1a\nrest"))

// Text in every accent reaches 4.5 to 1 on every background it may stand on, and white on it
// below buttons. An accent that is readable is left as it is.
func TestEveryAccentIsReadable(t *testing.T) {
	for _, accent := range []string{"#ffff00", "#000000", "#ffffff", "#1d4ed0", "#777777", "#ff0000", "#00ff00", "#0000ff", "#a8450a", "#fefefe", "#0d1219"} {
		p, ok := Colors(accent)
		if !ok {
			t.Fatal(accent)
		}
		for name, theme := range map[string]struct {
			s Shades
			g []rgb
		}{"light": {p.Light, lightGrounds}, "dark": {p.Dark, darkGrounds}} {
			link, _ := parse(theme.s.Link)
			solid, _ := parse(theme.s.Solid)
			tint, _ := parse(theme.s.Tint)
			if got := lowest(link, append([]rgb{tint}, theme.g...)); got < readable {
				t.Errorf("%s %s: link %s has %.2f", accent, name, theme.s.Link, got)
			}
			if got := contrast(solid, rgb{255, 255, 255}); got < readable {
				t.Errorf("%s %s: solid %s has %.2f", accent, name, theme.s.Solid, got)
			}
		}
	}
	if p, _ := Colors("#ffff00"); !p.Adjusted {
		t.Error("yellow was not adjusted")
	}
	if p, _ := Colors("#1d4ed0"); p.Adjusted || p.Light.Link != "#1d4ed0" || p.Light.Solid != "#1d4ed0" {
		t.Errorf("a good accent was changed: %+v", p)
	}
	if got := contrast(rgb{0, 0, 0}, rgb{255, 255, 255}); got < 20.99 || got > 21.01 { // the control: the formula of WCAG
		t.Error(got)
	}
}

func n(v int64) *int64 { return &v }
func i(v int) *int     { return &v }

// Every member is bounded and strict. The error names the member.
func TestWhatASessionMayBe(t *testing.T) {
	with := func(s hook.PortalSettings) Wanted { return Wanted{PortalSettings: s} }
	theme := func(th hook.PortalTheme) Wanted { return with(hook.PortalSettings{Theme: th}) }
	many := make([]string, 11)
	for k := range many {
		many[k] = "https://app.example"
	}
	for field, list := range map[string][]Wanted{
		"capabilities/1": {{Capabilities: []string{"view", "admin"}}, {Capabilities: []string{"view", ""}}},
		"expires_in":     {{ExpiresIn: n(59)}, {ExpiresIn: n(86401)}, {ExpiresIn: n(0)}, {ExpiresIn: n(-1)}},
		"frame_origins":  {with(hook.PortalSettings{FrameOrigins: many})},
		"locale":         {with(hook.PortalSettings{Locale: "fr"}), with(hook.PortalSettings{Locale: "EN"})},
		"theme/accent":   {theme(hook.PortalTheme{Accent: "yellow"}), theme(hook.PortalTheme{Accent: "#ff0"}), theme(hook.PortalTheme{Accent: "#ff00zz"}), theme(hook.PortalTheme{Accent: "#ffff00;}"})},
		"theme/mode":     {theme(hook.PortalTheme{Mode: "sepia"})},
		"theme/radius":   {theme(hook.PortalTheme{Radius: i(17)}), theme(hook.PortalTheme{Radius: i(-1)})},
		"theme/font":     {theme(hook.PortalTheme{Font: "Comic Sans"})},
		"theme/chrome":   {theme(hook.PortalTheme{Chrome: "none"})},
		"theme/name":     {theme(hook.PortalTheme{Name: strings.Repeat("x", 61)}), theme(hook.PortalTheme{Name: "a\nb"}), theme(hook.PortalTheme{Name: "a\u202eb"})},
		"theme/logo": {theme(hook.PortalTheme{Logo: "https://evil.example/logo.png"}), theme(hook.PortalTheme{Logo: "data:image/svg+xml;base64,PHN2Zz4="}),
			theme(hook.PortalTheme{Logo: "data:image/png;base64,bm90IGFuIGltYWdl"}), theme(hook.PortalTheme{Logo: png + "\n"}),
			theme(hook.PortalTheme{Logo: "data:image/png;base64," + base64.StdEncoding.EncodeToString(append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, maxLogo)...))}),
			theme(hook.PortalTheme{Logo: "javascript:alert(1)"})},
	} {
		for _, w := range list {
			_, _, _, err := Check(w, Rules{})
			if e, ok := err.(*hook.Error); !ok || e.Code != hook.CodeInvalidRequest || e.Field != field {
				t.Errorf("%s: %+v: %v", field, w, err)
			}
		}
	}
	for _, bad := range []string{"https://*.example", "https://app.example/", "https://app.example/x", "http://app.example", "http://localhost:3000", "app.example", "null", "*", "https://", "https://u@app.example",
		"https://APP.example", "https://app.example:443", "https://app.example:0", "https://app.example:", "https://app.example?", "https://app.example#", "https://a.example; script-src *", "https://a.example https://b.example", "javascript:alert(1)", ""} {
		if _, _, _, err := Check(with(hook.PortalSettings{FrameOrigins: []string{bad}}), Rules{}); err == nil {
			t.Errorf("frame origin %q was accepted", bad)
		}
	}
	for _, bad := range []string{"javascript:alert(1)", "http://app.example", "//evil.example", "/x", "https://u:p@app.example", "https:app.example", "data:text/html,x", "https://app.example/\n", "https://app.example\\@evil.example", "https://" + strings.Repeat("a", 2001)} {
		if _, _, _, err := Check(with(hook.PortalSettings{ReturnURL: bad}), Rules{}); err == nil {
			t.Errorf("return_url %q was accepted", bad)
		}
	}
	for _, bad := range []string{"//evil.example", "/\\evil.example", "https://evil.example", "endpoints", "/../ui/live/", "/endpoints/../../ui", "/%2e%2e/ui", "/ui/live/", "/endpoints//x", "/endpoints\n", "/enter", "javascript:alert(1)"} {
		if _, _, _, err := Check(with(hook.PortalSettings{Page: bad}), Rules{}); err == nil {
			t.Errorf("page %q was accepted", bad)
		}
	}
	s, life, warnings, err := Check(Wanted{Capabilities: []string{"view", "retry", "test"}, ExpiresIn: n(60), PortalSettings: hook.PortalSettings{FrameOrigins: []string{"https://app.example", "https://app.example:8443"},
		Locale: "de", ReturnURL: "https://app.example/settings?tab=hooks", Page: "/deliveries?state=failed", Theme: hook.PortalTheme{Accent: "#FFFF00", Mode: "dark", Radius: i(0), Font: "serif", Logo: png, Name: "Nordlicht Ü", Chrome: "bare"}}}, Rules{})
	if err != nil || life != time.Minute || s.Capabilities != hook.MayRetry|hook.MayTest || len(warnings) != 1 || warnings[0].Code != "accent_adjusted" {
		t.Errorf("%+v %v %v %v", s, life, warnings, err)
	}
	if _, life, _, err := Check(Wanted{}, Rules{}); err != nil || life != time.Hour {
		t.Error(life, err)
	}
	dev := Rules{Dev: true, Origins: []string{"http://localhost:3000"}}
	for origin, ok := range map[string]bool{"http://localhost:3000": true, "https://app.example": false, "http://evil.example": false} {
		if _, _, _, err := Check(with(hook.PortalSettings{FrameOrigins: []string{origin}}), dev); (err == nil) != ok {
			t.Errorf("with --dev and --portal-origin: %s: %v", origin, err)
		}
	}
}
