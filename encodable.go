package telemetry

import (
	"context"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/encodable"
)

// The exporters below stand right before the encoder, in the goroutine that exports.

type encodableSpans struct{ sdktrace.SpanExporter }

func (e encodableSpans) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	encodable.Spans(spans)
	return e.SpanExporter.ExportSpans(ctx, spans)
}

type encodableLogs struct{ sdklog.Exporter }

func (e encodableLogs) Export(ctx context.Context, records []sdklog.Record) error {
	encodable.Records(records)
	return e.Exporter.Export(ctx, records)
}

type encodableMetrics struct{ sdkmetric.Exporter }

func (e encodableMetrics) Export(ctx context.Context, rm *metricdata.ResourceMetrics) error {
	encodable.Metrics(rm)
	return e.Exporter.Export(ctx, rm)
}
