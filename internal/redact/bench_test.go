package redact_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// request is what a span of a request has.
var request = []attribute.KeyValue{
	attribute.String("http.request.method", "GET"),
	attribute.String("http.route", "/orders/{id}"),
	attribute.Int("http.response.status_code", 200),
	attribute.String("url.path", "/orders/123456"),
	attribute.Int("server.port", 8080),
}

func recorded(tb testing.TB, attrs ...attribute.KeyValue) []sdktrace.ReadOnlySpan {
	tb.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	_, span := provider.Tracer("test").Start(context.Background(), "GET /orders/{id}")
	span.SetAttributes(attrs...)
	span.End()
	require.NoError(tb, provider.Shutdown(context.Background()))
	return recorder.Ended()
}

// A span without anything to mask costs no memory.
func TestNothingToMaskAllocatesNothing(t *testing.T) {
	r := defaults(t)
	spans := recorded(t, request...)
	require.Zero(t, testing.AllocsPerRun(100, func() { r.Spans(spans) }))
	for _, text := range []string{
		"order 17 shipped to +49 151 12345678 at 12:30:45, ref 550e8400-e29b-41d4-a716-446655440000",
		"SELECT id FROM orders WHERE customer = $1 AND state = 'open' LIMIT 100000000000",
		"https://shop.example/orders?id=17&page=2",
	} {
		require.Zero(t, testing.AllocsPerRun(100, func() { r.Text(text) }), text)
	}
}

func BenchmarkSpan(b *testing.B) {
	r := defaults(b)
	for name, attrs := range map[string][]attribute.KeyValue{
		"clean": request,
		"card":  append([]attribute.KeyValue{attribute.String("note", "paid with 4111 1111 1111 1111")}, request...),
		"url": append([]attribute.KeyValue{attribute.String("url.full",
			"https://shop.example:8443/orders/123456?page=2&sort=price")}, request...),
	} {
		b.Run(name, func(b *testing.B) {
			spans := recorded(b, attrs...)
			b.ReportAllocs()
			for b.Loop() {
				one := [1]sdktrace.ReadOnlySpan{spans[0]}
				r.Spans(one[:])
			}
		})
	}
}

func BenchmarkText(b *testing.B) {
	r := defaults(b)
	for name, text := range map[string]string{
		"path":     "/orders/123456",
		"sentence": "order 123456 was placed by customer 4711 and will be shipped tomorrow",
		"url":      "https://shop.example:8443/orders/123456?page=2&sort=price",
		"uuid":     "550e8400-e29b-41d4-a716-446655440000",
		"json":     `{"order":123456,"items":[{"sku":"A-1","count":2},{"sku":"B-7","count":1}],"total":"12.50"}`,
		"card":     "paid with 4111 1111 1111 1111",
		"1MiB":     strings.Repeat("order 123456 was placed by customer 4711. ", 1<<20/42),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				r.Text(text)
			}
		})
	}
}
