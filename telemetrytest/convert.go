package telemetrytest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// The server uses OTLP's names for kinds and codes. The names here are those of OpenTelemetry's Go
// API.

func spanOf(s otlptest.Span) *Span {
	return &Span{
		TraceID: s.TraceID, SpanID: s.SpanID, ParentSpanID: s.ParentSpanID, TraceState: s.TraceState,
		Name: s.Name, Kind: kinds[s.Kind], Start: s.Start, End: s.End,
		Status:     Status{statusCodes[s.Status.Code], s.Status.Message},
		Attributes: s.Attributes,
		Events:     each(s.Events, func(e otlptest.Event) Event { return Event{e.Name, e.Time, e.Attributes} }),
		Links: each(s.Links, func(l otlptest.Link) Link {
			return Link{l.TraceID, l.SpanID, l.TraceState, l.Attributes}
		}),
		Resource: s.Resource, Scope: Scope{s.Scope.Name, s.Scope.Version},
	}
}

var kinds = map[string]trace.SpanKind{
	"internal": trace.SpanKindInternal, "server": trace.SpanKindServer, "client": trace.SpanKindClient,
	"producer": trace.SpanKindProducer, "consumer": trace.SpanKindConsumer,
}

var statusCodes = map[string]codes.Code{"ok": codes.Ok, "error": codes.Error}

func logOf(r otlptest.LogRecord) LogRecord {
	record := LogRecord{
		Time: r.Time, Severity: log.Severity(r.Severity), Body: r.Body, EventName: r.EventName,
		Attributes: r.Attributes,
		TraceID:    r.TraceID, SpanID: r.SpanID, Resource: r.Resource, Scope: Scope{r.Scope.Name, r.Scope.Version},
	}
	if record.Time.IsZero() {
		record.Time = r.ObservedTime
	}
	return record
}

func metricOf(m otlptest.Metric) Metric {
	return Metric{
		Name: m.Name, Description: m.Description, Unit: m.Unit, Kind: m.Kind, Monotonic: m.Monotonic,
		Points: each(m.Points, func(p otlptest.Point) Point {
			return Point{
				Attributes: p.Attributes, Time: p.Time, Value: p.Value,
				Count: p.Count, Sum: p.Sum, Bounds: p.Bounds, BucketCounts: p.BucketCounts, Min: p.Min, Max: p.Max,
			}
		}),
		Resource: m.Resource, Scope: Scope{m.Scope.Name, m.Scope.Version},
	}
}

func each[In, Out any](in []In, f func(In) Out) []Out {
	var out []Out
	for _, v := range in {
		out = append(out, f(v))
	}
	return out
}

// has reports whether the received attributes include all wanted ones.
func has(attributes map[string]any, wanted []attribute.KeyValue) bool {
	return len(missing(attributes, wanted)) == 0
}

// missing returns the wanted attributes that are absent or have another value.
func missing(attributes map[string]any, wanted []attribute.KeyValue) []attribute.KeyValue {
	return slices.DeleteFunc(slices.Clone(wanted), func(kv attribute.KeyValue) bool {
		value, there := attributes[string(kv.Key)]
		return there && reflect.DeepEqual(value, arrived(kv.Value))
	})
}

// otherTypes describes wanted attributes that one of the items has with the same text but another
// type, since both look the same in a drawing.
func otherTypes[T any](all []T, attributesOf func(T) map[string]any, wanted []attribute.KeyValue) string {
	for _, one := range all {
		var lines []string
		for _, kv := range missing(attributesOf(one), wanted) {
			value, there := attributesOf(one)[string(kv.Key)]
			want := arrived(kv.Value)
			if there && fmt.Sprint(value) == fmt.Sprint(want) {
				lines = append(lines, fmt.Sprintf("\n    %s=%s; there is one with %s=%s", kv.Key, typed(want), kv.Key,
					typed(value)))
			}
		}
		if lines != nil {
			return strings.Join(lines, "")
		}
	}
	return ""
}

// typed formats a value with its type, as package attribute names it.
func typed(value any) string {
	switch v := value.(type) {
	case string:
		return fmt.Sprintf("%q (STRING)", v)
	case int64:
		return fmt.Sprintf("%d (INT64)", v)
	case float64:
		return fmt.Sprintf("%v (FLOAT64)", v)
	case bool:
		return fmt.Sprintf("%t (BOOL)", v)
	}
	return fmt.Sprintf("%s (%T)", show(value), value)
}

// arrived converts a value to what a receiver of OTLP decodes.
func arrived(v attribute.Value) any {
	switch v.Type() {
	case attribute.SLICE:
		return anys(each(v.AsSlice(), arrived))
	case attribute.MAP:
		return attributeMap(v.AsMap())
	case attribute.BOOLSLICE:
		return anys(v.AsBoolSlice())
	case attribute.INT64SLICE:
		return anys(v.AsInt64Slice())
	case attribute.FLOAT64SLICE:
		return anys(v.AsFloat64Slice())
	case attribute.STRINGSLICE:
		return anys(v.AsStringSlice())
	}
	return v.AsInterface()
}

func anys[T any](values []T) []any {
	all := make([]any, len(values)) // not nil: an empty list differs from an empty value
	for i, v := range values {
		all[i] = v
	}
	return all
}

func attributeMap(attributes []attribute.KeyValue) map[string]any {
	m := make(map[string]any, len(attributes))
	for _, kv := range attributes {
		m[string(kv.Key)] = arrived(kv.Value)
	}
	return m
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// needsQuotes reports whether text could be mistaken for more or less than one value on a line.
func needsQuotes(text string) bool {
	return text == "" || strings.ContainsFunc(text,
		func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '"' })
}
