package egress

import (
	"container/list"
	"log/slog"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	outageHosts  = 5                // in an outage at least so many hosts fail, and most of all
	outageWindow = 30 * time.Second // results older than this do not count
	outageMemory = 2 * time.Minute  // the same during an outage, when attempts are rare
	maxHosts     = 10_000
	serviceGrace = 2 * time.Minute // how long a question must fail before it is at fault itself
	serviceGap   = 2 * time.Minute // the longest time between two failures of a series
)

// reach distinguishes faults of this machine from faults of receivers by the results of
// other hosts at the same time. It is safe for concurrent use.
type reach struct {
	log *slog.Logger

	mu      sync.Mutex
	hosts   map[string]*list.Element // the host's result in order
	order   list.List                // the oldest result first
	failing int                      // hosts whose last result is a failure
	outage  bool

	names service // the name service, by name
}

// result is the result of the last attempt to reach a host.
type result struct {
	host   string
	failed bool
	at     time.Time
}

func newReach(log *slog.Logger) *reach {
	return &reach{log: log, hosts: map[string]*list.Element{}}
}

// service tracks a service that this installation uses for many hosts, such as the name
// service. It distinguishes a failure of one question from a failure of the service. It
// is safe for concurrent use.
type service struct {
	mu       sync.Mutex
	failing  map[string]*failures
	answered time.Time // when it last answered any question
}

// failures are the times of the first and last of consecutive failures of one question.
type failures struct{ first, last time.Time }

// answers records that the service answered a question.
func (s *service) answers(about string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = time.Now()
	delete(s.failing, about)
}

// fails records that the service failed to answer a question. It reports whether the
// question itself is at fault: it has failed for serviceGrace, and the service has
// answered others in that time.
func (s *service) fails(about string) (theirs bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.failing[about]
	if f == nil || now.Sub(f.last) > serviceGap {
		if s.failing == nil || len(s.failing) >= maxHosts {
			s.failing = map[string]*failures{} // each gets a new grace period
		}
		f = &failures{first: now}
		s.failing[about] = f
	}
	f.last = now
	return now.Sub(f.first) >= serviceGrace && now.Sub(s.answered) < serviceGrace
}

// note records the result of an attempt to reach the host. It reports whether there is an
// outage, which means that most hosts fail.
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

// judge deletes old results and reports whether the others mean an outage. The caller
// holds mu.
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

// Outage returns a message if the proxy does not work or most hosts cannot be reached.
// Otherwise it returns "".
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

// attribute replaces a failure that is the fault of this machine or its services. If a
// receiver refuses a connection, or the name service reports that a name does not exist,
// that is an answer: it is the receiver's fault and shows that hosts can be reached.
func (c *Client) attribute(host string, f *Failure) *Failure {
	switch f.Class {
	case hook.ClassBlockedAddress, hook.ClassEgressProxy:
		return f // it means nothing for the host
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
