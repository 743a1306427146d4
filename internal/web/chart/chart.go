// Package chart draws the statistics of deliveries as paths of SVG, with the sentences and the
// numbers that say the same. A path is made of numbers only.
package chart

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// Attempts shows attempts over time. Successful attempts extend upwards from a common line and
// failed ones downwards, and each half has its own scale. Its paths consist of numbers only.
type Attempts struct {
	Good, Bad       string // paths in a box of 960 by 148
	GoodNow, BadNow string // of the bucket that is not over yet
	MostGood, Most  string
	Sentence, Say   string
	Axis            []string
	Rows            []Row // the same as a table
}

// Row is one bucket of a chart in words.
type Row struct {
	At           string
	Good, Bad    string
	P50, P95, PX string
}

const (
	width     = 960
	boxHeight = 148
)

// AttemptsOf returns the chart of attempts, or nil if there were none.
func AttemptsOf(s *hook.Stats, now time.Time) *Attempts {
	var mostGood, mostBad, good, bad int64
	worst := 0
	for i := range s.Buckets {
		succeeded, failed := Outcomes(&s.Buckets[i])
		if failed > mostBad {
			worst = i
		}
		mostGood, mostBad = max(mostGood, succeeded), max(mostBad, failed)
		good, bad = good+succeeded, bad+failed
	}
	if len(s.Buckets) == 0 || good+bad == 0 {
		return nil
	}
	var up, down, upNow, downNow strings.Builder
	c := &Attempts{Axis: axis(s)}
	if mostGood > 0 { // the line between the halves is labelled 0 already
		c.MostGood = number(mostGood)
	}
	if mostBad > 0 {
		c.Most = number(mostBad)
	}
	for i := range s.Buckets {
		b := &s.Buckets[i]
		begun := s.From.Add(time.Duration(i) * s.Step)
		toUp, toDown := &up, &down
		if begun.Add(s.Step).After(now) {
			toUp, toDown = &upNow, &downNow
		}
		succeeded, failed := Outcomes(b)
		page.Bar(toUp, i, len(s.Buckets), succeeded, mostGood)
		page.Bar(toDown, i, len(s.Buckets), -failed, mostBad)
		row := Row{At: begun.UTC().Format("2 Jan 15:04"), Good: number(succeeded), Bad: number(failed), P50: "–", P95: "–", PX: "–"}
		if t := &b.DeliveryTime; t.Count() > 0 {
			row.P50, row.P95, row.PX = page.Took(t.Quantile(50)), page.Took(t.Quantile(95)), page.Took(t.Quantile(99))
		}
		c.Rows = append(c.Rows, row)
	}
	c.Good, c.Bad, c.GoodNow, c.BadNow = up.String(), down.String(), upNow.String(), downNow.String()
	every := span(s.Step)
	c.Sentence = fmt.Sprintf("%s attempts delivered and %s failed from %s to %s UTC; at most %s and %s in %s.", number(good), number(bad), c.Axis[0],
		s.From.Add(time.Duration(len(s.Buckets))*s.Step).UTC().Format("2 Jan 15:04"), number(mostGood), number(mostBad), every)
	c.Say = "Each bar is " + every + "; the halves have scales of their own."
	if mostBad > 0 && mostBad*4 > bad {
		c.Say = fmt.Sprintf("Most failures (%s) fell in the %s from %s UTC. %s", number(mostBad), every, s.From.Add(time.Duration(worst)*s.Step).UTC().Format("2 Jan 15:04"), c.Say)
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

// Times shows how long deliveries took, on a logarithmic scale from 10 ms to 100 s.
type Times struct {
	Half, Most, Nearly string // paths of p50, p95 and p99; gaps where nothing was delivered
	P50, P95, P99      string // of the whole span
	Sentence           string
	Axis               []string
}

// TimesOf returns the times of the statistics, or nil if nothing was delivered.
func TimesOf(s *hook.Stats) *Times {
	var all hook.Tally
	for i := range s.Buckets {
		all.Add(&s.Buckets[i])
	}
	h := &all.DeliveryTime
	if h.Count() == 0 {
		return nil
	}
	t := &Times{P50: page.Took(h.Quantile(50)), P95: page.Took(h.Quantile(95)), P99: page.Took(h.Quantile(99)), Axis: axis(s)}
	for to, percent := range map[*string]int64{&t.Half: 50, &t.Most: 95, &t.Nearly: 99} {
		*to = line(len(s.Buckets), width, func(i int) (float64, bool) {
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
	return boxHeight * (1 - min(max(share, 0), 1))
}

// line returns the path of a line through the middles of n buckets. Where a bucket has no
// value the line is broken; a value between two gaps is a short stroke.
func line(n, across int, at func(i int) (y float64, ok bool)) string {
	var path strings.Builder
	drawn, stroke := 0, 2
	if across == width { // a chart that is read, not a sparkline
		stroke = max(stroke, across/n-4)
	}
	for i := range n {
		y, ok := at(i)
		if !ok {
			drawn = 0
			continue
		}
		x := (float64(i) + .5) * float64(across) / float64(n)
		if drawn == 0 {
			fmt.Fprintf(&path, "M%.4g %.4gh%d", x, y, stroke)
		} else {
			fmt.Fprintf(&path, "L%.4g %.4g", x, y)
		}
		drawn++
	}
	return path.String()
}

// sparkWidth and sparkHeight are the box of a sparkline.
const sparkWidth, sparkHeight = 118, 26

// Spark returns the path of a sparkline through values, or "" if all are 0 or there
// are fewer than two. NaN is a gap.
func Spark(values []float64) string {
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

// Strip shows one bar for each hour: a low one if its attempts succeeded, a high one if any
// delivery attempt failed more often than not, a gap if there were none.
type Strip struct{ Good, Bad, Mixed, Sentence, Say string }

// StripOf returns the strip of the buckets, in a box of 600 by 26.
func StripOf(s *hook.Stats) *Strip {
	var good, bad, mixed strings.Builder
	var nGood, nBad, nMixed, since int
	for i := range s.Buckets {
		b := &s.Buckets[i]
		left, wide := i*600/max(1, len(s.Buckets)), max(1, 600/max(1, len(s.Buckets))-2)
		succeeded, failed := Outcomes(b)
		switch {
		case b.Attempts == 0:
			continue
		case failed == 0:
			nGood++
			since = 0
			fmt.Fprintf(&good, "M%d 9h%dv17h-%dz", left, wide, wide)
		case succeeded == 0:
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
	out := &Strip{Good: good.String(), Bad: bad.String(), Mixed: mixed.String()}
	out.Sentence = fmt.Sprintf("Of the last %d hours %d were good, %d had some failures and %d had failures only; the others had no attempt.", len(s.Buckets), nGood, nMixed, nBad)
	var parts []string
	for _, part := range []struct {
		n    int
		says string
	}{{nGood, "%s without a failure"}, {nMixed, "%s with some failures"}, {nBad, "%s with failures only"}, {len(s.Buckets) - nGood - nMixed - nBad, "%s without an attempt"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf(part.says, hours(part.n)))
		}
	}
	out.Say = strings.Join(parts, ", ") + "."
	if since > 1 {
		out.Say += fmt.Sprintf(" Nothing but failures in the latest %s with attempts.", hours(since))
	}
	return out
}

func hours(n int) string {
	if n == 1 {
		return "1 hour"
	}
	return strconv.Itoa(n) + " hours"
}

// Outcomes returns how many attempts of a tally succeeded and how many failed.
func Outcomes(t *hook.Tally) (succeeded, failed int64) {
	failed = min(t.Failed(), t.Attempts)
	return t.Attempts - failed, failed
}

// Share formats a part of a whole in percent, or as a dash if there is no whole.
func Share(n, of int64) string {
	if of == 0 {
		return "–"
	}
	return strconv.FormatFloat(100*float64(n)/float64(of), 'f', 1, 64)
}

// Bars is a small chart of attempts, for a row of a list: as Attempts, without labels.
type Bars struct {
	Good, Bad, Sentence string
	Delivered, P95      string // of the whole span; P95 is empty if there was no attempt
}

// BarsOf returns the bars of an endpoint's buckets, or nil if it had no attempt. in names the
// span of all of them.
func BarsOf(list []hook.Tally, in string) *Bars {
	var all hook.Tally
	var mostGood, mostBad int64
	for i := range list {
		all.Add(&list[i])
		succeeded, failed := Outcomes(&list[i])
		mostGood, mostBad = max(mostGood, succeeded), max(mostBad, failed)
	}
	if all.Attempts == 0 {
		return nil
	}
	var good, bad strings.Builder
	for i := range list {
		succeeded, failed := Outcomes(&list[i])
		page.Bar(&good, i, len(list), succeeded, mostGood)
		page.Bar(&bad, i, len(list), -failed, mostBad)
	}
	succeeded, failed := Outcomes(&all)
	out := &Bars{Good: good.String(), Bad: bad.String(), Delivered: Share(succeeded, all.Attempts),
		Sentence: fmt.Sprintf("%s attempts delivered and %s failed in %s.", number(succeeded), number(failed), in)}
	if t := &all.AttemptTime; t.Count() > 0 {
		out.P95 = page.Took(t.Quantile(95))
	}
	return out
}

func number(n int64) string { return page.Number(n, ",") }

func span(d time.Duration) string {
	return page.Span(d, func(n int, unit string) string { return strconv.Itoa(n) + " " + unit })
}
