package telemetry

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"

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
		accounted = newAccountedMetrics(b.redaction.metrics(encodableMetrics{exporter}), b.connections.spool != nil, b.onError(metrics))
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
	sdk := sdkmetric.NewMeterProvider(opts...)
	provider = contain.MeterProvider(sdk, b.selfLog.Handle)
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

// durationBuckets are those that the semantic conventions ask of their histograms in seconds, by prefix of the name
// (http/http-metrics.md, rpc/rpc-metrics.md, messaging/messaging-metrics.md, database/database-metrics.md); the SDK's own
// start at 5, which puts every request into the first. Other histograms keep the buckets they ask for: a view cannot see
// whether one asked.
var durationBuckets = []struct {
	prefix string
	bounds []float64
}{
	{"http.", requestBuckets},
	{"rpc.", requestBuckets},
	{"messaging.", requestBuckets},
	{"db.client.", []float64{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10}},
}

var requestBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

func conventionBuckets(i sdkmetric.Instrument) []float64 {
	if i.Kind == sdkmetric.InstrumentKindHistogram && i.Unit == "s" {
		for _, d := range durationBuckets {
			if strings.HasPrefix(i.Name, d.prefix) {
				return d.bounds
			}
		}
	}
	return nil
}

func (b *builder) views() []sdkmetric.View {
	views := slices.DeleteFunc(slices.Clone(b.cfg.opts.views), func(v sdkmetric.View) bool { return v == nil })
	if b.cfg.histogramAggregation.value != histogramExplicit {
		return views
	}
	user := slices.Clone(views)
	return append(views, func(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
		bounds := conventionBuckets(i)
		if bounds == nil {
			return sdkmetric.Stream{}, false
		}
		for _, view := range user {
			if _, matches := view(i); matches {
				return sdkmetric.Stream{}, false
			}
		}
		return sdkmetric.Stream{
			Name: i.Name, Description: i.Description, Unit: i.Unit,
			Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: bounds},
		}, true
	})
}
