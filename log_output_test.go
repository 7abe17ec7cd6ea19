package telemetry_test

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/internal/testenv"
)

// When the library's own output blocks, only its lines are lost.
func TestABlockedLogOutputHoldsUpNothingElse(t *testing.T) {
	t.Parallel()
	atOnce(t, overProtocols(blockedOutputs()...),
		func(c protocolCase[blockedOutput]) string { return c.of.name + " " + string(c.protocol) },
		func(t *testing.T, c protocolCase[blockedOutput]) {
			collector := otlptest.New(t)
			require.NoError(t, collector.Down())
			opt, open := c.of.block(t)
			var guard *telemetry.Guard
			soonDone(t, "Init", func() {
				var err error
				guard, err = telemetry.Init(context.Background(), telemetry.WithoutGlobals(), opt,
					telemetry.WithoutLogs(), telemetry.WithoutMetrics(),
					telemetry.WithEndpoint(collector.Endpoint(string(c.protocol))), telemetry.WithProtocol(c.protocol),
					telemetry.WithSpanBatch(telemetry.Batch{MaxQueueSize: 16, MaxExportBatchSize: 8,
						ScheduleDelay: 10 * time.Millisecond}))
				require.NoError(t, err)
			})
			tracer := guard.TracerProvider().Tracer("test")
			soonDone(t, "a span's End", func() {
				for range 5000 {
					_, span := tracer.Start(context.Background(), "x")
					span.End()
				}
			})
			require.Positive(t, guard.Health().Traces.DroppedBy["queue_full"])
			require.NoError(t, collector.Up())
			soonDone(t, "delivery", func() {
				require.NoError(t, collector.Wait(context.Background(),
					func(c *otlptest.Collector) bool { return len(c.Spans()) >= 16 }))
			})
			var err error
			soonDone(t, "Shutdown", func() { err = guard.Shutdown(context.Background()) })
			require.ErrorContains(t, err, "telemetry: shutdown: "+c.of.called+" has been blocked for ")
			require.ErrorContains(t, err, "its goroutine was abandoned with ")
			requireBooks(t, guard)
			open() // or the goroutine would outlive the test
		})
}

// Init's problems are reported before a program exits: Init calls the handler, or writes the line,
// before it returns.
func TestInitReportsProblemsBeforeItReturns(t *testing.T) {
	var handled []error
	log := &syncBuffer{}
	for _, opt := range []telemetry.Option{
		telemetry.WithErrorHandler(otel.ErrorHandlerFunc(func(err error) { handled = append(handled, err) })),
		telemetry.WithLogOutput(log),
	} {
		guard, err := telemetry.Init(testenv.With(t.Context(), map[string]string{"OTEL_BSP_SCHEDULE_DELAY": "soon"}),
			telemetry.WithoutGlobals(), telemetry.WithoutMetrics(), opt)
		require.NoError(t, err)
		require.NoError(t, guard.Shutdown(t.Context()))
	}
	require.ErrorContains(t, errors.Join(handled...), "OTEL_BSP_SCHEDULE_DELAY")
	require.Contains(t, log.String(), "OTEL_BSP_SCHEDULE_DELAY")
}

// The log package holds its lock while it writes, so a line of net/http's server can hold that lock
// forever.
func TestABlockedLogPackageHoldsUpNeitherInitNorShutdown(t *testing.T) {
	stuck := make(blockedWriter)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	begin := func(out io.Writer) *telemetry.Guard {
		var guard *telemetry.Guard
		soonDone(t, "Init", func() {
			var err error
			guard, err = telemetry.Init(testenv.With(context.Background(),
				map[string]string{"OTEL_LOG_LEVEL": "error"}),
				telemetry.WithDisabled(true), telemetry.WithLogOutput(out))
			require.NoError(t, err)
		})
		return guard
	}
	first := begin(stuck)
	written := make(chan struct{})
	go func() { defer close(written); log.Print("http: TLS handshake error") }()
	require.Eventually(t, func() bool { return holdsLogPackage() }, waitFor, tick)
	var err error
	soonDone(t, "Shutdown", func() { err = first.Shutdown(context.Background()) })
	require.EqualError(t, err, "telemetry: shutdown: a call of the log package has been blocked for 250ms: "+
		"its output is restored when the call returns")

	out := &syncBuffer{}
	second := begin(out)
	close(stuck)
	<-written
	require.Eventually(t, func() bool {
		log.Print("after the line")
		return strings.Contains(out.String(), `"msg":"after the line"`)
	}, waitFor, tick, "the second guard has the log package in the end")
	slog.Info("through slog")
	require.Contains(t, out.String(), `"msg":"through slog"`)
	require.NoError(t, second.Shutdown(context.Background()))
}

// A line that Run itself logs delays neither main nor the delivery of its telemetry.
func TestRunDeliversWithABlockedLogOutput(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(){
		"an error": func() {},
		"a panic":  func() { panic("no stock") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := otlptest.New(t)
			stuck := make(blockedWriter)
			t.Cleanup(func() { close(stuck) })
			soonDone(t, "Run", func() {
				defer func() { _ = recover() }()
				_ = telemetry.Run(context.Background(), func(ctx context.Context) error {
					_, span := telemetry.GuardFromContext(ctx).TracerProvider().Tracer("test").Start(ctx, "x")
					span.End()
					fail()
					return errors.New("no stock")
				}, telemetry.WithoutGlobals(), telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithLogOutput(stuck),
					telemetry.WithMetricInterval(-1)) // an error of Init
			})
			require.Equal(t, []string{"x"}, spanNames(c))
			require.Contains(t, strings.Join(logBodies(c), "\n"),
				map[string]string{"an error": "the program failed", "a panic": "panic: no stock"}[name])
		})
	}
}

// blockedOutput is an output for the library's own lines that blocks until it is opened.
type blockedOutput struct {
	name, called string
	block        func(t *testing.T) (opt telemetry.Option, open func())
}

type blockedWriter chan struct{}

func (w blockedWriter) Write(p []byte) (int, error) { <-w; return len(p), nil }

func blockedOutputs() []blockedOutput {
	return []blockedOutput{
		{"writer", "the log output", func(*testing.T) (telemetry.Option, func()) {
			w := make(blockedWriter)
			return telemetry.WithLogOutput(w), func() { close(w) }
		}},
		{"full pipe", "the log output", func(t *testing.T) (telemetry.Option, func()) {
			r, w, err := os.Pipe()
			require.NoError(t, err)
			t.Cleanup(func() { _ = w.Close() })
			for n := 0; n == 0; { // a write that begins after its deadline leaves the pipe empty
				require.NoError(t, w.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
				n, err = w.Write(make([]byte, 16<<20))
				require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the reader hangs")
			}
			require.NoError(t, w.SetWriteDeadline(time.Time{}))
			return telemetry.WithLogOutput(w), func() { _ = r.Close() }
		}},
		{"error handler", "the error handler", func(*testing.T) (telemetry.Option, func()) {
			w := make(blockedWriter)
			return telemetry.WithOptions(telemetry.WithLogOutput(io.Discard),
				telemetry.WithErrorHandler(otel.ErrorHandlerFunc(func(error) { <-w }))), func() { close(w) }
		}},
	}
}

// soonDone fails unless do returns within five times what a busy machine needs.
func soonDone(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		t.Fatal(what + " is held up")
	}
}

// holdsLogPackage tells whether a line of the log package is being written.
func holdsLogPackage() bool {
	free := make(chan struct{})
	go func() { defer close(free); log.Writer() }()
	select {
	case <-free:
		return false
	case <-time.After(100 * time.Millisecond):
		return true
	}
}
