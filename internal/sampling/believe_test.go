package sampling

import (
	"container/heap"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// TestHonestDecisionsCountUnderAFloor has services whose decisions are all true, more than their
// share, while memory is short: that only traces above the floor are seen is not their choice.
func TestHonestDecisionsCountUnderAFloor(t *testing.T) {
	var errors stats
	for seed := range runsOf(t, 40, 400) {
		estimate, truth := 0.0, 0.0
		s := newService(t, seedOf(seed), Config{TracesPerSecond: 20, TailTracesPerSecond: 20,
			Rules: []Rule{{Ratio: 0x1p-50}}}, func(span sdktrace.ReadOnlySpan) {
			weight, _ := AdjustedCount(span.SpanContext())
			estimate += weight
		})
		high := thresholdFor(0.1, standardDigits)
		step := func() {
			s.tail.mu.Lock()
			s.tail.raiseFloor(high)
			s.tail.mu.Unlock()
			s.tick()
		}
		step()
		run(newRandom(seedOf(seed)), s.clock, step, []phase{{12 * time.Second, []float64{2000}}}, func(a arrival) {
			truth++
			span, _ := s.start(context.Background(), "caller", s.traceID(a.r), 50*time.Millisecond, false)
			if span != nil {
				span.met = func() { Believe(span, "callee", 0) }
			}
		})
		s.finish(t)
		errors.add(estimate/truth - 1)
	}
	t.Logf("%+.4f ± %.4f", errors.mean(), errors.standardError())
	assertUnbiased(t, "callers", &errors, 0.2)
	assert.Less(t, errors.deviation(), 0.5)
}

// TestSeveralDecisionsOnOneTrace has services that keep a tenth and all of their parts, beyond what
// is believed. Which of them speak depends on R, but neither their shares nor the moment at which
// the trace is decided may.
func TestSeveralDecisionsOnOneTrace(t *testing.T) {
	tenth := thresholdFor(0.1, standardDigits)
	type says func(s *service, root *fakeSpan, r uint64)
	say := func(root *fakeSpan, r uint64, callee string, threshold uint64) {
		if r >= threshold {
			Believe(root, callee, threshold)
		}
	}
	later := func(s *service, root *fakeSpan, isRoot bool) {
		span := *root
		span.end = root.end.Add(50 * time.Millisecond)
		if !isRoot {
			span.parent = root.sc
		}
		s.tail.OnStart(context.Background(), &span)
		span.met = func() { Believe(&span, "all", 0) }
		heap.Push(&s.running, ending{s.clock.now + 100*time.Millisecond, &span})
	}
	for name, c := range map[string]struct {
		target float64
		begins says
		ends   says
	}{
		"the tenth first": {target: 200, ends: func(_ *service, root *fakeSpan, r uint64) {
			say(root, r, "a tenth", tenth)
			say(root, r, "all", 0)
		}},
		"the tenth last": {target: 200, ends: func(_ *service, root *fakeSpan, r uint64) {
			say(root, r, "all", 0)
			say(root, r, "a tenth", tenth)
		}},
		"another request still runs": {target: 1e6,
			begins: func(s *service, root *fakeSpan, _ uint64) { later(s, root, true) },
			ends:   func(_ *service, root *fakeSpan, r uint64) { say(root, r, "a tenth", tenth) }},
		"another span still runs": {target: 1e6,
			begins: func(s *service, root *fakeSpan, _ uint64) { later(s, root, false) },
			ends:   func(_ *service, root *fakeSpan, r uint64) { say(root, r, "a tenth", tenth) }},
	} {
		t.Run(name, func(t *testing.T) {
			var errors stats
			for seed := range runsOf(t, 10, 400) {
				estimate, truth := 0.0, 0.0
				s := newService(t, seedOf(seed), Config{TracesPerSecond: 20, TailTracesPerSecond: c.target,
					Rules: []Rule{{Ratio: 0x1p-50}}}, func(span sdktrace.ReadOnlySpan) {
					weight, _ := AdjustedCount(span.SpanContext())
					estimate += weight
				})
				run(newRandom(seedOf(seed)), s.clock, s.tick, []phase{{4 * time.Second, []float64{2000}}}, func(a arrival) {
					root, _ := s.start(context.Background(), "caller", s.traceID(a.r), 50*time.Millisecond, false)
					truth++
					if c.begins != nil {
						c.begins(s, root, a.r)
						truth++
					}
					root.met = func() { c.ends(s, root, a.r) }
				})
				s.finish(t)
				errors.add(estimate/truth - 1)
			}
			t.Logf("%+.4f ± %.4f", errors.mean(), errors.standardError())
			assertUnbiased(t, "callers", &errors, 0.1)
		})
	}
}
