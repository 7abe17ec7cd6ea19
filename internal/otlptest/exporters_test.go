package otlptest_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/credentials"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

const httpProtobuf, grpcProtocol = "http/protobuf", "grpc"

var (
	protocols = []string{httpProtobuf, grpcProtocol}
	signals   = []otlptest.Signal{otlptest.Traces, otlptest.Metrics, otlptest.Logs}
)

// transport is how the exporters of a test reach the collector.
type transport struct {
	protocol string
	gzip     bool
	tls      *tls.Config
	headers  map[string]string
}

func forBothProtocols(t *testing.T, test func(t *testing.T, tr transport)) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) { test(t, transport{protocol: protocol}) })
	}
}

// exporters are the official ones, without their retry.
type exporters struct {
	traces  sdktrace.SpanExporter
	metrics sdkmetric.Exporter
	logs    sdklog.Exporter
}

func newExporters(t *testing.T, c *otlptest.Collector, tr transport) exporters {
	t.Helper()
	var e exporters
	var errs [3]error
	endpoint := c.Endpoint(tr.protocol)
	if tr.protocol == httpProtobuf {
		traces := []otlptracehttp.Option{
			otlptracehttp.WithEndpointURL(endpoint + "/v1/traces"), otlptracehttp.WithHeaders(tr.headers),
			otlptracehttp.WithTLSClientConfig(tr.tls), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}),
		}
		metrics := []otlpmetrichttp.Option{
			otlpmetrichttp.WithEndpointURL(endpoint + "/v1/metrics"), otlpmetrichttp.WithHeaders(tr.headers),
			otlpmetrichttp.WithTLSClientConfig(tr.tls), otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{}),
		}
		logs := []otlploghttp.Option{
			otlploghttp.WithEndpointURL(endpoint + "/v1/logs"), otlploghttp.WithHeaders(tr.headers),
			otlploghttp.WithTLSClientConfig(tr.tls), otlploghttp.WithRetry(otlploghttp.RetryConfig{}),
		}
		if tr.gzip {
			traces = append(traces, otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
			metrics = append(metrics, otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression))
			logs = append(logs, otlploghttp.WithCompression(otlploghttp.GzipCompression))
		}
		e.traces, errs[0] = otlptracehttp.New(t.Context(), traces...)
		e.metrics, errs[1] = otlpmetrichttp.New(t.Context(), metrics...)
		e.logs, errs[2] = otlploghttp.New(t.Context(), logs...)
	} else {
		traces := []otlptracegrpc.Option{
			otlptracegrpc.WithEndpointURL(endpoint), otlptracegrpc.WithHeaders(tr.headers),
			otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{}),
		}
		metrics := []otlpmetricgrpc.Option{
			otlpmetricgrpc.WithEndpointURL(endpoint), otlpmetricgrpc.WithHeaders(tr.headers),
			otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{}),
		}
		logs := []otlploggrpc.Option{
			otlploggrpc.WithEndpointURL(endpoint), otlploggrpc.WithHeaders(tr.headers),
			otlploggrpc.WithRetry(otlploggrpc.RetryConfig{}),
		}
		if tr.tls != nil {
			secure := credentials.NewTLS(tr.tls)
			traces = append(traces, otlptracegrpc.WithTLSCredentials(secure))
			metrics = append(metrics, otlpmetricgrpc.WithTLSCredentials(secure))
			logs = append(logs, otlploggrpc.WithTLSCredentials(secure))
		}
		if tr.gzip {
			traces = append(traces, otlptracegrpc.WithCompressor("gzip"))
			metrics = append(metrics, otlpmetricgrpc.WithCompressor("gzip"))
			logs = append(logs, otlploggrpc.WithCompressor("gzip"))
		}
		e.traces, errs[0] = otlptracegrpc.New(t.Context(), traces...)
		e.metrics, errs[1] = otlpmetricgrpc.New(t.Context(), metrics...)
		e.logs, errs[2] = otlploggrpc.New(t.Context(), logs...)
	}
	for _, err := range errs {
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		ctx := context.Background() // the test's own has ended
		require.NoError(t, e.traces.Shutdown(ctx))
		require.NoError(t, e.metrics.Shutdown(ctx))
		require.NoError(t, e.logs.Shutdown(ctx))
	})
	return e
}

// send exports n items: numbered spans or log records, or one metric with numbered points.
func (e exporters) send(ctx context.Context, signal otlptest.Signal, n int) error {
	switch signal {
	case otlptest.Traces:
		stubs := make(tracetest.SpanStubs, n)
		for i := range stubs {
			stubs[i] = tracetest.SpanStub{
				Name: fmt.Sprint("span ", i), StartTime: begin, EndTime: end, Resource: origin,
				InstrumentationScope: scope,
			}
		}
		return e.traces.ExportSpans(ctx, stubs.Snapshots())
	case otlptest.Metrics:
		return e.metrics.Export(ctx, resourceMetrics(gauge("numbers", n)))
	default:
		return e.logs.Export(ctx, logRecords(n))
	}
}

func resourceMetrics(metrics ...metricdata.Metrics) *metricdata.ResourceMetrics {
	return &metricdata.ResourceMetrics{
		Resource: origin, ScopeMetrics: []metricdata.ScopeMetrics{{Scope: scope, Metrics: metrics}},
	}
}

func gauge(name string, points int) metricdata.Metrics {
	data := metricdata.Gauge[int64]{DataPoints: make([]metricdata.DataPoint[int64], points)}
	for i := range data.DataPoints {
		data.DataPoints[i] = metricdata.DataPoint[int64]{
			Attributes: attribute.NewSet(attribute.Int("item", i)), Time: end, Value: int64(i),
		}
	}
	return metricdata.Metrics{Name: name, Data: data}
}

// logRecords returns n numbered records of a span; two of the three attributes of each are dropped.
func logRecords(n int) []sdklog.Record {
	var made recorder
	provider := sdklog.NewLoggerProvider(sdklog.WithResource(origin), sdklog.WithProcessor(&made),
		sdklog.WithAttributeCountLimit(1))
	logger := provider.Logger(scope.Name, log.WithInstrumentationVersion(scope.Version),
		log.WithInstrumentationAttributes(scope.Attributes.ToSlice()...))
	ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: trace.FlagsSampled,
	}))
	for i := range n {
		var r log.Record
		r.SetEventName("stock.low")
		r.SetTimestamp(begin)
		r.SetObservedTimestamp(end)
		r.SetSeverity(log.SeverityWarn)
		r.SetSeverityText("WARN")
		r.SetBody(attribute.MapValue(
			attribute.String("text", "low"), attribute.ByteSlice("bytes", []byte{1, 2}),
			attribute.Slice("list", attribute.Int64Value(1), attribute.Value{}),
		))
		r.AddAttributes(attribute.Int("item", i), attribute.Int("dropped", 1), attribute.Int("dropped too", 2))
		logger.Emit(ctx, r)
	}
	return made.records
}

// recorder is a log processor that keeps what it gets.
type recorder struct{ records []sdklog.Record }

func (r *recorder) OnEmit(_ context.Context, record *sdklog.Record) error {
	r.records = append(r.records, record.Clone())
	return nil
}
func (*recorder) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (*recorder) Shutdown(context.Context) error                         { return nil }
func (*recorder) ForceFlush(context.Context) error                       { return nil }

// soon bounds a wait that should be over at once; nothing depends on its length unless a test
// fails.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}
