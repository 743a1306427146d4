package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/live"
	"github.com/posthorn/posthorn/internal/web/page"
)

// maxAttemptsShown limits the attempts on the page of a delivery. A link leads to older
// ones.
const maxAttemptsShown = 20

// attemptLine is an attempt in the timeline.
type attemptLine struct {
	Number               int
	Good, Open, Truncate bool
	Answer, Code         string
	Message, Trigger     string
	Note                 string // about a Retry-After
	At                   moment
	Took, Gap            string
	Headers, Body        text
	Status               string // status line
	Removed              moment // when retention removed the answer; Text is empty if it did not
	Whole                string // path of the page that shows the entire body
	Phases               []phase
	To                   string // address of the connection
}

// phase is a part of the time of an attempt with its words.
type phase struct {
	page.Phase
	Words string
}

// phaseWords names the phases of an attempt.
var phaseWords = map[string]string{"dns": "DNS", "connect": "connect", "tls": "TLS", "first": "first byte", "body": "body", "waiting": "waiting"}

func phasesOf(a *hook.Attempt) (out []phase) {
	for _, p := range page.Phases(a) {
		out = append(out, phase{p, phaseWords[p.Name] + " " + short3(p.Took)})
	}
	return out
}

// deliveryPage is the content of the page of a delivery.
type deliveryPage struct {
	deliveryLine
	FullEvent, FullEndpoint           string
	Reason, ReasonCode, Waits         string
	Plan                              string // what follows the next attempt
	retry                             *hook.Retry
	Of                                string // how many attempts of how many
	Settled                           moment
	Retry, Cancel, Report, TestAction string
	Open                              bool
	URL, Target, Profile, ProfileName string
	HostName                          string
	Headers                           []string // names of the endpoint's own headers
	Sent                              []hook.Header
	Data                              payload
	Gone                              bool           // retention removed the payload
	Answers                           payload        // why answers are not shown
	Elsewhere                         []deliveryLine // other deliveries of the same event
	Attempts                          []attemptLine  // newest first
	Older                             string
	Help                              string
	Curl                              string
	NoEvent                           string // why the event could not be read; empty: it could
}

func delivery(v *visit) (*screen, error) {
	id, err := v.id("delivery")
	if err != nil {
		return nil, err
	}
	row, attempts, err := v.service().Delivery(v.quiet, v.caller, id)
	if err != nil {
		return nil, err
	}
	path := v.at("deliveries/" + id.String())
	page := &deliveryPage{deliveryLine: v.lines([]hook.DeliveryRow{row})[0], FullEvent: hook.PublicText(row.PublicID, row.GivenID), FullEndpoint: row.Endpoint.String(),
		Reason: reasonWords[row.Reason], ReasonCode: string(row.Reason), Settled: when(row.SettledAt, v.now), Open: row.State.Open(),
		Retry: path + "/retry", Cancel: path + "/cancel", Report: path + "/report", Profile: fmt.Sprintf("%x", row.Profile[:4]), Of: tries(row.Attempts)}
	if row.State == hook.Pending {
		page.Waits = "No attempt is planned at a time: it is under way, or waits for its turn."
	}
	if e, err := v.service().EndpointNamed(v.quiet, v.caller, row.Scope.Tenant, row.Endpoint); err == nil {
		page.target(v, &row, e)
	} else if !missing(err) {
		return nil, err
	}
	if err := page.payload(v, &row); err != nil {
		page.NoEvent = v.missed("event of a delivery", err, false)
		page.Data, page.Answers, page.Curl = payload{Why: page.NoEvent}, payload{Why: page.NoEvent}, "" // nothing is shown that the audit log does not have
	}
	if row.State == hook.Pending && row.Attempts > 0 {
		page.Plan = planWords(page.retry, &row, attempts)
	}
	page.Attempts, page.Older = v.timeline(page, id, attempts)
	s := &screen{Template: "delivery.html", Title: row.EventType + " to " + row.Scope.Tenant, Heading: deliverySentence(&row), Nav: "deliveries", Soon: row.State == hook.Pending,
		Commands: []string{"posthorn delivery get " + page.Key}, API: []string{"GET /v1/deliveries/" + page.Key}, Data: page, About: live.About{Scope: row.Scope, Endpoint: row.Endpoint}}
	if page.Endpoint != "" && !page.Gone {
		s.Commands = append(s.Commands, "posthorn delivery retry "+page.Key)
	}
	return s, nil
}

// target fills in what the endpoint tells about a delivery: where it goes, and what follows.
func (p *deliveryPage) target(v *visit, row *hook.DeliveryRow, e *hook.Endpoint) {
	p.URL, p.ProfileName = hook.MaskURL(e.URL), e.Profile
	p.HostName, p.Target = page.HostOf(e.URL)
	if p.Target == "" {
		p.Target = "/"
	}
	p.TestAction = v.at("endpoints/" + e.ID.String() + "/test")
	for _, head := range e.Headers {
		p.Headers = append(p.Headers, head.Name)
	}
	if sheet, err := v.service().ProfileSheet(e.Profile); err == nil {
		p.Sent = sheet.Headers
	}
	r := v.service().PolicyOf(e).Retry
	if most := attemptsOf(r); most > 0 && row.Kind != hook.TestEvent {
		p.Of = fmt.Sprintf("%d of %d", row.Attempts, most)
	}
	p.retry = &r
	p.Help = helpWords(row, e)
}

// attemptsOf returns how many attempts a plan makes, or 0 if it has no such number.
func attemptsOf(r hook.Retry) int {
	switch {
	case len(r.Steps) > 0 && !r.Repeat:
		return len(r.Steps) + 1
	case len(r.Steps) == 0:
		return r.MaxAttempts
	}
	return 0
}

// planWords says how the next attempt was planned, or that the receiver asked for it, and what
// follows it. The attempts are the oldest first. It returns an empty text if the plan is not
// known (nil).
func planWords(r *hook.Retry, row *hook.DeliveryRow, attempts []hook.Attempt) string {
	if r == nil || row.Due.IsZero() {
		return ""
	}
	delay, more := r.Delay(row.Scheduled)
	if !more {
		return ""
	}
	says := span(delay) + " after the last one"
	for i, a := range slices.Backward(attempts) {
		if a.Trigger != hook.BySchedule { // one by hand does not move the plan
			continue
		}
		if i < len(attempts)-1 {
			says += " by schedule"
		}
		longest := time.Duration(float64(delay) * (1 + r.Jitter))
		if wait := row.Due.Sub(a.At.Add(a.Duration)); page.RetryAfter(&a) > 0 && wait > longest+2*time.Second { // a date of HTTP has whole seconds
			says = span(wait.Round(time.Second)) + strings.TrimPrefix(says, span(delay)) + ", because the receiver asked for it. The plan was: " + span(delay)
		}
		break
	}
	if r.Jitter > 0 {
		says += fmt.Sprintf(", and up to %.0f %% more", r.Jitter*100)
	}
	left, at := 0, row.Due
	for n := row.Scheduled + 1; left < 1000; n++ {
		next, more := r.Delay(n)
		if !more || r.MaxAge > 0 && at.Add(next).After(row.CreatedAt.Add(r.MaxAge)) {
			break
		}
		left, at = left+1, at.Add(next)
	}
	switch {
	case left == 0:
		return says + ". It is the last one."
	case left == 1000 && attemptsOf(*r) == 0 && r.MaxAge == 0:
		return says + ". Then it goes on without an end."
	}
	return fmt.Sprintf("%s. Then %d more, the last about %s UTC.", says, left, at.UTC().Format("Mon 2 Jan 15:04"))
}

// helpWords says what helps a delivery on.
func helpWords(row *hook.DeliveryRow, e *hook.Endpoint) string {
	switch {
	case row.State == hook.Succeeded || row.State == hook.Cancelled && row.Reason == hook.ReasonEndpointDeleted:
		return ""
	case row.State == hook.Held:
		return "It goes out by itself when the endpoint is enabled, unless it is held for too long."
	case e.Status != hook.Enabled:
		return "The endpoint gets no attempts now: enable it first."
	case row.State == hook.Failed:
		return "Nothing more is planned. Once the receiver works, send it again with a retry, or send all that failed with a replay of the endpoint."
	case row.Attempts > 0:
		return "When the endpoint answers again, what waits for it goes out by itself, oldest first."
	}
	return ""
}

// payload fills in the data of the event and the other deliveries of it.
func (p *deliveryPage) payload(v *visit, row *hook.DeliveryRow) error {
	event, all, err := v.service().Event(v.quiet, v.caller, row.Scope.Tenant, row.PublicID)
	if missing(err) {
		p.Data.Why = "The event is not kept any more."
		return nil
	}
	if err != nil {
		return err
	}
	show, why := v.view(hook.ActDeliveryRead, "delivery", row.ID, row.Scope)
	p.Data, p.Answers = why, why
	p.Gone = !event.PayloadRemovedAt.IsZero()
	if show && !p.Gone {
		p.Data = payloadOf(event.Data, v.query.Get("view") == "raw")
		if !p.Data.Cut && !p.Data.Hex && len(event.Redacted) == 0 {
			p.Curl = "curl -X POST -H 'Content-Type: application/json' --data-binary " + quoted(string(event.Data)) + " " + quoted(p.URL)
		}
	}
	if p.Data.note(event); p.Gone {
		p.Data = v.removed(event)
	}
	all = slices.DeleteFunc(all, func(d hook.DeliveryRow) bool { return d.ID == row.ID })
	p.Elsewhere = v.lines(all[:min(len(all), 10)])
	return nil
}

// quoted quotes a text for a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func tries(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return strconv.Itoa(n) + " attempts"
}

// deliverySentence returns the opening sentence of the page.
func deliverySentence(d *hook.DeliveryRow) string {
	tries, tenant := tries(d.Attempts), d.Scope.Tenant
	switch {
	case d.State == hook.Succeeded:
		return d.EventType + " was delivered to " + tenant + " with " + tries
	case d.State == hook.Failed && d.Attempts == 0:
		return d.EventType + " did not reach " + tenant
	case d.State == hook.Failed:
		return d.EventType + " did not reach " + tenant + ": " + tries + " failed"
	case d.State == hook.Held:
		return d.EventType + " is held for " + tenant
	case d.State == hook.Cancelled:
		return d.EventType + " to " + tenant + " was cancelled"
	case d.Attempts > 0:
		return d.EventType + " has not reached " + tenant + " yet: " + tries + " failed"
	}
	return d.EventType + " is on its way to " + tenant
}

// timeline returns the lines of the attempts, newest first. If the query names an attempt,
// the page shows the complete response to it, and only the attempts up to it.
func (v *visit) timeline(p *deliveryPage, id hook.ID, attempts []hook.Attempt) (lines []attemptLine, older string) {
	newest := len(attempts) - 1
	asked, err := strconv.Atoi(v.query.Get("attempt"))
	for i := range attempts {
		if err == nil && attempts[i].Number == asked {
			newest = i
		}
	}
	path := "deliveries/" + id.String()
	for i := newest; i >= 0; i-- {
		a := &attempts[i]
		if len(lines) == maxAttemptsShown {
			return lines, v.at(path, "attempt", strconv.Itoa(a.Number))
		}
		limit := 2 << 10
		if a.Number == asked {
			limit = page.MaxShown
		}
		line := attemptLine{Number: a.Number, Good: a.Class == hook.ClassNone || a.Class == hook.ClassTruncated, Open: i == newest, Answer: attemptWords(a), Code: string(a.Class),
			Message: a.Message, Trigger: triggerWords[a.Trigger], At: when(a.At, v.now), Took: short3(a.Duration), Truncate: a.Truncated, Phases: phasesOf(a), Removed: when(a.AnswerRemovedAt, v.now)}
		if a.Address.IsValid() {
			line.To = "to " + a.Address.String()
		}
		if a.Timing.Reused {
			line.To = strings.TrimSpace(line.To + ", on a kept connection")
		}
		if a.Class == hook.ClassStatus {
			line.Message = "" // the answer says the same
		}
		line.Status = page.StatusLine(a.Status)
		if p.Answers.Why == "" {
			line.Headers, line.Body = foreign(bytes.TrimRight(a.ResponseHeaders, "\r\n"), limit), foreign(a.ResponseBody, limit)
			line.Note = retryAfterWords(a.ResponseHeaders)
		}
		if line.Body.Cut || line.Headers.Cut {
			line.Whole = v.at(path, "attempt", strconv.Itoa(a.Number))
		}
		if i > 0 {
			line.Gap = span(max(0, a.At.Sub(attempts[i-1].At)))
		}
		lines = append(lines, line)
	}
	return lines, ""
}

// attemptWords describes an attempt in the timeline.
func attemptWords(a *hook.Attempt) string {
	words := answerWords(a.Status, a.Class)
	switch {
	case a.Status != 0:
		return "Answered " + words
	case a.Class == hook.ClassTimeout:
		return "No answer within " + short3(a.Duration.Round(100*time.Millisecond))
	}
	return words
}

// retryAfterWords says how long a receiver asked to wait.
func retryAfterWords(headers []byte) string {
	for _, head := range strings.Split(string(headers), "\n") {
		name, value, _ := strings.Cut(head, ":")
		if value = strings.TrimSpace(value); strings.EqualFold(name, "Retry-After") && len(value) <= 40 {
			if seconds, err := strconv.Atoi(value); err == nil {
				return "The receiver asked to wait " + span(time.Duration(min(max(seconds, 0), 1e7))*time.Second) + " (Retry-After)."
			}
			return "The receiver asked to wait until " + page.Visible([]byte(value)) + " (Retry-After)."
		}
	}
	return ""
}

// deliveryReport sends what a support case needs about a delivery as a file: no payload, no
// answers, no secrets.
func deliveryReport(v *visit) (*screen, error) {
	id, err := v.id("delivery")
	if err != nil {
		return nil, err
	}
	row, attempts, err := v.service().Delivery(v.quiet, v.caller, id)
	if err != nil {
		return nil, err
	}
	type try struct {
		Number   int       `json:"number"`
		At       time.Time `json:"at"`
		Took     string    `json:"took"`
		Status   int       `json:"status,omitempty"`
		Error    string    `json:"error,omitempty"`
		Message  string    `json:"message,omitempty"`
		Trigger  string    `json:"trigger"`
		BodySize int       `json:"response_bytes"`
	}
	out := struct {
		Delivery string     `json:"delivery"`
		Event    string     `json:"event"`
		Endpoint string     `json:"endpoint"`
		Tenant   string     `json:"tenant"`
		Mode     string     `json:"mode"`
		Type     string     `json:"event_type"`
		State    string     `json:"state"`
		Reason   string     `json:"reason,omitempty"`
		Accepted time.Time  `json:"accepted_at"`
		Next     *time.Time `json:"next_attempt_at,omitempty"`
		Attempts []try      `json:"attempts"`
		Made     time.Time  `json:"report_made_at"`
		Server   string     `json:"server"`
	}{id.String(), hook.PublicText(row.PublicID, row.GivenID), row.Endpoint.String(), row.Scope.Tenant, v.mode.String(), row.EventType, row.State.String(), string(row.Reason), row.CreatedAt.UTC(), nil, []try{}, v.now.UTC(), v.h.o.Version}
	if !row.Due.IsZero() {
		due := row.Due.UTC()
		out.Next = &due
	}
	for i := range attempts {
		a := &attempts[i]
		out.Attempts = append(out.Attempts, try{a.Number, a.At.UTC(), short3(a.Duration), a.Status, string(a.Class), a.Message, a.Trigger.String(), len(a.ResponseBody)})
	}
	return nil, v.file("delivery-"+id.String()+".json", out)
}

// file sends a value as a file in JSON, which browsers do not render.
func (v *visit) file(name string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	v.attach(name, len(text)+1)
	_, _ = v.w.Write(append(text, '\n')) // the client disconnected
	return nil
}

// attach begins the answer with a file that browsers store and never render. A length below
// 0 is not known.
func (v *visit) attach(name string, length int) {
	head := v.w.Header()
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	head.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if length >= 0 {
		head.Set("Content-Length", strconv.Itoa(length))
	}
	v.w.WriteHeader(http.StatusOK)
}
