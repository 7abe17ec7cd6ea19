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

// snapshot is what had arrived at one moment.
type snapshot struct {
	spans    []*Span // in the order of their start
	traces   []*Trace
	logs     []LogRecord
	metrics  []Metric
	flushErr error
	waited   time.Duration // in vain; 0 if at all
	settled  bool          // the wait was cut short: something like it was there, and nothing on its way
}

// look flushes and takes a snapshot.
func (c *Collector) look() snapshot {
	s := snapshot{flushErr: c.flush()}
	s.spans = once(each(c.server.Spans(), spanOf))
	slices.SortStableFunc(s.spans, func(a, b *Span) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Name, b.Name)) })
	s.logs = each(c.server.LogRecords(), logOf)
	slices.SortStableFunc(s.logs, func(a, b LogRecord) int { return a.Time.Compare(b.Time) })
	s.metrics = newest(c.server.Metrics())
	s.traces = c.buildTraces(s.spans, s.logs)
	return s
}

// once leaves out spans that have arrived before, as after a connection that was cut before the answer.
func once(spans []*Span) []*Span {
	type identity struct{ trace, span string }
	seen := map[identity]bool{}
	return filter(spans, func(s *Span) bool {
		id := identity{s.TraceID, s.SpanID}
		before := seen[id]
		seen[id] = true
		return !before
	})
}

// newest keeps the last export of each metric. Exports are cumulative, so it has everything that was recorded.
func newest(metrics []otlptest.Metric) []Metric {
	type identity struct{ instance, scope, version, name string }
	last, order := map[identity]otlptest.Metric{}, []identity{}
	for _, m := range metrics {
		instance, _ := m.Resource["service.instance.id"].(string)
		id := identity{instance, m.Scope.Name, m.Scope.Version, m.Name}
		if _, known := last[id]; !known {
			order = append(order, id)
		}
		last[id] = m
	}
	return each(order, func(id identity) Metric { return metricOf(last[id]) })
}

// await looks until something is found, or patience ends: it begins with the end of the first look, since a flush can take
// long, and is over at once when a flush was given up. It ends early when something like it has arrived and nothing is
// known to be on its way.
func await[T any](c *Collector, find func(snapshot) []T, isLike func(snapshot) bool) (seen snapshot, found []T) {
	begin, end, calm := time.Now(), time.Time{}, quiet{}
	for {
		seen = c.look()
		if found = find(seen); len(found) > 0 {
			return seen, found
		}
		now := time.Now()
		if end.IsZero() {
			end = now.Add(patience)
		}
		seen.settled = calm.lasts(now, seen.items(), seen.flushErr != nil || !isLike(seen) || c.mayHaveMore(seen)) >= c.settleTime
		if seen.settled || now.After(end) || errors.Is(seen.flushErr, context.DeadlineExceeded) {
			seen.waited = now.Sub(begin)
			return seen, nil
		}
		requests := len(c.server.Requests())
		pause, stop := context.WithTimeout(context.Background(), glance)
		_ = c.server.Wait(pause, func(s *otlptest.Collector) bool { return len(s.Requests()) > requests })
		stop()
	}
}

// quiet knows since when nothing has arrived and nothing is known to be on its way.
type quiet struct {
	since time.Time
	items int
}

// lasts is how long it has been quiet, given what has arrived by now; 0 when that has changed or more is on its way.
func (q *quiet) lasts(now time.Time, items int, moreToCome bool) time.Duration {
	if moreToCome || q.since.IsZero() || items != q.items {
		q.since, q.items = now, items
	}
	return now.Sub(q.since)
}

// items is how much there is of all signals.
func (s snapshot) items() int {
	n := len(s.spans) + len(s.logs)
	for _, m := range s.metrics {
		n += len(m.Points)
	}
	return n
}

// mayHaveMore tells whether a span is open, or something has come from a service that [Start] has not started: of that one
// it is not known what it holds.
func (c *Collector) mayHaveMore(seen snapshot) bool {
	known := map[any]bool{}
	for _, r := range c.started() {
		if r.open.count() > 0 {
			return true
		}
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

// had is the same of what a span has.
func (s snapshot) had(found int, what, name string, attributes []attribute.KeyValue) string {
	if found == 0 {
		return fmt.Sprintf("no %s %s%s", what, described(name, attributes), s.within())
	}
	return fmt.Sprintf("%s %s; exactly one was expected", count(found, what), described(name, attributes))
}

// within is how long something was waited for, and why no longer.
func (s snapshot) within() (text string) {
	if s.waited > 0 {
		text = fmt.Sprintf(" within %v", s.waited.Round(time.Second/10))
	}
	if s.settled {
		text += " (all that has ended has arrived, and no span is open)"
	}
	return text
}

// circumstances are what may explain that something is missing.
func (s snapshot) circumstances() string {
	var b strings.Builder
	switch {
	case s.flushErr != nil:
		fmt.Fprintf(&b, "\nnot everything could be delivered: %v", s.flushErr)
	case len(s.spans)+len(s.logs)+len(s.metrics) == 0:
		b.WriteString("\nnothing has arrived. Does the service use this test's guard, or the globals if the test holds them?")
	}
	return b.String()
}
