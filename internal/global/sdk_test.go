package global_test

import (
	"context"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// backend is one set of real SDK providers and everything that arrived at it.
type backend struct {
	traces  *sdktrace.TracerProvider
	metrics *sdkmetric.MeterProvider
	logs    *sdklog.LoggerProvider

	spans   *tracetest.SpanRecorder
	reader  *sdkmetric.ManualReader
	records *recordProcessor
}

func newBackend() *backend {
	b := &backend{spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader(), records: &recordProcessor{}}
	b.traces = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(b.spans))
	b.metrics = sdkmetric.NewMeterProvider(sdkmetric.WithReader(b.reader))
	b.logs = sdklog.NewLoggerProvider(sdklog.WithProcessor(b.records))
	return b
}

func (b *backend) spanNames() []string {
	var names []string
	for _, s := range b.spans.Ended() {
		names = append(names, s.Name())
	}
	return names
}

func (b *backend) collect(t testing.TB) []metricdata.ScopeMetrics {
	t.Helper()
	var rm metricdata.ResourceMetrics
	require.NoError(t, b.reader.Collect(context.Background(), &rm))
	return rm.ScopeMetrics
}

// values collects and returns one number per instrument: its sum, its last value, or its
// histogram's sum.
func (b *backend) values(t testing.TB) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, s := range b.collect(t) {
		for _, m := range s.Metrics {
			out[m.Name] = value(t, m)
		}
	}
	return out
}

func value(t testing.TB, m metricdata.Metrics) (v float64) {
	t.Helper()
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			v += float64(p.Value)
		}
	case metricdata.Sum[float64]:
		for _, p := range d.DataPoints {
			v += p.Value
		}
	case metricdata.Gauge[int64]:
		for _, p := range d.DataPoints {
			v += float64(p.Value)
		}
	case metricdata.Gauge[float64]:
		for _, p := range d.DataPoints {
			v += p.Value
		}
	case metricdata.Histogram[int64]:
		for _, p := range d.DataPoints {
			v += float64(p.Sum)
		}
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			v += p.Sum
		}
	default:
		require.Failf(t, "unknown data", "%s: %T", m.Name, m.Data)
		return math.NaN()
	}
	return v
}

// recordProcessor keeps the records it is given and wants those of severity Info and above.
type recordProcessor struct {
	mu      sync.Mutex
	records []sdklog.Record
}

func (p *recordProcessor) Enabled(_ context.Context, param sdklog.EnabledParameters) bool {
	return param.Severity >= 9
}

func (p *recordProcessor) OnEmit(_ context.Context, r *sdklog.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records = append(p.records, r.Clone())
	return nil
}

func (p *recordProcessor) Shutdown(context.Context) error   { return nil }
func (p *recordProcessor) ForceFlush(context.Context) error { return nil }

func (p *recordProcessor) bodies() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, r := range p.records {
		out = append(out, r.Body().AsString())
	}
	return out
}
