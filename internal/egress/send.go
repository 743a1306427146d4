package egress

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	// maxInline is the greatest request that is written before the response is read. That
	// much fits into the buffers of the two systems while no other request is on its way,
	// so the write does not wait for the receiver. A greater request is written beside
	// the reading, because a receiver may answer before it has read all of it.
	maxInline = 32 << 10
	// lateWrite is how long the end of a write may come after the response.
	lateWrite = 50 * time.Millisecond
	// maxScratch bounds the buffers that are used again.
	maxScratch = 64 << 10
	maxLines   = 256 // headers of a response
)

// scratch is the memory of one request, which the next one uses again.
type scratch struct {
	out  []byte // the head of the request, and a small body
	in   reader
	body []byte // one byte longer than MaxBody
}

func (c *Client) newScratch() any {
	s := &scratch{body: make([]byte, c.opts.MaxBody+1)}
	s.in.buf = make([]byte, 4<<10)
	return s
}

// release makes the memory of a request available for the next one.
func (c *Client) release(s *scratch) {
	s.in.from = nil
	clear(s.in.lines)
	if cap(s.out) <= maxScratch && len(s.in.buf) <= maxScratch && cap(s.in.lines) <= maxLines {
		c.scratch.Put(s)
	}
}

// request writes the head of a request to out. It is the last check before the request is
// sent: it refuses names that frame the message, repeated names and characters that could
// start another line, wherever the headers come from. The names keep their spelling.
func (s *scratch) request(target *address, headers []hook.Header, length int) error {
	out := append(s.out[:0], "POST "...)
	out = append(out, target.path...)
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, target.url.Host...)
	out = append(out, "\r\n"...)
	for _, h := range headers {
		if len(h.Name) == len("User-Agent") && strings.EqualFold(h.Name, "User-Agent") {
			out = appendHeader(out, "User-Agent", h.Value)
		}
	}
	out = append(out, "Content-Length: "...)
	out = strconv.AppendInt(out, int64(length), 10)
	out = append(out, "\r\n"...)
	var lower [maxHeaderName]byte
	for i, h := range headers {
		if !isToken(h.Name) || len(h.Name) > maxHeaderName {
			return fmt.Errorf("header name %s is not valid", showName(h.Name))
		}
		if !isFieldValue(h.Value) {
			return fmt.Errorf("header %s has a value with control characters", h.Name)
		}
		low := lower[:len(h.Name)]
		for j := range low {
			low[j] = h.Name[j]
			if 'A' <= low[j] && low[j] <= 'Z' {
				low[j] |= 0x20
			}
		}
		if isFraming(string(low)) {
			return fmt.Errorf("header %s is not for the caller to set", h.Name)
		}
		if repeated(headers[:i], h.Name) {
			return fmt.Errorf("header %s is set twice", h.Name)
		}
		if string(low) != "user-agent" {
			out = appendHeader(out, h.Name, h.Value)
		}
	}
	s.out = append(out, "\r\n"...)
	return nil
}

func appendHeader(out []byte, name, value string) []byte {
	out = append(out, name...)
	out = append(out, ": "...)
	out = append(out, strings.Trim(value, " \t")...)
	return append(out, "\r\n"...)
}

// written receives the result of a write beside the reading. Nil: the write is over.
type written chan bool

// soon reports whether the request has been written, or is within lateWrite.
func (w written) soon() bool {
	if w == nil {
		return true
	}
	late := time.NewTimer(lateWrite)
	defer late.Stop()
	select {
	case ok := <-w:
		return ok
	case <-late.C:
		return false
	}
}

// all waits for the end of the write. The connection must be closed.
func (w written) all() {
	if w != nil {
		<-w
	}
}

// send writes the request. A receiver may answer and close before it has read the whole
// request. So a write that fails is no error: reading finds the response that has already
// arrived, or the TLS alert that explains the failure, or the end of the connection. Only
// a write that does not end before the deadline is an error.
func (a *attempt) send(w *wire) (written, error) {
	a.sent = true
	s := a.scratch
	if len(s.out)+len(a.data) <= maxInline {
		s.out = append(s.out, a.data...)
		_, err := w.Write(s.out)
		s.out = s.out[:len(s.out)-len(a.data)] // for a repetition
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
		return nil, nil
	}
	done := make(written, 1)
	out := net.Buffers{s.out, a.data}
	if w.socket == nil || w.origin.secure {
		out = net.Buffers{slices.Concat(s.out, a.data)}
	}
	go func() {
		_, err := out.WriteTo(w.Conn)
		done <- err == nil
		close(done)
	}()
	return done, nil
}
