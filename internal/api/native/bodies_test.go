package native_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/bodies"
)

const batchSize = 3900 << 10

// slowBatch is a batch of one event that stops before its last byte.
type slowBatch struct {
	sent   int
	parked func()
	goOn   chan struct{}
}

const lastEvent = `{"tenant":"acme","type":"a.b","data":{"n":1}}]`

// Read fills p with blanks, so that the batch takes no memory before it is read.
func (s *slowBatch) Read(p []byte) (int, error) {
	blanks := batchSize - len(lastEvent)
	if s.sent == blanks {
		s.parked()
		<-s.goOn
		s.sent += copy(p, lastEvent)
		return len(lastEvent), io.EOF
	}
	n := min(len(p), blanks-s.sent)
	for i := range p[:n] {
		p[i] = ' '
	}
	if s.sent == 0 {
		p[0] = '['
	}
	s.sent += n
	return n, nil
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // twice: pools keep their content across one collection
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// flood sends n batches at once and calls look when all of them wait or are answered.
// It returns how many bytes of heap they took and how many got each status.
func flood(h *testAPI, n int, key string, look func()) (held int64, statuses map[int]int) {
	before := heap()
	events, goOn := make(chan int, 2*n), make(chan struct{})
	for i := range n {
		r := httptest.NewRequest(http.MethodPost, "/v1/events/batch", &slowBatch{goOn: goOn, parked: func() { events <- 0 }})
		if i%2 == 0 {
			r.ContentLength = batchSize
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+key)
		go func() {
			w := httptest.NewRecorder()
			h.handler.ServeHTTP(w, r)
			if w.Code == http.StatusServiceUnavailable && (w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "server_busy")) {
				h.t.Errorf("refused with %s", w.Body)
			}
			events <- w.Code
		}()
	}
	statuses = map[int]int{}
	parked := 0
	note := func(status int) {
		if status == 0 {
			parked++
		} else {
			statuses[status]++
		}
	}
	for range n { // each waits for its last byte or is answered
		note(<-events)
	}
	held = heap() - before
	look()
	close(goOn)
	for range parked {
		note(<-events)
	}
	return held, statuses
}

// One key that sends 150 large batches at once gets a quarter of the budget. The heap
// stays small, and others can publish in the meantime. Nothing of a refused batch is
// stored.
func TestBodiesUnderWayAreBounded(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	greedy, other := h.key("publisher", ""), h.key("publisher", "")
	plain := h.handler
	budget := bodies.NewBudget(bodies.DefaultBudget)
	h.handler = budget.Handler(plain)
	const bound = 48 << 20
	held, got := flood(h, 150, greedy, func() {
		small := call{"POST", "/v1/events", other, `{"tenant":"acme","type":"c.d","data":{"n":1}}`, nil}
		want[client.Published](h, http.StatusAccepted, small)
	})
	t.Logf("FIGURE 150 batches at once: %d MiB of heap, answers %v", held>>20, got)
	if held > bound || got[202] == 0 || got[202] > 4 || got[202]+got[503] != 150 {
		t.Errorf("%d MiB of heap, answers %v", held>>20, got)
	}
	if n := h.count()["events"]; n != got[202]+1 || budget.Used() != 0 {
		t.Errorf("%d events stored of %d accepted; %d bytes of the budget still used", n, got[202]+1, budget.Used())
	}
	h.handler = plain // control
	held, got = flood(h, 30, greedy, func() {})
	t.Logf("FIGURE 30 batches without a budget: %d MiB of heap", held>>20)
	if held < bound || got[202] != 30 {
		t.Errorf("without a budget 30 batches took %d MiB only; answers %v", held>>20, got)
	}
}
