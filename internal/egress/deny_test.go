package egress_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

func networks(texts ...string) (out []netip.Prefix) {
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func hosts(t testing.TB, texts ...string) (out []egress.HostPattern) {
	t.Helper()
	for _, text := range texts {
		p, err := egress.ParseHostPattern(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		out = append(out, p)
	}
	return out
}

func TestHostPatterns(t *testing.T) {
	for text, want := range map[string]string{
		"app": "app", "APP.Internal.": "app.internal", "*.svc.cluster.local": "*.svc.cluster.local", "*.B\u00fccher.example": "*.xn--bcher-kva.example",
	} {
		if p, err := egress.ParseHostPattern(text); err != nil || p.String() != want {
			t.Errorf("%q: %q, %v; want %q", text, p, err, want)
		}
	}
	for _, text := range []string{"", "*", "*.", ".example", "a.*.example", "*example", "**.example", "10.0.0.1", "*.1", "[::1]", "a b", "a/b", "https://a.example", "a.example:443"} {
		if p, err := egress.ParseHostPattern(text); err == nil {
			t.Errorf("%q is taken for %q", text, p)
		}
	}
}

// TestDeny checks each URL by Admit and by an attempt, with the operator's denied hosts and
// networks. Control: without them.
func TestDeny(t *testing.T) {
	resolver := egresstest.NewResolver().Set("own.example", []string{"8.8.8.8"}).Set("other.example", []string{"93.184.215.14"}).
		Set("a.corp.example", []string{"93.184.215.14"}).Set("corp.example", []string{"93.184.215.14"}).Set("evilcorp.example", []string{"93.184.215.14"}).
		Set("translated.example", []string{"64:ff9b::808:808"}).Set("inside.example", []string{"64:ff9b::a00:1"}).Set("sixtofour.example", []string{"2002:808:808::1"}).
		Set("local48.example", []string{"64:ff9b:1:808:8:800::"}).Set("isatap.example", []string{"2a00:1450::200:5efe:808:808"})
	open := networks("8.0.0.0/8", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2a00::/16")
	for _, tt := range []struct {
		url, denied, without string // code of Admit's error or warning
		rule                 string // in the message of a refusal
	}{
		{"https://own.example/", "dns_not_found", "", ""},
		{"https://8.8.8.8/", "endpoint_url_address_not_allowed", "", "--deny-network 8.8.8.0/24"},
		{"https://[::ffff:8.8.8.8]/", "endpoint_url_host_invalid", "endpoint_url_host_invalid", ""},
		{"https://[64:ff9b::808:808]/", "endpoint_url_address_not_allowed", "", "--deny-network 8.8.8.0/24"},
		{"https://translated.example/", "dns_not_found", "", ""},
		{"https://local48.example/", "dns_not_found", "", ""},
		{"https://sixtofour.example/", "dns_not_found", "", ""},
		{"https://isatap.example/", "dns_not_found", "", ""},
		{"https://inside.example/", "dns_not_found", "dns_not_found", ""}, // 10.0.0.1 behind the translator is as private as elsewhere
		{"https://8.8.9.8/", "", "", ""},
		{"https://a.corp.example/", "endpoint_url_address_not_allowed", "", "--deny-host *.corp.example"},
		{"https://A.Corp.Example./", "endpoint_url_address_not_allowed", "", "--deny-host *.corp.example"},
		{"https://corp.example/", "", "", ""},
		{"https://evilcorp.example/", "", "", ""},
		{"https://other.example/", "endpoint_url_address_not_allowed", "", "--deny-host other.example"},
		{"https://db.internal/", "endpoint_url_address_not_allowed", "dns_not_found", "--deny-host db.internal"},
	} {
		for _, deny := range []bool{true, false} {
			var dialled, rules []string
			o := egress.Options{AllowNetworks: open, AllowHosts: hosts(t, "*.internal"), Resolver: resolver, Blocked: func(rule string) { rules = append(rules, rule) },
				DialContext: loopbackOnly(func(address string) { dialled = append(dialled, address) })}
			want := tt.without
			if deny {
				o.DenyNetworks, o.DenyHosts, want = networks("8.8.8.0/24"), hosts(t, "*.corp.example", "other.example", "db.internal"), tt.denied
			}
			c := newClient(t, o)
			canonical, warnings, err := c.Admit(t.Context(), tt.url, egress.Rules{IPHosts: true})
			if got := verdict(warnings, err); got != want {
				t.Errorf("%s, denied %v: %q, want %q: %v", tt.url, deny, got, want, err)
			}
			if deny && tt.rule != "" && (err == nil || !strings.Contains(err.Error(), tt.rule)) {
				t.Errorf("%s: %v does not name %s", tt.url, err, tt.rule)
			}
			if canonical == "" {
				canonical = tt.url // stored before it was denied
			}
			_, err = c.Post(t.Context(), egress.Request{URL: canonical, Body: []byte("x")})
			if reached := len(dialled) > 0; reached != (want == "") {
				t.Errorf("%s, denied %v: dialled %v: %v", tt.url, deny, dialled, err)
			}
			if f, ok := err.(*egress.Failure); deny && tt.rule != "" && (!ok || !strings.Contains(f.Message, tt.rule)) {
				t.Errorf("%s: the attempt's %v does not name %s", tt.url, err, tt.rule)
			}
		}
	}
}

// Names that are not public are admitted if the operator allows them. Their addresses are
// checked as usual.
func TestAllowHost(t *testing.T) {
	resolver := egresstest.NewResolver().Set("app", []string{"10.1.2.3"}).Set("app.default.svc.cluster.local", []string{"10.1.2.3"}).
		Set("db.internal", []string{"10.1.2.3"}).Set("localhost", []string{"127.0.0.1"})
	allowed := egress.Options{AllowNetworks: networks("10.0.0.0/8"), AllowHosts: hosts(t, "app", "*.svc.cluster.local", "db.internal", "localhost"), Resolver: resolver}
	withoutNetwork, withoutHosts := allowed, allowed
	withoutNetwork.AllowNetworks, withoutHosts.AllowHosts = nil, nil
	for url, want := range map[string]string{
		"https://app/":                          "",
		"https://app.default.svc.cluster.local": "",
		"https://db.internal:8443/":             "",
		"https://localhost/":                    "dns_not_found", // loopback is not an allowed network
		"https://other.internal/":               "endpoint_url_host_not_public",
		"https://svc.cluster.local/":            "endpoint_url_host_not_public",
		"https://apps/":                         "endpoint_url_host_not_public",
	} {
		for _, o := range []egress.Options{allowed, withoutNetwork, withoutHosts} {
			want := want
			switch {
			case o.AllowHosts == nil:
				want = "endpoint_url_host_not_public"
			case o.AllowNetworks == nil && want == "":
				want = "dns_not_found"
			}
			_, warnings, err := newClient(t, o).Admit(t.Context(), url, egress.Rules{})
			if got := verdict(warnings, err); got != want {
				t.Errorf("%s: %q, want %q", url, got, want)
			}
		}
	}
}

// If a name has permitted and refused addresses, only the permitted ones are used, by Admit
// and by attempts. Control: with the guard open all are.
func TestMixedName(t *testing.T) {
	const public = "93.184.215.14:443"
	for _, answer := range [][]string{{"93.184.215.14", "10.0.0.1"}, {"10.0.0.1", "93.184.215.14"}, {"::1", "fe80::1%lo", "93.184.215.14"}} {
		for _, guarded := range []bool{true, false} {
			var dialled []string
			o := egress.Options{Resolver: egresstest.NewResolver().Set("mixed.example", answer), DialContext: loopbackOnly(func(address string) { dialled = append(dialled, address) })}
			if !guarded {
				o.AllowNetworks = everywhere
			}
			c := newClient(t, o)
			if _, warnings, err := c.Admit(t.Context(), "https://mixed.example/", egress.Rules{}); err != nil || len(warnings) > 0 {
				t.Errorf("%v is not admitted: %v, %v", answer, warnings, err)
			}
			_, err := c.Post(t.Context(), egress.Request{URL: "https://mixed.example/", Body: []byte("x")})
			if only := reflect.DeepEqual(dialled, []string{public}); only != guarded {
				t.Errorf("%v, guarded %v: dialled %v: %v", answer, guarded, dialled, err)
			}
		}
	}
}

// An internal name has the same result as one that does not exist, in Admit and in
// attempts. Control: the operator's log distinguishes them.
func TestNamesInsideCannotBeTold(t *testing.T) {
	rules := 0
	c := newClient(t, egress.Options{Resolver: egresstest.NewResolver().Set("jenkins.corp.example", []string{"10.1.2.3"}), Blocked: func(string) { rules++ }})
	said := map[string][]string{}
	for _, host := range []string{"jenkins.corp.example", "absent.corp.example"} {
		url := "https://" + host + "/"
		_, warnings, err := c.Admit(t.Context(), url, egress.Rules{})
		if err != nil || len(warnings) != 1 {
			t.Fatalf("%s: %v, %v", host, warnings, err)
		}
		_, err = c.Post(t.Context(), egress.Request{URL: url, Body: []byte("x")})
		if classOf(t, err) != hook.ClassDNSNotFound {
			t.Fatalf("%s: %v", host, err)
		}
		said[host] = []string{warnings[0].Code, warnings[0].Message, err.(*egress.Failure).Message}
	}
	if a, b := said["jenkins.corp.example"], said["absent.corp.example"]; !reflect.DeepEqual(a, b) {
		t.Errorf("the names can be told apart:\n%q\n%q", a, b)
	}
	if rules != 2 {
		t.Errorf("control: the operator was told %d times", rules)
	}
}
