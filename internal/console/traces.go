package console

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// limits bound what is held of traces that are not printed yet.
type limits struct {
	trees         int // local roots that are open; one more makes the oldest be printed unfinished
	spans         int // of all trees
	spansPerTree  int // further ones are counted
	events        int // log lines and span events, of all trees
	eventsPerTree int // further ones are counted
}

// A span or an event takes at most about 1 kB with its text, so the whole some 40 MB, in a process
// that a person watches.
var defaultLimits = limits{trees: 512, spans: 20_000, spansPerTree: 500, events: 20_000, eventsPerTree: 500}

const (
	// hangAfter is the age at which a line reports an open local root. Further lines follow each
	// time its age has doubled.
	hangAfter = 5 * time.Second
	// settle is how long a tree waits for children that are open when its local root ends. A server
	// in the same process ends its span after its client has got the response.
	settle = 100 * time.Millisecond
)

// Traces is a span processor that prints each trace of this process as a tree when its local root
// has ended: the first span of the trace in this process. A server span whose caller is in this
// process too belongs to the caller's tree. All methods are safe for concurrent use.
//
// It prints in the goroutine that ends the span, as an OpenTelemetry simple span processor does: if
// the process crashes next, the screen shows everything that has ended.
type Traces struct {
	screen *Screen
	limits limits
	filter Filter
	// masked returns what is shown instead of a span.
	masked func(sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan

	mu        sync.Mutex
	nodes     map[spanKey]*node
	trees     map[*tree]struct{}
	overflown map[trace.TraceID]*tree // those that no longer take spans
	events    int
	closed    bool
}

type spanKey struct {
	trace trace.TraceID
	span  trace.SpanID
}

func keyOf(sc trace.SpanContext) spanKey { return spanKey{sc.TraceID(), sc.SpanID()} }

// NewTraces returns a processor that prints to the screen. Its Shutdown ends its timers.
func NewTraces(screen *Screen) *Traces { return newTraces(screen, defaultLimits) }

func newTraces(screen *Screen, l limits) *Traces {
	return &Traces{
		screen: screen, limits: l,
		masked: func(span sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan { return span },
		nodes:  map[spanKey]*node{}, trees: map[*tree]struct{}{}, overflown: map[trace.TraceID]*tree{},
	}
}

// Masking makes the processor show what masked returns instead of each span, even of one that has
// not ended. Call it before the first span starts.
func (t *Traces) Masking(masked func(sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan) { t.masked = masked }

// Filter says which trees are shown; the zero value shows all. Trees that hang, or are printed
// before they have ended, are always shown.
type Filter struct {
	Errors bool          // those with a span that has failed
	Slow   time.Duration // those that took that long, if it is not zero
}

// shows reports whether a tree that has ended is shown.
func (f Filter) shows(tr *tree) bool {
	if f == (Filter{}) {
		return true
	}
	failed := tr.moreFailed > 0
	tr.root.walk(func(n *node) { failed = failed || n.failed })
	return f.Errors && failed || f.Slow > 0 && tr.root.end.Sub(tr.root.start) >= f.Slow
}

// Showing makes the processor show only the trees of the filter. Call it before the first span
// starts.
func (t *Traces) Showing(f Filter) *Traces {
	t.filter = f
	return t
}

// OnStart puts the span into the tree of its parent, or begins a tree.
func (t *Traces) OnStart(_ context.Context, span sdktrace.ReadWriteSpan) {
	t.mu.Lock()
	block := t.start(span)
	t.mu.Unlock()
	_ = t.screen.print(block)
}

func (t *Traces) start(span sdktrace.ReadWriteSpan) (block []line) {
	key, parent := keyOf(span.SpanContext()), span.Parent()
	twin := t.nodes[key]
	above := t.nodes[keyOf(parent)]
	full := t.overflown[key.trace]
	switch {
	case t.closed:
	case twin != nil: // an ID generator that repeats itself
		twin.tree.moreSpans++
	case above != nil && (above.tree.spans >= t.limits.spansPerTree || len(t.nodes) >= t.limits.spans):
		t.overflown[key.trace] = above.tree
		above.tree.moreSpans++
	case above != nil:
		t.add(above.tree, above, key, span)
	case full != nil && parent.IsValid(): // its parent may be one of those that were only counted
		full.moreSpans++
	default:
		if len(t.trees) >= t.limits.trees || len(t.nodes) >= t.limits.spans {
			block = t.evict()
		}
		root := t.add(&tree{id: key.trace}, nil, key, span)
		root.parent = parent
		t.begin(root)
	}
	return block
}

func (t *Traces) add(tr *tree, above *node, key spanKey, span sdktrace.ReadOnlySpan) *node {
	n := &node{key: key, tree: tr, above: above, live: span, masked: t.masked, start: span.StartTime(),
		seen: time.Now(), kind: span.SpanKind()}
	if above != nil {
		above.children = append(above.children, n)
	}
	tr.spans++
	tr.open++
	t.nodes[key] = n
	return n
}

// begin watches over a new tree.
func (t *Traces) begin(root *node) {
	tr := root.tree
	tr.root = root
	t.trees[tr] = struct{}{}
	tr.due = time.Now().Add(hangAfter)
	tr.timer = time.AfterFunc(hangAfter, func() { t.onTimer(tr) })
}

// OnEnd prints the tree if it was waiting for this span.
func (t *Traces) OnEnd(span sdktrace.ReadOnlySpan) {
	span = t.masked(span)
	t.mu.Lock()
	block := t.end(span)
	t.mu.Unlock()
	_ = t.screen.print(block)
}

func (t *Traces) end(span sdktrace.ReadOnlySpan) []line {
	key := keyOf(span.SpanContext())
	n := t.nodes[key]
	if n == nil {
		if full := t.overflown[key.trace]; full != nil {
			if span.Status().Code == codes.Error {
				full.moreFailed++
			}
			return nil
		}
		return t.orphan(span)
	}
	if n.ended {
		return nil
	}
	t.finish(n, span)
	tr := n.tree
	tr.open--
	switch {
	case !tr.root.ended:
	case tr.open == 0:
		return t.take(tr, "")
	case n == tr.root:
		t.schedule(tr, settle)
	}
	return nil
}

// orphan prints a span that ended after its tree had been forgotten.
func (t *Traces) orphan(span sdktrace.ReadOnlySpan) []line {
	tr := &tree{id: span.SpanContext().TraceID(), late: true, spans: 1}
	tr.root = &node{key: keyOf(span.SpanContext()), tree: tr, parent: span.Parent(), start: span.StartTime(),
		kind: span.SpanKind()}
	t.finish(tr.root, span)
	if !t.filter.shows(tr) {
		return nil
	}
	return tr.block(time.Now(), t.screen.columns(), "")
}

func (t *Traces) finish(n *node, span sdktrace.ReadOnlySpan) {
	n.ended, n.live = true, nil
	n.describe(span)
	for _, e := range spanEvents(span, n.end) {
		t.attach(n, e)
	}
}

// attach adds a log line or an event to a span that is not printed yet.
func (t *Traces) attach(n *node, e event) {
	if n.tree.events >= t.limits.eventsPerTree || t.events >= t.limits.events {
		n.tree.moreEvents++
		return
	}
	n.tree.events++
	t.events++
	n.events = append(n.events, e)
}

// note repeats a log line in the tree of its span.
func (t *Traces) note(sc trace.SpanContext, e event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.nodes[keyOf(sc)]; n != nil {
		t.attach(n, e)
	} else if full := t.overflown[sc.TraceID()]; full != nil {
		full.moreEvents++
	}
}

func (t *Traces) schedule(tr *tree, in time.Duration) {
	tr.due = time.Now().Add(in)
	tr.timer.Reset(in)
}

// onTimer reports a local root that hangs, or ends the wait for the children of one that has ended.
func (t *Traces) onTimer(tr *tree) {
	t.mu.Lock()
	var block []line
	now := time.Now()
	_, waiting := t.trees[tr]
	switch {
	case !waiting || now.Before(tr.due): // printed, or scheduled anew, since the timer fired
	case tr.root.ended:
		block = t.take(tr, "")
	default:
		block = tr.hanging(now, t.screen.columns())
		t.schedule(tr, now.Sub(tr.root.seen))
	}
	t.mu.Unlock()
	_ = t.screen.print(block)
}

// ForceFlush prints the trees whose root has ended and that only wait for children. The others
// stay.
func (t *Traces) ForceFlush(context.Context) error {
	t.flush(func(tr *tree) bool { return tr.root.ended }, "")
	return nil
}

// Shutdown prints all trees, finished or not, and ends all timers.
func (t *Traces) Shutdown(context.Context) error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.flush(func(*tree) bool { return true }, "not finished at shutdown")
	return nil
}

func (t *Traces) flush(which func(*tree) bool, why string) {
	t.mu.Lock()
	var block []line
	for _, tr := range oldestFirst(t.trees) {
		if !which(tr) {
			continue
		}
		if tr.open > 0 || t.filter.shows(tr) {
			block = append(block, tr.block(time.Now(), t.screen.columns(), unlessEnded(tr, why))...)
		}
		t.forget(tr)
	}
	t.mu.Unlock()
	_ = t.screen.print(block)
}

func unlessEnded(tr *tree, why string) string {
	if tr.open == 0 {
		return ""
	}
	return why
}
