package telemetrytest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// snapshot is the data that had arrived at one moment.
type snapshot struct {
	spans    []*Span // in the order of their start
	traces   []*Trace
	logs     []LogRecord
	metrics  []Metric
	flushErr error
	waited   time.Duration // how long the search waited without success; 0 if it did not
	settled  bool          // the wait ended early: something similar had arrived and nothing was pending
}

// look flushes and takes a snapshot.
func (c *Collector) look() snapshot {
	s := snapshot{flushErr: c.flush()}
	s.spans = unique(each(c.server.Spans(), spanOf))
	slices.SortStableFunc(s.spans,
		func(a, b *Span) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Name, b.Name)) })
	s.logs = each(c.server.LogRecords(), logOf)
	slices.SortStableFunc(s.logs, func(a, b LogRecord) int { return a.Time.Compare(b.Time) })
	s.metrics = newest(c.server.Metrics())
	s.traces = c.buildTraces(s.spans, s.logs)
	return s
}

// unique removes spans that arrived twice, for example because a connection was cut before the
// answer.
func unique(spans []*Span) []*Span {
	type identity struct{ trace, span string }
	seen := map[identity]bool{}
	return filter(spans, func(s *Span) bool {
		id := identity{s.TraceID, s.SpanID}
		before := seen[id]
		seen[id] = true
		return !before
	})
}

// newest keeps the last export of each metric. Exports are cumulative, so the last one includes
// everything recorded. It may have arrived in several requests.
func newest(metrics []otlptest.Metric) []Metric {
	type identity struct{ instance, scope, version, name string }
	last, order := map[identity]otlptest.Metric{}, []identity{}
	for _, m := range metrics {
		instance, _ := m.Resource["service.instance.id"].(string)
		id := identity{instance, m.Scope.Name, m.Scope.Version, m.Name}
		earlier, known := last[id]
		if !known {
			order = append(order, id)
		}
		m.Points = append(pointsOfSameExport(earlier, m), m.Points...)
		last[id] = m
	}
	return each(order, func(id identity) Metric { return metricOf(last[id]) })
}

// pointsOfSameExport returns the points of earlier that belong to the same export as m but are not
// in m. The SDK gives all points that it collects together the same time.
func pointsOfSameExport(earlier, m otlptest.Metric) []otlptest.Point {
	if len(earlier.Points) == 0 || len(m.Points) == 0 || !earlier.Points[0].Time.Equal(m.Points[0].Time) {
		return nil
	}
	attributes := func(p otlptest.Point) string { return fmt.Sprintf("%#v", p.Attributes) } // with types, sorted
	again := map[string]bool{}
	for _, p := range m.Points {
		again[attributes(p)] = true
	}
	return filter(earlier.Points, func(p otlptest.Point) bool { return !again[attributes(p)] })
}

// await takes snapshots until find finds something or requireTimeout has passed. The time starts
// after the first snapshot, because a flush can take long. await returns at once if a flush timed
// out. It returns early if something similar has arrived and nothing is known to be pending.
func await[T any](c *Collector, find func(snapshot) []T, isLike func(snapshot) bool) (seen snapshot, found []T) {
	begin, end, calm := time.Now(), time.Time{}, quiet{}
	for {
		open := c.hasOpenSpans() // before the snapshot: a span that ends in between is in it
		seen = c.look()
		if found = find(seen); len(found) > 0 {
			return seen, found
		}
		now := time.Now()
		if end.IsZero() {
			end = now.Add(requireTimeout)
		}
		seen.settled = calm.lasts(now, seen.items(), seen.flushErr != nil || !isLike(seen) || open ||
			c.mayHaveMore(seen)) >= c.settleTime
		if seen.settled || now.After(end) || errors.Is(seen.flushErr, context.DeadlineExceeded) {
			seen.waited = now.Sub(begin)
			return seen, nil
		}
		requests := len(c.server.Requests())
		pause, stop := context.WithTimeout(context.Background(), pollInterval)
		_ = c.server.Wait(pause, func(s *otlptest.Collector) bool { return len(s.Requests()) > requests })
		stop()
	}
}

// quiet records since when nothing has arrived and nothing is known to be pending.
type quiet struct {
	since time.Time
	items int
}

// lasts returns how long it has been quiet, or 0 if items has changed or more is pending.
func (q *quiet) lasts(now time.Time, items int, moreToCome bool) time.Duration {
	if moreToCome || q.since.IsZero() || items != q.items {
		q.since, q.items = now, items
	}
	return now.Sub(q.since)
}

// items returns the number of items of all signals.
func (s snapshot) items() int {
	n := len(s.spans) + len(s.logs)
	for _, m := range s.metrics {
		n += len(m.Points)
	}
	return n
}

// hasOpenSpans reports whether a span of a service that [Start] started has not ended.
func (c *Collector) hasOpenSpans() bool {
	return slices.ContainsFunc(c.started(), func(r *Recorder) bool { return r.open.count() > 0 })
}

// mayHaveMore reports whether data came from a service that [Start] did not start, which may hold
// more.
func (c *Collector) mayHaveMore(seen snapshot) bool {
	known := map[any]bool{}
	for _, r := range c.started() {
		known[r.instance] = true
	}
	foreign := func(resource map[string]any) bool { return !known[resource["service.instance.id"]] }
	return slices.ContainsFunc(seen.spans, func(s *Span) bool { return foreign(s.Resource) }) ||
		slices.ContainsFunc(seen.logs, func(r LogRecord) bool { return foreign(r.Resource) }) ||
		slices.ContainsFunc(seen.metrics, func(m Metric) bool { return foreign(m.Resource) })
}

// missed says that something did not arrive, or arrived more than once.
func (s snapshot) missed(found int, what, name string, attributes []attribute.KeyValue) string {
	if found == 0 {
		return fmt.Sprintf("no %s %s arrived%s", what, described(name, attributes), s.within())
	}
	return fmt.Sprintf("%s %s arrived; exactly one was expected", count(found, what), described(name, attributes))
}

// had is like missed, for the parts of a span.
func (s snapshot) had(found int, what, name string, attributes []attribute.KeyValue) string {
	if found == 0 {
		return fmt.Sprintf("no %s %s%s", what, described(name, attributes), s.within())
	}
	return fmt.Sprintf("%s %s; exactly one was expected", count(found, what), described(name, attributes))
}

// within says how long the search waited, and why not longer.
func (s snapshot) within() (text string) {
	if s.waited > 0 {
		text = fmt.Sprintf(" within %v", s.waited.Round(time.Second/10))
	}
	if s.settled {
		text += " (all that has ended has arrived, and no span is open)"
	}
	return text
}

// circumstances describes possible reasons why something is missing.
func (s snapshot) circumstances() string {
	var b strings.Builder
	switch {
	case s.flushErr != nil:
		fmt.Fprintf(&b, "\nnot everything could be delivered: %v", s.flushErr)
	case len(s.spans)+len(s.logs)+len(s.metrics) == 0:
		b.WriteString("\nnothing has arrived. Does the service use this test's guard, or the globals if the test " +
			"holds them?")
	}
	return b.String()
}
