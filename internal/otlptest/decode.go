package otlptest

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// decode turns an export request of any signal into what Spans, LogRecords and Metrics return.
func decode(message proto.Message) (b batch) {
	switch m := message.(type) {
	case *collectortrace.ExportTraceServiceRequest:
		for _, rs := range m.GetResourceSpans() {
			b.spans = append(b.spans, resourceSpans(rs)...)
		}
	case *collectorlogs.ExportLogsServiceRequest:
		for _, rl := range m.GetResourceLogs() {
			b.logs = append(b.logs, resourceLogs(rl)...)
		}
	case *collectormetrics.ExportMetricsServiceRequest:
		for _, rm := range m.GetResourceMetrics() {
			b.metrics = append(b.metrics, resourceMetrics(rm)...)
		}
	}
	return b
}

func resourceSpans(rs *tracepb.ResourceSpans) (spans []Span) {
	for _, scope := range rs.GetScopeSpans() {
		for _, s := range scope.GetSpans() {
			decoded := span(s)
			decoded.Resource, decoded.Scope = attributes(rs.GetResource().GetAttributes()), scopeOf(scope.GetScope())
			decoded.ResourceSchemaURL = rs.GetSchemaUrl()
			spans = append(spans, decoded)
		}
	}
	return spans
}

func resourceLogs(rl *logspb.ResourceLogs) (records []LogRecord) {
	for _, scope := range rl.GetScopeLogs() {
		for _, r := range scope.GetLogRecords() {
			decoded := logRecord(r)
			decoded.Resource, decoded.Scope = attributes(rl.GetResource().GetAttributes()), scopeOf(scope.GetScope())
			records = append(records, decoded)
		}
	}
	return records
}

func resourceMetrics(rm *metricspb.ResourceMetrics) (metrics []Metric) {
	for _, scope := range rm.GetScopeMetrics() {
		for _, m := range scope.GetMetrics() {
			decoded := metric(m)
			decoded.Resource, decoded.Scope = attributes(rm.GetResource().GetAttributes()), scopeOf(scope.GetScope())
			metrics = append(metrics, decoded)
		}
	}
	return metrics
}

func span(s *tracepb.Span) Span {
	return Span{
		TraceID:      hex.EncodeToString(s.GetTraceId()),
		SpanID:       hex.EncodeToString(s.GetSpanId()),
		ParentSpanID: hex.EncodeToString(s.GetParentSpanId()),
		TraceState:   s.GetTraceState(),
		Flags:        s.GetFlags(),
		Name:         s.GetName(),
		Kind:         enum(s.GetKind(), "SPAN_KIND_"),
		Start:        unixNano(s.GetStartTimeUnixNano()),
		End:          unixNano(s.GetEndTimeUnixNano()),
		Attributes:   attributes(s.GetAttributes()),
		Events:       each(s.GetEvents(), event),
		Links:        each(s.GetLinks(), link),
		Status: Status{Code: enum(s.GetStatus().GetCode(), "STATUS_CODE_"),
			Message: s.GetStatus().GetMessage()},
		DroppedAttributes: s.GetDroppedAttributesCount(),
		DroppedEvents:     s.GetDroppedEventsCount(),
		DroppedLinks:      s.GetDroppedLinksCount(),
	}
}

func event(e *tracepb.Span_Event) Event {
	return Event{
		Time:              unixNano(e.GetTimeUnixNano()),
		Name:              e.GetName(),
		Attributes:        attributes(e.GetAttributes()),
		DroppedAttributes: e.GetDroppedAttributesCount(),
	}
}

func link(l *tracepb.Span_Link) Link {
	return Link{
		TraceID:           hex.EncodeToString(l.GetTraceId()),
		SpanID:            hex.EncodeToString(l.GetSpanId()),
		TraceState:        l.GetTraceState(),
		Flags:             l.GetFlags(),
		Attributes:        attributes(l.GetAttributes()),
		DroppedAttributes: l.GetDroppedAttributesCount(),
	}
}

func logRecord(r *logspb.LogRecord) LogRecord {
	return LogRecord{
		Time:              unixNano(r.GetTimeUnixNano()),
		ObservedTime:      unixNano(r.GetObservedTimeUnixNano()),
		Severity:          int(r.GetSeverityNumber()),
		SeverityText:      r.GetSeverityText(),
		Body:              value(r.GetBody()),
		Attributes:        attributes(r.GetAttributes()),
		TraceID:           hex.EncodeToString(r.GetTraceId()),
		SpanID:            hex.EncodeToString(r.GetSpanId()),
		Flags:             r.GetFlags(),
		EventName:         r.GetEventName(),
		DroppedAttributes: r.GetDroppedAttributesCount(),
	}
}

func metric(m *metricspb.Metric) Metric {
	decoded := Metric{Name: m.GetName(), Description: m.GetDescription(), Unit: m.GetUnit()}
	switch data := m.GetData().(type) {
	case *metricspb.Metric_Gauge:
		decoded.Kind, decoded.Points = "gauge", each(data.Gauge.GetDataPoints(), numberPoint)
	case *metricspb.Metric_Sum:
		decoded.Kind, decoded.Points = "sum", each(data.Sum.GetDataPoints(), numberPoint)
		decoded.Temporality, decoded.Monotonic = temporality(data.Sum), data.Sum.GetIsMonotonic()
	case *metricspb.Metric_Histogram:
		decoded.Kind, decoded.Points = "histogram", each(data.Histogram.GetDataPoints(), histogramPoint)
		decoded.Temporality = temporality(data.Histogram)
	case *metricspb.Metric_ExponentialHistogram:
		decoded.Kind, decoded.Points = "exponential_histogram", each(data.ExponentialHistogram.GetDataPoints(),
			exponentialPoint)
		decoded.Temporality = temporality(data.ExponentialHistogram)
	case *metricspb.Metric_Summary:
		decoded.Kind, decoded.Points = "summary", each(data.Summary.GetDataPoints(), summaryPoint)
	}
	return decoded
}

func temporality(m interface {
	GetAggregationTemporality() metricspb.AggregationTemporality
}) string {
	if t := m.GetAggregationTemporality(); t != metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_UNSPECIFIED {
		return enum(t, "AGGREGATION_TEMPORALITY_")
	}
	return ""
}

// point decodes what the data points of all kinds of metrics have in common.
func point(p interface {
	GetAttributes() []*commonpb.KeyValue
	GetStartTimeUnixNano() uint64
	GetTimeUnixNano() uint64
}) Point {
	return Point{
		Attributes: attributes(p.GetAttributes()),
		Start:      unixNano(p.GetStartTimeUnixNano()),
		Time:       unixNano(p.GetTimeUnixNano()),
	}
}

func numberPoint(p *metricspb.NumberDataPoint) Point {
	decoded := point(p)
	decoded.Value, decoded.Exemplars = number(p), each(p.GetExemplars(), exemplar)
	return decoded
}

func histogramPoint(p *metricspb.HistogramDataPoint) Point {
	decoded := point(p)
	decoded.Count, decoded.Sum, decoded.Min, decoded.Max = p.GetCount(), p.GetSum(), p.Min, p.Max
	decoded.Bounds, decoded.BucketCounts = p.GetExplicitBounds(), p.GetBucketCounts()
	decoded.Exemplars = each(p.GetExemplars(), exemplar)
	return decoded
}

func exponentialPoint(p *metricspb.ExponentialHistogramDataPoint) Point {
	decoded := point(p)
	decoded.Count, decoded.Sum, decoded.Min, decoded.Max = p.GetCount(), p.GetSum(), p.Min, p.Max
	decoded.Exemplars = each(p.GetExemplars(), exemplar)
	return decoded
}

func summaryPoint(p *metricspb.SummaryDataPoint) Point {
	decoded := point(p)
	decoded.Count, decoded.Sum = p.GetCount(), p.GetSum()
	return decoded
}

func exemplar(e *metricspb.Exemplar) Exemplar {
	return Exemplar{
		TraceID:    hex.EncodeToString(e.GetTraceId()),
		SpanID:     hex.EncodeToString(e.GetSpanId()),
		Value:      number(e),
		Attributes: attributes(e.GetFilteredAttributes()),
	}
}

// number returns the one of both that is set; the getter of the other returns 0.
func number(n interface {
	GetAsDouble() float64
	GetAsInt() int64
}) float64 {
	return n.GetAsDouble() + float64(n.GetAsInt())
}

func scopeOf(s *commonpb.InstrumentationScope) Scope {
	return Scope{Name: s.GetName(), Version: s.GetVersion(), Attributes: attributes(s.GetAttributes())}
}

func attributes(kvs []*commonpb.KeyValue) map[string]any {
	decoded := make(map[string]any, len(kvs))
	for _, kv := range kvs {
		decoded[kv.GetKey()] = value(kv.GetValue())
	}
	return decoded
}

func value(v *commonpb.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_BoolValue:
		return v.BoolValue
	case *commonpb.AnyValue_IntValue:
		return v.IntValue
	case *commonpb.AnyValue_DoubleValue:
		return v.DoubleValue
	case *commonpb.AnyValue_BytesValue:
		return v.BytesValue
	case *commonpb.AnyValue_ArrayValue:
		return each(v.ArrayValue.GetValues(), value)
	case *commonpb.AnyValue_KvlistValue:
		return attributes(v.KvlistValue.GetValues())
	}
	return nil
}

// enum returns the specification's short name of a value: "server" for SPAN_KIND_SERVER.
func enum(v fmt.Stringer, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(v.String(), prefix))
}

// unixNano decodes a time; 0 means that it is not set.
func unixNano(ns uint64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(ns)).UTC()
}

func each[In, Out any](in []In, f func(In) Out) []Out {
	out := make([]Out, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}
