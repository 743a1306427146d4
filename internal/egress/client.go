package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Defaults and fixed bounds.
const (
	defaultMaxBody   = 16 << 10
	defaultMaxHeader = 64 << 10
	defaultTimeout   = 30 * time.Second
	defaultMaxIdle   = 4096
	defaultMaxAge    = 5 * time.Minute

	admitTimeout    = 2 * time.Second // for the name lookup of Admit
	idleTimeout     = 30 * time.Second
	maxIdlePerHost  = 256
	maxCachedURLs   = 4096
	maxSessions     = 1024 // of TLS, for resumption
	longestRetryFor = 365 * 24 * time.Hour
)

// Resolver looks up names. [net.Resolver] implements it.
type Resolver interface {
	// LookupNetIP returns all addresses of the host. The network is always "ip".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options configure a Client. The zero value is safe.
type Options struct {
	// AllowHTTP admits http:// URLs as well as https://.
	AllowHTTP bool
	// AllowLocal is meant for a developer's machine. It admits loopback addresses, the
	// host names localhost and *.localhost, and ports below 1024. It does not imply
	// AllowHTTP.
	AllowLocal bool
	// AllowNetworks are admitted although the table refuses them.
	AllowNetworks []netip.Prefix
	// OwnHosts are the names and addresses of this server's own API, in the form that
	// HostOf returns. URLs with such a host are refused, whatever the port, on admission
	// and again before an attempt.
	OwnHosts []string
	// AllowHosts are names that are admitted although they are not public: single
	// labels, .internal, .local and the like. Their addresses are checked as usual.
	AllowHosts []HostPattern
	// DenyNetworks and DenyHosts are refused whatever else is allowed. DenyHosts are
	// compared with the host of the URL only: another name may resolve to the same
	// address.
	DenyNetworks []netip.Prefix
	DenyHosts    []HostPattern

	// Resolver looks up names. Nil means Go's own resolver, never the C library's, which
	// accepts more spellings of an address.
	Resolver Resolver
	// DialContext opens the connection to an address that has been vetted. Nil means a
	// [net.Dialer] that checks the socket's address once more.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// RootCAs are the authorities that must have issued the certificates of receivers.
	// Nil means the system's. [ReadAuthorities] adds the operator's own to these.
	RootCAs *x509.CertPool
	// ClientCertificate is presented to receivers that request one. Nil means none.
	ClientCertificate *tls.Certificate
	// Proxy opens all connections, those to loopback included. Nil means that they are
	// opened directly. Addresses are checked before the proxy is used.
	Proxy *Proxy

	// Now is the clock with which dates in Retry-After are compared. Nil means [time.Now].
	Now func() time.Time
	// Log is the operator's log. Nil means none.
	Log *slog.Logger
	// Blocked, if set, is called with the rule of each refused dial. It must be safe for
	// concurrent use.
	Blocked func(rule string)

	// MaxBody is how many bytes of a response body are kept. 0 means 16 KiB.
	MaxBody int
	// MaxHeader bounds the bytes of all response headers, those of interim responses
	// included. 0 means 64 KiB.
	MaxHeader int
	// MaxIdle is how many idle connections are kept. 0 means 4,096.
	MaxIdle int
	// MaxAge is how old a connection may be when a request begins on it. 0 means 5
	// minutes, a negative value any age. Without it an endpoint that is never idle would
	// stay connected to an address that its name no longer has.
	MaxAge time.Duration
}

// Client sends requests to addresses that tenants choose. It is safe for
// concurrent use.
type Client struct {
	opts    Options
	form    form
	guard   *guard
	reach   *reach
	ways    ways
	tunnels service                                                              // of the proxy, by address
	six     atomic.Bool                                                          // an IPv6 address has been reached
	dialOut func(ctx context.Context, network, address string) (net.Conn, error) // to the proxy
	tls     *tls.Config                                                          // without the name of a host
	kept    kept
	scratch sync.Pool // of *scratch
	started time.Time
	seed    maphash.Seed // for the periods of pools

	mu   sync.RWMutex
	urls map[urlKey]*address // parsed
}

// New returns a client. It logs every option that relaxes the guard.
func New(opts Options) *Client {
	if opts.Resolver == nil {
		opts.Resolver = &systemResolver{net.Resolver{PreferGo: true}}
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.MaxBody <= 0 {
		opts.MaxBody = defaultMaxBody
	}
	if opts.MaxHeader <= 0 {
		opts.MaxHeader = defaultMaxHeader
	}
	if opts.MaxIdle <= 0 {
		opts.MaxIdle = defaultMaxIdle
	}
	if opts.MaxAge == 0 {
		opts.MaxAge = defaultMaxAge
	}
	c := &Client{
		opts:  opts,
		form:  form{http: opts.AllowHTTP, local: opts.AllowLocal, allow: opts.AllowHosts, deny: opts.DenyHosts},
		guard: newGuard(opts.AllowLocal, opts.AllowNetworks, opts.DenyNetworks),
		reach: newReach(opts.Log),
		ways:  ways{hosts: map[string]way{}},
		urls:  make(map[urlKey]*address),

		started: time.Now(), seed: maphash.MakeSeed(),
	}
	c.guard.proxy = opts.Proxy
	c.dialOut = opts.DialContext
	if opts.DialContext == nil {
		c.opts.DialContext = c.dialer().DialContext
		c.dialOut = new(net.Dialer).DialContext // the operator chose the address
	}
	c.tls = &tls.Config{
		RootCAs:    opts.RootCAs,
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		// A certificate that expires ends its sessions, too.
		ClientSessionCache: tls.NewLRUClientSessionCache(maxSessions),
	}
	if own := opts.ClientCertificate; own != nil {
		c.tls.Certificates = []tls.Certificate{*own}
	}
	c.kept.max, c.kept.of = opts.MaxIdle, map[origin][]*wire{}
	c.scratch.New = c.newScratch
	c.announce()
	return c
}

// announce logs the options that relax the guard, the proxy, and proxy variables in the
// environment, which are ignored.
func (c *Client) announce() {
	if c.opts.AllowHTTP {
		c.opts.Log.Warn("egress_guard_relaxed", "way", "http_allowed")
	}
	if c.opts.AllowLocal {
		c.opts.Log.Warn("egress_guard_relaxed", "way", "loopback_allowed")
	}
	for _, p := range c.guard.networks {
		c.opts.Log.Warn("egress_guard_relaxed", "way", "network_allowed", "network", p.String())
	}
	for _, p := range c.form.allow {
		c.opts.Log.Warn("egress_guard_relaxed", "way", "host_allowed", "host", p.String())
	}
	if c.opts.Proxy != nil {
		c.opts.Log.Info("egress_proxy", "proxy", c.opts.Proxy.String())
	}
	var set []string
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		if os.Getenv(name) != "" {
			set = append(set, name) // only the name, because the value may hold a password
		}
	}
	if len(set) > 0 {
		c.opts.Log.Warn("proxy_environment_ignored", "variables", set)
	}
}

// SetSelf sets the addresses on which this process listens. They are refused from then
// on, whatever is allowed. It must be called when the listeners are open, and again when
// they change.
func (c *Client) SetSelf(listeners []netip.AddrPort) error {
	if err := c.guard.setSelf(listeners); err != nil {
		return err
	}
	c.CloseIdle()
	return nil
}

// CloseIdle closes the idle connections.
func (c *Client) CloseIdle() { c.kept.clear() }

// Rules are the URL rules of a profile.
type Rules struct {
	// IPHosts admits hosts that are IP addresses. With AllowLocal, loopback addresses
	// are admitted without it.
	IPHosts bool
}

// Warning describes a problem of a URL that is admitted nevertheless.
type Warning struct {
	Code    string
	Message string
}

// Admit checks the URL of a tenant's endpoint and returns the form to store. It looks up
// the name for at most two seconds. If the name does not exist, or none of its addresses
// may be dialled, the URL is admitted with a warning. The warning is the same in both
// cases, so that tenants cannot find out which internal names exist. The error is a
// *[hook.Error] with Field "url", or the context's.
func (c *Client) Admit(ctx context.Context, rawURL string, r Rules) (canonical string, warnings []Warning, err error) {
	a, refusal := c.address(rawURL)
	if refusal != nil {
		return "", nil, refusal
	}
	if a.ip.IsValid() {
		if rule := c.guard.check(netip.AddrPortFrom(a.ip, a.port)); rule != "" {
			return "", nil, addressRefused(a.ip, rule)
		}
		if !r.IPHosts && !(c.form.local && a.ip.IsLoopback()) {
			return "", nil, refuse(hook.CodeURLHost, "The URL's host must be a name, not an IP address: the endpoint's profile says so.")
		}
		return a.canonical, nil, nil
	}
	lookup, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	addrs, failed := c.resolve(lookup, a.host)
	if ctx.Err() != nil {
		return "", nil, ctx.Err()
	}
	if failed == nil {
		_, failed = c.vetted(a.host, addrs, a.port)
	}
	if failed != nil {
		return a.canonical, []Warning{{Code: string(failed.Class), Message: failed.Message}}, nil
	}
	return a.canonical, nil, nil
}

// address parses a URL and refuses those of this server.
func (c *Client) address(raw string) (*address, *hook.Error) {
	a, err := parseAddress(raw, c.form)
	if err == nil && slices.Contains(c.opts.OwnHosts, a.host) {
		return nil, refuse(hook.CodeURLAddress, "The URL's host is this server's own (--public-url). Deliveries go to receivers only: name the receiver's host.")
	}
	if err == nil && c.opts.Proxy.named(a) {
		return nil, addressRefused(a.ip, ruleProxy)
	}
	return a, err
}

// HostOf returns the host of an http or https URL in canonical form, in which hosts are
// compared: a lower-case ASCII name, or an address.
func HostOf(rawURL string) (string, error) {
	a, err := parseAddress(rawURL, form{http: true, local: true})
	if err != nil {
		return "", err
	}
	return a.host, nil
}

// urlKey is the key of a parsed URL: its stored text and its endpoint.
type urlKey struct {
	stored   string
	endpoint hook.ID
}

// parsed returns the parsed form of a stored URL. It checks the form again, because the
// rules may have become stricter since the URL was admitted.
func (c *Client) parsed(stored string, endpoint hook.ID) (*address, *hook.Error) {
	key := urlKey{stored, endpoint}
	c.mu.RLock()
	a := c.urls[key]
	c.mu.RUnlock()
	if a != nil {
		return a, nil
	}
	a, err := c.address(stored)
	if err != nil {
		return nil, err
	}
	a.endpoint = endpoint
	a.path = a.url.RequestURI()
	a.period, a.phase = c.periods(endpoint)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.urls) >= maxCachedURLs {
		clear(c.urls) // cheaper than tracking the order of use
	}
	c.urls[key] = a
	return a, nil
}
