package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

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

// greet prints what this listener is. The secret is what the local handler verifies
// with.
func (l *listener) greet(h *client.ListenHello) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id = h.Endpoint
	if l.asJSON {
		l.line("listening", h)
		return
	}
	where := l.forward
	if l.printOnly {
		where = "this screen"
	}
	fmt.Fprintln(l.out, PlainText(fmt.Sprintf("Listening as %s for tenant %s (%s), profile %s, types %s, to %s.", strings.TrimPrefix(h.URL, hook.ListenScheme),
		h.Tenant, h.Mode, h.Profile, strings.Join(h.EventTypes, ","), where)))
	fmt.Fprintf(l.out, "Signing secret: %s\n", PlainText(h.Secret))
	if h.Held > 0 {
		fmt.Fprintf(l.out, "%d held while no listener was connected, oldest first:\n", h.Held)
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
	fmt.Fprintf(l.out, "-- %s\n", PlainText(text))
}

// shownDelivery is a delivery in --json.
type shownDelivery struct {
	ID        string  `json:"id"`
	EventType string  `json:"event_type"`
	Attempt   int     `json:"attempt"`
	Times     int     `json:"times"` // how often this process received it
	Status    int     `json:"status,omitempty"`
	Error     string  `json:"error,omitempty"`
	TookMS    float64 `json:"took_ms"`
	Unheard   string  `json:"unheard,omitempty"` // why the server did not get the response; it sends the delivery again

	Request *shownRequest `json:"request,omitempty"` // with --print-only
}

// shownRequest is a whole request, in a form that verify reads.
type shownRequest struct {
	Headers []client.ListenHeader `json:"headers"`
	Body    string                `json:"body"`
	Base64  bool                  `json:"isBase64Encoded,omitempty"` // the body is not UTF-8
}

func wholeRequest(d *client.ListenDelivery) *shownRequest {
	r := &shownRequest{Headers: d.Headers, Body: string(d.Body)}
	if !utf8.Valid(d.Body) {
		r.Body, r.Base64 = base64.StdEncoding.EncodeToString(d.Body), true
	}
	return r
}

// keep writes a delivery to the directory of --save, as the HTTP/1.1 request
// (RFC 9112) that a receiver gets. One that comes again is a file of its own.
func (l *listener) keep(d *client.ListenDelivery) error {
	if l.save == "" {
		return nil
	}
	id, err := hook.ParseID(d.ID) // it becomes the name of a file
	if err != nil {
		return fmt.Errorf("delivery %q: %w", d.ID, err)
	}
	l.mu.Lock()
	times := l.shown[d.ID] + 1
	l.mu.Unlock()
	name := id.String()
	if times > 1 {
		name += "-" + strconv.Itoa(times)
	}
	path := filepath.Join(l.save, name+".http")
	if err := os.WriteFile(path, rawRequest(l.forward, d), 0o600); err != nil {
		return err
	}
	l.note("saved %s", path)
	return nil
}

func rawRequest(forward string, d *client.ListenDelivery) []byte {
	target, host := "/", "localhost"
	if u, err := url.Parse(forward); err == nil && u.Host != "" {
		target, host = u.RequestURI(), u.Host
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\n", target, host)
	for _, h := range d.Headers {
		if !strings.EqualFold(h.Name, "Host") && !strings.EqualFold(h.Name, "Content-Length") {
			fmt.Fprintf(&b, "%s: %s\r\n", h.Name, h.Value)
		}
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(d.Body))
	b.Write(d.Body)
	return b.Bytes()
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
	if l.asJSON && l.printOnly {
		out.Request = wholeRequest(d)
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
		marks = append(marks, "repeated")
	}
	if s.Unheard != "" {
		marks = append(marks, "the server did not get the response and will send it again: "+s.Unheard)
	}
	tail := ""
	if len(marks) > 0 {
		tail = "  (" + strings.Join(marks, "; ") + ")"
	}
	fmt.Fprintln(l.out, PlainText(fmt.Sprintf("%s  %-28s %s  %s  %.0f ms%s", onScreen(time.Now()), s.EventType, s.ID, result, s.TookMS, tail)))
	if l.printOnly {
		for _, h := range d.Headers {
			fmt.Fprintln(l.out, "    "+PlainText(h.Name+": "+h.Value))
		}
		fmt.Fprintf(l.out, "\n    %s\n\n", shownText(d.Body))
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
