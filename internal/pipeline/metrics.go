package pipeline

import (
	"context"
	"fmt"

	"go.opentelemetry.io/contrib/instrumentation/runtime"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"

	"github.com/fleetotel/telemetry/internal/contain"
	"github.com/fleetotel/telemetry/internal/otlp"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// metrics builds the meter provider and starts the runtime metrics. The provider that services get
// contains failing callbacks: with the SDK's own, one failing callback costs the whole export.
func (b *builder) metrics(ctx context.Context, run *otlp.Running, started *cleanup) error {
	opts := []sdkmetric.Option{
		sdkmetric.WithResource(b.Resource),
		sdkmetric.WithCardinalityLimit(b.Config.CardinalityLimit.Value),
		sdkmetric.WithExemplarFilter(exemplarFilter(b.Config.ExemplarFilter.Value)),
		sdkmetric.WithView(b.Config.Asked.Views...),
	}
	read := func(r sdkmetric.Reader) {
		started.add(r.Shutdown)
		opts = append(opts, sdkmetric.WithReader(r))
	}
	sc := b.Config.Signals[signal.Metrics]
	if sc.Sends(settings.ExporterGiven) {
		read(*b.Config.Asked.MetricReader)
	}
	accounted, err := b.accountedMetrics(ctx)
	if err != nil {
		return err
	}
	if accounted != nil {
		run.Stats = accounted.Snapshot
		read(b.periodicReader(accounted))
	}
	if sc.Sends(settings.ExporterConsole) {
		exporter, err := b.Console.view.metricExporter(b.Config)
		if err != nil {
			return err
		}
		read(b.periodicReader(b.Console.redaction.metrics(exporter)))
	}
	if run.Spooled, err = b.Connections.Replay(signal.Metrics); err != nil {
		return err
	}
	correction, made := b.correction.Metrics()
	sdk := sdkmetric.NewMeterProvider(append(opts, correction...)...)
	if err := made(ctx); err != nil {
		return err
	}
	run.Flush, run.Shutdown = sdk.ForceFlush, sdk.Shutdown
	if accounted != nil {
		run.Flush, run.Shutdown = accounted.flushing(sdk.ForceFlush), accounted.stopping(sdk.Shutdown)
	}
	provider := b.Config.SpanLimits.Values().MeterProvider(contain.MeterProvider(withBuckets(sdk), b.SelfLog.Handle))
	if b.Config.RuntimeMetrics.Value {
		if err := runtime.Start(runtime.WithMeterProvider(provider)); err != nil {
			return fmt.Errorf("runtime metrics: %w", err)
		}
	}
	b.MeterProvider = provider
	return nil
}

// accountedMetrics returns the OTLP exporter with its books, or nil if metrics are not sent over
// OTLP.
func (b *builder) accountedMetrics(ctx context.Context) (*accountedMetrics, error) {
	if !b.Config.Signals[signal.Metrics].Sends(settings.ExporterOTLP) {
		return nil, nil
	}
	exporter, err := b.Connections.MetricExporter(ctx)
	if err != nil {
		return nil, err
	}
	encodable := encodableMetrics{exporter, b.Config.SpanLimits.Values()}
	accounted := newAccountedMetrics(b.Console.redaction.metrics(encodable), b.Connections.Spool != nil,
		b.onError(signal.Metrics))
	accounted.unsent, err = b.Connections.UnsentMetrics()
	return accounted, err
}

// maxMetricPoints keeps a request below the 4 MiB that a collector accepts over gRPC: a point has
// about 300 bytes.
const maxMetricPoints = 8192

func (b *builder) periodicReader(exporter sdkmetric.Exporter) sdkmetric.Reader {
	opts := []sdkmetric.PeriodicReaderOption{
		sdkmetric.WithInterval(b.Config.MetricInterval.Value),
		sdkmetric.WithTimeout(b.Config.MetricTimeout.Value),
		sdkmetric.WithMaxExportBatchSize(maxMetricPoints),
	}
	if b.Config.RuntimeMetrics.Value {
		opts = append(opts, sdkmetric.WithProducer(contain.Producer(runtime.NewProducer(), "runtime metrics",
			b.SelfLog.Handle)))
	}
	return sdkmetric.NewPeriodicReader(exporter, opts...)
}

func exemplarFilter(name string) exemplar.Filter {
	switch name {
	case settings.ExemplarAlwaysOn:
		return exemplar.AlwaysOnFilter
	case settings.ExemplarAlwaysOff:
		return exemplar.AlwaysOffFilter
	}
	return exemplar.TraceBasedFilter
}
