package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/examples/internal/spanview"
	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// arrival is the data the collector has decoded, arranged for the report.
type arrival struct {
	spans      []otlptest.Span
	traces     map[string][]otlptest.Span
	operations map[operation]*seen
	services   map[string]*signals
	maxWeight  float64 // of a local root
	failing    int     // traces with an error
	whole      int     // of those, traces with one root and the parent of every other span
}

// operation is a kind of request to a service, named like its local root spans.
type operation struct{ service, name string }

// seen is the data about an operation from the spans that arrived, and nothing else.
type seen struct {
	roots         int     // local root spans
	estimate      float64 // the sum of their weights: the estimated number of requests
	variance      float64 // of estimate
	failed, slow  int     // local roots with an error in or below them, and slow ones
	withoutWeight int     // local roots without a weight
}

// signals is what arrived of one service.
type signals struct {
	spans      int
	records    int
	correlated int // records that carry the id of a trace
	kept       int // correlated records whose trace has spans of the same service here
	probes     int // spans of health probes
}

func arrivedAt(c *otlptest.Collector) *arrival {
	a := &arrival{
		spans: c.Spans(), traces: make(map[string][]otlptest.Span),
		operations: make(map[operation]*seen), services: make(map[string]*signals),
	}
	for _, s := range a.spans {
		a.traces[s.TraceID] = append(a.traces[s.TraceID], s)
	}
	for _, s := range a.spans {
		a.count(s)
	}
	for _, trace := range a.traces {
		a.countErrors(trace)
	}
	a.countRecords(c.LogRecords())
	return a
}

func (a *arrival) of(service string) *signals {
	if a.services[service] == nil {
		a.services[service] = &signals{}
	}
	return a.services[service]
}

func (a *arrival) at(op operation) *seen {
	if a.operations[op] == nil {
		a.operations[op] = &seen{}
	}
	return a.operations[op]
}

// count adds one span.
func (a *arrival) count(s otlptest.Span) {
	service := a.of(spanview.Service(s.Resource))
	service.spans++
	if strings.Contains(s.Name, "healthz") || strings.Contains(s.Name, "readyz") ||
		strings.Contains(s.Name, "grpc.health") {
		service.probes++
	}
	if !isLocalRoot(s) {
		return
	}
	op := a.at(operationOf(s))
	op.roots++
	if s.End.Sub(s.Start) > platform.SlowThreshold {
		op.slow++
	}
	weight, ok := spanview.Weight(s)
	if !ok {
		op.withoutWeight++
		return
	}
	op.estimate += weight
	op.variance += weight * (weight - 1)
	a.maxWeight = max(a.maxWeight, weight)
}

// countErrors counts each local root with at least one error in or below it.
func (a *arrival) countErrors(trace []otlptest.Span) {
	byID := make(map[string]otlptest.Span, len(trace))
	for _, s := range trace {
		byID[s.SpanID] = s
	}
	a.countWhole(trace, byID)
	failed := make(map[string]bool)
	for _, s := range trace {
		if s.Status.Code != "error" {
			continue
		}
		for found := true; found && !isLocalRoot(s); {
			s, found = byID[s.ParentSpanID]
		}
		if isLocalRoot(s) && !failed[s.SpanID] {
			failed[s.SpanID] = true
			a.at(operationOf(s)).failed++
		}
	}
}

// countWhole counts a trace with an error, and whether it is there from its root on.
func (a *arrival) countWhole(trace []otlptest.Span, byID map[string]otlptest.Span) {
	roots, orphans, failed := 0, 0, false
	for _, s := range trace {
		failed = failed || s.Status.Code == "error"
		if s.ParentSpanID == "" {
			roots++
		} else if _, found := byID[s.ParentSpanID]; !found {
			orphans++
		}
	}
	if failed {
		a.failing++
		if roots == 1 && orphans == 0 {
			a.whole++
		}
	}
}

func (a *arrival) countRecords(records []otlptest.LogRecord) {
	type part struct{ trace, service string }
	parts := make(map[part]bool)
	for _, s := range a.spans {
		parts[part{s.TraceID, spanview.Service(s.Resource)}] = true
	}
	for _, r := range records {
		name := spanview.Service(r.Resource)
		service := a.of(name)
		service.records++
		if r.TraceID == "" {
			continue
		}
		service.correlated++
		if parts[part{r.TraceID, name}] {
			service.kept++
		}
	}
}

// isLocalRoot reports whether the span is a service's local root: in the shop, all of them have one
// of these kinds.
func isLocalRoot(s otlptest.Span) bool { return s.Kind == "server" || s.Kind == "consumer" }

func operationOf(s otlptest.Span) operation {
	return operation{spanview.Service(s.Resource), s.Name}
}

// example returns a successful order with its fulfilment: all spans of a trace through every
// service and of the trace linked to it. It prefers one of medium duration, and may find none.
func (a *arrival) example() []otlptest.Span {
	linked := make(map[string]otlptest.Span) // consumer spans by the span they link to
	for _, s := range a.spans {
		for _, link := range s.Links {
			if s.Kind == "consumer" {
				linked[link.SpanID] = s
			}
		}
	}
	var candidates [][]otlptest.Span
	for _, s := range a.spans {
		consumer, ok := linked[s.SpanID]
		if trace := a.traces[s.TraceID]; ok && s.Kind == "producer" && isWhole(trace) {
			candidates = append(candidates, append(trace[:len(trace):len(trace)], a.traces[consumer.TraceID]...))
		}
	}
	return middling(candidates)
}

// isWhole reports whether nothing failed and every service except the worker took part, including
// the database.
func isWhole(trace []otlptest.Span) bool {
	missing := map[string]bool{"storefront": true, "checkout": true, "payment": true, "inventory": true,
		"database": true}
	for _, s := range trace {
		if s.Status.Code == "error" {
			return false
		}
		delete(missing, spanview.Service(s.Resource))
		if s.Attributes["db.system.name"] != nil {
			delete(missing, "database")
		}
	}
	return len(missing) == 0
}

// middling returns a trace that is neither the fastest nor the slowest.
func middling(traces [][]otlptest.Span) []otlptest.Span {
	if len(traces) == 0 {
		return nil
	}
	slices.SortFunc(traces, func(a, b []otlptest.Span) int { return cmp.Compare(length(a), length(b)) })
	return traces[len(traces)/2]
}

func length(trace []otlptest.Span) time.Duration {
	begin, end := trace[0].Start, trace[0].End
	for _, s := range trace {
		if s.Start.Before(begin) {
			begin = s.Start
		}
		if s.End.After(end) {
			end = s.End
		}
	}
	return end.Sub(begin)
}
