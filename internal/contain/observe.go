package contain

import (
	"context"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
)

// The callbacks below never return an error to the SDK, which would discard the collection for it.

func (t *task) callback(f metric.Callback) metric.Callback {
	return func(ctx context.Context, real metric.Observer) error {
		t.do(ctx, func(ctx context.Context, r *run) error { return f(ctx, observer{real: real, run: r}) })
		return nil
	}
}

func (t *task) int64(f metric.Int64Callback) metric.Int64Callback {
	return func(ctx context.Context, real metric.Int64Observer) error {
		t.do(ctx, func(ctx context.Context, r *run) error { return f(ctx, int64Observer{real: real, run: r}) })
		return nil
	}
}

func (t *task) float64(f metric.Float64Callback) metric.Float64Callback {
	return func(ctx context.Context, real metric.Float64Observer) error {
		t.do(ctx, func(ctx context.Context, r *run) error { return f(ctx, float64Observer{real: real, run: r}) })
		return nil
	}
}

// observer passes observations on while they count. Behind it are structures of the SDK that only a
// collection under way may touch.
type observer struct {
	embedded.Observer
	real metric.Observer
	run  *run
}

func (o observer) ObserveInt64(i metric.Int64Observable, v int64, opts ...metric.ObserveOption) {
	if o.run.enter() {
		defer o.run.mu.Unlock()
		o.real.ObserveInt64(i, v, opts...)
	}
}

func (o observer) ObserveFloat64(i metric.Float64Observable, v float64, opts ...metric.ObserveOption) {
	if o.run.enter() {
		defer o.run.mu.Unlock()
		o.real.ObserveFloat64(i, v, opts...)
	}
}

// int64Observer is the observer of a callback that came with an instrument's options.
type int64Observer struct {
	embedded.Int64Observer
	real metric.Int64Observer
	run  *run
}

func (o int64Observer) Observe(v int64, opts ...metric.ObserveOption) {
	if o.run.enter() {
		defer o.run.mu.Unlock()
		o.real.Observe(v, opts...)
	}
}

type float64Observer struct {
	embedded.Float64Observer
	real metric.Float64Observer
	run  *run
}

func (o float64Observer) Observe(v float64, opts ...metric.ObserveOption) {
	if o.run.enter() {
		defer o.run.mu.Unlock()
		o.real.Observe(v, opts...)
	}
}
