package telemetry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// A collection that is too large for the collector arrives in parts, whatever its instruments are; what is too large by
// itself is counted.
func TestMetricsTooLargeAreHalved(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))), telemetry.WithProtocol(protocol),
				telemetry.WithViews(sdkmetric.NewView(sdkmetric.Instrument{Name: "exponential.*"},
					sdkmetric.Stream{Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 20, MaxScale: 20}})))
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

// The library's own limit of a request is halved at like a collector's: metrics beyond it arrive.
func TestMetricsLargerThanARequest(t *testing.T) {
	if testing.Short() {
		t.Skip("140 MB")
	}
	pad := strings.Repeat("x", 32_000)
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))), telemetry.WithProtocol(protocol),
				telemetry.WithoutTraces(), telemetry.WithoutLogs(), telemetry.WithoutRuntimeMetrics())
			gauge, err := guard.MeterProvider().Meter("test").Int64Gauge("large")
			require.NoError(t, err)
			const points = 450 // of 160 kB each
			for n := range points {
				gauge.Record(t.Context(), 1, metric.WithAttributes(attribute.Int("n", n), attribute.String("a", pad), attribute.String("b", pad),
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

// What fits is learned for each signal: the second time hardly a request is refused.
func TestTooLargeIsLearned(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))), telemetry.WithProtocol(protocol),
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
