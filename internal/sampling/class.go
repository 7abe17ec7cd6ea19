package sampling

import (
	"math"
	"sync/atomic"
	"time"
)

// class is a group of traces with one threshold, usually those of one operation.
type class struct {
	// The hot path reads and writes these. They fill a cache line, so that two busy classes do not disturb each other.
	arrivals atomic.Uint64
	current  atomic.Pointer[point]
	thinning atomic.Uint64 // a mask: arrivals whose R has any of its bits set are not counted
	kept     atomic.Uint64
	passed   atomic.Uint64 // of the traces of callers: those whose R is above the threshold
	chosen   atomic.Bool   // more than the thresholds explain
	_        [20]byte

	// The rest belongs to the controller's mutex.
	name     string
	before   [2]uint64 // arrivals and kept of the operations that had this class earlier
	estimate estimate
	counted  mark
	previous mark
	lastSeen time.Duration // the last tick with arrivals
	usual    float64       // the probability by what is usual
	recent   float64       // and by the last second
	booked   [2]uint64     // arrivals and passed that the next two know of
	expected float64       // to pass, by the thresholds, of the last seconds
	excess   float64       // what has passed beyond that
}

// mark is how many had arrived at a time.
type mark struct {
	arrivals uint64
	at       time.Duration
}

// begin makes it the class of an operation of which nothing is known.
func (c *class) begin(name string, now time.Duration) {
	arrivals := c.arrivals.Load()
	c.name, c.before = name, [2]uint64{arrivals, c.kept.Load()}
	c.counted, c.previous = mark{arrivals, now}, mark{arrivals, now}
	c.estimate, c.lastSeen, c.usual, c.recent = estimate{}, now, 1, 1
	c.current.Store(gridPoint(0))
	c.thinning.Store(0)
	c.booked, c.expected, c.excess = [2]uint64{arrivals, c.passed.Load()}, 0, 0
	c.chosen.Store(false)
}

// account compares what has passed with what the threshold, which is about to change, explains. Random positions exceed
// it by chance alone.
func (c *class) account() {
	arrivals, passed := c.arrivals.Load(), c.passed.Load()
	expected := 0.0
	if pt := c.current.Load(); pt.threshold > 0 { // else everything passes
		expected = pt.p * float64(arrivals-c.booked[0])
	}
	c.expected += expected
	c.excess += float64(passed-c.booked[1]) - expected
	c.booked = [2]uint64{arrivals, passed}
	const deviations, handful = 5, 16
	c.chosen.Store(c.excess > handful+deviations*math.Sqrt(c.expected))
}

// fade lets account forget within some ten seconds.
func (c *class) fade() {
	const perTick = 0.98
	c.expected *= perTick
	c.excess *= perTick
}

// observe takes what has arrived since the last tick into the estimate, and returns it.
func (c *class) observe(now time.Duration) (arrivals float64) {
	n := c.arrivals.Load()
	arrivals = float64(n - c.counted.arrivals)
	if arrivals > 0 {
		c.lastSeen = now
	}
	c.estimate.observe(now, arrivals, max(now-c.counted.at, time.Millisecond).Seconds())
	c.previous, c.counted = c.counted, mark{n, now}
	c.thin()
	return arrivals
}

// sudden is the rate of arrivals since the tick before the last one, or the recent one if that is more.
func (c *class) sudden(now time.Duration) float64 {
	since := min(max(now-c.previous.at, tickInterval), 2*tickInterval)
	return max(c.estimate.recent(), float64(c.arrivals.Load()-c.previous.arrivals)/since.Seconds())
}

// Counting is what cores would contend for, so busy operations are counted by a part of their arrivals: those whose R
// ends in zeros. The last bits of R decide nothing (thresholds end in zeros), so that a count stays independent of the
// decisions. At least countedPerSecond are counted, which is enough to notice a change within a tick.
const (
	countedPerSecond = 256
	maxStride        = 1024
)

// thin sets how many arrivals one that is counted stands for.
func (c *class) thin() {
	stride := uint64(1)
	for rate := c.estimate.recent(); stride < maxStride && rate >= 2*countedPerSecond*float64(stride); {
		stride *= 2
	}
	c.thinning.Store(stride - 1)
}
