package telemetry

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
)

// observeSelf makes the books of each signal that has any metrics of the guard's own provider, under the names and with
// the meaning of the semantic conventions (otel/sdk-metrics.md). They are read when a collection asks for them: so the
// last export, which comes after traces and logs have shut down, has their final numbers.
func (g *Guard) observeSelf() error {
	if !g.cfg.signals[metrics].on || !g.cfg.selfMetrics.value {
		return nil
	}
	meter := g.meterProvider.Meter(scopeName, metric.WithInstrumentationVersion(Version), metric.WithSchemaURL(semconv.SchemaURL))
	var errs []error
	for _, r := range g.running {
		if r.sampler != nil {
			_, err := r.sampler.core.RegisterMetrics(meter)
			errs = append(errs, err)
		}
		if !keepsBooks(g.cfg.signals[r.signal], r.signal) {
			continue
		}
		exporter := exporterComponent(g.cfg, r.signal)
		var err error
		switch r.signal {
		case traces:
			err = observeSpans(meter, r.books, int64(g.cfg.spanBatch.maxQueueSize.value), exporter)
		case metrics:
			err = observeDataPoints(meter, r.books, exporter)
		case logs:
			err = observeLogRecords(meter, r.books, int64(g.cfg.logBatch.maxQueueSize.value), exporter)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// books are those of the signal's way to the collector, the spool included: what it has delivered is exported, and what it
// has lost has failed.
func (r running) books() batch.Stats {
	s := r.stats()
	if r.spooled != nil {
		b := r.spooled()
		s.Exported += b.Exported
		s.Rejected += b.Rejected
		s.Dropped.TooLarge += b.TooLarge
		s.Failed += b.Failed + b.Full + b.Corrupt
	}
	return s
}

// keepsBooks is false for signals that only go to the console or to a reader of the user's.
func keepsBooks(sc signalConfig, s signal) bool {
	return sc.sends(exporterOTLP) || s != metrics && sc.sends(exporterGiven)
}

// exporterBooks and processorBooks are one component's instruments and their attribute sets. Every series is there from
// the first export on, at zero: an alert on an increase needs something to increase from.
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

func newExporterBooks(exported metric.Int64ObservableCounter, inflight metric.Int64ObservableUpDownCounter, of []attribute.KeyValue) exporterBooks {
	return exporterBooks{
		exported: exported, inflight: inflight, plain: with(of),
		rejected:  with(of, semconv.ErrorTypeKey.String("rejected")), // the convention's word for a partial success
		tooLarge:  with(of, semconv.ErrorTypeKey.String("too_large")),
		forOthers: with(of, semconv.ErrorTypeOther),
	}
}

func newProcessorBooks(processed metric.Int64ObservableCounter, size, capacity metric.Int64ObservableUpDownCounter, t otelconv.ComponentTypeAttr) processorBooks {
	of := component(string(t))
	return processorBooks{
		processed: processed, size: size, capacity: capacity, plain: with(of),
		queueFull: with(of, semconv.ErrorTypeKey.String("queue_full")), // the convention's word, in bytes and items alike
		tooLarge:  with(of, semconv.ErrorTypeKey.String("too_large")),
		shutdown:  with(of, semconv.ErrorTypeKey.String("shutdown")),
	}
}

func with(of []attribute.KeyValue, more ...attribute.KeyValue) metric.ObserveOption {
	return metric.WithAttributeSet(attribute.NewSet(append(more, of...)...))
}

// observe does not count what is in the spool: its export has not finished.
func (b exporterBooks) observe(o metric.Observer, s batch.Stats) {
	atDoor := refusedTooLarge(s)
	o.ObserveInt64(b.inflight, s.InFlight, b.plain)
	o.ObserveInt64(b.exported, s.Exported, b.plain)
	o.ObserveInt64(b.exported, s.Rejected, b.rejected)
	o.ObserveInt64(b.exported, s.Dropped.TooLarge-atDoor, b.tooLarge)
	o.ObserveInt64(b.exported, s.Failed, b.forOthers)
}

// observe counts an item as processed when the exporter has it: what becomes of it there is the exporter's to tell.
func (b processorBooks) observe(o metric.Observer, s batch.Stats, capacity int64) {
	o.ObserveInt64(b.size, s.Queued-s.InFlight, b.plain)
	o.ObserveInt64(b.capacity, capacity, b.plain)
	o.ObserveInt64(b.processed, s.Submitted, b.plain)
	o.ObserveInt64(b.processed, s.Dropped.QueueFull+s.Dropped.BytesFull, b.queueFull)
	o.ObserveInt64(b.processed, refusedTooLarge(s), b.tooLarge)
	o.ObserveInt64(b.processed, s.Dropped.Shutdown, b.shutdown)
}

// refusedTooLarge is how many items the queue refused for their size; the rest of Dropped.TooLarge the server refused.
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
	// The engine takes the place of the SDK's batch processor, with its settings and its meaning.
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

// register observes one signal's books; metrics have no processor. One snapshot serves all instruments, so that the
// numbers of an export add up.
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

// component identifies one of a kind in this guard: there is never a second.
func component(typeName string) []attribute.KeyValue {
	return []attribute.KeyValue{semconv.OTelComponentTypeKey.String(typeName), semconv.OTelComponentName(typeName + "/0")}
}

// exporterTypes are the convention's, by signal: over gRPC, over HTTP.
var exporterTypes = [signalCount][2]otelconv.ComponentTypeAttr{
	traces:  {otelconv.ComponentTypeOtlpGRPCSpanExporter, otelconv.ComponentTypeOtlpHTTPSpanExporter},
	metrics: {otelconv.ComponentTypeOtlpGRPCMetricExporter, otelconv.ComponentTypeOtlpHTTPMetricExporter},
	logs:    {otelconv.ComponentTypeOtlpGRPCLogExporter, otelconv.ComponentTypeOtlpHTTPLogExporter},
}

// exporterComponent names the OTLP exporter and where it sends to, or the type of one that an option gave.
func exporterComponent(cfg *config, s signal) []attribute.KeyValue {
	sc := cfg.signals[s]
	if sc.sends(exporterGiven) && s == traces {
		return component(typeName(*cfg.opts.spanExporter))
	}
	if sc.sends(exporterGiven) && s == logs {
		return component(typeName(*cfg.opts.logExporter))
	}
	types := exporterTypes[s]
	of := component(string(types[1]))
	if sc.protocol.value == ProtocolGRPC {
		of = component(string(types[0]))
	}
	host, port, err := net.SplitHostPort(sc.target.hostPort())
	if err != nil {
		return of
	}
	of = append(of, semconv.ServerAddress(host))
	if number, err := strconv.Atoi(port); err == nil {
		of = append(of, semconv.ServerPort(number))
	}
	return of
}

// typeName is "path/of/package.Type", as the convention asks of components that it does not know.
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
