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
	out      io.Writer
	endpoint string // "" for those of the settings
	timeout  time.Duration
}

// run reports whether everything arrived.
func (c check) run(ctx context.Context) bool {
	r := &report{out: c.out}
	service, warnings, wrong := c.describe(ctx)
	r.settings(service, warnings, wrong)
	r.section("Does it arrive?") // the answer may take its time
	outcomes := c.sendPatiently(ctx, service, r)
	r.outcomes(outcomes)
	return wrong == nil && !slices.ContainsFunc(outcomes, func(o outcome) bool { return o.failed })
}

// silence is how long a check waits before it says what it waits for.
const silence = time.Second

// sendPatiently is send, and says what it waits for when that takes long.
func (c check) sendPatiently(ctx context.Context, service diagnose.Description, r *report) []outcome {
	sent := make(chan []outcome, 1)
	go func() { sent <- c.send(ctx, service) }()
	select {
	case outcomes := <-sent:
		return outcomes
	case <-time.After(silence):
	}
	var addresses []string
	for _, way := range service.Signals {
		if way.OTLP && !slices.Contains(addresses, way.Address) {
			addresses = append(addresses, way.Address)
		}
	}
	if addresses != nil {
		r.paragraphs([]string{fmt.Sprintf("(waiting up to %s for a collector at %s)", c.timeout, diagnose.Listed(addresses))})
	}
	return <-sent
}

// describe is what a service would do, what it would warn of, and which settings are wrong.
func (c check) describe(ctx context.Context) (service diagnose.Description, warnings []string, wrong error) {
	ctx = diagnose.WithInspection(ctx, diagnose.Inspection{Endpoint: c.endpoint, Described: func(d diagnose.Description) { service = d }})
	_, wrong = telemetry.Init(ctx, telemetry.WithoutGlobals(), telemetry.WithLogOutput(io.Discard),
		telemetry.WithErrorHandler(otel.ErrorHandlerFunc(func(err error) { warnings = append(warnings, text(err)) })))
	for _, c := range service.Settings {
		if c.Name == "disabled" && c.Value == "true" {
			warnings = append(warnings, fmt.Sprintf("%s is true, so nothing is sent: unset it to send data", c.Origin))
		}
	}
	return service, warnings, wrong
}

var signals = []string{"traces", "metrics", "logs"}

// outcome is what became of one signal's item.
type outcome struct {
	signal  string
	verdict string // its first words are for scripts, see usage
	reason  string // what is wrong and what to change, "" where the verdict says all
	failed  bool   // it was to leave the process and has not arrived
}

// send starts what a service would start, but for the spool, sends one item of each signal that leaves the process, and
// waits until it is delivered or the time is over.
func (c check) send(ctx context.Context, service diagnose.Description) (outcomes []outcome) {
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
	inspection := diagnose.Inspection{Endpoint: c.endpoint, Probed: func(r []diagnose.Result) { probed <- r }}
	guard, _ := telemetry.Init(diagnose.WithInspection(ctx, inspection), opts...)
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
	all := guard.Health()
	health := map[string]telemetry.SignalHealth{"traces": all.Traces, "metrics": all.Metrics, "logs": all.Logs}
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

const delivered = "delivered"

// items are what is sent of each signal.
var items = map[string]string{"traces": "1 span", "metrics": "1 metric", "logs": "1 log record"}

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
		return outcome{verdict: "not sent: the settings leave nothing of it"}
	}
	return lost("not delivered", text(flushed))
}

// text is an error in one line.
func text(err error) string {
	if err == nil {
		return "no answer in time"
	}
	return strings.TrimPrefix(strings.Join(strings.Fields(err.Error()), " "), "telemetry: ")
}
