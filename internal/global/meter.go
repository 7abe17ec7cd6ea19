package global

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/fleetotel/telemetry/internal/logs"
)

type meterProvider struct {
	embedded.MeterProvider
	provider[metric.MeterProvider, *meter]
}

func (p *meterProvider) Meter(name string, options ...metric.MeterOption) metric.Meter {
	c := metric.NewMeterConfig(options...)
	key := scopeOf(name, c.InstrumentationVersion(), c.SchemaURL(), c.InstrumentationAttributes())
	m := p.handed.get(key, func() *meter {
		options := slices.Clone(options)
		m := &meter{}
		m.source = &p.real
		m.create = func(real metric.MeterProvider) (metric.Meter, error) { return real.Meter(name, options...), nil }
		return m
	})
	_ = m.ready() // meters have no errors
	return m
}

// follow switches the instruments of all meters first and the callbacks last. So a callback that
// already runs on the new provider finds every instrument there, including those that it records
// to.
func (p *meterProvider) follow() {
	meters := p.handed.all()
	for _, m := range meters {
		report(m.follow())
		for _, i := range m.instruments.all() {
			report(i.follow())
		}
	}
	for _, m := range meters {
		m.mu.Lock()
		registrations := slices.Clone(m.registrations)
		m.mu.Unlock()
		for _, r := range registrations {
			report(r.follow())
		}
	}
}

type meter struct {
	embedded.Meter
	slot[metric.MeterProvider, metric.Meter]
	instruments table[identity, follower]

	mu            sync.Mutex
	registrations []*registration // in order: if two callbacks observe the same series, the last one wins
}

type follower interface {
	ready() error
	follow() error
}

// identity distinguishes the instruments of one meter. It includes the boundaries because a handle
// keeps its options. The SDK decides what happens if only the boundaries of two handles differ.
type identity struct {
	kind                                reflect.Type
	name, unit, description, boundaries string
}

type config interface {
	Description() string
	Unit() string
}

// bits makes boundaries comparable. A NaN is equal to itself.
func bits(boundaries []float64) string {
	var key []byte
	for _, b := range boundaries {
		key = binary.BigEndian.AppendUint64(key, math.Float64bits(b))
	}
	return string(key)
}

// instrument returns the instrument of this identity, with the error of the current SDK. I is its
// type in the API, H its type here, S the part of I that H forwards to, and C its configuration,
// made from options O.
func instrument[H interface {
	follower
	base() *from[S]
}, S, I, O any, C config](m *meter, name string, options []O, configure func(...O) C,
	create func(metric.Meter, string, ...O) (I, error), newHandle func() H,
) (H, error) {
	c := configure(options...)
	id := identity{kind: reflect.TypeFor[I](), name: name, unit: c.Unit(), description: c.Description()}
	switch c := any(c).(type) { // not an interface with the method: calling that would move c to the heap
	case metric.Int64HistogramConfig:
		id.boundaries = bits(c.ExplicitBucketBoundaries())
	case metric.Float64HistogramConfig:
		id.boundaries = bits(c.ExplicitBucketBoundaries())
	}
	i := m.instruments.get(id, func() follower {
		options := slices.Clone(options)
		h := newHandle()
		s := h.base()
		s.source = &m.current
		s.create = func(real metric.Meter) (S, error) {
			i, err := created(func() (I, error) { return create(real, name, options...) })
			behind, ok := any(i).(S)
			if !ok { // rejected without a substitute: a no-op instrument keeps the handle usable
				i, _ = create(noop.Meter{}, name, options...)
				behind, _ = any(i).(S)
			}
			return behind, err
		}
		return h
	})
	return i.(H), i.ready()
}

// created calls create, and returns a panic of a service's view as an error, because Init creates
// instruments again.
func created[I any](create func() (I, error)) (i I, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %s", logs.Text(p))
		}
	}()
	return create()
}

// observable returns an observable instrument. Its callbacks are removed from its options and
// registered separately, because the SDK can neither remove nor replace a callback given as an
// option.
func observable[H interface {
	follower
	metric.Observable
	base() *from[metric.Observable]
	own() *ownCallbacks
}, I, O, F any, C interface {
	config
	Callbacks() []F
}](m *meter, name string, options []O, configure func(...O) C, create func(metric.Meter, string, ...O) (I, error),
	newHandle func() H, adapt func(H, []F) metric.Callback,
) (H, error) {
	callbacks := configure(options...).Callbacks()
	if len(callbacks) == 0 {
		return instrument(m, name, options, configure, create, newHandle)
	}
	h, err := instrument(m, name, slices.DeleteFunc(slices.Clone(options), func(o O) bool {
		return len(configure(o).Callbacks()) > 0
	}), configure, create, newHandle)
	return h, errors.Join(err, h.own().set(m, name, h, adapt(h, callbacks)))
}

func (m *meter) Int64Counter(name string, o ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return instrument(m, name, o, metric.NewInt64CounterConfig, metric.Meter.Int64Counter, newAdding[int64])
}

func (m *meter) Int64UpDownCounter(
	name string, o ...metric.Int64UpDownCounterOption,
) (metric.Int64UpDownCounter, error) {
	return instrument(m, name, o, metric.NewInt64UpDownCounterConfig, metric.Meter.Int64UpDownCounter, newAdding[int64])
}

func (m *meter) Int64Histogram(name string, o ...metric.Int64HistogramOption) (metric.Int64Histogram, error) {
	return instrument(m, name, o, metric.NewInt64HistogramConfig, metric.Meter.Int64Histogram, newRecording[int64])
}

func (m *meter) Int64Gauge(name string, o ...metric.Int64GaugeOption) (metric.Int64Gauge, error) {
	return instrument(m, name, o, metric.NewInt64GaugeConfig, metric.Meter.Int64Gauge, newRecording[int64])
}

func (m *meter) Float64Counter(name string, o ...metric.Float64CounterOption) (metric.Float64Counter, error) {
	return instrument(m, name, o, metric.NewFloat64CounterConfig, metric.Meter.Float64Counter, newAdding[float64])
}

func (m *meter) Float64UpDownCounter(
	name string, o ...metric.Float64UpDownCounterOption,
) (metric.Float64UpDownCounter, error) {
	return instrument(m, name, o, metric.NewFloat64UpDownCounterConfig, metric.Meter.Float64UpDownCounter,
		newAdding[float64])
}

func (m *meter) Float64Histogram(name string, o ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return instrument(m, name, o, metric.NewFloat64HistogramConfig, metric.Meter.Float64Histogram,
		newRecording[float64])
}

func (m *meter) Float64Gauge(name string, o ...metric.Float64GaugeOption) (metric.Float64Gauge, error) {
	return instrument(m, name, o, metric.NewFloat64GaugeConfig, metric.Meter.Float64Gauge, newRecording[float64])
}

func (m *meter) Int64ObservableCounter(name string,
	o ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return observable(m, name, o, metric.NewInt64ObservableCounterConfig, metric.Meter.Int64ObservableCounter,
		newInt64Observable, int64Callbacks)
}

func (m *meter) Int64ObservableUpDownCounter(name string,
	o ...metric.Int64ObservableUpDownCounterOption) (metric.Int64ObservableUpDownCounter, error) {
	return observable(m, name, o, metric.NewInt64ObservableUpDownCounterConfig,
		metric.Meter.Int64ObservableUpDownCounter, newInt64Observable, int64Callbacks)
}

func (m *meter) Int64ObservableGauge(
	name string, o ...metric.Int64ObservableGaugeOption,
) (metric.Int64ObservableGauge, error) {
	return observable(m, name, o, metric.NewInt64ObservableGaugeConfig, metric.Meter.Int64ObservableGauge,
		newInt64Observable, int64Callbacks)
}

func (m *meter) Float64ObservableCounter(name string,
	o ...metric.Float64ObservableCounterOption) (metric.Float64ObservableCounter, error) {
	return observable(m, name, o, metric.NewFloat64ObservableCounterConfig, metric.Meter.Float64ObservableCounter,
		newFloat64Observable, float64Callbacks)
}

func (m *meter) Float64ObservableUpDownCounter(name string,
	o ...metric.Float64ObservableUpDownCounterOption) (metric.Float64ObservableUpDownCounter, error) {
	return observable(m, name, o, metric.NewFloat64ObservableUpDownCounterConfig,
		metric.Meter.Float64ObservableUpDownCounter, newFloat64Observable, float64Callbacks)
}

func (m *meter) Float64ObservableGauge(name string,
	o ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	return observable(m, name, o, metric.NewFloat64ObservableGaugeConfig, metric.Meter.Float64ObservableGauge,
		newFloat64Observable, float64Callbacks)
}
