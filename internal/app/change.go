package app

import (
	"context"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// EndpointChange is a change of an endpoint. A nil member leaves its value unchanged.
// Values are complete: a reset is the value that a new endpoint would have.
type EndpointChange struct {
	URL         *string
	Types       *[]string
	Channels    *[]string // nil slice: events of any channel
	Enabled     *bool
	Discard     bool // with Enabled true: held deliveries are cancelled, not sent
	Title       *string
	Description *string
	Profile     *string // empty: the server's default
	UID         *string // empty: none
	Metadata    MetadataChange
	Headers     []HeaderChange
	ResetHeads  bool // remove all headers first
	RateLimit   *float64
	MaxInFlight *int
	MaxFailures *int // 0: the profile's rule
	// Retry computes the new plan from the old one; nil means the profile's plan.
	Retry func(old *hook.Retry) (*hook.Retry, error)
	// Check receives the current endpoint; its error prevents the change.
	Check func(hook.Endpoint) error

	exempt bool // needs no verification
}

// HeaderChange sets a header, or removes it if Value is nil.
type HeaderChange struct {
	Name  string
	Value *string
}

// UpdateEndpoint changes an endpoint. If a new profile cannot use the endpoint's
// secret, the endpoint gets a new one, which only this result contains. CodeConflict
// means that another request changed the URL or profile in the meantime.
func (s *Service) UpdateEndpoint(ctx context.Context, c Caller, id hook.ID, change EndpointChange) (Endpoint, error) {
	if err := c.may(hook.MayManage); err != nil {
		return Endpoint{}, err
	}
	old, err := s.endpoint(ctx, c, id)
	if err != nil {
		return Endpoint{}, err
	}
	if err := checkListener(old, change); err != nil {
		return Endpoint{}, err
	}
	if change.URL != nil && *change.URL != old.URL && *change.URL == hook.MaskURL(old.URL) {
		change.URL = nil // sent back as it was shown: unchanged
	}
	m, err := s.plan(ctx, c, old, change)
	if err != nil {
		return Endpoint{}, err
	}
	if m.moves = m.needed && !hook.MailURL(m.url) && origin(m.url) != origin(old.URL); m.moves && s.o.VerifyEndpoints && !change.exempt {
		if err := s.spend(ctx, c, limitAttempts, 1); err != nil {
			return Endpoint{}, err
		}
	}
	out := Endpoint{Warnings: m.warnings}
	out.Endpoint, err = s.o.Store.UpdateEndpoint(ctx, old.Scope, id, func(row hook.Endpoint) (hook.Endpoint, error) {
		out.Secret = ""
		before := row
		if change.Check != nil {
			if err := change.Check(row); err != nil {
				return row, err
			}
		}
		if m.needed && (row.Profile != old.Profile || row.URL != old.URL) {
			return row, &hook.Error{Code: hook.CodeConflict, Message: "The endpoint was changed by another request meanwhile. Read it and try again."}
		}
		if m.needed {
			row.URL = m.url
		}
		if change.URL != nil {
			row.Damage &^= hook.DamagedQuery
		}
		if change.ResetHeads || len(change.Headers) > 0 {
			row.Damage &^= hook.DamagedHeaders
		}
		if m.to != nil {
			row.Profile = m.to.Name()
			if !expresses(m.to, row.Secrets) {
				row.Secrets, out.Secret = []hook.Secret{m.secret}, m.secret.Text
				row.Damage &^= hook.DamagedSecrets
			}
		}
		if err := apply(&row, change); err != nil {
			return row, err
		}
		if err := s.applyVerification(&row, m.moves, change); err != nil {
			return row, err
		}
		if err := s.checkEndpoint(&row, &before); err != nil {
			return row, err
		}
		return row, s.o.Ceilings.check(&before, &row)
	}, change.Discard)
	if change.Types != nil && err == nil {
		out.Warnings = append(out.Warnings, filterWarnings(out.Endpoint)...)
	}
	if err == nil {
		out.PublicKey = s.publicKey(out.Endpoint)
	}
	return out, err
}

// move is the part of a change that is prepared before the transaction, because
// resolving a host name takes time.
type move struct {
	needed   bool // URL or profile changes
	moves    bool // to another host, port or scheme
	url      string
	warnings []Warning
	to       *profile.Profile // nil: the profile stays
	secret   hook.Secret      // used if the new profile cannot use the old secret
}

func (s *Service) plan(ctx context.Context, c Caller, old *hook.Endpoint, change EndpointChange) (move, error) {
	m := move{url: old.URL}
	in := s.profileNamed(old.Profile)
	if change.Profile != nil {
		name := *change.Profile
		if name == "" {
			name = s.o.Profile
		}
		var ok bool
		if in, ok = s.o.Profiles.Get(name); !ok {
			return m, s.errProfile()
		}
		if name != old.Profile {
			m.to = in
		}
	}
	if change.URL != nil {
		m.url = *change.URL
		if err := checkNotMasked(m.url); err != nil {
			return m, err
		}
	}
	if m.needed = change.URL != nil || m.to != nil; !m.needed {
		return m, nil
	}
	var err error
	if m.to != nil {
		if m.secret, err = s.newSecret(m.to, ""); err != nil {
			return m, err
		}
	}
	if old.Mail() && change.URL == nil {
		return m, nil
	}
	m.url, m.warnings, err = s.admit(ctx, c, old.Operational, m.url, in)
	return m, err
}

// checkNotMasked refuses a URL with a masked query value: it would overwrite the token
// that it stands for.
func checkNotMasked(url string) error {
	if _, query, _ := strings.Cut(url, "?"); strings.Contains(query, "***") {
		return &hook.Error{Code: hook.CodeURLInvalid, Field: "url", Message: "The URL has *** in its query, which stands for a value that is not shown. Write the value itself."}
	}
	return nil
}

// expresses reports whether a profile can sign with the newest of the secrets in the
// encoding that its receiver knows.
func expresses(p *profile.Profile, secrets []hook.Secret) bool {
	if len(secrets) == 0 {
		return false
	}
	encoding, err := p.CheckSecret(secrets[0].Text)
	return err == nil && encoding == secrets[0].Encoding
}

// apply makes the changes to the row, except URL and profile. The row is a snapshot
// with other readers: slices are replaced, never modified.
func apply(row *hook.Endpoint, c EndpointChange) error {
	if c.Types != nil {
		row.Types = *c.Types
	}
	if c.Channels != nil {
		var err error
		if row.Channels, err = checkChannels(*c.Channels); err != nil {
			return err
		}
	}
	set(&row.UID, c.UID)
	if c.Metadata != nil {
		row.Metadata = c.Metadata(row.Metadata)
	}
	if c.Title != nil {
		row.Title = *c.Title
	}
	if c.Description != nil {
		row.Description = *c.Description
	}
	if c.RateLimit != nil {
		row.RateLimit = *c.RateLimit
	}
	if c.MaxInFlight != nil {
		row.MaxInFlight = *c.MaxInFlight
	}
	if c.MaxFailures != nil {
		row.MaxFailures = *c.MaxFailures
	}
	if c.ResetHeads {
		row.Headers = nil
	}
	row.Headers = mergeHeaders(row.Headers, c.Headers)
	if c.Retry != nil {
		var err error
		if row.Retry, err = c.Retry(row.Retry); err != nil {
			return err
		}
	}
	switch {
	case c.Enabled == nil:
	case *c.Enabled:
		row.Status = hook.Enabled
	default:
		row.Status = hook.Disabled
	}
	return nil
}

func mergeHeaders(old []hook.Header, changes []HeaderChange) []hook.Header {
	if len(changes) == 0 {
		return old
	}
	var merged []hook.Header
	for _, header := range old {
		named := false
		for _, change := range changes {
			named = named || strings.EqualFold(change.Name, header.Name) && !masked(change.Value)
		}
		if !named {
			merged = append(merged, header)
		}
	}
	kept := len(merged)
	for _, change := range changes {
		same := func(h hook.Header) bool { return strings.EqualFold(h.Name, change.Name) }
		if change.Value == nil || masked(change.Value) && slices.ContainsFunc(merged[:kept], same) {
			continue
		}
		merged = append(merged, hook.Header{Name: change.Name, Value: *change.Value})
	}
	return merged
}

// masked reports whether a header value is the one that responses show. Sent back, it
// leaves the header unchanged.
func masked(value *string) bool { return value != nil && *value == shownValue }
