package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client calls one server with one key. Its fields are set before the first call;
// after that it is safe for concurrent use.
type Client struct {
	URL  string       // such as https://hooks.example.com, with or without a slash at the end
	Key  string       `json:"-"` // never printed or logged
	HTTP *http.Client // nil: one that follows no redirects and gives up after 60 s

	// Attempts is how often a call is made at most, 0: 4. A call that was answered
	// with 429 or 503 is made again, after Retry-After if that is no more than 30 s.
	// After a lost connection reads are made again, and so are calls with an
	// Idempotency-Key. 1: every call is made once, and no key is added.
	Attempts int

	// AllowPlainHTTP lets the key go over plain http to hosts other than loopback.
	AllowPlainHTTP bool

	UserAgent string // empty: "posthorn-go"
}

// String names the server, without the key and without a password in the URL.
func (c Client) String() string {
	shown := "***"
	if u, err := url.Parse(c.URL); err == nil {
		shown = u.Redacted()
	}
	return "client of " + shown
}

// GoString keeps the key out of %#v.
func (c Client) GoString() string { return "client.Client{" + c.String() + "}" }

// Format keeps the key out of every verb, %+v and %x included.
func (c Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue keeps the key out of logs.
func (c Client) LogValue() slog.Value { return slog.StringValue(c.String()) }

// maxAnswer bounds what is read of an answer: a page of 250 long rows fits.
const maxAnswer = 64 << 20

var defaultHTTP = &http.Client{
	Timeout:       60 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Do makes a call: in is encoded as JSON unless it is nil or already a
// json.RawMessage, and the answer is decoded into out unless out is nil. A key
// makes a creating call idempotent; empty sends none. An answer that is not a 2xx
// comes back as a *Problem. The call is repeated as Attempts says; ctx bounds all of
// it, and the error is that of the last try.
func (c *Client) Do(ctx context.Context, method, path, idempotencyKey string, in, out any) error {
	harmless := method == http.MethodGet || idempotencyKey != ""
	for attempt := 0; ; attempt++ {
		err := c.once(ctx, method, path, idempotencyKey, in, out)
		if err == nil || attempt+1 >= c.attempts() {
			return err
		}
		if wait, ok := again(attempt, err, harmless); !ok || !pause(ctx, wait) {
			return err
		}
	}
}

func (c *Client) once(ctx context.Context, method, path, idempotencyKey string, in, out any) error {
	req, err := c.request(ctx, method, path, in)
	if err != nil {
		return fmt.Errorf("build request: %w", err)
	}
	if idempotencyKey != "" {
		req.Header.Set("Idempotency-Key", idempotencyKey)
	}
	httpc := c.HTTP
	if httpc == nil {
		httpc = defaultHTTP
	}
	resp, err := httpc.Do(req)
	if err != nil {
		return fmt.Errorf("call server: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return problemOf(resp, body)
	}
	if out == nil || len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, method, path string, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		text, ok := in.(json.RawMessage) // sent as it is: encoding would change its white space
		if !ok {
			var err error
			if text, err = json.Marshal(in); err != nil {
				return nil, err
			}
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.URL, "/")+path, body)
	if err != nil {
		return nil, err
	}
	if err := c.guarded(req.URL); err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", cmp.Or(c.UserAgent, "posthorn-go"))
	return req, nil
}

// problemOf reads a problem document, or makes one for an answer that has none,
// such as that of a proxy in between.
func problemOf(resp *http.Response, body []byte) *Problem {
	p := &Problem{}
	if json.Unmarshal(body, p) != nil || p.Code == "" {
		p = &Problem{Title: resp.Status, Code: "http_" + strconv.Itoa(resp.StatusCode),
			Detail: "The server answered " + resp.Status + " without a problem document."}
	}
	p.Status = resp.StatusCode
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	return p
}
