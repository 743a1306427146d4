package egress_test

import (
	"context"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/egress"
)

// everyName is a resolver for which every name exists.
type everyName struct{}

func (everyName) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("93.184.215.14")}, nil
}

func checkHost(t *testing.T, canonical string) {
	t.Helper()
	for i := range len(canonical) {
		if canonical[i] <= ' ' || canonical[i] > '~' || canonical[i] == '\\' || canonical[i] == '#' {
			t.Fatalf("%q holds %q", canonical, canonical[i])
		}
	}
	u, err := url.Parse(canonical)
	if err != nil || u.User != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		t.Fatalf("%q: %v", canonical, err)
	}
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		if rule := egress.RefusedBy(ip); rule != "" {
			t.Fatalf("%q is refused by %s", canonical, rule)
		}
		return
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.ToLower(host) != host || strings.HasPrefix(last, "0x") || strings.Trim(last, "0123456789") == "" {
		t.Fatalf("%q: host %q", canonical, host)
	}
}
