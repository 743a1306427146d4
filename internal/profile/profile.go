package profile

import (
	"crypto/sha256"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/webhook"
)

// Profile is a wire format together with its policy. It is immutable and safe for concurrent
// use.
type Profile struct {
	name        string
	nameLine    int
	description string
	text        []byte
	hash        hook.ProfileHash

	management   string
	eventIDs     string // how event ids are written: empty or given, uuid, or msg
	mode         modeTexts
	envelope     envelope
	fixed        []hook.Header // content type and user agent
	headers      []headerTemplate
	specs        []webhook.Spec
	signsHeaders bool // with values of the data, which are taken from headers
	memberUses   int
	secret       secretRule
	policy       hook.Policy
	url          URLRules
	catalogue    []EventType
	test         EventType
}

// URLRules are the profile's rules for endpoint URLs, in addition to the rules for all
// profiles: https, and addresses that the operator permits.
type URLRules struct {
	IPHosts bool // the host may be an IP address
}

// EventType is one entry of a profile's catalogue. The catalogue is informative and does not
// restrict which types may be published.
type EventType struct {
	Name        string
	Description string
	Example     []byte // data of an event, a strict JSON object; must not be changed
}

// Name returns the name by which endpoints refer to the profile.
func (p *Profile) Name() string { return p.name }

// Description returns the description from the file, which may be empty.
func (p *Profile) Description() string { return p.description }

// Text returns the file as it was loaded. Callers must not change it.
func (p *Profile) Text() []byte { return p.text }

// Hash returns the hash of the exact text of the file.
func (p *Profile) Hash() hook.ProfileHash { return p.hash }

// NameLine returns the line of the file, from 1, that contains the profile's name. This is
// the line to change if the name is already in use.
func (p *Profile) NameLine() int { return p.nameLine }

// Management returns the management API for customers of the profile: "none", "paysway" or
// "paywise".
func (p *Profile) Management() string { return p.management }

// URLRules returns the rules for endpoint URLs.
func (p *Profile) URLRules() URLRules { return p.url }

// Specs returns the signature schemes of the profile, at least one. The Key of each is an
// encoding of secrets that the profile issues or imports and that fits the algorithm. A
// request carries the signatures for which the endpoint has a valid secret.
func (p *Profile) Specs() []webhook.Spec { return slices.Clone(p.specs) }

// Catalogue returns the known event types in the order of the file. It may be empty.
func (p *Profile) Catalogue() []EventType { return slices.Clone(p.catalogue) }

// TestEvent returns the type and the data of a test event. The data must not be changed.
func (p *Profile) TestEvent() (eventType string, data []byte) { return p.test.Name, p.test.Example }

// Policy returns the profile's policy with the endpoint's own retry plan and failure limit
// applied. A failure limit counts consecutive failures as the profile does. If the profile
// counts none, the limit counts failed attempts. A nil endpoint overrides nothing. The
// slices in the result are shared and must not be changed.
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
