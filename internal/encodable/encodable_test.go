package encodable_test

import (
	"context"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	otellog "go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/encodable"
)

// spans are as an SDK makes them, n of them.
func spans(tb testing.TB, n int, attrs ...attribute.KeyValue) []sdktrace.ReadOnlySpan {
	tb.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	tracer := provider.Tracer("go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
		trace.WithInstrumentationVersion("0.72.0"))
	for range n {
		_, span := tracer.Start(context.Background(), "GET /orders/{id}", trace.WithAttributes(attrs...))
		span.End()
	}
	return recorder.Ended()
}

func TestWhatIsSoundStaysTheSame(t *testing.T) {
	batch := spans(t, 3, attribute.String("a", "ä"), attribute.StringSlice("b", []string{"ö"}),
		attribute.Map("m", attribute.String("k", "ü")))
	before := append([]sdktrace.ReadOnlySpan(nil), batch...)
	encodable.Spans(batch)
	for i := range batch {
		require.Same(t, before[i], batch[i])
	}
	require.Zero(t, testing.AllocsPerRun(10, func() { encodable.Spans(batch[:1]) })-copies,
		"the copies of slices and maps only")
	r := resource.NewSchemaless(attribute.String("a", "b"))
	require.Same(t, r, encodable.Resource(r))
}

// copies is what AsStringSlice and AsMap allocate.
const copies = 2

func TestTheSpanItselfDoesNotChange(t *testing.T) {
	batch := spans(t, 1, attribute.String("a", "\xff"))
	before := batch[0]
	encodable.Spans(batch)
	require.NotSame(t, before, batch[0])
	require.Equal(t, "\xff", before.Attributes()[0].Value.AsString())
	require.Equal(t, "\ufffd", batch[0].Attributes()[0].Value.AsString())
	again := batch[0]
	encodable.Spans(batch)
	require.Same(t, again, batch[0], "a batch that comes once more is sound already")
}

func TestBoundOfDepth(t *testing.T) {
	nested := func(levels int) attribute.KeyValue {
		kv := attribute.String("k", "leaf")
		for range levels {
			kv = attribute.Map("k", kv)
		}
		return kv
	}
	batch := spans(t, 1, nested(30))
	before := batch[0]
	encodable.Spans(batch)
	require.Same(t, before, batch[0])

	batch = spans(t, 1, nested(31))
	encodable.Spans(batch)
	require.Contains(t, batch[0].Attributes()[0].Value.String(), "!DEPTH: nested more than 30 levels")
	require.NotContains(t, batch[0].Attributes()[0].Value.String(), "leaf")
}

func FuzzSpans(f *testing.F) {
	f.Add("k", "v", "\xff")
	f.Add("\xc3", "\xed\xa0\x80", "ok")
	f.Fuzz(func(t *testing.T, key, a, b string) {
		batch := spans(t, 1, attribute.String(key, a), attribute.StringSlice("s", []string{a, b}),
			attribute.Map(key+"m", attribute.Slice(b, attribute.StringValue(a))))
		encodable.Spans(batch)
		for _, kv := range batch[0].Attributes() {
			require.True(t, utf8.ValidString(string(kv.Key)))
			requireSound(t, kv.Value)
		}
	})
}

func requireSound(t *testing.T, v attribute.Value) {
	t.Helper()
	switch v.Type() {
	case attribute.STRING:
		require.True(t, utf8.ValidString(v.AsString()))
	case attribute.STRINGSLICE:
		for _, s := range v.AsStringSlice() {
			require.True(t, utf8.ValidString(s))
		}
	case attribute.SLICE:
		for _, item := range v.AsSlice() {
			requireSound(t, item)
		}
	case attribute.MAP:
		for _, kv := range v.AsMap() {
			require.True(t, utf8.ValidString(string(kv.Key)))
			requireSound(t, kv.Value)
		}
	}
}

// BenchmarkSpans is the price of the look at spans in which nothing is wrong; a span costs some 12
// µs in all.
func BenchmarkSpans(b *testing.B) {
	batch := spans(b, 1024,
		attribute.String("http.request.method", "GET"), attribute.String("http.route", "/orders/{id}"),
		attribute.Int("http.response.status_code", 200), attribute.String("url.path", "/orders/4711"),
		attribute.Int("server.port", 8080))
	b.ReportAllocs()
	for b.Loop() {
		encodable.Spans(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(batch)), "ns/span")
}

// keepRecords is an exporter that keeps what it gets.
type keepRecords struct {
	sdklog.Exporter
	records []sdklog.Record
}

func (k *keepRecords) Export(_ context.Context, records []sdklog.Record) error {
	for _, r := range records {
		k.records = append(k.records, r.Clone())
	}
	return nil
}

// Attributes that are repaired do not change how many the SDK has dropped.
func TestRepairsKeepTheCountOfDroppedAttributes(t *testing.T) {
	kept := &keepRecords{}
	provider := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewSimpleProcessor(kept)),
		sdklog.WithAttributeCountLimit(2))
	var given otellog.Record
	given.AddAttributes(attribute.String("a", "\xff"), attribute.String("b", "fine"), attribute.String("c", "left out"))
	provider.Logger("t").Emit(t.Context(), given)
	records := kept.records
	require.Equal(t, 1, records[0].DroppedAttributes())
	encodable.Records(records)
	require.Equal(t, 1, records[0].DroppedAttributes())
	var all []attribute.KeyValue
	records[0].WalkAttributes(func(kv attribute.KeyValue) bool { all = append(all, kv); return true })
	require.Equal(t, []attribute.KeyValue{attribute.String("a", "\ufffd"), attribute.String("b", "fine")}, all)
}
