package telemetry

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/log"
	lognoop "go.opentelemetry.io/otel/log/noop"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/contain"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/logs"
	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/fleetotel/telemetry/internal/middleware"
	"github.com/fleetotel/telemetry/internal/otlp"
	"github.com/fleetotel/telemetry/internal/selflog"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

const (
	// passedDeadlineGrace is how long Shutdown still delivers if its context's deadline has already
	// passed.
	passedDeadlineGrace = time.Second
	// tooShort is the remaining time below which a deadline counts as passed.
	tooShort = 50 * time.Millisecond
	// abandonGrace is the longest time a signal may take to return after its share of the time has
	// passed.
	abandonGrace = 250 * time.Millisecond
	// logGrace is how long Run waits for its own log lines, and Init and Shutdown for a line of the
	// log package.
	logGrace = 250 * time.Millisecond
	// unsetEndpointGrace is how long Shutdown waits for the default endpoint if nothing has ever
	// listened there. A program without a collector ends almost as fast as without telemetry. A
	// collector that is still starting gets one second.
	unsetEndpointGrace = time.Second
)

// Guard holds what Init started. All methods are safe for concurrent use. A nil Guard is safe and
// does nothing.
type Guard struct {
	tracerProvider trace.TracerProvider
	meterProvider  metric.MeterProvider
	loggerProvider log.LoggerProvider
	propagator     propagation.TextMapPropagator
	logger         *slog.Logger
	methods        middleware.Methods
	active         middleware.ActiveRequests

	cfg         *settings.Config
	resource    *resource.Resource
	mask        mask.Mask
	selfLog     *selflog.Log
	startErr    error    // the error of Init
	warnings    []string // logged by Init
	remarks     []string // logged by Init
	running     []otlp.Running
	prober      *otlp.Prober // nil if nothing is probed
	connections *otlp.Connections
	release     func() error // restores the globals
	owner       *Guard       // the guard that holds the globals, if Init returned ErrAlreadyInitialized

	earlyLoggerOnce sync.Once // see earlyLogger

	stop    sync.Mutex
	stopped chan struct{} // closed at the end of the first Shutdown; nil before it
	stopErr error         // the error of the first Shutdown
}

// TracerProvider returns the guard's provider, a no-op if traces are off.
func (g *Guard) TracerProvider() trace.TracerProvider {
	if g == nil {
		return tracenoop.NewTracerProvider()
	}
	return g.tracerProvider
}

// MeterProvider returns the guard's provider, a no-op if metrics are off.
func (g *Guard) MeterProvider() metric.MeterProvider {
	if g == nil {
		return metricnoop.NewMeterProvider()
	}
	return g.meterProvider
}

// LoggerProvider returns the guard's provider, for log bridges other than slog. It is a no-op if
// logs are off.
func (g *Guard) LoggerProvider() log.LoggerProvider {
	if g == nil {
		return lognoop.NewLoggerProvider()
	}
	return g.loggerProvider
}

// Propagator returns the guard's propagator, W3C trace context and baggage by default. It also
// works if traces are off.
func (g *Guard) Propagator() propagation.TextMapPropagator {
	if g == nil {
		return propagation.NewCompositeTextMapPropagator()
	}
	return g.propagator
}

// Logger returns the logger that writes to the console and, unless logs are off, to the collector.
// After Shutdown it writes only to the console, and so do loggers made from it earlier.
func (g *Guard) Logger() *slog.Logger {
	if g == nil {
		return slog.Default()
	}
	return g.logger
}

// ForceFlush sends what all signals hold at the time of the call, in parallel. It returns when the
// data has arrived or is in the spool, or when ctx ends. The adaptive sampler still holds each
// trace until its local root span ends, because an early decision would lose errors or bias the
// weights. The errors of the signals are joined; signals that lost data for the same reason share
// one error. After Shutdown it does nothing.
func (g *Guard) ForceFlush(ctx context.Context) error {
	if g == nil {
		return nil
	}
	if g.owner != nil {
		return g.owner.ForceFlush(ctx)
	}
	ctx = orBackground(ctx)
	return inParallel(g.running, func(r otlp.Running) error {
		return r.Failed("flush", abandonAfter(ctx, abandonGrace, "come back", r.Flush))
	})
}

// Shutdown delivers the remaining data and stops everything Init started: traces and logs in
// parallel, then metrics, then the connections. It takes at most until the deadline of ctx or the
// shutdown timeout ([WithShutdownTimeout], default 10 s), whichever is earlier. Each signal has its
// own share of the time, so a signal that hangs does not delay the others. A blocked log output
// takes half a second more, and the error names it. With a spool ([WithSpool]), data that cannot be
// delivered in that time is written to disk. The error covers only data that is neither delivered
// nor spooled.
//
// If no endpoint was set and nothing has listened at the default one since Init
// (http://localhost:4318 by the specification, or 4317 over gRPC), Shutdown waits for it only 1 s.
// Nothing listens there if connections are refused or the name does not resolve. An endpoint that
// was set, even to the same address, or that has answered before, gets the whole time.
//
// If ctx was canceled before the call, it counts as having no deadline. Otherwise a Shutdown
// deferred with the context that a signal has just canceled would lose everything. If the deadline
// of ctx has passed, Shutdown still gets 1 s.
//
// After Shutdown, slog's default and the log package write only to the console, with the same
// format, level and redaction, until the next Init replaces them. [WithoutGlobals] leaves both
// unchanged.
//
// The program must call Shutdown. Deferred calls do not run when a signal ends the process, at
// [os.Exit], at log.Fatal, or at a panic in another goroutine. [Run] calls it after main, however
// main ends.
//
// The first call does the work. Every other call waits for it and returns the same error, or
// returns its own error if its own time ends first. So a part of telemetry that Shutdown waits for,
// such as an error handler, may call it.
func (g *Guard) Shutdown(ctx context.Context) error {
	if g == nil || g.owner != nil { // it has started nothing
		return nil
	}
	ctx, cancel := shutdownContext(ctx, g.cfg.ShutdownTimeout.Value)
	defer cancel()
	g.selfLog.ShutdownBegins()
	g.stop.Lock()
	first := g.stopped == nil
	if first {
		g.stopped = make(chan struct{})
	}
	g.stop.Unlock()
	if !first {
		return g.awaitStop(ctx)
	}
	defer close(g.stopped)
	g.stopErr = g.shutdown(ctx)
	return g.stopErr
}

// awaitStop waits for the first Shutdown. It waits slightly longer than ctx, because both calls may
// have the same deadline.
func (g *Guard) awaitStop(ctx context.Context) error {
	select {
	case <-g.stopped:
		return g.stopErr
	case <-ctx.Done():
	}
	select {
	case <-g.stopped:
		return g.stopErr
	case <-time.After(abandonGrace):
		return fmt.Errorf("telemetry: shutdown: an earlier call has not returned yet: %w", ctx.Err())
	}
}

func (g *Guard) shutdown(ctx context.Context) error {
	grace := time.AfterFunc(unsetEndpointGrace, g.connections.GiveUp)
	defer grace.Stop()
	g.prober.Stop()
	var first, last []otlp.Running
	for _, r := range g.running {
		if r.Signal == signal.Metrics {
			last = append(last, r)
		} else {
			first = append(first, r)
		}
	}
	g.connections.Outages.BeginSummary()
	lost := g.connections.Spool.Lost()
	err := otlp.Join(
		g.stopSignals(ctx, first, len(last) > 0),
		g.stopSignals(ctx, last, false))
	g.connections.Spool.Close(ctx)
	err = errors.Join(err, g.connections.Spool.LostSince(lost), g.connections.Close())
	g.logStopped()
	if blocked := g.selfLog.Drain(abandonGrace); blocked != nil {
		err = errors.Join(err, fmt.Errorf("telemetry: shutdown: %w", blocked))
	}
	if g.release != nil {
		err = errors.Join(err, g.release())
	}
	return err
}

// logStopped logs the repeated messages that are still pending and the losses of the whole
// lifetime. It logs them because a deferred Shutdown discards its error.
func (g *Guard) logStopped() {
	g.connections.Outages.EndSummary()
	anyLost := false
	var signals []slog.Attr
	for _, r := range g.running {
		h := r.Health()
		if h.Accepted+h.Recovered == 0 {
			continue
		}
		counts := []any{slog.Int64("exported", h.Exported), slog.Int64("lost", h.Lost())}
		if r.Spooled != nil {
			counts = append(counts, slog.Int64("spooled", h.Spooled))
		}
		signals = append(signals, slog.Group(r.Signal.String(), counts...))
		anyLost = anyLost || h.Lost() > 0
	}
	g.selfLog.Close()
	g.selfLog.Say(lines.Stopped(anyLost, signals...))
}

// shutdownContext applies Shutdown's rules for contexts that have already ended.
func shutdownContext(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx = orBackground(ctx)
	switch err := ctx.Err(); {
	case errors.Is(err, context.DeadlineExceeded), err == nil && remaining(ctx) < tooShort:
		ctx, timeout = context.WithoutCancel(ctx), min(timeout, passedDeadlineGrace)
	case err != nil:
		ctx = context.WithoutCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

// remaining is the time until the deadline of ctx, or a day if it has none.
func remaining(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return settings.MaxDuration
	}
	return time.Until(deadline)
}

// stopSignals shuts the signals down in parallel. If other signals follow, it leaves a third of the
// time for them. It reserves a part of its share for signals that do not return in time.
func (g *Guard) stopSignals(ctx context.Context, signals []otlp.Running, followed bool) error {
	share := remaining(ctx)
	if followed {
		share -= share / 3
	}
	grace := min(abandonGrace, share/4)
	ctx, cancel := context.WithTimeout(ctx, share-grace)
	defer cancel()
	return inParallel(signals, func(r otlp.Running) error {
		return r.Failed("shutdown", stopInTime(ctx, grace, r))
	})
}

// stopInTime shuts a signal down. If it has to abandon that, the error counts what the signal has
// lost by then and what it still holds.
func stopInTime(ctx context.Context, grace time.Duration, r otlp.Running) error {
	before := r.Stats()
	err := abandonAfter(ctx, grace, "stop", r.Shutdown)
	if errors.Is(err, errAbandoned) {
		now := r.Stats()
		if n := now.Lost() - before.Lost() + now.Queued; n > 0 {
			return &batch.LossError{Items: n, Cause: err}
		}
	}
	return err
}

var errAbandoned = errors.New("was abandoned")

// abandonAfter runs do and returns when it returns, or when ctx and then grace have ended. In the
// second case, for example if a service's own processor hangs, the goroutine is abandoned.
func abandonAfter(ctx context.Context, grace time.Duration, verb string, do func(context.Context) error) error {
	done := make(chan error, 1)
	go func() {
		err := errors.New("ended its goroutine") // at runtime.Goexit, which a test's FailNow calls
		defer func() { done <- err }()
		err = contain.Catch(func() error { return do(ctx) })
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		return fmt.Errorf("did not %s in time and %w: %w", verb, errAbandoned, ctx.Err())
	}
}

func inParallel(signals []otlp.Running, do func(otlp.Running) error) error {
	errs := make([]error, len(signals))
	var wg sync.WaitGroup
	for i, r := range signals {
		wg.Go(func() { errs[i] = contain.Catch(func() error { return do(r) }) })
	}
	wg.Wait()
	return otlp.Join(errs...)
}

// restoreGlobals restores the globals that Init replaced, and makes the plain logger slog's
// default. A global that the service has changed since is left unchanged.
func restoreGlobals(before, mine *globals) error {
	if otel.GetTracerProvider() == mine.tracerProvider {
		otel.SetTracerProvider(before.tracerProvider)
	}
	if otel.GetMeterProvider() == mine.meterProvider {
		otel.SetMeterProvider(before.meterProvider)
	}
	if otel.GetLoggerProvider() == mine.loggerProvider {
		otel.SetLoggerProvider(before.loggerProvider)
	}
	if otel.GetTextMapPropagator() == mine.propagator {
		otel.SetTextMapPropagator(before.propagator)
	}
	if otel.GetErrorHandler() == mine.errorHandler {
		otel.SetErrorHandler(before.errorHandler)
	}
	if process.logTurns.Take(logGrace, func() { restoreLog(before, mine) }) {
		return nil
	}
	return fmt.Errorf("telemetry: shutdown: a call of the log package has been blocked for %s: "+
		"its output is restored when the call returns", logGrace)
}

func restoreLog(before, mine *globals) {
	if slog.Default() != mine.logger {
		return
	}
	theirs := stdLog{stdlog.Writer(), stdlog.Flags()}
	slog.SetDefault(before.logger) // and with it the log package's output
	stdlog.SetOutput(logs.NewStdWriter(stdlog.Writer(), before.logger.Handler(), func(string) {}))
	if theirs != mine.stdLog {
		stdlog.SetOutput(theirs.writer)
		stdlog.SetFlags(theirs.flags)
	}
}
