package client

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Clock returns how far the server's clock is ahead of this machine's clock; a negative
// result means behind. The server reports whole seconds, so the result is accurate to one
// second plus half the round-trip time. Clock needs no key and does not retry.
func (c *Client) Clock(ctx context.Context) (ahead time.Duration, err error) {
	req, err := c.request(ctx, http.MethodGet, "/healthz", nil)
	if err != nil {
		return 0, fmt.Errorf("build request: %w", err)
	}
	httpc := c.HTTP
	if httpc == nil {
		httpc = defaultHTTP
	}
	began := time.Now()
	resp, err := httpc.Do(req)
	if err != nil {
		return 0, fmt.Errorf("call server: %w", err)
	}
	defer resp.Body.Close()
	trip := time.Since(began)
	at, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0, fmt.Errorf("read the server's Date header: %w", err)
	}
	// The Date header is truncated to the second, so on average the time was half a second
	// later.
	return at.Add(500 * time.Millisecond).Sub(began.Add(trip / 2)), nil
}
