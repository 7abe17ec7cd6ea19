package sampling

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// floor is the lowest R that is worth recording when the head has not sampled: the higher of what memory and CPU have
// room for. It is a threshold like any other, and goes into the weight of what is released.
type floor struct {
	memory atomic.Uint64 // the highest of the tails' memory floors

	cpu      *controller // in local roots per second, all in one class
	spans    float64     // the spans per second that cpu stands for
	recorded atomic.Uint64
	roots    atomic.Uint64
	credit   atomic.Uint64 // the value of recorded at which the CPU bound begins to bind
	saving   atomic.Bool

	// starts holds, for the running tick and those just before it, the highest floor that a fragment was let in by.
	tickNumber atomic.Uint64
	starts     [4]atomic.Uint64

	// The rest belongs to tick.
	lastRecorded, lastRoots    uint64
	spanEstimate, rootEstimate float64
	tokens                     float64
	lastTick                   time.Duration
}

// rootsCounted thins the counting of roots, of which only the ratio to their spans is wanted.
const rootsCounted = 8

// rootsBurst is the burst budget of the controller of roots, in seconds' worth. It is short: bursts are taken from the credit,
// which counts spans.
const rootsBurst = 1

// burstSeconds is how many seconds' worth of the recorded-spans bound may be used at once.
const burstSeconds = 5

func newFloor(spansPerSecond float64, now func() time.Duration) *floor {
	f := &floor{spans: spansPerSecond, tokens: burstSeconds * spansPerSecond, lastTick: now()}
	f.cpu = newController(spansPerSecond, rootsBurst, 0, 0, now)
	f.credit.Store(uint64(f.tokens))
	return f
}

// threshold is the floor now.
func (f *floor) threshold() uint64 {
	threshold := f.memory.Load()
	if f.saving.Load() {
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
		raise(&f.starts[f.tickNumber.Load()%uint64(len(f.starts))], threshold)
	}
	if r < threshold {
		return false
	}
	if r%rootsCounted == 0 {
		f.roots.Add(rootsCounted)
	}
	f.record()
	return true
}

// record counts an undecided span that is recorded.
func (f *floor) record() {
	if f.recorded.Add(1) >= f.credit.Load() && !f.saving.Load() {
		f.saving.Store(true)
	}
}

// atStart is the highest floor that a fragment that starts now can have passed, or would have had to pass if the head had
// not sampled it. The tick before counts as well, for the moment between the decision to record and the start.
func (f *floor) atStart(sampled bool) uint64 {
	if sampled { // else admits has
		f.cpu.update()
	}
	n, size := f.tickNumber.Load(), uint64(len(f.starts))
	return max(f.threshold(), f.starts[n%size].Load(), f.starts[(n+size-1)%size].Load())
}

// tick refills the credit and tells the controller how many roots the spans per second are.
func (f *floor) tick(now time.Duration) {
	seconds := (now - f.lastTick).Seconds()
	if seconds <= 0 {
		return
	}
	f.lastTick = now
	next := f.tickNumber.Load() + 1
	f.starts[next%uint64(len(f.starts))].Store(0)
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
		f.saving.Store(false)
	} else if f.tokens <= 0 {
		f.saving.Store(true)
	}
}

// raise stores the higher of two values.
func raise(a *atomic.Uint64, value uint64) {
	for old := a.Load(); value > old; old = a.Load() {
		if a.CompareAndSwap(old, value) {
			return
		}
	}
}

// Fragments are held in buckets by their R, sixteen to every halving of 1−R, so that the lowest are found at once and
// the floor rises by at most 6 % of what is above it. The floor rises to a bucket's upper end, which is not the R of any
// fragment: a threshold taken from the last trace that was let in, or the last thrown out, would bend the counts (Ting,
// §2.2).
const (
	bucketsPerOctave = 16
	bucketOctaves    = 24
	bucketCount      = bucketsPerOctave*bucketOctaves + 1
)

func bucketOf(r uint64) int {
	rest := whole - 1 - r
	octave := randomBits - bits.Len64(rest)
	if octave >= bucketOctaves {
		return bucketCount - 1
	}
	step := int(rest>>(randomBits-5-octave)) - bucketsPerOctave
	return octave*bucketsPerOctave + bucketsPerOctave - 1 - step
}

// bucketEnd is the lowest R above the bucket.
func bucketEnd(index int) uint64 {
	if index >= bucketCount-1 {
		return whole
	}
	octave, step := index/bucketsPerOctave, bucketsPerOctave-1-index%bucketsPerOctave
	return whole - uint64(bucketsPerOctave+step)<<(randomBits-5-octave)
}
