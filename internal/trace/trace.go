// Package trace records what happens to events as OpenTelemetry spans and sends them by OTLP
// over HTTP. It is configured by the standard variables OTEL_* alone.
//
// Each event is a trace of its own, whose id is the id of the event (package hook). The
// spans of a request that publishes belong to the trace of its caller, and are linked with
// the traces of the events.
//
// The package guarantees that a collector that is slow or away costs nothing but its spans:
// they wait in a bounded queue, and what does not fit is dropped. Spans contain ids, types,
// statuses and hosts, but no data, no paths of URLs and no secrets.
package trace

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"

	"github.com/posthorn/posthorn/internal/hook"
)

// mostLinks bounds the links of a span, and so the events of one request that get a first
// span.
const mostLinks = 128

// Tracer records spans. Its methods are safe for concurrent use and do not block.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   api.Tracer
	ratio    float64 // of the events whose trace is recorded
}

// FromEnvironment returns a tracer as the variables OTEL_* say. It is nil if they name no
// collector or turn tracing off. An error means that they cannot be followed; then nothing
// is traced.
func FromEnvironment(ctx context.Context, getenv func(string) string, version string, log *slog.Logger) (*Tracer, error) {
	if on, err := wanted(getenv); !on || err != nil {
		return nil, err
	}
	ratio, err := ratioOf(getenv("OTEL_TRACES_SAMPLER"), getenv("OTEL_TRACES_SAMPLER_ARG"))
	if err != nil {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx) // reads its own variables
	if err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_*: %w", err)
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "posthorn"), attribute.String("service.version", version)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(&errorLog{log: log})
	t := &Tracer{ratio: ratio, provider: sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about),
		sdk.WithSampler(sdk.ParentBased(roots{sdk.TraceIDRatioBased(ratio)})), sdk.WithIDGenerator(ids{}))}
	t.tracer = t.provider.Tracer("github.com/posthorn/posthorn", api.WithInstrumentationVersion(version))
	return t, nil
}

// wanted reports whether the variables turn tracing on.
func wanted(getenv func(string) string) (bool, error) {
	if off, _ := strconv.ParseBool(getenv("OTEL_SDK_DISABLED")); off {
		return false, nil
	}
	address, name := "", ""
	for _, name = range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		if address = getenv(name); address != "" {
			break
		}
	}
	switch exporter := getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "none":
		return false, nil
	case "":
		if address == "" {
			return false, nil
		}
	case "otlp":
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER: %q is not otlp or none", exporter)
	}
	if address != "" {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return false, fmt.Errorf("%s is not the URL of a collector such as http://localhost:4318", name) // it may contain a password
		}
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch protocol := getenv(name); protocol {
		case "":
			continue
		case "http/protobuf":
		default:
			return false, fmt.Errorf("%s: %q is not supported; use http/protobuf, at port 4318 of most collectors", name, protocol)
		}
		break
	}
	return true, nil
}

// ratioOf returns the share of events whose trace is recorded. Whether a caller samples does
// not matter to events: they are a trace of their own.
func ratioOf(sampler, argument string) (float64, error) {
	switch sampler {
	case "", "always_on", "parentbased_always_on":
		return 1, nil
	case "always_off", "parentbased_always_off":
		return 0, nil
	case "traceidratio", "parentbased_traceidratio":
		if argument == "" {
			return 1, nil
		}
		ratio, err := strconv.ParseFloat(argument, 64)
		if err != nil || !(ratio >= 0 && ratio <= 1) {
			return 0, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: %q is not from 0 to 1", argument)
		}
		return ratio, nil
	}
	return 0, fmt.Errorf("OTEL_TRACES_SAMPLER: %q is not known", sampler)
}

// errorLog logs at most one error a minute.
type errorLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	last time.Time
}

// Handle implements otel.ErrorHandler.
func (l *errorLog) Handle(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.last) >= time.Minute {
		l.last = now
		l.log.Warn("spans were not sent to the collector of OTEL_EXPORTER_OTLP_ENDPOINT; nothing else is affected", "error", err)
	}
}

// Close sends what waits until ctx ends.
func (t *Tracer) Close(ctx context.Context) { _ = t.provider.Shutdown(ctx) } // errors go to errorLog

// Sampled reports whether the trace of an event is recorded. It is the same on all nodes
// and for all attempts.
func (t *Tracer) Sampled(event hook.ID) bool {
	span := hook.EventSpan(event) // uniform, unlike the id, which begins with its time
	return float64(binary.BigEndian.Uint64(span[:])) < t.ratio*math.MaxUint64
}

// roots samples spans without a parent. Those with given ids are events, for which Sampled
// has decided.
type roots struct{ sdk.Sampler }

// ShouldSample implements sdk.Sampler.
func (r roots) ShouldSample(p sdk.SamplingParameters) sdk.SamplingResult {
	if p.ParentContext.Value(idsKey{}) != nil {
		return sdk.AlwaysSample().ShouldSample(p)
	}
	return r.Sampler.ShouldSample(p)
}

// Request begins the span of a request that publishes. end takes the status of the answer.
func (t *Tracer) Request(r *http.Request) (ctx context.Context, end func(status int)) {
	ctx = propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := t.tracer.Start(ctx, r.Method+" "+r.URL.Path, api.WithSpanKind(api.SpanKindServer), api.WithAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("http.route", r.URL.Path)))
	return ctx, func(status int) {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= 500 {
			span.SetStatus(codes.Error, http.StatusText(status))
		}
		span.End()
	}
}

// Commit begins the span of storing published events, which includes waiting for the commit
// that they share with others. end takes what was stored. It begins the trace of each event.
func (t *Tracer) Commit(ctx context.Context) (end func(made []hook.Published, err error)) {
	began := time.Now()
	ctx, span := t.tracer.Start(ctx, "commit", api.WithTimestamp(began))
	return func(made []hook.Published, err error) {
		defer span.End()
		span.SetAttributes(attribute.Int("posthorn.events", len(made)))
		if err != nil {
			span.SetStatus(codes.Error, string(hook.CodeOf(err)))
			return
		}
		caller := api.LinkFromContext(ctx)
		for i := range made[:min(len(made), mostLinks)] {
			if p := &made[i]; p.Err == nil && !p.Repeated && t.Sampled(p.Event) {
				t.accepted(p, began, caller)
				span.AddLink(api.Link{SpanContext: contextOf(p.Event)})
			}
		}
	}
}

// accepted records the first span of an event.
func (t *Tracer) accepted(p *hook.Published, began time.Time, caller api.Link) {
	ctx := context.WithValue(context.Background(), idsKey{}, wantedIDs{api.TraceID(p.Event), api.SpanID(hook.EventSpan(p.Event))})
	options := []api.SpanStartOption{api.WithNewRoot(), api.WithTimestamp(began), api.WithSpanKind(api.SpanKindProducer), api.WithAttributes(
		attribute.String("posthorn.event.id", hook.PublicText(p.PublicID, p.GivenID)), attribute.String("posthorn.event.type", p.Type),
		attribute.String("posthorn.tenant", p.Tenant), attribute.Int("posthorn.deliveries", p.Deliveries))}
	if caller.SpanContext.IsValid() {
		options = append(options, api.WithLinks(caller))
	}
	_, span := t.tracer.Start(ctx, "event accepted", options...)
	span.End()
}

// Attempt begins the span of an attempt. end takes its outcome. It does nothing if the
// event is not sampled.
func (t *Tracer) Attempt(ctx context.Context, j *hook.Job) (end func(o *hook.Outcome)) {
	d := &j.Delivery
	if !t.Sampled(d.Event) {
		return func(*hook.Outcome) {}
	}
	number := d.Attempts + 1
	ctx = api.ContextWithRemoteSpanContext(ctx, contextOf(d.Event))
	ctx = context.WithValue(ctx, idsKey{}, wantedIDs{span: api.SpanID(hook.AttemptSpan(d.ID, number))})
	_, span := t.tracer.Start(ctx, "attempt", api.WithSpanKind(api.SpanKindClient), api.WithAttributes(
		attribute.String("posthorn.delivery.id", d.ID.String()), attribute.String("posthorn.endpoint.id", d.Endpoint.String()),
		attribute.String("posthorn.event.type", d.EventType), attribute.String("posthorn.tenant", d.Scope.Tenant), attribute.String("posthorn.mode", d.Scope.Mode.String()),
		attribute.Int("posthorn.attempt", number)))
	if u, err := url.Parse(j.Target.URL); err == nil {
		span.SetAttributes(attribute.String("server.address", u.Hostname()))
	}
	return func(o *hook.Outcome) {
		if o.Status != 0 {
			span.SetAttributes(attribute.Int("http.response.status_code", o.Status))
		}
		if o.Skipped {
			span.SetAttributes(attribute.Bool("posthorn.skipped", true))
		}
		if o.Class != hook.ClassNone {
			span.SetAttributes(attribute.String("error.type", string(o.Class)))
		}
		if !o.Success && !o.Skipped {
			span.SetStatus(codes.Error, string(o.Class))
		}
		span.End()
	}
}

// contextOf returns the context of the first span of an event.
func contextOf(event hook.ID) api.SpanContext {
	return api.NewSpanContext(api.SpanContextConfig{TraceID: api.TraceID(event), SpanID: api.SpanID(hook.EventSpan(event)),
		TraceFlags: api.FlagsSampled, Remote: true})
}

// ids gives spans the ids of their context, and random ones otherwise.
type ids struct{}

type idsKey struct{}

type wantedIDs struct {
	trace api.TraceID
	span  api.SpanID
}

// NewIDs implements sdk.IDGenerator.
func (ids) NewIDs(ctx context.Context) (api.TraceID, api.SpanID) {
	if w, ok := ctx.Value(idsKey{}).(wantedIDs); ok {
		return w.trace, w.span
	}
	return api.TraceID(random[[16]byte]()), api.SpanID(random[[8]byte]())
}

// NewSpanID implements sdk.IDGenerator.
func (ids) NewSpanID(ctx context.Context, _ api.TraceID) api.SpanID {
	if w, ok := ctx.Value(idsKey{}).(wantedIDs); ok {
		return w.span
	}
	return api.SpanID(random[[8]byte]())
}
