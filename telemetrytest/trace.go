package telemetrytest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Trace is what has arrived of one trace, from all services that sent a part of it.
type Trace struct {
	ID    string      // hexadecimal
	Roots []*Span     // spans without a parent, or whose parent has not arrived
	Spans []*Span     // all, each after its parent
	Logs  []LogRecord // all, in the order of their time, even if their span has not arrived

	collector *Collector
}

// String draws the trace as a tree, like a test failure, with durations, status, attributes,
// events, links and log records.
func (t *Trace) String() string { return drawTrace(t, nil) + "\n" }

// Outline returns the span names of the trace, one per line, indented two spaces below their
// parent. Use it to compare a whole trace. Spans with the same parent are in the order of their
// start; for concurrent spans that order varies.
func (t *Trace) Outline() string {
	var b strings.Builder
	var write func(spans []*Span, indent string)
	write = func(spans []*Span, indent string) {
		for _, s := range spans {
			b.WriteString(indent + s.Name + "\n")
			write(s.Children, indent+"  ")
		}
	}
	write(t.Roots, "")
	return b.String()
}

// service returns the name of the service that sent the span.
func (s *Span) service() string {
	name, _ := s.Resource["service.name"].(string)
	return name
}

// buildTraces groups spans and log records into traces, in the order of their start. Log records
// outside of traces are omitted.
func (c *Collector) buildTraces(spans []*Span, logs []LogRecord) []*Trace {
	traces := map[string]*Trace{}
	at := func(id string) *Trace {
		if traces[id] == nil {
			traces[id] = &Trace{ID: id, collector: c}
		}
		return traces[id]
	}
	type spanKey struct{ trace, span string }
	byID := make(map[spanKey]*Span, len(spans))
	for _, s := range spans {
		byID[spanKey{s.TraceID, s.SpanID}] = s
	}
	sorted := slices.SortedStableFunc(slices.Values(spans), func(a, b *Span) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Name, b.Name))
	})
	for _, s := range sorted {
		s.trace, s.parent = at(s.TraceID), byID[spanKey{s.TraceID, s.ParentSpanID}]
		if s.parent == nil {
			s.trace.Roots = append(s.trace.Roots, s)
		} else {
			s.parent.Children = append(s.parent.Children, s)
		}
	}
	for _, r := range logs {
		if r.TraceID == "" {
			continue
		}
		t := at(r.TraceID)
		t.Logs = append(t.Logs, r)
		if s := byID[spanKey{r.TraceID, r.SpanID}]; s != nil {
			s.Logs = append(s.Logs, r)
		}
	}
	for _, t := range traces {
		t.Spans = depthFirst(t.Roots)
	}
	return slices.SortedFunc(maps.Values(traces), func(a, b *Trace) int {
		return cmp.Or(firstStart(a).Compare(firstStart(b)), cmp.Compare(a.ID, b.ID))
	})
}

// firstStart returns when a trace began. Traces with only log records come first.
func firstStart(t *Trace) time.Time {
	if len(t.Roots) == 0 {
		return time.Time{}
	}
	return t.Roots[0].Start
}

func depthFirst(spans []*Span) (all []*Span) {
	for _, s := range spans {
		all = append(append(all, s), depthFirst(s.Children)...)
	}
	return all
}
