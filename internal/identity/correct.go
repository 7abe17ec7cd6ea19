// Package identity keeps the resource as it was decided. The SDK's providers read OTEL_RESOURCE_ATTRIBUTES and
// OTEL_SERVICE_NAME themselves and add what they find to every resource that they are given, by other rules: they do not
// decode keys, and take values that cannot be decoded as they are. There is no option against it.
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

// Correction takes away what providers have added to their resource. A provider has one resource, which all it makes
// points to; it is overwritten before anything sees it. The nil Correction has nothing to do.
type Correction struct{ decided *resource.Resource }

// Correct is nil if the SDK would add nothing to the resource.
func Correct(decided *resource.Resource) *Correction {
	if merged, err := resource.Merge(resource.Environment(), decided); err == nil && merged.Equal(decided) {
		return nil
	}
	return &Correction{decided}
}

// Traces are the options that must come before all other processors of a tracer provider.
func (c *Correction) Traces() []sdktrace.TracerProviderOption {
	if c == nil {
		return nil
	}
	return []sdktrace.TracerProviderOption{sdktrace.WithSpanProcessor(&spans{correction: c})}
}

// Logs are the options that must come before all other processors of a logger provider.
func (c *Correction) Logs() []sdklog.LoggerProviderOption {
	if c == nil {
		return nil
	}
	return []sdklog.LoggerProviderOption{sdklog.WithProcessor(&records{correction: c})}
}

// Metrics are options of a meter provider, and what to call when it is made.
func (c *Correction) Metrics() (options []sdkmetric.Option, made func(context.Context) error) {
	if c == nil {
		return nil, func(context.Context) error { return nil }
	}
	// A reader gets to see the resource of its provider; this one wants no instrument.
	reader := sdkmetric.NewManualReader(sdkmetric.WithAggregationSelector(func(sdkmetric.InstrumentKind) sdkmetric.Aggregation {
		return sdkmetric.AggregationDrop{}
	}))
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
