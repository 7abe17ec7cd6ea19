package sampling

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/peek"
)

// KeepKey is the attribute by which a service asks to keep a trace.
const KeepKey = attribute.Key("sampling.keep")

// What a held span is taken to cost, in bytes: the SDK's snapshot and its share of the fragment, and what it carries.
// Measured with 64-bit Go 1.26 (TestHeldBytesAreHeap).
const (
	fragmentBytes  = 512
	spanBytes      = 768
	attributeBytes = 72
	valueBytes     = 48
	eventBytes     = 96
	linkBytes      = 128
)

// observed is what the tail reads of a span that has ended.
type observed struct {
	id       trace.TraceID
	sampled  bool
	root     bool
	bytes    int64
	reason   reason
	duration time.Duration
}

func observe(s sdktrace.ReadOnlySpan) observed {
	sc, status := s.SpanContext(), s.Status()
	attributes, events, links := s.Attributes(), s.Events(), s.Links()
	o := observed{
		id:       sc.TraceID(),
		sampled:  sc.IsSampled(),
		root:     isLocalRoot(s.Parent()),
		bytes:    spanBytes + int64(len(s.Name())+len(status.Description)+peek.StateSize(&sc)) + attributesSize(attributes),
		duration: s.EndTime().Sub(s.StartTime()),
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
	if n := len(events); n > 0 && isPanicEvent(&events[n-1], s.EndTime()) {
		o.reason = isPanic
	}
	if status.Code == codes.Error {
		o.reason = isError
	}
	return o
}

// isPanicEvent tells the event of a panic from those of RecordError: End takes the end time first and then recovers,
// so that a panic is recorded after the span's end. It does not set the status.
func isPanicEvent(e *sdktrace.Event, end time.Time) bool {
	return e.Name == "exception" && !e.Time.Before(end)
}

func isLocalRoot(parent trace.SpanContext) bool {
	return !parent.IsValid() || parent.IsRemote()
}

func attributesSize(attributes []attribute.KeyValue) (bytes int64) {
	for i := range attributes {
		bytes += attributeBytes + valueSize(&attributes[i].Value)
	}
	return bytes
}

// valueSize is what a value takes beyond its place in a KeyValue.
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

// terms are those on which the tail watches a local root that starts: when it is slow, and whether its outcome counts.
// It does not if a rule drops such traces unless their caller has sampled them: those that it has not are unseen, and
// only the caller's threshold says how many.
func (s *Sampler) terms(span sdktrace.ReadOnlySpan) (slow slowness, counts bool) {
	threshold, counts := s.cfg.SlowThreshold, true
	followed := span.Parent().IsValid() && span.SpanContext().IsSampled()
	if s.rules.anySlow || followed {
		var req request
		req.read(span.Name(), span.SpanKind(), span.Attributes())
		if rule := s.rules.match(&req); rule != nil {
			if rule.SlowThreshold != 0 {
				threshold = rule.SlowThreshold
			}
			counts = !(followed && rule.Drop)
		}
	}
	return slowness(max(threshold, 0)), counts
}
