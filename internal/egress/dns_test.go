package egress_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
)

// nameServer is a name server on a loopback socket. moved.test is an alias of a name with a
// private address, broken.test fails, silent.test gets no answer, and other names do not
// exist.
func nameServer(t *testing.T) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := socket.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := answerDNS(buf[:n]); answer != nil {
				socket.WriteTo(answer, from)
			}
		}
	}()
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "udp4", socket.LocalAddr().String())
		if err == nil {
			// The resolver continues to wait for a while after its caller has given up.
			t.Cleanup(func() { conn.Close() })
		}
		return conn, err
	}
}

func answerDNS(question []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	switch q.Name.String() {
	case "silent.test.":
		return nil
	case "broken.test.":
		m.RCode = dnsmessage.RCodeServerFailure
	case "moved.test.", "public.test.":
		address := [4]byte{93, 184, 215, 14}
		name := q.Name
		if strings.HasPrefix(q.Name.String(), "moved") {
			name, address = dnsmessage.MustNewName("db.corp.internal."), [4]byte{10, 0, 0, 1}
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeCNAME, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.CNAMEResource{CNAME: name},
			})
		}
		if q.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.AResource{A: address},
			})
		}
	default:
		m.RCode = dnsmessage.RCodeNameError
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}

// TestRealResolver runs Go's own resolver against a name server.
func TestRealResolver(t *testing.T) {
	resolver := egress.SystemResolver(nameServer(t))
	dialled := ""
	c := newClient(t, egress.Options{Resolver: resolver, DialContext: loopbackOnly(func(address string) { dialled = address })})
	for _, tt := range []struct {
		host string
		want hook.Class
	}{
		{"public.test", hook.ClassConnectFailed}, // the test dials loopback only
		{"moved.test", hook.ClassDNSNotFound},
		{"absent.test", hook.ClassDNSNotFound},
		{"broken.test", hook.ClassDNSUnavailable},
		{"silent.test", hook.ClassDNSUnavailable},
	} {
		dialled = ""
		_, err := c.Post(t.Context(), egress.Request{URL: "https://" + tt.host + "/", Body: []byte("x"), Timeout: 200 * time.Millisecond})
		if class := classOf(t, err); class != tt.want {
			t.Errorf("%s: %s: %v", tt.host, class, err)
		}
		if want := tt.host == "public.test"; (dialled != "") != want || want && netip.MustParseAddrPort(dialled).Port() != 443 {
			t.Errorf("%s: dialled %q", tt.host, dialled)
		}
	}
}
