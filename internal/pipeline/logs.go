package pipeline

import (
	"context"
	"log/slog"

	sdklog "go.opentelemetry.io/otel/sdk/log"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/logs"
	"github.com/fleetotel/telemetry/internal/otlp"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// logs builds the logger provider.
func (b *builder) logs(ctx context.Context, run *otlp.Running, started *cleanup) error {
	opts := []sdklog.LoggerProviderOption{
		sdklog.WithResource(b.Resource),
		sdklog.WithAttributeCountLimit(b.Config.LogLimits.AttributeCount.Value),
		sdklog.WithAttributeValueLengthLimit(b.Config.LogLimits.AttributeValueLength.Value),
	}
	opts = append(opts, b.correction.Logs()...)
	exporters, err := b.logExporters(ctx)
	if err != nil {
		return err
	}
	var sink *logs.Sink
	if exporters != nil {
		engine, err := batch.NewLogProcessor(b.engineConfig(signal.Logs, b.Config.LogBatch),
			b.Console.redaction.logs(exporters)...)
		if err != nil {
			return err
		}
		started.add(engine.Shutdown)
		run.Stats, run.Report, run.Drain = engine.Snapshot, engine.ReportRefused, engine.Shutdown
		sink = logs.NewSink(limitedLogs{drainedLogs{engine}, b.Config.LogLimits.Values()})
		opts = append(opts, sdklog.WithProcessor(sink))
	}
	if b.Config.Signals[signal.Logs].Sends(settings.ExporterConsole) {
		opts = append(opts, sdklog.WithProcessor(logs.ConsoleRecords{Console: logs.NewHandler(b.Console)}))
	}
	if run.Spooled, err = b.Connections.Replay(signal.Logs); err != nil {
		return err
	}
	provider := sdklog.NewLoggerProvider(opts...)
	if sink != nil {
		sink.Attach(provider)
	}
	run.Flush, run.Shutdown = provider.ForceFlush, drainFirst(run.Drain, provider.Shutdown)
	b.LoggerProvider, b.sink = provider, sink
	return nil
}

// logExporters returns no exporters if log records go only to the console, or nowhere.
func (b *builder) logExporters(ctx context.Context) (exporters []sdklog.Exporter, err error) {
	switch sc := b.Config.Signals[signal.Logs]; {
	case sc.Sends(settings.ExporterGiven):
		exporters = []sdklog.Exporter{*b.Config.Asked.LogExporter}
	case sc.Sends(settings.ExporterOTLP):
		exporters, err = b.Connections.LogExporters(ctx)
	}
	for i := range exporters {
		exporters[i] = encodableLogs{exporters[i]}
	}
	return exporters, err
}

// logHandler returns a handler that writes to the console, and, if log records are exported, to
// OTLP. OTLP comes first, so a console that blocks does not keep a record from the collector.
func (b *builder) logHandler() slog.Handler {
	if b.sink == nil {
		return logs.NewHandler(b.Console.Handler)
	}
	return logs.NewHandler(logs.NewOTLPHandler(b.sink, b.Config.OTLPLevel.Value), b.Console.Handler)
}

// drainedLogs is the engine without its Shutdown, which drainFirst calls and not the provider.
type drainedLogs struct{ sdklog.Processor }

func (drainedLogs) Shutdown(context.Context) error { return nil }
