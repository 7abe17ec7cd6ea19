package telemetry_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestShutdownWithAContextThatIsOver(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancelExpired := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancelExpired()
	for name, ctx := range map[string]context.Context{"cancelled": cancelled, "expired": expired} {
		for _, protocol := range protocols {
			t.Run(name+" "+string(protocol), func(t *testing.T) {
				c := otlptest.New(t)
				guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))), telemetry.WithProtocol(protocol))
				record(t.Context(), guard, "x")
				require.NoError(t, guard.Shutdown(ctx))
				require.Equal(t, []string{"x"}, spanNames(c))
				require.Equal(t, []string{"x"}, logBodies(c))
				require.Contains(t, metricNames(c), "x")
			})
		}
	}
}

func TestShutdownOfAHungSignalCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	for _, hung := range []otlptest.Signal{otlptest.Traces, otlptest.Metrics, otlptest.Logs} {
		for _, protocol := range protocols {
			t.Run(fmt.Sprintf("%s %s", hung, protocol), func(t *testing.T) {
				t.Parallel()
				c := otlptest.New(t)
				c.SetFault(otlptest.Fault{Hang: true}, hung)
				guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))), telemetry.WithProtocol(protocol))
				record(t.Context(), guard, "x")
				const budget = 2 * time.Second
				ctx, cancel := context.WithTimeout(t.Context(), budget)
				defer cancel()
				begin := time.Now()
				err := guard.Shutdown(ctx)
				require.Less(t, time.Since(begin), 5*budget)
				require.ErrorContains(t, err, "shutdown "+string(hung))
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

func TestShutdownWithADeadlineThatIsNow(t *testing.T) {
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

// stubborn is a span processor that ignores its context.
type stubborn struct {
	sdktrace.SpanProcessor
	release chan struct{}
}

func (s stubborn) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (s stubborn) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (s stubborn) Shutdown(context.Context) error                  { <-s.release; return nil }

func TestShutdownLeavesBehindWhatDoesNotStop(t *testing.T) {
	t.Parallel()
	c := otlptest.New(t)
	processor := stubborn{release: make(chan struct{})}
	defer close(processor.release)
	const budget = 2 * time.Second // shorter ones are tested in virtual time
	guard, _ := start(t, c, telemetry.WithSpanProcessors(processor, nil), telemetry.WithShutdownTimeout(budget))
	record(t.Context(), guard, "x")
	begin := time.Now()
	require.ErrorContains(t, guard.Shutdown(t.Context()), "shutdown traces: did not stop in time and was abandoned")
	require.Less(t, time.Since(begin), 5*budget)
	require.Equal(t, []string{"x"}, spanNames(c))
	require.Equal(t, []string{"x"}, logBodies(c))
	require.Contains(t, metricNames(c), "x")
}

func (s stubborn) ForceFlush(context.Context) error { <-s.release; return nil }

// A processor that ignores its context costs what it holds itself, not the end of the call.
func TestForceFlushLeavesBehindWhatDoesNotComeBack(t *testing.T) {
	c := otlptest.New(t)
	hung := stubborn{release: make(chan struct{})}
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
	started, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithoutMetrics(), telemetry.WithoutLogs(),
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

// explosive panics where the caller cannot recover.
type explosive struct{}

func (*explosive) Shutdown(context.Context) error                  { panic("boom") }
func (*explosive) ForceFlush(context.Context) error                { panic("boom") }
func (*explosive) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (*explosive) OnEnd(sdktrace.ReadOnlySpan)                     {}

func TestPanicsOfTheUsersPartsAreErrors(t *testing.T) {
	c := otlptest.New(t)
	guard, _ := start(t, c, telemetry.WithSpanProcessors(&explosive{}))
	record(t.Context(), guard, "x")
	require.ErrorContains(t, guard.ForceFlush(t.Context()), "boom")
	require.ErrorContains(t, guard.Shutdown(t.Context()), "boom")
	require.Equal(t, []string{"x"}, spanNames(c))
	require.Contains(t, metricNames(c), "x")
}
