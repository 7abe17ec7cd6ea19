package main

import (
	"cmp"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/examples/internal/demo"
	"github.com/fleetotel/telemetry/examples/internal/spanview"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// arrival is the data the collector has decoded.
type arrival struct {
	spans   []otlptest.Span
	logs    []otlptest.LogRecord
	metrics []otlptest.Metric // the latest export of each metric of each service, ordered by name
	traces  map[string][]otlptest.Span
}

func arrivedAt(c *otlptest.Collector) arrival {
	a := arrival{spans: c.Spans(), logs: c.LogRecords(), traces: make(map[string][]otlptest.Span)}
	for _, s := range a.spans {
		a.traces[s.TraceID] = append(a.traces[s.TraceID], s)
	}
	latest := make(map[string]otlptest.Metric) // values are cumulative: the last export has them all
	for _, m := range c.Metrics() {
		latest[m.Name+" "+text(m.Resource, "service.name")] = m
	}
	for _, key := range slices.Sorted(maps.Keys(latest)) {
		a.metrics = append(a.metrics, latest[key])
	}
	return a
}

// print prints a, compares it with what the program did, and returns demo.ErrDoesNotAddUp if a
// number differs.
func (a arrival) print(out io.Writer, did *tally) error {
	if trace := a.typical(); trace != nil {
		fmt.Fprintf(out, "\nOne trace of %d: %s\n", len(a.traces), trace[0].TraceID)
		spanview.Tree(out, trace)
		a.printLog(out, trace[0].TraceID)
	}
	fmt.Fprintln(out, "\nMetrics")
	a.printMetrics(out)
	spans := did.expect(func(k kind) int { return k.spans })
	logs := did.expect(func(k kind) int { return k.logs })
	value := a.sum("order.value", func(p otlptest.Point) float64 { return p.Sum })
	return demo.PrintTotals(out, "SENT", "ARRIVED", []demo.Total{
		{What: "requests, and their traces", Sent: did.requests, Arrived: len(a.traces)},
		{What: "spans", Sent: spans, Arrived: len(a.spans)},
		{What: "log records", Sent: logs, Arrived: len(a.logs)},
		{What: "orders.total", Sent: did.by[paid] + did.by[declined] + did.by[invalid],
			Arrived: int(a.sum("orders.total", func(p otlptest.Point) float64 { return p.Value }))},
		{What: "order.value, count", Sent: did.by[paid],
			Arrived: int(a.sum("order.value", func(p otlptest.Point) float64 { return float64(p.Count) }))},
		{What: "order.value, sum in EUR", Sent: int(did.cents), Arrived: int(math.Round(value * 100)),
			Show: func(n int) string { return amount(int64(n)) }},
		{What: "lost spans and records", Sent: 0, Arrived: spans - len(a.spans) + logs - len(a.logs)},
	})
}

// typical returns the trace of a successful payment, neither the fastest nor the slowest, or else
// any trace.
func (a arrival) typical() []otlptest.Span {
	var roots, others []otlptest.Span
	for _, s := range a.spans {
		switch {
		case s.ParentSpanID != "":
		case number(s.Attributes, "http.response.status_code") == float64(paid.status):
			roots = append(roots, s)
		default:
			others = append(others, s)
		}
	}
	if len(roots) == 0 {
		roots = others
	}
	if len(roots) == 0 {
		return nil
	}
	slices.SortFunc(roots, func(a, b otlptest.Span) int { return cmp.Compare(a.End.Sub(a.Start), b.End.Sub(b.Start)) })
	return a.traces[roots[len(roots)/2].TraceID]
}

// printLog shows the log record of the payment service that belongs to the trace.
func (a arrival) printLog(out io.Writer, traceID string) {
	i := slices.IndexFunc(a.logs, func(r otlptest.LogRecord) bool {
		return r.TraceID == traceID && text(r.Resource, "service.name") == paymentsName
	})
	if i < 0 {
		return
	}
	r := a.logs[i]
	fmt.Fprintf(out, "\nOne log record of %d: it carries the ids of that trace\n", len(a.logs))
	fmt.Fprintf(out, "  %s %s %v\n", r.Time.Local().Format(time.TimeOnly+".000"), r.SeverityText, r.Body)
	words := []string{"trace_id=" + r.TraceID, "span_id=" + r.SpanID}
	for _, key := range slices.Sorted(maps.Keys(r.Attributes)) {
		words = append(words, fmt.Sprintf("%s=%v", key, r.Attributes[key]))
	}
	wrap(out, words)
}

// sum adds a figure of all data points of one metric.
func (a arrival) sum(name string, figure func(otlptest.Point) float64) float64 {
	sum := 0.0
	for m := range a.named(name) {
		for _, p := range m.Points {
			sum += figure(p)
		}
	}
	return sum
}

// printMetrics lists this program's own instruments and those of its HTTP servers; of the rest, the
// names.
func (a arrival) printMetrics(out io.Writer) {
	shown := []string{"orders.total", "order.value", "requests.in_flight", "http.server.request.duration"}
	rest := make(map[string]bool)
	fmt.Fprintf(out, "  %-28s %-26s %8s %12s\n", "METRIC", "ATTRIBUTES", "COUNT", "MEAN")
	for _, m := range a.metrics {
		if !slices.Contains(shown, m.Name) {
			rest[m.Name] = true
		}
	}
	for m := range a.named(shown...) {
		slices.SortFunc(m.Points, func(a, b otlptest.Point) int { return cmp.Compare(label(a), label(b)) })
		for _, p := range m.Points {
			count, mean := p.Value, ""
			if m.Kind == "histogram" {
				count, mean = float64(p.Count), fmt.Sprintf("%.2f %s", p.Sum/float64(p.Count),
					text(p.Attributes, "currency"))
				if m.Unit == "s" {
					mean = fmt.Sprintf("%.2f ms", p.Sum/float64(p.Count)*1000)
				}
			}
			line := fmt.Sprintf("  %-28s %-26s %8.0f %12s", m.Name, label(p), count, mean)
			fmt.Fprintln(out, strings.TrimRight(line, " "))
		}
	}
	if len(rest) > 0 {
		names := strings.Join(slices.Sorted(maps.Keys(rest)), ", ")
		wrap(out, strings.Fields(fmt.Sprintf("and %d more: %s", len(rest), names)))
	}
}

// named yields the metrics of these names, in the order of the names.
func (a arrival) named(names ...string) iter.Seq[otlptest.Metric] {
	return func(yield func(otlptest.Metric) bool) {
		for _, name := range names {
			for _, m := range a.metrics {
				if m.Name == name && !yield(m) {
					return
				}
			}
		}
	}
}

// label names a data point by those of its attributes that tell it from others.
func label(p otlptest.Point) string {
	var parts []string
	for _, key := range []string{"http.request.method", "http.route", "http.response.status_code", "outcome",
		"currency"} {
		if v, ok := p.Attributes[key]; ok {
			parts = append(parts, fmt.Sprint(v))
		}
	}
	return strings.Join(parts, " ")
}

// wrap prints words in indented lines of at most 80 columns; a longer one gets its own line.
func wrap(out io.Writer, words []string) {
	line := " "
	for _, word := range words {
		if len(line)+1+len(word) > 80 && line != " " {
			fmt.Fprintln(out, line)
			line = " "
		}
		line += " " + word
	}
	fmt.Fprintln(out, line)
}

func text(attributes map[string]any, key string) string {
	s, _ := attributes[key].(string)
	return s
}

func number(attributes map[string]any, key string) float64 {
	switch v := attributes[key].(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	}
	return 0
}
