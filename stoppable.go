package telemetry

import (
	"context"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// The SDK's processors export with a context of their own, which nothing cancels: with a collector that hangs, their
// goroutines would outlive Shutdown. These wrappers end an export when Shutdown's share of time is over.

type stoppableSpans struct {
	sdktrace.SpanExporter
	stop context.Context
}

func (s stoppableSpans) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := until(ctx, s.stop)
	defer cancel()
	return s.SpanExporter.ExportSpans(ctx, spans)
}

type stoppableLogs struct {
	sdklog.Exporter
	stop context.Context
}

func (s stoppableLogs) Export(ctx context.Context, records []sdklog.Record) error {
	ctx, cancel := until(ctx, s.stop)
	defer cancel()
	return s.Exporter.Export(ctx, records)
}

type stoppableMetrics struct {
	sdkmetric.Exporter
	stop context.Context
}

func (s stoppableMetrics) Export(ctx context.Context, rm *metricdata.ResourceMetrics) error {
	ctx, cancel := until(ctx, s.stop)
	defer cancel()
	return s.Exporter.Export(ctx, rm)
}

// until returns ctx, ended by stop as well.
func until(ctx, stop context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	release := context.AfterFunc(stop, func() { cancel(context.Cause(stop)) })
	return ctx, func() { release(); cancel(nil) }
}
