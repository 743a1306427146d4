package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// chart shows attempts over time. Successful attempts extend upwards from a common line and
// failed ones downwards, and each half has its own scale. Its paths consist of numbers only.
type chart struct {
	Good, Bad       string // paths in a box of 960 by 148
	MostGood, Most  string
	Sentence        string
	From, To, Every string
}

const (
	chartWidth  = 960
	chartUp     = 98 // height of the upper half, which ends at 100
	chartDown   = 44 // height of the lower half, which starts at 103
	chartMiddle = 100
)

func chartOf(s *hook.Stats) *chart {
	var mostGood, mostBad, good, bad int64
	for i := range s.Buckets {
		b := &s.Buckets[i]
		failed := max(0, b.Attempts-b.Delivered)
		mostGood, mostBad = max(mostGood, b.Delivered), max(mostBad, failed)
		good, bad = good+b.Delivered, bad+failed
	}
	if len(s.Buckets) == 0 || good+bad == 0 {
		return nil
	}
	var up, down strings.Builder
	for i := range s.Buckets {
		b := &s.Buckets[i]
		left := i * chartWidth / len(s.Buckets)
		wide := max(1, (i+1)*chartWidth/len(s.Buckets)-left-2)
		bar(&up, left, wide, b.Delivered, mostGood, chartUp, -1)
		bar(&down, left, wide, max(0, b.Attempts-b.Delivered), mostBad, chartDown, 1)
	}
	to := s.From.Add(time.Duration(len(s.Buckets)) * s.Step)
	c := &chart{Good: up.String(), Bad: down.String(), MostGood: strconv.FormatInt(mostGood, 10), Most: strconv.FormatInt(mostBad, 10), Every: span(s.Step),
		From: s.From.UTC().Format("2 Jan 15:04"), To: to.UTC().Format("2 Jan 15:04")}
	c.Sentence = fmt.Sprintf("%d attempts delivered and %d failed from %s to %s UTC; at most %d and %d in %s.", good, bad, c.From, c.To, mostGood, mostBad, c.Every)
	return c
}

// bar appends a bar to a path. A number above 0 always gets a visible bar.
func bar(path *strings.Builder, left, wide int, n, most int64, height int64, way int) {
	if n <= 0 || most <= 0 {
		return
	}
	high := max(1, n*height/most)
	from := int64(chartMiddle)
	if way < 0 {
		from -= high
	} else {
		from += 3
	}
	fmt.Fprintf(path, "M%d %dh%dv%dh-%dz", left, from, wide, high, wide)
}

// share formats a part of a whole in percent, or as a dash if there is no whole.
func share(n, of int64) string {
	if of == 0 {
		return "–"
	}
	return strconv.FormatFloat(100*float64(n)/float64(of), 'f', 1, 64) + " %"
}

// waitWords describe what the oldest pending delivery is waiting for.
var waitWords = map[hook.Wait]string{
	hook.WaitRetry: "waits for its next attempt", hook.WaitCap: "waits for attempts under way", hook.WaitRate: "waits for its rate limit", hook.WaitPause: "its receiver asked for a pause",
	hook.WaitHostCap: "waits for attempts under way at its host", hook.WaitHostRate: "waits for the rate of its host", hook.WaitTenant: "waits for the tenant's share", hook.WaitServer: "waits for a fault of the server",
	hook.WaitTurn: "is about to begin",
}

// reasonLine is a reason why attempts failed, with the number of failures.
type reasonLine struct {
	Words, Class string
	N            int64
	Href         string
}

// figures returns the statistics of the mode over a span.
func (v *visit) figures(s *hook.Stats) (out []figure, all hook.Tally) {
	for i := range s.Buckets {
		all.Add(&s.Buckets[i])
	}
	out = []figure{
		{"Published", strconv.FormatInt(all.Events, 10), "events", v.at("events")},
		{"Delivered", strconv.FormatInt(all.Delivered, 10), "deliveries; " + strconv.FormatInt(all.GivenUp, 10) + " were given up", v.at("deliveries", "state", "succeeded")},
		{"At the first attempt", share(all.FirstTry, all.Delivered), "of what was delivered", ""},
		{"Publish to delivered", "–", "nothing was delivered", ""},
		{"Pending", count(s.Open.Pending, hook.StatsCap), "nothing waits", v.at("deliveries", "state", "pending")},
		{"Held", count(s.Open.Held, hook.StatsCap), "for disabled endpoints", v.at("deliveries", "state", "held")},
	}
	if times := &all.DeliveryTime; times.Count() > 0 {
		out[3].Value, out[3].Note = span(times.Quantile(50)), "half of them; 95 % in "+span(times.Quantile(95))+", 99 % in "+span(times.Quantile(99))
	}
	if d := s.Open.Oldest; d != nil {
		out[4].Note = strings.TrimSuffix("the oldest, of "+when(d.CreatedAt, v.now).Text+", "+waitWords[s.Open.OldestWaits], ", ")
	} else if s.Open.Pending > 0 {
		out[4].Note = "are waiting or under way"
	}
	return out, all
}
