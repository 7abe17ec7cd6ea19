package sampling

import (
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// fragment is this process's part of a trace, from the start of its first local root to the decision, and from there
// to the end of its last span if it is kept. Several local roots of one trace that overlap share it.
//
// It belongs to the mutex of its tail.
type fragment struct {
	id     trace.TraceID
	random uint64
	began  uint64 // a tick, like since
	passed uint64 // the highest floor it has passed to get in, and until since
	since  uint64

	spans   []sdktrace.ReadOnlySpan // those that have ended
	bytes   int64
	open    int // spans that have not ended
	roots   int // local roots among them
	dropped int // spans that the fragment's own limit has cost
	root    int // index of the last local root in spans, -1: none has ended
	name    string
	slow    slowness
	counts  bool // its outcome does
	reason  reason
	sampled bool // some of the spans are

	// A kept fragment lives on, without spans, for those that are still open.
	kept      bool
	threshold uint64
	late      int // spans that have ended since

	deadline       uint64 // a tick
	queue          *queue
	previous, next *fragment
	bucket, slot   int // where the floor finds it; -1: nowhere
}

// reason is why the tail keeps a fragment. The strongest one found counts.
type reason uint8

const (
	notInteresting reason = iota
	isSlow
	isMarked
	isPanic
	isError
)

func (r reason) String() string {
	return [...]string{"", "slow", "keep", "panic", "error"}[r]
}

func (f *fragment) notice(r reason) {
	if f.counts {
		f.reason = max(f.reason, r)
	}
}

// queue is a list of fragments by deadline. All that enter one queue wait equally long, so that the first is always the
// most urgent.
type queue struct{ first, last *fragment }

func (q *queue) push(f *fragment, deadline uint64) {
	f.deadline, f.queue, f.previous, f.next = deadline, q, q.last, nil
	if q.last != nil {
		q.last.next = f
	} else {
		q.first = f
	}
	q.last = f
}

// leave takes f out of the queue it is in, if any.
func (f *fragment) leave() {
	q := f.queue
	if q == nil {
		return
	}
	if f.previous != nil {
		f.previous.next = f.next
	} else {
		q.first = f.next
	}
	if f.next != nil {
		f.next.previous = f.previous
	} else {
		q.last = f.previous
	}
	f.queue, f.previous, f.next = nil, nil, nil
}

// due returns the first fragment whose time has come.
func (q *queue) due(tick uint64) *fragment {
	if f := q.first; f != nil && f.deadline <= tick {
		return f
	}
	return nil
}

// shelves hold the undecided fragments by R.
type shelves struct {
	buckets [bucketCount][]*fragment
	lowest  int // no bucket below it holds anything
}

func (s *shelves) put(f *fragment) {
	f.bucket = bucketOf(f.random)
	f.slot = len(s.buckets[f.bucket])
	s.buckets[f.bucket] = append(s.buckets[f.bucket], f)
	s.lowest = min(s.lowest, f.bucket)
}

func (s *shelves) remove(f *fragment) {
	if f.bucket < 0 {
		return
	}
	b := s.buckets[f.bucket]
	end := len(b) - 1
	b[f.slot] = b[end]
	b[f.slot].slot = f.slot
	b[end] = nil
	s.buckets[f.bucket] = b[:end]
	f.bucket = -1
}

// bottom is the index of the lowest bucket that holds anything, or -1.
func (s *shelves) bottom() int {
	for ; s.lowest < bucketCount; s.lowest++ {
		if len(s.buckets[s.lowest]) > 0 {
			return s.lowest
		}
	}
	return -1
}
