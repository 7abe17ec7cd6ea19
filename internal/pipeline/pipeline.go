// Package pipeline builds the three providers of a guard over internal/otlp. Each item passes the
// same steps: limits, the batch engine's queue (metrics: the books), redaction, replacement of what
// OTLP cannot encode, the exporter.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/log"
	lognoop "go.opentelemetry.io/otel/log/noop"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/contain"
	"github.com/fleetotel/telemetry/internal/identity"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/logs"
	"github.com/fleetotel/telemetry/internal/nonrecording"
	"github.com/fleetotel/telemetry/internal/otlp"
	"github.com/fleetotel/telemetry/internal/selflog"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// Parts are what a pipeline is built over.
type Parts struct {
	Config      *settings.Config
	Resource    *resource.Resource
	Connections *otlp.Connections
	SelfLog     *selflog.Log
	Console     *Console
}

// Pipeline is what Start has started. The provider of a signal that is off does nothing, except
// that spans still have IDs unless telemetry is disabled.
type Pipeline struct {
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	LoggerProvider log.LoggerProvider
	Logs           slog.Handler // the console and, where log records leave the process, OTLP
	Running        []otlp.Running
}

// Start builds the three signals. If one fails, what it has started is shut down and the signal is
// off; the others run.
func Start(ctx context.Context, parts Parts) (*Pipeline, error) {
	cfg := parts.Config
	cfg.ConsoleForm = parts.Console.view.form()
	p := &Pipeline{
		TracerProvider: tracenoop.NewTracerProvider(), // as the specification has it for OTEL_SDK_DISABLED
		MeterProvider:  metricnoop.NewMeterProvider(),
		LoggerProvider: lognoop.NewLoggerProvider(),
	}
	if !cfg.Disabled.Value {
		p.TracerProvider = nonrecording.NewProvider(cfg.Asked.IDGenerator)
	}
	b := &builder{Parts: parts, Pipeline: p, correction: identity.Correct(parts.Resource)}
	err := errors.Join(
		b.start(ctx, signal.Traces, b.traces),
		b.start(ctx, signal.Metrics, b.metrics),
		b.start(ctx, signal.Logs, b.logs))
	parts.Connections.Outages.Watch(p.Running)
	p.Logs = b.logHandler()
	if err := contain.Catch(func() error { return p.observeSelf(cfg) }); err != nil {
		parts.SelfLog.Say(lines.SelfMetricsIncomplete(err))
	}
	return p, err
}

// builder fills a pipeline.
type builder struct {
	Parts
	*Pipeline
	correction *identity.Correction // removes what the SDK adds to the resource
	sink       *logs.Sink           // nil where log records do not leave the process
}

// start builds one signal if it is on. Its parts may be a service's own code, which may panic.
func (b *builder) start(ctx context.Context, s signal.Signal,
	build func(context.Context, *otlp.Running, *cleanup) error) error {
	sc := &b.Config.Signals[s]
	if !sc.On {
		return nil
	}
	var started cleanup
	run := otlp.Running{
		Signal: s, Explainer: b.Connections.Explainer, Redacted: b.Console.redaction.counter(s),
		Stats: func() batch.Stats { return batch.Stats{} },
	}
	if err := contain.Catch(func() error { return build(ctx, &run, &started) }); err != nil {
		started.undo(ctx)
		err = b.SelfLog.Mask().Error(err)
		sc.On, sc.Off = false, settings.OrDash(err.Error())
		return fmt.Errorf("telemetry: %s are off: %w", s, err)
	}
	b.Running = append(b.Running, run)
	return nil
}

// cleanup has the Shutdown of each part that a signal has started.
type cleanup []func(context.Context) error

func (c *cleanup) add(shutdown func(context.Context) error) { *c = append(*c, shutdown) }

// undo does not wait: nothing has been recorded yet.
func (c *cleanup) undo(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	for _, shutdown := range *c {
		_ = contain.Catch(func() error { return shutdown(ctx) })
	}
}

// engineConfig returns the configuration of the batch engine of one signal.
func (b *builder) engineConfig(s signal.Signal, c settings.BatchConfig) batch.Config {
	engine := batch.Config{
		MaxQueueSize:         c.MaxQueueSize.Value,
		MaxQueueBytes:        int64(c.MaxQueueBytes.Value),
		MaxExportBatchSize:   c.MaxExportBatchSize.Value,
		MaxConcurrentExports: c.MaxConcurrentExports.Value,
		ScheduleDelay:        c.ScheduleDelay.Value,
		ExportTimeout:        c.ExportTimeout.Value,
		Spool:                b.Connections.Spool != nil,
		OnError:              b.onError(s),
	}
	if b.Config.Signals[s].Sends(settings.ExporterGiven) {
		engine.MaxConcurrentExports = 1 // as the SDK promises to exporters
		engine.Spool = false
	}
	return engine
}

func (b *builder) onError(s signal.Signal) func(int64, error) {
	return func(lost int64, err error) { b.Connections.Outages.Lost(s, lost, err) }
}

// closeProvider is the least time that a provider has to shut down after its engine.
const closeProvider = 250 * time.Millisecond

// drainFirst returns a shutdown that shuts the batch engine down before its provider. The
// provider's own Shutdown calls no processor if its context has already ended.
func drainFirst(drain, shutdown func(context.Context) error) func(context.Context) error {
	if drain == nil {
		return shutdown
	}
	return func(ctx context.Context) error {
		err := drain(ctx)
		ctx, cancel := withAtLeast(ctx, closeProvider)
		defer cancel()
		return errors.Join(err, shutdown(ctx))
	}
}

// withAtLeast returns ctx with at least d left, even if ctx has ended.
func withAtLeast(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	detached := context.WithoutCancel(ctx)
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(detached)
	}
	if earliest := time.Now().Add(d); deadline.Before(earliest) {
		deadline = earliest
	}
	return context.WithDeadline(detached, deadline)
}
