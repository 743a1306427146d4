package read

import (
	"context"
	"sync"

	"github.com/posthorn/posthorn/internal/hook"
)

// turns lets each scope search one thing at a time. The connections that read are
// few and shared with the requests and attempts of every other tenant.
type turns struct {
	mu sync.Mutex
	of map[hook.Scope]*turn
}

type turn struct {
	users int // one that searches and those that wait
	free  chan struct{}
}

// take waits for the scope's turn, or for the end of ctx. The caller calls done.
func (t *turns) take(ctx context.Context, scope hook.Scope) (done func(), err error) {
	t.mu.Lock()
	mine := t.of[scope]
	if mine == nil {
		mine = &turn{free: make(chan struct{}, 1)}
		if t.of == nil {
			t.of = map[hook.Scope]*turn{}
		}
		t.of[scope] = mine
	}
	mine.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(t.of, scope)
		}
	}
	select {
	case mine.free <- struct{}{}:
		return func() {
			<-mine.free
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
