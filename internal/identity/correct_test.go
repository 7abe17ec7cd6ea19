package identity_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	otellog "go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry/internal/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func decided() *resource.Resource {
	return resource.NewSchemaless(attribute.String("service.name", "checkout"), attribute.String("team", "pay"))
}

// keepRecords is a processor that keeps what it gets.
type keepRecords struct {
	sdklog.Processor
	records []sdklog.Record
}

func (k *keepRecords) OnEmit(_ context.Context, r *sdklog.Record) error {
	k.records = append(k.records, r.Clone())
	return nil
}

func (k *keepRecords) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }

// TestProvidersHaveTheDecidedResource asks the processors and readers of providers that a service
// may bring.
func TestProvidersHaveTheDecidedResource(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "x=%ZZ,cost%20centre=4,team=others")
	own := decided()
	c := identity.Correct(own)
	require.NotNil(t, c)

	spans := tracetest.NewSpanRecorder()
	tracers := sdktrace.NewTracerProvider(append(append([]sdktrace.TracerProviderOption{sdktrace.WithResource(own)},
		c.Traces()...), sdktrace.WithSpanProcessor(spans))...)
	for range 2 {
		_, span := tracers.Tracer("t").Start(t.Context(), "s")
		span.End()
	}
	require.Len(t, spans.Ended(), 2)
	for _, s := range spans.Ended() {
		require.Equal(t, own.Attributes(), s.Resource().Attributes())
	}

	kept := &keepRecords{}
	loggers := sdklog.NewLoggerProvider(append(append([]sdklog.LoggerProviderOption{sdklog.WithResource(own)},
		c.Logs()...), sdklog.WithProcessor(kept))...)
	loggers.Logger("t").Emit(t.Context(), otellog.Record{})
	require.Len(t, kept.records, 1)
	require.Equal(t, own.Attributes(), kept.records[0].Resource().Attributes())

	reader := sdkmetric.NewManualReader()
	options, made := c.Metrics()
	meters := sdkmetric.NewMeterProvider(append(options, sdkmetric.WithResource(own), sdkmetric.WithReader(reader))...)
	require.NoError(t, made(t.Context()))
	counter, err := meters.Meter("t").Int64Counter("c")
	require.NoError(t, err)
	counter.Add(t.Context(), 1)
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	require.Len(t, all.ScopeMetrics, 1)
	require.Equal(t, own.Attributes(), all.Resource.Attributes())
	require.NoError(t, meters.Shutdown(t.Context()))
}

func TestNothingToCorrect(t *testing.T) {
	for _, environment := range []string{"", "team=others", " team = others ,"} {
		t.Setenv("OTEL_RESOURCE_ATTRIBUTES", environment)
		c := identity.Correct(decided())
		require.Nil(t, c)
		require.Empty(t, c.Traces())
		require.Empty(t, c.Logs())
		options, made := c.Metrics()
		require.Empty(t, options)
		require.NoError(t, made(t.Context()))
	}
}
