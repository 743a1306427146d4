package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// How several addresses of a name are dialled, after RFC 8305.
const (
	maxDialed   = 4                      // the most addresses of a name that are dialled
	maxParallel = 3                      // the most that are dialled at once
	stagger     = 250 * time.Millisecond // the recommended Connection Attempt Delay
	minShare    = 2 * time.Second        // the least for one if there are more than maxParallel

	maxWays = 4096
	wayKept = 10 * time.Minute // then the first address is tried first again
)

// dialed is the result of a dial.
type dialed struct {
	net.Conn
	to  netip.AddrPort
	err error
}

// race dials addresses that have been checked. It starts the next dial when one fails or
// has taken longer than stagger, at most maxParallel at once. It returns the first
// connection and closes all others. If every dial fails, it returns the first error that
// is not a fault of this machine, or a failure with ClassLocalResources. A fault of the
// proxy ends the race.
func (c *Client) race(ctx context.Context, targets []netip.AddrPort) (dialed, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialed)
	next := time.NewTimer(0)
	defer next.Stop()
	var first error
	ours, pending, crowded := false, 0, len(targets) > maxParallel
	for len(targets) > 0 || pending > 0 {
		select {
		case <-next.C:
			if len(targets) > 0 && pending < maxParallel {
				go c.dialOne(ctx, targets[0], crowded, results)
				targets, pending = targets[1:], pending+1
				next.Reset(stagger)
			}
		case r := <-results:
			pending--
			if r.err == nil {
				if r.to.Addr().Is6() && !r.to.Addr().IsLoopback() {
					c.six.Store(true)
				}
				return r, nil
			}
			if f, ok := errors.AsType[*Failure](r.err); ok && f.Class.Ours() {
				return dialed{}, f // a fault of the proxy: the other dials would fail alike
			}
			local := c.localFault(ctx, r.to, r.err)
			if first == nil || ours && !local {
				first, ours = r.err, local
			}
			next.Reset(0)
		case <-ctx.Done():
			if first == nil {
				first = ctx.Err()
			}
			targets, pending = nil, 0 // dials in progress end with the context
		}
	}
	if ours {
		if isAny(first, syscall.EMFILE, syscall.ENFILE) {
			c.CloseIdle() // new connections matter more than idle ones
		}
		return dialed{}, failure(hook.ClassLocalResources, first)
	}
	return dialed{}, first
}

// dialOne dials one address. If there are more addresses than maxParallel, the dial gets
// half of the remaining time, but at least minShare.
func (c *Client) dialOne(ctx context.Context, to netip.AddrPort, crowded bool, results chan<- dialed) {
	limited, cancel := ctx, func() {}
	if deadline, ok := ctx.Deadline(); ok && crowded {
		limited, cancel = context.WithTimeout(ctx, max(time.Until(deadline)/2, minShare))
	}
	defer cancel()
	conn, err := c.open(limited, to)
	select {
	case results <- dialed{conn, to, err}:
	case <-ctx.Done():
		if err == nil {
			conn.Close() // another dial was first
		}
	}
}

// ways remembers which address of a name connected when the first one did not, so that a
// dead address does not delay every attempt. It is safe for concurrent use.
type ways struct {
	mu    sync.Mutex
	hosts map[string]way
}

type way struct {
	addr netip.Addr
	at   time.Time
}

// order alternates the addresses of the two families (RFC 8305 section 4), moves the one
// that last worked to the front, and returns at most maxDialed.
func (w *ways) order(host string, targets []netip.AddrPort) []netip.AddrPort {
	if len(targets) == 1 {
		return targets
	}
	var same, other []netip.AddrPort
	for _, to := range targets {
		if to.Addr().Is4() == targets[0].Addr().Is4() {
			same = append(same, to)
		} else {
			other = append(other, to)
		}
	}
	out := make([]netip.AddrPort, 0, len(targets))
	for i := range targets {
		if i < len(same) {
			out = append(out, same[i])
		}
		if i < len(other) {
			out = append(out, other[i])
		}
	}
	w.mu.Lock()
	known, ok := w.hosts[host]
	w.mu.Unlock()
	if ok && time.Since(known.at) < wayKept {
		at := slices.IndexFunc(out, func(to netip.AddrPort) bool { return to.Addr() == known.addr })
		if at > 0 {
			to := out[at]
			copy(out[1:at+1], out[:at])
			out[0] = to
		}
	}
	return out[:min(len(out), maxDialed)]
}

// worked records an address that connected before the first one did. Recording the same
// address again does not renew its time, so the order of the name service is tried again
// every wayKept.
func (w *ways) worked(host string, to netip.AddrPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, ok := w.hosts[host]
	if ok && known.addr == to.Addr() && time.Since(known.at) < wayKept {
		return
	}
	if len(w.hosts) >= maxWays {
		clear(w.hosts) // cheaper than tracking the order of use
	}
	w.hosts[host] = way{addr: to.Addr(), at: time.Now()}
}
