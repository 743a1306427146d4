package egress_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everywhere allows as much as an operator can allow.
var everywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func newClient(t testing.TB, o egress.Options) *egress.Client {
	t.Helper()
	c := egress.New(o)
	t.Cleanup(c.CloseIdle)
	return c
}

func classOf(t testing.TB, err error) hook.Class {
	t.Helper()
	if err == nil {
		return hook.ClassNone
	}
	f, ok := errors.AsType[*egress.Failure](err)
	if !ok {
		t.Fatalf("error is no *Failure: %T %v", err, err)
	}
	if f.Message == "" {
		t.Errorf("class %s has no sentence", f.Class)
	}
	return f.Class
}

// loopbackOnly dials like the default dialer, but only on this host, so that a test without
// the guard sends nothing to other hosts. It passes every address to note.
func loopbackOnly(note func(address string)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		note(address)
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, err
		}
		if !to.Addr().Unmap().IsLoopback() && !to.Addr().IsUnspecified() {
			return nil, errors.New("the test dials loopback only")
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}
