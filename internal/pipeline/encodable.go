package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/encodable"
	"github.com/fleetotel/telemetry/internal/logs"
	"github.com/fleetotel/telemetry/internal/peek"
)

// The exporters below are called right before the encoder, in the goroutine that exports.

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

type encodableMetrics struct {
	sdkmetric.Exporter
	limits encodable.Limits
}

func (e encodableMetrics) Export(ctx context.Context, rm *metricdata.ResourceMetrics) error {
	e.limits.Metrics(rm)
	return e.Exporter.Export(ctx, rm)
}

// The processors below come before everything that holds items, so the items that are held have the
// size that is counted.

type limitedSpans struct {
	sdktrace.SpanProcessor
	limits encodable.Limits
	look   *peek.Spans
}

func (p limitedSpans) OnEnd(span sdktrace.ReadOnlySpan) {
	p.SpanProcessor.OnEnd(p.limits.Span(span, p.look))
}

type limitedLogs struct {
	sdklog.Processor
	limits encodable.Limits
}

func (p limitedLogs) OnEmit(ctx context.Context, r *sdklog.Record) error {
	p.limits.Record(r)
	return p.Processor.OnEmit(ctx, r)
}

// The exporters below wrap those that write JSON to standard output.

type jsonSpans struct{ sdktrace.SpanExporter }

func (e jsonSpans) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	encodable.FiniteSpans(spans)
	return e.SpanExporter.ExportSpans(ctx, spans)
}

type jsonMetrics struct{ sdkmetric.Exporter }

func (e jsonMetrics) Export(ctx context.Context, rm *metricdata.ResourceMetrics) error {
	encodable.FiniteMetrics(rm)
	return e.Exporter.Export(ctx, rm)
}

// jsonLines writes one value per line. Numbers that JSON does not have, such as NaN, become
// strings.
type jsonLines struct{ out io.Writer }

func (e jsonLines) Encode(value any) error {
	line, err := json.Marshal(value)
	if unsupported := (*json.UnsupportedValueError)(nil); errors.As(err, &unsupported) {
		line, err = logs.JSON(value), nil
	}
	if err != nil {
		return err
	}
	_, err = e.out.Write(append(line, '\n'))
	return err
}
