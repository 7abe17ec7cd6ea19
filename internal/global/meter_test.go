package global_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fleetotel/telemetry/internal/global"
)

func nan() float64 { return math.NaN() }

// instrument is a synchronous instrument of any kind.
type instrument struct {
	record  func(ctx context.Context, v int, set metric.MeasurementOption)
	enabled func(ctx context.Context) bool
}

// kinds makes every synchronous instrument there is. The name of each is its kind and the given
// suffix.
func kinds(t testing.TB, m metric.Meter, suffix string) map[string]instrument {
	t.Helper()
	out := map[string]instrument{}
	unit := metric.WithUnit("ms")
	ic, err := m.Int64Counter("Int64Counter"+suffix, unit)
	require.NoError(t, err)
	iu, err := m.Int64UpDownCounter("Int64UpDownCounter"+suffix, unit)
	require.NoError(t, err)
	ih, err := m.Int64Histogram("Int64Histogram"+suffix, unit)
	require.NoError(t, err)
	ig, err := m.Int64Gauge("Int64Gauge"+suffix, unit)
	require.NoError(t, err)
	fc, err := m.Float64Counter("Float64Counter"+suffix, unit)
	require.NoError(t, err)
	fu, err := m.Float64UpDownCounter("Float64UpDownCounter"+suffix, unit)
	require.NoError(t, err)
	fh, err := m.Float64Histogram("Float64Histogram"+suffix, unit)
	require.NoError(t, err)
	fg, err := m.Float64Gauge("Float64Gauge"+suffix, unit)
	require.NoError(t, err)

	type o = metric.MeasurementOption
	type c = context.Context
	out["Int64Counter"] = instrument{func(ctx c, v int, s o) { ic.Add(ctx, int64(v), s) }, ic.Enabled}
	out["Int64UpDownCounter"] = instrument{func(ctx c, v int, s o) { iu.Add(ctx, int64(v), s) }, iu.Enabled}
	out["Int64Histogram"] = instrument{func(ctx c, v int, s o) { ih.Record(ctx, int64(v), s) }, ih.Enabled}
	out["Int64Gauge"] = instrument{func(ctx c, v int, s o) { ig.Record(ctx, int64(v), s) }, ig.Enabled}
	out["Float64Counter"] = instrument{func(ctx c, v int, s o) { fc.Add(ctx, float64(v), s) }, fc.Enabled}
	out["Float64UpDownCounter"] = instrument{func(ctx c, v int, s o) { fu.Add(ctx, float64(v), s) }, fu.Enabled}
	out["Float64Histogram"] = instrument{func(ctx c, v int, s o) { fh.Record(ctx, float64(v), s) }, fh.Enabled}
	out["Float64Gauge"] = instrument{func(ctx c, v int, s o) { fg.Record(ctx, float64(v), s) }, fg.Enabled}
	return out
}

func TestSynchronousInstrumentsFollow(t *testing.T) {
	t.Parallel()
	made := map[string]map[string]instrument{}
	amount := map[string]int{"before": 1, "first": 10, "between": 100, "second": 1000, "after": 10000}
	attrs := metric.WithAttributeSet(attribute.NewSet(attribute.String("k", "v")))
	first, second := stages(func(p *global.Providers, stage string) {
		made[stage] = kinds(t, p.MeterProvider().Meter("x"), "."+stage)
		for when, all := range made {
			for kind, i := range all {
				require.Equal(t, stage == "first" || stage == "second", i.enabled(t.Context()), "%s %s", kind, when)
				i.record(t.Context(), amount[stage], attrs)
			}
		}
	})

	want := func(v float64, stages ...string) map[string]float64 {
		out := map[string]float64{}
		for _, s := range stages {
			for kind := range made["before"] {
				out[kind+"."+s] = v
			}
		}
		return out
	}
	require.Equal(t, want(10, "before", "first"), first.values(t))
	require.Equal(t, want(1000, "before", "first", "between", "second"), second.values(t))

	for _, m := range second.collect(t)[0].Metrics {
		require.Equal(t, "ms", m.Unit, m.Name)
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
			require.Equal(t, attribute.NewSet(attribute.String("k", "v")), sum.DataPoints[0].Attributes)
			require.Equal(t, m.Name[:12] == "Int64Counter", sum.IsMonotonic, m.Name)
		}
	}
}

func TestInstrumentIdentity(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]*global.Providers{"no-op": global.New(), "SDK": global.New()} {
		if name == "SDK" {
			b := newBackend()
			p.Use(b.traces, b.metrics, b.logs)
		}
		m := p.MeterProvider().Meter("x")
		histogram := func(o ...metric.Float64HistogramOption) metric.Float64Histogram {
			h, err := m.Float64Histogram("h", o...)
			require.NoError(t, err)
			return h
		}
		bounds := metric.WithExplicitBucketBoundaries
		h := histogram(metric.WithUnit("s"), metric.WithDescription("d"), bounds(1, 2))
		require.Same(t, h, histogram(metric.WithDescription("d"), metric.WithUnit("s"), bounds(1, 2)), name)
		for i, other := range []metric.Float64Histogram{
			histogram(metric.WithUnit("ms"), metric.WithDescription("d"), bounds(1, 2)),
			histogram(metric.WithUnit("s"), metric.WithDescription("e"), bounds(1, 2)),
			histogram(metric.WithUnit("s"), metric.WithDescription("d"), bounds(1, 3)),
			histogram(metric.WithUnit("s"), metric.WithDescription("d")),
		} {
			require.NotSame(t, h, other, "%s %d", name, i)
		}
		i, err := m.Int64Histogram("i", bounds(1, 2))
		require.NoError(t, err)
		other, err := m.Int64Histogram("i", bounds(1, 3))
		require.NoError(t, err)
		require.NotSame(t, i, other)
		// One name, two kinds: two instruments, not a failed conversion.
		c, err := m.Int64Counter("h")
		require.NoError(t, err)
		u, err := m.Int64UpDownCounter("h")
		require.NoError(t, err)
		require.NotSame(t, c, u)
	}
}

func TestHistogramBoundariesSurvive(t *testing.T) {
	t.Parallel()
	p := global.New()
	h, err := p.MeterProvider().Meter("x").Int64Histogram("h", metric.WithExplicitBucketBoundaries(1, 7))
	require.NoError(t, err)
	for range 2 {
		b := newBackend()
		p.Use(b.traces, b.metrics, b.logs)
		h.Record(t.Context(), 5)
		data := b.collect(t)[0].Metrics[0].Data.(metricdata.Histogram[int64])
		require.Equal(t, []float64{1, 7}, data.DataPoints[0].Bounds)
		require.Equal(t, []uint64{0, 1, 0}, data.DataPoints[0].BucketCounts)
	}
}

func TestRejectedInstruments(t *testing.T) {
	t.Parallel()
	p, b := global.New(), newBackend()
	m := p.MeterProvider().Meter("x")
	early, late := unique("1early"), unique("2late")
	earlyCounter, err := m.Int64Counter(early)
	require.NoError(t, err, "the no-op provider accepts everything")
	require.Empty(t, handled.about(early))

	p.Use(b.traces, b.metrics, b.logs)
	require.Len(t, handled.about(early), 1)

	for range 2 { // asked again, the SDK says it again
		c, err := m.Int64Counter(late)
		require.ErrorIs(t, err, sdkmetric.ErrInstrumentName)
		c.Add(t.Context(), 3)
		g, err := m.Float64ObservableGauge(late+"g", metric.WithFloat64Callback(
			func(_ context.Context, o metric.Float64Observer) error { o.Observe(4); return nil }))
		require.ErrorIs(t, err, sdkmetric.ErrInstrumentName)
		require.NotNil(t, g)
	}
	require.NotContains(t, fmt.Sprint(handled.about(late)), "invalid instrument name", "told to the caller")
	earlyCounter.Add(t.Context(), 2)
	require.Equal(t, map[string]float64{early: 2, late: 6, late + "g": 4}, b.values(t), "usable all the same")

	again := newBackend()
	p.Use(again.traces, again.metrics, again.logs)
	require.Len(t, handled.about(early), 2)
	require.Len(t, handled.about("invalid instrument name: "+late+":"), 1)
	_, err = m.Int64Counter(late)
	require.ErrorIs(t, err, sdkmetric.ErrInstrumentName)
}

// refusing is a provider of another make: it returns no instrument with its error.
type refusing struct{ noop.MeterProvider }

func (refusing) Meter(string, ...metric.MeterOption) metric.Meter { return refusingMeter{} }

type refusingMeter struct{ noop.Meter }

var errRefused = errors.New("refused")

func (refusingMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return nil, errRefused
}

func (refusingMeter) Float64ObservableGauge(string,
	...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	return nil, errRefused
}

func (refusingMeter) RegisterCallback(metric.Callback, ...metric.Observable) (metric.Registration, error) {
	return nil, errRefused
}

func TestRefusedWithoutSubstitute(t *testing.T) {
	t.Parallel()
	p, b := global.New(), newBackend()
	p.Use(nil, refusing{}, nil)
	m := p.MeterProvider().Meter("x")
	c, err := m.Int64Counter("c")
	require.ErrorIs(t, err, errRefused)
	c.Add(t.Context(), 1)
	require.False(t, c.Enabled(t.Context()))
	g, err := m.Float64ObservableGauge("g")
	require.ErrorIs(t, err, errRefused)
	r, err := m.RegisterCallback(func(context.Context, metric.Observer) error { return nil }, g)
	require.ErrorIs(t, err, errRefused)
	require.NoError(t, r.Unregister())

	p.Use(b.traces, b.metrics, b.logs)
	c.Add(t.Context(), 2)
	require.Equal(t, map[string]float64{"c": 2}, b.values(t))
}
