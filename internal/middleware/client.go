package middleware

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/sampling"
	"github.com/fleetotel/telemetry/internal/spans"
	"github.com/fleetotel/telemetry/internal/w3c"
)

// NewTransport returns the round tripper of telemetry.Transport.
func NewTransport(base http.RoundTripper, e Edge) http.RoundTripper {
	return &transport{Edge: e, base: base, propagator: e.propagator(), metrics: newClientMetrics(e.meterProvider())}
}

// transport sends requests through base in a client span. Its caches are bounded: see
// clientMetrics.
type transport struct {
	Edge
	base       http.RoundTripper
	propagator propagation.TextMapPropagator
	tracers    tracerCache
	metrics    *clientMetrics
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL == nil {
		return t.base.RoundTrip(r) // it reports what is wrong
	}
	x := &sending{Context: r.Context(), transport: t, start: time.Now()}
	x.startSpan(r)
	defer spans.EndOnPanic(x.span)
	response, err := t.base.RoundTrip(x.copyOf(r))
	if err == nil {
		err = t.complete(r, response)
	}
	o := answer{}
	if err != nil {
		o.errorType = x.fail(err)
		x.span.End()
		x.measure(t.metrics.outcome(x.target, o))
	} else {
		x.believe(response.Header)
		x.measure(x.describe(response))
		x.wrapBody(response)
	}
	return response, err
}

// CloseIdleConnections keeps [http.Client.CloseIdleConnections] working, which looks for this
// method.
func (t *transport) CloseIdleConnections() {
	if closer, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// complete checks a response and fills it in as net/http's client would. The errors are those of
// that client, which would name this transport instead of its base.
func (t *transport) complete(r *http.Request, response *http.Response) error {
	switch {
	case response == nil:
		return fmt.Errorf("http: RoundTripper implementation (%T) returned a nil *Response with a nil error", t.base)
	case response.Body != nil:
	case response.ContentLength > 0 && r.Method != http.MethodHead:
		return fmt.Errorf("http: RoundTripper implementation (%T) returned a *Response with content length %d but a "+
			"nil Body", t.base, response.ContentLength)
	default:
		response.Body = http.NoBody
	}
	return nil
}

// sending is one request and its response. It is the context and both bodies in one allocation,
// which is never reused: the base may hold on to any of them after it has returned.
type sending struct {
	context.Context // the caller's

	transport *transport
	target    clientTarget
	span      trace.Span
	traced    context.Context // has the span
	start     time.Time
	isRoot    bool // of a trace: there is no parent
	labeler   atomic.Pointer[otelhttp.Labeler]
	response  responseBody

	first   requestBody
	getBody func() (io.ReadCloser, error) // the caller's

	mu       sync.Mutex   // guards what follows: bodies are closed at any time
	body     *requestBody // the last one that was sent; nil: none
	answered bool
	recorded bool
	elapsed  time.Duration
	outcome  *clientOutcome
}

// answer is how a request ended.
type answer struct {
	protocol, version string // "" without an answer
	status            int    // 0 without an answer
	errorType         string // "" if it was not an error
}

// Value returns otelhttp's labeler, by which round trippers add attributes to the metrics, and the
// parent of a root span. The labeler is made when it is first asked for.
func (x *sending) Value(key any) any {
	if x.isRoot && key == spanKey {
		return w3c.RandomRootSpan
	}
	found := x.Context.Value(key)
	if found != nil || key != clientLabelerKey {
		return found
	}
	x.labeler.CompareAndSwap(nil, &otelhttp.Labeler{})
	return x.labeler.Load()
}

// clientLabelerKey is the context key of otelhttp's labeler for clients: see labelerKey.
var clientLabelerKey = func() any {
	var p keyProbe
	_, _ = otelhttp.ClientLabelerFromContext(&p)
	return p.asked
}()

var clientKind = trace.WithSpanKind(trace.SpanKindClient)

func (x *sending) startSpan(r *http.Request) {
	tracer := x.transport.tracers.of(x.transport.provider(x.Context))
	var options *startOptions
	if tracer.isSDK {
		options = startOptionsPool.Get().(*startOptions)
	} else {
		options = new(startOptions)
	}
	n := len(x.startAttributes(options.attributes[:0], r))
	opts := append(options.list[:0], clientKind, options.withAttributes(n))
	parent := trace.SpanContextFromContext(x.Context)
	if link, ok := linkToCaller(x.Context, parent); ok {
		opts = append(opts, trace.WithLinks(link))
	}
	x.isRoot = !parent.HasTraceID() // see Value
	x.traced, x.span = tracer.Start(x, clientSpanName(x.target.method), opts...)
	if tracer.isSDK {
		options.release(n)
	}
}

// copyOf is the request that the base sends, since a round tripper must not change its argument.
// The copy has its own header. For an untrusted host it has none of the propagator's headers,
// whether injected or already there.
func (x *sending) copyOf(r *http.Request) *http.Request {
	trusted := x.transport.trusted.holds(r.URL.Hostname())
	r = r.WithContext(x.traced)
	if r.Header == nil {
		r.Header = make(http.Header, 2) // as http.Client does
	} else {
		r.Header = maps.Clone(r.Header)
	}
	if trusted {
		x.transport.propagator.Inject(x.traced, headers(r.Header))
	} else {
		for _, field := range x.transport.propagator.Fields() {
			r.Header.Del(field)
		}
	}
	if r.Body != nil && r.Body != http.NoBody { // net/http compares with both
		x.first = requestBody{ReadCloser: r.Body, sending: x}
		x.body, r.Body = &x.first, &x.first
		if r.GetBody != nil {
			x.getBody, r.GetBody = r.GetBody, x.nextBody
		}
	}
	return r
}

// believe takes over the decision that a service returns in its header or trailer, if the service
// belongs to the fleet.
func (x *sending) believe(header http.Header) {
	if values := header[serverTiming]; len(values) > 0 {
		host := x.target.host
		if threshold, ok := readDecision(values, x.span.SpanContext().TraceID()); ok && x.transport.believes(host) {
			sampling.Believe(x.span, host, threshold)
		}
	}
}

// describe sets the attributes of the response on the span.
func (x *sending) describe(response *http.Response) *clientOutcome {
	o := answer{status: response.StatusCode}
	o.protocol, o.version = protocolOf(response.Proto)
	if o.status < 100 || o.status >= http.StatusBadRequest {
		o.errorType = strconv.Itoa(o.status)
		x.span.SetStatus(codes.Error, "")
		sampling.Fail(x.span)
	}
	outcome := x.transport.metrics.outcome(x.target, o)
	x.span.SetAttributes(outcome.attributes...)
	return outcome
}

// fail records an error on the span and returns its error.type.
func (x *sending) fail(err error) (kind string) {
	kind, message := spans.Describe(err)
	x.span.SetStatus(codes.Error, message)
	sampling.Fail(x.span)
	x.span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	return kind
}

// measure notes how the request ended, for record.
func (x *sending) measure(o *clientOutcome) {
	elapsed := time.Since(x.start)
	x.mu.Lock()
	x.answered, x.elapsed, x.outcome = true, elapsed, o
	x.mu.Unlock()
	x.record()
}

// record records the metrics once there is a response or an error and the request body is closed: a
// base may still send the body after it has returned. Only Close says that a body is finished,
// since it may have more bytes than its request says.
func (x *sending) record() {
	x.mu.Lock()
	body := x.body
	due := x.answered && !x.recorded && (body == nil || body.closed.Load())
	if due {
		x.recorded = true
	}
	x.mu.Unlock()
	if !due {
		return
	}
	size := int64(0)
	if body != nil {
		size = body.read.Load()
	}
	m := x.transport.metrics
	opts := x.outcome.options
	if further := x.labels(); len(further) > 0 {
		opts = x.outcome.with(further)
	}
	ctx := x.traced
	if x.outcome.errorType != "" {
		ctx = withDecision(ctx, x.span)
	}
	m.duration.Inst().Record(ctx, x.elapsed.Seconds(), opts...)
	m.requestSize.Inst().Record(ctx, size, opts...)
}
