package telemetry

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/w3c"
)

const (
	traceparentKey = "traceparent"
	tracestateKey  = "tracestate"

	// maxTraceState is in bytes: 32 members of a key and a value of 256 characters each (W3C Trace Context §3.3.1.3) with
	// their separators. What is longer is invalid, and a stranger's megabyte is not worth taking apart.
	maxTraceState = 32*(256+1+256) + 31
)

// traceContext is OpenTelemetry's W3C propagator with the specification's rules for headers that came more than once,
// of which OpenTelemetry's reads the first: several tracestate headers are one list (§3.3.1, RFC 9110 §5.3), and a
// traceparent that is not the only one names no parent at all (§3.2). Keys are those of Level 2, as the specification's
// own test suite has them: members that [trace.TraceState] refuses travel in the context, beside the span context.
type traceContext struct{ propagation.TraceContext }

// Extract implements [propagation.TextMapPropagator].
func (p traceContext) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	parents := valuesOf(carrier, traceparentKey)
	if len(parents) != 1 {
		return ctx
	}
	list := joinTraceState(valuesOf(carrier, tracestateKey))
	ctx = p.TraceContext.Extract(ctx, received{traceparent: trimOWS(parents[0]), tracestate: list})
	sc := trace.SpanContextFromContext(ctx)
	if list == "" || !sc.IsRemote() || sc.TraceState().Len() > 0 {
		return ctx
	}
	state, beside, ok := w3c.SplitTraceState(list, sc.TraceID())
	if !ok {
		return ctx
	}
	return context.WithValue(trace.ContextWithRemoteSpanContext(ctx, sc.WithTraceState(state)), besideKey{}, beside)
}

// besideKey is the context key of the members that the span context has no room for.
type besideKey struct{}

// Inject implements [propagation.TextMapPropagator].
func (p traceContext) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	p.TraceContext.Inject(ctx, carrier)
	beside, _ := ctx.Value(besideKey{}).(*w3c.Beside)
	if list, ok := beside.Merged(trace.SpanContextFromContext(ctx)); ok && list != "" {
		carrier.Set(tracestateKey, list)
	}
}

// valuesOf returns the values of one key, however many the carrier tells apart.
func valuesOf(carrier propagation.TextMapCarrier, key string) []string {
	if many, ok := carrier.(propagation.ValuesGetter); ok {
		return many.Values(key)
	}
	if value := carrier.Get(key); value != "" {
		return []string{value}
	}
	return nil
}

// joinTraceState makes one list of several, without the empty members that §3.3.1.1 allows and OpenTelemetry's parser
// takes for errors. A list that is too long is no list.
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

// received is what came, as the one header of each name that OpenTelemetry's propagator reads.
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
