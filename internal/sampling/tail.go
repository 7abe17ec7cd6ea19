package sampling

import (
	"context"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// minHold is how long a trace is held at least while its local root does not end; linger, how long after that for
	// spans that outlive it. maxHold is for local roots whose duration is no reason to keep them: after so long they are
	// taken for spans that nobody ends, which would fill the memory in time.
	minHold = 30 * time.Second
	linger  = 5 * time.Second
	maxHold = time.Hour
	// maxSpans and maxBytes are what is held of one trace; failed spans may take as much again, and local roots, without
	// which the rest cannot be read, as much once more. A fragment of that size is a loop, of which a thousand turns tell
	// what there is to tell.
	maxSpans = 1000
	maxBytes = 512 << 10
	// tailSets is the size of the table of interesting operations: 64, by name and reason.
	tailSets = 16
	// lowWater is the share of the memory below which the floor sinks, by sink per tick.
	lowWater = 0.8
	sink     = 1.25
)

// What is kept for reuse is small: at most a few hundred kilobytes.
const (
	pooledFragments = 256
	pooledSpans     = 64
)

// Tail is a span processor that holds the spans of a trace until its local root has ended, hands those of a sampled or
// an interesting one to the next processor, and forgets the others. All methods are safe for concurrent use.
type Tail struct {
	sampler *Sampler
	next    sdktrace.SpanProcessor
	law     *controller // of the traces that are interesting
	ticks   struct{ hold, linger uint64 }

	mu       sync.Mutex
	live     map[trace.TraceID]*fragment
	shelves  shelves
	holding  queue // a local root is open
	waiting  queue // only other spans are
	finished queue // kept, and some spans still open
	open     int   // fragments in finished
	late     memo
	pool     []*fragment
	bytes    int64
	limit    int64 // of bytes
	floor    uint64
	floors   []uint64 // the highest floor of each tick, for as long as a fragment waits
	number   uint64   // of the running tick
	stopped  bool
	counts   TailCounts
}

// Processor returns a new tail in front of next; with HeadOnly, next itself.
func (s *Sampler) Processor(next sdktrace.SpanProcessor) sdktrace.SpanProcessor {
	if s.cfg.HeadOnly {
		return next
	}
	return s.newTail(next)
}

func (s *Sampler) newTail(next sdktrace.SpanProcessor) *Tail {
	t := &Tail{
		sampler: s,
		next:    next,
		law:     newController(s.cfg.TailTracesPerSecond, tailBurstSeconds, 1, tailSets, s.now),
		live:    make(map[trace.TraceID]*fragment),
		limit:   s.cfg.HeldBytes,
	}
	t.law.whole = true // an error more is worth more than a lower rate later
	t.ticks.hold, t.ticks.linger = uint64(s.cfg.hold()/tickInterval), uint64(linger/tickInterval)
	t.floors = make([]uint64, t.ticks.hold+t.ticks.linger+8)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tails = append(s.tails, t)
	s.tailsOn.Store(true)
	return t
}

// OnStart opens a fragment for a local root and counts the spans that a fragment has to wait for.
func (t *Tail) OnStart(ctx context.Context, span sdktrace.ReadWriteSpan) {
	t.next.OnStart(ctx, span)
	sc := span.SpanContext()
	root := isLocalRoot(span.Parent())
	slow, counts := slowness(0), false
	if root {
		slow, counts = t.sampler.terms(span)
	}

	t.mu.Lock()
	f := t.live[sc.TraceID()]
	if f == nil {
		if !root || t.stopped {
			t.mu.Unlock()
			return // a span that outlived its fragment
		}
		r := readState(sc.TraceState()).random(sc.TraceID())
		if r < t.floor && !sc.IsSampled() {
			t.mu.Unlock()
			return // the floor has risen since ShouldSample
		}
		f = t.begin(sc.TraceID(), r)
	}
	f.open++
	f.sampled = f.sampled || sc.IsSampled()
	if !f.kept {
		t.charge(f, spanBytes)
	}
	if root {
		f.roots++
		f.slow = shorter(f.slow, slow)
		f.counts = f.counts || counts
		if f.kept {
			t.law.kept.Add(1) // another request of it
		}
		f.passed = max(f.passed, t.sampler.floor.atStart(sc.IsSampled()))
		if f.queue == &t.waiting {
			t.hold(f)
		}
	}
	out := t.shrink()
	t.mu.Unlock()
	t.release(out)
}

// OnEnd takes a span in and decides the fragment if it was the one to wait for.
func (t *Tail) OnEnd(span sdktrace.ReadOnlySpan) {
	o := observe(span)
	t.mu.Lock()
	f := t.live[o.id]
	switch {
	case f == nil:
		threshold, kept := t.late.find(o.id)
		if !kept && !o.sampled {
			t.counts.Late++
		}
		t.mu.Unlock()
		t.releaseLate(span, threshold, kept)
		return
	case f.kept:
		f.open--
		threshold, follows := f.threshold, t.follows(f)
		if !follows && !o.sampled {
			t.counts.Truncated++
		}
		if f.open <= 0 {
			t.forget(f)
		}
		t.mu.Unlock()
		t.releaseLate(span, threshold, follows)
		return
	}
	t.take(f, span, &o)
	out := t.decide(f, o.root).before(t.shrink())
	t.mu.Unlock()
	t.release(out)
}

// take adds an ended span to its fragment.
func (t *Tail) take(f *fragment, span sdktrace.ReadOnlySpan, o *observed) {
	held := f.held()
	f.open--
	if o.root {
		f.roots = max(f.roots-1, 0)
		if f.slow.isSlow(o.duration) {
			f.notice(isSlow)
		}
	}
	f.notice(o.reason)
	share := 1
	switch {
	case o.root:
		share = 3
	case o.reason != notInteresting:
		share = 2
	}
	if len(f.spans) >= share*maxSpans || held+o.bytes > int64(share)*min(maxBytes, t.limit/4) {
		f.dropped++
		t.counts.Truncated++
		t.charge(f, -spanBytes)
		return
	}
	t.charge(f, o.bytes-spanBytes)
	if o.root {
		f.root, f.name = len(f.spans), span.Name()
	}
	f.spans = append(f.spans, span)
}

// decide ends a fragment whose outcome is known, or makes it wait.
func (t *Tail) decide(f *fragment, rootEnded bool) *batch {
	switch {
	case f.reason != notInteresting && (rootEnded || f.roots == 0):
		return t.keep(f)
	case f.open <= 0 && f.roots == 0: // a span that outlived an earlier fragment may have ended in the place of the root
		return t.letGo(f)
	case f.roots == 0 && f.queue == &t.holding:
		f.leave()
		t.waiting.push(f, t.number+t.ticks.linger)
	}
	return nil
}

// begin makes a fragment.
func (t *Tail) begin(id trace.TraceID, r uint64) *fragment {
	var f *fragment
	if n := len(t.pool); n > 0 {
		f, t.pool = t.pool[n-1], t.pool[:n-1]
	} else {
		f = &fragment{}
	}
	*f = fragment{id: id, random: r, began: t.number, since: t.number, root: -1, spans: f.spans}
	t.live[id] = f
	t.sampler.stir()
	t.shelves.put(f)
	t.hold(f)
	t.charge(f, fragmentBytes)
	return f
}

// hold lets a fragment wait for the end of a local root. It takes the floors along that it has passed so far, which the
// tail remembers for one such time only.
func (t *Tail) hold(f *fragment) {
	f.passed, f.since = max(f.passed, t.highestFloor(f.since)), t.number
	f.leave()
	t.holding.push(f, t.number+t.ticks.hold)
}

// held is what the ended spans of an undecided fragment take.
func (f *fragment) held() int64 { return f.bytes - fragmentBytes - int64(f.open)*spanBytes }

func (t *Tail) charge(f *fragment, bytes int64) {
	f.bytes += bytes
	t.bytes += bytes
}

// forget removes a fragment from everywhere. One without spans is used again.
func (t *Tail) forget(f *fragment) {
	delete(t.live, f.id)
	t.shelves.remove(f)
	if f.queue == &t.finished {
		t.open--
	}
	f.leave()
	t.charge(f, -f.bytes)
	if f.kept {
		t.late.add(f.id, f.threshold)
	}
	if len(t.pool) < pooledFragments {
		*f = fragment{spans: f.spans[:0]}
		if cap(f.spans) > pooledSpans {
			f.spans = nil
		}
		t.pool = append(t.pool, f)
	}
}

func shorter(a, b slowness) slowness {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// ForceFlush flushes the next processor. What is decided has been handed on already; to decide the rest before its time
// would lose errors or bend the weights.
func (t *Tail) ForceFlush(ctx context.Context) error { return t.next.ForceFlush(ctx) }

// Shutdown hands on what may be: the sampled spans, and what is known to be interesting. Then it shuts the next
// processor down.
func (t *Tail) Shutdown(ctx context.Context) error {
	t.release(t.close())
	t.sampler.remove(t)
	return t.next.Shutdown(ctx)
}
