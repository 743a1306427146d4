package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// NewKey is a key with its text, which is shown once and not stored.
type NewKey struct {
	hook.Key
	Text string
}

// CreateKey creates a key of the caller's mode with the wanted kind, tenant, name and
// limits. Operators only. If the caller's key has limits, the new key can neither
// outlive it nor be used from other networks.
func (s *Service) CreateKey(ctx context.Context, c Caller, want hook.Key, once *Once) (NewKey, *hook.Replay, error) {
	if err := c.administer(); err != nil {
		return NewKey{}, nil, err
	}
	if err := checkKey(want.Kind, want.Tenant, want.Name); err != nil {
		return NewKey{}, nil, err
	}
	limits, err := s.checkKeyLimits(c, want.Kind, want.KeyLimits)
	if err != nil {
		return NewKey{}, nil, err
	}
	made := NewKey{Text: NewKeyText(c.Mode, want.Kind)}
	made.Key = hook.Key{Kind: want.Kind, Mode: c.Mode, Tenant: want.Tenant, Name: want.Name, Hash: sha256.Sum256([]byte(made.Text)), KeyLimits: limits}
	key, replay, err := s.o.Store.CreateKey(ctx, made.Key, once.in(hook.Scope{Mode: c.Mode}, func(stored any) any {
		key, _ := stored.(hook.Key)
		return NewKey{Key: key, Text: made.Text}
	}))
	return NewKey{Key: key, Text: made.Text}, replay, err
}

func checkKey(kind hook.Kind, tenant, name string) error {
	switch kind {
	case hook.Operator:
		if tenant != "" {
			return invalid("tenant", "An operator key stands for all tenants: leave \"tenant\" out.")
		}
	case hook.TenantKey:
		if tenant == "" {
			return invalid("tenant", "\"tenant\" is required for a tenant key.")
		}
	case hook.Publisher:
	default:
		return invalid("kind", "\"kind\" must be operator, publisher or tenant.")
	}
	return checkText("name", name, maxName)
}

// checkKeyLimits checks the limits of a new key and returns them as they are stored.
func (s *Service) checkKeyLimits(c Caller, kind hook.Kind, l hook.KeyLimits) (hook.KeyLimits, error) {
	l.ExpiresAt = l.ExpiresAt.UTC().Truncate(time.Microsecond)
	if l.Expired(s.o.Now()) {
		return l, invalid("expires_at", "\"expires_at\" must be in the future.")
	}
	if l.ReadOnly && kind == hook.Publisher {
		return l, invalid("read_only", "A publisher key only publishes, so a read-only one could do nothing: leave \"read_only\" out, or make a tenant or operator key.")
	}
	if l.EventTypes != nil {
		if err := checkKeyTypes(kind, l.EventTypes); err != nil {
			return l, err
		}
	}
	if own := c.Limits; own != nil {
		if !own.ExpiresAt.IsZero() && (l.ExpiresAt.IsZero() || l.ExpiresAt.After(own.ExpiresAt)) {
			return l, invalid("expires_at", "Your own key expires: a key that it makes must have an \"expires_at\" no later than "+own.ExpiresAt.Format(time.RFC3339)+".")
		}
		if len(own.Networks) > 0 && !within(l.Networks, own.Networks) {
			return l, invalid("networks", "Your own key is limited to networks: a key that it makes must have \"networks\" that lie inside these.")
		}
	}
	return l, nil
}

func checkKeyTypes(kind hook.Kind, types hook.Filter) error {
	if kind != hook.Publisher {
		return invalid("event_types", "\"event_types\" goes with publisher keys only: it says what they may publish.")
	}
	if len(types) == 0 || len(types) > maxKeyTypes {
		return invalid("event_types", "\"event_types\" must have 1 to 50 entries. Leave it out for a key that may publish every type.")
	}
	for i, name := range types {
		if !hook.ValidFilterType(name) {
			return invalid("event_types/"+strconv.Itoa(i), "An entry of \"event_types\" must be the name of an event type, the beginning of one up to a dot, colon or slash with a star after it (\"orders/*\"), or \"*\". "+hook.TypeRule)
		}
	}
	return nil
}

// within reports whether networks is not empty and each of them lies inside one of
// others.
func within(networks, others []netip.Prefix) bool {
	for _, n := range networks {
		if !slices.ContainsFunc(others, func(o netip.Prefix) bool { return o.Bits() <= n.Bits() && o.Contains(n.Addr()) }) {
			return false
		}
	}
	return len(networks) > 0
}

// ParseNetworks parses the networks from which a key may be used: at most 20, in CIDR
// notation without bits beyond the mask. An IPv4 network written as IPv6
// (::ffff:10.0.0.0/104) becomes IPv4. Nil means no limit; an empty list is refused.
func ParseNetworks(texts []string) ([]netip.Prefix, error) {
	if texts == nil {
		return nil, nil
	}
	if len(texts) == 0 || len(texts) > maxNetworks {
		return nil, invalid("networks", "\"networks\" must have 1 to 20 entries. Leave it out for a key that may be used from anywhere.")
	}
	const mapped = 96 // bits before the IPv4 address in an IPv4-mapped IPv6 address
	networks := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		field := "networks/" + strconv.Itoa(i)
		n, err := netip.ParsePrefix(text)
		if err == nil && n.Addr().Is4In6() && n.Bits() >= mapped {
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-mapped)
		}
		if err != nil || n.Addr().Is4In6() {
			return nil, invalid(field, "An entry of \"networks\" must be a network in CIDR notation, such as 203.0.113.0/24, 2001:db8::/32, or 203.0.113.7/32 for one address.")
		}
		if n != n.Masked() {
			return nil, invalid(field, "An entry of \"networks\" has bits beyond its mask: did you mean "+n.Masked().String()+"?")
		}
		networks[i] = n
	}
	return networks, nil
}

// Keys returns a page of the keys of the caller's mode. Operators only. It overwrites
// the mode of q.Scope.
func (s *Service) Keys(ctx context.Context, c Caller, q hook.KeyQuery) ([]hook.Key, string, error) {
	if err := c.administer(); err != nil {
		return nil, "", err
	}
	q.Scope.Mode = c.Mode
	rows, next, err := s.o.Store.Keys(ctx, q)
	if err == nil && len(rows) == 0 {
		err = s.checkNamed(ctx, c, q.Scope.Tenant)
	}
	return rows, next, err
}

// RevokeKey revokes a key of the caller's mode. It takes effect at once. Operators
// only.
func (s *Service) RevokeKey(ctx context.Context, c Caller, id hook.ID) error {
	if err := c.administer(); err != nil {
		return err
	}
	return s.o.Store.RevokeKey(ctx, hook.Scope{Mode: c.Mode}, id)
}

// FirstKeys creates one operator key for each mode, unless live mode already has one
// that can create others: expired and read-only keys do not count. It passes the texts
// to show. If show fails, it revokes the keys, because nobody has their texts. It is
// called at the start of a server without bootstrap keys. The parameter used of show
// reports whether the store has tenants: then the server has served before, with other
// kinds of key.
func (s *Service) FirstKeys(ctx context.Context, show func(live, test string, used bool) error) error {
	for page := (hook.Page{}); ; {
		keys, next, err := s.o.Store.Keys(ctx, hook.KeyQuery{Scope: hook.Scope{Mode: hook.Live}, Kind: hook.Operator, Page: page})
		if err != nil {
			return err
		}
		now := s.o.Now()
		if slices.ContainsFunc(keys, func(k hook.Key) bool { return !k.ReadOnly && !k.Expired(now) }) {
			return nil
		}
		if next == "" {
			break
		}
		page.Cursor = next
	}
	tenants, _, err := s.o.Store.Tenants(ctx, hook.TenantQuery{Page: hook.Page{Limit: 1}})
	if err != nil {
		return err
	}
	// The live key is created last: if the process crashes in between, the next start
	// creates both.
	var made [2]NewKey
	for i, mode := range []hook.Mode{hook.Test, hook.Live} {
		var err error
		if made[i], _, err = s.CreateKey(ctx, Caller{Kind: hook.Operator, Mode: mode}, hook.Key{Kind: hook.Operator, Name: "first start"}, nil); err != nil {
			return err
		}
	}
	err = show(made[1].Text, made[0].Text, len(tenants) > 0)
	if err != nil {
		for _, k := range made {
			err = errors.Join(err, s.o.Store.RevokeKey(ctx, hook.Scope{Mode: k.Mode}, k.ID))
		}
	}
	return err
}
