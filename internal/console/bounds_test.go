package console

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// children starts and ends n spans below ctx, the last of which fails, and logs once in each.
func children(ctx context.Context, w *watched, n int) {
	for i := range n {
		ctx, span := w.tracer.Start(ctx, fmt.Sprint("child ", i+1))
		w.logger.InfoContext(ctx, "in child")
		if i == n-1 {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

func TestSpansOfOneTreeAreBounded(t *testing.T) {
	l := limits{trees: 9, spans: 99, spansPerTree: 5, events: 999, eventsPerTree: 99}
	run := func(n int) string {
		return scenario(t, 80, false, l, func(ctx context.Context, w *watched) {
			ctx, root := w.tracer.Start(ctx, "root")
			children(ctx, w, n)
			root.End()
		})
	}
	atTheBound := run(4)
	require.Contains(t, atTheBound, "5 spans, 1 failed")
	require.Contains(t, atTheBound, "✗ child 4")
	require.NotContains(t, atTheBound, "more")
	beyond := run(5)
	require.Contains(t, beyond, "6 spans, 1 failed")
	require.NotContains(t, beyond, "child 5")
	require.Contains(t, beyond, "… 1 more span, 1 of them failed; 1 more log line or event\n")
	require.Equal(t, 5, strings.Count(beyond, " INFO  "), "each log line was written when it came")
	require.Contains(t, run(204), "… 200 more spans, 1 of them failed; 200 more log lines or events\n")
}

// What is below a span that was only counted is counted too, also behind a call to a server of the
// same process.
func TestSpansBelowUncountedOnes(t *testing.T) {
	output := scenario(t, 80, false, limits{trees: 9, spans: 99, spansPerTree: 2, events: 99, eventsPerTree: 9},
		func(ctx context.Context, w *watched) {
			ctx, root := w.tracer.Start(ctx, "root")
			_, kept := w.tracer.Start(ctx, "kept")
			over, counted := w.tracer.Start(ctx, "counted")
			below, server := w.tracer.Start(remote(over), "server")
			_, leaf := w.tracer.Start(below, "leaf")
			for _, span := range []trace.Span{leaf, server, counted, kept, root} {
				span.End()
			}
		})
	require.Equal(t, 1, strings.Count(output, "TRACE"), output)
	require.Contains(t, output, "… 3 more spans\n")
	require.NotContains(t, output, "LATE")
}

func TestEventsOfOneTreeAreBounded(t *testing.T) {
	run := func(n int) string {
		return scenario(t, 80, false, limits{trees: 9, spans: 99, spansPerTree: 9, events: 99, eventsPerTree: 4},
			func(ctx context.Context, w *watched) {
				ctx, root := w.tracer.Start(ctx, "root")
				for range n {
					w.logger.InfoContext(ctx, "line")
				}
				root.RecordError(errors.New("as event"))
				root.End()
			})
	}
	require.NotContains(t, run(3), "more")
	require.Contains(t, run(3), "as event")
	require.Contains(t, run(4), "… 1 more log line or event\n")
}

// One open request too many prints the oldest as far as it got; what ends of it later is printed
// alone.
func TestOpenTreesAreBounded(t *testing.T) {
	run := func(n int) string {
		return scenario(t, 80, false, limits{trees: 3, spans: 99, spansPerTree: 9, events: 99, eventsPerTree: 9},
			func(ctx context.Context, w *watched) {
				var open []trace.Span
				for i := range n {
					_, span := w.tracer.Start(ctx, fmt.Sprint("request ", i+1))
					open = append(open, span)
					time.Sleep(time.Millisecond)
				}
				for _, span := range open {
					span.End()
				}
			})
	}
	require.NotContains(t, run(3), "room")
	require.Equal(t, 3, strings.Count(run(3), "TRACE"))
	output := run(4)
	require.Equal(t, 1, strings.Count(output, "request 1 unfinished"), output)
	require.Equal(t, 1, strings.Count(output, "… printed unfinished to make room"), output)
	require.Equal(t, 1, strings.Count(output, "LATE "), output)
	for i := range 4 {
		require.Contains(t, output, fmt.Sprint("request ", i+1))
	}
}

func TestEventsOfAllTreesAreBounded(t *testing.T) {
	run := func(n int) string {
		return scenario(t, 80, false, limits{trees: 9, spans: 99, spansPerTree: 9, events: 4, eventsPerTree: 9},
			func(ctx context.Context, w *watched) {
				for range 2 { // what is printed no longer counts
					one, first := w.tracer.Start(ctx, "first")
					two, second := w.tracer.Start(ctx, "second")
					for range n / 2 {
						w.logger.InfoContext(one, "line")
					}
					for range n - n/2 {
						w.logger.InfoContext(two, "line")
					}
					first.End()
					second.End()
				}
				require.Zero(t, w.traces.events)
			})
	}
	require.NotContains(t, run(4), "more")
	require.Equal(t, 2, strings.Count(run(5), "… 1 more log line or event\n"))
}

func TestSpansOfAllTreesAreBounded(t *testing.T) {
	run := func(n int) string {
		return scenario(t, 80, false, limits{trees: 9, spans: 6, spansPerTree: 9, events: 99, eventsPerTree: 9},
			func(ctx context.Context, w *watched) {
				one, first := w.tracer.Start(ctx, "first")
				two, second := w.tracer.Start(ctx, "second")
				children(one, w, 2)
				children(two, w, n)
				second.End()
				first.End()
			})
	}
	require.NotContains(t, run(2), "more")
	require.Contains(t, run(3), "… 1 more span, 1 of them failed")
}

// TestMemoryIsBounded fills the view with requests that never end and carry much.
func TestMemoryIsBounded(t *testing.T) {
	w := watch(t, 80, false, defaultLimits)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	much := strings.Repeat("x", 2_000)
	var attrs []attribute.KeyValue
	for i := range 20 {
		attrs = append(attrs, attribute.String(fmt.Sprint(i), much))
	}
	for range 60 { // more than the 20,000 spans of all trees
		ctx, _ := w.tracer.Start(t.Context(), "never ends")
		for range 350 {
			inner, span := w.tracer.Start(ctx, much, trace.WithAttributes(attrs...))
			w.traces.note(trace.SpanContextFromContext(inner),
				event{time.Now(), repeated(levelPiece(0), much, []attr{{much, much}})})
			span.AddEvent(much, trace.WithAttributes(attrs...))
			span.End()
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.LessOrEqual(t, len(w.traces.nodes), defaultLimits.spans)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(80<<20))
	runtime.KeepAlive(w)
}

// An ID generator that repeats itself, as tests of services have, loses nothing.
func TestRepeatedIDs(t *testing.T) {
	out := &terminal{}
	traces := newTraces(NewScreen(out, false, func() int { return 80 }), defaultLimits)
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(traces), sdktrace.WithIDGenerator(sameIDs{}))
	tracer := provider.Tracer("test")
	for range 2 {
		ctx, root := tracer.Start(t.Context(), "root")
		_, child := tracer.Start(ctx, "child")
		child.End()
		root.End()
	}
	require.NoError(t, provider.Shutdown(t.Context()))
	require.Equal(t, 2, strings.Count(out.String(), "TRACE 07"), out)
	require.Empty(t, traces.nodes)
	require.Empty(t, traces.overflown)
}

type sameIDs struct{}

func (sameIDs) NewIDs(context.Context) (trace.TraceID, trace.SpanID) {
	return trace.TraceID{7}, trace.SpanID{7}
}
func (sameIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return trace.SpanID{7} }

// What stands before a name grows with the depth of its span, and so do the names that need it cut.
func TestLinesOfDeepSpansTakeNoLongTime(t *testing.T) {
	lead := strings.Repeat("│  ", 1<<20)
	require.Equal(t, "  │  ", lastColumns(lead, 5))
	require.Equal(t, "│  ", lastColumns("│  ", 5))
	require.Equal(t, "文", lastColumns("文文", 3), "what takes two columns is not halved")
	require.Empty(t, lastColumns("│", 0))
}
