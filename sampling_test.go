package telemetry_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/telemetrytest"
)

// TestAdaptiveSamplingIsTheDefault offers far more traces than are kept: all errors arrive, with weights that add up.
func TestAdaptiveSamplingIsTheDefault(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "")
	for name, option := range map[string]telemetry.Option{
		"default":              telemetry.WithOptions(),
		"by option":            telemetry.WithAdaptiveSampling(telemetry.Sampling{TracesPerSecond: 20}),
		"a sampler of its own": telemetry.WithSampler(newSampler(t, telemetry.Sampling{TracesPerSecond: 20})),
	} {
		t.Run(name, func(t *testing.T) {
			c := otlptest.New(t)
			guard, _ := start(t, c, option)
			tracer := guard.TracerProvider().Tracer("x")
			const requests, failing = 3000, 30
			for i := range requests {
				ctx, root := tracer.Start(t.Context(), "request", trace.WithSpanKind(trace.SpanKindServer))
				_, child := tracer.Start(ctx, "query")
				if i%(requests/failing) == 0 {
					child.RecordError(errors.New("no"))
					child.SetStatus(codes.Error, "no")
				}
				child.End()
				root.End()
			}
			health := guard.Health().Sampling
			require.True(t, health.On)
			require.Positive(t, health.TailKept)
			require.NotEmpty(t, health.Operations)
			require.NoError(t, guard.Shutdown(t.Context()))
			requireBalanced(t, guard)

			failed := failedTraces(t, c)
			require.Len(t, failed, failing, "no error is lost to sampling")
			require.Less(t, len(c.Spans()), requests, "the rest is a sample")
			for _, s := range c.Spans() {
				require.Contains(t, s.TraceState, "ot=th:", "every span carries its weight")
			}
			require.Contains(t, metricNames(c), "telemetry.sampler.decisions")
		})
	}
}

// failedTraces are the traces with a failed span, by id.
func failedTraces(t *testing.T, c *otlptest.Collector) map[string]int {
	t.Helper()
	traces := map[string]int{}
	for _, s := range c.Spans() {
		if s.Status.Code == "error" {
			traces[s.TraceID]++
		}
	}
	return traces
}

func newSampler(t *testing.T, s telemetry.Sampling) *telemetry.AdaptiveSampler {
	t.Helper()
	sampler, err := telemetry.NewAdaptiveSampler(s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sampler.Close()) })
	return sampler
}

func TestAnotherSamplerHasNoSamplingHealth(t *testing.T) {
	rec := telemetrytest.Start(t, telemetry.WithoutGlobals(), telemetry.WithSampler(sdktrace.AlwaysSample()))
	require.Zero(t, rec.Guard.Health().Sampling)
}

// TestTailServesExportersOfTheUser has the exporter given by option stand behind the tail as well.
func TestTailServesExportersOfTheUser(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	rec := telemetrytest.Start(t, telemetry.WithoutGlobals(), telemetry.WithSpanExporter(exporter),
		telemetry.WithAdaptiveSampling(telemetry.Sampling{TracesPerSecond: 0.001}))
	tracer := rec.Guard.TracerProvider().Tracer("x")
	for i := range 200 {
		_, span := tracer.Start(t.Context(), "request")
		if i == 199 {
			span.SetStatus(codes.Error, "no")
		}
		span.End()
	}
	require.NoError(t, rec.Guard.ForceFlush(t.Context()))
	var failed int
	for _, s := range exporter.GetSpans() {
		require.True(t, s.SpanContext.IsSampled(), fmt.Sprint(s.Name))
		if s.Status.Code == codes.Error {
			failed++
		}
	}
	require.Equal(t, 1, failed)
	require.Less(t, len(exporter.GetSpans()), 100)
}
