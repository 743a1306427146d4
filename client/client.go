package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client calls one server with one key. Its fields are set before the first call;
// after that it is safe for concurrent use.
type Client struct {
	URL  string // such as https://hooks.example.com, with or without a slash at the end
	Key  string
	HTTP *http.Client // nil: one that follows no redirects and gives up after 60 s
}

// maxAnswer bounds what is read of an answer: a page of 250 long rows fits.
const maxAnswer = 64 << 20

var defaultHTTP = &http.Client{
	Timeout:       60 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// ListOptions chooses a page of a list. The zero value asks for the first page.
type ListOptions struct {
	Cursor string
	Limit  int        // 1 to 250; 0: the server's default of 50
	Filter url.Values // such as tenant, endpoint, state; see the route
}

func (o ListOptions) query() string {
	q := url.Values{}
	for name, values := range o.Filter {
		q[name] = values
	}
	if o.Cursor != "" {
		q.Set("cursor", o.Cursor)
	}
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// Do makes one call: in is encoded as JSON unless it is nil or already a
// json.RawMessage, and the answer is decoded into out unless out is nil. A key
// makes a creating call idempotent; empty sends none. An answer that is not a 2xx
// comes back as a *Problem.
func (c *Client) Do(ctx context.Context, method, path, idempotencyKey string, in, out any) error {
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
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	req.Header.Set("Accept", "application/json")
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
