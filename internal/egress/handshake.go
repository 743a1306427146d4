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

// classifyTLS says what ended a handshake on our side.
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

// expired tells a certificate that is not valid any more from one that is not yet.
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

// untrusted says why a certificate leads to no authority that is known.
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

// remoteAlert is the Op of an error that is a TLS alert of the other side.
const remoteAlert = "remote error"

// alerts are sentences for the alerts (RFC 8446 section 6) with which receivers refuse,
// by the words of the standard library, which has no type for them.
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

// handshakeFailure says in what way a handshake failed, as far as is known. With TLS 1.3
// a receiver refuses the client only after its own side of the handshake.
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
