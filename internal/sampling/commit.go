package sampling

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// tails maps each tracer provider to its tails, an immutable []*tail. A span knows its provider,
// but not its processors.
var (
	tails   sync.Map // *sdktrace.TracerProvider
	tailsMu sync.Mutex
)

// tailsOf returns the tails that see a span.
func tailsOf(span trace.Span) []*tail {
	if _, recording := span.(sdktrace.ReadOnlySpan); !recording {
		return nil
	}
	provider, ok := span.TracerProvider().(*sdktrace.TracerProvider)
	if !ok {
		return nil
	}
	list, _ := tails.Load(provider)
	found, _ := list.([]*tail)
	return found
}

// tailOf returns the first of the tails, which speaks for the process. With several exporters, each
// behind its own tail, the tails may decide differently.
func tailOf(span trace.Span) *tail {
	if list := tailsOf(span); len(list) > 0 {
		return list[0]
	}
	return nil
}

// registration is the place of a tail in tails. tailsMu guards it.
type registration struct {
	over     atomic.Bool // the tail is registered, or shut down
	provider *sdktrace.TracerProvider
}

// register makes t one of the tails of the provider of span, the first span that t sees.
func (t *tail) register(span trace.Span) {
	provider, ok := span.TracerProvider().(*sdktrace.TracerProvider)
	if !ok {
		return
	}
	tailsMu.Lock()
	defer tailsMu.Unlock()
	if t.over.Swap(true) {
		return
	}
	t.provider = provider
	list, _ := tails.Load(provider)
	others, _ := list.([]*tail)
	tails.Store(provider, append(slices.Clip(others), t))
}

// unregister undoes register at a shutdown.
func (t *tail) unregister() {
	tailsMu.Lock()
	defer tailsMu.Unlock()
	t.over.Store(true)
	list, _ := tails.Load(t.provider)
	others, _ := list.([]*tail)
	others = slices.DeleteFunc(slices.Clone(others), func(other *tail) bool { return other == t })
	if len(others) == 0 {
		tails.Delete(t.provider)
	} else {
		tails.Store(t.provider, others)
	}
}

// Outgoing returns the span context to send to a service that is called now, if it differs from the
// span's own. It does if the trace is kept by what is known now: then it is sampled and has the
// threshold in its tracestate. From then on the trace is committed.
func Outgoing(span trace.Span) (sc trace.SpanContext, ok bool) {
	t := tailOf(span)
	if t == nil {
		return sc, false
	}
	sc = span.SpanContext()
	t.mu.Lock()
	threshold, committed := t.commitID(sc.TraceID())
	t.mu.Unlock()
	return committedContext(sc, threshold, committed)
}

// Committed is Outgoing for a trace that is committed already. It does not commit a trace.
func Committed(span trace.Span) (sc trace.SpanContext, ok bool) {
	t := tailOf(span)
	if t == nil {
		return sc, false
	}
	sc = span.SpanContext()
	id := sc.TraceID()
	t.mu.Lock()
	threshold, committed := t.recent.find(id)
	if h := t.traces[id]; h != nil {
		threshold, committed = h.committed()
	}
	t.mu.Unlock()
	return committedContext(sc, threshold, committed)
}

// committedContext returns the context with which spans of a trace are exported that is kept at
// threshold. ok is false if they have that context already.
func committedContext(sc trace.SpanContext, threshold uint64, committed bool) (trace.SpanContext, bool) {
	if !committed || threshold == unknownThreshold {
		return sc, false
	}
	if sc.IsSampled() {
		if head := readState(sc.TraceState()); head.hasThreshold && head.threshold <= threshold {
			return sc, false
		}
	}
	return sc.WithTraceFlags(sc.TraceFlags().WithSampled(true)).
		WithTraceState(withThreshold(sc.TraceState(), threshold)), true
}

// IsCalled reports whether the request has a caller to be told what Commit returns: one with a
// trace, whose part here the tail holds.
func (r *Request) IsCalled() bool { return r.tail.Load() != nil && r.remote }

// Commit returns the threshold at which the trace of a request is kept, for the response. failed
// reports whether the request's span is going to be an error, and elapsed is how long it has taken
// so far. ok is false while there is no reason to keep the trace, and if no caller is to be told:
// it has no trace, or one that is not believed.
func (r *Request) Commit(span trace.Span, elapsed time.Duration, failed bool) (threshold uint64, ok bool) {
	if !r.IsCalled() {
		return 0, false
	}
	t := r.tail.Load()
	recorded, isSDK := span.(sdktrace.ReadOnlySpan)
	if !isSDK {
		return 0, false
	}
	sc := span.SpanContext()
	if t.sampler.hash.hasReplaced(sc) {
		return 0, false
	}
	// Not under the tail's lock: a span calls methods of errors under its own lock.
	failed = failed || recorded.Status().Code == codes.Error
	name := recorded.Name()
	t.mu.Lock()
	if h := t.traces[sc.TraceID()]; h != nil && !h.kept && !r.dropped && h.awaits(r) {
		if h.slowFor(r).isSlow(elapsed) {
			h.notice(isSlow)
		}
		if failed {
			h.notice(isError)
		}
		h.name = name
	}
	threshold, ok = t.commitID(sc.TraceID())
	t.mu.Unlock()
	if !ok || threshold == unknownThreshold {
		return 0, false
	}
	if head := readState(sc.TraceState()); sc.IsSampled() && head.hasThreshold {
		threshold = min(threshold, head.threshold)
	}
	return threshold, true
}

// Mark notes at once that the trace of a span is to be kept. KeepKey has that effect only at the
// span's end.
func Mark(span trace.Span) { noticeNow(span, isMarked) }

// Fail notes at once that a span has failed, before it ends. A client's span ends with the body of
// the response, often after the service itself has responded.
func Fail(span trace.Span) { noticeNow(span, isError) }

func noticeNow(span trace.Span, r reason) {
	for _, t := range tailsOf(span) {
		id := span.SpanContext().TraceID()
		t.mu.Lock()
		if h := t.traces[id]; h != nil && !h.kept {
			h.notice(r)
		}
		t.mu.Unlock()
	}
}

// commitID commits a trace if it is kept by what is known now.
func (t *tail) commitID(id trace.TraceID) (threshold uint64, ok bool) {
	h := t.traces[id]
	if h == nil {
		return t.recent.find(id)
	}
	if !h.kept && h.hasReason() {
		floor := t.highestFloor(h)
		if threshold := t.reasonThreshold(h, floor); h.random >= threshold {
			h.told = min(h.told, threshold)
			t.undecided.remove(h)
			t.settle(h, floor)
		}
	}
	return h.committed()
}

// settle is called for a committed trace. If the floor is not below what was told, nothing can
// change its threshold any more. It waits for its end as before, but is released as soon as memory
// is short.
func (t *tail) settle(h *heldTrace, floor uint64) {
	if h.told > floor || h.queue == &t.settled {
		return
	}
	h.pastFloor, h.pastUntil = floor, t.tickNumber
	h.leave()
	t.settled.push(h, t.tickNumber+t.holdTicks)
}

// committed returns the threshold that other services may have been told.
func (h *heldTrace) committed() (threshold uint64, ok bool) {
	if h.kept {
		return h.threshold, true
	}
	return h.told, h.told != whole
}

// reasonThreshold is the threshold by the reasons so far to keep a trace, at least the floor.
func (t *tail) reasonThreshold(h *heldTrace, floor uint64) uint64 {
	threshold := uint64(whole)
	if h.eligible > 0 {
		threshold = h.callee
	}
	if h.interesting() {
		threshold = min(threshold, t.ownThreshold(h, floor))
	}
	return max(threshold, floor)
}

// Believe notes that a service that span has called keeps its part of the trace, at this threshold.
// callee identifies that service: each has its share of half of TailTracesPerSecond.
func Believe(span trace.Span, callee string, threshold uint64) {
	if adjustedCount(min(threshold, whole-1)) > maxAdjustedCount {
		return
	}
	for _, t := range tailsOf(span) {
		t.believe(span.SpanContext().TraceID(), callee, threshold)
	}
}

func (t *tail) believe(id trace.TraceID, callee string, threshold uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.traces[id]
	if h == nil || h.kept || h.eligible <= 0 || h.random < threshold {
		return // the trace is decided, or its R contradicts the claim
	}
	key := max(t.sampler.hash.text(t.sampler.hash.seed, callee), 1)
	share, known := h.shareOf(key)
	if !known {
		position := positionAbove(threshold, h.random)
		// Under a floor, only a part of the traces above the threshold is seen.
		weight := weightOf(max(threshold, t.highestFloor(h))) / weightOf(threshold)
		pt, _, chosen := t.callees.decideChosen(key, callee, position, max(weight, 1))
		share = pt.p
		if chosen {
			share = 0
		}
		if len(h.shares) < maxShares {
			h.shares = append(h.shares, calleeShare{key, share})
		}
	}
	switch {
	case share <= 0:
		return
	case share < 1:
		threshold = thresholdFor(probability(threshold)*share, standardDigits)
	}
	h.callee = min(h.callee, threshold)
}

// calleeShare says which part of a called service's decisions is believed: 1 is all, 0 none.
type calleeShare struct {
	key uint64
	of  float64
}

// maxShares is for how many called services a trace remembers the share. Every decision of a
// further one counts as the first.
const maxShares = 16

func (h *heldTrace) shareOf(key uint64) (share float64, known bool) {
	for _, s := range h.shares {
		if s.key == key {
			return s.of, true
		}
	}
	return 0, false
}

// releaseSettled decides the trace that has been settled for the longest time, since memory is
// short. It returns nil if no trace is settled.
func (t *tail) releaseSettled() *batch { return t.releaseFirst(&t.settled) }

// releaseCommitted decides a committed trace, since memory is short and no undecided trace is left
// to evict. It would not be held longer with any other R, so no later reason counts.
func (t *tail) releaseCommitted() *batch {
	if b := t.releaseFirst(&t.rootOpen); b != nil {
		return b
	}
	return t.releaseFirst(&t.spansOpen)
}

func (t *tail) releaseFirst(q *queue) *batch {
	h := q.first
	if h == nil {
		return nil
	}
	t.counts.Evicted++
	t.counts.Kept++
	return t.keepAt(h, h.told)
}
