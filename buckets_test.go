package telemetry_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// TestHistogramsHaveBucketsThatFit records into histograms in seconds and in bytes, under views that speak about
// aggregation and under such that do not.
func TestHistogramsHaveBucketsThatFit(t *testing.T) {
	http := []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	seconds := []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}
	database := []float64{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10}
	bytes := []float64{0, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30}
	milliseconds := []float64{0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000}
	fits := map[string][]float64{
		"http.server.request.duration": http, "HTTP.client.request.duration": http, "rpc.server.call.duration": http,
		"rpc.client.duration": http, "messaging.client.operation.duration": http, "messaging.process.duration": http,
		"db.client.operation.duration": database, "db.client.connection.wait_time": database,
		// Names of a service that begin like those of the conventions.
		"http.checkout.duration": seconds, "rpc.lag": seconds, "messaging.lag": seconds, "db.client.migration.duration": seconds,
		"http.checkout.advised": {1, 2}, "messaging.lag.advised": {1, 2}, "rpc.server.call.advised": {1, 2}, "db.client.advised": {1, 2},
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
			asFloats, asInts := make([]metric.Float64HistogramOption, len(options)), make([]metric.Int64HistogramOption, len(options))
			for i, o := range options {
				asFloats[i], asInts[i] = o, o
			}
			floats, err := provider.Meter("floats").Float64Histogram(name, asFloats...)
			require.NoError(t, err)
			floats.Record(t.Context(), 0.02, metric.WithAttributes(attribute.String("kept", "k"), attribute.String("order.id", "4711")))
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
		{name: "a view that filters attributes", opts: []telemetry.Option{telemetry.WithViews(sdkmetric.NewView(all, sdkmetric.Stream{AttributeFilter: onlyKept}))}},
		{name: "a view that describes", opts: []telemetry.Option{telemetry.WithViews(sdkmetric.NewView(sdkmetric.Instrument{Kind: sdkmetric.InstrumentKindHistogram}, sdkmetric.Stream{Description: "d"}))}},
		{
			name: "a view with bounds", want: func([]float64) []float64 { return []float64{7} },
			opts: []telemetry.Option{telemetry.WithViews(sdkmetric.NewView(all, sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: []float64{7}}}))},
		},
		{
			name: "a view that asks for the SDK's own", want: func([]float64) []float64 { return milliseconds },
			opts: []telemetry.Option{telemetry.WithViews(sdkmetric.NewView(all, sdkmetric.Stream{Aggregation: sdkmetric.AggregationDefault{}}))},
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

// TestAdviceOfTheInstrumentWins is a library that gives an instrument of the conventions bounds of its own.
func TestAdviceOfTheInstrumentWins(t *testing.T) {
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
