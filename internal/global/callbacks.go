package global

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"

	"github.com/fleetotel/telemetry/internal/lines"
)

// Callbacks of package-level observable instruments follow Use. Otherwise only the first provider
// would call them, and after a second Init, as in tests and restarts, these instruments would have
// no data.

// RegisterCallback registers f with the current meter and with every later one, until Unregister.
// The registration is never nil. If the SDK rejects it at once, it is not tried again.
func (m *meter) RegisterCallback(f metric.Callback, instruments ...metric.Observable) (metric.Registration, error) {
	r := &registration{meter: m, callback: f, instruments: slices.Clone(instruments)}
	r.source, r.create = &m.current, r.bind
	m.mu.Lock()
	m.registrations = append(m.registrations, r)
	m.mu.Unlock()

	err := r.follow()
	if r.load().real == nil {
		_ = r.Unregister() // nothing to unregister, so no error
	}
	return r, err
}

// registration is a callback that follows its meter.
type registration struct {
	embedded.Registration
	slot[metric.Meter, *binding]
	meter       *meter
	callback    metric.Callback
	instruments []metric.Observable
	closed      atomic.Bool
}

// binding is a registration with one real meter.
type binding struct {
	real    metric.Registration                     // nil: refused
	targets map[metric.Observable]metric.Observable // handed-out instrument → the one of that real meter
}

// bind registers the callback with one real meter. The callback runs only while its binding is the
// current one. That check, and not Unregister, ends it on the previous meter: the SDK's Unregister
// waits for a collection in progress, so one callback that hangs would make every shutdown hang.
func (r *registration) bind(real metric.Meter) (*binding, error) {
	b := &binding{targets: make(map[metric.Observable]metric.Observable, len(r.instruments))}
	instruments := make([]metric.Observable, len(r.instruments))
	for i, o := range r.instruments {
		if h, ok := o.(handle); ok {
			_ = h.follow() // its creation reports the error
			b.targets[o] = h.behind()
			o = b.targets[o]
		}
		instruments[i] = o
	}
	var err error
	b.real, err = real.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		if cur := r.current.Load(); cur == nil || cur.value != b || r.closed.Load() {
			return nil
		}
		return r.callback(ctx, observer{real: o, targets: b.targets})
	}, instruments...)
	return b, err
}

func (r *registration) follow() error {
	err := r.slot.follow()
	if r.closed.Load() { // Unregister ran meanwhile and may have seen the previous binding
		return errors.Join(err, r.release())
	}
	return err
}

// Unregister ends the callback for good. It waits for a collection in progress on the current
// provider, like the SDK's. Further calls return nil.
func (r *registration) Unregister() error {
	if r.closed.Swap(true) {
		return nil
	}
	r.meter.mu.Lock()
	r.meter.registrations = slices.DeleteFunc(r.meter.registrations, func(o *registration) bool { return o == r })
	r.meter.mu.Unlock()
	return r.release()
}

func (r *registration) release() error {
	if cur := r.current.Load(); cur != nil && cur.value.real != nil {
		return cur.value.real.Unregister()
	}
	return nil
}

// handle is an observable instrument of this package.
type handle interface {
	follow() error
	behind() metric.Observable
}

// observer passes observations for handed-out instruments to the real ones. They are those of the
// same meter as the observer, even if Use is called during the callback.
type observer struct {
	embedded.Observer
	real    metric.Observer
	targets map[metric.Observable]metric.Observable
}

func (o observer) ObserveInt64(i metric.Int64Observable, v int64, opts ...metric.ObserveOption) {
	if t, ok := o.target(i).(metric.Int64Observable); ok {
		i = t
	}
	o.real.ObserveInt64(i, v, opts...)
}

func (o observer) ObserveFloat64(i metric.Float64Observable, v float64, opts ...metric.ObserveOption) {
	if t, ok := o.target(i).(metric.Float64Observable); ok {
		i = t
	}
	o.real.ObserveFloat64(i, v, opts...)
}

func (o observer) target(i metric.Observable) metric.Observable {
	h, ok := i.(handle)
	if !ok {
		return i // from an SDK that the service uses directly
	}
	if t, ok := o.targets[i]; ok {
		return t
	}
	return h.behind() // not registered with this callback: the SDK says so
}

// ownCallbacks are the callbacks given as options of an instrument. As in the SDK, the first set
// given under one provider counts. Unlike in the SDK, a set given under a later provider replaces
// it. So a component that is created again after each Init is observed, not the one that it has
// replaced.
type ownCallbacks struct {
	current atomic.Pointer[target[metric.Callback]]
	warned  atomic.Bool // once: the call may be made in each request
}

func (c *ownCallbacks) set(m *meter, name string, i metric.Observable, f metric.Callback) error {
	old, next := c.current.Load(), &target[metric.Callback]{value: f, generation: m.current.Load().generation}
	if old != nil && old.generation == next.generation || !c.current.CompareAndSwap(old, next) {
		if !c.warned.Swap(true) {
			otel.Handle(lines.CallbacksIgnored(name))
		}
		return nil
	}
	if old != nil {
		return nil // the first set made the registration below, which calls the newest
	}
	_, err := m.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		return c.current.Load().value(ctx, o)
	}, i)
	return err
}

func int64Callbacks(i *int64Observable, callbacks []metric.Int64Callback) metric.Callback {
	return func(ctx context.Context, o metric.Observer) (err error) {
		for _, f := range callbacks {
			err = errors.Join(err, f(ctx, int64Observer{observer: o, instrument: i}))
		}
		return err
	}
}

func float64Callbacks(i *float64Observable, callbacks []metric.Float64Callback) metric.Callback {
	return func(ctx context.Context, o metric.Observer) (err error) {
		for _, f := range callbacks {
			err = errors.Join(err, f(ctx, float64Observer{observer: o, instrument: i}))
		}
		return err
	}
}

type int64Observer struct {
	embedded.Int64Observer
	observer   metric.Observer
	instrument *int64Observable
}

func (o int64Observer) Observe(v int64, opts ...metric.ObserveOption) {
	o.observer.ObserveInt64(o.instrument, v, opts...)
}

type float64Observer struct {
	embedded.Float64Observer
	observer   metric.Observer
	instrument *float64Observable
}

func (o float64Observer) Observe(v float64, opts ...metric.ObserveOption) {
	o.observer.ObserveFloat64(o.instrument, v, opts...)
}
