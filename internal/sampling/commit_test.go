package sampling

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func TestThresholdsOfCalledServicesAtTheBoundAndOnePastIt(t *testing.T) {
	atBound := whole - whole/maxAdjustedCount
	for claimed, want := range map[uint64]uint64{atBound: atBound, atBound + 1: whole} {
		s := newService(t, 1, Config{}, func(sdktrace.ReadOnlySpan) {})
		span, _ := s.start(context.Background(), "root", s.traceID(whole-1), time.Second, false)
		Believe(span, "callee", claimed)
		assert.Equal(t, want, s.tail.traces[span.sc.TraceID()].callee)
	}
}

// TestTailsAreForgotten keeps no provider alive, whether its tail has seen a span or not.
func TestTailsAreForgotten(t *testing.T) {
	inProcess(t, Config{}, func(t *testing.T, p *process) {
		second := p.Processor(nil)
		p.provider.RegisterSpanProcessor(second)
		_, span := p.start(unsampled, "registers both")
		span.End()
		require.Len(t, tailsOf(span), 2)
		require.NoError(t, second.Shutdown(context.Background()))
		require.Len(t, tailsOf(span), 1)
		require.NoError(t, second.Shutdown(context.Background()))
		_, late := p.start(unsampled, "does not register again")
		late.End()
		require.Len(t, tailsOf(span), 1)
		require.NoError(t, p.provider.Shutdown(context.Background()))
		require.Empty(t, tailsOf(span))
		_, registered := tails.Load(p.provider)
		require.False(t, registered)
	})
}

// TestWhatIsToldIsKept has no memory any more after a trace has told a service that it is kept. One
// is kept for an error, at the lowest threshold, and the other for a called service, at a higher one
// that a later reason could lower.
func TestWhatIsToldIsKept(t *testing.T) {
	for state, reason := range map[string]func(trace.Span){
		"ot=th:0": func(root trace.Span) { Mark(root) },
		"ot=th:2": func(root trace.Span) { Believe(root, "callee", whole/8) },
	} {
		inProcess(t, Config{HeldBytes: minHeldBytes}, func(t *testing.T, p *process) {
			ctx, root := p.start(unsampled, "root")
			_, child := p.start(ctx, "child")
			child.End()
			reason(root)
			told, ok := Outgoing(root)
			require.True(t, ok)
			require.True(t, told.IsSampled())
			require.Equal(t, state, told.TraceState().String())

			var others []trace.Span
			for r := range byte(0xe0) {
				_, s := p.start(trace.ContextWithSpanContext(unsampled, trace.NewSpanContext(trace.SpanContextConfig{
					TraceID: trace.TraceID{9, 9: r}, SpanID: trace.SpanID{9}, Remote: true,
				})), "other")
				others = append(others, s)
			}
			require.Greater(t, p.Snapshot().MemoryFloor, 1-probability(randomness(told.TraceID())), "it would be evicted")
			root.End()
			for _, s := range others {
				s.End()
			}
			require.ElementsMatch(t, []string{"root", "child"}, p.out.names())
			for _, s := range p.out.spans {
				require.Equal(t, state, s.SpanContext().TraceState().String(), s.Name())
			}
		})
	}
}

// TestCommittedTracesDoNotTakeAllMemory has more of them than there is room for.
func TestCommittedTracesDoNotTakeAllMemory(t *testing.T) {
	inProcess(t, Config{HeldBytes: minHeldBytes}, func(t *testing.T, p *process) {
		var roots []trace.Span
		for range 200 {
			ctx, root := p.start(unsampled, "root")
			_, child := p.start(ctx, "child")
			fail(child)
			_, ok := Outgoing(root)
			require.True(t, ok)
			roots = append(roots, root)
			require.LessOrEqual(t, p.Snapshot().HeldBytes, int64(minHeldBytes))
		}
		for _, root := range roots {
			root.End()
		}
		require.Len(t, p.out.names(), 400, "none is lost")
	})
}
