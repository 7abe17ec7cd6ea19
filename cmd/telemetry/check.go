package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"go.opentelemetry.io/otel"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/diagnose"
)

const (
	// name is what the span, the metric and the log record of a check are called.
	name = "telemetry.check"
	// closerLook is what the probe may need to find out why something was not delivered.
	closerLook = 5 * time.Second
	// goodbye is Shutdown's: whatever was to be delivered has had its time.
	goodbye = 500 * time.Millisecond
)

// check is one run of the command.
type check struct {
	out     io.Writer
	timeout time.Duration
}

// run reports whether everything arrived.
func (c check) run(ctx context.Context, endpoint string) bool {
	if endpoint != "" {
		useEndpoint(endpoint)
	}
	service, warnings, wrong := describe(ctx)
	c.printSettings(service, warnings, wrong)
	outcomes := c.send(ctx, service)
	return c.printOutcomes(service, outcomes) && wrong == nil
}

// useEndpoint changes this process's environment, so that the advice names what an operator sets.
func useEndpoint(endpoint string) {
	_ = os.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint) // no name of ours is invalid; a value with a zero byte is not set
	for _, signal := range []string{"TRACES", "METRICS", "LOGS"} {
		_ = os.Unsetenv("OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT")
	}
}

// describe is what a service would do, what it would warn of, and which settings are wrong.
func describe(ctx context.Context) (service diagnose.Description, warnings []string, wrong error) {
	ctx = diagnose.WithInspection(ctx, diagnose.Inspection{Described: func(d diagnose.Description) { service = d }})
	_, wrong = telemetry.Init(ctx, telemetry.WithoutGlobals(), telemetry.WithLogOutput(io.Discard),
		telemetry.WithErrorHandler(otel.ErrorHandlerFunc(func(err error) { warnings = append(warnings, err.Error()) })))
	return service, warnings, wrong
}

// outcome is what became of one signal's item.
type outcome struct {
	sent, delivered bool
	detail          string
}

// send starts what a service would start, but for the spool, sends one item of each signal that leaves the process, and
// waits until it is delivered or the time is over.
func (c check) send(ctx context.Context, service diagnose.Description) map[string]outcome {
	outcomes := map[string]outcome{}
	_ = os.Unsetenv("TELEMETRY_SPOOL_DIR") // what is in there is a service's, and what is not delivered here is not to be kept
	_ = os.Setenv("TELEMETRY_SELF_METRICS", "false")
	opts := []telemetry.Option{
		telemetry.WithoutGlobals(), telemetry.WithLogOutput(io.Discard), telemetry.WithErrorHandler(silent{}),
		telemetry.WithSampler(sdktrace.AlwaysSample()), telemetry.WithViews(nothingElse), telemetry.WithoutRuntimeMetrics(),
	}
	off := map[string]telemetry.Option{"traces": telemetry.WithoutTraces(), "metrics": telemetry.WithoutMetrics(), "logs": telemetry.WithoutLogs()}
	for _, way := range service.Signals {
		if !way.OTLP {
			opts = append(opts, off[way.Signal])
		}
	}
	probed := make(chan []diagnose.Result, 1)
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	guard, _ := telemetry.Init(diagnose.WithInspection(ctx, diagnose.Inspection{Probed: func(r []diagnose.Result) { probed <- r }}), opts...)
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), goodbye)
		defer cancel()
		_ = guard.Shutdown(ctx) // its error is about what has been reported by then
	}()
	record(ctx, guard)
	flushed := guard.ForceFlush(ctx)
	findings := map[string]*diagnose.Finding{}
	if flushed != nil {
		select {
		case results := <-probed:
			for _, r := range results {
				findings[r.Target.Signal] = r.Finding
			}
		case <-time.After(closerLook):
		}
	}
	health := guard.Health()
	for signal, h := range map[string]telemetry.SignalHealth{"traces": health.Traces, "metrics": health.Metrics, "logs": health.Logs} {
		if h.On {
			outcomes[signal] = judge(h, findings[signal], flushed)
		}
	}
	return outcomes
}

// nothingElse is a view that drops every metric but the check's own.
func nothingElse(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	return sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}}, i.Name != name
}

// silent is for errors that the outcome of their signal tells.
type silent struct{}

func (silent) Handle(error) {}

func record(ctx context.Context, guard *telemetry.Guard) {
	ctx, span := guard.TracerProvider().Tracer(name).Start(ctx, name)
	defer span.End()
	if counter, err := guard.MeterProvider().Meter(name).Int64Counter(name); err == nil {
		counter.Add(ctx, 1)
	}
	guard.Logger().ErrorContext(ctx, name) // an error passes every level
}

func judge(h telemetry.SignalHealth, finding *diagnose.Finding, flushed error) outcome {
	switch {
	case h.Rejected > 0:
		return outcome{sent: true, detail: "rejected: " + text(h.LastError)}
	case h.Exported > 0:
		return outcome{sent: true, delivered: true}
	case finding != nil:
		return outcome{sent: true, detail: "not delivered: " + finding.Text}
	case h.LastError != nil:
		return outcome{sent: true, detail: "not delivered: " + text(h.LastError)}
	case h.Accepted == 0:
		return outcome{detail: "not sent: the settings leave nothing of it"}
	}
	return outcome{sent: true, detail: "not delivered: " + text(flushed)}
}

func text(err error) string {
	if err == nil {
		return "no answer in time"
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

func (c check) printSettings(service diagnose.Description, warnings []string, wrong error) {
	fmt.Fprintln(c.out, "Settings that are not default")
	c.table(func(row func(...string)) {
		for _, s := range service.Settings {
			row(s.Name, cmp.Or(s.Value, "-"), s.Origin)
		}
	})
	if wrong != nil {
		fmt.Fprintln(c.out, "\nWrong settings")
		for _, err := range split(wrong) {
			fmt.Fprintf(c.out, "  %s\n", text(err))
		}
	}
	if len(warnings) > 0 {
		fmt.Fprintln(c.out, "\nWarnings")
		for _, w := range warnings {
			fmt.Fprintf(c.out, "  %s\n", w)
		}
	}
	fmt.Fprintln(c.out, "\nWhere it goes")
	c.table(func(row func(...string)) {
		for _, way := range service.Signals {
			row(way.Signal, way.To)
		}
	})
}

// printOutcomes reports whether everything that was to leave the process is delivered.
func (c check) printOutcomes(service diagnose.Description, outcomes map[string]outcome) bool {
	fmt.Fprintln(c.out, "\nDoes it arrive?")
	all := true
	items := map[string]string{"traces": "1 span", "metrics": "1 metric", "logs": "1 log record"}
	c.table(func(row func(...string)) {
		for _, way := range service.Signals {
			o, known := outcomes[way.Signal]
			switch {
			case !way.OTLP:
				row(way.Signal, "not sent over OTLP")
			case !known:
				row(way.Signal, "not sent: it could not be started")
				all = false
			case o.delivered:
				row(way.Signal, "delivered: "+items[way.Signal])
			default:
				row(way.Signal, o.detail)
				all = all && !o.sent
			}
		}
	})
	return all
}

// table prints indented rows with aligned columns.
func (c check) table(fill func(row func(...string))) {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	empty := true
	fill(func(cells ...string) {
		empty = false
		fmt.Fprintf(w, "  %s\n", strings.Join(cells, "\t"))
	})
	_ = w.Flush() // an error of the output is nothing to report to the output
	if empty {
		fmt.Fprintln(c.out, "  none")
	}
}

// split is the errors that were joined.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
