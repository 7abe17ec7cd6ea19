package global_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"

	"github.com/fleetotel/telemetry/internal/global"
)

// What a service has in package-level variables, made long before any Init.
var (
	packageTracer     = otel.Tracer("service")
	packageLogger     = otel.Logger("service")
	packageMeter      = otel.Meter("service")
	packageCounter, _ = packageMeter.Int64Counter("package.counter")
	packageGauge, _   = packageMeter.Float64ObservableGauge("package.gauge", metric.WithFloat64Callback(
		func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(1, metric.WithAttributes(attribute.String("by", "option")))
			return nil
		}))
	packageRegistration, _ = packageMeter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveFloat64(packageGauge, 2)
		return nil
	}, packageGauge)
)

// It sets OpenTelemetry's globals, as the root package does: once for the process, so it does not
// run a second time (-count). OpenTelemetry's own delegating objects stand in front of ours here.
func TestPackageLevelVariables(t *testing.T) {
	if otelIsSet {
		t.Skip("OpenTelemetry's globals delegate once")
	}
	otelIsSet = true
	p := global.New()
	otel.SetTracerProvider(p.TracerProvider())
	otel.SetMeterProvider(p.MeterProvider())
	otel.SetLoggerProvider(p.LoggerProvider())

	record := func() {
		_, span := packageTracer.Start(t.Context(), "package.span")
		span.End()
		var r log.Record
		r.SetBody(attribute.StringValue("package.record"))
		packageLogger.Emit(t.Context(), r)
		packageCounter.Add(t.Context(), 1)
	}
	for range 2 { // Init, Shutdown, Init, Shutdown
		record()
		b := newBackend()
		p.Use(b.traces, b.metrics, b.logs)
		record()
		require.Equal(t, []string{"package.span"}, b.spanNames())
		require.Equal(t, []string{"package.record"}, b.records.bodies())
		require.Equal(t, map[string]float64{"package.counter": 1, "package.gauge": 3}, b.values(t))
		p.Use(nil, nil, nil)
		record()
		require.Len(t, b.spans.Ended(), 1)
		require.Equal(t, map[string]float64{"package.counter": 1}, b.values(t))
	}

	require.NoError(t, packageRegistration.Unregister())
	b := newBackend()
	p.Use(b.traces, b.metrics, b.logs)
	require.Equal(t, map[string]float64{"package.gauge": 1}, b.values(t))
	p.Use(nil, nil, nil)
}

var otelIsSet bool
