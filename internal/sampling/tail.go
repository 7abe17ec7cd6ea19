package sampling

import (
	"context"
	"slices"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/peek"
)

const (
	// minHold is the least time that a trace is held while a local root is open. lateSpanWait is
	// how long the tail waits for the other spans of a trace after its last local root has ended.
	// maxHold is for local roots whose duration is no reason to keep them: after that time the tail
	// assumes that they never end, since such spans would fill the memory.
	minHold      = 30 * time.Second
	lateSpanWait = 5 * time.Second
	maxHold      = time.Hour
	// maxSpans and maxBytes limit what is held of one trace. Failed spans may take as much again,
	// and so may local roots, without which the rest cannot be read. A trace of that size is a
	// loop; its first thousand iterations are enough.
	maxSpans = 1000
	maxBytes = 512 << 10
	// tailSets is the size of the table of interesting operations: 64, by name and reason.
	tailSets = 16
	// tailBurstSeconds is how many seconds of TailTracesPerSecond may come at once and all be kept.
	tailBurstSeconds = 10
)

// The limits of the pool of traces. It takes at most a few hundred kilobytes.
const (
	pooledTraces = 256
	pooledSpans  = 64 // the capacity for spans of one of them
)

// tail is a span processor that holds the spans of a trace until its local root has ended. It
// passes those of a sampled or an interesting trace to the next processor, and drops the others.
// All methods that are exported are safe for concurrent use. See the life of a trace in the package
// comment.
type tail struct {
	sampler    *Sampler
	next       sdktrace.SpanProcessor
	controller *controller // of the interesting traces
	callees    *controller // of the traces that called services say they keep
	look       peek.Spans
	holdTicks  uint64 // how long a trace is held while a local root is open
	lateTicks  uint64 // lateSpanWait

	registration

	mu     sync.Mutex
	traces map[trace.TraceID]*heldTrace
	recent recentlyKept
	pool   []*heldTrace

	// Every held trace is in one of these.
	rootOpen      queue // a local root has not ended
	spansOpen     queue // all local roots have ended, and some other spans have not
	settled       queue // committed, and nothing can change the threshold: see settle
	keptOpen      queue // kept, and some spans have not ended
	keptOpenCount int

	// The memory limit, see memory.go.
	undecided randomnessIndex
	bytes     int64
	limit     int64 // of bytes
	floor     uint64
	floors    []uint64 // the highest floor of each tick, for as long as a trace waits

	tickNumber uint64 // of the current tick
	stopped    bool
	counts     TailCounts
}

// Processor returns a new tail in front of next; with HeadOnly, next itself.
func (s *Sampler) Processor(next sdktrace.SpanProcessor) sdktrace.SpanProcessor {
	if next == nil {
		next = nopProcessor{}
	}
	if s.cfg.HeadOnly {
		return next
	}
	return s.newTail(next)
}

type nopProcessor struct{}

func (nopProcessor) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (nopProcessor) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (nopProcessor) ForceFlush(context.Context) error                { return nil }
func (nopProcessor) Shutdown(context.Context) error                  { return nil }

func (s *Sampler) newTail(next sdktrace.SpanProcessor) *tail {
	t := &tail{
		sampler:    s,
		next:       next,
		controller: newController(s.cfg.TailTracesPerSecond, tailBurstSeconds, 1, tailSets, s.now),
		callees:    newController(s.cfg.TailTracesPerSecond/2, tailBurstSeconds, 1, callerSets, s.now),
		holdTicks:  uint64(s.cfg.hold() / tickInterval),
		lateTicks:  uint64(lateSpanWait / tickInterval),
		traces:     make(map[trace.TraceID]*heldTrace),
		limit:      s.cfg.HeldBytes,
	}
	t.controller.keepAll = true // one more error now is worth more than a higher rate later
	t.callees.keepAll = true
	t.floors = make([]uint64, t.holdTicks+t.lateTicks+8)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tails = append(s.tails, t)
	s.tailsOn.Store(true)
	return t
}

// OnStart counts a span that the trace has to wait for. A local root begins a held trace if its
// trace is not held yet.
func (t *tail) OnStart(ctx context.Context, span sdktrace.ReadWriteSpan) {
	t.next.OnStart(ctx, span)
	sc := span.SpanContext()
	parent := span.Parent() // it locks the span
	isRoot := isLocalRoot(&parent)
	slow, eligible := slowness(0), false
	var request *Request
	if isRoot {
		if !t.over.Load() {
			t.register(span)
		}
		slow, eligible = t.sampler.criteria(span, parent.IsValid() && sc.IsSampled())
		if request = claim(ctx, sc.SpanID()); request != nil && eligible {
			request.remote = parent.IsValid()
			request.tail.Store(t)
		}
	}

	t.mu.Lock()
	h := t.traceOf(&sc, isRoot)
	if h == nil {
		t.mu.Unlock()
		return
	}
	h.open++
	h.sampled = h.sampled || sc.IsSampled()
	if !h.kept {
		t.charge(h, spanBytes)
	}
	if isRoot {
		h.name = span.Name()
		h.slow = shorter(h.slow, slow)
		if eligible {
			h.eligible++
		}
		t.startRoot(h, sc.IsSampled())
		if request != nil {
			h.requests.add(request)
		}
	}
	evicted := t.evict()
	t.mu.Unlock()
	t.release(evicted)
}

// traceOf returns the held trace that a starting span belongs to, or nil if its spans are not held:
// it was decided before, or the floor has risen since ShouldSample.
func (t *tail) traceOf(sc *trace.SpanContext, isRoot bool) *heldTrace {
	if h := t.traces[sc.TraceID()]; h != nil {
		return h
	}
	if !isRoot || t.stopped {
		return nil
	}
	r := readState(sc.TraceState()).random(sc.TraceID())
	if r < t.floor && !sc.IsSampled() {
		return nil
	}
	return t.begin(sc.TraceID(), r)
}

// begin holds a trace.
func (t *tail) begin(id trace.TraceID, r uint64) *heldTrace {
	var h *heldTrace
	if n := len(t.pool); n > 0 {
		h, t.pool = t.pool[n-1], t.pool[:n-1]
	} else {
		h = &heldTrace{}
	}
	*h = heldTrace{
		id: id, random: r, began: t.tickNumber, pastUntil: t.tickNumber,
		root: -1, route: whole, callee: whole, told: whole, spans: h.spans,
	}
	t.traces[id] = h
	t.sampler.noteActivity()
	t.undecided.add(h)
	t.awaitRoot(h)
	t.charge(h, traceBytes)
	return h
}

// startRoot notes that another local root of a held trace has started.
func (t *tail) startRoot(h *heldTrace, sampled bool) {
	h.openRoots++
	if h.kept {
		t.controller.kept.Add(1) // another request with this trace ID
	}
	h.pastFloor = max(h.pastFloor, t.sampler.floor.entryFloor(sampled))
	if h.queue == &t.spansOpen {
		t.awaitRoot(h)
	}
}

// awaitRoot makes a trace wait for the end of a local root. tail.floors reaches back for one such
// wait only, so the trace takes over the floors so far.
func (t *tail) awaitRoot(h *heldTrace) {
	h.pastFloor, h.pastUntil = t.highestFloor(h), t.tickNumber
	h.leave()
	t.rootOpen.push(h, t.tickNumber+t.holdTicks)
}

// OnEnd takes in a span, and decides the trace if it waited for this span. A span of a trace that
// has been decided follows that decision.
func (t *tail) OnEnd(span sdktrace.ReadOnlySpan) {
	o := observe(span, &t.look)
	t.mu.Lock()
	h := t.traces[o.id]
	if h != nil && o.isRoot {
		o.request = h.requests.take(o.span)
	}
	if h == nil || h.kept {
		threshold, kept := t.endLate(h, &o)
		t.mu.Unlock()
		o.request.tell(kept)
		t.releaseLate(span, threshold, kept)
		return
	}
	t.add(h, span, &o)
	decided := t.decide(h, o.isRoot)
	o.request.tell(decided != nil && decided.kept)
	out := decided.before(t.evict())
	t.mu.Unlock()
	t.release(out)
}

// add adds an ended span to its trace, within the limits for one trace.
func (t *tail) add(h *heldTrace, span sdktrace.ReadOnlySpan, o *observed) {
	ended := h.bytes - traceBytes - int64(h.open)*spanBytes // what the spans that have ended take
	h.open--
	if o.isRoot {
		h.openRoots = max(h.openRoots-1, 0)
		if h.slowFor(o.request).isSlow(o.duration) {
			o.reason = max(o.reason, isSlow)
		}
	}
	if o.request == nil || !o.request.dropped {
		h.notice(o.reason)
	}
	share := 1
	switch {
	case o.isRoot:
		share = 3
	case o.reason != notInteresting:
		share = 2
	}
	if len(h.spans) >= share*maxSpans || ended+o.bytes > int64(share)*min(maxBytes, t.limit/4) {
		h.truncated++
		t.counts.Truncated++
		t.charge(h, -spanBytes)
		return
	}
	t.charge(h, o.bytes-spanBytes)
	if o.isRoot {
		h.root, h.name = len(h.spans), o.name
	}
	h.spans = append(h.spans, span)
}

// endLate notes a span that ends after its trace was decided, and returns that decision. h is nil
// if the trace is no longer held.
func (t *tail) endLate(h *heldTrace, o *observed) (threshold uint64, kept bool) {
	if h == nil {
		threshold, kept = t.recent.find(o.id)
		if !kept && !o.sampled {
			t.counts.Late++
		}
		return threshold, kept
	}
	h.open--
	threshold, kept = h.threshold, t.keepsLateSpan(h)
	if !kept && !o.sampled {
		t.counts.Truncated++
	}
	if h.open <= 0 {
		t.forget(h)
	}
	return threshold, kept
}

// keepsLateSpan reports whether a span that ends after its trace was kept is kept too. A caller may
// send any number of requests with one trace ID, and one failure among them must not keep them all.
func (t *tail) keepsLateSpan(h *heldTrace) bool {
	h.lateSpans++
	return !t.controller.rise.Load() || h.lateSpans <= maxSpans
}

// tick lowers the floor if there is room, and decides the traces that have waited long enough. It
// returns the floor.
func (t *tail) tick(now time.Duration) (floor uint64) {
	t.controller.tick(now)
	t.callees.tick(now)
	t.mu.Lock()
	t.tickNumber++
	t.lowerFloor()
	out := t.expire()
	floor = t.floor
	t.mu.Unlock()
	t.release(out)
	return floor
}

// forget stops holding a trace. A kept one is remembered for spans that end even later.
func (t *tail) forget(h *heldTrace) {
	delete(t.traces, h.id)
	t.undecided.remove(h)
	if h.queue == &t.keptOpen {
		t.keptOpenCount--
	}
	h.leave()
	t.charge(h, -h.bytes)
	if h.kept {
		t.recent.add(h.id, h.threshold)
	}
	if len(t.pool) < pooledTraces {
		*h = heldTrace{spans: h.spans[:0]}
		if cap(h.spans) > pooledSpans {
			h.spans = nil
		}
		t.pool = append(t.pool, h)
	}
}

// ForceFlush flushes the next processor. Decided traces have been passed on already. To decide the
// others early would lose errors or bias the counts.
func (t *tail) ForceFlush(ctx context.Context) error { return t.next.ForceFlush(ctx) }

// Shutdown decides all held traces by what is known so far, and shuts down the next processor.
func (t *tail) Shutdown(ctx context.Context) error {
	t.release(t.decideAll())
	t.unregister()
	t.sampler.remove(t)
	return t.next.Shutdown(ctx)
}

// remove removes a tail that has been shut down. Without any tail, undecided traces are dropped.
func (s *Sampler) remove(t *tail) {
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
