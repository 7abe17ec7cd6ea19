package contain_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry/internal/contain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a contained provider of the real SDK with one healthy observable instrument.
type fixture struct {
	real   *sdkmetric.MeterProvider
	reader *sdkmetric.ManualReader
	meter  metric.Meter

	mu      sync.Mutex
	reports []string
}

func newFixture(t *testing.T, producers ...sdkmetric.Producer) *fixture {
	f := &fixture{}
	var opts []sdkmetric.ManualReaderOption
	for _, p := range producers {
		opts = append(opts, sdkmetric.WithProducer(contain.Producer(p, "the test", f.report)))
	}
	f.reader = sdkmetric.NewManualReader(opts...)
	f.real = sdkmetric.NewMeterProvider(sdkmetric.WithReader(f.reader))
	f.meter = contain.MeterProvider(f.real, f.report).Meter("shop")
	_, err := f.meter.Int64ObservableGauge("healthy",
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(1)
			return nil
		}))
	require.NoError(t, err)
	return f
}

func (f *fixture) report(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reports = append(f.reports, err.Error())
}

func (f *fixture) reported() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reports
}

// collect must never fail. It returns the value, or the sum over all attributes, of each metric
// that is there.
func (f *fixture) collect(t *testing.T, ctx context.Context) map[string]float64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	require.NoError(t, f.reader.Collect(ctx, &rm))
	values := map[string]float64{}
	for _, s := range rm.ScopeMetrics {
		for _, m := range s.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				values[m.Name] = total(d.DataPoints)
			case metricdata.Sum[float64]:
				values[m.Name] = total(d.DataPoints)
			case metricdata.Gauge[int64]:
				values[m.Name] = total(d.DataPoints)
			case metricdata.Gauge[float64]:
				values[m.Name] = total(d.DataPoints)
			}
		}
	}
	return values
}

func total[N int64 | float64](points []metricdata.DataPoint[N]) (sum float64) {
	for _, p := range points {
		sum += float64(p.Value)
	}
	return sum
}
