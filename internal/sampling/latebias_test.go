package sampling

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// when is the time at which the route of a request is known.
type when int

const (
	atStart    when = iota
	beforeWork      // by a middleware of the framework, before its handler
	afterWork       // and after it
	never           // 404
	mixed           // any of the first three, by chance
)

var whenNames = [...]string{"at the start", "before the work", "after the work", "never", "mixed"}

// routedLoad is a service whose requests all start as "GET" unless their route is known.
type routedLoad struct {
	cfg    Config
	phases []phase // rates by route
	when   when
	failed float64 // the share of requests that fail

	withPaths bool // requests have a path, which tells the operation
	unlimited bool // every request has a route of its own
}

// routedRun is what one run counted, by route.
type routedRun struct{ truth, estimate, kept []float64 }

func (l routedLoad) routes() int { return len(l.phases[0].rates) }

func routeName(i int) string { return fmt.Sprintf("/route-%d", i) }

func (l routedLoad) run(
	t *testing.T, seed uint64, each func(at time.Duration, span sdktrace.ReadOnlySpan),
) (routedRun, *service) {
	n := l.routes()
	out := routedRun{make([]float64, n), make([]float64, n), make([]float64, n)}
	ops := make(map[trace.TraceID]int)
	var s *service
	s = newService(t, seed, l.cfg, func(span sdktrace.ReadOnlySpan) {
		op := ops[span.SpanContext().TraceID()]
		count, _ := AdjustedCount(span.SpanContext())
		out.estimate[op] += count
		out.kept[op]++
		if each != nil {
			each(s.clock.now, span)
		}
	})
	run(newRandom(seed), s.clock, s.tick, l.phases, func(a arrival) {
		out.truth[a.op]++
		id := s.traceID(a.r)
		ops[id] = a.op
		l.serve(s, id, a.op)
	})
	s.finish(t)
	return out, s
}

func (l routedLoad) serve(s *service, id trace.TraceID, op int) *Request {
	known, takes := l.when, time.Duration(s.random.ExpFloat64()*float64(100*time.Millisecond))
	fails := s.random.Float64() < l.failed
	if known == mixed {
		known = when(s.random.IntN(int(never)))
	}
	late := LateRoute{StartName: "GET", Name: "GET " + routeName(op), Route: routeName(op)}
	name := late.StartName
	if known == atStart {
		name = late.Name
	}
	if l.unlimited {
		late.Route = fmt.Sprint("/", s.random.Uint64())
		late.Name = "GET " + late.Route
	}
	s.params.Attributes = nil
	if l.withPaths {
		late.Path = "/path" + string(rune('a'+op%26)) + string(rune('a'+op/26))
		s.params.Attributes = []attribute.KeyValue{pathKey.String(late.Path)}
	}
	request := &Request{}
	span, _ := s.start(context.WithValue(context.Background(), RequestKey{}, request), name, id,
		min(takes, 900*time.Millisecond), fails)
	if span == nil {
		return request
	}
	late.Span = span
	switch known {
	case beforeWork:
		request.SetRoute(late)
	case afterWork:
		span.request, span.route = request, &late
	}
	return request
}

// estimates returns the relative errors of the estimated totals of all routes together, of the
// busiest, and of the rarest half.
func (l routedLoad) estimates(t *testing.T, runs int) (all, busiest, rare stats) {
	n := l.routes()
	for seed := range runs {
		out, _ := l.run(t, seedOf(seed), nil)
		var truth, estimate, rareTruth, rareEstimate float64
		for i := range n {
			truth += out.truth[i]
			estimate += out.estimate[i]
			if i >= n/2 {
				rareTruth += out.truth[i]
				rareEstimate += out.estimate[i]
			}
		}
		all.add(estimate/truth - 1)
		busiest.add(out.estimate[0]/out.truth[0] - 1)
		rare.add(rareEstimate/rareTruth - 1)
	}
	t.Logf("%s: all: bias %+.4f ± %.4f, one run ± %.3f; busiest: %+.4f ± %.4f; rare: %+.4f ± %.4f", whenNames[l.when],
		all.mean(), all.standardError(), all.deviation(), busiest.mean(), busiest.standardError(), rare.mean(),
		rare.standardError())
	return all, busiest, rare
}

// TestLateRoutesAreUnbiased has a load that rises and falls a hundred-fold, within and beyond the
// bounds of the tail.
func TestLateRoutesAreUnbiased(t *testing.T) {
	runs := runsOf(t, 100, 6000)
	slow, fast := zipf(20, 20, 1.2), zipf(20, 800, 1.2)
	phases := []phase{{time.Second, slow}, {2 * time.Second, fast}, {time.Second, slow}}
	for name, cfg := range map[string]Config{
		"room":       {TracesPerSecond: 20},
		"memory":     {TracesPerSecond: 20, HeldBytes: minHeldBytes},
		"processor":  {TracesPerSecond: 20, RecordedSpansPerSecond: 40},
		"tail":       {TracesPerSecond: 5, TailTracesPerSecond: 5},
		"with rules": {TracesPerSecond: 20, Rules: routeRules},
	} {
		for _, known := range []when{atStart, beforeWork, afterWork, mixed} {
			t.Run(name+"/"+whenNames[known], func(t *testing.T) {
				t.Parallel()
				l := routedLoad{cfg: cfg, phases: phases, when: known, failed: 0.05}
				all, busiest, rare := l.estimates(t, runs)
				if known == atStart && cfg.Rules != nil {
					return // what Drop drops is not counted then
				}
				assertUnbiased(t, "all", &all, 0.2)
				assertUnbiased(t, "busiest", &busiest, 0.35)
				assertUnbiased(t, "rare", &rare, 0.3)
			})
		}
	}
}

// routeRules has one rule of each kind, for rare routes.
var routeRules = []Rule{
	{Route: routeName(12), Drop: true},
	{Route: routeName(13), Keep: true},
	{Route: routeName(14), Ratio: 0.3},
	{Route: routeName(15), TracesPerSecond: 2},
	{Route: routeName(0), Ratio: 0.02},
	{Route: routeName(1), TracesPerSecond: 5},
}

// TestLateThresholdsIgnoreTheirOwnR plays one load twice, with the R of one trace changed: whether
// the head samples it must not move the threshold that its late route gives it.
func TestLateThresholdsIgnoreTheirOwnR(t *testing.T) {
	phases := []phase{{time.Second, zipf(20, 20, 1)}, {time.Second, zipf(20, 2000, 1)}}
	l := routedLoad{phases: phases, when: afterWork}
	for changed := 1; changed < 1500; changed += 1 + changed/10 {
		play := func(replacement uint64) (met uint64) {
			s := newService(t, 7, Config{TracesPerSecond: 2}, func(sdktrace.ReadOnlySpan) {})
			n := 0
			run(newRandom(7), s.clock, s.tick, phases, func(a arrival) {
				n++
				if n != changed {
					l.serve(s, s.traceID(a.r), a.op)
					return
				}
				id := s.traceID(replacement)
				request := &Request{}
				name := "GET " + routeName(a.op)
				span, _ := s.start(context.WithValue(context.Background(), RequestKey{}, request), "GET", id,
					time.Second/2, false)
				span.request = request
				span.route = &LateRoute{Span: span, StartName: "GET", Name: name, Route: routeName(a.op)}
				span.met = func() { met = s.tail.traces[id].route }
			})
			s.finish(t)
			return met
		}
		unsampled, sampled := play(0), play(whole-maxStride)
		assert.Equal(t, unsampled, sampled, "arrival %d", changed)
		assert.NotEqual(t, whole, sampled)
	}
}

// TestArrivalsOfLateRoutesBelowTheFloor has a bound of recorded spans that a quarter of the load
// reaches: a route's arrivals are those of all of it.
func TestArrivalsOfLateRoutesBelowTheFloor(t *testing.T) {
	simulation(t)
	l := routedLoad{cfg: Config{TracesPerSecond: target, RecordedSpansPerSecond: 250}, when: afterWork,
		phases: []phase{{40 * time.Second, []float64{800, 200}}}}
	_, s := l.run(t, 1, nil)
	snap := s.Snapshot()
	assert.Greater(t, snap.CPUFloor, 0.5)
	for i, rate := range []float64{800, 200} {
		assert.Equal(t, "GET "+routeName(i), snap.Operations[i].Name)
		assert.InEpsilon(t, rate, snap.Operations[i].Rate, 0.15)
	}
}
