package sampling

import (
	"math"
	"time"
)

// A burst budget has two parts: savings, from times when less than the target was kept, and a
// surplus that a burst may take beyond them. Both are parts of burst·target. If bursts usually need
// more, the surplus grows with them: to usualPart as planned, and to mostPart by chance.
const (
	savedPart   = 0.35
	surplusPart = 0.65
	usualPart   = 1.4
	mostPart    = 1.48
	// minBurst is the least surplus that a burst may take, in traces.
	minBurst = 16
)

const (
	// longestBurst is how long a surplus may last to be remembered as that of a burst. A surplus
	// that lasts longer is that of a rise.
	longestBurst = 20 * time.Second
	// planned is the part of the target that the plan uses; the rest repays bursts.
	planned = 0.9
)

// budget distinguishes a burst from a rise. It is a leaky bucket of kept traces: they fill it, and
// the target drains it. While the target is not used up, it is below zero. A burst fills it, and a
// rise makes it overflow.
type budget struct {
	target  float64       // kept traces per second
	burst   float64       // the size of the budget, in seconds of the target
	surplus float64       // kept traces beyond the target; negative if there is room
	peak    float64       // of the surplus since it was last below zero
	since   time.Duration // when it was last below zero
	usual   peaks         // of the surplus in bursts that are over
	rise    bool          // the surplus has reached its limit, and is not yet well below what a first burst may take
	kept    uint64        // traces that surplus includes
	at      time.Duration
}

func (b *budget) saved() float64 { return savedPart * b.burst * b.target }

// first is the surplus that the first burst may take.
func (b *budget) first() float64 { return max(minBurst, surplusPart*b.burst*b.target) }

// repay is the rate at which a rise is sampled, in kept traces per second. After a burst beyond the
// first limit it is lower, so that both together stay within 1.6 times the target in any ten
// seconds.
func (b *budget) repay() float64 {
	if b.surplus > b.first() {
		return b.target / 2
	}
	return planned * b.target
}

// limit is the surplus at which a burst becomes a rise.
func (b *budget) limit() float64 {
	return max(b.first(), min(1.25*b.usual.max(), mostPart*b.burst*b.target))
}

// spend adds the traces that have been kept until now to the surplus.
func (b *budget) spend(now time.Duration, kept uint64) {
	surplus := b.surplus + float64(kept-b.kept) - b.target*(now-b.at).Seconds()
	b.surplus = min(max(surplus, -b.saved()), b.limit()+b.target)
	b.kept, b.at = kept, now
	b.rise = b.surplus >= b.limit() || b.rise && b.surplus > max(b.first()-b.target, 0)
	switch {
	case b.surplus >= 0:
		b.peak = max(b.peak, b.surplus)
		return
	case now-b.since < longestBurst:
		b.usual.add(now, b.peak)
	}
	b.peak, b.since = 0, now
}

// nextCheck is the number of kept traces at which the budget must be checked again.
func (b *budget) nextCheck() uint64 {
	distance := b.target * tickInterval.Seconds() / 2
	switch {
	case b.surplus < 0:
		distance = -b.surplus
	case !b.rise:
		distance = b.limit() - b.surplus
	}
	return b.kept + uint64(math.Ceil(max(distance, 1)))
}

// aim is the rate of kept traces per second that leads to half of the savings.
func (b *budget) aim() float64 {
	const most = 2 - planned
	full := max(0, 1+min(b.surplus/b.saved(), 0)) // 0: all is saved
	return b.target * (most - (most-planned)*full)
}
