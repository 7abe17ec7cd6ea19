package telemetrytest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
)

const (
	maxTraces = 20  // in one failure message
	maxValue  = 120 // characters in one attribute value
	maxLine   = 110 // characters in a line of attributes
)

// fail ends the test with a message and all traces that have arrived.
func (c *Collector) fail(tb testing.TB, seen snapshot, format string, args ...any) {
	tb.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, format, args...)
	b.WriteString(seen.circumstances())
	traces := c.withOpenSpans(seen.spans, seen.logs)
	for i, t := range traces {
		if i == maxTraces {
			fmt.Fprintf(&b, "\n\nand %d more traces", len(traces)-maxTraces)
			break
		}
		b.WriteString("\n\n" + drawTrace(t, nil))
	}
	if loose := filter(seen.logs, func(r LogRecord) bool { return r.TraceID == "" }); len(loose) > 0 {
		b.WriteString("\n\noutside of traces")
		for _, r := range loose[:min(len(loose), maxTraces)] {
			b.WriteString("\n" + drawLog(r))
		}
	}
	fatal(tb, b.String())
}

// fail ends the test with a message and the span's trace.
func (s *Span) fail(tb testing.TB, format string, args ...any) {
	tb.Helper()
	fatal(tb, fmt.Sprintf(format, args...)+s.drawing())
}

// drawing draws the span's trace, with an arrow at the span.
func (s *Span) drawing() string {
	for _, t := range s.trace.collector.withOpenSpans(s.trace.Spans, s.trace.Logs) {
		if t.ID == s.TraceID {
			return "\n\n" + drawTrace(t, s)
		}
	}
	return ""
}

// withOpenSpans returns the traces of these spans, together with the spans that have not ended.
func (c *Collector) withOpenSpans(spans []*Span, logs []LogRecord) []*Trace {
	all := each(spans, func(s *Span) *Span {
		alone := *s
		alone.Children, alone.Logs = nil, nil
		return &alone
	})
	for _, r := range c.started() {
		all = append(all, r.open.spans()...)
	}
	return c.buildTraces(all, logs)
}

func fatal(tb testing.TB, message string) {
	tb.Helper()
	tb.Fatalf("telemetrytest: %s", message)
}

// drawTrace draws a trace as a tree, with an arrow at the marked span.
func drawTrace(t *Trace, mark *Span) string {
	d := drawing{mark: mark}
	services := map[string]bool{}
	for _, s := range t.Spans {
		services[s.service()] = true
	}
	d.several = len(services) > 1
	fmt.Fprintf(&d, "trace %s\n", t.ID)
	for _, root := range t.Roots {
		d.span(root, "", "")
	}
	for _, r := range t.Logs {
		if !slices.ContainsFunc(t.Spans, func(s *Span) bool { return s.SpanID == r.SpanID }) {
			fmt.Fprintf(&d, "%s, in span %s, which has not arrived\n", drawLog(r), r.SpanID)
		}
	}
	return strings.TrimSuffix(d.String(), "\n")
}

type drawing struct {
	strings.Builder
	mark    *Span
	several bool // more than one service
}

// span draws s and its descendants. The line of s begins with first, the lines below begin with
// rest.
func (d *drawing) span(s *Span, first, rest string) {
	fmt.Fprintf(d, "%s%s  %s\n", first, s.Name, strings.Join(d.facts(s), "  "))
	details := rest + "     "
	if len(s.Children) > 0 {
		details = rest + "│    "
	}
	for _, line := range drawAttributes(s.Attributes) {
		d.WriteString(details + line + "\n")
	}
	for _, e := range s.Events {
		for i, line := range append([]string{"event " + e.Name}, drawAttributes(e.Attributes)...) {
			d.WriteString(details + strings.Repeat("  ", min(i, 1)) + line + "\n")
		}
	}
	for _, l := range s.Links {
		d.WriteString(details + strings.Join(append([]string{"link to span " + l.SpanID + " of trace " + l.TraceID},
			drawAttributes(l.Attributes)...), " ") + "\n")
	}
	for _, r := range s.Logs {
		d.WriteString(details + drawLog(r) + "\n")
	}
	for i, child := range s.Children {
		if i < len(s.Children)-1 {
			d.span(child, rest+"├─ ", rest+"│  ")
		} else {
			d.span(child, rest+"└─ ", rest+"   ")
		}
	}
}

// facts returns the parts of a span's line after its name.
func (d *drawing) facts(s *Span) []string {
	facts := []string{s.Kind.String()}
	if d.several {
		facts = append(facts, "of "+s.service())
	}
	if s.openAt != "" {
		facts = append(facts, "not ended, started at "+s.openAt)
	} else {
		facts = append(facts, s.Duration().Round(time.Microsecond).String())
	}
	if s.Status.Code != codes.Unset {
		facts = append(facts, s.Status.String())
	}
	if s.parent == nil && s.ParentSpanID != "" {
		facts = append(facts, "(its parent "+s.ParentSpanID+" has not arrived)")
	}
	if d.mark != nil && s.SpanID == d.mark.SpanID {
		facts = append(facts, "<--")
	}
	return facts
}

// String formats the status, for example "Error: no stock".
func (s Status) String() string {
	if s.Description == "" {
		return s.Code.String()
	}
	return fmt.Sprintf("%s: %s", s.Code, show(s.Description))
}

// drawAttributes arranges attributes in lines, sorted by key.
func drawAttributes(attributes map[string]any) (lines []string) {
	line := ""
	for _, key := range sortedKeys(attributes) {
		entry := key + "=" + show(attributes[key])
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(entry) > maxLine {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+entry, " ")
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

func drawLog(r LogRecord) string {
	what := show(r.Body)
	if r.EventName != "" {
		what = r.EventName + " " + what
	}
	return strings.Join(append([]string{"log " + r.Severity.String() + " " + what}, drawAttributes(r.Attributes)...),
		" ")
}

// drawMetrics lists metrics by name, with one line for each point.
func drawMetrics(metrics []Metric) string {
	if len(metrics) == 0 {
		return "no metrics have arrived"
	}
	var b strings.Builder
	b.WriteString("metrics that have arrived")
	for _, m := range slices.SortedFunc(slices.Values(metrics),
		func(a, b Metric) int { return cmp.Compare(a.Name, b.Name) }) {
		fmt.Fprintf(&b, "\n%s  %s %s", m.Name, m.Kind, m.Unit)
		for _, p := range m.Points {
			figures := fmt.Sprintf("value=%v", p.Value)
			if strings.HasSuffix(m.Kind, "histogram") || m.Kind == "summary" {
				figures = fmt.Sprintf("count=%d sum=%v", p.Count, p.Sum)
			}
			b.WriteString("\n     " + strings.Join(append([]string{figures}, drawAttributes(p.Attributes)...), " "))
		}
	}
	return b.String()
}

// described formats a name and the attributes required with it.
func described(name string, attributes []attribute.KeyValue) string {
	text := fmt.Sprintf("%q", name)
	if len(attributes) > 0 {
		text += " with " + strings.Join(drawAttributes(attributeMap(attributes)), " ")
	}
	return text
}

func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case n == 0:
		return "no " + what
	case what == "child":
		return fmt.Sprintf("%d children", n)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// show formats a value on one line. It quotes ambiguous values and shortens long ones.
func show(value any) string {
	text := fmt.Sprint(value)
	if runes := []rune(text); len(runes) > maxValue {
		text = string(runes[:maxValue]) + "…"
	}
	if needsQuotes(text) {
		return fmt.Sprintf("%q", text)
	}
	return text
}
