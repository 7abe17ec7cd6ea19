package otlptest

import (
	"net/http"
	"time"
)

// Request is one request that reached the server, whether it was accepted or not.
type Request struct {
	Signal   Signal      // None if the HTTP path is none of OTLP's
	Protocol string      // "http/protobuf" or "grpc"
	Path     string      // over gRPC, the full method
	Header   http.Header // over gRPC, the metadata; Get works in any case for both
	Encoding string      // "gzip", "" for none, or another that was refused
	Bytes    int         // compressed size of the body, as on the wire; 0 over gRPC if it could not be decoded
	// spans, log records or metric data points, the rejected included; 0 if refused before it was
	// decoded
	Items    int
	Accepted bool      // answered with success, be it partial; false also while it has no answer yet
	At       time.Time // when it arrived
	empty    bool      // not a single field in it
}

// Scope is the instrumentation scope of an item.
type Scope struct {
	Name, Version string
	Attributes    map[string]any
}

// Span is a span as it arrived. Attributes and resources, here and in the types below, as well as
// log bodies, hold values of the types string, bool, int64, float64, []byte, []any and
// map[string]any; an empty value is nil. A time that is not set is the zero time; the others are in
// UTC.
type Span struct {
	TraceID, SpanID   string // hexadecimal
	ParentSpanID      string // hexadecimal; "" for a root span
	TraceState        string
	Flags             uint32 // bits 0 to 7: the W3C trace flags; bits 8 and 9: whether the parent is remote
	Name              string
	Kind              string // "internal", "server", "client", "producer", "consumer" or "unspecified"
	Start, End        time.Time
	Attributes        map[string]any
	Events            []Event
	Links             []Link
	Status            Status
	Resource          map[string]any
	ResourceSchemaURL string
	Scope             Scope
	DroppedAttributes uint32
	DroppedEvents     uint32
	DroppedLinks      uint32
}

// Status is the status of a span.
type Status struct {
	Code    string // "unset", "ok" or "error"
	Message string
}

// Event is an event of a span.
type Event struct {
	Time              time.Time
	Name              string
	Attributes        map[string]any
	DroppedAttributes uint32
}

// Link is a link of a span.
type Link struct {
	TraceID, SpanID   string // hexadecimal
	TraceState        string
	Flags             uint32 // as Span.Flags
	Attributes        map[string]any
	DroppedAttributes uint32
}

// LogRecord is a log record as it arrived.
type LogRecord struct {
	Time, ObservedTime time.Time
	Severity           int // OTLP's severity number: 9 is INFO, 17 is ERROR; 0 is unspecified
	SeverityText       string
	Body               any
	Attributes         map[string]any
	TraceID, SpanID    string // hexadecimal; "" outside a span
	Flags              uint32 // bits 0 to 7: the W3C trace flags
	EventName          string
	Resource           map[string]any
	Scope              Scope
	DroppedAttributes  uint32
}

// Metric is one metric of one export.
type Metric struct {
	Name, Description, Unit string
	Kind                    string // "gauge", "sum", "histogram", "exponential_histogram" or "summary"
	Monotonic               bool   // sums only
	Temporality             string // "cumulative" or "delta"; "" for gauges and summaries
	Points                  []Point
	Resource                map[string]any
	Scope                   Scope
}

// Point is a data point of a metric. The buckets of exponential histograms and the quantiles of
// summaries are not decoded.
type Point struct {
	Attributes  map[string]any
	Start, Time time.Time
	Value       float64 // of gauges and sums, integers too
	// this and the following: of histograms and, but for the buckets, the other kinds with a count
	Count        uint64
	Sum          float64   // 0 if absent
	Bounds       []float64 // one fewer than BucketCounts
	BucketCounts []uint64
	Min, Max     *float64 // nil if absent
	Exemplars    []Exemplar
}

// Exemplar is a measurement with the span it was made in.
type Exemplar struct {
	TraceID, SpanID string // hexadecimal
	Value           float64
	Attributes      map[string]any // those that the metric's view has filtered out
}
