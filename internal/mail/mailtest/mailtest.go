// Package mailtest is an SMTP server for tests, in the process of the test.
package mailtest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Mail is a mail that the server took.
type Mail struct {
	From, To string
	Login    string // what AUTH PLAIN sent, decoded; empty: no login
	Secure   bool
	Text     string
}

// Server is an SMTP server. Its fields are set before the first connection.
type Server struct {
	Secure bool              // TLS from the start
	NoTLS  bool              // it does not offer STARTTLS
	Reply  map[string]string // replies by command (EHLO, AUTH, MAIL, RCPT, DATA, or "." for the end of a mail) in place of its own
	Hang   string            // the command that it never answers; CONNECT: it does not greet
	Greet  string            // what it sends in place of a greeting, after which it only reads

	Addr  string
	Roots *x509.CertPool // trusts it

	settings *tls.Config
	mails    chan Mail
	hung     chan struct{}
	listener net.Listener
	mu       sync.Mutex
	open     []net.Conn
}

// New returns a server that Start starts.
func New() *Server {
	return &Server{Reply: map[string]string{}, mails: make(chan Mail, 100), hung: make(chan struct{}, 100)}
}

// Start starts the server on a port of this machine. It ends with the test.
func (s *Server) Start(t testing.TB) *Server {
	t.Helper()
	certified := httptest.NewTLSServer(nil) // for its certificate
	s.settings = &tls.Config{Certificates: certified.TLS.Certificates}
	s.Roots = x509.NewCertPool()
	s.Roots.AddCert(certified.Certificate())
	certified.Close()
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.Addr = s.listener.Addr().String()
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open = append(s.open, conn)
			s.mu.Unlock()
			running.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		s.Close()
		running.Wait()
	})
	return s
}

// Close ends the server and its connections.
func (s *Server) Close() {
	_ = s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.open {
		_ = conn.Close()
	}
}

// Mails returns the channel of the mails that it took.
func (s *Server) Mails() <-chan Mail { return s.mails }

// Hung returns a channel that receives when the server has read what it never answers: the
// command Hang, or with CONNECT the first byte.
func (s *Server) Hung() <-chan struct{} { return s.hung }

// session is one connection.
type session struct {
	*Server
	conn net.Conn
	r    *bufio.Reader
	mail Mail
}

func (s *Server) serve(conn net.Conn) {
	c := &session{Server: s, conn: conn}
	defer func() { _ = c.conn.Close() }()
	if s.Secure {
		c.secure()
	}
	c.r = bufio.NewReader(c.conn)
	switch {
	case s.Greet != "":
		for {
			if _, err := c.conn.Write([]byte(s.Greet)); err != nil {
				return
			}
		}
	case s.Hang == "CONNECT":
		if _, err := c.r.ReadByte(); err == nil {
			s.hung <- struct{}{}
		}
		_, _ = io.Copy(io.Discard, c.r)
		return
	}
	c.say("220 mail.test ready")
	for c.command() {
	}
}

func (c *session) secure() {
	c.conn = tls.Server(c.conn, c.settings)
	c.mail.Secure = true
}

func (c *session) say(line string) { _, _ = c.conn.Write([]byte(line + "\r\n")) }

// command answers one command and reports whether the session goes on.
func (c *session) command() bool {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return false
	}
	line = strings.TrimRight(line, "\r\n")
	verb, rest, _ := strings.Cut(line, " ")
	if c.answered(verb) {
		return true
	}
	switch verb {
	case "EHLO":
		c.say("250-mail.test")
		if !c.NoTLS && !c.mail.Secure {
			c.say("250-STARTTLS")
		}
		c.say("250 AUTH PLAIN")
	case "STARTTLS":
		c.say("220 go ahead")
		c.secure()
		c.r = bufio.NewReader(c.conn)
	case "AUTH":
		_, given, _ := strings.Cut(rest, " ")
		login, _ := base64.StdEncoding.DecodeString(given)
		c.mail.Login = string(login)
		c.say("235 welcome")
	case "MAIL":
		c.mail.From = rest
		c.say("250 ok")
	case "RCPT":
		c.mail.To = rest
		c.say("250 ok")
	case "DATA":
		c.say("354 go on")
		return c.data()
	case "QUIT":
		c.say("221 bye")
		return false
	default:
		c.say("502 what?")
	}
	return true
}

// answered gives the reply that the test set for a command, or none for ever.
func (c *session) answered(verb string) bool {
	if c.Hang == verb {
		c.hung <- struct{}{}
		for {
			if _, err := c.r.ReadByte(); err != nil {
				return true
			}
		}
	}
	reply := c.Reply[verb]
	if reply != "" {
		c.say(reply)
	}
	return reply != ""
}

func (c *session) data() bool {
	var text strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
	if c.answered(".") {
		return true
	}
	c.mail.Text = text.String()
	c.mails <- c.mail
	c.say("250 taken")
	return true
}
