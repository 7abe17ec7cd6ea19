package sampling

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestEveryOperationIsSeen(t *testing.T) {
	simulation(t)
	rates := zipf(100, 10_000, 2.2)
	h := newHead(3, target, defaultFairness, 100)
	seen, arrived := make([]float64, 100), make([]float64, 100)
	run(newRandom(3), h.clock, h.tickNow, []phase{{5 * time.Minute, rates}}, func(a arrival) {
		arrived[a.op]++
		if _, kept := h.ask(a); kept {
			seen[a.op]++
		}
	})
	for op, rate := range rates {
		assert.Positive(t, seen[op], "operation %d at %.2f/s", op, rate)
		if rate < 0.2 {
			assert.GreaterOrEqual(t, seen[op], 0.98*arrived[op]-1, "operation %d at %.2f/s is rare, and kept whole", op,
				rate)
		}
	}
}

// TestEvenShares uses fairness 1, under which all operations that can have equal shares get them,
// to hold the water-filling to Jain's index.
func TestEvenShares(t *testing.T) {
	simulation(t)
	rates := zipf(100, 10_000, 1)
	h := newHead(4, target, 1, 100)
	kept := make([]float64, 100)
	run(newRandom(4), h.clock, h.tickNow, []phase{{3 * time.Minute, rates}}, func(a arrival) {
		if _, ok := h.ask(a); ok && a.at > time.Minute {
			kept[a.op]++
		}
	})
	sum, squares := 0.0, 0.0
	for _, n := range kept {
		sum += n
		squares += n * n
	}
	index := sum * sum / (100 * squares)
	t.Logf("Jain's index %.3f", index)
	assert.Greater(t, index, 0.97) // 60 traces per operation: chance alone takes 1/60 from 1
}

func TestAllocation(t *testing.T) {
	simulation(t)
	for _, tc := range []struct {
		name   string
		rates  []float64
		target float64
	}{
		{"nothing", []float64{0, 0}, 50},
		{"below the target", []float64{10, 20}, 50},
		{"one", []float64{10_000}, 50},
		{"rare beside busy", []float64{0.1, 1, 10_000}, 50},
		{"skewed", zipf(500, 1e6, 2), 50},
		{"alike", uniform(512, 100), 50},
		{"exactly the target", uniform(50, 1), 50},
		{"one at the water level but for rounding", []float64{0.1, 0.1, 0.1, 0.1, 0.15}, 0.5},
	} {
		for _, fairness := range []float64{0, 0.25, 0.5, 1} {
			p := make([]float64, len(tc.rates))
			allocate(tc.rates, p, tc.target, fairness)
			kept, total := 0.0, 0.0
			for i, rate := range tc.rates {
				assert.True(t, p[i] > 0 && p[i] <= 1, "%s: p is %v", tc.name, p[i])
				kept += rate * p[i]
				total += rate
			}
			assert.InDelta(t, min(tc.target, total), kept, 1e-6*tc.target, "%s, fairness %v", tc.name, fairness)
			if fairness < 1 && total > tc.target {
				for i := range p {
					assert.LessOrEqual(t, 1/p[i], total/((1-fairness)*tc.target)*(1+1e-9), "%s: the count is bounded",
						tc.name)
				}
			}
		}
	}
}

// TestBusyNewcomerFindsAPlace fills the table with names that come once, and then lets a busy
// operation arrive.
func TestBusyNewcomerFindsAPlace(t *testing.T) {
	simulation(t)
	h := newHead(5, target, defaultFairness, 1)
	hash := hasher{5}
	n := 0
	h.keys, h.names = append(h.keys, 0), append(h.names, "")
	step := func(a arrival) {
		if a.op == 1 {
			n++
			req := request{name: time.Duration(n).String()}
			h.keys[1], h.names[1] = hash.key(&req), req.name
		}
		h.ask(a)
	}
	random := newRandom(5)
	run(random, h.clock, h.tickNow, []phase{{10 * time.Second, []float64{0, 2000}}}, step)
	assert.Nil(t, h.table.find(h.keys[0]))
	run(random, h.clock, h.tickNow, []phase{{30 * time.Second, []float64{2000, 20}}}, step)
	own := h.table.find(h.keys[0])
	if assert.NotNil(t, own, "it displaces a name that never came again") {
		assert.InDelta(t, 2000, own.estimate.average(), 300)
	}
	run(random, h.clock, h.tickNow, []phase{{idleAfter + time.Minute, []float64{50, 0}}}, step)
	claimed := 0
	h.table.each(func(*way, *class) { claimed++ })
	assert.Equal(t, 1, claimed, "names that no longer come give up their classes")
}
