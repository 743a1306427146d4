package server

import (
	"math"
	"time"

	"github.com/spf13/pflag"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/duration"
	"github.com/posthorn/posthorn/internal/egress"
)

// callLimits are the options that limit what a key or a tenant may use. A rate of 0 means
// no limit.
type callLimits struct {
	ReadRate, WriteRate, AttemptRate float64 // per second
	AuditedWrites                    int     // per day

	InFlight      int
	ShortestRetry time.Duration
	MaxAttempts   int
	Endpoints     int
	Verify        bool
}

func (c *callLimits) flags(f *pflag.FlagSet) {
	f.Float64Var(&c.ReadRate, "read-rate", 200, "maximum read requests per second per key, with bursts of twice as many; ten times as many for operator keys; 0 for no limit")
	f.Float64Var(&c.WriteRate, "write-rate", 100, "maximum write requests per second per key, except publishing, with bursts of twice as many; ten times as many for operator keys; 0 for no limit")
	f.IntVar(&c.AuditedWrites, "audited-writes", 50_000, "maximum write requests per day per key, except publishing, which bounds the audit log; ten times as many for operator keys; 0 for no limit")
	f.Float64Var(&c.AttemptRate, "attempt-rate", 5, "maximum tests, retries, resends, replays, secret operations and endpoint challenges per second per tenant, with bursts of at least 60; ten times as many for operator keys; 0 for no limit")
	f.IntVar(&c.InFlight, "max-in-flight-ceiling", 1000, "maximum max_in_flight of an endpoint, 1 to 1000; higher values count as this maximum")
	duration.Var(f, &c.ShortestRetry, "shortest-retry", time.Second, "minimum delay in an endpoint's retry plan, 1s to 24h")
	f.IntVar(&c.MaxAttempts, "max-attempts-ceiling", 0, "maximum attempts of an endpoint's retry plan; 0 for no limit")
	f.IntVar(&c.Endpoints, "endpoints-per-tenant", 1000, "maximum endpoints per tenant and mode, 1 to 1000")
	f.BoolVar(&c.Verify, "verify-endpoints", false, "hold events for a new endpoint, or one that moved to another host, until its receiver answers a challenge with 2xx")
}

func (c *callLimits) check(all *Faults) {
	checkRates(all, map[string]float64{"read-rate": c.ReadRate, "write-rate": c.WriteRate, "attempt-rate": c.AttemptRate})
	for name, n := range map[string]int{"max-in-flight-ceiling": c.InFlight, "endpoints-per-tenant": c.Endpoints} {
		if n < 1 || n > 1000 {
			all.add(wrong(name, "%d is not between 1 and 1000", n))
		}
	}
	if c.AuditedWrites < 0 || c.AuditedWrites > 100_000_000 {
		all.add(wrong("audited-writes", "%d is not between 0 (no limit) and 100000000", c.AuditedWrites))
	}
	if c.ShortestRetry < time.Second || c.ShortestRetry > 24*time.Hour {
		all.add(wrong("shortest-retry", "%v is not between 1s and 24h", c.ShortestRetry))
	}
	if c.MaxAttempts < 0 || c.MaxAttempts > 10_000 {
		all.add(wrong("max-attempts-ceiling", "%d is not between 0 and 10000", c.MaxAttempts))
	}
}

// wrongKeys is how many requests without a valid key an address may make per minute before
// it gets 429.
const wrongKeys = 20

// leastRate is one call in 1,000 seconds. Lower rates would hardly differ from none, and
// their delays would not fit the fields of a response.
const leastRate = 0.001

// checkRates adds an error for each rate, by flag, that is neither 0 nor in range.
func checkRates(all *Faults, rates map[string]float64) {
	for name, rate := range rates {
		if rate != 0 && !(rate >= leastRate && rate <= 1e6) {
			all.add(wrong(name, "%v is neither 0 (no limit) nor between 0.001 and 1000000", rate))
		}
	}
}

// twice is a rate with a burst of two seconds' worth.
func twice(rate float64) app.Rate {
	return app.Rate{PerSecond: rate, Burst: max(1, int(math.Ceil(2*rate)))}
}

func (c *callLimits) reads() app.Rate  { return twice(c.ReadRate) }
func (c *callLimits) writes() app.Rate { return twice(c.WriteRate) }

// attempts has a burst large enough for somebody who tries things by hand.
func (c *callLimits) attempts() app.Rate {
	return app.Rate{PerSecond: c.AttemptRate, Burst: max(60, int(math.Ceil(c.AttemptRate)))}
}

func (c *callLimits) ceilings() app.Ceilings {
	return app.Ceilings{InFlight: c.InFlight, ShortestRetry: c.ShortestRetry, Attempts: c.MaxAttempts, Endpoints: c.Endpoints}
}

// publicHosts returns the hosts of the public URLs of the API.
func publicHosts(urls []string) ([]string, error) {
	var hosts []string
	for _, url := range urls {
		host, err := egress.HostOf(url)
		if err != nil {
			return nil, wrong("public-url", "%q is not a URL such as https://hooks.example.com: %w", url, err)
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}
