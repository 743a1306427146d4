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

// Client calls one server with one key. Set its fields before the first call; after that
// it is safe for concurrent use.
type Client struct {
	URL  string       // such as https://hooks.example.com; a trailing slash is ignored
	Key  string       `json:"-"` // never printed or logged
	HTTP *http.Client // nil means a client that follows no redirects and times out after 60 s

	// Attempts is the maximum number of times a request is sent; 0 means 4. A request that was
	// answered with 429 or 503 is retried after Retry-After, unless that exceeds 30 s. After a
	// lost connection, the client retries reads and requests with an Idempotency-Key. With 1,
	// every request is sent once, and the client adds no key.
	Attempts int

	// AllowPlainHTTP permits sending the key over plain http to hosts other than loopback.
	AllowPlainHTTP bool

	UserAgent string // empty means "posthorn-go"
}

// String returns the server's URL, without the key and without any password in the URL.
func (c Client) String() string {
	shown := "***"
	if u, err := url.Parse(c.URL); err == nil {
		shown = u.Redacted()
	}
	return "client of " + shown
}

// GoString keeps the key out of %#v.
func (c Client) GoString() string { return "client.Client{" + c.String() + "}" }

// Format keeps the key out of every verb, including %+v and %x.
func (c Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue keeps the key out of logs.
func (c Client) LogValue() slog.Value { return slog.StringValue(c.String()) }

// maxAnswer limits how much of a response body is read, in bytes. A page of 250 large rows
// fits.
const maxAnswer = 64 << 20

var defaultHTTP = &http.Client{
	Timeout:       60 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Do sends a request and decodes the response. It encodes in as JSON unless in is nil or
// already a json.RawMessage, and decodes the response body into out unless out is nil. A
// non-empty idempotencyKey makes a creating request idempotent; an empty one is not sent.
// A response other than 2xx is returned as a [*Problem]. Do retries as described at
// [Client.Attempts]. ctx bounds all attempts together, and the error is that of the last
// one.
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
		text, ok := in.(json.RawMessage) // sent unchanged: encoding would alter its white space
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

// problemOf decodes a problem document, or builds one for a response without it, such as
// the response of an intermediate proxy.
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
