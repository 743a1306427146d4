// Package mail sends operational events by e-mail, through one SMTP server that the
// operator names.
//
// It guarantees that an attempt ends with its context, whatever the server does, that it
// reads a bounded number of bytes, that nothing in an event can add a header field or a
// recipient, and that the password is sent only over TLS or to this machine. It keeps no
// queue: an event that could not be sent is tried again like any other delivery.
package mail

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"mime"
	"mime/quotedprintable"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Options configure a Sender. Server and From are required.
type Options struct {
	Server *Server
	From   string           // a plain address
	Roots  *x509.CertPool   // authorities for the server's certificate; nil: the system's
	Now    func() time.Time // time.Now
	Log    *slog.Logger     // slog.Default
}

// Sender sends mails. It is safe for concurrent use.
type Sender struct {
	o Options

	mu     sync.Mutex
	logged time.Time // when a failure was last logged
}

// New returns a sender.
func New(o Options) *Sender {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Sender{o: o}
}

// Mail sends an event to the address of its endpoint. ctx bounds the attempt. The outcome
// has Success, Status (a reply code of SMTP), Class and Message.
func (s *Sender) Mail(ctx context.Context, target *hook.Endpoint, event *hook.Event, delivery hook.ID) hook.Outcome {
	to := hook.MailAddress(target.URL)
	if _, _, ok := hook.CheckMailAddress(to); !ok {
		return hook.Outcome{Class: hook.ClassURLRefused, Message: "The endpoint's URL is not one plain e-mail address, so nothing was sent."}
	}
	o := s.o.Server.send(ctx, s.o.From, to, compose(s.o.From, to, event, delivery, s.o.Now()), s.o.Roots)
	if !o.Success {
		s.complain(target, o.Message)
	}
	return o
}

// complain logs a failure, at most once a minute: nobody else may learn that no mail
// arrives.
func (s *Sender) complain(target *hook.Endpoint, message string) {
	s.mu.Lock()
	now := s.o.Now()
	due := now.Sub(s.logged) >= time.Minute || now.Before(s.logged)
	if due {
		s.logged = now
	}
	s.mu.Unlock()
	if due {
		s.o.Log.Warn("an operational event could not be mailed; it is tried again by plan", "endpoint", target.ID, "message", message)
	}
}

// maxData bounds the data of an event in a mail, in bytes. Alerts are much smaller.
const maxData = 16 << 10

// compose writes a mail. Its header consists of fixed text, checked addresses, ids, times
// and an encoded subject, so nothing in the event can add to it.
func compose(from, to string, event *hook.Event, delivery hook.ID, now time.Time) []byte {
	var data struct {
		Message string `json:"message"`
		Tenant  string `json:"tenant"`
	}
	_ = json.Unmarshal(event.Data, &data) // a test event may have any data
	_, domain, _ := strings.Cut(from, "@")
	var b bytes.Buffer
	for _, field := range [][2]string{
		{"From", "Posthorn <" + from + ">"},
		{"To", "<" + to + ">"},
		{"Subject", mime.QEncoding.Encode("utf-8", subject(event, data.Tenant))},
		{"Date", now.UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000")},
		{"Message-ID", "<" + delivery.String() + "@" + domain + ">"}, // the same at every attempt
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", field[0], field[1])
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	if data.Message != "" {
		fmt.Fprintf(w, "%s\r\n\r\n", oneLine(data.Message))
	}
	fmt.Fprintf(w, "Type:  %s\r\nMode:  %s\r\nEvent: %s\r\nTime:  %s\r\n\r\n", event.Type, event.Scope.Mode, event.PublicID, hook.AlertTime(event.AcceptedAt))
	var pretty bytes.Buffer
	if len(event.Data) <= maxData && json.Indent(&pretty, event.Data, "", "  ") == nil {
		_, _ = w.Write(bytes.ReplaceAll(pretty.Bytes(), []byte("\n"), []byte("\r\n")))
	}
	_ = w.Close() // writes to memory
	b.WriteString("\r\n")
	return b.Bytes()
}

// subject returns the subject of a mail: the mode, what happened, and the tenant.
func subject(event *hook.Event, tenant string) string {
	what := strings.ReplaceAll(strings.TrimPrefix(event.Type, "posthorn."), ".", " ")
	text := fmt.Sprintf("[Posthorn %s] %s", event.Scope.Mode, what)
	if tenant != "" {
		text += ": " + tenant
	}
	return oneLine(text)
}

// oneLine replaces control characters and bounds a text, in characters.
func oneLine(text string) string {
	const most = 2000
	n := 0
	return strings.Map(func(r rune) rune {
		if n++; n > most {
			return -1
		}
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}
