package sampling

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func withRequest(ctx context.Context) (context.Context, *Request) {
	r := &Request{}
	return context.WithValue(ctx, RequestKey{}, r), r
}

func TestRequestIsToldWhatTheTailDecides(t *testing.T) {
	inProcess(t, Config{SlowThreshold: time.Second}, func(t *testing.T, p *process) {
		for name, tc := range map[string]struct {
			fails, slow bool
		}{"fine": {}, "fails": {fails: true}, "slow": {slow: true}} {
			ctx, request := withRequest(unsampled)
			_, root := p.start(ctx, name)
			if tc.slow {
				time.Sleep(time.Second)
			}
			assert.False(t, request.Kept())
			if tc.fails {
				fail(root)
			}
			root.End()
			assert.Equal(t, tc.fails || tc.slow, request.Kept(), name)
		}

		ctx, request := withRequest(unsampled)
		inner, root := p.start(ctx, "waits")
		_, child := p.start(inner, "child")
		root.End()
		fail(child)
		assert.False(t, request.Kept(), "it was not decided at the end of its span")
		assert.Contains(t, p.out.names(), "waits")

		// Two requests with one trace ID.
		remote := trace.ContextWithRemoteSpanContext(unsampled, root.SpanContext().WithTraceID(trace.TraceID{7}))
		first, one := withRequest(remote)
		second, two := withRequest(remote)
		_, a := p.start(first, "a")
		_, b := p.start(second, "b")
		a.End()
		fail(b)
		assert.Equal(t, []bool{false, true}, []bool{one.Kept(), two.Kept()})
	})
}

func TestStreamsAreNotSlow(t *testing.T) {
	inProcess(t, Config{SlowThreshold: time.Second}, func(t *testing.T, p *process) {
		stream := func(name string, lasts time.Duration, fails bool) {
			ctx, request := withRequest(unsampled)
			_, root := p.start(ctx, name)
			time.Sleep(time.Millisecond)
			request.MarkStream()
			time.Sleep(lasts)
			if fails {
				fail(root)
			}
			root.End()
		}
		stream("ends", 2*time.Second, false)
		stream("lasts longer than traces are held", 2*minHold, false)
		assert.Empty(t, p.out.names())
		stream("fails", 2*time.Second, true)
		assert.Equal(t, []string{"fails"}, p.out.names())

		ctx, request := withRequest(unsampled)
		inner, root := p.start(ctx, "stream")
		request.MarkStream()
		_, job := p.start(inner, "job of the stream", trace.WithNewRoot())
		time.Sleep(2 * time.Second)
		job.End()
		root.End()
		assert.Equal(
			t,
			[]string{"fails", "job of the stream"},
			p.out.names(),
			"a root that the handler starts is not the request",
		)
	})
}

// A caller may have any number of requests with one trace ID open: each is told what becomes of the
// trace, whichever ends first.
func TestRequestsOfOneTraceAreAllTold(t *testing.T) {
	for _, n := range []int{1, fewRequests, fewRequests + 1, 20 * fewRequests} {
		inProcess(t, Config{}, func(t *testing.T, p *process) {
			remote := trace.ContextWithRemoteSpanContext(unsampled, trace.NewSpanContext(trace.SpanContextConfig{
				TraceID: trace.TraceID{7}, SpanID: trace.SpanID{1}}))
			requests, spans := make([]*Request, n), make([]trace.Span, n)
			for i := range n {
				var ctx context.Context
				ctx, requests[i] = withRequest(remote)
				_, spans[i] = p.start(ctx, "request")
			}
			half := n / 2
			for i := range half { // the first to start
				spans[i].End()
				assert.False(t, requests[i].Kept())
			}
			fail(spans[half])
			for i := n - 1; i > half; i-- { // the last to start
				spans[i].End()
			}
			for i := half; i < n; i++ {
				assert.True(t, requests[i].Kept(), "%d of %d", i, n)
			}
		})
	}
}

func TestOpenRequestsAreFoundUntilTheyEnd(t *testing.T) {
	var open openRequests
	all := make([]*Request, 3*fewRequests)
	for i := range all {
		all[i] = &Request{span: trace.SpanID{byte(i + 1)}}
		open.add(all[i])
	}
	for i := range all {
		at := i * 7 % len(all) // every one, neither first nor last
		assert.Same(t, all[at], open.find(all[at].span))
		assert.Same(t, all[at], open.take(all[at].span))
		assert.Nil(t, open.find(all[at].span))
		assert.Nil(t, open.take(all[at].span))
	}
	assert.Equal(t, openRequests{}, open)
}

// BenchmarkOneTraceID ends requests while others of the same trace are open.
//
//	go test ./internal/sampling -run '^$' -bench OneTraceID -count 6
func BenchmarkOneTraceID(b *testing.B) {
	for _, n := range []int{1, 16, 10_000} {
		b.Run(fmt.Sprintf("open=%d", n), func(b *testing.B) {
			s, err := New(Config{RecordedSpansPerSecond: 1e6})
			require.NoError(b, err)
			b.Cleanup(s.Close)
			tracer := sdktrace.NewTracerProvider(sdktrace.WithSampler(s),
				sdktrace.WithSpanProcessor(s.Processor(nil))).Tracer("test")
			remote := trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(
				trace.SpanContextConfig{TraceID: trace.TraceID{7, 9: 0xff}, SpanID: trace.SpanID{1}}))
			open := make([]trace.Span, n)
			for i := range open {
				ctx, _ := withRequest(remote)
				_, open[i] = tracer.Start(ctx, "request")
			}
			for i := 0; b.Loop(); i++ {
				open[i%n].End() // the oldest
				ctx, _ := withRequest(remote)
				_, open[i%n] = tracer.Start(ctx, "request")
			}
		})
	}
}
