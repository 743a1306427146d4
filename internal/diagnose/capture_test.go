package diagnose_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/diagnose"
)

func TestCaptureFormats(t *testing.T) {
	const body = "{\"a\": 1}\r\n"
	encoded := base64.StdEncoding.EncodeToString([]byte(body))
	quoted, _ := json.Marshal(body)
	har := func(post string) string {
		return `{"log": {"entries": [{"request": {"headers": [], "method": "GET"}}, {"request": {"headers": [{"name": "X-A", "value": "1"}, {"name": "x-b", "value": "2"}], "postData": ` + post + `}}]}}`
	}
	for name, text := range map[string]string{
		"request":          "POST /hook?x=1 HTTP/1.1\r\nX-A: 1\r\nx-b:2\r\n\r\n" + body,
		"headers only, LF": "X-A: 1\nx-b:   2 \n\n" + body,
		"HTTP/2 as logged": ":method: POST\n:path: /\nX-A: 1\nx-b: 2\n\n" + body,
		"folded":           "X-A:\n 1\nx-b: 2\n\n" + body,
		"chunked":          "POST / HTTP/1.1\r\nX-A: 1\r\nx-b: 2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n6\r\n: 1}\r\n\r\n0\r\n\r\n",
		"chunked, decoded": "X-A: 1\nx-b: 2\nTransfer-Encoding: chunked\n\n" + body,
		"HAR":              har(`{"text": ` + string(quoted) + `}`),
		"HAR in base64":    har(`{"encoding": "base64", "text": "` + encoded + `"}`),
		"HAR entry":        `{"request": {"headers": [{"name": "X-A", "value": "1"}, {"name": "x-b", "value": "2"}], "postData": {"text": ` + string(quoted) + `}}}`,
		"function event":   `{"headers": {"X-A": "1", "x-b": ["2"]}, "body": "` + encoded + `", "isBase64Encoded": true}`,
		"request bin":      ` {"headers": {"X-A": "1", "x-b": "2"}, "body": ` + string(quoted) + `}`,
		"byte order mark":  "\xef\xbb\xbfPOST / HTTP/1.1\nX-A: 1\nx-b: 2\n\n" + body,
	} {
		c, err := diagnose.ReadCapture([]byte(text), 0)
		if err != nil || string(c.Body) != body {
			t.Errorf("%s: body %q, %v", name, c.Body, err)
			continue
		}
		if c.Headers[0].Name != "X-A" || c.Headers[0].Value != "1" || c.Headers[1].Name != "x-b" || c.Headers[1].Value != "2" {
			t.Errorf("%s: headers %v", name, c.Headers)
		}
	}
}

// A chunked body that was cut off is recognised as incomplete.
func TestChunkedBodyCutShort(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nX-Paywise-Signature: sha256=00\r\nTransfer-Encoding: chunked\r\n\r\n"
	c, err := diagnose.ReadCapture([]byte(head+"40\r\n{\"a\""), 0)
	if err != nil || string(c.Body) != `{"a"` || c.Length <= len(c.Body) {
		t.Errorf("%q, length %d, %v", c.Body, c.Length, err)
	}
}

func TestCapturesThatCannotBeUsed(t *testing.T) {
	junk := make([]byte, 4096)
	for i := range junk {
		junk[i] = byte(i*7 + i/3)
	}
	for name, c := range map[string]struct {
		text []byte
		want error
	}{
		"empty":                 {nil, diagnose.ErrEmpty},
		"white space":           {[]byte(" \r\n\n"), diagnose.ErrEmpty},
		"binary junk":           {junk, diagnose.ErrUnknown},
		"zeros":                 {make([]byte, 100), diagnose.ErrUnknown},
		"prose":                 {[]byte("hello world\n\n{}"), diagnose.ErrUnknown},
		"name with a space":     {[]byte("X A: 1\n\n{}"), diagnose.ErrUnknown},
		"cut in a header":       {[]byte("POST / HTTP/1.1\r\nwebhook-id: ab"), diagnose.ErrCut},
		"cut after the headers": {[]byte("POST / HTTP/1.1\r\nwebhook-id: ab\r\n"), nil},
		"JSON without headers":  {[]byte(`{"a": 1}`), diagnose.ErrUnknown},
		"cut JSON":              {[]byte(`{"log": {"entries": [{`), diagnose.ErrUnknown},
		"list of numbers":       {[]byte(`[1, 2]`), diagnose.ErrUnknown},
		"broken base64":         {[]byte(`{"headers": {"a": "b"}, "body": "%%", "isBase64Encoded": true}`), diagnose.ErrUnknown},
		"an answer":             {[]byte("HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n{}"), diagnose.ErrResponse},
		"an interim answer":     {[]byte("HTTP/2 100\n\n"), diagnose.ErrResponse},
		"too large":             {bytes.Repeat([]byte("x"), diagnose.MaxCapture+1), diagnose.ErrTooLarge},
	} {
		got, err := diagnose.ReadCapture(c.text, 0)
		if c.want == nil { // ends where the empty line would be: no body
			if err != nil || len(got.Body) != 0 {
				t.Errorf("%s: %q, %v", name, got.Body, err)
			}
			continue
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%s: the message holds binary: %q", name, err)
		}
	}
	if _, err := diagnose.ReadCapture([]byte(`[{"headers": {"a": "b"}, "body": "c"}]`), 2); err == nil {
		t.Error("entry 2 of 1 was found")
	}
}

// Any input is either refused or judged: nothing panics, and no damaged request verifies.
func FuzzCapture(f *testing.F) {
	s := construct(&testing.T{}, failures[0], false)
	f.Add(s.text())
	f.Add([]byte(`{"headers": {"Webhook-Id": "a"}, "body": "{}"}`))
	f.Add([]byte("a:b\n\n{\"a\": [1, {}, \"\\u00e9\"]}"))
	sound := s.body
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := diagnose.ReadCapture(text, 0)
		if err != nil {
			return
		}
		if len(c.Body) > 512 {
			return
		}
		s := &sent{t: t, profile: "standard", raw: string(text), secret: std[0]}
		if v := ask(t, s, std[:1:1], false); v.Valid() && !bytes.HasPrefix(c.Body, sound) {
			t.Errorf("judged valid: %q", text)
		}
	})
}
