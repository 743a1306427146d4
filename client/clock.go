package client

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Clock asks the server what time it is and returns how far it is ahead of this
// machine's clock (negative: behind). The server tells whole seconds, so the result
// is good to a second and half the time of the round trip. It needs no key.
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
	// The header was cut to the second: on average it was half a second later.
	return at.Add(500 * time.Millisecond).Sub(began.Add(trip / 2)), nil
}
