package egress_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

const proxySecret = "pr0xy-s3cr3t"

// way is a proxy that records the requested targets.
type way struct {
	*egresstest.Receiver
	mu      sync.Mutex
	targets []string
	headers []http.Header
}

// newWay starts a proxy. route returns the address to which a tunnel leads, "" if it is
// refused.
func newWay(t testing.TB, route func(target string) (answer, to string)) *way {
	w := &way{}
	w.Receiver = egresstest.NewReceiver(t, w.script(route))
	return w
}

func (w *way) script(route func(target string) (answer, to string)) egresstest.Script {
	return egresstest.Tunnels(func(r *http.Request) (answer, to string) {
		w.mu.Lock()
		w.targets, w.headers = append(w.targets, r.Method+" "+r.RequestURI), append(w.headers, r.Header)
		w.mu.Unlock()
		return route(r.RequestURI)
	})
}

func (w *way) asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.targets...)
}

func parseProxy(t testing.TB, text string) *egress.Proxy {
	t.Helper()
	p, err := egress.ParseProxy(text, false)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *way) proxy(t testing.TB) *egress.Proxy {
	return parseProxy(t, "http://egress:"+proxySecret+"@"+w.Addr())
}

// TestProxy delivers through a proxy, with http and https URLs, with and without TLS to the
// proxy. The proxy gets the address that was checked, the receiver's certificate is
// verified for the name, connections are kept, and only the proxy gets the credentials.
func TestProxy(t *testing.T) {
	const host, public = "shop.example", "93.184.215.14"
	ca := egresstest.NewCA(t)
	local := &tls.Config{Certificates: []tls.Certificate{ca.Issue(nil, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })}}
	for _, scheme := range []string{"http", "https"} {
		for _, secure := range []bool{false, true} {
			receiver := egresstest.NewReceiver(t, egresstest.OK())
			if scheme == "https" {
				receiver = egresstest.NewTLSReceiver(t, ca.Server(host), egresstest.OK())
			}
			w := &way{}
			script := w.script(func(string) (string, string) { return egresstest.OpenTunnel, receiver.Addr() })
			address := "http://egress:" + proxySecret + "@"
			if w.Receiver = egresstest.NewReceiver(t, script); secure {
				w.Receiver = egresstest.NewTLSReceiver(t, local, script)
				address = "https://egress:" + proxySecret + "@"
			}
			c := newClient(t, egress.Options{AllowHTTP: true, RootCAs: ca.Pool(), Proxy: parseProxy(t, address+w.Addr()),
				Resolver: egresstest.NewResolver().Set(host, []string{public})})
			for range 2 {
				res, err := c.Post(t.Context(), egress.Request{URL: receiver.URL(scheme, host), Body: []byte("BODY"), Timeout: 5 * time.Second})
				if err != nil || res.Status != 200 || res.Address.String() != public {
					t.Fatalf("%s, TLS to the proxy %v: %+v, %v", scheme, secure, res, err)
				}
			}
			c.CloseIdle()
			want := fmt.Sprintf("CONNECT %s:%d", public, receiver.Port())
			if asked := w.asked(); len(asked) != 1 || asked[0] != want {
				t.Errorf("the proxy was asked for %q, want %q once", asked, want)
			}
			credentials := "Basic " + base64.StdEncoding.EncodeToString([]byte("egress:"+proxySecret))
			if got := w.headers[0].Get("Proxy-Authorization"); got != credentials {
				t.Errorf("credentials %q", got)
			}
			receiver.Close()
			got := string(bytes.Join(receiver.Received(), nil))
			if strings.Contains(got, "Proxy-Authorization") || strings.Count(got, "POST /hook HTTP/1.1\r\nHost: shop.example") != 2 {
				t.Errorf("the receiver got %q", got)
			}
		}
	}
}

// The proxy never gets a refused address, although it could reach it. Control: with the
// guard open it does, and the canary gets the connection.
func TestAttackCorpusThroughProxy(t *testing.T) {
	canary := egresstest.NewCanary(t)
	attacks := egresstest.Attacks(canary.Port())
	run := func(o egress.Options) []string {
		w := newWay(t, func(target string) (string, string) {
			to, err := netip.ParseAddrPort(target)
			if err != nil || !to.Addr().Unmap().IsLoopback() && !to.Addr().IsUnspecified() {
				return "HTTP/1.1 502 Bad Gateway\r\n\r\n", ""
			}
			return egresstest.OpenTunnel, target
		})
		o.Resolver, o.Proxy = egresstest.AttackResolver(), w.proxy(t)
		c := newClient(t, o)
		for _, a := range attacks {
			_, err := c.Post(t.Context(), egress.Request{URL: a.URL, Body: []byte("x"), Timeout: time.Second})
			if class := classOf(t, err); class.Ours() && class != hook.ClassDNSUnavailable && class != hook.ClassNetworkUnavailable {
				t.Errorf("%q: %v", a.URL, err)
			}
		}
		return w.asked()
	}
	for _, target := range run(egress.Options{AllowHTTP: true}) {
		if !strings.HasPrefix(target, "CONNECT 93.184.215.14:") {
			t.Errorf("the proxy was asked for %s", target)
		}
	}
	if n := canary.Connections(); n != 0 {
		t.Fatalf("the canary heard %d connections", n)
	}
	asked := run(egress.Options{AllowHTTP: true, AllowLocal: true, AllowNetworks: everywhere})
	if canary.Connections() < 20 || canary.Bytes() == 0 {
		t.Errorf("control: the canary heard %d connections: the test proves nothing", canary.Connections())
	}
	t.Logf("%d attacks; guard open: %d tunnels, %d connections at the canary", len(attacks), len(asked), canary.Connections())
}

// The proxy's response determines whose fault a failure is. No message contains the
// password.
func TestProxyFaults(t *testing.T) {
	const ours = hook.ClassEgressProxy
	for _, tt := range []struct {
		name, answer string
		want         hook.Class
		says         string
	}{
		{"wants credentials", "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n", ours, "does not accept the user name and password"},
		{"denies", "HTTP/1.1 403 Forbidden\r\n\r\n", hook.ClassBlockedAddress, "does not let deliveries go"},
		{"target is down", "HTTP/1.1 502 Bad Gateway\r\n\r\n", hook.ClassConnectFailed, ""},
		{"target is silent", "HTTP/1.1 504 Gateway Timeout\r\n\r\n", hook.ClassConnectTimeout, ""},
		{"busy", "HTTP/1.1 503 Busy\r\n\r\n", ours, "answered 503"},
		{"Squid's target is down", "HTTP/1.1 503 No\r\nX-Squid-Error: ERR_CONNECT_FAIL 111\r\n\r\n", hook.ClassConnectFailed, ""},
		{"broken", "HTTP/1.1 500 Oh\r\n\r\n", ours, "answered 500"},
		{"no proxy", "HTTP/1.1 405 No\r\n\r\n", ours, "answered 405"},
		{"redirects", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", ours, "answered 302"},
		{"garbage", "SSH-2.0-x\r\n\r\n", ours, "no valid answer"},
		{"endless", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 4000), ours, "no valid answer"},
		{"hangs up", "", ours, "no valid answer"},
	} {
		var log bytes.Buffer
		w := newWay(t, func(string) (string, string) { return tt.answer, "" })
		resolver := egresstest.NewResolver()
		c := newClient(t, egress.Options{AllowHTTP: true, Proxy: w.proxy(t), Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), Resolver: resolver})
		for i := range 3 { // other hosts do not change the class
			host := fmt.Sprintf("h%d.example", i)
			resolver.Set(host, []string{fmt.Sprintf("93.184.215.%d", i+1)})
			_, err := c.Post(t.Context(), egress.Request{URL: "http://" + host + "/", Body: []byte("x"), Timeout: 5 * time.Second})
			f, _ := err.(*egress.Failure)
			if class := classOf(t, err); class != tt.want || !strings.Contains(f.Error(), tt.says) || f.Class.Ours() != (tt.want == ours) {
				t.Errorf("%s: %q, %v", tt.name, class, err)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, f), proxySecret) {
				t.Errorf("%s: the error shows the password", tt.name)
			}
		}
		if down := c.Outage(); (down != "") != (tt.want == ours) {
			t.Errorf("%s: outage %q", tt.name, down)
		}
		if said := log.String(); strings.Contains(said, proxySecret) || !strings.Contains(said, "proxy=http://"+w.Addr()) {
			t.Errorf("%s: log %s", tt.name, said)
		}
	}
}

// A proxy that refuses connections or does not answer is the server's fault. One that opens
// no tunnel in time is the target's fault. Afterwards the proxy works again.
func TestProxyDown(t *testing.T) {
	receiver := egresstest.NewReceiver(t, egresstest.OK())
	w := newWay(t, func(string) (string, string) { return egresstest.OpenTunnel, receiver.Addr() })
	proxy := w.proxy(t)
	refused := true
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if refused {
			address = "127.0.0.1:1"
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	c := newClient(t, egress.Options{AllowHTTP: true, Proxy: proxy, DialContext: dial, Resolver: egresstest.NewResolver().Set("shop.example", []string{"93.184.215.14"})})
	post := func(c *egress.Client) (hook.Class, error) {
		_, err := c.Post(t.Context(), egress.Request{URL: "http://shop.example/", Body: []byte("x"), Timeout: 30 * time.Second})
		return classOf(t, err), err
	}
	if class, err := post(c); class != hook.ClassEgressProxy || c.Outage() == "" {
		t.Errorf("%q, %v; outage %q", class, err, c.Outage())
	}
	refused = false
	if class, err := post(c); class != hook.ClassNone || c.Outage() != "" {
		t.Errorf("%q, %v; outage %q", class, err, c.Outage())
	}
	for _, accepts := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
				if !accepts {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				near, far := net.Pipe()
				go func() {
					io.Copy(io.Discard, far)
					far.Close()
				}()
				return near, nil
			}
			c := egress.New(egress.Options{AllowHTTP: true, Proxy: proxy, DialContext: dial, Resolver: egresstest.NewResolver().Set("shop.example", []string{"93.184.215.14"})})
			start := time.Now()
			want, took := hook.ClassEgressProxy, 5*time.Second
			if accepts {
				want, took = hook.ClassConnectTimeout, 30*time.Second
			}
			if class, err := post(c); class != want || time.Since(start) != took {
				t.Errorf("proxy accepts: %v: %q after %v: %v", accepts, class, time.Since(start), err)
			}
		})
	}
}

// No tunnel leads to the proxy itself, whatever is allowed.
func TestProxyItself(t *testing.T) {
	receiver := egresstest.NewReceiver(t, egresstest.OK())
	w := newWay(t, func(target string) (string, string) { return egresstest.OpenTunnel, target })
	proxy := w.proxy(t)
	if err := proxy.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, egress.Options{AllowHTTP: true, AllowLocal: true, AllowNetworks: everywhere, Proxy: proxy,
		Resolver: egresstest.NewResolver().Set("proxy.example", []string{"127.0.0.1"})})
	post := func(to *egresstest.Receiver, host string) hook.Class {
		_, err := c.Post(t.Context(), egress.Request{URL: to.URL("http", host), Body: []byte("x"), Timeout: time.Second})
		return classOf(t, err)
	}
	if class := post(receiver, "127.0.0.1"); class != hook.ClassNone {
		t.Fatalf("control: another port is not reached: %s", class)
	}
	for host, want := range map[string]hook.Class{"127.0.0.1": hook.ClassURLRefused, "proxy.example": hook.ClassDNSNotFound, "[::ffff:127.0.0.1]": hook.ClassBlockedAddress} {
		host = strings.Trim(host, "[]")
		if class := post(w.Receiver, host); class != want {
			t.Errorf("%s: %q, want %q", host, class, want)
		}
	}
	if asked := w.asked(); len(asked) != 1 {
		t.Errorf("the proxy was asked for %v", asked)
	}
	named := newClient(t, egress.Options{Proxy: parseProxy(t, "http://proxy.example:3128"), Resolver: egresstest.NewResolver().Set("proxy.example", []string{"93.184.215.14"})})
	_, _, err := named.Admit(t.Context(), "https://proxy.example:3128/", egress.Rules{})
	if hook.CodeOf(err) != hook.CodeURLAddress || strings.Contains(err.Error(), "(") {
		t.Errorf("by its name: %v", err)
	}
	if _, _, err := named.Admit(t.Context(), "https://proxy.example/", egress.Rules{}); err != nil {
		t.Errorf("control: another port: %v", err)
	}
}

// If the proxy answers 5xx for one target for two minutes, and opens tunnels to others
// meanwhile, the fault is the target's. If it answers 5xx for all, the fault is its own, as
// is any other status.
func TestProxyIsBusyForOne(t *testing.T) {
	for _, tt := range []struct {
		status string
		others bool
		blamed bool // the target
	}{{"503", true, true}, {"503", false, false}, {"500", true, true}, {"500", false, false}, {"599", true, true}, {"429", true, false}} {
		others := tt.others
		synctest.Test(t, func(t *testing.T) {
			resolver := egresstest.NewResolver().Set("dead.example", []string{"93.184.215.1"}).Set("shop.example", []string{"93.184.215.2"})
			script := egresstest.Tunnels(func(r *http.Request) (answer, to string) {
				if others && strings.HasPrefix(r.RequestURI, "93.184.215.2:") {
					return egresstest.OpenTunnel, ""
				}
				return "HTTP/1.1 " + tt.status + " No\r\n\r\n", ""
			})
			dial := func(context.Context, string, string) (net.Conn, error) {
				near, far := net.Pipe()
				go func() {
					script(far)
					far.Close()
				}()
				return near, nil
			}
			c := egress.New(egress.Options{AllowHTTP: true, Resolver: resolver, DialContext: dial, Proxy: parseProxy(t, "http://10.0.0.1:3128")})
			post := func(host string) hook.Class {
				_, err := c.Post(t.Context(), egress.Request{URL: "http://" + host + "/", Body: []byte("x"), Timeout: time.Second})
				return classOf(t, err)
			}
			for start := time.Now(); time.Since(start) < 4*time.Minute; time.Sleep(16 * time.Second) {
				post("shop.example")
				want := hook.ClassEgressProxy
				if tt.blamed && time.Since(start) >= 2*time.Minute {
					want = hook.ClassConnectFailed
				}
				if class := post("dead.example"); class != want {
					t.Errorf("%s, others are reached: %v: after %v %q, want %q", tt.status, others, time.Since(start), class, want)
				}
			}
		})
	}
}

// publicConn is a connection that reports a public remote address.
type publicConn struct{ net.Conn }

func (publicConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(93, 184, 215, 14), Port: 3128}
}

// Credentials are not sent over the internet without TLS, unless the operator declares the
// path private.
func TestProxyInTheClear(t *testing.T) {
	for _, tt := range []struct {
		url    string
		forced bool
		want   bool
	}{
		{"http://93.184.215.14:3128", false, false}, {"http://[2606:4700::1]:3128", false, false},
		{"https://93.184.215.14:3128", false, true}, {"http://93.184.215.14:3128", true, true}, {"http://10.0.0.1:3128", false, true}, {"http://127.0.0.1:3128", false, true},
	} {
		p, err := egress.ParseProxy(tt.url, tt.forced)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(t.Context()); (err == nil) != tt.want {
			t.Errorf("%s, forced %v: %v", tt.url, tt.forced, err)
		}
	}
	for _, forced := range []bool{false, true} {
		w := newWay(t, func(string) (string, string) { return "HTTP/1.1 403 No\r\n\r\n", "" })
		p, err := egress.ParseProxy("http://u:"+proxySecret+"@proxy.example:3128", forced)
		if err != nil {
			t.Fatal(err)
		}
		dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, w.Addr())
			return publicConn{conn}, err
		}
		c := newClient(t, egress.Options{AllowHTTP: true, Proxy: p, DialContext: dial, Resolver: egresstest.NewResolver().Set("shop.example", []string{"93.184.215.14"})})
		_, err = c.Post(t.Context(), egress.Request{URL: "http://shop.example/", Body: []byte("x"), Timeout: 5 * time.Second})
		w.Close()
		if class := classOf(t, err); (class == hook.ClassEgressProxy) == forced || (w.Bytes() == 0) == forced {
			t.Errorf("forced %v: %v, %d bytes sent", forced, err, w.Bytes())
		}
	}
}

func TestParseProxy(t *testing.T) {
	for text, want := range map[string]string{
		"http://proxy:3128": "http://proxy:3128", "http://u:" + proxySecret + "@Proxy.internal:3128/": "http://proxy.internal:3128",
		"https://u%40x:" + proxySecret + "@[fd00::1]:443": "https://[fd00::1]:443",
		"proxy:3128": "", "socks5://u:" + proxySecret + "@proxy:1080": "", "http://u:" + proxySecret + "@proxy": "", "http://u:" + proxySecret + "@:3128": "",
		"http://u:" + proxySecret + "@proxy:3128/x": "", "http://u:" + proxySecret + "@proxy:3128?x": "", "http://u:" + proxySecret + "%zz@proxy:3128": "",
		"http://u:" + proxySecret + "@proxy:0": "", "http://u:" + proxySecret + "@proxy:99999": "", "": "",
	} {
		p, err := egress.ParseProxy(text, false)
		if (err == nil) != (want != "") || err == nil && p.String() != want {
			t.Errorf("%s: %v, %v", text, p, err)
		}
		if said := fmt.Sprintf("%v %+v %#v %v", p, p, egress.Options{Proxy: p}, err); strings.Contains(said, proxySecret) || strings.Contains(said, "Basic") {
			t.Errorf("%s: %s", text, said)
		}
	}
}

// What a receiver sends behind its response is not taken for the next response, even if TLS
// to the proxy has received it already: the next request goes to a fresh connection.
func TestUnaskedThroughProxy(t *testing.T) {
	ca := egresstest.NewCA(t)
	local := &tls.Config{Certificates: []tls.Certificate{ca.Issue(nil, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })}}
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 8000\r\n\r\n" + strings.Repeat("x", 8000) // more than is read at once
	for unasked, want := range map[string]int{"": 1, "HTTP/1.1 299 Unasked\r\nContent-Length: 0\r\n\r\n": 2} {
		answers := []string{egresstest.OpenTunnel, ok + unasked, ok}
		proxy := egresstest.NewTLSReceiver(t, local, func(c net.Conn) {
			n := 0
			egresstest.Requests(func(c net.Conn) bool {
				_, err := io.WriteString(c, answers[n])
				n++
				return err == nil && n < len(answers)
			})(c)
		})
		c := newClient(t, egress.Options{AllowHTTP: true, RootCAs: ca.Pool(), Proxy: parseProxy(t, "https://"+proxy.Addr()),
			Resolver: egresstest.NewResolver().Set("shop.example", []string{"93.184.215.14"})})
		for range 2 {
			res, err := c.Post(t.Context(), egress.Request{URL: "http://shop.example/", Body: []byte("x")})
			if err != nil || res.Status != 200 || res.Repeated {
				t.Errorf("behind the response %q: %+v, %v", unasked, res, err)
			}
		}
		if n := proxy.Connections(); n != want {
			t.Errorf("behind the response %q: %d connections, want %d", unasked, n, want)
		}
	}
}
