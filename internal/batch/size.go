package batch

import (
	"unsafe"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/peek"
)

// The fixed parts of the estimates, in bytes: the memory of an item without its strings. The sizes
// of the SDK's private types are those of v1.47; they bound memory, so a few bytes more or less do
// not matter.
const (
	spanBase  = 432
	eventBase = int(unsafe.Sizeof(sdktrace.Event{}))
	linkBase  = int(unsafe.Sizeof(sdktrace.Link{}))
	attrBase  = int(unsafe.Sizeof(attribute.KeyValue{}))
	logBase   = int(unsafe.Sizeof(sdklog.Record{}))
)

// spanSize estimates the memory of a span in bytes. Strings that the program holds anyway, such as
// literals, count as well, because they are sent.
func spanSize(s peek.Parts) int {
	n := spanBase + len(s.Name) + len(s.Description) + s.State + attributesSize(s.Attributes)
	for i := range s.Events {
		n += eventBase + len(s.Events[i].Name) + attributesSize(s.Events[i].Attributes)
	}
	for i := range s.Links {
		n += linkBase + peek.StateSize(&s.Links[i].SpanContext) + attributesSize(s.Links[i].Attributes)
	}
	return n
}

// recordSize estimates the memory of a log record in bytes.
func recordSize(r *sdklog.Record) int {
	// The first attributes live in the record itself, and count twice.
	n := logBase + len(r.EventName()) + len(r.SeverityText())
	body := r.Body()
	n += valueSize(&body)
	r.WalkAttributes(func(kv attribute.KeyValue) bool {
		n += attrBase + len(kv.Key) + valueSize(&kv.Value)
		return true
	})
	return n
}

func attributesSize(attrs []attribute.KeyValue) int {
	n := len(attrs) * attrBase
	for i := range attrs {
		n += len(attrs[i].Key)
		// This is valueSize, which is too large to be inlined and would take a third of the time of
		// queuing a span.
		kind, text := peek.KindAndText(&attrs[i].Value)
		switch kind {
		case attribute.STRING:
			n += len(text)
		case attribute.INT64, attribute.BOOL, attribute.FLOAT64:
		default:
			n += compositeSize(&attrs[i].Value)
		}
	}
	return n
}

// valueSize estimates the memory of a value beyond its place in a KeyValue.
func valueSize(v *attribute.Value) int {
	kind, text := peek.KindAndText(v)
	switch kind {
	case attribute.STRING:
		return len(text)
	case attribute.INT64, attribute.BOOL, attribute.FLOAT64:
		return 0
	default:
		return compositeSize(v)
	}
}

// compositeSize is valueSize for slices and maps. It costs an allocation, because the attribute
// package copies them on reading.
func compositeSize(v *attribute.Value) int {
	const word = 8
	n := 0
	switch v.Type() {
	case attribute.BOOLSLICE:
		n = len(v.AsBoolSlice())
	case attribute.INT64SLICE:
		n = word * len(v.AsInt64Slice())
	case attribute.FLOAT64SLICE:
		n = word * len(v.AsFloat64Slice())
	case attribute.STRINGSLICE:
		for _, s := range v.AsStringSlice() {
			n += 2*word + len(s)
		}
	case attribute.BYTESLICE:
		n = len(v.AsByteSlice())
	case attribute.SLICE:
		items := v.AsSlice()
		for i := range items {
			n += attrBase + valueSize(&items[i])
		}
	case attribute.MAP:
		n = attributesSize(v.AsMap())
	}
	return n
}
