package diagnose

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"regexp"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
)

// MaxCapture is the maximum size of a capture, in bytes.
const MaxCapture = 8 << 20

// Reasons why a capture cannot be used. ReadCapture wraps them.
var (
	// ErrEmpty means that the capture is empty.
	ErrEmpty = errors.New("the capture is empty")
	// ErrCut means that the capture ends before its headers do.
	ErrCut = errors.New("the capture ends inside the headers; an empty line and the body are missing")
	// ErrUnknown means that the capture is neither HTTP nor JSON with headers and a body.
	ErrUnknown = errors.New("the capture is not HTTP (header lines, an empty line, the body), and not a HAR file")
	// ErrResponse means that the capture is a response, which carries no signature.
	ErrResponse = errors.New("this is a response, not a request; capture what the receiver got")
	// ErrTooLarge means that the capture is larger than MaxCapture.
	ErrTooLarge = errors.New("the capture is larger than 8 MiB")
)

// Capture is a recorded request.
type Capture struct {
	Headers []hook.Header // in the order of the capture, names as written
	Body    []byte        // everything that follows the headers
	Length  int           // the value of Content-Length; -1 if there is no usable one
}

// requestLine matches the first line of a request (RFC 9112, section 3), statusLine that of
// a response (section 4).
var (
	requestLine = regexp.MustCompile(`^[!-~]+ \S+ HTTP/[0-9.]+$`)
	statusLine  = regexp.MustCompile(`^HTTP/[0-9.]+ [0-9]{3}( .*)?$`)
)

// headerToken matches the name of a header (RFC 9110, section 5.6.2).
var headerToken = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// ReadCapture parses a capture in one of two forms. The first is header lines, an empty line
// and the body, with or without a request line and with either line ending. The second is
// JSON: a HAR file, one entry of it, or an object with headers and body. Of several HAR
// entries it takes the one with the given number, from 1; 0 means the first entry with a
// body.
func ReadCapture(text []byte, entry int) (Capture, error) {
	if len(text) > MaxCapture {
		return Capture{}, ErrTooLarge
	}
	start := bytes.TrimLeft(bytes.TrimPrefix(text, utf8BOM), " \t\r\n")
	if len(start) == 0 {
		return Capture{}, ErrEmpty
	}
	var c Capture
	var err error
	if start[0] == '{' || start[0] == '[' {
		c, err = readJSON(start, entry)
	} else {
		c, err = readHTTP(start)
	}
	if err != nil {
		return Capture{}, err
	}
	c.Length = -1
	for _, value := range c.values("Content-Length") {
		if n, err := strconv.ParseUint(value, 10, 31); err == nil {
			c.Length = int(n)
		}
	}
	return c.unchunked(), nil
}

func readHTTP(text []byte) (Capture, error) {
	var c Capture
	for number := 1; ; number++ {
		line, rest, ended := bytes.Cut(text, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			c.Body = rest
			return c, nil
		}
		if number == 1 && statusLine.Match(line) {
			return Capture{}, ErrResponse
		}
		if number == 1 && requestLine.Match(line) {
			text = rest
			continue
		}
		if err := c.addLine(string(line)); err != nil {
			return Capture{}, fmt.Errorf("line %d: %w", number, err)
		}
		if !ended {
			return Capture{}, ErrCut
		}
		text = rest
	}
}

func (c *Capture) addLine(line string) error {
	if last := len(c.Headers) - 1; last >= 0 && (line[0] == ' ' || line[0] == '\t') {
		c.Headers[last].Value = strings.TrimSpace(c.Headers[last].Value + " " + strings.TrimSpace(line)) // folded, as old servers do
		return nil
	}
	if strings.HasPrefix(line, ":") { // a pseudo header of HTTP/2
		return nil
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok || !headerToken.MatchString(name) {
		return ErrUnknown
	}
	c.Headers = append(c.Headers, hook.Header{Name: name, Value: strings.TrimSpace(value)})
	return nil
}

func (c *Capture) values(name string) []string {
	var found []string
	for _, h := range c.Headers {
		if strings.EqualFold(h.Name, name) {
			found = append(found, h.Value)
		}
	}
	return found
}

// unchunked decodes the chunked transfer coding (RFC 9112, section 7.1) of the body. Most
// captures contain the body already decoded, so a body that is not chunked stays unchanged.
func (c Capture) unchunked() Capture {
	if !strings.EqualFold(strings.Join(c.values("Transfer-Encoding"), ","), "chunked") {
		return c
	}
	body, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(c.Body)))
	switch {
	case err == nil:
		c.Body = body
	case len(body) > 0 && errors.Is(err, io.ErrUnexpectedEOF):
		c.Body, c.Length = body, len(body)+1 // cut off: at least one byte is missing
	}
	return c
}
