package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	grpccodes "google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// TestHistogramBucketsFitTheUnit records into histograms in seconds and in bytes, with views that
// set the aggregation and views that do not.
func TestHistogramBucketsFitTheUnit(t *testing.T) {
	http := []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	seconds := []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}
	database := []float64{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10}
	bytes := []float64{0, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20,
		256 << 20, 1 << 30}
	milliseconds := []float64{0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000}
	fits := map[string][]float64{
		"http.server.request.duration": http, "HTTP.client.request.duration": http, "rpc.server.call.duration": http,
		"rpc.client.duration": http, "messaging.client.operation.duration": http, "messaging.process.duration": http,
		"db.client.operation.duration": database, "db.client.connection.wait_time": database,
		// Names of a service that begin like those of the semantic conventions.
		"http.checkout.duration": seconds, "rpc.lag": seconds, "messaging.lag": seconds,
		"db.client.migration.duration": seconds,
		"http.checkout.advised":        {1, 2}, "messaging.lag.advised": {1, 2}, "rpc.server.call.advised": {1, 2},
		"db.client.advised":               {1, 2},
		"http.client.connection.duration": seconds,
		"checkout.duration":               seconds, "upload.size": bytes, "http.server.request.body.size": bytes,
		"legacy.latency": milliseconds, "basket.items": milliseconds, "advised.duration": {1, 2}, "advised.size": {3},
	}
	unit := func(name string) string {
		switch {
		case strings.HasSuffix(name, "size"):
			return "By"
		case name == "legacy.latency":
			return "ms"
		case name == "basket.items":
			return "{item}"
		}
		return "s"
	}
	create := func(t *testing.T, provider metric.MeterProvider) {
		for name := range fits {
			options := []metric.HistogramOption{metric.WithUnit(unit(name))}
			switch {
			case name == "advised.duration", strings.HasSuffix(name, ".advised"):
				options = append(options, metric.WithExplicitBucketBoundaries(1, 2))
			case name == "advised.size":
				options = append(options, metric.WithExplicitBucketBoundaries(3))
			}
			asFloats, asInts := make([]metric.Float64HistogramOption, len(options)),
				make([]metric.Int64HistogramOption, len(options))
			for i, o := range options {
				asFloats[i], asInts[i] = o, o
			}
			floats, err := provider.Meter("floats").Float64Histogram(name, asFloats...)
			require.NoError(t, err)
			floats.Record(t.Context(), 0.02,
				metric.WithAttributes(attribute.String("kept", "k"), attribute.String("order.id", "4711")))
			ints, err := provider.Meter("ints").Int64Histogram(name, asInts...)
			require.NoError(t, err)
			ints.Record(t.Context(), 2)
		}
	}
	all := sdkmetric.Instrument{Name: "*"}
	onlyKept := attribute.NewAllowKeysFilter("kept")
	for _, tt := range []struct {
		name string
		opts []telemetry.Option
		want func(fits []float64) []float64
	}{
		{name: "no view"},
		{name: "a view that filters attributes",
			opts: []telemetry.Option{telemetry.WithViews(sdkmetric.NewView(all,
				sdkmetric.Stream{AttributeFilter: onlyKept}))}},
		{name: "a view that describes",
			opts: []telemetry.Option{telemetry.WithViews(sdkmetric.NewView(sdkmetric.Instrument{Kind: sdkmetric.InstrumentKindHistogram}, sdkmetric.Stream{Description: "d"}))}},
		{
			name: "a view with bounds", want: func([]float64) []float64 { return []float64{7} },
			opts: []telemetry.Option{telemetry.WithViews(sdkmetric.NewView(all,
				sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: []float64{7}}}))},
		},
		{
			name: "a view that asks for the SDK's own", want: func([]float64) []float64 { return milliseconds },
			opts: []telemetry.Option{telemetry.WithViews(sdkmetric.NewView(all,
				sdkmetric.Stream{Aggregation: sdkmetric.AggregationDefault{}}))},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := otlptest.New(t)
			guard, _ := start(t, c, append(tt.opts, telemetry.WithoutRuntimeMetrics())...)
			create(t, guard.MeterProvider())
			require.NoError(t, guard.Shutdown(t.Context()))
			for name, want := range fits {
				if tt.want != nil {
					want = tt.want(want)
				}
				arrived := map[string][]float64{}
				for _, m := range c.Metrics() {
					if m.Name == name {
						arrived[m.Scope.Name] = m.Points[0].Bounds
					}
				}
				require.Equal(t, map[string][]float64{"floats": want, "ints": want}, arrived, name)
				m, err := c.WaitMetric(t.Context(), name)
				require.NoError(t, err)
				if strings.Contains(tt.name, "filters") {
					require.NotContains(t, m.Points[0].Attributes, "order.id")
				}
			}
		})
	}
	t.Run("exponential", func(t *testing.T) {
		t.Setenv("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram")
		c := otlptest.New(t)
		guard, _ := start(t, c)
		create(t, guard.MeterProvider())
		require.NoError(t, guard.Shutdown(t.Context()))
		for name := range fits {
			m, err := c.WaitMetric(t.Context(), name)
			require.NoError(t, err)
			require.Empty(t, m.Points[0].Bounds, name)
		}
	})
}

// TestAnInstrumentsOwnBucketAdviceWins is for a library that gives a standard instrument its own
// bounds.
func TestAnInstrumentsOwnBucketAdviceWins(t *testing.T) {
	c := otlptest.New(t)
	guard, _ := start(t, c, telemetry.WithoutRuntimeMetrics())
	meter := guard.MeterProvider().Meter("x")
	own := metric.WithExplicitBucketBoundaries(1, 2, 3)
	floats, err := meter.Float64Histogram("http.server.request.duration", own, metric.WithUnit("s"))
	require.NoError(t, err)
	floats.Record(t.Context(), 1)
	ints, err := meter.Int64Histogram("messaging.process.duration", metric.WithUnit("s"), own)
	require.NoError(t, err)
	ints.Record(t.Context(), 1)
	require.NoError(t, guard.Shutdown(t.Context()))
	for _, name := range []string{"http.server.request.duration", "messaging.process.duration"} {
		m, err := c.WaitMetric(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, []float64{1, 2, 3}, m.Points[0].Bounds, name)
	}
}

// A collection that is too large for the collector arrives in parts, whatever its instruments are.
// What is too large alone is counted.
func TestMetricsThatAreTooLargeAreHalved(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))),
				telemetry.WithProtocol(protocol),
				telemetry.WithViews(sdkmetric.NewView(sdkmetric.Instrument{Name: "exponential.*"},
					sdkmetric.Stream{Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 20,
						MaxScale: 20}})))
			require.NoError(t, guard.ForceFlush(t.Context()))
			c.SetMaxRequestBytes(10_000)

			meter := guard.MeterProvider().Meter("test")
			var measure []func(metric.MeasurementOption)
			both := func(i, f func(metric.MeasurementOption), errs ...error) {
				require.NoError(t, errors.Join(errs...))
				measure = append(measure, i, f)
			}
			counter, err := meter.Int64Counter("sum")
			floatCounter, floatErr := meter.Float64Counter("sum.float")
			both(func(o metric.MeasurementOption) { counter.Add(t.Context(), 1, o) },
				func(o metric.MeasurementOption) { floatCounter.Add(t.Context(), 1, o) }, err, floatErr)
			gauge, err := meter.Int64Gauge("gauge")
			floatGauge, floatErr := meter.Float64Gauge("gauge.float")
			both(func(o metric.MeasurementOption) { gauge.Record(t.Context(), 1, o) },
				func(o metric.MeasurementOption) { floatGauge.Record(t.Context(), 1, o) }, err, floatErr)
			for _, name := range []string{"histogram", "exponential"} {
				histogram, err := meter.Int64Histogram(name)
				floatHistogram, floatErr := meter.Float64Histogram(name + ".float")
				both(func(o metric.MeasurementOption) { histogram.Record(t.Context(), 1, o) },
					func(o metric.MeasurementOption) { floatHistogram.Record(t.Context(), 1, o) }, err, floatErr)
			}
			const each = 30
			for n := range each {
				for _, one := range measure {
					one(metric.WithAttributes(attribute.Int("n", n), attribute.String("pad", strings.Repeat("x", 200))))
				}
			}
			require.NoError(t, guard.ForceFlush(t.Context()))

			arrived := map[string]int{}
			for _, m := range c.Metrics() {
				for _, p := range m.Points {
					arrived[fmt.Sprint(m.Name, " ", p.Attributes["n"])]++
				}
			}
			for _, name := range []string{"sum", "gauge", "histogram", "exponential"} {
				for n := range each {
					require.Equal(t, 1, arrived[fmt.Sprint(name, " ", n)], "%s %d", name, n)
					require.Equal(t, 1, arrived[fmt.Sprint(name, ".float ", n)], "%s.float %d", name, n)
				}
			}
			h := guard.Health().Metrics
			require.Zero(t, h.Lost())
			require.Equal(t, h.Accepted, h.Exported)

			counter.Add(t.Context(), 1, metric.WithAttributes(attribute.String("pad", strings.Repeat("x", 20_000))))
			require.ErrorContains(t, guard.ForceFlush(t.Context()), "1 data point not delivered")
			h = guard.Health().Metrics
			require.EqualValues(t, 1, h.DroppedBy["too_large"])
			require.EqualValues(t, 1, h.Lost())
			c.SetMaxRequestBytes(0)
			require.NoError(t, guard.Shutdown(t.Context()))
			requireBooks(t, guard)
		})
	}
}

// The library splits at its own request limit as it does at a collector's: larger metrics arrive.
func TestMetricsLargerThanARequestArrive(t *testing.T) {
	if testing.Short() {
		t.Skip("140 MB")
	}
	pad := strings.Repeat("x", 32_000)
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))),
				telemetry.WithProtocol(protocol),
				telemetry.WithoutTraces(), telemetry.WithoutLogs(), telemetry.WithoutRuntimeMetrics())
			gauge, err := guard.MeterProvider().Meter("test").Int64Gauge("large")
			require.NoError(t, err)
			const points = 450 // of 160 kB each
			for n := range points {
				gauge.Record(t.Context(), 1, metric.WithAttributes(attribute.Int("n", n), attribute.String("a", pad),
					attribute.String("b", pad),
					attribute.String("c", pad), attribute.String("d", pad), attribute.String("e", pad)))
			}
			require.NoError(t, guard.ForceFlush(t.Context()))
			arrived := 0
			for _, m := range c.Metrics() {
				if m.Name == "large" {
					arrived += len(m.Points)
				}
			}
			require.Equal(t, points, arrived)
			require.Zero(t, guard.Health().Metrics.Lost())
		})
	}
}

// The size that fits is learned for each signal: the second time hardly any request is refused.
func TestTheSizeThatFitsIsLearned(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))),
				telemetry.WithProtocol(protocol),
				telemetry.WithoutRuntimeMetrics())
			gauge, err := guard.MeterProvider().Meter("test").Int64Gauge("gauge")
			require.NoError(t, err)
			c.SetMaxRequestBytes(20_000)
			refused := func(s otlptest.Signal) (n int) {
				for _, r := range c.Requests() {
					if r.Signal == s && !r.Accepted {
						n++
					}
				}
				return n
			}
			round := func() {
				for n := range 1000 {
					gauge.Record(t.Context(), 1, metric.WithAttributes(attribute.Int("n", n)))
					record(t.Context(), guard, fmt.Sprint(n))
				}
				require.NoError(t, guard.ForceFlush(t.Context()))
			}
			round()
			before := map[otlptest.Signal]int{}
			for _, s := range []otlptest.Signal{otlptest.Traces, otlptest.Metrics, otlptest.Logs} {
				before[s] = refused(s)
				require.Positive(t, before[s])
			}
			for range 5 {
				round()
			}
			for s, first := range before {
				require.LessOrEqual(t, refused(s)-first, 10, s)
			}
		})
	}
}

// Every increment arrives once, although three outages last many times as long as an export may
// take. Each request arrives unchanged, in order, with its own interval.
func TestDeltasSurviveOutages(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			c := otlptest.New(t)
			guard := deltaGuard(t, c, protocol, nil)
			meter := guard.MeterProvider().Meter("test")
			counter, err := meter.Int64Counter("orders")
			require.NoError(t, err)
			histogram, err := meter.Float64Histogram("duration")
			require.NoError(t, err)
			total := 0
			load := func(d time.Duration) {
				for end := time.Now().Add(d); time.Now().Before(end); total++ {
					of := metric.WithAttributes(attribute.Int("shard", total%3))
					counter.Add(t.Context(), 1, of)
					histogram.Record(t.Context(), float64(total%100), of)
					time.Sleep(time.Millisecond)
				}
			}
			for range 3 {
				load(200 * time.Millisecond)
				c.SetFault(unavailable)
				load(2500 * time.Millisecond)
				c.SetFault(otlptest.Fault{})
			}
			load(200 * time.Millisecond)
			require.NoError(t, guard.Shutdown(t.Context()))

			var counted, recorded int
			ends := map[string]time.Time{}
			for _, m := range c.Metrics() {
				for _, p := range m.Points {
					series := fmt.Sprint(m.Name, p.Attributes["shard"])
					switch m.Name {
					case "orders":
						counted += int(p.Value)
					case "duration":
						recorded += int(p.Count)
					default:
						continue
					}
					require.False(t, p.Start.Before(ends[series]), "%s: an interval is there twice, or out of order",
						series)
					ends[series] = p.Time
				}
			}
			require.Equal(t, total, counted)
			require.Equal(t, total, recorded)
			require.Zero(t, guard.Health().Metrics.Lost())
			requireBooks(t, guard)
		})
	}
}

// What still waits at the end of Shutdown is lost, named and counted.
func TestDeltasThatNeverArriveAreCounted(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			c := otlptest.New(t)
			guard := deltaGuard(t, c, protocol,
				map[string]string{"OTEL_METRIC_EXPORT_INTERVAL": "3600000", "OTEL_METRIC_EXPORT_TIMEOUT": "1500"})
			counter, err := guard.MeterProvider().Meter("test").Int64Counter("orders")
			require.NoError(t, err)
			c.SetFault(unavailable)
			for range 3 {
				counter.Add(t.Context(), 1)
				require.Regexp(t, `data points? not delivered: .*(503|Unavailable|no answer yet)`,
					guard.ForceFlush(soon(t)).Error(), "no answer yet: a busy machine")
			}
			require.EqualValues(t, 3, guard.Health().Metrics.Queued)
			require.Zero(t, guard.Health().Metrics.Lost())
			counter.Add(t.Context(), 1)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			require.Regexp(t, `4 data points .*(503|Unavailable|no answer yet)`, guard.Shutdown(ctx).Error())
			require.EqualValues(t, 4, guard.Health().Metrics.Failed)
			requireBooks(t, guard)
		})
	}
}

// What the collector refuses is not retried, and cumulative points are not kept, because the next
// ones contain their sum.
func TestOnlyRetryableDeltasAreKept(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		temporality string
		fault       otlptest.Fault
	}{
		"refused":    {"delta", otlptest.Fault{HTTPStatus: http.StatusBadRequest, GRPCCode: grpccodes.InvalidArgument}},
		"cumulative": {"cumulative", unavailable},
	} {
		for _, protocol := range protocols {
			t.Run(name+" "+string(protocol), func(t *testing.T) {
				t.Parallel()
				c := otlptest.New(t)
				guard := deltaGuard(t, c, protocol, map[string]string{
					"OTEL_METRIC_EXPORT_INTERVAL": "3600000", "OTEL_METRIC_EXPORT_TIMEOUT": "1500",
					"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": tt.temporality,
				})
				counter, err := guard.MeterProvider().Meter("test").Int64Counter("orders")
				require.NoError(t, err)
				c.SetFault(tt.fault)
				counter.Add(t.Context(), 1)
				require.ErrorContains(t, guard.ForceFlush(soon(t)), "1 data point not delivered")
				require.Zero(t, guard.Health().Metrics.Queued)
				require.EqualValues(t, 1, guard.Health().Metrics.Lost())
				c.SetFault(otlptest.Fault{})
				require.NoError(t, guard.Shutdown(t.Context()))
			})
		}
	}
}

// The SDK's messages about instruments name them, so that they can be found.
func TestInstrumentProblemsNameTheInstruments(t *testing.T) {
	if !isChild() {
		require.NotContains(t, runChild(t), "FAIL")
		return
	}
	c := otlptest.New(t)
	console := &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithServiceName("test"), telemetry.WithLogOutput(console),
		telemetry.WithLogFormat(telemetry.LogFormatText), telemetry.WithEndpoint(c.HTTPEndpoint()))
	require.NoError(t, err)
	meter := otel.Meter("shop")
	counter, err := meter.Int64Counter("orders", metric.WithUnit("{order}"))
	require.NoError(t, err)
	counter.Add(context.Background(), 1)
	histogram, err := meter.Float64Histogram("orders", metric.WithUnit("s"))
	require.NoError(t, err)
	histogram.Record(context.Background(), 1)
	_, err = meter.Int64UpDownCounter("carts", metric.WithUnit("1"))
	require.NoError(t, err)
	_, err = meter.Int64Counter("carts", metric.WithUnit("1"))
	require.NoError(t, err)
	sdkmetric.NewView(sdkmetric.Instrument{Name: "shop.*"}, sdkmetric.Stream{Name: "one.for.all"})
	require.NoError(t, guard.Shutdown(t.Context()))

	require.Contains(t, console.String(),
		`duplicate metric stream definitions; names: \"orders\", \"orders\"; kinds: Counter, Histogram; units: {order}, s; numbers: int64, float64`)
	require.Contains(t, console.String(),
		`names: \"carts\", \"carts\"; kinds: UpDownCounter, Counter; units: 1, 1; numbers: int64, int64; suggested.view: NewView(Instrument{Name: \"carts\",`, "each is told")
	require.Contains(t, console.String(),
		`dropping view: name replacement for multiple instruments; criteria: \"shop.*\"`)
}

var deltaMetrics = map[string]string{
	"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE":        "delta",
	"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram",
	"OTEL_METRIC_EXPORT_INTERVAL":                              "100", "OTEL_METRIC_EXPORT_TIMEOUT": "1000",
	"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none",
}

func deltaGuard(t *testing.T, c *otlptest.Collector, protocol telemetry.Protocol,
	env map[string]string) *telemetry.Guard {
	t.Helper()
	all := map[string]string{endpointVariable: c.Endpoint(string(protocol)), protocolVariable: string(protocol)}
	for _, variables := range []map[string]string{deltaMetrics, env} {
		for name, value := range variables {
			all[name] = value
		}
	}
	guard, _ := inEnvironment(t, all)
	return guard
}

var unavailable = otlptest.Fault{HTTPStatus: http.StatusServiceUnavailable, GRPCCode: grpccodes.Unavailable}

// soon has a deadline of its own, which is longer than the exports'.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
