package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/client"
)

// traffic is load beside what is measured: it publishes events of new tenants to a server,
// and receives what the server delivers.
type traffic struct {
	server   *child
	http     *http.Client
	receiver http.Server
	tenants  []string
	sent     atomic.Int64
	received atomic.Int64
}

// newTraffic makes some tenants, each with an endpoint at a receiver that answers at once.
func newTraffic(ctx context.Context, server *child, tenants int) (*traffic, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start receiver: %w", err)
	}
	t := &traffic{server: server, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}, Timeout: time.Minute}}
	t.receiver = http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			t.received.Add(1)
		}
	})}
	go func() { _ = t.receiver.Serve(l) }() // until close
	api, run := server.client(), strconv.FormatInt(time.Now().UnixNano(), 36)
	for i := range tenants {
		tenant := fmt.Sprint("bench-", run, "-", i)
		if _, err = api.CreateTenant(ctx, client.NewTenant{ID: tenant}); err == nil {
			_, err = api.CreateEndpoint(ctx, client.NewEndpoint{Tenant: tenant, URL: "http://" + l.Addr().String() + "/hook", EventTypes: []string{"*"}})
		}
		if err != nil {
			t.close()
			return nil, fmt.Errorf("make a tenant with an endpoint: %w", err)
		}
		t.tenants = append(t.tenants, tenant)
	}
	return t, nil
}

func (t *traffic) close() { _ = t.receiver.Close() } // what was received is counted

// publish publishes until the context ends: rate events a second, or, if it is 0, each
// publisher its next event when the one before is accepted.
func (t *traffic) publish(ctx context.Context, publishers, rate int) error {
	var all sync.WaitGroup
	failed := make(chan error, publishers)
	begun, taken := time.Now(), new(atomic.Int64)
	for i := range publishers {
		all.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				if rate > 0 {
					at := begun.Add(time.Duration(taken.Add(1)) * time.Second / time.Duration(rate))
					select {
					case <-time.After(time.Until(at)):
					case <-ctx.Done():
						return
					}
				}
				if err := t.post(t.tenants[n%len(t.tenants)]); err != nil {
					failed <- err
					return
				}
				t.sent.Add(1)
			}
		})
	}
	all.Wait()
	close(failed)
	return <-failed
}

// post publishes one event with about 1 KB of data.
func (t *traffic) post(tenant string) error {
	body := fmt.Appendf(nil, `{"tenant":%q,"type":"bench.event","data":{"filler":"%s"}}`, tenant, fillText[:700])
	req, err := http.NewRequest(http.MethodPost, t.server.url+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+benchKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := t.http.Do(req)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("publish: %s: %s", resp.Status, answer)
	}
	return err
}

// drained waits until everything that was published was received.
func (t *traffic) drained(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for t.received.Load() < t.sent.Load() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d events were delivered", t.received.Load(), t.sent.Load())
		case <-tick.C:
		}
	}
	return nil
}
