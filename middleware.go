package telemetry

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"
	"go.opentelemetry.io/otel/trace"
)

// Handler makes spans and metrics of the requests that next serves; nil stands for [http.DefaultServeMux], as in
// net/http. Each request is
//
//   - a server span, a child of the caller's unless [WithPublicEndpoint] is given. If next is an [http.ServeMux], the
//     span is named "{method} {route}" and has http.route from its start, so that a sampler can go by them; see
//     [WithRoute] for other handlers. A request that matches no route is named by its method alone, so that a scan for
//     weak spots does not fill the backend with names. A panic sets the status to Error, is recorded with its stack and
//     goes on; http.ErrAbortHandler is none.
//   - a point of http.server.request.duration, http.server.request.body.size and http.server.response.body.size, and
//     counted in http.server.active_requests while it lasts.
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
	h := &handler{handlerConfig: c, next: next, active: newActiveRequests(c.edge.meterProvider())}
	if mux, ok := next.(*http.ServeMux); ok && h.route == nil {
		h.route = func(r *http.Request) string {
			_, pattern := mux.Handler(r)
			return pattern
		}
	}
	h.traced = otelhttp.NewHandler(http.HandlerFunc(h.serve), "",
		otelhttp.WithTracerProvider(c.edge),
		otelhttp.WithMeterProvider(c.edge.meterProvider()),
		otelhttp.WithPropagators(c.propagator()),
	)
	return h
}

type handler struct {
	handlerConfig
	next   http.Handler
	traced http.Handler // serve in a span
	active httpconv.ServerActiveRequests
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.excludes(r.URL.Path) {
		h.next.ServeHTTP(w, r)
		return
	}
	attributes := activeAttributes(r)
	h.active.Inst().Add(r.Context(), 1, attributes)
	defer h.active.Inst().Add(r.Context(), -1, attributes)

	routed := h.withoutHost(h.withRoute(r))
	// net/http removes the temporary files of the form it finds in its own request.
	defer func() { r.MultipartForm = routed.MultipartForm }()
	h.traced.ServeHTTP(w, routed)
}

// withRoute returns r, or a copy that knows its route: the instrumentation reads it before next could set it.
func (h *handler) withRoute(r *http.Request) *http.Request {
	if h.route == nil {
		return r
	}
	routed := r.WithContext(r.Context())
	routed.Pattern = h.route(r)
	return routed
}

// hostKey is the context key of the host that withoutHost has taken out.
type hostKey struct{}

// withoutHost keeps a stranger from making time series: the instrumentation puts the Host header into the metrics, as
// server.address, which the semantic conventions call an attack where anyone can call. Spans have it all the same.
func (h *handler) withoutHost(r *http.Request) *http.Request {
	if !h.public {
		return r
	}
	anonymous := r.WithContext(context.WithValue(r.Context(), hostKey{}, r.Host))
	anonymous.Host = ""
	return anonymous
}

// withHost undoes withoutHost for the service and the span, but not for the instrumentation, which reads its own request
// again when the service is done.
func withHost(r *http.Request, span trace.Span) *http.Request {
	host, ok := r.Context().Value(hostKey{}).(string)
	if !ok {
		return r
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	span.SetAttributes(semconv.ServerAddress(name))
	if number, err := strconv.ParseUint(port, 10, 16); err == nil {
		span.SetAttributes(semconv.ServerPort(int(number)))
	}
	served := r.WithContext(r.Context())
	served.Host = host
	return served
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	span := trace.SpanFromContext(r.Context())
	defer endOnPanic(span)

	instrumented := r
	r = withHost(r, span)
	defer func() { instrumented.Pattern, instrumented.MultipartForm = r.Pattern, r.MultipartForm }()

	pattern := r.Pattern
	serveTimed(h.next, w, r, span.SpanContext())

	if i := strings.IndexByte(r.Pattern, '/'); i >= 0 && r.Pattern != pattern {
		span.SetAttributes(semconv.HTTPRoute(r.Pattern[i:]))
	}
}

const (
	serverTiming  = "Server-Timing"
	exposeHeaders = "Access-Control-Expose-Headers"
)

// serveTimed lets next answer r, and adds Server-Timing and Access-Control-Expose-Headers to the answer (W3C Server
// Timing §2; Fetch §3.2.3). A span context that is not of this process has nothing to tell the browser.
func serveTimed(next http.Handler, w http.ResponseWriter, r *http.Request, sc trace.SpanContext) {
	if !sc.IsValid() || sc.IsRemote() {
		next.ServeHTTP(w, r)
		return
	}
	timed := &timedWriter{ResponseWriter: w, traceparent: timingEntry(sc)}
	timed.addHeaders()
	next.ServeHTTP(timed.withOptionalMethods(), r)
	timed.addHeaders()
}

// timingEntry says of the flags only whether the trace is sampled: browser agents look for a literal 01.
func timingEntry(sc trace.SpanContext) string {
	sampled := sc.TraceFlags() & trace.FlagsSampled
	return fmt.Sprintf(`traceparent;desc="00-%s-%s-%s"`, sc.TraceID(), sc.SpanID(), sampled)
}

// timedWriter puts the two headers back when they are about to be sent, since a handler that sets one of its own, as
// CORS middleware does, has replaced them.
type timedWriter struct {
	http.ResponseWriter
	traceparent string
	sent        bool
}

func (w *timedWriter) addHeaders() {
	if w.sent {
		return
	}
	header := w.Header()
	if !slices.Contains(header[serverTiming], w.traceparent) {
		header.Add(serverTiming, w.traceparent)
	}
	if !slices.Contains(header[exposeHeaders], serverTiming) {
		header.Add(exposeHeaders, serverTiming)
	}
}

func (w *timedWriter) send() {
	w.addHeaders()
	w.sent = true
}

// WriteHeader may come more than once: informational answers precede the final one.
func (w *timedWriter) WriteHeader(status int) {
	w.addHeaders()
	w.sent = w.sent || status >= http.StatusOK || status == http.StatusSwitchingProtocols
	w.ResponseWriter.WriteHeader(status)
}

func (w *timedWriter) Write(p []byte) (int, error) {
	w.send()
	return w.ResponseWriter.Write(p)
}

func (w *timedWriter) ReadFrom(src io.Reader) (int64, error) {
	w.send()
	return io.Copy(w.ResponseWriter, src)
}

func (w *timedWriter) Flush() { _ = w.FlushError() }

func (w *timedWriter) FlushError() error {
	w.send()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// withOptionalMethods offers what the server's own writer offers: HTTP/1.1 can be hijacked, HTTP/2 can push, and code
// asks for either by a type assertion.
func (w *timedWriter) withOptionalMethods() http.ResponseWriter {
	switch server := w.ResponseWriter.(type) {
	case http.Hijacker:
		return struct {
			*timedWriter
			http.Hijacker
		}{w, server}
	case http.Pusher:
		return struct {
			*timedWriter
			http.Pusher
		}{w, server}
	default:
		return w
	}
}

func newActiveRequests(provider metric.MeterProvider) httpconv.ServerActiveRequests {
	meter := provider.Meter(scopeName, metric.WithInstrumentationVersion(Version), metric.WithSchemaURL(semconv.SchemaURL))
	active, err := httpconv.NewServerActiveRequests(meter)
	if err != nil {
		otel.Handle(err)
	}
	return active
}

func activeAttributes(r *http.Request) metric.MeasurementOption {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return metric.WithAttributeSet(attribute.NewSet(
		semconv.HTTPRequestMethodKey.String(knownMethod(r.Method)),
		semconv.URLScheme(scheme),
	))
}

const otherMethod = "_OTHER"

// knownMethod keeps the methods that a stranger makes up from becoming time series (semantic conventions,
// http.request.method).
func knownMethod(method string) string {
	switch method = strings.ToUpper(method); method {
	case http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions,
		http.MethodPatch, http.MethodPost, http.MethodPut, http.MethodTrace:
		return method
	default:
		return otherMethod
	}
}
