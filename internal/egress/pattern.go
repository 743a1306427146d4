package egress

import (
	"errors"
	"strings"
)

// HostPattern matches hosts: one name, or with a leading "*." every name under it. The
// zero value matches none.
type HostPattern struct {
	name  string // in canonical form
	under bool
}

// ParseHostPattern parses a host name such as app.internal, or a pattern such as
// *.svc.cluster.local, which matches all names under svc.cluster.local but not that name
// itself. Names are compared as in URLs: in lower-case ASCII, without a final dot.
// Addresses are not accepted.
func ParseHostPattern(text string) (HostPattern, error) {
	rest, under := strings.CutPrefix(text, "*.")
	name, reason := canonicalName(rest)
	if reason != "" {
		return HostPattern{}, errors.New("it is not a host name such as app.internal, or *.svc.cluster.local for all names under one: " + reason)
	}
	return HostPattern{name: name, under: under}, nil
}

// String returns the pattern in canonical form.
func (p HostPattern) String() string {
	if p.under {
		return "*." + p.name
	}
	return p.name
}

// Public reports whether the pattern matches public names, which are admitted without
// being allowed. Their addresses need not be public.
func (p HostPattern) Public() bool {
	name := p.name
	if p.under {
		name = "any." + name
	}
	public, _ := isPublicName(name)
	return public
}

// matches reports whether the pattern matches a host in canonical form.
func (p HostPattern) matches(host string) bool {
	if !p.under {
		return host == p.name
	}
	_, under := strings.CutSuffix(host, "."+p.name)
	return under
}

// matching returns the first pattern that matches the host.
func matching(patterns []HostPattern, host string) (HostPattern, bool) {
	for _, p := range patterns {
		if p.matches(host) {
			return p, true
		}
	}
	return HostPattern{}, false
}
