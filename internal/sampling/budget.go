package sampling

import (
	"math"
	"time"
)

// A burst budget has two parts: what is saved up while less than the target is kept, and what a burst may take beyond
// that. Once bursts are usual that need more, the second part grows with them, to usualPart as they are planned and to
// mostPart as chance has it.
const (
	savedPart   = 0.35
	surplusPart = 0.65
	usualPart   = 1.4
	mostPart    = 1.48
	// minBurst is the least that the second part may be, in traces.
	minBurst = 16
)

const (
	// longestBurst is how long the surplus of a burst may last to be remembered; that of a rise lasts longer.
	longestBurst = 20 * time.Second
	// planned is the part of the target that is planned with; the rest repays bursts.
	planned = 0.9
)

// budget tells a burst from a rise. It is a leaky bucket of kept traces: what is kept fills it, the target drains it. While
// the target is not used up it is below zero; a burst fills it, and a rise makes it overflow.
type budget struct {
	target  float64       // kept traces per second
	burst   float64       // in seconds' worth of the target
	surplus float64       // kept traces beyond the target; negative if there is room
	peak    float64       // of the surplus since it was last below zero
	since   time.Duration // and when that was
	usual   peaks         // of the surplus in bursts that are over
	rise    bool          // the surplus has reached its limit, and is not yet well below what a first burst may take
	kept    uint64        // traces that surplus knows of
	at      time.Duration
}

func (b *budget) saved() float64 { return savedPart * b.burst * b.target }

// first is the surplus that a burst may take when nothing is known.
func (b *budget) first() float64 { return max(minBurst, surplusPart*b.burst*b.target) }

// repay is the rate at which a rise is sampled. After a burst beyond what a first one may take it is held lower, so that
// both together stay within 1.6 times the target of ten seconds.
func (b *budget) repay() float64 {
	if b.surplus > b.first() {
		return b.target / 2
	}
	return planned * b.target
}

// limit is the surplus from which on a burst is taken for a rise.
func (b *budget) limit() float64 {
	return max(b.first(), min(1.25*b.usual.max(), mostPart*b.burst*b.target))
}

// spend books what has been kept until now.
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

// alarm is the number of kept traces at which to look again.
func (b *budget) alarm() uint64 {
	distance := b.target * tickInterval.Seconds() / 2
	switch {
	case b.surplus < 0:
		distance = -b.surplus
	case !b.rise:
		distance = b.limit() - b.surplus
	}
	return b.kept + uint64(math.Ceil(max(distance, 1)))
}

// aim is the rate of kept traces that takes the bucket to half of what may be saved up.
func (b *budget) aim() float64 {
	const most = 2 - planned
	full := max(0, 1+min(b.surplus/b.saved(), 0)) // 0: all is saved
	return b.target * (most - (most-planned)*full)
}
