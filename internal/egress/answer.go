package egress

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Why the bytes of a receiver are not a response.
var (
	errInvalid = errors.New("the answer is not valid HTTP/1.1")
	errTooLong = errors.New("the answer has more header bytes than are accepted")
)

const (
	maxChunkLine  = 4 << 10 // bytes of a line with the size of a chunk
	freeChunkLine = 8       // bytes of such a line that do not count against the bound on headers
)

// reader reads one response from a connection: HTTP/1.1 (RFC 9112) or HTTP/1.0. It is as
// strict as net/http's reader, or stricter: FuzzAnswer compares the two and names the
// differences. It reads no more than the response needs, except into its own buffer.
type reader struct {
	from   io.Reader
	buf    []byte    // grows up to the bound on headers
	r, w   int       // buf[r:w] has been received and is not used yet
	budget int       // header bytes that may still come: of interim responses, of the response, of trailers
	since  time.Time // when the first byte was received; zero: none was
	lines  []line
}

// line is one header of a response. The name has the canonical spelling.
type line struct{ name, value string }

// head is the head of a response, and what it says about the body.
type head struct {
	status  int
	lines   []line // valid until the reader is used again
	length  int64  // of the body; -1: it ends with the connection, unless it is chunked
	chunked bool
	close   bool // the connection cannot be used for another request
}

// reset begins to read a response.
func (in *reader) reset(from io.Reader, budget int) {
	in.from, in.budget, in.since = from, budget, time.Time{}
	in.r, in.w = 0, 0
}

// get returns the first value of a header, by its canonical name.
func (h *head) get(name string) string {
	for _, l := range h.lines {
		if l.name == name {
			return l.value
		}
	}
	return ""
}

// fill receives at least one byte into the buffer.
func (in *reader) fill() error {
	switch {
	case in.r == in.w:
		in.r, in.w = 0, 0
	case in.w < len(in.buf):
	case in.r > 0:
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	default:
		in.buf = append(in.buf, make([]byte, len(in.buf))...)
	}
	n, err := in.receive(in.buf[in.w:])
	in.w += n
	return err
}

// receive reads from the connection. The error is nil if it received something.
func (in *reader) receive(p []byte) (int, error) {
	for range 100 { // readers may return nothing, without an error
		n, err := in.from.Read(p)
		if n > 0 {
			if in.since.IsZero() {
				in.since = time.Now()
			}
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// read returns bytes that are in the buffer, or else receives some.
func (in *reader) read(p []byte) (int, error) {
	if in.r < in.w {
		n := copy(p, in.buf[in.r:in.w])
		in.r += n
		return n, nil
	}
	return in.receive(p)
}

// head reads up to the end of the final response's head. It drops interim responses, but
// their bytes count. A connection that ends within the head is an [io.ErrUnexpectedEOF].
func (in *reader) head() (head, error) {
	for {
		block, err := in.block(true)
		if err != nil {
			return head{}, err
		}
		h, err := in.parse(block)
		if err != nil || h.status/100 != 1 || h.status == 101 {
			return h, err
		}
	}
}

// block reads the lines up to the next empty one. It returns them with their line ends,
// and is valid until the next read. With status the first line must be a status line. It
// is checked when it has arrived, so that receivers that do not speak HTTP are not waited
// for.
func (in *reader) block(status bool) ([]byte, error) {
	begin, at := 0, 0 // of the line that has not ended yet; where its end is looked for
	for {
		have := in.buf[in.r:in.w]
		for {
			end := bytes.IndexByte(have[at:], '\n')
			if end < 0 {
				at = len(have)
				break
			}
			text := withoutCR(have[begin : at+end])
			at += end + 1
			switch {
			case at > in.budget:
				return nil, errTooLong
			case begin == 0 && status:
				if _, _, ok := statusLine(text); !ok {
					return nil, errInvalid
				}
			case len(text) == 0:
				in.r += at
				in.budget -= at
				return have[:at], nil
			}
			begin = at
		}
		if len(have) > in.budget {
			return nil, errTooLong
		}
		if err := in.fill(); err != nil {
			if errors.Is(err, io.EOF) && in.r < in.w {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

func withoutCR(text []byte) []byte { return bytes.TrimSuffix(text, []byte{'\r'}) }

// statusLine parses a status line. Versions other than HTTP/1 are refused.
func statusLine(text []byte) (minor byte, status int, ok bool) {
	const version = "HTTP/1."
	if len(text) < len("HTTP/1.1 200") || string(text[:len(version)]) != version || text[8] != ' ' {
		return 0, 0, false
	}
	minor = text[7] - '0'
	text = bytes.TrimLeft(text[9:], " ")
	if minor > 9 || len(text) < 3 || len(text) > 3 && text[3] != ' ' {
		return 0, 0, false
	}
	for _, digit := range text[:3] {
		if digit < '0' || digit > '9' {
			return 0, 0, false
		}
		status = status*10 + int(digit-'0')
	}
	return minor, status, status >= 100
}

// parse parses a block that begins with a status line.
func (in *reader) parse(block []byte) (head, error) {
	h := head{length: -1}
	first, rest, _ := bytes.Cut(block, []byte{'\n'})
	minor, status, _ := statusLine(withoutCR(first))
	h.status = status
	var err error
	if in.lines, err = fields(in.lines[:0], rest); err != nil {
		return head{}, err
	}
	h.lines = in.lines
	length, encodings, kept := "", 0, false
	for _, l := range h.lines {
		switch l.name {
		case "Content-Length":
			text := strings.Trim(l.value, " \t")
			n, ok := contentLength(text)
			if !ok || length != "" && text != length {
				return head{}, errInvalid // also two lengths that differ (RFC 9112 section 6.3)
			}
			h.length, length = n, text
		case "Transfer-Encoding":
			if encodings++; minor > 0 && (encodings > 1 || !strings.EqualFold(l.value, "chunked")) {
				return head{}, errInvalid
			}
		case "Connection":
			h.close = h.close || hasToken(l.value, "close")
			kept = kept || hasToken(l.value, "keep-alive")
		}
	}
	h.close = h.close || minor == 0 && !kept
	if encodings > 0 {
		if minor > 0 {
			h.chunked = true
			// A response with both has been tampered with, or its sender is confused.
			h.close = h.close || length != ""
			h.length = -1
		} else {
			h.close = true // RFC 9112 section 6.1
		}
	}
	switch {
	case status == 101:
		h.length, h.chunked, h.close = 0, false, true // what follows is not HTTP
	case status/100 == 1, status == 204, status == 304:
		h.close = h.close || h.chunked || h.length > 0
		h.length, h.chunked = 0, false
	case h.length < 0 && !h.chunked:
		h.close = true
	}
	return h, nil
}

// fields appends the headers of a block that ends with an empty line. A line that begins
// with white space continues the one before (RFC 9112 section 5.2).
func fields(to []line, block []byte) ([]line, error) {
	text := string(block) // one copy for all headers
	for {
		row, rest, _ := strings.Cut(text, "\n")
		text = rest
		row = strings.TrimSuffix(row, "\r")
		if row == "" {
			return to, nil
		}
		name, value, found := strings.Cut(row, ":")
		value = strings.Trim(value, " \t")
		if isBlank(text) {
			value, text = unfold(value, text)
		}
		// A name with spaces is not valid, but harmless: it is none that matters here.
		// With a space in front, the line continues nothing.
		if !found || isBlank(row) || !isToken(strings.ReplaceAll(name, " ", "x")) || !isFieldValue(value) {
			return nil, errInvalid
		}
		to = append(to, line{textproto.CanonicalMIMEHeaderKey(name), value})
	}
}

// isBlank reports whether a text begins with white space.
func isBlank(text string) bool { return text != "" && (text[0] == ' ' || text[0] == '\t') }

// unfold adds the lines to a value that continue it. It returns the text after them. Its
// time is linear, because a receiver may send thousands of them.
func unfold(value, text string) (whole, rest string) {
	var b strings.Builder
	b.WriteString(value)
	for isBlank(text) {
		var row string
		row, text, _ = strings.Cut(text, "\n")
		b.WriteByte(' ')
		b.WriteString(strings.Trim(strings.TrimSuffix(row, "\r"), " \t"))
	}
	return strings.TrimLeft(b.String(), " "), text
}

// contentLength parses digits and nothing else.
func contentLength(value string) (int64, bool) {
	if value == "" || strings.Trim(value, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(value, 10, 64)
	return n, err == nil
}

// hasToken reports whether a list of tokens has one, regardless of case.
func hasToken(list, token string) bool {
	for item := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.Trim(item, " \t"), token) {
			return true
		}
	}
	return false
}

// body reads the response's body into p. The error is nil if p was filled, and io.EOF if
// the body ended before. Every other error means that the body is incomplete.
func (in *reader) body(h *head, p []byte) (int, error) {
	switch {
	case h.chunked:
		return in.chunks(p)
	case h.length >= 0:
		n, err := in.exactly(h.length, p)
		if err == nil && int64(n) == h.length && n < len(p) {
			err = io.EOF
		}
		return n, err
	}
	n := 0
	for n < len(p) {
		m, err := in.read(p[n:])
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// exactly reads size bytes, or as many as fit into p.
func (in *reader) exactly(size int64, p []byte) (n int, err error) {
	p = p[:min(int64(len(p)), size)]
	for n < len(p) {
		m, err := in.read(p[n:])
		if n += m; err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	return n, nil
}

// chunks reads a chunked body (RFC 9112 section 7.1), with its trailers, which it drops.
func (in *reader) chunks(p []byte) (n int, err error) {
	for {
		size, err := in.chunkSize()
		if err != nil {
			return n, err
		}
		if size == 0 {
			break
		}
		m, err := in.exactly(size, p[n:])
		n += m
		if err != nil || n == len(p) {
			return n, err
		}
		var end [2]byte
		if _, err := in.exactly(2, end[:]); err != nil {
			return n, err
		}
		if end != [2]byte{'\r', '\n'} {
			return n, errInvalid
		}
	}
	block, err := in.block(false)
	if err == nil && !bytes.HasSuffix(block, []byte("\r\n\r\n")) && string(block) != "\r\n" {
		err = errInvalid
	}
	if err == nil {
		in.lines, err = fields(in.lines[:0], block)
	}
	switch {
	case err == nil:
		err = io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// chunkSize reads the line before a chunk. It ignores extensions, but they count against
// the bound on headers.
func (in *reader) chunkSize() (int64, error) {
	at := 0
	for {
		have := in.buf[in.r:in.w]
		end := bytes.IndexByte(have[at:], '\n')
		if end < 0 && len(have) < maxChunkLine {
			at = len(have)
			if err := in.fill(); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return 0, err
			}
			continue
		}
		end += at
		if end < 1 || end >= maxChunkLine || have[end-1] != '\r' {
			return 0, errInvalid
		}
		in.r += end + 1
		if in.budget -= max(end-freeChunkLine, 0); in.budget < 0 {
			return 0, errTooLong
		}
		text, _, _ := bytes.Cut(have[:end-1], []byte{';'})
		text = bytes.TrimRight(text, " \t")
		if bytes.IndexByte(have[:end-1], '\r') >= 0 || len(text) == 0 || len(text) > 16 {
			return 0, errInvalid
		}
		var size uint64
		for _, digit := range text {
			value := strings.IndexByte("0123456789abcdef", digit|0x20)
			if value < 0 || digit < '0' {
				return 0, errInvalid
			}
			size = size<<4 | uint64(value)
		}
		if size > 1<<62 {
			return 0, errInvalid
		}
		return int64(size), nil
	}
}

// headerLines returns headers as text, sorted by name, up to the bound. It sorts lines.
// A value cannot start a new line, because fields refuses control characters.
func headerLines(lines []line, limit int) []byte {
	size := 0
	for _, l := range lines {
		size += len(l.name) + len(l.value) + 3
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.name, b.name) })
	out := make([]byte, 0, min(size, limit))
	for _, l := range lines {
		if len(out)+len(l.name)+len(l.value)+3 > limit {
			break
		}
		out = append(out, l.name...)
		out = append(out, ": "...)
		out = append(out, l.value...)
		out = append(out, '\n')
	}
	return out
}
