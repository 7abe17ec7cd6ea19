package sampling

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// attack is a flood of 5,000 requests per second whose callers say what they like.
func attack(
	t *testing.T, cfg Config, callers func(s *service, r uint64) trace.SpanContextConfig,
) (sampled perSecond, largest float64, s *service) {
	cfg.HeadOnly = true
	s = newService(t, 1, cfg, func(sdktrace.ReadOnlySpan) {})
	run(newRandom(1), s.clock, s.tick, []phase{{10 * time.Second, []float64{5000}}}, func(a arrival) {
		caller := callers(s, a.r)
		caller.SpanID, caller.Remote = trace.SpanID{1}, true
		if !caller.TraceID.IsValid() {
			caller.TraceID = s.traceID(a.r)
		}
		ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(caller))
		result := s.ShouldSample(sdktrace.SamplingParameters{ParentContext: ctx, TraceID: caller.TraceID, Name: "GET",
			Kind: trace.SpanKindServer})
		if result.Decision != sdktrace.RecordAndSample {
			return
		}
		sampled.add(a.at)
		if state := readState(result.Tracestate); state.hasThreshold {
			largest = max(largest, adjustedCount(state.threshold))
		}
	})
	return sampled, largest, s
}

const (
	remoteTarget = defaultRemoteFactor * target
	// firstSecond is what callers can force in one second after a quiet time: a burst, the second
	// itself, and the moment that it takes to notice.
	firstSecond = (headBurst + 2) * remoteTarget
)

func TestFloodOfSampledFlags(t *testing.T) {
	simulation(t)
	for _, state := range []string{"", "ot=th:0", "ot=th:junk;;;"} {
		sampled, _, _ := attack(t, Config{}, func(*service, uint64) trace.SpanContextConfig {
			return trace.SpanContextConfig{TraceFlags: trace.FlagsSampled, TraceState: stateOf(t, state)}
		})
		t.Logf("%q: %.0f", state, sampled)
		assert.LessOrEqual(t, sampled[0], firstSecond, state)
		assert.InDelta(t, remoteTarget, sampled.mean(2, 10), 0.2*remoteTarget, state)
	}
}

func TestFloodOfOneTraceID(t *testing.T) {
	simulation(t)
	for _, cfg := range []Config{{}, {Untrusted: func(context.Context) bool { return true }}} {
		sampled, _, s := attack(t, cfg, func(*service, uint64) trace.SpanContextConfig {
			return trace.SpanContextConfig{TraceID: high, TraceFlags: trace.FlagsSampled,
				TraceState: stateOf(t, "ot=th:0")}
		})
		t.Logf("%.0f, refused %d", sampled, s.Snapshot().Refused)
		assert.LessOrEqual(t, sampled[0], firstSecond)
		assert.LessOrEqual(t, sampled.mean(1, 10), 1.05*remoteTarget)
	}
}

// TestCallersShareTheirBudget has a good caller of ten requests a second, and from five seconds on
// a flood of 3,000 a second with an R that passes every threshold.
func TestCallersShareTheirBudget(t *testing.T) {
	simulation(t)
	const seconds = 60
	made := 0
	for _, tc := range []struct {
		name           string
		flood          func() (peer, state string)
		goodPeer       string
		followed, most float64 // the part of the good caller's traces that is followed
	}{
		{"two addresses", func() (string, string) { return "10.0.0.1", "ot=rv:ffffffffffffff;th:0" }, "10.0.0.2", 0.99,
			1},
		{"two addresses, without th", func() (string, string) { return "10.0.0.1", "" }, "10.0.0.2", 0.99, 1},
		{"an address a request", func() (string, string) {
			made++
			return fmt.Sprint("10.1.", made/256, ".", made%256), "ot=rv:ffffffffffffff;th:0"
		}, "10.0.0.2", 0.95, 1},
		{"one address", func() (string, string) { return "10.0.0.1", "ot=rv:ffffffffffffff;th:0" }, "10.0.0.1", 0.02,
			0.12}, // 0.06 are expected, of 500: 0.02 and 0.12 are four standard deviations away
		{"no addresses", func() (string, string) { return "", "ot=rv:ffffffffffffff;th:0" }, "", 0.02, 0.12},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newService(t, 1, Config{HeadOnly: true}, nil)
			var all perSecond
			good, followed := 0.0, 0.0
			run(newRandom(1), s.clock, s.tick,
				[]phase{{5 * time.Second, []float64{0, 10}}, {seconds * time.Second, []float64{3000, 10}}},
				func(a arrival) {
					peer, state := tc.goodPeer, "ot=th:0"
					if a.op == 0 {
						peer, state = tc.flood()
					}
					caller := trace.NewSpanContext(trace.SpanContextConfig{
						TraceID: s.traceID(a.r), SpanID: trace.SpanID{1}, Remote: true, TraceFlags: trace.FlagsSampled,
						TraceState: stateOf(t, state),
					})
					p := sdktrace.SamplingParameters{
						ParentContext: trace.ContextWithSpanContext(context.Background(), caller),
						TraceID:       caller.TraceID(), Name: "GET",
					}
					if peer != "" {
						p.Attributes = []attribute.KeyValue{peerKey.String(peer)}
					}
					sampled := s.ShouldSample(p).Decision == sdktrace.RecordAndSample
					if sampled {
						all.add(a.at)
					}
					if a.op == 1 && a.at > 10*time.Second {
						good++
						if sampled {
							followed++
						}
					}
				})
			t.Logf("%.0f of %.0f followed; all %.0f", followed, good, all)
			assert.GreaterOrEqual(t, followed/good, tc.followed)
			assert.LessOrEqual(t, followed/good, tc.most)
			assert.LessOrEqual(t, len(s.callers.classes), callerSets*ways+2)
			assert.LessOrEqual(t, all[5], firstSecond)
			assert.LessOrEqual(t, all.mean(6, seconds), 1.05*remoteTarget)
		})
	}
}

// TestFloodOfOneTraceIDInTheTail has unsampled requests that overlap, so that one failure keeps the
// trace of them all.
func TestFloodOfOneTraceIDInTheTail(t *testing.T) {
	simulation(t)
	for _, cfg := range []Config{{}, {Untrusted: func(context.Context) bool { return true }}} {
		cfg.Rules = []Rule{{Ratio: 1e-9}}
		var exports perSecond
		var s *service
		s = newService(t, 1, cfg, func(sdktrace.ReadOnlySpan) { exports.add(s.clock.now) })
		caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{7, 15: 1},
			SpanID: trace.SpanID{1}, Remote: true})
		ctx, n := trace.ContextWithSpanContext(context.Background(), caller), 0
		run(newRandom(1), s.clock, s.tick, []phase{{time.Minute, []float64{5000}}}, func(a arrival) {
			n++
			s.request(ctx, "request", caller.TraceID(), 300*time.Millisecond, n%100 == 0)
		})
		t.Logf("%.0f, %d truncated", exports, s.Snapshot().Tail.Truncated)
		assert.LessOrEqual(t, exports[0]+exports[1]+exports[2], 1.5*tailBurstSeconds*s.cfg.TailTracesPerSecond)
		assert.LessOrEqual(t, exports.mean(3, 60), s.cfg.TailTracesPerSecond)
	}
}

// TestChosenRandomnessInTheTail has failing requests whose callers have not sampled them, with an R
// that passes every threshold, beside honest ones.
func TestChosenRandomnessInTheTail(t *testing.T) {
	simulation(t)
	var exports perSecond
	truth, estimate := 0.0, 0.0
	var s *service
	s = newService(t, 1, Config{}, func(span sdktrace.ReadOnlySpan) {
		exports.add(s.clock.now)
		if count, ok := AdjustedCount(span.SpanContext()); ok && span.Name() == "honest" &&
			s.clock.now > 10*time.Second {
			estimate += count
		}
	})
	run(newRandom(1), s.clock, s.tick, []phase{{time.Minute, []float64{3000, 1000}}}, func(a arrival) {
		name, state := "chosen", "ot=rv:ffffffffffffff"
		if a.op == 1 {
			name, state = "honest", ""
			if a.at > 10*time.Second {
				truth++
			}
		}
		id := s.traceID(a.r)
		caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{1}, Remote: true,
			TraceState: stateOf(t, state)})
		s.request(trace.ContextWithSpanContext(context.Background(), caller), name, id, time.Millisecond, true)
	})
	t.Logf("%.0f; honest ones: estimate/truth %.3f", exports, estimate/truth)
	assert.LessOrEqual(t, exports[0], (tailBurstSeconds+2)*s.cfg.TailTracesPerSecond)
	assert.LessOrEqual(t, exports.mean(1, 60), 1.05*s.cfg.TailTracesPerSecond)
	assert.InDelta(t, 1, estimate/truth, 0.1, "the others are counted as ever")
}

func TestNoCallerClaimsAHugeCount(t *testing.T) {
	simulation(t)
	_, largest, s := attack(t, Config{}, func(s *service, _ uint64) trace.SpanContextConfig {
		return trace.SpanContextConfig{TraceID: s.traceID(whole - 1), TraceFlags: trace.FlagsSampled,
			TraceState: stateOf(t, "ot=th:ffffffffffffff")}
	})
	assert.Zero(t, largest)
	assert.Equal(t, s.Snapshot().Arrivals, uint64(0))
	assert.Positive(t, s.Snapshot().Inconsistent)
	_, largest, _ = attack(t, Config{}, func(s *service, _ uint64) trace.SpanContextConfig {
		return trace.SpanContextConfig{TraceID: s.traceID(whole - 1), TraceFlags: trace.FlagsSampled,
			TraceState: stateOf(t, "ot=th:fffff")}
	})
	assert.LessOrEqual(t, largest, float64(maxAdjustedCount))
}

func TestUntrustedCallersDecideNothing(t *testing.T) {
	simulation(t)
	for _, sampled := range []bool{false, true} {
		// Trace IDs that pass every threshold of a sampler that believes them.
		kept, _, _ := attack(t, Config{Untrusted: func(context.Context) bool { return true }},
			func(s *service, r uint64) trace.SpanContextConfig {
				return trace.SpanContextConfig{
					TraceID: s.traceID(whole - 1), TraceFlags: trace.TraceFlags(0).WithSampled(sampled),
					TraceState: stateOf(t, "ot=th:0;rv:ffffffffffffff"),
				}
			})
		t.Logf("sampled %v: %.0f", sampled, kept)
		assert.LessOrEqual(t, kept[0], (headBurst+2)*target)
		assert.InDelta(t, target, kept.mean(2, 10), 0.2*target, "as if the requests began here")
	}
}

// TestCapKeepsCounts has callers that sample at three probabilities, together far above the cap.
func TestCapKeepsCounts(t *testing.T) {
	simulation(t)
	points := []*point{gridPoint(0), newPoint(thresholdFor(0.1, 4)), newPoint(thresholdFor(0.01, 4))}
	truth, estimate, n := 0.0, 0.0, 0
	s := newService(t, 3, Config{HeadOnly: true}, func(sdktrace.ReadOnlySpan) {})
	run(newRandom(3), s.clock, s.tick, []phase{{200 * time.Second, []float64{2000}}}, func(a arrival) {
		truth++
		n++
		caller := points[n%len(points)]
		if a.r < caller.threshold {
			return
		}
		sc := trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: s.traceID(a.r), SpanID: trace.SpanID{1}, Remote: true, TraceFlags: trace.FlagsSampled,
			TraceState: caller.state,
		})
		result := s.ShouldSample(sdktrace.SamplingParameters{
			ParentContext: trace.ContextWithSpanContext(context.Background(), sc), TraceID: sc.TraceID(),
		})
		if result.Decision == sdktrace.RecordAndSample {
			estimate += adjustedCount(readState(result.Tracestate).threshold)
		}
	})
	assert.Less(t, s.callers.classes[2].current.Load().p, 0.9, "the cap binds")
	t.Logf("estimate/truth %.4f", estimate/truth)
	// About 200 per second for 200 seconds, most of them at a weight near 100 or 4.
	assert.InDelta(t, 1, estimate/truth, 3*math.Sqrt(100/(200*2000.0/3)))
}

// TestSamplersAgree gives one stream of traces to two processes with different targets: what the
// one with the higher thresholds keeps, the other keeps too.
func TestSamplersAgree(t *testing.T) {
	simulation(t)
	busy, quiet := newHead(1, 20, defaultFairness, 5), newHead(2, 200, defaultFairness, 5)
	keptByBoth, keptByBusy, violations := 0, 0, 0
	run(newRandom(9), busy.clock, func() { quiet.clock.now = busy.clock.now; busy.tickNow(); quiet.tickNow() },
		[]phase{{100 * time.Second, uniform(5, 1000)}}, func(a arrival) {
			quiet.clock.now = busy.clock.now
			pt1, kept1 := busy.ask(a)
			pt2, kept2 := quiet.ask(a)
			if kept1 {
				keptByBusy++
				if kept2 {
					keptByBoth++
				}
			}
			if kept1 && !kept2 && pt2.threshold <= pt1.threshold || kept2 && !kept1 && pt1.threshold <= pt2.threshold {
				violations++
			}
		})
	assert.Zero(t, violations)
	assert.Greater(t, float64(keptByBoth), 0.97*float64(keptByBusy), "but for the first moments")
}

// TestServicesEvictAlike runs one stream through two processes with different memory: the traces
// that the shorter one saves are among those that the other saves, so that their parts join.
func TestServicesEvictAlike(t *testing.T) {
	simulation(t)
	saved := func(bytes int64) map[trace.TraceID]bool {
		kept := map[trace.TraceID]bool{}
		s := newService(t, 5, Config{HeldBytes: bytes, TailTracesPerSecond: 1e5}, func(span sdktrace.ReadOnlySpan) {
			kept[span.SpanContext().TraceID()] = true
		})
		run(newRandom(5), s.clock, s.tick, []phase{{10 * time.Second, []float64{2000}}}, func(a arrival) {
			id := s.traceID(a.r)
			sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{1}, Remote: true})
			s.request(trace.ContextWithSpanContext(context.Background(), sc), "work", id, 300*time.Millisecond, true)
		})
		s.finish(t)
		return kept
	}
	little, less := saved(256<<10), saved(64<<10)
	common := 0
	for id := range less {
		if little[id] {
			common++
		}
	}
	t.Logf("%d and %d saved, %d in common", len(little), len(less), common)
	assert.Greater(t, len(little), 2*len(less))
	assert.Greater(t, float64(common), 0.99*float64(len(less)))
}

// TestKeptRandomnessIsUniform holds what an operation keeps between its threshold and 2^56 to be
// uniform there: 64 bins, chi-square, at a significance of 0.1 % over five operations.
func TestKeptRandomnessIsUniform(t *testing.T) {
	simulation(t)
	h := newHead(6, 2000, defaultFairness, 5)
	var bins [5][64]float64
	var n [5]float64
	run(newRandom(6), h.clock, h.tickNow, []phase{{30 * time.Second, zipf(5, 20_000, 1)}}, func(a arrival) {
		if pt, kept := h.ask(a); kept {
			bins[a.op][(a.r-pt.threshold)/((whole-pt.threshold+63)/64)]++
			n[a.op]++
		}
	})
	for op := range bins {
		chi := 0.0
		for _, count := range bins[op] {
			chi += (count - n[op]/64) * (count - n[op]/64) / (n[op] / 64)
		}
		assert.Less(t, chi, 115.0, "operation %d with %.0f kept", op, n[op]) // χ²(63) at 1−0.001/5
	}
}
