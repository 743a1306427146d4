package profile

import (
	"crypto/sha256"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/webhook"
)

// Profile is one wire format with its policy. It is immutable and safe for
// concurrent use.
type Profile struct {
	name        string
	nameLine    int
	description string
	text        []byte
	hash        hook.ProfileHash

	management   string
	mode         modeTexts
	envelope     envelope
	fixed        []hook.Header // content type and user agent
	headers      []headerTemplate
	specs        []webhook.Spec
	signsHeaders bool // with values of the data, which go into headers
	memberUses   int
	secret       secretRule
	policy       hook.Policy
	url          URLRules
	catalogue    []EventType
	test         EventType
}

// URLRules are the profile's rules on endpoint URLs, beyond those that hold for
// all: https, and addresses that the operator allows.
type URLRules struct {
	IPHosts bool // an IP address may stand for the host
}

// EventType is one entry of a profile's catalogue. The catalogue informs; it does
// not restrict which types may be published.
type EventType struct {
	Name        string
	Description string
	Example     []byte // data of an event, a strict JSON object; not to be changed
}

// Name returns the name endpoints refer to the profile by.
func (p *Profile) Name() string { return p.name }

// Description returns the sentence the file says about itself, perhaps empty.
func (p *Profile) Description() string { return p.description }

// Text returns the file as it was loaded. Callers must not change it.
func (p *Profile) Text() []byte { return p.text }

// Hash names the exact text of the file.
func (p *Profile) Hash() hook.ProfileHash { return p.hash }

// NameLine returns the line of the file, from 1, that holds its name: where a
// name that is taken is to be changed.
func (p *Profile) NameLine() int { return p.nameLine }

// Management names the management API that customers of the profile are spoken
// to with: "none", "paysway" or "paywise".
func (p *Profile) Management() string { return p.management }

// URLRules returns the rules on endpoint URLs.
func (p *Profile) URLRules() URLRules { return p.url }

// Specs returns the signature schemes of the profile, at least one. Their Key is
// an encoding of secrets that the profile issues or imports and that suits the
// algorithm. A request carries those for which the endpoint has a live secret.
func (p *Profile) Specs() []webhook.Spec { return slices.Clone(p.specs) }

// Catalogue returns the known event types in the file's order, perhaps none.
func (p *Profile) Catalogue() []EventType { return slices.Clone(p.catalogue) }

// TestEvent returns the type and data of a test event. The data must not be changed.
func (p *Profile) TestEvent() (eventType string, data []byte) { return p.test.Name, p.test.Example }

// Policy returns the profile's policy with the endpoint's own retry plan and
// failure limit applied. A failure limit counts consecutive failures the way the
// profile does, and failed attempts where the profile counts none. A nil endpoint
// has no wishes. The slices inside are shared and must not be changed.
func (p *Profile) Policy(ep *hook.Endpoint) hook.Policy {
	policy := p.policy
	if ep == nil {
		return policy
	}
	if ep.Retry != nil {
		policy.Retry = *ep.Retry
	}
	if ep.MaxFailures > 0 {
		if policy.Trip.Count != hook.TripDeliveries {
			policy.Trip = hook.Trip{Count: hook.TripAttempts}
		}
		policy.Trip.N = ep.MaxFailures
	}
	return policy
}

func hashOf(text []byte) hook.ProfileHash {
	sum := sha256.Sum256(text)
	return hook.ProfileHash(sum[:len(hook.ProfileHash{})])
}
