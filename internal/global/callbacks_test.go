package global_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fleetotel/telemetry/internal/global"
)

// observables makes every observable instrument there is, each with a callback of its own that
// counts its calls and observes 1. It returns the functions that observe 2 for them through a
// registered callback.
func observables(t testing.TB, m metric.Meter, suffix string, calls map[string]int) (
	all []metric.Observable, observe func(o metric.Observer),
) {
	t.Helper()
	option := func(name string) metric.Int64ObservableOption {
		return metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			calls[name]++
			o.Observe(1, metric.WithAttributes(attribute.String("by", "option")))
			return nil
		})
	}
	floatOption := func(name string) metric.Float64ObservableOption {
		return metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			calls[name]++
			o.Observe(1, metric.WithAttributes(attribute.String("by", "option")))
			return nil
		})
	}
	unit := metric.WithUnit("ms")
	ic, err := m.Int64ObservableCounter("Int64ObservableCounter"+suffix, unit, option("Int64ObservableCounter"+suffix))
	require.NoError(t, err)
	iu, err := m.Int64ObservableUpDownCounter("Int64ObservableUpDownCounter"+suffix,
		option("Int64ObservableUpDownCounter"+suffix), unit)
	require.NoError(t, err)
	ig, err := m.Int64ObservableGauge("Int64ObservableGauge"+suffix, unit, option("Int64ObservableGauge"+suffix))
	require.NoError(t, err)
	fc, err := m.Float64ObservableCounter("Float64ObservableCounter"+suffix, unit,
		floatOption("Float64ObservableCounter"+suffix))
	require.NoError(t, err)
	fu, err := m.Float64ObservableUpDownCounter("Float64ObservableUpDownCounter"+suffix, unit,
		floatOption("Float64ObservableUpDownCounter"+suffix))
	require.NoError(t, err)
	fg, err := m.Float64ObservableGauge("Float64ObservableGauge"+suffix, unit,
		floatOption("Float64ObservableGauge"+suffix))
	require.NoError(t, err)
	by := metric.WithAttributes(attribute.String("by", "callback"))
	return []metric.Observable{ic, iu, ig, fc, fu, fg}, func(o metric.Observer) {
		o.ObserveInt64(ic, 2, by)
		o.ObserveInt64(iu, 2, by)
		o.ObserveInt64(ig, 2, by)
		o.ObserveFloat64(fc, 2, by)
		o.ObserveFloat64(fu, 2, by)
		o.ObserveFloat64(fg, 2, by)
	}
}

func TestObservableInstrumentsFollow(t *testing.T) {
	t.Parallel()
	calls := map[string]int{}
	var made []string
	p := global.New()
	step := func(stage string) {
		m := p.MeterProvider().Meter("x")
		all, observe := observables(t, m, "."+stage, calls)
		_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
			calls["registered."+stage]++
			observe(o)
			return nil
		}, all...)
		require.NoError(t, err)
		made = append(made, stage)
	}
	first, second := newBackend(), newBackend()
	// check collects both backends, of which only current (if any) may see the callbacks, each
	// once.
	check := func(current *backend) {
		t.Helper()
		clear(calls)
		for _, b := range []*backend{first, second} {
			got := b.collect(t)
			if b != current {
				require.Empty(t, got)
				continue
			}
			require.Len(t, got[0].Metrics, 6*len(made))
			for _, m := range got[0].Metrics {
				require.InDelta(t, 3, value(t, m), 0, m.Name)
				require.Equal(t, "ms", m.Unit, m.Name)
			}
		}
		if current == nil {
			require.Empty(t, calls)
			return
		}
		require.Len(t, calls, 7*len(made))
		for name, n := range calls {
			require.Equal(t, 1, n, name)
		}
	}

	step("before")
	check(nil)
	p.Use(first.traces, first.metrics, first.logs)
	check(first)
	step("first")
	check(first)
	p.Use(nil, nil, nil)
	step("between")
	check(nil)
	p.Use(second.traces, second.metrics, second.logs)
	step("second")
	check(second)
	check(second)
	p.Use(first.traces, first.metrics, first.logs) // once more: still once per collection
	check(first)
	p.Use(nil, nil, nil)
	check(nil)
}

func TestUnregister(t *testing.T) {
	t.Parallel()
	p := global.New()
	m := p.MeterProvider().Meter("x")
	gauge, err := m.Int64ObservableGauge("g")
	require.NoError(t, err)
	calls := map[string]int{}
	register := func(name string) metric.Registration {
		r, err := m.RegisterCallback(func(context.Context, metric.Observer) error { calls[name]++; return nil }, gauge)
		require.NoError(t, err)
		return r
	}
	fired := func(b *backend) map[string]int {
		t.Helper()
		calls = map[string]int{}
		b.collect(t)
		return calls
	}

	early, stays, middle := register("early"), register("stays"), register("middle")
	require.NoError(t, early.Unregister())
	a := newBackend()
	p.Use(nil, a.metrics, nil)
	require.Equal(t, map[string]int{"stays": 1, "middle": 1}, fired(a))
	require.NoError(t, middle.Unregister())
	require.NoError(t, middle.Unregister(), "again")
	require.Equal(t, map[string]int{"stays": 1}, fired(a))
	between := register("between")

	p.Use(nil, nil, nil)
	require.NoError(t, between.Unregister())
	b := newBackend()
	p.Use(nil, b.metrics, nil)
	require.Equal(t, map[string]int{"stays": 1}, fired(b))
	require.NoError(t, stays.Unregister())
	require.Empty(t, fired(b))
	p.Use(nil, a.metrics, nil)
	require.Empty(t, fired(a))
}

func TestRegistrationErrors(t *testing.T) {
	t.Parallel()
	p, b := global.New(), newBackend()
	mine, other := p.MeterProvider().Meter("mine"), p.MeterProvider().Meter("other")
	own, err := mine.Int64ObservableGauge("own")
	require.NoError(t, err)
	name := unique("foreign")
	foreign, err := other.Int64ObservableGauge(name)
	require.NoError(t, err)
	observe := func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(own, 1)
		return nil
	}
	_, err = mine.RegisterCallback(observe, own, foreign)
	require.NoError(t, err, "there is no SDK to object yet")

	p.Use(nil, b.metrics, nil)
	require.Len(t, handled.about(name), 1)
	r, err := mine.RegisterCallback(observe, own, foreign)
	require.ErrorContains(t, err, name)
	require.Equal(t, map[string]float64{"own": 1}, b.values(t), "the valid part runs")
	require.NoError(t, r.Unregister())
}

func TestCallbackErrorsReachTheCollection(t *testing.T) {
	t.Parallel()
	p, b := global.New(), newBackend()
	m := p.MeterProvider().Meter("x")
	one, two, three := errors.New("one"), errors.New("two"), errors.New("three")
	_, err := m.Int64ObservableGauge("i", metric.WithInt64Callback(
		func(context.Context, metric.Int64Observer) error { return one }), metric.WithInt64Callback(
		func(context.Context, metric.Int64Observer) error { return two }))
	require.NoError(t, err)
	_, err = m.Float64ObservableGauge("f", metric.WithFloat64Callback(
		func(context.Context, metric.Float64Observer) error { return three }))
	require.NoError(t, err)
	p.Use(nil, b.metrics, nil)
	var rm metricdata.ResourceMetrics
	err = b.reader.Collect(t.Context(), &rm)
	for _, want := range []error{one, two, three} {
		require.ErrorIs(t, err, want)
	}
}

// A component made anew after each Init gives its instruments' callbacks again: the living one must
// be observed.
func TestCallbacksGivenAgain(t *testing.T) {
	t.Parallel()
	p := global.New()
	name := unique("given.again")
	component := func(v int64) {
		_, err := p.MeterProvider().Meter("x").Int64ObservableGauge(name, metric.WithInt64Callback(
			func(_ context.Context, o metric.Int64Observer) error { o.Observe(v); return nil }))
		require.NoError(t, err)
	}
	a, b := newBackend(), newBackend()
	p.Use(nil, a.metrics, nil)
	component(1)
	component(2)
	component(3)
	require.InDelta(t, 1, a.values(t)[name], 0, "the first under one provider, as in the SDK")
	require.Len(t, handled.about(name), 1, "said once")

	p.Use(nil, b.metrics, nil)
	require.InDelta(t, 1, b.values(t)[name], 0)
	component(4)
	require.InDelta(t, 4, b.values(t)[name], 0)
	component(5)
	require.InDelta(t, 4, b.values(t)[name], 0)
}

// A dropped instrument's callback must not run, as with the SDK alone.
func TestViewsOfEachProviderHold(t *testing.T) {
	t.Parallel()
	p, b := global.New(), newBackend()
	calls := map[string]int{}
	observables(t, p.MeterProvider().Meter("x"), "", calls)
	reader := sdkmetric.NewManualReader()
	p.Use(nil, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithView(sdkmetric.NewView(
		sdkmetric.Instrument{Name: "*"}, sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}}))), nil)
	var rm metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &rm))
	require.Empty(t, rm.ScopeMetrics)
	require.Empty(t, calls)
	p.Use(nil, b.metrics, nil)
	require.Len(t, b.values(t), 6)
}

// A callback that never returns holds the SDK's lock on its provider. A switch must not wait for
// it.
func TestHangingCallbackDoesNotStopTheSwitch(t *testing.T) {
	t.Parallel()
	p, a, b := global.New(), newBackend(), newBackend()
	m := p.MeterProvider().Meter("x")
	entered, release, finished := make(chan struct{}), make(chan struct{}), make(chan struct{})
	hang := true
	gauge, err := m.Int64ObservableGauge("g")
	require.NoError(t, err)
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		if hang {
			hang = false
			close(entered)
			<-release
		}
		o.ObserveInt64(gauge, 1)
		return nil
	}, gauge)
	require.NoError(t, err)
	p.Use(nil, a.metrics, nil)
	var collected []metricdata.ScopeMetrics
	go func() {
		defer close(finished)
		var rm metricdata.ResourceMetrics
		_ = a.reader.Collect(context.Background(), &rm)
		collected = rm.ScopeMetrics
	}()
	<-entered

	var stuck metric.Int64Counter
	creation := make(chan struct{})
	go func() { // stuck inside the SDK, with nothing of ours locked
		defer close(creation)
		stuck, _ = m.Int64Counter("stuck")
	}()
	switched := make(chan struct{})
	go func() {
		defer close(switched)
		time.Sleep(5 * time.Millisecond) // lets the creation get stuck first; the result is the same if it does not
		p.Use(nil, b.metrics, nil)
	}()
	select {
	case <-switched:
	case <-time.After(2 * time.Second):
		t.Error("Use waits for a callback of the old provider")
	}
	close(release)
	<-finished
	<-creation
	<-switched
	require.Len(t, collected, 1, "what was under way ends at its own provider")
	stuck.Add(t.Context(), 3) // its creation on the old provider ended last and must not count
	require.Equal(t, map[string]float64{"g": 1, "stuck": 3}, b.values(t))
}

func TestSwitchAndLookupInsideCallback(t *testing.T) {
	t.Parallel()
	p, a, b := global.New(), newBackend(), newBackend()
	m := p.MeterProvider().Meter("x")
	counter, err := m.Int64Counter("c")
	require.NoError(t, err)
	gauge, err := m.Float64ObservableGauge("g")
	require.NoError(t, err)
	_, err = m.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		p.Use(nil, b.metrics, nil)
		same, err := p.MeterProvider().Meter("x").Int64Counter("c")
		if err != nil || same != counter {
			return errors.Join(errors.New("not the same counter"), err)
		}
		same.Add(ctx, 1)
		o.ObserveFloat64(gauge, 7)
		return nil
	}, gauge)
	require.NoError(t, err)
	p.Use(nil, a.metrics, nil)
	require.Equal(t, map[string]float64{"g": 7}, a.values(t))
	counter.Add(t.Context(), 1)
	var rm metricdata.ResourceMetrics
	p.Use(nil, a.metrics, nil)
	require.NoError(t, b.reader.Collect(t.Context(), &rm))
	require.InDelta(t, 2, value(t, rm.ScopeMetrics[0].Metrics[0]), 0)
}

// A shutdown in the middle of the last collection.
func TestSwitchToNothingInsideCallback(t *testing.T) {
	t.Parallel()
	p, a := global.New(), newBackend()
	gauge, err := p.MeterProvider().Meter("x").Int64ObservableGauge("g", metric.WithInt64Callback(
		func(_ context.Context, o metric.Int64Observer) error {
			p.Use(nil, nil, nil)
			o.Observe(7)
			return nil
		}))
	require.NoError(t, err)
	require.NotNil(t, gauge)
	p.Use(nil, a.metrics, nil)
	require.Equal(t, map[string]float64{"g": 7}, a.values(t))
}

// Observables of an SDK that the service uses directly pass through to that SDK's judgement.
func TestObservableOfTheSDKItself(t *testing.T) {
	t.Parallel()
	p, b := global.New(), newBackend()
	p.Use(nil, b.metrics, nil)
	direct, err := b.metrics.Meter("x").Int64ObservableGauge("direct")
	require.NoError(t, err)
	_, err = p.MeterProvider().Meter("x").RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(direct, 9)
		return nil
	}, direct)
	require.NoError(t, err)
	require.Equal(t, map[string]float64{"direct": 9}, b.values(t))
}

// hooked is an SDK's meter provider that runs code in the middle of what a switch does with it.
type hooked struct {
	metric.MeterProvider
	onCounter, onRegister func()
	counters              []string
	unregistered          int
}

func (h *hooked) Meter(name string, o ...metric.MeterOption) metric.Meter {
	return &hookedMeter{h.MeterProvider.Meter(name, o...), h}
}

type hookedMeter struct {
	metric.Meter
	*hooked
}

func (m *hookedMeter) Int64Counter(name string, o ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	m.counters = append(m.counters, name)
	if m.onCounter != nil {
		m.onCounter()
	}
	return m.Meter.Int64Counter(name, o...)
}

func (m *hookedMeter) RegisterCallback(f metric.Callback, o ...metric.Observable) (metric.Registration, error) {
	if m.onRegister != nil {
		m.onRegister()
	}
	r, err := m.Meter.RegisterCallback(f, o...)
	return hookedRegistration{r, m.hooked}, err
}

type hookedRegistration struct {
	metric.Registration
	*hooked
}

func (r hookedRegistration) Unregister() error {
	r.unregistered++
	return r.Registration.Unregister()
}

// A callback on the new provider may ask for an instrument that the switch has not reached.
// Creating it there would deadlock in the SDK, which holds its lock around callbacks.
func TestLookupDuringTheSwitchCreatesNothing(t *testing.T) {
	t.Parallel()
	p, b := global.New(), newBackend()
	m := p.MeterProvider().Meter("x")
	for _, name := range []string{"one", "two"} {
		_, err := m.Int64Counter(name)
		require.NoError(t, err)
	}
	h := &hooked{MeterProvider: b.metrics}
	h.onCounter = func() {
		if len(h.counters) == 1 {
			_, err := p.MeterProvider().Meter("x").Int64Counter("two")
			require.NoError(t, err)
			require.Equal(t, []string{"one"}, h.counters)
		}
	}
	p.Use(nil, h, nil)
	require.Equal(t, []string{"one", "two"}, h.counters, "in the order of creation")
}

func TestUnregisterDuringTheSwitch(t *testing.T) {
	t.Parallel()
	p, b := global.New(), newBackend()
	m := p.MeterProvider().Meter("x")
	gauge, err := m.Int64ObservableGauge("g")
	require.NoError(t, err)
	r, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(gauge, 1)
		return nil
	}, gauge)
	require.NoError(t, err)
	h := &hooked{MeterProvider: b.metrics}
	h.onRegister = func() { require.NoError(t, r.Unregister()) }
	p.Use(nil, h, nil)
	require.Empty(t, b.values(t))
	require.Equal(t, 1, h.unregistered, "the SDK does not keep it")
}

func TestRegisterCallbackDuringTheSwitch(t *testing.T) {
	t.Parallel()
	p, b := global.New(), newBackend()
	m := p.MeterProvider().Meter("x")
	_, err := m.Int64Counter("switched.first")
	require.NoError(t, err)
	gauge, err := m.Int64ObservableGauge("g")
	require.NoError(t, err)
	h := &hooked{MeterProvider: b.metrics}
	h.onCounter = func() { // the meter is the new one, the gauge still the old one
		_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
			o.ObserveInt64(gauge, 1)
			return nil
		}, gauge)
		require.NoError(t, err)
	}
	p.Use(nil, h, nil)
	require.Equal(t, map[string]float64{"g": 1}, b.values(t))
}

// A switch that overtakes another one's work on a slot must not be undone when that work ends.
func TestSwitchInsideASwitch(t *testing.T) {
	t.Parallel()
	p, a, b := global.New(), newBackend(), newBackend()
	c, err := p.MeterProvider().Meter("x").Int64Counter("c")
	require.NoError(t, err)
	h := &hooked{MeterProvider: a.metrics, onCounter: func() { p.Use(nil, b.metrics, nil) }}
	p.Use(nil, h, nil)
	c.Add(t.Context(), 1)
	require.Empty(t, a.values(t))
	require.Equal(t, map[string]float64{"c": 1}, b.values(t))
}

// capture is a meter that keeps its callback, and an observer that keeps what it is asked to
// observe.
type capture struct {
	noop.MeterProvider
	*capturing
}

type capturing struct {
	noop.Meter
	noop.Observer
	gauge    metric.Int64ObservableGauge
	callback metric.Callback
	observed []metric.Observable
}

func (c capture) Meter(string, ...metric.MeterOption) metric.Meter { return c.capturing }

func (c *capturing) Int64ObservableGauge(
	string, ...metric.Int64ObservableGaugeOption,
) (metric.Int64ObservableGauge, error) {
	return c.gauge, nil
}

func (c *capturing) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	c.callback = f
	return noop.Registration{}, nil
}

func (c *capturing) ObserveInt64(o metric.Int64Observable, _ int64, _ ...metric.ObserveOption) {
	c.observed = append(c.observed, o)
}

// An instrument that the callback was not registered for reaches the SDK unwrapped too: it is the
// SDK that objects.
func TestUnregisteredInstrumentIsUnwrapped(t *testing.T) {
	t.Parallel()
	p, c := global.New(), &capturing{gauge: &noop.Int64ObservableGauge{}}
	p.Use(nil, capture{capturing: c}, nil)
	m := p.MeterProvider().Meter("x")
	registered, err := m.Int64ObservableGauge("registered")
	require.NoError(t, err)
	other, err := m.Int64ObservableGauge("other")
	require.NoError(t, err)
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(registered, 1)
		o.ObserveInt64(other, 1)
		return nil
	}, registered)
	require.NoError(t, err)
	require.NoError(t, c.callback(t.Context(), c))
	require.Len(t, c.observed, 2)
	for _, o := range c.observed {
		require.Same(t, c.gauge, o)
	}
}
