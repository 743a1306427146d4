package listen

import (
	"net/http"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/listen"
)

// Limits of what a receiver reports about a response. Sizes are in bytes.
const (
	maxKept       = 16 << 10 // headers and body, each
	maxMessage    = 300
	maxRetryAfter = 365 * 24 * time.Hour
)

// answer accepts the result of a delivery.
func (c *handler) answer(w http.ResponseWriter, r *http.Request) error {
	caller, err := c.caller(r)
	if err != nil {
		return err
	}
	scope, err := caller.Sees()
	if err != nil {
		return err
	}
	if _, err := strict.Query(r.URL.RawQuery); err != nil {
		return err
	}
	body, err := adapter.Body(r, caller, "application/json")
	if err != nil {
		return err
	}
	var a client.ListenAnswer
	if err := strict.Decode(body, &a); err != nil {
		return err
	}
	read, err := readAnswer(&a)
	if err != nil {
		return err
	}
	if err := c.Hub.Answer(scope, a.Token, read); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// readAnswer checks an answer as strictly as a response over the network: the log of
// attempts shows it like any other.
func readAnswer(a *client.ListenAnswer) (listen.Answer, error) {
	out := listen.Answer{Status: a.Status, Headers: []byte(a.Headers), Body: a.Body, Truncated: a.Truncated, TimedOut: a.TimedOut,
		RetryAfter: min(max(0, time.Duration(a.RetryAfterMS)*time.Millisecond), maxRetryAfter)}
	switch {
	case a.Token == "":
		return out, strict.Missing("token")
	case a.Error != "":
		return failed(a)
	case a.Status < 100 || a.Status > 999:
		return out, strict.Wrong("status", "a status of 100 to 999, or absent beside \"error\"")
	case len(a.Headers) > maxKept || !isText(a.Headers):
		return out, strict.Wrong("headers", "lines of text of at most 16 KiB")
	case len(a.Body) > maxKept:
		return out, strict.Wrong("body", "at most 16 KiB")
	case a.RetryAfterMS < 0 || a.RetryAfterMS > maxRetryAfter.Milliseconds():
		return out, strict.Wrong("retry_after_ms", "at most a year")
	}
	return out, nil
}

// failed reads the failure of a receiver that could not be reached.
func failed(a *client.ListenAnswer) (listen.Answer, error) {
	class := hook.Class(a.Error)
	switch class {
	case hook.ClassRefused, hook.ClassReset, hook.ClassConnectTimeout, hook.ClassTLSTimeout, hook.ClassTimeout,
		hook.ClassConnectFailed, hook.ClassDNSNotFound, hook.ClassDNSTimeout, hook.ClassDNSFailed, hook.ClassTLSExpired, hook.ClassTLSUntrusted,
		hook.ClassTLSName, hook.ClassTLSHandshake, hook.ClassHeadersTooLarge, hook.ClassResponseInvalid, hook.ClassNotSent:
	default:
		return listen.Answer{}, strict.Wrong("error", "the class of a failed connection, such as \"connection_refused\"")
	}
	if a.Status != 0 {
		return listen.Answer{}, strict.Wrong("status", "absent beside \"error\"")
	}
	if len(a.Message) > maxMessage || !isText(a.Message) {
		return listen.Answer{}, strict.Wrong("message", "a text of at most 300 bytes")
	}
	return listen.Answer{Class: class, Message: a.Message}, nil
}

// isText reports whether s is valid UTF-8 without control characters other than line
// feed and tab.
func isText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return false
		}
	}
	return true
}
