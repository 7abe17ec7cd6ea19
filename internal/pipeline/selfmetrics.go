package pipeline

import (
	"context"
	"errors"
	"net"
	"reflect"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/otelconv"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/otlp"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/version"
)

// observeSelf publishes the books of each signal as metrics of the guard's own provider, with the
// names and meanings of the semantic conventions (otel/sdk-metrics.md). The books are read at each
// collection. The last export comes after traces and logs have shut down, so it has their final
// numbers.
func (p *Pipeline) observeSelf(cfg *settings.Config) error {
	if !cfg.Signals[signal.Metrics].On || !cfg.SelfMetrics.Value {
		return nil
	}
	meter := p.MeterProvider.Meter(version.Scope, metric.WithInstrumentationVersion(version.Version),
		metric.WithSchemaURL(semconv.SchemaURL))
	var errs []error
	for _, r := range p.Running {
		if r.Sampler != nil {
			_, err := r.Sampler.RegisterMetrics(meter)
			errs = append(errs, err)
		}
		if keepsBooks(cfg.Signals[r.Signal], r.Signal) {
			errs = append(errs, observe(meter, r, cfg))
		}
	}
	return errors.Join(errs...)
}

func observe(meter metric.Meter, r otlp.Running, cfg *settings.Config) error {
	exporter := exporterComponent(cfg, r.Signal)
	switch r.Signal {
	case signal.Traces:
		return observeSpans(meter, r.Books, int64(cfg.SpanBatch.MaxQueueSize.Value), exporter)
	case signal.Logs:
		return observeLogRecords(meter, r.Books, int64(cfg.LogBatch.MaxQueueSize.Value), exporter)
	}
	return observeDataPoints(meter, r.Books, exporter)
}

// keepsBooks reports whether a signal has books. Signals that go only to the console, or to a
// service's own metric reader, have none.
func keepsBooks(sc settings.SignalConfig, s signal.Signal) bool {
	return sc.Sends(settings.ExporterOTLP) || s != signal.Metrics && sc.Sends(settings.ExporterGiven)
}

// exporterBooks and processorBooks are one component's instruments and their attribute sets. Every
// series exists from the first export on, at zero, because an alert on an increase needs a first
// value.
type exporterBooks struct {
	exported                             metric.Int64ObservableCounter
	inflight                             metric.Int64ObservableUpDownCounter
	plain, rejected, tooLarge, forOthers metric.ObserveOption
}

type processorBooks struct {
	processed                            metric.Int64ObservableCounter
	size, capacity                       metric.Int64ObservableUpDownCounter
	plain, queueFull, tooLarge, shutdown metric.ObserveOption
}

func newExporterBooks(exported metric.Int64ObservableCounter, inflight metric.Int64ObservableUpDownCounter,
	of []attribute.KeyValue) exporterBooks {
	return exporterBooks{
		exported: exported, inflight: inflight, plain: with(of),
		rejected:  with(of, semconv.ErrorTypeKey.String("rejected")), // the conventions' word for a partial success
		tooLarge:  with(of, semconv.ErrorTypeKey.String("too_large")),
		forOthers: with(of, semconv.ErrorTypeOther),
	}
}

func newProcessorBooks(processed metric.Int64ObservableCounter, size, capacity metric.Int64ObservableUpDownCounter,
	t otelconv.ComponentTypeAttr) processorBooks {
	of := component(string(t))
	return processorBooks{
		processed: processed, size: size, capacity: capacity, plain: with(of),
		// the conventions' word, for bytes and items alike
		queueFull: with(of, semconv.ErrorTypeKey.String("queue_full")),
		tooLarge:  with(of, semconv.ErrorTypeKey.String("too_large")),
		shutdown:  with(of, semconv.ErrorTypeKey.String("shutdown")),
	}
}

func with(of []attribute.KeyValue, more ...attribute.KeyValue) metric.ObserveOption {
	return metric.WithAttributeSet(attribute.NewSet(append(more, of...)...))
}

// observe does not count what is in the spool: its export has not finished.
func (b exporterBooks) observe(o metric.Observer, s batch.Stats) {
	byQueue := refusedTooLarge(s)
	o.ObserveInt64(b.inflight, s.InFlight, b.plain)
	o.ObserveInt64(b.exported, s.Exported, b.plain)
	o.ObserveInt64(b.exported, s.Rejected, b.rejected)
	o.ObserveInt64(b.exported, s.Dropped.TooLarge-byQueue, b.tooLarge)
	o.ObserveInt64(b.exported, s.Failed, b.forOthers)
}

// observe counts an item as processed when the exporter has it. What becomes of it there is in the
// exporter's metrics.
func (b processorBooks) observe(o metric.Observer, s batch.Stats, capacity int64) {
	o.ObserveInt64(b.size, s.Queued-s.InFlight, b.plain)
	o.ObserveInt64(b.capacity, capacity, b.plain)
	o.ObserveInt64(b.processed, s.Submitted, b.plain)
	o.ObserveInt64(b.processed, s.Dropped.QueueFull+s.Dropped.BytesFull, b.queueFull)
	o.ObserveInt64(b.processed, refusedTooLarge(s), b.tooLarge)
	o.ObserveInt64(b.processed, s.Dropped.Shutdown, b.shutdown)
}

// refusedTooLarge returns how many items the queue refused for their size. The server refused the
// rest of Dropped.TooLarge.
func refusedTooLarge(s batch.Stats) int64 {
	waiting := s.Queued - s.InFlight
	return s.Accepted - s.Submitted - waiting - s.Dropped.QueueFull - s.Dropped.BytesFull - s.Dropped.Shutdown
}

func observeSpans(m metric.Meter, stats func() batch.Stats, capacity int64, exporter []attribute.KeyValue) error {
	processed, err1 := otelconv.NewSDKProcessorSpanProcessedObservable(m)
	queued, err2 := otelconv.NewSDKProcessorSpanQueueSize(m)
	room, err3 := otelconv.NewSDKProcessorSpanQueueCapacity(m)
	exported, err4 := otelconv.NewSDKExporterSpanExportedObservable(m)
	inflight, err5 := otelconv.NewSDKExporterSpanInflightObservable(m)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	// The engine replaces the SDK's batch processor and has the same settings, so its metrics have
	// that component type.
	p := newProcessorBooks(processed.Inst(), queued.Inst(), room.Inst(), otelconv.ComponentTypeBatchingSpanProcessor)
	return register(m, stats, &p, capacity, newExporterBooks(exported.Inst(), inflight.Inst(), exporter))
}

func observeLogRecords(m metric.Meter, stats func() batch.Stats, capacity int64, exporter []attribute.KeyValue) error {
	processed, err1 := otelconv.NewSDKProcessorLogProcessedObservable(m)
	queued, err2 := otelconv.NewSDKProcessorLogQueueSize(m)
	room, err3 := otelconv.NewSDKProcessorLogQueueCapacity(m)
	exported, err4 := otelconv.NewSDKExporterLogExportedObservable(m)
	inflight, err5 := otelconv.NewSDKExporterLogInflightObservable(m)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	p := newProcessorBooks(processed.Inst(), queued.Inst(), room.Inst(), otelconv.ComponentTypeBatchingLogProcessor)
	return register(m, stats, &p, capacity, newExporterBooks(exported.Inst(), inflight.Inst(), exporter))
}

func observeDataPoints(m metric.Meter, stats func() batch.Stats, exporter []attribute.KeyValue) error {
	exported, err1 := otelconv.NewSDKExporterMetricDataPointExportedObservable(m)
	inflight, err2 := otelconv.NewSDKExporterMetricDataPointInflightObservable(m)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return register(m, stats, nil, 0, newExporterBooks(exported.Inst(), inflight.Inst(), exporter))
}

// register observes one signal's books; metrics have no processor. One snapshot serves all
// instruments, so that the numbers of an export add up.
func register(m metric.Meter, stats func() batch.Stats, p *processorBooks, capacity int64, e exporterBooks) error {
	instruments := []metric.Observable{e.exported, e.inflight}
	if p != nil {
		instruments = append(instruments, p.processed, p.size, p.capacity)
	}
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := stats()
		e.observe(o, s)
		if p != nil {
			p.observe(o, s, capacity)
		}
		return nil
	}, instruments...)
	return err
}

// component identifies a component of this guard. There is never a second one of the same type.
func component(typeName string) []attribute.KeyValue {
	return []attribute.KeyValue{semconv.OTelComponentTypeKey.String(typeName),
		semconv.OTelComponentName(typeName + "/0")}
}

// exporterTypes are the conventions' types of exporters, by signal: over gRPC, over HTTP.
var exporterTypes = [signal.Count][2]otelconv.ComponentTypeAttr{
	signal.Traces:  {otelconv.ComponentTypeOtlpGRPCSpanExporter, otelconv.ComponentTypeOtlpHTTPSpanExporter},
	signal.Metrics: {otelconv.ComponentTypeOtlpGRPCMetricExporter, otelconv.ComponentTypeOtlpHTTPMetricExporter},
	signal.Logs:    {otelconv.ComponentTypeOtlpGRPCLogExporter, otelconv.ComponentTypeOtlpHTTPLogExporter},
}

// exporterComponent identifies the OTLP exporter by its type and address, or a service's own
// exporter by its type.
func exporterComponent(cfg *settings.Config, s signal.Signal) []attribute.KeyValue {
	sc := cfg.Signals[s]
	if sc.Sends(settings.ExporterGiven) && s == signal.Traces {
		return component(typeName(*cfg.Asked.SpanExporter))
	}
	if sc.Sends(settings.ExporterGiven) && s == signal.Logs {
		return component(typeName(*cfg.Asked.LogExporter))
	}
	types := exporterTypes[s]
	of := component(string(types[1]))
	if sc.Protocol.Value == settings.ProtocolGRPC {
		of = component(string(types[0]))
	}
	host, port, err := net.SplitHostPort(sc.Target.HostPort())
	if err != nil {
		return of
	}
	of = append(of, semconv.ServerAddress(host))
	if number, err := strconv.Atoi(port); err == nil {
		of = append(of, semconv.ServerPort(number))
	}
	return of
}

// typeName returns "path/of/package.Type", as the conventions ask for components that they do not
// list.
func typeName(exporter any) string {
	t := reflect.TypeOf(exporter)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.PkgPath() == "" {
		return t.String()
	}
	return t.PkgPath() + "." + t.Name()
}
