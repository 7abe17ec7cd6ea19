package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestRunDeliversAndReturnsTheErrorOfMain(t *testing.T) {
	t.Parallel()
	failure := errors.New("no stock")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancelExpired := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancelExpired()
	for _, test := range []struct {
		name  string
		ctx   context.Context
		err   error
		level string // of the line about err; "" for none
	}{
		{name: "no error", ctx: t.Context()},
		{name: "no context", ctx: nil},
		{name: "an error", ctx: t.Context(), err: failure, level: "ERROR"},
		{name: "the context was over", ctx: cancelled},
		{name: "an error that is not about the end of the context", ctx: cancelled, err: failure, level: "ERROR"},
		{name: "an error about the end of the context and another", ctx: cancelled,
			err: errors.Join(context.Canceled, failure), level: "ERROR"},
		{name: "the same, wrapped", ctx: cancelled, err: fmt.Errorf("two: %w", errors.Join(context.Canceled, failure)),
			level: "ERROR"},
		{name: "an error about the end of the context", ctx: cancelled, err: fmt.Errorf("row 7: %w", context.Canceled),
			level: "INFO"},
		{name: "a server that was told to stop", ctx: cancelled, err: http.ErrServerClosed, level: "INFO"},
		{name: "cancelled while the context is not over", ctx: t.Context(), err: context.Canceled, level: "ERROR"},
		{name: "several errors, but none of them", ctx: cancelled, err: noErrors{}, level: "ERROR"},
		{name: "the context ran out of time", ctx: expired, err: context.DeadlineExceeded, level: "ERROR"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := otlptest.New(t)
			console, err := runAt(test.ctx, c, recording(test.err))
			require.Equal(t, test.err, err, "as it is")
			requireDelivered(t, c)
			if test.level == "" {
				require.Equal(t, []string{"x"}, logBodies(c))
				return
			}
			require.Regexp(t, `"level":"`+test.level+`","msg":"the program (failed|was stopped)".*"error":`, console)
			require.Len(t, c.LogRecords(), 2)
			line := c.LogRecords()[1]
			require.Equal(t, test.level, line.SeverityText)
			require.Equal(t, test.err.Error(), line.Attributes["error"])
		})
	}
}

// noErrors is a list of errors that is empty.
type noErrors struct{}

func (noErrors) Error() string   { return "cannot start" }
func (noErrors) Unwrap() []error { return nil }

func TestRunDeliversAPanicAndRaisesItAgain(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]any{"an error": errors.New("boom"), "a text": "boom",
		"an ended request": http.ErrAbortHandler} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := otlptest.New(t)
			require.PanicsWithValue(t, value, func() {
				_, _ = runAt(t.Context(), c, func(ctx context.Context) error {
					_ = recording(nil)(ctx)
					brokenPart(value)
					return nil
				})
			})
			requireDelivered(t, c)
			record := c.LogRecords()[1]
			require.Equal(t, "ERROR", record.SeverityText)
			require.Equal(t, fmt.Sprintf("panic: %v", value), record.Body)
			require.Equal(t, fmt.Sprint(value), record.Attributes["exception.message"])
			require.NotEmpty(t, record.Attributes["exception.type"])
			require.Contains(t, record.Attributes["exception.stacktrace"], "brokenPart",
				"of the place where it happened")
		})
	}
}

func TestRunDeliversWhenMainCallsGoexit(t *testing.T) {
	t.Parallel()
	c := otlptest.New(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = runAt(t.Context(), c, func(ctx context.Context) error {
			_ = recording(nil)(ctx)
			(&testing.T{}).FailNow() // runtime.Goexit
			return nil
		})
	}()
	<-done
	requireDelivered(t, c)
	require.Equal(t, []string{"x"}, logBodies(c))
}

func TestRunWithoutMainIsAnError(t *testing.T) {
	require.ErrorContains(t, telemetry.Run(t.Context(), nil), "the function given to Run must not be nil")
}

func TestRunGoesOnWhenTelemetryIsDegraded(t *testing.T) {
	t.Parallel()
	c := otlptest.New(t)
	console, err := runAt(t.Context(), c, recording(nil),
		telemetry.ForTraces(telemetry.WithEndpoint("carrier:pigeon://x")))
	require.NoError(t, err)
	require.Regexp(t, `"level":"ERROR","msg":"telemetry is degraded","error":"telemetry: WithEndpoint`, console)
	require.Equal(t, []string{"telemetry is degraded", "x"}, logBodies(c))
	require.Empty(t, c.Spans())
}

func TestRunHoldsTheGlobalsWhileMainRuns(t *testing.T) {
	c := otlptest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.HTTPEndpoint())
	var guard *telemetry.Guard
	err := telemetry.Run(t.Context(), func(ctx context.Context) error {
		guard = telemetry.GuardFromContext(ctx)
		return telemetry.Run(ctx, func(ctx context.Context) error { // such as a library's own
			return telemetry.Do(ctx, "inner", func(context.Context) error { return nil })
		}, telemetry.WithLogOutput(&syncBuffer{}))
	}, telemetry.WithLogOutput(&syncBuffer{}), telemetry.WithoutRuntimeMetrics())
	require.NoError(t, err)
	require.Equal(t, []string{"inner"}, spanNames(c))
	require.Contains(t, logBodies(c), "telemetry is degraded")
	require.EqualValues(t, 1, guard.Health().Traces.Exported, "the books are there after the end")
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Nil(t, telemetry.GuardFromContext(t.Context()))
	//lint:ignore SA1012 A nil context is what is tested.
	require.Nil(t, telemetry.GuardFromContext(nil))
}

func TestRunLogsWhatASlowDeliveryWaitsFor(t *testing.T) {
	t.Parallel()
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{Hang: true}, otlptest.Traces)
	begin := time.Now()
	console, err := runAt(t.Context(), c, recording(nil), telemetry.WithShutdownTimeout(3*time.Second),
		telemetry.WithoutMetrics(), telemetry.WithLogFormat(telemetry.LogFormatText))
	require.NoError(t, err, "a failed delivery is not a failure of main")
	require.Less(t, time.Since(begin), 15*time.Second)
	require.Equal(t, 1, strings.Count(console, "still delivering"), console)
	require.Contains(t, console, `level=INFO msg="telemetry: still delivering 1 span; this may take another 2s (press Ctrl-C twice to stop immediately)"`)
	require.Less(t, strings.Index(console, "still delivering"), strings.Index(console, "1 span was lost"))
}

// What Shutdown returns besides losses is only in its error, which Run does not return.
func TestRunLogsOtherShutdownErrors(t *testing.T) {
	t.Parallel()
	c, release := otlptest.New(t), make(chan struct{})
	defer close(release)
	console, err := runAt(t.Context(), c, recording(nil), telemetry.WithSpanProcessors(hungProcessor{release: release}),
		telemetry.WithShutdownTimeout(8*time.Second))
	require.NoError(t, err)
	require.Contains(t, console, `"level":"ERROR","msg":"telemetry: shutdown traces: `)
	requireDelivered(t, c)
}

// A signal that was abandoned and has lost something has both in one line.
func TestRunLogsAnAbandonedSignalsLoss(t *testing.T) {
	t.Parallel()
	c, release := otlptest.New(t), make(chan struct{})
	defer close(release)
	c.SetFault(otlptest.Fault{Hang: true}, otlptest.Traces)
	console, err := runAt(t.Context(), c, recording(nil), telemetry.WithSpanProcessors(hungProcessor{release: release}),
		telemetry.WithShutdownTimeout(4*time.Second))
	require.NoError(t, err)
	require.Contains(t, console, `"level":"ERROR","msg":"telemetry: shutdown traces: 1 span not delivered: `+
		`did not stop in time and was abandoned`)
}

// TestRunChild is the program of the child processes that run_unix_test.go and run_linux_test.go
// start.
func TestRunChild(t *testing.T) {
	name := os.Getenv(runChildVariable)
	if name == "" {
		t.Skip("it is a program for other tests")
	}
	err := telemetry.Run(context.Background(), func(ctx context.Context) error {
		_ = telemetry.Do(ctx, "work", func(context.Context) error { return nil })
		fmt.Println("ready")
		<-ctx.Done()
		fmt.Println("stopping:", context.Cause(ctx))
		switch name {
		case "hangs":
			select {} //nolint:revive // until the process ends
		case "takes a moment":
			time.Sleep(300 * time.Millisecond)
		}
		return nil
	})
	fmt.Println("error:", err)
	if err != nil {
		os.Exit(1)
	}
	os.Exit(0) // without what the testing package prints
}

// runAt calls Run next to other telemetry of the process and sends everything to c. main finds the
// guard in its context.
func runAt(ctx context.Context, c *otlptest.Collector, main func(context.Context) error,
	opts ...telemetry.Option) (console string, err error) {
	out := &syncBuffer{}
	err = telemetry.Run(ctx, main, telemetry.WithoutGlobals(), telemetry.WithServiceName("test"),
		telemetry.WithLogOutput(out), telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithOptions(opts...))
	return out.String(), err
}

// recording is a main that makes one item of each signal and ends with err.
func recording(err error) func(context.Context) error {
	return func(ctx context.Context) error {
		record(ctx, telemetry.GuardFromContext(ctx), "x")
		return err
	}
}

func requireDelivered(t *testing.T, c *otlptest.Collector) {
	t.Helper()
	require.Equal(t, []string{"x"}, spanNames(c))
	require.Contains(t, logBodies(c), "x")
	require.Contains(t, metricNames(c), "x")
}

//go:noinline
func brokenPart(value any) { panic(value) }
