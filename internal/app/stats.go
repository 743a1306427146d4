package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Span is the time that statistics cover. Zero members are chosen by the server: the
// last hour, and a step that gives at most 120 buckets, if one can.
type Span struct {
	From, To time.Time
	Step     string
	Open     hook.OpenParts // what is counted beside it
}

// steps are the permitted lengths of a bucket.
var steps = []struct {
	word string
	time.Duration
}{{"1m", time.Minute}, {"5m", 5 * time.Minute}, {"15m", 15 * time.Minute}, {"1h", time.Hour}, {"6h", 6 * time.Hour}, {"1d", 24 * time.Hour}}

// StepText returns the name of a step.
func StepText(d time.Duration) string {
	for _, s := range steps {
		if s.Duration == d {
			return s.word
		}
	}
	return d.String()
}

const (
	fewBuckets = 120 // most buckets of a step that the server chooses, if any step gives so few
	statsSlack = time.Hour
)

// Stats returns the statistics of the mode, or of one tenant in it. A tenant key gets
// those of its tenant.
func (s *Service) Stats(ctx context.Context, c Caller, tenant string, span Span) (hook.Stats, error) {
	scope, err := c.reach(tenant)
	if err != nil {
		return hook.Stats{}, err
	}
	if err := s.checkNamed(ctx, c, scope.Tenant); err != nil {
		return hook.Stats{}, err
	}
	return s.stats(ctx, hook.StatsQuery{Scope: scope}, span)
}

// StatsOf returns the tallies of endpoints that the caller was shown, at most hook.MaxStatsOf,
// over a span. An endpoint without any is left out.
func (s *Service) StatsOf(ctx context.Context, c Caller, page []hook.Endpoint, span Span) (map[hook.ID][]hook.Tally, error) {
	scope, err := c.reach("")
	if err != nil {
		return nil, err
	}
	q := hook.StatsQuery{Scope: scope}
	if q.From, q.To, q.Step, err = span.resolve(s.o.Now()); err != nil {
		return nil, err
	}
	ids := make([]hook.ID, 0, len(page))
	for i := range page {
		if e := &page[i]; e.Scope.Mode == scope.Mode && (scope.Tenant == "" || e.Scope.Tenant == scope.Tenant) {
			ids = append(ids, e.ID)
		}
	}
	return s.o.Store.BucketsOf(ctx, q, ids)
}

// StateCounts counts the deliveries of the mode, of a tenant or of an endpoint that have not
// ended well.
func (s *Service) StateCounts(ctx context.Context, c Caller, tenant string, endpoint hook.ID) (hook.StateCounts, error) {
	scope, err := c.reach(tenant)
	if err != nil {
		return hook.StateCounts{}, err
	}
	if !endpoint.IsZero() {
		e, err := s.o.Store.Endpoint(ctx, scope, endpoint)
		if err != nil {
			return hook.StateCounts{}, err
		}
		scope = e.Scope
	} else if err := s.checkNamed(ctx, c, scope.Tenant); err != nil {
		return hook.StateCounts{}, err
	}
	return s.o.Store.StateCounts(ctx, scope, endpoint)
}

// OpenOf counts the open deliveries of endpoints that the caller was shown, at most
// hook.MaxStatsOf.
func (s *Service) OpenOf(ctx context.Context, c Caller, page []hook.Endpoint) (map[hook.ID]hook.OpenCounts, error) {
	scope, err := c.reach("")
	if err != nil {
		return nil, err
	}
	ids := make([]hook.ID, 0, len(page))
	for i := range page {
		ids = append(ids, page[i].ID)
	}
	return s.o.Store.OpenOf(ctx, scope, ids)
}

func (s *Service) stats(ctx context.Context, q hook.StatsQuery, span Span) (hook.Stats, error) {
	var err error
	if q.From, q.To, q.Step, err = span.resolve(s.o.Now()); err != nil {
		return hook.Stats{}, err
	}
	q.Open = span.Open
	out, err := s.o.Store.Buckets(ctx, q)
	if d := out.Open.Oldest; err == nil && d != nil {
		out.Open.OldestWaits = s.waitsFor(d)
	}
	return out, err
}

// waitsFor returns what a pending delivery waits for, as far as this node knows.
func (s *Service) waitsFor(d *hook.Delivery) hook.Wait {
	if (d.Attempts > 0 || d.Due.After(d.CreatedAt)) && d.Due.After(s.o.Now()) {
		return hook.WaitRetry
	}
	if p := s.paceOf(d.Endpoint); p != nil {
		return p.WaitsFor
	}
	return hook.WaitNone
}

// resolve returns the bounds, as multiples of the step, and the step.
func (span Span) resolve(now time.Time) (from, to time.Time, step time.Duration, err error) {
	to, from = span.To, span.From
	if to.IsZero() || to.After(now) {
		to = now
	}
	if from.IsZero() {
		from = to.Add(-time.Hour)
	}
	fail := func(field, format string, args ...any) (time.Time, time.Time, time.Duration, error) {
		return from, to, 0, invalid(field, fmt.Sprintf(format, args...))
	}
	if !from.Before(to) {
		return fail("from", "\"from\" must be before \"to\", and before now.")
	}
	kept := func(step time.Duration) time.Duration {
		if step < time.Hour {
			return hook.MinuteStats
		}
		return hook.HourStats
	}
	tooOld := func(step time.Duration) bool { return from.Before(now.Add(-kept(step) - statsSlack)) }
	words := make([]string, len(steps))
	for i, s := range steps {
		words[i] = s.word
		few := to.Sub(from) <= fewBuckets*s.Duration && !tooOld(s.Duration) || i == len(steps)-1
		if span.Step == s.word || span.Step == "" && step == 0 && few {
			step = s.Duration
		}
	}
	if step == 0 {
		return fail("step", "\"step\" must be one of %s.", strings.Join(words, ", "))
	}
	if tooOld(step) {
		if step < time.Hour && !tooOld(time.Hour) {
			return fail("from", "\"from\" is too long ago for steps of %s: numbers by the minute are kept for 24 hours. Choose a \"step\" of 1h or more.", StepText(step))
		}
		return fail("from", "\"from\" is too long ago: numbers are kept for %d days.", int(hook.HourStats.Hours()/24))
	}
	from = from.UTC().Truncate(step)
	if end := to.UTC().Truncate(step); end.Before(to) {
		to = end.Add(step)
	} else {
		to = end
	}
	if n := int64(to.Sub(from) / step); n > hook.MaxStatsSpan {
		return fail("step", "There are %d buckets of %s from \"from\" to \"to\"; at most %d are given. Choose a longer \"step\", or bounds that are closer.", n, StepText(step), hook.MaxStatsSpan)
	}
	return from, to, step, nil
}
