package sampling

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// assertAccounted compares the account with the heap. The account's sizes are those of a 64-bit
// process; a 32-bit one holds less than they say, and never more.
func assertAccounted(t *testing.T, held, grown int64, epsilon float64) {
	t.Helper()
	assert.Less(t, float64(grown), float64(held)*(1+epsilon))
	if strconv.IntSize == 64 {
		assert.InEpsilon(t, held, grown, epsilon)
	}
}

// serverAttributes are what otelhttp puts on a server's span, with values of their own.
func serverAttributes(i int) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("http.request.method", "GET"), attribute.String("url.scheme", "https"),
		attribute.String("url.path", fmt.Sprintf("/api/v1/customers/%d/orders", i)),
		attribute.String("server.address", fmt.Sprintf("shop-%d.example.com", i%7)), attribute.Int("server.port", 8080),
		attribute.String("client.address", fmt.Sprintf("10.0.0.%d", i%250)),
		attribute.Int("http.response.status_code", 200),
		attribute.String("user_agent.original", fmt.Sprintf("Mozilla/5.0 (build %d)", i)),
	}
}

// TestHeldBytesAreHeap fills a tail to its limit with traces whose local root is open, as a service
// does whose requests hang, and compares the limit with the heap.
func TestHeldBytesAreHeap(t *testing.T) {
	const limit = 8 << 20
	s, err := New(Config{HeldBytes: limit, Rules: []Rule{{Ratio: 1e-9}}, RecordedSpansPerSecond: 1e6,
		SlowThreshold: time.Minute})
	require.NoError(t, err)
	defer s.Close()
	tail := s.newTail(exported(func(sdktrace.ReadOnlySpan) {}))
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(s), sdktrace.WithSpanProcessor(tail))
	tracer := provider.Tracer("heap")
	before := heapInUse()
	roots := map[trace.TraceID]trace.Span{}
	for i := range 12_000 {
		ctx, root := tracer.Start(context.Background(), "request", trace.WithAttributes(serverAttributes(i)...))
		for range 3 {
			_, child := tracer.Start(ctx, "query",
				trace.WithAttributes(attribute.String("db.query.text", fmt.Sprint("select ", i))))
			child.AddEvent("done")
			child.End()
		}
		if snap := s.Snapshot(); snap.MemoryFloor > 0 {
			assert.LessOrEqual(t, snap.HeldBytes, int64(limit))
		}
		roots[root.SpanContext().TraceID()] = root
	}
	for id := range roots {
		if tail.traces[id] == nil {
			delete(roots, id) // the service holds it, not the tail
		}
	}
	grown, held := heapInUse()-before, s.Snapshot().HeldBytes
	t.Logf("held %d KiB by account, %d KiB of heap; %d traces", held>>10, grown>>10, s.Snapshot().HeldTraces)
	assert.Greater(t, held, int64(limit*3/4), "the limit is reached")
	assertAccounted(t, held, grown, 0.25)
	assert.LessOrEqual(t, grown, int64(limit*11/10))
	runtime.KeepAlive(roots)
	require.NoError(t, provider.Shutdown(context.Background()))
}

// TestHeldBytesCountWhatASpanCarries holds spans that carry ten kilobytes in one place or another.
func TestHeldBytesCountWhatASpanCarries(t *testing.T) {
	const size = 10_000
	text := func(i int) string { return fmt.Sprintf("%0*d", size, i) }
	numbers := make([]int64, size/8)
	values := make([]attribute.Value, size/valueBytes)
	for name, carry := range map[string]func(s trace.Span, i int){
		"name":      func(s trace.Span, i int) { s.SetName(text(i)) },
		"status":    func(s trace.Span, i int) { s.SetStatus(codes.Error, text(i)) },
		"attribute": func(s trace.Span, i int) { s.SetAttributes(attribute.String("k", text(i))) },
		"numbers":   func(s trace.Span, _ int) { s.SetAttributes(attribute.Int64Slice("k", numbers)) },
		"values":    func(s trace.Span, _ int) { s.SetAttributes(attribute.Slice("k", values...)) },
		"event":     func(s trace.Span, i int) { s.AddEvent(text(i)) },
		"event attribute": func(s trace.Span, i int) {
			s.AddEvent("e", trace.WithAttributes(attribute.String("k", text(i))))
		},
		"link": func(s trace.Span, i int) {
			s.AddLink(trace.Link{SpanContext: s.SpanContext(),
				Attributes: []attribute.KeyValue{attribute.String("k", text(i))}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inProcess(t, Config{}, func(t *testing.T, p *process) {
				before := heapInUse()
				ctx, root := p.start(unsampled, "root")
				for i := range 40 {
					_, s := p.start(ctx, "child")
					carry(s, i)
					s.End()
				}
				grown, held := heapInUse()-before, p.Snapshot().HeldBytes
				if strconv.IntSize == 64 {
					assert.Greater(t, grown, int64(40*size*3/4))
				}
				assertAccounted(t, held, grown, 0.3)
				root.End()
			})
		})
	}
}

// TestPooledTracesHoldNoNames has as many long names as there are pooled traces, and as many again
// of kept traces whose children are open.
func TestPooledTracesHoldNoNames(t *testing.T) {
	const size = 10_000
	inProcess(t, Config{}, func(t *testing.T, p *process) {
		before := heapInUse()
		var children []trace.Span
		for _, failed := range []bool{false, true} {
			var roots []trace.Span
			for i := range pooledTraces {
				ctx, root := p.start(unsampled, fmt.Sprintf("%0*d", size, i))
				roots = append(roots, root)
				if failed {
					_, child := p.start(ctx, "open")
					children = append(children, child)
				}
			}
			for _, root := range roots {
				if failed {
					root.SetStatus(codes.Error, "")
				}
				root.End()
			}
			clear(p.out.spans)
			p.out.spans = nil
		}
		assert.Less(t, heapInUse()-before, int64(pooledTraces*size/2))
		for _, child := range children {
			child.End()
		}
	})
}

// TestNamesWithoutEndTakeLittleMemory is a service that puts identifiers into its span names: 5,000
// new names per second, short ones and then such of 10 kB. Every tenth request fails. The long
// version is a minute, without much difference.
//
//	SAMPLING_FIGURES=1 go test ./internal/sampling -run NamesWithoutEndTake -v
func TestNamesWithoutEndTakeLittleMemory(t *testing.T) {
	length := 4 * time.Second
	if os.Getenv(figures) != "" {
		length = time.Minute
	}
	simulation(t)
	const bound = 1 << 20
	for _, digits := range []int{20, 10_000} {
		s := newService(t, 1, Config{}, func(sdktrace.ReadOnlySpan) {})
		before := heapInUse()
		n := 0
		run(newRandom(1), s.clock, s.tick, []phase{{length, []float64{5000}}}, func(a arrival) {
			n++
			s.request(context.Background(), fmt.Sprintf("order %0*d", digits, n), s.traceID(a.r), time.Millisecond,
				n%10 == 0)
		})
		s.endUntil(s.clock.now + time.Second)
		s.params = sdktrace.SamplingParameters{}
		grown := heapInUse() - before
		t.Logf("names of %d digits: %d KiB for %d operations of %d, and %d kept errors",
			digits, grown>>10, len(s.head.classes), n, s.Snapshot().Tail.Kept)
		assert.Len(t, s.head.classes, headSets*ways+2)
		assert.Len(t, s.tail.controller.classes, tailSets*ways+2)
		assert.LessOrEqual(t, grown, int64(bound))
		for _, cl := range s.head.classes {
			assert.LessOrEqual(t, len(cl.name), maxLabel)
		}
	}
}

// TestTailUnderLoad has real goroutines, clock and evictions: everything that is sampled or failed
// and fits is exported once, and nothing remains.
func TestTailUnderLoad(t *testing.T) {
	s, err := New(Config{TracesPerSecond: 100, HeldBytes: 256 << 10, TailTracesPerSecond: 1e6,
		RecordedSpansPerSecond: 1e6})
	require.NoError(t, err)
	defer s.Close()
	out := &collected{}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(s),
		sdktrace.WithSpanProcessor(s.Processor(exported(out.add))))
	tracer := provider.Tracer("load")
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			for i := range 1000 {
				ctx, root := tracer.Start(context.Background(), fmt.Sprint("operation ", w))
				var children sync.WaitGroup
				children.Go(func() {
					_, child := tracer.Start(ctx, "child")
					child.End()
				})
				if i%10 == 0 {
					fail(root)
				} else {
					root.End()
				}
				children.Wait()
			}
		})
	}
	workers.Wait()
	require.NoError(t, provider.Shutdown(context.Background()))
	snap := s.Snapshot()
	assert.Zero(t, snap.HeldBytes)
	assert.Zero(t, snap.HeldTraces)
	once := map[trace.SpanID]bool{}
	failed := 0
	for _, span := range out.spans {
		id := span.SpanContext().SpanID()
		assert.False(t, once[id], "exported once")
		once[id] = true
		if span.Status().Code != 0 {
			failed++
		}
	}
	if snap.Tail.Evicted == 0 {
		assert.Equal(t, 800, failed)
	}
}

// BenchmarkRequest is a request of four spans that is not chosen, in ways of not choosing it.
//
//	go test ./internal/sampling -run '^$' -bench Request -benchmem -count 6
func BenchmarkRequest(b *testing.B) {
	next := exported(func(sdktrace.ReadOnlySpan) {})
	for _, rival := range []struct {
		name string
		cfg  *Config
		sdk  sdktrace.Sampler
	}{
		{name: "stock/dropped", sdk: sdktrace.ParentBased(sdktrace.NeverSample())},
		{name: "stock/sampled", sdk: sdktrace.ParentBased(sdktrace.AlwaysSample())},
		{name: "adaptive/head_only", cfg: &Config{HeadOnly: true, Rules: []Rule{{Ratio: 1e-9}}}},
		{name: "adaptive/tail", cfg: &Config{Rules: []Rule{{Ratio: 1e-9}}, RecordedSpansPerSecond: 1e6}},
	} {
		b.Run(rival.name, func(b *testing.B) {
			sampler, processor := rival.sdk, sdktrace.SpanProcessor(next)
			if rival.cfg != nil {
				s, err := New(*rival.cfg)
				require.NoError(b, err)
				defer s.Close()
				sampler, processor = s, s.Processor(next)
			}
			provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithSpanProcessor(processor))
			defer func() { _ = provider.Shutdown(context.Background()) }()
			tracer := provider.Tracer("bench")
			attributes := serverAttributes(1)
			b.ReportAllocs()
			for b.Loop() {
				ctx, root := tracer.Start(context.Background(), "GET /orders", trace.WithAttributes(attributes...))
				for range 3 {
					_, child := tracer.Start(ctx, "query", trace.WithAttributes(attributes[:3]...))
					child.End()
				}
				root.End()
			}
		})
	}
}

// TestSoak runs for a minute with the real clock, a few goroutines and a load that steps up and
// down.
//
//	SAMPLING_FIGURES=1 go test ./internal/sampling -run Soak -v
func TestSoak(t *testing.T) {
	if os.Getenv(figures) == "" {
		t.Skip("set " + figures + "=1 for a minute of real time")
	}
	s, err := New(Config{HeadOnly: true})
	require.NoError(t, err)
	defer s.Close()
	p := newProbe(1, trace.SpanContextConfig{}, false)
	for n, pause := range []time.Duration{5000, 5000, 100, 100, 100, 100, 5000, 5000, 100, 100} {
		before := s.Snapshot().Kept
		for start := time.Now(); time.Since(start) < 6*time.Second; time.Sleep(pause * time.Microsecond) {
			s.ShouldSample(*p.next())
		}
		kept := float64(s.Snapshot().Kept-before) / 6
		t.Logf("phase %d: %.1f kept per second", n, kept)
		assert.LessOrEqual(t, kept, 1.4*target, "phase %d", n)
		assert.GreaterOrEqual(t, kept, 0.6*target, "phase %d", n)
	}
}
