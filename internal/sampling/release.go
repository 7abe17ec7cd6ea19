package sampling

import (
	"slices"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// The attributes that the tail adds to the local root of what it keeps.
const (
	reasonKey  = attribute.Key("sampling.reason")
	droppedKey = attribute.Key("sampling.dropped_spans")
)

// batch is the spans of a decided trace, for the next processor.
type batch struct {
	spans     []sdktrace.ReadOnlySpan
	random    uint64
	kept      bool // false: only the sampled spans, as they are
	interest  reason
	threshold uint64 // of what is kept
	root      int
	truncated int
	then      *batch
}

// unknownThreshold is the threshold of traces that are decided at random, see decideChosen. Their
// spans have no th, because it is not known how many they represent.
const unknownThreshold = whole

// release passes a list of batches to the next processor. The caller must not hold the lock,
// because the next processor may be slow.
func (t *tail) release(b *batch) {
	for ; b != nil; b = b.then {
		for i, span := range b.spans {
			w := weightedSpan{ReadOnlySpan: span}
			if i == b.root {
				w.extra = b.rootAttributes()
			}
			if w.weigh(b.kept, b.threshold, b.random) {
				t.next.OnEnd(w.orOriginal())
			}
		}
	}
}

// keepAt says that all spans are passed on, with this threshold.
func (b *batch) keepAt(threshold uint64) { b.kept, b.threshold = true, threshold }

// releaseLate passes on a span that ended after its trace was decided.
func (t *tail) releaseLate(span sdktrace.ReadOnlySpan, threshold uint64, kept bool) {
	sc := span.SpanContext()
	w := weightedSpan{ReadOnlySpan: span}
	if w.weigh(kept, threshold, readState(sc.TraceState()).random(sc.TraceID())) {
		t.next.OnEnd(w.orOriginal())
	}
}

// before puts a batch, which may be nil, in front of a list.
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
	if b.truncated > 0 {
		extra = append(extra, droppedKey.Int(b.truncated))
	}
	return extra
}

// weightedSpan is a released span. It has the sampled flag, without which exporters refuse it, and
// the threshold that says how many spans it represents.
type weightedSpan struct {
	sdktrace.ReadOnlySpan
	sc      trace.SpanContext
	changed bool
	extra   []attribute.KeyValue
}

func (w *weightedSpan) SpanContext() trace.SpanContext {
	if w.changed {
		return w.sc
	}
	return w.ReadOnlySpan.SpanContext()
}

func (w *weightedSpan) Attributes() []attribute.KeyValue {
	if len(w.extra) == 0 {
		return w.ReadOnlySpan.Attributes()
	}
	return slices.Concat(w.ReadOnlySpan.Attributes(), w.extra)
}

// orOriginal returns the original span if nothing about it changes.
func (w weightedSpan) orOriginal() sdktrace.ReadOnlySpan {
	if !w.changed && len(w.extra) == 0 {
		return w.ReadOnlySpan
	}
	return &w
}

// weigh gives the span of a trace with this R its final threshold, and reports whether to pass it
// on. If the trace is kept, that threshold is min(T_head, threshold): errors that the head has
// sampled must weigh the same as those that it has not, or their sum counts the former twice.
func (w *weightedSpan) weigh(kept bool, threshold, random uint64) bool {
	sc := w.ReadOnlySpan.SpanContext()
	switch {
	case !kept || random < threshold && threshold != unknownThreshold:
		return sc.IsSampled()
	case sc.IsSampled():
		if head := readState(sc.TraceState()); head.hasThreshold && head.threshold <= threshold {
			return true
		}
	}
	state := sc.TraceState()
	if threshold == unknownThreshold {
		state = withoutThreshold(state)
	} else {
		state = withThreshold(state, threshold)
	}
	w.sc = sc.WithTraceFlags(sc.TraceFlags().WithSampled(true)).WithTraceState(state)
	w.changed = true
	return true
}
