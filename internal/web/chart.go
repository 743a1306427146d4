package web

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// chart shows attempts over time. Successful attempts extend upwards from a common line and
// failed ones downwards, and each half has its own scale. Its paths consist of numbers only.
type chart struct {
	Good, Bad       string // paths in a box of 960 by 148
	GoodNow, BadNow string // of the bucket that is not over yet
	MostGood, Most  string
	Sentence, Say   string
	Axis            []string
	Rows            []chartRow // the same as a table
}

type chartRow struct {
	At           string
	Good, Bad    string
	P50, P95, PX string
}

const (
	chartWidth  = 960
	chartHeight = 148
)

// chartOf returns the chart of attempts, or nil if there were none.
func chartOf(s *hook.Stats, now time.Time) *chart {
	var mostGood, mostBad, good, bad int64
	worst := 0
	for i := range s.Buckets {
		b := &s.Buckets[i]
		failed := max(0, b.Attempts-b.Delivered)
		if failed > mostBad {
			worst = i
		}
		mostGood, mostBad = max(mostGood, b.Delivered), max(mostBad, failed)
		good, bad = good+b.Delivered, bad+failed
	}
	if len(s.Buckets) == 0 || good+bad == 0 {
		return nil
	}
	var up, down, upNow, downNow strings.Builder
	c := &chart{MostGood: number(mostGood), Most: number(mostBad), Axis: axis(s)}
	for i := range s.Buckets {
		b := &s.Buckets[i]
		begun := s.From.Add(time.Duration(i) * s.Step)
		toUp, toDown := &up, &down
		if begun.Add(s.Step).After(now) {
			toUp, toDown = &upNow, &downNow
		}
		failed := max(0, b.Attempts-b.Delivered)
		page.Bar(toUp, i, len(s.Buckets), b.Delivered, mostGood)
		page.Bar(toDown, i, len(s.Buckets), -failed, mostBad)
		row := chartRow{At: begun.UTC().Format("2 Jan 15:04"), Good: number(b.Delivered), Bad: number(failed), P50: "–", P95: "–", PX: "–"}
		if t := &b.DeliveryTime; t.Count() > 0 {
			row.P50, row.P95, row.PX = short3(t.Quantile(50)), short3(t.Quantile(95)), short3(t.Quantile(99))
		}
		c.Rows = append(c.Rows, row)
	}
	c.Good, c.Bad, c.GoodNow, c.BadNow = up.String(), down.String(), upNow.String(), downNow.String()
	every := span(s.Step)
	c.Sentence = fmt.Sprintf("%s attempts delivered and %s failed from %s to %s UTC; at most %s and %s in %s.", number(good), number(bad), c.Axis[0],
		s.From.Add(time.Duration(len(s.Buckets))*s.Step).UTC().Format("2 Jan 15:04"), c.MostGood, c.Most, every)
	c.Say = "Bars are " + every + "; the halves have scales of their own."
	if mostBad > 0 && mostBad*4 > bad {
		c.Say = fmt.Sprintf("Most failures, %s, fell in the %s from %s UTC. %s", number(mostBad), every, s.From.Add(time.Duration(worst)*s.Step).UTC().Format("2 Jan 15:04"), c.Say)
	}
	return c
}

// axis returns the labels below a chart: its beginning, three times between, and now.
func axis(s *hook.Stats) []string {
	layout := "Mon 15:04"
	if s.Step >= time.Hour {
		layout = "2 Jan 15:04"
	}
	if len(s.Buckets)*int(s.Step/time.Minute) <= 120 {
		layout = "15:04"
	}
	out := make([]string, 0, 5)
	for i := range 4 {
		at := s.From.Add(time.Duration(i*len(s.Buckets)/4) * s.Step).UTC()
		out = append(out, at.Format(layout))
	}
	return append(out, "now")
}

// times shows how long deliveries took, on a logarithmic scale from 10 ms to 100 s.
type times struct {
	Half, Most, Nearly string // paths of p50, p95 and p99; gaps where nothing was delivered
	P50, P95, P99      string // of the whole span
	Sentence           string
	Axis               []string
}

func timesOf(s *hook.Stats) *times {
	var all hook.Tally
	for i := range s.Buckets {
		all.Add(&s.Buckets[i])
	}
	h := &all.DeliveryTime
	if h.Count() == 0 {
		return nil
	}
	t := &times{P50: short3(h.Quantile(50)), P95: short3(h.Quantile(95)), P99: short3(h.Quantile(99)), Axis: axis(s)}
	for to, percent := range map[*string]int64{&t.Half: 50, &t.Most: 95, &t.Nearly: 99} {
		*to = line(len(s.Buckets), chartWidth, func(i int) (float64, bool) {
			d := &s.Buckets[i].DeliveryTime
			return height(d.Quantile(percent)), d.Count() > 0
		})
	}
	t.Sentence = fmt.Sprintf("Time from publishing to delivery: half within %s, 95 %% within %s, 99 %% within %s.", t.P50, t.P95, t.P99)
	return t
}

// height returns where a duration is on the logarithmic scale, in pixels from the top.
func height(d time.Duration) float64 {
	share := (math.Log10(max(d.Seconds(), 1e-9)) + 2) / 4 // 10 ms is 0, 100 s is 1
	return chartHeight * (1 - min(max(share, 0), 1))
}

// line returns the path of a line through the middles of n buckets. Where a bucket has no
// value the line is broken; a value between two gaps is a short stroke.
func line(n, width int, at func(i int) (y float64, ok bool)) string {
	var path strings.Builder
	drawn := 0
	for i := range n {
		y, ok := at(i)
		if !ok {
			drawn = 0
			continue
		}
		x := (float64(i) + .5) * float64(width) / float64(n)
		if drawn == 0 {
			fmt.Fprintf(&path, "M%.4g %.4gh2", x, y)
		} else {
			fmt.Fprintf(&path, "L%.4g %.4g", x, y)
		}
		drawn++
	}
	return path.String()
}

// sparkWidth and sparkHeight are the box of a sparkline.
const sparkWidth, sparkHeight = 118, 26

// spark returns the path of a sparkline through values, or "" if all are 0 or there
// are fewer than two. NaN is a gap.
func spark(values []float64) string {
	most := 0.0
	known := 0
	for _, n := range values {
		if !math.IsNaN(n) {
			most = max(most, n)
			known++
		}
	}
	if most == 0 || known < 2 {
		return ""
	}
	return line(len(values), sparkWidth, func(i int) (float64, bool) { return 24 - 22*values[i]/most, !math.IsNaN(values[i]) })
}

// strip shows one bar for each hour: a low one if its attempts succeeded, a high one if any
// delivery attempt failed more often than not, a gap if there were none.
type strip struct{ Good, Bad, Mixed, Sentence, Say string }

// stripOf returns the strip of the buckets, in a box of 600 by 26.
func stripOf(s *hook.Stats) *strip {
	var good, bad, mixed strings.Builder
	var nGood, nBad, nMixed, since int
	for i := range s.Buckets {
		b := &s.Buckets[i]
		left, wide := i*600/max(1, len(s.Buckets)), max(1, 600/max(1, len(s.Buckets))-2)
		failed := max(0, b.Attempts-b.Delivered)
		switch {
		case b.Attempts == 0:
			continue
		case failed == 0:
			nGood++
			since = 0
			fmt.Fprintf(&good, "M%d 9h%dv17h-%dz", left, wide, wide)
		case b.Delivered == 0:
			nBad++
			since++
			fmt.Fprintf(&bad, "M%d 0h%dv26h-%dz", left, wide, wide)
		default:
			nMixed++
			since = 0
			fmt.Fprintf(&mixed, "M%d 4h%dv22h-%dz", left, wide, wide)
		}
	}
	if nGood+nBad+nMixed == 0 {
		return nil
	}
	out := &strip{Good: good.String(), Bad: bad.String(), Mixed: mixed.String()}
	out.Sentence = fmt.Sprintf("Of the last %d hours %d were good, %d had some failures and %d had failures only; the others had no attempt.", len(s.Buckets), nGood, nMixed, nBad)
	out.Say = fmt.Sprintf("Good in %d, some failures in %d, only failures in %d.", nGood, nMixed, nBad)
	if since > 1 {
		out.Say += fmt.Sprintf(" Nothing but failures in the latest %d hours with attempts.", since)
	}
	return out
}

// share formats a part of a whole in percent, or as a dash if there is no whole.
func share(n, of int64) string {
	if of == 0 {
		return "–"
	}
	return strconv.FormatFloat(100*float64(n)/float64(of), 'f', 1, 64)
}

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
		{Name: "Published", Note: number(all.Events) + plural(int(all.Events), " event", " events") + in, Href: v.at("events", "since", word), Spark: spark(published)},
		{Name: "Delivered", Note: number(all.Delivered) + plural(int(all.Delivered), " delivery", " deliveries") + in, Href: v.at("deliveries", "state", hook.Succeeded.String(), "since", word), Spark: spark(delivered)},
		{Name: "At the first attempt", Value: share(all.FirstTry, all.Delivered), Unit: "%", Note: "of what was delivered" + in, Spark: spark(first)},
		{Name: "Publish to delivered", Value: "–", Note: "nothing was delivered" + in, Spark: spark(took)},
		{Name: "Pending", Value: count(s.Open.Pending, hook.StatsCap), Note: "nothing waits", Href: v.at("deliveries", "state", hook.Pending.String())},
		{Name: "Held", Value: count(s.Open.Held, hook.StatsCap), Note: "for endpoints that get nothing now", Href: v.at("deliveries", "state", hook.Held.String())},
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

// bars is a small chart of attempts, for a row of a list: as chart, without labels.
type bars struct {
	Good, Bad, Sentence string
	Delivered, P95      string // of the whole span; P95 is empty if there was no attempt
}

// barsOf returns the bars of an endpoint's buckets, or nil if it had no attempt. in names the
// span of all of them.
func barsOf(list []hook.Tally, in string) *bars {
	var all hook.Tally
	var mostGood, mostBad int64
	for i := range list {
		b := &list[i]
		all.Add(b)
		mostGood, mostBad = max(mostGood, b.Delivered), max(mostBad, b.Attempts-b.Delivered)
	}
	if all.Attempts == 0 {
		return nil
	}
	var good, bad strings.Builder
	for i := range list {
		b := &list[i]
		page.Bar(&good, i, len(list), b.Delivered, mostGood)
		page.Bar(&bad, i, len(list), -max(0, b.Attempts-b.Delivered), mostBad)
	}
	out := &bars{Good: good.String(), Bad: bad.String(), Delivered: share(all.Delivered, all.Attempts),
		Sentence: fmt.Sprintf("%s attempts delivered and %s failed in %s.", number(all.Delivered), number(max(0, all.Attempts-all.Delivered)), in)}
	if t := &all.AttemptTime; t.Count() > 0 {
		out.P95 = short3(t.Quantile(95))
	}
	return out
}
