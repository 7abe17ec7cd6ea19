package telemetry

import (
	"context"
	"net/http"

	"github.com/fleetotel/telemetry/internal/middleware"
)

// Handler records a span and metrics for each request that next serves, following the stable HTTP
// semantic conventions. A nil next means [http.DefaultServeMux], as in net/http. The handler may be
// made before [Init] and is safe for concurrent use. Do not use another server instrumentation,
// such as otelhttp, for the same requests: each would make a span.
//
// Each request has:
//
//   - A server span. It is a child of the caller's span unless [WithPublicEndpoint] is given. If
//     next is an [http.ServeMux], the span has its name, "{method} {route}", and http.route from
//     the start, so samplers can use them; for other handlers see [WithRoute] and [SetRoute]. A
//     request that matches no route is named by its method alone, so a scanner does not fill the
//     backend with names. A panic sets the status to Error, is recorded with its stack, and
//     continues; http.ErrAbortHandler does not count as a panic. A status of 500 or above is an
//     error, with one deviation from the conventions: it is not an error if the client had
//     disconnected before the handler wrote the header (net/http has canceled the request's
//     context, without a deadline or a cause of the service's own). Such a response reaches no
//     client. It sets neither the status nor error.type, and is no reason to keep the trace.
//   - A data point of http.server.request.duration, http.server.request.body.size and
//     http.server.response.body.size, with the same error.type as the span, even if the handler
//     panics. It has no status code if none was sent. While the request lasts,
//     http.server.active_requests counts it. A connection that the handler hijacks for an upgrade,
//     as WebSocket libraries do, has the status 101. Streams have no point of
//     http.server.request.duration. Streams are hijacked connections, server-sent events
//     (text/event-stream) and [WithStreamingRoutes]. Attributes that a handler adds with otelhttp's
//     Labeler are in the metrics.
//   - The response header "Server-Timing: traceparent;desc=…", by which a browser's telemetry finds
//     the server's trace, and an Access-Control-Expose-Headers that lets scripts of other origins
//     read it. If the adaptive sampler keeps the trace because it failed, was slow or was marked,
//     an entry "trace;desc=…" tells the caller; see "What travels between services" in [Sampling].
//     An entry of that name from another service, which the handler forwards, is removed.
//
// Requests for health and metrics paths have none of these: see [WithExcludedPaths].
//
// The ResponseWriter that next gets has the optional interfaces of the server's own (to flush,
// hijack, push, and copy from files) and no others; [http.ResponseController] works.
//
// A Handler inside another one joins it: there is one span and one measurement. The inner Handler
// reports its route, like [SetRoute]. If http.StripPrefix or similar middleware has removed a
// prefix of the path, the segments of the outer route that stand for the prefix come first, so an
// inner ServeMux only needs a Handler of its own. The inner Handler also records a panic that is
// recovered between the two. It reports nothing for its own excluded paths, and its
// [WithStreamingRoutes] apply. Its other options apply only to requests that it serves alone.
//
// A request belongs to the outer Handler if it is answered through the same ResponseWriter, which
// other middleware may have wrapped (with Unwrap), or if it is a copy of the same request. A new
// request, such as each one of a batch, has a span of its own, even with the context of the outer
// request. The same is true if the two handlers have different guards ([WithGuard]), or if only the
// inner one has [WithPublicEndpoint].
func Handler(next http.Handler, opts ...HandlerOption) http.Handler {
	if next == nil {
		next = http.DefaultServeMux
	}
	return middleware.NewHandler(next, handlerConfigOf(opts))
}

// Middleware is [Handler] for routers that take middleware, such as chi and gorilla/mux:
// router.Use(telemetry.Middleware()). Such a router knows the route only while it serves the
// request, so its own middleware has to call [SetRoute]; docs/recipes.md has the lines.
func Middleware(opts ...HandlerOption) func(http.Handler) http.Handler {
	c := handlerConfigOf(opts)
	return func(next http.Handler) http.Handler {
		if next == nil {
			next = http.DefaultServeMux
		}
		return middleware.NewHandler(next, c)
	}
}

// SetRoute sets the route of the request in ctx, for routers that know it only while they serve the
// request. Call it in the router's own middleware, before or after the router's handler. The route,
// such as "/orders/{id}" or "/orders/:id", becomes the name and http.route of the span and
// http.route of the metrics, even if the request panics. It must not be a path, because the number
// of paths is unlimited. The last call wins. A route without a slash, such as the "*" that some
// routers use where nothing matches, is ignored. Without a [Handler] around the request, and after
// Handler has returned, SetRoute does nothing. It is safe for concurrent use.
//
// The sampler applies its rules and the share of the operation when the route is set: see "Routes
// that become known late" in [Sampling]. With [WithRoute] the route is known at the start.
func SetRoute(ctx context.Context, route string) {
	if ctx != nil {
		middleware.SetRoute(ctx, route)
	}
}

// RecordPanic records a panic that the service or its framework recovers before it reaches the
// [Handler] around the request. Call it from the code that recovers, with the request's context and
// the recovered value. The server's span gets the exception with its stack and the status Error,
// and the span and the metrics get the error.type, as if the panic had passed through Handler. Only
// the first panic of a request counts, and only once; nil and http.ErrAbortHandler do not count.
// Without a Handler, the panic is recorded on the span in ctx. It is safe for concurrent use.
func RecordPanic(ctx context.Context, value any) {
	if ctx != nil {
		middleware.RecordPanic(ctx, value)
	}
}

// Transport records a client span and metrics for each request that base sends, and injects the
// trace context and the baggage into its header ([WithTrustedHosts] limits the hosts). A nil base
// means [http.DefaultTransport].
//
// The span is named by the method and lasts until the response body is closed or read to its end,
// so close it. The metrics are http.client.request.duration and http.client.request.body.size. If a
// trusted service answers that it keeps the trace, the trace is kept here too; see "What travels
// between services" in [Sampling]. No request is excluded: do not use it for the client of a
// telemetry exporter. The transport may be made before [Init] and is as safe for concurrent use as
// base.
func Transport(base http.RoundTripper, opts ...TransportOption) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return middleware.NewTransport(base, edgeOf(opts))
}

// HandlerOption changes what [Handler] and [ServerHandler] do. Options apply in order; nil ones are
// ignored.
type HandlerOption interface {
	applyHandler(*middleware.HandlerConfig)
}

// TransportOption changes what [Transport] and [ClientHandler] do. Options apply in order; nil ones
// are ignored.
type TransportOption interface {
	applyTransport(*middleware.Edge)
}

type handlerOption func(*middleware.HandlerConfig)

func (o handlerOption) applyHandler(c *middleware.HandlerConfig) { o(c) }

type transportOption func(*middleware.Edge)

func (o transportOption) applyTransport(e *middleware.Edge) { o(e) }

type guardOption struct{ guard *Guard }

func (o guardOption) applyHandler(c *middleware.HandlerConfig) { o.applyTransport(&c.Edge) }

func (o guardOption) applyTransport(e *middleware.Edge) {
	if o.guard == nil {
		e.Source, e.Methods, e.Active = nil, &process.methods, &process.active
		return
	}
	e.Source, e.Methods, e.Active = o.guard, &o.guard.methods, &o.guard.active
}

// WithGuard makes the middleware use the guard's providers and propagator instead of the
// OpenTelemetry globals. It is for guards made [WithoutGlobals]. A nil guard, the default, means
// the globals.
func WithGuard(guard *Guard) interface {
	HandlerOption
	TransportOption
} {
	return guardOption{guard}
}

// WithPublicEndpoint is for servers that anyone can call. The caller's trace context becomes a link
// of a new trace instead of its parent, so callers cannot decide which traces are kept or which
// trace they belong to. The caller's baggage is dropped. Without this option, callers are trusted.
func WithPublicEndpoint() HandlerOption {
	return handlerOption(func(c *middleware.HandlerConfig) { c.Public = true })
}

// WithExcludedPaths adds paths to the list of those that make no spans and no metrics. A path must
// match exactly; one that ends in a slash stands for everything below it, as in [http.ServeMux].
// For [ServerHandler] the path is the full method, "/package.Service/Method".
//
// The list starts with /health, /health/live, /health/ready, /healthz, /live, /livez, /ready,
// /readyz, /ping, /metrics, and the gRPC health and reflection services. [WithoutExcludedPaths]
// empties it.
func WithExcludedPaths(paths ...string) HandlerOption {
	return handlerOption(func(c *middleware.HandlerConfig) { c.Excluded = append(c.Excluded, paths...) })
}

// WithoutExcludedPaths empties the list that [WithExcludedPaths] describes. Every request then
// makes spans and metrics, except those that later options exclude.
func WithoutExcludedPaths() HandlerOption {
	return handlerOption(func(c *middleware.HandlerConfig) { c.Excluded = nil })
}

// WithRoute tells [Handler] how to find the route of a request before it is served, if the handler
// is not itself an [http.ServeMux]. Use it behind the service's own middleware,
//
//	telemetry.Handler(logging(mux), telemetry.WithRoute(func(r *http.Request) string {
//		_, pattern := mux.Handler(r)
//		return pattern
//	}))
//
// or with another router. The function returns the pattern in the form that ServeMux uses ("GET
// /items/{id}" or "/items/{id}"), or "" if the request matches none. It must not return paths,
// because their number is unlimited. It is called concurrently. [SetRoute] and a Handler inside
// this one replace the route; a ServeMux inside does not. [ServerHandler] ignores this option,
// because a gRPC method is its own route.
func WithRoute(route func(*http.Request) string) HandlerOption {
	return handlerOption(func(c *middleware.HandlerConfig) { c.Route = route })
}

// WithStreamingRoutes names the routes whose responses last as long as the client listens, such as
// long polls and downloads of any size. They have no point of http.server.request.duration, and
// their duration is no reason to keep a trace. Hijacked connections and server-sent events count as
// streams without being named. The routes are those of http.route, such as "/events/{id}". Several
// options add up. [ServerHandler] ignores this option.
func WithStreamingRoutes(routes ...string) HandlerOption {
	return handlerOption(func(c *middleware.HandlerConfig) { c.Streaming = append(c.Streaming, routes...) })
}

// handlerConfigOf returns the configuration that the options describe.
func handlerConfigOf(opts []HandlerOption) middleware.HandlerConfig {
	c := middleware.NewHandlerConfig()
	c.Edge.Methods, c.Edge.Active = &process.methods, &process.active
	for _, o := range opts {
		if o != nil {
			o.applyHandler(&c)
		}
	}
	return c
}

// edgeOf returns the edge that the options describe.
func edgeOf(opts []TransportOption) middleware.Edge {
	e := middleware.Edge{Methods: &process.methods}
	for _, o := range opts {
		if o != nil {
			o.applyTransport(&e)
		}
	}
	return e
}

// WithTrustedHosts limits the hosts to which [Transport] sends the trace context and the baggage.
// To other hosts it sends requests without them, and removes such headers if a request already has
// them, as in a reverse proxy. Baggage can hold internal data (customers, tenants, experiments)
// that a payment provider or a web hook must not see.
//
// A host is written as in a URL, without a port and in any case: "checkout", "api.example.com". A
// leading dot stands for the domain and everything below it (".svc.cluster.local"), and addresses
// may be given as a prefix ("10.0.0.0/8"). Several options add up. With no host at all, no host is
// trusted; without the option, every host is. Each hop of a redirect is checked anew. An entry that
// is not a host is reported to OpenTelemetry's error handler and ignored. Only responses from these
// hosts can make the adaptive sampler keep a trace; without the option, the list in [Sampling]
// applies.
//
// [ClientHandler] does not know the host of its connection. With this option it sends neither trace
// context nor baggage, whatever the hosts: use it for the connections that leave the fleet.
func WithTrustedHosts(hosts ...string) TransportOption {
	t := middleware.NewTrustedHosts(hosts)
	return transportOption(func(e *middleware.Edge) { e.Trust(t) })
}
