package batch_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/batch"
)

// spanExporter is a span exporter that a test can hold.
type spanExporter struct {
	mu       sync.Mutex
	names    []string
	hold     chan struct{}
	shutdown func(context.Context) error
}

func (e *spanExporter) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	if e.hold != nil {
		<-e.hold
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, span := range spans {
		e.names = append(e.names, span.Name())
	}
	return nil
}

func (e *spanExporter) Shutdown(ctx context.Context) error {
	if e.shutdown == nil {
		return nil
	}
	return e.shutdown(ctx)
}

func TestSpansThroughTheSDK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out spanExporter
		p, err := batch.NewSpanProcessor(batch.Config{}, &out)
		require.NoError(t, err)
		tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p))
		ctx, parent := tp.Tracer("t").Start(t.Context(), "parent")
		_, child := tp.Tracer("t").Start(ctx, "child")
		child.End()
		parent.End()
		p.OnEnd(tracetest.SpanStub{Name: "not sampled"}.Snapshot())

		require.NoError(t, tp.ForceFlush(t.Context()))
		require.Equal(t, []string{"child", "parent"}, out.names)
		require.EqualValues(t, 2, p.Snapshot().Accepted)
		require.NoError(t, tp.Shutdown(t.Context()))
		balanced(t, p.Snapshot())
	})
}

func TestErrorSpansGetTheLastEighth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := spanExporter{hold: make(chan struct{})}
		p, err := batch.NewSpanProcessor(batch.Config{MaxQueueSize: 80, MaxExportBatchSize: 1, MaxConcurrentExports: 1},
			&out)
		require.NoError(t, err)
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p)).Tracer("t")
		for i := range 100 {
			_, span := tracer.Start(t.Context(), "ok")
			if i >= 80 {
				span.SetStatus(codes.Error, "boom")
			}
			span.End()
		}
		s := p.Snapshot()
		require.EqualValues(t, 81, s.Queued, "one in flight, 70, and the last eighth")
		require.EqualValues(t, 19, s.Dropped.QueueFull)
		close(out.hold)
		require.NoError(t, p.Shutdown(t.Context()))
		failed := 0
		for _, name := range out.names {
			require.Equal(t, "ok", name)
			failed++
		}
		require.Equal(t, 81, failed)
	})
}

// A span weighs what is in it, wherever it is: 8 spans of 1 MiB do not get into a queue of 4 MiB.
func TestSpansAreWeighed(t *testing.T) {
	mebibyte := strings.Repeat("x", 1<<20)
	for name, heavy := range map[string]func(trace.Span){
		"attribute":  func(s trace.Span) { s.SetAttributes(attribute.String("k", mebibyte)) },
		"key":        func(s trace.Span) { s.SetAttributes(attribute.Bool(mebibyte, true)) },
		"slice":      func(s trace.Span) { s.SetAttributes(attribute.StringSlice("k", []string{"", mebibyte})) },
		"numbers":    func(s trace.Span) { s.SetAttributes(attribute.Int64Slice("k", make([]int64, 1<<17))) },
		"floats":     func(s trace.Span) { s.SetAttributes(attribute.Float64Slice("k", make([]float64, 1<<17))) },
		"bools":      func(s trace.Span) { s.SetAttributes(attribute.BoolSlice("k", make([]bool, 1<<20))) },
		"event":      func(s trace.Span) { s.AddEvent("e", trace.WithAttributes(attribute.String("k", mebibyte))) },
		"event name": func(s trace.Span) { s.AddEvent(mebibyte) },
		"error":      func(s trace.Span) { s.RecordError(errors.New(mebibyte)) },
		"link": func(s trace.Span) {
			s.AddLink(trace.Link{Attributes: []attribute.KeyValue{attribute.String("k", mebibyte)}})
		},
		"status":      func(s trace.Span) { s.SetStatus(codes.Error, mebibyte) },
		"name":        func(s trace.Span) { s.SetName(mebibyte) },
		"name (stub)": nil, // a span that is not the SDK's own
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := spanExporter{hold: make(chan struct{})}
				p, err := batch.NewSpanProcessor(batch.Config{MaxQueueBytes: 4 << 20, MaxConcurrentExports: 1}, &out)
				require.NoError(t, err)
				tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p)).Tracer("t")
				for range 8 {
					if heavy == nil {
						p.OnEnd(tracetest.SpanStub{Name: mebibyte, SpanContext: sampledContext()}.Snapshot())
						continue
					}
					_, span := tracer.Start(t.Context(), "heavy")
					heavy(span)
					span.End()
				}
				s := p.Snapshot()
				require.EqualValues(t, 3, s.Queued, "with what else is in a span, three of 1 MiB fit in 4")
				require.EqualValues(t, 5, s.Dropped.BytesFull)
				require.InDelta(t, 3<<20, s.QueuedBytes, 10<<10)
				close(out.hold)
				require.NoError(t, p.Shutdown(t.Context()))
				balanced(t, p.Snapshot())
			})
		})
	}
}

func sampledContext() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1},
		TraceFlags: trace.FlagsSampled})
}

// chained is an error whose methods, except Error, panic on a nil pointer.
type chained struct{ cause error }

func (*chained) Error() string   { return "chained" }
func (c *chained) Unwrap() error { return c.cause }

func TestExporterIsShutDownWithItsProcessor(t *testing.T) {
	for _, tt := range []struct {
		name     string
		shutdown func(context.Context) error
		want     string
		took     time.Duration
	}{
		{"well", nil, "", 0},
		{"error", func(context.Context) error { return errors.New("disk full") }, "disk full", 0},
		{"obeys its context", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "", time.Second},
		{"does not", func(context.Context) error { time.Sleep(time.Hour); return nil },
			"the exporter did not shut down in time", time.Second + 50*time.Millisecond},
		{"panics", func(context.Context) error { panic("boom") }, "the exporter panicked: boom", 0},
		{"nil pointer", func(context.Context) error { return (*chained)(nil) }, "chained", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				out := spanExporter{shutdown: func(ctx context.Context) error {
					calls.Add(1)
					if tt.shutdown == nil {
						return nil
					}
					return tt.shutdown(ctx)
				}}
				p, err := batch.NewSpanProcessor(batch.Config{}, &out)
				require.NoError(t, err)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start := time.Now()
				err = p.Shutdown(ctx)
				require.Equal(t, tt.took, time.Since(start))
				if tt.want == "" {
					require.NoError(t, err)
				} else {
					require.EqualError(t, err, tt.want)
				}
				_ = p.Shutdown(t.Context())
				require.EqualValues(t, 1, calls.Load(), "once")
				time.Sleep(2 * time.Hour) // for the one that does not obey
			})
		})
	}
}

type logExporter struct {
	mu     sync.Mutex
	bodies []string
	hold   chan struct{}
}

func (e *logExporter) Export(_ context.Context, records []sdklog.Record) error {
	if e.hold != nil {
		<-e.hold
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range records {
		e.bodies = append(e.bodies, r.Body().AsString())
	}
	return nil
}
func (*logExporter) Shutdown(context.Context) error   { return nil }
func (*logExporter) ForceFlush(context.Context) error { return nil }

func TestRecordsThroughTheSDK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := logExporter{hold: make(chan struct{})}
		p, err := batch.NewLogProcessor(batch.Config{MaxQueueSize: 80, MaxExportBatchSize: 1, MaxConcurrentExports: 1},
			&out)
		require.NoError(t, err)
		lp := sdklog.NewLoggerProvider(sdklog.WithProcessor(p))
		for i := range 101 {
			var r log.Record
			r.SetSeverity(log.SeverityWarn4)
			if i >= 80 {
				r.SetSeverity(log.SeverityError)
			}
			r.SetBody(attribute.StringValue("placed"))
			lp.Logger("t").Emit(t.Context(), r)
		}
		s := p.Snapshot()
		require.EqualValues(t, 81, s.Queued, "one in flight, 70, and the last eighth for errors")
		require.EqualValues(t, 20, s.Dropped.QueueFull)
		close(out.hold)
		require.NoError(t, lp.ForceFlush(t.Context()))
		require.Len(t, out.bodies, 81)
		require.NoError(t, lp.Shutdown(t.Context()))
		balanced(t, p.Snapshot())
	})
}

// Later processors may change a record, which must not reach the export.
func TestRecordsAreCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out logExporter
		p, err := batch.NewLogProcessor(batch.Config{}, &out)
		require.NoError(t, err)
		r := testRecord(log.SeverityInfo, "before")
		require.NoError(t, p.OnEmit(t.Context(), &r))
		r.SetBody(attribute.StringValue("after"))
		require.NoError(t, p.Shutdown(t.Context()))
		require.Equal(t, []string{"before"}, out.bodies)
		require.NoError(t, p.OnEmit(t.Context(), &r))
		require.EqualValues(t, 1, p.Snapshot().Dropped.Shutdown)
	})
}

func TestRecordsAreWeighed(t *testing.T) {
	mebibyte := strings.Repeat("x", 1<<20)
	for name, heavy := range map[string]func(*log.Record){
		"body":      func(r *log.Record) { r.SetBody(attribute.StringValue(mebibyte)) },
		"body map":  func(r *log.Record) { r.SetBody(attribute.MapValue(attribute.String("k", mebibyte))) },
		"body list": func(r *log.Record) { r.SetBody(attribute.SliceValue(attribute.StringValue(mebibyte))) },
		"bytes":     func(r *log.Record) { r.SetBody(attribute.ByteSliceValue([]byte(mebibyte))) },
		"attribute": func(r *log.Record) { r.AddAttributes(attribute.String("k", mebibyte)) },
		"event":     func(r *log.Record) { r.SetEventName(mebibyte) },
		"severity":  func(r *log.Record) { r.SetSeverityText(mebibyte) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := logExporter{hold: make(chan struct{})}
				p, err := batch.NewLogProcessor(batch.Config{MaxQueueBytes: 4 << 20, MaxConcurrentExports: 1}, &out)
				require.NoError(t, err)
				logger := sdklog.NewLoggerProvider(sdklog.WithProcessor(p)).Logger("t")
				for range 8 {
					var r log.Record
					heavy(&r)
					logger.Emit(t.Context(), r)
				}
				require.EqualValues(t, 3, p.Snapshot().Queued)
				require.EqualValues(t, 5, p.Snapshot().Dropped.BytesFull)
				close(out.hold)
				require.NoError(t, p.Shutdown(t.Context()))
				balanced(t, p.Snapshot())
			})
		})
	}
}
