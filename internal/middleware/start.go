package middleware

import (
	"context"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/encodable"
	"github.com/fleetotel/telemetry/internal/global"
	"github.com/fleetotel/telemetry/internal/sampling"
	"github.com/fleetotel/telemetry/internal/version"
)

// tracerCache looks up a tracer once for each provider. It is safe for concurrent use.
type tracerCache struct{ last atomic.Pointer[tracerOf] }

type tracerOf struct {
	trace.Tracer
	provider trace.TracerProvider // comparable
	isSDK    bool                 // it does not keep options and their attributes
	sampler  *sampling.Sampler    // decides its spans; nil: not known
}

func (c *tracerCache) of(provider trace.TracerProvider) *tracerOf {
	real := global.RealTracerProvider(provider)
	if last := c.last.Load(); last != nil && last.provider == real {
		return last
	}
	tracer := &tracerOf{provider: real, isSDK: isSDK(provider), sampler: sampling.ServingSampler(real)}
	tracer.Tracer = real.Tracer(version.Scope, trace.WithInstrumentationVersion(version.Version),
		trace.WithSchemaURL(semconv.SchemaURL))
	if reflect.ValueOf(real).Comparable() {
		c.last.Store(tracer)
	}
	return tracer
}

// isSDK reports whether a provider is the SDK's own, possibly behind the globals of Init.
func isSDK(provider trace.TracerProvider) bool {
	_, is := provider.(*sdktrace.TracerProvider)
	return is || global.IsTracerProvider(provider)
}

// startOptions are the options of one span. Samplers and processors of the SDK see a copy of the
// attributes, so the options can be reused.
type startOptions struct {
	attributes [maxStartAttributes]attribute.KeyValue
	with       [maxStartAttributes + 1]trace.SpanStartOption // for each number of attributes
	rest       [maxStartAttributes + 1]trace.SpanStartOption // the same without those given to the sampler
	given      sampling.StartAttributes
	list       [4]trace.SpanStartOption
}

// maxStartAttributes is the most attributes that a startAttributes method appends.
const maxStartAttributes = 14

var startOptionsPool = sync.Pool{New: func() any { return new(startOptions) }}

func (o *startOptions) withAttributes(n int) trace.SpanStartOption {
	if o.with[n] == nil {
		o.with[n] = trace.WithAttributes(o.attributes[:n]...)
	}
	return o.with[n]
}

// giveFirst gives the first of n attributes to the sampler and returns the option for the rest.
func (o *startOptions) giveFirst(n int, s *sampling.Sampler, r *sampling.Request) trace.SpanStartOption {
	first := sampling.FirstStartAttributes(n)
	if o.rest[n] == nil {
		o.rest[n] = trace.WithAttributes(o.attributes[first:n]...)
	}
	o.given = sampling.StartAttributes{All: o.attributes[:n], First: first}
	o.given.Give(s, r)
	return o.rest[n]
}

// release clears the options and returns them to the pool.
func (o *startOptions) release(used int) {
	clear(o.attributes[:used])
	clear(o.list[:])
	o.given = sampling.StartAttributes{}
	startOptionsPool.Put(o)
}

var serverKind = trace.WithSpanKind(trace.SpanKindServer)

func (x *exchange) startSpan(r *http.Request) {
	parent := trace.SpanFromContext(x.Context)
	sc := parent.SpanContext()
	local := sc.IsValid() && !sc.IsRemote()
	if local {
		x.handler.hints.outer(parent)
	}
	tracer := x.handler.tracers.of(x.handler.Edge.provider(x.Context))
	var options *startOptions
	if tracer.isSDK {
		options = startOptionsPool.Get().(*startOptions)
	} else {
		options = new(startOptions)
	}
	n := len(x.startAttributes(options.attributes[:0], r))
	opts := append(options.list[:0], serverKind)
	switch {
	case !local && longRequest(r): // a held span must not keep a request line of a megabyte alive
		opts = append(opts, trace.WithAttributes(encodable.Copy(options.attributes[:n])...))
	case tracer.sampler != nil:
		opts = append(opts, options.giveFirst(n, tracer.sampler, &x.response.sampled))
	default:
		opts = append(opts, options.withAttributes(n))
	}
	if x.handler.Public {
		if link, ok := linkToCaller(x.Context, sc); ok {
			opts = append(opts, trace.WithLinks(link))
		}
	}
	if x.start = otelhttp.StartTimeFromContext(x.Context); x.start.IsZero() {
		x.start = time.Now()
	} else {
		opts = append(opts, trace.WithTimestamp(x.start))
	}
	x.isRoot = !sc.HasTraceID() // see Value
	x.traced, x.span = tracer.Start(x, x.operation.name, opts...)
	x.recording, x.pooled = x.span.IsRecording(), tracer.isSDK
	if tracer.isSDK {
		options.release(n)
	}
}

// linkToCaller returns the link from the root span of a public endpoint to its caller; see
// publicPropagator.
func linkToCaller(ctx context.Context, parent trace.SpanContext) (trace.Link, bool) {
	if parent.HasTraceID() {
		return trace.Link{}, false
	}
	caller, ok := ctx.Value(callerKey{}).(trace.SpanContext)
	return trace.Link{SpanContext: caller}, ok
}
