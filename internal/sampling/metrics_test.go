package sampling

import (
	"context"
	"testing"
	"time"

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

		got := collect(t, reader)
		for name, want := range map[string]float64{
			"target": 50, "decisionsdecision=rule_sampled": 1, "tail.decisionsdecision=kept": 1,
			"tail.decisionsdecision=discarded": 1, "tail.spansfate=recorded": 3, "tail.held": 1,
			"tail.held_bytes": traceBytes + spanBytes, "floorbound=memory": 0, "floorbound=cpu": 0,
			"inconsistent_parents": 0,
		} {
			assert.Contains(t, got, "telemetry.sampler."+name)
			assert.Equal(t, want, got["telemetry.sampler."+name], name)
		}
		held.End()
		require.NoError(t, registration.Unregister())
		require.NoError(t, meters.Shutdown(context.Background()))
	})
}

// collect returns the value of every point, by instrument and attributes.
func collect(t *testing.T, reader sdkmetric.Reader) map[string]float64 {
	t.Helper()
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
	return got
}

// observedService plays ten minutes of requests called "GET" on the paths, and collects the metrics
// every ten seconds.
func observedService(t *testing.T, cfg Config, rates []float64, paths []string, look func(map[string]float64)) {
	simulation(t)
	cfg.HeadOnly = true
	s := newService(t, 1, cfg, nil)
	reader := sdkmetric.NewManualReader()
	_, err := s.RegisterMetrics(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("sampling"))
	require.NoError(t, err)
	run(newRandom(1), s.clock, func() {
		s.tick()
		if s.clock.now%(10*time.Second) == 0 {
			look(collect(t, reader))
		}
	}, []phase{{10 * time.Minute, rates}}, func(a arrival) {
		s.params.Name, s.params.TraceID = "GET", s.traceID(a.r)
		s.params.Attributes = []attribute.KeyValue{pathKey.String(paths[a.op])}
		s.ShouldSample(s.params)
	})
}

func TestCountersDoNotFall(t *testing.T) {
	last := map[string]float64{}
	observedService(t, Config{TracesPerSecond: 1000}, []float64{700}, []string{"/"}, func(got map[string]float64) {
		for _, decision := range []string{"sampled", "unsampled"} {
			name := "telemetry.sampler.decisionsdecision=" + decision
			assert.GreaterOrEqual(t, got[name], last[name], decision)
			last[name] = got[name]
		}
	})
}

func TestOperationsOfOneNameAreJoined(t *testing.T) {
	var got map[string]float64
	observedService(t, Config{TracesPerSecond: 20}, []float64{200, 20}, []string{"/a", "/b"},
		func(g map[string]float64) { got = g })
	assert.InEpsilon(t, 220, got["telemetry.sampler.operation.rateoperation=GET"], 0.1)
	assert.InEpsilon(t, 20.0/220, got["telemetry.sampler.operation.probabilityoperation=GET"], 0.2)
}

func TestSnapshotOfOperations(t *testing.T) {
	h := newHead(1, target, defaultFairness, 3)
	n := 0
	run(newRandom(1), h.clock, h.tickNow, []phase{{5e9, []float64{1000, 10, 0}}}, func(a arrival) {
		if _, ok := h.ask(a); ok {
			n++
		}
	})
	list, arrivals, kept := h.operations()
	require.Len(t, list, 3, "two operations, and their first arrivals")
	assert.Equal(t, "operation 0", list[0].Name)
	assert.InEpsilon(t, 1000, list[0].Rate, 0.1)
	assert.Equal(t, FormatThreshold(pointFor(list[0].Probability).threshold), list[0].Threshold)
	assert.InEpsilon(t, 5050, float64(arrivals), 0.1)
	assert.Equal(t, uint64(n), kept)
}
