package sampling

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// bursts are requests of one operation that come all at once, two microseconds apart, every period.
type bursts struct {
	op            int
	start, period time.Duration
	size          func(at time.Duration) int
}

func always(n int) func(time.Duration) int { return func(time.Duration) int { return n } }

// playBursts plays bursts against step for some time, and calls tick every 200 ms of virtual time.
func playBursts(seed uint64, c *clock, tick func(), length time.Duration, list []bursts, step func(arrival)) {
	const apart = 2 * time.Microsecond
	random, begin := newRandom(seed), c.now
	next := make([]time.Duration, len(list))
	for i, b := range list {
		next[i] = begin + b.start
	}
	for nextTick := begin + tickInterval; ; {
		first := 0
		for i := range next {
			if next[i] < next[first] {
				first = i
			}
		}
		at := next[first]
		for ; nextTick <= min(at, begin+length); nextTick += tickInterval {
			c.now = max(c.now, nextTick)
			tick()
		}
		if at >= begin+length {
			c.now = begin + length
			return
		}
		next[first] += list[first].period
		c.now = max(c.now, at)
		for range list[first].size(at - begin) {
			c.now += apart
			step(arrival{c.now, list[first].op, random.Uint64() & (whole - 1)})
		}
	}
}

// totals are the truth, and what the kept traces say of it.
type totals struct{ truth, kept, estimate, heaviest float64 }

func (t *totals) add(weight float64, kept bool) {
	t.truth++
	if kept {
		t.kept++
		t.estimate += weight
		t.heaviest = max(t.heaviest, weight)
	}
}

func (t *totals) ratio() float64 { return t.estimate / t.truth }

func (t *totals) String() string {
	return fmt.Sprintf("%.0f of %.0f kept, Σ weights/truth %.3f, heaviest %.5f of the truth", t.kept, t.truth,
		t.ratio(), t.heaviest/t.truth)
}

// assertUseful holds an estimate to be within ten per cent, and no single trace to be more than
// one.
func (t *totals) assertUseful(tb testing.TB) {
	tb.Helper()
	assert.InDelta(tb, 1, t.ratio(), 0.1)
	assert.LessOrEqual(tb, t.heaviest/t.truth, 0.01)
}

// regular are bursts whose average is more than the target.
var regular = []struct {
	name   string
	size   int
	period time.Duration
}{
	{"200 each second", 200, time.Second},
	{"500 each 5 s", 500, 5 * time.Second},
	{"2,000 each 10 s", 2000, 10 * time.Second},
	{"100 each 970 ms", 100, 970 * time.Millisecond},
}

// TestBursts looks at ten minutes of regular bursts, after one of warm-up.
func TestBursts(t *testing.T) {
	for _, tc := range regular {
		t.Run(tc.name, func(t *testing.T) {
			for run := range runsOf(t, 10, 200) {
				seed := seedOf(run)
				h := newHead(seed, target, defaultFairness, 1)
				var got totals
				playBursts(seed, h.clock, h.tickNow, 11*time.Minute, []bursts{{0, 0, tc.period, always(tc.size)}},
					func(a arrival) {
						if pt, kept := h.ask(a); a.at >= time.Minute {
							got.add(1/pt.p, kept)
						}
					})
				if run == 0 {
					t.Log(got.kept/600, "a second:", &got)
				}
				assert.InDelta(t, 52.5, got.kept/600, 22.5, "kept a second")
				got.assertUseful(t)
			}
		})
	}
}

// TestDayOfBursts has a day whose load goes from 2 to 400 per second and back, in bursts every five
// seconds.
func TestDayOfBursts(t *testing.T) {
	for run := range runsOf(t, 1, 20) {
		seed := seedOf(run)
		h := newHead(seed, target, defaultFairness, 1)
		hours := make([]totals, 25)
		load := func(at time.Duration) int {
			return int(5 * (2 + 398*(0.5-0.5*math.Cos(2*math.Pi*at.Hours()/24))))
		}
		playBursts(seed, h.clock, h.tickNow, 24*time.Hour, []bursts{{0, 0, 5 * time.Second, load}}, func(a arrival) {
			pt, kept := h.ask(a)
			hours[int(a.at.Hours())].add(1/pt.p, kept)
		})
		for hour := range hours[:24] {
			if run == 0 {
				t.Log("hour", hour, &hours[hour])
			}
			hours[hour].assertUseful(t)
		}
	}
}

// rareBursts makes operations that burst with size traces each period, at the same time or evenly
// spread.
func rareBursts(operations, size int, period time.Duration, spread bool) (list []bursts) {
	for op := range operations {
		start := time.Duration(0)
		if spread {
			start = time.Duration(op) * period / time.Duration(operations)
		}
		list = append(list, bursts{op, start, period, always(size)})
	}
	return list
}

// TestRareBursts has bursts once a minute and once in ten minutes, by one operation or several,
// alone or beside a steady one.
func TestRareBursts(t *testing.T) {
	const operations = 11
	steady := bursts{operations - 1, 0, time.Second / 50, always(1)}
	for _, tc := range []struct {
		name   string
		bursts []bursts
		period time.Duration
	}{
		{"6,000 a minute", rareBursts(1, 6000, time.Minute, false), time.Minute},
		{"6,000 a minute beside 50 a second", append(rareBursts(1, 6000, time.Minute, false), steady), time.Minute},
		{"ten times 600 a minute, spread", rareBursts(10, 600, time.Minute, true), time.Minute},
		{"ten times 600 a minute, at once", rareBursts(10, 600, time.Minute, false), time.Minute},
		{"10,000 in ten minutes", rareBursts(1, 10_000, 10*time.Minute, false), 10 * time.Minute},
		{"10,000 in ten minutes beside 50 a second", append(rareBursts(1, 10_000, 10*time.Minute, false), steady),
			10 * time.Minute},
		{"ten times 1,000 in ten minutes, at once", rareBursts(10, 1000, 10*time.Minute, false), 10 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for run := range runsOf(t, 2, 50) {
				seed := seedOf(run)
				h := newHead(seed, target, defaultFairness, operations)
				var all totals
				each := make([]totals, operations)
				var kept perSecond
				playBursts(seed, h.clock, h.tickNow, 13*tc.period, tc.bursts, func(a arrival) {
					pt, ok := h.ask(a)
					if ok {
						kept.add(a.at)
					}
					if a.at >= 3*tc.period {
						all.add(1/pt.p, ok)
						each[a.op].add(1/pt.p, ok)
					}
				})
				if run == 0 {
					t.Logf("%s; at most %.0f in ten seconds", &all, kept.mostIn(10))
				}
				all.assertUseful(t)
				assert.LessOrEqual(t, kept.mostIn(10), 1.6*10*target)
				if strings.HasSuffix(tc.name, "spread") {
					assert.InDelta(t, target, all.kept/600, 0.2*target, "their peaks do not add up")
				}
				for op := range each {
					if each[op].truth > 0 {
						assert.InDelta(t, 1, each[op].ratio(), 0.5, "operation %d", op)
					}
				}
			}
		})
	}
}

// TestBurstLargerThanUsual has five bursts of 6,000 and then one of 8,000: the end of it, for which
// the budget does not last, must not weigh as much as all of it.
func TestBurstLargerThanUsual(t *testing.T) {
	for run := range runsOf(t, 20, 200) {
		seed := seedOf(run)
		h := newHead(seed, target, defaultFairness, 1)
		var last totals
		playBursts(seed, h.clock, h.tickNow, 6*time.Minute,
			[]bursts{{0, time.Second, time.Minute, func(at time.Duration) int {
				if at > 5*time.Minute {
					return 8000
				}
				return 6000
			}}}, func(a arrival) {
				if pt, kept := h.ask(a); a.at > 5*time.Minute {
					last.add(1/pt.p, kept)
				}
			})
		if run == 0 {
			t.Log(&last)
		}
		assert.LessOrEqual(t, last.heaviest, 500.0)
	}
}

// TestFirstBurstOfAnIdleOperation has an operation that has slept for an hour, beside one that
// makes ten a second.
func TestFirstBurstOfAnIdleOperation(t *testing.T) {
	simulation(t)
	h := newHead(1, target, defaultFairness, 2)
	var burst totals
	playBursts(1, h.clock, h.tickNow, time.Hour+time.Second, []bursts{
		{0, 0, time.Second / 10, always(1)}, {1, time.Hour, time.Hour, always(150)},
	}, func(a arrival) {
		if pt, kept := h.ask(a); a.op == 1 {
			burst.add(1/pt.p, kept)
		}
	})
	assert.Equal(t, totals{truth: 150, kept: 150, estimate: 150, heaviest: 1}, burst)
}

// TestBurstsAreUnbiased plays bursts of a new operation, again and again, beside a steady one.
func TestBurstsAreUnbiased(t *testing.T) {
	var all, first stats
	for run := range runsOf(t, 1000, 20_000) {
		seed := seedOf(run)
		h := newHead(seed, target, defaultFairness, 2)
		var got, opening totals
		playBursts(seed, h.clock, h.tickNow, 5*time.Second, []bursts{
			{0, 0, time.Second / 100, always(1)}, {1, 500 * time.Millisecond, 1500 * time.Millisecond, always(1000)},
		}, func(a arrival) {
			pt, kept := h.ask(a)
			got.add(1/pt.p, kept)
			if a.op == 1 && a.at < time.Second {
				opening.add(1/pt.p, kept)
			}
		})
		all.add(got.ratio() - 1)
		first.add(opening.ratio() - 1)
	}
	t.Logf("all: bias %+.4f ± %.4f; the first burst: %+.4f ± %.4f", all.mean(), all.standardError(), first.mean(),
		first.standardError())
	assertUnbiased(t, "all", &all, 0.03)
	assertUnbiased(t, "the first burst", &first, 0.06)
}

// TestRise has a thousand-fold rise, and others, of a load that has been steady for a minute.
func TestRise(t *testing.T) {
	for _, from := range []float64{0.1, 10, 45, 100, 1000} {
		t.Run(fmt.Sprint("from ", from), func(t *testing.T) {
			var first, ten, later stats
			for run := range runsOf(t, 8, 200) {
				seed := seedOf(run)
				h := newHead(seed, target, defaultFairness, 1)
				var kept perSecond
				playSteps(seed, h, &kept, phase{time.Minute, []float64{from}},
					phase{2 * time.Minute, []float64{10_000}})
				assert.LessOrEqual(t, kept[60], mostInASecond, "first second")
				assert.LessOrEqual(t, kept.mostIn(10), 1.6*10*target, "ten seconds")
				first.add(kept[60])
				ten.add(10 * kept.mean(60, 70))
				later.add(kept.mean(120, 180))
				assert.Less(t, h.budget.surplus, 0.0, "what the rise has cost is repaid")
			}
			t.Logf("first second %.0f, first ten %.0f, after a minute %.1f a second", first.mean(), ten.mean(),
				later.mean())
			assert.InDelta(t, target, later.mean(), 0.05*target)
		})
	}
}

// TestRiseAfterBursts has a rise where bursts are usual: right upon one, and in the place of the
// next.
func TestRiseAfterBursts(t *testing.T) {
	for _, after := range []time.Duration{10 * time.Millisecond, time.Second, 5 * time.Second,
		9900 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			for run := range runsOf(t, 4, 200) {
				seed := seedOf(run)
				h := newHead(seed, target, defaultFairness, 2)
				var kept perSecond
				playBursts(seed, h.clock, h.tickNow, 5*time.Minute+after,
					[]bursts{{0, 0, 10 * time.Second, always(2000)}}, func(a arrival) {
						if _, ok := h.ask(a); ok {
							kept.add(a.at)
						}
					})
				playSteps(seed, h, &kept, phase{time.Minute, []float64{0, 10_000}})
				if run == 0 {
					t.Logf("%.0f, at most %.0f in ten seconds", kept[290:330], kept.mostIn(10))
				}
				assert.LessOrEqual(t, kept.mostIn(1), 9*target)
				assert.LessOrEqual(t, kept.mostIn(10), 1.6*10*target)
			}
		})
	}
}

func playSteps(seed uint64, h *head, kept *perSecond, phases ...phase) {
	run(newRandom(seed), h.clock, h.tickNow, phases, func(a arrival) {
		if _, ok := h.ask(a); ok {
			kept.add(a.at)
		}
	})
}

// mostIn is the most in any so many consecutive seconds.
func (p perSecond) mostIn(seconds int) (most float64) {
	for first := range p {
		most = max(most, p.mean(first, first+seconds)*float64(seconds))
	}
	return most
}

// TestFailuresAtOnce has the tail meet a thousand failures at once: the first time, and again and
// again at a target that is far below.
func TestFailuresAtOnce(t *testing.T) {
	for _, tc := range []struct {
		name   string
		target float64
		most   float64 // traces kept a second
		whole  bool
	}{
		{"within the target", 500, 100, true},
		{"beyond it", 20, 22, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for run := range runsOf(t, 3, 50) {
				var got totals
				var s *service
				s = newService(t, seedOf(run), Config{TailTracesPerSecond: tc.target, Rules: []Rule{{Ratio: 1e-9}}},
					func(span sdktrace.ReadOnlySpan) {
						if s.clock.now > time.Minute {
							count, _ := AdjustedCount(span.SpanContext())
							got.kept++
							got.estimate += count
							got.heaviest = max(got.heaviest, count)
						}
					})
				playBursts(seedOf(run), s.clock, s.tick, 11*time.Minute,
					[]bursts{{0, time.Second, 10 * time.Second, always(1000)}}, func(a arrival) {
						if a.at > time.Minute {
							got.truth++
						}
						s.request(context.Background(), "job", s.traceID(a.r), 0, true)
					})
				s.finish(t)
				if run == 0 {
					t.Log(&got)
				}
				got.assertUseful(t)
				assert.LessOrEqual(t, got.kept/600, tc.most)
				if tc.whole {
					assert.Equal(t, got.truth, got.kept)
				}
			}
		})
	}
}

// TestBurstsOnARealClock makes 200 traces at once, five times a second, at a target of 200 a
// second.
func TestBurstsOnARealClock(t *testing.T) {
	t.Parallel()
	s, err := New(Config{TracesPerSecond: 200, HeadOnly: true})
	require.NoError(t, err)
	defer s.Close()
	var got, last totals
	p := newProbe(3, trace.SpanContextConfig{}, false)
	p.random += seedOf(0)
	burst, start := time.NewTicker(200*time.Millisecond), time.Now()
	defer burst.Stop()
	for time.Since(start) < 5*time.Second {
		<-burst.C
		for range 200 {
			result := s.ShouldSample(*p.next())
			weight, kept := 0.0, result.Decision == sdktrace.RecordAndSample
			if kept {
				weight = adjustedCount(readState(result.Tracestate).threshold)
			}
			got.add(weight, kept)
			if time.Since(start) > 2*time.Second {
				last.add(weight, kept)
			}
		}
	}
	seconds := time.Since(start).Seconds()
	t.Logf("%.0f a second: %s; in the last three seconds %s", got.kept/seconds, &got, &last)
	assert.InDelta(t, 1, got.ratio(), 0.25) // some 1,500 traces, at weights that the scheduling of a busy machine moves
	assert.LessOrEqual(t, got.kept, 200*(seconds+headBurst+2))
	assert.GreaterOrEqual(t, got.kept, 200*seconds*0.4)
	assert.Less(t, last.heaviest/got.truth, 0.05)
}
