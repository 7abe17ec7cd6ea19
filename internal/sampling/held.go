package sampling

import (
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// heldTrace has the spans of one trace in this process, from the start of the first local root to
// the decision. If the trace is kept, it lives on until its last span ends. Several local roots of
// one trace that overlap share it.
//
// The mutex of its tail guards it.
type heldTrace struct {
	id     trace.TraceID
	random uint64 // R
	began  uint64 // the tick in which it began

	spans     []sdktrace.ReadOnlySpan // those that have ended
	bytes     int64
	open      int    // spans that have not ended
	openRoots int    // local roots among them
	truncated int    // spans beyond the limit of one trace
	root      int    // index of the last local root in spans, -1 if none has ended
	name      string // of the last local root that has started or ended

	sampled  bool     // the head has sampled at least one span
	eligible int      // local roots for whose outcome it may be kept
	slow     slowness // the duration from which on a local root is slow
	reason   reason
	requests openRequests

	pastFloor uint64 // the highest floor that it had to pass until the tick pastUntil
	pastUntil uint64 // tail.floors has the floors from this tick on

	route    uint64       // the threshold that a late route gives it; whole: none
	routedBy trace.SpanID // the local root whose late routes count
	charged  bool         // a controller has counted it for its late route
	released bool         // spans of it were decided before its end

	own    uint64 // the threshold of the tail's controller for its reason, once asked is set
	asked  bool   // the tail's controller has decided, which happens once
	passed bool   // the controller lets it pass; own says so too unless it is unknownThreshold
	callee uint64 // the threshold of a called service that keeps its part; whole: none
	told   uint64 // the threshold that other services were told, which is final; whole: none
	shares []calleeShare

	// Once it is kept, it has no spans any more.
	kept      bool
	threshold uint64
	lateSpans int // the number of spans that have ended since

	queueEntry
	indexEntry
}

// reason is why the tail keeps a trace. The strongest one counts.
type reason uint8

const (
	notInteresting reason = iota
	ofCallee              // a called service keeps its part; never passed to notice, see hasReason
	isSlow
	isMarked
	isPanic
	isError
)

func (r reason) String() string {
	return [...]string{"", "callee", "slow", "keep", "panic", "error"}[r]
}

// notice adds a reason to keep the trace.
func (h *heldTrace) notice(r reason) {
	if h.eligible > 0 {
		h.reason = max(h.reason, r)
	}
}

// interesting reports whether a trace has a reason of its own that no rule excludes.
func (h *heldTrace) interesting() bool { return h.reason != notInteresting && h.eligible > 0 }

// hasReason reports whether there is a reason to keep a trace: its own, that of a called service,
// or that other services were told so.
func (h *heldTrace) hasReason() bool {
	return h.interesting() || h.callee != whole && h.eligible > 0 || h.told != whole
}

// takeSpans takes the spans out of a trace.
func (h *heldTrace) takeSpans() *batch {
	b := &batch{spans: h.spans, random: h.random, root: h.root, truncated: h.truncated}
	h.spans, h.root, h.truncated = nil, -1, 0
	return b
}

// dropSpans takes the spans out of a trace that is not kept. It returns them if the head has
// sampled any.
func (h *heldTrace) dropSpans() *batch {
	if h.sampled {
		return h.takeSpans()
	}
	clear(h.spans)
	h.spans, h.root = h.spans[:0], -1
	return nil
}

// shorter returns the shorter duration of two, of which 0 means never.
func shorter(a, b slowness) slowness {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// queue is a list of traces by deadline. All that enter one queue wait equally long, so the first
// is always the next due.
type queue struct{ first, last *heldTrace }

// queueEntry is the place of a trace in a queue. The zero value is in no queue.
type queueEntry struct {
	queue          *queue
	deadline       uint64 // a tick
	previous, next *heldTrace
}

func (q *queue) push(h *heldTrace, deadline uint64) {
	h.queueEntry = queueEntry{queue: q, deadline: deadline, previous: q.last}
	if q.last != nil {
		q.last.next = h
	} else {
		q.first = h
	}
	q.last = h
}

// leave removes a trace from its queue, if it is in one.
func (h *heldTrace) leave() {
	q := h.queue
	if q == nil {
		return
	}
	if h.previous != nil {
		h.previous.next = h.next
	} else {
		q.first = h.next
	}
	if h.next != nil {
		h.next.previous = h.previous
	} else {
		q.last = h.previous
	}
	h.queueEntry = queueEntry{}
}

// due returns the first trace if its deadline has come, or nil.
func (q *queue) due(tick uint64) *heldTrace {
	if h := q.first; h != nil && h.deadline <= tick {
		return h
	}
	return nil
}

// recentlyKept remembers the kept traces that are no longer held, for spans that end even later.
// The oldest are forgotten first.
type recentlyKept struct {
	thresholds map[trace.TraceID]uint64
	ring       []trace.TraceID
	next       int
}

// maxRecentlyKept limits the kept traces that recentlyKept remembers.
const maxRecentlyKept = 4096

func (k *recentlyKept) add(id trace.TraceID, threshold uint64) {
	if k.thresholds == nil {
		k.thresholds = make(map[trace.TraceID]uint64)
	}
	if _, known := k.thresholds[id]; known {
		k.thresholds[id] = threshold
		return
	}
	k.thresholds[id] = threshold
	if len(k.ring) < maxRecentlyKept {
		k.ring = append(k.ring, id)
		return
	}
	delete(k.thresholds, k.ring[k.next])
	k.ring[k.next] = id
	k.next = (k.next + 1) % maxRecentlyKept
}

func (k *recentlyKept) find(id trace.TraceID) (threshold uint64, ok bool) {
	threshold, ok = k.thresholds[id]
	return threshold, ok
}
