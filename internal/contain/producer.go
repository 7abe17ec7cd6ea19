package contain

import (
	"context"
	"sync/atomic"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Producer returns real contained as [MeterProvider] contains callbacks. What it produces with an
// error is kept. name tells a person which producer it is.
func Producer(real sdkmetric.Producer, name string, report func(error)) sdkmetric.Producer {
	return &producer{real: real, task: task{subject: "the metric producer of " + name, report: report,
		hung: &atomic.Int32{}}}
}

type producer struct {
	real sdkmetric.Producer
	task task
}

func (p *producer) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	var produced []metricdata.ScopeMetrics
	returned := p.task.do(ctx, func(ctx context.Context, _ *run) (err error) {
		produced, err = p.real.Produce(ctx)
		return err
	})
	if !returned {
		return nil, nil
	}
	return produced, nil
}
