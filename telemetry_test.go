package telemetry_test

import (
	"errors"
	"log"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestThreeLinesAndAnEndpointDeliverAllSignals(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.Endpoint(string(protocol)))
			if protocol != telemetry.ProtocolHTTP {
				t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", string(protocol))
			}
			guard, err := telemetry.Init(t.Context(), telemetry.WithServiceName("checkout"),
				telemetry.WithLogOutput(&syncBuffer{}))
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

func TestInvalidSettingsAreReportedTogetherAndTheRestRuns(t *testing.T) {
	c := otlptest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "carrier:pigeon://x")
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
	console := &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(console),
		telemetry.WithServiceName(""), telemetry.ForMetrics(telemetry.WithProtocol("udp")),
		telemetry.ForLogs(telemetry.WithEndpoint(c.HTTPEndpoint())),
		telemetry.WithShutdownTimeout(-1))
	require.NotNil(t, guard)
	for _, part := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "WithServiceName",
		`WithProtocol("udp") is unknown`, "WithShutdownTimeout"} {
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
	for _, name := range []string{"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
		"OTEL_BSP_SCHEDULE_DELAY"} {
		require.Equal(t, 1, strings.Count(console.String(), name+`=\"-1\" must be`), console.String())
	}
}

func TestInitAgainAfterShutdown(t *testing.T) {
	for i := range 3 {
		c := otlptest.New(t)
		guard, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()),
			telemetry.WithLogOutput(&syncBuffer{}))
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

// Instrumentation gets the propagator once, when it is created.
func TestPropagatorFollowsTheNextInit(t *testing.T) {
	var asked []propagation.TextMapPropagator
	for _, names := range []string{"tracecontext", "baggage", "none"} {
		asked = append(asked, otel.GetTextMapPropagator())
		t.Setenv("OTEL_PROPAGATORS", names)
		guard, err := telemetry.Init(t.Context(), telemetry.WithLogOutput(&syncBuffer{}), telemetry.WithoutTraces(),
			telemetry.WithoutMetrics(), telemetry.WithoutLogs())
		require.NoError(t, err)
		asked = append(asked, otel.GetTextMapPropagator())
		for i, p := range asked {
			require.ElementsMatch(t, guard.Propagator().Fields(), p.Fields(), "%s, asked for %d", names, i)
		}
		require.NoError(t, guard.Shutdown(t.Context()))
	}
}

// A preset may combine the current propagator with B3. A global propagator that contains itself
// would crash the process.
func TestTheGlobalPropagatorCannotContainItself(t *testing.T) {
	if !isChild() {
		runChild(t, "OTEL_PROPAGATORS=baggage")
		return
	}
	first := otel.GetTextMapPropagator()
	for range 2 {
		for _, global := range []propagation.TextMapPropagator{first, otel.GetTextMapPropagator()} {
			guard, err := telemetry.Init(t.Context(), telemetry.WithPropagators(global, propagation.TraceContext{}),
				telemetry.WithLogOutput(&syncBuffer{}),
				telemetry.WithoutTraces(), telemetry.WithoutMetrics(), telemetry.WithoutLogs())
			require.ErrorContains(t, err, "telemetry: WithPropagators must not contain OpenTelemetry's global "+
				"propagator")
			require.Equal(t, []string{"baggage"}, otel.GetTextMapPropagator().Fields(), "the variable counts")

			follower, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(),
				telemetry.WithPropagators(otel.GetTextMapPropagator()),
				telemetry.WithLogOutput(&syncBuffer{}), telemetry.WithoutTraces(), telemetry.WithoutMetrics(),
				telemetry.WithoutLogs())
			require.NoError(t, err)
			require.Equal(t, []string{"baggage"}, follower.Propagator().Fields())
			require.NoError(t, follower.Shutdown(t.Context()))
			require.NoError(t, guard.Shutdown(t.Context()))
		}
	}
}

func TestSecondInitSharesTheFirst(t *testing.T) {
	c := otlptest.New(t)
	first, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()),
		telemetry.WithLogOutput(&syncBuffer{}))
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

	third, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()),
		telemetry.WithLogOutput(&syncBuffer{}))
	require.NoError(t, err, "after the first guard's shutdown the globals are free")
	require.NoError(t, third.Shutdown(t.Context()))
}

func TestGuardsWithoutGlobalsDoNotInterfere(t *testing.T) {
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

// The last lines of a service that stops look like those before: of the same form, masked, and of
// the same level. The collector gets none of them.
func TestLoggingContinuesOnTheConsoleAfterShutdown(t *testing.T) {
	if !isChild() {
		runChild(t) // where slog's first handler is still the default
		return
	}
	early := slog.With("made", "before Init")
	c := otlptest.New(t)
	console := &syncBuffer{}
	begin := func(opts ...telemetry.Option) *telemetry.Guard {
		guard, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()),
			telemetry.WithLogOutput(console), telemetry.WithOptions(opts...))
		require.NoError(t, err)
		return guard
	}
	for _, round := range []string{"first", "second"} { // the second Init replaces what the first Shutdown has left
		guard := begin(telemetry.WithLogLevel(slog.LevelWarn),
			telemetry.ForLogs(telemetry.WithLogLevel(slog.LevelDebug)))
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
	require.Regexp(t, `^{"time":"[^"]+","level":"INFO","msg":"of the log package"}\n$`, console.String()[said:],
		"once, and as slog's")
}

// An output that the service has set itself stays.
func TestShutdownKeepsTheServicesLogOutput(t *testing.T) {
	restoreLoggers(t)
	console, own := &syncBuffer{}, &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithLogOutput(console), telemetry.WithoutTraces(),
		telemetry.WithoutMetrics(), telemetry.WithoutLogs())
	require.NoError(t, err)
	log.SetOutput(own)
	require.NoError(t, guard.Shutdown(t.Context()))
	log.Print("mine")
	slog.Info("on the console")
	require.Equal(t, "mine\n", own.String())
	require.Contains(t, console.String(), `"msg":"on the console"`)
}

func TestShutdownRestoresTheGlobals(t *testing.T) {
	restoreLoggers(t)
	propagator := otel.GetTextMapPropagator()
	console := &syncBuffer{}
	c := otlptest.New(t)
	guard, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()),
		telemetry.WithLogOutput(console))
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
			guards[i], errs[i] = telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()),
				telemetry.WithLogOutput(&syncBuffer{}))
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

func TestAPanicInAViewDisablesMetrics(t *testing.T) {
	c := otlptest.New(t)
	explode := telemetry.WithViews(func(sdkmetric.Instrument) (sdkmetric.Stream, bool) { panic("view") })
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(&syncBuffer{}),
		telemetry.WithEndpoint(c.HTTPEndpoint()), explode)
	require.ErrorContains(t, err, "telemetry: metrics are off: panic: view")
	record(t.Context(), guard, "x")
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Equal(t, []string{"x"}, spanNames(c))
}

// Instruments from before Init are created again in it, and pass through the views there.
func TestAPanicInAViewCostsOnlyTheEarlierInstrument(t *testing.T) {
	broken, err := otel.Meter("earlier").Int64Counter("earlier.broken")
	require.NoError(t, err)
	sound, err := otel.Meter("earlier").Int64Counter("earlier.sound")
	require.NoError(t, err)
	c, console := otlptest.New(t), &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()),
		telemetry.WithLogOutput(console),
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
	require.Contains(t, console.String(), "could not switch to the new OpenTelemetry providers: panic: view")
}

// An operator's variable also reaches services that set their own name. That deserves a remark and
// not a warning.
func TestAnOverriddenServiceNameIsARemark(t *testing.T) {
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

func TestShutdownKeepsGlobalsThatTheServiceSet(t *testing.T) {
	before := otel.GetTextMapPropagator()
	t.Cleanup(func() { otel.SetTextMapPropagator(before) })
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutTraces(), telemetry.WithoutMetrics(),
		telemetry.WithoutLogs(), telemetry.WithLogOutput(&syncBuffer{}))
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

func TestDisabledSignalsSendNothing(t *testing.T) {
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
		{name: "exporter none", env: map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "NONE"},
			metric: true},
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

			remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
				Remote: true})
			ctx, span := guard.TracerProvider().Tracer("x").Start(trace.ContextWithRemoteSpanContext(t.Context(),
				remote), "x")
			defer span.End()
			carrier := propagation.MapCarrier{}
			guard.Propagator().Inject(ctx, carrier)
			require.Contains(t, carrier["traceparent"], remote.TraceID().String(), "context propagates all the same")
		})
	}
}

func TestErrorHandlerReceivesTheLibrarysErrors(t *testing.T) {
	c := otlptest.New(t)
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "many")
	var said []string
	handler := otel.ErrorHandlerFunc(func(err error) { said = append(said, err.Error()) })
	_, console := start(t, c, telemetry.WithErrorHandler(handler))
	require.Len(t, said, 1)
	require.Contains(t, said[0], "OTEL_BSP_MAX_QUEUE_SIZE")

	_, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(),
		telemetry.WithErrorHandler(otel.ErrorHandlerFunc(func(error) { panic("handler") })),
		telemetry.WithoutTraces(), telemetry.WithoutMetrics(), telemetry.WithoutLogs())
	require.NoError(t, err, "a handler that panics does not take Init with it")
	require.NotContains(t, console.String(), "OTEL_BSP_MAX_QUEUE_SIZE")
}

func TestSDKErrorsAreLoggedOncePerCause(t *testing.T) {
	console := &syncBuffer{}
	c := otlptest.New(t)
	guard, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()),
		telemetry.WithLogOutput(console))
	require.NoError(t, err)
	for range 100 {
		otel.Handle(errors.New("the same trouble"))
	}
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Equal(t, 2, strings.Count(console.String(), "the same trouble"),
		"once at once, and once at the end with the count")
	require.Contains(t, console.String(), `"msg":"telemetry: the same trouble: 100 times in the last `)
	require.NotContains(t, strings.Join(logBodies(c), " "), "trouble",
		"the library's own lines never travel through the OTLP branch")
}

func TestGuardsWithoutGlobalsLogTheirServiceName(t *testing.T) {
	c := otlptest.New(t)
	_, console := start(t, c, telemetry.WithServiceName("gateway"))
	require.Equal(t, 1, strings.Count(console.String(), "\n"), console)
	require.Contains(t, console.String(), `"msg":"telemetry: started","service.name":"gateway"`)
	require.Equal(t, 1, strings.Count(console.String(), `"service.name":`))
}

// Two guards of one process with the same configuration have the same description, although their
// ids differ.
func TestEqualConfigurationsHaveEqualDescriptions(t *testing.T) {
	c := otlptest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cr3t")
	t.Setenv("OTEL_TRACE_EXPORTER", "console")
	one, console := start(t, c)
	two, _ := start(t, c)
	require.Equal(t, one.Describe(), two.Describe())
	require.Contains(t, one.Describe(),
		"  OTEL_TRACE_EXPORTER is not a known variable and is ignored; did you mean OTEL_TRACES_EXPORTER?\n")
	require.Equal(t, 1, strings.Count(console.String(), "OTEL_TRACE_EXPORTER"))
	require.Regexp(t, `(?m)^  traces headers +api-key=<redacted> +OTEL_EXPORTER_OTLP_HEADERS +-$`, one.Describe())
	require.NotContains(t, one.Describe(), "s3cr3t")

	owner, err := telemetry.Init(t.Context(), telemetry.WithEndpoint(c.HTTPEndpoint()),
		telemetry.WithLogOutput(&syncBuffer{}))
	require.NoError(t, err)
	shared, err := telemetry.Init(t.Context())
	require.ErrorIs(t, err, telemetry.ErrAlreadyInitialized)
	require.Equal(t, owner.Describe(), shared.Describe())
	require.NoError(t, owner.Shutdown(t.Context()))
	var none *telemetry.Guard
	require.NotEmpty(t, none.Describe())
}

// Package-level instruments, as services write them, must follow every Init.
var (
	packageTracer     = otel.Tracer("package")
	packageLogger     = otel.Logger("package")
	packageCounter, _ = otel.Meter("package").Int64Counter("package.counter")
)

// restoreLoggers puts slog's default and the log package back after the test.
func restoreLoggers(t *testing.T) {
	logger, output, flags := slog.Default(), log.Writer(), log.Flags()
	t.Cleanup(func() {
		slog.SetDefault(logger)
		log.SetOutput(output)
		log.SetFlags(flags)
	})
}
