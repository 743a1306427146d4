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
				took, err := r.send(r.servers[i%len(r.servers)].url, n)
				if err != nil {
					once.Do(func() { failed = err })
					return
				}
				accepted.Add(int64(took))
			}
		})
	}
	all.Wait()
	n := int(accepted.Load())
	r.sent += n
	return n, failed
}

var filler = bytes.Repeat([]byte("0123456789abcdef"), 60)

// appendData appends an event's data, about 1 KB. It contains the current time, from which
// the receiver computes the latency.
func appendData(dst []byte) []byte {
	return fmt.Appendf(dst, `{"t":%d,"filler":"%s"}`, time.Now().UnixNano(), filler)
}

// publishOne publishes the n-th event of a publisher. It returns the number of events that
// the server accepted.
func (r *rig) publishOne(url string, n int) (int, error) {
	tenant := r.tenants[n%len(r.tenants)]
	begin, path := `{"tenant":"`+tenant+`","type":"bench.event","data":`, "/v1/events"
	if r.svix {
		begin, path = `{"eventType":"bench.event","payload":`, "/api/v1/app/"+tenant+"/msg?with_content=false" // as Svix's libraries send it
	}
	body := append(appendData(append(make([]byte, 0, 1200), begin...)), '}')
	_, err := r.post(url+path, "application/json", body)
	if err != nil {
		return 0, err
	}
	return 1, nil
}

// post publishes and returns the answer.
func (r *rig) post(url, content string, body []byte) ([]byte, error) {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+benchKey)
	req.Header.Set("Content-Type", content)
	if r.keys {
		req.Header.Set("Idempotency-Key", "auto_"+rand.Text())
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	if resp.StatusCode != http.StatusAccepted {
		return nil, fmt.Errorf("publish: %s: %s", resp.Status, answer)
	}
	return answer, nil
}
