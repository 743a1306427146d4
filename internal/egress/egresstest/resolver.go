package egresstest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// Resolver answers names as it was told and counts the questions. A name it was
// not told about does not exist. It is safe for concurrent use.
type Resolver struct {
	mu      sync.Mutex
	answers map[string][][]netip.Addr
	errs    map[string]error
	calls   map[string]int
}

// NewResolver returns a resolver that knows no name.
func NewResolver() *Resolver {
	return &Resolver{
		answers: make(map[string][][]netip.Addr),
		errs:    make(map[string]error),
		calls:   make(map[string]int),
	}
}

// Set tells the answers to a name: one list of addresses for each question, the
// last one for all that follow. It panics on a text that is no address.
func (r *Resolver) Set(host string, answers ...[]string) *Resolver {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lists [][]netip.Addr
	for _, texts := range answers {
		var list []netip.Addr
		for _, text := range texts {
			list = append(list, netip.MustParseAddr(text))
		}
		lists = append(lists, list)
	}
	r.answers[host] = lists
	return r
}

// Fail makes questions about a name end with the error; a nil error makes them
// wait until their context is done, like a name server that never answers.
func (r *Resolver) Fail(host string, err error) *Resolver {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs[host] = err
	return r
}

// Calls returns how often the name was asked for.
func (r *Resolver) Calls(host string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[host]
}

// LookupNetIP answers a question.
func (r *Resolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	host = strings.TrimSuffix(host, ".")
	r.mu.Lock()
	call := r.calls[host]
	r.calls[host]++
	lists := r.answers[host]
	err, fails := r.errs[host]
	r.mu.Unlock()
	switch {
	case fails && err == nil:
		<-ctx.Done()
		return nil, &net.DNSError{Err: ctx.Err().Error(), Name: host, IsTimeout: true}
	case fails:
		return nil, err
	case len(lists) == 0:
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return lists[min(call, len(lists)-1)], nil
}
