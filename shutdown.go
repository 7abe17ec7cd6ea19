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

	"github.com/fleetotel/telemetry/internal/diagnose"
	internallogs "github.com/fleetotel/telemetry/internal/logs"
	"github.com/fleetotel/telemetry/internal/mask"
)

const (
	// graceAfterDeadline is what Shutdown still tries to deliver with when its context's deadline has already passed.
	graceAfterDeadline = time.Second
	// tooShort is a deadline that is as good as passed.
	tooShort = 50 * time.Millisecond
	// graceAfterEnd is how long a signal may take at most to come back when its share is over.
	graceAfterEnd = 250 * time.Millisecond
	// logGrace is how long Run waits for its own lines, and Init and Shutdown for one that the log package is writing.
	logGrace = 250 * time.Millisecond
	// graceForDefault is how long Shutdown waits for an endpoint that was not set and at which nothing has ever listened.
	// A program without a collector ends as it would without telemetry; a collector that was started with it has a moment.
	graceForDefault = time.Second
)

// Guard holds what Init started. All methods are safe for concurrent use, and safe on a nil Guard, which does nothing.
type Guard struct {
	tracerProvider trace.TracerProvider
	meterProvider  metric.MeterProvider
	loggerProvider log.LoggerProvider
	propagator     propagation.TextMapPropagator
	logger         *slog.Logger

	cfg         *config
	resource    *resource.Resource
	mask        mask.Mask
	selfLog     *diagnose.Log
	startErr    error    // of Init
	warnings    []string // said at the start
	remarks     []string // said at the start, too
	running     []running
	prober      *prober // nil if nothing is probed
	connections *connections
	release     func() error // gives the globals back
	owner       *Guard       // of a refused Init: the guard that holds the globals

	earlyLoggerOnce sync.Once // see earlyLogger

	stop    sync.Mutex
	stopped chan struct{} // closed by the first Shutdown at its end; nil before it
	stopErr error         // of that one
}

// TracerProvider returns the provider of this guard; a no-op when traces are off.
func (g *Guard) TracerProvider() trace.TracerProvider {
	if g == nil {
		return tracenoop.NewTracerProvider()
	}
	return g.tracerProvider
}

// MeterProvider returns the provider of this guard; a no-op when metrics are off.
func (g *Guard) MeterProvider() metric.MeterProvider {
	if g == nil {
		return metricnoop.NewMeterProvider()
	}
	return g.meterProvider
}

// LoggerProvider returns the provider of this guard for other bridges than slog; a no-op when logs are off.
func (g *Guard) LoggerProvider() log.LoggerProvider {
	if g == nil {
		return lognoop.NewLoggerProvider()
	}
	return g.loggerProvider
}

// Propagator returns the propagator in force, W3C trace context and baggage by default. It works also when traces are
// off.
func (g *Guard) Propagator() propagation.TextMapPropagator {
	if g == nil {
		return propagation.NewCompositeTextMapPropagator()
	}
	return g.propagator
}

// Logger returns the logger that writes to the console and, unless logs are off, to the collector. After Shutdown it
// writes to the console only, and so do the loggers made from it before.
func (g *Guard) Logger() *slog.Logger {
	if g == nil {
		return slog.Default()
	}
	return g.logger
}

// ForceFlush sends what the signals hold at the moment of the call, all signals at the same time, and returns when it
// has arrived, or is in the spool, or ctx ends. With the adaptive sampler a trace is held until its local root span ends, and
// stays held: to decide early would lose errors or bend the weights. The errors of the signals are joined, with one for
// what several lost for the same reason. After Shutdown it does nothing.
func (g *Guard) ForceFlush(ctx context.Context) error {
	if g == nil {
		return nil
	}
	if g.owner != nil {
		return g.owner.ForceFlush(ctx)
	}
	ctx = orBackground(ctx)
	return inParallel(g.running, func(r running) error {
		return r.failed("flush", leavingBehind(ctx, graceAfterEnd, "come back", r.flush))
	})
}

// Shutdown delivers what is still held and stops everything Init started: traces and logs at the same time, then
// metrics, then the connections. It takes at most until the deadline of ctx or the shutdown timeout
// ([WithShutdownTimeout], default 10 s), whichever is earlier; each signal has its own share, so that one that hangs
// costs the others nothing. A log output that blocks takes half a second more, and the error names it. With a spool
// ([WithSpool]) what cannot be delivered in that time goes to disk and is not lost; the error is about what is neither
// delivered nor spooled.
//
// An endpoint that was not set (the specification's http://localhost:4318, or 4317 over gRPC) is waited for no longer than
// 1 s if nothing has listened there since Init: connections are refused, or the name does not resolve. One that was set, if
// only to the same address, or that has answered before, has the whole time.
//
// A ctx that was cancelled before the call counts as one without a deadline: deferring Shutdown with the context that a
// signal has just cancelled would otherwise lose everything. One whose deadline has passed still gets 1 s.
//
// Afterwards slog's default, and with it the log package, writes to the console only, with the format, level and redaction
// that it had, until the next Init replaces it; [WithoutGlobals] leaves both alone.
//
// Shutdown has to be called: deferred calls do not run when a signal ends the process, nor at [os.Exit], at log.Fatal, or at a
// panic in another goroutine. [Run] calls it after main, whatever ends main.
//
// The first call does the work; every other one waits for it and gets the same error, or one of its own when its own time
// is over first: so it may be called from a part of telemetry that Shutdown waits for, such as an error handler.
func (g *Guard) Shutdown(ctx context.Context) error {
	if g == nil || g.owner != nil { // nothing of its own is running
		return nil
	}
	ctx, cancel := shutdownContext(ctx, g.cfg.shutdownTimeout.value)
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

// awaitStop waits for the first Shutdown, and a little longer than ctx for one that has the same deadline.
func (g *Guard) awaitStop(ctx context.Context) error {
	select {
	case <-g.stopped:
		return g.stopErr
	case <-ctx.Done():
	}
	select {
	case <-g.stopped:
		return g.stopErr
	case <-time.After(graceAfterEnd):
		return fmt.Errorf("telemetry: shutdown: an earlier call has not returned yet: %w", ctx.Err())
	}
}

func (g *Guard) shutdown(ctx context.Context) error {
	grace := time.AfterFunc(graceForDefault, g.connections.giveUp)
	defer grace.Stop()
	g.prober.stop()
	var first, last []running
	for _, r := range g.running {
		if r.signal == metrics {
			last = append(last, r)
		} else {
			first = append(first, r)
		}
	}
	g.connections.outages.beginFarewell()
	lost := g.connections.spool.lost()
	err := joined(
		g.stopSignals(ctx, first, len(last) > 0),
		g.stopSignals(ctx, last, false))
	g.connections.spool.close(ctx)
	err = errors.Join(err, g.connections.spool.lostSince(lost), g.connections.close())
	g.sayGoodbye()
	if blocked := g.selfLog.Drain(graceAfterEnd); blocked != nil {
		err = errors.Join(err, fmt.Errorf("telemetry: shutdown: %w", blocked))
	}
	if g.release != nil {
		err = errors.Join(err, g.release())
	}
	return err
}

// sayGoodbye says what has repeated and was not said yet, and what was lost in the whole lifetime: errors of a deferred
// Shutdown are thrown away.
func (g *Guard) sayGoodbye() {
	g.connections.outages.endFarewell()
	level := slog.LevelInfo
	var args []any
	for _, r := range g.running {
		h := r.health()
		if h.Accepted+h.Recovered == 0 {
			continue
		}
		counts := []any{slog.Int64("exported", h.Exported), slog.Int64("lost", h.Lost())}
		if r.spooled != nil {
			counts = append(counts, slog.Int64("spooled", h.Spooled))
		}
		args = append(args, slog.Group(r.signal.String(), counts...))
		if h.Lost() > 0 {
			level = slog.LevelWarn
		}
	}
	g.selfLog.Close()
	g.selfLog.Say(level, "stopped", args...)
}

// shutdownContext applies the rules for contexts that are already over.
func shutdownContext(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx = orBackground(ctx)
	switch err := ctx.Err(); {
	case errors.Is(err, context.DeadlineExceeded), err == nil && remaining(ctx) < tooShort:
		ctx, timeout = context.WithoutCancel(ctx), min(timeout, graceAfterDeadline)
	case err != nil:
		ctx = context.WithoutCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

// remaining is the time until the deadline of ctx, a day where it has none.
func remaining(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return maxDuration
	}
	return time.Until(deadline)
}

// stopSignals shuts the signals down at the same time. Those that others follow leave a third of the time to them. A part
// of the share, the grace, is kept back for what does not come back in time.
func (g *Guard) stopSignals(ctx context.Context, signals []running, followed bool) error {
	share := remaining(ctx)
	if followed {
		share -= share / 3
	}
	grace := min(graceAfterEnd, share/4)
	ctx, cancel := context.WithTimeout(ctx, share-grace)
	defer cancel()
	return inParallel(signals, func(r running) error { return r.failed("shutdown", leavingBehind(ctx, grace, "stop", r.shutdown)) })
}

// leavingBehind comes back at the end of ctx also when the SDK or a processor of the user's does not, which is then left
// behind.
func leavingBehind(ctx context.Context, grace time.Duration, verb string, do func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- contained(func() error { return do(ctx) }) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		return fmt.Errorf("did not %s in time and was abandoned: %w", verb, ctx.Err())
	}
}

// contained turns a panic, of an exporter or processor of the user's, into an error.
func contained(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %s", internallogs.Text(p))
		}
	}()
	return do()
}

func inParallel(signals []running, do func(running) error) error {
	errs := make([]error, len(signals))
	var wg sync.WaitGroup
	for i, r := range signals {
		wg.Go(func() { errs[i] = contained(func() error { return do(r) }) })
	}
	wg.Wait()
	return joined(errs...)
}

// giveBack puts the globals back that Init set, and the plain logger in the place of the guard's, each unless it
// was set to something else since.
func giveBack(before, mine *globals) error {
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
	if process.logTurns.Take(logGrace, func() { giveBackLog(before, mine) }) {
		return nil
	}
	return fmt.Errorf("telemetry: shutdown: a line of the log package has blocked for %s: "+
		"the log package gets its output back after that line", logGrace)
}

func giveBackLog(before, mine *globals) {
	if slog.Default() != mine.logger {
		return
	}
	theirs := stdLog{stdlog.Writer(), stdlog.Flags()}
	slog.SetDefault(before.logger) // and with it the log package's output
	stdlog.SetOutput(internallogs.NewStdWriter(stdlog.Writer(), before.logger.Handler(), func(string) {}))
	if theirs != mine.stdLog {
		stdlog.SetOutput(theirs.writer)
		stdlog.SetFlags(theirs.flags)
	}
}
