package encodable

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
)

// MeterProvider returns real with synchronous instruments that cut the values of attributes: the SDK holds each set of them
// until the process ends. Those of observable instruments are the service's own anyway; [Limits.Metrics] cuts what is sent.
func (l Limits) MeterProvider(real metric.MeterProvider) metric.MeterProvider {
	return meterProvider{real: real, limits: l}
}

type meterProvider struct {
	embedded.MeterProvider
	real   metric.MeterProvider
	limits Limits
}

func (p meterProvider) Meter(name string, opts ...metric.MeterOption) metric.Meter {
	return meter{p.real.Meter(name, opts...), p.limits}
}

type meter struct {
	metric.Meter
	limits Limits
}

// adder and recorder are what synchronous instruments come down to.
type (
	adder[N any] interface {
		Add(ctx context.Context, v N, o ...metric.AddOption)
		Enabled(ctx context.Context) bool
	}
	recorder[N any] interface {
		Record(ctx context.Context, v N, o ...metric.RecordOption)
		Enabled(ctx context.Context) bool
	}
)

// adding is a counter or an up-down counter: all embedded types in one, as in the SDK.
type adding[N any] struct {
	embedded.Int64Counter
	embedded.Int64UpDownCounter
	embedded.Float64Counter
	embedded.Float64UpDownCounter
	real   adder[N]
	limits Limits
}

func (a *adding[N]) Enabled(ctx context.Context) bool { return a.real.Enabled(ctx) }

func (a *adding[N]) Add(ctx context.Context, v N, opts ...metric.AddOption) {
	if len(opts) > 0 {
		if set, changed := limited(a.limits, metric.NewAddConfig(opts).Attributes(), opts); changed {
			opts = []metric.AddOption{metric.WithAttributeSet(set)}
		}
	}
	a.real.Add(ctx, v, opts...)
}

// recording is a histogram or a gauge.
type recording[N any] struct {
	embedded.Int64Histogram
	embedded.Int64Gauge
	embedded.Float64Histogram
	embedded.Float64Gauge
	real   recorder[N]
	limits Limits
}

func (r *recording[N]) Enabled(ctx context.Context) bool { return r.real.Enabled(ctx) }

func (r *recording[N]) Record(ctx context.Context, v N, opts ...metric.RecordOption) {
	if len(opts) > 0 {
		if set, changed := limited(r.limits, metric.NewRecordConfig(opts).Attributes(), opts); changed {
			opts = []metric.RecordOption{metric.WithAttributeSet(set)}
		}
	}
	r.real.Record(ctx, v, opts...)
}

// limited returns the attributes of a measurement within the limits if they are not. Those of the options of
// go.opentelemetry.io/otel/metric/x are not in the set.
func limited[O any](l Limits, set attribute.Set, opts []O) (kept attribute.Set, changed bool) {
	kept, changed = l.Set(set)
	var raw []attribute.KeyValue
	for _, o := range opts {
		if given, ok := any(o).(interface{ RawAttributes() []attribute.KeyValue }); ok {
			attrs, here := l.Attributes(given.RawAttributes())
			raw, changed = append(raw, attrs...), changed || here
		}
	}
	if !changed || raw == nil {
		return kept, changed
	}
	return attribute.NewSet(append(kept.ToSlice(), raw...)...), true
}

func (m meter) Int64Counter(name string, o ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	i, err := m.Meter.Int64Counter(name, o...)
	if err != nil {
		return i, err
	}
	return &adding[int64]{real: i, limits: m.limits}, nil
}

func (m meter) Int64UpDownCounter(name string, o ...metric.Int64UpDownCounterOption) (metric.Int64UpDownCounter, error) {
	i, err := m.Meter.Int64UpDownCounter(name, o...)
	if err != nil {
		return i, err
	}
	return &adding[int64]{real: i, limits: m.limits}, nil
}

func (m meter) Int64Histogram(name string, o ...metric.Int64HistogramOption) (metric.Int64Histogram, error) {
	i, err := m.Meter.Int64Histogram(name, o...)
	if err != nil {
		return i, err
	}
	return &recording[int64]{real: i, limits: m.limits}, nil
}

func (m meter) Int64Gauge(name string, o ...metric.Int64GaugeOption) (metric.Int64Gauge, error) {
	i, err := m.Meter.Int64Gauge(name, o...)
	if err != nil {
		return i, err
	}
	return &recording[int64]{real: i, limits: m.limits}, nil
}

func (m meter) Float64Counter(name string, o ...metric.Float64CounterOption) (metric.Float64Counter, error) {
	i, err := m.Meter.Float64Counter(name, o...)
	if err != nil {
		return i, err
	}
	return &adding[float64]{real: i, limits: m.limits}, nil
}

func (m meter) Float64UpDownCounter(name string, o ...metric.Float64UpDownCounterOption) (metric.Float64UpDownCounter, error) {
	i, err := m.Meter.Float64UpDownCounter(name, o...)
	if err != nil {
		return i, err
	}
	return &adding[float64]{real: i, limits: m.limits}, nil
}

func (m meter) Float64Histogram(name string, o ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	i, err := m.Meter.Float64Histogram(name, o...)
	if err != nil {
		return i, err
	}
	return &recording[float64]{real: i, limits: m.limits}, nil
}

func (m meter) Float64Gauge(name string, o ...metric.Float64GaugeOption) (metric.Float64Gauge, error) {
	i, err := m.Meter.Float64Gauge(name, o...)
	if err != nil {
		return i, err
	}
	return &recording[float64]{real: i, limits: m.limits}, nil
}
