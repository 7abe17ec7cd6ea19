package batch_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/batch"
)

// The queue and batch of ProfileService, for both processors.
const benchQueue, benchBatch = 8192, 1024

// BenchmarkOnEnd compares the hot path with the stock processor's, with one goroutine and with two:
//
//	taken  every span finds a place: the exporter catches up after each burst, off the clock
//	flood  as fast as possible; "taken/op" is the share that was not dropped
//	full   the exporter hangs, and every span is dropped
//
// The stock processor counts no sizes and, unless asked for it, no spans.
func BenchmarkOnEnd(b *testing.B) {
	span := endedSpan(b)
	for _, mode := range []string{"taken", "flood", "full"} {
		for _, goroutines := range []int{1, 2} {
			run := func(name string, create func(*sink) sdktrace.SpanProcessor) {
				b.Run(fmt.Sprintf("%s/%d/%s", mode, goroutines, name), func(b *testing.B) {
					s := newSink(mode == "full")
					p := create(s)
					bench(b, mode, goroutines, s, func() { p.OnEnd(span) }, p.ForceFlush)
					s.finish(b, p.Shutdown)
				})
			}
			run("stock", func(s *sink) sdktrace.SpanProcessor {
				return sdktrace.NewBatchSpanProcessor(spanSink{s}, sdktrace.WithMaxQueueSize(benchQueue),
					sdktrace.WithMaxExportBatchSize(benchBatch))
			})
			run("ours", func(s *sink) sdktrace.SpanProcessor {
				p, err := batch.NewSpanProcessor(batch.Config{MaxQueueSize: benchQueue, MaxExportBatchSize: benchBatch},
					spanSink{s})
				require.NoError(b, err)
				return p
			})
		}
	}
}

// BenchmarkOnEmit is BenchmarkOnEnd for log records with three attributes.
func BenchmarkOnEmit(b *testing.B) {
	ctx := context.Background()
	for _, mode := range []string{"taken", "flood", "full"} {
		for _, goroutines := range []int{1, 2} {
			run := func(name string, create func(*sink) sdklog.Processor) {
				b.Run(fmt.Sprintf("%s/%d/%s", mode, goroutines, name), func(b *testing.B) {
					s := newSink(mode == "full")
					p := create(s)
					record := testRecord(log.SeverityInfo, "order placed")
					bench(b, mode, goroutines, s, func() { _ = p.OnEmit(ctx, &record) }, p.ForceFlush)
					s.finish(b, p.Shutdown)
				})
			}
			run("stock", func(s *sink) sdklog.Processor {
				return sdklog.NewBatchProcessor(logSink{s}, sdklog.WithMaxQueueSize(benchQueue),
					sdklog.WithExportMaxBatchSize(benchBatch))
			})
			run("ours", func(s *sink) sdklog.Processor {
				p, err := batch.NewLogProcessor(batch.Config{MaxQueueSize: benchQueue, MaxExportBatchSize: benchBatch},
					logSink{s})
				require.NoError(b, err)
				return p
			})
		}
	}
}

// bench calls op b.N times, from the given number of goroutines, in bursts that fit the queue if
// mode is "taken".
func bench(b *testing.B, mode string, goroutines int, s *sink, op func(), flush func(context.Context) error) {
	b.Helper()
	burst := b.N
	if mode == "taken" {
		burst = min(burst, benchQueue/2)
	}
	if mode == "full" {
		for range 3 * benchQueue {
			op()
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= burst {
		n := min(burst, left)
		if goroutines == 1 {
			for range n {
				op()
			}
		} else {
			var wg sync.WaitGroup
			for i := range goroutines {
				wg.Go(func() {
					for range (n + i) / goroutines {
						op()
					}
				})
			}
			wg.Wait()
		}
		if mode == "taken" {
			b.StopTimer()
			require.NoError(b, flush(context.Background()))
			b.StartTimer()
		}
	}
}

// endedSpan returns a span as the SDK hands it to OnEnd, with five attributes.
func endedSpan(tb testing.TB) sdktrace.ReadOnlySpan {
	tb.Helper()
	var keep keeper
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(&keep))
	_, span := tp.Tracer("bench").Start(context.Background(), "GET /cart/{id}")
	span.SetAttributes(attribute.String("http.request.method", "GET"), attribute.String("http.route", "/cart/{id}"),
		attribute.Int("http.response.status_code", 200), attribute.String("url.path", "/cart/4711"),
		attribute.Int("server.port", 8080))
	span.End()
	require.NotNil(tb, keep.span)
	return keep.span
}

type keeper struct{ span sdktrace.ReadOnlySpan }

func (*keeper) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (k *keeper) OnEnd(s sdktrace.ReadOnlySpan)                 { k.span = s }
func (*keeper) ForceFlush(context.Context) error                { return nil }
func (*keeper) Shutdown(context.Context) error                  { return nil }

func testRecord(severity log.Severity, body string) sdklog.Record {
	var r keepRecord
	lp := sdklog.NewLoggerProvider(sdklog.WithProcessor(&r))
	var record log.Record
	record.SetSeverity(severity)
	record.SetBody(attribute.StringValue(body))
	record.AddAttributes(attribute.String("order.id", "12345"), attribute.Int("items", 3),
		attribute.String("currency", "EUR"))
	lp.Logger("bench").Emit(context.Background(), record)
	return r.record
}

type keepRecord struct{ record sdklog.Record }

func (*keepRecord) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (k *keepRecord) OnEmit(_ context.Context, r *sdklog.Record) error {
	k.record = r.Clone()
	return nil
}
func (*keepRecord) ForceFlush(context.Context) error { return nil }
func (*keepRecord) Shutdown(context.Context) error   { return nil }

// sink counts what reaches the exporter.
type sink struct {
	count atomic.Int64
	gate  chan struct{}
}

func newSink(shut bool) *sink {
	s := &sink{}
	if shut {
		s.gate = make(chan struct{})
	}
	return s
}

func (s *sink) take(n int) error {
	if s.gate != nil {
		<-s.gate
	}
	s.count.Add(int64(n))
	return nil
}

func (s *sink) finish(b *testing.B, shutdown func(context.Context) error) {
	b.Helper()
	b.StopTimer()
	if s.gate != nil {
		close(s.gate)
	} else {
		defer func() { b.ReportMetric(float64(s.count.Load())/float64(b.N), "taken/op") }()
	}
	require.NoError(b, shutdown(context.Background()))
}

type spanSink struct{ *sink }

func (s spanSink) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	return s.take(len(spans))
}
func (spanSink) Shutdown(context.Context) error { return nil }

type logSink struct{ *sink }

func (s logSink) Export(_ context.Context, records []sdklog.Record) error {
	return s.take(len(records))
}
func (logSink) Shutdown(context.Context) error   { return nil }
func (logSink) ForceFlush(context.Context) error { return nil }
