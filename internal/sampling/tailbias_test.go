package sampling

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// outcome is what became of a request; the strata whose totals are estimated.
type outcome int

const (
	fine outcome = iota
	failing
	sluggish
	outcomes
)

var outcomeNames = [outcomes]string{"fine", "error", "slow"}

// load is a service's traffic and limits for estimates of totals per outcome.
type load struct {
	cfg     Config
	rates   []float64
	seconds int
	callers func(s *service, id trace.TraceID, r uint64) context.Context // nil: requests begin here
}

// estimates runs a load and returns, per outcome, the relative errors of the estimated totals and
// the share of requests that were exported.
func (l load) estimates(t *testing.T, runs int) (errors [outcomes]stats, exportedShare [outcomes]float64) {
	var arrived, kept [outcomes]float64
	for seed := range runs {
		var truth, estimate [outcomes]float64
		s := newService(t, seedOf(seed), l.cfg, func(span sdktrace.ReadOnlySpan) {
			o := outcomeOf(span)
			kept[o]++
			if count, ok := AdjustedCount(span.SpanContext()); ok {
				estimate[o] += count
			}
		})
		run(newRandom(seedOf(seed)), s.clock, s.tick, []phase{{time.Duration(l.seconds) * time.Second, l.rates}},
			func(a arrival) {
				takes := time.Duration(s.random.ExpFloat64() * float64(200*time.Millisecond))
				o := fine
				switch x := s.random.Float64(); {
				case x < 0.1:
					o = failing
				case x < 0.13:
					o, takes = sluggish, time.Second+takes
				}
				if o != sluggish {
					takes = min(takes, 990*time.Millisecond)
				}
				truth[o]++
				arrived[o]++
				ctx, id := context.Background(), s.traceID(a.r)
				if l.callers != nil {
					ctx = l.callers(s, id, a.r)
				}
				s.request(ctx, outcomeNames[a.op%2], id, takes, o == failing)
			})
		s.finish(t)
		for o := range outcomes {
			errors[o].add(estimate[o]/truth[o] - 1)
		}
	}
	for o := range outcomes {
		exportedShare[o] = kept[o] / arrived[o]
		t.Logf("%-5s: bias %+.4f ± %.4f, exported %.1f %%", outcomeNames[o], errors[o].mean(),
			errors[o].standardError(), 100*exportedShare[o])
	}
	return errors, exportedShare
}

func outcomeOf(s sdktrace.ReadOnlySpan) outcome {
	switch {
	case s.Status().Code != 0:
		return failing
	case s.EndTime().Sub(s.StartTime()) >= time.Second:
		return sluggish
	}
	return fine
}

func TestErrorsAndSlowRequestsAreAllKept(t *testing.T) {
	l := load{cfg: Config{TracesPerSecond: 20}, rates: []float64{1500, 500}, seconds: 5}
	errors, share := l.estimates(t, runsOf(t, 15, 150))
	assert.Less(t, share[fine], 0.02, "the head keeps about 1 %")
	for _, o := range []outcome{failing, sluggish} {
		assert.Equal(t, 1.0, share[o], "all are exported")
		assert.Zero(t, errors[o].mean(), "and each counts once")
		assert.Zero(t, errors[o].deviation())
	}
}

// short is a load with a quarter of the memory that it needs: 400 traces in flight at 1,280 bytes.
func short() load {
	return load{cfg: Config{TracesPerSecond: 100, HeldBytes: 128 << 10}, rates: []float64{1500, 500}, seconds: 5}
}

func TestCountsWithoutMemory(t *testing.T) {
	errors, share := short().estimates(t, runsOf(t, 400, 4000))
	assert.Less(t, share[failing], 0.6, "the memory is short")
	assertUnbiased(t, "errors", &errors[failing], 0.01)
	assertUnbiased(t, "slow", &errors[sluggish], 0.03)
	assertUnbiased(t, "fine", &errors[fine], 0.02)
}

func TestCountsWithVeryLittleMemory(t *testing.T) {
	l := short()
	l.cfg.HeldBytes, l.cfg.TracesPerSecond, l.seconds = 64<<10, 20, 4
	errors, _ := l.estimates(t, runsOf(t, 300, 5000))
	assertUnbiased(t, "errors", &errors[failing], 0.02)
	assertUnbiased(t, "slow", &errors[sluggish], 0.06)
}

func TestCountsBeyondTheRecordedSpans(t *testing.T) {
	l := load{cfg: Config{TracesPerSecond: 50, RecordedSpansPerSecond: 250}, rates: []float64{1500, 500}, seconds: 6}
	errors, share := l.estimates(t, runsOf(t, 150, 2500))
	assert.Less(t, share[failing], 0.6, "the bound binds")
	assertUnbiased(t, "errors", &errors[failing], 0.02)
}

func TestCountsBeyondTheTailsTarget(t *testing.T) {
	l := load{cfg: Config{TracesPerSecond: 50, TailTracesPerSecond: 20}, rates: []float64{1500, 500}, seconds: 6}
	errors, share := l.estimates(t, runsOf(t, 80, 2500))
	assert.Less(t, share[failing], 0.6, "the target binds")
	assertUnbiased(t, "errors", &errors[failing], 0.06)
}

// TestCountsBehindCallers has callers of three kinds: sampled with a threshold, sampled without
// one, and unsampled.
func TestCountsBehindCallers(t *testing.T) {
	upstream := newPoint(thresholdFor(0.1, standardDigits))
	l := short()
	l.callers = func(s *service, id trace.TraceID, r uint64) context.Context {
		parent := trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{2}, Remote: true}
		switch {
		case id[0]%4 == 0 && id[1]%10 == 0:
			parent.TraceFlags = trace.FlagsSampled // a sampler of the old kind, at 10 %
		case id[0]%4 != 0 && r >= upstream.threshold:
			parent.TraceFlags, parent.TraceState = trace.FlagsSampled, upstream.state
		}
		return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(parent))
	}
	errors, _ := l.estimates(t, runsOf(t, 100, 2500))
	assertUnbiased(t, "errors", &errors[failing], 0.025)
	assertUnbiased(t, "slow", &errors[sluggish], 0.06)
}

// TestFloorIsTheFirstExcluded has forty failing requests in flight and room for a dozen. With so
// few a threshold taken from the lowest R that is still held, instead of one above the highest that
// is not, would count 8 % too many.
func TestFloorIsTheFirstExcluded(t *testing.T) {
	const inFlight, room = 40, 12
	var total, held stats
	for seed := range runsOf(t, 6000, 60_000) {
		estimate, kept := 0.0, 0.0
		s := newService(t, seedOf(seed), Config{}, func(span sdktrace.ReadOnlySpan) {
			count, ok := AdjustedCount(span.SpanContext())
			assert.True(t, ok)
			estimate += count
			kept++
		})
		s.tail.limit = room * (traceBytes + spanBytes)
		for range inFlight {
			id := s.traceID(s.random.Uint64() & (whole - 1))
			caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{2}, Remote: true})
			s.request(trace.ContextWithSpanContext(context.Background(), caller), "work", id, time.Millisecond, true)
		}
		s.finish(t)
		total.add(estimate/inFlight - 1)
		held.add(kept)
	}
	t.Logf("bias %+.4f ± %.4f with %.1f held", total.mean(), total.standardError(), held.mean())
	assert.InDelta(t, room, held.mean(), 2)
	assertUnbiased(t, "errors", &total, 0.02)
}

func TestRecordedSpansAreBounded(t *testing.T) {
	simulation(t)
	const limit = 250.0
	s := newService(t, 1, Config{TracesPerSecond: 1, RecordedSpansPerSecond: limit}, func(sdktrace.ReadOnlySpan) {})
	var recorded perSecond
	run(newRandom(1), s.clock, s.tick, []phase{{30 * time.Second, []float64{2000, 3000}}}, func(a arrival) {
		if s.request(context.Background(), outcomeNames[a.op], s.traceID(a.r), time.Millisecond,
			false) == sdktrace.RecordOnly {
			recorded.add(a.at)
		}
	})
	t.Logf("%.0f", recorded)
	assert.LessOrEqual(t, recorded[0], burstSeconds*limit+limit)
	assert.InDelta(t, limit, recorded.mean(2, 30), 0.1*limit)
}

// TestCountsOfFewLargeTraces has two traces per second of a hundred spans each, twice what may be
// recorded, and half of them sampled: most of the time nothing but the trace itself can tell the
// floor.
func TestCountsOfFewLargeTraces(t *testing.T) {
	var errors stats
	for seed := range runsOf(t, 60, 1000) {
		truth, estimate := 0.0, 0.0
		cfg := Config{RecordedSpansPerSecond: 50, Rules: []Rule{{Ratio: 0.5}}}
		s := newService(t, seedOf(seed), cfg, func(span sdktrace.ReadOnlySpan) {
			count, _ := AdjustedCount(span.SpanContext())
			estimate += count
		})
		run(newRandom(seedOf(seed)), s.clock, s.tick, []phase{{3 * time.Minute, []float64{2}}}, func(a arrival) {
			truth++
			if s.request(context.Background(), "job", s.traceID(a.r), 10*time.Millisecond,
				true) == sdktrace.RecordOnly {
				for range 99 {
					s.floor.record()
				}
			}
		})
		s.finish(t)
		errors.add(estimate/truth - 1)
	}
	t.Logf("bias %+.4f ± %.4f", errors.mean(), errors.standardError())
	assertUnbiased(t, "errors", &errors, 0.03)
}
