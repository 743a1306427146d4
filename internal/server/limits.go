package server

import (
	"math"
	"time"

	"github.com/spf13/pflag"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/duration"
	"github.com/posthorn/posthorn/internal/egress"
)

// callLimits are the options that bound what one key may do to others. Rates of 0
// are no limit.
type callLimits struct {
	ReadRate, WriteRate, AttemptRate float64 // a second

	InFlight      int
	ShortestRetry time.Duration
	MaxAttempts   int
	Endpoints     int
	Verify        bool
}

func (c *callLimits) flags(f *pflag.FlagSet) {
	f.Float64Var(&c.ReadRate, "read-rate", 200, "calls a second that one key may make to read, twice as many at once; operator keys ten times as many; 0: no limit")
	f.Float64Var(&c.WriteRate, "write-rate", 100, "calls a second that one key may make to write, twice as many at once, publishing aside; operator keys ten times as many; 0: no limit")
	f.Float64Var(&c.AttemptRate, "attempt-rate", 5, "tests, retries, resent deliveries, uses of secrets and challenges of endpoints a second that one tenant may ask for, at least 60 at once; operator keys ten times as many; 0: no limit")
	f.IntVar(&c.InFlight, "max-in-flight-ceiling", 1000, "most that an endpoint may set as max_in_flight, 1 to 1000; one that has more is used at the ceiling")
	duration.Var(f, &c.ShortestRetry, "shortest-retry", time.Second, "shortest delay that an endpoint's retry plan may have, 1s to 24h")
	f.IntVar(&c.MaxAttempts, "max-attempts-ceiling", 0, "most attempts that an endpoint's retry plan may make; 0: any number, and for ever")
	f.IntVar(&c.Endpoints, "endpoints-per-tenant", 1000, "endpoints that a tenant may have in one mode, 1 to 1000")
	f.BoolVar(&c.Verify, "verify-endpoints", false, "hold what is published for a new endpoint, or one that moved to another host, until its receiver has answered a challenge with 2xx")
}

func (c *callLimits) check(all *Faults) {
	checkRates(all, map[string]float64{"read-rate": c.ReadRate, "write-rate": c.WriteRate, "attempt-rate": c.AttemptRate})
	for name, n := range map[string]int{"max-in-flight-ceiling": c.InFlight, "endpoints-per-tenant": c.Endpoints} {
		if n < 1 || n > 1000 {
			all.add(wrong(name, "%d is not between 1 and 1000", n))
		}
	}
	if c.ShortestRetry < time.Second || c.ShortestRetry > 24*time.Hour {
		all.add(wrong("shortest-retry", "%v is not between 1s and 24h", c.ShortestRetry))
	}
	if c.MaxAttempts < 0 || c.MaxAttempts > 10_000 {
		all.add(wrong("max-attempts-ceiling", "%d is not between 0 and 10000", c.MaxAttempts))
	}
}

// wrongKeys is how many requests without a valid key one address may make in a minute
// before they are answered with 429.
const wrongKeys = 20

// leastRate is one call in 1,000 seconds. Much less than that could not be told from
// none, and its waits would not fit into the fields of an answer.
const leastRate = 0.001

// checkRates refuses rates of callers, by flag, that are neither 0 nor useful.
func checkRates(all *Faults, rates map[string]float64) {
	for name, rate := range rates {
		if rate != 0 && !(rate >= leastRate && rate <= 1e6) {
			all.add(wrong(name, "%v is neither 0 (no limit) nor between 0.001 and 1000000", rate))
		}
	}
}

// twice is a bucket that holds two seconds' worth.
func twice(rate float64) app.Rate {
	return app.Rate{PerSecond: rate, Burst: max(1, int(math.Ceil(2*rate)))}
}

func (c *callLimits) reads() app.Rate  { return twice(c.ReadRate) }
func (c *callLimits) writes() app.Rate { return twice(c.WriteRate) }

// attempts is a bucket in which a person who tries things finds room.
func (c *callLimits) attempts() app.Rate {
	return app.Rate{PerSecond: c.AttemptRate, Burst: max(60, int(math.Ceil(c.AttemptRate)))}
}

func (c *callLimits) ceilings() app.Ceilings {
	return app.Ceilings{InFlight: c.InFlight, ShortestRetry: c.ShortestRetry, Attempts: c.MaxAttempts, Endpoints: c.Endpoints}
}

// publicHosts returns the hosts of the URLs under which the API is reached.
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
