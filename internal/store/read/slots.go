package read

import (
	"context"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Bounds of the searches of a scope that wait for the one in progress.
const (
	slotWaiters = 32
	slotWait    = 10 * time.Second
)

// errSlotBusy refuses a search: too many of its scope wait, or it waited for too long.
func errSlotBusy() error {
	return &hook.Error{Code: hook.CodeServerBusy, RetryAfter: time.Second,
		Message: "Other searches of this tenant are in progress, and this one waited too long or would have to. Send fewer at once, and this one again later."}
}

// slots allows each tenant one search at a time, and operators, whose pages read boxes side by
// side, two of a mode. There are few connections that read, and the requests and attempts of
// all other tenants share them.
type slots struct {
	mu sync.Mutex
	of map[hook.Scope]*slot
}

type slot struct {
	users int // the search in progress and those that wait
	free  chan struct{}
}

func slotsOf(scope hook.Scope) int {
	if scope.Tenant == "" {
		return 2
	}
	return 1
}

// take waits until a slot of the scope is free, at most slotWait, or ctx ends. It returns
// CodeServerBusy if slotWaiters searches wait already. The caller must call done.
func (s *slots) take(ctx context.Context, scope hook.Scope) (done func(), err error) {
	s.mu.Lock()
	own := s.of[scope]
	if own == nil {
		own = &slot{free: make(chan struct{}, slotsOf(scope))}
		if s.of == nil {
			s.of = map[hook.Scope]*slot{}
		}
		s.of[scope] = own
	}
	if own.users > slotWaiters {
		s.mu.Unlock()
		return nil, errSlotBusy()
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
	wait := time.NewTimer(slotWait)
	defer wait.Stop()
	select {
	case own.free <- struct{}{}:
		return func() {
			<-own.free
			leave()
		}, nil
	case <-wait.C:
		leave()
		return nil, errSlotBusy()
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
