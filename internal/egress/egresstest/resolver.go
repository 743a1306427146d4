package egresstest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// Resolver resolves names to configured answers and counts the queries. Other names do
// not exist. It is safe for concurrent use.
type Resolver struct {
	mu      sync.Mutex
	answers map[string][][]netip.Addr
	errs    map[string]error
	calls   map[string]int
}

// NewResolver returns a resolver without names.
func NewResolver() *Resolver {
	return &Resolver{
		answers: make(map[string][][]netip.Addr),
		errs:    make(map[string]error),
		calls:   make(map[string]int),
	}
}

// Set sets the answers for a name: one list of addresses for each query, the last one
// for all further queries. It panics if a text is not an address.
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

// Fail makes queries for a name return the error. With a nil error they block until their
// context is done, as with a name server that never answers.
func (r *Resolver) Fail(host string, err error) *Resolver {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs[host] = err
	return r
}

// Calls returns how often the name was queried.
func (r *Resolver) Calls(host string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[host]
}

// LookupNetIP answers a query.
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
