package egress

import (
	"container/list"
	"log/slog"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	outageHosts  = 5                // so many hosts, and most of those tried, make an outage
	outageWindow = 30 * time.Second // within this time
	outageMemory = 2 * time.Minute  // of a host's last result while there is an outage: attempts are rare then
	maxHosts     = 10_000
	serviceGrace = 2 * time.Minute // what a service fails for must fail for so long to be the only one
	serviceGap   = 2 * time.Minute // between two failures of a series
)

// reach tells faults of this machine from those of receivers by what happens to other
// hosts at the same time.
type reach struct {
	log *slog.Logger

	mu      sync.Mutex
	hosts   map[string]*list.Element // of a result in order
	order   list.List                // the oldest result first
	failing int                      // hosts whose last result is a failure
	outage  bool

	names service // lookups, by name
}

// result is how the last attempt to reach a host went.
type result struct {
	host   string
	failed bool
	at     time.Time
}

func newReach(log *slog.Logger) *reach {
	return &reach{log: log, hosts: map[string]*list.Element{}}
}

// service is one of ours that answers for many, such as the name service: it tells what
// fails by itself from a service that fails for all. It is safe for concurrent use.
type service struct {
	mu       sync.Mutex
	failing  map[string]*failures
	answered time.Time // when it last answered for anybody
}

// failures are those of one question, in a row.
type failures struct{ first, last time.Time }

// answers notes that the service answered about something.
func (s *service) answers(about string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = time.Now()
	delete(s.failing, about)
}

// fails notes that the service failed for something and reports whether that is not the
// service's fault: it has failed for a while during which it answered about others.
func (s *service) fails(about string) (theirs bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.failing[about]
	if f == nil || now.Sub(f.last) > serviceGap {
		if s.failing == nil || len(s.failing) >= maxHosts {
			s.failing = map[string]*failures{} // each gets its grace anew
		}
		f = &failures{first: now}
		s.failing[about] = f
	}
	f.last = now
	return now.Sub(f.first) >= serviceGrace && now.Sub(s.answered) < serviceGrace
}

// note takes in how an attempt to reach the host went and reports whether there is an
// outage: most hosts fail.
func (r *reach) note(host string, failed bool) (outage bool) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.hosts[host]
	if e == nil {
		e = r.order.PushBack(&result{host: host})
		r.hosts[host] = e
	}
	last := e.Value.(*result)
	switch {
	case failed && !last.failed:
		r.failing++
	case !failed && last.failed:
		r.failing--
	}
	last.failed, last.at = failed, now
	r.order.MoveToBack(e)
	return r.judge(now)
}

// out reports whether there is an outage now.
func (r *reach) out() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.judge(time.Now())
}

// judge forgets old results and says what the others mean. The caller holds mu.
func (r *reach) judge(now time.Time) bool {
	window := outageWindow
	if r.outage {
		window = outageMemory
	}
	for e := r.order.Front(); e != nil; e = r.order.Front() {
		old := e.Value.(*result)
		if now.Sub(old.at) <= window && len(r.hosts) <= maxHosts {
			break
		}
		if old.failed {
			r.failing--
		}
		r.order.Remove(e)
		delete(r.hosts, old.host)
	}
	out := r.failing >= outageHosts && 2*r.failing > len(r.hosts)
	switch {
	case out && !r.outage:
		r.log.Warn("most hosts cannot be reached: attempts that fail for it are put off and do not count", "failing", r.failing, "tried", len(r.hosts))
	case !out && r.outage:
		r.log.Info("hosts can be reached again", "failing", r.failing, "tried", len(r.hosts))
	}
	r.outage = out
	return out
}

// Outage says for people that the proxy does not work, or that most hosts cannot be
// reached, or is empty.
func (c *Client) Outage() string {
	if p := c.opts.Proxy; p != nil {
		if down := p.down.Load(); down != nil {
			return *down + " Attempts are put off and do not count."
		}
	}
	if c.reach.out() {
		return "Most hosts cannot be reached from this server. Attempts that fail for it are put off and do not count."
	}
	return ""
}

// attribute says whose fault a failure is. A receiver that refuses a connection and a
// name that is said not to exist are answers, so they are the receiver's own and show
// that others can be reached.
func (c *Client) attribute(host string, f *Failure) *Failure {
	switch f.Class {
	case hook.ClassBlockedAddress, hook.ClassEgressProxy:
		return f // says nothing about the host
	case hook.ClassDNSTimeout, hook.ClassDNSFailed:
		if !c.reach.names.fails(host) {
			f = failure(hook.ClassDNSUnavailable, f.Err)
		}
	case hook.ClassConnectTimeout, hook.ClassConnectFailed, hook.ClassLocalResources:
	default:
		c.reach.note(host, false)
		return f
	}
	if c.reach.note(host, true) && !f.Class.Ours() {
		return failure(hook.ClassNetworkUnavailable, f.Err)
	}
	return f
}
