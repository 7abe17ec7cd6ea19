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

// Recorder is a test's own telemetry: a guard, and the collector that receives everything it
// records. The collector's methods, which the recorder includes, return what has arrived.
type Recorder struct {
	*Collector
	Guard *telemetry.Guard // as returned by telemetry.Init

	open     *openSpans
	instance string // service.instance.id, unless an option sets another
}

// Start starts telemetry for a test with its own collector, and stops both at the end of the test.
// It is [telemetry.Init] with these changes:
//
//   - Everything goes to the collector, over HTTP. Endpoint and protocol in opts are ignored, so a
//     preset with the production endpoint can be passed unchanged.
//   - Every span is kept, unless a sampler is given.
//   - The environment is ignored: OTEL_*, TELEMETRY_*, K8S_* and LOG_LEVEL have no effect. To test
//     them, use telemetry.Init and [NewCollector].
//   - The console log goes to the test's output. The library logs only warnings about itself.
//   - Metrics are only the service's own, without those of the runtime and of the library.
//
// Without [telemetry.WithoutGlobals], the test holds OpenTelemetry's globals and slog's default
// until it ends. They are then restored, as are the output, flags and prefix of the log package.
// Package-level tracers and instruments follow. Only one test at a time can hold the globals:
// another Start fails its test. A telemetry.Init in the service's code returns
// telemetry.ErrAlreadyInitialized and a guard that sends to the same collector.
//
// With WithoutGlobals, any number of tests may run in parallel. Give the service the guard's
// providers and logger, and its middleware telemetry.WithGuard.
//
// If Init returns an error for an option, the test fails.
func Start(tb testing.TB, opts ...telemetry.Option) *Recorder {
	tb.Helper()
	return NewCollector(tb).Start(tb, opts...)
}

// Start is like the function [Start], for another service that sends to the same collector, so that
// a trace through several services is one trace. All but one of them need
// [telemetry.WithoutGlobals].
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
		telemetry.WithResourceDetectors(resource.StringDetector("", semconv.ServiceInstanceIDKey,
			func() (string, error) { return r.instance, nil })),
		c.destination())
	tb.Cleanup(output.close)
	if errors.Is(err, telemetry.ErrAlreadyInitialized) {
		tb.Fatalf("telemetrytest: %s", globalsInUse())
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

// environment has the settings that are not passed as options, so that options still win over them.
var environment = map[string]string{
	"OTEL_SERVICE_NAME":      "test",
	"OTEL_LOG_LEVEL":         "warn", // no lines about start and stop
	"TELEMETRY_SELF_METRICS": "false",
	"TELEMETRY_PROBE":        "false", // the collector is known to be running
}

// destination comes after a test's options and is limited to each signal, because the most specific
// setting wins.
func (c *Collector) destination() telemetry.Option {
	here := telemetry.WithOptions(telemetry.WithEndpoint(c.HTTPEndpoint()),
		telemetry.WithProtocol(telemetry.ProtocolHTTP))
	return telemetry.WithOptions(telemetry.ForTraces(here), telemetry.ForMetrics(here), telemetry.ForLogs(here))
}

// end shuts the guard down. It first makes the collector healthy: a fault no longer matters for the
// test, and retries would only delay it.
func (c *Collector) end(tb testing.TB, r *Recorder) {
	tb.Helper()
	if tb == c.tb { // a subtest may have a service that sends to its parent test's collector
		c.SetFault(Fault{})
		c.Up()
	}
	if err := r.Guard.Shutdown(context.Background()); err != nil {
		tb.Logf("telemetrytest: the end of telemetry: %v", err)
	}
}

// testOutput is the test's output while the test runs. A later write, for example from an abandoned
// goroutine of the service, would make the testing package panic, so it is discarded.
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
