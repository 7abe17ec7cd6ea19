package sampling

import (
	"math"
	"sync/atomic"
	"time"
)

// class is a group of traces with one threshold, usually those of one operation.
type class struct {
	// The hot path reads and writes these. They fill a cache line of 64 bytes, so that two busy
	// classes do not slow each other down.
	arrivals  atomic.Uint64
	current   atomic.Pointer[point]
	countMask atomic.Uint64 // arrivals whose R has any of these bits set are not counted
	kept      atomic.Uint64
	above     atomic.Uint64         // traces of callers whose position is at or above the threshold
	moved     atomic.Uint64         // arrivals whose late route gives them another class
	busiest   atomic.Pointer[class] // of those classes, the one with the highest threshold
	chosen    atomic.Bool           // more are above than chance explains
	_         [4]byte

	// The controller's mutex guards the rest.
	name     string
	fallback *class    // busiest of the period before
	raw      uint64    // arrivals at the last tick, including those that have moved
	before   [2]uint64 // arrivals and kept of the operations that had this class earlier
	estimate estimate
	counted  mark
	previous mark
	lastSeen time.Duration // the last tick with arrivals
	usual    float64       // the probability for the usual rate
	recent   float64       // the probability for the recent rate

	mostUsual, mostRecent float64   // the lowest usual and recent among the classes that its arrivals move to
	checked               [2]uint64 // arrivals and above that expected and excess include
	expected              float64   // how many should be above in the last seconds, by the thresholds
	excess                float64   // how many more were
}

// mark is a number of arrivals at a time.
type mark struct {
	arrivals int64 // those that have not moved
	at       time.Duration
}

// begin makes this the class of a new operation.
func (c *class) begin(name string, now time.Duration) {
	arrivals := c.arrivals.Load()
	c.name, c.before = name, [2]uint64{arrivals, c.kept.Load()}
	c.moved.Store(arrivals)
	c.busiest.Store(nil)
	c.fallback = nil
	c.counted, c.previous = mark{0, now}, mark{0, now}
	c.estimate, c.lastSeen, c.usual, c.recent, c.mostUsual, c.mostRecent = estimate{}, now, 1, 1, 1, 1
	c.current.Store(gridPoint(0))
	c.countMask.Store(0)
	c.checked, c.expected, c.excess = [2]uint64{arrivals, c.above.Load()}, 0, 0
	c.chosen.Store(false)
}

// detectChosen compares how many positions were above the threshold with how many random positions
// would have been. It must be called before the threshold changes.
func (c *class) detectChosen() {
	arrivals, above := c.arrivals.Load(), c.above.Load()
	expected := 0.0
	if pt := c.current.Load(); pt.threshold > 0 { // else everything passes
		expected = pt.p * float64(arrivals-c.checked[0])
	}
	c.expected += expected
	c.excess += float64(above-c.checked[1]) - expected
	c.checked = [2]uint64{arrivals, above}
	const deviations, handful = 5, 16
	c.chosen.Store(c.excess > handful+deviations*math.Sqrt(c.expected))
}

// fade lets detectChosen forget within about ten seconds.
func (c *class) fade() {
	const perTick = 0.98
	c.expected *= perTick
	c.excess *= perTick
}

// observe adds what has arrived since the last tick to the estimate, and returns it.
func (c *class) observe(now time.Duration) (arrivals float64) {
	n := c.own()
	if debt := c.counted.arrivals - n; debt > 0 {
		n += debt - debt/debtFades
	}
	arrivals = float64(max(n-c.counted.arrivals, 0))
	if raw := c.arrivals.Load(); raw != c.raw {
		c.raw = raw
		c.lastSeen = now
	}
	c.estimate.observe(now, arrivals, max(now-c.counted.at, time.Millisecond).Seconds())
	c.previous, c.counted = c.counted, mark{n, now}
	c.setCountMask()
	return arrivals
}

// latest is the rate of arrivals since the tick before the last one, or the recent rate if that is
// higher, in arrivals per second.
func (c *class) latest(now time.Duration) float64 {
	since := min(max(now-c.previous.at, tickInterval), 2*tickInterval)
	return max(c.estimate.recent(), float64(c.own()-c.previous.arrivals)/since.Seconds())
}

// own is how many arrivals have not moved. It falls if more move than arrive. As long as it is
// below what has been counted, the difference is a debt, which the next arrivals repay.
func (c *class) own() int64 { return int64(c.arrivals.Load() - c.moved.Load()) }

// debtFades is the number of ticks in which a debt falls to a third: about ten seconds.
const debtFades = 50

// move notes that an arrival of this class belongs to another class. weight is how many arrivals it
// represents.
func (c *class) move(to *class, r, weight uint64) {
	if mask := c.countMask.Load(); r&mask == 0 {
		c.moved.Add(weight * (mask + 1))
	}
	busiest := c.busiest.Load()
	if busiest == nil || busiest != to && to.current.Load().threshold > busiest.current.Load().threshold {
		c.busiest.Store(to)
	}
}

// turn lets busiest forget within one to two times memory.
func (c *class) turn() { c.fallback = c.busiest.Swap(nil) }

// movesTo calls f for the busiest classes that arrivals have moved to. No more of those arrivals
// may be kept than their own probability allows, and the head decides first.
func (c *class) movesTo(f func(*class)) {
	for _, to := range [...]*class{c.busiest.Load(), c.fallback} {
		if to != nil {
			f(to)
		}
	}
}

// Cores would contend for a counter, so only a part of the arrivals of a busy operation is counted:
// those whose R ends in zeros. The last bits of R decide nothing, because thresholds end in zeros.
// So a count stays independent of the decisions. At least countedPerSecond arrivals are counted,
// which is enough to notice a change within a tick.
const (
	countedPerSecond = 256
	maxStride        = 1024
)

// setCountMask sets how many arrivals each counted one represents.
func (c *class) setCountMask() {
	stride := uint64(1)
	for rate := c.estimate.recent(); stride < maxStride && rate >= 2*countedPerSecond*float64(stride); {
		stride *= 2
	}
	c.countMask.Store(stride - 1)
}
