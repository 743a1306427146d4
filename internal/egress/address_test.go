package egress_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
)

// The dispatcher bounds attempts by address, so responses and failures must report it.
func TestTheAddressIsTold(t *testing.T) {
	want := netip.MustParseAddr("127.0.0.1")
	r := egresstest.NewReceiver(t, egresstest.Requests(func(c net.Conn) bool {
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return err == nil
	}))
	c := localClient(t)
	post := func(url string) (netip.Addr, error) {
		answer, err := c.Post(t.Context(), egress.Request{URL: url, Body: []byte("B")})
		if f, ok := errors.AsType[*egress.Failure](err); ok {
			return f.Address, err
		}
		return answer.Address, err
	}
	for _, conn := range []string{"fresh", "kept"} {
		if got, err := post(r.URL("http", "127.0.0.1")); err != nil || got.Unmap() != want {
			t.Errorf("%s connection: address %v, %v", conn, got, err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String() + "/"
	l.Close()
	if got, err := post(closed); err == nil || got.Unmap() != want {
		t.Errorf("refused connection: address %v, %v", got, err)
	}
}
