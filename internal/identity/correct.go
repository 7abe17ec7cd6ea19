package identity

import (
	"context"
	"sync"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Correction removes what a provider has added to its resource. A provider has one resource, and
// everything that it creates points to it. The resource is overwritten before anything reads it. A
// nil Correction does nothing.
type Correction struct{ decided *resource.Resource }

// Correct returns nil if the SDK would add nothing to the resource.
func Correct(decided *resource.Resource) *Correction {
	if merged, err := resource.Merge(resource.Environment(), decided); err == nil && merged.Equal(decided) {
		return nil
	}
	return &Correction{decided}
}

// Traces returns options that must come before all other processors of a tracer provider.
func (c *Correction) Traces() []sdktrace.TracerProviderOption {
	if c == nil {
		return nil
	}
	return []sdktrace.TracerProviderOption{sdktrace.WithSpanProcessor(&spans{correction: c})}
}

// Logs returns options that must come before all other processors of a logger provider.
func (c *Correction) Logs() []sdklog.LoggerProviderOption {
	if c == nil {
		return nil
	}
	return []sdklog.LoggerProviderOption{sdklog.WithProcessor(&records{correction: c})}
}

// Metrics returns options of a meter provider, and a function to call once the provider exists.
func (c *Correction) Metrics() (options []sdkmetric.Option, made func(context.Context) error) {
	if c == nil {
		return nil, func(context.Context) error { return nil }
	}
	// A reader sees the resource of its provider. This one drops every instrument.
	reader := sdkmetric.NewManualReader(sdkmetric.WithAggregationSelector(
		func(sdkmetric.InstrumentKind) sdkmetric.Aggregation { return sdkmetric.AggregationDrop{} }))
	return []sdkmetric.Option{sdkmetric.WithReader(reader)}, func(ctx context.Context) error {
		var all metricdata.ResourceMetrics
		if err := reader.Collect(ctx, &all); err != nil {
			return err
		}
		*all.Resource = *c.decided
		return nil
	}
}

type spans struct {
	correction *Correction
	once       sync.Once
}

func (p *spans) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	p.once.Do(func() { *s.Resource() = *p.correction.decided })
}
func (*spans) OnEnd(sdktrace.ReadOnlySpan)      {}
func (*spans) Shutdown(context.Context) error   { return nil }
func (*spans) ForceFlush(context.Context) error { return nil }

type records struct {
	correction *Correction
	once       sync.Once
}

func (*records) Enabled(context.Context, sdklog.EnabledParameters) bool { return false }

func (p *records) OnEmit(_ context.Context, r *sdklog.Record) error {
	p.once.Do(func() { *r.Resource() = *p.correction.decided })
	return nil
}
func (*records) Shutdown(context.Context) error   { return nil }
func (*records) ForceFlush(context.Context) error { return nil }
