package sampling

// decide is called for a trace of which a span has just ended. It decides the trace unless a span
// that matters is still open.
func (t *tail) decide(h *heldTrace, rootEnded bool) *batch {
	rootsEnded := h.openRoots == 0
	switch {
	case h.hasReason() && (rootEnded || rootsEnded) && t.isCertain(h):
		return t.keep(h)
	case rootsEnded && h.open <= 0: // below zero: the span belonged to an earlier held trace with this ID
		return t.decideNow(h)
	case rootsEnded && h.queue == &t.rootOpen:
		h.leave()
		t.spansOpen.push(h, t.tickNumber+t.lateTicks)
	}
	return nil
}

// isCertain reports whether a trace with a reason to be kept would have one for every R above the
// floor. A called service's decision depends on R. The moment of this decision must not, or later
// reasons would count only for some R.
func (t *tail) isCertain(h *heldTrace) bool {
	floor := t.highestFloor(h)
	return h.interesting() || min(t.reasonThreshold(h, floor), h.told) <= floor
}

// decideNow decides a trace by what is known so far.
func (t *tail) decideNow(h *heldTrace) *batch {
	if h.hasReason() {
		return t.keep(h)
	}
	return t.discard(h)
}

// expire decides the traces that have waited long enough. A trace whose local root is still open is
// slow, unless its duration is no reason to keep it. Then it waits for the root's end.
func (t *tail) expire() (out *batch) {
	for h := t.rootOpen.due(t.tickNumber); h != nil; h = t.rootOpen.due(t.tickNumber) {
		if h.durationCounts() {
			h.notice(isSlow)
		}
		if (!h.hasReason() || !t.isCertain(h)) && t.tickNumber-h.began < uint64(maxHold/tickInterval) {
			out = t.holdOn(h).before(out)
		} else {
			out = t.decideNow(h).before(out)
		}
	}
	for h := t.spansOpen.due(t.tickNumber); h != nil; h = t.spansOpen.due(t.tickNumber) {
		out = t.decideNow(h).before(out)
	}
	for h := t.settled.due(t.tickNumber); h != nil; h = t.settled.due(t.tickNumber) {
		out = t.decideNow(h).before(out)
	}
	for h := t.keptOpen.due(t.tickNumber); h != nil; h = t.keptOpen.due(t.tickNumber) {
		t.forget(h)
	}
	return out
}

// decideAll decides all held traces for a shutdown. From then on no trace is held.
func (t *tail) decideAll() (out *batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for _, h := range t.traces {
		if !h.kept {
			out = t.decideNow(h).before(out)
		}
	}
	for _, h := range t.traces {
		t.forget(h)
	}
	return out
}

// keep keeps a trace that has a reason, unless its R is too low. Its threshold is the lowest of
// those that its reasons and its late route give it, raised to the floor over its whole life, or
// the one that other services were told if that is lower. The head's threshold counts only if it is
// lower still, see weigh.
func (t *tail) keep(h *heldTrace) *batch {
	floor := t.highestFloor(h)
	threshold := min(t.reasonThreshold(h, floor), max(h.route, floor), h.told)
	switch {
	case h.random >= threshold:
	case h.asked && h.passed && h.own == unknownThreshold:
		threshold = unknownThreshold
	default:
		t.counts.Outbid++
		return t.discard(h)
	}
	t.counts.Kept++
	if !h.asked {
		t.controller.kept.Add(1) // kept only for a called service, it uses the common target too
	}
	return t.keepAt(h, threshold)
}

// keepAt decides that a trace is kept at this threshold.
func (t *tail) keepAt(h *heldTrace, threshold uint64) *batch {
	b := h.takeSpans()
	b.keepAt(threshold)
	switch {
	case h.interesting():
		b.interest = h.reason
	case h.callee != whole:
		b.interest = ofCallee
	}
	h.kept, h.threshold, h.name = true, threshold, ""
	t.undecided.remove(h)
	h.leave()
	t.charge(h, traceBytes-h.bytes)
	if h.open <= 0 {
		t.forget(h)
		return b
	}
	t.awaitLateSpans(h)
	return b
}

// awaitLateSpans holds a kept trace, without spans, until its last span has ended. Such traces must
// not take the room of undecided ones, so their number is limited. Beyond it, recentlyKept
// remembers them for a while longer.
func (t *tail) awaitLateSpans(h *heldTrace) {
	t.keptOpen.push(h, t.tickNumber+t.holdTicks)
	if t.keptOpenCount++; int64(t.keptOpenCount) > t.limit/8/traceBytes {
		t.forget(t.keptOpen.first)
	}
}

// ownThreshold limits the interesting traces per second as the head's controller limits all. Under
// a floor only a part of them is seen, so each counts for more. A trace asks only once: its R has
// moved the thresholds since, so a second answer would not be independent of it.
func (t *tail) ownThreshold(h *heldTrace, floor uint64) uint64 {
	if h.asked {
		return h.own
	}
	key := t.sampler.hash.text(uint64(h.reason), h.name)
	pt, passed, chosen := t.controller.decideChosen(max(key, 1), h.name, h.random, weightOf(floor))
	h.asked, h.own, h.passed = true, pt.threshold, passed
	if chosen {
		h.own = unknownThreshold
	}
	return h.own
}

// weightOf is how many traces a trace represents if only those above the floor are seen.
func weightOf(floor uint64) uint64 {
	return uint64(min(adjustedCount(min(floor, whole-1)), 1<<bucketOctaves) + 0.5)
}

// routeThreshold is the threshold that its late route gives a trace, and whether that keeps it.
func (t *tail) routeThreshold(h *heldTrace) (threshold uint64, kept bool) {
	if h.route == whole {
		return whole, false
	}
	threshold = max(h.route, t.highestFloor(h))
	return threshold, h.random >= threshold
}

// discard decides a trace that has no reason to be kept, or is not kept for it. If its late route
// does not keep it either, only the spans that the head has sampled are passed on.
func (t *tail) discard(h *heldTrace) *batch {
	if threshold, kept := t.routeThreshold(h); kept {
		if !h.sampled {
			t.counts.Routed++
		}
		return t.keepAt(h, threshold)
	}
	if !h.sampled {
		t.counts.Discarded++
	}
	b := h.dropSpans()
	t.forget(h)
	return b
}

// holdOn continues to wait for the local root of a trace. It decides the spans so far, since the
// trace would grow without limit. Later routes do not count, even if no span was passed on.
func (t *tail) holdOn(h *heldTrace) *batch {
	t.charge(h, traceBytes+int64(h.open)*spanBytes-h.bytes)
	t.awaitRoot(h)
	h.released = true
	threshold := min(t.reasonThreshold(h, h.pastFloor), max(h.route, h.pastFloor), h.told)
	if h.random < threshold {
		return h.dropSpans()
	}
	b := h.takeSpans()
	b.keepAt(threshold)
	return b
}
