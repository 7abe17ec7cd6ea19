package batch

import (
	"context"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/peek"
)

// SpanProcessor puts ended spans through an [Engine]. It takes sampled spans only, as the
// specification requires; spans with an error status have priority.
type SpanProcessor struct {
	engine *Engine[sdktrace.ReadOnlySpan]
	look   peek.Spans
}

var _ sdktrace.SpanProcessor = (*SpanProcessor)(nil)

// NewSpanProcessor returns a processor that exports with the given exporters, which it shuts down
// with itself. See [New] for their number.
func NewSpanProcessor(cfg Config, exporters ...sdktrace.SpanExporter) (*SpanProcessor, error) {
	exports := make([]Export[sdktrace.ReadOnlySpan], len(exporters))
	closers := make([]func(context.Context) error, len(exporters))
	for i, exporter := range exporters {
		closers[i] = exporter.Shutdown
		exports[i] = exporter.ExportSpans
	}
	engine, err := New(cfg, exports...)
	if err != nil {
		return nil, err
	}
	engine.closers = closers
	return &SpanProcessor{engine: engine}, nil
}

// OnStart implements [sdktrace.SpanProcessor]. It does nothing.
func (*SpanProcessor) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd queues a span. It never blocks on an export.
func (p *SpanProcessor) OnEnd(s sdktrace.ReadOnlySpan) {
	sampled, failed := p.look.Status(s)
	// The size of a span that is refused anyway is not needed.
	if sampled && !p.engine.refusedAtOnce(failed) {
		p.engine.admit(&s, spanSize(p.look.Parts(s)), failed)
	}
}

// ForceFlush exports what ended before the call. See [Engine.ForceFlush].
func (p *SpanProcessor) ForceFlush(ctx context.Context) error { return p.engine.ForceFlush(ctx) }

// Shutdown drains the queue, then shuts the exporters down. See [Engine.Shutdown].
func (p *SpanProcessor) Shutdown(ctx context.Context) error {
	return p.engine.Shutdown(ctx)
}

// Snapshot returns the books of the spans.
func (p *SpanProcessor) Snapshot() Stats { return p.engine.Snapshot() }

// ReportRefused reports what was refused. See [Engine.ReportRefused].
func (p *SpanProcessor) ReportRefused() { p.engine.ReportRefused() }
