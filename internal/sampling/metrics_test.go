package sampling

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func TestMetrics(t *testing.T) {
	inProcess(t, Config{}, func(t *testing.T, p *process) {
		reader := sdkmetric.NewManualReader()
		meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		registration, err := p.RegisterMetrics(meters.Meter("sampling"))
		require.NoError(t, err)
		_, failing := p.start(unsampled, "failing")
		fail(failing)
		_, fine := p.start(unsampled, "fine")
		fine.End()
		_, kept := p.start(sampled, "kept")
		kept.End()
		_, held := p.start(unsampled, "held")

		got := map[string]float64{}
		var rm metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(context.Background(), &rm))
		for _, m := range rm.ScopeMetrics[0].Metrics {
			switch data := m.Data.(type) {
			case metricdata.Gauge[float64]:
				for _, point := range data.DataPoints {
					got[m.Name+point.Attributes.Encoded(attribute.DefaultEncoder())] = point.Value
				}
			case metricdata.Sum[int64]:
				assert.True(t, data.IsMonotonic)
				for _, point := range data.DataPoints {
					got[m.Name+point.Attributes.Encoded(attribute.DefaultEncoder())] = float64(point.Value)
				}
			}
		}
		for name, want := range map[string]float64{
			"target": 50, "decisionsdecision=rule_sampled": 1, "tail.decisionsdecision=kept": 1,
			"tail.decisionsdecision=discarded": 1, "tail.spansfate=recorded": 3, "tail.held": 1,
			"tail.held_bytes": fragmentBytes + spanBytes, "floorbound=memory": 0, "floorbound=cpu": 0, "inconsistent_parents": 0,
		} {
			assert.Contains(t, got, "telemetry.sampler."+name)
			assert.Equal(t, want, got["telemetry.sampler."+name], name)
		}
		held.End()
		require.NoError(t, registration.Unregister())
		require.NoError(t, meters.Shutdown(context.Background()))
	})
}

func TestSnapshotOfOperations(t *testing.T) {
	h := newHead(1, target, defaultFairness, 3)
	run(newRandom(1), h.clock, h.tickNow, []phase{{5e9, []float64{1000, 10, 0}}}, func(a arrival) { h.ask(a) })
	list, arrivals, kept := h.operations()
	require.Len(t, list, 3, "two operations, and their first arrivals")
	assert.Equal(t, "operation 0", list[0].Name)
	assert.InEpsilon(t, 1000, list[0].Rate, 0.1)
	assert.Equal(t, encodeThreshold(pointFor(list[0].Probability).threshold), list[0].Threshold)
	assert.InEpsilon(t, 5050, float64(arrivals), 0.1)
	assert.InEpsilon(t, 5*target, float64(kept), 0.3)
}
