package contain_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func TestACallbackThatHangsIsLeftBehind(t *testing.T) {
	for kind, create := range kinds {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				release := make(chan struct{})
				require.NoError(t, create(f.meter, "hanging", func() error { <-release; return nil }))
				require.NoError(t, create(f.meter, "after", func() error { return nil }))

				begin := time.Now()
				values := f.collect(t, t.Context())
				require.Equal(t, 10*time.Second+250*time.Millisecond, time.Since(begin))
				require.EqualValues(t, 1, values["healthy"])
				require.EqualValues(t, 1, values["after"])
				require.Len(t, f.reported(), 1)
				require.Contains(t, f.reported()[0], "hanging")
				require.Contains(t, f.reported()[0], "abandoned")

				begin = time.Now()
				values = f.collect(t, t.Context())
				require.Zero(t, time.Since(begin), "it is not called, and not waited for, again")
				require.EqualValues(t, 1, values["after"])
				require.NotContains(t, values, "hanging")
				require.Len(t, f.reported(), 1)

				close(release)
				synctest.Wait()
				require.EqualValues(t, 1, f.collect(t, t.Context())["hanging"], "it has come back")
			})
		})
	}
}

func TestWhatComesTooLateDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		release := make(chan struct{})
		var calls atomic.Int64
		call := func() metric.ObserveOption { return metric.WithAttributes(attribute.Int64("call", calls.Add(1))) }
		_, err := f.meter.Int64ObservableGauge("int",
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				this := call()
				<-release
				o.Observe(1, this)
				return errors.New("too late, too")
			}))
		require.NoError(t, err)
		_, err = f.meter.Float64ObservableGauge("float",
			metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
				this := call()
				<-release
				o.Observe(1, this)
				return nil
			}))
		require.NoError(t, err)
		ints, err := f.meter.Int64ObservableGauge("registered.int")
		require.NoError(t, err)
		floats, err := f.meter.Float64ObservableGauge("registered.float")
		require.NoError(t, err)
		_, err = f.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
			this := call()
			<-release
			o.ObserveInt64(ints, 1, this)
			o.ObserveFloat64(floats, 1, this)
			return nil
		}, ints, floats)
		require.NoError(t, err)
		require.Equal(t, map[string]float64{"healthy": 1}, f.collect(t, t.Context()))
		require.Len(t, f.reported(), 3)
		close(release)
		synctest.Wait()
		require.Len(t, f.reported(), 3, "how it ended is not reported")
		require.Equal(t, map[string]float64{"healthy": 1, "int": 1, "float": 1, "registered.int": 1,
			"registered.float": 1},
			f.collect(t, t.Context()), "the points of the first call are not among them")
	})
}

func TestACallbacksOwnGoroutinesCountWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		i, err := f.meter.Int64ObservableGauge("observed")
		require.NoError(t, err)
		_, err = f.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
			go o.ObserveInt64(i, 40)
			synctest.Wait()
			go func() {
				time.Sleep(time.Second)
				o.ObserveInt64(i, 100, metric.WithAttributes(attribute.Bool("late", true)))
			}()
			return nil
		}, i)
		require.NoError(t, err)
		for range 2 {
			require.EqualValues(t, 40, f.collect(t, t.Context())["observed"])
			time.Sleep(2 * time.Second)
		}
	})
}

func TestACallbackThatHeedsItsContextSpeaksForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		i, err := f.meter.Int64ObservableGauge("slow")
		require.NoError(t, err)
		_, err = f.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
			o.ObserveInt64(i, 1)
			<-ctx.Done()
			return errors.Join(errors.New("query"), ctx.Err())
		}, i)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		begin := time.Now()
		require.EqualValues(t, 1, f.collect(t, ctx)["slow"])
		require.Equal(t, 4*time.Second, time.Since(begin), "half of what the collection has")
		require.Contains(t, f.reported()[0], "query\ncontext deadline exceeded")
	})
}

func TestManyThatHangLeaveTimeForTheExport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		release := make(chan struct{})
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			require.NoError(t, kinds["Int64ObservableGauge"](f.meter, name, func() error { <-release; return nil }))
		}
		require.NoError(t, kinds["RegisterCallback"](f.meter, "last", func() error { return nil }))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		require.EqualValues(t, 1, f.collect(t, ctx)["last"])
		deadline, _ := ctx.Deadline()
		require.Greater(t, time.Until(deadline), 5*time.Second)
		require.Len(t, f.reported(), 8)

		close(release)
		synctest.Wait()
	})
}

// TestACollectionThatIsCancelledLetsCallbacksFinish is what a shutdown does to the collection under
// way. The last collection follows at once, and should find no callback still at work.
func TestACollectionThatIsCancelledLetsCallbacksFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		require.NoError(t, kinds["Int64ObservableCounter"](f.meter, "leisurely",
			func() error { time.Sleep(200 * time.Millisecond); return nil }))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		f.collect(t, ctx)
		require.EqualValues(t, 1, f.collect(t, t.Context())["leisurely"])
		require.Empty(t, f.reported())
	})
}

func TestACallbackMayCreateInstruments(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, kinds["Int64ObservableGauge"](f.meter, "creating", func() error {
		_, err := f.meter.Int64Counter("new") // waits for the collection to end, in the SDK for ever
		return err
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.EqualValues(t, 1, f.collect(t, ctx)["healthy"])
	for f.collect(t, t.Context())["creating"] != 1 {
		require.NoError(t, t.Context().Err())
		time.Sleep(time.Millisecond)
	}
}

// producing is a producer that does as it is told.
type producing func(context.Context) ([]metricdata.ScopeMetrics, error)

func (p producing) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) { return p(ctx) }

func TestProducers(t *testing.T) {
	made := []metricdata.ScopeMetrics{{Metrics: []metricdata.Metrics{{
		Name: "made", Data: metricdata.Gauge[int64]{DataPoints: []metricdata.DataPoint[int64]{{Value: 3}}},
	}}}}
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := newFixture(t,
			producing(func(context.Context) ([]metricdata.ScopeMetrics, error) { panic("first") }),
			producing(func(context.Context) ([]metricdata.ScopeMetrics, error) { <-release; return made, nil }),
			producing(func(context.Context) ([]metricdata.ScopeMetrics, error) { return made, errDown }))
		for range 3 {
			values := f.collect(t, t.Context())
			require.EqualValues(t, 1, values["healthy"])
			require.EqualValues(t, 3, values["made"])
		}
		require.Equal(t, []string{
			"telemetry: the metric producer of the test: panic: first",
			"telemetry: the metric producer of the test: did not return in time: it was abandoned, and is called " +
				"again after it has returned",
			"telemetry: the metric producer of the test: pool is down",
		}, f.reported())
		close(release)
		synctest.Wait()
	})
}
