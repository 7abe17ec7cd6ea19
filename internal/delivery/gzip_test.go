package delivery_test

import (
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spanRequest is a request of n spans as a shop's HTTP service sends them: random identifiers,
// increasing times, few names, some free text.
func spanRequest(n int) *coltracepb.ExportTraceServiceRequest {
	var (
		rnd    = rand.New(rand.NewPCG(1, 2))
		now    = uint64(1_700_000_000_000_000_000)
		routes = []string{"/cart/{id}", "/checkout", "/orders/{id}", "/products/{sku}", "/search"}
		spans  = make([]*tracepb.Span, n)
	)
	id := func(size int) []byte {
		b := make([]byte, 16)
		binary.BigEndian.PutUint64(b, rnd.Uint64())
		binary.BigEndian.PutUint64(b[8:], rnd.Uint64())
		return b[:size]
	}
	for i := range spans {
		route := routes[rnd.IntN(len(routes))]
		now += rnd.Uint64N(1_000_000)
		spans[i] = &tracepb.Span{
			TraceId: id(16), SpanId: id(8), ParentSpanId: id(8), Flags: 0x101,
			Name: "GET " + route, Kind: tracepb.Span_SPAN_KIND_SERVER,
			StartTimeUnixNano: now, EndTimeUnixNano: now + rnd.Uint64N(200_000_000),
			Attributes: []*commonpb.KeyValue{
				text("http.request.method", "GET"),
				text("http.route", route),
				text("url.path", fmt.Sprintf("/cart/%d", rnd.IntN(1_000_000))),
				text("client.address", fmt.Sprintf("10.%d.%d.%d", rnd.IntN(4), rnd.IntN(256), rnd.IntN(256))),
				number("http.response.status_code", int64(200+rnd.IntN(3)*100)),
				number("server.port", 8080),
			},
		}
	}
	return &coltracepb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{
			text("service.name", "checkout"), text("service.version", "1.2.3"),
			text("k8s.pod.name", "checkout-5d9f-x2x"),
		}},
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: &commonpb.InstrumentationScope{Name: "otelhttp"}, Spans: spans}},
	}}}
}

func text(k, v string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: k, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}}
}

func number(k string, v int64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: k, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: v}}}
}

// BenchmarkGzip compares libraries and levels for a request of 1,024 spans. It decides gzipLevel
// and the library in gzip.go; "ratio" is compressed/plain.
func BenchmarkGzip(b *testing.B) {
	payload, err := proto.Marshal(spanRequest(1024))
	require.NoError(b, err)
	type writer interface {
		io.WriteCloser
		Reset(io.Writer)
	}
	run := func(name string, level int, create func(io.Writer, int) (writer, error)) {
		b.Run(fmt.Sprintf("%s/level=%d", name, level), func(b *testing.B) {
			var size counter
			w, err := create(&size, level)
			require.NoError(b, err)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				size = 0
				w.Reset(&size)
				_, err = w.Write(payload)
				require.NoError(b, err)
				require.NoError(b, w.Close())
			}
			b.ReportMetric(float64(size)/float64(len(payload)), "ratio")
		})
	}
	for _, level := range []int{gzip.HuffmanOnly, 1, 2, 3, 4, 5, gzip.DefaultCompression} {
		run("stock", level, func(w io.Writer, l int) (writer, error) { return gzip.NewWriterLevel(w, l) })
	}
	for _, level := range []int{kgzip.StatelessCompression, kgzip.HuffmanOnly, 1, 2, 3, 4, 5,
		kgzip.DefaultCompression} {
		run("klauspost", level, func(w io.Writer, l int) (writer, error) { return kgzip.NewWriterLevel(w, l) })
	}
}

// BenchmarkGzipSmall compares what is kept with what is not for small requests. It decides
// smallRequest in gzip.go.
func BenchmarkGzipSmall(b *testing.B) {
	for _, spans := range []int{1, 10, 40, 120, 256} {
		payload, err := proto.Marshal(spanRequest(spans))
		require.NoError(b, err)
		for name, level := range map[string]int{"pooled": 2, "stateless": kgzip.StatelessCompression} {
			b.Run(fmt.Sprintf("bytes=%d/%s", len(payload), name), func(b *testing.B) {
				var size counter
				zw, err := kgzip.NewWriterLevel(&size, level)
				require.NoError(b, err)
				b.ReportAllocs()
				for b.Loop() {
					size = 0
					zw.Reset(&size)
					_, err = zw.Write(payload)
					require.NoError(b, err)
					require.NoError(b, zw.Close())
				}
				b.ReportMetric(float64(size)/float64(len(payload)), "ratio")
			})
		}
	}
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
