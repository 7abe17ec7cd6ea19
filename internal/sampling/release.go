package sampling

import (
	"slices"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// tailBurstSeconds is how many seconds' worth of interesting traces may come at once and all be kept.
const tailBurstSeconds = 10

// The attributes that the tail adds to the local root of what it keeps.
const (
	reasonKey  = attribute.Key("sampling.reason")
	droppedKey = attribute.Key("sampling.dropped_spans")
)

// batch is what is handed to the next processor, outside the lock.
type batch struct {
	spans     []sdktrace.ReadOnlySpan
	random    uint64
	interest  reason // notInteresting: only the sampled spans, as they are
	threshold uint64 // of what is interesting
	root      int
	dropped   int
	then      *batch
}

// unknown stands in for the threshold of traces that were drawn by lot. Their spans carry no weight, because how many they
// stand for is not known.
const unknown = whole

// keep decides a fragment that is interesting. Its threshold is the highest that it has had to pass: the tail's own,
// and the floor over its whole life. The head's threshold counts only if it is lower, see batch.weigh.
func (t *Tail) keep(f *fragment) *batch {
	floor := max(f.passed, t.highestFloor(f.since))
	own, kept := t.tailThreshold(f, floor)
	threshold := max(floor, own)
	if !kept || f.random < threshold && own != unknown {
		t.counts.Outbid++
		return t.letGo(f)
	}
	t.counts.Kept++
	b := f.detach()
	b.interest, b.threshold = f.reason, threshold
	f.kept, f.threshold = true, threshold
	t.shelves.remove(f)
	f.leave()
	t.charge(f, fragmentBytes-f.bytes)
	if f.open <= 0 {
		t.forget(f)
		return b
	}
	t.finished.push(f, t.number+t.ticks.hold)
	// Kept traces whose other spans do not end must not take the room of those that are undecided. The memo knows them
	// for a while longer.
	if t.open++; int64(t.open) > t.limit/8/fragmentBytes {
		t.forget(t.finished.first)
	}
	return b
}

// tailThreshold bounds the interesting traces per second, by the same law as the head's. Under a floor only a part of them
// is seen.
func (t *Tail) tailThreshold(f *fragment, floor uint64) (threshold uint64, kept bool) {
	weight := uint64(min(adjustedCount(min(floor, whole-1)), 1<<bucketOctaves) + 0.5)
	key := t.sampler.hash.text(uint64(f.reason), f.name)
	pt, kept, chosen := t.law.decideChosen(max(key, 1), f.name, f.random, weight)
	if chosen {
		return unknown, kept
	}
	return pt.threshold, kept
}

// follows reports whether a span that has ended in a kept fragment goes the same way. One trace ID may stand for as many
// requests as somebody likes, and one failure among them must not take all along for ever.
func (t *Tail) follows(f *fragment) bool {
	f.late++
	return !t.law.rise.Load() || f.late <= maxSpans
}

// highestFloor is the highest memory floor since a tick.
func (t *Tail) highestFloor(since uint64) (highest uint64) {
	size := uint64(len(t.floors))
	for tick := since; tick <= t.number; tick++ {
		highest = max(highest, t.floors[tick%size])
	}
	return highest
}

// letGo decides a fragment that is not interesting, or not kept for it: what the head has sampled goes on.
func (t *Tail) letGo(f *fragment) *batch {
	if !f.sampled {
		t.counts.Discarded++
	}
	b := f.empty()
	t.forget(f)
	return b
}

// holdOn empties a fragment like letGo, for it would grow without end, and goes on waiting for its local root.
func (t *Tail) holdOn(f *fragment) *batch {
	t.charge(f, -f.held())
	t.hold(f)
	return f.empty()
}

// empty takes the spans out of a fragment that is not interesting, for the next processor if it is sampled.
func (f *fragment) empty() *batch {
	if f.sampled {
		return f.detach()
	}
	clear(f.spans)
	f.spans, f.root = f.spans[:0], -1
	return nil
}

// detach takes the spans out of a fragment.
func (f *fragment) detach() *batch {
	b := &batch{spans: f.spans, random: f.random, root: f.root, dropped: f.dropped}
	f.spans, f.root, f.dropped, f.name = nil, -1, 0, ""
	return b
}

// shrink evicts the fragments with the lowest R until the rest fits, and raises the floor above them. A sampled one is
// handed on early: its R is above the head's threshold, so that the floor is too, and nothing of its kind that is not
// sampled can be released with another weight.
func (t *Tail) shrink() (first *batch) {
	for t.bytes > t.limit {
		bottom := t.shelves.bottom()
		if bottom < 0 {
			return first // only open spans of kept traces are left
		}
		t.raiseFloor(bucketEnd(bottom))
		for b := &t.shelves.buckets[bottom]; len(*b) > 0; {
			f := (*b)[len(*b)-1]
			t.counts.Evicted++
			first = t.letGo(f).before(first)
		}
	}
	return first
}

func (t *Tail) raiseFloor(floor uint64) {
	if floor <= t.floor {
		return
	}
	t.floor = floor
	entry := &t.floors[t.number%uint64(len(t.floors))]
	*entry = max(*entry, floor)
	raise(&t.sampler.floor.memory, floor)
}

// release hands a list of batches to the next processor. It must not hold the lock: the next processor may be slow.
func (t *Tail) release(b *batch) {
	for ; b != nil; b = b.then {
		for i, span := range b.spans {
			w := weighed{ReadOnlySpan: span}
			if i == b.root {
				w.extra = b.rootAttributes()
			}
			if w.weigh(b.interest != notInteresting, b.threshold, b.random) {
				t.next.OnEnd(w.plainest())
			}
		}
	}
}

// releaseLate hands on a span that ended after its fragment was decided.
func (t *Tail) releaseLate(span sdktrace.ReadOnlySpan, threshold uint64, kept bool) {
	sc := span.SpanContext()
	w := weighed{ReadOnlySpan: span}
	if w.weigh(kept, threshold, readState(sc.TraceState()).random(sc.TraceID())) {
		t.next.OnEnd(w.plainest())
	}
}

func (b *batch) before(then *batch) *batch {
	if b == nil {
		return then
	}
	b.then = then
	return b
}

func (b *batch) rootAttributes() (extra []attribute.KeyValue) {
	if b.interest != notInteresting {
		extra = append(extra, reasonKey.String(b.interest.String()))
	}
	if b.dropped > 0 {
		extra = append(extra, droppedKey.Int(b.dropped))
	}
	return extra
}

// weighed is a span as it is handed on: with the sampled flag, without which exporters refuse it, and the threshold
// that says how many it stands for.
type weighed struct {
	sdktrace.ReadOnlySpan
	sc      trace.SpanContext
	changed bool
	extra   []attribute.KeyValue
}

func (w *weighed) SpanContext() trace.SpanContext {
	if w.changed {
		return w.sc
	}
	return w.ReadOnlySpan.SpanContext()
}

func (w *weighed) Attributes() []attribute.KeyValue {
	if len(w.extra) == 0 {
		return w.ReadOnlySpan.Attributes()
	}
	return slices.Concat(w.ReadOnlySpan.Attributes(), w.extra)
}

// plainest is the span itself if nothing about it changes.
func (w weighed) plainest() sdktrace.ReadOnlySpan {
	if !w.changed && len(w.extra) == 0 {
		return w.ReadOnlySpan
	}
	return &w
}

// weigh gives the span of a trace with this R its final threshold, and reports whether it is to be handed on. Of an
// interesting trace that is min(T_head, max(T_tail, floor)): errors that the head has sampled must weigh the same as
// those that it has not, or their sum counts the former twice.
func (w *weighed) weigh(interesting bool, threshold, random uint64) bool {
	sc := w.ReadOnlySpan.SpanContext()
	switch {
	case !interesting || random < threshold && threshold != unknown:
		return sc.IsSampled()
	case sc.IsSampled():
		if head := readState(sc.TraceState()); head.hasThreshold && head.threshold <= threshold {
			return true
		}
	}
	state := sc.TraceState()
	if threshold == unknown {
		state = withoutThreshold(state)
	} else {
		state = withThreshold(state, threshold)
	}
	w.sc = sc.WithTraceFlags(sc.TraceFlags().WithSampled(true)).WithTraceState(state)
	w.changed = true
	return true
}
