package batch

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
)

// LogProcessor puts log records through an [Engine]. Records of severity ERROR or above have
// priority.
type LogProcessor struct {
	engine    *Engine[sdklog.Record]
	exporters []sdklog.Exporter
}

var _ sdklog.Processor = (*LogProcessor)(nil)

// NewLogProcessor returns a processor that exports with the given exporters, which it shuts down
// with itself. See [New] for their number.
func NewLogProcessor(cfg Config, exporters ...sdklog.Exporter) (*LogProcessor, error) {
	exports := make([]Export[sdklog.Record], len(exporters))
	closers := make([]func(context.Context) error, len(exporters))
	for i, exporter := range exporters {
		closers[i] = exporter.Shutdown
		exports[i] = exporter.Export
	}
	engine, err := New(cfg, exports...)
	if err != nil {
		return nil, err
	}
	engine.closers = closers
	return &LogProcessor{engine: engine, exporters: exporters}, nil
}

// Enabled implements [sdklog.Processor]. It always returns true: the level is checked before the
// processor.
func (*LogProcessor) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }

// OnEmit queues a copy of the record. It never blocks on an export, and always returns nil.
func (p *LogProcessor) OnEmit(_ context.Context, r *sdklog.Record) error {
	priority := r.Severity() >= log.SeverityError
	// A record that is refused anyway need not be copied.
	if !p.engine.refusedAtOnce(priority) {
		own := r.Clone()
		p.engine.admit(&own, recordSize(r), priority)
	}
	return nil
}

// ForceFlush exports what was emitted before the call, then flushes the exporters. See
// [Engine.ForceFlush].
func (p *LogProcessor) ForceFlush(ctx context.Context) error {
	errs := []error{p.engine.ForceFlush(ctx)}
	for _, exporter := range p.exporters {
		errs = append(errs, exporter.ForceFlush(ctx))
	}
	return errors.Join(errs...)
}

// Shutdown drains the queue, then shuts the exporters down. See [Engine.Shutdown].
func (p *LogProcessor) Shutdown(ctx context.Context) error {
	return p.engine.Shutdown(ctx)
}

// Snapshot returns the books of the log records.
func (p *LogProcessor) Snapshot() Stats { return p.engine.Snapshot() }

// ReportRefused reports what was refused. See [Engine.ReportRefused].
func (p *LogProcessor) ReportRefused() { p.engine.ReportRefused() }
