package telemetry

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
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/fleetotel/telemetry/internal/encodable"
)

// HandlerOption changes what [Handler] and [ServerHandler] do. Options apply in order; nil ones are ignored.
type HandlerOption interface{ applyHandler(*handlerConfig) }

// TransportOption changes what [Transport] and [ClientHandler] do. Options apply in order; nil ones are ignored.
type TransportOption interface{ applyTransport(*edge) }

type handlerConfig struct {
	edge     edge
	public   bool
	excluded []string
	route    func(*http.Request) string
}

type handlerOption func(*handlerConfig)

func (o handlerOption) applyHandler(c *handlerConfig) { o(c) }

type guardOption struct{ guard *Guard }

func (o guardOption) applyHandler(c *handlerConfig) { c.edge.guard = o.guard }
func (o guardOption) applyTransport(e *edge)        { e.guard = o.guard }

// WithGuard makes the middleware use the guard's providers and propagator instead of the OpenTelemetry globals. It is
// for guards made [WithoutGlobals]. A nil guard, the default, means the globals.
func WithGuard(guard *Guard) interface {
	HandlerOption
	TransportOption
} {
	return guardOption{guard}
}

// WithPublicEndpoint is for servers that anyone can call. The caller's trace context becomes a link of a new trace
// instead of its parent, so that no stranger decides which traces are kept or which trace they belong to, and the
// caller's baggage is dropped. Without it, callers are trusted.
func WithPublicEndpoint() HandlerOption {
	return handlerOption(func(c *handlerConfig) { c.public = true })
}

// WithExcludedPaths adds to the paths that make no spans and no metrics. A path is compared as it is; one that ends in
// a slash stands for everything below it, as in [http.ServeMux]. For [ServerHandler] the path is the full method,
// "/package.Service/Method".
//
// The list starts with /health, /health/live, /health/ready, /healthz, /live, /livez, /ready, /readyz, /ping, /metrics,
// and the gRPC health and reflection services. [WithoutExcludedPaths] empties it.
func WithExcludedPaths(paths ...string) HandlerOption {
	return handlerOption(func(c *handlerConfig) { c.excluded = append(c.excluded, paths...) })
}

// WithoutExcludedPaths empties the list that [WithExcludedPaths] describes: every request makes spans and metrics but
// those that later options exclude.
func WithoutExcludedPaths() HandlerOption {
	return handlerOption(func(c *handlerConfig) { c.excluded = nil })
}

// WithRoute tells [Handler] how to find the route of a request before it is served, where the handler is not itself an
// [http.ServeMux]: behind the service's own middleware,
//
//	telemetry.Handler(logging(mux), telemetry.WithRoute(func(r *http.Request) string {
//		_, pattern := mux.Handler(r)
//		return pattern
//	}))
//
// or with another router. The function returns the pattern the way ServeMux writes it ("GET /items/{id}" or
// "/items/{id}"), and "" for a request that matches none; it must not return paths, of which there is no end. It is
// called concurrently. [ServerHandler] ignores it: a gRPC method is its own route.
func WithRoute(route func(*http.Request) string) HandlerOption {
	return handlerOption(func(c *handlerConfig) { c.route = route })
}

func newHandlerConfig(opts []HandlerOption) handlerConfig {
	c := handlerConfig{excluded: []string{
		"/health", "/health/live", "/health/ready", "/healthz", "/live", "/livez", "/ready", "/readyz", "/ping", "/metrics",
		"/grpc.health.v1.Health/",
		"/grpc.reflection.v1.ServerReflection/",
		"/grpc.reflection.v1alpha.ServerReflection/",
	}}
	for _, o := range opts {
		if o != nil {
			o.applyHandler(&c)
		}
	}
	return c
}

func newEdge(opts []TransportOption) edge {
	var e edge
	for _, o := range opts {
		if o != nil {
			o.applyTransport(&e)
		}
	}
	return e
}

func (c handlerConfig) excludes(path string) bool {
	return slices.ContainsFunc(c.excluded, func(entry string) bool {
		return path == entry || strings.HasSuffix(entry, "/") && strings.HasPrefix(path, entry)
	})
}

func (c handlerConfig) propagator() propagation.TextMapPropagator {
	if c.public {
		return publicPropagator{c.edge.propagator()}
	}
	return c.edge.propagator()
}

// edge is where requests enter or leave the process: it supplies the middleware with the guard's providers and
// propagator, or with the globals of the moment. It is a TracerProvider that decides at each span.
type edge struct {
	embedded.TracerProvider
	guard   *Guard
	trusted *trustedHosts // nil: all
}

func (e edge) propagator() propagation.TextMapPropagator {
	if e.guard == nil {
		return globalPropagator{}
	}
	return e.guard.Propagator()
}

func (e edge) meterProvider() metric.MeterProvider {
	if e.guard == nil {
		return otel.GetMeterProvider()
	}
	return e.guard.MeterProvider()
}

// Tracer returns a tracer that may outlive a change of the globals.
func (e edge) Tracer(name string, opts ...trace.TracerOption) trace.Tracer {
	return edgeTracer{edge: e, name: name, opts: opts}
}

type edgeTracer struct {
	embedded.Tracer
	edge edge
	name string
	opts []trace.TracerOption
}

// Start marks roots random and links those of a public endpoint to their caller, early enough for samplers to see it.
func (t edgeTracer) Start(
	ctx context.Context, name string, opts ...trace.SpanStartOption,
) (context.Context, trace.Span) {
	if caller, ok := ctx.Value(callerKey{}).(trace.SpanContext); ok && !trace.SpanContextFromContext(ctx).HasTraceID() {
		opts = append(slices.Clip(opts), trace.WithLinks(trace.Link{SpanContext: caller}))
	}
	if long, _ := ctx.Value(longRequestKey{}).(bool); long {
		if parent := trace.SpanContextFromContext(ctx); !parent.IsValid() || parent.IsRemote() {
			name, opts = strings.Clone(name), withOwnTexts(opts)
		}
	}
	provider := providerFor(ctx)
	if t.edge.guard != nil {
		provider = t.edge.guard.TracerProvider()
	}
	return provider.Tracer(t.name, t.opts...).Start(withRandomRoot(ctx), name, opts...)
}

// longRequestKey is the context key of a request whose span must not keep its strings alive: the path of a line of a
// megabyte, say.
type longRequestKey struct{}

func withOwnTexts(opts []trace.SpanStartOption) []trace.SpanStartOption {
	given := trace.NewSpanStartConfig(opts...)
	own := []trace.SpanStartOption{
		trace.WithAttributes(encodable.Copy(given.Attributes())...), trace.WithLinks(given.Links()...),
		trace.WithSpanKind(given.SpanKind()), trace.WithTimestamp(given.Timestamp()),
	}
	if given.NewRoot() {
		own = append(own, trace.WithNewRoot())
	}
	return own
}

// callerKey is the context key of the caller whom a public endpoint's root links to.
type callerKey struct{}

// publicPropagator keeps the caller's trace context where only the root's link finds it. The middleware's own public
// endpoint option would start the root with WithNewRoot, and so without the random flag, and would trust the baggage.
type publicPropagator struct{ propagation.TextMapPropagator }

func (p publicPropagator) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	// An outer handler may have extracted already: what ctx holds of the caller is as foreign as the header.
	own := baggage.ContextWithoutBaggage(ctx)
	received := p.TextMapPropagator.Extract(own, carrier)
	caller := trace.SpanContextFromContext(received)
	switch {
	case caller.IsRemote():
		return context.WithValue(trace.ContextWithSpanContext(own, randomRoot), callerKey{}, caller)
	case baggage.FromContext(received).Len() > 0:
		return own
	}
	return ctx
}
