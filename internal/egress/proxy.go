package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	maxProxyAnswer  = 16 << 10        // bytes of the response to a CONNECT
	maxProxyConnect = 5 * time.Second // to the proxy itself; also at most half of the remaining time
	maxProxyAddrs   = 64
)

// Proxy is the operator's HTTP proxy for deliveries (CONNECT, RFC 9110 section 9.3.6).
// Its printed form does not contain the credentials.
type Proxy struct {
	secure        bool // TLS to the proxy
	host          string
	port          uint16
	authorization string // value of Proxy-Authorization; secret
	plainAnywhere bool

	seen atomic.Pointer[[]netip.Addr] // known addresses of the proxy
	down atomic.Pointer[string]       // a sentence that describes its fault; nil: it works
}

// ParseProxy parses http://[user:password@]host:port, or https:// for a proxy with TLS.
// With plainAnywhere a proxy without TLS may have a public address. The error never
// contains the text, which may contain a password.
func ParseProxy(text string, plainAnywhere bool) (*Proxy, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("it is not a URL such as http://proxy.internal:3128; write what is special in a user name or password percent-encoded")
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("it must start with http:// or https://")
	case u.Hostname() == "":
		return nil, errors.New("it has no host")
	case err != nil || port == 0:
		return nil, errors.New("it must name the port, such as http://proxy.internal:3128")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("nothing may follow the port")
	}
	p := &Proxy{secure: u.Scheme == "https", host: strings.ToLower(u.Hostname()), port: uint16(port), plainAnywhere: plainAnywhere}
	if u.User != nil {
		password, _ := u.User.Password()
		p.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	return p, nil
}

func (p *Proxy) address() string { return net.JoinHostPort(p.host, strconv.Itoa(int(p.port))) }

// String returns the proxy's URL without user name and password.
func (p *Proxy) String() string {
	if p.secure {
		return "https://" + p.address()
	}
	return "http://" + p.address()
}

// GoString returns the same as String.
func (p *Proxy) GoString() string { return p.String() }

// Check looks up the proxy's name. It returns an error if credentials, or payloads of
// http endpoints, would cross the internet unencrypted. A name that cannot be looked up
// is no error, because each connection to the proxy is checked again.
func (p *Proxy) Check(ctx context.Context) error {
	addrs, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", p.host)
	for _, addr := range addrs {
		if err := p.takes(addr.Unmap()); err != nil {
			return err
		}
	}
	return nil
}

// takes checks an address of the proxy and records it in seen.
func (p *Proxy) takes(addr netip.Addr) error {
	if !p.secure && !p.plainAnywhere && refusedBy(addr) == "" {
		return fmt.Errorf("the proxy %s is at the public address %s and is spoken to without TLS: use https://, or --egress-proxy-plain if the way there is private", p, addr)
	}
	for {
		known := p.seen.Load()
		var list []netip.Addr
		if known != nil {
			list = *known
		}
		if slices.Contains(list, addr) {
			return nil
		}
		if len(list) == maxProxyAddrs {
			list = list[1:]
		}
		list = append(slices.Clone(list), addr)
		if p.seen.CompareAndSwap(known, &list) {
			return nil
		}
	}
}

// is reports whether the destination is the proxy itself. No tunnel may lead there.
func (p *Proxy) is(addr netip.Addr, port uint16) bool {
	if p == nil || port != p.port {
		return false
	}
	known := p.seen.Load()
	return known != nil && slices.Contains(*known, addr)
}

// named reports whether a URL has the host and port of the proxy.
func (p *Proxy) named(a *address) bool { return p != nil && a.port == p.port && a.host == p.host }

// Reach connects to the proxy and closes the connection without sending a request. If
// roots is nil, the system's authorities verify the proxy's certificate.
func (p *Proxy) Reach(ctx context.Context, roots *x509.CertPool) error {
	conn, err := p.dial(ctx, new(net.Dialer).DialContext, roots)
	if err != nil {
		return err
	}
	return conn.Close()
}

// dial connects to the proxy and, if it uses TLS, completes the handshake.
func (p *Proxy) dial(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), roots *x509.CertPool) (net.Conn, error) {
	conn, err := dial(ctx, "tcp", p.address())
	if err != nil {
		return nil, err
	}
	if to, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		if err := p.takes(to.AddrPort().Addr().Unmap()); err != nil {
			conn.Close()
			return nil, err
		}
	}
	if !p.secure {
		return conn, nil
	}
	secured := tls.Client(gated(conn), &tls.Config{
		ServerName: p.host,
		RootCAs:    roots,
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
	})
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// tunnel opens a connection to a checked address through the proxy. The proxy gets the
// address and never the name, so it cannot resolve the name to another address.
func (c *Client) tunnel(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	p := c.opts.Proxy
	conn, err := c.dialProxy(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err // another address connected first, or the attempt has ended
		}
		if isAny(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM) {
			return nil, err // not the proxy's fault
		}
		return nil, p.fault("cannot be connected to", err)
	}
	answer, err := p.connect(ctx, conn, to)
	if err != nil {
		conn.Close()
		if ctx.Err() != nil || isTimeout(ctx, err) {
			return nil, err // the proxy probably still waits for the target
		}
		return nil, p.fault("gave no valid answer", err)
	}
	status := answer.StatusCode
	switch {
	case status/100 == 2:
		c.tunnels.answers(to.String())
		if p.down.Swap(nil) != nil {
			c.opts.Log.Info("egress proxy works again", "proxy", p.String())
		}
		return &tunnelled{conn, to}, nil
	case status == http.StatusForbidden:
		f := c.blocked(to.Addr().String(), to.Addr(), ruleProxyDenies)
		f.Message = "The operator's egress proxy does not let deliveries go to the endpoint's address (403)."
		err = f
	case targetFailed(answer), status >= 500 && c.tunnels.fails(to.String()):
		err = fmt.Errorf("egress proxy answered %d for %s", status, to)
		if status == http.StatusGatewayTimeout {
			err = failure(hook.ClassConnectTimeout, err)
		} else {
			err = failure(hook.ClassConnectFailed, err)
		}
	case status == http.StatusProxyAuthRequired:
		err = p.fault("does not accept the user name and password, or wants some (407)", nil)
	default:
		err = p.fault("answered "+strconv.Itoa(status), nil)
	}
	conn.Close()
	return nil, err
}

// targetFailed reports whether the response means that the proxy could not reach the
// target. A 503 from Squid means that if it names the reason. A 503 from other proxies, and
// every other 5xx, may report a fault of the proxy.
func targetFailed(answer *http.Response) bool {
	switch answer.StatusCode {
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	case http.StatusServiceUnavailable:
		return strings.HasPrefix(answer.Header.Get("X-Squid-Error"), "ERR_CONNECT_FAIL")
	}
	return false
}

// dialProxy connects to the proxy within a part of the remaining time, so that a silent
// proxy is not mistaken for a silent target.
func (c *Client) dialProxy(ctx context.Context) (net.Conn, error) {
	limit := maxProxyConnect
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return c.opts.Proxy.dial(ctx, c.dialOut, c.opts.RootCAs)
}

// connect requests a tunnel and reads the response, but no further byte, because what
// follows comes from the target.
func (p *Proxy) connect(ctx context.Context, conn net.Conn, to netip.AddrPort) (*http.Response, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	ask := "CONNECT " + to.String() + " HTTP/1.1\r\nHost: " + to.String() + "\r\n"
	if p.authorization != "" {
		ask += "Proxy-Authorization: " + p.authorization + "\r\n"
	}
	_, err := io.WriteString(conn, ask+"\r\n")
	var answer *http.Response
	if err == nil {
		in := bufio.NewReader(io.LimitReader(single{conn}, maxProxyAnswer))
		answer, err = http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// single is a reader that reads one byte at a time.
type single struct{ io.Reader }

// Read reads at most one byte.
func (s single) Read(p []byte) (int, error) { return s.Reader.Read(p[:min(len(p), 1)]) }

// fault records and returns a failure of the proxy. It is a fault of this installation
// and does not count against the endpoint.
func (p *Proxy) fault(what string, err error) *Failure {
	text := "The egress proxy of this server " + what + "." // no address: /readyz is public
	p.down.Store(&text)
	f := failure(hook.ClassEgressProxy, fmt.Errorf("egress proxy %s %s", p, what))
	if err != nil {
		f.Err = fmt.Errorf("egress proxy %s %s: %w", p, what, err)
	}
	return f
}

// tunnelled is a connection through the proxy. Its remote address is the target's.
type tunnelled struct {
	net.Conn
	to netip.AddrPort
}

// RemoteAddr returns the address of the target.
func (t *tunnelled) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(t.to) }
