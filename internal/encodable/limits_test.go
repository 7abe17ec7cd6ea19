package encodable_test

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
	"unsafe"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/encodable"
	"github.com/fleetotel/telemetry/internal/peek"
)

var limits = encodable.Limits{Length: 10}

func TestValuesAtTheLimitAndOnePastIt(t *testing.T) {
	elements := func(v attribute.Value) int {
		switch v.Type() {
		case attribute.BOOLSLICE:
			return len(v.AsBoolSlice())
		case attribute.INT64SLICE:
			return len(v.AsInt64Slice())
		case attribute.FLOAT64SLICE:
			return len(v.AsFloat64Slice())
		case attribute.STRINGSLICE:
			return len(v.AsStringSlice())
		case attribute.SLICE:
			n := len(v.AsSlice())
			for _, item := range v.AsSlice() {
				if item.Type() == attribute.SLICE {
					n += len(item.AsSlice())
				}
			}
			return n
		case attribute.MAP:
			return len(v.AsMap())
		case attribute.STRING:
			return utf8.RuneCountInString(v.AsString())
		}
		return len(v.AsByteSlice())
	}
	keys := func(n int) (members []attribute.KeyValue) {
		for i := range n {
			members = append(members, attribute.Int(strings.Repeat("k", 1+i%7)+string(rune('a'+i%26))+
				strings.Repeat("x", i/26), i))
		}
		return members
	}
	for name, tc := range map[string]struct {
		bound int
		make  func(n int) attribute.Value
	}{
		"text":  {10, func(n int) attribute.Value { return attribute.StringValue(strings.Repeat("ä", n)) }},
		"bytes": {10, func(n int) attribute.Value { return attribute.ByteSliceValue(make([]byte, n)) }},
		"booleans": {encodable.MaxElements,
			func(n int) attribute.Value { return attribute.BoolSliceValue(make([]bool, n)) }},
		"integers": {encodable.MaxElements,
			func(n int) attribute.Value { return attribute.Int64SliceValue(make([]int64, n)) }},
		"floats": {encodable.MaxElements,
			func(n int) attribute.Value { return attribute.Float64SliceValue(make([]float64, n)) }},
		"texts": {encodable.MaxElements,
			func(n int) attribute.Value { return attribute.StringSliceValue(make([]string, n)) }},
		"values": {encodable.MaxElements, func(n int) attribute.Value {
			return attribute.SliceValue(make([]attribute.Value, n)...)
		}},
		"values in values": {encodable.MaxElements, func(n int) attribute.Value {
			return attribute.SliceValue(attribute.SliceValue(make([]attribute.Value, n-1)...))
		}},
		"members": {encodable.MaxElements, func(n int) attribute.Value { return attribute.MapValue(keys(n)...) }},
		"text in a slice": {10, func(n int) attribute.Value {
			return attribute.SliceValue(attribute.StringValue(strings.Repeat("x", n)))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			count := elements
			if name == "text in a slice" {
				count = func(v attribute.Value) int { return len(v.AsSlice()[0].AsString()) }
			}
			at := []attribute.KeyValue{{Key: "v", Value: tc.make(tc.bound)}}
			kept, _ := limits.Attributes(at)
			require.Equal(t, tc.bound, count(kept[0].Value))
			below := []attribute.KeyValue{{Key: "v", Value: tc.make(tc.bound - 1)}}
			_, changed := limits.Attributes(below)
			require.False(t, changed)
			past := []attribute.KeyValue{attribute.Int("n", 1), {Key: "v", Value: tc.make(tc.bound + 1)}}
			kept, changed = limits.Attributes(past)
			require.True(t, changed)
			require.Equal(t, tc.bound, count(kept[1].Value))
			require.Equal(t, tc.bound+1, count(past[1].Value), "what was given stays")
			require.Equal(t, past[0], kept[0])
		})
	}
}

func TestBytesOfASliceAtTheLimitAndOnePastIt(t *testing.T) {
	l := encodable.Limits{Length: encodable.MaxText}
	const bound = 4 * encodable.MaxText
	texts := []string{strings.Repeat("a", bound/8), strings.Repeat("ä", bound/16)}
	for range 6 {
		texts = append(texts, texts[1])
	}
	size := func(attrs []attribute.KeyValue) (n int) {
		for _, s := range attrs[0].Value.AsStringSlice() {
			n += len(s)
			require.True(t, utf8.ValidString(s))
		}
		return n
	}
	kept, changed := l.Attributes([]attribute.KeyValue{attribute.StringSlice("s", texts)})
	require.False(t, changed)
	require.Equal(t, bound, size(kept))
	kept, changed = l.Attributes([]attribute.KeyValue{attribute.StringSlice("s", append([]string{"x"}, texts...))})
	require.True(t, changed)
	require.Equal(t, bound-1, size(kept), "no character is cut in two")
}

func TestWithoutALimitOfLengthElementsAreLimitedAllTheSame(t *testing.T) {
	l := encodable.Limits{Length: -1}
	kept, changed := l.Attributes([]attribute.KeyValue{attribute.String("s", strings.Repeat("x", 1<<20)),
		attribute.BoolSlice("b", make([]bool, 5000))})
	require.True(t, changed)
	require.Len(t, kept[0].Value.AsString(), 1<<20)
	require.Len(t, kept[1].Value.AsBoolSlice(), encodable.MaxElements)
}

// What the SDK has cut is a part of the whole, and a copy afterwards.
func TestWhatIsCutIsCopied(t *testing.T) {
	whole := strings.Repeat("x", 1<<20)
	kept, changed := limits.Attributes([]attribute.KeyValue{attribute.String("s", whole[:10])})
	require.True(t, changed)
	require.False(t, unsafe.StringData(whole) == unsafe.StringData(kept[0].Value.AsString()))
	many := make([]attribute.KeyValue, 1000)
	kept, changed = limits.Attributes(many[:3])
	require.True(t, changed, "a part of a long slice")
	require.Less(t, cap(kept), 10)
	require.True(t, unsafe.StringData(whole) == unsafe.StringData(encodable.Part(whole[:10], 200)))
	require.False(t, unsafe.StringData(whole) == unsafe.StringData(encodable.Part(whole[:10], len(whole))))
}

func TestLimitsOfASpan(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	long := strings.Repeat("x", encodable.MaxText+1)
	attrs := []attribute.KeyValue{attribute.String("v", strings.Repeat("v", 11))}
	link := trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1},
		SpanID: trace.SpanID{1}}), Attributes: attrs}
	_, span := provider.Tracer("scope").Start(context.Background(), long, trace.WithAttributes(attrs...),
		trace.WithLinks(link))
	span.AddEvent(long, trace.WithAttributes(attrs...))
	span.SetStatus(codes.Error, long)
	span.End()
	given := recorder.Ended()[0]
	limited := limits.Span(given, &peek.Spans{})
	require.Len(t, limited.Name(), encodable.MaxText)
	require.Len(t, limited.Status().Description, encodable.MaxText)
	require.Len(t, limited.Events()[0].Name, encodable.MaxText)
	for _, attrs := range [][]attribute.KeyValue{limited.Attributes(), limited.Events()[0].Attributes,
		limited.Links()[0].Attributes} {
		require.Equal(t, "vvvvvvvvvv", attrs[0].Value.AsString())
	}
	require.Equal(t, "scope", limited.InstrumentationScope().Name)
	stub := tracetest.SpanStubFromReadOnlySpan(given)
	stub.Name, stub.Attributes, stub.Events, stub.Links, stub.Status.Description = limited.Name(), limited.Attributes(),
		limited.Events(), limited.Links(), limited.Status().Description
	require.Equal(t, stub, tracetest.SpanStubFromReadOnlySpan(limited), "the rest is the span's")
	for i := range reflect.TypeFor[sdktrace.ReadOnlySpan]().NumMethod() {
		if method := reflect.TypeFor[sdktrace.ReadOnlySpan]().Method(i); method.IsExported() {
			require.NotPanics(t, func() { reflect.ValueOf(limited).MethodByName(method.Name).Call(nil) }, method.Name)
		}
	}
	require.Len(t, given.Name(), encodable.MaxText+1, "the span itself stays")
	require.Len(t, given.Attributes()[0].Value.AsString(), 11)

	look := &peek.Spans{}
	usual := spans(t, 1, attribute.String("a", "b"))[0]
	require.Same(t, usual, limits.Span(usual, look))
	require.Zero(t, testing.AllocsPerRun(100, func() { limits.Span(usual, look) }))
}

func TestLimitsOfMeasurements(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	meter := limits.MeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))).Meter("m")
	ctx := context.Background()
	whole := strings.Repeat("x", 1<<20)
	set := metric.WithAttributes(attribute.String("v", whole), attribute.Int("n", 1))
	i1, err := meter.Int64Counter("i1")
	require.NoError(t, err)
	i1.Add(ctx, 1, set, metric.WithAttributes(attribute.String("w", whole)))
	i1.Add(ctx, 1, metric.WithAttributes(attribute.String("v", whole[:10]), attribute.Int("n", 1),
		attribute.String("w", whole)))
	i2, err := meter.Int64UpDownCounter("i2")
	require.NoError(t, err)
	i2.Add(ctx, 1, set)
	i3, err := meter.Int64Histogram("i3")
	require.NoError(t, err)
	i3.Record(ctx, 1, set)
	i4, err := meter.Int64Gauge("i4")
	require.NoError(t, err)
	i4.Record(ctx, 1, set)
	f1, err := meter.Float64Counter("f1")
	require.NoError(t, err)
	f1.Add(ctx, 1, set)
	f2, err := meter.Float64UpDownCounter("f2")
	require.NoError(t, err)
	f2.Add(ctx, 1, set)
	f3, err := meter.Float64Histogram("f3")
	require.NoError(t, err)
	f3.Record(ctx, 1, set)
	f4, err := meter.Float64Gauge("f4")
	require.NoError(t, err)
	f4.Record(ctx, 1, set)
	_, err = meter.Int64ObservableGauge("observed",
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(1, set)
			return nil
		}))
	require.NoError(t, err)
	_, err = meter.Int64Counter("no name!")
	require.Error(t, err)
	require.True(t, i1.Enabled(ctx))

	var rm metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(ctx, &rm))
	require.Len(t, rm.ScopeMetrics[0].Metrics, 9)
	limits.Metrics(&rm)
	for _, m := range rm.ScopeMetrics[0].Metrics {
		sets := setsOf(m.Data)
		require.Len(t, sets, 1, m.Name)
		v, _ := sets[0].Value("v")
		require.Equal(t, "xxxxxxxxxx", v.AsString(), m.Name)
		n, _ := sets[0].Value("n")
		require.EqualValues(t, 1, n.AsInt64())
	}
}

func setsOf(data metricdata.Aggregation) (sets []attribute.Set) {
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		sets = append(sets, d.DataPoints[0].Attributes)
	case metricdata.Sum[float64]:
		sets = append(sets, d.DataPoints[0].Attributes)
	case metricdata.Gauge[int64]:
		sets = append(sets, d.DataPoints[0].Attributes)
	case metricdata.Gauge[float64]:
		sets = append(sets, d.DataPoints[0].Attributes)
	case metricdata.Histogram[int64]:
		sets = append(sets, d.DataPoints[0].Attributes)
	case metricdata.Histogram[float64]:
		sets = append(sets, d.DataPoints[0].Attributes)
	}
	return sets
}

// BenchmarkLimits is the price of the look at items in which nothing is beyond the limits.
func BenchmarkLimits(b *testing.B) {
	l := encodable.Limits{Length: encodable.MaxText}
	attrs := []attribute.KeyValue{
		attribute.String("http.request.method", "GET"), attribute.String("http.route", "/orders/{id}"),
		attribute.Int("http.response.status_code", 200), attribute.String("url.path", "/orders/4711"),
		attribute.Int("server.port", 8080)}
	b.Run("span", func(b *testing.B) {
		span, look := spans(b, 1, attrs...)[0], &peek.Spans{}
		b.ReportAllocs()
		for b.Loop() {
			l.Span(span, look)
		}
	})
	sdk := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	opts := []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attrs...))}
	for name, provider := range map[string]metric.MeterProvider{"add/sdk": sdk, "add/limited": l.MeterProvider(sdk)} {
		counter, _ := provider.Meter("m").Int64Counter("c")
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				counter.Add(context.Background(), 1, opts...)
			}
		})
	}
}
