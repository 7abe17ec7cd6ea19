package pipeline

import (
	"context"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/otlp"
	"github.com/fleetotel/telemetry/internal/peek"
	"github.com/fleetotel/telemetry/internal/sampling"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// traces builds the tracer provider. With an adaptive sampler, each processor that exports is
// behind a local tail, which holds undecided spans. If nothing is exported, nothing is held.
func (b *builder) traces(ctx context.Context, run *otlp.Running, started *cleanup) error {
	sampler, adaptive, owned, err := b.Config.Sampler.Value.Build(b.Config.SamplerArg.Value)
	if err != nil {
		return err
	}
	if owned {
		started.add(closing(adaptive, nil))
	}
	run.Sampler = adaptive
	run.Inward = b.Config.Signals[signal.Traces].Sends(settings.ExporterNone)
	opts := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(b.Resource),
		sdktrace.WithRawSpanLimits(b.Config.SpanLimits.SDK()),
		sdktrace.WithSampler(sampler),
	}
	if ids := b.Config.Asked.IDGenerator; ids != nil {
		opts = append(opts, sdktrace.WithIDGenerator(ids))
	}
	opts = append(opts, b.correction.Traces()...)
	process := func(p sdktrace.SpanProcessor) {
		opts = append(opts, sdktrace.WithSpanProcessor(limitedSpans{p, b.Config.SpanLimits.Values(), &peek.Spans{}}))
	}
	engine, err := b.spanEngine(ctx)
	if err != nil {
		return err
	}
	if engine != nil {
		tail := behindTail(adaptive, engine)
		started.add(tail.Shutdown)
		run.Stats, run.Report, run.Drain = engine.Snapshot, engine.ReportRefused, tail.Shutdown
		process(drainedSpans{tail})
	}
	shown, err := b.consoleSpans(adaptive)
	if err != nil {
		return err
	}
	for _, p := range shown {
		started.add(p.Shutdown)
		process(p)
	}
	// They come after the engine: the SDK shuts processors down in order, and one that hangs must
	// not keep the engine from being shut down.
	for _, p := range b.Config.Asked.SpanProcessors {
		started.add(p.Shutdown)
		opts = append(opts, sdktrace.WithSpanProcessor(p))
	}
	if run.Spooled, err = b.Connections.Replay(signal.Traces); err != nil {
		return err
	}
	provider := sdktrace.NewTracerProvider(opts...)
	run.Flush, run.Shutdown = provider.ForceFlush, drainFirst(run.Drain, provider.Shutdown)
	if owned {
		adaptive.Serve(provider)
		run.Shutdown = closing(adaptive, run.Shutdown)
	}
	b.TracerProvider = provider
	return nil
}

// spanEngine returns nil if spans go only to the console, or nowhere.
func (b *builder) spanEngine(ctx context.Context) (*batch.SpanProcessor, error) {
	var exporter sdktrace.SpanExporter
	switch sc := b.Config.Signals[signal.Traces]; {
	case sc.Sends(settings.ExporterGiven):
		exporter = *b.Config.Asked.SpanExporter
	case sc.Sends(settings.ExporterOTLP):
		var err error
		if exporter, err = b.Connections.SpanExporter(ctx); err != nil {
			return nil, err
		}
	default:
		return nil, nil
	}
	return batch.NewSpanProcessor(b.engineConfig(signal.Traces, b.Config.SpanBatch),
		b.Console.redaction.spans(encodableSpans{exporter}))
}

// behindTail returns next behind the local tail of an adaptive sampler, or next itself if the
// sampler is not adaptive.
func behindTail(adaptive *sampling.Sampler, next sdktrace.SpanProcessor) sdktrace.SpanProcessor {
	if adaptive == nil {
		return next
	}
	return adaptive.Processor(next)
}

// closing returns a shutdown that shuts the provider down, if there is one yet, and then closes the
// sampler.
func closing(s *sampling.Sampler, shutdown func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		defer s.Close()
		if shutdown == nil {
			return nil
		}
		return shutdown(ctx)
	}
}

// drainedSpans is the engine without its Shutdown, which drainFirst calls and not the provider.
type drainedSpans struct{ sdktrace.SpanProcessor }

func (drainedSpans) Shutdown(context.Context) error { return nil }
