package contain

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
)

// MeterProvider returns real with all callbacks contained. The instruments are those of real
// itself, so recording costs the same, and observable instruments may be used with either provider.
//
// Each cause is reported once for each callback, and again after the callback has succeeded. report
// must be safe for concurrent use. A collection waits at most 250 ms for it, so that it may use the
// provider.
//
// As in the SDK, Unregister waits for a collection under way. It does not wait for abandoned
// callbacks.
func MeterProvider(real metric.MeterProvider, report func(error)) metric.MeterProvider {
	return &meterProvider{real: real, report: report}
}

type meterProvider struct {
	embedded.MeterProvider
	real   metric.MeterProvider
	report func(error)
	hung   atomic.Int32
	names  sync.Map // observable instrument → its name, for RegisterCallback's reports
}

func (p *meterProvider) Meter(name string, options ...metric.MeterOption) metric.Meter {
	return &meter{Meter: p.real.Meter(name, options...), provider: p, scope: name}
}

// meter is the real meter, except where callbacks are handed to it.
type meter struct {
	metric.Meter
	provider *meterProvider
	scope    string
}

// task names the instruments, because nothing else about a callback tells a person which one it is.
func (m *meter) task(names ...string) *task {
	const few = 3
	var more string
	if len(names) > few {
		more = fmt.Sprintf(" and %d more", len(names)-few)
		names = names[:few]
	}
	return &task{
		subject: fmt.Sprintf("the metric callback of %s%s (scope %s)", strings.Join(names, ", "), more, m.scope),
		report:  m.provider.report,
		hung:    &m.provider.hung,
	}
}

// RegisterCallback implements metric.Meter.
func (m *meter) RegisterCallback(f metric.Callback, instruments ...metric.Observable) (metric.Registration, error) {
	names := make([]string, len(instruments))
	for i, o := range instruments {
		names[i] = m.provider.nameOf(o)
	}
	return m.Meter.RegisterCallback(m.task(names...).callback(f), instruments...)
}

func (p *meterProvider) nameOf(i metric.Observable) string {
	if mayBeKey(i) {
		if name, ok := p.names.Load(i); ok {
			return name.(string)
		}
	}
	return "an instrument of another provider"
}

func mayBeKey(i metric.Observable) bool { return i != nil && reflect.TypeOf(i).Comparable() }

// observable creates an instrument with its callbacks contained. I is its type in the API, C its
// configuration made of options O, F the type of its callbacks.
func observable[I metric.Observable, O, F any, C interface{ Callbacks() []F }](m *meter, name string, options []O,
	configure func(...O) C, create func(string, ...O) (I, error), contained func(*task, F) O,
) (I, error) {
	var own []O
	for _, o := range options {
		callbacks := configure(o).Callbacks()
		if len(callbacks) == 0 {
			own = append(own, o)
		}
		for _, f := range callbacks {
			own = append(own, contained(m.task(name), f))
		}
	}
	i, err := create(name, own...)
	if mayBeKey(i) {
		m.provider.names.LoadOrStore(i, name)
	}
	return i, err
}

func (m *meter) Int64ObservableCounter(name string,
	o ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return observable(m, name, o, metric.NewInt64ObservableCounterConfig, m.Meter.Int64ObservableCounter,
		func(t *task, f metric.Int64Callback) metric.Int64ObservableCounterOption {
			return metric.WithInt64Callback(t.int64(f))
		})
}

func (m *meter) Int64ObservableUpDownCounter(name string,
	o ...metric.Int64ObservableUpDownCounterOption) (metric.Int64ObservableUpDownCounter, error) {
	return observable(m, name, o, metric.NewInt64ObservableUpDownCounterConfig, m.Meter.Int64ObservableUpDownCounter,
		func(t *task, f metric.Int64Callback) metric.Int64ObservableUpDownCounterOption {
			return metric.WithInt64Callback(t.int64(f))
		})
}

func (m *meter) Int64ObservableGauge(
	name string, o ...metric.Int64ObservableGaugeOption,
) (metric.Int64ObservableGauge, error) {
	return observable(m, name, o, metric.NewInt64ObservableGaugeConfig, m.Meter.Int64ObservableGauge,
		func(t *task, f metric.Int64Callback) metric.Int64ObservableGaugeOption {
			return metric.WithInt64Callback(t.int64(f))
		})
}

func (m *meter) Float64ObservableCounter(name string,
	o ...metric.Float64ObservableCounterOption) (metric.Float64ObservableCounter, error) {
	return observable(m, name, o, metric.NewFloat64ObservableCounterConfig, m.Meter.Float64ObservableCounter,
		func(t *task, f metric.Float64Callback) metric.Float64ObservableCounterOption {
			return metric.WithFloat64Callback(t.float64(f))
		})
}

func (m *meter) Float64ObservableUpDownCounter(name string,
	o ...metric.Float64ObservableUpDownCounterOption) (metric.Float64ObservableUpDownCounter, error) {
	return observable(m, name, o, metric.NewFloat64ObservableUpDownCounterConfig,
		m.Meter.Float64ObservableUpDownCounter,
		func(t *task, f metric.Float64Callback) metric.Float64ObservableUpDownCounterOption {
			return metric.WithFloat64Callback(t.float64(f))
		})
}

func (m *meter) Float64ObservableGauge(name string,
	o ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	return observable(m, name, o, metric.NewFloat64ObservableGaugeConfig, m.Meter.Float64ObservableGauge,
		func(t *task, f metric.Float64Callback) metric.Float64ObservableGaugeOption {
			return metric.WithFloat64Callback(t.float64(f))
		})
}
