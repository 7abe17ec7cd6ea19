package peek

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// sdkSpan is a span as the SDK hands it to OnEnd.
func sdkSpan(t *testing.T, sampled bool, edit func(trace.Span)) sdktrace.ReadOnlySpan {
	t.Helper()
	sampler := sdktrace.AlwaysSample()
	if !sampled {
		sampler = recordOnly{}
	}
	out := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(out), sdktrace.WithSampler(sampler))
	_, span := tp.Tracer("t").Start(context.Background(), "name")
	edit(span)
	span.End()
	require.Len(t, out.Ended(), 1)
	return out.Ended()[0]
}

type recordOnly struct{}

func (recordOnly) ShouldSample(sdktrace.SamplingParameters) sdktrace.SamplingResult {
	return sdktrace.SamplingResult{Decision: sdktrace.RecordOnly}
}
func (recordOnly) Description() string { return "RecordOnly" }

// The window must open on the SDK's own spans, or the hot path is slow, and what is seen through it
// must be what the accessors say.
func TestWindowShowsWhatAccessorsSay(t *testing.T) {
	edits := map[string]func(trace.Span){
		"plain": func(trace.Span) {},
		"attributes": func(s trace.Span) {
			s.SetAttributes(attribute.String("k", "v"), attribute.Int("i", 1),
				attribute.StringSlice("s", []string{"a", "bb"}))
		},
		"events": func(s trace.Span) { s.AddEvent("event", trace.WithAttributes(attribute.String("k", "v"))) },
		"links":  func(s trace.Span) { s.AddLink(trace.Link{SpanContext: s.SpanContext()}) },
		"failed": func(s trace.Span) { s.SetStatus(codes.Error, "description") },
		"ok":     func(s trace.Span) { s.SetStatus(codes.Ok, "") },
	}
	var v Spans
	for name, edit := range edits {
		for _, sampled := range []bool{true, false} {
			span := sdkSpan(t, sampled, edit)
			isSampled, failed := v.Status(span)
			require.NotNil(t, v.layout.Load(), "the SDK's span type has changed: see window")
			require.Equal(t, sampled, isSampled, name)
			require.Equal(t, span.Status().Code == codes.Error, failed, name)

			wrapped := wrapper{span} // not the window's type: read through accessors
			wrappedSampled, wrappedFailed := v.Status(wrapped)
			require.Equal(t, isSampled, wrappedSampled, name)
			require.Equal(t, failed, wrappedFailed, name)
			require.Equal(t, v.Parts(wrapped), v.Parts(span), name)
			require.Equal(t, v.Header(wrapped), v.Header(span), name)
		}
	}
	require.True(t, valueInPlace, "attribute.Value has changed: see value")
}

// wrapper is what a processor in front may hand on: a span of another type.
type wrapper struct{ sdktrace.ReadOnlySpan }

func TestOtherTypesHaveNoLayout(t *testing.T) {
	span := sdkSpan(t, true, func(trace.Span) {})
	type sameNames struct {
		sdktrace.ReadOnlySpan
		name, spanContext, attributes, events, links, status string
	}
	type promoted struct{ *sameNames }
	names := &sameNames{span, "", "", "", "", "", ""}
	for _, other := range []sdktrace.ReadOnlySpan{nil, wrapper{span}, &wrapper{span}, names, &promoted{names}} {
		require.Nil(t, newLayout(other), "%T", other)
		if other != nil {
			var v Spans
			sampled, failed := v.Status(other)
			require.True(t, sampled)
			require.False(t, failed)
			require.Equal(t, "name", v.Parts(other).Name)
			require.Nil(t, v.layout.Load())
		}
	}
}

func TestSpansConcurrentSafe(t *testing.T) {
	span := sdkSpan(t, true, func(s trace.Span) { s.SetStatus(codes.Error, "x") })
	var v Spans
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, s := range []sdktrace.ReadOnlySpan{span, wrapper{span}, span} {
				if sampled, failed := v.Status(s); !sampled || !failed {
					t.Error("wrong view")
				}
			}
		})
	}
	wg.Wait()
}

func TestLookingDoesNotAllocate(t *testing.T) {
	span := sdkSpan(t, true, func(s trace.Span) {
		s.SetAttributes(attribute.String("k", "v"), attribute.Int("i", 1), attribute.Bool("b", true),
			attribute.Float64("f", 1))
	})
	var v Spans
	require.Zero(t, testing.AllocsPerRun(1000, func() { v.Status(span); v.Parts(span); v.Header(span) }))
}

func TestMembersAreThoseOfTheSet(t *testing.T) {
	require.True(t, setInPlace, "attribute.Set has changed: see set")
	for _, attrs := range [][]attribute.KeyValue{
		nil, {attribute.Int("a", 1)}, {attribute.String("b", "x"), attribute.Int("a", 1),
			attribute.StringSlice("c", []string{"d"})},
		make([]attribute.KeyValue, 0), {attribute.Int("a", 1), attribute.Int("a", 2)},
	} {
		s := attribute.NewSet(attrs...)
		require.Equal(t, len(s.ToSlice()), len(Members(&s)))
		for i, kv := range s.ToSlice() {
			require.Equal(t, kv, Members(&s)[i])
		}
		require.Zero(t, testing.AllocsPerRun(100, func() { Members(&s) }))
	}
	require.Empty(t, Members(&attribute.Set{}))
}

// A trace state comes from a header that any caller may have sent, so its size counts.
func TestSizeOfATraceState(t *testing.T) {
	state, err := trace.ParseTraceState("vendor=" + strings.Repeat("x", 200) + ",b=2")
	require.NoError(t, err)
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1},
		TraceState: state, Remote: true})
	out := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(out), sdktrace.WithSampler(sdktrace.AlwaysSample()))
	_, span := tp.Tracer("t").Start(trace.ContextWithSpanContext(context.Background(), parent), "name")
	span.End()
	var v Spans
	require.Equal(t, len(state.String())+1, v.Parts(out.Ended()[0]).State, "two separators for each member")
	require.Equal(t, v.Parts(out.Ended()[0]).State, v.Parts(wrapper{out.Ended()[0]}).State)
	require.Zero(t, v.Parts(sdkSpan(t, true, func(trace.Span) {})).State)
}
