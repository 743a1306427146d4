package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/posthorn/posthorn/internal/hook"
)

// Failure is why no answer was received. It is the only error Post returns.
type Failure struct {
	Class   hook.Class
	Message string // a sentence for the tenant; names no resolved address
	Err     error  // for the operator's log only; may name addresses; nil if there is no more to say
	// Repeated reports whether the request was sent twice. See [Client.Post].
	Repeated bool
	// Address is the address of the connection, or else the one that was dialled. Zero:
	// none was dialled.
	Address netip.Addr
	// Timing has the phases that were completed.
	Timing hook.Timing
}

// Error returns the class, the message and the cause, for the operator.
func (f *Failure) Error() string {
	if f.Err == nil {
		return string(f.Class) + ": " + f.Message
	}
	return string(f.Class) + ": " + f.Message + ": " + f.Err.Error()
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

var sentences = map[hook.Class]string{
	hook.ClassBlockedAddress:  "The endpoint's URL points to an address that deliveries may not go to.",
	hook.ClassDNSNotFound:     "The endpoint's host name was not found, or leads only to addresses that deliveries may not go to. The operator admits private networks with --allow-network.",
	hook.ClassDNSTimeout:      "The endpoint's host name could not be looked up in time.",
	hook.ClassDNSFailed:       "The endpoint's host name could not be looked up: its name servers answered with a failure.",
	hook.ClassRefused:         "The endpoint refused the connection.",
	hook.ClassReset:           "The endpoint closed the connection before it answered.",
	hook.ClassConnectTimeout:  "The endpoint did not accept the connection in time.",
	hook.ClassTLSTimeout:      "The endpoint did not finish the TLS handshake in time.",
	hook.ClassTimeout:         "The endpoint did not answer in time.",
	hook.ClassConnectFailed:   "The endpoint could not be connected to.",
	hook.ClassTLSExpired:      "The endpoint's TLS certificate has expired or is not valid yet.",
	hook.ClassTLSUntrusted:    "The endpoint's TLS certificate is not trusted.",
	hook.ClassTLSName:         "The endpoint's TLS certificate is for another host name.",
	hook.ClassTLSHandshake:    "The TLS handshake with the endpoint failed.",
	hook.ClassHeadersTooLarge: "The endpoint answered with more header bytes than are accepted.",
	hook.ClassResponseInvalid: "The endpoint's answer is not valid HTTP/1.1.",

	hook.ClassLocalResources:     "This server could not open a connection for want of descriptors, memory, ports or a route of its own. The attempt is put off and does not count.",
	hook.ClassDNSUnavailable:     "The name service of this server does not answer. The attempt is put off and does not count.",
	hook.ClassEgressProxy:        "The egress proxy of this server cannot be used. The attempt is put off and does not count.",
	hook.ClassNetworkUnavailable: "Most hosts cannot be reached from this server. The attempt is put off and does not count.",
}

func failure(class hook.Class, err error) *Failure {
	return &Failure{Class: class, Message: sentences[class], Err: err}
}

func isTimeout(ctx context.Context, err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return true
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func classifyDial(ctx context.Context, err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return failure(hook.ClassRefused, err)
	case errors.Is(err, syscall.ECONNRESET):
		return failure(hook.ClassReset, err)
	case isTimeout(ctx, err):
		return failure(hook.ClassConnectTimeout, err)
	}
	return failure(hook.ClassConnectFailed, err)
}

// timedOut reports whether the attempt failed because its deadline passed.
func (a *attempt) timedOut(err error) bool { return a.over() || isTimeout(context.Background(), err) }

// classify returns the failure of an attempt without a response.
func (a *attempt) classify(err error) *Failure {
	if a.cancelled() {
		return a.interrupted(a.caller.Err())
	}
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	if a.timedOut(err) {
		return failure(a.timeoutClass(), err)
	}
	switch {
	case errors.Is(err, errTooLong):
		return failure(hook.ClassHeadersTooLarge, err)
	case errors.Is(err, errInvalid):
		return failure(hook.ClassResponseInvalid, err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == remoteAlert {
		// With TLS 1.3 a receiver may refuse the client after the client has completed
		// its handshake.
		return handshakeFailure(err)
	}
	return failure(hook.ClassReset, err) // the connection ended, or broke
}

// interrupted returns the failure when the caller cancelled the attempt. It says nothing
// about the endpoint. Err wraps [context.Canceled].
func (a *attempt) interrupted(err error) *Failure {
	class := hook.ClassConnectFailed
	if a.sent {
		class = hook.ClassReset
	}
	return &Failure{Class: class, Message: "The attempt was interrupted by the sender.", Err: err}
}

// timeoutClass returns the class of the phase in which the deadline passed. If the
// request was being sent, it had a connection, whatever happened to the dial that was
// started for it.
func (a *attempt) timeoutClass() hook.Class {
	if a.sent {
		return hook.ClassTimeout
	}
	switch a.phase {
	case phaseDNS:
		return hook.ClassDNSTimeout
	case phaseConnect:
		return hook.ClassConnectTimeout
	case phaseTLS:
		return hook.ClassTLSTimeout
	}
	return hook.ClassTimeout
}
