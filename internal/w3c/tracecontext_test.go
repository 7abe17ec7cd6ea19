package w3c_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/w3c"
)

// Another propagator may have found the caller already, as one for B3 does.
func TestATracestateWithoutAValidTraceparentIsIgnored(t *testing.T) {
	caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, Remote: true})
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), caller)
	ctx = w3c.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": "00-malformed", "tracestate": "1a-2b*3c/4d@5e=x,ok=y"})
	assert.True(t, caller.Equal(trace.SpanContextFromContext(ctx)))
}
