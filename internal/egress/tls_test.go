package egress_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

// plainHTTP answers any input like an HTTP server without TLS.
func plainHTTP(c net.Conn) {
	if _, err := c.Read(make([]byte, 64<<10)); err == nil {
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
	}
}

// No byte of a request is sent to a server that cannot prove its identity.
func TestBadTLS(t *testing.T) {
	const host = "shop.example"
	ca, foreign := egresstest.NewCA(t), egresstest.NewCA(t)
	issue := func(change func(*x509.Certificate)) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.Issue([]string{host}, change)}}
	}
	old := ca.Server(host)
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	good := ca.Server(host)
	selfSigned := ca.SelfSigned(host)
	stall := func(c net.Conn) { io.Copy(io.Discard, c) } // reads the hello and does not answer
	for _, tt := range []struct {
		name   string
		config *tls.Config
		script egresstest.Script
		want   hook.Class
		says   string // part of the message
	}{
		{"expired", issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), nil, hook.ClassTLSExpired, "expired at 20"},
		{"not yet valid", issue(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), nil, hook.ClassTLSExpired, "is not valid before 20"},
		{"foreign authority", foreign.Server(host), nil, hook.ClassTLSUntrusted, "unknown authority, or the endpoint does not send the intermediate"},
		{"self-signed", &tls.Config{Certificates: []tls.Certificate{selfSigned}}, nil, hook.ClassTLSUntrusted, "is self-signed"},
		{"wrong name", ca.Server("other.example"), nil, hook.ClassTLSName, "for another host name"},
		{"wrong usage", issue(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), nil, hook.ClassTLSUntrusted, "is not trusted"},
		{"common name only", issue(func(c *x509.Certificate) { c.DNSNames, c.Subject = nil, pkix.Name{CommonName: host} }), nil, hook.ClassTLSName, "for another host name"},
		{"old TLS", old, nil, hook.ClassTLSHandshake, "does not speak TLS 1.2 or later"},
		{"stall in the handshake", nil, stall, hook.ClassTLSTimeout, "in time"},
		{"plain HTTP", nil, plainHTTP, hook.ClassTLSHandshake, "does not speak TLS on this port"},
		{"hangs up", nil, func(net.Conn) {}, hook.ClassTLSHandshake, "closed the connection during"},
		{"control", good, nil, hook.ClassNone, ""},
		{"control, TLS 1.2", &tls.Config{Certificates: good.Certificates, MaxVersion: tls.VersionTLS12}, nil, hook.ClassNone, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			script := tt.script
			if script == nil {
				script = egresstest.OK()
			}
			receiver := egresstest.NewReceiver(t, script)
			if tt.config != nil {
				receiver = egresstest.NewTLSReceiver(t, tt.config, script)
			}
			c := newClient(t, egress.Options{
				AllowNetworks: loopback,
				RootCAs:       ca.Pool(),
				Resolver:      egresstest.NewResolver().Set(host, []string{"127.0.0.1"}),
			})
			_, err := c.Post(t.Context(), egress.Request{
				URL: receiver.URL("https", host), Headers: []hook.Header{{Name: "X-Key", Value: "s3cr3t"}},
				Body: []byte("BODY"), Timeout: 500 * time.Millisecond,
			})
			if class := classOf(t, err); class != tt.want {
				t.Errorf("got %q: %v", class, err)
			}
			if f, failed := err.(*egress.Failure); failed && !strings.Contains(f.Message, tt.says) {
				t.Errorf("%q does not say %q", f.Message, tt.says)
			}
			c.CloseIdle()
			receiver.Close()
			sent := 0
			if tt.config != nil {
				sent = receiver.Bytes() // decrypted, so all of them belong to the request
			} else {
				for _, raw := range receiver.Received() {
					if len(raw) > 0 && raw[0] != 0x16 { // not a TLS handshake record
						sent += len(raw)
					}
				}
			}
			if tt.want == hook.ClassNone && sent == 0 {
				t.Error("control: nothing was received, so the test proves nothing")
			}
			if tt.want != hook.ClassNone && sent != 0 {
				t.Errorf("%d bytes of the request were sent", sent)
			}
		})
	}
}

// If the host is an address, the certificate is verified for that address.
func TestTLSToAddress(t *testing.T) {
	ca := egresstest.NewCA(t)
	withIP := &tls.Config{Certificates: []tls.Certificate{ca.Issue(nil, func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	})}}
	for _, tt := range []struct {
		config *tls.Config
		want   hook.Class
	}{{withIP, hook.ClassNone}, {ca.Server("shop.example"), hook.ClassTLSName}} {
		receiver := egresstest.NewTLSReceiver(t, tt.config, egresstest.OK())
		c := newClient(t, egress.Options{AllowNetworks: loopback, RootCAs: ca.Pool()})
		for range 2 {
			_, err := c.Post(t.Context(), egress.Request{URL: receiver.URL("https", "127.0.0.1"), Body: []byte("x")})
			if class := classOf(t, err); class != tt.want {
				t.Errorf("got %q: %v", class, err)
			}
		}
		if n := receiver.Connections(); tt.want == hook.ClassNone && n != 1 {
			t.Errorf("two posts took %d connections", n)
		}
	}
}

// If a receiver refuses the handshake with an alert, the message of the attempt gives the
// reason.
func TestAlerts(t *testing.T) {
	for alert, says := range map[byte]string{
		40:  "no cipher suite in common",
		42:  "asks for a client certificate",
		48:  `with the alert "unknown certificate authority"`,
		49:  `with the alert "access denied"`,
		70:  "does not speak TLS 1.2 or later",
		80:  `with the alert "internal error"`,
		112: "does not know the host name",
		116: "asks for a client certificate",
		200: `with the alert "alert(200)"`,
	} {
		receiver := egresstest.NewReceiver(t, func(c net.Conn) {
			c.Read(make([]byte, 1024))
			c.Write([]byte{21, 3, 3, 0, 2, 2, alert})
			io.Copy(io.Discard, c)
		})
		c := newClient(t, egress.Options{AllowNetworks: loopback, Resolver: egresstest.NewResolver().Set("shop.example", []string{"127.0.0.1"})})
		_, err := c.Post(t.Context(), egress.Request{URL: receiver.URL("https", "shop.example"), Body: []byte("x"), Timeout: 5 * time.Second})
		if class := classOf(t, err); class != hook.ClassTLSHandshake || !strings.Contains(err.(*egress.Failure).Message, says) {
			t.Errorf("alert %d: %v, want %q", alert, err, says)
		}
	}
}
