package sampling

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

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
		{SpanName: "patient", SlowThreshold: time.Minute, Ratio: 0.5}, {SpanName: "stream", SlowThreshold: -1,
			Ratio: 0.5}, {SpanName: "hasty", SlowThreshold: time.Millisecond, Ratio: 0.5},
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
		time.Sleep(lateSpanWait - time.Second)
		fail(async)
		assert.Equal(t, []string{"root", "async"}, p.out.names(), "within the time that it waits for late spans")

		ctx, root = p.start(unsampled, "second root")
		_, async = p.start(ctx, "too late")
		root.End()
		time.Sleep(lateSpanWait + time.Second)
		fail(async)
		assert.Len(t, p.out.names(), 2)

		ctx, root = p.start(sampled, "sampled root")
		_, async = p.start(ctx, "sampled async")
		root.End()
		time.Sleep(lateSpanWait + time.Second)
		assert.Equal(t, "ot=th:8", p.out.find(t, "sampled root").SpanContext().TraceState().String(),
			"it does not wait for ever")
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

func TestSpanThatOutlivesItsHeldTraceEndsInAnother(t *testing.T) {
	inProcess(t, Config{}, func(t *testing.T, p *process) {
		caller := trace.ContextWithSpanContext(unsampled, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{9, 9: 0x40}, SpanID: trace.SpanID{9}, Remote: true,
		}))
		ctx, first := p.start(caller, "first")
		_, child := p.start(ctx, "child of the first")
		first.End()
		time.Sleep(lateSpanWait + time.Second)
		_, second := p.start(caller, "second")
		child.End()
		fail(second)
		assert.Equal(t, []string{"child of the first", "second"}, p.out.names(), "the second is not ended by it")
	})
}
