package profile

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/internal/hook"
)

// Limits of durations in a policy.
const (
	day        = 24 * time.Hour
	maxDelay   = 30 * day
	maxAge     = 366 * day
	maxTimeout = 2 * time.Minute
)

// defaultAtLeast is the at_least of a failing_for that sets none. It equals the number of
// attempts that the standard format makes for one delivery.
const defaultAtLeast = 10

func readPolicy(m members) hook.Policy {
	return hook.Policy{
		Success:       readSuccess(m.get("success")),
		Retry:         readRetry(m.get("retry")),
		Timeout:       m.get("timeout").duration(time.Second, maxTimeout),
		RetryAfterCap: m.get("retry_after_cap").duration(time.Second, maxDelay),
		GoneDisables:  m.get("gone_disables").flag(),
		Trip:          readTrip(m.get("auto_disable")),
	}
}

// readSuccess reads a status, 2xx, a range such as 200-204, or a list of these.
func readSuccess(v value) hook.StatusSet {
	if !v.present() {
		return nil
	}
	items := []value{v}
	if v.node.Kind == yaml.SequenceNode {
		items = v.list()
	}
	if len(items) == 0 {
		v.fail("must name at least one status")
	}
	var set hook.StatusSet
	for _, item := range items {
		r, ok := parseStatusRange(item.node.Value)
		if item.node.Kind != yaml.ScalarNode || !ok {
			item.fail("must be a status such as 200, 2xx or 200-204, from 200 to 599 and no redirect")
		}
		set = append(set, r)
	}
	return set
}

func parseStatusRange(text string) (hook.StatusRange, bool) {
	from, to, isRange := strings.Cut(text, "-")
	if class, ok := strings.CutSuffix(text, "xx"); ok && len(class) == 1 {
		from, to, isRange = class+"00", class+"99", true
	}
	if !isRange {
		to = from
	}
	low, err1 := strconv.Atoi(from)
	high, err2 := strconv.Atoi(to)
	// Redirects are never followed, so a 3xx can only be a mistake.
	ok := err1 == nil && err2 == nil && 200 <= low && low <= high && high <= 599 && (high < 300 || low >= 400)
	return hook.StatusRange{From: low, To: high}, ok
}

func readRetry(v value) hook.Retry {
	if !v.present() {
		return hook.Retry{}
	}
	m := v.section(&retryFields)
	retry := hook.Retry{
		Jitter: m.get("jitter").fraction(0, 1),
		MaxAge: m.get("max_age").duration(0, maxAge),
	}
	if delays := m.get("delays"); delays.present() {
		for _, name := range []string{"first", "factor", "cap", "max_attempts"} {
			if other := m.get(name); other.present() {
				other.fail("belongs to exponential retries, not to a list of delays")
			}
		}
		for _, item := range delays.list() {
			retry.Steps = append(retry.Steps, item.duration(time.Second, maxDelay))
		}
		if n := len(retry.Steps); n == 0 || n > 100 {
			delays.fail("must hold 1 to 100 delays")
		}
		retry.Repeat = m.need("then").word("fail", "repeat") == "repeat"
		return retry
	}
	if then := m.get("then"); then.present() {
		then.fail("belongs to a list of delays")
	}
	retry.First = m.need("first").duration(time.Second, maxDelay)
	retry.Factor = m.need("factor").fraction(1, 100)
	retry.Cap = m.need("cap").duration(time.Second, maxDelay)
	retry.MaxAttempts = m.get("max_attempts").number(0, 1_000_000)
	if retry.Cap < retry.First {
		m.get("cap").fail("is shorter than first")
	}
	return retry
}

func readTrip(v value) hook.Trip {
	if !v.present() {
		return hook.Trip{}
	}
	m := v.section(&tripFields)
	attempts, deliveries, failingFor, atLeast := m.get("attempts"), m.get("deliveries"), m.get("failing_for"), m.get("at_least")
	rules := 0
	for _, rule := range []value{attempts, deliveries, failingFor} {
		if rule.present() {
			rules++
		}
	}
	if rules != 1 {
		v.fail("must be one of attempts, deliveries or failing_for")
		return hook.Trip{}
	}
	if atLeast.present() && !failingFor.present() {
		atLeast.fail("belongs to failing_for")
	}
	switch {
	case attempts.present():
		return hook.Trip{Count: hook.TripAttempts, N: attempts.number(1, 1_000_000)}
	case deliveries.present():
		return hook.Trip{Count: hook.TripDeliveries, N: deliveries.number(1, 1_000_000)}
	}
	trip := hook.Trip{Count: hook.TripDuration, N: defaultAtLeast, For: failingFor.duration(time.Minute, maxAge)}
	if atLeast.present() {
		trip.N = atLeast.number(1, 1_000_000)
	}
	return trip
}
