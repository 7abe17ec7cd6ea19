package sampling

import (
	"context"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func stateOf(t testing.TB, header string) trace.TraceState {
	t.Helper()
	ts, err := trace.ParseTraceState(header)
	require.NoError(t, err)
	return ts
}

// Trace IDs with the highest and the lowest R.
var (
	high = trace.TraceID{1, 9: 0xff, 10: 0xff, 11: 0xff, 12: 0xff, 13: 0xff, 14: 0xff, 15: 0xff}
	low  = trace.TraceID{1}
)

// halfSampler samples what begins here with probability 1/2 and has a tail if asked.
func halfSampler(t testing.TB, tail bool, change func(*Config)) *Sampler {
	cfg := Config{now: func() time.Duration { return 0 }, seed: 1, Rules: []Rule{{SpanName: "half", Ratio: 0.5}}}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	require.NoError(t, err)
	if tail {
		s.Processor(exported(func(sdktrace.ReadOnlySpan) {}))
	}
	return s
}

// TestDecisionTable is the table of parents. The head's threshold is 1/2.
func TestDecisionTable(t *testing.T) {
	const drop, recordOnly, sample = sdktrace.Drop, sdktrace.RecordOnly, sdktrace.RecordAndSample
	untrusted := func(c *Config) { c.Untrusted = func(context.Context) bool { return true } }
	type caller struct {
		remote, sampled bool
		state           string
	}
	for _, tc := range []struct {
		name       string
		id         trace.TraceID
		caller     *caller
		change     func(*Config)
		head, tail sdktrace.SamplingDecision
		state      string
	}{
		{name: "root, R above T", id: high, head: sample, tail: sample, state: "ot=th:8"},
		{name: "root, R below T", id: low, head: drop, tail: recordOnly},
		{
			name: "root with its own randomness", id: low, caller: &caller{state: "ot=rv:90000000000000,a=b"},
			head: sample, tail: sample, state: "ot=th:8;rv:90000000000000,a=b",
		},
		{
			name: "root with low randomness", id: high, caller: &caller{state: "ot=rv:10000000000000;th:0"},
			head: drop, tail: recordOnly, state: "ot=rv:10000000000000",
		},
		{name: "local parent sampled", id: low, caller: &caller{sampled: true, state: "ot=th:0,a=b"}, head: sample,
			tail: sample, state: "ot=th:0,a=b"},
		{name: "local parent not recording", id: high, caller: &caller{state: "a=b"}, head: drop, tail: drop,
			state: "a=b"},
		{name: "caller sampled", id: high, caller: &caller{true, true, "a=b,ot=th:c"}, head: sample, tail: sample,
			state: "a=b,ot=th:c"},
		{name: "caller sampled with rv", id: low, caller: &caller{true, true, "ot=th:c;rv:d0000000000000"},
			head: sample, tail: sample, state: "ot=th:c;rv:d0000000000000"},
		{name: "caller sampled without th", id: low, caller: &caller{true, true, "a=b"}, head: sample, tail: sample,
			state: "a=b"},
		{name: "caller contradicts its R", id: low, caller: &caller{true, true, "a=b,ot=th:c;p:1"}, head: sample,
			tail: sample, state: "ot=p:1,a=b"},
		{name: "caller's th is malformed", id: high, caller: &caller{true, true, "ot=th:xyz"}, head: sample,
			tail: sample},
		{name: "caller claims too much", id: high, caller: &caller{true, true, "ot=th:ffffff"}, head: sample,
			tail: sample},
		{name: "caller not sampled", id: high, caller: &caller{true, false, "ot=th:c;p:1"}, head: drop,
			tail: recordOnly, state: "ot=p:1"},
		{name: "untrusted caller: its flag and th do not count", id: high,
			caller: &caller{true, true, "ot=th:0;rv:ffffffffffffff,a=b"}, change: untrusted, head: drop,
			tail: recordOnly},
		{name: "untrusted caller: nor does its wish not to be sampled", id: low, caller: &caller{true, false, ""},
			change: untrusted, head: sample, tail: sample},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, withTail := range []bool{false, true} {
				ctx := context.Background()
				if tc.caller != nil {
					sc := trace.SpanContextConfig{Remote: tc.caller.remote, TraceState: stateOf(t, tc.caller.state),
						TraceFlags: trace.TraceFlags(0).WithSampled(tc.caller.sampled)}
					if tc.caller.remote || tc.caller.sampled || tc.name == "local parent not recording" {
						sc.TraceID, sc.SpanID = tc.id, trace.SpanID{1}
					}
					ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(sc))
				}
				s := halfSampler(t, withTail, tc.change)
				got := s.ShouldSample(sdktrace.SamplingParameters{ParentContext: ctx, TraceID: tc.id, Name: "half"})
				want := tc.head
				if withTail {
					want = tc.tail
				}
				assert.Equal(t, want, got.Decision, "tail: %v", withTail)
				if tc.change == nil {
					assert.Equal(t, tc.state, got.Tracestate.String())
					continue
				}
				// What an untrusted caller's R becomes depends on the seed; what counts is that it
				// is ours, and travels.
				state := readState(got.Tracestate)
				assert.Equal(t, s.hash.secretRandomness(tc.id), state.randomness)
				assert.Equal(t, want == sample, state.hasThreshold)
				assert.Equal(t, state.randomness >= whole/2, want == sample)
			}
		})
	}
}

func TestChildOfAnUndecidedSpanIsUndecided(t *testing.T) {
	s := halfSampler(t, true, nil)
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(s), sdktrace.WithIDGenerator(fixedID(low)))
	ctx, root := provider.Tracer("").Start(context.Background(), "half")
	assert.True(t, root.IsRecording())
	assert.False(t, root.SpanContext().IsSampled())
	root.End()
	_, child := provider.Tracer("").Start(ctx, "child")
	assert.True(t, child.IsRecording(), "even after its parent's end")
	assert.False(t, child.SpanContext().IsSampled())
}

type fixedID trace.TraceID

func (f fixedID) NewIDs(context.Context) (trace.TraceID, trace.SpanID) {
	return trace.TraceID(f), trace.SpanID{1}
}
func (fixedID) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return trace.SpanID{2} }

func TestRules(t *testing.T) {
	const server, client = trace.SpanKindServer, trace.SpanKindClient
	path := func(p string) []attribute.KeyValue { return []attribute.KeyValue{pathKey.String(p)} }
	rules := []Rule{
		{Route: "/orders/{id}", Keep: true},
		{PathPrefix: "/internal/", Kind: server, Drop: true},
		{SpanName: "cron.*", Ratio: 0.5},
		{Attribute: attribute.String("tenant", "test"), Drop: true},
		{Attribute: attribute.KeyValue{Key: "debug"}, Keep: true},
		{PathPrefix: "/metrics", Keep: true},
		{SpanName: "exact", TracesPerSecond: 1},
	}
	for _, tc := range []struct {
		name       string
		kind       trace.SpanKind
		attributes []attribute.KeyValue
		want       int // the rule that matches; -1: none; -2: the probes' rule
	}{
		{"GET", server, []attribute.KeyValue{routeKey.String("/orders/{id}")}, 0},
		{"GET", server, path("/internal/x"), 1},
		{"GET", client, path("/internal/x"), -1},
		{"cron.nightly", 0, nil, 2},
		{"cron", 0, nil, -1},
		{"any", 0, []attribute.KeyValue{attribute.String("tenant", "test")}, 3},
		{"any", 0, []attribute.KeyValue{attribute.String("tenant", "other")}, -1},
		{"any", 0, []attribute.KeyValue{attribute.Bool("debug", false)}, 4},
		{"GET", server, path("/metrics"), 5},
		{"exact", 0, nil, 6},
		{"exactly", 0, nil, -1},
		{"GET", server, path("/healthz"), -2},
		{"GET", server, []attribute.KeyValue{oldTargetKey.String("/readyz?verbose")}, -2},
		{"GET /ping", server, []attribute.KeyValue{routeKey.String("/ping")}, -2},
		{"GET", client, path("/healthz"), -1},
		{"GET", server, path("/healthzz"), -1},
		{"GET", server, path("/api/health"), -1},
		{"grpc.health.v1.Health/Check", server, nil, -2},
		{"/grpc.health.v1.Health/Watch", server, nil, -2},
		{"grpc.health.v1.Health/Check", client, nil, -1},
		{"grpc.healthy/Check", server, nil, -1},
	} {
		compiled, err := compileRules(rules, func() time.Duration { return 0 })
		require.NoError(t, err)
		var req request
		req.read(tc.name, tc.kind, tc.attributes)
		got := compiled.match(&req)
		switch {
		case tc.want == -1:
			assert.Nil(t, got, "%s %v", tc.name, tc.attributes)
		case tc.want == -2:
			assert.Same(t, &probeRule, got, "%s %v", tc.name, tc.attributes)
		default:
			assert.Same(t, &compiled.list[tc.want], got, "%s %v", tc.name, tc.attributes)
		}
	}
}

func TestWhatRulesDo(t *testing.T) {
	s := halfSampler(t, true, func(c *Config) {
		c.Rules = append(c.Rules, Rule{SpanName: "drop", Drop: true}, Rule{SpanName: "keep", Keep: true},
			Rule{SpanName: "limit", TracesPerSecond: 5})
	})
	ask := func(name string, id trace.TraceID, sc trace.SpanContextConfig) sdktrace.SamplingResult {
		ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(sc))
		return s.ShouldSample(sdktrace.SamplingParameters{ParentContext: ctx, TraceID: id, Name: name})
	}
	none := trace.SpanContextConfig{}
	assert.Equal(t, sdktrace.Drop, ask("drop", high, none).Decision, "not even the tail sees it")
	kept := ask("keep", low, none)
	assert.Equal(t, sdktrace.RecordAndSample, kept.Decision)
	assert.Equal(t, "ot=th:0", kept.Tracestate.String())
	caller := trace.SpanContextConfig{TraceID: high, SpanID: trace.SpanID{1}, Remote: true}
	assert.Equal(t, sdktrace.Drop, ask("drop", high, caller).Decision, "an unsampled caller's probe is dropped")
	caller.TraceFlags = trace.FlagsSampled
	assert.Equal(t, sdktrace.RecordAndSample, ask("drop", high, caller).Decision, "a sampled caller is followed")

	snap := s.Snapshot()
	assert.Equal(t, uint64(2), snap.RuleDropped)
	assert.Equal(t, uint64(1), snap.RuleKept)
	assert.Equal(t, uint64(1), snap.Followed)
	assert.Zero(t, snap.Arrivals, "rules are outside the common target")
}

// TestCountsOfTracesThatARuleDrops: the rule drops them unless their caller has sampled them. A
// failed one must then not count as if the failed ones that were dropped had been seen.
func TestCountsOfTracesThatARuleDrops(t *testing.T) {
	inProcess(t, Config{Rules: []Rule{{SpanName: "poll", Drop: true}}}, func(t *testing.T, p *process) {
		for _, name := range []string{"poll", "request"} {
			_, s := p.start(trace.ContextWithSpanContext(unsampled, trace.NewSpanContext(trace.SpanContextConfig{
				TraceID: trace.TraceID{1, 9: 0xf0}, SpanID: trace.SpanID{9}, Remote: true,
				TraceFlags: trace.FlagsSampled, TraceState: stateOf(t, "ot=th:c"),
			})), name)
			fail(s)
		}
		assert.Equal(t, "ot=th:c", p.out.find(t, "poll").SpanContext().TraceState().String())
		assert.Equal(t, "ot=th:0", p.out.find(t, "request").SpanContext().TraceState().String())
	})
}

func TestLimitRule(t *testing.T) {
	s := newService(t, 1, Config{HeadOnly: true, Rules: []Rule{{SpanName: "slow lane", TracesPerSecond: 5}}},
		func(sdktrace.ReadOnlySpan) {})
	var kept perSecond
	run(newRandom(1), s.clock, s.tick, []phase{{60 * time.Second, []float64{1000}}}, func(a arrival) {
		if s.request(context.Background(), "slow lane", s.traceID(a.r), 0, false) == sdktrace.RecordAndSample {
			kept.add(a.at)
		}
	})
	assert.InDelta(t, 5, kept.mean(5, 60), 0.9)
}

func TestConfigReportsEverything(t *testing.T) {
	_, err := New(Config{
		TracesPerSecond: -1, RemoteTracesPerSecond: 1e9, TailTracesPerSecond: -2, RecordedSpansPerSecond: -3,
		HeldBytes:     1,
		SlowThreshold: time.Hour, Rules: []Rule{{Drop: true, Keep: true}, {Ratio: 2}, {TracesPerSecond: -1}, {Kind: 9}},
	})
	require.Error(t, err)
	for _, part := range []string{
		"TracesPerSecond is -1", "RemoteTracesPerSecond is 1e+09", "TailTracesPerSecond is -2",
		"RecordedSpansPerSecond is -3", "HeldBytes is 1", "SlowThreshold is 1h0m0s", "rule 1:", "rule 2:", "rule 3:",
		"rule 4:",
	} {
		assert.ErrorContains(t, err, part)
	}
	for _, r := range []Rule{{Ratio: 2}, {Ratio: -0.1}, {TracesPerSecond: -1}, {Kind: 9}} {
		_, err := New(Config{Rules: []Rule{r}})
		assert.ErrorContains(t, err, "rule 1", "%+v", r)
	}
}

func TestLabelAtTheBoundAndOnePastIt(t *testing.T) {
	bound := strings.Repeat("é", maxLabel/2)
	assert.Equal(t, bound, label(bound))
	assert.Equal(t, bound[:len(bound)-4]+"…", label(bound+"x"), "cut between characters")
	assert.Equal(t, "x"+bound[:len(bound)-4]+"…", label("x"+bound))
	assert.NotSame(t, unsafe.StringData(bound), unsafe.StringData(label(bound)), "a copy")
}

func TestKeysOfOperations(t *testing.T) {
	h := hasher{42}
	key := func(name string, attributes ...attribute.KeyValue) uint64 {
		var req request
		req.read(name, trace.SpanKindServer, attributes)
		return h.key(&req)
	}
	path := func(p string) attribute.KeyValue { return pathKey.String(p) }
	assert.Equal(t, key("GET", path("/orders/17")), key("GET", path("/orders/4711")))
	assert.Equal(t, key("HTTP GET", path("/u/3f2b/x")), key("HTTP GET", path("/u/9c1d/x")))
	assert.NotEqual(t, key("GET", path("/orders")), key("GET", path("/users")))
	assert.NotEqual(t, key("GET", path("/v1/orders")), key("GET", path("/v2/orders")), "API versions are told apart")
	assert.NotEqual(t, key("GET", path("/orders")), key("POST", path("/orders")))
	assert.NotEqual(t, key("GET", path("/a/b")), key("GET", path("/ab")))
	assert.Equal(t, key("GET", routeKey.String("/orders/{id}"), path("/x")),
		key("GET", routeKey.String("/orders/{id}"), path("/y")))
	assert.Equal(t, key("GET /orders", path("/x")), key("GET /orders", path("/y")),
		"a name that says enough stands alone")
	assert.Equal(t, key("GET", path("7")), key("GET", path("8")), "http.StripPrefix may take the slash")
	assert.NotZero(t, key(""))
	seen := map[uint64]bool{}
	for i := range 100_000 {
		seen[key(time.Duration(i).String())] = true
	}
	assert.Len(t, seen, 100_000)
	sets := make([]int, headSets)
	for k := range seen {
		sets[k%headSets]++
	}
	for _, n := range sets {
		assert.InDelta(t, 100_000/headSets, n, 180, "the sets fill evenly")
	}
}
