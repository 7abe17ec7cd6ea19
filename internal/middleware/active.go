package middleware

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"
)

// ActiveRequests counts the requests that handlers are serving: http.server.active_requests. The
// handlers of one meter provider share the counts, since a service may make a handler for each
// request. They are observed when metrics are collected, because two measurements for each request
// would cost a tenth of all that Handler costs when no span is recorded. The zero value is ready. It
// is safe for concurrent use.
type ActiveRequests struct {
	mu       sync.Mutex
	provider metric.MeterProvider // the last one
	counts   *activeCounts
}

// under returns the counts of a provider. If they cannot be observed, the error is reported.
func (a *ActiveRequests) under(provider metric.MeterProvider) *activeCounts {
	if a == nil {
		a = new(ActiveRequests)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.counts != nil && reflect.ValueOf(provider).Comparable() && provider == a.provider {
		return a.counts
	}
	a.provider, a.counts = provider, new(activeCounts)
	if err := a.counts.observe(meterOf(provider)); err != nil {
		otel.Handle(err)
	}
	return a.counts
}

type activeCounts struct {
	adding sync.Mutex
	counts cache[activeKey, *activeCount]
}

// activeKey has the attributes of a count. There are few methods and two schemes.
type activeKey struct{ method, scheme string }

type activeCount struct {
	requests   atomic.Int64
	attributes metric.ObserveOption
}

func (a *activeCounts) observe(meter metric.Meter) error {
	var conv httpconv.ServerActiveRequests
	instrument, err := meter.Int64ObservableUpDownCounter(conv.Name(), metric.WithDescription(conv.Description()),
		metric.WithUnit(conv.Unit()))
	if err != nil {
		return err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for count := range a.counts.values() {
			o.ObserveInt64(instrument, count.requests.Load(), count.attributes)
		}
		return nil
	}, instrument)
	return err
}

// of returns the count to add a request to, and to subtract it from.
func (a *activeCounts) of(method, scheme string) *atomic.Int64 {
	key := activeKey{method, scheme}
	if known, ok := a.counts.get(key); ok {
		return &known.requests
	}
	a.adding.Lock()
	defer a.adding.Unlock()
	if known, ok := a.counts.get(key); ok {
		return &known.requests
	}
	made := &activeCount{attributes: metric.WithAttributeSet(attribute.NewSet(
		semconv.HTTPRequestMethodKey.String(method), semconv.URLScheme(scheme)))}
	a.counts.put(key, made)
	return &made.requests
}
