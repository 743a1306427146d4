package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/posthorn/posthorn/internal/duration"
)

// batchPublishers is how many requests with batches are under way at once, unless
// --publishers asks for fewer. More would not fit into one caller's share of the server's
// memory for request bodies.
const batchPublishers = 8

// benchBatches compares batches with single events, in alternating runs.
func benchBatches(ctx context.Context, out io.Writer, p benchPlan) error {
	fmt.Fprintf(out, "%-7s %12s %12s %16s %14s %9s\n", "publish", "accepted/s", "delivered/s", "server us/event", "events/commit", "peak MiB")
	ratios, cpus := map[string][]float64{}, map[string][]float64{}
	for range p.pairs {
		one, err := p.accept(ctx, out, "single")
		if err != nil {
			return err
		}
		for _, kind := range batchKinds {
			many, err := p.accept(ctx, out, kind)
			if err != nil {
				return err
			}
			ratios[kind] = append(ratios[kind], many.rate/one.rate)
			cpus[kind] = append(cpus[kind], many.serverCPU/one.serverCPU)
		}
	}
	fmt.Fprintln(out)
	for _, kind := range batchKinds {
		fmt.Fprintf(out, "%s, %d events a request / single, median of %d: accepted/s %.2f, server CPU per event %.2f\n",
			kind, p.batch, p.pairs, median(ratios[kind]), median(cpus[kind]))
	}
	return nil
}

var batchKinds = []string{"json", "ndjson"}

// accept publishes for the duration of a run and measures the rate of acceptance. If the
// receivers answer, it also waits until everything is delivered, and the CPU time includes
// delivering.
func (p benchPlan) accept(ctx context.Context, out io.Writer, kind string) (benchResult, error) {
	p.progress.Say("measuring %s, %s", kind, duration.Format(p.duration))
	rig, err := newRig(ctx, p, 1, p.endpoints, p.serverArgs(false)...)
	if err != nil {
		return benchResult{}, err
	}
	defer rig.close()
	publishers := p.publishers
	if kind != "single" {
		publishers = min(publishers, batchPublishers)
		rig.send = func(url string, n int) (int, error) { return rig.publishBatch(url, n, p.batch, kind) }
	}
	if p.hold {
		if err := rig.holdReceiver(ctx); err != nil {
			return benchResult{}, err
		}
	}
	before, began := rig.usage(), time.Now()
	sent, err := rig.publish(ctx, publishers, p.duration, 0)
	if err != nil {
		return benchResult{}, err
	}
	accepted := time.Since(began)
	if !p.hold {
		if err := rig.drained(ctx); err != nil {
			return benchResult{}, err
		}
	}
	delivered, used := time.Since(began), rig.usage().since(before)
	n := float64(sent)
	r := benchResult{rate: n / accepted.Seconds(), serverCPU: float64(used.server.Microseconds()) / n}
	p.progress.Done()
	overall := "-"
	if !p.hold {
		overall = fmt.Sprintf("%.0f", n/delivered.Seconds())
	}
	fmt.Fprintf(out, "%-7s %12.0f %12s %16.0f %14s %9.0f\n", kind, r.rate, overall, r.serverCPU, used.perCommit(sent), rig.serverPeak())
	return r, nil
}

// publishBatch publishes the n-th batch of a publisher.
func (r *rig) publishBatch(url string, n, size int, kind string) (int, error) {
	body := make([]byte, 0, size*1200)
	content, first, between, last := "application/json", "[", ",", "]"
	if kind == "ndjson" {
		content, first, between, last = "application/x-ndjson", "", "\n", "\n"
	}
	body = append(body, first...)
	for i := range size {
		if i > 0 {
			body = append(body, between...)
		}
		body = append(append(append(body, `{"tenant":"`...), r.tenants[(n+i)%len(r.tenants)]...), `","type":"bench.event","data":`...)
		body = append(appendData(body), '}')
	}
	answer, err := r.post(url+"/v1/events/batch", content, append(body, last...))
	if err != nil {
		return 0, err
	}
	if refused := bytes.Count(answer, []byte(`{"error":`)); refused > 0 {
		return 0, fmt.Errorf("publish: %d of %d events of a batch were refused: %.500s", refused, size, answer)
	}
	return size, nil
}
