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
	alarm    atomic.Uint64 // the number of arrivals at which to look at the clock
	current  atomic.Pointer[point]
	thinning atomic.Uint64 // a mask: arrivals whose R has any of its bits set are not counted
	kept     atomic.Uint64
	_        [24]byte

	// The rest belongs to the controller's mutex.
	name       string
	before     [2]uint64 // arrivals and kept of the operations that had this class earlier
	estimate   estimate
	counted    uint64        // arrivals that estimate knows of
	countedAt  time.Duration // and up to when
	blockStart uint64        // arrivals when the running block began
	blockTime  time.Duration // and when that was
	lastSeen   time.Duration // the last tick with arrivals
	fresh      bool          // a block has re-estimated it since the last tick
}

// restart begins a block of arrivals: the alarm goes off after quota expected samples.
func (c *class) restart(arrivals uint64, now time.Duration, quota float64) {
	c.blockStart, c.blockTime = arrivals, now
	c.alarm.Store(arrivals + uint64(math.Ceil(quota/c.current.Load().p)))
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
	for rate := c.estimate.rate(); stride < maxStride && rate >= 2*countedPerSecond*float64(stride); {
		stride *= 2
	}
	c.thinning.Store(stride - 1)
}

// stride is how many arrivals a counted one stands for.
func (c *class) stride() float64 { return float64(c.thinning.Load() + 1) }

const (
	// memory is the time constant of the rate estimate. It is long, for a steady rate; changes are not left to it but
	// detected.
	memory = 10 * time.Second
	// deviations is how many standard deviations make a change, and minVariance keeps a handful of arrivals from being
	// one. At 5, with five looks a second at 500 operations, chance alone makes one about every ten minutes.
	deviations  = 5
	minVariance = 4
	// windowTicks is the longer of the two windows in which a change is looked for.
	windowTicks = 5
)

// estimate is the arrival rate of a class: arrivals and time, both fading exponentially, and forgotten altogether when
// the rate has changed.
type estimate struct {
	count   float64
	seconds float64
	recent  [windowTicks]tally // the last ticks, the oldest at next
	next    int
}

type tally struct{ count, seconds float64 }

// rate is in arrivals per second; 0 before the first observation.
func (e *estimate) rate() float64 {
	if e.seconds == 0 {
		return 0
	}
	return e.count / e.seconds
}

// reset forgets everything but one observation.
func (e *estimate) reset(count, seconds float64) {
	*e = estimate{count: count, seconds: seconds}
}

// observe adds what arrived during one tick, counted in strides.
func (e *estimate) observe(count, seconds, stride float64) {
	if e.seconds == 0 {
		e.reset(count, seconds)
		return
	}
	tick := tally{count, seconds}
	window := tick
	for i, t := range e.recent {
		if i != e.next {
			window.count += t.count
			window.seconds += t.seconds
		}
	}
	switch {
	case e.changed(tick, stride):
		e.reset(tick.count, tick.seconds)
	case e.changed(window, stride):
		e.reset(window.count, window.seconds)
	default:
		fade := math.Exp(-seconds / memory.Seconds())
		e.count = e.count*fade + count
		e.seconds = e.seconds*fade + seconds
		e.recent[e.next] = tick
		e.next = (e.next + 1) % windowTicks
	}
}

// changed reports whether t is too far from the estimate to be chance. The estimate's own uncertainty counts too: after a
// reset it rests on a fraction of a second.
func (e *estimate) changed(t tally, stride float64) bool {
	expected := e.rate() * t.seconds
	variance := max(stride*expected, minVariance) * (1 + t.seconds/e.seconds)
	return math.Abs(t.count-expected) > deviations*math.Sqrt(variance)
}
