package telemetrytest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
)

// requireTimeout is how long the Require methods wait for missing data. A server ends its span
// after the client has its answer, and a worker may begin even later. It is a variable for the
// tests of this package.
var requireTimeout = 5 * time.Second

// pollInterval is how long they wait for the collector before they flush again.
const pollInterval = 20 * time.Millisecond

// Spans returns the spans that have arrived, in the order of their start: all, or those with one of
// the given names. A span that was sent twice, because the first answer was lost, is returned once.
func (c *Collector) Spans(names ...string) []*Span {
	spans := c.look().spans
	if len(names) == 0 {
		return spans
	}
	return slices.DeleteFunc(spans, func(s *Span) bool { return !slices.Contains(names, s.Name) })
}

// Traces returns the traces that have arrived, in the order of their start.
func (c *Collector) Traces() []*Trace { return c.look().traces }

// Logs returns the log records that have arrived, in the order of their time.
func (c *Collector) Logs() []LogRecord { return c.look().logs }

// Metrics returns the latest export of each metric that has arrived.
func (c *Collector) Metrics() []Metric { return c.look().metrics }

// RequireSpan returns the span with this name and at least these attributes. It waits up to 5 s for
// it. If there is not exactly one, the test fails and shows all traces that have arrived.
func (c *Collector) RequireSpan(tb testing.TB, name string, attributes ...attribute.KeyValue) *Span {
	tb.Helper()
	matches := func(s *Span) bool { return s.Name == name && has(s.Attributes, attributes) }
	seen, found := await(c, func(s snapshot) []*Span { return filter(s.spans, matches) }, hasSpan(name))
	if len(found) != 1 {
		of := filter(seen.spans, func(s *Span) bool { return s.Name == name })
		c.fail(tb, seen, "%s%s", seen.missed(len(found), "span", name, attributes),
			otherTypes(of, func(s *Span) map[string]any { return s.Attributes }, attributes))
		return nil
	}
	return found[0]
}

// RequireLog returns the log record with this message and at least these attributes. It waits up to
// 5 s for it. If there is not exactly one, the test fails and shows everything that has arrived.
func (c *Collector) RequireLog(tb testing.TB, message string, attributes ...attribute.KeyValue) LogRecord {
	tb.Helper()
	seen, found := await(c, func(s snapshot) []LogRecord { return matchingLogs(s.logs, message, attributes) },
		hasLog(message))
	if len(found) != 1 {
		of := filter(seen.logs, func(r LogRecord) bool { return r.Body == message })
		c.fail(tb, seen, "%s%s", seen.missed(len(found), "log record", message, attributes),
			otherTypes(of, func(r LogRecord) map[string]any { return r.Attributes }, attributes))
		return LogRecord{}
	}
	return found[0]
}

// RequireMetric returns the metric with this name, with only the points that have at least these
// attributes. It waits up to 5 s for one. If there is no such point, the test fails and shows all
// metrics that have arrived. Recordings made during the call may be missing; a new call includes
// them.
func (c *Collector) RequireMetric(tb testing.TB, name string, attributes ...attribute.KeyValue) Metric {
	tb.Helper()
	seen, found := await(c, func(s snapshot) []Metric {
		var found []Metric
		for _, m := range s.metrics {
			m.Points = filter(m.Points, func(p Point) bool { return has(p.Attributes, attributes) })
			if m.Name == name && len(m.Points) > 0 {
				found = append(found, m)
			}
		}
		return found
	}, func(s snapshot) bool {
		return slices.ContainsFunc(s.metrics, func(m Metric) bool { return m.Name == name })
	})
	if len(found) == 0 {
		var of []Point
		for _, m := range filter(seen.metrics, func(m Metric) bool { return m.Name == name }) {
			of = append(of, m.Points...)
		}
		fatal(tb, fmt.Sprintf("%s%s%s\n\n%s", seen.missed(0, "metric", name, attributes),
			otherTypes(of, func(p Point) map[string]any { return p.Attributes }, attributes), seen.circumstances(),
			drawMetrics(seen.metrics)))
		return Metric{}
	}
	merged := found[0]
	for _, m := range found[1:] { // from several services or scopes
		merged.Points = append(merged.Points, m.Points...)
	}
	return merged
}

// RequireChild returns the span's child with this name and at least these attributes. It waits up
// to 5 s for it. If there is not exactly one, the test fails and shows the whole trace.
func (s *Span) RequireChild(tb testing.TB, name string, attributes ...attribute.KeyValue) *Span {
	tb.Helper()
	matches := func(child *Span) bool { return child.Name == name && has(child.Attributes, attributes) }
	seen, found := await(s.trace.collector, func(seen snapshot) []*Span { return filter(s.in(seen).Children, matches) },
		hasSpan(name))
	if len(found) != 1 {
		of := filter(s.in(seen).Children, func(child *Span) bool { return child.Name == name })
		message := fmt.Sprintf("span %q has %s%s%s%s", s.Name, seen.had(len(found), "child", name, attributes),
			otherTypes(of, func(s *Span) map[string]any { return s.Attributes }, attributes), seen.circumstances(),
			s.in(seen).drawing())
		// The most common bug is a context that was not passed on.
		if lost := filter(seen.spans, func(other *Span) bool {
			return other.TraceID != s.TraceID &&
				matches(other)
		}); len(lost) > 0 {
			message += "\n\nanother trace has such a span" + lost[0].drawing()
		}
		fatal(tb, message)
		return nil
	}
	return found[0]
}

// RequireAttributes fails the test and shows the whole trace unless the span has at least these
// attributes.
func (s *Span) RequireAttributes(tb testing.TB, attributes ...attribute.KeyValue) {
	tb.Helper()
	var wrong []string
	for _, kv := range missing(s.Attributes, attributes) {
		line := fmt.Sprintf("want %s=%s", kv.Key, show(arrived(kv.Value)))
		if value, there := s.Attributes[string(kv.Key)]; there {
			line += fmt.Sprintf(", got %s (%T, want %T)", show(value), value, arrived(kv.Value))
		} else {
			line += ", which it does not have"
		}
		wrong = append(wrong, line)
	}
	if wrong != nil {
		s.fail(tb, "attributes of span %q:\n    %s", s.Name, strings.Join(wrong, "\n    "))
	}
}

// RequireStatus fails the test and shows the whole trace unless the span has this status. Only an
// error has a description.
func (s *Span) RequireStatus(tb testing.TB, code codes.Code, description string) {
	tb.Helper()
	if want := (Status{code, description}); s.Status != want {
		s.fail(tb, "status of span %q: want %s, got %s", s.Name, want, s.Status)
	}
}

// RequireEvent returns the span's first event with this name and at least these attributes. If
// there is none, the test fails and shows the whole trace.
func (s *Span) RequireEvent(tb testing.TB, name string, attributes ...attribute.KeyValue) Event {
	tb.Helper()
	found := filter(s.Events, func(e Event) bool { return e.Name == name && has(e.Attributes, attributes) })
	if len(found) == 0 {
		of := filter(s.Events, func(e Event) bool { return e.Name == name })
		s.fail(tb, "span %q has no event %s%s", s.Name, described(name, attributes),
			otherTypes(of, func(e Event) map[string]any { return e.Attributes }, attributes))
		return Event{}
	}
	return found[0]
}

// RequireLog returns the log record written in the span with this message and at least these
// attributes. It waits up to 5 s for it. If there is not exactly one, the test fails and shows the
// whole trace.
func (s *Span) RequireLog(tb testing.TB, message string, attributes ...attribute.KeyValue) LogRecord {
	tb.Helper()
	seen, found := await(s.trace.collector,
		func(seen snapshot) []LogRecord { return matchingLogs(s.in(seen).Logs, message, attributes) }, hasLog(message))
	if len(found) != 1 {
		of := filter(s.in(seen).Logs, func(r LogRecord) bool { return r.Body == message })
		s.in(seen).fail(tb, "span %q has %s%s%s", s.Name, seen.had(len(found), "log record", message, attributes),
			otherTypes(of, func(r LogRecord) map[string]any { return r.Attributes }, attributes), seen.circumstances())
		return LogRecord{}
	}
	return found[0]
}

// in returns the span as it is in seen, or s unchanged if the collector has discarded it.
func (s *Span) in(seen snapshot) *Span {
	i := slices.IndexFunc(seen.spans,
		func(other *Span) bool { return other.TraceID == s.TraceID && other.SpanID == s.SpanID })
	if i < 0 {
		return s
	}
	return seen.spans[i]
}

// hasSpan and hasLog match any item of that name, whatever its attributes, trace and parent.
func hasSpan(name string) func(snapshot) bool {
	return func(seen snapshot) bool {
		return slices.ContainsFunc(seen.spans, func(s *Span) bool { return s.Name == name })
	}
}

func hasLog(message string) func(snapshot) bool {
	return func(seen snapshot) bool {
		return slices.ContainsFunc(seen.logs, func(r LogRecord) bool { return r.Body == message })
	}
}

func matchingLogs(logs []LogRecord, message string, attributes []attribute.KeyValue) []LogRecord {
	return filter(logs, func(r LogRecord) bool { return r.Body == message && has(r.Attributes, attributes) })
}

func filter[T any](all []T, keep func(T) bool) (kept []T) {
	for _, v := range all {
		if keep(v) {
			kept = append(kept, v)
		}
	}
	return kept
}
