package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"net/url"
	"os"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Server is the address of an SMTP server. It holds a password and prints without it.
type Server struct {
	host, port     string
	user, password string
	secure         security
}

type security uint8

const (
	startTLS  security = iota // the server must offer it
	fromStart                 // TLS from the first byte
	plain
)

// ParseServer parses smtp://[USER:PASSWORD@]HOST[:PORT] or smtps://... The scheme smtp
// requires STARTTLS, unless the query is tls=none. Errors do not contain the text.
func ParseServer(text string) (*Server, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is not a URL such as smtp://USER:PASSWORD@mail.example.com:587 (special characters in the password as %XX)")
	}
	s := &Server{host: u.Hostname(), port: u.Port()}
	switch u.Scheme {
	case "smtp":
		s.portOr("587")
	case "smtps":
		s.secure = fromStart
		s.portOr("465")
	default:
		return nil, errors.New("must begin with smtp:// (STARTTLS) or smtps:// (TLS from the start)")
	}
	_, notAddress := netip.ParseAddr(s.host)
	if _, _, ok := hook.CheckMailAddress("x@" + s.host); !ok && notAddress != nil {
		return nil, errors.New("must name the host of the mail server")
	}
	if u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return nil, errors.New("has a path or a fragment after the host (special characters in the password are written as %XX)")
	}
	switch query := u.RawQuery; {
	case query == "":
	case query == "tls=none" && s.secure == startTLS:
		s.secure = plain
	default:
		return nil, errors.New("has an unknown query; smtp:// may have \"?tls=none\", for a server on a trusted network")
	}
	if u.User != nil {
		password, given := u.User.Password()
		if s.user, s.password = u.User.Username(), password; s.user == "" || !given || password == "" {
			return nil, errors.New("has a user without a password, or a password without a user")
		}
	}
	if s.secure == plain && s.user != "" && !s.local() {
		return nil, errors.New("would send the password unencrypted; leave out \"?tls=none\"")
	}
	return s, nil
}

func (s *Server) portOr(usual string) {
	if s.port == "" {
		s.port = usual
	}
}

// local reports whether the server is on this machine.
func (s *Server) local() bool {
	at, err := netip.ParseAddr(s.host)
	return s.host == "localhost" || err == nil && at.IsLoopback()
}

// String returns the address without the credentials.
func (s *Server) String() string {
	scheme := "smtp"
	if s.secure == fromStart {
		scheme = "smtps"
	}
	return scheme + "://" + net.JoinHostPort(s.host, s.port)
}

// GoString keeps the password out of %#v.
func (s *Server) GoString() string { return s.String() }

// LogValue keeps the password out of logs.
func (s *Server) LogValue() slog.Value { return slog.StringValue(s.String()) }

// maxReplies bounds the bytes that are read from the server for one mail.
const maxReplies = 64 << 10

// bounded is a connection from which only some bytes can be read.
type bounded struct {
	net.Conn
	left int
}

var errTalks = errors.New("the mail server sent more than it should")

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTalks
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// send hands a mail to the server. ctx bounds all of it. On success, the outcome has the
// code with which the server took it.
func (s *Server) send(ctx context.Context, from, to string, text []byte, roots *x509.CertPool) hook.Outcome {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(s.host, s.port))
	if err != nil {
		return s.failed(ctx, "connect", hook.ClassConnectTimeout, err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	settings := &tls.Config{ServerName: s.host, RootCAs: roots, MinVersion: tls.VersionTLS12}
	var stream net.Conn = &bounded{Conn: conn, left: maxReplies}
	if s.secure == fromStart {
		secured := tls.Client(stream, settings)
		if err := secured.HandshakeContext(ctx); err != nil {
			return s.failed(ctx, "encrypt", hook.ClassTLSTimeout, err)
		}
		stream = secured
	}
	c, err := smtp.NewClient(stream, s.host)
	if err == nil {
		err = c.Hello(helloName())
	}
	if err != nil {
		return s.failed(ctx, "greet", hook.ClassTimeout, err)
	}
	if s.secure == startTLS {
		if offered, _ := c.Extension("STARTTLS"); !offered {
			return hook.Outcome{Class: hook.ClassTLSHandshake, Message: fmt.Sprintf("The mail server %s does not offer STARTTLS, so nothing was sent. The operator can use smtps://, or \"?tls=none\" on a trusted network.", s)}
		}
		if err := c.StartTLS(settings); err != nil {
			return s.failed(ctx, "encrypt", hook.ClassTLSTimeout, err)
		}
	}
	if s.user != "" {
		if err := c.Auth(smtp.PlainAuth("", s.user, s.password, s.host)); err != nil {
			return s.failed(ctx, "log in", hook.ClassTimeout, err)
		}
	}
	if err := hand(c, from, to, text); err != nil {
		return s.failed(ctx, "hand over the mail", hook.ClassTimeout, err)
	}
	_ = c.Quit() // the server has the mail
	return hook.Outcome{Success: true, Status: 250}
}

func hand(c *smtp.Client, from, to string, text []byte) error {
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	return w.Close()
}

// helloName is how this machine introduces itself.
func helloName() string {
	name, err := os.Hostname()
	if _, domain, ok := hook.CheckMailAddress("x@" + name); err == nil && ok {
		return domain
	}
	return "localhost"
}

// failed classifies the error of a step. The server's own words are not repeated, because
// a reply may contain what it was sent.
func (s *Server) failed(ctx context.Context, step string, late hook.Class, err error) hook.Outcome {
	o := hook.Outcome{Class: hook.ClassConnectFailed, Message: fmt.Sprintf("The connection to the mail server %s failed (step: %s).", s, step)}
	reply, replied := errors.AsType[*textproto.Error](err)
	network, _ := errors.AsType[net.Error](err)
	name, _ := errors.AsType[*net.DNSError](err)
	_, distrust := errors.AsType[*tls.CertificateVerificationError](err)
	_, garbage := errors.AsType[textproto.ProtocolError](err)
	switch {
	case replied:
		o.Class, o.Status = hook.ClassStatus, reply.Code
		o.Message = fmt.Sprintf("The mail server %s answered %d (step: %s).", s, reply.Code, step)
	case ctx.Err() != nil || network != nil && network.Timeout():
		o.Class, o.Message = late, fmt.Sprintf("The mail server %s did not answer in time (step: %s).", s, step)
	case distrust:
		o.Class, o.Message = hook.ClassTLSUntrusted, fmt.Sprintf("The certificate of the mail server %s is not trusted. --ca-file can add its authority.", s)
	case garbage || errors.Is(err, errTalks):
		o.Class, o.Message = hook.ClassResponseInvalid, fmt.Sprintf("What answers at %s does not speak SMTP, or it expects TLS from the start (step: %s).", s, step)
	case name != nil && name.IsNotFound:
		o.Class, o.Message = hook.ClassDNSNotFound, fmt.Sprintf("The host of the mail server %s was not found.", s)
	}
	return o
}
