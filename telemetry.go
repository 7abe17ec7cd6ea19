package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"sync"

	"go.opentelemetry.io/otel"
	otellog "go.opentelemetry.io/otel/log"
	lognoop "go.opentelemetry.io/otel/log/noop"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/fleetotel/telemetry/internal/console"
	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/global"
	"github.com/fleetotel/telemetry/internal/identity"
	internallogs "github.com/fleetotel/telemetry/internal/logs"
	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/fleetotel/telemetry/internal/nonrecording"
)

// ErrAlreadyInitialized is the error of an Init while the guard of an earlier one still holds the globals.
var ErrAlreadyInitialized = errors.New(
	"telemetry: Init was called before: shut the first guard down, or use WithoutGlobals for one beside it")

// process is what outlives every guard: OpenTelemetry's globals take one delegate for good, so they get one that
// switches.
var process = struct {
	sync.Mutex
	owner      *Guard
	quiet      sync.Mutex
	providers  *global.Providers
	propagator *propagator
	relay      *diagnose.Relay
	logTurns   internallogs.Turns // of slog's default and the log package
}{
	providers:  global.New(),
	propagator: &propagator{},
	relay:      diagnose.NewRelay(diagnose.New(diagnose.ToHandler(slog.NewTextHandler(console.Locked(os.Stderr), nil)), slog.LevelWarn, mask.Mask{})),
}

// Init starts traces, metrics and logs, and makes them the process's: it sets OpenTelemetry's global providers,
// propagator and error handler, and slog's default logger, which the log package follows. It connects in the background
// and returns at once, whether a collector is there or not.
//
// The guard is never nil. An error names every wrong setting; the signals it concerns are off, everything else runs,
// the console log included, so a service should log the error and go on. ctx is handed to the resource detectors; its
// end does not end telemetry: that is [Guard.Shutdown].
//
// Init does not handle signals. Without a handler SIGTERM and Ctrl-C end the process before a deferred Shutdown runs, and so
// do [os.Exit] and log.Fatal anywhere and a panic in any goroutine but the one that has deferred it: what telemetry holds is
// lost. [Run] handles signals, and says what to write instead of the others.
//
// While a guard holds the globals, another Init gets [ErrAlreadyInitialized] and a guard that shares the first one's
// providers and logger and whose Shutdown does nothing. [WithoutGlobals] lifts that limit. Init is safe for concurrent
// use.
func Init(ctx context.Context, opts ...Option) (*Guard, error) {
	ctx = detached(ctx)
	inspection := diagnose.InspectionOf(ctx)
	o := &options{}
	o.record(opts)
	env := readEnvironment()
	o.inspect(inspection, env)
	resolved := resolveConfig(o, env.under(ctx))
	cfg := resolved.cfg

	g := &Guard{cfg: cfg}
	if !o.withoutGlobals {
		process.Lock()
		defer process.Unlock()
		if process.owner != nil {
			return sharedGuard(process.owner), ErrAlreadyInitialized
		}
	}
	res, notices := buildResource(ctx, cfg)
	redaction := newRedaction(cfg)
	view := newConsoleView(cfg, env)
	console := consoleBranch(cfg, view, redaction)
	g.resource, g.mask = res, resolved.mask()
	g.selfLog = newSelfLog(o, console, cfg.selfLogLevel.value, g.mask, res)
	g.propagator = newOutbound(cfg.propagators.value.build(), func(line string) { g.selfLog.Say(slog.LevelWarn, line) })
	g.warnings = append(resolved.warnings(), notices...)
	for _, line := range g.warnings {
		g.selfLog.Say(slog.LevelWarn, line)
	}
	g.remarks = resolved.remarks
	for _, line := range g.remarks {
		g.selfLog.Say(slog.LevelInfo, line)
	}

	if inspection.Described != nil {
		inspection.Described(description(cfg, res))
		return describedGuard(g), resolved.err()
	}
	cfg.consoleForm = view.form()
	g.connections = newConnections(cfg, g.selfLog)
	b := &builder{cfg: cfg, resource: res, connections: g.connections, selfLog: g.selfLog, console: console, view: view, redaction: redaction}
	err := errors.Join(resolved.err(), quietly(!o.withoutGlobals || env.concernsSDK(), func() error { return g.start(ctx, b) }))
	g.startErr = err
	g.logger = slog.New(internallogs.NewHandler(fanOut(g.branches(console)...)))
	if !o.withoutGlobals {
		g.release = install(g, slog.New(internallogs.NewHandler(console)))
	}
	g.selfLog.Say(slog.LevelInfo, "started", startLine(cfg, res)...)
	g.prober = g.connections.startProbe(inspection)
	return g, err
}

// detached keeps what ctx carries and forgets its end.
func detached(ctx context.Context) context.Context { return context.WithoutCancel(orBackground(ctx)) }

// start builds the three signals; one that fails is off and the others run.
func (g *Guard) start(ctx context.Context, b *builder) error {
	b.correction = identity.Correct(b.resource)
	g.tracerProvider = tracenoop.NewTracerProvider() // as the specification has it for OTEL_SDK_DISABLED
	if !b.cfg.disabled.value {
		g.tracerProvider = nonrecording.NewProvider(b.cfg.idGenerator())
	}
	g.meterProvider = metricnoop.NewMeterProvider()
	g.loggerProvider = lognoop.NewLoggerProvider()
	var errs []error
	begin := func(s signal, build func() (running, error)) {
		if !b.cfg.signals[s].on {
			return
		}
		run, err := build()
		if err != nil {
			err = g.mask.Error(err)
			b.cfg.signals[s].on, b.cfg.signals[s].off = false, orDash(err.Error())
			errs = append(errs, fmt.Errorf("telemetry: %s are off: %w", s, err))
			return
		}
		g.running = append(g.running, run)
	}
	begin(traces, func() (running, error) {
		provider, run, err := b.traces(ctx)
		if err == nil {
			g.tracerProvider = provider
		}
		return run, err
	})
	begin(metrics, func() (running, error) {
		provider, run, err := b.metrics(ctx)
		if err == nil {
			g.meterProvider = provider
		}
		return run, err
	})
	begin(logs, func() (running, error) {
		provider, run, err := b.logs(ctx)
		if err == nil {
			g.loggerProvider = provider
		}
		return run, err
	})
	g.connections.outages.watch(g.running)
	if err := contained(g.observeSelf); err != nil {
		b.selfLog.Say(slog.LevelWarn, fmt.Sprintf("self-metrics are incomplete: %v", err))
	}
	return errors.Join(errs...)
}

// branches are the console, and OTLP where log records leave the process. OTLP comes first: a console that blocks does not
// keep a record from the collector.
func (g *Guard) branches(console slog.Handler) []slog.Handler {
	sc := g.cfg.signals[logs]
	if sc.sends(exporterOTLP) || sc.sends(exporterGiven) {
		return []slog.Handler{newOTLPHandler(g.loggerProvider, g.cfg.otlpLevel.value), console}
	}
	return []slog.Handler{console}
}

// quietly builds the exporters and providers without what they say about the environment: they parse it once more, print
// what they cannot parse in full, secrets included, and the library has said it by then. Their words go through
// OpenTelemetry's process-wide logger and error handler, so these are set here, under WithoutGlobals only when there is
// something for the SDK to read. The error handler is put back; the logger cannot be.
func quietly(listen bool, build func() error) (err error) {
	process.quiet.Lock() // guards beside each other must not take one another's handler for the one to put back
	defer process.quiet.Unlock()
	if listen {
		before := otel.GetErrorHandler()
		otel.SetLogger(process.relay.Logger())
		otel.SetErrorHandler(process.relay)
		defer otel.SetErrorHandler(before)
	}
	process.relay.Muted(func() { err = build() })
	return err
}

// sharedGuard is what a second Init gets: the running guard's providers, propagator and logger, and nothing to shut down.
func sharedGuard(owner *Guard) *Guard {
	return &Guard{
		tracerProvider: process.providers.TracerProvider(),
		meterProvider:  process.providers.MeterProvider(),
		loggerProvider: process.providers.LoggerProvider(),
		propagator:     owner.propagator,
		logger:         owner.logger,
		owner:          owner,
	}
}

// globals is what Init sets for the process, and what Shutdown sets in its place.
type globals struct {
	tracerProvider trace.TracerProvider
	meterProvider  metric.MeterProvider
	loggerProvider otellog.LoggerProvider
	propagator     propagation.TextMapPropagator
	errorHandler   otel.ErrorHandler
	logger         *slog.Logger
	stdLog         stdLog // of what Init has set
}

// stdLog is the state of the log package, which slog.SetDefault takes over.
type stdLog struct {
	writer io.Writer
	flags  int
}

func currentGlobals() globals {
	return globals{
		tracerProvider: otel.GetTracerProvider(),
		meterProvider:  otel.GetMeterProvider(),
		loggerProvider: otel.GetLoggerProvider(),
		propagator:     otel.GetTextMapPropagator(),
		errorHandler:   otel.GetErrorHandler(),
	}
}

// install sets the globals, once and last, and returns what gives them back. plain takes the place of slog's default then:
// the last lines of a service are of the form and as masked as all others.
func install(g *Guard, plain *slog.Logger) (release func() error) {
	before := currentGlobals()
	before.logger = plain
	mine := globals{
		tracerProvider: process.providers.TracerProvider(),
		meterProvider:  process.providers.MeterProvider(),
		loggerProvider: process.providers.LoggerProvider(),
		propagator:     process.propagator,
		errorHandler:   process.relay,
		logger:         g.logger,
	}
	process.relay.Use(g.selfLog)
	otel.SetErrorHandler(mine.errorHandler) // before the providers: the switch reports instruments that it cannot make anew
	process.providers.Use(g.tracerProvider, g.meterProvider, g.loggerProvider)
	otel.SetTracerProvider(mine.tracerProvider)
	otel.SetMeterProvider(mine.meterProvider)
	otel.SetLoggerProvider(mine.loggerProvider)
	process.propagator.use(g.propagator)
	otel.SetTextMapPropagator(mine.propagator)
	if !process.logTurns.Take(logGrace, func() {
		slog.SetDefault(mine.logger)
		log.SetOutput(internallogs.NewStdWriter(log.Writer(), mine.logger.Handler(), g.earlyLogger))
		mine.stdLog = stdLog{log.Writer(), log.Flags()} // as slog has set it
	}) {
		g.selfLog.Say(slog.LevelWarn, fmt.Sprintf("a line of the log package has blocked for %s: slog's default and the log package "+
			"come here after that line", logGrace))
	}
	process.owner = g
	return func() error {
		process.Lock()
		defer process.Unlock()
		err := giveBack(&before, &mine)
		process.providers.Use(nil, nil, nil)
		process.relay.Use(nil)
		process.owner = nil
		return err
	}
}
