package sampling

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

type situation struct {
	name       string
	operations int
	parent     trace.SpanContextConfig
}

func (s situation) isChild() bool { return !strings.HasPrefix(s.name, "root") }

// The decisions that are measured, by the situation of the span.
var situations = []situation{
	{name: "root/1op", operations: 1},
	{name: "root/32ops", operations: 32},
	{name: "root/512ops", operations: 512},
	{name: "child/sampled", operations: 1, parent: trace.SpanContextConfig{TraceFlags: trace.FlagsSampled}},
	{name: "child/unsampled", operations: 1, parent: trace.SpanContextConfig{}},
	{name: "remote/sampled", operations: 1,
		parent: trace.SpanContextConfig{TraceFlags: trace.FlagsSampled, Remote: true}},
}

// probe is a source of sampling parameters as an instrumented server makes them.
type probe struct {
	params []sdktrace.SamplingParameters
	random uint64
}

func newProbe(operations int, parent trace.SpanContextConfig, child bool) *probe {
	ctx := context.WithValue(context.Background(), contextKey{}, 1)
	if child {
		parent.TraceID, parent.SpanID = trace.TraceID{1, 15: 9}, trace.SpanID{1}
		if parent.Remote {
			parent.TraceState = gridPoint(0).state
		}
		ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(parent))
	}
	p := &probe{random: 88172645463325252}
	// One slice for all, since a service's attributes are in the cache: it has just made them.
	attributes := []attribute.KeyValue{
		attribute.String("http.request.method", "GET"), attribute.String("url.scheme", "http"),
		attribute.String("server.address", "localhost"), attribute.Int("server.port", 8080),
		attribute.String("url.path", "/api/v1/operation"), attribute.String("user_agent.original", "curl"),
	}
	for i := range operations {
		p.params = append(p.params, sdktrace.SamplingParameters{
			ParentContext: ctx, Name: fmt.Sprintf("GET /api/v1/operation-%d", i), Kind: trace.SpanKindServer,
			Attributes: attributes,
		})
	}
	return p
}

type contextKey struct{}

func (p *probe) next() *sdktrace.SamplingParameters {
	p.random ^= p.random << 13
	p.random ^= p.random >> 7
	p.random ^= p.random << 17
	params := &p.params[p.random%uint64(len(p.params))]
	binary.LittleEndian.PutUint64(params.TraceID[:8], p.random)
	binary.LittleEndian.PutUint64(params.TraceID[8:], p.random*0x9e3779b97f4a7c15)
	return params
}

func adaptive(tb testing.TB, tail bool) *Sampler {
	s, err := New(Config{HeadOnly: !tail, RemoteTracesPerSecond: 1e6})
	require.NoError(tb, err)
	tb.Cleanup(s.Close)
	if tail {
		s.tailsOn.Store(true)
	}
	return s
}

// BenchmarkShouldSample compares decisions with those of the SDK's ParentBased(TraceIDRatioBased(1
// %)).
//
//	go test ./internal/sampling -run '^$' -bench ShouldSample -cpu 1,2 -count 6
func BenchmarkShouldSample(b *testing.B) {
	for _, rival := range []struct {
		name string
		make func() sdktrace.Sampler
	}{
		{"stock", func() sdktrace.Sampler { return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.01)) }},
		{"adaptive", func() sdktrace.Sampler { return adaptive(b, false) }},
		{"adaptive+tail", func() sdktrace.Sampler { return adaptive(b, true) }},
	} {
		for _, s := range situations {
			b.Run(s.name+"/"+rival.name, func(b *testing.B) {
				sampler := rival.make()
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					p := newProbe(s.operations, s.parent, s.isChild())
					for pb.Next() {
						sampler.ShouldSample(*p.next())
					}
				})
			})
		}
	}
}

// TestDecisionsDoNotAllocate covers the situations of the benchmark, at rates where some traces are
// kept and some not.
func TestDecisionsDoNotAllocate(t *testing.T) {
	for _, s := range situations {
		for _, tail := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tail=%v", s.name, tail), func(t *testing.T) {
				sampler := adaptive(t, tail)
				p := newProbe(s.operations, s.parent, s.isChild())
				for start := time.Now(); time.Since(start) < 50*time.Millisecond; {
					sampler.ShouldSample(*p.next())
				}
				assert.Zero(t, testing.AllocsPerRun(20_000, func() { sampler.ShouldSample(*p.next()) }))
			})
		}
	}
}

// BenchmarkLateRoute is a request without a child whose route is known at its start, or late.
//
//	go test ./internal/sampling -run '^$' -bench LateRoute -count 6
func BenchmarkLateRoute(b *testing.B) {
	for _, late := range []bool{false, true} {
		b.Run(fmt.Sprintf("late=%v", late), func(b *testing.B) {
			s, err := New(Config{})
			require.NoError(b, err)
			b.Cleanup(s.Close)
			provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(s),
				sdktrace.WithSpanProcessor(s.Processor(nil)))
			p := &process{Sampler: s, tracer: provider.Tracer("test")}
			b.ReportAllocs()
			for b.Loop() {
				r := p.serve(context.Background())
				if late {
					r.request.SetRoute(LateRoute{Span: r.Span, StartName: "GET", Path: "/path", Name: "GET /route",
						Route: "/route"})
				}
				r.End()
			}
		})
	}
}
