package w3c

import (
	"context"

	"go.opentelemetry.io/otel/trace"
)

// RandomRoot is a parent that gives a new trace neither an id nor a parent, but the random flag.
// The SDK takes a root's flags from the parent context and never sets this flag, although its ids
// are random.
var RandomRoot = trace.NewSpanContext(trace.SpanContextConfig{TraceFlags: trace.FlagsRandom})

// RandomRootSpan is a span with RandomRoot, made once.
var RandomRootSpan = trace.SpanFromContext(trace.ContextWithSpanContext(context.Background(), RandomRoot))

// WithRandomRoot makes the next span started from ctx a random root, unless ctx has a trace
// already. It looks only at the trace id: the SDK continues a trace id that comes without a span
// id, and such an id comes from elsewhere.
func WithRandomRoot(ctx context.Context) context.Context {
	parent := trace.SpanContextFromContext(ctx)
	if parent.HasTraceID() || parent.Equal(RandomRoot) {
		return ctx
	}
	return trace.ContextWithSpan(ctx, RandomRootSpan)
}
