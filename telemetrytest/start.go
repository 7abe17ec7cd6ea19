package telemetrytest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/testenv"
)

// Recorder is telemetry that belongs to a test: a guard, and the collector that everything it records goes to. Ask the
// collector's methods, which are the recorder's too, for what has arrived.
type Recorder struct {
	*Collector
	Guard *telemetry.Guard // what a service gets from telemetry.Init

	open     *openSpans
	instance string // service.instance.id, unless an option gives another
}

// Start starts telemetry for a test, over a collector of its own, and ends both with the test. It is [telemetry.Init] with
// what a test needs:
//
//   - Everything goes to the collector, over HTTP; endpoint and protocol in opts are overruled, so that a preset with the
//     production endpoint can be given as it is.
//   - Every span is kept, unless a sampler is given.
//   - The environment is ignored: what OTEL_*, TELEMETRY_*, K8S_* and LOG_LEVEL are where the test runs does not matter. Use
//     telemetry.Init and [NewCollector] to test them.
//   - The console log goes to the test's output, and of what the library says about itself only warnings do.
//   - Metrics are the service's own: none of the runtime, none of the library itself.
//
// Without [telemetry.WithoutGlobals] the test holds OpenTelemetry's globals and slog's default until it ends; they, and the
// output, flags and prefix of the log package, are then put back. Package-level tracers and instruments follow. Only one
// test at a time can hold them: another Start fails its test. A telemetry.Init in the service's own code meanwhile gets
// telemetry.ErrAlreadyInitialized and a guard that leads to the same collector.
//
// With it any number of tests may run in parallel: give the service the guard's providers and logger, and its middleware
// telemetry.WithGuard.
//
// Options that Init refuses fail the test.
func Start(tb testing.TB, opts ...telemetry.Option) *Recorder {
	tb.Helper()
	return NewCollector(tb).Start(tb, opts...)
}

// Start is like the function [Start] for one more service that sends to the same collector, so that a trace through several
// services is one trace. All but one need [telemetry.WithoutGlobals].
func (c *Collector) Start(tb testing.TB, opts ...telemetry.Option) *Recorder {
	tb.Helper()
	before := currentGlobals()
	r := &Recorder{Collector: c, open: newOpenSpans(), instance: uuid.NewString()}
	output := &testOutput{tb: tb}
	guard, err := telemetry.Init(testenv.With(context.Background(), environment),
		telemetry.WithSampler(sdktrace.AlwaysSample()),
		telemetry.WithLogOutput(output),
		telemetry.WithLogFormat(telemetry.LogFormatText),
		telemetry.WithOptions(opts...),
		telemetry.WithoutRuntimeMetrics(),
		telemetry.WithSpanProcessors(r.open),
		telemetry.WithResourceDetectors(resource.StringDetector("", semconv.ServiceInstanceIDKey, func() (string, error) { return r.instance, nil })),
		c.destination())
	tb.Cleanup(output.close)
	if errors.Is(err, telemetry.ErrAlreadyInitialized) {
		tb.Fatalf("telemetrytest: %s", globalsAreTaken())
		return nil
	}
	global := slog.Default() == guard.Logger()
	if global {
		takeGlobals(tb.Name())
	}
	r.Guard = guard
	c.mu.Lock()
	c.recorders = append(c.recorders, r)
	c.mu.Unlock()
	tb.Cleanup(func() {
		c.end(tb, r)
		if global {
			before.restore()
			takeGlobals("")
		}
	})
	if err != nil {
		tb.Fatalf("telemetrytest: Init refuses the options of this test: %v", err)
	}
	return r
}

// environment has what Init takes from nowhere else, so that options still win where there are any.
var environment = map[string]string{
	"OTEL_SERVICE_NAME":      "test",
	"OTEL_LOG_LEVEL":         "warn", // no lines about start and stop
	"TELEMETRY_SELF_METRICS": "false",
	"TELEMETRY_PROBE":        "false", // the collector is known to be there
}

// destination comes after a test's options and is scoped to each signal, because the most specific one wins.
func (c *Collector) destination() telemetry.Option {
	here := telemetry.WithOptions(telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithProtocol(telemetry.ProtocolHTTP))
	return telemetry.WithOptions(telemetry.ForTraces(here), telemetry.ForMetrics(here), telemetry.ForLogs(here))
}

// end shuts down. The collector is healthy by then, whatever its test has made of it: nobody is left to look at what it does
// to telemetry, and retries would only make the test late.
func (c *Collector) end(tb testing.TB, r *Recorder) {
	tb.Helper()
	if tb == c.tb { // a subtest may have a service at the collector of the test around it
		c.SetFault(Fault{})
		c.Up()
	}
	if err := r.Guard.Shutdown(context.Background()); err != nil {
		tb.Logf("telemetrytest: the end of telemetry: %v", err)
	}
}

// testOutput is the test's output as long as the test runs: what writes to it later, such as a goroutine that the service
// has left behind, would make the testing package panic.
type testOutput struct {
	mu sync.Mutex
	tb testing.TB // nil when closed
}

var _ io.Writer = (*testOutput)(nil)

func (o *testOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tb == nil {
		return len(p), nil
	}
	return o.tb.Output().Write(p)
}

func (o *testOutput) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tb = nil
}
