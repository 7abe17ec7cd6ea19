package pipeline

import (
	"context"
	"log/slog"
	"sync/atomic"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/console"
	"github.com/fleetotel/telemetry/internal/redact"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// redaction masks what leaves the process, or does nothing if it is nil.
type redaction struct {
	core *redact.Redactor
	hits [signal.Count]atomic.Int64 // values or parts of values
}

// newRedaction returns nil if redaction is off.
func newRedaction(cfg *settings.Config) *redaction {
	if !cfg.Redaction.Value {
		return nil
	}
	return &redaction{core: redact.New(redact.Config{
		Keys: cfg.RedactedKeys.Value, AllowKeys: cfg.AllowedKeys.Value, Patterns: cfg.RedactedValues.Value,
	})}
}

// counter returns a function that returns how many values, or parts of values, were masked in a
// signal.
func (r *redaction) counter(s signal.Signal) func() int64 {
	if r == nil {
		return func() int64 { return 0 }
	}
	return r.hits[s].Load
}

// replaceAttr is for the console branch; nil without redaction.
func (r *redaction) replaceAttr(format string) func([]string, slog.Attr) slog.Attr {
	switch {
	case r == nil:
		return nil
	case format == settings.LogFormatText:
		return r.core.SlogText
	}
	return r.core.SlogJSON
}

func (r *redaction) spans(next sdktrace.SpanExporter) sdktrace.SpanExporter {
	if r == nil {
		return next
	}
	return redactedSpans{next, r}
}

// view masks what the development view shows. The view is not an exporter and also shows spans that
// have not ended, so each span is counted only once it has ended.
func (r *redaction) view(shown *console.Traces) {
	if r != nil {
		shown.Masking(r.span)
	}
}

func (r *redaction) span(span sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan {
	one := []sdktrace.ReadOnlySpan{span}
	if n := r.core.Spans(one); !span.EndTime().IsZero() {
		r.hits[signal.Traces].Add(int64(n))
	}
	return one[0]
}

func (r *redaction) metrics(next sdkmetric.Exporter) sdkmetric.Exporter {
	if r == nil {
		return next
	}
	return redactedMetrics{next, r}
}

func (r *redaction) logs(next []sdklog.Exporter) []sdklog.Exporter {
	if r == nil {
		return next
	}
	redacted := make([]sdklog.Exporter, len(next))
	for i, exporter := range next {
		redacted[i] = redactedLogs{exporter, r}
	}
	return redacted
}

// The exporters below replace items in the batch they are given, and change none of the items. The
// batch belongs to the engine alone. If it comes again, in halves or for the spool, its items are
// masked already, so nothing is masked or counted twice.

type redactedSpans struct {
	sdktrace.SpanExporter
	redaction *redaction
}

func (e redactedSpans) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.redaction.hits[signal.Traces].Add(int64(e.redaction.core.Spans(spans)))
	return e.SpanExporter.ExportSpans(ctx, spans)
}

type redactedLogs struct {
	sdklog.Exporter
	redaction *redaction
}

func (e redactedLogs) Export(ctx context.Context, records []sdklog.Record) error {
	e.redaction.hits[signal.Logs].Add(int64(e.redaction.core.Records(records)))
	return e.Exporter.Export(ctx, records)
}

type redactedMetrics struct {
	sdkmetric.Exporter
	redaction *redaction
}

func (e redactedMetrics) Export(ctx context.Context, rm *metricdata.ResourceMetrics) error {
	e.redaction.hits[signal.Metrics].Add(int64(e.redaction.core.Metrics(rm)))
	return e.Exporter.Export(ctx, rm)
}
