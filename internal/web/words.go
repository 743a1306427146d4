package web

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// moment is a time as pages show it: relative, with the exact time beside it.
type moment struct {
	Text  string // "4 min ago"; empty if there is no such time
	Exact string // "2026-11-27 14:34:43 UTC"
	Clock string // "14:34:43", with the day if it is another one
	ISO   string
}

// when formats a time relative to now.
func when(at, now time.Time) moment {
	if at.IsZero() {
		return moment{}
	}
	m := moment{Exact: at.UTC().Format("2006-01-02 15:04:05.000 UTC"), ISO: at.UTC().Format(time.RFC3339Nano)}
	m.Clock = at.UTC().Format("15:04:05")
	if y, day := at.UTC().YearDay(), now.UTC().YearDay(); y != day || at.UTC().Year() != now.UTC().Year() {
		m.Clock = at.UTC().Format("2 Jan 15:04")
	}
	if d := at.Sub(now); d > 0 {
		m.Text = "in " + span(d)
	} else {
		m.Text = span(-d) + " ago"
	}
	return m
}

// span formats a duration with one or two units.
func span(d time.Duration) string {
	return page.Span(d, func(n int, unit string) string { return fmt.Sprintf("%d %s", n, unit) })
}

// short3 formats a duration that was measured.
func short3(d time.Duration) string { return page.Took(d) }

// number writes a number with commas between its thousands.
func number(n int64) string { return page.Number(n, ",") }

// plural returns the word for a number of things.
func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// badge shows a state as a colour, an icon and a word.
type badge struct{ Class, Icon, Word string }

// stateBadge shows the state of a delivery. Only pages use "retrying", for a delivery that
// is pending after a failure.
func stateBadge(d *hook.Delivery) badge {
	switch d.State {
	case hook.Pending:
		if d.Attempts > 0 {
			return badge{"retry", "replay", "Retrying"}
		}
		return badge{"wait", "wait", "Pending"}
	case hook.Held:
		return badge{"held", "held", "Held"}
	case hook.Succeeded:
		return badge{"ok", "ok", "Delivered"}
	case hook.Failed:
		return badge{"bad", "x", "Failed"}
	case hook.Cancelled:
		return badge{"off", "off", "Cancelled"}
	}
	return badge{"off", "off", d.State.String()}
}

// endpointBadge shows whether an endpoint works.
func endpointBadge(e *hook.Endpoint, failures int) badge {
	switch {
	case e.Unverified():
		return badge{"held", "held", "Not verified"}
	case e.Status == hook.Tripped && e.DisabledReason == hook.DisabledAway:
		return badge{"off", "off", "Away"}
	case e.Status == hook.Tripped:
		return badge{"held", "held", "Disabled"}
	case e.Status == hook.Disabled:
		return badge{"off", "off", "Disabled by hand"}
	case e.Damage != 0:
		return badge{"bad", "warn", "Damaged"}
	case failures > 0:
		return badge{"bad", "warn", "Failing"}
	}
	return badge{"ok", "ok", "Working"}
}

// classWords describe the error classes of attempts.
var classWords = map[hook.Class]string{
	hook.ClassStatus: "Answered with an error", hook.ClassRedirect: "Answered with a redirect, which is not followed", hook.ClassGone: "Answered 410 Gone",
	hook.ClassBlockedAddress: "Its address is not allowed", hook.ClassURLRefused: "Its URL is not admitted any more",
	hook.ClassDNSNotFound: "Its name was not found", hook.ClassDNSTimeout: "No answer about its name in time", hook.ClassDNSFailed: "Its name could not be looked up",
	hook.ClassRefused: "Connection refused", hook.ClassReset: "Connection broken", hook.ClassConnectTimeout: "No connection in time", hook.ClassConnectFailed: "No connection",
	hook.ClassTLSTimeout: "No TLS handshake in time", hook.ClassTimeout: "No answer in time", hook.ClassTLSExpired: "Its certificate has expired",
	hook.ClassTLSUntrusted: "Its certificate is not trusted", hook.ClassTLSName: "Its certificate is for another name", hook.ClassTLSHandshake: "TLS handshake failed",
	hook.ClassHeadersTooLarge: "The headers of its answer are too large", hook.ClassResponseInvalid: "Its answer is not HTTP", hook.ClassTruncated: "Answered; the body was cut",
	hook.ClassNotSent: "The request could not be made",
}

// answerWords describes the outcome of an attempt.
func answerWords(status int, class hook.Class) string {
	if status != 0 && class == hook.ClassNone && http.StatusText(status) == "" || status >= 200 && status < 300 && class == hook.ClassNone {
		return strconv.Itoa(status)
	}
	if status != 0 {
		text := strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
		if class == hook.ClassTruncated {
			text += ", body cut"
		}
		return text
	}
	if words, ok := classWords[class]; ok {
		return words
	}
	if class == hook.ClassNone {
		return "Not attempted yet"
	}
	return string(class)
}

// reasonWords describe why a delivery took another course than usual.
var reasonWords = map[hook.Reason]string{
	hook.ReasonPolicyEnded:     "All attempts of the retry plan failed.",
	hook.ReasonGone:            "The receiver answered 410 Gone.",
	hook.ReasonHeldExpired:     "It was held for a disabled endpoint for longer than deliveries are held.",
	hook.ReasonDisabled:        "The endpoint was disabled by hand. It is sent when the endpoint is enabled.",
	hook.ReasonTripped:         "The endpoint was disabled because it failed. It is sent when the endpoint is enabled.",
	hook.ReasonAway:            "Nobody is connected with posthorn listen. It is sent when somebody is.",
	hook.ReasonUnverified:      "The receiver has not agreed to get events yet. It is sent when the endpoint is verified.",
	hook.ReasonByHand:          "It was cancelled by hand.",
	hook.ReasonEndpointDeleted: "Its endpoint was deleted.",
	hook.ReasonDiscarded:       "It was discarded when the endpoint was enabled.",
	hook.ReasonTestFailed:      "A test event has one attempt, and it failed.",
}

// triggerWords describe why an attempt was made.
var triggerWords = map[hook.Trigger]string{hook.BySchedule: "by schedule", hook.ByHand: "by hand", hook.ByTest: "test", hook.ByReplay: "by resend"}

// text is foreign text in the form that pages show.
type text struct {
	Body string
	Size string
	Cut  bool // there is more text than is shown
	Hex  bool // it is not text: Body is a dump of its bytes
}

// maxHex limits the dump of what is not text, in bytes.
const maxHex = 1 << 10

// binary reports whether bytes are not text: at the beginning, one in ten is zero or not
// UTF-8.
func binary(raw []byte) bool {
	head := raw[:min(len(raw), maxHex)]
	broken := bytes.Count(head, []byte{0})
	for i := 0; i < len(head); {
		r, n := utf8.DecodeRune(head[i:])
		if r == utf8.RuneError && n == 1 {
			broken++
		}
		i += n
	}
	return broken > 3 && broken*10 > len(head)
}

// foreign prepares foreign bytes for display. It makes control and direction characters
// visible, and shows at most limit bytes.
func foreign(raw []byte, limit int) text {
	t := text{Size: page.Size(len(raw))}
	if binary(raw) {
		t.Hex, t.Cut = true, len(raw) > maxHex
		t.Body = hex.Dump(raw[:min(len(raw), maxHex)])
		return t
	}
	raw, t.Cut = page.Start(raw, limit)
	t.Body = page.Visible(raw)
	return t
}

// count formats a number from a read that stopped counting at limit.
func count(n, limit int) string {
	if n >= limit {
		return number(int64(limit)) + " or more"
	}
	return number(int64(n))
}
