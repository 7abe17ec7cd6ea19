package sampling

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// served is a request to a service that names its route late.
type served struct {
	trace.Span
	ctx     context.Context
	request *Request
}

func (p *process) serve(ctx context.Context) *served {
	ctx, request := withRequest(ctx)
	s := &served{request: request}
	s.ctx, s.Span = p.start(ctx, "GET", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(pathKey.String("/path"), attribute.String("tenant", "blue")))
	return s
}

// route does what the middleware does.
func (s *served) route(route string) *served {
	s.request.SetRoute(LateRoute{Span: s.Span, StartName: "GET", Path: "/path", Name: "GET " + route, Route: route})
	s.SetName("GET " + route)
	return s
}

func (c *collected) states() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	states := map[string]string{}
	for _, s := range c.spans {
		states[s.Name()] = s.SpanContext().TraceState().String()
	}
	return states
}

func TestLateRoutesAndRules(t *testing.T) {
	rules := []Rule{
		{Route: "/drop", Drop: true},
		{Route: "/keep", Keep: true},
		{Route: "/most", Ratio: 0.875},
		{Route: "/few", Ratio: 0.125},
		{Route: "/limit", TracesPerSecond: 10},
		{Route: "/patient", SlowThreshold: time.Minute, Ratio: 0.125},
		{Route: "/hasty", SlowThreshold: time.Millisecond, Ratio: 0.125},
		{Route: "/blue", Attribute: attribute.String("tenant", "blue"), Keep: true},
		{Route: "/red", Attribute: attribute.String("tenant", "red"), Keep: true},
		{Route: "/class", SlowThreshold: -1},
	}
	// The last rule, of inProcess, samples all others at 1/2. R is 1/4 or 3/4.
	for _, tc := range []struct {
		routes                     []string
		takes                      time.Duration
		fails                      bool
		whenUnsampled, whenSampled string // the tracestate, "" if it is not exported
	}{
		{routes: []string{"/other"}, whenSampled: "ot=th:8"},
		{routes: []string{"/other"}, fails: true, whenUnsampled: "ot=th:0", whenSampled: "ot=th:0"},
		{routes: []string{"/drop"}, whenSampled: "ot=th:8"},
		{routes: []string{"/drop"}, fails: true, whenSampled: "ot=th:8"},
		{routes: []string{"/drop"}, takes: 2 * time.Second, whenSampled: "ot=th:8"},
		{routes: []string{"/keep"}, whenUnsampled: "ot=th:0", whenSampled: "ot=th:0"},
		{routes: []string{"/most"}, whenUnsampled: "ot=th:2", whenSampled: "ot=th:2"},
		{routes: []string{"/few"}, whenSampled: "ot=th:8"},
		{routes: []string{"/few"}, fails: true, whenUnsampled: "ot=th:0", whenSampled: "ot=th:0"},
		{routes: []string{"/limit"}, whenUnsampled: "ot=th:0", whenSampled: "ot=th:0"},
		{routes: []string{"/patient"}, takes: 2 * time.Second, whenSampled: "ot=th:8"},
		{routes: []string{"/patient"}, takes: 2 * time.Minute, whenUnsampled: "ot=th:0", whenSampled: "ot=th:0"},
		{routes: []string{"/hasty"}, takes: time.Millisecond, whenUnsampled: "ot=th:0", whenSampled: "ot=th:0"},
		{routes: []string{"/blue"}, whenUnsampled: "ot=th:0", whenSampled: "ot=th:0"},
		{routes: []string{"/red"}, whenSampled: "ot=th:8"},
		// a rule without an action: the class decides
		{routes: []string{"/class"}, whenUnsampled: "ot=th:0", whenSampled: "ot=th:0"},
		{routes: []string{"/class"}, takes: 2 * time.Minute, whenUnsampled: "ot=th:0", whenSampled: "ot=th:0"},
		// The last route counts.
		{routes: []string{"/keep", "/other"}, whenSampled: "ot=th:8"},
		{routes: []string{"/drop", "/other"}, fails: true, whenUnsampled: "ot=th:0", whenSampled: "ot=th:0"},
		{routes: []string{"/other", "/drop"}, fails: true, whenSampled: "ot=th:8"},
		{routes: []string{"/hasty", "/other"}, takes: time.Millisecond, whenSampled: "ot=th:8"},
		{routes: []string{"/few", "/most"}, whenUnsampled: "ot=th:2", whenSampled: "ot=th:2"},
		{routes: []string{"/limit", "/few"}, whenSampled: "ot=th:8"},
	} {
		for _, ctx := range []context.Context{unsampled, sampled} {
			inProcess(t, Config{Rules: rules}, func(t *testing.T, p *process) {
				s := p.serve(ctx)
				_, child := p.start(s.ctx, "child")
				for _, route := range tc.routes {
					s.route(route)
				}
				time.Sleep(tc.takes)
				child.End()
				if tc.fails {
					fail(s)
				}
				s.End()
				want := tc.whenUnsampled
				if ctx == sampled {
					want = tc.whenSampled
				}
				all := map[string]string{"child": want, "GET " + tc.routes[len(tc.routes)-1]: want}
				if want == "" {
					all = map[string]string{}
				}
				assert.Equal(t, all, p.out.states(), "%v, takes %v, fails %v, sampled %v", tc.routes, tc.takes,
					tc.fails, ctx == sampled)
			})
		}
	}
}

func TestRouteThatIsTooLate(t *testing.T) {
	rules := []Rule{{Route: "/keep", Keep: true, SlowThreshold: -1}, {SpanName: "GET", SlowThreshold: -1, Ratio: 0.5}}
	inProcess(t, Config{Rules: rules}, func(t *testing.T, p *process) {
		s := p.serve(unsampled)
		s.End()
		s.route("/keep")
		(&Request{}).SetRoute(LateRoute{Span: s.Span, Name: "GET /keep", Route: "/keep"})
		assert.Empty(t, p.out.states(), "after the end")

		for _, ctx := range []context.Context{unsampled, sampled} {
			s = p.serve(ctx)
			_, child := p.start(s.ctx, "child")
			child.End()
			time.Sleep(minHold + time.Second)
			s.route("/keep").End()
		}
		assert.Equal(t, map[string]string{"child": "ot=th:8", "GET /keep": "ot=th:8"}, p.out.states(),
			"after spans have left: those of the sampled one")
	})
	inProcess(t, Config{Rules: rules}, func(t *testing.T, p *process) {
		s := p.serve(unsampled).route("/keep")
		_, child := p.start(s.ctx, "child")
		child.End()
		time.Sleep(minHold + time.Second)
		assert.Equal(t, map[string]string{"child": "ot=th:0"}, p.out.states(), "a long request is handed on as it goes")
		s.End()
		assert.Equal(t, map[string]string{"child": "ot=th:0", "GET /keep": "ot=th:0"}, p.out.states())
	})
}

func TestLateRoutesBehindCallers(t *testing.T) {
	type key struct{}
	cfg := Config{
		Rules: []Rule{{Route: "/keep", Keep: true}, {Route: "/drop", Drop: true},
			{Route: "/hasty", SlowThreshold: time.Millisecond}},
		Untrusted: func(ctx context.Context) bool { return ctx.Value(key{}) != nil },
	}
	caller := func(flags trace.TraceFlags) context.Context {
		return trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{9, 9: 0x40}, SpanID: trace.SpanID{9}, TraceFlags: flags,
		}))
	}
	inProcess(t, cfg, func(t *testing.T, p *process) {
		p.serve(caller(0)).route("/keep").End()
		assert.Empty(t, p.out.states(), "a trusted caller has decided")
		fail(p.serve(caller(0)).route("/drop"))
		assert.Empty(t, p.out.states())
		fail(p.serve(caller(trace.FlagsSampled)).route("/drop"))
		assert.Equal(t, map[string]string{"GET /drop": ""}, p.out.states(), "it goes on as its caller has sampled it")
		s := p.serve(caller(0))
		time.Sleep(time.Millisecond)
		s.route("/hasty").End()
		assert.Contains(t, p.out.states(), "GET /hasty")
	})
	inProcess(t, cfg, func(t *testing.T, p *process) {
		p.serve(context.WithValue(caller(0), key{}, 1)).route("/keep").End()
		require.Len(t, p.out.spans, 1, "an untrusted caller has not")
		count, ok := AdjustedCount(p.out.spans[0].SpanContext())
		assert.True(t, ok)
		assert.Equal(t, 1.0, count)
	})
	inProcess(t, cfg, func(t *testing.T, p *process) {
		first, second := p.serve(caller(0)), p.serve(caller(0))
		first.route("/drop")
		fail(first)
		second.End()
		assert.Empty(t, p.out.states(), "what fails is dropped")
		first, second = p.serve(caller(0)), p.serve(caller(0))
		first.route("/drop").End()
		fail(second)
		assert.Len(t, p.out.spans, 2, "two requests of one trace are kept together")
	})
}

// TestChosenTraceIDsOnALateRoute has a client that sends ever the same trace ID, which it found to
// pass.
func TestChosenTraceIDsOnALateRoute(t *testing.T) {
	simulation(t)
	without, with := exportedOfChosen(t, false), exportedOfChosen(t, true)
	t.Logf("without routes %d, with %d", without, with)
	assert.Less(t, float64(with), 1.2*float64(without))
}

func exportedOfChosen(t *testing.T, route bool) (exported int) {
	s := newService(t, 1, Config{TracesPerSecond: 10, Untrusted: func(context.Context) bool { return true }},
		func(sdktrace.ReadOnlySpan) { exported++ })
	var best trace.TraceID
	for range 10_000 {
		if id := s.traceID(s.random.Uint64() & (whole - 1)); s.hash.secretRandomness(id) > s.hash.secretRandomness(best) {
			best = id
		}
	}
	const seconds = 60
	run(newRandom(1), s.clock, s.tick, []phase{{seconds * time.Second, []float64{500, 500}}}, func(a arrival) {
		id := s.traceID(a.r)
		if a.op == 0 {
			id = best
		}
		request := &Request{}
		ctx := trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: id, SpanID: trace.SpanID{2},
		}))
		span, _ := s.start(context.WithValue(ctx, RequestKey{}, request), "GET", id, time.Microsecond, false)
		if span != nil && route {
			request.SetRoute(LateRoute{Span: span, StartName: "GET", Name: "GET /x", Route: "/x"})
		}
	})
	s.finish(t)
	return exported
}

func TestLateRoutesAtOnce(t *testing.T) {
	s, err := New(Config{TracesPerSecond: 10,
		Rules: []Rule{{Route: "/drop", Drop: true}, {Route: "/hasty", SlowThreshold: 1}}})
	require.NoError(t, err)
	defer s.Close()
	out := &collected{}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(s),
		sdktrace.WithSpanProcessor(s.Processor(exported(out.add))))
	p := &process{Sampler: s, provider: provider, tracer: provider.Tracer("test"), out: out}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				r := p.serve(context.Background())
				var routes sync.WaitGroup
				for _, route := range []string{"/a", "/drop", "/hasty"} {
					routes.Go(func() {
						r.request.SetRoute(LateRoute{Span: r.Span, StartName: "GET", Path: "/path",
							Name: "GET " + route, Route: route})
					})
				}
				r.End()
				routes.Wait()
			}
		})
	}
	all.Wait()
	require.NoError(t, provider.Shutdown(context.Background()))
	assert.Zero(t, p.Snapshot().HeldTraces)
	assert.NotEmpty(t, out.names())
}

func TestLateRoutesDoNotAllocate(t *testing.T) {
	s, err := New(Config{TracesPerSecond: 10, Rules: []Rule{{Route: "/drop", Drop: true}}})
	require.NoError(t, err)
	defer s.Close()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(s), sdktrace.WithSpanProcessor(s.Processor(nil)))
	p := &process{Sampler: s, tracer: provider.Tracer("test")}
	allocations := func(routes bool) float64 {
		return testing.AllocsPerRun(2000, func() {
			r := p.serve(context.Background())
			if routes {
				r.request.SetRoute(LateRoute{Span: r.Span, StartName: "GET", Path: "/path", Name: "GET /a",
					Route: "/a"})
			}
			r.End()
		})
	}
	allocations(true)
	assert.Equal(t, allocations(false), allocations(true))
	require.NoError(t, provider.Shutdown(context.Background()))
}
