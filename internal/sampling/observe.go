package sampling

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/peek"
)

// KeepKey is the attribute with which a service asks to keep a trace.
const KeepKey = attribute.Key("sampling.keep")

// The estimated cost of a held span, in bytes: the SDK's snapshot, its share of the heldTrace, and
// its data. Measured with 64-bit Go 1.26 (TestHeldBytesAreHeap).
const (
	traceBytes     = 512
	spanBytes      = 768
	attributeBytes = 72
	valueBytes     = 48
	eventBytes     = 96
	linkBytes      = 128
)

// observed is what the tail reads from a span that has ended.
type observed struct {
	id       trace.TraceID
	span     trace.SpanID
	name     string
	sampled  bool
	isRoot   bool
	request  *Request // of a local root, if it has one
	bytes    int64
	reason   reason
	duration time.Duration
}

func observe(s sdktrace.ReadOnlySpan, look *peek.Spans) observed {
	header, parts := look.Header(s), look.Parts(s)
	attributes, events, links := parts.Attributes, parts.Events, parts.Links
	o := observed{
		id:       header.Context.TraceID(),
		span:     header.Context.SpanID(),
		name:     parts.Name,
		sampled:  header.Context.IsSampled(),
		isRoot:   isLocalRoot(&header.Parent),
		bytes:    spanBytes + int64(len(parts.Name)+len(parts.Description)+parts.State) + attributesSize(attributes),
		duration: header.End.Sub(header.Start),
	}
	for i := range attributes {
		if kv := &attributes[i]; kv.Key == KeepKey && kv.Value.Type() == attribute.BOOL && kv.Value.AsBool() {
			o.reason = isMarked
		}
	}
	for i := range events {
		o.bytes += eventBytes + int64(len(events[i].Name)) + attributesSize(events[i].Attributes)
	}
	for i := range links {
		o.bytes += linkBytes + int64(peek.StateSize(&links[i].SpanContext)) + attributesSize(links[i].Attributes)
	}
	if n := len(events); n > 0 && isPanicEvent(&events[n-1], header.End) {
		o.reason = isPanic
	}
	if header.Code == codes.Error {
		o.reason = isError
	}
	return o
}

// isPanicEvent reports whether an event records a panic. One from RecordError looks the same, but
// End takes the end time before it recovers, so a panic is recorded after the span's end. It does
// not set the status.
func isPanicEvent(e *sdktrace.Event, end time.Time) bool {
	return e.Name == "exception" && !e.Time.Before(end)
}

// isLocalRoot reports whether a span with this parent is the first one in this process.
func isLocalRoot(parent *trace.SpanContext) bool {
	return !parent.IsValid() || parent.IsRemote()
}

func attributesSize(attributes []attribute.KeyValue) (bytes int64) {
	for i := range attributes {
		if kind, text := peek.KindAndText(&attributes[i].Value); kind == attribute.STRING { // the usual kind
			bytes += attributeBytes + int64(len(text))
		} else {
			bytes += attributeBytes + valueSize(&attributes[i].Value)
		}
	}
	return bytes
}

// valueSize is the memory of a value beyond its KeyValue.
func valueSize(v *attribute.Value) (bytes int64) {
	const word = 8
	switch v.Type() {
	case attribute.BOOL, attribute.INT64, attribute.FLOAT64:
	case attribute.STRING:
		bytes = int64(len(v.AsString()))
	case attribute.STRINGSLICE:
		for _, s := range v.AsStringSlice() {
			bytes += 2*word + int64(len(s))
		}
	case attribute.INT64SLICE:
		bytes = word * int64(len(v.AsInt64Slice()))
	case attribute.FLOAT64SLICE:
		bytes = word * int64(len(v.AsFloat64Slice()))
	case attribute.SLICE:
		values := v.AsSlice()
		for i := range values {
			bytes += valueBytes + valueSize(&values[i])
		}
	case attribute.MAP:
		bytes = attributesSize(v.AsMap())
	default:
		bytes = int64(len(v.String())) // at least as long as the booleans or bytes that it shows
	}
	return bytes
}

// slowness is the duration at which a local root is slow; 0: never.
type slowness time.Duration

func (s slowness) isSlow(d time.Duration) bool { return s > 0 && d >= time.Duration(s) }

// criteria returns what the tail's decision on a starting local root depends on: the duration at
// which it is slow, and whether it may be kept for its outcome at all. It may not if a rule drops
// such traces unless their caller has sampled them: the others are not seen, and only the caller's
// threshold says how many there are. followed reports whether the caller has sampled it.
func (s *Sampler) criteria(span sdktrace.ReadOnlySpan, followed bool) (slow slowness, eligible bool) {
	threshold, eligible := s.cfg.SlowThreshold, true
	if s.rules.anySlow || followed {
		var req request
		req.read(span.Name(), span.SpanKind(), span.Attributes())
		if rule := s.rules.match(&req); rule != nil {
			if rule.SlowThreshold != 0 {
				threshold = rule.SlowThreshold
			}
			eligible = !(followed && rule.Drop)
		}
	}
	return slowness(max(threshold, 0)), eligible
}
