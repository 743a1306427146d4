package egress_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/posthorn/posthorn/internal/egress"
)

const answerBody, answerHeader = 1 << 10, 4 << 10

// theirs reads the response with the standard library, without interim responses.
func theirs(raw []byte) (status int, body string, truncated bool, err error) {
	in := bufio.NewReader(bytes.NewReader(raw))
	for {
		res, err := http.ReadResponse(in, &http.Request{Method: http.MethodPost})
		if err != nil {
			return 0, "", false, err
		}
		if res.StatusCode/100 == 1 && res.StatusCode != 101 {
			continue
		}
		if res.StatusCode == 101 {
			return 101, "", false, nil
		}
		defer res.Body.Close()
		text, err := io.ReadAll(io.LimitReader(res.Body, answerBody+1))
		return res.StatusCode, string(text[:min(len(text), answerBody)]), err != nil || len(text) > answerBody, nil
	}
}

// stricter lists what is refused, or taken for incomplete, although the standard library
// accepts it.
func stricter(raw []byte) string {
	text := string(raw)
	switch {
	case len(raw) >= answerHeader:
		return "more header bytes than the bound of the test"
	case strings.Count(text, "HTTP/") != strings.Count(text, "HTTP/1."):
		return "versions other than HTTP/1 (RFC 9112 section 2.3)"
	case strings.Contains(text, "\r\r") || strings.Contains(text, "\r ") || strings.Contains(text, "\r\t"):
		return "a bare CR at the end of a line or in a chunk size"
	}
	if _, body, _ := strings.Cut(text, "\n\r\n"); strings.Contains(text, "chunked") && strings.Contains(strings.ReplaceAll(body, "\r\n", ""), "\n") {
		return "a bare LF before the end of trailers"
	}
	for row := range strings.SplitSeq(text, "\n") {
		for _, status := range []string{" 0", " +", " -"} {
			if strings.HasPrefix(row, "HTTP/1.") && strings.Contains(row, status) {
				return "a status below 100"
			}
		}
	}
	return ""
}

// FuzzAnswer reads the same bytes with this package and with the standard library. Both
// must find the same status, body and end, or stricter must say why this package refuses.
// How the bytes are split into packets changes nothing.
func FuzzAnswer(f *testing.F) {
	ok := "HTTP/1.1 200 OK\r\n"
	for _, seed := range []string{
		ok + "Content-Length: 5\r\n\r\nhello", ok + "Content-Length: 5\r\n\r\nhel", ok + "\r\nto the end", ok + "Content-Length: 0\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: 1\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
		ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", ok + "Transfer-Encoding: identity\r\n\r\nabc", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		ok + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", ok + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", ok + "Content-Length: +3\r\n\r\nabc", ok + "Content-Length: 3, 3\r\n\r\nabc",
		ok + "Content-Length: 9223372036854775808\r\n\r\nabc", ok + "Content-Length:\r\n\r\nabc", ok + "Content-Length: 0x3\r\n\r\nabc",
		ok + "Transfer-Encoding:\n chunked\r\n\r\n0\r\n\r\n", ok + "Transfer-Encoding: chunked\r\n \r\n\r\n0\r\n\r\n", ok + "Content-Length: 3\r\nContent-Length:03\r\n\r\nabc",
		"HTTP/1.0 200 OK\r\n\r\nabc", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "Content-Length: 1\r\n\r\nx", "HTTP/1.1 101 Switching Protocols\r\n\r\nabc",
		"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n",
		"HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 99 Low\r\n\r\n", "HTTP/1.1 2000 High\r\n\r\n", "HTTP/1.1 200OK\r\n\r\n", "\r\n" + ok + "\r\n", "SSH-2.0-x\r\n", "", "H",
		ok + " X: 1\r\n\r\n", ok + "X: 1\r\n  folded\r\nContent-Length: 0\r\n\r\n", ok + "X : 1\r\n\r\n", ok + ": 1\r\n\r\n", ok + "X\r\n\r\n", ok + "X: a\x00b\r\n\r\n", ok + "X: a\rb\r\n\r\n", ok + "X: \x7f\r\n\r\n", ok + "X: \xff\r\nContent-Length: 0\r\n\r\n",
		ok + "Content-Length: 5\n\nhello", ok + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\nbad trailer\r\n\r\n", ok + "Connection: close\r\nContent-Length: 1\r\n\r\nx", ok + "Content-Length: 1500\r\n\r\n" + strings.Repeat("x", 1500),
		ok + "Content-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024), ok + "Content-Length: 1025\r\n\r\n" + strings.Repeat("x", 1025), ok + "X:\r\n \r\n\ta\r\n b\r\nContent-Length: 0\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			return
		}
		res, kept, err := egress.ReadAnswer(bytes.NewReader(raw), answerHeader, answerBody)
		again, keptAgain, errAgain := egress.ReadAnswer(iotest.OneByteReader(bytes.NewReader(raw)), answerHeader, answerBody)
		if (err == nil) != (errAgain == nil) || res.Status != again.Status || !bytes.Equal(res.Body, again.Body) || res.Truncated != again.Truncated || kept && !keptAgain {
			t.Errorf("in one piece %+v, %v, %v; byte by byte %+v, %v, %v", res, kept, err, again, keptAgain, errAgain)
		}
		if err == nil && bytes.ContainsFunc(res.Headers, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }) {
			t.Errorf("control characters in %q", res.Headers)
		}
		status, body, truncated, theirErr := theirs(raw)
		if res.Truncated && truncated {
			res.Body, body = nil, "" // how much of an incomplete body is kept may differ
		}
		ours := fmt.Sprintf("%d %q %v %v", res.Status, res.Body, res.Truncated, err != nil)
		if other := fmt.Sprintf("%d %q %v %v", status, body, truncated, theirErr != nil); ours != other {
			if err == nil && !res.Truncated || stricter(raw) == "" {
				t.Errorf("%q:\nours   %s (%v)\ntheirs %s (%v)", raw, ours, err, other, theirErr)
			}
		}
	})
}

// A header of thousands of continued lines costs memory in proportion to its size.
func TestFoldedHeader(t *testing.T) {
	var before, after runtime.MemStats
	raw := "HTTP/1.1 200 OK\nX: 1\n" + strings.Repeat(" a\n", 20_000) + "\n"
	runtime.ReadMemStats(&before)
	res, _, err := egress.ReadAnswer(strings.NewReader(raw), 64<<10, answerBody)
	runtime.ReadMemStats(&after)
	if want := "X: 1" + strings.Repeat(" a", 20_000) + "\n"; err != nil || string(res.Headers) != want {
		t.Errorf("%d bytes of headers: %v", len(res.Headers), err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("%d bytes took %d", len(raw), used)
	}
}
