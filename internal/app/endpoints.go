package app

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// Endpoint is an endpoint as callers see it. Secret is set only by the operation that
// created the secret, and by Listen. Health is set by Service.Endpoint and by the
// methods of Mount.
type Endpoint struct {
	*hook.Endpoint
	Secret string
	// PublicKey verifies signatures of the newest secret if the profile signs with
	// ed25519. Lists leave it out.
	PublicKey string
	Warnings  []Warning
	Health    *hook.Health
	Held      int // deliveries held until it is enabled; set by Service.Endpoint
}

// NewEndpoint is a request for a new endpoint.
type NewEndpoint struct {
	Tenant      string
	URL         string
	Types       []string // required; empty but not nil matches nothing
	Channels    []string // nil: events of any channel
	Disabled    bool
	Title       string
	Description string
	Profile     string // empty: the server's default
	Headers     []hook.Header
	RateLimit   float64 // deliveries per second, 0 to 10000; 0: the tenant's
	MaxInFlight int     // 0 to the ceiling; 0: the server's default
	MaxFailures *int    // 1 to 1000; nil: the profile's rule
	Retry       *hook.Retry
	Secret      string // a secret to import; empty: a new one
	UID         string // the platform's own name for it, unique in tenant and mode; empty: none
	Metadata    string // see checkMetadata
	// Operational endpoints get operational events and nothing else.
	Operational bool

	admit  func(existing []*hook.Endpoint) error // called inside the transaction; nil: no further conditions
	exempt bool                                  // needs no verification
}

// bounded enforces the limit on endpoints and then calls the caller's own condition.
func (k Ceilings) bounded(admit func(existing []*hook.Endpoint) error) func(existing []*hook.Endpoint) error {
	return func(existing []*hook.Endpoint) error {
		if len(existing) >= k.Endpoints {
			return &hook.Error{Code: hook.CodeEndpointLimit, Message: fmt.Sprintf(
				"The tenant has %d endpoints in this mode. The server allows %d (--endpoints-per-tenant). Delete one first.", len(existing), k.Endpoints)}
		}
		if admit == nil {
			return nil
		}
		return admit(existing)
	}
}

// CreateEndpoint creates an endpoint. Only this result contains the secret.
func (s *Service) CreateEndpoint(ctx context.Context, c Caller, in NewEndpoint, once *Once) (Endpoint, *hook.Replay, error) {
	if err := c.may(hook.MayManage); err != nil {
		return Endpoint{}, nil, err
	}
	scope, err := c.reach(in.Tenant)
	if err != nil {
		return Endpoint{}, nil, err
	}
	if scope.Tenant == "" {
		return Endpoint{}, nil, invalid("tenant", "\"tenant\" is required.")
	}
	if err := in.owner(c, scope.Tenant); err != nil {
		return Endpoint{}, nil, err
	}
	ep, p, err := s.draft(scope, in)
	if err != nil {
		return Endpoint{}, nil, err
	}
	if err := checkNotMasked(in.URL); err != nil {
		return Endpoint{}, nil, err
	}
	made := Endpoint{}
	secret, err := s.newSecret(p, in.Secret)
	if err != nil {
		return Endpoint{}, nil, err
	}
	if ep.URL, made.Warnings, err = s.admit(ctx, c, in.Operational, in.URL, p); err != nil {
		return Endpoint{}, nil, err
	}
	if ep.Mail() && ep.MaxInFlight == 0 {
		ep.MaxInFlight = 1 // one connection to the mail server at a time
	}
	if s.o.VerifyEndpoints && !in.exempt && !ep.Mail() {
		if err := s.spend(ctx, c, limitAttempts, 1); err != nil {
			return Endpoint{}, nil, err
		}
		ep.Verification = challenged(p)
	}
	made.Warnings = append(made.Warnings, filterWarnings(&ep)...)
	ep.Secrets = []hook.Secret{secret}
	made.Endpoint, made.Secret = &ep, secret.Text
	made.PublicKey, _ = p.PublicKey(secret)
	stored, replay, err := s.o.Store.CreateEndpointIf(ctx, ep, s.bounded(&in), once.in(scope, func(stored any) any {
		return made.with(stored)
	}))
	if err != nil || replay != nil {
		return Endpoint{}, replay, err
	}
	return made.with(stored), nil, nil
}

// with returns e with the row that the store created.
func (e Endpoint) with(stored any) Endpoint {
	if row, ok := stored.(*hook.Endpoint); ok {
		e.Endpoint = row
	}
	return e
}

// draft checks everything about a new endpoint except its URL and its secret.
func (s *Service) draft(scope hook.Scope, in NewEndpoint) (hook.Endpoint, *profile.Profile, error) {
	ep := hook.Endpoint{Scope: scope, Types: in.Types, Title: in.Title, Description: in.Description, Profile: in.Profile, Headers: in.Headers,
		RateLimit: in.RateLimit, MaxInFlight: in.MaxInFlight, Retry: in.Retry, Operational: in.Operational, UID: in.UID, Metadata: in.Metadata}
	if in.Types == nil {
		return ep, nil, invalid("event_types", "\"event_types\" is required; [\"*\"] matches every type, [] none.")
	}
	var err error
	if ep.Channels, err = checkChannels(in.Channels); err != nil {
		return ep, nil, err
	}
	if in.Disabled {
		ep.Status = hook.Disabled
	}
	if ep.Profile == "" {
		ep.Profile = s.o.Profile
	}
	p, ok := s.o.Profiles.Get(ep.Profile)
	if !ok {
		return ep, nil, s.errProfile()
	}
	if in.MaxFailures != nil {
		if ep.MaxFailures = *in.MaxFailures; ep.MaxFailures == 0 {
			return ep, nil, errMaxFailures
		}
	}
	if err := s.checkEndpoint(&ep, &hook.Endpoint{}); err != nil {
		return ep, nil, err
	}
	return ep, p, s.o.Ceilings.check(&hook.Endpoint{}, &ep)
}

// newSecret returns the imported secret, if the profile can use it, or a new one.
func (s *Service) newSecret(p *profile.Profile, imported string) (hook.Secret, error) {
	secret := hook.Secret{Text: imported, CreatedAt: s.o.Now()}
	var err error
	if imported == "" {
		secret.Text, secret.Encoding, err = p.NewSecret()
	} else {
		secret.Encoding, err = p.CheckSecret(imported)
	}
	return secret, err
}

// Endpoint returns an endpoint with its health.
func (s *Service) Endpoint(ctx context.Context, c Caller, id hook.ID) (Endpoint, error) {
	ep, err := s.endpoint(ctx, c, id)
	if err != nil {
		return Endpoint{}, err
	}
	health, held, err := s.o.Store.Health(ctx, ep.Scope, id)
	return Endpoint{Endpoint: ep, PublicKey: s.publicKey(ep), Health: &health, Held: held}, err
}

// publicKey returns the public key of the newest secret. It is empty if the profile has
// no public keys.
func (s *Service) publicKey(ep *hook.Endpoint) string {
	if len(ep.Secrets) == 0 || ep.Damage.Has(hook.DamagedSecrets) {
		return ""
	}
	text, _ := s.profileNamed(ep.Profile).PublicKey(ep.Secrets[0])
	return text
}

func (s *Service) endpoint(ctx context.Context, c Caller, id hook.ID) (*hook.Endpoint, error) {
	scope, err := c.reach("")
	if err != nil {
		return nil, err
	}
	return s.o.Store.Endpoint(ctx, scope, id)
}

// Endpoints returns a page of endpoints. q.Scope.Tenant is the tenant that the caller
// requested.
func (s *Service) Endpoints(ctx context.Context, c Caller, q hook.EndpointQuery) ([]hook.Endpoint, string, error) {
	scope, err := c.reach(q.Scope.Tenant)
	if err != nil {
		return nil, "", err
	}
	if q.EventType != "" && !hook.ValidType(q.EventType) {
		return nil, "", errType("event_type", q.EventType)
	}
	if err := checkUID(q.UID); err != nil {
		return nil, "", err
	}
	if q.Profile != "" && !hook.ValidID(q.Profile, 63) { // it may be one that endpoints have and the server no longer has
		return nil, "", invalid("profile", "\"profile\" must be the name of a wire format.")
	}
	q.Scope = scope
	rows, next, err := s.o.Store.Endpoints(ctx, q)
	if err == nil && len(rows) == 0 {
		err = s.checkNamed(ctx, c, scope.Tenant)
	}
	return rows, next, err
}

// Healths returns the failure records of one page of endpoints, by id. An endpoint
// without failures has no record.
func (s *Service) Healths(ctx context.Context, c Caller, page []hook.Endpoint) (map[hook.ID]hook.Health, error) {
	scope, err := c.reach("")
	if err != nil {
		return nil, err
	}
	ids := make([]hook.ID, len(page))
	for i := range page {
		ids[i] = page[i].ID
	}
	return s.o.Store.Healths(ctx, scope, ids)
}

// EndpointNamed returns an endpoint without its health. If the tenant is named and in
// use, the endpoint is read from memory.
func (s *Service) EndpointNamed(ctx context.Context, c Caller, tenant string, id hook.ID) (*hook.Endpoint, error) {
	scope, err := c.reach(tenant)
	if err != nil {
		return nil, err
	}
	return s.o.Store.Endpoint(ctx, scope, id)
}

// DeleteEndpoint deletes an endpoint and cancels its open deliveries. Each check
// receives the current endpoint; its error prevents the deletion.
func (s *Service) DeleteEndpoint(ctx context.Context, c Caller, id hook.ID, checks ...func(hook.Endpoint) error) error {
	if err := c.may(hook.MayManage); err != nil {
		return err
	}
	ep, err := s.endpoint(ctx, c, id)
	if err != nil {
		return err
	}
	return s.o.Store.DeleteEndpoint(ctx, ep.Scope, id, checks...)
}

// Rotated is a new secret, shown once, and the time when the previous one stops
// signing.
type Rotated struct {
	Secret            string
	PublicKey         string // where the profile signs with ed25519
	PreviousExpiresAt time.Time
}

// MaxOverlap is the longest time that an old secret may keep signing after a rotation
// (S-12).
const MaxOverlap = 7 * 24 * time.Hour

// RotateSecret gives an endpoint a new secret, or the given one. The old secrets also
// sign during the overlap, 0 to MaxOverlap.
func (s *Service) RotateSecret(ctx context.Context, c Caller, id hook.ID, text string, overlap time.Duration, once *Once) (Rotated, *hook.Replay, error) {
	if err := c.may(hook.MaySeeSecret); err != nil {
		return Rotated{}, nil, err
	}
	ep, err := s.endpoint(ctx, c, id)
	if err != nil {
		return Rotated{}, nil, err
	}
	if overlap < 0 || overlap > MaxOverlap {
		return Rotated{}, nil, invalid("overlap", "\"overlap\" must be 0s to 168h.")
	}
	secret, err := s.newSecret(s.profileNamed(ep.Profile), text)
	if err != nil {
		return Rotated{}, nil, err
	}
	if err := s.spend(ctx, c, limitAttempts, 1); err != nil {
		return Rotated{}, nil, err
	}
	out := Rotated{Secret: secret.Text, PreviousExpiresAt: secret.CreatedAt.Add(overlap)}
	out.PublicKey, _ = s.profileNamed(ep.Profile).PublicKey(secret)
	_, replay, err := s.o.Store.RotateSecret(ctx, ep.Scope, id, secret, overlap, once.in(ep.Scope, func(any) any { return out }))
	return out, replay, err
}

// ExpireSecrets removes all secrets of an endpoint except the newest, which keeps
// signing.
func (s *Service) ExpireSecrets(ctx context.Context, c Caller, id hook.ID) error {
	if err := c.may(hook.MaySeeSecret); err != nil {
		return err
	}
	ep, err := s.endpoint(ctx, c, id)
	if err != nil {
		return err
	}
	_, err = s.o.Store.UpdateEndpoint(ctx, ep.Scope, id, func(row hook.Endpoint) (hook.Endpoint, error) {
		if row.Damage.Has(hook.DamagedSecrets) {
			return row, errSecretDamaged
		}
		row.Secrets = row.Secrets[:min(len(row.Secrets), 1)]
		return row, nil
	}, false)
	return err
}

// Test is a test event and its one delivery.
type Test struct {
	Event    hook.ID // as receivers see it
	Delivery hook.ID
	Type     string
}

// TestEndpoint sends a test event with the given type and data, or those of the
// profile. A disabled endpoint can be tested, an unverified one cannot.
func (s *Service) TestEndpoint(ctx context.Context, c Caller, id hook.ID, eventType string, data []byte, once *Once) (Test, *hook.Replay, error) {
	if err := c.may(hook.MayTest); err != nil {
		return Test{}, nil, err
	}
	ep, err := s.endpoint(ctx, c, id)
	if err != nil {
		return Test{}, nil, err
	}
	if data == nil && hook.ValidType(eventType) && !ep.Operational {
		known, err := s.EventType(ctx, c, eventType) // a tenant does not get the example of a hidden type
		if err != nil && hook.CodeOf(err) != hook.CodeNotFound {
			return Test{}, nil, err
		}
		data = known.Example // the platform's example takes precedence over the profile's
	}
	if ep.Unverified() {
		return Test{}, nil, hook.NotVerified()
	}
	p := s.profileNamed(ep.Profile)
	if ep.Operational {
		eventType, data, err = alertTest(eventType, data)
	} else {
		eventType, data, err = testEvent(p, eventType, data)
	}
	if err != nil {
		return Test{}, nil, err
	}
	if err := s.spend(ctx, c, limitAttempts, 1); err != nil {
		return Test{}, nil, err
	}
	kept := once.in(ep.Scope, func(stored any) any {
		made, _ := stored.(hook.TestPublished)
		return Test{Event: made.PublicID, Delivery: made.Delivery, Type: eventType}
	})
	published, delivery, replay, err := s.o.Store.PublishTest(ctx, ep.Scope, id, eventType, data, p.Hash(), kept)
	return Test{Event: published.PublicID, Delivery: delivery, Type: eventType}, replay, err
}

// testEvent fills in what the caller left out of a test event from the profile. A type
// of the profile's catalogue brings its example.
func testEvent(p *profile.Profile, eventType string, data []byte) (string, []byte, error) {
	if eventType == "" {
		ownType, ownData := p.TestEvent()
		if data == nil {
			data = ownData
		}
		return ownType, data, nil
	}
	if !hook.ValidType(eventType) {
		return "", nil, errType("type", eventType)
	}
	if hook.ReservedType(eventType) {
		return "", nil, errReserved("type", eventType)
	}
	if data == nil {
		data = []byte("{}")
		for _, known := range p.Catalogue() {
			if known.Name == eventType && len(known.Example) > 0 {
				data = known.Example
			}
		}
	}
	return eventType, data, nil
}

// profileNamed returns the named profile, or the default if it no longer exists.
func (s *Service) profileNamed(name string) *profile.Profile {
	p, ok := s.o.Profiles.Get(name)
	if !ok {
		p, _ = s.o.Profiles.Get(s.o.Profile)
	}
	return p
}
