package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/middleware"
	"github.com/fleetotel/telemetry/internal/nonrecording"
)

// Handler makes spans and metrics of the requests that next serves; nil stands for [http.DefaultServeMux], as in
// net/http. Each request is
//
//   - a server span, a child of the caller's unless [WithPublicEndpoint] is given. If next is an [http.ServeMux], the
//     span is named "{method} {route}" and has http.route from its start, so that a sampler can go by them; see
//     [WithRoute] for other handlers. A request that matches no route is named by its method alone, so that a scan for
//     weak spots does not fill the backend with names. A panic sets the status to Error, is recorded with its stack and
//     goes on; http.ErrAbortHandler does not count as a panic. A status of 500 and above is an error, with one deviation from the semantic
//     conventions: not when the client had gone away (net/http has cancelled the request's context, and no deadline or
//     cause of the service's own has) before the handler wrote the header. What is then written reaches no client, and a
//     5xx sets neither status nor error.type, and is no reason to keep the trace.
//   - a point of http.server.request.duration, http.server.request.body.size and http.server.response.body.size, with
//     the same error.type as the span, also when the handler panics. There is no status code where none was sent. The
//     request is counted in http.server.active_requests while it lasts. A connection that the handler has taken over
//     (hijacked) for an upgrade, as WebSocket libraries do, has the status 101.
//   - answered with "Server-Timing: traceparent;desc=…", by which a browser's telemetry finds the server's trace, and
//     an Access-Control-Expose-Headers that lets scripts of other origins read it.
//
// Health and metrics paths have none of these: see [WithExcludedPaths]. The handler may be made before [Init]; it is safe
// for concurrent use, and the ResponseWriter it passes on flushes, hijacks and pushes like the server's own.
func Handler(next http.Handler, opts ...HandlerOption) http.Handler {
	if next == nil {
		next = http.DefaultServeMux
	}
	c := newHandlerConfig(opts)
	h := &handler{handlerConfig: c, next: next, metrics: newServerMetrics(c.edge.meterProvider())}
	if mux, ok := next.(*http.ServeMux); ok && h.route == nil {
		h.route = func(r *http.Request) string {
			_, pattern := mux.Handler(r)
			return pattern
		}
	}
	h.traced = otelhttp.NewHandler(http.HandlerFunc(h.serve), "",
		otelhttp.WithTracerProvider(c.edge),
		otelhttp.WithMeterProvider(metricnoop.NewMeterProvider()),
		otelhttp.WithPropagators(c.propagator()),
	)
	return h
}

type handler struct {
	handlerConfig
	next    http.Handler
	traced  http.Handler // serve in a span
	metrics middleware.ServerMetrics
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL != nil && h.excludes(r.URL.Path) {
		h.next.ServeHTTP(w, r)
		return
	}
	defer h.metrics.Begin(r)()
	routed := h.withRoute(r)
	if middleware.LongRequest(r) {
		routed = routed.WithContext(context.WithValue(routed.Context(), longRequestKey{}, true))
	}
	// net/http removes the temporary files of the form it finds in its own request.
	defer func() { r.MultipartForm = routed.MultipartForm }()
	h.traced.ServeHTTP(w, routed)
}

// withRoute returns a copy of r that knows its route, since the instrumentation reads it before next could set it, and that
// SetRoute finds.
func (h *handler) withRoute(r *http.Request) *http.Request {
	routed := r.WithContext(context.WithValue(r.Context(), routeKey{}, new(lateRoute)))
	if h.route != nil {
		routed.Pattern = h.route(r)
	}
	return routed
}

type routeKey struct{}

// lateRoute is what SetRoute was given, nil without it.
type lateRoute = atomic.Pointer[string]

// SetRoute tells the [Handler] around this request its route, for routers that know it only while they serve: it is called
// in the router's own middleware, with the request's context, before or after the router's handler. The route, such as
// "/orders/{id}" or "/orders/:id", becomes the name and http.route of the span and http.route of the metrics, also when
// the request panics. It must not be a path, of which there is no end. The last call wins; an empty route says nothing.
// After Handler has returned, and without one, SetRoute does nothing. It is safe for concurrent use.
//
// The sampler chooses a trace at its start and does not know such a route then: rules by Route, and the share of each
// operation, go by the method alone. [WithRoute] has the route in time.
func SetRoute(ctx context.Context, route string) {
	if late, ok := orBackground(ctx).Value(routeKey{}).(*lateRoute); ok {
		late.Store(&route)
	}
}

// exchange is one request and its answer. It ends its span itself and records the metrics after it, whatever becomes of
// the handler: the instrumentation around it would see neither a panic nor what the server copies from a file.
type exchange struct {
	handler  *handler
	request  *http.Request
	pattern  string // known from the start
	body     interface{ BytesRead() int64 }
	response *middleware.Response
	span     trace.Span
	start    time.Time
	returned bool
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	span := trace.SpanFromContext(r.Context())
	x := &exchange{
		handler: h, request: r, pattern: r.Pattern, span: span,
		response: middleware.NewResponse(w, r, timing(span.SpanContext())),
		start:    otelhttp.StartTimeFromContext(r.Context()),
	}
	if x.start.IsZero() {
		x.start = time.Now()
	}
	x.body, _ = r.Body.(interface{ BytesRead() int64 }) // counted by the instrumentation
	defer x.end()
	h.next.ServeHTTP(x.response.Writer(), r)
	x.response.Prepare()
	x.returned = true
}

// end is deferred. A panic goes on from here, above the frames that raised it, so that the stack in the server's log
// still shows them.
func (x *exchange) end() {
	value := recover()
	if late, ok := x.request.Context().Value(routeKey{}).(*lateRoute); ok {
		if route := late.Load(); route != nil && *route != "" {
			x.request.Pattern = *route
		}
	}
	status := x.response.Status(x.returned)
	errorType := x.errorType(status, value)
	labels, _ := otelhttp.LabelerFromContext(x.request.Context())
	served := middleware.Served{
		Request: x.request, Anonymous: x.handler.public, Status: status, ErrorType: errorType, Further: labels.Get(),
		Duration: time.Since(x.start), ResponseSize: x.response.Size(),
	}
	if x.body != nil {
		served.RequestSize = x.body.BytesRead()
	}
	x.endSpan(served)
	x.handler.metrics.Record(x.request.Context(), served)
	if value != nil {
		panic(value)
	}
}

// errorType decides whether the request has failed, and tells the span. Beside a panic, every status of 500 and above is
// an error, except one that was written for a client that had gone away.
func (x *exchange) errorType(status int, panicked any) string {
	if panicked != nil && panicked != any(http.ErrAbortHandler) {
		return recordPanic(x.span, panicked)
	}
	if status < http.StatusInternalServerError || x.response.Deserted() {
		return ""
	}
	errorType := strconv.Itoa(status)
	x.span.SetStatus(codes.Error, "")
	x.span.SetAttributes(semconv.ErrorTypeKey.String(errorType))
	return errorType
}

func (x *exchange) endSpan(served middleware.Served) {
	if x.request.Pattern != "" {
		x.span.SetName(middleware.ServerSpanName(x.request))
	}
	if route := middleware.Route(x.request.Pattern); route != "" && x.request.Pattern != x.pattern {
		x.span.SetAttributes(semconv.HTTPRoute(route))
	}
	if served.Status > 0 {
		x.span.SetAttributes(semconv.HTTPResponseStatusCode(served.Status))
	}
	if served.RequestSize > 0 {
		x.span.SetAttributes(semconv.HTTPRequestBodySize(int(served.RequestSize)))
	}
	if served.ResponseSize > 0 {
		x.span.SetAttributes(semconv.HTTPResponseBodySize(int(served.ResponseSize)))
	}
	x.span.End()
}

const (
	serverTiming  = "Server-Timing"
	exposeHeaders = "Access-Control-Expose-Headers"
)

// timing adds Server-Timing and Access-Control-Expose-Headers to an answer (W3C Server Timing §2; Fetch §3.2.3). It does
// so when they are about to be sent, since a handler that sets one of its own, as CORS middleware does, has replaced them.
// A span context that is not of this process, or of a trace that is recorded nowhere, has nothing to tell the browser.
func timing(sc trace.SpanContext) func(http.Header) {
	if !sc.IsValid() || sc.IsRemote() || nonrecording.Made(sc) {
		return nil
	}
	entry := timingEntry(sc)
	return func(header http.Header) {
		if !slices.Contains(header[serverTiming], entry) {
			header.Add(serverTiming, entry)
		}
		if !slices.Contains(header[exposeHeaders], serverTiming) {
			header.Add(exposeHeaders, serverTiming)
		}
	}
}

// timingEntry says of the flags only whether the trace is sampled: browser agents look for a literal 01.
func timingEntry(sc trace.SpanContext) string {
	sampled := sc.TraceFlags() & trace.FlagsSampled
	return fmt.Sprintf(`traceparent;desc="00-%s-%s-%s"`, sc.TraceID(), sc.SpanID(), sampled)
}

func newServerMetrics(provider metric.MeterProvider) middleware.ServerMetrics {
	meter := provider.Meter(scopeName, metric.WithInstrumentationVersion(Version), metric.WithSchemaURL(semconv.SchemaURL))
	metrics, err := middleware.NewServerMetrics(meter)
	if err != nil {
		otel.Handle(err)
	}
	return metrics
}
