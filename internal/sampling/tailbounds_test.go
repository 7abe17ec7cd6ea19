package sampling

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func TestTraceThatDoesNotEnd(t *testing.T) {
	inProcess(t, Config{Rules: []Rule{{SpanName: "stream", SlowThreshold: -1, Ratio: 0.5}}},
		func(t *testing.T, p *process) {
			ctx, root := p.start(unsampled, "endless")
			_, child := p.start(ctx, "child")
			child.End()
			ctx, stream := p.start(unsampled, "stream")
			_, message := p.start(ctx, "message")
			message.End()
			time.Sleep(minHold + time.Second)
			assert.Equal(t, []string{"child"}, p.out.names(), "after so long it is slow")
			snap := p.Snapshot()
			assert.Equal(t, 2, snap.HeldTraces)
			assert.Equal(t, int64(traceBytes+traceBytes+spanBytes), snap.HeldBytes,
				"of the stream, nothing but its root")
			root.End()
			stream.End()
			assert.Equal(t, []string{"child", "endless"}, p.out.names())
			assert.Zero(t, p.Snapshot().HeldBytes)
		})
}

// TestTraceThatFailsLate has traces whose duration is no reason to keep them, as streams have.
func TestTraceThatFailsLate(t *testing.T) {
	inProcess(t, Config{SlowThreshold: -1}, func(t *testing.T, p *process) {
		ctx, stream := p.start(unsampled, "stream")
		_, early := p.start(ctx, "early")
		early.End()
		ctxSampled, sampledStream := p.start(sampled, "sampled stream")
		_, sampledEarly := p.start(ctxSampled, "sampled early")
		sampledEarly.End()
		time.Sleep(3*minHold + time.Second)
		assert.Equal(t, []string{"sampled early"}, p.out.names(), "what is sampled does not wait for ever")
		_, last := p.start(ctx, "last")
		last.End()
		fail(stream)
		fail(sampledStream)
		assert.Equal(t, []string{"sampled early", "last", "stream", "sampled stream"}, p.out.names())
		for _, s := range p.out.spans[1:] {
			assert.Equal(t, "ot=th:0", s.SpanContext().TraceState().String(), s.Name())
		}
		assert.Equal(t, "ot=th:8", p.out.spans[0].SpanContext().TraceState().String())
		snap := p.Snapshot()
		assert.Zero(t, snap.HeldBytes)
		assert.Equal(t, TailCounts{Kept: 2}, snap.Tail)

		_, _ = p.start(unsampled, "never ended")
		time.Sleep(maxHold - minHold)
		assert.Equal(t, 1, p.Snapshot().HeldTraces)
		time.Sleep(2 * minHold)
		assert.Zero(t, p.Snapshot().HeldTraces, "it does not take room for ever")
	})
}

// TestFloorsOfALongLife keeps one trace in the tail by ever new local roots, long after a floor
// that it has passed.
func TestFloorsOfALongLife(t *testing.T) {
	inProcess(t, Config{HeldBytes: minHeldBytes}, func(t *testing.T, p *process) {
		caller := func(r byte) context.Context {
			return trace.ContextWithSpanContext(unsampled, trace.NewSpanContext(trace.SpanContextConfig{
				TraceID: trace.TraceID{9, 9: r}, SpanID: trace.SpanID{9}, Remote: true,
			}))
		}
		ctx, root := p.start(caller(0xf0), "request")
		_, child := p.start(ctx, "child")
		root.End()
		var others []trace.Span
		for r := byte(0); r < 0xe0; r++ {
			_, s := p.start(caller(r), "other")
			others = append(others, s)
		}
		floor := p.Snapshot().MemoryFloor
		assert.Greater(t, floor, 0.5)
		for _, s := range others {
			s.End()
		}
		for range 30 {
			time.Sleep(2 * time.Second)
			_, root := p.start(caller(0xf0), "request")
			root.End()
		}
		assert.Zero(t, p.Snapshot().MemoryFloor)
		fail(child)
		count, ok := AdjustedCount(p.out.find(t, "child").SpanContext())
		assert.True(t, ok)
		assert.GreaterOrEqual(t, count, 1/(1-floor), "a trace with a lower R would not have lived to see it")
	})
}

// TestSpansOfOneTraceAtTheLimitAndOnePastIt: spans that are alike reach the limit in bytes before
// the one in spans.
func TestSpansOfOneTraceAtTheLimitAndOnePastIt(t *testing.T) {
	held := func(children int) (kept int, truncated uint64) {
		inProcess(t, Config{}, func(_ *testing.T, p *process) {
			ctx, root := p.start(unsampled, "root")
			for range children {
				_, s := p.start(ctx, "loop")
				s.End()
			}
			fail(root)
			root.End()
			kept, truncated = len(p.out.names())-1, p.Snapshot().Tail.Truncated
		})
		return kept, truncated
	}
	limit, _ := held(maxSpans + 500)
	assert.Less(t, 500, limit)
	for _, excess := range []int{0, 1} {
		kept, truncated := held(limit + excess)
		assert.Equal(t, limit, kept)
		assert.Equal(t, uint64(excess), truncated)
	}
}

func TestSpansOfOneTraceAreLimited(t *testing.T) {
	inProcess(t, Config{}, func(t *testing.T, p *process) {
		ctx, root := p.start(unsampled, "root")
		for range maxSpans + 500 {
			_, s := p.start(ctx, "loop")
			s.End()
		}
		_, failed := p.start(ctx, "failed")
		fail(failed)
		root.End()
		spans, bytes := len(p.out.names()), p.Snapshot().HeldBytes
		assert.Greater(t, spans, 500)
		assert.LessOrEqual(t, spans, maxSpans+2)
		assert.Zero(t, bytes)
		p.out.find(t, "failed")
		dropped := maxSpans + 502 - spans
		assert.Contains(t, p.out.find(t, "root").Attributes(), attribute.Int("sampling.dropped_spans", dropped))
		assert.Equal(t, uint64(dropped), p.Snapshot().Tail.Truncated)
	})
}

// TestTheRootIsHeldWhateverElseIs: without its local root a trace has no name, no reason and no
// count of what it lacks.
func TestTheRootIsHeldWhateverElseIs(t *testing.T) {
	inProcess(t, Config{}, func(t *testing.T, p *process) {
		ctx, root := p.start(unsampled, "failed children", trace.WithAttributes(serverAttributes(1)...))
		for range 2*maxSpans + 500 {
			_, s := p.start(ctx, "child")
			fail(s)
		}
		fail(root)
		p.out.find(t, "failed children")

		ctx, root = p.start(unsampled, "open children", trace.WithAttributes(serverAttributes(1)...))
		var open []trace.Span
		for range 3 * maxSpans {
			_, s := p.start(ctx, "child")
			open = append(open, s)
		}
		fail(root)
		p.out.find(t, "open children")
		for _, s := range open {
			s.End()
		}
	})
}

func TestFlushAndShutdown(t *testing.T) {
	inProcess(t, Config{}, func(t *testing.T, p *process) {
		open := func(ctx context.Context, name string) trace.Span {
			ctx, root := p.start(ctx, name)
			_, child := p.start(ctx, name+": child")
			if name == "failing" {
				child.SetStatus(codes.Error, "")
			}
			child.End()
			return root
		}
		roots := []trace.Span{open(unsampled, "failing"), open(sampled, "sampled"), open(unsampled, "fine")}
		require.NoError(t, p.provider.ForceFlush(context.Background()))
		assert.Empty(t, p.out.names(), "undecided traces stay undecided")
		require.NoError(t, p.provider.Shutdown(context.Background()))
		assert.ElementsMatch(t, []string{"failing: child", "sampled: child"}, p.out.names())
		assert.Equal(t, "ot=th:0", p.out.find(t, "failing: child").SpanContext().TraceState().String())
		assert.Equal(t, "ot=th:8", p.out.find(t, "sampled: child").SpanContext().TraceState().String())
		for _, root := range roots {
			root.End()
		}
		assert.Zero(t, p.Snapshot().HeldBytes)
		assert.False(t, p.tailsOn.Load(), "without a tail the undecided are dropped")
		assert.Equal(t, uint64(1), p.Snapshot().Tail.Kept, "the counts outlive the tail")
	})
}

func TestWithoutTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, headOnly := range []bool{false, true} {
			s, err := New(Config{HeadOnly: headOnly, Rules: []Rule{{Ratio: 0.5}}})
			require.NoError(t, err)
			out := &collected{}
			next := exported(out.add)
			provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(s), sdktrace.WithIDGenerator(&ids{}))
			if headOnly {
				assert.IsType(t, next, s.Processor(next), "there is nothing to hold")
			}
			provider.RegisterSpanProcessor(next)
			_, dropped := provider.Tracer("").Start(unsampled, "dropped")
			assert.False(t, dropped.IsRecording())
			_, kept := provider.Tracer("").Start(sampled, "kept")
			kept.End()
			assert.Equal(t, []string{"kept"}, out.names())
			require.NoError(t, provider.Shutdown(context.Background()))
			s.Close()
			s.Close()
		}
	})
}

func TestKeptTracesWithOpenSpansTakeLittleRoom(t *testing.T) {
	inProcess(t, Config{HeldBytes: minHeldBytes}, func(t *testing.T, p *process) {
		var open []trace.Span
		for range 200 {
			ctx, root := p.start(unsampled, "failing")
			_, child := p.start(ctx, "open")
			open = append(open, child)
			fail(root)
		}
		snap := p.Snapshot()
		assert.LessOrEqual(t, snap.HeldBytes, int64(minHeldBytes/8))
		assert.Zero(t, snap.MemoryFloor)
		for _, child := range open {
			child.End()
		}
		assert.Len(t, p.out.names(), 400, "the late spans are exported all the same")
		assert.Zero(t, p.Snapshot().HeldTraces)
	})
}

// TestTwoProcessors gives the spans to two exporters, each behind a tail of its own.
func TestTwoProcessors(t *testing.T) {
	inProcess(t, Config{}, func(t *testing.T, p *process) {
		second := &collected{}
		p.provider.RegisterSpanProcessor(p.Processor(exported(second.add)))
		_, failing := p.start(unsampled, "failing")
		fail(failing)
		assert.Equal(t, p.out.names(), second.names())
		assert.Equal(t, uint64(2), p.Snapshot().Tail.Kept)
	})
}
