package sampling

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// TestLateRoutesShareTheTarget compares what is kept when every request starts as "GET" with what
// is kept when the routes are known at the start: the same target, and each route has its own
// share.
func TestLateRoutesShareTheTarget(t *testing.T) {
	simulation(t)
	t.Parallel()
	const routes, seconds = 50, 40
	l := routedLoad{cfg: Config{TracesPerSecond: target},
		phases: []phase{{seconds * time.Second, zipf(routes, 3000, 1.8)}}}
	known, _ := l.run(t, 1, nil)
	for _, c := range []struct {
		when
		withPaths bool
	}{{beforeWork, false}, {afterWork, false}, {mixed, false}, {afterWork, true}} {
		l.when, l.withPaths = c.when, c.withPaths
		var kept perSecond
		out, s := l.run(t, 1, func(at time.Duration, _ sdktrace.ReadOnlySpan) { kept.add(at) })
		routed := float64(s.Snapshot().Tail.Routed)
		t.Logf("%s, paths %v: %.0f in the first second, then %.1f per second; of %.0f kept, %.0f after their start; "+
			"busiest %.0f, rarest %.0f",
			whenNames[c.when], c.withPaths, kept[0], kept.mean(10, seconds), sumOf(out.kept), routed, out.kept[0],
			out.kept[routes-1])
		assert.LessOrEqual(t, kept[0], 9.0*target)
		assert.InDelta(t, target, kept.mean(10, seconds), 0.1*target)
		rare, rareKnown := sumOf(out.kept[routes/2:]), sumOf(known.kept[routes/2:])
		assert.InEpsilon(t, rareKnown, rare, 0.25, "a rare route has as large a share as if it were known at the start")
		assert.InEpsilon(t, known.kept[0], out.kept[0], 0.25, "the busiest, too")
		if c.withPaths {
			assert.Less(t, routed, 0.15*sumOf(out.kept),
				"where a path tells the operation, traces are chosen at their start")
		}
	}
}

func sumOf(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}

// TestRiseOfLateRoutes has a load that rises a thousand-fold and falls again.
func TestRiseOfLateRoutes(t *testing.T) {
	simulation(t)
	t.Parallel()
	for _, routes := range []int{1, 20} {
		for _, known := range []when{beforeWork, afterWork, mixed} {
			l := routedLoad{cfg: Config{TracesPerSecond: target}, when: known, phases: []phase{
				{10 * time.Second, zipf(routes, 10, 1)}, {20 * time.Second, zipf(routes, 10_000, 1)},
				{10 * time.Second, zipf(routes, 10, 1)},
			}}
			var kept perSecond
			l.run(t, 1, func(at time.Duration, _ sdktrace.ReadOnlySpan) { kept.add(at) })
			t.Logf("%s, %d routes: %.1f, then %.0f, %.1f in the long run, and %.0f", whenNames[known], routes,
				kept.mean(0, 10), kept[10:14], kept.mean(15, 30), kept[30:36])
			assert.LessOrEqual(t, kept[10], 9.0*target)
			assert.LessOrEqual(t, kept.mostIn(10), 1.9*10*target)
			assert.InDelta(t, target, kept.mean(15, 30), 0.15*target)
		}
	}
}

// TestRiseAfterBurstsOfLateRoutes has a rise where bursts are usual.
func TestRiseAfterBurstsOfLateRoutes(t *testing.T) {
	simulation(t)
	t.Parallel()
	for _, known := range []when{beforeWork, afterWork, mixed} {
		l := routedLoad{cfg: Config{TracesPerSecond: target}, when: known}
		for range 12 {
			l.phases = append(l.phases, phase{10 * time.Millisecond, []float64{200_000}},
				phase{9990 * time.Millisecond, []float64{0}})
		}
		l.phases = append(l.phases, phase{10 * time.Second, []float64{10_000}})
		var kept perSecond
		l.run(t, 1, func(at time.Duration, _ sdktrace.ReadOnlySpan) { kept.add(at) })
		t.Logf("%s: bursts %.0f, then %.0f, at most %.0f in ten seconds", whenNames[known], kept[100:120], kept[120:],
			kept.mostIn(10))
		assert.LessOrEqual(t, kept.mostIn(1), 11.0*target)
		assert.LessOrEqual(t, kept.mostIn(10), 1.9*10*target)
	}
}

// TestRoutesWithoutEnd has a service that calls SetRoute with paths.
func TestRoutesWithoutEnd(t *testing.T) {
	simulation(t)
	const seconds = 30
	l := routedLoad{cfg: Config{TracesPerSecond: target}, when: afterWork, unlimited: true,
		phases: []phase{{seconds * time.Second, []float64{1000}}}}
	var kept perSecond
	_, s := l.run(t, 1, func(at time.Duration, _ sdktrace.ReadOnlySpan) { kept.add(at) })
	t.Logf("%.0f", kept)
	assert.InDelta(t, target, kept.mean(10, seconds), 0.2*target)
	assert.LessOrEqual(t, len(s.routes.classes), headSets*ways+2)
}
