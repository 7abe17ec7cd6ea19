package w3c

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/sampling"
)

const (
	traceparentKey = "traceparent"
	tracestateKey  = "tracestate"

	// maxTraceState is the longest valid tracestate, in bytes: 32 members, each with a key and a
	// value of 256 characters (W3C Trace Context §3.3.1.3), and their separators.
	maxTraceState = 32*(256+1+256) + 31
)

// TraceContext is OpenTelemetry's W3C propagator with the specification's rules for repeated
// headers, of which OpenTelemetry's reads only the first. Several tracestate headers are one list
// (§3.3.1, RFC 9110 §5.3), and repeated traceparent headers name no parent at all (§3.2). Keys are
// those of Level 2, as in the specification's own test suite: members that [trace.TraceState]
// refuses are kept in the context, beside the span context.
type TraceContext struct{ propagation.TraceContext }

// Extract implements [propagation.TextMapPropagator].
func (p TraceContext) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	parents := valuesOf(carrier, traceparentKey)
	if len(parents) != 1 {
		return ctx
	}
	list := joinTraceState(valuesOf(carrier, tracestateKey))
	headers := received{traceparent: trimOWS(parents[0]), tracestate: list}
	ctx = p.TraceContext.Extract(ctx, headers)
	if list == "" || trace.SpanContextFromContext(ctx).TraceState().Len() > 0 {
		return ctx
	}
	// The context may have a caller already: a tracestate without a valid traceparent is not its
	// own.
	sc := trace.SpanContextFromContext(p.TraceContext.Extract(context.Background(), headers))
	state, beside, ok := SplitTraceState(list, sc.TraceID())
	if !ok || !sc.IsValid() {
		return ctx
	}
	return context.WithValue(trace.ContextWithRemoteSpanContext(ctx, sc.WithTraceState(state)), besideKey{}, beside)
}

// besideKey is the context key of the members that the span context cannot hold.
type besideKey struct{}

// Inject implements [propagation.TextMapPropagator]. If the adaptive sampler keeps the trace for
// its outcome, the called service learns that here.
func (p TraceContext) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	if sc, ok := sampling.Outgoing(trace.SpanFromContext(ctx)); ok {
		ctx = trace.ContextWithSpanContext(ctx, sc)
	}
	p.TraceContext.Inject(ctx, carrier)
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() && sc.TraceState().Len() == 0 {
		removeTraceState(carrier)
	}
	beside, _ := ctx.Value(besideKey{}).(*Beside)
	if list, ok := beside.Merged(trace.SpanContextFromContext(ctx)); ok && list != "" {
		carrier.Set(tracestateKey, list)
	}
}

// removeTraceState removes a list that belongs to another trace. A proxy may forward its caller's
// headers, and the caller must not choose, for example, the randomness of the proxy's own trace.
func removeTraceState(carrier propagation.TextMapCarrier) {
	switch c := carrier.(type) {
	case interface{ Delete(key string) }:
		c.Delete(tracestateKey)
	case propagation.HeaderCarrier:
		http.Header(c).Del(tracestateKey)
	default:
		if len(valuesOf(carrier, tracestateKey)) > 0 {
			carrier.Set(tracestateKey, "") // an empty list is valid (§3.3.1.1)
		}
	}
}

// valuesOf returns all values of a key that the carrier can distinguish.
func valuesOf(carrier propagation.TextMapCarrier, key string) []string {
	if many, ok := carrier.(propagation.ValuesGetter); ok {
		return many.Values(key)
	}
	if value := carrier.Get(key); value != "" {
		return []string{value}
	}
	return nil
}

// joinTraceState joins several lists to one. It leaves out the empty members that §3.3.1.1 allows
// and OpenTelemetry's parser refuses. A list that is too long becomes "".
func joinTraceState(values []string) string {
	if len(values) == 1 && !strings.ContainsAny(values[0], " \t") && len(values[0]) <= maxTraceState {
		return values[0]
	}
	var joined strings.Builder
	for _, value := range values {
		for member := range strings.SplitSeq(value, ",") {
			member = trimOWS(member)
			if member == "" {
				continue
			}
			if joined.Len() > 0 {
				joined.WriteByte(',')
			}
			if joined.Len()+len(member) > maxTraceState {
				return ""
			}
			joined.WriteString(member)
		}
	}
	return joined.String()
}

// trimOWS removes optional white space (RFC 9110 §5.6.3).
func trimOWS(s string) string { return strings.Trim(s, " \t") }

// received is a carrier with the one header of each name that OpenTelemetry's propagator reads.
type received struct{ traceparent, tracestate string }

func (r received) Get(key string) string {
	switch key {
	case traceparentKey:
		return r.traceparent
	case tracestateKey:
		return r.tracestate
	}
	return ""
}

func (received) Set(string, string) {}
func (received) Keys() []string     { return []string{traceparentKey, tracestateKey} }
