package telemetry_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/telemetrytest"
)

func TestHealthCountsWhatHappened(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			begin := time.Now()
			guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))),
				telemetry.WithProtocol(protocol))
			for range 10 {
				record(t.Context(), guard, "x")
			}
			h := guard.Health()
			require.True(t, h.Traces.On && h.Metrics.On && h.Logs.On)
			require.EqualValues(t, 10, h.Traces.Queued)
			require.EqualValues(t, 10, h.Logs.Queued)
			require.Zero(t, h.Traces.LastSuccess)
			requireBalanced(t, guard)

			require.NoError(t, guard.ForceFlush(t.Context()))
			h = guard.Health()
			require.EqualValues(t, 10, h.Traces.Exported)
			require.EqualValues(t, 10, h.Logs.Exported)
			require.Positive(t, h.Metrics.Exported)
			require.Zero(t, h.Traces.Queued)
			require.False(t, h.Traces.LastSuccess.Before(begin))
			require.NoError(t, h.Traces.LastError)
			requireBalanced(t, guard)

			c.SetFault(otlptest.Fault{Rejected: 3, Message: "quota", Times: 1})
			for range 5 {
				record(t.Context(), guard, "y")
			}
			require.ErrorContains(t, guard.ForceFlush(t.Context()), "quota")
			require.EqualValues(t, 3, guard.Health().Traces.Rejected)
			require.EqualValues(t, 12, guard.Health().Traces.Exported)
			require.ErrorContains(t, guard.Health().Traces.LastError, "quota")
			require.EqualValues(t, 3, guard.Health().Metrics.Rejected)
			requireBalanced(t, guard)

			require.NoError(t, guard.Shutdown(t.Context()))
			record(t.Context(), guard, "late")
			requireBalanced(t, guard)
		})
	}
}

func TestTheShutdownErrorNamesWhatWasLost(t *testing.T) {
	t.Parallel()
	c := otlptest.New(t)
	require.NoError(t, c.Down())
	guard, console := start(t, c, telemetry.WithShutdownTimeout(4*time.Second))
	for range 2000 {
		record(t.Context(), guard, "x")
	}
	err := guard.Shutdown(t.Context())
	require.Regexp(t, `^telemetry: shutdown traces, metrics and logs: 2,000 spans, \d+ data points and 2,000 log records not delivered: nothing listens at [^\n]*$`,
		err.Error(), "the reason once")
	requireBalanced(t, guard)
	require.EqualValues(t, 2000, guard.Health().Traces.Lost())
	require.Contains(t, console.String(),
		`"msg":"telemetry: stopped","service.name":"test","traces":{"exported":0,"lost":2000}`)
}

func TestTheQueueKeepsItsLastEighthForErrors(t *testing.T) {
	rec := telemetrytest.Start(t, telemetry.WithoutGlobals(), telemetry.WithoutMetrics(),
		telemetry.WithShutdownTimeout(time.Second),
		telemetry.WithLogBatch(telemetry.Batch{MaxQueueSize: 80, MaxExportBatchSize: 1, MaxConcurrentExports: 1}))
	rec.SetFault(telemetrytest.Fault{Hang: true})
	guard := rec.Guard
	for range 1000 {
		guard.Logger().InfoContext(t.Context(), "ordinary")
	}
	held := guard.Health().Logs.Queued
	require.EqualValues(t, 70+1, held, "seven eighths wait and one is on its way")
	for range 1000 {
		guard.Logger().ErrorContext(t.Context(), "error")
	}
	require.EqualValues(t, 80+1, guard.Health().Logs.Queued)
	require.EqualValues(t, 2000-81, guard.Health().Logs.DroppedBy["queue_full"])
	requireBalanced(t, guard)
	require.Error(t, guard.Shutdown(t.Context()))
	requireBalanced(t, guard)
}

func TestHealthOfANilGuardAndOfDisabledSignals(t *testing.T) {
	var none *telemetry.Guard
	require.Zero(t, none.Health())
	rec := telemetrytest.Start(t, telemetry.WithoutGlobals(), telemetry.WithoutTraces())
	require.False(t, rec.Guard.Health().Traces.On)
	require.True(t, rec.Guard.Health().Logs.On)
}

func TestSelfMetricsOfTheLastExportAreFinal(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))),
				telemetry.WithProtocol(protocol))
			record(t.Context(), guard, "x")
			require.NoError(t, guard.ForceFlush(t.Context()))
			points := guard.Health().Metrics.Exported
			c.SetFault(otlptest.Fault{Rejected: 2, Times: 1}, otlptest.Traces)
			c.SetFault(otlptest.Fault{HTTPStatus: 400, GRPCCode: 3, Times: 1}, otlptest.Logs)
			for range 9 {
				record(t.Context(), guard, "x")
			}
			require.Error(t, guard.Shutdown(t.Context()))

			h := guard.Health()
			require.EqualValues(t, 8, h.Traces.Exported)
			require.EqualValues(t, 9, h.Logs.Failed)
			require.Equal(t, map[string]float64{
				"otel.sdk.processor.span.processed":                      10,
				"otel.sdk.processor.span.processed queue_full":           0,
				"otel.sdk.processor.span.processed too_large":            0,
				"otel.sdk.processor.span.processed shutdown":             0,
				"otel.sdk.processor.span.queue.size":                     0,
				"otel.sdk.processor.span.queue.capacity":                 8192,
				"otel.sdk.exporter.span.exported":                        8,
				"otel.sdk.exporter.span.exported rejected":               2,
				"otel.sdk.exporter.span.exported too_large":              0,
				"otel.sdk.exporter.span.exported _OTHER":                 0,
				"otel.sdk.exporter.span.inflight":                        0,
				"otel.sdk.processor.log.processed":                       10,
				"otel.sdk.processor.log.processed queue_full":            0,
				"otel.sdk.processor.log.processed too_large":             0,
				"otel.sdk.processor.log.processed shutdown":              0,
				"otel.sdk.processor.log.queue.size":                      0,
				"otel.sdk.processor.log.queue.capacity":                  8192,
				"otel.sdk.exporter.log.exported":                         1,
				"otel.sdk.exporter.log.exported rejected":                0,
				"otel.sdk.exporter.log.exported too_large":               0,
				"otel.sdk.exporter.log.exported _OTHER":                  9,
				"otel.sdk.exporter.log.inflight":                         0,
				"otel.sdk.exporter.metric_data_point.exported":           float64(points),
				"otel.sdk.exporter.metric_data_point.exported rejected":  0,
				"otel.sdk.exporter.metric_data_point.exported too_large": 0,
				"otel.sdk.exporter.metric_data_point.exported _OTHER":    0,
				"otel.sdk.exporter.metric_data_point.inflight":           0,
			}, selfMetrics(c))
			requireComponents(t, c, map[telemetry.Protocol]string{telemetry.ProtocolHTTP: "otlp_http_",
				telemetry.ProtocolGRPC: "otlp_grpc_"}[protocol])
		})
	}
}

func TestSelfMetricsOfAFullQueueAndGivenExporters(t *testing.T) {
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{Hang: true}, otlptest.Traces)
	reader := sdkmetric.NewManualReader()
	guard, _ := start(t, c, telemetry.WithMetricReader(reader), telemetry.WithLogExporter(ownLogExporter{}),
		telemetry.WithoutRuntimeMetrics(), telemetry.WithShutdownTimeout(time.Second),
		telemetry.WithSpanBatch(telemetry.Batch{MaxQueueSize: 8, MaxExportBatchSize: 1, MaxConcurrentExports: 1}))
	for range 100 {
		_, span := guard.TracerProvider().Tracer("test").Start(t.Context(), "x")
		span.End()
	}
	var rm metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &rm))
	values, components := map[string]int64{}, map[string]string{}
	for _, m := range rm.ScopeMetrics[0].Metrics {
		for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
			cause, _ := p.Attributes.Value("error.type")
			component, _ := p.Attributes.Value("otel.component.type")
			values[strings.TrimSpace(m.Name+" "+cause.AsString())] = p.Value
			components[m.Name] = component.AsString()
		}
	}
	require.EqualValues(t, 7, values["otel.sdk.processor.span.queue.size"])
	require.EqualValues(t, 8, values["otel.sdk.processor.span.queue.capacity"])
	require.EqualValues(t, 1, values["otel.sdk.exporter.span.inflight"])
	require.EqualValues(t, 1, values["otel.sdk.processor.span.processed"])
	require.EqualValues(t, 92, values["otel.sdk.processor.span.processed queue_full"])
	require.Equal(t, "github.com/fleetotel/telemetry_test.ownLogExporter", components["otel.sdk.exporter.log.exported"])
	require.NotContains(t, components, "otel.sdk.exporter.metric_data_point.exported",
		"what the reader does with them is unknown")
	require.Error(t, guard.Shutdown(t.Context()))
}

func TestSelfMetricsSayWhichComponentRejectedWhatIsTooLarge(t *testing.T) {
	t.Setenv("TELEMETRY_BLRP_MAX_QUEUE_BYTES", "10000")
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{HTTPStatus: 413, Times: 1}, otlptest.Logs)
	guard, _ := start(t, c, telemetry.WithSpanExporter(tracetest.NewInMemoryExporter()))
	guard.Logger().InfoContext(t.Context(), strings.Repeat("too large for the queue ", 1000))
	guard.Logger().InfoContext(t.Context(), "too large for the server")
	require.Error(t, guard.Shutdown(t.Context()))
	values := selfMetrics(c)
	require.EqualValues(t, 2, guard.Health().Logs.DroppedBy["too_large"])
	require.EqualValues(t, 1, values["otel.sdk.processor.log.processed too_large"])
	require.EqualValues(t, 1, values["otel.sdk.processor.log.processed"])
	require.EqualValues(t, 1, values["otel.sdk.exporter.log.exported too_large"])
	for _, m := range c.Metrics() {
		if m.Name == "otel.sdk.exporter.span.exported" {
			require.Equal(t, "go.opentelemetry.io/otel/sdk/trace/tracetest.InMemoryExporter",
				m.Points[0].Attributes["otel.component.type"])
		}
	}
}

func TestSelfMetricsCanBeDisabled(t *testing.T) {
	t.Setenv("TELEMETRY_SELF_METRICS", "false")
	c := otlptest.New(t)
	guard, _ := start(t, c)
	record(t.Context(), guard, "x")
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Contains(t, metricNames(c), "x")
	require.Empty(t, selfMetrics(c))
}

func TestSelfMetricsCoverOnlyExportedSignals(t *testing.T) {
	c := otlptest.New(t)
	guard, console := start(t, c, telemetry.WithoutTraces(), telemetry.WithoutLogs())
	require.NoError(t, guard.Shutdown(t.Context()))
	require.NotEmpty(t, selfMetrics(c))
	for name := range selfMetrics(c) {
		require.Contains(t, name, "otel.sdk.exporter.metric_data_point.")
	}
	require.NotContains(t, console.String(), "incomplete")
}

func TestSelfMetricsSurviveAViewThatPanics(t *testing.T) {
	c := otlptest.New(t)
	guard, console := start(t, c, telemetry.WithoutRuntimeMetrics(),
		telemetry.WithViews(func(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
			if strings.HasPrefix(i.Name, "otel.sdk.exporter.log.") {
				panic("view")
			}
			return sdkmetric.Stream{}, false
		}))
	require.Contains(t, console.String(), "self-metrics are incomplete: panic: view")
	record(t.Context(), guard, "x")
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Contains(t, metricNames(c), "x")
}

// TestACallbackThatFailsCostsOneMetric uses the guard's provider, and the globals in a process of
// its own: it waits for callbacks that hang, and parallel tests must not share its globals.
func TestACallbackThatFailsCostsOneMetric(t *testing.T) {
	if !isChild() {
		t.Parallel()
		runChild(t)
		return
	}
	c := otlptest.New(t)
	console := &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()),
		telemetry.WithLogOutput(console))
	require.NoError(t, err)
	var hang atomic.Bool
	hanging, stop := context.WithCancel(context.Background())
	defer stop()
	failures := map[string]func() error{
		"error": func() error { return errors.New("pool is down") },
		"panic": func() error { panic("no pool") },
		"hang": func() error {
			if hang.Load() {
				<-hanging.Done()
			}
			return nil
		},
	}
	for where, provider := range map[string]metric.MeterProvider{"own": guard.MeterProvider(),
		"global": otel.GetMeterProvider()} {
		for how, fail := range failures {
			_, err := provider.Meter("pool").Int64ObservableGauge(where+"."+how,
				metric.WithInt64Callback(func(context.Context, metric.Int64Observer) error { return fail() }))
			require.NoError(t, err)
			i, err := provider.Meter("pool").Int64ObservableGauge(where + ".registered." + how)
			require.NoError(t, err)
			_, err = provider.Meter("pool").RegisterCallback(func(context.Context, metric.Observer) error {
				return fail()
			}, i)
			require.NoError(t, err)
		}
	}
	record(t.Context(), guard, "x")
	require.NoError(t, guard.ForceFlush(t.Context()))
	require.Contains(t, metricNames(c), "x")
	for where := range map[string]bool{"own": true, "global": true} {
		for _, name := range []string{where, where + ".registered"} {
			require.Equal(t, 1, strings.Count(console.String(),
				"the metric callback of "+name+".error (scope pool): pool is down"), console.String())
			require.Equal(t, 1, strings.Count(console.String(),
				"the metric callback of "+name+".panic (scope pool): panic: no pool"))
		}
	}

	c.Reset()
	hang.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	require.NoError(t, guard.Shutdown(ctx), "four callbacks that hang do not keep the last export from leaving in time")
	require.NoError(t, ctx.Err())
	require.Contains(t, metricNames(c), "x")
	require.Contains(t, metricNames(c), "go.goroutine.count")
	require.Contains(t, metricNames(c), "go.schedule.duration", "from the producer")
}

// selfMetrics are the points of the last export of the library's own metrics: "name" or "name
// error.type" → value.
func selfMetrics(c *otlptest.Collector) map[string]float64 {
	values := map[string]float64{}
	for _, m := range c.Metrics() {
		if strings.HasPrefix(m.Name, "otel.sdk.") {
			for _, p := range m.Points {
				name := m.Name
				if cause, ok := p.Attributes["error.type"]; ok {
					name += " " + cause.(string)
				}
				values[name] = p.Value
			}
		}
	}
	return values
}

func requireComponents(t *testing.T, c *otlptest.Collector, otlp string) {
	t.Helper()
	components := map[string]string{
		"otel.sdk.processor.span.": "batching_span_processor", "otel.sdk.processor.log.": "batching_log_processor",
		"otel.sdk.exporter.span.": otlp + "span_exporter", "otel.sdk.exporter.log.": otlp + "log_exporter",
		"otel.sdk.exporter.metric_data_point.": otlp + "metric_exporter",
	}
	for _, m := range c.Metrics() {
		for prefix, component := range components {
			if !strings.HasPrefix(m.Name, prefix) {
				continue
			}
			require.Equal(t, "github.com/fleetotel/telemetry", m.Scope.Name)
			require.Equal(t, strings.HasSuffix(m.Name, "ed"), m.Monotonic, m.Name)
			for _, p := range m.Points {
				require.Equal(t, component, p.Attributes["otel.component.type"], m.Name)
				require.Equal(t, component+"/0", p.Attributes["otel.component.name"], m.Name)
				if strings.Contains(prefix, "exporter") {
					require.Equal(t, "127.0.0.1", p.Attributes["server.address"])
					require.Positive(t, p.Attributes["server.port"])
				}
			}
		}
	}
}

// ownExporters discard traces, metrics and logs, given by options.
type ownLogExporter struct{ sdklog.Exporter }

func (ownLogExporter) Export(context.Context, []sdklog.Record) error { return nil }

func (ownLogExporter) Shutdown(context.Context) error { return nil }

func (ownLogExporter) ForceFlush(context.Context) error { return nil }
