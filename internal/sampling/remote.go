package sampling

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// maxAdjustedCount is the largest count that a caller may claim for a span. Without a limit one request with
// th:ffffffffffffff would count 2^56.
const maxAdjustedCount = 1 << 20

// remoteCap bounds the traces per second that callers can force by a sampled flag: with a threshold for as long as
// their trace IDs are random, and with a bucket where they are not.
type remoteCap struct {
	target  float64
	weights [weightClasses]atomic.Uint64 // arrivals by what their callers' thresholds make them count
	current atomic.Pointer[point]
	bucket  bucket

	// The rest belongs to tick.
	estimates [weightClasses]estimate
	counted   [weightClasses]uint64
	lastTick  time.Duration
}

// A weight class is a quarter of an octave of the adjusted count.
const (
	stepsPerClass = gridSteps / 4
	weightClasses = 20*gridSteps/stepsPerClass + 1
)

// bucketFactor is how far the bucket's rate is above the threshold's target: far enough that only trace IDs that are
// not random get there.
const bucketFactor = 2.5

func newRemoteCap(target float64, now time.Duration) *remoteCap {
	c := &remoteCap{target: target, lastTick: now}
	c.current.Store(gridPoint(0))
	c.bucket.init(bucketFactor * target)
	return c
}

// decide counts a request whose caller sampled it at threshold, and returns the cap's own point.
func (c *remoteCap) decide(threshold uint64) *point {
	class := min(gridIndex(probability(threshold))/stepsPerClass, weightClasses-1)
	c.weights[class].Add(1)
	return c.current.Load()
}

// tick finds the probability p at which Σ rate·min(1, p·weight) is the target: a trace that its caller kept at 1 in
// weight passes the cap with probability min(1, p·weight).
func (c *remoteCap) tick(now time.Duration) {
	seconds := (now - c.lastTick).Seconds()
	if seconds <= 0 {
		return
	}
	c.lastTick = now
	for i := range c.estimates {
		n := c.weights[i].Load()
		c.estimates[i].observe(float64(n-c.counted[i]), seconds, 1)
		c.counted[i] = n
	}
	c.bucket.tick(seconds)
	low, high := 0, gridSize-1 // grid indexes; the rate falls as they rise
	for low < high {
		middle := (low + high) / 2
		if c.rateAt(gridPoint(middle).p) > c.target {
			low = middle + 1
		} else {
			high = middle
		}
	}
	c.current.Store(gridPoint(low))
}

func (c *remoteCap) rateAt(p float64) (rate float64) {
	for i := range c.estimates {
		rate += c.estimates[i].rate() * min(1, p/gridPoint(i*stepsPerClass).p)
	}
	return rate
}

// fresh is randomness of its own, for a decision whose outcome the trace's R must not carry: a caller that sampled
// without saying how has used up an unknown part of R (opentelemetry-java-contrib #2007).
func fresh() uint64 { return rand.Uint64() & (whole - 1) }

// bucket is a token bucket of one second's worth. It bounds what thresholds cannot: requests that all carry the same
// high R.
type bucket struct {
	rate      float64
	tokens    atomic.Int64
	exhausted atomic.Bool
	refused   atomic.Uint64
}

func (b *bucket) init(rate float64) {
	b.rate = max(rate, 1)
	b.tokens.Store(int64(b.rate))
}

// take reports whether there is a token left.
func (b *bucket) take() bool {
	if b.tokens.Add(-1) >= 0 {
		return true
	}
	b.exhausted.Store(true)
	b.refused.Add(1)
	return false
}

// biased reports whether requests have been refused lately, whatever their R: then a threshold would say too little
// about those that got through, and they carry none.
func (b *bucket) biased() bool { return b.exhausted.Load() }

// open is for the time when nobody refills it any more.
func (b *bucket) open() {
	b.tokens.Store(math.MaxInt64)
	b.exhausted.Store(false)
}

func (b *bucket) tick(seconds float64) {
	tokens := min(b.rate, float64(max(b.tokens.Load(), 0))+b.rate*seconds)
	b.tokens.Store(int64(tokens))
	if tokens >= b.rate/2 {
		b.exhausted.Store(false)
	}
}

// fromStranger replaces the R that an untrusted caller chose with one of ours. It travels on as rv, so that the services
// behind this one decide alike; the rest of the caller's ot member goes.
func (h hasher) fromStranger(id trace.TraceID, ts trace.TraceState) (uint64, trace.TraceState) {
	r := h.secretRandomness(id)
	return r, withMember(ts, randomnessKey+":"+encodeRandomness(r))
}
