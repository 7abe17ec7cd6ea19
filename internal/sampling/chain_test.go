package sampling

import (
	"container/heap"
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// chain is four services in virtual time: the edge calls orders, which calls inventory and then
// payment. What fails in payment or inventory may be swallowed by orders, and what fails in orders
// by the edge.
type chain struct {
	clock      *clock
	agenda     agenda
	services   [4]*service
	counts     [4]counts
	unweighted float64
	arrived    map[trace.TraceID]*[4]bool // of traces with an error, which services' parts have arrived
}

const (
	edge = iota
	orders
	inventory
	payment
)

var chainNames = [4]string{"edge", "orders", "inventory", "payment"}

// counts are the requests of one service, as they were and as the weights say.
type counts struct{ all, failed estimated }

type estimated struct{ truth, estimate, variance float64 }

func (e *estimated) add(weight float64) {
	e.estimate += weight
	e.variance += weight * (weight - 1)
}

func newChain(t *testing.T, seed uint64, cfgs [4]Config) *chain {
	c := &chain{clock: &clock{}, arrived: make(map[trace.TraceID]*[4]bool)}
	for i := range c.services {
		c.services[i] = newServiceAt(t, c.clock, 10*seed+uint64(i), cfgs[i], func(span sdktrace.ReadOnlySpan) {
			weight, ok := AdjustedCount(span.SpanContext())
			if !ok {
				c.unweighted++ // chance has looked like a caller that chooses its trace IDs
			}
			c.counts[i].all.add(weight)
			if span.Status().Code == codes.Error {
				c.counts[i].failed.add(weight)
			}
			if parts := c.arrived[span.SpanContext().TraceID()]; parts != nil {
				parts[i] = true
			}
		})
	}
	return c
}

// step is something that happens at a time.
type step struct {
	at time.Duration
	do func()
}

type agenda []step

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at < a[j].at }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)        { *a = append(*a, x.(step)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

func (c *chain) after(wait time.Duration, do func()) {
	heap.Push(&c.agenda, step{c.clock.now + wait, do})
}

// runUntil does what is due.
func (c *chain) runUntil(now time.Duration) {
	for len(c.agenda) > 0 && c.agenda[0].at <= now {
		next := heap.Pop(&c.agenda).(step)
		c.clock.now = next.at
		next.do()
	}
	c.clock.now = now
}

func (c *chain) tick() {
	c.runUntil(c.clock.now)
	for _, s := range c.services {
		s.Sampler.tick()
	}
}

func (c *chain) finish(t *testing.T) {
	for len(c.agenda) > 0 {
		c.clock.now += tickInterval
		c.tick()
	}
	for _, s := range c.services {
		require.NoError(t, s.tail.Shutdown(context.Background()))
	}
}

// hop is a request to one service.
type hop struct {
	chain   *chain
	at      int
	span    *fakeSpan // nil: not recorded
	sc      trace.SpanContext
	request Request
	start   time.Duration
}

// call begins a request. caller is nil at the edge.
func (c *chain) call(caller *hop, at int, id trace.TraceID) *hop {
	h := &hop{chain: c, at: at, start: c.clock.now}
	s := c.services[at]
	parent := trace.SpanContext{}
	if caller != nil {
		parent = caller.sc
		if caller.span != nil {
			if told, ok := Outgoing(caller.span); ok {
				parent = told
			}
		}
	}
	ctx := context.WithValue(context.Background(), RequestKey{}, &h.request)
	if parent.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	}
	result := s.ShouldSample(sdktrace.SamplingParameters{
		ParentContext: ctx, Kind: trace.SpanKindServer, Name: chainNames[at], TraceID: id,
	})
	h.sc = trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: trace.SpanID{byte(at + 1)}, TraceState: result.Tracestate,
		TraceFlags: trace.TraceFlags(0).WithSampled(result.Decision == sdktrace.RecordAndSample),
	})
	c.counts[at].all.truth++
	if result.Decision != sdktrace.Drop {
		h.span = &fakeSpan{
			name: chainNames[at], sc: h.sc, parent: trace.SpanContextFromContext(ctx), request: &h.request,
			start: time.Unix(0, 0).Add(c.clock.now), provider: s.provider,
		}
		s.tail.OnStart(ctx, h.span)
	}
	return h
}

// end ends a request, and tells its caller.
func (h *hop) end(caller *hop, failed bool) {
	c := h.chain
	if failed {
		c.counts[h.at].failed.truth++
		if c.arrived[h.sc.TraceID()] == nil {
			c.arrived[h.sc.TraceID()] = new([4]bool)
		}
	}
	if h.span == nil {
		return
	}
	h.span.end, h.span.failed = time.Unix(0, 0).Add(c.clock.now), failed
	threshold, ok := h.request.Commit(h.span, c.clock.now-h.start, failed)
	c.services[h.at].tail.OnEnd(h.span)
	if ok && caller != nil && caller.span != nil {
		Believe(caller.span, chainNames[h.at], threshold)
	}
}

// serve plays one request to the edge.
func (c *chain) serve(id trace.TraceID) {
	random := c.services[edge].random
	wait := func(mean time.Duration) time.Duration { return time.Duration(random.ExpFloat64() * float64(mean)) }
	chance := func(p float64) bool { return random.Float64() < p }
	const short, long = 10 * time.Millisecond, 80 * time.Millisecond
	front := c.call(nil, edge, id)
	c.after(wait(short), func() {
		middle := c.call(front, orders, id)
		c.after(wait(short), func() {
			stock := c.call(middle, inventory, id)
			c.after(wait(long), func() {
				bare := chance(0.03)
				stock.end(middle, bare)
				money := c.call(middle, payment, id)
				c.after(wait(long), func() {
					declined := chance(0.08)
					money.end(middle, declined)
					c.after(wait(short), func() {
						passed := (bare || declined) && chance(0.5)
						middle.end(front, passed)
						c.after(wait(short), func() { front.end(nil, passed && chance(0.5)) })
					})
				})
			})
		})
	})
}

// chainErrors are the relative errors and the z-scores over many runs.
type chainErrors struct{ all, failed, allZ, failedZ [4]stats }

// play runs the chain many times, and reports which share of the traces with an error that has
// arrived has its root.
func play(t *testing.T, runs int, cfgs [4]Config, rate float64) (errors chainErrors, rooted float64) {
	var broken, whole, unweighted, weighted float64
	for seed := range runs {
		c := newChain(t, seedOf(seed), cfgs)
		run(newRandom(seedOf(seed)), c.clock, c.tick, []phase{{4 * time.Second, []float64{rate}}}, func(a arrival) {
			c.runUntil(a.at)
			c.serve(c.services[edge].traceID(a.r))
		})
		c.finish(t)
		unweighted += c.unweighted
		for i, n := range c.counts {
			weighted += n.all.estimate
			errors.all[i].add(n.all.estimate/n.all.truth - 1)
			errors.failed[i].add(n.failed.estimate/n.failed.truth - 1)
			if n.all.variance > 0 {
				errors.allZ[i].add((n.all.estimate - n.all.truth) / math.Sqrt(n.all.variance))
			}
			if n.failed.variance > 0 {
				errors.failedZ[i].add((n.failed.estimate - n.failed.truth) / math.Sqrt(n.failed.variance))
			}
		}
		for _, parts := range c.arrived {
			switch {
			case parts[edge] && (parts[orders] || !parts[inventory] && !parts[payment]):
				whole++
			case *parts != [4]bool{}:
				broken++
			}
		}
	}
	for i, name := range chainNames {
		t.Logf("%-9s: all %+.4f ± %.4f (z %.2f ± %.2f), failed %+.4f ± %.4f (z %.2f ± %.2f)", name,
			errors.all[i].mean(), errors.all[i].standardError(), errors.allZ[i].mean(), errors.allZ[i].deviation(),
			errors.failed[i].mean(), errors.failed[i].standardError(), errors.failedZ[i].mean(),
			errors.failedZ[i].deviation())
	}
	assert.Less(t, unweighted, 1e-4*weighted)
	rooted = whole / (whole + broken)
	t.Logf("%.1f %% of %.0f traces with an error have their root", 100*rooted, whole+broken)
	return errors, rooted
}

// assertUnbiased holds what is promised of weights: totals and errors of every service are right
// within 1 %, and as far off as their own standard error says. The latter takes many runs: the
// deviation of 2,500 z-scores is itself off by 1.4 %.
func (e *chainErrors) assertUnbiased(t *testing.T, limit float64) {
	t.Helper()
	for i, name := range chainNames {
		assertUnbiased(t, name, &e.all[i], limit)
		assertUnbiased(t, name+" errors", &e.failed[i], limit)
		for what, z := range map[string]*stats{name: &e.allZ[i], name + " errors": &e.failedZ[i]} {
			if z.n >= 1000 {
				assert.InDelta(t, 1, z.deviation(), 0.05, "%s: the variance formula is right", what)
			}
		}
	}
}

func TestErrorsOfAChainHaveTheirRoot(t *testing.T) {
	cfg := Config{TracesPerSecond: 20}
	errors, rooted := play(t, runsOf(t, 20, 200), [4]Config{cfg, cfg, cfg, cfg}, 500)
	assert.Equal(t, 1.0, rooted)
	for i := range chainNames {
		assert.Zero(t, errors.failed[i].deviation(), "every error counts once")
		assertUnbiased(t, chainNames[i], &errors.all[i], 0.2)
	}
}

// TestCountsOfAChainBeyondTheTailsTarget has five times as many errors as the tail keeps.
func TestCountsOfAChainBeyondTheTailsTarget(t *testing.T) {
	cfg := Config{TracesPerSecond: 100, TailTracesPerSecond: 80}
	errors, _ := play(t, runsOf(t, 20, 2500), [4]Config{cfg, cfg, cfg, cfg}, 4000)
	errors.assertUnbiased(t, 0.1)
}

// TestCountsOfAChainWithoutMemory has a quarter of the memory that the requests in flight need.
func TestCountsOfAChainWithoutMemory(t *testing.T) {
	cfg := Config{TracesPerSecond: 100, HeldBytes: 4 * minHeldBytes}
	errors, _ := play(t, runsOf(t, 20, 2500), [4]Config{cfg, cfg, cfg, cfg}, 4800)
	errors.assertUnbiased(t, 0.1)
}
