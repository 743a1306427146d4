package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// dialer is the real one. Its control function runs between the making of the
// socket and the connect, with the very address the socket is to be connected to.
func (c *Client) dialer() *net.Dialer {
	return &net.Dialer{ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		return c.vet(address)
	}}
}

// vet judges an address that is about to be dialled.
func (c *Client) vet(address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return failure(hook.ClassBlockedAddress, fmt.Errorf("dial something that is no address: %w", err))
	}
	if rule := c.guard.check(to); rule != "" {
		return c.blocked(to.Addr().String(), to.Addr(), rule)
	}
	return nil
}

// blocked reports a refused dial: to the operator with the address, to the
// tenant without.
func (c *Client) blocked(host string, addr netip.Addr, rule string) *Failure {
	c.opts.Log.Warn("egress_blocked", "host", host, "address", addr.String(), "rule", rule)
	if c.opts.Blocked != nil {
		c.opts.Blocked(rule)
	}
	return failure(hook.ClassBlockedAddress, fmt.Errorf("%s resolves to %s, refused by rule %q", host, addr, rule))
}

// systemResolver is Go's own resolver. A final dot makes each name absolute, so
// that the search domains of this host are not tried.
type systemResolver struct{ net.Resolver }

// LookupNetIP asks the name servers of the system.
func (r *systemResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return r.Resolver.LookupNetIP(ctx, network, host+".")
}

// resolve returns the addresses of a name. Names of the own host are not left to
// the name service (RFC 6761 section 6.3).
func (c *Client) resolve(ctx context.Context, host string) ([]netip.Addr, *Failure) {
	if c.form.local && isLocalName(host) {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	addrs, err := c.opts.Resolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	if err == nil {
		c.reach.answered(host)
		return addrs, nil
	}
	dns, ok := errors.AsType[*net.DNSError](err)
	switch {
	case ok && dns.IsNotFound:
		c.reach.answered(host)
		return nil, failure(hook.ClassDNSNotFound, err)
	case ctx.Err() != nil || ok && dns.IsTimeout:
		return nil, failure(hook.ClassDNSTimeout, err)
	}
	return nil, failure(hook.ClassDNSFailed, err)
}

// dialPlain opens a connection for http. The transport gives it a context that
// outlives the request, so the deadline comes from the attempt.
func (c *Client) dialPlain(ctx context.Context, _, _ string) (net.Conn, error) {
	a := ctx.Value(attemptKey{}).(*attempt) // all requests come from Post
	ctx, cancel := a.dialContext(ctx)
	defer cancel()
	conn, err := c.connect(ctx, a)
	if err != nil {
		return nil, err
	}
	return &lenientConn{Conn: conn}, nil
}

// dialTLS opens a connection for https and completes the handshake. The name that
// is verified is the URL's host, whatever address it was dialled at.
func (c *Client) dialTLS(ctx context.Context, _, _ string) (net.Conn, error) {
	a := ctx.Value(attemptKey{}).(*attempt) // all requests come from Post
	ctx, cancel := a.dialContext(ctx)
	defer cancel()
	conn, err := c.connect(ctx, a)
	if err != nil {
		return nil, err
	}
	a.phase.Store(phaseTLS)
	secured := tls.Client(conn, &tls.Config{
		ServerName: a.target.host,
		RootCAs:    c.opts.RootCAs,
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
	})
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, classifyTLS(ctx, err)
	}
	a.phase.Store(phaseReady)
	return &lenientConn{Conn: secured}, nil
}

// dialContext bounds a dial by the deadline of the attempt that asked for it.
func (a *attempt) dialContext(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, _ := a.Deadline() // Post sets one
	return context.WithDeadline(ctx, deadline)
}

// connect resolves the host once, refuses it if any of its addresses is refused
// (a mixed answer is a sign of rebinding) and dials the checked addresses.
func (c *Client) connect(ctx context.Context, a *attempt) (net.Conn, error) {
	host, port := a.target.host, a.target.port
	addrs := []netip.Addr{a.target.ip}
	if !a.target.ip.IsValid() {
		a.phase.Store(phaseDNS)
		found, fail := c.resolve(ctx, host)
		if fail != nil {
			return nil, fail
		}
		addrs = found
	}
	targets := make([]netip.AddrPort, len(addrs))
	for i, addr := range addrs {
		targets[i] = netip.AddrPortFrom(addr.Unmap(), port)
		if rule := c.guard.check(netip.AddrPortFrom(addr, port)); rule != "" {
			return nil, c.blocked(host, addr, rule)
		}
	}
	a.phase.Store(phaseConnect)
	conn, err := c.dialFirst(ctx, targets[:min(len(targets), maxDialed)])
	if err != nil {
		return nil, classifyDial(ctx, err)
	}
	a.phase.Store(phaseReady)
	return conn, nil
}

// dialFirst tries the addresses in turn and returns the first connection, or the
// first error that is not ours. An address that does not answer may use up its share
// of the time.
func (c *Client) dialFirst(ctx context.Context, targets []netip.AddrPort) (net.Conn, error) {
	var first error
	ours := false
	for i, to := range targets {
		conn, err := c.dialOne(ctx, to, len(targets)-i)
		if err == nil {
			if to.Addr().Is6() && !to.Addr().IsLoopback() {
				c.six.Store(true)
			}
			return conn, nil
		}
		local := c.localFault(ctx, to, err)
		if first == nil || ours && !local {
			first, ours = err, local
		}
		if ctx.Err() != nil {
			break
		}
	}
	if ours {
		if isAny(first, syscall.EMFILE, syscall.ENFILE) {
			c.CloseIdle() // kept connections are of less use than new ones
		}
		return nil, failure(hook.ClassLocalResources, first)
	}
	return nil, first
}

// localFault reports whether a dial failed for want of something of this machine.
// Without a route or an address of IPv6 that is so only if there was one before: a
// machine that has none lacks nothing that comes back.
func (c *Client) localFault(ctx context.Context, to netip.AddrPort, err error) bool {
	had := to.Addr().Is4() || c.six.Load()
	switch {
	case isAny(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM):
		return true
	case isAny(err, syscall.EADDRNOTAVAIL, syscall.ENETDOWN):
		return had
	case had && errors.Is(err, syscall.ENETUNREACH):
		// A router on the way says the same of its own. Connecting a UDP socket sends
		// nothing, so it fails only if the route is missing here.
		conn, err := c.opts.DialContext(ctx, "udp", to.String())
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, syscall.ENETUNREACH)
	}
	return false
}

func isAny(err error, of ...syscall.Errno) bool {
	for _, number := range of {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}

func (c *Client) dialOne(ctx context.Context, to netip.AddrPort, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		share := max(time.Until(deadline)/time.Duration(left), minShare)
		limited, cancel := context.WithTimeout(ctx, share)
		defer cancel()
		ctx = limited
	}
	return c.opts.DialContext(ctx, "tcp", to.String())
}
