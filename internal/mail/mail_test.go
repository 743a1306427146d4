package mail_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mail/mailtest"
)

var target = &hook.Endpoint{URL: "mailto:ops@example.com", Operational: true}

func event(data any) *hook.Event {
	text, _ := json.Marshal(data)
	return &hook.Event{PublicID: hook.ID{1}, Scope: hook.Scope{Tenant: hook.OperatorTenant, Mode: hook.Live}, Type: hook.AlertEndpointWarned,
		AcceptedAt: time.Date(2026, 9, 27, 0, 0, 0, 0, time.UTC), Data: text}
}

// sender returns a sender to the server at a URL, in which ADDR stands for its address.
func sender(t *testing.T, s *mailtest.Server, url string) *mail.Sender {
	t.Helper()
	server, err := mail.ParseServer(strings.Replace(url, "ADDR", s.Addr, 1))
	if err != nil {
		t.Fatal(err)
	}
	return mail.New(mail.Options{Server: server, From: "posthorn@example.org", Roots: s.Roots, Log: slog.New(slog.DiscardHandler)})
}

func warning() any {
	for _, a := range hook.AlertTypes() {
		if a.Name == hook.AlertEndpointWarned {
			return a.Example
		}
	}
	return nil
}

func TestMail(t *testing.T) {
	for name, c := range map[string]struct {
		secure, noTLS bool
		url, login    string
	}{
		"starttls":   {false, false, "smtp://ph:p%40ss@ADDR", "\x00ph\x00p@ss"},
		"from start": {true, false, "smtps://ph:p%40ss@ADDR", "\x00ph\x00p@ss"},
		"plain":      {false, true, "smtp://ADDR?tls=none", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := mailtest.New()
			s.Secure, s.NoTLS = c.secure, c.noTLS
			o := sender(t, s.Start(t), c.url).Mail(t.Context(), target, event(warning()), hook.ID{2})
			if !o.Success || o.Status != 250 || o.Message != "" {
				t.Fatalf("%+v", o)
			}
			got := <-s.Mails()
			if got.From != "FROM:<posthorn@example.org>" || got.To != "TO:<ops@example.com>" || got.Login != c.login || got.Secure == c.noTLS {
				t.Errorf("%+v", got)
			}
			m, err := netmail.ReadMessage(strings.NewReader(got.Text))
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(quotedprintable.NewReader(m.Body))
			if subject := m.Header.Get("Subject"); subject != "[Posthorn live] endpoint warned: acme" {
				t.Errorf("subject %q", subject)
			}
			if id := m.Header.Get("Message-Id"); id != "<02000000-0000-0000-0000-000000000000@example.org>" {
				t.Errorf("id %q", id)
			}
			for _, want := range []string{"it is disabled on 7 March 2026", `"disable_at": "2026-03-07T08:25:00.000000Z"`, hook.AlertEndpointWarned} {
				if !strings.Contains(string(body), want) {
					t.Errorf("%q is missing in %s", want, body)
				}
			}
		})
	}
}

// Nothing in an event adds a field to the header or ends it.
func TestHeaderInjection(t *testing.T) {
	s := mailtest.New().Start(t)
	evil := "x\r\nBcc: victim@example.com\r\n\r\nHello\r\n.\r\nMAIL FROM:<x@y>"
	e := event(map[string]string{"message": evil, "tenant": evil + strings.Repeat("ü", 5000), "title": evil})
	e.Type = "posthorn.x\r\nCc: victim@example.com"
	if o := sender(t, s, "smtp://ADDR").Mail(t.Context(), target, e, hook.ID{2}); !o.Success {
		t.Fatalf("%+v", o)
	}
	got := <-s.Mails()
	m, err := netmail.ReadMessage(strings.NewReader(got.Text))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range m.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := "[Auto-Submitted Content-Transfer-Encoding Content-Type Date From Message-Id Mime-Version Subject To]"; fmt.Sprint(names) != want {
		t.Errorf("fields %v", names)
	}
	decoded, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || !strings.Contains(decoded, "victim") || len([]rune(decoded)) > 2100 {
		t.Errorf("control: the subject lacks the text of the tenant, or is %d long: %v", len(decoded), err)
	}
	select {
	case more := <-s.Mails():
		t.Errorf("a second mail: %+v", more)
	default:
	}
	for _, url := range []string{"mailto:a@b.c\r\nRCPT TO:<v@x.y>", "mailto:a@b.c,v@x.y", "mailto:A <a@b.c>", "mailto:", "mailto:a@b.c?bcc=v@x.y", "mailto:\"a b\"@c.d", "mailto:a@[127.0.0.1]"} {
		if o := sender(t, s, "smtp://ADDR").Mail(t.Context(), &hook.Endpoint{URL: url}, e, hook.ID{2}); o.Class != hook.ClassURLRefused {
			t.Errorf("%q: %+v", url, o)
		}
		if _, err := hook.ParseMailURL(url); err == nil {
			t.Errorf("%q was admitted", url)
		}
	}
}

// A server that hangs, refuses or speaks something else ends the attempt with a class.
func TestBadServers(t *testing.T) {
	for name, c := range map[string]struct {
		set    func(*mailtest.Server)
		url    string
		class  hook.Class
		status int
	}{
		"does not greet":      {func(s *mailtest.Server) { s.Hang = "CONNECT" }, "smtp://ADDR", hook.ClassTimeout, 0},
		"hangs in TLS":        {func(s *mailtest.Server) { s.Hang = "CONNECT" }, "smtps://ADDR", hook.ClassTLSTimeout, 0},
		"hangs after EHLO":    {func(s *mailtest.Server) { s.Hang = "EHLO" }, "smtp://ADDR", hook.ClassTimeout, 0},
		"hangs with the mail": {func(s *mailtest.Server) { s.Hang = "." }, "smtp://ADDR", hook.ClassTimeout, 0},
		"floods":              {func(s *mailtest.Server) { s.Greet = strings.Repeat("x", 1000) }, "smtp://ADDR", hook.ClassResponseInvalid, 0},
		"floods lines":        {func(s *mailtest.Server) { s.Greet = "220-x\r\n" }, "smtp://ADDR", hook.ClassResponseInvalid, 0},
		"speaks HTTP":         {func(s *mailtest.Server) { s.Greet = "HTTP/1.1 400 Bad Request\r\n\r\n" }, "smtp://ADDR", hook.ClassResponseInvalid, 0},
		"no STARTTLS":         {func(s *mailtest.Server) { s.NoTLS = true }, "smtp://ph:pw@ADDR", hook.ClassTLSHandshake, 0},
		"not trusted":         {func(s *mailtest.Server) { s.Roots = nil }, "smtp://ph:pw@ADDR", hook.ClassTLSUntrusted, 0},
		"wrong password":      {func(s *mailtest.Server) { s.Reply["AUTH"] = "535 no, pw is wrong" }, "smtp://ph:pw@ADDR", hook.ClassStatus, 535},
		"no such mailbox":     {func(s *mailtest.Server) { s.Reply["RCPT"] = "550 no such user" }, "smtp://ADDR", hook.ClassStatus, 550},
		"try later":           {func(s *mailtest.Server) { s.Reply["."] = "451 later" }, "smtp://ADDR", hook.ClassStatus, 451},
		"nobody there":        {func(s *mailtest.Server) { s.Addr = "127.0.0.1:1" }, "smtp://ADDR", hook.ClassConnectFailed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := mailtest.New()
			if name == "not trusted" || name == "nobody there" {
				s.Start(t)
				c.set(s)
			} else {
				c.set(s)
				s.Start(t)
			}
			limit := time.Minute
			if name == "does not greet" {
				limit = time.Second // it waits for the server and sends nothing that the server could notice
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			go func() {
				select {
				case <-s.Hung():
					cancel()
				case <-ctx.Done():
				}
			}()
			o := sender(t, s, c.url).Mail(ctx, target, event(warning()), hook.ID{2})
			if o.Success || o.Class != c.class || o.Status != c.status || o.Message == "" || strings.Contains(o.Message, "pw") {
				t.Errorf("%+v", o)
			}
			select {
			case got := <-s.Mails():
				t.Errorf("a mail was taken: %+v", got)
			default:
			}
		})
	}
}

// Failures are logged once a minute, without the password. Control: the next minute has its own.
func TestFailuresAreLoggedOnceAMinute(t *testing.T) {
	server, err := mail.ParseServer("smtp://ph:hunter2@127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	now := time.Date(2026, 9, 27, 0, 0, 0, 0, time.UTC)
	s := mail.New(mail.Options{Server: server, From: "posthorn@example.org", Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for i, want := range []int{1, 1, 2, 2} {
		if o := s.Mail(t.Context(), target, event(warning()), hook.ID{2}); o.Success {
			t.Fatalf("%+v", o)
		}
		if n := strings.Count(log.String(), "could not be mailed"); n != want {
			t.Errorf("%d lines after %d failures, want %d", n, i+1, want)
		}
		now = now.Add(30 * time.Second)
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("the password is logged: %s", log.String())
	}
}

// An address is checked at start, and no error or print shows the password.
func TestParseServer(t *testing.T) {
	for text, want := range map[string]string{
		"smtp://u:hunter2@mail.example.com":          "smtp://mail.example.com:587",
		"smtps://u:hunter2@mail.example.com":         "smtps://mail.example.com:465",
		"smtp://mail.example.com:25?tls=none":        "smtp://mail.example.com:25",
		"smtp://u:hunter2@localhost:2525?tls=none":   "smtp://localhost:2525",
		"smtp://[::1]:25/":                           "smtp://[::1]:25",
		"smtp://u:hunter2@mail.example.com?tls=none": "",
		"smtp://u:hunter2@mail.example.com/x":        "",
		"smtp://u:hunter2@mail.example.com?tls=off":  "",
		"smtps://u:hunter2@mail.example.com?x=1":     "",
		"http://u:hunter2@mail.example.com":          "",
		"mail.example.com:25":                        "",
		"smtp://":                                    "",
		"smtp://u@mail.example.com":                  "",
		"smtp://:hunter2@mail.example.com":           "",
		"smtp://u:hunter2@mail example.com":          "",
		"smtp://u:hunter2#x@mail.example.com":        "",
		"smtp://u:hun%ter2@mail.example.com":         "",
		"smtp://u:hunter2@mail.example.com:port":     "",
	} {
		s, err := mail.ParseServer(text)
		if (err == nil) != (want != "") || err == nil && s.String() != want {
			t.Errorf("%s: %v %v", text, s, err)
		}
		if all := fmt.Sprintf("%v %+v %#v %s", s, s, s, err); strings.Contains(all, "hunter2") {
			t.Errorf("%s: the password is printed", text)
		}
	}
}
