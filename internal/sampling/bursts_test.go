package sampling

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// tally is what became of the arrivals of a while.
type tally struct {
	truth, kept, estimate, heaviest float64
}

func (t *tally) add(pt *point, kept bool) {
	t.truth++
	if kept {
		t.kept++
		t.estimate += 1 / pt.p
		t.heaviest = max(t.heaviest, 1/pt.p)
	}
}

// bursts plays a load that makes size(at) requests every period, two microseconds apart, and nothing in between.
func (h *head) bursts(seed uint64, op int, length, period time.Duration, size func(at time.Duration) int, step func(arrival)) {
	h.schedules(seed, length, schedule{op, 0, period, size}, step)
}

// schedule is one operation that makes bursts.
type schedule struct {
	op            int
	start, period time.Duration
	size          func(at time.Duration) int
}

func constant(n int) func(time.Duration) int { return func(time.Duration) int { return n } }

func (h *head) schedules(seed uint64, length time.Duration, list any, step func(arrival)) {
	var schedules []schedule
	switch list := list.(type) {
	case schedule:
		schedules = []schedule{list}
	case []schedule:
		schedules = list
	}
	const apart = 2 * time.Microsecond
	random := newRandom(seed)
	c := h.clock
	begin := c.now
	next := make([]time.Duration, len(schedules))
	for i, s := range schedules {
		next[i] = begin + s.start
	}
	nextTick := c.now + tickInterval
	for {
		first := 0
		for i := range next {
			if next[i] < next[first] {
				first = i
			}
		}
		at := next[first]
		for nextTick <= min(at, begin+length) {
			c.now = max(c.now, nextTick)
			h.tickNow()
			nextTick += tickInterval
		}
		if at >= begin+length {
			c.now = begin + length
			return
		}
		s := schedules[first]
		next[first] += s.period
		c.now = max(c.now, at)
		for range s.size(at - begin) {
			c.now += apart
			step(arrival{c.now, s.op, random.Uint64() & (whole - 1)})
		}
	}
}

// TestBursts holds the rows of regular bursts: ten minutes after one of warm-up.
func TestBursts(t *testing.T) {
	simulation(t)
	for _, tc := range []struct {
		name   string
		size   int
		period time.Duration
	}{
		{"200 each second", 200, time.Second},
		{"500 each 5 s", 500, 5 * time.Second},
		{"2,000 each 10 s", 2000, 10 * time.Second},
		{"100 each 970 ms", 100, 970 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for seed := range uint64(10) {
				h := newHead(seed, target, defaultFairness, 1)
				var got tally
				h.bursts(seed, 0, 11*time.Minute, tc.period, constant(tc.size), func(a arrival) {
					pt, kept := h.ask(a)
					if a.at >= time.Minute {
						got.add(pt, kept)
					}
				})
				perSecond, ratio, share := got.kept/600, got.estimate/got.truth, got.heaviest/got.truth
				if seed < 3 {
					t.Logf("%.1f kept a second, Σ weights/truth %.3f, heaviest %.5f of the truth", perSecond, ratio, share)
				}
				assert.InDelta(t, 52.5, perSecond, 22.5)
				assert.InDelta(t, 1, ratio, 0.1)
				assert.LessOrEqual(t, share, 0.01)
			}
		})
	}
}

// TestDayOfBursts has a day whose load goes from 2 to 400 per second and back, in bursts every five seconds.
func TestDayOfBursts(t *testing.T) {
	simulation(t)
	const period = 5 * time.Second
	h := newHead(1, target, defaultFairness, 1)
	hours := make([]tally, 25)
	h.bursts(1, 0, 24*time.Hour, period, func(at time.Duration) int {
		day := 0.5 - 0.5*math.Cos(2*math.Pi*at.Hours()/24)
		return int((2 + 398*day) * period.Seconds())
	}, func(a arrival) {
		pt, kept := h.ask(a)
		hours[int(a.at.Hours())].add(pt, kept)
	})
	for hour, got := range hours[:24] {
		t.Logf("hour %2d: %5.1f a second, %4.1f kept, Σ weights/truth %.3f, heaviest %.5f", hour, got.truth/3600,
			got.kept/3600, got.estimate/got.truth, got.heaviest/got.truth)
		assert.InDelta(t, 1, got.estimate/got.truth, 0.1, "hour %d", hour)
	}
}

// TestRareBursts has bursts once a minute and once in ten minutes, of one operation or of several, alone or together.
func TestRareBursts(t *testing.T) {
	simulation(t)
	apart := func(n, size int, period time.Duration) (list []schedule) {
		for i := range n {
			list = append(list, schedule{i, time.Duration(i) * period / time.Duration(n), period, constant(size)})
		}
		return list
	}
	together := func(n, size int, period time.Duration) (list []schedule) {
		for i := range n {
			list = append(list, schedule{i, 0, period, constant(size)})
		}
		return list
	}
	steady := schedule{20, 0, 20 * time.Millisecond, constant(1)} // 50 a second
	for _, tc := range []struct {
		name      string
		schedules []schedule
		length    time.Duration
		warm      time.Duration
	}{
		{"6,000 a minute", apart(1, 6000, time.Minute), 13 * time.Minute, 3 * time.Minute},
		{"6,000 a minute beside 50/s", append(apart(1, 6000, time.Minute), steady), 13 * time.Minute, 3 * time.Minute},
		{"ten of 600 a minute, apart", apart(10, 600, time.Minute), 13 * time.Minute, 3 * time.Minute},
		{"ten of 600 a minute, together", together(10, 600, time.Minute), 13 * time.Minute, 3 * time.Minute},
		{"10,000 in ten minutes", apart(1, 10_000, 10*time.Minute), 125 * time.Minute, 25 * time.Minute},
		{"10,000 in ten minutes beside 50/s", append(apart(1, 10_000, 10*time.Minute), steady), 125 * time.Minute, 25 * time.Minute},
		{"ten of 1,000 in ten minutes, together", together(10, 1000, 10*time.Minute), 125 * time.Minute, 25 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for seed := range uint64(5) {
				h := newHead(seed, target, defaultFairness, 21)
				var all tally
				ops := make([]tally, 21)
				var kept perSecond
				h.schedules(seed, tc.length, tc.schedules, func(a arrival) {
					pt, ok := h.ask(a)
					if ok {
						kept.add(a.at)
					}
					if a.at >= tc.warm {
						all.add(pt, ok)
						ops[a.op].add(pt, ok)
					}
				})
				worst := 0.0
				for _, op := range ops {
					if op.truth > 0 {
						worst = max(worst, math.Abs(op.estimate/op.truth-1))
					}
				}
				if seed < 3 {
					t.Logf("%.1f kept a second of %.0f, Σ weights/truth %.3f, worst operation off by %.3f, heaviest %.5f, any 10 s %.2f × target",
						all.kept/(tc.length-tc.warm).Seconds(), all.truth/(tc.length-tc.warm).Seconds(), all.estimate/all.truth,
						worst, all.heaviest/all.truth, kept.mostIn(10)/(10*target))
				}
				assert.InDelta(t, 1, all.estimate/all.truth, 0.1)
				assert.LessOrEqual(t, all.heaviest/all.truth, 0.01)
				assert.LessOrEqual(t, kept.mostIn(10), 1.6*10*target)
			}
		})
	}
}

// mostIn is the most in any so many consecutive seconds.
func (p perSecond) mostIn(seconds int) (most float64) {
	for first := range p {
		most = max(most, p.mean(first, first+seconds)*float64(seconds))
	}
	return most
}

// TestRise holds the row of the thousand-fold step.
func TestRise(t *testing.T) {
	simulation(t)
	for _, from := range []float64{0.1, 10, 45, 100, 1000} {
		t.Run(fmt.Sprint(from), func(t *testing.T) {
			kept, most := keptPerSecond(10, 1, []phase{{60 * time.Second, []float64{from}}, {60 * time.Second, []float64{10_000}}})
			t.Logf("first second %.0f (at most %.0f), first ten %.0f, then %.0f", kept[60], most[60], 10*kept.mean(60, 70), kept[70:90])
			assert.LessOrEqual(t, most[60], mostInASecond)
			assert.LessOrEqual(t, most.mostIn(10), 1.6*10*target)
		})
	}
}
