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

// Rate is a token bucket: PerSecond tokens come each second, and at most Burst of
// them gather. A PerSecond of 0 is no limit.
type Rate struct {
	PerSecond float64
	Burst     int
}

// operatorFactor is how much more an operator's key may call, and ask for, than a
// tenant's: operators act for all tenants, and repair.
const operatorFactor = 10

// maxBuckets bounds the buckets in memory, of all limits together.
const maxBuckets = 10_000

// limit is one thing that is limited: its name in the RateLimit fields, and the
// sentence that says how much of it is allowed.
type limit struct{ name, allows string }

var (
	limitReads    = &limit{"reads", "This key may make %s calls that read a second, %s at once."}
	limitWrites   = &limit{"writes", "This key may make %s calls that write a second, %s at once."}
	limitAttempts = &limit{"attempts", "%s tests, resends, retries, challenges and uses of a secret a second may be asked for by hand, %s at once; a resend counts as its deliveries."}
	limitEvents   = &limit{"events", "This key may publish %s events a second, %s at once."}
	limitTokens   = &limit{"tokens", "This key may ask for %s token a second, %s at once. A token is good for an hour: use it again."}
)

// tokenRate bounds the tokens of one key, and so the table of them.
var tokenRate = Rate{PerSecond: 1, Burst: 60}

// Quota is what is left of one limit after a request counted against it.
type Quota struct {
	Name string
	Rate Rate
	Left int // tokens in the bucket
	// Until is how long it takes until the bucket is full again, or for a request that
	// is refused until it may be made again: within it no more than Left can be used.
	Until time.Duration
}

type meterKey struct{}

// Metered returns a context for one request: note is told, in the goroutine that
// calls the Service, of each limit that the request counted against, also when it is
// refused for it.
func Metered(ctx context.Context, note func(Quota)) context.Context {
	return context.WithValue(ctx, meterKey{}, note)
}

// Call counts one request of a caller against the reads or the writes of its key.
// Publishing has a limit of its own and is not counted here. Beyond the limit it is
// CodeRateLimited, with RetryAfter. Whatever writes is refused here with CodeKeyReadOnly
// if the key may only read.
func (s *Service) Call(ctx context.Context, c Caller, write bool) error {
	if write {
		if err := c.write(); err != nil {
			return err
		}
		return s.spend(ctx, c, limitWrites, 1)
	}
	return s.spend(ctx, c, limitReads, 1)
}

// rateOf returns what the limit is for the caller, and who pays: the key, or the
// tenant for the attempts that its keys ask for.
func (s *Service) rateOf(c Caller, l *limit) (Rate, Caller) {
	holder := Caller{KeyID: c.KeyID, Mode: c.Mode} // the bootstrap keys have no id, but a mode each
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

// spend takes n tokens of a limit, or says when they will be there. More than the
// bucket holds are given when it is full, and are paid for afterwards.
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

// bucket names one bucket: of which limit, and whose.
type bucket struct {
	of     *limit
	holder Caller
}

// buckets are the token buckets in use. They are safe for concurrent use, and their
// number is bounded: one that is forgotten is full again.
type buckets struct {
	mu sync.Mutex
	in map[bucket]*rate.Limiter
}

// take takes n tokens and returns what is left, or how long to wait for them.
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

// of returns a bucket. When there are too many, the full ones go first, as
// forgetting them changes nothing; if that frees little, all go.
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
