package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// RefusedBy checks an address against the table only.
func RefusedBy(addr netip.Addr) string { return refusedBy(addr) }

// Tables returns the refused prefixes, and the IPv6 range outside which all is refused.
func Tables() (four, six []netip.Prefix, global netip.Prefix) { return refused4, refused6, global6 }

// Control runs the check that the default dialer runs before it connects a socket.
func (c *Client) Control(address string) error {
	return c.dialer().ControlContext(context.Background(), "tcp4", address, nil)
}

// CachedURLs returns how many parsed URLs are kept.
func (c *Client) CachedURLs() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.urls)
}

// MaxCachedURLs is the bound of CachedURLs.
const MaxCachedURLs = maxCachedURLs

// SystemResolver returns the default resolver. It queries the name server to which dial
// connects.
func SystemResolver(dial func(ctx context.Context, network, address string) (net.Conn, error)) Resolver {
	return &systemResolver{net.Resolver{PreferGo: true, Dial: dial}}
}

// Periods returns the endpoint's period and phase. See Client.periods.
func (c *Client) Periods(endpoint hook.ID) (period, phase time.Duration) { return c.periods(endpoint) }

// Ways returns for how many hosts an address is remembered.
func (c *Client) Ways() int {
	c.ways.mu.Lock()
	defer c.ways.mu.Unlock()
	return len(c.ways.hosts)
}

// MaxWays is the bound of Ways.
const MaxWays = maxWays

// ReadAnswer reads a response from the connection as Post does. Kept reports whether the
// connection could carry another request.
func ReadAnswer(from io.Reader, maxHeader, maxBody int) (res Response, kept bool, err error) {
	in := reader{buf: make([]byte, 4<<10)}
	in.reset(from, maxHeader)
	h, err := in.head()
	if err != nil {
		return Response{}, false, err
	}
	res = Response{Status: h.status, Headers: headerLines(h.lines, maxHeader)}
	body := make([]byte, maxBody+1)
	n, err := in.body(&h, body)
	res.Truncated = !errors.Is(err, io.EOF)
	res.Body = body[:min(n, maxBody)]
	return res, !h.close && !res.Truncated && in.r == in.w, nil
}

// Kept returns how many idle connections are kept.
func (c *Client) Kept() int {
	c.kept.mu.Lock()
	defer c.kept.mu.Unlock()
	return c.kept.all.Len()
}
