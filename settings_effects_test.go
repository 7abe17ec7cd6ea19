package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// TestSettingsTakeEffect sets one variable at a time and checks what arrives. The test of the table
// checks that a value is resolved, and this one that it reaches the right part of the SDK.
func TestSettingsTakeEffect(t *testing.T) {
	tests := []struct {
		variable, value string
		check           func(*testing.T, *otlptest.Collector)
	}{
		{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2",
			func(t *testing.T, c *otlptest.Collector) { require.Len(t, c.Spans()[0].Attributes, 2) }},
		{"OTEL_ATTRIBUTE_COUNT_LIMIT", "2", func(t *testing.T, c *otlptest.Collector) {
			require.Len(t, c.Spans()[0].Attributes, 2)
			require.Len(t, c.LogRecords()[0].Attributes, 2)
		}},
		{"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3", func(t *testing.T, c *otlptest.Collector) {
			require.Equal(t, "val", c.Spans()[0].Attributes["a"])
			require.Equal(t, "value", c.LogRecords()[0].Attributes["a"])
		}},
		{"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3", func(t *testing.T, c *otlptest.Collector) {
			require.Equal(t, "val", c.Spans()[0].Attributes["a"])
			require.Equal(t, "val", c.LogRecords()[0].Attributes["a"])
		}},
		{"OTEL_SPAN_EVENT_COUNT_LIMIT", "1",
			func(t *testing.T, c *otlptest.Collector) { require.Len(t, c.Spans()[0].Events, 1) }},
		{"OTEL_SPAN_LINK_COUNT_LIMIT", "1",
			func(t *testing.T, c *otlptest.Collector) { require.Len(t, c.Spans()[0].Links, 1) }},
		{"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "1", func(t *testing.T, c *otlptest.Collector) {
			require.Len(t, c.Spans()[0].Events[0].Attributes, 1)
			require.Len(t, c.Spans()[0].Links[0].Attributes, 2)
		}},
		{"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "1", func(t *testing.T, c *otlptest.Collector) {
			require.Len(t, c.Spans()[0].Links[0].Attributes, 1)
			require.Len(t, c.Spans()[0].Events[0].Attributes, 2)
		}},
		{"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "1", func(t *testing.T, c *otlptest.Collector) {
			require.Len(t, c.LogRecords()[0].Attributes, 1)
			require.Len(t, c.Spans()[0].Attributes, 3)
		}},
		{"OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "2", func(t *testing.T, c *otlptest.Collector) {
			require.Equal(t, "va", c.LogRecords()[0].Attributes["a"])
		}},
		{"OTEL_RESOURCE_ATTRIBUTES", "team=pay,password-s3cr3t,x=%zz,%zz=y,=z,cost%20centre=4%2C7, region = eu ",
			func(t *testing.T, c *otlptest.Collector) {
				for _, sent := range []map[string]any{c.Spans()[0].Resource, c.LogRecords()[0].Resource,
					c.Metrics()[0].Resource} {
					require.Equal(t, "pay", sent["team"], "the well-formed pairs count")
					require.Equal(t, "4,7", sent["cost centre"])
					require.Equal(t, "eu", sent["region"])
					for key := range sent {
						require.NotContains(t, key, "%")
					}
					require.NotContains(t, sent, "x", "what is called malformed is not sent")
					require.Equal(t, c.Spans()[0].Resource, sent)
				}
			}},
		{"OTEL_TRACES_SAMPLER", "always_off",
			func(t *testing.T, c *otlptest.Collector) { require.Empty(t, c.Spans()) }},
		{"OTEL_TRACES_SAMPLER", "always_on",
			func(t *testing.T, c *otlptest.Collector) { require.Len(t, c.Spans(), 1) }},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1", func(t *testing.T, c *otlptest.Collector) {
			for _, r := range c.Requests() {
				require.False(t, r.Signal == otlptest.Traces && r.Items > 1)
			}
		}},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "none", func(t *testing.T, c *otlptest.Collector) {
			for _, r := range c.Requests() {
				require.Empty(t, r.Encoding)
			}
		}},
		{"OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "none", func(t *testing.T, c *otlptest.Collector) {
			for _, r := range c.Requests() {
				require.Equal(t, r.Signal == otlptest.Logs, r.Encoding == "", r.Signal)
			}
		}},
		{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta", func(t *testing.T, c *otlptest.Collector) {
			require.Equal(t, "delta", metricNamed(t, c, "counter").Temporality)
		}},
		{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative", func(t *testing.T, c *otlptest.Collector) {
			require.Equal(t, "cumulative", metricNamed(t, c, "counter").Temporality)
		}},
		{"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram",
			func(t *testing.T, c *otlptest.Collector) {
				require.Equal(t, "exponential_histogram", metricNamed(t, c, "http.server.request.duration").Kind)
			}},
		{"OTEL_METRICS_EXEMPLAR_FILTER", "always_off", func(t *testing.T, c *otlptest.Collector) {
			require.Empty(t, metricNamed(t, c, "counter").Points[0].Exemplars)
		}},
		{"OTEL_METRICS_EXEMPLAR_FILTER", "trace_based", func(t *testing.T, c *otlptest.Collector) {
			require.Equal(t, c.Spans()[0].TraceID, metricNamed(t, c, "counter").Points[0].Exemplars[0].TraceID)
		}},
		{"TELEMETRY_METRIC_CARDINALITY_LIMIT", "3", func(t *testing.T, c *otlptest.Collector) {
			points := metricNamed(t, c, "customers").Points
			require.Len(t, points, 3)
			require.Contains(t, fmt.Sprint(points), "otel.metric.overflow")
		}},
		{"TELEMETRY_RUNTIME_METRICS", "false", func(t *testing.T, c *otlptest.Collector) {
			require.NotContains(t, strings.Join(metricNames(c), " "), "go.")
		}},
		{"TELEMETRY_OTLP_LOG_LEVEL", "debug",
			func(t *testing.T, c *otlptest.Collector) { require.Len(t, c.LogRecords(), 2) }},
		{"LOG_LEVEL", "error", func(t *testing.T, c *otlptest.Collector) { require.Empty(t, c.LogRecords()) }},
	}
	for _, tt := range tests {
		t.Run(tt.variable+"="+tt.value, func(t *testing.T) {
			t.Setenv(tt.variable, tt.value)
			c := otlptest.New(t)
			guard, _ := start(t, c)
			recordRichly(t.Context(), guard)
			require.NoError(t, guard.Shutdown(t.Context()))
			tt.check(t, c)
		})
	}
}

// TestDelaysAndTimeoutsTakeEffect neither flushes nor shuts down: what is due is sent by itself.
func TestDelaysAndTimeoutsTakeEffect(t *testing.T) {
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
	t.Setenv("OTEL_BLRP_SCHEDULE_DELAY", "20")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
	atOnce(t, protocols, func(p telemetry.Protocol) string { return string(p) },
		func(t *testing.T, protocol telemetry.Protocol) {
			c := otlptest.New(t)
			// one attempt of each signal has no answer, the next one does
			c.SetFault(otlptest.Fault{Hang: true, Times: 1})
			guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))),
				telemetry.WithProtocol(protocol),
				telemetry.WithMetricInterval(20*time.Millisecond)) // by option: the SDK would read the variable itself
			record(t.Context(), guard, "x")
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second) // the defaults are 60 s, 3 s and 10 s
			defer cancel()
			_, err := c.WaitSpans(ctx, 1)
			require.NoError(t, err)
			_, err = c.WaitLogRecords(ctx, 1)
			require.NoError(t, err)
			_, err = c.WaitMetric(ctx, "x")
			require.NoError(t, err)
		})
}

func TestPropagatorsTakeEffect(t *testing.T) {
	tests := []struct {
		value string
		want  []string
	}{
		{"baggage", []string{"baggage"}},
		{"tracecontext, baggage", []string{"traceparent", "tracestate", "baggage"}},
		{"none", nil},
		{"b3,baggage", []string{"baggage"}},
	}
	for _, tt := range tests {
		t.Setenv("OTEL_PROPAGATORS", tt.value)
		guard, _ := start(t, otlptest.New(t))
		require.ElementsMatch(t, tt.want, guard.Propagator().Fields(), tt.value)
	}
	t.Setenv("OTEL_PROPAGATORS", "")
	guard, _ := start(t, otlptest.New(t), telemetry.WithPropagators())
	require.Empty(t, guard.Propagator().Fields(), "none at all can be chosen by option")
	guard, _ = start(t, otlptest.New(t), telemetry.WithPropagators(propagation.Baggage{}))
	require.Equal(t, []string{"baggage"}, guard.Propagator().Fields())
}

func TestGivenComponentsReplaceTheLibrarys(t *testing.T) {
	spans := recordingSpans{tracetest.NewInMemoryExporter(), make(chan struct{}, 1), make(chan struct{}, 1000)}
	reader := sdkmetric.NewManualReader()
	processor := tracetest.NewSpanRecorder()
	c := otlptest.New(t)
	guard, _ := start(t, c, telemetry.WithSpanExporter(spans), telemetry.WithMetricReader(reader),
		telemetry.WithSpanProcessors(processor), telemetry.WithIDGenerator(fixedIDs{}),
		telemetry.WithSpanBatch(telemetry.Batch{MaxExportBatchSize: 1, MaxConcurrentExports: 4}))
	for range 100 {
		record(t.Context(), guard, "x")
	}
	var collected int
	require.NoError(t, guard.ForceFlush(t.Context()))
	require.Len(t, spans.GetSpans(), 100)
	require.Empty(t, spans.overlaps, "an exporter of the user's gets one export at a time")
	require.Len(t, processor.Ended(), 100)
	require.Equal(t, trace.TraceID{7}, processor.Ended()[0].SpanContext().TraceID())
	collected = collectCount(t, reader)
	require.Positive(t, collected)
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Empty(t, c.Spans(), "it replaces OTLP for that signal")
	require.Empty(t, c.Metrics())
	require.Len(t, c.LogRecords(), 100)
}

func TestConsoleExportersWriteEachItemOnce(t *testing.T) {
	if isChild() {
		guard, err := telemetry.Init(t.Context(), telemetry.WithLogOutput(os.Stdout))
		require.NoError(t, err)
		record(t.Context(), guard, "on.the.console")
		var foreign otellog.Record
		foreign.SetSeverity(otellog.SeverityError)
		foreign.SetBody(attribute.StringValue("from another bridge"))
		foreign.AddAttributes(attribute.Int("n", 1))
		otel.Logger("zap").Emit(t.Context(), foreign)
		require.NoError(t, guard.Shutdown(t.Context()))
		return
	}
	c := otlptest.New(t)
	output := runChild(t, "OTEL_TRACES_EXPORTER=console,otlp", "OTEL_METRICS_EXPORTER=console",
		"OTEL_LOGS_EXPORTER=console",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+c.HTTPEndpoint())
	require.Contains(t, output, `"Name":"on.the.console","SpanContext"`)
	require.Contains(t, output, `"Name":"on.the.console","Description"`)
	require.Equal(t, 1, strings.Count(output, `"msg":"on.the.console"`), "a slog record is written once")
	require.Contains(t, output, `"level":"ERROR","msg":"from another bridge","n":1`)
	for _, unasked := range []string{`"otel.sdk.`, `"telemetry.sampler.`, `"go.goroutine.count"`} {
		require.NotContains(t, output, unasked)
	}
	require.Equal(t, []string{"on.the.console"}, spanNames(c), "a list sends to both")
	require.Empty(t, c.Metrics())
	require.Empty(t, c.LogRecords())

	output = runChild(t, "OTEL_LOGS_EXPORTER=none", "OTEL_METRICS_EXPORTER=console",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+c.HTTPEndpoint(),
		"TELEMETRY_RUNTIME_METRICS=true", "TELEMETRY_SELF_METRICS=true")
	for _, asked := range []string{`"Name":"on.the.console"`, `"Name":"otel.sdk.`, `"Name":"go.goroutine.count"`} {
		require.Contains(t, output, asked)
	}
}

func TestDoUsesTheGuardOfTheSpanInContext(t *testing.T) {
	c := otlptest.New(t)
	guard, _ := start(t, c)
	_, span := guard.TracerProvider().Tracer("x").Start(t.Context(), "caller")
	err := telemetry.Do(trace.ContextWithSpan(t.Context(), span), "callee",
		func(context.Context) error { return os.ErrNotExist })
	span.End()
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, guard.Shutdown(t.Context()))
	require.ElementsMatch(t, []string{"caller", "callee"}, spanNames(c),
		"Do follows the guard of the span in the context")
}

// recordRichly makes items that exceed every limit.
func recordRichly(ctx context.Context, g *telemetry.Guard) {
	two := trace.WithAttributes(attribute.Int("x", 1), attribute.Int("y", 2))
	link := trace.Link{
		SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}}),
		Attributes:  []attribute.KeyValue{attribute.Int("x", 1), attribute.Int("y", 2)},
	}
	ctx, span := g.TracerProvider().Tracer("test").Start(ctx, "rich", trace.WithLinks(link, link),
		trace.WithAttributes(attribute.String("a", "value"), attribute.Int("b", 2), attribute.Int("c", 3)))
	span.AddEvent("one", two)
	span.AddEvent("two", two)
	meter := g.MeterProvider().Meter("test")
	counter, _ := meter.Int64Counter("counter")
	counter.Add(ctx, 1)
	customers, _ := meter.Int64Counter("customers")
	for i := range 10 {
		customers.Add(ctx, 1, metric.WithAttributes(attribute.Int("id", i)))
	}
	duration, _ := meter.Float64Histogram("http.server.request.duration", metric.WithUnit("s"))
	duration.Record(ctx, 0.1)
	g.Logger().InfoContext(ctx, "rich", "a", "value", "b", 2, "c", 3)
	g.Logger().DebugContext(ctx, "debug")
	span.End()
}

func metricNamed(t *testing.T, c *otlptest.Collector, name string) otlptest.Metric {
	t.Helper()
	m, err := c.WaitMetric(t.Context(), name)
	require.NoError(t, err)
	return m
}

// recordingSpans is a span exporter that also detects two exports at a time.
type recordingSpans struct {
	*tracetest.InMemoryExporter
	inUse, overlaps chan struct{}
}

func (r recordingSpans) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	select {
	case r.inUse <- struct{}{}:
		defer func() { <-r.inUse }()
	default:
		r.overlaps <- struct{}{}
	}
	return r.InMemoryExporter.ExportSpans(ctx, spans)
}

// Shutdown keeps the spans, which the SDK's in-memory exporter would discard.
func (recordingSpans) Shutdown(context.Context) error { return nil }

type fixedIDs struct{}

func (fixedIDs) NewIDs(context.Context) (trace.TraceID, trace.SpanID) {
	return trace.TraceID{7}, trace.SpanID{7}
}

func (fixedIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return trace.SpanID{8} }

func collectCount(t *testing.T, reader *sdkmetric.ManualReader) int {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	return len(all.ScopeMetrics)
}

// A composite that contains nil would panic in every request.
func TestAPropagatorThatPanicsIsAnErrorOfInit(t *testing.T) {
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithDisabled(true),
		telemetry.WithLogOutput(io.Discard),
		telemetry.WithPropagators(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, nil)))
	require.ErrorContains(t, err, "WithPropagators: its Fields fails: panic: ")
	require.ErrorContains(t, err, "the option is ignored")
	require.ElementsMatch(t, []string{"baggage", "traceparent", "tracestate"}, guard.Propagator().Fields())
	require.Contains(t, guard.Describe(), "its Fields fails")
	require.NoError(t, guard.Shutdown(t.Context()))
}
