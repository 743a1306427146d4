package egress

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// RefusedBy is the bare table.
func RefusedBy(addr netip.Addr) string { return refusedBy(addr) }

// Tables returns the refused prefixes and the IPv6 range they are carved from.
func Tables() (four, six []netip.Prefix, global netip.Prefix) { return refused4, refused6, global6 }

// Control runs what the real dialer runs before it connects a socket.
func (c *Client) Control(address string) error {
	return c.dialer().ControlContext(context.Background(), "tcp4", address, nil)
}

// CachedURLs returns how many parsed URLs are kept.
func (c *Client) CachedURLs() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.urls)
}

// MaxCachedURLs is their bound.
const MaxCachedURLs = maxCachedURLs

// SystemResolver is what a client uses when it is given none, asking the name
// server that dial reaches.
func SystemResolver(dial func(ctx context.Context, network, address string) (net.Conn, error)) Resolver {
	return &systemResolver{net.Resolver{PreferGo: true, Dial: dial}}
}

// Periods returns how long the endpoint's connections may be used, and how much of the
// first period was over at the start.
func (c *Client) Periods(endpoint hook.ID) (period, phase time.Duration) { return c.periods(endpoint) }

// Ways returns how many hosts have an address that is remembered.
func (c *Client) Ways() int {
	c.ways.mu.Lock()
	defer c.ways.mu.Unlock()
	return len(c.ways.hosts)
}

// MaxWays is their bound.
const MaxWays = maxWays
