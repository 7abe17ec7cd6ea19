package console

import (
	"slices"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// tree is a local root with everything below it.
type tree struct {
	id   trace.TraceID
	root *node
	late bool // its root outlived the tree that it belonged to

	spans, open, moreSpans, moreFailed int
	events, moreEvents                 int

	timer *time.Timer
	due   time.Time
}

// node is a span. An open one has only what was known at its start.
type node struct {
	key      spanKey
	tree     *tree
	above    *node
	parent   trace.SpanContext // of a root: the span above that is not in the tree
	children []*node
	events   []event

	live       sdktrace.ReadOnlySpan // nil once ended
	masked     func(sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan
	kind       trace.SpanKind
	start, end time.Time
	seen       time.Time // when it started, by this process's clock; the service may have set start to any time
	ended      bool
	failed     bool
	name       string
	details    line
}

// event is a log line or a span event.
type event struct {
	at   time.Time
	text line
}

func (n *node) context() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: n.key.trace, SpanID: n.key.span})
}

// unended returns what may be shown of a span that has not ended.
func (n *node) unended() sdktrace.ReadOnlySpan { return n.masked(n.live) }

// describe copies what is shown from the span.
func (n *node) describe(span sdktrace.ReadOnlySpan) {
	n.name, n.end = short(span.Name()), span.EndTime()
	n.failed = span.Status().Code == codes.Error
	n.details = summary(n.name, span.SpanKind(), span.Attributes())
	for i, link := range span.Links() {
		if i == maxLinks {
			n.details = append(n.details, piece{" …", dim})
			break
		}
		n.details = append(n.details, piece{" link=" + shortID(link.SpanContext.TraceID()), dim})
	}
}

const maxLinks = 3

// spanEvents returns the span's own events and, unless an exception has the same text, the
// description of its status.
func spanEvents(span sdktrace.ReadOnlySpan, end time.Time) []event {
	var events []event
	status, said := span.Status(), false
	kind := "" // of the error, which is shown beside the name
	for _, kv := range span.Attributes() {
		if kv.Key == "error.type" {
			kind = kv.Value.String()
		}
	}
	for _, e := range span.Events() {
		text, message := spanEvent(e, kind)
		said = said || message == status.Description
		events = append(events, event{e.Time, text})
	}
	if status.Description != "" && !said {
		events = append(events, event{end, line{{short(status.Description), red}}})
	}
	return events
}

func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, child := range n.children {
		child.walk(visit)
	}
}

// openBelow appends the topmost open spans, which may be n itself.
func (n *node) openBelow(open []*node) []*node {
	if !n.ended {
		return append(open, n)
	}
	for _, child := range n.children {
		open = child.openBelow(open)
	}
	return open
}

// openPath returns the path from n down along the spans that have been open the longest. It shows
// where the time goes.
func (n *node) openPath() []*node {
	path := []*node{n}
	for {
		var open []*node
		for _, child := range n.children {
			open = child.openBelow(open)
		}
		if len(open) == 0 {
			return path
		}
		n = slices.MinFunc(open, func(a, b *node) int { return a.seen.Compare(b.seen) })
		path = append(path, n)
	}
}

func oldestFirst(trees map[*tree]struct{}) []*tree {
	sorted := make([]*tree, 0, len(trees))
	for tr := range trees {
		sorted = append(sorted, tr)
	}
	slices.SortFunc(sorted, func(a, b *tree) int { return a.root.seen.Compare(b.root.seen) })
	return sorted
}
