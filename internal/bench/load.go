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

// load is what the publishers of one kind publish.
type load struct {
	tenants []string // in the order in which events are published to them
	types   int      // event types in turn, one for each endpoint of a tenant
	size    int      // bytes of data
	batch   int      // events in a request; 0: single events
	content string   // of batches
	svix    bool
}

// publish publishes for the duration d and returns the number of accepted events.
func (r *rig) publish(ctx context.Context, d time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return r.publishWhile(r.setting.publishers, paced(ctx, r.setting.rate))
}

// publishAndKill publishes, and at the end kills the server if that is to be, starts it again,
// and waits until it has nothing to send any more.
func (r *rig) publishAndKill(ctx context.Context, d time.Duration) (int, error) {
	if !r.setting.killed {
		return r.publish(ctx, d)
	}
	server := r.servers[0]
	kill := time.AfterFunc(d, func() { _ = server.cmd.Process.Kill() })
	defer kill.Stop()
	sent, failed := r.publish(ctx, d+endLimit)
	if failed == nil || sent == 0 {
		return 0, fmt.Errorf("the server was to be killed under load: %d events were published, %w", sent, failed)
	}
	server.end()
	var err error
	if r.servers[0], err = spawn(ctx, server.cmd.Args[1:]...); err != nil {
		return 0, err
	}
	for before, now := -1, 0; before < now || now < r.due; { // what was stored and not answered is sent too
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Second):
		}
		before = now
		if now, err = r.receiverCount(ctx); err != nil {
			return 0, err
		}
	}
	return sent, nil
}

// publishCount publishes n events as fast as it can.
func (r *rig) publishCount(ctx context.Context, publishers, n int) error {
	var taken atomic.Int64
	_, err := r.publishWhile(publishers, func() bool { return ctx.Err() == nil && taken.Add(1) <= int64(n) })
	return err
}

// warmUp publishes an event to each tenant, and goes on until a second is over.
func (r *rig) warmUp(ctx context.Context) error {
	if r.setting.tenants > r.setting.publishers {
		if err := r.publishCount(ctx, r.setting.publishers, r.setting.tenants); err != nil {
			return err
		}
	}
	_, err := r.publish(ctx, time.Second)
	return err
}

func (r *rig) publishWhile(publishers int, more func() bool) (int, error) {
	n, err := r.load(&r.measured, publishers, more)
	r.due += n * r.setting.perEvent()
	return n, err
}

// beginFlood publishes beside what is measured, until stop is called. Stop returns the same
// each time.
func (r *rig) beginFlood(ctx context.Context) (stop func() error) {
	if r.setting.flood.rate == 0 {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := r.load(&r.flood, 16, paced(ctx, r.setting.flood.rate))
		ended <- err
	}()
	return sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
}

// paced returns a function that reports at the rate, in events a second, that another event is
// to be published, and after the end of the context that none is. A rate of 0 is a closed
// loop: each publisher sends its next event when it has the response to the previous one.
func paced(ctx context.Context, rate int) (more func() bool) {
	if rate == 0 {
		return func() bool { return ctx.Err() == nil }
	}
	permits := make(chan struct{}, rate)
	go func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			select {
			case permits <- struct{}{}:
			default: // a second behind
			}
		}
	}()
	return func() bool {
		select {
		case <-ctx.Done():
			return false
		case <-permits:
			return true
		}
	}
}

// load runs the publishers until more returns false.
func (r *rig) load(l *load, publishers int, more func() bool) (int, error) {
	var accepted atomic.Int64
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	for i := range publishers {
		all.Go(func() {
			for n := i; more(); n += publishers {
				took, err := r.send(l, r.servers[i%len(r.servers)].url, n)
				if err != nil {
					once.Do(func() { failed = err })
					return
				}
				accepted.Add(int64(took))
			}
		})
	}
	all.Wait()
	return int(accepted.Load()), failed
}

var filler = bytes.Repeat([]byte("0123456789abcdef"), 20_000)

// appendData appends an event's data, of about so many bytes. It contains the current time,
// from which the receiver computes the latency, and by which it knows the event again.
func appendData(dst []byte, size int) []byte {
	return fmt.Appendf(dst, `{"t":%d,"filler":"%s"}`, stamp(), filler[:max(size-40, 0)])
}

var stamped atomic.Int64

// stamp returns the current time in nanoseconds, or a little later, so that no two are equal.
func stamp() int64 {
	for {
		before := stamped.Load()
		if at := max(time.Now().UnixNano(), before+1); stamped.CompareAndSwap(before, at) {
			return at
		}
	}
}

// target returns the tenant and the type of the n-th event.
func (l *load) target(n int) (tenant, eventType string) {
	return l.tenants[n%len(l.tenants)], typeName(n / len(l.tenants) % l.types)
}

func typeName(n int) string { return fmt.Sprint("bench.event", n) }

// send publishes the n-th request and returns the number of events that the server accepted.
func (r *rig) send(l *load, url string, n int) (int, error) {
	if l.batch > 0 {
		return r.publishBatch(l, url, n*l.batch)
	}
	tenant, eventType := l.target(n)
	begin, path := `{"tenant":"`+tenant+`","type":"`+eventType+`","data":`, "/v1/events"
	if l.svix {
		begin, path = `{"eventType":"`+eventType+`","payload":`, "/api/v1/app/"+tenant+"/msg?with_content=false" // as Svix's libraries send it
	}
	body := append(appendData(append(make([]byte, 0, l.size+200), begin...), l.size), '}')
	if _, err := r.post(url+path, "application/json", body); err != nil {
		return 0, err
	}
	return 1, nil
}

// publishBatch publishes a batch that begins with the n-th event.
func (r *rig) publishBatch(l *load, url string, n int) (int, error) {
	body := make([]byte, 0, l.batch*(l.size+200))
	content, first, between, end := "application/json", "[", ",", "]"
	if l.content == "ndjson" {
		content, first, between, end = "application/x-ndjson", "", "\n", "\n"
	}
	body = append(body, first...)
	for i := range l.batch {
		if i > 0 {
			body = append(body, between...)
		}
		tenant, eventType := l.target(n + i)
		body = append(appendData(fmt.Appendf(body, `{"tenant":"%s","type":"%s","data":`, tenant, eventType), l.size), '}')
	}
	answer, err := r.post(url+"/v1/events/batch", content, append(body, end...))
	if err != nil {
		return 0, err
	}
	if refused := bytes.Count(answer, []byte(`{"error":`)); refused > 0 {
		return 0, fmt.Errorf("publish: %d of %d events of a batch were refused: %.500s", refused, l.batch, answer)
	}
	return l.batch, nil
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
		return nil, fmt.Errorf("publish: %s: %.500s", resp.Status, answer)
	}
	return answer, nil
}
