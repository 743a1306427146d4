package sqltext

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// The first byte of a packed timing: whether the connection was a kept one, and the bytes
// of the address that follows.
const (
	timingReused = 1 << 7
	timingLength = 0x1f
)

// PackTiming returns the address and the timing of an attempt as bytes, at most 40. They
// are nil if the attempt had no address. The phases have microseconds.
func PackTiming(address netip.Addr, t hook.Timing) []byte {
	if !address.IsValid() {
		return nil
	}
	addr := address.Unmap().AsSlice()
	out := make([]byte, 1, 40)
	out[0] = byte(len(addr))
	if t.Reused {
		out[0] |= timingReused
	}
	out = append(out, addr...)
	for _, phase := range []time.Duration{t.DNS, t.Connect, t.TLS, t.FirstByte} {
		out = binary.AppendUvarint(out, uint64(min(max(phase.Microseconds(), 0), 1<<32-1))) // at most 5 bytes
	}
	return out
}

// UnpackTiming reverses PackTiming. Of bytes that it does not know it returns nothing.
func UnpackTiming(packed []byte) (address netip.Addr, t hook.Timing) {
	if len(packed) == 0 {
		return netip.Addr{}, hook.Timing{}
	}
	size := int(packed[0] & timingLength)
	t.Reused = packed[0]&timingReused != 0
	if len(packed) < 1+size {
		return netip.Addr{}, hook.Timing{}
	}
	address, ok := netip.AddrFromSlice(packed[1 : 1+size])
	rest := packed[1+size:]
	for _, phase := range []*time.Duration{&t.DNS, &t.Connect, &t.TLS, &t.FirstByte} {
		n, used := binary.Uvarint(rest)
		if !ok || used <= 0 {
			return netip.Addr{}, hook.Timing{}
		}
		*phase, rest = time.Duration(n)*time.Microsecond, rest[used:]
	}
	return address, t
}
