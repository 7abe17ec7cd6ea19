package contain_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fleetotel/telemetry/internal/contain"
)

// kinds are the seven ways to hand a callback to a meter; each observes 1 and then does what comes.
var kinds = map[string]func(m metric.Meter, name string, then func() error) error{
	"Int64ObservableCounter": func(m metric.Meter, name string, then func() error) error {
		_, err := m.Int64ObservableCounter(name, metric.WithUnit("1"), metric.WithInt64Callback(int64Callback(then)))
		return err
	},
	"Int64ObservableUpDownCounter": func(m metric.Meter, name string, then func() error) error {
		_, err := m.Int64ObservableUpDownCounter(name, metric.WithInt64Callback(int64Callback(then)),
			metric.WithUnit("1"))
		return err
	},
	"Int64ObservableGauge": func(m metric.Meter, name string, then func() error) error {
		_, err := m.Int64ObservableGauge(name, metric.WithInt64Callback(int64Callback(then)))
		return err
	},
	"Float64ObservableCounter": func(m metric.Meter, name string, then func() error) error {
		_, err := m.Float64ObservableCounter(name, metric.WithFloat64Callback(float64Callback(then)))
		return err
	},
	"Float64ObservableUpDownCounter": func(m metric.Meter, name string, then func() error) error {
		_, err := m.Float64ObservableUpDownCounter(name, metric.WithFloat64Callback(float64Callback(then)))
		return err
	},
	"Float64ObservableGauge": func(m metric.Meter, name string, then func() error) error {
		_, err := m.Float64ObservableGauge(name, metric.WithFloat64Callback(float64Callback(then)))
		return err
	},
	"RegisterCallback": func(m metric.Meter, name string, then func() error) error {
		whole, err := m.Int64ObservableGauge(name)
		part, err2 := m.Float64ObservableGauge(name + ".part")
		_, err3 := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
			o.ObserveInt64(whole, 1)
			o.ObserveFloat64(part, 1)
			return then()
		}, whole, part)
		return errors.Join(err, err2, err3)
	},
}

func int64Callback(then func() error) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(1)
		return then()
	}
}

func float64Callback(then func() error) metric.Float64Callback {
	return func(_ context.Context, o metric.Float64Observer) error {
		o.Observe(1)
		return then()
	}
}

var errDown = errors.New("pool is down")

func TestAFailureCostsNobodyElse(t *testing.T) {
	failures := map[string]struct {
		then func() error
		says string
	}{
		"error":  {func() error { return errDown }, "pool is down"},
		"panic":  {func() error { panic("no pool") }, "panic: no pool"},
		"goexit": {func() error { runtime.Goexit(); return nil }, "ended its goroutine"},
	}
	for kind, create := range kinds {
		for how, failure := range failures {
			t.Run(kind+" "+how, func(t *testing.T) {
				f := newFixture(t)
				require.NoError(t, create(f.meter, "failing", failure.then))
				require.NoError(t, create(f.meter, "after", func() error { return nil }))
				for range 3 {
					values := f.collect(t, t.Context())
					require.EqualValues(t, 1, values["healthy"])
					require.EqualValues(t, 1, values["after"])
					require.EqualValues(t, 1, values["failing"], "what was observed before the failure stays")
				}
				require.Len(t, f.reported(), 1, "one cause, one report")
				require.Contains(t, f.reported()[0], failure.says)
				require.Contains(t, f.reported()[0], "failing")
				require.Contains(t, f.reported()[0], "(scope shop)")
			})
		}
	}
}

func TestACauseIsReportedAgainAfterARecovery(t *testing.T) {
	f := newFixture(t)
	var result error
	require.NoError(t, kinds["Int64ObservableGauge"](f.meter, "flapping", func() error { return result }))
	for _, result = range []error{errDown, errDown, nil, errDown, errors.New("another")} {
		require.EqualValues(t, 1, f.collect(t, t.Context())["flapping"])
	}
	require.Len(t, f.reported(), 3)
}

func TestReportNamesTheInstruments(t *testing.T) {
	f := newFixture(t)
	var all []metric.Observable
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		i, err := f.meter.Int64ObservableGauge(name)
		require.NoError(t, err)
		all = append(all, i)
	}
	_, err := f.meter.RegisterCallback(func(context.Context, metric.Observer) error { return errDown }, all...)
	require.NoError(t, err)
	f.collect(t, t.Context())
	require.Equal(t, []string{"telemetry: the metric callback of a, b, c and 2 more (scope shop): pool is down"},
		f.reported())
}

func TestInstrumentsAreTheSDKsOwn(t *testing.T) {
	f := newFixture(t)
	real := f.real.Meter("shop")
	for _, m := range []metric.Meter{real, f.meter} {
		counter, err := m.Int64Counter("counter")
		require.NoError(t, err)
		counter.Add(t.Context(), 1)
	}
	mine, err := f.meter.Float64Histogram("histogram")
	require.NoError(t, err)
	theirs, err := real.Float64Histogram("histogram")
	require.NoError(t, err)
	require.Same(t, theirs, mine, "recording costs what it costs in the SDK")
	require.EqualValues(t, 2, f.collect(t, t.Context())["counter"])

	observable, err := real.Int64ObservableGauge("observable")
	require.NoError(t, err)
	_, err = f.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(observable, 5)
		return nil
	}, observable)
	require.NoError(t, err, "an instrument made through the SDK directly will do")
	require.EqualValues(t, 5, f.collect(t, t.Context())["observable"])
}

func TestUnregisterEndsTheCallback(t *testing.T) {
	f := newFixture(t)
	i, err := f.meter.Int64ObservableCounter("counted")
	require.NoError(t, err)
	registration, err := f.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(i, 7)
		return nil
	}, i)
	require.NoError(t, err)
	require.EqualValues(t, 7, f.collect(t, t.Context())["counted"])
	require.NoError(t, registration.Unregister())
	require.NotContains(t, f.collect(t, t.Context()), "counted")
}

// unhashable is an instrument that cannot be a key of a map.
type unhashable struct {
	metric.Int64Observable
	_ []int
}

func TestWhatTheSDKRefusesIsRefused(t *testing.T) {
	f := newFixture(t)
	for _, foreign := range []metric.Observable{noop.Int64ObservableGauge{}, unhashable{}, nil} {
		_, err := f.meter.RegisterCallback(func(context.Context, metric.Observer) error { return nil }, foreign)
		require.ErrorContains(t, err, "different implementation")
	}
	_, err := f.meter.Int64ObservableGauge("not a name")
	require.ErrorIs(t, err, sdkmetric.ErrInstrumentName)
	_, err = f.meter.Int64ObservableGauge("nothing", metric.WithInt64Callback(nil))
	require.NoError(t, err)
	require.EqualValues(t, 1, f.collect(t, t.Context())["healthy"])
	require.Contains(t, strings.Join(f.reported(), "\n"), "nil pointer", "a callback that is nil is a panic")
}

func TestEachReaderGetsAllObservations(t *testing.T) {
	readers := [2]*sdkmetric.ManualReader{sdkmetric.NewManualReader(), sdkmetric.NewManualReader()}
	real := sdkmetric.NewMeterProvider(sdkmetric.WithReader(readers[0]), sdkmetric.WithReader(readers[1]))
	meter := contain.MeterProvider(real, func(err error) { t.Error(err) }).Meter("shop")
	var meet sync.WaitGroup // both collections are in the callback at the same time
	meet.Add(len(readers))
	require.NoError(t, kinds["Float64ObservableCounter"](meter, "shared",
		func() error { meet.Done(); meet.Wait(); return nil }))
	var collections sync.WaitGroup
	for _, reader := range readers {
		collections.Go(func() {
			var rm metricdata.ResourceMetrics
			if err := reader.Collect(t.Context(), &rm); err != nil || len(rm.ScopeMetrics) != 1 {
				t.Errorf("%v, %d scopes", err, len(rm.ScopeMetrics))
			}
		})
	}
	collections.Wait()
}

func TestConcurrentSafe(t *testing.T) {
	f := newFixture(t)
	var calls atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				i, err := f.meter.Int64ObservableGauge("contended")
				if err != nil {
					t.Error(err)
				}
				r, err := f.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
					calls.Add(1)
					go o.ObserveInt64(i, 1) // may come too late
					return errDown
				}, i)
				if err != nil || r.Unregister() != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 50 {
				f.collect(t, context.WithoutCancel(t.Context()))
			}
		})
	}
	wg.Wait()
	require.NoError(t, kinds["RegisterCallback"](f.meter, "last", func() error { calls.Add(1); return nil }))
	require.EqualValues(t, 1, f.collect(t, t.Context())["last"])
	require.Positive(t, calls.Load())
}

func TestAReportMayUseTheProvider(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	real := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	created := make(chan struct{})
	meter := contain.MeterProvider(real, func(error) {
		defer close(created)
		_, _ = real.Meter("errors").Int64Counter("errors") // waits for the SDK's collection to end
		panic("and then this")
	}).Meter("shop")
	require.NoError(t, kinds["Int64ObservableGauge"](meter, "failing", func() error { return errDown }))
	begin := time.Now()
	require.NoError(t, reader.Collect(t.Context(), &metricdata.ResourceMetrics{}))
	require.Less(t, time.Since(begin), 5*time.Second)
	<-created
}
