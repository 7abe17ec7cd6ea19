package encodable

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
)

// MeterProvider returns real with synchronous instruments that limit the values of attributes,
// because the SDK keeps each attribute set in memory until the process ends. Observable instruments
// are not changed, because the service holds their attributes anyway; [Limits.Metrics] limits those
// when they are sent.
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

// adder and recorder are the methods that all synchronous instruments have.
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
	if len(opts) > 0 && !known(a.limits, opts) {
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
	if len(opts) > 0 && !known(r.limits, opts) {
		if set, changed := limited(r.limits, metric.NewRecordConfig(opts).Attributes(), opts); changed {
			opts = []metric.RecordOption{metric.WithAttributeSet(set)}
		}
	}
	r.real.Record(ctx, v, opts...)
}

// Reused is an option for attributes that are used for many measurements. They are checked against
// the limits only once. It is safe for concurrent use.
type Reused struct {
	metric.MeasurementOption
	within atomic.Pointer[Limits] // the last limits that they were found to be within
}

// NewReused returns the option for a set.
func NewReused(set attribute.Set) *Reused {
	return &Reused{MeasurementOption: metric.WithAttributeSet(set)}
}

// known reports whether the only option is a Reused that is within the limits.
func known[O any](l Limits, opts []O) bool {
	reused, ok := any(opts[0]).(*Reused)
	return ok && len(opts) == 1 && reused.isWithin(l)
}

func (r *Reused) isWithin(l Limits) bool {
	if last := r.within.Load(); last != nil && *last == l {
		return true
	}
	set := metric.NewRecordConfig([]metric.RecordOption{r}).Attributes()
	if _, changed := l.Set(set); changed {
		return false
	}
	own := l // allocated here, not at each measurement
	r.within.Store(&own)
	return true
}

// limited returns the attributes of a measurement, cut if they are beyond the limits. set does not
// have those of the options of go.opentelemetry.io/otel/metric/x.
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

func (m meter) Int64Counter(name string, o ...metric.Int64CounterOption) (i metric.Int64Counter, err error) {
	if i, err = m.Meter.Int64Counter(name, o...); err == nil {
		i = &adding[int64]{real: i, limits: m.limits}
	}
	return i, err
}

func (m meter) Int64UpDownCounter(
	name string, o ...metric.Int64UpDownCounterOption,
) (i metric.Int64UpDownCounter, err error) {
	if i, err = m.Meter.Int64UpDownCounter(name, o...); err == nil {
		i = &adding[int64]{real: i, limits: m.limits}
	}
	return i, err
}

func (m meter) Int64Histogram(name string, o ...metric.Int64HistogramOption) (i metric.Int64Histogram, err error) {
	if i, err = m.Meter.Int64Histogram(name, o...); err == nil {
		i = &recording[int64]{real: i, limits: m.limits}
	}
	return i, err
}

func (m meter) Int64Gauge(name string, o ...metric.Int64GaugeOption) (i metric.Int64Gauge, err error) {
	if i, err = m.Meter.Int64Gauge(name, o...); err == nil {
		i = &recording[int64]{real: i, limits: m.limits}
	}
	return i, err
}

func (m meter) Float64Counter(name string, o ...metric.Float64CounterOption) (i metric.Float64Counter, err error) {
	if i, err = m.Meter.Float64Counter(name, o...); err == nil {
		i = &adding[float64]{real: i, limits: m.limits}
	}
	return i, err
}

func (m meter) Float64UpDownCounter(
	name string, o ...metric.Float64UpDownCounterOption,
) (i metric.Float64UpDownCounter, err error) {
	if i, err = m.Meter.Float64UpDownCounter(name, o...); err == nil {
		i = &adding[float64]{real: i, limits: m.limits}
	}
	return i, err
}

func (m meter) Float64Histogram(
	name string, o ...metric.Float64HistogramOption,
) (i metric.Float64Histogram, err error) {
	if i, err = m.Meter.Float64Histogram(name, o...); err == nil {
		i = &recording[float64]{real: i, limits: m.limits}
	}
	return i, err
}

func (m meter) Float64Gauge(name string, o ...metric.Float64GaugeOption) (i metric.Float64Gauge, err error) {
	if i, err = m.Meter.Float64Gauge(name, o...); err == nil {
		i = &recording[float64]{real: i, limits: m.limits}
	}
	return i, err
}
