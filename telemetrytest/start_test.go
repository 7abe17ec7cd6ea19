package telemetrytest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/telemetrytest"
)

const (
	waitFor = 10 * time.Second
	tick    = time.Millisecond
)

// packageTracer is how most services have theirs.
var packageTracer = otel.Tracer("shop")

// TestGlobalsGoToOneTestAfterTheOther has everything that services take from the globals follow
// each test in turn.
func TestGlobalsGoToOneTestAfterTheOther(t *testing.T) {
	counter, err := otel.Meter("shop").Int64Counter("orders")
	require.NoError(t, err)
	for _, name := range []string{"first", "second"} {
		t.Run(name, func(t *testing.T) {
			r := telemetrytest.Start(t)
			ctx, span := packageTracer.Start(t.Context(), name)
			slog.InfoContext(ctx, "by slog")
			log.Print("by log")
			counter.Add(ctx, 1)
			span.End()
			require.Equal(t, name, r.RequireSpan(t, name).Trace().Roots[0].Name)
			r.RequireSpan(t, name).RequireLog(t, "by slog")
			r.RequireLog(t, "by log")
			require.Equal(t, 1.0, r.RequireMetric(t, "orders").Total())
			require.Len(t, r.Spans(), 1)
		})
	}
	_, span := packageTracer.Start(t.Context(), "after")
	require.False(t, span.IsRecording())
	span.End()
}

func TestGlobalsArePutBack(t *testing.T) {
	var before, after bytes.Buffer
	output, flags, prefix, logger := log.Writer(), log.Flags(), log.Prefix(), slog.Default()
	t.Cleanup(func() {
		slog.SetDefault(logger)
		log.SetOutput(output)
		log.SetFlags(flags)
		log.SetPrefix(prefix)
	})
	mine := slog.New(slog.NewTextHandler(&before, nil))
	slog.SetDefault(mine)
	log.SetOutput(&before)
	log.SetFlags(log.Lmicroseconds)
	log.SetPrefix("mine: ")
	providers := []any{otel.GetTracerProvider(), otel.GetMeterProvider(), otel.GetLoggerProvider(),
		otel.GetTextMapPropagator(), otel.GetErrorHandler()}

	f := run(t, func(tb testing.TB) {
		r := telemetrytest.Start(tb)
		require.Equal(t, r.Guard.Logger(), slog.Default())
		// What a service's own set-up may do besides.
		slog.SetDefault(r.Guard.Logger().With("service", "shop"))
		log.SetOutput(&after)
		log.SetFlags(log.LUTC)
		log.SetPrefix("service: ")
		otel.SetTracerProvider(tracenoop.NewTracerProvider())
		otel.SetTextMapPropagator(propagation.Baggage{})
	})
	require.Empty(t, f.failures)

	require.Equal(t, providers, []any{otel.GetTracerProvider(), otel.GetMeterProvider(), otel.GetLoggerProvider(),
		otel.GetTextMapPropagator(), otel.GetErrorHandler()})
	require.Same(t, mine, slog.Default())
	require.Equal(t, &before, log.Writer())
	require.Equal(t, log.Lmicroseconds, log.Flags())
	require.Equal(t, "mine: ", log.Prefix())
	log.Print("afterwards")
	require.Contains(t, before.String(), "mine: ")
	require.Empty(t, after.String())
}

func TestASecondTestThatWantsTheGlobalsIsToldWhatToDo(t *testing.T) {
	t.Run("beside a test", func(t *testing.T) {
		r := telemetrytest.Start(t)
		message := failure(t, func(tb testing.TB) { telemetrytest.Start(tb) })
		require.Contains(t, message, "OpenTelemetry's globals are in use by "+
			"TestASecondTestThatWantsTheGlobalsIsToldWhatToDo/beside_a_test.")
		require.Contains(t, message, "telemetrytest.Start(t, telemetry.WithoutGlobals())")
		require.Contains(t, message, "leave t.Parallel out")
		require.Same(t, r.Guard.Logger(), slog.Default(), "the first one keeps them")
		other := telemetrytest.Start(t, telemetry.WithoutGlobals())
		order(other.Guard)
		require.Len(t, other.Spans(), 3)
		require.Empty(t, r.Spans())
	})
	t.Run("beside a guard", func(t *testing.T) {
		guard, err := telemetry.Init(t.Context(), telemetry.WithoutTraces(), telemetry.WithoutMetrics(),
			telemetry.WithoutLogs(), telemetry.WithLogOutput(io.Discard))
		require.NoError(t, err)
		message := failure(t, func(tb testing.TB) { telemetrytest.Start(tb) })
		require.NoError(t, guard.Shutdown(t.Context()))
		require.Contains(t, message, "in use by a guard of telemetry.Init that has not been shut down")
	})
	t.Run("afterwards", func(t *testing.T) { telemetrytest.Start(t) })
}

// TestAServiceThatCallsInitShares has the service's own main code under test.
func TestAServiceThatCallsInitShares(t *testing.T) {
	r := telemetrytest.Start(t)
	guard, err := telemetry.Init(t.Context(), telemetry.WithServiceName("shop"))
	require.ErrorIs(t, err, telemetry.ErrAlreadyInitialized)
	order(guard)
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Len(t, r.RequireSpan(t, "POST /orders").Trace().Spans, 3)
}

// TestTheEnvironmentDoesNotMatter has a machine with everything set that could change a test, or
// lead its data away.
func TestTheEnvironmentDoesNotMatter(t *testing.T) {
	elsewhere := telemetrytest.NewCollector(t)
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT":                       elsewhere.HTTPEndpoint(),
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT":                elsewhere.HTTPEndpoint() + "/v1/traces",
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT":               elsewhere.HTTPEndpoint() + "/v1/metrics",
		"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT":                  elsewhere.HTTPEndpoint() + "/v1/logs",
		"OTEL_EXPORTER_OTLP_PROTOCOL":                       "grpc",
		"OTEL_EXPORTER_OTLP_HEADERS":                        "api-key=s3cr3t",
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS":                 "api-key=s3cr3t",
		"OTEL_EXPORTER_OTLP_COMPRESSION":                    "none",
		"OTEL_EXPORTER_OTLP_TIMEOUT":                        "1",
		"OTEL_EXPORTER_OTLP_CERTIFICATE":                    "/does/not/exist",
		"OTEL_SDK_DISABLED":                                 "true",
		"OTEL_CONFIG_FILE":                                  "/does/not/exist",
		"OTEL_TRACES_EXPORTER":                              "none",
		"OTEL_METRICS_EXPORTER":                             "console",
		"OTEL_LOGS_EXPORTER":                                "none",
		"OTEL_TRACES_SAMPLER":                               "always_off",
		"OTEL_PROPAGATORS":                                  "none",
		"OTEL_SERVICE_NAME":                                 "production",
		"OTEL_RESOURCE_ATTRIBUTES":                          "deployment.environment.name=production",
		"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT":                   "0",
		"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT":                 "1",
		"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT":              "0",
		"OTEL_BSP_MAX_QUEUE_SIZE":                           "1",
		"OTEL_BLRP_MAX_QUEUE_SIZE":                          "-1",
		"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
		"TELEMETRY_METRIC_CARDINALITY_LIMIT":                "1",
		"TELEMETRY_SPOOL_DIR":                               t.TempDir(),
		"TELEMETRY_PROFILE":                                 "edge",
		"TELEMETRY_LOG_FORMAT":                              "no such format",
		"LOG_LEVEL":                                         "error",
		"K8S_POD_NAME":                                      "production-1",
	} {
		t.Setenv(name, value)
	}
	f := run(t, func(tb testing.TB) {
		r := telemetrytest.Start(tb, telemetry.WithoutGlobals())
		order(r.Guard)
		order(r.Guard)
		r.Reset()
		order(r.Guard)
		root := r.RequireSpan(tb, "POST /orders", route)
		root.RequireChild(tb, "check_stock").RequireLog(tb, "stock is low")
		require.Equal(t, 3.0, r.RequireMetric(tb, "orders").Total(), "cumulative")
		require.Equal(t, "test", root.Resource["service.name"])
		require.NotContains(t, root.Resource, "k8s.pod.name")
		require.NotContains(t, root.Resource, "deployment.environment.name")
		for _, request := range r.Requests() {
			require.Empty(t, request.Header.Get("api-key"))
			require.Equal(t, "http/protobuf", request.Protocol)
			require.Equal(t, "gzip", request.Encoding)
		}
		require.Equal(t, []string{"baggage", "traceparent", "tracestate"}, sorted(r.Guard.Propagator().Fields()))
		require.NotContains(t, r.Guard.Describe(), "s3cr3t")
	})
	require.Empty(t, f.failures)
	require.Empty(t, elsewhere.Requests())
	require.Empty(t, elsewhere.Spans())
}

// TestAPresetCannotLeadTestDataAway has a platform team's options, as services pass them to Init.
func TestAPresetCannotLeadTestDataAway(t *testing.T) {
	t.Parallel()
	elsewhere := telemetrytest.NewCollector(t)
	preset := telemetry.WithOptions(
		telemetry.WithEndpoint(elsewhere.GRPCEndpoint()), telemetry.WithProtocol(telemetry.ProtocolGRPC),
		telemetry.WithServiceName("shop"), telemetry.ForTraces(telemetry.WithEndpoint(elsewhere.HTTPEndpoint()),
			telemetry.WithProtocol(telemetry.ProtocolHTTP)),
		telemetry.ForMetrics(telemetry.WithEndpoint(elsewhere.HTTPEndpoint())),
		telemetry.ForLogs(telemetry.WithProtocol(telemetry.ProtocolGRPC)),
		telemetry.WithProfile(telemetry.ProfileDevelopment),
	)
	r := telemetrytest.Start(t, preset, telemetry.WithoutGlobals())
	order(r.Guard)
	require.Equal(t, "shop", r.RequireSpan(t, "POST /orders").Resource["service.name"])
	r.RequireLog(t, "order received")
	r.RequireMetric(t, "orders")
	require.Empty(t, elsewhere.Requests())
}

// TestEverySpanIsKept has far more traces than the adaptive sampler keeps, which services have by
// default.
func TestEverySpanIsKept(t *testing.T) {
	r := parallel(t)
	for range 500 {
		_, span := r.Guard.TracerProvider().Tracer("shop").Start(t.Context(), "x")
		span.End()
	}
	require.Len(t, r.Spans("x"), 500)
}

func TestOptionsWin(t *testing.T) {
	t.Parallel()
	var console bytes.Buffer
	r := telemetrytest.Start(t, telemetry.WithoutGlobals(), telemetry.WithSampler(sdktrace.NeverSample()),
		telemetry.WithLogOutput(&console))
	order(r.Guard)
	r.RequireLog(t, "order received")
	require.Empty(t, r.Spans())
	require.Contains(t, console.String(), "order received")
	require.NotContains(t, console.String(), "telemetry: started")
}

func TestWrongOptionsFailTheTest(t *testing.T) {
	t.Parallel()
	message := failure(t, func(tb testing.TB) {
		telemetrytest.Start(tb, telemetry.WithoutGlobals(), telemetry.WithLogFormat("prose"))
	})
	require.Contains(t, message, "Init refuses the options of this test")
	require.Contains(t, message, "prose")
}

// TestTheLogIsTheTestsOutput as long as the test runs: a goroutine that a service leaves behind
// must not crash it.
func TestTheLogIsTheTestsOutput(t *testing.T) {
	t.Parallel()
	var output bytes.Buffer
	f := &fakeTest{TB: t, name: "fake", output: &output}
	r := telemetrytest.Start(f, telemetry.WithoutGlobals())
	order(r.Guard)
	require.Contains(t, output.String(), `level=WARN msg="stock is low" left=1 trace_id=`)
	require.NotContains(t, output.String(), "telemetry")
	written := output.Len()
	f.end()
	r.Guard.Logger().Info("left behind")
	require.Equal(t, written, output.Len())
	require.Empty(t, f.logs)
}

// TestParallelTestsDoNotSeeEachOther is fifty tests at once, each with spans, log records and
// metrics of the same names.
func TestParallelTestsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	var tests sync.WaitGroup
	for i := range 50 {
		tests.Go(func() {
			f := run(t, func(tb testing.TB) {
				r := telemetrytest.Start(tb, telemetry.WithoutGlobals(),
					telemetry.WithServiceName(fmt.Sprint("service ", i)))
				for range i%3 + 1 {
					order(r.Guard)
				}
				require.Len(tb, r.Traces(), i%3+1)
				for _, s := range r.Spans() {
					require.Equal(tb, fmt.Sprint("service ", i), s.Resource["service.name"])
				}
				require.Len(tb, r.Logs(), 2*(i%3+1))
				require.Equal(tb, float64(i%3+1), r.RequireMetric(tb, "orders").Total())
				r.RequireNoLeakedSpans(tb)
			})
			if len(f.failures) > 0 {
				t.Error(strings.Join(f.failures, "\n"))
			}
		})
	}
	tests.Wait()
}

func TestDeterministicIDs(t *testing.T) {
	t.Parallel()
	ids := func() (all []string) {
		run(t, func(tb testing.TB) {
			r := telemetrytest.Start(tb, telemetry.WithoutGlobals(), telemetrytest.WithDeterministicIDs())
			order(r.Guard)
			order(r.Guard)
			for _, s := range r.Spans() {
				all = append(all, s.Name+" "+s.TraceID+" "+s.SpanID)
			}
		})
		return sorted(all)
	}
	first := ids()
	require.Len(t, first, 6)
	require.Equal(t, first, ids())
	require.Regexp(t, `^POST /orders 0000000000000001[0-9a-f]{16} 0000000000000001$`, first[0])
	require.Regexp(t, `^POST /orders 0000000000000002[0-9a-f]{16} 0000000000000004$`, first[1])

	var kept int
	run(t, func(tb testing.TB) {
		r := telemetrytest.Start(tb, telemetry.WithoutGlobals(), telemetrytest.WithDeterministicIDs(),
			telemetry.WithSampler(sdktrace.TraceIDRatioBased(0.5)))
		for range 200 {
			_, span := r.Guard.TracerProvider().Tracer("shop").Start(context.Background(), "x")
			span.End()
		}
		kept = len(r.Spans())
	})
	require.InDelta(t, 100, kept, 40, "samplers that go by the id find it spread")
}

// TestPropagation has the headers that a service's clients get.
func TestPropagation(t *testing.T) {
	r := parallel(t, telemetrytest.WithDeterministicIDs())
	member, err := baggage.NewMember("tenant", "a")
	require.NoError(t, err)
	bag, err := baggage.New(member)
	require.NoError(t, err)
	ctx, span := r.Guard.TracerProvider().Tracer("shop").Start(baggage.ContextWithBaggage(t.Context(), bag), "x")
	defer span.End()
	header := propagation.MapCarrier{}
	r.Guard.Propagator().Inject(ctx, header)
	require.Regexp(t, "^00-0000000000000001.{16}-0000000000000001-01$", header["traceparent"])
	require.Equal(t, "tenant=a", header["baggage"])
	require.Equal(t, trace.FlagsSampled, trace.SpanContextFromContext(ctx).TraceFlags())
}

func sorted(texts []string) []string { return slices.Sorted(slices.Values(texts)) }
