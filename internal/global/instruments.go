package global

import (
	"context"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
)

// from is the slot of an instrument, which follows its meter.
type from[T any] = slot[metric.Meter, T]

// adder and recorder are the methods that all synchronous instruments of the SDK have.
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

// adding is a counter or an up-down counter of int64 or float64: all embedded types in one, as in
// the SDK.
type adding[N any] struct {
	embedded.Int64Counter
	embedded.Int64UpDownCounter
	embedded.Float64Counter
	embedded.Float64UpDownCounter
	from[adder[N]]
}

func newAdding[N any]() *adding[N] { return &adding[N]{} }

func (a *adding[N]) Add(ctx context.Context, v N, o ...metric.AddOption) { a.load().Add(ctx, v, o...) }

func (a *adding[N]) Enabled(ctx context.Context) bool { return a.load().Enabled(ctx) }

// recording is a histogram or a gauge of int64 or float64.
type recording[N any] struct {
	embedded.Int64Histogram
	embedded.Int64Gauge
	embedded.Float64Histogram
	embedded.Float64Gauge
	from[recorder[N]]
}

func newRecording[N any]() *recording[N] { return &recording[N]{} }

func (r *recording[N]) Record(ctx context.Context, v N, o ...metric.RecordOption) {
	r.load().Record(ctx, v, o...)
}

func (r *recording[N]) Enabled(ctx context.Context) bool { return r.load().Enabled(ctx) }

// observed is the slot of an observable instrument. It has no methods for measurements: callbacks
// refer to it, and the SDK then needs the instrument behind it.
type observed struct {
	from[metric.Observable]
	callbacks ownCallbacks
}

func (o *observed) behind() metric.Observable { return o.load() }

func (o *observed) own() *ownCallbacks { return &o.callbacks }

// int64Observable is any observable instrument of int64. It embeds metric.Int64Observable for the
// unexported methods that the API requires and never calls.
type int64Observable struct {
	embedded.Int64ObservableCounter
	embedded.Int64ObservableUpDownCounter
	embedded.Int64ObservableGauge
	metric.Int64Observable
	observed
}

func newInt64Observable() *int64Observable { return &int64Observable{} }

// float64Observable is any observable instrument of float64.
type float64Observable struct {
	embedded.Float64ObservableCounter
	embedded.Float64ObservableUpDownCounter
	embedded.Float64ObservableGauge
	metric.Float64Observable
	observed
}

func newFloat64Observable() *float64Observable { return &float64Observable{} }
