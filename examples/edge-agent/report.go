package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/examples/internal/demo"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// signals has an item count for each of the three signals.
type signals struct{ spans, points, records int }

func (s signals) String() string {
	return fmt.Sprintf("%d spans, %d records and %d data points", s.spans, s.records, s.points)
}

func (s signals) sum() int { return s.spans + s.points + s.records }

// count is what the collector has decoded so far.
func count(c *otlptest.Collector) signals {
	s := signals{spans: len(c.Spans()), records: len(c.LogRecords())}
	for _, m := range c.Metrics() {
		s.points += len(m.Points)
	}
	return s
}

func itemsOf(held map[string]spooled) signals {
	return signals{held["traces"].items, held["metrics"].items, held["logs"].items}
}

// report shows what was measured, and compares what arrived with what must have.
func (t story) report(out io.Writer, c *otlptest.Collector) error {
	printMeasured(out, c.Metrics())
	if t.resident > 0 {
		fmt.Fprintf(out, "  %-30s %s of the second agent\n", "resident memory", mib(float64(t.resident)))
	}
	printRates(out, t.cut)

	b, arrived := t.books, count(c)
	cut := itemsOf(t.cut).sum()
	recovered := int(b.Spans.Recovered + b.Records.Recovered + b.Points.Recovered)
	lost := b.Spans.Lost + b.Records.Lost + b.Points.Lost
	left := b.Spans.Spooled + b.Records.Spooled + b.Points.Spooled
	numbers, twice := scansOf(c.Spans(), t.killedPID)
	err := demo.PrintTotals(out, "SENT", "ARRIVED", []demo.Total{
		// The power may fail between writing a file and naming it. That file is recovered too.
		{What: "on disk at the power cut", Sent: max(cut, recovered), Arrived: recovered},
		{What: "spans", Sent: t.arrived.spans + int(b.Spans.in()), Arrived: arrived.spans},
		{What: "log records", Sent: t.arrived.records + int(b.Records.in()), Arrived: arrived.records},
		{What: "data points", Sent: t.arrived.points + int(b.Points.in()), Arrived: arrived.points},
		{What: "scans of the killed agent", Sent: slices.Max(append(numbers, 0)), Arrived: len(numbers)},
		{What: "lost, or left on disk", Sent: 0, Arrived: int(lost + left)},
	})
	fmt.Fprintf(out, "Sent is what had arrived before the outage, what the second agent found on disk, and\n"+
		"what it made itself. In memory at the power cut, and gone with it: %d of %d scans, and\nthe metrics since "+
		"the last interval.\n", max(t.killedMade-len(numbers), 0), t.killedMade)
	if twice > 0 {
		fmt.Fprintf(out, "%d scans arrived twice: they were cut off when the collector had taken them.\n", twice)
	}
	return err
}

// scansOf are the numbers of the scans that arrived from one process, each once, and how many came
// more than once.
func scansOf(spans []otlptest.Span, pid int) (numbers []int, twice int) {
	seen := map[int]bool{}
	for _, s := range spans {
		number, isScan := s.Attributes["scan.number"].(int64)
		if !isScan || s.Resource["process.pid"] != int64(pid) {
			continue
		}
		if seen[int(number)] {
			twice++
		}
		seen[int(number)] = true
	}
	return slices.Sorted(maps.Keys(seen)), twice
}

// printMeasured prints the last value of each of the machine's series.
func printMeasured(out io.Writer, all []otlptest.Metric) {
	type series struct {
		metric otlptest.Metric
		point  otlptest.Point
	}
	latest := map[string]series{}
	for _, m := range all {
		for _, p := range m.Points {
			key := m.Name + " " + label(p)
			if strings.HasPrefix(m.Name, "system.") && !p.Time.Before(latest[key].point.Time) {
				latest[key] = series{m, p}
			}
		}
	}
	fmt.Fprintln(out, "\nThis machine, as it arrived last")
	for _, key := range slices.Sorted(maps.Keys(latest)) {
		s := latest[key]
		value := fmt.Sprintf("%.1f s", s.point.Value)
		switch s.metric.Unit {
		case "By":
			value = mib(s.point.Value)
		case "1":
			value = fmt.Sprintf("%.1f %%", 100*s.point.Value)
		}
		fmt.Fprintf(out, "  %-30s %-26s %16s\n", s.metric.Name, label(s.point), value)
	}
}

// label names a point by its attribute values, without those that only add detail.
func label(p otlptest.Point) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(p.Attributes)) {
		if key != "system.filesystem.mode" && key != "system.filesystem.type" {
			parts = append(parts, fmt.Sprint(p.Attributes[key]))
		}
	}
	return strings.Join(parts, " ")
}

// perHour is how many requests of each signal the agent makes with the defaults: one a minute,
// since metrics are collected and the machine is scanned so often. Log records have none while
// nothing is notable; here all is.
const perHour = int(time.Hour / time.Minute)

// printRates turns the sizes of the spooled requests into how long the spool lasts with the
// profile's intervals.
func printRates(out io.Writer, held map[string]spooled) {
	const limit, block = 64 << 20, 4 << 10 // the profile's bound, and one file for each of so many bytes of it
	fmt.Fprintf(out, "\nOn disk, with the profile's intervals (one request of each signal a minute)\n")
	var bytes, files int
	for _, name := range slices.Sorted(maps.Keys(held)) {
		s := held[name]
		bytes += perHour * s.bytes / s.files
		files += perHour
		fmt.Fprintf(out, "  %-30s %5d bytes each, %s an hour\n", name, s.bytes/s.files, kib(perHour*s.bytes/s.files))
	}
	if bytes == 0 {
		return
	}
	fmt.Fprintf(out, "  %-30s %.1f days, by bytes %.1f and by files %.1f\n", "64 MiB last",
		float64(min(limit/bytes, limit/block/files))/24, float64(limit)/float64(bytes)/24,
		float64(limit)/block/float64(files)/24)
}

func kib(n int) string     { return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10)) }
func mib(n float64) string { return fmt.Sprintf("%.1f MiB", n/(1<<20)) }
