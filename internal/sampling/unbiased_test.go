package sampling

import (
	"math"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// simulation leaves a test out under the race detector, which has nothing to find in a single
// goroutine.
func simulation(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("a simulation in one goroutine")
	}
}

// runsOf is the number of runs of a statistical test: enough for its claim to be three standard
// errors, or with the figures variable that of the long version. It lets the test run beside
// others.
func runsOf(t *testing.T, short, long int) int {
	simulation(t)
	t.Parallel()
	if os.Getenv(figures) != "" {
		return long
	}
	return short
}

// seedOf numbers the runs. SAMPLING_SEED=1000000 repeats a test with other chance.
func seedOf(run int) uint64 {
	first, _ := strconv.ParseUint(os.Getenv("SAMPLING_SEED"), 10, 64)
	return first + uint64(run)
}

// TestTotalsAreUnbiased estimates how many requests there were from those that were kept, while the
// load rises and falls a hundred-fold.
func TestTotalsAreUnbiased(t *testing.T) {
	runs := runsOf(t, 3700, 37_000)
	slow, fast := zipf(40, 20, 1.2), zipf(40, 1500, 1.2)
	phases := []phase{{time.Second, slow}, {3 * time.Second, fast}, {time.Second, slow}}
	var total, rare, z stats
	for seed := range runs {
		h := newHead(seedOf(seed), target, defaultFairness, 40)
		var truth, estimate, variance, rareTruth, rareEstimate float64
		run(newRandom(seedOf(seed)), h.clock, h.tickNow, phases, func(a arrival) {
			truth++
			if a.op >= 30 {
				rareTruth++
			}
			if pt, kept := h.ask(a); kept {
				estimate += 1 / pt.p
				variance += (1 - pt.p) / (pt.p * pt.p)
				if a.op >= 30 {
					rareEstimate += 1 / pt.p
				}
			}
		})
		total.add(estimate/truth - 1)
		rare.add(rareEstimate/rareTruth - 1)
		z.add((estimate - truth) / math.Sqrt(variance))
	}
	t.Logf("total: bias %+.4f ± %.4f, one run ± %.3f; rare operations: %+.4f ± %.4f; z: mean %+.3f, deviation %.3f",
		total.mean(), total.standardError(), total.deviation(), rare.mean(), rare.standardError(), z.mean(),
		z.deviation())
	assertUnbiased(t, "total", &total, 0.006)
	assertUnbiased(t, "rare operations", &rare, 0.02)
	assert.InDelta(t, 1, z.deviation(), 0.15, "the variance formula is right")
}

// assertUnbiased holds a mean to be within three standard errors of zero, and the test to be sharp
// enough to notice a bias of limit.
func assertUnbiased(t *testing.T, what string, s *stats, limit float64) {
	t.Helper()
	assert.Less(t, math.Abs(s.mean()), 3*s.standardError()+1e-12, "%s: the mean is off by more than chance", what)
	assert.Less(t, 3*s.standardError(), limit, "%s: too few runs to tell", what)
}

// TestVarianceBesideUniform compares the estimates of a steady load with those of uniform sampling
// of as many traces.
func TestVarianceBesideUniform(t *testing.T) {
	runs := runsOf(t, 150, 3000)
	rates := zipf(40, 3000, 1.2)
	var relative, kept stats
	for seed := range runs {
		h := newHead(seedOf(seed), target, defaultFairness, 40)
		truth, estimate, n := 0.0, 0.0, 0.0
		run(newRandom(seedOf(seed)), h.clock, h.tickNow, []phase{{9 * time.Second, rates}}, func(a arrival) {
			pt, ok := h.ask(a)
			if a.at < 3*time.Second {
				return
			}
			truth++
			if ok {
				n++
				estimate += 1 / pt.p
			}
		})
		relative.add(estimate/truth - 1)
		kept.add(n)
	}
	uniform := 1 / kept.mean()
	ratio := relative.deviation() * relative.deviation() / uniform
	t.Logf("variance %.2f × that of uniform sampling of %.0f traces", ratio, kept.mean())
	assert.Less(t, ratio, 2.0, "1/(1−fairness) bounds it")
}

// TestThresholdsIgnoreTheirOwnR plays one load twice, with the R of one trace changed, but for the
// bits that count arrivals: it must meet the same threshold.
func TestThresholdsIgnoreTheirOwnR(t *testing.T) {
	phases := []phase{{time.Second, zipf(20, 50, 1)}, {2 * time.Second, zipf(20, 4000, 1)}}
	for _, changed := range []int{1, 16, 60, 100, 500, 2000, 6000} {
		play := func(replacement uint64) (met uint64) {
			h := newHead(7, target, defaultFairness, 20)
			n := 0
			run(newRandom(7), h.clock, h.tickNow, phases, func(a arrival) {
				if n++; n == changed {
					a.r = replacement
				}
				if pt, _ := h.ask(a); n == changed {
					met = pt.threshold
				}
			})
			return met
		}
		assert.Equal(t, play(0), play(whole-maxStride), "arrival %d", changed)
	}
}
