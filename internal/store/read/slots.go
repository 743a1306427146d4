package read

import (
	"context"
	"sync"

	"github.com/posthorn/posthorn/internal/hook"
)

// slots allows each scope one search at a time. There are few connections that read, and
// the requests and attempts of all other tenants share them.
type slots struct {
	mu sync.Mutex
	of map[hook.Scope]*slot
}

type slot struct {
	users int // the search in progress and those that wait
	free  chan struct{}
}

// take waits until the scope's slot is free or ctx ends. The caller must call done.
func (s *slots) take(ctx context.Context, scope hook.Scope) (done func(), err error) {
	s.mu.Lock()
	own := s.of[scope]
	if own == nil {
		own = &slot{free: make(chan struct{}, 1)}
		if s.of == nil {
			s.of = map[hook.Scope]*slot{}
		}
		s.of[scope] = own
	}
	own.users++
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if own.users--; own.users == 0 {
			delete(s.of, scope)
		}
	}
	select {
	case own.free <- struct{}{}:
		return func() {
			<-own.free
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
