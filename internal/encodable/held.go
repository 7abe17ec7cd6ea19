package encodable

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/peek"
)

// heldSpan is a copy of a span that does not keep the span itself in memory.
type heldSpan struct {
	sdktrace.ReadOnlySpan // nil; embedded for the unexported method of the interface

	parts                           peek.Parts
	context, parent                 trace.SpanContext
	kind                            trace.SpanKind
	start, end                      time.Time
	status                          sdktrace.Status
	scope                           instrumentation.Scope
	resource                        *resource.Resource
	droppedAttributes, droppedLinks int
	droppedEvents, childSpans       int
}

func newHeldSpan(s sdktrace.ReadOnlySpan, parts peek.Parts) *heldSpan {
	return &heldSpan{
		parts: parts, context: s.SpanContext(), parent: s.Parent(), kind: s.SpanKind(), start: s.StartTime(),
		end:    s.EndTime(),
		status: sdktrace.Status{Code: s.Status().Code, Description: parts.Description},
		scope:  s.InstrumentationScope(), resource: s.Resource(),
		droppedAttributes: s.DroppedAttributes(), droppedLinks: s.DroppedLinks(), droppedEvents: s.DroppedEvents(),
		childSpans: s.ChildSpanCount(),
	}
}

func (s *heldSpan) Name() string                                { return s.parts.Name }
func (s *heldSpan) SpanContext() trace.SpanContext              { return s.context }
func (s *heldSpan) Parent() trace.SpanContext                   { return s.parent }
func (s *heldSpan) SpanKind() trace.SpanKind                    { return s.kind }
func (s *heldSpan) StartTime() time.Time                        { return s.start }
func (s *heldSpan) EndTime() time.Time                          { return s.end }
func (s *heldSpan) Attributes() []attribute.KeyValue            { return s.parts.Attributes }
func (s *heldSpan) Links() []sdktrace.Link                      { return s.parts.Links }
func (s *heldSpan) Events() []sdktrace.Event                    { return s.parts.Events }
func (s *heldSpan) Status() sdktrace.Status                     { return s.status }
func (s *heldSpan) InstrumentationScope() instrumentation.Scope { return s.scope }
func (s *heldSpan) Resource() *resource.Resource                { return s.resource }
func (s *heldSpan) DroppedAttributes() int                      { return s.droppedAttributes }
func (s *heldSpan) DroppedLinks() int                           { return s.droppedLinks }
func (s *heldSpan) DroppedEvents() int                          { return s.droppedEvents }
func (s *heldSpan) ChildSpanCount() int                         { return s.childSpans }

// InstrumentationLibrary is deprecated, and a part of the interface.
//
//lint:ignore SA1019 The interface has it.
func (s *heldSpan) InstrumentationLibrary() instrumentation.Library { return s.scope }
