package telemetry

import (
	"context"
	"fmt"
	"slices"

	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"

	"github.com/fleetotel/telemetry/internal/buckets"
	"github.com/fleetotel/telemetry/internal/contain"
)

// metrics builds the meter provider and starts the runtime metrics. What is handed out contains callbacks, for the
// SDK's own provider lets one that fails cost the whole export.
func (b *builder) metrics(ctx context.Context) (provider metric.MeterProvider, run running, err error) {
	var readers []sdkmetric.Reader
	defer undo(ctx, &err, &readers)
	run = b.running(metrics)
	var accounted *accountedMetrics
	sc := b.cfg.signals[metrics]
	if sc.sends(exporterGiven) {
		readers = append(readers, *b.cfg.opts.metricReader)
	}
	if sc.sends(exporterOTLP) {
		exporter, err := b.connections.metricExporter(ctx)
		if err != nil {
			return nil, run, err
		}
		accounted = newAccountedMetrics(b.redaction.metrics(encodableMetrics{exporter, b.cfg.spanLimits.values()}), b.connections.spool != nil, b.onError(metrics))
		if accounted.unsent, err = b.connections.unsentMetrics(); err != nil {
			return nil, run, err
		}
		run.stats = accounted.Snapshot
		readers = append(readers, b.periodicReader(accounted))
	}
	if sc.sends(exporterConsole) {
		exporter, err := b.view.metricExporter(b.cfg)
		if err != nil {
			return nil, run, err
		}
		readers = append(readers, b.periodicReader(b.redaction.metrics(exporter)))
	}
	if run.spooled, err = b.connections.replay(metrics); err != nil {
		return nil, run, err
	}
	opts := []sdkmetric.Option{
		sdkmetric.WithResource(b.resource),
		sdkmetric.WithCardinalityLimit(b.cfg.cardinalityLimit.value),
		sdkmetric.WithExemplarFilter(exemplarFilter(b.cfg.exemplarFilter.value)),
		sdkmetric.WithView(b.views()...),
	}
	for _, r := range readers {
		opts = append(opts, sdkmetric.WithReader(r))
	}
	correction, made := b.correction.Metrics()
	sdk := sdkmetric.NewMeterProvider(append(opts, correction...)...)
	if err := made(ctx); err != nil {
		return nil, run, err
	}
	provider = b.cfg.spanLimits.values().MeterProvider(contain.MeterProvider(buckets.MeterProvider(sdk), b.selfLog.Handle))
	if b.cfg.runtimeMetrics.value {
		if err := runtime.Start(runtime.WithMeterProvider(provider)); err != nil {
			return nil, run, fmt.Errorf("runtime metrics: %w", err)
		}
	}
	run.flush, run.shutdown = sdk.ForceFlush, sdk.Shutdown
	if accounted != nil {
		run.flush, run.shutdown = accounted.flushing(sdk.ForceFlush), accounted.stopping(sdk.Shutdown)
	}
	return provider, run, nil
}

// maxMetricPoints keeps a request below the 4 MiB that a collector accepts over gRPC: a point has about 300 bytes.
const maxMetricPoints = 8192

func (b *builder) periodicReader(exporter sdkmetric.Exporter) sdkmetric.Reader {
	opts := []sdkmetric.PeriodicReaderOption{
		sdkmetric.WithInterval(b.cfg.metricInterval.value),
		sdkmetric.WithTimeout(b.cfg.metricTimeout.value),
		sdkmetric.WithMaxExportBatchSize(maxMetricPoints),
	}
	if b.cfg.runtimeMetrics.value {
		opts = append(opts, sdkmetric.WithProducer(contain.Producer(runtime.NewProducer(), "runtime metrics", b.selfLog.Handle)))
	}
	return sdkmetric.NewPeriodicReader(exporter, opts...)
}

func exemplarFilter(name string) exemplar.Filter {
	switch name {
	case exemplarAlwaysOn:
		return exemplar.AlwaysOnFilter
	case exemplarAlwaysOff:
		return exemplar.AlwaysOffFilter
	}
	return exemplar.TraceBasedFilter
}

func (b *builder) views() []sdkmetric.View {
	return slices.DeleteFunc(slices.Clone(b.cfg.opts.views), func(v sdkmetric.View) bool { return v == nil })
}
