package sampling

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
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

// collected is what reached the processor behind the tail, which refuses unsampled spans like the SDK's own.
type collected struct {
	mu    sync.Mutex
	spans []sdktrace.ReadOnlySpan
}

func (c *collected) add(s sdktrace.ReadOnlySpan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.SpanContext().IsSampled() {
		c.spans = append(c.spans, s)
	}
}

func (c *collected) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := []string{}
	for _, s := range c.spans {
		names = append(names, s.Name())
	}
	return names
}

func (c *collected) find(t *testing.T, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.Name() == name {
			return s
		}
	}
	require.Fail(t, "not exported", name)
	return nil
}

// process is a tracer provider with a sampler and its tail, in a synctest bubble. Traces whose root is called "drop…" are
// not sampled by the head, those called "keep…" are, at 1/2.
type process struct {
	*Sampler
	tracer   trace.Tracer
	provider *sdktrace.TracerProvider
	out      *collected
}

func inProcess(t *testing.T, cfg Config, body func(t *testing.T, p *process)) {
	synctest.Test(t, func(t *testing.T) {
		cfg.Rules = append(cfg.Rules, Rule{Ratio: 0.5})
		s, err := New(cfg)
		require.NoError(t, err)
		p := &process{Sampler: s, out: &collected{}}
		p.provider = sdktrace.NewTracerProvider(sdktrace.WithSampler(s), sdktrace.WithIDGenerator(&ids{}),
			sdktrace.WithSpanProcessor(s.Processor(exported(p.out.add))))
		p.tracer = p.provider.Tracer("test")
		body(t, p)
		require.NoError(t, p.provider.Shutdown(context.Background()))
		s.Close()
	})
}

// ids gives the traces named "keep" an R of three quarters, and all others one of a quarter.
type ids struct {
	mu sync.Mutex
	n  uint64
}

type keepKey struct{}

func (g *ids) NewIDs(ctx context.Context) (id trace.TraceID, span trace.SpanID) {
	g.mu.Lock()
	g.n++
	binary.BigEndian.PutUint64(id[:8], g.n)
	g.mu.Unlock()
	id[9] = 0x40
	if ctx.Value(keepKey{}) != nil {
		id[9] = 0xc0
	}
	return id, g.NewSpanID(ctx, id)
}

func (g *ids) NewSpanID(context.Context, trace.TraceID) (span trace.SpanID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
	binary.BigEndian.PutUint64(span[:], g.n)
	return span
}

var (
	unsampled = context.Background()
	sampled   = context.WithValue(context.Background(), keepKey{}, true)
)

func (p *process) start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	return p.tracer.Start(ctx, name, opts...)
}

func fail(s trace.Span) {
	s.SetStatus(codes.Error, "failed")
	s.End()
}

func TestTailKeepsErrors(t *testing.T) {
	inProcess(t, Config{}, func(t *testing.T, p *process) {
		ctx, root := p.start(unsampled, "root")
		_, child := p.start(ctx, "child")
		fail(child)
		_, other := p.start(ctx, "other")
		other.End()
		assert.Empty(t, p.out.names(), "held until the local root ends")
		root.End()
		assert.Equal(t, []string{"child", "other", "root"}, p.out.names())
		for _, s := range p.out.spans {
			assert.Equal(t, "ot=th:0", s.SpanContext().TraceState().String())
			count, ok := AdjustedCount(s.SpanContext())
			assert.True(t, ok)
			assert.Equal(t, 1.0, count)
		}
		assert.Contains(t, p.out.find(t, "root").Attributes(), attribute.String("sampling.reason", "error"))
		assert.False(t, root.SpanContext().IsSampled(), "what is propagated is the head's decision")

		_, fine := p.start(unsampled, "fine")
		fine.End()
		assert.Len(t, p.out.names(), 3)
		assert.Equal(t, TailCounts{Kept: 1, Discarded: 1}, p.Snapshot().Tail)
	})
}

func TestTailKeepsSlowMarkedAndPanicking(t *testing.T) {
	inProcess(t, Config{SlowThreshold: 300 * time.Millisecond, Rules: []Rule{
		{SpanName: "patient", SlowThreshold: time.Minute, Ratio: 0.5}, {SpanName: "stream", SlowThreshold: -1, Ratio: 0.5}, {SpanName: "hasty", SlowThreshold: time.Millisecond, Ratio: 0.5},
	}}, func(t *testing.T, p *process) {
		take := func(name string, d time.Duration) {
			_, s := p.start(unsampled, name)
			time.Sleep(d)
			s.End()
		}
		take("quick", 299*time.Millisecond)
		take("slow", 300*time.Millisecond)
		take("patient", time.Second)
		take("stream", time.Second)
		take("hasty", time.Millisecond)
		ctx, root := p.start(unsampled, "quick root")
		_, child := p.start(ctx, "slow child")
		root.End()
		time.Sleep(time.Second)
		child.End()
		_, marked := p.start(unsampled, "marked")
		marked.SetAttributes(KeepKey.Bool(true))
		marked.End()
		_, unmarked := p.start(unsampled, "unmarked")
		unmarked.SetAttributes(KeepKey.Bool(false))
		unmarked.End()
		func() {
			defer func() { _ = recover() }()
			_, s := p.start(unsampled, "panicking")
			defer s.End()
			time.Sleep(time.Microsecond)
			panic("no")
		}()
		_, recorded := p.start(unsampled, "recorded error without status")
		recorded.RecordError(errors.New("retried"))
		time.Sleep(time.Microsecond)
		recorded.End()
		assert.Equal(t, []string{"slow", "hasty", "marked", "panicking"}, p.out.names())
		assert.Contains(t, p.out.find(t, "panicking").Attributes(), attribute.String("sampling.reason", "panic"))
	})
}

func TestHeadSampledErrorsWeighLikeTheOthers(t *testing.T) {
	inProcess(t, Config{}, func(t *testing.T, p *process) {
		for _, name := range []string{"fine", "failing"} {
			ctx, root := p.start(sampled, name)
			_, child := p.start(ctx, name+" child")
			assert.Equal(t, "ot=th:8", child.SpanContext().TraceState().String())
			child.End()
			if name == "failing" {
				root.SetStatus(codes.Error, "")
			}
			root.End()
		}
		assert.Equal(t, "ot=th:8", p.out.find(t, "fine child").SpanContext().TraceState().String())
		assert.Equal(t, "ot=th:8", p.out.find(t, "fine").SpanContext().TraceState().String())
		assert.Equal(t, "ot=th:0", p.out.find(t, "failing child").SpanContext().TraceState().String())
		assert.Equal(t, "ot=th:0", p.out.find(t, "failing").SpanContext().TraceState().String())
	})
}

func TestLateSpansFollowTheDecision(t *testing.T) {
	inProcess(t, Config{}, func(t *testing.T, p *process) {
		ctx, root := p.start(unsampled, "kept")
		_, async := p.start(ctx, "kept: still open")
		fail(root)
		assert.Equal(t, []string{"kept"}, p.out.names())
		async.End()
		_, afterwards := p.start(ctx, "kept: started afterwards")
		afterwards.End()
		assert.Equal(t, []string{"kept", "kept: still open", "kept: started afterwards"}, p.out.names())
		for _, s := range p.out.spans {
			assert.Equal(t, "ot=th:0", s.SpanContext().TraceState().String())
		}

		ctx, root = p.start(unsampled, "dropped")
		root.End()
		_, afterwards = p.start(ctx, "dropped: started afterwards")
		fail(afterwards)
		assert.Len(t, p.out.names(), 3, "too late")
		assert.Equal(t, uint64(1), p.Snapshot().Tail.Late)

		ctx, root = p.start(sampled, "sampled")
		root.End()
		_, afterwards = p.start(ctx, "sampled: started afterwards")
		afterwards.End()
		assert.Equal(t, "ot=th:8", p.out.find(t, "sampled: started afterwards").SpanContext().TraceState().String())
	})
}

func TestAsyncErrorAfterTheRootsEnd(t *testing.T) {
	inProcess(t, Config{}, func(t *testing.T, p *process) {
		ctx, root := p.start(unsampled, "root")
		_, async := p.start(ctx, "async")
		root.End()
		time.Sleep(linger - time.Second)
		fail(async)
		assert.Equal(t, []string{"root", "async"}, p.out.names(), "within the time it lingers")

		ctx, root = p.start(unsampled, "second root")
		_, async = p.start(ctx, "too late")
		root.End()
		time.Sleep(linger + time.Second)
		fail(async)
		assert.Len(t, p.out.names(), 2)

		ctx, root = p.start(sampled, "sampled root")
		_, async = p.start(ctx, "sampled async")
		root.End()
		time.Sleep(linger + time.Second)
		assert.Equal(t, "ot=th:8", p.out.find(t, "sampled root").SpanContext().TraceState().String(), "it does not wait for ever")
		async.End()
		assert.Equal(t, "ot=th:8", p.out.find(t, "sampled async").SpanContext().TraceState().String())
	})
}

func TestSeveralLocalRootsOfOneTrace(t *testing.T) {
	inProcess(t, Config{}, func(t *testing.T, p *process) {
		caller := trace.ContextWithSpanContext(unsampled, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{9, 9: 0x40}, SpanID: trace.SpanID{9}, Remote: true,
		}))
		_, first := p.start(caller, "first")
		ctx, second := p.start(caller, "second")
		first.End()
		time.Sleep(time.Second / 2)
		assert.Empty(t, p.out.names())
		_, child := p.start(ctx, "child of the second")
		fail(child)
		second.End()
		assert.Equal(t, []string{"first", "child of the second", "second"}, p.out.names(), "the trace is one")

		ctx, root := p.start(unsampled, "outer")
		_, linked := p.start(ctx, "new root", trace.WithNewRoot(), trace.WithLinks(trace.LinkFromContext(ctx)))
		fail(linked)
		root.End()
		assert.Equal(t, []string{"new root"}, p.out.names()[3:], "a new root is a trace of its own")
	})
}

func TestTraceThatDoesNotEnd(t *testing.T) {
	inProcess(t, Config{Rules: []Rule{{SpanName: "stream", SlowThreshold: -1, Ratio: 0.5}}}, func(t *testing.T, p *process) {
		ctx, root := p.start(unsampled, "endless")
		_, child := p.start(ctx, "child")
		child.End()
		ctx, stream := p.start(unsampled, "stream")
		_, message := p.start(ctx, "message")
		message.End()
		time.Sleep(minHold + time.Second)
		assert.Equal(t, []string{"child"}, p.out.names(), "after so long it is slow")
		assert.Equal(t, 1, p.Snapshot().HeldTraces)
		root.End()
		stream.End()
		assert.Equal(t, []string{"child", "endless"}, p.out.names())
		assert.Zero(t, p.Snapshot().HeldBytes)
	})
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
