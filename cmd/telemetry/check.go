package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/otlp"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

const (
	// name is what the span, the metric and the log record of a check are called.
	name = "telemetry.check"
	// maxInvestigation is how long to wait for the probe once something was not delivered.
	maxInvestigation = 5 * time.Second
	// shutdownTimeout is short because everything has had its time to be delivered.
	shutdownTimeout = 500 * time.Millisecond
	// quietTime is how long a check waits before it says what it waits for.
	quietTime = time.Second
)

// check is one run of the command.
type check struct {
	out      io.Writer
	endpoint string // "" for those of the settings
	timeout  time.Duration
}

// run reports whether everything was delivered and all settings are valid.
func (c check) run(ctx context.Context) bool {
	r := &report{out: c.out}
	service, warnings, invalid := c.describe(ctx)
	r.settings(service, warnings, invalid)
	r.section("Does it arrive?") // before the answer, which may take a while
	outcomes := c.sendAndReport(ctx, service, r)
	r.outcomes(outcomes)
	return invalid == nil && !slices.ContainsFunc(outcomes, func(o outcome) bool { return o.failed })
}

// sendAndReport calls send. If that takes long, it also reports what the check waits for.
func (c check) sendAndReport(ctx context.Context, service settings.Description, r *report) []outcome {
	sent := make(chan []outcome, 1)
	go func() { sent <- c.send(ctx, service) }()
	select {
	case outcomes := <-sent:
		return outcomes
	case <-time.After(quietTime):
	}
	var addresses []string
	for _, way := range service.Signals {
		if way.OTLP && !slices.Contains(addresses, way.Address) {
			addresses = append(addresses, way.Address)
		}
	}
	if addresses != nil {
		r.paragraphs([]string{fmt.Sprintf("(waiting up to %s for a collector at %s)", c.timeout,
			lines.Listed(addresses))})
	}
	return <-sent
}

// describe returns what a service would do, what it would warn about, and the errors of its
// settings.
func (c check) describe(ctx context.Context) (service settings.Description, warnings []string, invalid error) {
	ctx = settings.WithInspection(ctx,
		settings.Inspection{Endpoint: c.endpoint, Described: func(d settings.Description) { service = d }})
	_, invalid = telemetry.Init(ctx, telemetry.WithoutGlobals(), telemetry.WithLogOutput(io.Discard),
		telemetry.WithErrorHandler(otel.ErrorHandlerFunc(func(err error) { warnings = append(warnings, text(err)) })))
	for _, c := range service.Settings {
		if c.Name == "disabled" && c.Value == "true" {
			warnings = append(warnings, fmt.Sprintf("%s is true, so nothing is sent: unset it to send data", c.Origin))
		}
	}
	return service, warnings, invalid
}

// outcome is what happened to the item of one signal.
type outcome struct {
	signal  signal.Signal
	verdict string // its first words are for scripts, see usage
	reason  string // what is wrong and what to change; "" if the verdict says all
	failed  bool   // the item should have been delivered and was not
}

// send starts what a service would start, except for the spool, sends one item of each signal that
// goes over OTLP, and waits until all are delivered or the timeout is over.
func (c check) send(ctx context.Context, service settings.Description) (outcomes []outcome) {
	_ = os.Unsetenv("TELEMETRY_SPOOL_DIR") // its content is a service's, and the check's items must not be kept
	_ = os.Setenv("TELEMETRY_SELF_METRICS", "false")
	probed := make(chan []diagnose.Result, 1)
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx = settings.WithInspection(ctx, settings.Inspection{Endpoint: c.endpoint})
	ctx = otlp.WithProbed(ctx, func(r []diagnose.Result) { probed <- r })
	guard, _ := telemetry.Init(ctx, options(service)...)
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		_ = guard.Shutdown(ctx) // the outcomes have what it would say
	}()
	record(ctx, guard)
	flushed := guard.ForceFlush(ctx)
	var findings map[signal.Signal]*diagnose.Finding
	if flushed != nil {
		findings = findingsOf(probed)
	}
	all := guard.Health()
	health := map[signal.Signal]telemetry.SignalHealth{signal.Traces: all.Traces, signal.Metrics: all.Metrics,
		signal.Logs: all.Logs}
	for _, way := range service.Signals {
		o := outcome{verdict: "not sent over OTLP"}
		if way.OTLP {
			o = judge(health[way.Signal], findings[way.Signal], flushed)
		}
		o.signal = way.Signal
		if o.verdict == delivered {
			o.verdict += ": " + items[way.Signal]
		}
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// options returns the options of a service with this environment that sends nothing but the items
// of the check, and those only over OTLP.
func options(service settings.Description) []telemetry.Option {
	opts := []telemetry.Option{
		telemetry.WithoutGlobals(), telemetry.WithLogOutput(io.Discard), telemetry.WithErrorHandler(silent{}),
		telemetry.WithSampler(sdktrace.AlwaysSample()), telemetry.WithViews(dropOthers),
		telemetry.WithoutRuntimeMetrics(),
	}
	off := map[signal.Signal]telemetry.Option{signal.Traces: telemetry.WithoutTraces(),
		signal.Metrics: telemetry.WithoutMetrics(), signal.Logs: telemetry.WithoutLogs()}
	for _, way := range service.Signals {
		if !way.OTLP {
			opts = append(opts, off[way.Signal])
		}
	}
	return opts
}

// findingsOf waits for the probe, for 5 s at most.
func findingsOf(probed <-chan []diagnose.Result) map[signal.Signal]*diagnose.Finding {
	findings := map[signal.Signal]*diagnose.Finding{}
	select {
	case results := <-probed:
		for _, r := range results {
			findings[r.Target.Signal] = r.Finding
		}
	case <-time.After(maxInvestigation):
	}
	return findings
}

const delivered = "delivered"

// items are what a check sends.
var items = map[signal.Signal]string{signal.Traces: "1 span", signal.Metrics: "1 metric", signal.Logs: "1 log record"}

// dropOthers is a view that drops every metric but the check's own.
func dropOthers(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	return sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}}, i.Name != name
}

// silent ignores errors: the outcome of their signal has them.
type silent struct{}

func (silent) Handle(error) {}

func record(ctx context.Context, guard *telemetry.Guard) {
	ctx, span := guard.TracerProvider().Tracer(name).Start(ctx, name)
	defer span.End()
	if counter, err := guard.MeterProvider().Meter(name).Int64Counter(name); err == nil {
		counter.Add(ctx, 1)
	}
	guard.Logger().ErrorContext(ctx, name) // no level leaves an error out
}

func judge(h telemetry.SignalHealth, finding *diagnose.Finding, flushed error) outcome {
	lost := func(verdict, reason string) outcome { return outcome{verdict: verdict, reason: reason, failed: true} }
	switch {
	case !h.On:
		return lost("not sent: it could not be started", "")
	case h.Rejected > 0:
		return lost("rejected", text(h.LastError))
	case h.Exported > 0:
		return outcome{verdict: delivered}
	case finding != nil:
		return lost("not delivered", finding.Text)
	case h.LastError != nil:
		return lost("not delivered", text(h.LastError))
	case h.Accepted == 0:
		return outcome{verdict: "not sent: the settings drop it"}
	}
	return lost("not delivered", text(flushed))
}

// text returns the text of an error on one line.
func text(err error) string {
	if err == nil {
		return "no answer in time"
	}
	return strings.TrimPrefix(strings.Join(strings.Fields(err.Error()), " "), "telemetry: ")
}
