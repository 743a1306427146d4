package dispatch

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// How a site's bounds change. A site is a host or an address. An address has four times
// the bounds of a host, because it may serve many hosts.
const (
	addressShare = 4
	firstAtSite  = 64  // initial concurrent attempts in each budget
	leastAtSite  = 8   // the least they fall to
	unknownSite  = 2   // concurrent attempts while the host's address is not known
	firstRate    = 500 // initial new attempts per second
	leastRate    = 50
	siteBurst    = time.Second     // attempts worth this time at the rate may begin at once
	siteMemory   = 1.0 / 16        // weight of the newest outcome
	siteFalls    = time.Second     // between reductions: attempts that began together count once
	siteLook     = 2 * time.Second // until the next check, if released queues wait elsewhere
	siteLog      = time.Minute
)

// site is a destination that endpoints of many tenants may share: a host by its name, or
// an address (IPv6: a /64). Its bounds grow while it answers well and fall when most
// recent outcomes show overload.
type site struct {
	name    string
	share   int        // 1 for a host, addressShare for an address
	address *site      // of a host: the address where it was last reached; nil: not known
	at      netip.Addr // of a host: the same address

	inFlight [2]int // attempts in progress, by budget
	cap      int    // bound of each
	rate     float64
	spent    time.Time // until when the attempts that have begun use up the rate
	overload float64   // moving average: the share of outcomes that show overload
	fallNext time.Time // the bounds are not reduced again before this
	heldAt   time.Time // when the rate last held an attempt back
	waiting  [2]siteLine
	alarm    alarm
}

// siteLine holds the queues that wait for a site and serves their tenants round-robin.
type siteLine struct {
	turns   fifo[*tenant]
	queues  map[*tenant]*fifo[*queue]
	waiting int
}

func (l *siteLine) push(q *queue) {
	if l.queues == nil {
		l.queues = map[*tenant]*fifo[*queue]{}
	}
	of := l.queues[q.tenant]
	if of == nil {
		of = &fifo[*queue]{}
		l.queues[q.tenant] = of
		l.turns.push(q.tenant)
	}
	of.push(q)
	l.waiting++
}

func (l *siteLine) pop() *queue {
	t := l.turns.pop()
	of := l.queues[t]
	q := of.pop()
	if of.len() > 0 {
		l.turns.push(t)
	} else {
		delete(l.queues, t)
	}
	l.waiting--
	return q
}

// hostOf returns the host in a canonical URL, without its port. Ports of one host
// share its bounds.
func hostOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, ']') {
		rest = rest[:i]
	}
	return strings.TrimSuffix(rest, ".")
}

// siteOf returns the site of that name, which it creates if necessary.
func (d *Dispatcher) siteOf(name string, share int) *site {
	s := d.sites[name]
	if s == nil {
		if len(d.sites) >= max(2*idleQueues, d.pruneSitesAt) {
			d.pruneSites()
			d.pruneSitesAt = 2 * len(d.sites)
		}
		name = strings.Clone(name) // so that the whole URL is not kept
		s = &site{name: name, share: share, cap: firstAtSite * share, rate: float64(firstRate * share)}
		s.alarm.site = s
		d.sites[name] = s
	}
	return s
}

// setHost sets the host of the queue's endpoint. A listener and an e-mail address have none.
func (d *Dispatcher) setHost(q *queue) {
	q.host = nil
	if host := hostOf(q.target.URL); host != "" && !q.target.Listener() && (d.opts.HostInFlight > 0 || d.opts.HostRate > 0) {
		q.host = d.siteOf(host, 1)
	}
}

// pruneSites deletes the sites that no queue uses, and that have no attempts in progress
// and no waiting queues.
func (d *Dispatcher) pruneSites() {
	used := map[*site]bool{}
	for _, q := range d.queues {
		if q.host != nil {
			used[q.host], used[q.host.address] = true, true
		}
	}
	for name, s := range d.sites {
		if !used[s] && s.inFlight == [2]int{} && s.parked() == 0 {
			d.setAlarm(&s.alarm, time.Time{})
			delete(d.sites, name)
		}
	}
}

func (s *site) parked() int { return s.waiting[fast].waiting + s.waiting[slow].waiting }

// atOnce returns how many concurrent attempts in each budget the site may have. Half of
// HostInFlight is for attempts that have been open longer than SlowAfter, so that
// requests that hang leave room for others at the same site.
func (d *Dispatcher) atOnce(s *site) int {
	limit := d.atOnceLimit(s)
	switch {
	case d.opts.HostInFlight < 0:
		return limit
	case s.share == 1 && s.address == nil:
		return min(unknownSite, limit)
	}
	return min(s.cap, limit)
}

func (d *Dispatcher) atOnceLimit(s *site) int {
	if d.opts.HostInFlight < 0 {
		return 1 << 30
	}
	return max(1, d.opts.HostInFlight/2*s.share/d.opts.Nodes())
}

// rateOf returns how many attempts may begin at the site per second. 0 means no limit.
func (d *Dispatcher) rateOf(s *site) float64 {
	if d.opts.HostRate < 0 {
		return 0
	}
	return min(s.rate, d.opts.HostRate*float64(s.share)/float64(d.opts.Nodes()))
}

// room returns how many attempts in the budget may begin at the site now.
func (d *Dispatcher) room(s *site, b int, now time.Time) int {
	room := d.atOnce(s) - s.inFlight[b]
	if rate := d.rateOf(s); rate > 0 {
		ahead := max(0, s.spent.Sub(now))
		room = min(room, int((siteBurst-ahead).Seconds()*rate))
	}
	return room
}

// fullSite returns the site that does not allow the queue's next attempt now, or nil.
func (d *Dispatcher) fullSite(q *queue, b int, now time.Time) *site {
	if q.host == nil {
		return nil
	}
	if d.room(q.host, b, now) <= 0 {
		return q.host
	}
	if a := q.host.address; a != nil && d.room(a, b, now) <= 0 {
		return a
	}
	return nil
}

// park makes the queue wait for room at the site.
func (d *Dispatcher) park(q *queue, s *site, b int, now time.Time) {
	why := &d.heldBack[0]
	if d.atOnce(s) > s.inFlight[b] {
		why = &d.heldBack[1]
		s.heldAt = now
	}
	*why++
	d.logHeld(s, b, now)
	q.parked = s
	s.waiting[b].push(q)
	d.wakeSite(s, b, now)
}

// wakeSite sets the time when the timer calls callSite for the site.
func (d *Dispatcher) wakeSite(s *site, b int, now time.Time) {
	at := now.Add(siteLook)
	if rate := d.rateOf(s); rate > 0 && d.atOnce(s) > s.inFlight[b] {
		// At most one alarm in 5 ms, which releases several queues. At a thousand
		// attempts a second, one alarm for each would be too many.
		at = later(s.spent.Add(time.Duration(float64(time.Second)/rate)-siteBurst), now.Add(5*time.Millisecond))
	}
	if s.alarm.index == 0 || at.Before(s.alarm.at) {
		d.setAlarm(&s.alarm, at)
	}
}

// callSite puts queues that wait for the site back in line, as many as it has room for.
// A queue whose tenant may not make an attempt now does not count.
func (d *Dispatcher) callSite(s *site, now time.Time) {
	if s == nil || s.parked() == 0 {
		return
	}
	for b := range s.waiting {
		line := &s.waiting[b]
		for room := d.room(s, b, now); room > 0 && line.waiting > 0; {
			q := line.pop()
			q.parked = nil
			d.lineUp(q, now)
			if q.inTurn && q.budget() == b && d.mayTake(q.tenant, b) {
				room--
			}
		}
		if line.waiting > 0 {
			d.wakeSite(s, b, now)
		}
	}
}

// beginAt counts an attempt against its host and the host's address.
func (d *Dispatcher) beginAt(a *attempt, now time.Time) {
	if a.queue.host == nil {
		return
	}
	a.sites = [2]*site{a.queue.host, a.queue.host.address}
	for _, s := range a.sites {
		if s == nil {
			continue
		}
		s.inFlight[a.budget]++
		if rate := d.rateOf(s); rate > 0 {
			s.spent = later(s.spent, now).Add(time.Duration(float64(time.Second) / rate))
		}
	}
}

// endAt stops counting an attempt against its sites and adapts their bounds to its
// outcome.
func (d *Dispatcher) endAt(a *attempt, o *hook.Outcome, now time.Time) {
	for i, s := range a.sites {
		if s == nil {
			continue
		}
		full := s.inFlight[a.budget] >= s.cap
		s.inFlight[a.budget]--
		if o.Skipped {
			continue
		}
		if i == 0 && o.Address.IsValid() && (o.Address != s.at || s.address == nil) {
			s.at, s.address = o.Address, d.siteOf(prefixOf(o.Address), addressShare)
		}
		d.adaptSite(s, o, full, now)
	}
}

// moveAt moves an attempt to the slow budget at its sites. It reports whether they had
// room for it.
func (d *Dispatcher) moveAt(a *attempt) bool {
	for _, s := range a.sites {
		if s != nil && s.inFlight[slow] >= d.atOnce(s) {
			return false
		}
	}
	for _, s := range a.sites {
		if s != nil {
			s.inFlight[fast], s.inFlight[slow] = s.inFlight[fast]-1, s.inFlight[slow]+1
		}
	}
	return true
}

// callSites puts queues back in line that wait for a site of the attempt.
func (d *Dispatcher) callSites(a *attempt, now time.Time) {
	for _, s := range a.sites {
		d.callSite(s, now)
	}
	if h := a.sites[0]; h != nil && h.address != a.sites[1] {
		d.callSite(h.address, now)
	}
}

// prefixOf returns the name of an address's site: the whole IPv4 address, or the /64 of
// an IPv6 address.
func prefixOf(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return "address " + a.String()
	}
	p, _ := a.Prefix(64)
	return "address " + p.String()
}

// adaptSite adjusts the bounds of a site. A success at a bound raises it, so that the
// concurrent attempts double each round trip and the rate grows fivefold each second. The
// bounds are halved, at most once a second, while more than half of the recent outcomes
// show overload. A single failing endpoint among many at the same host changes nothing.
func (d *Dispatcher) adaptSite(s *site, o *hook.Outcome, full bool, now time.Time) {
	bad := 0.0
	if overloaded(s, o) {
		bad = 1
	}
	s.overload += (bad - s.overload) * siteMemory
	switch {
	case bad > 0 && s.overload > 0.5 && now.After(s.fallNext):
		s.cap = max(leastAtSite*s.share, min(s.cap, d.atOnceLimit(s))/2)
		s.rate = max(float64(leastRate*s.share), s.rate/2)
		s.fallNext = now.Add(siteFalls)
	case o.Success:
		if full && s.cap < d.atOnceLimit(s) {
			s.cap++
		}
		if now.Sub(s.heldAt) < siteBurst && s.rate < d.opts.HostRate*float64(s.share) {
			s.rate += 4
		}
	}
}

// overloaded reports whether an outcome shows that the site is overloaded. At an
// address, which may serve many hosts, only failures to connect count.
func overloaded(s *site, o *hook.Outcome) bool {
	switch o.Class {
	case hook.ClassConnectTimeout, hook.ClassTLSTimeout, hook.ClassRefused, hook.ClassConnectFailed:
		return true
	case hook.ClassTimeout, hook.ClassReset:
		return s.share == 1
	}
	return s.share == 1 && (o.Status == http.StatusTooManyRequests || o.Status == http.StatusServiceUnavailable)
}

// logHeld logs, at most once a minute, that sites hold attempts back.
func (d *Dispatcher) logHeld(s *site, b int, now time.Time) {
	if !d.heldLogged.IsZero() && now.Sub(d.heldLogged) < siteLog {
		return
	}
	d.heldLogged = now
	d.opts.Log.Warn("attempts wait because their host or address has as many as it is given: see --host-in-flight and --host-rate",
		"at", s.name, "in_flight", s.inFlight[fast]+s.inFlight[slow], "cap", d.atOnce(s), "rate", d.rateOf(s),
		"overload", s.overload > 0.5, "held_for_in_flight", d.heldBack[0], "held_for_rate", d.heldBack[1], "open_longer", b == slow)
}
