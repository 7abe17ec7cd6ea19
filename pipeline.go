package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/identity"
	internallogs "github.com/fleetotel/telemetry/internal/logs"
	"github.com/fleetotel/telemetry/internal/peek"
	"github.com/fleetotel/telemetry/internal/spool"
)

// running is one signal in operation, as ForceFlush, Shutdown and Health see it.
type running struct {
	signal   signal
	words    *explainer // says what an error of the delivery means and what to do about it; may be nil
	flush    func(context.Context) error
	shutdown func(context.Context) error
	drain    func(context.Context) error // the batch engine's part of shutdown; nil without one
	stats    func() batch.Stats
	report   func()             // tells the self-log what it has not heard yet; nil where there is nothing
	sampler  *AdaptiveSampler   // of traces, if it is adaptive
	spooled  func() spool.Books // nil without a spool
	redacted func() int64
	inward   bool // it leaves the process through nothing
}

// health is how the signal is doing, on its way and on disk.
func (r running) health() SignalHealth {
	h := signalHealth(r.stats())
	h.On = !r.inward
	h.Redacted = r.redacted()
	if r.spooled != nil {
		h.addSpool(r.spooled())
	}
	h.LastError = r.words.words(r.signal, h.LastError)
	return h
}

// builder starts signals. What one signal has started is undone when the rest of it fails.
type builder struct {
	cfg         *config
	resource    *resource.Resource
	correction  *identity.Correction // of what the SDK makes of it
	connections *connections
	selfLog     *diagnose.Log
	console     slog.Handler
	redaction   *redaction   // nil if it is off
	view        *consoleView // nil: the console exporters write JSON
}

// running is a signal of which nothing has been started.
func (b *builder) running(s signal) running {
	return running{signal: s, words: b.connections.explainer, stats: noStats, redacted: b.redaction.counter(s)}
}

// engineConfig is the batch engine's for one signal.
func (b *builder) engineConfig(s signal, c batchConfig) batch.Config {
	engine := batch.Config{
		MaxQueueSize:         c.maxQueueSize.value,
		MaxQueueBytes:        int64(c.maxQueueBytes.value),
		MaxExportBatchSize:   c.maxExportBatchSize.value,
		MaxConcurrentExports: c.maxConcurrentExports.value,
		ScheduleDelay:        c.scheduleDelay.value,
		ExportTimeout:        c.exportTimeout.value,
		Spool:                b.connections.spool != nil,
		OnError:              b.onError(s),
	}
	if b.cfg.signals[s].sends(exporterGiven) {
		engine.MaxConcurrentExports = 1 // as the SDK promises to exporters
		engine.Spool = false
	}
	return engine
}

func (b *builder) onError(s signal) func(int64, error) {
	return func(lost int64, err error) { b.connections.outages.lost(s, lost, err) }
}

// traces builds the tracer provider. With an adaptive sampler, each processor that exports stands behind a local tail,
// which holds what is undecided; where nothing is exported, nothing is held.
func (b *builder) traces(ctx context.Context) (provider *sdktrace.TracerProvider, run running, err error) {
	var processors []sdktrace.SpanProcessor
	defer undo(ctx, &err, &processors)
	sampler, adaptive, owned, err := b.cfg.sampler.value.build(b.cfg.samplerArg.value)
	if err != nil {
		return nil, run, err
	}
	defer func() {
		if err != nil && owned {
			_ = adaptive.Close()
		}
	}()
	export := func(p sdktrace.SpanProcessor) {
		if adaptive != nil {
			p = adaptive.SpanProcessor(p)
		}
		processors = append(processors, p)
	}
	run = b.running(traces)
	run.sampler = adaptive
	sc := b.cfg.signals[traces]
	run.inward = sc.sends(exporterNone)
	if sc.sends(exporterOTLP) || sc.sends(exporterGiven) {
		exporter, err := b.spanExporter(ctx)
		if err != nil {
			return nil, run, err
		}
		engine, err := batch.NewSpanProcessor(b.engineConfig(traces, b.cfg.spanBatch), b.redaction.spans(exporter))
		if err != nil {
			return nil, run, err
		}
		export(engine)
		run.stats, run.report, run.drain = engine.Snapshot, engine.ReportRefused, processors[0].Shutdown
	}
	if sc.sends(exporterConsole) {
		if err := b.consoleSpans(export, func(p sdktrace.SpanProcessor) { processors = append(processors, p) }); err != nil {
			return nil, run, err
		}
	}
	own := len(processors)
	// After the batch processor: the SDK shuts them down in order, and one that hangs must not keep it from its turn.
	for _, p := range b.cfg.opts.spanProcessors {
		if !isNil(p) {
			processors = append(processors, p)
		}
	}
	if run.spooled, err = b.connections.replay(traces); err != nil {
		return nil, run, err
	}
	opts := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(b.resource),
		sdktrace.WithRawSpanLimits(b.cfg.spanLimits.sdk()),
		sdktrace.WithSampler(sampler),
	}
	if ids := b.cfg.idGenerator(); ids != nil {
		opts = append(opts, sdktrace.WithIDGenerator(ids))
	}
	opts = append(opts, b.correction.Traces()...)
	for i, p := range processors {
		if i == 0 && run.drain != nil {
			p = drainedSpans{p}
		}
		if i < own {
			p = limitedSpans{p, b.cfg.spanLimits.values(), &peek.Spans{}}
		}
		opts = append(opts, sdktrace.WithSpanProcessor(p))
	}
	provider = sdktrace.NewTracerProvider(opts...)
	run.flush, run.shutdown = provider.ForceFlush, drainFirst(run.drain, provider.Shutdown)
	if owned {
		run.shutdown = closing(adaptive, run.shutdown)
	}
	return provider, run, nil
}

// closing ends the sampler after its provider.
func closing(s *AdaptiveSampler, shutdown func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		defer func() { _ = s.Close() }()
		return shutdown(ctx)
	}
}

func (b *builder) spanExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	if b.cfg.signals[traces].sends(exporterGiven) {
		return encodableSpans{*b.cfg.opts.spanExporter}, nil
	}
	exporter, err := b.connections.spanExporter(ctx)
	return encodableSpans{exporter}, err
}

// logs builds the logger provider.
func (b *builder) logs(ctx context.Context) (provider *sdklog.LoggerProvider, run running, err error) {
	var processors []sdklog.Processor
	defer undo(ctx, &err, &processors)
	run = b.running(logs)
	sc := b.cfg.signals[logs]
	if sc.sends(exporterOTLP) || sc.sends(exporterGiven) {
		exporters, err := b.logExporters(ctx)
		if err != nil {
			return nil, run, err
		}
		engine, err := batch.NewLogProcessor(b.engineConfig(logs, b.cfg.logBatch), b.redaction.logs(exporters)...)
		if err != nil {
			return nil, run, err
		}
		run.stats, run.report, run.drain = engine.Snapshot, engine.ReportRefused, engine.Shutdown
		processors = append(processors, engine)
	}
	if sc.sends(exporterConsole) {
		processors = append(processors, consoleRecords{internallogs.NewHandler(b.console)})
	}
	if run.spooled, err = b.connections.replay(logs); err != nil {
		return nil, run, err
	}
	opts := []sdklog.LoggerProviderOption{
		sdklog.WithResource(b.resource),
		sdklog.WithAttributeCountLimit(b.cfg.logLimits.attributeCount.value),
		sdklog.WithAttributeValueLengthLimit(b.cfg.logLimits.attributeValueLength.value),
	}
	opts = append(opts, b.correction.Logs()...)
	for i, p := range processors {
		if i == 0 && run.drain != nil {
			p = limitedLogs{drainedLogs{p}, b.cfg.logLimits.values()}
		}
		opts = append(opts, sdklog.WithProcessor(p))
	}
	provider = sdklog.NewLoggerProvider(opts...)
	run.flush, run.shutdown = provider.ForceFlush, drainFirst(run.drain, provider.Shutdown)
	return provider, run, nil
}

func (b *builder) logExporters(ctx context.Context) ([]sdklog.Exporter, error) {
	if b.cfg.signals[logs].sends(exporterGiven) {
		return []sdklog.Exporter{encodableLogs{*b.cfg.opts.logExporter}}, nil
	}
	exporters, err := b.connections.logExporters(ctx)
	for i := range exporters {
		exporters[i] = encodableLogs{exporters[i]}
	}
	return exporters, err
}

// undo, deferred, turns a panic of the user's parts into an error and shuts down what a signal had started if it fails.
func undo[T interface{ Shutdown(context.Context) error }](ctx context.Context, err *error, started *[]T) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %s", internallogs.Text(p))
	}
	if *err == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx) // nothing has been recorded yet, and there is nothing to wait for
	cancel()
	for _, part := range *started {
		_ = part.Shutdown(ctx)
	}
}

// drainedSpans and drainedLogs are what the providers know of the engines: their shutdown is drainFirst's.
type (
	drainedSpans struct{ sdktrace.SpanProcessor }
	drainedLogs  struct{ sdklog.Processor }
)

func (drainedSpans) Shutdown(context.Context) error { return nil }
func (drainedLogs) Shutdown(context.Context) error  { return nil }

// drainFirst shuts the batch engine down before its provider, whose own Shutdown does not reach any processor when the
// context is over by then.
func drainFirst(drain, shutdown func(context.Context) error) func(context.Context) error {
	if drain == nil {
		return shutdown
	}
	return func(ctx context.Context) error {
		err := drain(ctx)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(remaining(ctx), graceAfterEnd))
		defer cancel()
		return errors.Join(err, shutdown(ctx))
	}
}

func noStats() batch.Stats { return batch.Stats{} }
