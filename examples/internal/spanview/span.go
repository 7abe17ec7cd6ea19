// Package spanview reads and draws what has arrived at a collector, for the reports of the
// examples.
package spanview

import (
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// Service returns the name of the service with this resource.
func Service(resource map[string]any) string { return Text(resource, "service.name") }

// Text returns the attribute called key, or "" if it is missing or not a string.
func Text(attributes map[string]any, key string) string {
	s, _ := attributes[key].(string)
	return s
}

// Weight returns how many spans this one stands for; ok is false without a weight. See
// telemetry.AdjustedCount.
func Weight(span otlptest.Span) (weight float64, ok bool) {
	traceID, traceErr := trace.TraceIDFromHex(span.TraceID)
	spanID, spanErr := trace.SpanIDFromHex(span.SpanID)
	state, stateErr := trace.ParseTraceState(span.TraceState)
	if traceErr != nil || spanErr != nil || stateErr != nil {
		return 0, false
	}
	return telemetry.AdjustedCount(trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: trace.TraceFlags(span.Flags & 0xff), TraceState: state,
	}))
}
