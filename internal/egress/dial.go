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

// dialer returns the default dialer. Its control function runs after the socket is
// created and before it is connected, with the address that it will be connected to.
func (c *Client) dialer() *net.Dialer {
	return &net.Dialer{ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		return c.vet(address)
	}}
}

// vet checks an address that is about to be dialled.
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

// blocked reports a refused address: to the operator with the address, to the tenant
// without it.
func (c *Client) blocked(host string, addr netip.Addr, rule string) *Failure {
	c.opts.Log.Warn("egress_blocked", "host", host, "address", addr.String(), "rule", rule)
	if c.opts.Blocked != nil {
		c.opts.Blocked(rule)
	}
	return failure(hook.ClassBlockedAddress, fmt.Errorf("%s leads to %s, refused by rule %q", host, addr, rule))
}

// vetted returns the addresses of a name that may be dialled, at least one. It leaves
// out the others. The owner of a name can add any address to an answer but gains nothing
// by that, because each address is checked individually and dialled as checked. If no
// address may be dialled, the failure is the same as for a name that does not exist, so
// that internal names cannot be probed.
func (c *Client) vetted(host string, addrs []netip.Addr, port uint16) ([]netip.AddrPort, *Failure) {
	var targets []netip.AddrPort
	refused, by := netip.Addr{}, ""
	for _, addr := range addrs {
		rule := c.guard.check(netip.AddrPortFrom(addr, port))
		if rule == "" {
			targets = append(targets, netip.AddrPortFrom(addr.Unmap(), port))
		} else if by == "" {
			refused, by = addr, rule
		}
	}
	switch {
	case len(targets) == 0:
		return nil, failure(hook.ClassDNSNotFound, c.blocked(host, refused, by))
	case by != "":
		c.opts.Log.Debug("egress_address_left_out", "host", host, "address", refused.String(), "rule", by)
	}
	return targets, nil
}

// systemResolver is Go's own resolver. It adds a final dot, which makes each name
// absolute, so that the search domains of this host are not tried.
type systemResolver struct{ net.Resolver }

// LookupNetIP queries the name servers of the system.
func (r *systemResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return r.Resolver.LookupNetIP(ctx, network, host+".")
}

// resolve returns the addresses of a name. Names of the local host are not passed to the
// name service (RFC 6761 section 6.3).
func (c *Client) resolve(ctx context.Context, host string) ([]netip.Addr, *Failure) {
	if c.form.local && isLocalName(host) {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	addrs, err := c.opts.Resolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	if err == nil {
		c.reach.names.answers(host)
		return addrs, nil
	}
	dns, ok := errors.AsType[*net.DNSError](err)
	switch {
	case ok && dns.IsNotFound:
		c.reach.names.answers(host)
		return nil, failure(hook.ClassDNSNotFound, err)
	case ctx.Err() != nil || ok && dns.IsTimeout:
		return nil, failure(hook.ClassDNSTimeout, err)
	}
	return nil, failure(hook.ClassDNSFailed, err)
}

// dial opens a connection for the attempt. For https it completes the handshake, and
// verifies the certificate for the URL's host, whatever address was dialled.
func (c *Client) dial(a *attempt) (net.Conn, error) {
	ctx, cancel := a.context()
	defer cancel()
	conn, err := c.connect(ctx, a)
	if err != nil || a.target.scheme != "https" {
		return conn, err
	}
	a.phase = phaseTLS
	begun := time.Now()
	config := c.tls.Clone()
	config.ServerName = a.target.host
	secured := tls.Client(gated(conn), config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, classifyTLS(ctx, err)
	}
	a.phase, a.timing.TLS = phaseReady, time.Since(begun)
	return secured, nil
}

// connect resolves the host once, checks its addresses and dials the permitted ones. It
// dials exactly the addresses that were checked, so a name that changes its answer in
// between (DNS rebinding) has no effect.
func (c *Client) connect(ctx context.Context, a *attempt) (net.Conn, error) {
	targets, err := c.targets(ctx, a)
	if err != nil {
		return nil, err
	}
	a.phase = phaseConnect
	begun := time.Now()
	targets = c.ways.order(a.target.host, targets)
	a.address = targets[0].Addr()
	won, err := c.race(ctx, targets)
	if err != nil {
		return nil, classifyDial(ctx, err)
	}
	if won.to != targets[0] {
		a.address = won.to.Addr()
		c.ways.worked(a.target.host, won.to)
	}
	a.phase, a.timing.Connect = phaseReady, time.Since(begun)
	return won.Conn, nil
}

// open opens a connection to a checked address.
func (c *Client) open(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if c.opts.Proxy != nil {
		return c.tunnel(ctx, to)
	}
	return c.opts.DialContext(ctx, "tcp", to.String())
}

// targets returns the addresses of the attempt's host that may be dialled.
func (c *Client) targets(ctx context.Context, a *attempt) ([]netip.AddrPort, error) {
	host, port := a.target.host, a.target.port
	if ip := a.target.ip; ip.IsValid() {
		if rule := c.guard.check(netip.AddrPortFrom(ip, port)); rule != "" {
			f := c.blocked(host, ip, rule)
			f.Message = addressRefused(ip, rule).Message
			return nil, f
		}
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), port)}, nil
	}
	a.phase = phaseDNS
	begun := time.Now()
	found, fail := c.resolve(ctx, host)
	a.timing.DNS = time.Since(begun)
	if fail != nil {
		return nil, fail
	}
	targets, fail := c.vetted(host, found, port)
	if fail != nil {
		return nil, fail
	}
	return targets, nil
}

// localFault reports whether a dial failed because this machine lacks a resource. A
// missing IPv6 route or address counts only if IPv6 has worked before. A machine without
// IPv6 will not get it back by waiting.
func (c *Client) localFault(ctx context.Context, to netip.AddrPort, err error) bool {
	had := to.Addr().Is4() || c.six.Load()
	switch {
	case isAny(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM):
		return true
	case isAny(err, syscall.EADDRNOTAVAIL, syscall.ENETDOWN):
		return had
	case had && errors.Is(err, syscall.ENETUNREACH):
		// A router on the path can cause the same error. Connecting a UDP socket sends
		// nothing, so it fails only if the route is missing on this machine.
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
