package portal

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// moment is a time as pages show it: relative, with the exact time beside it.
type moment struct {
	Text  string // "4 min ago"; empty if there is no such time
	Exact string
	ISO   string
}

// when formats a time relative to now.
func (v *visit) when(at time.Time) moment {
	if at.IsZero() {
		return moment{}
	}
	m := moment{Exact: at.UTC().Format(v.T("time.exact")), ISO: at.UTC().Format(time.RFC3339Nano)}
	switch d := at.Sub(v.now); {
	case d > 0:
		m.Text = v.T("time.in", "span", v.span(d))
	case d > -time.Second:
		m.Text = v.T("time.just")
	default:
		m.Text = v.T("time.ago", "span", v.span(-d))
	}
	return m
}

// span formats a duration with one or two units.
func (v *visit) span(d time.Duration) string {
	return page.Span(d, func(n int, unit string) string { return v.T("unit."+unit, "n", n) })
}

// took formats a duration that was measured.
func (v *visit) took(d time.Duration) string {
	text := page.Took(d)
	if v.lang == "de" {
		text = strings.Replace(text, ".", ",", 1)
	}
	return text
}

// share formats a part of a whole in percent, or as a dash if there is no whole.
func (v *visit) share(n, of int64) string {
	if of == 0 {
		return "–"
	}
	text := strconv.FormatFloat(100*float64(n)/float64(of), 'f', 1, 64)
	if v.lang == "de" {
		text = strings.Replace(text, ".", ",", 1)
	}
	return strings.TrimSuffix(strings.TrimSuffix(text, ".0"), ",0") + " %"
}

// count formats a number from a read that stopped counting at limit.
func (v *visit) count(n, limit int) string {
	if n >= limit {
		return v.T("number.least", "n", n)
	}
	return v.words.number(int64(n))
}

// badge shows a state as a colour, an icon and a word.
type badge struct{ Class, Icon, Word string }

func (v *visit) badge(class, icon, state string) badge {
	return badge{class, icon, v.T("state." + state)}
}

func (v *visit) stateBadge(d *hook.Delivery) badge {
	switch d.State {
	case hook.Pending:
		if d.Attempts > 0 {
			return v.badge("retry", "replay", "retrying")
		}
		return v.badge("wait", "wait", "pending")
	case hook.Held:
		return v.badge("held", "held", "held")
	case hook.Succeeded:
		return v.badge("ok", "ok", "succeeded")
	case hook.Failed:
		return v.badge("bad", "x", "failed")
	}
	return v.badge("off", "off", "cancelled")
}

// endpointState shows whether an endpoint works, and says why if it does not.
func (v *visit) endpointState(e *hook.Endpoint, h hook.Health) (badge, string) {
	since := v.when(e.DisabledAt).Text
	switch {
	case e.Unverified():
		return v.badge("held", "held", "unverified"), v.T("trouble.unverified")
	case e.Status == hook.Tripped && e.DisabledReason == "listener_away":
		return v.badge("off", "off", "away"), v.T("trouble.away")
	case e.Status == hook.Tripped && e.DisabledReason == "gone":
		return v.badge("held", "held", "disabled"), v.T("trouble.gone", "since", since)
	case e.Status == hook.Tripped:
		return v.badge("held", "held", "disabled"), v.T("trouble.failures", "since", since)
	case e.Status == hook.Disabled:
		return v.badge("off", "off", "disabled"), v.T("trouble.by_hand", "since", since)
	case e.Damage != 0:
		return v.badge("bad", "warn", "damaged"), v.T("trouble.damaged")
	case h.Failures > 0:
		return v.badge("bad", "warn", "failing"), v.T("trouble.failing", "n", h.Failures, "since", v.when(h.FirstFailureAt).Text)
	}
	return v.badge("ok", "ok", "working"), ""
}

// ahead says when failures disable an endpoint that is enabled, or returns an empty text if
// they never do, or if nothing failed since its last success.
func (v *visit) ahead(t hook.Trip, h hook.Health) string {
	at := h.FirstFailureAt.Add(t.For)
	switch {
	case h.Failures == 0 || t.Count == hook.TripNever || t.Count != hook.TripDuration && t.N == 0 || t.Count == hook.TripDuration && t.For == 0:
		return ""
	case t.Count != hook.TripDuration:
		return v.T("ahead."+string(t.Count), "n", max(1, t.N-h.Failures))
	case at.After(v.now):
		return v.T("ahead.time", "when", v.when(at).Text)
	}
	return v.T("ahead.soon")
}

// answer describes the outcome of an attempt.
func (v *visit) answer(status int, class hook.Class) string {
	switch {
	case status != 0 && (class == hook.ClassNone || class == hook.ClassTruncated):
		return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
	case status != 0:
		return v.T("answer.status", "status", strings.TrimSpace(strconv.Itoa(status)+" "+http.StatusText(status)))
	case class == hook.ClassNone:
		return v.T("answer.none")
	}
	return v.class(class)
}

func (v *visit) class(c hook.Class) string {
	if key := "class." + string(c); v.words.has(key) {
		return v.T(key)
	}
	return string(c)
}

func (v *visit) reason(r hook.Reason) string {
	if r == hook.ReasonNone {
		return ""
	}
	if key := "reason." + string(r); v.words.has(key) {
		return v.T(key)
	}
	return string(r)
}

// code is foreign text in the form that pages show.
type code struct {
	Body string
	Size string
	Cut  bool // there is more text than is shown
	// Redacted says which values of a payload are not shown. Empty: none.
	Redacted string
}

// foreign prepares foreign bytes for display. It makes control and direction characters
// visible, and shows at most limit bytes.
func (v *visit) foreign(raw []byte, limit int) code {
	start, cut := page.Start(raw, limit)
	return code{Body: page.Visible(start), Size: v.size(len(raw)), Cut: cut}
}

func (v *visit) size(n int) string {
	text := page.Size(n)
	if v.lang == "de" {
		text = strings.Replace(text, ".", ",", 1)
	}
	return text
}

// chart shows attempts over time: delivered up, failed down, each half with its own scale.
type chart struct {
	Good, Bad      string // paths in a box of 960 by 148
	MostGood, Most string
	Sentence       string
	From, To       string
}

func (v *visit) chart(s *hook.Stats) *chart {
	var mostGood, mostBad, good, bad int64
	for i := range s.Buckets {
		failed := min(s.Buckets[i].Failed(), s.Buckets[i].Attempts)
		succeeded := s.Buckets[i].Attempts - failed
		mostGood, mostBad = max(mostGood, succeeded), max(mostBad, failed)
		good, bad = good+succeeded, bad+failed
	}
	if good+bad == 0 {
		return nil
	}
	var upper, lower strings.Builder
	for i := range s.Buckets {
		failed := min(s.Buckets[i].Failed(), s.Buckets[i].Attempts)
		page.Bar(&upper, i, len(s.Buckets), s.Buckets[i].Attempts-failed, mostGood)
		page.Bar(&lower, i, len(s.Buckets), -failed, mostBad)
	}
	end := s.From.Add(time.Duration(len(s.Buckets)) * s.Step)
	c := &chart{Good: upper.String(), Bad: lower.String(), MostGood: v.words.number(mostGood), Most: v.words.number(mostBad),
		From: s.From.UTC().Format(v.T("time.short")), To: end.UTC().Format(v.T("time.short"))}
	c.Sentence = v.T("chart.sentence", "good", int(good), "bad", int(bad), "from", c.From, "to", c.To)
	return c
}
