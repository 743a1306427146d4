package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/server"
	"github.com/posthorn/posthorn/internal/trace"
)

// traceEnd bounds how long the end waits for spans to be sent.
const traceEnd = 2 * time.Second

// traceEvents makes the server record spans if the variables OTEL_* say so. end sends those
// that wait. A mistake in the variables is logged, and nothing is traced: they may be set
// for every program of the machine.
func traceEvents(ctx context.Context, cfg *server.Config, log *slog.Logger) (end func()) {
	tracer, err := trace.FromEnvironment(ctx, os.Getenv, build.Version(), log)
	switch {
	case err != nil:
		log.Error("traces are off", "reason", err)
		fallthrough
	case tracer == nil:
		return func() {}
	}
	cfg.Tracer = tracer
	log.Info("traces are sent to the collector of OTEL_EXPORTER_OTLP_ENDPOINT")
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), traceEnd)
		defer cancel()
		tracer.Close(ctx)
	}
}
