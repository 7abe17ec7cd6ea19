package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

var protocols = []telemetry.Protocol{telemetry.ProtocolHTTP, telemetry.ProtocolGRPC}

// syncBuffer is a log output that tests may read while the library writes.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs Init without globals against the collector.
func start(t *testing.T, c *otlptest.Collector, opts ...telemetry.Option) (*telemetry.Guard, *syncBuffer) {
	t.Helper()
	console := &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithServiceName("test"), telemetry.WithLogOutput(console),
		telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithOptions(opts...))
	require.NoError(t, err)
	t.Cleanup(func() { _ = guard.Shutdown(context.Background()) })
	return guard, console
}

// record makes one item of each signal on the guard's own providers.
func record(ctx context.Context, g *telemetry.Guard, name string) {
	ctx, span := g.TracerProvider().Tracer("test").Start(ctx, name)
	counter, _ := g.MeterProvider().Meter("test").Int64Counter(strings.ReplaceAll(name, " ", "."))
	counter.Add(ctx, 1)
	g.Logger().InfoContext(ctx, name)
	span.End()
}

func names[T, N any](items []T, name func(T) N) []N {
	var all []N
	for _, item := range items {
		all = append(all, name(item))
	}
	return all
}

func spanNames(c *otlptest.Collector) []string {
	return names(c.Spans(), func(s otlptest.Span) string { return s.Name })
}

func logBodies(c *otlptest.Collector) []string {
	return names(c.LogRecords(), func(r otlptest.LogRecord) string { return r.Body.(string) })
}

func metricNames(c *otlptest.Collector) []string {
	return names(c.Metrics(), func(m otlptest.Metric) string { return m.Name })
}

func TestThreeLinesAndAnEndpointAreEnough(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.Endpoint(string(protocol)))
			if protocol != telemetry.ProtocolHTTP {
				t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", string(protocol))
			}
			guard, err := telemetry.Init(t.Context(), telemetry.WithServiceName("checkout"), telemetry.WithLogOutput(&syncBuffer{}))
			require.NoError(t, err)

			ctx, span := otel.Tracer("app").Start(t.Context(), "order")
			slog.InfoContext(ctx, "ordered", "amount", 12)
			counter, err := otel.Meter("app").Int64Counter("orders")
			require.NoError(t, err)
			counter.Add(ctx, 3)
			otel.Logger("other bridge").Emit(ctx, otellog.Record{})
			span.End()
			require.NoError(t, guard.Shutdown(t.Context()))

			require.Len(t, c.Spans(), 1)
			require.Len(t, c.LogRecords(), 2)
			arrived, record := c.Spans()[0], c.LogRecords()[0]
			require.Equal(t, "order", arrived.Name)
			require.Equal(t, "ordered", record.Body)
			require.EqualValues(t, 12, record.Attributes["amount"])
			require.Equal(t, arrived.TraceID, record.TraceID)
			require.Equal(t, arrived.SpanID, record.SpanID)
			require.Contains(t, metricNames(c), "go.goroutine.count", "runtime metrics are on by default")
			for _, m := range c.Metrics() {
				if m.Name == "orders" {
					require.EqualValues(t, 3, m.Points[0].Value)
				}
				require.Equal(t, arrived.Resource["service.instance.id"], m.Resource["service.instance.id"])
			}
			require.Contains(t, metricNames(c), "orders")
			require.Equal(t, "checkout", arrived.Resource["service.name"])
			require.NotEmpty(t, arrived.Resource["service.instance.id"])
			require.Equal(t, arrived.Resource, record.Resource, "one resource for all signals")
			for _, request := range c.Requests() {
				require.Equal(t, string(protocol), request.Protocol)
				require.Equal(t, "gzip", request.Encoding, request.Signal)
			}
		})
	}
}

func TestWrongSettingsAreReportedTogetherAndTheRestRuns(t *testing.T) {
	c := otlptest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "carrier:pigeon://x")
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
	console := &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(console),
		telemetry.WithServiceName(""),
		telemetry.ForMetrics(telemetry.WithProtocol("udp")),
		telemetry.ForLogs(telemetry.WithEndpoint(c.HTTPEndpoint())),
		telemetry.WithShutdownTimeout(-1))
	require.NotNil(t, guard)
	for _, part := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "WithServiceName", `WithProtocol("udp") is unknown`, "WithShutdownTimeout"} {
		require.ErrorContains(t, err, part)
	}
	require.Contains(t, console.String(), "OTEL_BSP_MAX_QUEUE_SIZE", "what falls back is a warning")

	record(t.Context(), guard, "still here")
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Equal(t, []string{"still here"}, logBodies(c))
	require.Empty(t, c.Spans())
	require.Empty(t, c.Metrics())
	require.Contains(t, console.String(), `"msg":"still here"`)
}

func TestNegativeQueueSizeWarnsAndRuns(t *testing.T) {
	c := otlptest.New(t)
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "-1")
	guard, console := start(t, c)
	record(t.Context(), guard, "x")
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Equal(t, []string{"x"}, spanNames(c))
	for _, name := range []string{"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY"} {
		require.Equal(t, 1, strings.Count(console.String(), name+`=\"-1\" must be`), console.String())
	}
}

// Package-level instruments, as services write them: they must follow every Init.
var (
	packageTracer     = otel.Tracer("package")
	packageLogger     = otel.Logger("package")
	packageCounter, _ = otel.Meter("package").Int64Counter("package.counter")
)

func TestInitShutdownInit(t *testing.T) {
	for i := range 3 {
		c := otlptest.New(t)
		guard, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithLogOutput(&syncBuffer{}))
		require.NoError(t, err)
		ctx, span := packageTracer.Start(t.Context(), "package span")
		packageCounter.Add(ctx, int64(i+1))
		packageLogger.Emit(ctx, otellog.Record{})
		slog.InfoContext(ctx, "package log")
		span.End()
		require.NoError(t, guard.Shutdown(t.Context()))

		require.Equal(t, []string{"package span"}, spanNames(c), "round %d", i)
		require.Len(t, c.LogRecords(), 2, "round %d", i)
		m, err := c.WaitMetric(t.Context(), "package.counter")
		require.NoError(t, err)
		require.EqualValues(t, i+1, m.Points[0].Value, "a new round counts from zero")

		_, span = packageTracer.Start(t.Context(), "between rounds")
		require.False(t, span.IsRecording())
	}
}

// Instrumentation asks for the propagator once, when it is made.
func TestPropagatorFollowsTheNextInit(t *testing.T) {
	var asked []propagation.TextMapPropagator
	for _, names := range []string{"tracecontext", "baggage", "none"} {
		asked = append(asked, otel.GetTextMapPropagator())
		t.Setenv("OTEL_PROPAGATORS", names)
		guard, err := telemetry.Init(t.Context(), telemetry.WithLogOutput(&syncBuffer{}), telemetry.WithoutTraces(), telemetry.WithoutMetrics(), telemetry.WithoutLogs())
		require.NoError(t, err)
		asked = append(asked, otel.GetTextMapPropagator())
		for i, p := range asked {
			require.ElementsMatch(t, guard.Propagator().Fields(), p.Fields(), "%s, asked for %d", names, i)
		}
		require.NoError(t, guard.Shutdown(t.Context()))
	}
}

// A preset may say "what there is, and B3"; the global propagator as a part of itself would end the process.
func TestGlobalPropagatorIsNoPartOfItself(t *testing.T) {
	if !isChild() {
		runChild(t, "OTEL_PROPAGATORS=baggage")
		return
	}
	first := otel.GetTextMapPropagator()
	for range 2 {
		for _, global := range []propagation.TextMapPropagator{first, otel.GetTextMapPropagator()} {
			guard, err := telemetry.Init(t.Context(), telemetry.WithPropagators(global, propagation.TraceContext{}), telemetry.WithLogOutput(&syncBuffer{}),
				telemetry.WithoutTraces(), telemetry.WithoutMetrics(), telemetry.WithoutLogs())
			require.ErrorContains(t, err, "telemetry: WithPropagators must not contain OpenTelemetry's global propagator")
			require.Equal(t, []string{"baggage"}, otel.GetTextMapPropagator().Fields(), "the variable counts")

			follower, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithPropagators(otel.GetTextMapPropagator()),
				telemetry.WithLogOutput(&syncBuffer{}), telemetry.WithoutTraces(), telemetry.WithoutMetrics(), telemetry.WithoutLogs())
			require.NoError(t, err)
			require.Equal(t, []string{"baggage"}, follower.Propagator().Fields())
			require.NoError(t, follower.Shutdown(t.Context()))
			require.NoError(t, guard.Shutdown(t.Context()))
		}
	}
}

func TestSecondInitSharesTheFirst(t *testing.T) {
	c := otlptest.New(t)
	first, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithLogOutput(&syncBuffer{}))
	require.NoError(t, err)
	second, err := telemetry.Init(t.Context())
	require.ErrorIs(t, err, telemetry.ErrAlreadyInitialized)
	require.ErrorContains(t, err, "WithoutGlobals", "it says what to do")
	record(t.Context(), second, "through the second")
	require.NoError(t, second.ForceFlush(t.Context()))
	require.Equal(t, int64(1), second.Health().Traces.Exported)
	require.NoError(t, second.Shutdown(t.Context()), "the first goes on")
	record(t.Context(), first, "through the first")
	require.NoError(t, first.Shutdown(t.Context()))
	require.ElementsMatch(t, []string{"through the second", "through the first"}, spanNames(c))

	third, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithLogOutput(&syncBuffer{}))
	require.NoError(t, err, "after the first guard's shutdown the globals are free")
	require.NoError(t, third.Shutdown(t.Context()))
}

func TestWithoutGlobalsSideBySide(t *testing.T) {
	before := slog.Default()
	tp := otel.GetTracerProvider()
	var collectors [3]*otlptest.Collector
	var guards [3]*telemetry.Guard
	for i := range guards {
		collectors[i] = otlptest.New(t)
		guards[i], _ = start(t, collectors[i])
	}
	for i, g := range guards {
		record(t.Context(), g, string(rune('a'+i)))
	}
	for i, g := range guards {
		require.NoError(t, g.Shutdown(t.Context()))
		require.Equal(t, []string{string(rune('a' + i))}, spanNames(collectors[i]))
		require.Equal(t, []string{string(rune('a' + i))}, logBodies(collectors[i]))
	}
	require.Same(t, before, slog.Default())
	require.Equal(t, tp, otel.GetTracerProvider())
}

// restoreLoggers puts slog's default and the log package back after the test.
func restoreLoggers(t *testing.T) {
	logger, output, flags := slog.Default(), log.Writer(), log.Flags()
	t.Cleanup(func() {
		slog.SetDefault(logger)
		log.SetOutput(output)
		log.SetFlags(flags)
	})
}

// The last lines of a service that stops are as those before: of the same form, masked, and of the same level. The
// collector gets none of them.
func TestAfterShutdownTheLogGoesOnOnTheConsole(t *testing.T) {
	if !isChild() {
		runChild(t) // where slog's first handler is still the default
		return
	}
	early := slog.With("made", "before Init")
	c := otlptest.New(t)
	console := &syncBuffer{}
	begin := func(opts ...telemetry.Option) *telemetry.Guard {
		guard, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithLogOutput(console), telemetry.WithOptions(opts...))
		require.NoError(t, err)
		return guard
	}
	for _, round := range []string{"first", "second"} { // the second Init replaces what the first Shutdown has left
		guard := begin(telemetry.WithLogLevel(slog.LevelWarn), telemetry.ForLogs(telemetry.WithLogLevel(slog.LevelDebug)))
		derived := slog.With("order.id", 7).WithGroup("card")
		derived.Warn("before " + round)
		require.NoError(t, guard.Shutdown(t.Context()))
		books := guard.Health().Logs
		said := len(console.String())

		early.Warn("early", "password", "hunter2")
		slog.Info("too quiet")
		slog.Warn("stopping", "password", "hunter2")
		derived.Warn("derived", "number", "4111111111111111")
		guard.Logger().Warn("of the guard")
		log.Print("of the log package, at level info")
		lines := strings.Split(strings.TrimSpace(console.String()[said:]), "\n")
		require.Len(t, lines, 4, lines)
		require.Regexp(t, `^{"time":"[^"]+","level":"WARN","msg":"early","made":"before Init","password":"\[redacted\]"}$`, lines[0])
		lines = lines[1:]
		require.Regexp(t, `^{"time":"[^"]+","level":"WARN","msg":"stopping","password":"\[redacted\]"}$`, lines[0])
		require.Regexp(t, `^{"time":"[^"]+","level":"WARN","msg":"derived","order.id":7,"card":{"number":"\[redacted\]"}}$`, lines[1])
		require.Regexp(t, `"msg":"of the guard"}$`, lines[2])
		for _, logger := range []*slog.Logger{slog.Default(), guard.Logger(), derived} {
			require.False(t, logger.Enabled(t.Context(), slog.LevelDebug), "the OTLP branch alone wants that level")
		}
		require.Equal(t, books, guard.Health().Logs)
	}
	require.Equal(t, []string{"before first", "before second"}, logBodies(c))

	guard := begin()
	require.NoError(t, guard.Shutdown(t.Context()))
	said := len(console.String())
	log.Print("of the log package")
	require.Regexp(t, `^{"time":"[^"]+","level":"INFO","msg":"of the log package"}\n$`, console.String()[said:], "once, and as slog's")
}

// What a service has set itself stays.
func TestShutdownLeavesTheLogPackageOfTheService(t *testing.T) {
	restoreLoggers(t)
	console, own := &syncBuffer{}, &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithLogOutput(console), telemetry.WithoutTraces(), telemetry.WithoutMetrics(), telemetry.WithoutLogs())
	require.NoError(t, err)
	log.SetOutput(own)
	require.NoError(t, guard.Shutdown(t.Context()))
	log.Print("mine")
	slog.Info("on the console")
	require.Equal(t, "mine\n", own.String())
	require.Contains(t, console.String(), `"msg":"on the console"`)
}

func TestShutdownPutsTheGlobalsBack(t *testing.T) {
	restoreLoggers(t)
	propagator := otel.GetTextMapPropagator()
	console := &syncBuffer{}
	c := otlptest.New(t)
	guard, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithLogOutput(console))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"traceparent", "tracestate", "baggage"}, otel.GetTextMapPropagator().Fields())
	log.Print("from the log package")
	require.NoError(t, guard.Shutdown(t.Context()))

	require.Contains(t, console.String(), `"msg":"from the log package"`)
	require.Equal(t, []string{"from the log package"}, logBodies(c))
	require.Equal(t, propagator, otel.GetTextMapPropagator())
	require.NoError(t, guard.Shutdown(t.Context()))
}

func TestConcurrentInitsAgreeOnOneOwner(t *testing.T) {
	c := otlptest.New(t)
	guards, errs := make([]*telemetry.Guard, 8), make([]error, 8)
	var wg sync.WaitGroup
	for i := range guards {
		wg.Go(func() {
			guards[i], errs[i] = telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithLogOutput(&syncBuffer{}))
		})
	}
	wg.Wait()
	owners := 0
	for i, g := range guards {
		record(t.Context(), g, "x")
		require.NotEmpty(t, g.Propagator().Fields())
		require.NoError(t, g.ForceFlush(t.Context()), "a shared guard flushes the owner")
		require.Len(t, c.Spans(), i+1)
		require.Len(t, c.LogRecords(), i+1)
		if errs[i] == nil {
			owners++
		} else {
			require.ErrorIs(t, errs[i], telemetry.ErrAlreadyInitialized)
		}
	}
	require.Equal(t, 1, owners)
	for _, g := range guards {
		require.NoError(t, g.Shutdown(t.Context()))
	}
}

func TestPanicOfAViewSwitchesMetricsOff(t *testing.T) {
	c := otlptest.New(t)
	explode := telemetry.WithViews(func(sdkmetric.Instrument) (sdkmetric.Stream, bool) { panic("view") })
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(&syncBuffer{}), telemetry.WithEndpoint(c.HTTPEndpoint()), explode)
	require.ErrorContains(t, err, "telemetry: metrics are off: panic: view")
	record(t.Context(), guard, "x")
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Equal(t, []string{"x"}, spanNames(c))
}

// Instruments from before Init are made anew in it, and go through the views there.
func TestPanicOfAViewCostsAnEarlierInstrumentOnly(t *testing.T) {
	broken, err := otel.Meter("earlier").Int64Counter("earlier.broken")
	require.NoError(t, err)
	sound, err := otel.Meter("earlier").Int64Counter("earlier.sound")
	require.NoError(t, err)
	c, console := otlptest.New(t), &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithLogOutput(console),
		telemetry.WithViews(func(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
			if i.Name == "earlier.broken" {
				panic("view")
			}
			return sdkmetric.Stream{}, false
		}))
	require.NoError(t, err)
	broken.Add(t.Context(), 1)
	sound.Add(t.Context(), 1)
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Contains(t, metricNames(c), "earlier.sound")
	require.NotContains(t, metricNames(c), "earlier.broken")
	require.Contains(t, console.String(), "metrics after a switch of providers: panic: view")
}

// An operator's injection reaches services that name themselves, too: that is worth a line and no warning.
func TestANameThatTheOptionOverrulesIsARemark(t *testing.T) {
	t.Setenv("OTEL_SERVICE_NAME", "injected")
	c := otlptest.New(t)
	guard, console := start(t, c, telemetry.WithServiceName("checkout"))
	record(t.Context(), guard, "x")
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Equal(t, "checkout", c.Spans()[0].Resource["service.name"])
	require.Regexp(t, `(?m)^{[^\n]*"level":"INFO","msg":"telemetry: WithServiceName\(\\"checkout\\"\) overrides OTEL_SERVICE_NAME=\\"injected\\"; remove the option to let the environment decide"`, console.String())
	require.NotContains(t, console.String(), `"level":"WARN"`)
	require.Regexp(t, `(?m)^remarks\n  WithServiceName\("checkout"\) overrides`, guard.Describe())
}

func TestShutdownLeavesForeignGlobalsAlone(t *testing.T) {
	before := otel.GetTextMapPropagator()
	t.Cleanup(func() { otel.SetTextMapPropagator(before) })
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutTraces(), telemetry.WithoutMetrics(), telemetry.WithoutLogs(), telemetry.WithLogOutput(&syncBuffer{}))
	require.NoError(t, err)
	mine, previous := propagation.NewCompositeTextMapPropagator(propagation.Baggage{}), slog.Default()
	logger := slog.New(slog.DiscardHandler)
	otel.SetTextMapPropagator(mine)
	slog.SetDefault(logger)
	t.Cleanup(func() { slog.SetDefault(previous) })
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Equal(t, mine, otel.GetTextMapPropagator())
	require.Same(t, logger, slog.Default())
}

func TestNilGuardIsSafe(t *testing.T) {
	var guard *telemetry.Guard
	require.NoError(t, guard.Shutdown(t.Context()))
	require.NoError(t, guard.ForceFlush(t.Context()))
	_, span := guard.TracerProvider().Tracer("x").Start(t.Context(), "x")
	require.False(t, span.IsRecording())
	_, err := guard.MeterProvider().Meter("x").Int64Counter("x")
	require.NoError(t, err)
	require.NotNil(t, guard.LoggerProvider().Logger("x"))
	require.Empty(t, guard.Propagator().Fields())
	require.Same(t, slog.Default(), guard.Logger())
}

func TestSwitchedOffSignals(t *testing.T) {
	tests := []struct {
		name                 string
		env                  map[string]string
		opts                 []telemetry.Option
		traces, metric, logs bool
	}{
		{name: "disabled", env: map[string]string{"OTEL_SDK_DISABLED": "true"}},
		{name: "without traces", opts: []telemetry.Option{telemetry.WithoutTraces()}, metric: true, logs: true},
		{name: "without metrics", opts: []telemetry.Option{telemetry.WithoutMetrics()}, traces: true, logs: true},
		{name: "without logs", opts: []telemetry.Option{telemetry.WithoutLogs()}, traces: true, metric: true},
		{name: "exporter none", env: map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "NONE"}, metric: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			c := otlptest.New(t)
			guard, console := start(t, c, tt.opts...)
			record(t.Context(), guard, "x")
			require.NoError(t, guard.Shutdown(t.Context()))
			require.Equal(t, tt.traces, len(c.Spans()) > 0)
			require.Equal(t, tt.metric, len(c.Metrics()) > 0)
			require.Equal(t, tt.logs, len(c.LogRecords()) > 0)
			require.Contains(t, console.String(), `"msg":"x"`, "the console log always works")

			remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, Remote: true})
			ctx, span := guard.TracerProvider().Tracer("x").Start(trace.ContextWithRemoteSpanContext(t.Context(), remote), "x")
			defer span.End()
			carrier := propagation.MapCarrier{}
			guard.Propagator().Inject(ctx, carrier)
			require.Contains(t, carrier["traceparent"], remote.TraceID().String(), "context propagates all the same")
		})
	}
}

func TestTLS(t *testing.T) {
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			t.Run("certificate files", func(t *testing.T) {
				c := otlptest.New(t, otlptest.WithTLS(certs.MutualServer))
				t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", certs.CAFile)
				t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certs.ClientCertFile)
				t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", certs.ClientKeyFile)
				guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))), telemetry.WithProtocol(protocol))
				record(t.Context(), guard, "x")
				require.NoError(t, guard.Shutdown(t.Context()))
				require.Equal(t, []string{"x"}, spanNames(c))
				require.Equal(t, []string{"x"}, logBodies(c))
				require.Contains(t, metricNames(c), "x")
			})
			t.Run("option", func(t *testing.T) {
				c := otlptest.New(t, otlptest.WithTLS(certs.MutualServer))
				guard, _ := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))), telemetry.WithProtocol(protocol), telemetry.WithTLSConfig(certs.Client))
				record(t.Context(), guard, "x")
				require.NoError(t, guard.Shutdown(t.Context()))
				require.Equal(t, []string{"x"}, spanNames(c))
			})
			t.Run("https is never downgraded", func(t *testing.T) {
				c := otlptest.New(t, otlptest.WithTLS(certs.Server))
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.Endpoint(string(protocol)))
				t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", string(protocol))
				t.Setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
				t.Setenv("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true")
				t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", certs.CAFile)
				guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(&syncBuffer{}))
				require.NoError(t, err)
				record(t.Context(), guard, "x")
				require.NoError(t, guard.Shutdown(t.Context()))
				require.Equal(t, []string{"x"}, spanNames(c))
				require.Zero(t, c.PlaintextBytes())

				t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "")
				guard, err = telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(&syncBuffer{}), telemetry.WithShutdownTimeout(time.Second))
				require.NoError(t, err)
				record(t.Context(), guard, "y")
				require.Error(t, guard.Shutdown(t.Context()), "an unknown authority is refused")
				require.Equal(t, []string{"x"}, spanNames(c))
				require.Zero(t, c.PlaintextBytes())
			})
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	c := otlptest.New(t)
	redirect := httptest.NewServer(http.RedirectHandler(c.HTTPEndpoint()+"/v1/traces", http.StatusTemporaryRedirect))
	defer redirect.Close()
	guard, _ := start(t, c, telemetry.WithEndpoint(redirect.URL), telemetry.WithHeaders(map[string]string{"api-key": "s3cr3t"}), telemetry.WithoutMetrics(), telemetry.WithoutLogs())
	record(t.Context(), guard, "x")
	_ = guard.Shutdown(t.Context())
	require.Empty(t, c.Requests(), "the headers' secrets stay with the configured host")
}

func TestHeadersTravelWithEachSignal(t *testing.T) {
	for _, protocol := range protocols {
		c := otlptest.New(t)
		guard, console := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))), telemetry.WithProtocol(protocol),
			telemetry.WithHeaders(map[string]string{"api-key": "s3cr3t"}), telemetry.ForLogs(telemetry.WithHeaders(map[string]string{"api-key": "other"})))
		record(t.Context(), guard, "x")
		require.NoError(t, guard.Shutdown(t.Context()))
		for _, request := range c.Requests() {
			want := "s3cr3t"
			if request.Signal == otlptest.Logs {
				want = "other"
			}
			require.Equal(t, want, request.Header.Get("api-key"), request.Signal)
		}
		require.NotContains(t, console.String(), "s3cr3t")
	}
}

// TestMalformedHeaderNeverAppears runs a whole process, because the exporters print through globals of their own.
func TestMalformedHeaderNeverAppears(t *testing.T) {
	if isChild() {
		opts := []telemetry.Option{telemetry.WithShutdownTimeout(time.Second)}
		if os.Getenv("GLOBALS") == "without" {
			opts = append(opts, telemetry.WithoutGlobals())
		}
		guard, err := telemetry.Init(t.Context(), opts...)
		log.Print(err)
		record(t.Context(), guard, "x")
		log.Print(guard.Shutdown(t.Context()))
		return
	}
	t.Parallel()
	atOnce(t, overProtocols("with", "without"), func(c protocolCase[string]) string { return c.of + " globals over " + string(c.protocol) },
		func(t *testing.T, c protocolCase[string]) {
			output := runTest(t, "TestMalformedHeaderNeverAppears", "GLOBALS="+c.of, "OTEL_EXPORTER_OTLP_PROTOCOL="+string(c.protocol),
				"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_LOG_LEVEL=debug",
				"OTEL_EXPORTER_OTLP_HEADERS=s3cr3tA,authorization=Bearer%zzs3cr3tB,b ad=s3cr3tC", "OTEL_EXPORTER_OTLP_LOGS_HEADERS=s3cr3tD",
				"OTEL_RESOURCE_ATTRIBUTES=team=pay,password-s3cr3tE", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=https://user:s3cr3tF@host:bad")
			require.Contains(t, output, "malformed and left out")
			require.NotContains(t, output, "s3cr3t")
		})
}

func TestMissingEndpointDoesNotDelayTheStart(t *testing.T) {
	begin := time.Now()
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(&syncBuffer{}), telemetry.WithEndpoint("http://127.0.0.1:1"),
		telemetry.WithShutdownTimeout(500*time.Millisecond))
	require.NoError(t, err)
	require.Less(t, time.Since(begin), 2*time.Second)
	require.ErrorContains(t, guard.Shutdown(t.Context()), "metrics", "the runtime metrics could not be delivered")
}

func TestErrorHandlerReceivesWhatTheLibrarySays(t *testing.T) {
	c := otlptest.New(t)
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "many")
	var said []string
	handler := otel.ErrorHandlerFunc(func(err error) { said = append(said, err.Error()) })
	_, console := start(t, c, telemetry.WithErrorHandler(handler))
	require.Len(t, said, 1)
	require.Contains(t, said[0], "OTEL_BSP_MAX_QUEUE_SIZE")

	_, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithErrorHandler(otel.ErrorHandlerFunc(func(error) { panic("handler") })),
		telemetry.WithoutTraces(), telemetry.WithoutMetrics(), telemetry.WithoutLogs())
	require.NoError(t, err, "a handler that panics does not take Init with it")
	require.NotContains(t, console.String(), "OTEL_BSP_MAX_QUEUE_SIZE")
}

func TestSDKErrorsReachTheConsoleOncePerCause(t *testing.T) {
	console := &syncBuffer{}
	c := otlptest.New(t)
	guard, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithLogOutput(console))
	require.NoError(t, err)
	for range 100 {
		otel.Handle(errors.New("the same trouble"))
	}
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Equal(t, 2, strings.Count(console.String(), "the same trouble"), "once at once, and once at the end with the count")
	require.Contains(t, console.String(), `"msg":"telemetry: the same trouble: 100 times in the last `)
	require.NotContains(t, strings.Join(logBodies(c), " "), "trouble", "the library's own lines never travel through the OTLP branch")
}

func TestGuardsWithoutGlobalsSayWhoTheyAre(t *testing.T) {
	c := otlptest.New(t)
	_, console := start(t, c, telemetry.WithServiceName("gateway"))
	require.Equal(t, 1, strings.Count(console.String(), "\n"), console)
	require.Contains(t, console.String(), `"msg":"telemetry: started","service.name":"gateway"`)
	require.Equal(t, 1, strings.Count(console.String(), `"service.name":`))
}

// Two guards of one process describe the same configuration alike, although their ids differ.
func TestDescriptionsCanBeCompared(t *testing.T) {
	c := otlptest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cr3t")
	t.Setenv("OTEL_TRACE_EXPORTER", "console")
	one, console := start(t, c)
	two, _ := start(t, c)
	require.Equal(t, one.Describe(), two.Describe())
	require.Contains(t, one.Describe(), "  OTEL_TRACE_EXPORTER is not a known variable and is ignored; did you mean OTEL_TRACES_EXPORTER?\n")
	require.Equal(t, 1, strings.Count(console.String(), "OTEL_TRACE_EXPORTER"))
	require.Regexp(t, `(?m)^  traces headers +api-key=<redacted> +OTEL_EXPORTER_OTLP_HEADERS +-$`, one.Describe())
	require.NotContains(t, one.Describe(), "s3cr3t")

	owner, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithLogOutput(&syncBuffer{}))
	require.NoError(t, err)
	shared, err := telemetry.Init(t.Context())
	require.ErrorIs(t, err, telemetry.ErrAlreadyInitialized)
	require.Equal(t, owner.Describe(), shared.Describe())
	require.NoError(t, owner.Shutdown(t.Context()))
	var none *telemetry.Guard
	require.NotEmpty(t, none.Describe())
}
