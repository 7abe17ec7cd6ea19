package sampling

import (
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// tick lowers the floor if there is room, and decides what has waited long enough. It returns the
// floor.
func (t *Tail) tick(now time.Duration) uint64 {
	t.law.tick(now)
	t.mu.Lock()
	t.number++
	if t.floor > 0 && float64(t.bytes) < lowWater*float64(t.limit) {
		// The step is taken on 1−R, so that the floor sinks as fast as it rises, whatever its height.
		t.floor = min(t.floor, thresholdFor(sink*max(probability(t.floor), 1.0/(1<<bucketOctaves)), standardDigits))
	}
	t.floors[t.number%uint64(len(t.floors))] = t.floor

	out := t.expire()
	floor := t.floor
	t.mu.Unlock()
	t.release(out)
	return floor
}

// expire decides the fragments that have waited long enough. One whose local root is still open after so long is slow,
// unless its duration is no reason to keep it: then only its end can tell.
func (t *Tail) expire() (out *batch) {
	for f := t.holding.due(t.number); f != nil; f = t.holding.due(t.number) {
		if f.slow > 0 {
			f.notice(isSlow)
		}
		if f.reason == notInteresting && t.number-f.began < uint64(maxHold/tickInterval) {
			out = t.holdOn(f).before(out)
		} else {
			out = t.conclude(f).before(out)
		}
	}
	for f := t.waiting.due(t.number); f != nil; f = t.waiting.due(t.number) {
		out = t.conclude(f).before(out)
	}
	for f := t.finished.due(t.number); f != nil; f = t.finished.due(t.number) {
		t.forget(f)
	}
	return out
}

// conclude decides a fragment by what is known of it.
func (t *Tail) conclude(f *fragment) *batch {
	if f.reason != notInteresting {
		return t.keep(f)
	}
	return t.letGo(f)
}

// close decides everything and takes in nothing more.
func (t *Tail) close() (out *batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for _, f := range t.live {
		if !f.kept {
			out = t.conclude(f).before(out)
		}
	}
	for _, f := range t.live {
		t.forget(f)
	}
	return out
}

// remove takes a tail that has been shut down out of the sampler. Without any, the undecided are dropped.
func (s *Sampler) remove(t *Tail) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.tails, t)
	if i < 0 {
		return
	}
	s.tails = slices.Delete(s.tails, i, i+1)
	s.tailsOn.Store(len(s.tails) > 0)
	s.retired.add(t.Counts())
}

// memo remembers the kept traces that have ended, for spans that start even later. The oldest are forgotten first.
type memo struct {
	thresholds map[trace.TraceID]uint64
	ring       []trace.TraceID
	next       int
}

const memoSize = 4096

func (m *memo) add(id trace.TraceID, threshold uint64) {
	if m.thresholds == nil {
		m.thresholds = make(map[trace.TraceID]uint64)
	}
	if _, known := m.thresholds[id]; known {
		m.thresholds[id] = threshold
		return
	}
	m.thresholds[id] = threshold
	if len(m.ring) < memoSize {
		m.ring = append(m.ring, id)
		return
	}
	delete(m.thresholds, m.ring[m.next])
	m.ring[m.next] = id
	m.next = (m.next + 1) % memoSize
}

func (m *memo) find(id trace.TraceID) (threshold uint64, ok bool) {
	threshold, ok = m.thresholds[id]
	return threshold, ok
}
