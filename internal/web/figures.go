package web

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/chart"
)

// waitWords describe what the oldest pending delivery is waiting for.
var waitWords = map[hook.Wait]string{
	hook.WaitRetry: "waits for its next attempt", hook.WaitCap: "waits for attempts under way", hook.WaitRate: "waits for its rate limit", hook.WaitPause: "its receiver asked for a pause",
	hook.WaitHostCap: "waits for attempts under way at its host", hook.WaitHostRate: "waits for the rate of its host", hook.WaitTenant: "waits for the tenant's share", hook.WaitServer: "waits for a fault of the server",
	hook.WaitTurn: "is about to begin",
}

// reasonLine is a reason why attempts failed, with the number of failures.
type reasonLine struct {
	Words, Class, N string
	Share           int64 // percent of all failures, at least 1
	Href            string
}

// figures returns the statistics of the mode over a span. hour holds its last 60 minutes.
func (v *visit) figures(s, hour *hook.Stats, word string) (out []figure, all hook.Tally) {
	for i := range s.Buckets {
		all.Add(&s.Buckets[i])
	}
	published, delivered := make([]float64, len(hour.Buckets)), make([]float64, len(hour.Buckets))
	first, took := make([]float64, len(hour.Buckets)), make([]float64, len(hour.Buckets))
	for i := range hour.Buckets {
		b := &hour.Buckets[i]
		published[i], delivered[i], first[i], took[i] = float64(b.Events), float64(b.Delivered), math.NaN(), math.NaN()
		if b.Delivered > 0 {
			first[i] = float64(b.FirstTry) / float64(b.Delivered)
		}
		if t := &b.DeliveryTime; t.Count() > 0 {
			took[i] = math.Log10(1 + float64(t.Quantile(50).Milliseconds()))
		}
	}
	in := " in " + spanWord(word)
	out = []figure{
		{Name: "Published", Note: number(all.Events) + plural(int(all.Events), " event", " events") + in, Href: v.at("events", "since", word), Spark: chart.Spark(published)},
		{Name: "Delivered", Note: number(all.Delivered) + plural(int(all.Delivered), " delivery", " deliveries") + in, Href: v.at("deliveries", "state", hook.Succeeded.String(), "since", word), Spark: chart.Spark(delivered)},
		{Name: "At the first attempt", Value: chart.Share(all.FirstTry, all.Delivered), Unit: "%", Note: "of what was delivered" + in, Spark: chart.Spark(first)},
		{Name: "Publish to delivered", Value: "–", Note: "nothing was delivered" + in, Spark: chart.Spark(took)},
		{Name: "Pending", Value: count(s.Open.Pending, hook.FewCap), Note: "nothing waits", Href: v.at("deliveries", "state", hook.Pending.String())},
		{Name: "Held", Value: count(s.Open.Held, hook.FewCap), Note: "for endpoints that get nothing now", Href: v.at("deliveries", "state", hook.Held.String())},
	}
	out[0].Value, out[0].Unit = rate(published, v.now)
	out[1].Value, out[1].Unit = rate(delivered, v.now)
	if all.GivenUp > 0 {
		out[1].Note += "; " + number(all.GivenUp) + " failed"
	}
	if times := &all.DeliveryTime; times.Count() > 0 {
		out[3].Value, out[3].Unit, _ = strings.Cut(short3(times.Quantile(50)), " ")
		out[3].Unit += " p50"
		out[3].Note = "p95 " + short3(times.Quantile(95)) + " · p99 " + short3(times.Quantile(99))
	}
	if d := s.Open.Oldest; d != nil {
		out[4].Note = strings.TrimSuffix("the oldest, of "+when(d.CreatedAt, v.now).Text+", "+waitWords[s.Open.OldestWaits], ", ")
	} else if s.Open.Pending > 0 {
		out[4].Note = "waiting or under way"
	}
	if s.Open.Held == 0 {
		out[5].Note = "nothing is held"
	}
	return out, all
}

// spanWord returns the span as a sentence has it.
func spanWord(word string) string {
	for _, one := range spanNames {
		if one[0] == word {
			return one[1]
		}
	}
	return word
}

// rate returns the mean of the last five minutes and the one that is not over, a second or a
// minute.
func rate(minutes []float64, now time.Time) (value, unit string) {
	if len(minutes) < 2 {
		return "–", ""
	}
	last := minutes[max(0, len(minutes)-6):]
	sum := 0.0
	for _, n := range last {
		sum += n
	}
	a := sum / (float64(len(last)-1) + float64(now.Second()+1)/60)
	if a >= 60 {
		return strconv.FormatFloat(a/60, 'f', 1, 64), "/s"
	}
	return strings.TrimSuffix(strconv.FormatFloat(a, 'f', 1, 64), ".0"), "/min"
}
