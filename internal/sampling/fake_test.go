package sampling

import (
	"container/heap"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// fakeSpan is a span of the simulations: what the tail reads of one, and nothing else.
type fakeSpan struct {
	sdktrace.ReadWriteSpan
	name       string
	sc, parent trace.SpanContext
	start, end time.Time
	failed     bool
	request    *Request
	route      *LateRoute // to be set before the end
	met        func()     // to be called then
	provider   *sdktrace.TracerProvider
}

func (s *fakeSpan) Name() string                         { return s.name }
func (s *fakeSpan) TracerProvider() trace.TracerProvider { return s.provider }
func (s *fakeSpan) SpanContext() trace.SpanContext       { return s.sc }
func (s *fakeSpan) Parent() trace.SpanContext            { return s.parent }
func (s *fakeSpan) SpanKind() trace.SpanKind             { return trace.SpanKindServer }
func (s *fakeSpan) StartTime() time.Time                 { return s.start }
func (s *fakeSpan) EndTime() time.Time                   { return s.end }
func (s *fakeSpan) Attributes() []attribute.KeyValue     { return nil }
func (s *fakeSpan) Events() []sdktrace.Event             { return nil }
func (s *fakeSpan) Links() []sdktrace.Link               { return nil }
func (s *fakeSpan) Status() sdktrace.Status {
	if s.failed {
		return sdktrace.Status{Code: codes.Error}
	}
	return sdktrace.Status{}
}

// exported calls f with every span that the tail hands on.
type exported func(sdktrace.ReadOnlySpan)

func (f exported) OnEnd(s sdktrace.ReadOnlySpan)                 { f(s) }
func (exported) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (exported) ForceFlush(context.Context) error                { return nil }
func (exported) Shutdown(context.Context) error                  { return nil }

// service is a process in virtual time: a sampler, its tail, and requests that take a while.
type service struct {
	*Sampler
	clock    *clock
	tail     *tail
	random   *rand.Rand
	running  endings
	provider *sdktrace.TracerProvider // that the spans name as theirs
	params   sdktrace.SamplingParameters
}

func newService(t testing.TB, seed uint64, cfg Config, f exported) *service {
	return newServiceAt(t, &clock{}, seed, cfg, f)
}

// newServiceAt is newService for a service that shares its clock with others.
func newServiceAt(t testing.TB, c *clock, seed uint64, cfg Config, f exported) *service {
	s := &service{clock: c, random: newRandom(seed + 1e9), provider: sdktrace.NewTracerProvider()}
	cfg.now, cfg.seed = s.clock.read, seed+1
	sampler, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(sampler.Close)
	s.Sampler, s.tail = sampler, sampler.newTail(f)
	s.params = sdktrace.SamplingParameters{ParentContext: context.Background(), Kind: trace.SpanKindServer}
	return s
}

// request starts a request whose parent is in ctx, and schedules its end. It reports what was
// decided at its start.
func (s *service) request(ctx context.Context, name string, id trace.TraceID, takes time.Duration,
	failed bool) sdktrace.SamplingDecision {
	_, decision := s.start(ctx, name, id, takes, failed)
	return decision
}

// start is request. The span is nil if it is not recorded.
func (s *service) start(ctx context.Context, name string, id trace.TraceID, takes time.Duration,
	failed bool) (*fakeSpan, sdktrace.SamplingDecision) {
	s.endUntil(s.clock.now)
	s.params.ParentContext, s.params.Name, s.params.TraceID = ctx, name, id
	result := s.ShouldSample(s.params)
	if result.Decision == sdktrace.Drop {
		return nil, result.Decision
	}
	start := time.Unix(0, 0).Add(s.clock.now)
	span := &fakeSpan{
		name: name, failed: failed, start: start, end: start.Add(takes),
		sc: trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: id, SpanID: trace.SpanID{1}, TraceState: result.Tracestate,
			TraceFlags: trace.TraceFlags(0).WithSampled(result.Decision == sdktrace.RecordAndSample),
		}),
		parent: trace.SpanContextFromContext(ctx), provider: s.provider,
	}
	s.tail.OnStart(ctx, span)
	heap.Push(&s.running, ending{s.clock.now + takes, span})
	return span, result.Decision
}

// endUntil ends what is to end before a time.
func (s *service) endUntil(now time.Duration) {
	for len(s.running) > 0 && s.running[0].at <= now {
		span := heap.Pop(&s.running).(ending).span
		if span.route != nil {
			span.request.SetRoute(*span.route)
		}
		if span.met != nil {
			span.met()
		}
		s.tail.OnEnd(span)
	}
}

func (s *service) tick() {
	s.endUntil(s.clock.now)
	s.Sampler.tick()
}

// finish lets every request end and shuts the tail down.
func (s *service) finish(t testing.TB) {
	for len(s.running) > 0 {
		s.clock.now = max(s.clock.now+tickInterval, 0)
		s.tick()
	}
	require.NoError(t, s.tail.Shutdown(context.Background()))
}

func (s *service) traceID(r uint64) (id trace.TraceID) {
	binary.BigEndian.PutUint64(id[:8], s.random.Uint64()|1)
	binary.BigEndian.PutUint64(id[8:], s.random.Uint64()<<randomBits|r)
	return id
}

type ending struct {
	at   time.Duration
	span *fakeSpan
}

type endings []ending

func (e endings) Len() int           { return len(e) }
func (e endings) Less(i, j int) bool { return e[i].at < e[j].at }
func (e endings) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *endings) Push(x any)        { *e = append(*e, x.(ending)) }
func (e *endings) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}
