package telemetry_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// What the SDK says about instruments names them, so that a person can find them.
func TestTroublesOfInstrumentsNameThem(t *testing.T) {
	if !isChild() {
		require.NotContains(t, runChild(t), "FAIL")
		return
	}
	c := otlptest.New(t)
	console := &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithServiceName("test"), telemetry.WithLogOutput(console), telemetry.WithLogFormat(telemetry.LogFormatText),
		telemetry.WithEndpoint(c.HTTPEndpoint()))
	require.NoError(t, err)
	meter := otel.Meter("shop")
	counter, err := meter.Int64Counter("orders", metric.WithUnit("{order}"))
	require.NoError(t, err)
	counter.Add(context.Background(), 1)
	histogram, err := meter.Float64Histogram("orders", metric.WithUnit("s"))
	require.NoError(t, err)
	histogram.Record(context.Background(), 1)
	_, err = meter.Int64UpDownCounter("carts", metric.WithUnit("1"))
	require.NoError(t, err)
	_, err = meter.Int64Counter("carts", metric.WithUnit("1"))
	require.NoError(t, err)
	sdkmetric.NewView(sdkmetric.Instrument{Name: "shop.*"}, sdkmetric.Stream{Name: "one.for.all"})
	require.NoError(t, guard.Shutdown(t.Context()))

	require.Contains(t, console.String(), `duplicate metric stream definitions; names: \"orders\", \"orders\"; kinds: Counter, Histogram; units: {order}, s; numbers: int64, float64`)
	require.Contains(t, console.String(), `names: \"carts\", \"carts\"; kinds: UpDownCounter, Counter; units: 1, 1; numbers: int64, int64; suggested.view: NewView(Instrument{Name: \"carts\",`, "each is told")
	require.Contains(t, console.String(), `dropping view: name replacement for multiple instruments; criteria: \"shop.*\"`)
}
