package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

// side is one way to write the same record.
type side struct {
	record, name string
	isStock      bool // the sides that follow are compared with it
	write        func()
	flush        func(context.Context) error // nil: nothing is exported
}

const stockName = "stock"

// output is where a side's records go.
type output struct {
	name   string
	logger *slog.Logger
	flush  func(context.Context) error
}

// newSides returns the sides of each kind of record, the stock one first.
func newSides(ctx context.Context) (sides []side, closeAll func() error, err error) {
	var closers []func(context.Context) error
	closeAll = func() error {
		var errs []error
		for _, end := range closers {
			errs = append(errs, end(ctx))
		}
		return errors.Join(errs...)
	}
	provider := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(discard{})))
	closers = append(closers, provider.Shutdown)
	both := []output{{stockName, slog.New(slog.NewMultiHandler(slog.NewJSONHandler(io.Discard, nil),
		otelslog.NewHandler("benchmark", otelslog.WithLoggerProvider(provider)))), provider.ForceFlush}}
	console := []output{{stockName, slog.New(correlated{slog.NewJSONHandler(io.Discard, nil)}), nil}}
	for _, redaction := range []struct {
		name string
		telemetry.Redaction
	}{{"ours", telemetry.Redaction{}}, {"ours, redaction off", telemetry.Redaction{Off: true}}} {
		guard, err := newGuard(ctx, telemetry.WithLogExporter(discard{}), telemetry.WithRedaction(redaction.Redaction))
		closers = append(closers, guard.Shutdown)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		alone, err := newGuard(ctx, telemetry.WithoutLogs(), telemetry.WithRedaction(redaction.Redaction))
		closers = append(closers, alone.Shutdown)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		both = append(both, output{redaction.name, guard.Logger(), guard.ForceFlush})
		console = append(console, output{redaction.name, alone.Logger(), nil})
	}
	for _, kind := range []struct {
		record  string
		outputs []output
		write   func(*slog.Logger) func()
	}{
		{"console and OTLP", both, writer(slog.LevelInfo)},
		{"the same, three attributes of With", both, func(l *slog.Logger) func() {
			return writer(slog.LevelInfo)(l.With("component", "checkout", "region", "eu-central-1", "shard", 12))
		}},
		{"an error and a struct", both, failureWriter},
		{"console alone", console, writer(slog.LevelInfo)},
		{"below the level", both, writer(slog.LevelDebug)},
		{"below the level, console alone", console, writer(slog.LevelDebug)},
	} {
		for _, o := range kind.outputs {
			sides = append(sides, side{kind.record, o.name, o.name == stockName, kind.write(o.logger), o.flush})
		}
	}
	return sides, closeAll, nil
}

// newGuard exports no spans and no metrics: only what log records cost is measured.
func newGuard(ctx context.Context, options ...telemetry.Option) (*telemetry.Guard, error) {
	guard, err := telemetry.Init(ctx, append(options, telemetry.WithoutGlobals(),
		telemetry.WithServiceName("benchmark"), telemetry.WithLogOutput(io.Discard),
		telemetry.WithSpanExporter(discardSpans{}), telemetry.WithMetricReader(sdkmetric.NewManualReader()),
		telemetry.WithoutRuntimeMetrics())...)
	if err != nil {
		return guard, fmt.Errorf("start telemetry: %w", err)
	}
	return guard, nil
}

// inSpan is the context of a span, W3C's example.
func inSpan() context.Context {
	traceID, _ := trace.TraceIDFromHex("4bf92f3577b34da6a3ce929d0e0e4736")
	spanID, _ := trace.SpanIDFromHex("00f067aa0ba902b7")
	return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: trace.FlagsSampled}))
}

// writer writes a record in the context of a span.
func writer(level slog.Level) func(*slog.Logger) func() {
	ctx := inSpan()
	return func(logger *slog.Logger) func() {
		return func() {
			logger.LogAttrs(ctx, level, "order placed",
				slog.String("order.state", "confirmed"),
				slog.Int("order.items", 3),
				slog.Float64("order.total", 129.95),
				slog.Duration("took", 41*time.Millisecond),
				slog.Bool("express", true))
		}
	}
}

// failureWriter writes a record with values that are no scalars.
func failureWriter(logger *slog.Logger) func() {
	type order struct {
		ID    string   `json:"id"`
		Items []string `json:"items"`
		Total float64  `json:"total"`
	}
	ctx, failure := inSpan(), fmt.Errorf("charge card: %w", context.DeadlineExceeded)
	placed := order{"ORD-17", []string{"coffee", "filter"}, 129.95}
	return func() {
		logger.LogAttrs(ctx, slog.LevelError, "order failed",
			slog.String("order.state", "declined"), slog.Any("order", placed), slog.Int("attempt", 3),
			slog.Any("error", failure), slog.Bool("express", true))
	}
}

// correlated adds the ids of the span, as a service does that writes them itself.
type correlated struct{ slog.Handler }

func (h correlated) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()),
			slog.String("trace_flags", sc.TraceFlags().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// discard and discardSpans are exporters that throw away what they get.
type discard struct{}

func (discard) Export(context.Context, []sdklog.Record) error { return nil }
func (discard) Shutdown(context.Context) error                { return nil }
func (discard) ForceFlush(context.Context) error              { return nil }

type discardSpans struct{}

func (discardSpans) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discardSpans) Shutdown(context.Context) error                             { return nil }
