package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestShutdownWithADoneContextStillDelivers(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancelExpired := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancelExpired()
	for name, ctx := range map[string]context.Context{"cancelled": cancelled, "expired": expired} {
		for _, protocol := range protocols {
			t.Run(name+" "+string(protocol), func(t *testing.T) {
				c := otlptest.New(t)
				guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))),
					telemetry.WithProtocol(protocol))
				record(t.Context(), guard, "x")
				require.NoError(t, guard.Shutdown(ctx))
				require.Equal(t, []string{"x"}, spanNames(c))
				require.Equal(t, []string{"x"}, logBodies(c))
				require.Contains(t, metricNames(c), "x")
			})
		}
	}
}

func TestAHungSignalDoesNotCostTheOthersTheirShutdown(t *testing.T) {
	t.Parallel()
	for _, hung := range []otlptest.Signal{otlptest.Traces, otlptest.Metrics, otlptest.Logs} {
		for _, protocol := range protocols {
			t.Run(fmt.Sprintf("%s %s", hung, protocol), func(t *testing.T) {
				t.Parallel()
				c := otlptest.New(t)
				c.SetFault(otlptest.Fault{Hang: true}, hung)
				guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))),
					telemetry.WithProtocol(protocol))
				record(t.Context(), guard, "x")
				const budget = 2 * time.Second
				ctx, cancel := context.WithTimeout(t.Context(), budget)
				defer cancel()
				begin := time.Now()
				err := guard.Shutdown(ctx)
				require.Less(t, time.Since(begin), 5*budget)
				require.ErrorContains(t, err, "shutdown "+hung.String())
				require.Equal(t, hung != otlptest.Traces, len(c.Spans()) == 1)
				require.Equal(t, hung != otlptest.Logs, len(c.LogRecords()) == 1)
				require.Equal(t, hung != otlptest.Metrics, len(c.Metrics()) > 0)
			})
		}
	}
}

func TestShutdownIsIdempotentAndConcurrentSafe(t *testing.T) {
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{HTTPStatus: 400}, otlptest.Metrics)
	guard, _ := start(t, c)
	for range 100 {
		record(t.Context(), guard, "x")
	}
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = guard.Shutdown(t.Context()) })
		wg.Go(func() { record(t.Context(), guard, "meanwhile") })
	}
	wg.Wait()
	require.Error(t, errs[0])
	for _, err := range errs {
		require.Equal(t, errs[0], err, "every caller gets the same result")
	}
	require.Equal(t, errs[0], guard.Shutdown(t.Context()))
	require.GreaterOrEqual(t, len(c.Spans()), 100)
	require.NoError(t, guard.ForceFlush(t.Context()), "after Shutdown there is nothing to flush")
}

func TestForceFlushDelivers(t *testing.T) {
	for _, protocol := range protocols {
		c := otlptest.New(t)
		guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))), telemetry.WithProtocol(protocol))
		record(t.Context(), guard, "x")
		require.NoError(t, guard.ForceFlush(t.Context()))
		require.Equal(t, []string{"x"}, spanNames(c))
		require.Equal(t, []string{"x"}, logBodies(c))
		require.Contains(t, metricNames(c), "x")
		c.SetFault(otlptest.Fault{HTTPStatus: 400, GRPCCode: 3}, otlptest.Metrics)
		require.ErrorContains(t, guard.ForceFlush(t.Context()), "flush metrics")
	}
}

func TestShutdownWithAnImmediateDeadline(t *testing.T) {
	for _, left := range []time.Duration{time.Microsecond, 30 * time.Microsecond, time.Millisecond} {
		c := otlptest.New(t)
		guard, _ := start(t, c)
		record(t.Context(), guard, "x")
		ctx, cancel := context.WithTimeout(t.Context(), left)
		require.NoError(t, guard.Shutdown(ctx))
		cancel()
		require.Equal(t, []string{"x"}, spanNames(c))
		requireBalanced(t, guard)
	}
}

func TestShutdownOfANilContext(t *testing.T) {
	c := otlptest.New(t)
	guard, _ := start(t, c)
	record(t.Context(), guard, "x")
	var none context.Context
	require.NoError(t, guard.Shutdown(none))
	require.Equal(t, []string{"x"}, spanNames(c))
}

func TestShutdownAbandonsWhatDoesNotStopInTime(t *testing.T) {
	t.Parallel()
	c := otlptest.New(t)
	processor := hungProcessor{release: make(chan struct{})}
	defer close(processor.release)
	const budget = 6 * time.Second // of which metrics have a third; shorter ones are tested in virtual time
	guard, _ := start(t, c, telemetry.WithSpanProcessors(processor, nil), telemetry.WithShutdownTimeout(budget))
	record(t.Context(), guard, "x")
	begin := time.Now()
	require.ErrorContains(t, guard.Shutdown(t.Context()), "shutdown traces: did not stop in time and was abandoned")
	require.Less(t, time.Since(begin), 5*budget)
	require.Equal(t, []string{"x"}, spanNames(c))
	require.Equal(t, []string{"x"}, logBodies(c))
	require.Contains(t, metricNames(c), "x")
}

// A processor that ignores its context loses only what it holds itself and does not block the call.
func TestForceFlushAbandonsWhatDoesNotReturnInTime(t *testing.T) {
	c := otlptest.New(t)
	hung := hungProcessor{release: make(chan struct{})}
	guard, _ := start(t, c, telemetry.WithSpanProcessors(hung))
	record(t.Context(), guard, "x")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	flushed := make(chan error, 1)
	go func() { flushed <- guard.ForceFlush(ctx) }()
	select {
	case err := <-flushed:
		require.ErrorContains(t, err, "telemetry: flush traces: did not come back in time and was abandoned")
	case <-time.After(10 * time.Second):
		t.Error("ForceFlush outlives its context")
	}
	close(hung.release)
	require.Equal(t, []string{"x"}, spanNames(c))
	require.Equal(t, []string{"x"}, logBodies(c))
}

func TestForceFlushOfANilContext(t *testing.T) {
	c := otlptest.New(t)
	guard, _ := start(t, c)
	record(t.Context(), guard, "x")
	var none context.Context
	require.NoError(t, guard.ForceFlush(none))
	require.Equal(t, []string{"x"}, spanNames(c))
}

// The closing line goes to the error handler, and Shutdown waits for that.
func TestShutdownFromTheErrorHandler(t *testing.T) {
	var guard atomic.Pointer[telemetry.Guard]
	inner := make(chan error, 100)
	started, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithoutMetrics(),
		telemetry.WithoutLogs(),
		telemetry.WithEndpoint("http://"+otlptest.FreeAddress(t)), telemetry.WithShutdownTimeout(500*time.Millisecond),
		telemetry.WithErrorHandler(otel.ErrorHandlerFunc(func(error) {
			if g := guard.Load(); g != nil {
				inner <- g.Shutdown(context.Background())
			}
		})))
	require.NoError(t, err)
	record(t.Context(), started, "x")
	guard.Store(started)
	done := make(chan error, 1)
	go func() { done <- started.Shutdown(context.Background()) }()
	select {
	case err := <-done:
		require.ErrorContains(t, err, "1 span not delivered")
		require.NotContains(t, err.Error(), "abandoned", "the handler is not waited for, and so does not block")
		require.Equal(t, err, started.Shutdown(context.Background()))
		require.Equal(t, err, <-inner, "whichever call came first")
	case <-time.After(10 * time.Second):
		t.Error("Shutdown waits for itself")
	}
}

func TestPanicsInGivenProcessorsBecomeErrors(t *testing.T) {
	c := otlptest.New(t)
	guard, _ := start(t, c, telemetry.WithSpanProcessors(&panickingProcessor{}))
	record(t.Context(), guard, "x")
	require.ErrorContains(t, guard.ForceFlush(t.Context()), "boom")
	require.ErrorContains(t, guard.Shutdown(t.Context()), "boom")
	require.Equal(t, []string{"x"}, spanNames(c))
	require.Contains(t, metricNames(c), "x")
}

// exitingProcessor ends its goroutine, as a test's FailNow does.
type exitingProcessor struct{ panickingProcessor }

func (*exitingProcessor) Shutdown(context.Context) error { runtime.Goexit(); return nil }

func (*exitingProcessor) ForceFlush(context.Context) error { runtime.Goexit(); return nil }

func TestGivenProcessorsMayEndTheirGoroutine(t *testing.T) {
	c := otlptest.New(t)
	guard, _ := start(t, c, telemetry.WithSpanProcessors(&exitingProcessor{}))
	record(t.Context(), guard, "x")
	flushed := make(chan error, 1)
	go func() { flushed <- guard.ForceFlush(context.Background()) }()
	select {
	case err := <-flushed:
		require.ErrorContains(t, err, "ended its goroutine")
	case <-time.After(10 * time.Second):
		t.Error("ForceFlush does not return")
	}
	require.ErrorContains(t, guard.Shutdown(t.Context()), "ended its goroutine")
	require.Equal(t, []string{"x"}, spanNames(c))
}

// TestShutdownNamesWhatItLost covers every way in which the shutdown of the SDK alone is late,
// reports nothing, or lets one signal use another's time.
func TestShutdownNamesWhatItLost(t *testing.T) {
	t.Parallel()
	const items = 20
	cases := overProtocols(losses()...)
	var ready sync.WaitGroup // so that no start-up takes the processor from a shutdown
	ready.Add(len(cases))
	atOnce(t, cases,
		func(c protocolCase[loss]) string { return fmt.Sprint(c.of.name, " ", c.protocol, " ", c.of.failing) },
		func(t *testing.T, c protocolCase[loss]) {
			started := sync.OnceFunc(ready.Done)
			defer started()
			collector := otlptest.New(t)
			scopes := map[otlptest.Signal]func(...telemetry.Option) telemetry.Option{
				otlptest.Traces: telemetry.ForTraces, otlptest.Metrics: telemetry.ForMetrics,
				otlptest.Logs: telemetry.ForLogs,
			}
			dead := c.of.endpointOf(t, c.protocol)
			opts := []telemetry.Option{
				telemetry.WithEndpoint(collector.Endpoint(string(c.protocol))), telemetry.WithProtocol(c.protocol),
				telemetry.WithLogOutput(io.Discard),
			}
			for _, s := range c.of.failing {
				opts = append(opts, scopes[s](telemetry.WithEndpoint(dead)))
			}
			guard, _ := start(t, collector, opts...)
			c.of.connect(t, guard, collector)
			for range items {
				record(context.Background(), guard, "x")
			}
			started()
			ready.Wait()

			ctx, cancel := context.WithTimeout(t.Context(), shutdownBudget)
			defer cancel()
			begin := time.Now()
			err := guard.Shutdown(ctx)
			require.Less(t, time.Since(begin), 5*shutdownBudget)
			require.Error(t, err)
			requireBooks(t, guard)
			h := guard.Health()
			for signal, health := range healthBySignal(guard) {
				require.Positive(t, health.Accepted, signal)
				if c.of.healthy(signal) {
					require.Equal(t, health.Accepted, health.Exported, "%s: %+v", signal, health)
					require.NotContains(t, err.Error(), "shutdown "+signal.String())
				} else {
					require.Equal(t, health.Accepted, health.Lost(), "%s: %+v", signal, health)
					require.Error(t, health.LastError, signal)
					requireNamed(t, err, signal, health.Lost())
				}
			}
			const everything = int64(items + 1) // and what was recorded to connect
			require.Equal(t, everything, h.Traces.Accepted)
			require.Equal(t, everything, h.Logs.Accepted)
			require.EqualValues(t, h.Traces.Exported, len(collector.Spans()))
			require.EqualValues(t, h.Logs.Exported, len(collector.LogRecords()))
			require.Equal(t, err, guard.Shutdown(context.Background()), "the second call gets the first one's result")
		})
}

// TestShutdownWithoutADeadlineUsesItsTimeout is for services that defer Shutdown with the
// background context.
func TestShutdownWithoutADeadlineUsesItsTimeout(t *testing.T) {
	t.Parallel()
	atOnce(t, overProtocols(deadEnds()...),
		func(c protocolCase[deadEnd]) string { return c.of.name + " " + string(c.protocol) },
		func(t *testing.T, c protocolCase[deadEnd]) {
			guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(io.Discard),
				telemetry.WithEndpoint(c.of.endpointOf(t, c.protocol)), telemetry.WithProtocol(c.protocol),
				telemetry.WithShutdownTimeout(4*time.Second))
			require.NoError(t, err)
			record(context.Background(), guard, "x")
			begin := time.Now()
			err = guard.Shutdown(context.Background())
			require.Less(t, time.Since(begin), 20*time.Second)
			require.ErrorContains(t, err, "1 span")
			require.ErrorContains(t, err, "data points")
			require.ErrorContains(t, err, "1 log record")
			requireBooks(t, guard)
		})
}

// TestShutdownWithoutAnEndpoint is a new user's first run: nothing is set, and nothing listens.
func TestShutdownWithoutAnEndpoint(t *testing.T) {
	skipWithDefaultCollector(t)
	atOnce(t, protocols, func(p telemetry.Protocol) string { return string(p) },
		func(t *testing.T, p telemetry.Protocol) {
			console := &syncBuffer{}
			guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(console),
				telemetry.WithProtocol(p), telemetry.WithShutdownTimeout(2*time.Minute))
			require.NoError(t, err)
			record(context.Background(), guard, "x")
			begin := time.Now()
			err = guard.Shutdown(context.Background())
			require.Less(t, time.Since(begin), 20*time.Second)
			require.ErrorContains(t, err, "nothing listens at localhost:431")
			requireBooks(t, guard)
			for signal, health := range healthBySignal(guard) {
				require.Positive(t, health.Accepted, signal)
				require.Equal(t, health.Accepted, health.Lost(), "%s: %+v", signal, health)
				requireNamed(t, err, signal, health.Lost())
				require.Contains(t, console.String(),
					fmt.Sprintf(`"%s":{"exported":0,"lost":%d}`, signal, health.Lost()),
					"the closing line")
			}
		})
}

// TestShutdownWaitsForTheEndpointThatWasSet is for a collector that is replaced while the service
// stops.
func TestShutdownWaitsForTheEndpointThatWasSet(t *testing.T) {
	t.Parallel()
	atOnce(t, protocols, func(p telemetry.Protocol) string { return string(p) },
		func(t *testing.T, p telemetry.Protocol) {
			c := otlptest.New(t)
			require.NoError(t, c.Down())
			guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(p))), telemetry.WithProtocol(p),
				telemetry.WithShutdownTimeout(2*time.Minute))
			record(context.Background(), guard, "x")
			back := make(chan error, 1)
			time.AfterFunc(2*time.Second, func() { back <- c.Up() })
			require.NoError(t, guard.Shutdown(context.Background()))
			require.NoError(t, <-back)
			require.Equal(t, []string{"x"}, spanNames(c))
			require.Equal(t, []string{"x"}, logBodies(c))
			require.Contains(t, metricNames(c), "x")
			requireBooks(t, guard)
		})
}

// TestShutdownWaitsForMetricsInFlight is for a shutdown that begins before the collector has
// answered.
func TestShutdownWaitsForMetricsInFlight(t *testing.T) {
	atOnce(t, protocols, func(p telemetry.Protocol) string { return string(p) },
		func(t *testing.T, p telemetry.Protocol) {
			c := otlptest.New(t)
			c.SetFault(otlptest.Fault{Delay: 300 * time.Millisecond}, otlptest.Metrics)
			guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(p))), telemetry.WithProtocol(p),
				telemetry.WithMetricInterval(50*time.Millisecond), telemetry.WithoutRuntimeMetrics())
			record(t.Context(), guard, "x")
			require.NoError(t, c.Wait(t.Context(), func(c *otlptest.Collector) bool { return len(c.Requests()) > 0 }))
			require.NoError(t, guard.Shutdown(t.Context()))
			h := guard.Health().Metrics
			require.Zero(t, h.Lost(), "%+v", h)
			require.GreaterOrEqual(t, h.Exported, int64(2), "the export in flight and the last one")
			requireBooks(t, guard)
		})
}

// TestAPartialSuccessWithoutRejectionsIsNotALoss is for collectors that accept everything and
// return a message (OTLP: partial success with nothing rejected).
func TestAPartialSuccessWithoutRejectionsIsNotALoss(t *testing.T) {
	atOnce(t, protocols, func(p telemetry.Protocol) string { return string(p) },
		func(t *testing.T, p telemetry.Protocol) {
			c := otlptest.New(t)
			c.SetFault(otlptest.Fault{Message: "use v2"})
			guard, console := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(p))), telemetry.WithProtocol(p))
			record(t.Context(), guard, "x")
			require.NoError(t, guard.Shutdown(t.Context()))
			require.Contains(t, console.String(), "use v2")
			require.Contains(t, metricNames(c), "x")
			requireBooks(t, guard)
		})
}

// panickingProcessor panics where the caller cannot recover.
type panickingProcessor struct{}

func (*panickingProcessor) Shutdown(context.Context) error { panic("boom") }

func (*panickingProcessor) ForceFlush(context.Context) error { panic("boom") }

func (*panickingProcessor) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

func (*panickingProcessor) OnEnd(sdktrace.ReadOnlySpan) {}

// shutdownBudget is the deadline of the shutdowns below. The tests allow five times as much,
// because they share their processors with others.
const shutdownBudget = 6 * time.Second

// loss is one case: a dead end, and the signals that are sent there. The others have a collector
// that works.
type loss struct {
	deadEnd
	failing []otlptest.Signal
}

func losses() (all []loss) {
	for _, d := range deadEnds() {
		all = append(all,
			loss{d, []otlptest.Signal{otlptest.Traces, otlptest.Metrics, otlptest.Logs}},
			loss{d, []otlptest.Signal{otlptest.Traces}},
			loss{d, []otlptest.Signal{otlptest.Metrics, otlptest.Logs}})
	}
	return all
}

func (l loss) healthy(s otlptest.Signal) bool { return !slices.Contains(l.failing, s) }

// connect records one item of each signal and returns when those of the healthy signals have
// arrived.
func (l loss) connect(t *testing.T, guard *telemetry.Guard, c *otlptest.Collector) {
	record(context.Background(), guard, "connect")
	ctx, cancel := context.WithCancel(t.Context())
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		_ = guard.ForceFlush(ctx) // does not return for the failing signals
	}()
	err := c.Wait(ctx, func(c *otlptest.Collector) bool {
		return (!l.healthy(otlptest.Traces) || len(c.Spans()) == 1) &&
			(!l.healthy(otlptest.Logs) || len(c.LogRecords()) == 1) &&
			(!l.healthy(otlptest.Metrics) || len(c.Metrics()) > 0)
	})
	cancel()
	<-flushed
	require.NoError(t, err)
}

// requireNamed asserts that the error says how much of a signal was lost.
func requireNamed(t *testing.T, err error, signal otlptest.Signal, lost int64) {
	t.Helper()
	unit := map[otlptest.Signal]string{otlptest.Traces: "span", otlptest.Metrics: "data point",
		otlptest.Logs: "log record"}[signal]
	require.Error(t, err)
	require.Regexp(t, " "+lines.Count(lost, unit, unit+"s")+`\b`, err.Error(), "the loss of %s", signal)
}
