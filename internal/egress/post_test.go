package egress_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

func localClient(t testing.TB, change ...func(*egress.Options)) *egress.Client {
	t.Helper()
	o := egress.Options{AllowHTTP: true, AllowNetworks: loopback}
	for _, f := range change {
		f(&o)
	}
	return newClient(t, o)
}

func TestPost(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	receiver := egresstest.NewReceiver(t, egresstest.Answer("HTTP/1.1 503 Busy\r\nX-B: 2\r\nx-a: 1\r\n"+
		"Retry-After: Sun, 01 Mar 2026 12:01:30 GMT\r\nContent-Length: 5\r\n\r\nlater"))
	c := localClient(t, func(o *egress.Options) { o.Now = func() time.Time { return now } })
	body := bytes.Repeat([]byte("payload "), 8<<10)
	for range 3 {
		res, err := c.Post(t.Context(), egress.Request{
			URL:     receiver.URL("http", "127.0.0.1") + "?q=1",
			Headers: []hook.Header{{Name: "X-Paywise-Delivery-ID", Value: "7"}, {Name: "user-agent", Value: "posthorn/1"}},
			Body:    body,
		})
		if err != nil {
			t.Fatal(err)
		}
		want := "Content-Length: 5\nRetry-After: Sun, 01 Mar 2026 12:01:30 GMT\nX-A: 1\nX-B: 2\n"
		if res.Status != 503 || string(res.Body) != "later" || res.Truncated || string(res.Headers) != want || res.RetryAfter != 90*time.Second {
			t.Errorf("%+v\n%s", res, res.Headers)
		}
	}
	if n := receiver.Connections(); n != 1 {
		t.Errorf("three posts took %d connections", n)
	}
	head, rest, _ := bytes.Cut(receiver.Received()[0], []byte("\r\n\r\n"))
	wantHead := fmt.Sprintf("POST /hook?q=1 HTTP/1.1\r\nHost: %s\r\nUser-Agent: posthorn/1\r\nContent-Length: 65536\r\nX-Paywise-Delivery-ID: 7", receiver.Addr())
	if string(head) != wantHead || !bytes.HasPrefix(rest, body) {
		t.Errorf("sent %q", head)
	}
}

func TestPostBare(t *testing.T) {
	receiver := egresstest.NewReceiver(t, egresstest.Answer("HTTP/1.1 204 No Content\r\n\r\n"))
	res, err := localClient(t).Post(t.Context(), egress.Request{URL: receiver.URL("http", "127.0.0.1")})
	if err != nil || res.Status != 204 || res.Body != nil || res.Truncated {
		t.Errorf("%+v, %v", res, err)
	}
	want := fmt.Sprintf("POST /hook HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n", receiver.Addr())
	if got := string(receiver.Received()[0]); got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"120":                           120 * time.Second,
		" 7 ":                           7 * time.Second,
		"-5":                            0,
		"1.5":                           0,
		"soon":                          0,
		"999999999999999999999999":      365 * 24 * time.Hour,
		"Mon, 01 Jan 1990 00:00:00 GMT": 0,
		"Fri, 31 Dec 9999 23:59:59 GMT": 365 * 24 * time.Hour,
	} {
		receiver := egresstest.NewReceiver(t, egresstest.Answer("HTTP/1.1 429 Slow\r\nRetry-After: "+value+"\r\nContent-Length: 0\r\n\r\n"))
		res, err := localClient(t).Post(t.Context(), egress.Request{URL: receiver.URL("http", "127.0.0.1")})
		if err != nil || res.RetryAfter != want {
			t.Errorf("%q: %v, %v; want %v", value, res.RetryAfter, err, want)
		}
	}
}

// A body of exactly the maximum is complete, and the connection is kept. A longer one is
// truncated, and the connection is closed.
func TestBodyBound(t *testing.T) {
	for _, tt := range []struct{ size, keep, connections int }{{1000, 1000, 1}, {1002, 1000, 2}, {5 << 20, 1000, 2}} {
		for _, chunked := range []bool{false, true} {
			text := strings.Repeat("a", tt.size)
			raw := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", tt.size, text)
			if chunked {
				raw = fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", tt.size, text)
			}
			receiver := egresstest.NewReceiver(t, egresstest.Answer(raw))
			c := localClient(t, func(o *egress.Options) { o.MaxBody = 1000 })
			for range 2 {
				res, err := c.Post(t.Context(), egress.Request{URL: receiver.URL("http", "127.0.0.1"), Body: []byte("x")})
				if err != nil || len(res.Body) != tt.keep || res.Truncated != (tt.size > 1000) {
					t.Errorf("%d bytes, chunked %v: kept %d, truncated %v, %v", tt.size, chunked, len(res.Body), res.Truncated, err)
				}
			}
			if n := receiver.Connections(); n != tt.connections {
				t.Errorf("%d bytes, chunked %v: %d connections, want %d", tt.size, chunked, n, tt.connections)
			}
			receiver.Close()
		}
	}
}

// If a receiver closes a kept-alive connection while it is reused, the attempt succeeds. If
// it closes a fresh connection, the attempt fails.
func TestStaleConnection(t *testing.T) {
	var mu sync.Mutex
	first := make(map[net.Conn]bool)
	receiver := egresstest.NewReceiver(t, egresstest.Requests(func(c net.Conn) bool {
		mu.Lock()
		defer mu.Unlock()
		if first[c] {
			return false // the second request on a connection gets no response
		}
		first[c] = true
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return err == nil
	}))
	c := localClient(t)
	for range 3 {
		if _, err := c.Post(t.Context(), egress.Request{URL: receiver.URL("http", "127.0.0.1"), Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if n := receiver.Connections(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
	rude := egresstest.NewReceiver(t, egresstest.Requests(func(net.Conn) bool { return false }))
	_, err := c.Post(t.Context(), egress.Request{URL: rude.URL("http", "127.0.0.1"), Body: []byte("x")})
	if class := classOf(t, err); class != hook.ClassReset || rude.Connections() != 1 {
		t.Errorf("%s after %d connections", class, rude.Connections())
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	receiver := egresstest.NewReceiver(t, egresstest.Requests(func(net.Conn) bool { cancel(); return true }))
	_, err := localClient(t).Post(ctx, egress.Request{URL: receiver.URL("http", "127.0.0.1"), Body: []byte("x")})
	if classOf(t, err) != hook.ClassReset || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestConnectionRefused(t *testing.T) {
	receiver := egresstest.NewReceiver(t, egresstest.OK())
	receiver.Close()
	_, err := localClient(t).Post(t.Context(), egress.Request{URL: receiver.URL("http", "127.0.0.1"), Body: []byte("x")})
	if class := classOf(t, err); class != hook.ClassRefused {
		t.Errorf("got %s", class)
	}
}

func TestBlockedIsLogged(t *testing.T) {
	var log bytes.Buffer
	c := newClient(t, egress.Options{Resolver: egresstest.AttackResolver(), Log: slog.New(slog.NewJSONHandler(&log, nil))})
	_, err := c.Post(t.Context(), egress.Request{URL: "https://metadata.attack.test/?token=s3cr3t", Body: []byte("x")})
	f, ok := errors.AsType[*egress.Failure](err)
	if !ok || f.Class != hook.ClassDNSNotFound || strings.Contains(f.Message, "169.254") {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{`"WARN"`, "metadata.attack.test", `"169.254.169.254"`, "169.254.0.0/16"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("log lacks %s: %s", part, log.String())
		}
	}
	if strings.Contains(log.String(), "s3cr3t") {
		t.Errorf("log shows the query: %s", log.String())
	}
}

func TestRelaxationsAreLogged(t *testing.T) {
	for _, tt := range []struct {
		options egress.Options
		want    []string
	}{
		{egress.Options{}, nil},
		{egress.Options{AllowHTTP: true, AllowLocal: true, AllowNetworks: loopback}, []string{"http_allowed", "loopback_allowed", "127.0.0.0/8"}},
	} {
		var log bytes.Buffer
		tt.options.Log = slog.New(slog.NewTextHandler(&log, nil))
		newClient(t, tt.options)
		if got := strings.Count(log.String(), "\n"); got != len(tt.want) {
			t.Errorf("%d lines: %s", got, log.String())
		}
		for _, part := range tt.want {
			if !strings.Contains(log.String(), part) {
				t.Errorf("log lacks %s: %s", part, log.String())
			}
		}
	}
}

func TestURLCacheIsBounded(t *testing.T) {
	c := newClient(t, egress.Options{Resolver: egresstest.NewResolver()})
	for i := range egress.MaxCachedURLs + 10 {
		c.Post(t.Context(), egress.Request{URL: fmt.Sprintf("https://absent.test/%d", i)})
	}
	if n := c.CachedURLs(); n > egress.MaxCachedURLs || n == 0 {
		t.Errorf("%d URLs are kept", n)
	}
}

func TestRedirects(t *testing.T) {
	canary := egresstest.NewCanary(t)
	second := egresstest.NewReceiver(t, egresstest.OK())
	targets := []string{
		second.URL("http", "127.0.0.1"), second.URL("https", "127.0.0.1"), "//" + second.Addr() + "/", "/hook", "hook", "?again", "", "#x",
		"HTTP://" + second.Addr(), "http:\\\\" + second.Addr(), "http://user:pw@" + second.Addr(), "file:///etc/passwd",
		"gopher://" + second.Addr(), "javascript:1", "http://[::1]/", "http://169.254.169.254/", "http://localhost/", "https://example.com/",
		fmt.Sprintf("http://127.0.0.1:%d/", canary.Port()), fmt.Sprintf("http://[::1]:%d/", canary.Port()),
	}
	codes := []int{301, 302, 303, 307, 308}
	for _, code := range codes {
		for _, target := range targets {
			receiver := egresstest.NewReceiver(t, egresstest.Answer(fmt.Sprintf(
				"HTTP/1.1 %d Moved\r\nLocation: %s\r\nRefresh: 0; url=%s\r\nAlt-Svc: h2=\"%s\"\r\nContent-Length: 0\r\n\r\n",
				code, target, target, second.Addr())))
			c := localClient(t)
			res, err := c.Post(t.Context(), egress.Request{URL: receiver.URL("http", "127.0.0.1"), Body: []byte("BODY")})
			if err != nil || res.Status != code {
				t.Errorf("%d to %s: %+v, %v", code, target, res, err)
			}
			c.CloseIdle()
			receiver.Close()
			if got := bytes.Count(bytes.Join(receiver.Received(), nil), []byte("BODY")); got != 1 || receiver.Connections() != 1 {
				t.Errorf("%d to %s: body sent %d times on %d connections", code, target, got, receiver.Connections())
			}
		}
	}
	if n := canary.Connections() + int64(second.Connections()); n != 0 {
		t.Fatalf("%d second requests", n)
	}

	// Control: a client that follows redirects sends a request there.
	receiver := egresstest.NewReceiver(t, egresstest.Answer("HTTP/1.1 307 Moved\r\nLocation: "+second.URL("http", "127.0.0.1")+"\r\nContent-Length: 0\r\n\r\n"))
	naive := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := naive.Post(receiver.URL("http", "127.0.0.1"), "text/plain", strings.NewReader("BODY"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if second.Connections() == 0 {
		t.Error("control: nothing was followed, so the test proves nothing")
	}
	t.Logf("%d codes x %d targets: 0 second requests; naive client: %d", len(codes), len(targets), second.Connections())
}

// proxyTarget is the variable with the URL to post to, in the process that
// TestProxyEnvironment starts.
const proxyTarget = "EGRESS_TEST_TARGET"

// TestProxyEnvironment posts from a process that was started with proxy variables, because
// the standard library reads them only once.
func TestProxyEnvironment(t *testing.T) {
	if target := os.Getenv(proxyTarget); target != "" {
		postDespiteProxy(t, target)
		return
	}
	canary := egresstest.NewCanary(t)
	receiver := egresstest.NewReceiver(t, egresstest.OK())
	target := receiver.URL("http", "shop.example")
	t.Setenv(proxyTarget, target)
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
	for _, name := range proxyVariables {
		t.Setenv(name, fmt.Sprintf("http://user:s3cr3t@127.0.0.1:%d", canary.Port()))
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyEnvironment$", "-test.count=1")
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if n := canary.Connections(); n != 0 || receiver.Connections() == 0 {
		t.Errorf("%d connections to the proxy, %d to the receiver", n, receiver.Connections())
	}

	// Control: with the same environment the proxy would be used.
	proxy := httpproxy.FromEnvironment().ProxyFunc()
	naive := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: func(r *http.Request) (*url.URL, error) { return proxy(r.URL) }}}
	if res, err := naive.Post(target, "text/plain", strings.NewReader("x")); err == nil {
		res.Body.Close()
	}
	if canary.Connections() == 0 {
		t.Error("control: the proxy was not used, so the test proves nothing")
	}
}

var proxyVariables = []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"}

func postDespiteProxy(t *testing.T, target string) {
	var log bytes.Buffer
	c := localClient(t, func(o *egress.Options) {
		o.Resolver = egresstest.NewResolver().Set("shop.example", []string{"127.0.0.1"})
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	for range 2 {
		if _, err := c.Post(t.Context(), egress.Request{URL: target, Body: []byte("x")}); err != nil {
			t.Error(err)
		}
	}
	secure := "https" + strings.TrimPrefix(target, "http")
	_, err := c.Post(t.Context(), egress.Request{URL: secure, Body: []byte("x"), Timeout: time.Second})
	if class := classOf(t, err); class == hook.ClassNone {
		t.Error("TLS to a plain receiver succeeded")
	}
	if strings.Count(log.String(), "proxy_environment_ignored") != 1 || strings.Contains(log.String(), "s3cr3t") {
		t.Errorf("log: %s", log.String())
	}
	for _, name := range proxyVariables {
		if !strings.Contains(log.String(), name) {
			t.Errorf("log lacks %s", name)
		}
	}
}
