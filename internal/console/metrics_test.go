package console

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// measured is a service whose metrics somebody watches, collected every 5 s of virtual time.
func measured(t *testing.T, width int, aggregation sdkmetric.AggregationSelector,
	run func(context.Context, metric.Meter, *terminal)) (output string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		out := &terminal{}
		hidden := func(scope, _ string) bool { return scope == "noise" }
		exporter := NewMetrics(NewScreen(out, false, func() int { return width }), aggregation, hidden)
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter,
			sdkmetric.WithInterval(5*time.Second))))
		noise, err := provider.Meter("noise").Int64Counter("noise")
		require.NoError(t, err)
		noise.Add(t.Context(), 1)
		run(t.Context(), provider.Meter("shop"), out)
		require.NoError(t, provider.Shutdown(t.Context()))
		output = out.String()
	})
	return output
}

func must[T any](t *testing.T) func(T, error) T {
	return func(instrument T, err error) T {
		t.Helper()
		require.NoError(t, err)
		return instrument
	}
}

func TestMetricsTable(t *testing.T) {
	for _, width := range []int{60, 80, 120} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			output := measured(t, width, sdkmetric.DefaultAggregationSelector,
				func(ctx context.Context, m metric.Meter, out *terminal) {
					orders := must[metric.Int64Counter](t)(m.Int64Counter("orders", metric.WithUnit("{order}")))
					volume := must[metric.Float64Counter](t)(m.Float64Counter("revenue", metric.WithUnit("EUR")))
					inFlight := must[metric.Int64UpDownCounter](t)(m.Int64UpDownCounter("requests.in_flight"))
					heap := must[metric.Int64Gauge](t)(m.Int64Gauge("cache.size", metric.WithUnit("By")))
					took := must[metric.Float64Histogram](t)(m.Float64Histogram("http.server.request.duration",
						metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.1, 1)))
					never := must[metric.Int64Counter](t)(m.Int64Counter("never.used"))
					never.Add(ctx, 0)
					route := func(status int) metric.MeasurementOption {
						return metric.WithAttributes(attribute.String("http.request.method", "POST"),
							attribute.String("http.route", "/orders/{id}"),
							attribute.Int("http.response.status_code", status), attribute.String("url.scheme", "http"))
					}
					orders.Add(ctx, 2, metric.WithAttributes(attribute.String("currency", "EUR")))
					orders.Add(ctx, 1, metric.WithAttributes(attribute.String("currency", "US Dollar\x1b[0m")))
					volume.Add(ctx, 133.35)
					inFlight.Add(ctx, 3)
					heap.Record(ctx, 3<<20)
					for range 10 {
						took.Record(ctx, 0.007, route(201))
					}
					for range 11 {
						took.Record(ctx, 3.5, route(500))
					}
					time.Sleep(6 * time.Second)
					_, _ = out.Write([]byte("-- nothing changes\n"))
					time.Sleep(10 * time.Second)
					_, _ = out.Write([]byte("-- and again\n"))
					orders.Add(ctx, 10, metric.WithAttributes(attribute.String("currency", "EUR")))
					inFlight.Add(ctx, -2)
					heap.Record(ctx, 1<<20)
					took.Record(ctx, 0.05, route(201))
					took.Record(ctx, 0.07, route(201))
					time.Sleep(5 * time.Second)
				})
			requireGolden(t, output)
			requireWidth(t, output, width)
			require.NotContains(t, output, "never")
			require.NotContains(t, output, "noise")
			require.NotContains(t, output, "\x1b")
		})
	}
}

func TestExponentialHistogram(t *testing.T) {
	exponential := func(sdkmetric.InstrumentKind) sdkmetric.Aggregation {
		return sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}
	}
	requireGolden(t, measured(t, 80, exponential, func(ctx context.Context, m metric.Meter, _ *terminal) {
		h := must[metric.Int64Histogram](t)(m.Int64Histogram("message.size", metric.WithUnit("By")))
		h.Record(ctx, 1000)
		h.Record(ctx, 3000)
		time.Sleep(6 * time.Second)
		h.Record(ctx, 5000)
	}))
}

// Series that the short attributes do not tell apart show all of theirs.
func TestSeriesAreToldApart(t *testing.T) {
	requireGolden(t, measured(t, 80, sdkmetric.DefaultAggregationSelector,
		func(ctx context.Context, m metric.Meter, _ *terminal) {
			c := must[metric.Int64Counter](t)(m.Int64Counter("requests"))
			c.Add(ctx, 1, metric.WithAttributes(attribute.String("network.protocol.version", "1.1")))
			c.Add(ctx, 2, metric.WithAttributes(attribute.String("network.protocol.version", "2")))
		}))
}

func TestRowsAreBounded(t *testing.T) {
	run := func(n int) string {
		return measured(t, 80, sdkmetric.DefaultAggregationSelector,
			func(ctx context.Context, m metric.Meter, _ *terminal) {
				for i := range n {
					must[metric.Int64Counter](t)(m.Int64Counter(fmt.Sprintf("counter.%03d", i))).Add(ctx, 1)
				}
			})
	}
	require.NotContains(t, run(maxRows), "more")
	require.Contains(t, run(maxRows+1), "… 1 more series\n")
	require.Equal(t, maxRows, strings.Count(run(maxRows+1), "counter."))
}

func TestQuantilesOfWhatIsNew(t *testing.T) {
	before := reading{count: 100, sum: 50, bounds: []float64{1, 2, 4}, buckets: []uint64{100, 0, 0, 0}}
	now := reading{count: 120, sum: 90, bounds: before.bounds, buckets: []uint64{100, 10, 8, 2}}
	fresh := now.since(before)
	require.EqualValues(t, 20, fresh.count)
	require.InDelta(t, 40, fresh.sum, 1e-9)
	require.Equal(t, "≤2", fresh.quantile(0.5, ""))
	require.Equal(t, "≤2", fresh.quantile(0.25, ""), "the bucket's border: where in it the values are is not known")
	require.Equal(t, "≤4", fresh.quantile(0.9, ""))
	require.Equal(t, ">4", fresh.quantile(0.95, ""), "nothing is known beyond the last bound")
	fresh.largest = 3
	require.Equal(t, "≤3", fresh.quantile(0.9, ""), "nothing is above the largest value")
	fresh.largest = 9
	require.Equal(t, "≤9", fresh.quantile(0.95, ""))
	require.Equal(t, before, before.since(now), "a histogram that started anew is new as a whole")
}

// TestFiguresOfOneBucketAreTrue has 99 fast values and a slow one in the same bucket.
func TestFiguresOfOneBucketAreTrue(t *testing.T) {
	output := measured(t, 100, sdkmetric.DefaultAggregationSelector,
		func(ctx context.Context, m metric.Meter, _ *terminal) {
			h := must[metric.Float64Histogram](t)(m.Float64Histogram("took", metric.WithUnit("s"),
				metric.WithExplicitBucketBoundaries(0.005, 0.01)))
			record := func() {
				for range 99 {
					h.Record(ctx, 16e-6)
				}
				h.Record(ctx, 400e-6)
			}
			record()
			time.Sleep(6 * time.Second)
			record()
		})
	require.Regexp(t, `took +100 +\+100  mean 19µs max 400µs\n`, output)
	require.Regexp(t, `took +200 +\+100  mean 19µs p95 ≤400µs\n`, output, "the largest value may be an earlier one")
}

// TestMetricsAtTheEnd: a reader of log lines is not interrupted.
func TestMetricsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &terminal{}
		exporter := NewMetrics(NewScreen(out, false, func() int { return 80 }), sdkmetric.DefaultAggregationSelector,
			func(string, string) bool { return false })
		exporter.AtTheEnd()
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter,
			sdkmetric.WithInterval(5*time.Second))))
		orders := must[metric.Int64Counter](t)(provider.Meter("shop").Int64Counter("orders"))
		for range 10 {
			orders.Add(t.Context(), 1)
			time.Sleep(6 * time.Second)
		}
		require.Empty(t, out.String())
		require.NoError(t, provider.ForceFlush(t.Context()))
		require.Regexp(t, `^00:01:00\.000 METRICS 1 series changed\norders +10 +\+10 *\n$`, out.String())
		orders.Add(t.Context(), 5)
		time.Sleep(12 * time.Second)
		require.NoError(t, provider.Shutdown(t.Context()))
		require.Regexp(t, `\n00:01:12\.000 METRICS 1 series changed in 12(\.0)?s\norders +15 +\+5 `, out.String(),
			"what is new since the last table")
		require.Equal(t, 2, strings.Count(out.String(), "METRICS"))
	})
}

func TestQuantities(t *testing.T) {
	for _, c := range []struct {
		value float64
		unit  string
		want  string
	}{
		{0, "s", "0ns"}, {0.00012, "s", "120µs"}, {0.0034, "s", "3.40ms"}, {75, "s", "1m15s"}, {4000, "s", "1h06m"},
		{12, "ms", "12.0ms"},
		{-0.5, "s", "-500ms"}, {1e300, "s", "1e+300 s"},
		{1536, "By", "1.5 KiB"}, {-2048, "By", "-2 KiB"}, {1 << 50, "By", "1024 TiB"},
		{17, "{order}", "17"}, {0.5, "1", "0.5"}, {133.35, "EUR", "133.35 EUR"}, {1234567, "", "1234567"},
		{1e18, "", "1e+18"}, {0.00123, "", "0.00123"},
		{math.NaN(), "s", "NaN"}, {math.Inf(1), "By", "+Inf"},
	} {
		require.Equal(t, c.want, quantity(c.value, c.unit), "%v %s", c.value, c.unit)
	}
}
