package sqltext_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

func TestTiming(t *testing.T) {
	const long = 3000 * time.Second
	for _, address := range []string{"203.0.113.41", "2001:db8::1", "::ffff:203.0.113.41"} {
		for _, want := range []hook.Timing{{}, {Reused: true, FirstByte: time.Millisecond}, {DNS: long, Connect: long, TLS: long, FirstByte: long}} {
			from := netip.MustParseAddr(address)
			packed := sqltext.PackTiming(from, want)
			if len(packed) > 40 {
				t.Errorf("%d bytes", len(packed))
			}
			if addr, got := sqltext.UnpackTiming(packed); addr != from.Unmap() || got != want {
				t.Errorf("%s, %+v: %s, %+v", address, want, addr, got)
			}
			for cut := range len(packed) {
				if addr, got := sqltext.UnpackTiming(packed[:cut]); addr.IsValid() || got != (hook.Timing{}) {
					t.Errorf("%d of %d bytes: %s, %+v", cut, len(packed), addr, got)
				}
			}
		}
	}
	if sqltext.PackTiming(netip.Addr{}, hook.Timing{DNS: 1}) != nil {
		t.Error("something is kept of an attempt without an address")
	}
	sqltext.UnpackTiming(bytes.Repeat([]byte{0xff}, 60)) // must not panic
}
