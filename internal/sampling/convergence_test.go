package sampling

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

const target = 50.0

// mostInASecond is what may be kept in the first second of a burst or a rise.
const mostInASecond = 6 * target

// keptPerSecond plays phases and returns the kept traces per second: the mean of some runs, and the
// largest of any.
func keptPerSecond(runs int, operations int, phases []phase) (mean, most perSecond) {
	for seed := range runs {
		var kept perSecond
		h := newHead(uint64(seed), target, defaultFairness, operations)
		run(newRandom(uint64(seed)), h.clock, h.tickNow, phases, func(a arrival) {
			if _, ok := h.ask(a); ok {
				kept.add(a.at)
			}
		})
		for len(mean) < len(kept) {
			mean, most = append(mean, 0), append(most, 0)
		}
		for i, n := range kept {
			mean[i] += n / float64(runs)
			most[i] = max(most[i], n)
		}
	}
	return mean, most
}

func TestStepUpAndDown(t *testing.T) {
	simulation(t)
	kept, most := keptPerSecond(10, 1, []phase{
		{20 * time.Second, []float64{10}}, {40 * time.Second, []float64{10_000}}, {20 * time.Second, []float64{10}},
	})
	t.Logf("up: %.0f (at most %.0f); down: %.0f", kept[18:26], most[20], kept[58:66])
	assert.InDelta(t, 10, kept.mean(5, 20), 0.5, "below the target everything is kept")
	assert.LessOrEqual(t, most[20], mostInASecond, "the first second after a 1000-fold rise")
	assert.InDelta(t, target, kept.mean(21, 60), 0.1*target, "settled in the next one; some of it repays the burst")
	for second := 22; second < 60; second++ {
		assert.InDelta(t, target, kept[second], 0.35*target, "second %d", second)
	}
	assert.InDelta(t, 10, kept.mean(62, 80), 1, "settled two seconds after the fall")
}

func TestOtherSteps(t *testing.T) {
	simulation(t)
	for _, tc := range []struct {
		name     string
		from, to float64
	}{
		{"ten-fold", 100, 1000}, {"ten-fold fall", 1000, 100}, {"hundred-fold", 100, 10_000},
		{"fall to a tenth", 10_000, 1_000}, {"double", 1000, 2000}, {"half", 2000, 1000},
		{"three quarters", 2000, 1500},
	} {
		t.Run(tc.name, func(t *testing.T) {
			kept, most := keptPerSecond(10, 1,
				[]phase{{15 * time.Second, []float64{tc.from}}, {15 * time.Second, []float64{tc.to}}})
			t.Logf("%.0f", kept[13:20])
			assert.LessOrEqual(t, most[15], mostInASecond)
			assert.InDelta(t, target, kept.mean(17, 30), 0.15*target)
		})
	}
}

func TestColdStart(t *testing.T) {
	simulation(t)
	kept, most := keptPerSecond(20, 1, []phase{{10 * time.Second, []float64{10_000}}})
	t.Logf("%.0f", kept)
	assert.LessOrEqual(t, most[0], mostInASecond)
	assert.InDelta(t, target, kept.mean(1, 10), 0.15*target)
}

func TestOperationsRisingTogether(t *testing.T) {
	simulation(t)
	kept, most := keptPerSecond(10, 100,
		[]phase{{20 * time.Second, uniform(100, 0.1)}, {20 * time.Second, uniform(100, 100)}})
	t.Logf("%.0f (at most %.0f)", kept[18:26], most[20])
	assert.LessOrEqual(t, most[20], 1.1*mostInASecond)
	assert.InDelta(t, target, kept.mean(22, 40), 0.15*target)
}

func TestBurstsOfOneSecond(t *testing.T) {
	simulation(t)
	var phases []phase
	for range 15 {
		phases = append(phases, phase{time.Second, []float64{5000}}, phase{time.Second, []float64{1}})
	}
	kept, most := keptPerSecond(10, 1, phases)
	t.Logf("%.0f", kept)
	assert.LessOrEqual(t, most[0], mostInASecond)
	assert.InDelta(t, target, kept.mean(2, 30), 0.2*target)
	assert.LessOrEqual(t, most.mostIn(10), 1.6*10*target)
}

func TestSteadyRate(t *testing.T) {
	simulation(t)
	var kept perSecond
	h := newHead(1, target, defaultFairness, 40)
	run(newRandom(1), h.clock, h.tickNow, []phase{{320 * time.Second, zipf(40, 3000, 1.2)}}, func(a arrival) {
		if _, ok := h.ask(a); ok {
			kept.add(a.at)
		}
	})
	variation := kept.deviation(20, 320) / kept.mean(20, 320)
	t.Logf("mean %.2f, coefficient of variation %.3f", kept.mean(20, 320), variation)
	assert.InDelta(t, target, kept.mean(20, 320), 0.03*target)
	// 1/√50 = 0.141 is what a Poisson process has; with 300 seconds the figure itself is known to 4
	// %.
	assert.Less(t, variation, 1.1/7.07)
}

func TestNamesWithoutEnd(t *testing.T) {
	simulation(t)
	h := newHead(1, target, defaultFairness, 1)
	hash := hasher{1}
	n := 0
	var kept perSecond
	run(newRandom(1), h.clock, h.tickNow, []phase{{30 * time.Second, []float64{5000}}}, func(a arrival) {
		n++
		req := request{name: "GET /" + time.Duration(n).String()}
		if a.r >= h.decide(hash.key(&req), req.name, a.r, 1).threshold {
			kept.add(a.at)
		}
	})
	t.Logf("%.0f", kept)
	assert.InDelta(t, target, kept.mean(2, 30), 0.2*target)
	assert.LessOrEqual(t, kept[0], mostInASecond)
	assert.LessOrEqual(t, len(h.classes), headSets*ways+2)
}
