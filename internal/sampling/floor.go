package sampling

import (
	"sync/atomic"
	"time"
)

// floor is the lowest R that is recorded if the head has not sampled: the higher of the limits by
// memory and by CPU. It is a threshold like any other, and the weight of released spans includes
// it.
type floor struct {
	memory atomic.Uint64 // the highest of the tails' memory floors

	cpu      *controller // in local roots per second, all in one class
	spans    float64     // the bound in spans per second, which cpu converts to roots
	recorded atomic.Uint64
	roots    atomic.Uint64
	credit   atomic.Uint64 // the value of recorded at which the CPU limit applies
	cpuBinds atomic.Bool

	// entryFloors has the highest floor that a local root has passed in the current tick, and in
	// each of those just before it.
	tickNumber  atomic.Uint64
	entryFloors [4]atomic.Uint64

	// Only tick uses the rest.
	lastRecorded, lastRoots    uint64
	spanEstimate, rootEstimate float64
	tokens                     float64
	lastTick                   time.Duration
}

// rootStride is how many local roots each counted one represents. Only the ratio of roots to spans
// is needed.
const rootStride = 8

// rootsBurst is the burst budget of the controller of roots, in seconds of its target. It is short,
// because bursts use the credit, which counts spans.
const rootsBurst = 1

// burstSeconds is how many seconds' worth of RecordedSpansPerSecond may be used at once.
const burstSeconds = 5

func newFloor(spansPerSecond float64, now func() time.Duration) *floor {
	f := &floor{spans: spansPerSecond, tokens: burstSeconds * spansPerSecond, lastTick: now()}
	f.cpu = newController(spansPerSecond, rootsBurst, 0, 0, now)
	f.credit.Store(uint64(f.tokens))
	return f
}

// threshold is the current floor.
func (f *floor) threshold() uint64 {
	threshold := f.memory.Load()
	if f.cpuBinds.Load() {
		threshold = max(threshold, f.cpu.overflow.current.Load().threshold)
	}
	return threshold
}

// admits reports whether an undecided local root with this R is to be recorded.
func (f *floor) admits(r uint64) bool {
	f.cpu.update()
	threshold := f.threshold() // before this trace counts, for its R must not move its own threshold
	f.cpu.decideIn(f.cpu.overflow, 0, "", r, 1)
	if threshold > 0 {
		storeMax(&f.entryFloors[f.tickNumber.Load()%uint64(len(f.entryFloors))], threshold)
	}
	if r < threshold {
		return false
	}
	if r%rootStride == 0 {
		f.roots.Add(rootStride)
	}
	f.record()
	return true
}

// record counts an undecided span that is recorded.
func (f *floor) record() {
	if f.recorded.Add(1) >= f.credit.Load() && !f.cpuBinds.Load() {
		f.cpuBinds.Store(true)
	}
}

// entryFloor is the highest floor that a local root that starts now can have passed, or would have
// had to pass if the head had not sampled it. The tick before counts too, because a root starts a
// moment after the decision to record it.
func (f *floor) entryFloor(sampled bool) uint64 {
	if sampled { // otherwise admits has updated it
		f.cpu.update()
	}
	n, size := f.tickNumber.Load(), uint64(len(f.entryFloors))
	return max(f.threshold(), f.entryFloors[n%size].Load(), f.entryFloors[(n+size-1)%size].Load())
}

// tick refills the credit, and tells the controller how many roots per second correspond to the
// limit in spans.
func (f *floor) tick(now time.Duration) {
	seconds := (now - f.lastTick).Seconds()
	if seconds <= 0 {
		return
	}
	f.lastTick = now
	next := f.tickNumber.Load() + 1
	f.entryFloors[next%uint64(len(f.entryFloors))].Store(0)
	f.tickNumber.Store(next)

	recorded, roots := f.recorded.Load(), f.roots.Load()
	f.tokens = min(burstSeconds*f.spans, f.tokens+f.spans*seconds-float64(recorded-f.lastRecorded))
	const fade = 0.9
	f.spanEstimate = fade*f.spanEstimate + float64(recorded-f.lastRecorded)
	f.rootEstimate = fade*f.rootEstimate + float64(roots-f.lastRoots)
	f.lastRecorded, f.lastRoots = recorded, roots
	if f.rootEstimate > 0 {
		f.cpu.retarget(f.spans * f.rootEstimate / max(f.spanEstimate, f.rootEstimate))
	}
	f.cpu.tick(now)
	f.credit.Store(recorded + uint64(max(f.tokens, 0)))
	if f.tokens >= burstSeconds*f.spans/2 {
		f.cpuBinds.Store(false)
	} else if f.tokens <= 0 {
		f.cpuBinds.Store(true)
	}
}

// storeMax stores the higher of two values.
func storeMax(a *atomic.Uint64, value uint64) {
	for old := a.Load(); value > old; old = a.Load() {
		if a.CompareAndSwap(old, value) {
			return
		}
	}
}
