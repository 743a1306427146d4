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
	maxDialed   = 4                      // addresses of one name that are tried
	maxParallel = 3                      // of them at once
	stagger     = 250 * time.Millisecond // the recommended Connection Attempt Delay
	minShare    = 2 * time.Second        // of the deadline, for one address when there are more than maxParallel

	maxWays = 4096
	wayKept = 10 * time.Minute // then the first address gets another chance
)

// dialed is what became of a dial.
type dialed struct {
	net.Conn
	to  netip.AddrPort
	err error
}

// race dials the addresses, which are judged already: the next one when one failed, or
// did not answer for a moment, a few at once. It returns the first connection, or the
// first error that is not ours, and leaves no connection behind.
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
				return dialed{}, f // of the proxy: it would be the same for the others
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
			targets, pending = nil, 0 // those under way end with the context
		}
	}
	if ours {
		if isAny(first, syscall.EMFILE, syscall.ENFILE) {
			c.CloseIdle() // kept connections are of less use than new ones
		}
		return dialed{}, failure(hook.ClassLocalResources, first)
	}
	return dialed{}, first
}

// dialOne dials one address, for half of the time that is left if more are to be tried
// than may be at once.
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
			conn.Close() // another one was first
		}
	}
}

// ways remembers which address of a name was connected to when the first one was not,
// so that a dead one does not cost its moment each time. It is safe for concurrent use.
type ways struct {
	mu    sync.Mutex
	hosts map[string]way
}

type way struct {
	addr netip.Addr
	at   time.Time
}

// order puts the addresses of the two families in turns (RFC 8305 section 4), the one
// that worked last first, and returns as many as are tried.
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

// worked notes an address that came before the first one. What is noted keeps its time,
// so that the order of the name service is tried again now and then.
func (w *ways) worked(host string, to netip.AddrPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, ok := w.hosts[host]
	if ok && known.addr == to.Addr() && time.Since(known.at) < wayKept {
		return
	}
	if len(w.hosts) >= maxWays {
		clear(w.hosts) // cheaper than to remember the order of use
	}
	w.hosts[host] = way{addr: to.Addr(), at: time.Now()}
}
