package sampling

import "math/bits"

// A floor under R limits the memory of a tail. If the held traces take more than the limit, those
// with the lowest R are evicted, and the floor rises above them. It sinks again when there is room.

const (
	// lowWater is the share of the memory below which the floor sinks. At each tick, the share of
	// traces above the floor grows by the factor sink.
	lowWater = 0.8
	sink     = 1.25
)

// charge adds to the memory that a trace takes.
func (t *tail) charge(h *heldTrace, bytes int64) {
	h.bytes += bytes
	t.bytes += bytes
}

// evict decides settled traces, and then those with the lowest R, until the rest fits. It raises
// the floor above the latter.
//
// The spans of a sampled trace are passed on early. Its R is above the head's threshold, so the
// floor is too, and no trace of its class that is not sampled can be released with another weight.
func (t *tail) evict() (first *batch) {
	for t.bytes > t.limit {
		if settled := t.releaseSettled(); settled != nil {
			first = settled.before(first)
			continue
		}
		lowest := t.undecided.lowestBucket()
		if lowest < 0 {
			committed := t.releaseCommitted()
			if committed == nil {
				return first // only open spans of kept traces are left
			}
			first = committed.before(first)
			continue
		}
		t.raiseFloor(bucketEnd(lowest))
		for b := &t.undecided.buckets[lowest]; len(*b) > 0; {
			h := (*b)[len(*b)-1]
			t.counts.Evicted++
			first = t.discard(h).before(first)
		}
	}
	return first
}

// raiseFloor raises the floor to at least this R.
func (t *tail) raiseFloor(floor uint64) {
	if floor <= t.floor {
		return
	}
	t.floor = floor
	entry := &t.floors[t.tickNumber%uint64(len(t.floors))]
	*entry = max(*entry, floor)
	storeMax(&t.sampler.floor.memory, floor)
}

// lowerFloor lowers the floor by one step if there is room. It is called once in a tick. The step
// is taken on 1−R, so that the floor sinks as fast as it rises at any height.
func (t *tail) lowerFloor() {
	if t.floor > 0 && float64(t.bytes) < lowWater*float64(t.limit) {
		t.floor = min(t.floor, thresholdFor(sink*max(probability(t.floor), 1.0/(1<<bucketOctaves)), standardDigits))
	}
	t.floors[t.tickNumber%uint64(len(t.floors))] = t.floor
}

// highestFloor is the highest floor that a trace has had to pass so far.
func (t *tail) highestFloor(h *heldTrace) (highest uint64) {
	highest = h.pastFloor
	size := uint64(len(t.floors))
	for tick := h.pastUntil; tick <= t.tickNumber; tick++ {
		highest = max(highest, t.floors[tick%size])
	}
	return highest
}

// Undecided traces are held in buckets by their R. There are 16 for each halving of 1−R, so that
// the lowest are found at once and the floor rises by at most 6 % of what is above it. The floor
// rises to a bucket's upper end, which is not the R of any trace: a threshold taken from the last
// trace that was let in, or the last one evicted, would bias the counts (Ting, §2.2).
const (
	bucketsPerOctave = 16
	bucketOctaves    = 24
	bucketCount      = bucketsPerOctave*bucketOctaves + 1
)

// bucketOf is the index of the bucket of an R.
func bucketOf(r uint64) int {
	rest := whole - 1 - r
	octave := randomBits - bits.Len64(rest)
	if octave >= bucketOctaves {
		return bucketCount - 1
	}
	step := int(rest>>(randomBits-5-octave)) - bucketsPerOctave
	return octave*bucketsPerOctave + bucketsPerOctave - 1 - step
}

// bucketEnd is the lowest R above a bucket.
func bucketEnd(index int) uint64 {
	if index >= bucketCount-1 {
		return whole
	}
	octave, step := index/bucketsPerOctave, bucketsPerOctave-1-index%bucketsPerOctave
	return whole - uint64(bucketsPerOctave+step)<<(randomBits-5-octave)
}

// randomnessIndex finds undecided traces by R.
type randomnessIndex struct {
	buckets [bucketCount][]*heldTrace
	lowest  int // all buckets below it are empty
}

// indexEntry is the place of a trace in a randomnessIndex. bucket is -1 if it is in none.
type indexEntry struct{ bucket, position int }

func (x *randomnessIndex) add(h *heldTrace) {
	h.bucket = bucketOf(h.random)
	h.position = len(x.buckets[h.bucket])
	x.buckets[h.bucket] = append(x.buckets[h.bucket], h)
	x.lowest = min(x.lowest, h.bucket)
}

func (x *randomnessIndex) remove(h *heldTrace) {
	if h.bucket < 0 {
		return
	}
	b := x.buckets[h.bucket]
	last := len(b) - 1
	b[h.position] = b[last]
	b[h.position].position = h.position
	b[last] = nil
	x.buckets[h.bucket] = b[:last]
	h.bucket = -1
}

// lowestBucket is the index of the lowest bucket that is not empty, or -1.
func (x *randomnessIndex) lowestBucket() int {
	for ; x.lowest < bucketCount; x.lowest++ {
		if len(x.buckets[x.lowest]) > 0 {
			return x.lowest
		}
	}
	return -1
}
