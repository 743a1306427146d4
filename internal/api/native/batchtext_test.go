package native_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

// The memory of a batch is used again by the next one. The jobs of the first keep their data,
// and keep no more than that.
func TestJobsOfABatchKeepTheirData(t *testing.T) {
	var jobs []hook.Job
	h := newTestAPI(t, func(_ *app.Options, so *store.Options) {
		so.Room = func(*hook.Endpoint) int { return 1000 }
		so.Committed = func(c hook.Commit) { jobs = append(jobs, c.Jobs...) }
	})
	want[client.Tenant](h, 201, post("/v1/tenants", `{"id":"acme"}`))
	want[client.Endpoint](h, 201, post("/v1/endpoints", `{"tenant":"acme","url":"https://example.com/","event_types":["*"]}`))
	for _, kind := range []string{"application/json", "application/x-ndjson"} {
		jobs = nil
		for round := range 5 {
			var items []string
			for i := range 50 {
				items = append(items, fmt.Sprintf(`{"tenant":"acme","type":"a.b","data":{"n":"%d-%02d"}}`, round, i))
			}
			text := "[" + strings.Join(items, ",") + "]"
			if kind != "application/json" {
				text = strings.Join(items, "\n")
			}
			want[client.BatchResults](h, 202, with(post("/v1/events/batch", text), "Content-Type", kind))
		}
		if len(jobs) != 250 {
			t.Fatalf("%s: %d jobs", kind, len(jobs))
		}
		for i, j := range jobs {
			if got, want := string(j.Event.Data), fmt.Sprintf(`{"n":"%d-%02d"}`, i/50, i%50); got != want {
				t.Fatalf("%s: job %d has %s, want %s", kind, i, got, want)
			}
			if c := cap(j.Event.Data); c > 64 {
				t.Fatalf("%s: job %d keeps %d bytes", kind, i, c)
			}
		}
	}
}
