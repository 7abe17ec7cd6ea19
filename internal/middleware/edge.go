package middleware

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/spans"
	"github.com/fleetotel/telemetry/internal/w3c"
)

// HandlerConfig configures the middleware of a server.
type HandlerConfig struct {
	Edge      Edge
	Public    bool                       // callers are not trusted
	Excluded  []string                   // paths, or gRPC methods; one that ends in a slash is a prefix
	Route     func(*http.Request) string // nil: not known before the request is served
	Streaming []string                   // routes
}

// NewHandlerConfig returns a configuration that excludes health and metrics paths.
func NewHandlerConfig() HandlerConfig {
	return HandlerConfig{Excluded: []string{
		"/health", "/health/live", "/health/ready", "/healthz", "/live", "/livez", "/ready", "/readyz", "/ping",
		"/metrics", "/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/",
		"/grpc.reflection.v1alpha.ServerReflection/",
	}}
}

func (c HandlerConfig) excludes(path string) bool {
	return slices.ContainsFunc(c.Excluded, func(entry string) bool {
		return path == entry || strings.HasSuffix(entry, "/") && strings.HasPrefix(path, entry)
	})
}

func (c HandlerConfig) propagator() propagation.TextMapPropagator {
	if c.Public {
		return publicPropagator{c.Edge.propagator()}
	}
	return c.Edge.propagator()
}

// Source has the providers and the propagator of a guard.
type Source interface {
	TracerProvider() trace.TracerProvider
	MeterProvider() metric.MeterProvider
	Propagator() propagation.TextMapPropagator
}

// Edge is where requests enter or leave the process. It supplies the middleware with the guard's
// providers and propagator, or with the current globals.
type Edge struct {
	Source  Source          // nil: the current globals
	Methods *Methods        // nil: those of the semantic conventions
	Active  *ActiveRequests // of servers; nil: each handler has its own
	trusted *trustedHosts   // nil: all
}

func (e Edge) propagator() propagation.TextMapPropagator {
	if e.Source == nil {
		return w3c.Global{}
	}
	return e.Source.Propagator()
}

func (e Edge) meterProvider() metric.MeterProvider {
	if e.Source == nil {
		return otel.GetMeterProvider()
	}
	return e.Source.MeterProvider()
}

// provider returns the guard's tracer provider, or else that of the span in ctx.
func (e Edge) provider(ctx context.Context) trace.TracerProvider {
	if e.Source == nil {
		return spans.ProviderFor(ctx)
	}
	return e.Source.TracerProvider()
}

// callerKey is the context key of the caller that the root span of a public endpoint links to.
type callerKey struct{}

// publicPropagator keeps the caller's trace context only for the link of the root span.
type publicPropagator struct{ propagation.TextMapPropagator }

func (p publicPropagator) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	// An outer handler may have extracted the caller's headers already, so ctx is not trusted
	// either.
	own := baggage.ContextWithoutBaggage(ctx)
	received := p.TextMapPropagator.Extract(own, carrier)
	caller := trace.SpanContextFromContext(received)
	switch {
	case caller.IsRemote():
		return context.WithValue(trace.ContextWithSpanContext(own, w3c.RandomRoot), callerKey{}, caller)
	case baggage.FromContext(received).Len() > 0:
		return own
	}
	return ctx
}
