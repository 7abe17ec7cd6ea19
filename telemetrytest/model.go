package telemetrytest

import (
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/trace"
)

// Span is a span as it arrived, linked to its trace. Attributes, resources and log bodies, here and
// in the types below, have values of the types string, bool, int64, float64, []byte, []any and
// map[string]any; an empty value is nil. The data is shared between callers, so do not modify it.
type Span struct {
	TraceID, SpanID string // hexadecimal
	ParentSpanID    string // hexadecimal; "" for the root of a trace
	TraceState      string
	Name            string
	Kind            trace.SpanKind
	Start, End      time.Time
	Status          Status
	Attributes      map[string]any
	Events          []Event
	Links           []Link
	Resource        map[string]any
	Scope           Scope

	Children []*Span     // children that have arrived, in the order of their start
	Logs     []LogRecord // written in this span, in the order of their time

	parent *Span // nil if it has not arrived
	trace  *Trace
	openAt string // for a span that has not ended: where it was started
}

// Trace returns the span's trace, as far as it has arrived.
func (s *Span) Trace() *Trace { return s.trace }

// Parent returns the span's parent. It is nil if there is none or it has not arrived.
func (s *Span) Parent() *Span { return s.parent }

// Duration returns how long the span took.
func (s *Span) Duration() time.Duration { return s.End.Sub(s.Start) }

// Status is the status of a span.
type Status struct {
	Code        codes.Code
	Description string // only for an error
}

// Event is an event of a span, such as an exception.
type Event struct {
	Name       string
	Time       time.Time
	Attributes map[string]any
}

// Link connects a span to one of another trace.
type Link struct {
	TraceID, SpanID string // hexadecimal
	TraceState      string
	Attributes      map[string]any
}

// Scope is the instrumentation that created an item: the name passed to Tracer, Meter or Logger.
type Scope struct{ Name, Version string }

// LogRecord is a log record as it arrived.
type LogRecord struct {
	Time            time.Time
	Severity        log.Severity // slog's levels are SeverityDebug, SeverityInfo, SeverityWarn and SeverityError
	Body            any          // a string if it comes from slog
	EventName       string
	Attributes      map[string]any
	TraceID, SpanID string // hexadecimal; "" outside of a span
	Resource        map[string]any
	Scope           Scope
}

// Metric is the latest export of a metric.
type Metric struct {
	Name, Description, Unit string
	Kind                    string // "gauge", "sum", "histogram", "exponential_histogram" or "summary"
	Monotonic               bool   // for sums: a counter, not an up-down counter
	Points                  []Point
	Resource                map[string]any
	Scope                   Scope
}

// Point is a data point of a metric: the data recorded with one set of attributes.
type Point struct {
	Attributes map[string]any
	Time       time.Time
	Value      float64 // for gauges and sums, including integers

	// For histograms. There is one more bucket than bounds. Min and Max are nil if nothing was
	// recorded.
	Count        uint64
	Sum          float64
	Bounds       []float64
	BucketCounts []uint64
	Min, Max     *float64
}

// Total returns the sum over all points: the values of a sum, or the recorded amounts of a
// histogram.
func (m Metric) Total() float64 {
	total := 0.0
	for _, p := range m.Points {
		total += p.Value + p.Sum // a point has only one of them
	}
	return total
}

// Last returns the value of a gauge's newest point, or 0 without points.
func (m Metric) Last() float64 {
	var newest Point
	for _, p := range m.Points {
		if !p.Time.Before(newest.Time) {
			newest = p
		}
	}
	return newest.Value
}

// Count returns the number of recordings in a histogram, over all points.
func (m Metric) Count() uint64 {
	var count uint64
	for _, p := range m.Points {
		count += p.Count
	}
	return count
}
