package app

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/posthorn/posthorn/internal/hook"
)

// Rate describes a token bucket. PerSecond tokens are added each second, up to Burst. A
// PerSecond of 0 means no limit.
type Rate struct {
	PerSecond float64
	Burst     int
}

// operatorFactor multiplies a tenant's limits for operator keys: operators act for all
// tenants, and repair.
const operatorFactor = 10

// maxBuckets bounds the number of buckets in memory, over all limits.
const maxBuckets = 10_000

// limit is one kind of limit: its name in the RateLimit fields, and the sentence that
// states how much is allowed.
type limit struct{ name, allows string }

var (
	limitReads    = &limit{"reads", "This key may make %s calls that read a second, %s at once."}
	limitWrites   = &limit{"writes", "This key may make %s calls that write a second, %s at once."}
	limitAudited  = &limit{"audited", "This key may make %[2]s calls that write a day, because each of them leaves an entry in the audit log."}
	limitAttempts = &limit{"attempts", "%s tests, resends, retries, challenges and uses of a secret a second may be asked for by hand, %s at once; a resend counts as its deliveries."}
	limitEvents   = &limit{"events", "This key may publish %s events a second, %s at once."}
	limitTokens   = &limit{"tokens", "This key may ask for %s token a second, %s at once. A token is good for an hour: use it again."}
)

// tokenRate limits the tokens that one key can request, and so the size of the token
// table.
var tokenRate = Rate{PerSecond: 1, Burst: 60}

// Quota is the state of one limit after a request was counted against it.
type Quota struct {
	Name string
	Rate Rate
	Left int // tokens in the bucket
	// Until is the time until the bucket is full again. For a refused request it is the
	// time until the request can be repeated; until then no more than Left can be used.
	Until time.Duration
}

type meterKey struct{}

// Metered returns a context for one request. note is called for each limit that the
// request counts against, also if the request is refused. It runs in the goroutine that
// calls the Service.
func Metered(ctx context.Context, note func(Quota)) context.Context {
	return context.WithValue(ctx, meterKey{}, note)
}

// Call counts one request against the caller's limit for reads or writes. Publishing
// has its own limit and is not counted here. A write also counts against those of a day,
// which bound the audit log. Beyond a limit the error is CodeRateLimited, with RetryAfter. If the key is read-only, a write is refused with
// CodeKeyReadOnly.
func (s *Service) Call(ctx context.Context, c Caller, write bool) error {
	if write {
		if err := c.write(); err != nil {
			return err
		}
		if err := s.spend(ctx, c, limitWrites, 1); err != nil {
			return err
		}
		return s.spend(ctx, c, limitAudited, 1)
	}
	return s.spend(ctx, c, limitReads, 1)
}

// holder returns the holder of the caller's buckets: its key, or its tenant for the sessions
// of the portal. A tenant's key makes as many sessions as it likes, so they share one limit.
func (c Caller) holder() Caller {
	if c.Kind == hook.PortalUser {
		return Caller{Kind: c.Kind, Tenant: c.Tenant, Mode: c.Mode}
	}
	return Caller{KeyID: c.KeyID, Mode: c.Mode} // bootstrap keys have no id, but differ in their mode
}

// rateOf returns the rate of the limit for the caller, and the holder of the bucket:
// that of holder, or the tenant for attempts that its keys request.
func (s *Service) rateOf(c Caller, l *limit) (Rate, Caller) {
	holder := c.holder()
	var r Rate
	switch l {
	case limitEvents:
		return Rate{PerSecond: s.o.PublishRate, Burst: max(1, int(math.Ceil(s.o.PublishRate)))}, holder
	case limitTokens:
		return tokenRate, holder
	case limitReads:
		r = s.o.Reads
	case limitWrites:
		r = s.o.Writes
	case limitAudited:
		r = Rate{PerSecond: float64(s.o.AuditedWrites) / (24 * 60 * 60), Burst: s.o.AuditedWrites}
	case limitAttempts:
		if r = s.o.Attempts; c.Kind != hook.Operator {
			holder = Caller{Tenant: c.Tenant, Mode: c.Mode}
		}
	}
	if c.Kind == hook.Operator {
		r = Rate{PerSecond: operatorFactor * r.PerSecond, Burst: operatorFactor * r.Burst}
	}
	return r, holder
}

// spend takes n tokens of a limit, or returns an error with the time to wait. If n
// exceeds the size of the bucket, a full bucket suffices; the rest is a debt that later
// requests wait for.
func (s *Service) spend(ctx context.Context, c Caller, l *limit, n int) error {
	r, holder := s.rateOf(c, l)
	if r.PerSecond <= 0 || n == 0 {
		return nil
	}
	left, wait := s.buckets.take(bucket{l, holder}, r, n, s.o.Now())
	if note, ok := ctx.Value(meterKey{}).(func(Quota)); ok {
		until := wait
		if wait == 0 {
			until = time.Duration(max(0, float64(r.Burst)-left) / r.PerSecond * float64(time.Second))
		}
		note(Quota{Name: l.name, Rate: r, Left: max(0, int(left)), Until: until})
	}
	if wait == 0 {
		return nil
	}
	seconds := int((wait + time.Second - 1) / time.Second)
	counts := ""
	if n > 1 {
		counts = fmt.Sprintf(" This request counts as %d.", n)
	}
	return &hook.Error{Code: hook.CodeRateLimited, RetryAfter: wait, Message: fmt.Sprintf(l.allows, fmt.Sprint(r.PerSecond), fmt.Sprint(r.Burst)) +
		counts + fmt.Sprintf(" Nothing was stored. Send the request again in %d s.", seconds)}
}

// bucket identifies one bucket by its limit and its holder.
type bucket struct {
	of     *limit
	holder Caller
}

// buckets are the token buckets in use. They are safe for concurrent use. Their number
// is bounded: a bucket that is dropped starts full again.
type buckets struct {
	mu sync.Mutex
	in map[bucket]*rate.Limiter
}

// take takes n tokens and returns what is left, or the time to wait for them.
func (b *buckets) take(key bucket, r Rate, n int, now time.Time) (left float64, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.of(key, r, now)
	first := min(n, r.Burst)
	asked := one.ReserveN(now, first)
	if wait := asked.DelayFrom(now); wait > 0 {
		asked.CancelAt(now)
		return one.TokensAt(now), wait
	}
	for rest := n - first; rest > 0; rest -= r.Burst {
		one.ReserveN(now, min(rest, r.Burst))
	}
	return one.TokensAt(now), 0
}

// of returns a bucket and creates it if necessary. If there are too many, it drops the
// full ones first, since dropping them changes nothing. If that frees too little, it
// drops all.
func (b *buckets) of(key bucket, r Rate, now time.Time) *rate.Limiter {
	if one := b.in[key]; one != nil {
		return one
	}
	if len(b.in) >= maxBuckets {
		for other, one := range b.in {
			if one.TokensAt(now) >= float64(one.Burst()) {
				delete(b.in, other)
			}
		}
		if len(b.in) > maxBuckets*9/10 {
			clear(b.in)
		}
	}
	if b.in == nil {
		b.in = map[bucket]*rate.Limiter{}
	}
	one := rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)
	b.in[key] = one
	return one
}
