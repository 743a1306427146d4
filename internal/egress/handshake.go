package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// classifyTLS returns the failure of a handshake that this side ended.
func classifyTLS(ctx context.Context, err error) *Failure {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return failure(hook.ClassTLSName, err)
	}
	if bad, ok := errors.AsType[x509.CertificateInvalidError](err); ok && bad.Reason == x509.Expired {
		return expired(bad.Cert, err)
	}
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return untrusted(bad)
	}
	if isTimeout(ctx, err) {
		return failure(hook.ClassTLSTimeout, err)
	}
	return handshakeFailure(err)
}

// expired distinguishes a certificate that is no longer valid from one that is not yet
// valid.
func expired(cert *x509.Certificate, err error) *Failure {
	f := failure(hook.ClassTLSExpired, err)
	const day = "2006-01-02 15:04 MST"
	switch {
	case cert == nil:
	case time.Now().Before(cert.NotBefore):
		f.Message = "The endpoint's TLS certificate is not valid before " + cert.NotBefore.UTC().Format(day) + "."
	default:
		f.Message = "The endpoint's TLS certificate, or one it depends on, expired at " + cert.NotAfter.UTC().Format(day) + "."
	}
	return f
}

// untrusted returns why a certificate does not chain to a known authority.
func untrusted(bad *tls.CertificateVerificationError) *Failure {
	f := failure(hook.ClassTLSUntrusted, bad)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](bad)
	chain := bad.UnverifiedCertificates
	switch {
	case !unknown || len(chain) == 0:
	case bytes.Equal(chain[0].RawIssuer, chain[0].RawSubject):
		f.Message = "The endpoint's TLS certificate is self-signed. The operator trusts one with --ca-file."
	case len(chain) == 1:
		f.Message = "The endpoint's TLS certificate is from an unknown authority, or the endpoint does not send the intermediate certificate. The operator adds authorities with --ca-file."
	default:
		f.Message = "The endpoint's TLS certificate is from an unknown authority. The operator adds authorities with --ca-file."
	}
	return f
}

// remoteAlert is the Op of a [net.OpError] for a TLS alert from the receiver.
const remoteAlert = "remote error"

// alerts maps the alerts with which receivers refuse (RFC 8446 section 6) to messages.
// The keys are the texts of the standard library, which has no type for them.
var alerts = map[string]string{
	"certificate required":           wantsCertificate,
	"bad certificate":                wantsCertificate,
	"handshake failure":              "The endpoint refused the TLS handshake: it has no cipher suite in common, or asks for a client certificate.",
	"unrecognized name":              "The endpoint does not know the host name of its URL.",
	"protocol version not supported": oldVersion,
}

const (
	oldVersion       = "The endpoint does not speak TLS 1.2 or later."
	wantsCertificate = "The endpoint asks for a client certificate, which deliveries do not have."
	otherCertificate = "The endpoint does not accept the client certificate of this server, or was not sent it because it asks for one of another authority."
)

// handshakeFailure returns how a handshake failed, as far as is known. With TLS 1.3 a
// receiver refuses the client only after the client has completed its handshake.
func handshakeFailure(err error) *Failure {
	f := failure(hook.ClassTLSHandshake, err)
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == remoteAlert && op.Err != nil {
		name := strings.TrimPrefix(op.Err.Error(), "tls: ") // of a fixed list, or a number
		f.Message = alerts[name]
		if f.Message == "" {
			f.Message = "The endpoint refused the TLS handshake with the alert \"" + name + "\"."
		}
		return f
	}
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case plain:
		f.Message = "The endpoint does not speak TLS on this port."
	case strings.Contains(err.Error(), "protocol version"):
		f.Message = oldVersion
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		f.Message = "The endpoint closed the connection during the TLS handshake."
	}
	return f
}
