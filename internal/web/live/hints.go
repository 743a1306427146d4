package live

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	kept    = 4096                   // hints that are kept
	between = 250 * time.Millisecond // a waiting stream looks at hints at most so often
)

// About is what a hint or a page is about. Empty members mean all: a page about a mode is
// about each of its tenants and endpoints.
type About struct {
	Scope    hook.Scope
	Endpoint hook.ID
}

// covers reports whether a page about a should be read again after something happened.
func (a *About) covers(of *About) bool {
	return a.Scope.Mode == of.Scope.Mode && (a.Scope.Tenant == "" || a.Scope.Tenant == of.Scope.Tenant) && (a.Endpoint.IsZero() || of.Endpoint.IsZero() || a.Endpoint == of.Endpoint)
}

// Hints tell streams that this node committed something that their page shows. A hint is no
// promise: streams also look without one. Hints is safe for concurrent use, and the zero value
// is ready.
type Hints struct {
	listening atomic.Int32

	mu   sync.Mutex
	ring [kept]About
	next uint64        // number of the next hint
	more chan struct{} // closed when there is a further hint; nil: nobody waits for one
}

// Listening reports whether anybody waits for hints. Without it, there is nothing to tell.
func (h *Hints) Listening() bool { return h.listening.Load() > 0 }

// Tell passes hints on. It does not block.
func (h *Hints) Tell(list ...About) {
	if len(list) == 0 || !h.Listening() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range list {
		h.ring[h.next%kept] = list[i]
		h.next++
	}
	if h.more != nil {
		close(h.more)
		h.more = nil
	}
}

// Listen begins to wait for hints. The listener is closed with Close.
func (h *Hints) Listen() *Listener {
	h.listening.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	return &Listener{hints: h, at: h.next}
}

// Listener is one stream that waits for hints.
type Listener struct {
	hints *Hints
	at    uint64 // number of the first hint that it has not seen
}

// Close ends the listener.
func (l *Listener) Close() { l.hints.listening.Add(-1) }

// look reports whether one of the hints that the listener has not seen is about the page, or
// may have been: too many came. Otherwise it returns what is closed with the next hint.
func (l *Listener) look(page About) (hit bool, more <-chan struct{}) {
	h := l.hints
	h.mu.Lock()
	defer h.mu.Unlock()
	hit = h.next-l.at > kept
	for ; !hit && l.at < h.next; l.at++ {
		hit = page.covers(&h.ring[l.at%kept])
	}
	if l.at = h.next; hit {
		return true, nil
	}
	if h.more == nil {
		h.more = make(chan struct{})
	}
	return false, h.more
}

// Wait returns when there was a hint about the page, at the earliest after soon and at the
// latest after late, or when the context or the stream ends: then it returns the reason, which
// is empty for the context.
func (l *Listener) Wait(ctx context.Context, end <-chan string, page About, soon, late time.Duration) (reason string, ended, hit bool) {
	last := time.NewTimer(late)
	defer last.Stop()
	pause := time.NewTimer(min(soon, late))
	defer pause.Stop()
	var more <-chan struct{}
	for {
		select {
		case <-ctx.Done():
			return "", true, false
		case reason := <-end:
			return reason, true, false
		case <-last.C:
			return "", false, false
		case <-pause.C:
			if hit, more = l.look(page); hit {
				return "", false, true
			}
		case <-more:
			more = nil
			pause.Reset(between)
		}
	}
}
