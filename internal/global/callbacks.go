package global

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
)

// RegisterCallback registers f with the current meter and with every later one, until Unregister. The registration is
// never nil; one that the SDK refuses outright is not tried again.
func (m *meter) RegisterCallback(f metric.Callback, instruments ...metric.Observable) (metric.Registration, error) {
	r := &registration{meter: m, callback: f, instruments: slices.Clone(instruments)}
	r.source, r.create = &m.current, r.bind
	m.mu.Lock()
	m.registrations = append(m.registrations, r)
	m.mu.Unlock()

	err := r.follow()
	if r.load().real == nil {
		_ = r.Unregister() // there is nothing that could fail
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

// bind registers the callback with one real meter. It fires while its binding is the current one and not a moment longer.
// That, not Unregister, ends it on a meter that is left behind: the SDK's Unregister waits for a collection under way, and
// one callback that hangs would make every shutdown hang with it.
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
	if r.closed.Load() { // Unregister ran meanwhile and may have seen the binding before this one
		return errors.Join(err, r.release())
	}
	return err
}

// Unregister ends the callback for good. It waits for a collection under way on the current provider, as the SDK's does.
// Further calls return nil.
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

// observer takes observations for handed-out instruments to the real ones. They are those of the observer's own meter,
// even if a switch happens in the middle of the callback.
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
		return i // of an SDK that somebody uses directly
	}
	if t, ok := o.targets[i]; ok {
		return t
	}
	return h.behind() // not registered with this callback: the SDK says so
}

// ownCallbacks are the callbacks given with an instrument's options. As in the SDK, the first set given under one provider
// counts; unlike there, a set given under a later provider replaces it. So a component that is built anew after each Init
// is observed itself, not its dead predecessor.
type ownCallbacks struct {
	current atomic.Pointer[target[metric.Callback]]
	warned  atomic.Bool // once: the call may sit in a request's path
}

func (c *ownCallbacks) set(m *meter, name string, i metric.Observable, f metric.Callback) error {
	old, next := c.current.Load(), &target[metric.Callback]{value: f, generation: m.current.Load().generation}
	if old != nil && old.generation == next.generation || !c.current.CompareAndSwap(old, next) {
		if !c.warned.Swap(true) {
			otel.Handle(fmt.Errorf("telemetry: instrument %q has its callbacks already and the new ones are ignored: "+
				"use Meter.RegisterCallback for more", name))
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
