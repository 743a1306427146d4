package trace_test

import (
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/trace"
)

var quiet = slog.New(slog.DiscardHandler)

// variables sets variables for the tracer and for the libraries that read them themselves.
func variables(t *testing.T, pairs ...string) func(string) string {
	t.Helper()
	set := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		set[pairs[i]] = pairs[i+1]
		t.Setenv(pairs[i], pairs[i+1])
	}
	return func(name string) string { return set[name] }
}

// received collects the spans that a collector got.
type received struct {
	mu   sync.Mutex
	all  []*spans.Span
	text []byte
}

func (r *received) ServeHTTP(_ http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	var got collector.ExportTraceServiceRequest
	_ = proto.Unmarshal(body, &got)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = append(r.text, body...)
	for _, resource := range got.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			r.all = append(r.all, scope.Spans...)
		}
	}
}

func (r *received) named(name string) *spans.Span {
	for _, s := range r.all {
		if s.Name == name {
			return s
		}
	}
	return &spans.Span{}
}

// deliveryOf returns the same delivery of an event each time.
func deliveryOf(event hook.ID) hook.ID {
	event[15]++
	return event
}

func job(event hook.ID, attempts int) *hook.Job {
	return &hook.Job{Target: &hook.Endpoint{URL: "https://hooks.example.com/secret-path?token=secret-query"},
		Delivery: hook.Delivery{ID: deliveryOf(event), Event: event, EventType: "a.b", Attempts: attempts, Scope: hook.Scope{Tenant: "acme", Mode: hook.Live}}}
}

// run publishes an event in the trace of a caller, and makes two attempts.
func run(tracer *trace.Tracer, event hook.ID) {
	r := httptest.NewRequest("POST", "/v1/events?secret-query", strings.NewReader("secret-data"))
	r.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	r.Header.Set("Authorization", "Bearer secret-key")
	ctx, answered := tracer.Request(r)
	committed := tracer.Commit(ctx)
	committed([]hook.Published{{Event: event, PublicID: event, Type: "a.b", Tenant: "acme", Deliveries: 1}}, nil)
	answered(202)
	for attempts, o := range []hook.Outcome{{Status: 500, Class: hook.ClassStatus}, {Status: 200, Success: true}} {
		tracer.Attempt(context.Background(), job(event, attempts))(&o)
	}
}

// What a collector gets: the request in the trace of its caller, linked with the trace of
// the event, where all attempts are, also those of other processes. No secret is in it.
func TestSpansOfAnEvent(t *testing.T) {
	got := &received{}
	server := httptest.NewServer(got)
	defer server.Close()
	tracer, err := trace.FromEnvironment(t.Context(), variables(t, "OTEL_EXPORTER_OTLP_ENDPOINT", server.URL), "1.2.3", quiet)
	if err != nil || tracer == nil {
		t.Fatal(tracer, err)
	}
	event := hook.NewIDs(time.Now).Next()
	run(tracer, event)
	tracer.Close(t.Context())

	request, commit, accepted := got.named("POST /v1/events"), got.named("commit"), got.named("event accepted")
	if len(got.all) != 5 || hex.EncodeToString(request.TraceId) != "0af7651916cd43dd8448eb211c80319c" || hex.EncodeToString(request.ParentSpanId) != "b7ad6b7169203331" {
		t.Errorf("%d spans, request %v", len(got.all), request)
	}
	if string(commit.ParentSpanId) != string(request.SpanId) || len(commit.Links) != 1 || string(commit.Links[0].TraceId) != string(event[:]) {
		t.Errorf("commit %v", commit)
	}
	if string(accepted.TraceId) != string(event[:]) || len(accepted.ParentSpanId) != 0 || len(accepted.Links) != 1 || string(accepted.Links[0].TraceId) != string(request.TraceId) {
		t.Errorf("accepted %v", accepted)
	}
	number := 0
	for _, s := range got.all {
		if s.Name != "attempt" {
			continue
		}
		number++
		want := hook.AttemptSpan(deliveryOf(event), number)
		if string(s.TraceId) != string(event[:]) || string(s.ParentSpanId) != string(accepted.SpanId) || string(s.SpanId) != string(want[:]) {
			t.Errorf("attempt %d: %v", number, s)
		}
		// A receiver that continues the trace has this span as its parent.
		if parent := string(hook.AppendTraceParent(nil, event, deliveryOf(event), number, true)); parent != "00-"+hex.EncodeToString(s.TraceId)+"-"+hex.EncodeToString(s.SpanId)+"-01" {
			t.Errorf("attempt %d: traceparent %s", number, parent)
		}
		if failed := s.Status.GetCode() == spans.Status_STATUS_CODE_ERROR; failed != (number == 1) {
			t.Errorf("attempt %d: %v", number, s.Status)
		}
	}
	if number != 2 {
		t.Errorf("%d attempts", number)
	}
	if strings.Contains(string(got.text), "secret-") || !strings.Contains(string(got.text), "hooks.example.com") {
		t.Errorf("spans say too much or too little: %q", got.text)
	}
}

// A collector that takes the connection and never answers holds nothing up: more spans than
// the queue takes are dropped, and the end waits no longer than its context.
func TestACollectorThatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // nobody accepts
	tracer, err := trace.FromEnvironment(t.Context(), variables(t, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+l.Addr().String(), "OTEL_EXPORTER_OTLP_TIMEOUT", "100"), "1", quiet)
	if err != nil {
		t.Fatal(err)
	}
	ids := hook.NewIDs(time.Now)
	for range 2000 { // 10,000 spans, the queue takes 2,048
		run(tracer, ids.Next())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	tracer.Close(ctx)
	if ctx.Err() == nil {
		t.Error("control: the collector took everything")
	}
}

// A share of the events is sampled: the same ones everywhere.
func TestSampledEvents(t *testing.T) {
	ids := hook.NewIDs(time.Now)
	var events []hook.ID
	for range 2000 {
		events = append(events, ids.Next())
	}
	for ratio, want := range map[string]int{"0": 0, "0.25": 500, "1": 2000} {
		env := variables(t, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER", "traceidratio", "OTEL_TRACES_SAMPLER_ARG", ratio)
		one, err := trace.FromEnvironment(t.Context(), env, "1", quiet)
		if err != nil {
			t.Fatal(err)
		}
		other, err := trace.FromEnvironment(t.Context(), env, "2", quiet)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, event := range events {
			if one.Sampled(event) {
				n++
			}
			if one.Sampled(event) != other.Sampled(event) {
				t.Fatalf("two processes do not agree about %s", event)
			}
		}
		if n < want-100 || n > want+100 {
			t.Errorf("%s: %d of %d", ratio, n, len(events))
		}
		one.Close(t.Context())
		other.Close(t.Context())
	}
}

// Without a collector, nothing is traced. What cannot be followed is said, and quotes no
// password.
func TestVariables(t *testing.T) {
	const to = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for name, one := range map[string]struct {
		set    []string
		on     bool
		refuse string
	}{
		"nothing":         {},
		"only a name":     {set: []string{"OTEL_SERVICE_NAME", "x"}},
		"a collector":     {set: []string{to, "http://127.0.0.1:1"}, on: true},
		"by the exporter": {set: []string{"OTEL_TRACES_EXPORTER", "otlp"}, on: true},
		"none":            {set: []string{to, "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER", "none"}},
		"disabled":        {set: []string{to, "http://127.0.0.1:1", "OTEL_SDK_DISABLED", "true"}},
		"another":         {set: []string{"OTEL_TRACES_EXPORTER", "zipkin"}, refuse: "OTEL_TRACES_EXPORTER"},
		"grpc":            {set: []string{to, "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}, refuse: "OTEL_EXPORTER_OTLP_PROTOCOL"},
		"grpc, overruled": {set: []string{to, "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"}, on: true},
		"no URL":          {set: []string{to, "user:password@host"}, refuse: to},
		"no scheme":       {set: []string{to, "localhost:4318"}, refuse: to},
		"a file":          {set: []string{to, "file:///etc/passwd"}, refuse: to},
		"sampler":         {set: []string{to, "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER", "sometimes"}, refuse: "OTEL_TRACES_SAMPLER"},
		"ratio":           {set: []string{to, "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER", "traceidratio", "OTEL_TRACES_SAMPLER_ARG", "NaN"}, refuse: "OTEL_TRACES_SAMPLER_ARG"},
	} {
		t.Run(name, func(t *testing.T) {
			tracer, err := trace.FromEnvironment(t.Context(), variables(t, one.set...), "1", quiet)
			if (tracer != nil) != one.on || (err != nil) != (one.refuse != "") {
				t.Fatalf("%v, %v", tracer != nil, err)
			}
			if err != nil && (!strings.Contains(err.Error(), one.refuse) || strings.Contains(err.Error(), "password")) {
				t.Error(err)
			}
			if tracer != nil {
				tracer.Close(t.Context())
			}
		})
	}
}
