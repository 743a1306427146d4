package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// maxRemembered bounds the deliveries whose repetition is noticed.
const maxRemembered = 10_000

func headersOf(d *client.ListenDelivery) []hook.Header {
	headers := make([]hook.Header, len(d.Headers))
	for i, h := range d.Headers {
		headers[i] = hook.Header(h)
	}
	return headers
}

// greet says what this listener is. The secret is what the local handler verifies
// with.
func (l *listener) greet(h *client.ListenHello) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asJSON {
		l.line("listening", h)
		return
	}
	where := l.forward
	if l.printOnly {
		where = "this screen"
	}
	fmt.Fprintf(l.out, "Listening as %s for tenant %s (%s), profile %s, types %s, to %s.\n", strings.TrimPrefix(h.URL, hook.ListenScheme),
		h.Tenant, h.Mode, h.Profile, strings.Join(h.EventTypes, ","), where)
	fmt.Fprintf(l.out, "Signing secret: %s\n", h.Secret)
	if h.Held > 0 {
		fmt.Fprintf(l.out, "%d came while nobody listened, oldest first:\n", h.Held)
	}
}

// note prints a line about the connection.
func (l *listener) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if l.asJSON {
		l.line("note", map[string]string{"message": text})
		return
	}
	fmt.Fprintf(l.out, "-- %s\n", text)
}

// shownDelivery is a delivery in --json.
type shownDelivery struct {
	ID        string  `json:"id"`
	EventType string  `json:"event_type"`
	Attempt   int     `json:"attempt"`
	Times     int     `json:"times"` // how often it came to this process
	Status    int     `json:"status,omitempty"`
	Error     string  `json:"error,omitempty"`
	TookMS    float64 `json:"took_ms"`
	Unheard   string  `json:"unheard,omitempty"` // why the server does not know: it comes again
}

// show prints one delivery and what the local handler said.
func (l *listener) show(d *client.ListenDelivery, a *client.ListenAnswer, took time.Duration, unheard error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.shown) >= maxRemembered {
		clear(l.shown)
	}
	l.shown[d.ID]++
	l.came++
	if l.shown[d.ID] > 1 {
		l.again++
	}
	out := shownDelivery{ID: d.ID, EventType: d.EventType, Attempt: d.Attempt, Times: l.shown[d.ID],
		Status: a.Status, Error: a.Error, TookMS: float64(took.Microseconds()) / 1000}
	if unheard != nil {
		out.Unheard = unheard.Error()
		if p, ok := errors.AsType[*client.Problem](unheard); ok {
			out.Unheard = p.Code
		}
	}
	if l.asJSON {
		l.line("delivery", out)
		return
	}
	l.print(d, &out, a.Message)
}

func (l *listener) print(d *client.ListenDelivery, s *shownDelivery, message string) {
	result := fmt.Sprint(s.Status)
	if s.Error != "" {
		result = s.Error + ": " + message
	}
	var marks []string
	if s.Attempt > 1 {
		marks = append(marks, fmt.Sprintf("attempt %d", s.Attempt))
	}
	if s.Times > 1 {
		marks = append(marks, "came before")
	}
	if s.Unheard != "" {
		marks = append(marks, "the server did not hear the answer and sends it again: "+s.Unheard)
	}
	tail := ""
	if len(marks) > 0 {
		tail = "  (" + strings.Join(marks, "; ") + ")"
	}
	fmt.Fprintf(l.out, "%s  %-28s %s  %s  %.0f ms%s\n", time.Now().Format(time.TimeOnly), s.EventType, s.ID, result, s.TookMS, tail)
	if l.printOnly {
		for _, h := range d.Headers {
			fmt.Fprintf(l.out, "    %s: %s\n", h.Name, h.Value)
		}
		fmt.Fprintf(l.out, "\n    %s\n\n", printable(d.Body))
	}
}

// line prints one JSON object, the kind of line first.
func (l *listener) line(kind string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		text = []byte("null") // our own types: cannot fail
	}
	fmt.Fprintf(l.out, "{%q:%s}\n", kind, text)
}

// printable keeps a body from moving the cursor of the terminal.
func printable(body []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return '?'
		}
		return r
	}, string(body))
}
