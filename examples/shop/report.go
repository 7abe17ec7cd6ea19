package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/fleetotel/telemetry/examples/internal/spanview"
	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
)

// report compares what arrived with what happened.
type report struct {
	did      result
	arrived  *arrival // nil: the telemetry went to a collector that this program cannot read
	without  *result  // the same load without telemetry; nil if there was no such run
	adaptive bool     // the services use the preset's sampler, so spans have weights
	missing  []error

	// burstWeight is what a sample stands for while the burst lasts.
	burstWeight float64
}

// logging has the operations that log once per request. Browsing does not: a metric says more than
// 50 lines a second.
var logging = map[string]bool{
	platform.OrderSpan: true, "POST /checkout": true, platform.ProcessSpan: true,
	"shop.v1.Payment/Charge": true, "shop.v1.Inventory/Reserve": true, "shop.v1.Inventory/Release": true,
}

// maxDeviation is how many standard errors an estimate may be off. Chance exceeds 6 once in 500
// million. If an operation has few samples, its standard error is itself an estimate, so a few of
// the largest weight are also allowed, even if no sample has happened to carry it.
const maxDeviation = 6

// print prints the report and returns an error that names what is missing.
func (r *report) print(out io.Writer) error {
	if r.arrived != nil {
		r.printExample(out)
	}
	r.printOperations(out)
	r.printSignals(out)
	r.printCost(out)
	if len(r.missing) > 0 {
		return fmt.Errorf("not everything arrived:\n%w", errors.Join(r.missing...))
	}
	if r.arrived == nil {
		fmt.Fprintf(out, "\nNothing was lost on the way out.\n")
	} else {
		fmt.Fprintf(out, "\nEverything arrived.\n")
	}
	return nil
}

func (r *report) miss(format string, args ...any) {
	r.missing = append(r.missing, fmt.Errorf("  "+format, args...))
}

func (r *report) printExample(out io.Writer) {
	trace := r.arrived.example()
	if trace == nil {
		fmt.Fprintf(out, "\nOf no order were both the trace and the fulfilment's sampled.\n")
		return
	}
	fmt.Fprintf(out, "\nOne order: trace %s\n", trace[0].TraceID)
	spanview.Tree(out, trace)
}

// names returns the services that did something, callers first.
func (r *report) names() []string {
	var names []string
	for _, s := range slices.Backward(services) {
		if r.did.Services[s.name] != nil {
			names = append(names, s.name)
		}
	}
	return names
}

// printOperations compares requests with the estimate from the sampled spans and its standard
// error. It compares errors and slow requests with the traces that were kept.
func (r *report) printOperations(out io.Writer) {
	fmt.Fprintf(out, "\nRequests, as the services counted them, and as the spans that arrived say\n")
	fmt.Fprintf(out, "  %-27s %6s %7s %8s %4s %6s %4s %4s %4s\n",
		"OPERATION", "MADE", "SAMPLED", "ESTIMATE", "±", "FAILED", "KEPT", "SLOW", "KEPT")
	for _, name := range r.names() {
		counts := r.did.Services[name].Operations
		fmt.Fprintf(out, "  %s\n", name)
		for _, op := range slices.Sorted(maps.Keys(counts)) {
			r.printOperation(out, operation{name, op}, counts[op])
		}
	}
	r.printWhole(out)
}

// printWhole says whether failing traces arrived from their root on, though each service decides on
// its own part.
func (r *report) printWhole(out io.Writer) {
	if r.arrived == nil {
		return
	}
	fmt.Fprintf(out, "  %d of %d traces with an error have their root and no orphan.\n", r.arrived.whole, r.arrived.failing)
	if r.adaptive && r.arrived.whole != r.arrived.failing {
		r.miss("%d of %d traces with an error lack their root or a parent", r.arrived.failing-r.arrived.whole,
			r.arrived.failing)
	}
}

func (r *report) printOperation(out io.Writer, op operation, made platform.Count) {
	if r.arrived == nil {
		fmt.Fprintf(out, "    %-25s %6d %7s %8s %4s %6d %4s %4d %4s\n", op.name, made.Made, "-", "-", "-", made.Failed,
			"-", made.Slow, "-")
		return
	}
	got := r.arrived.at(op)
	deviation := math.Sqrt(got.variance)
	fmt.Fprintf(out, "    %-25s %6d %7d %8.0f %4.0f %6d %4d %4d %4d\n",
		op.name, made.Made, got.roots, got.estimate, deviation, made.Failed, got.failed, made.Slow, got.slow)
	if !r.adaptive {
		return
	}
	if int64(got.failed) != made.Failed {
		r.miss("%s %s: %d requests failed, the traces of %d were kept", op.service, op.name, made.Failed, got.failed)
	}
	// The service counts the duration of the work; the span around it takes longer.
	if int64(got.slow) < made.Slow {
		r.miss("%s %s: %d requests were slow, the traces of %d were kept", op.service, op.name, made.Slow, got.slow)
	}
	if got.withoutWeight > 0 {
		r.miss("%s %s: %d of %d spans do not say what they stand for", op.service, op.name, got.withoutWeight,
			got.roots)
	}
	if math.Abs(got.estimate-float64(made.Made)) > maxDeviation*max(deviation, r.arrived.maxWeight, r.burstWeight) {
		r.miss("%s %s: estimated %.0f requests, made %d", op.service, op.name, got.estimate, made.Made)
	}
}

// printSignals compares what the services sent with what arrived, and counts the log records that
// have a trace.
func (r *report) printSignals(out io.Writer) {
	fmt.Fprintf(out, "\nWhat the services sent (their Health after Shutdown), and what arrived\n")
	fmt.Fprintf(out, "  %-10s %7s %7s %4s %7s %7s %4s %6s %4s %6s %5s\n",
		"SERVICE", "SPANS", "ARRIVED", "LOST", "RECORDS", "ARRIVED", "LOST", "TRACED", "KEPT", "PROBES", "SPANS")
	for _, name := range r.names() {
		sent, probes := r.did.Services[name], r.did.Probes[name]
		if name == "storefront" {
			probes += r.did.Load.Probes
		}
		for signal, s := range map[string]platform.Signal{"spans": sent.Traces, "metric data points": sent.Metrics,
			"log records": sent.Logs} {
			if s.Lost+s.Left > 0 {
				r.miss("%s: %s lost %d, not sent %d: %s", name, signal, s.Lost, s.Left, sent.Undelivered)
			}
		}
		if sent.Degraded != "" {
			r.miss("%s: a part of telemetry was off: %s", name, sent.Degraded)
		}
		if r.arrived == nil {
			fmt.Fprintf(out, "  %-10s %7d %7s %4d %7d %7s %4d %6s %4s %6d %5s\n", name, sent.Traces.Exported, "-",
				sent.Traces.Lost, sent.Logs.Exported, "-", sent.Logs.Lost, "-", "-", probes, "-")
			continue
		}
		got := r.arrived.of(name)
		fmt.Fprintf(out, "  %-10s %7d %7d %4d %7d %7d %4d %6d %4d %6d %5d\n", name, sent.Traces.Exported, got.spans,
			sent.Traces.Lost,
			sent.Logs.Exported, got.records, sent.Logs.Lost, got.correlated, got.kept, probes, got.probes)
		r.compareSignals(name, sent, got)
	}
}

func (r *report) compareSignals(name string, sent *platform.Closing, got *signals) {
	if sent.Traces.Accepted != int64(got.spans) {
		r.miss("%s: %d spans ended, %d arrived", name, sent.Traces.Accepted, got.spans)
	}
	if sent.Logs.Accepted != int64(got.records) {
		r.miss("%s: %d log records were written, %d arrived", name, sent.Logs.Accepted, got.records)
	}
	lines := 0
	for op, made := range sent.Operations {
		if logging[op] {
			lines += int(made.Made)
		}
	}
	if got.correlated != lines {
		r.miss("%s: requests logged %d lines, %d arrived with the id of a trace", name, lines, got.correlated)
	}
	if got.probes > 0 {
		r.miss("%s: health probes made %d spans, want none", name, got.probes)
	}
}

// printCost compares CPU time and memory with a run without telemetry.
func (r *report) printCost(out io.Writer) {
	fmt.Fprintf(out, "\nCPU time and peak resident memory of each process, start and stop included\n")
	fmt.Fprintf(out, "  %-11s %8s %8s %9s %9s %8s %9s\n", "SERVICE", "CPU", "WITHOUT", "TELEMETRY", "MEMORY", "WITHOUT",
		"TELEMETRY")
	for _, name := range r.names() {
		cpu, memory := r.did.CPU[name], r.did.Services[name].PeakMemory
		if r.without == nil || r.without.Services[name] == nil {
			fmt.Fprintf(out, "  %-11s %8s %8s %9s %9s %8s %9s\n", name, seconds(cpu), "-", "-", megabytes(memory), "-",
				"-")
			continue
		}
		cpuWithout, memoryWithout := r.without.CPU[name], r.without.Services[name].PeakMemory
		fmt.Fprintf(out, "  %-11s %8s %8s %9s %9s %8s %9s\n", name, seconds(cpu), seconds(cpuWithout),
			seconds(cpu-cpuWithout), megabytes(memory), megabytes(memoryWithout), megabytes(memory-memoryWithout))
	}
	if r.without != nil {
		fmt.Fprintf(out, "  TELEMETRY is the difference of two runs of the same load, as the operating\n"+
			"  system counts them. The services do little else, and the start of both is in\n"+
			"  it: a share of this CPU time says nothing about a service with work to do.\n")
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
func megabytes(n int64) string       { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }
