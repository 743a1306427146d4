package egress

import (
	"errors"
	"strings"
)

// HostPattern names hosts: one, or with a leading "*." every name under one. The zero
// value names none.
type HostPattern struct {
	name  string // in canonical form
	under bool
}

// ParseHostPattern reads a host name such as app.internal, or *.svc.cluster.local for
// the names under svc.cluster.local, which is not among them. Names are compared as
// URLs are: lower-case, without a final dot, in ASCII. Addresses are no names.
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

// Public reports whether the pattern names public hosts, which are admitted without
// being allowed. Whether their addresses are public is another matter.
func (p HostPattern) Public() bool {
	name := p.name
	if p.under {
		name = "any." + name
	}
	public, _ := isPublicName(name)
	return public
}

// matches judges a host in canonical form.
func (p HostPattern) matches(host string) bool {
	if !p.under {
		return host == p.name
	}
	_, under := strings.CutSuffix(host, "."+p.name)
	return under
}

// matching returns the first pattern that names the host.
func matching(patterns []HostPattern, host string) (HostPattern, bool) {
	for _, p := range patterns {
		if p.matches(host) {
			return p, true
		}
	}
	return HostPattern{}, false
}
