package telemetry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/runtime"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// running is one signal in operation, as ForceFlush and Shutdown see it.
type running struct {
	signal   signal
	flush    func(context.Context) error
	shutdown func(context.Context) error
	abort    context.CancelFunc // ends the exports in flight
}

// builder starts signals. What one signal has started is undone when the rest of it fails.
type builder struct {
	cfg         *config
	resource    *resource.Resource
	connections *connections
}

// traces builds the tracer provider.
func (b *builder) traces(ctx context.Context) (provider *sdktrace.TracerProvider, run running, err error) {
	stop, abort := context.WithCancel(context.Background())
	var processors []sdktrace.SpanProcessor
	defer func() {
		if err != nil {
			abort()
			for _, p := range processors {
				err = errors.Join(err, p.Shutdown(ctx))
			}
		}
	}()
	sc := b.cfg.signals[traces]
	if sc.sends(exporterOTLP) || sc.sends(exporterGiven) {
		exporter, err := b.spanExporter(ctx)
		if err != nil {
			return nil, run, err
		}
		processors = append(processors, b.spanBatch(stoppableSpans{exporter, stop}))
	}
	if sc.sends(exporterConsole) {
		exporter, err := consoleSpans()
		if err != nil {
			return nil, run, err
		}
		processors = append(processors, sdktrace.NewSimpleSpanProcessor(exporter))
	}
	// After the batch processor: the SDK shuts them down in order, and one that hangs must not keep it from its turn.
	for _, p := range b.cfg.opts.spanProcessors {
		if !isNil(p) {
			processors = append(processors, p)
		}
	}
	opts := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(b.resource),
		sdktrace.WithRawSpanLimits(b.cfg.spanLimits.sdk()),
		sdktrace.WithSampler(b.cfg.sampler.value.build(b.cfg.samplerArg.value)),
	}
	if !isNil(b.cfg.opts.idGenerator) {
		opts = append(opts, sdktrace.WithIDGenerator(b.cfg.opts.idGenerator))
	}
	for _, p := range processors {
		opts = append(opts, sdktrace.WithSpanProcessor(p))
	}
	provider = sdktrace.NewTracerProvider(opts...)
	return provider, running{traces, provider.ForceFlush, provider.Shutdown, abort}, nil
}

func (b *builder) spanExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	if b.cfg.signals[traces].sends(exporterGiven) {
		return *b.cfg.opts.spanExporter, nil
	}
	return b.connections.spanExporter(ctx, b.cfg)
}

func (b *builder) spanBatch(exporter sdktrace.SpanExporter) sdktrace.SpanProcessor {
	c := b.cfg.spanBatch
	return sdktrace.NewBatchSpanProcessor(exporter,
		sdktrace.WithMaxQueueSize(c.maxQueueSize.value),
		sdktrace.WithMaxExportBatchSize(c.maxExportBatchSize.value),
		sdktrace.WithBatchTimeout(c.scheduleDelay.value),
		sdktrace.WithExportTimeout(c.exportTimeout.value))
}

// logs builds the logger provider.
func (b *builder) logs(ctx context.Context) (provider *sdklog.LoggerProvider, run running, err error) {
	stop, abort := context.WithCancel(context.Background())
	var processors []sdklog.Processor
	defer func() {
		if err != nil {
			abort()
			for _, p := range processors {
				err = errors.Join(err, p.Shutdown(ctx))
			}
		}
	}()
	sc := b.cfg.signals[logs]
	if sc.sends(exporterOTLP) || sc.sends(exporterGiven) {
		exporter, err := b.logExporter(ctx)
		if err != nil {
			return nil, run, err
		}
		processors = append(processors, b.logBatch(stoppableLogs{exporter, stop}))
	}
	if sc.sends(exporterConsole) {
		exporter, err := consoleLogs()
		if err != nil {
			return nil, run, err
		}
		processors = append(processors, sdklog.NewSimpleProcessor(exporter))
	}
	opts := []sdklog.LoggerProviderOption{
		sdklog.WithResource(b.resource),
		sdklog.WithAttributeCountLimit(b.cfg.logLimits.attributeCount.value),
		sdklog.WithAttributeValueLengthLimit(b.cfg.logLimits.attributeValueLength.value),
	}
	for _, p := range processors {
		opts = append(opts, sdklog.WithProcessor(p))
	}
	provider = sdklog.NewLoggerProvider(opts...)
	return provider, running{logs, provider.ForceFlush, provider.Shutdown, abort}, nil
}

func (b *builder) logExporter(ctx context.Context) (sdklog.Exporter, error) {
	if b.cfg.signals[logs].sends(exporterGiven) {
		return *b.cfg.opts.logExporter, nil
	}
	return b.connections.logExporter(ctx, b.cfg)
}

func (b *builder) logBatch(exporter sdklog.Exporter) sdklog.Processor {
	c := b.cfg.logBatch
	return sdklog.NewBatchProcessor(exporter,
		sdklog.WithMaxQueueSize(c.maxQueueSize.value),
		sdklog.WithExportMaxBatchSize(c.maxExportBatchSize.value),
		sdklog.WithExportInterval(c.scheduleDelay.value),
		sdklog.WithExportTimeout(c.exportTimeout.value))
}

// metrics builds the meter provider and starts the runtime metrics.
func (b *builder) metrics(ctx context.Context) (provider *sdkmetric.MeterProvider, run running, err error) {
	stop, abort := context.WithCancel(context.Background())
	var readers []sdkmetric.Reader
	defer func() {
		if err != nil {
			abort()
			for _, r := range readers {
				err = errors.Join(err, r.Shutdown(ctx))
			}
		}
	}()
	sc := b.cfg.signals[metrics]
	if sc.sends(exporterGiven) {
		readers = append(readers, *b.cfg.opts.metricReader)
	}
	if sc.sends(exporterOTLP) {
		exporter, err := b.connections.metricExporter(ctx, b.cfg)
		if err != nil {
			return nil, run, err
		}
		readers = append(readers, b.periodicReader(stoppableMetrics{exporter, stop}))
	}
	if sc.sends(exporterConsole) {
		exporter, err := consoleMetrics(b.cfg)
		if err != nil {
			return nil, run, err
		}
		readers = append(readers, b.periodicReader(exporter))
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
	provider = sdkmetric.NewMeterProvider(opts...)
	if b.cfg.runtimeMetrics.value {
		if err := runtime.Start(runtime.WithMeterProvider(provider)); err != nil {
			return nil, run, errors.Join(fmt.Errorf("runtime metrics: %w", err), provider.Shutdown(ctx))
		}
	}
	return provider, running{metrics, provider.ForceFlush, provider.Shutdown, abort}, nil
}

func (b *builder) periodicReader(exporter sdkmetric.Exporter) sdkmetric.Reader {
	opts := []sdkmetric.PeriodicReaderOption{
		sdkmetric.WithInterval(b.cfg.metricInterval.value),
		sdkmetric.WithTimeout(b.cfg.metricTimeout.value),
	}
	if b.cfg.runtimeMetrics.value {
		opts = append(opts, sdkmetric.WithProducer(runtime.NewProducer()))
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

// durationBuckets are those that the semantic conventions ask of histograms in seconds
// (general/metrics.md and http/http-metrics.md); the SDK's own start at 5, which puts every request into the first.
var durationBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// durationNames are the prefixes of the conventions' duration histograms. Others keep the buckets they ask for: a view
// cannot see whether an instrument asked.
var durationNames = []string{"http.", "rpc.", "db.", "messaging.", "dns.", "faas.", "gen_ai."}

func (b *builder) views() []sdkmetric.View {
	views := slices.DeleteFunc(slices.Clone(b.cfg.opts.views), func(v sdkmetric.View) bool { return v == nil })
	if b.cfg.histogramAggregation.value != histogramExplicit {
		return views
	}
	user := slices.Clone(views)
	return append(views, func(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
		if i.Kind != sdkmetric.InstrumentKindHistogram || i.Unit != "s" || !hasAnyPrefix(i.Name, durationNames) {
			return sdkmetric.Stream{}, false
		}
		for _, view := range user {
			if _, matches := view(i); matches {
				return sdkmetric.Stream{}, false
			}
		}
		return sdkmetric.Stream{
			Name: i.Name, Description: i.Description, Unit: i.Unit,
			Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: durationBuckets},
		}, true
	})
}

func hasAnyPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}
