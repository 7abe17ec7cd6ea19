package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/examples/internal/spanview"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// errDoesNotAddUp is why the program fails although everything ran: what arrived is not what was done.
var errDoesNotAddUp = errors.New("the totals do not add up")

// arrival is what the collector has decoded from the requests it got.
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
		latest[m.Name+" "+spanview.Service(m.Resource)] = m
	}
	for _, key := range slices.Sorted(maps.Keys(latest)) {
		a.metrics = append(a.metrics, latest[key])
	}
	return a
}

// print shows a, compares it with what the program did, and returns errDoesNotAddUp if one figure differs.
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
	return printTotals(out, "SENT", "ARRIVED", []total{
		{what: "requests, and their traces", did: did.requests, got: len(a.traces)},
		{what: "spans", did: spans, got: len(a.spans)},
		{what: "log records", did: logs, got: len(a.logs)},
		{what: "orders.total", did: did.by[paid] + did.by[declined] + did.by[invalid],
			got: int(a.sum("orders.total", func(p otlptest.Point) float64 { return p.Value }))},
		{what: "order.value, count", did: did.by[paid],
			got: int(a.sum("order.value", func(p otlptest.Point) float64 { return float64(p.Count) }))},
		{what: "order.value, sum in EUR", did: int(did.cents), got: int(math.Round(value * 100)), cents: true},
		{what: "lost spans and records", did: 0, got: spans - len(a.spans) + logs - len(a.logs)},
	})
}

// typical is the trace of a payment that succeeded, neither the fastest nor the slowest; else any trace.
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
		return r.TraceID == traceID && spanview.Service(r.Resource) == paymentsName
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

// printMetrics lists this program's own instruments and those of its HTTP servers; of the rest, the names.
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
				count, mean = float64(p.Count), fmt.Sprintf("%.2f %s", p.Sum/float64(p.Count), spanview.Text(p.Attributes, "currency"))
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
	for _, key := range []string{"http.request.method", "http.route", "http.response.status_code", "outcome", "currency"} {
		if v, ok := p.Attributes[key]; ok {
			parts = append(parts, fmt.Sprint(v))
		}
	}
	return strings.Join(parts, " ")
}

// total is a figure known from both ends; with cents, it is money.
type total struct {
	what     string
	did, got int
	cents    bool
}

func (t total) show(n int) string {
	if t.cents {
		return amount(int64(n))
	}
	return strconv.Itoa(n)
}

func printTotals(out io.Writer, did, got string, totals []total) error {
	fmt.Fprintf(out, "\n%-28s %12s %12s\n", "Totals", did, got)
	var err error
	for _, t := range totals {
		verdict := "ok"
		if t.did != t.got {
			verdict, err = "DIFFERS", errDoesNotAddUp
		}
		fmt.Fprintf(out, "  %-26s %12s %12s  %s\n", t.what, t.show(t.did), t.show(t.got), verdict)
	}
	return err
}

// wrap prints words in indented lines of at most 80 columns; one that is longer has a line of its own.
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

func number(attributes map[string]any, key string) float64 {
	switch v := attributes[key].(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	}
	return 0
}
