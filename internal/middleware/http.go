package middleware

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// NewHandler returns the handler of telemetry.Handler.
func NewHandler(next http.Handler, c HandlerConfig) http.Handler {
	meters := c.Edge.meterProvider()
	h := &handler{
		HandlerConfig: c,
		next:          next,
		propagator:    c.propagator(),
		metrics:       newServerMetrics(meterOf(meters)),
		active:        c.Edge.Active.under(meters),
		operations:    operations{streaming: c.Streaming},
		hints:         hints{handler: next},
		routeGiven:    c.Route != nil,
	}
	if mux, ok := next.(*http.ServeMux); ok && h.Route == nil {
		h.Route = func(r *http.Request) string {
			_, pattern := mux.Handler(r)
			return pattern
		}
	}
	return h
}

// handler serves next in a server span. Its caches are bounded: see operations and serverMetrics.
type handler struct {
	HandlerConfig
	next       http.Handler
	propagator propagation.TextMapPropagator
	tracers    tracerCache
	metrics    serverMetrics
	active     *activeCounts
	operations operations
	hints      hints
	routeGiven bool // by the service, as WithRoute
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL != nil && h.excludes(r.URL.Path) {
		h.next.ServeHTTP(w, r)
		return
	}
	if outer := h.outerOf(w, r); outer != nil {
		h.join(outer, w, r)
		return
	}
	x := h.begin(w, r)
	defer x.end(r)
	h.next.ServeHTTP(x.response.writer(), x.request)
	x.response.prepare(http.StatusOK)
	x.returned = true
}

// join serves the request as a part of the outer exchange. It reports the route and a panic to it,
// since a recovery between the two handlers may hide the panic.
func (h *handler) join(outer *exchange, w http.ResponseWriter, r *http.Request) {
	known := routeOf(outer.patternSoFar())
	if route := h.routeWithin(outer, known, r); route != "" {
		known = route
		outer.setRoute(route)
	}
	if slices.Contains(h.Streaming, known) {
		outer.response.sampled.MarkStream()
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		if value := recover(); value != nil { // nil: runtime.Goexit
			outer.recordPanic(value)
			panic(value) // recording must not stop it: the outer handler or net/http decides what the client gets
		}
	}()
	h.next.ServeHTTP(w, r)
	returned = true
}

// exchange is one request and its response. It is the context, the body and the ResponseWriter that
// the handler sees, in one allocation, which is never reused: a handler may hold on to any of them
// after it has returned.
type exchange struct {
	context.Context // the request's, with what its headers carry

	handler   *handler
	request   *http.Request // the only copy, which next serves
	target    target
	operation *operation // at the start of the request
	pattern   string     // of operation
	span      trace.Span
	traced    context.Context // has the span
	start     time.Time
	active    *atomic.Int64 // counts the request until it ends
	isRoot    bool          // of a trace: there is no parent
	recording bool
	pooled    bool // the span does not keep the slice of its attributes
	returned  bool

	route    atomic.Pointer[string] // by SetRoute; routeClosed once the handler has returned
	panicked atomic.Pointer[string] // the error.type of a panic
	labeler  atomic.Pointer[otelhttp.Labeler]
	body     countedBody
	response plainWriter
}

// begin starts the span. It makes one copy of the request, because next must not change the
// server's own.
func (h *handler) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{Context: h.propagator.Extract(r.Context(), headers(r.Header)), handler: h, pattern: r.Pattern}
	if h.Route != nil {
		x.pattern = h.Route(r)
	}
	x.operation = h.operations.of(h.Edge.Methods.known(r.Method), x.pattern)
	x.target = targetOf(r)
	if x.operation.streaming {
		x.response.sampled.MarkStream() // the tail has to know before the request ends
	}
	x.startSpan(r)
	x.response.sampled.Started(x.span.SpanContext().SpanID())
	x.request = r.WithContext(x.traced)
	x.request.Pattern = x.pattern
	if r.Body != nil && r.Body != http.NoBody { // handlers compare with both
		x.body.ReadCloser, x.body.received, x.body.served = r.Body, r, x.request
		x.request.Body = &x.body
	}
	x.response.ResponseWriter, x.response.exchange = w, x
	x.active = h.active.of(x.operation.method, x.target.scheme)
	x.active.Add(1)
	return x
}

// end is deferred. A panic continues from here, above the frames that raised it, so that the stack
// in the server's log still shows them. The span ends before the measurements are recorded.
func (x *exchange) end(original *http.Request) {
	value := recover()
	defer x.active.Add(-1)
	// net/http removes the temporary files of the form it finds in its own request.
	original.MultipartForm = x.request.MultipartForm
	elapsed := time.Since(x.start)
	o := outcome{operation: x.finalOperation(), status: x.response.finalStatus(x.returned)}
	o.errorType = x.errorType(o.status, value)
	requestSize, responseSize := x.body.read.Load(), x.response.size.Load()
	if original.Method == http.MethodHead {
		responseSize = 0 // the server sends no body
	}
	if o.operation.streaming {
		x.response.sampled.MarkStream()
	}
	if x.recording {
		x.describe(o, requestSize, responseSize)
	}
	x.span.End()
	x.response.tellLate()
	x.handler.hints.served(o)
	if x.response.sampled.HasSecondSpan() {
		x.handler.hints.inner()
	}
	ctx, opts := x.decided(), x.handler.metrics.options(x, o)
	if !x.response.sampled.IsStream() {
		x.handler.metrics.duration.Inst().Record(ctx, elapsed.Seconds(), opts...)
	}
	x.handler.metrics.requestSize.Inst().Record(ctx, requestSize, opts...)
	x.handler.metrics.responseSize.Inst().Record(ctx, responseSize, opts...)
	if value != nil {
		panic(value)
	}
}

// decided is the context of the measurements. Its span is sampled if the trace is kept, so that
// exemplars name traces that arrive: those that the sampler chose at their start, and those that it
// kept for their outcome.
func (x *exchange) decided() context.Context {
	if !x.response.sampled.Kept() {
		return x.traced
	}
	return keptContext(x.traced, x.span)
}

// finalOperation is the operation with the last route found: by SetRoute, or by a ServeMux inside.
// With WithRoute such a mux does not count, because it may know only a part of the route.
func (x *exchange) finalOperation() *operation {
	pattern := x.request.Pattern
	if route := x.route.Swap(&routeClosed); route != nil {
		pattern = *route
	} else if x.handler.routeGiven && x.pattern != "" {
		return x.operation
	} else if pattern != x.pattern && pattern != "" {
		x.tellSampler(pattern)
	}
	if pattern == x.pattern || pattern == "" {
		return x.operation
	}
	return x.handler.operations.of(x.operation.method, pattern)
}

// errorType returns the error.type of the request, or "", and sets the status of the span. A panic
// is an error, and so is every status of 500 or above unless it was written after the client had
// disconnected.
func (x *exchange) errorType(status int, panicked any) string {
	if panicked != nil {
		x.recordPanic(panicked)
	}
	if kind := x.panicked.Load(); kind != nil {
		return *kind // also where the service has recovered
	}
	if status < http.StatusInternalServerError || x.response.deserted.Load() {
		return ""
	}
	x.span.SetStatus(codes.Error, "")
	return strconv.Itoa(status)
}

// describe sets the attributes that are known at the end of the request.
func (x *exchange) describe(o outcome, requestSize, responseSize int64) {
	all := describedPool.Get().(*described)
	attrs := all[:0]
	if o.operation != x.operation {
		x.span.SetName(o.operation.name)
		if o.operation.route != "" {
			attrs = append(attrs, semconv.HTTPRoute(o.operation.route))
		}
	}
	if o.status > 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(o.status))
	}
	if o.errorType != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(o.errorType))
	}
	if requestSize > 0 {
		attrs = append(attrs, semconv.HTTPRequestBodySize(int(requestSize)))
	}
	if responseSize > 0 {
		attrs = append(attrs, semconv.HTTPResponseBodySize(int(responseSize)))
	}
	if len(attrs) > 0 {
		x.span.SetAttributes(attrs...)
	}
	if x.pooled {
		clear(attrs)
		describedPool.Put(all)
	}
}

// described has room for all attributes of describe.
type described [5]attribute.KeyValue

var describedPool = sync.Pool{New: func() any { return new(described) }}

// serverSpanName is the name of a server's span: "{method} {route}", or the method alone.
func serverSpanName(method, route string) string {
	if method == otherMethod {
		method = "HTTP"
	}
	if route == "" {
		return method
	}
	return method + " " + route
}

// routeOf is the http.route of a pattern as [http.ServeMux] writes it: without its method and host.
func routeOf(pattern string) string {
	if i := strings.IndexByte(pattern, '/'); i >= 0 {
		return pattern[i:]
	}
	return ""
}
