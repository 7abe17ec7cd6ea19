package middleware

import (
	"context"
	"slices"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/sampling"
	"github.com/fleetotel/telemetry/internal/w3c"
)

// tellSampler tells the sampler a route that became known while the request is served.
func (x *exchange) tellSampler(pattern string) {
	if !x.response.sampled.AwaitsRoute() {
		return
	}
	path := ""
	if x.request.URL != nil {
		path = x.request.URL.Path
	}
	late := x.handler.operations.of(x.operation.method, pattern)
	x.response.sampled.SetRoute(sampling.LateRoute{
		Span:      x.span,
		StartName: x.operation.name, StartRoute: x.operation.route,
		Path: path,
		Name: late.name, Route: late.route,
	})
}

// tellPattern tells the sampler the pattern that a ServeMux inside has matched. It is called before
// the caller learns of a decision, which rules for the route may change.
func (x *exchange) tellPattern() {
	pattern := x.patternSoFar()
	if x.route.Load() != nil || pattern == x.pattern {
		return // the sampler knows it
	}
	if slices.Contains(x.handler.Streaming, routeOf(pattern)) {
		x.response.sampled.MarkStream()
	}
	x.tellSampler(pattern)
}

// exchangeKey is the context key of the exchange around a handler.
type exchangeKey struct{}

// Value returns the exchange itself, for SetRoute; what the handler and the sampler tell each
// other; and otelhttp's labeler, by which services add attributes to the metrics. The labeler is
// made when it is first asked for.
func (x *exchange) Value(key any) any {
	switch key.(type) {
	case exchangeKey:
		return x
	case sampling.RequestKey:
		return &x.response.sampled
	}
	if x.isRoot && key == spanKey {
		return w3c.RandomRootSpan
	}
	found := x.Context.Value(key)
	if found != nil || key != labelerKey {
		return found
	}
	x.labeler.CompareAndSwap(nil, &otelhttp.Labeler{})
	return x.labeler.Load()
}

// labelerKey is the context key of otelhttp's labeler. otelhttp does not export it, but
// LabelerFromContext asks a context for it.
var labelerKey = func() any {
	var p keyProbe
	_, _ = otelhttp.LabelerFromContext(&p)
	return p.asked
}()

// spanKey is the context key of OpenTelemetry's span, found in the same way. With it, the exchange
// can be the parent context of a root span. A separate context would be one more allocation.
var spanKey = func() any {
	var p keyProbe
	_ = trace.SpanFromContext(&p)
	return p.asked
}()

// keyProbe is a context that notes the key it is asked for.
type keyProbe struct {
	context.Context
	asked any
}

func (p *keyProbe) Value(key any) any {
	p.asked = key
	return nil
}

// routeClosed marks the route of an exchange that has ended.
var routeClosed string

// SetRoute sets the route of the request that the handler around ctx serves, if there is one.
func SetRoute(ctx context.Context, route string) {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok && routeOf(route) != "" {
		x.setRoute(route)
	}
}

func (x *exchange) setRoute(route string) {
	for {
		before := x.route.Load()
		if before == &routeClosed {
			return
		}
		if x.route.CompareAndSwap(before, &route) {
			if slices.Contains(x.handler.Streaming, routeOf(route)) {
				x.response.sampled.MarkStream()
			}
			x.tellSampler(route)
			return
		}
	}
}

// operation is a method and a route, which make the name of a span.
type operation struct {
	method, route, name string
	streaming           bool // the route is one of WithStreamingRoutes
	cached              bool // in operations.known, so that outcomes with it may be cached too
}

// operations are those that a handler has seen. The name of each is made once.
type operations struct {
	streaming []string // routes
	known     cache[operationKey, *operation]
}

type operationKey struct{ method, pattern string }

func (o *operations) of(method, pattern string) *operation {
	key := operationKey{method, pattern}
	if known, ok := o.known.get(key); ok {
		return known
	}
	route := routeOf(pattern)
	made := &operation{
		method:    method,
		route:     route,
		name:      serverSpanName(method, route),
		streaming: slices.Contains(o.streaming, route),
	}
	key.pattern = strings.Clone(pattern)
	made.cached = true // before others see it
	if !o.known.put(key, made) {
		made.cached = false
	}
	return made
}
