package sampling

import (
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// collected is what reached the processor behind the tail, which refuses unsampled spans like the
// SDK's own.
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

// process is a tracer provider with a sampler and its tail, in a synctest bubble. Traces whose root
// is called "drop…" are not sampled by the head, those called "keep…" are, at 1/2.
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
		defer s.Close() // also when body gives up: a bubble must not be left with its goroutine
		p := &process{Sampler: s, out: &collected{}}
		p.provider = sdktrace.NewTracerProvider(sdktrace.WithSampler(s), sdktrace.WithIDGenerator(&ids{}),
			sdktrace.WithSpanProcessor(s.Processor(exported(p.out.add))))
		p.tracer = p.provider.Tracer("test")
		body(t, p)
		require.NoError(t, p.provider.Shutdown(context.Background()))
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
