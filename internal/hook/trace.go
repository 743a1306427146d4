package hook

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Traces. Each event is a trace of its own, whose id is the id of the event. The ids of its
// spans are derived from what they are about. So every attempt, on any node and after any
// restart, belongs to the trace of its event, and nothing is stored for it.

// SpanID identifies a span (W3C Trace Context).
type SpanID [8]byte

// EventSpan returns the id of the first span of an event: that it was accepted.
func EventSpan(event ID) SpanID { return spanOf("event", event, 0) }

// AttemptSpan returns the id of the span of an attempt. The number is from 1.
func AttemptSpan(delivery ID, number int) SpanID { return spanOf("attempt", delivery, number) }

func spanOf(what string, id ID, number int) (out SpanID) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(append([]byte("posthorn "+what+" "), id[:]...), uint64(number)))
	copy(out[:], sum[:])
	out[0] |= 1 // an id of zeros is invalid
	return out
}

// AppendTraceParent appends the value of the header traceparent (W3C Trace Context, version
// 00) for an attempt. sampled says whether the spans of the event are recorded.
func AppendTraceParent(dst []byte, event, delivery ID, number int, sampled bool) []byte {
	span := AttemptSpan(delivery, number)
	dst = append(dst, "00-"...)
	dst = append(hex.AppendEncode(dst, event[:]), '-')
	dst = append(hex.AppendEncode(dst, span[:]), '-', '0', '0')
	if sampled {
		dst[len(dst)-1] = '1'
	}
	return dst
}
