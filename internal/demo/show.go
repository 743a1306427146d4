package demo

import (
	"fmt"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

const (
	clockLayout = "15:04:05.000"
	shownBody   = 600 // bytes of a body on the screen
)

func (s *stage) introduce(dir string) {
	fmt.Fprintf(s.out, "Posthorn demo, profile %s\n\n", s.profile.Name())
	fmt.Fprintf(s.out, "   server     %s  (every event on disk before it answers)\n", s.api.URL)
	fmt.Fprintf(s.out, "   store      %s  (SQLite, removed at the end)\n", dir)
	fmt.Fprintf(s.out, "   receiver   %s  (verifies each request with the endpoint's secret)\n", s.receiver.url)
}

func (s *stage) showPublished(p client.Published) {
	fmt.Fprintf(s.out, "   published  %s  %s  event %s  202: stored with %d delivery\n",
		p.CreatedAt.Local().Format(clockLayout), p.Type, p.ID, p.DeliveryCount)
}

// showReceived prints the first request whole, and of later ones what differs.
func (s *stage) showReceived(all []reception) {
	for i, r := range all {
		verdict := "signature valid"
		if r.refused != nil {
			verdict = "signature refused: " + r.refused.Error()
		}
		fmt.Fprintf(s.out, "   received   %s  %s, answered %d\n", r.at.Format(clockLayout), verdict, r.answered)
		for _, line := range s.headers(r.header) {
			name, _, _ := strings.Cut(line, ":")
			if i == 0 || !same(r.header, all[0].header, name) {
				fmt.Fprintf(s.out, "              %s\n", line)
			}
		}
		if i == 0 {
			body := string(r.body)
			if len(body) > shownBody {
				body = body[:shownBody] + "..."
			}
			fmt.Fprintf(s.out, "              %s\n", body)
		} else if string(r.body) == string(all[0].body) {
			fmt.Fprintf(s.out, "              (the same %d bytes of body)\n", len(r.body))
		}
	}
}

func same(a, b http.Header, name string) bool { return a.Get(name) == b.Get(name) }

// spellings maps the names that net/http hands out to those on the wire.
func spellings(p *profile.Profile) (map[string]string, error) {
	text, encoding, err := p.NewSecret()
	if err != nil {
		return nil, err
	}
	signer, err := p.Signer([]hook.Secret{{Text: text, Encoding: encoding}})
	if err != nil {
		return nil, err
	}
	made, err := p.Headers(nil, profile.Input{Event: &hook.Event{}, Now: time.Now()}, nil, signer)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, h := range made {
		names[http.CanonicalHeaderKey(h.Name)] = h.Name
	}
	return names, nil
}

// headers lists the headers that the profile makes, in the spelling it gives them.
func (s *stage) headers(h http.Header) []string {
	var lines []string
	for name := range h {
		switch name {
		case "Content-Length", "Accept-Encoding", "Connection":
			continue
		}
		shown := name
		if exact, ok := s.spelling[name]; ok {
			shown = exact
		}
		lines = append(lines, shown+": "+h.Get(name))
	}
	sort.Slice(lines, func(i, j int) bool { return strings.ToLower(lines[i]) < strings.ToLower(lines[j]) })
	return lines
}

func (s *stage) showAttempts(d client.Delivery) {
	var last time.Time
	for _, a := range d.AttemptLog {
		text := ""
		if a.Status != nil {
			text = fmt.Sprint(*a.Status)
		}
		if a.Error != nil {
			text += "  " + *a.Error
		}
		if a.Message != nil && *a.Message != "" {
			text += ": " + *a.Message
		}
		wait := ""
		if !last.IsZero() {
			wait = fmt.Sprintf("  after %.1f s", a.At.Sub(last).Seconds())
		}
		fmt.Fprintf(s.out, "   attempt %d  %s  %s%s\n", a.Number, a.At.Local().Format(clockLayout), text, wait)
		last = a.At.Time
	}
	fmt.Fprintf(s.out, "   delivery   %s after %d %s\n", d.State, d.Attempts, plural(d.Attempts, "attempt"))
	if d.Attempts > 1 {
		fmt.Fprintf(s.out, "              (this endpoint retries after %s; the profile's own schedule is longer)\n", strings.Join(demoSteps, ", "))
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// invite prints what to try while the demo runs.
func (s *stage) invite(link string) {
	fmt.Fprintf(s.out, `
The server runs until you press Ctrl-C. Look at it in a browser; the link works once:

   %s

Or try it:

   export POSTHORN_URL=%s POSTHORN_KEY=%s
   curl -H "Authorization: Bearer $POSTHORN_KEY" "$POSTHORN_URL/v1/deliveries?limit=5"
   go run ./cmd/posthorn send --tenant %s --type %s --data '{"hello":"world"}'
`, link, s.api.URL, s.api.Key, demoTenant, s.profile.Catalogue()[0].Name)
}
