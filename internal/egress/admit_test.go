package egress_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

// publicResolver resolves the names to the same public address.
func publicResolver(hosts ...string) *egresstest.Resolver {
	r := egresstest.NewResolver()
	for _, host := range hosts {
		r.Set(host, []string{"93.184.215.14"})
	}
	return r
}

func TestAdmitCanonical(t *testing.T) {
	c := newClient(t, egress.Options{AllowHTTP: true, Resolver: publicResolver("example.com", "xn--bcher-kva.example", "fass.example")})
	for raw, want := range map[string]string{
		"https://example.com":                       "https://example.com",
		"https://example.com/":                      "https://example.com/",
		"HTTPS://Example.COM/Path?Q=V&x":            "https://example.com/Path?Q=V&x",
		"https://example.com.:443/a":                "https://example.com/a",
		"https://example.com:8443?x":                "https://example.com:8443?x",
		"http://example.com:80/a":                   "http://example.com/a",
		"http://example.com:443/a":                  "http://example.com:443/a",
		"https://B\u00fccher.example/\u00fc?\u20ac": "https://xn--bcher-kva.example/%C3%BC?%E2%82%AC",
		"https://example\u3002com/":                 "https://example.com/",
		"https://\uff45xample.com/":                 "https://example.com/",
		"https://example.com/a@b:c/../d%2e":         "https://example.com/a@b:c/../d%2e",
		"https://93.184.215.14/x":                   "https://93.184.215.14/x",
		"https://[2606:4700:0:0:0::AbCd]/":          "https://[2606:4700::abcd]/",
		"https://[2606:4700::1]:443/":               "https://[2606:4700::1]/",
	} {
		got, warnings, err := c.Admit(t.Context(), raw, egress.Rules{IPHosts: true})
		if err != nil || len(warnings) != 0 || got != want {
			t.Errorf("%s: %q, %v, %v; want %q", raw, got, warnings, err, want)
			continue
		}
		again, _, err := c.Admit(t.Context(), got, egress.Rules{IPHosts: true})
		if err != nil || again != got {
			t.Errorf("%s is not stable: %q, %v", got, again, err)
		}
	}
}

func TestAdmitMessages(t *testing.T) {
	c := newClient(t, egress.Options{Resolver: egresstest.AttackResolver()})
	for _, tt := range []struct {
		url, message string
		code         hook.Code
	}{
		{"", "The URL is not valid: it is empty.", hook.CodeURLInvalid},
		{"https://a b/", "The URL is not valid: it contains white space (U+0020, byte 10).", hook.CodeURLInvalid},
		{"https://example.com/" + strings.Repeat("a", 2048), "The URL is not valid: it is longer than 2,048 bytes.", hook.CodeURLInvalid},
		{"https://example.com/" + strings.Repeat("\u00fc", 700), "The URL is not valid: it is longer than 2,048 bytes once it is percent-encoded.", hook.CodeURLInvalid},
		{"https://example.com/\u200b", "The URL is not valid: it contains a control character or another that cannot be seen (U+200B, byte 21).", hook.CodeURLInvalid},
		{"https://example.com/#x", "The URL is not valid: it contains a fragment, which is never sent to a server (U+0023, byte 21).", hook.CodeURLInvalid},
		{"https://example.com/%zz", "The URL is not valid: a % in its path is not followed by two hexadecimal digits.", hook.CodeURLInvalid},
		{"https://example.com:0443/", "The URL is not valid: the port \"0443\" is not a decimal number without leading zeros.", hook.CodeURLInvalid},
		{"https://example.com:70000/", "The URL is not valid: the port \"70000\" is larger than 65535.", hook.CodeURLInvalid},
		{"https://exa*mple.com/", "The URL's host is not accepted: the label \"exa*mple\" has the character '*'; letters, digits, hyphens and underscores are accepted.", hook.CodeURLHost},
		{"https://-a.example.com/", "The URL's host is not accepted: the label \"-a\" begins or ends with a hyphen.", hook.CodeURLHost},
		{"https://a..example.com/", "The URL's host is not accepted: a label is empty: it begins with a dot, or has two in a row.", hook.CodeURLHost},
		{"https://b." + strings.Repeat("a", 64) + ".com/", "The URL's host is not accepted: the label \"" + strings.Repeat("a", 63) + "\"... is longer than 63 bytes.", hook.CodeURLHost},
		{"https://ab--c.example.com/", "The URL's host is not accepted: the label \"ab--c\" cannot be part of an internationalized name (UTS 46).", hook.CodeURLHost},
		{"https://%61.example.com/", "The URL's host is not accepted: percent-encoding is not for host names.", hook.CodeURLHost},
		{"https://[::1%25lo]/", "The URL's host is not accepted: an address with a zone (%) means something on one machine only.", hook.CodeURLHost},
		{"https://[::ffff:8.8.8.8]/", "The URL's host is not accepted: write the IPv4 address 8.8.8.8 without ::ffff: and brackets.", hook.CodeURLHost},
		{"https://[abc]/", "The URL's host is not accepted: \"[abc]\" is no IPv6 address.", hook.CodeURLHost},
		{"https://shop.local/", "The URL's host \"shop.local\" is not a public host name: names that end in .local are for local use. The operator admits such names with --allow-host.", hook.CodeURLNotPublic},
		{"https://my_shop/", "The URL's host \"my_shop\" is not a public host name: it has no dot. The operator admits such names with --allow-host.", hook.CodeURLNotPublic},
		{"http://example.com/", "The URL must start with https://.", hook.CodeURLScheme},
		{"https://u:p@example.com/", "The URL must not contain a user name or password. Use a custom header instead.", hook.CodeURLCredentials},
		{"https://127.1/", "The URL's host is not accepted: the last label \"1\" is a number; an IPv4 address is written as four decimal numbers of 0 to 255, without leading zeros.", hook.CodeURLHost},
		{"https://localhost/", "The URL's host \"localhost\" is not a public host name: names that end in .localhost are for local use. The operator admits such names with --allow-host.", hook.CodeURLNotPublic},
		{"https://example.com:22/", "Port 22 is not allowed. Use 443, 80 with http, or a port from 1024 on.", hook.CodeURLPort},
		{"https://example.com:6667/", "Port 6667 is not allowed. It belongs to another protocol; use another port.", hook.CodeURLPort},
		{"example.com", "The URL is not valid: it must start with https://.", hook.CodeURLInvalid},
		{"https://93.184.215.14/", "The URL's host must be a name, not an IP address: the endpoint's profile says so.", hook.CodeURLHost},
		{"https://10.0.0.1/", "The URL points to an address that deliveries may not go to (10.0.0.0/8). The operator admits private networks with --allow-network.", hook.CodeURLAddress},
	} {
		_, _, err := c.Admit(t.Context(), tt.url, egress.Rules{})
		refusal, ok := err.(*hook.Error)
		if !ok {
			t.Errorf("%.60s: %v", tt.url, err)
			continue
		}
		if refusal.Code != tt.code || refusal.Message != tt.message || refusal.Field != "url" {
			t.Errorf("%.60s: %+v", tt.url, *refusal)
		}
	}
	open := newClient(t, egress.Options{Resolver: egresstest.AttackResolver(), AllowHTTP: true})
	for url, message := range map[string]string{"ftp://example.com/": "The URL must start with http:// or https://.",
		"example.com": "The URL is not valid: it must start with http:// or https://."} {
		if _, _, err := open.Admit(t.Context(), url, egress.Rules{}); err == nil || err.Error() != message {
			t.Errorf("%s, with http: %v", url, err)
		}
	}
	for raw, want := range map[string]string{"https://My_Shop.Example.com/": "https://my_shop.example.com/", "https://_dmarc.ex\uff3fample.com/": "https://_dmarc.ex_ample.com/"} {
		if got, _, err := c.Admit(t.Context(), raw, egress.Rules{}); err != nil || got != want {
			t.Errorf("%s: %q, %v", raw, got, err)
		}
	}
	got, warnings, err := c.Admit(t.Context(), "https://absent.attack.test/", egress.Rules{})
	if err != nil || got == "" || len(warnings) != 1 || warnings[0].Code != "dns_not_found" || warnings[0].Message == "" {
		t.Errorf("a name that does not resolve yet: %q, %v, %v", got, warnings, err)
	}
}

func TestAdmitRelaxed(t *testing.T) {
	inner := netip.MustParsePrefix("10.0.0.0/8")
	resolver := func() *egresstest.Resolver { return egresstest.AttackResolver() }
	local := egress.Options{AllowHTTP: true, AllowLocal: true, Resolver: resolver()}
	network := egress.Options{AllowHTTP: true, AllowNetworks: []netip.Prefix{inner}, Resolver: resolver()}
	mapped := egress.Options{AllowHTTP: true, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}, Resolver: resolver()}
	for _, tt := range []struct {
		name    string
		options egress.Options
		url     string
		code    hook.Code
	}{
		{"local", local, "http://localhost:3000/", ""},
		{"local", local, "http://shop.localhost:81/", ""},
		{"local", local, "http://127.0.0.1:3000/", ""},
		{"local", local, "http://[::1]:3000/", ""},
		{"local", local, "http://127.1:3000/", hook.CodeURLHost},
		{"local", local, "http://localhost:22/", hook.CodeURLPort},
		{"local", local, "http://10.0.0.1/", hook.CodeURLAddress},
		{"local", local, "http://0.0.0.0:3000/", hook.CodeURLAddress},
		{"local", local, "http://intranet/", hook.CodeURLNotPublic},
		{"network", network, "http://private10.attack.test/", ""},
		{"mapped", mapped, "http://private10.attack.test/", ""},
		{"network", network, "http://private192.attack.test/", "dns_not_found"}, // a warning
		{"network", network, "http://192.168.0.1/", hook.CodeURLAddress},
		{"network", network, "http://127.0.0.1:3000/", hook.CodeURLAddress},
		{"network", network, "http://localhost:3000/", hook.CodeURLNotPublic},
		{"network", network, "http://10.0.0.1/", hook.CodeURLHost}, // the profile requires a name
	} {
		_, warnings, err := newClient(t, tt.options).Admit(t.Context(), tt.url, egress.Rules{})
		if got := verdict(warnings, err); got != string(tt.code) {
			t.Errorf("%s: %s: %q, want %q", tt.name, tt.url, got, tt.code)
		}
	}
}

// verdict is the code of a refusal or of a warning, or empty.
func verdict(warnings []egress.Warning, err error) string {
	switch {
	case err != nil:
		return string(hook.CodeOf(err))
	case len(warnings) > 0:
		return warnings[0].Code
	}
	return ""
}

// FuzzAdmit checks that an admitted URL is stable and ASCII, has the host that the standard
// parser finds, and is not an address in another spelling.
func FuzzAdmit(f *testing.F) {
	for _, raw := range egresstest.AttackURLs(8080) {
		f.Add(raw)
	}
	f.Add("https://B\u00fccher.example:8443/a?b=c")
	c := egress.New(egress.Options{AllowHTTP: true, Resolver: everyName{}})
	f.Fuzz(func(t *testing.T, raw string) {
		canonical, _, err := c.Admit(t.Context(), raw, egress.Rules{IPHosts: true})
		if err != nil {
			if refusal, ok := err.(*hook.Error); !ok || refusal.Field != "url" {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		again, _, err := c.Admit(t.Context(), canonical, egress.Rules{IPHosts: true})
		if err != nil || again != canonical {
			t.Fatalf("%q: %q becomes %q, %v", raw, canonical, again, err)
		}
		checkHost(t, canonical)
	})
}

// The server's own names are refused on admission and again before an attempt.
func TestOwnHosts(t *testing.T) {
	host, err := egress.HostOf("https://Hooks.Example.COM.:8443/base")
	if err != nil || host != "hooks.example.com" {
		t.Fatal(host, err)
	}
	for _, own := range [][]string{{host, "192.0.2.1"}, nil} { // the second is the control
		c := egress.New(egress.Options{Resolver: publicResolver("hooks.example.com", "other.example.com"), OwnHosts: own})
		for _, raw := range []string{"https://hooks.example.com/v1/events", "https://HOOKS.example.com.:4443/x"} {
			_, _, err := c.Admit(t.Context(), raw, egress.Rules{})
			if refused := hook.CodeOf(err) == hook.CodeURLAddress && err != nil; refused != (own != nil) {
				t.Errorf("%s: %v", raw, err)
			}
		}
		if _, _, err := c.Admit(t.Context(), "https://other.example.com/x", egress.Rules{}); err != nil {
			t.Error(err)
		}
		if own == nil {
			continue
		}
		_, err := c.Post(t.Context(), egress.Request{URL: "https://hooks.example.com/v1/events"})
		if f, ok := errors.AsType[*egress.Failure](err); !ok || f.Class != hook.ClassURLRefused {
			t.Errorf("stored before the option was set: %v", err)
		}
	}
	for _, wrong := range []string{"", "hooks.example.com", "ftp://hooks.example.com", "https://u@hooks.example.com/"} {
		if host, err := egress.HostOf(wrong); err == nil {
			t.Errorf("%q: %s", wrong, host)
		}
	}
}
