package app

import (
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// Profile is what callers may know about a wire format.
type Profile struct {
	Name        string
	Description string
	Default     bool   // used for endpoints that name none
	Management  string // none, paysway or paywise
	IPHosts     bool   // a URL may have an IP address as its host
	Policy      hook.Policy
	Headers     []string // header names of a request, including signatures
	Types       []ProfileType
}

// ProfileType is a type of a profile's own catalogue. Body is a complete request body
// around the example. It is the same on every call.
type ProfileType struct {
	Name        string
	Description string
	Example     []byte
	Body        []byte
}

// Profiles returns the wire formats in the order of their names. They contain no
// secrets and belong to no tenant: every caller may read them.
func (s *Service) Profiles() []Profile {
	var out []Profile
	for _, name := range s.o.Profiles.Names() {
		p, ok := s.o.Profiles.Get(name)
		if !ok {
			continue
		}
		one := Profile{Name: name, Description: p.Description(), Default: name == s.o.Profile, Management: p.Management(),
			IPHosts: p.URLRules().IPHosts, Policy: p.Policy(nil), Headers: p.HeaderNames()}
		for _, t := range p.Catalogue() {
			one.Types = append(one.Types, ProfileType{Name: t.Name, Description: t.Description, Example: t.Example,
				Body: p.Render(nil, sample(t))})
		}
		out = append(out, one)
	}
	return out
}

// errProfile refuses an unknown profile name and lists the known ones.
func (s *Service) errProfile() error {
	return invalid("profile", "There is no such profile. There are: "+strings.Join(s.o.Profiles.Names(), ", ")+".")
}

// sample returns the made-up input with which an example is rendered. It is the same on
// every call.
func sample(t profile.EventType) profile.Input {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	event := &hook.Event{ID: hook.ID{0x01, 0x93, 0x96, 0xe0, 0x5c, 0x2f, 0x7c, 0xc1, 0x8f, 0x3d, 0x6d, 0x1f, 0x0f, 0x1c, 0x2b, 0x3a},
		Scope: hook.Scope{Tenant: "acme", Mode: hook.Live}, Type: t.Name, CreatedAt: at, AcceptedAt: at, Data: t.Example}
	event.PublicID = event.ID
	delivery := event.ID
	delivery[15]++
	return profile.Input{Event: event, Delivery: delivery, Attempt: 1, Now: at}
}
