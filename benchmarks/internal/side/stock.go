package side

import (
	"context"
	"errors"
	"log/slog"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry"
)

// The queue and the batch of this library's default profile, for Tuned.
const (
	tunedQueue = 8192
	tunedBatch = 1024
)

// stock is the pipeline of OpenTelemetry's own getting-started page. Null stands in the same
// providers, without exporters.
func stock(ctx context.Context, c Config) (*Side, error) {
	// The errors of a collector that cannot keep up are the result, not a message.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	otel.SetLogger(logr.FromSlogHandler(slog.DiscardHandler))

	var (
		spans   sdktrace.SpanProcessor = discard{}
		records sdklog.Processor       = discardLogs{}
	)
	if c.Side != Null {
		spanExporter, err := spanExporter(ctx, c)
		if err != nil {
			return nil, err
		}
		logExporter, err := logExporter(ctx, c)
		if err != nil {
			return nil, err
		}
		var spanOptions []sdktrace.BatchSpanProcessorOption
		var logOptions []sdklog.BatchProcessorOption
		if c.Side == Tuned {
			spanOptions = []sdktrace.BatchSpanProcessorOption{sdktrace.WithMaxQueueSize(tunedQueue),
				sdktrace.WithMaxExportBatchSize(tunedBatch)}
			logOptions = []sdklog.BatchProcessorOption{sdklog.WithMaxQueueSize(tunedQueue),
				sdklog.WithExportMaxBatchSize(tunedBatch)}
		}
		spans, records = sdktrace.NewBatchSpanProcessor(spanExporter, spanOptions...),
			sdklog.NewBatchProcessor(logExporter, logOptions...)
	}
	res := resource.NewSchemaless(attribute.String("service.name", scope))
	tp := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithSpanProcessor(spans),
		sdktrace.WithSampler(sdktrace.AlwaysSample()))
	lp := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(records))
	return &Side{
		Tracer: tp.Tracer(scope),
		Logger: lp.Logger(scope),
		Flush: func(ctx context.Context) error {
			return errors.Join(tp.ForceFlush(ctx), lp.ForceFlush(ctx))
		},
		Shutdown: func(ctx context.Context) error {
			return errors.Join(tp.Shutdown(ctx), lp.Shutdown(ctx))
		},
		Health: func() telemetry.Health { return telemetry.Health{} },
	}, nil
}

func spanExporter(ctx context.Context, c Config) (sdktrace.SpanExporter, error) {
	if c.Protocol == telemetry.ProtocolGRPC {
		opts := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(c.Endpoint)}
		if c.Gzip {
			opts = append(opts, otlptracegrpc.WithCompressor("gzip"))
		}
		return otlptracegrpc.New(ctx, opts...)
	}
	opts := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(c.Endpoint + "/v1/traces")}
	if c.Gzip {
		opts = append(opts, otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	}
	return otlptracehttp.New(ctx, opts...)
}

func logExporter(ctx context.Context, c Config) (sdklog.Exporter, error) {
	if c.Protocol == telemetry.ProtocolGRPC {
		opts := []otlploggrpc.Option{otlploggrpc.WithEndpointURL(c.Endpoint)}
		if c.Gzip {
			opts = append(opts, otlploggrpc.WithCompressor("gzip"))
		}
		return otlploggrpc.New(ctx, opts...)
	}
	opts := []otlploghttp.Option{otlploghttp.WithEndpointURL(c.Endpoint + "/v1/logs")}
	if c.Gzip {
		opts = append(opts, otlploghttp.WithCompression(otlploghttp.GzipCompression))
	}
	return otlploghttp.New(ctx, opts...)
}

// discard ends the life of a span where a batch processor would begin.
type discard struct{}

func (discard) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (discard) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (discard) ForceFlush(context.Context) error                { return nil }
func (discard) Shutdown(context.Context) error                  { return nil }

// discardLogs is discard for log records.
type discardLogs struct{}

func (discardLogs) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (discardLogs) OnEmit(context.Context, *sdklog.Record) error           { return nil }
func (discardLogs) ForceFlush(context.Context) error                       { return nil }
func (discardLogs) Shutdown(context.Context) error                         { return nil }
