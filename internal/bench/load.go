package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// publish publishes for the duration d and returns the number of accepted events. A rate of
// 0 is a closed loop: each publisher sends its next event when it has the response to the
// previous one.
func (r *rig) publish(ctx context.Context, publishers int, d time.Duration, rate int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var permits chan struct{}
	if rate > 0 {
		permits = make(chan struct{}, rate)
		go pace(ctx, permits, time.Second/time.Duration(rate))
	}
	return r.load(publishers, func() bool {
		if permits == nil {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-permits:
			return true
		}
	})
}

// publishCount publishes n events as fast as it can.
func (r *rig) publishCount(ctx context.Context, publishers, n int) error {
	var taken atomic.Int64
	_, err := r.load(publishers, func() bool { return ctx.Err() == nil && taken.Add(1) <= int64(n) })
	return err
}

func pace(ctx context.Context, permits chan<- struct{}, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			permits <- struct{}{}
		}
	}
}

// load runs the publishers until more returns false.
func (r *rig) load(publishers int, more func() bool) (int, error) {
	var accepted atomic.Int64
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	for i := range publishers {
		all.Go(func() {
			for n := i; more(); n++ {
				if err := r.publishOne(r.servers[i%len(r.servers)].url, r.tenants[n%len(r.tenants)]); err != nil {
					once.Do(func() { failed = err })
					return
				}
				accepted.Add(1)
			}
		})
	}
	all.Wait()
	n := int(accepted.Load())
	r.sent += n
	return n, failed
}

var filler = bytes.Repeat([]byte("0123456789abcdef"), 60)

// publishOne publishes an event whose data contains the current time, from which the
// receiver computes the latency.
func (r *rig) publishOne(url, tenant string) error {
	begin, path := `{"tenant":"`+tenant+`","type":"bench.event","data":`, "/v1/events"
	if r.svix {
		begin, path = `{"eventType":"bench.event","payload":`, "/api/v1/app/"+tenant+"/msg?with_content=false" // as Svix's libraries send it
	}
	body := fmt.Appendf(make([]byte, 0, 1200), `%s{"t":%d,"filler":"%s"}}`, begin, time.Now().UnixNano(), filler)
	req, err := http.NewRequest(http.MethodPost, url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+benchKey)
	req.Header.Set("Content-Type", "application/json")
	if r.keys {
		req.Header.Set("Idempotency-Key", "auto_"+rand.Text())
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("publish: %s: %s", resp.Status, answer)
	}
	return nil
}
