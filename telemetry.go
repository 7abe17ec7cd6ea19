package telemetry

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"os"
	"slices"
	"sync"

	"go.opentelemetry.io/otel"
	otellog "go.opentelemetry.io/otel/log"
	lognoop "go.opentelemetry.io/otel/log/noop"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/fleetotel/telemetry/internal/global"
	"github.com/fleetotel/telemetry/internal/identity"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/logs"
	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/fleetotel/telemetry/internal/middleware"
	"github.com/fleetotel/telemetry/internal/otlp"
	"github.com/fleetotel/telemetry/internal/pipeline"
	"github.com/fleetotel/telemetry/internal/selflog"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/w3c"
)

// ErrAlreadyInitialized is returned by Init while the guard of an earlier Init still holds the
// globals.
var ErrAlreadyInitialized = errors.New(
	"telemetry: Init was called before: shut the first guard down, or use WithoutGlobals for one beside it")

// process is the state that outlives every guard. OpenTelemetry's globals accept a delegate only
// once, so they get one that can switch between guards.
var process = struct {
	sync.Mutex
	owner      *Guard
	sdkMuted   sync.Mutex
	providers  *global.Providers
	propagator *w3c.Switch
	methods    middleware.Methods
	active     middleware.ActiveRequests
	relay      *selflog.Relay
	logTurns   logs.Turns // serialize changes of slog's default and the log package
}{
	providers:  global.New(),
	propagator: &w3c.Switch{},
	relay: selflog.NewRelay(selflog.New(selflog.ToHandler(slog.NewTextHandler(logs.Locked(os.Stderr), nil)),
		slog.LevelWarn, mask.Mask{})),
}

// Init starts traces, metrics and logs and sets the process's globals: OpenTelemetry's providers,
// propagator and error handler, and slog's default logger, which the log package then uses too. It
// connects in the background and returns at once, even if no collector is running.
//
// The guard is never nil. The error names every wrong setting. The signals with wrong settings are
// off; everything else runs, including the console log. So a service should log the error and
// continue. ctx is passed to the resource detectors. Canceling it does not stop telemetry;
// [Guard.Shutdown] does.
//
// Init does not handle signals. Without a handler, SIGTERM and Ctrl-C end the process before a
// deferred Shutdown runs. So do [os.Exit], log.Fatal, and a panic in a goroutine other than the one
// that deferred it. Telemetry that has not been delivered is then lost. [Run] handles signals, and
// its comment explains what to do instead of the others.
//
// While a guard holds the globals, another Init returns [ErrAlreadyInitialized] and a guard that
// shares the first guard's providers and logger. Its Shutdown does nothing. [WithoutGlobals]
// removes that limit. Init is safe for concurrent use.
func Init(ctx context.Context, opts ...Option) (*Guard, error) {
	ctx = detached(ctx)
	inspection := settings.InspectionOf(ctx)
	o := collect(opts)
	env := settings.ReadEnvironment()
	o.Inspect(inspection, env)
	resolved := settings.Resolve(o, env.Under(ctx))
	cfg := resolved.Config

	g := &Guard{cfg: cfg}
	if !o.WithoutGlobals {
		process.Lock()
		defer process.Unlock()
		if process.owner != nil {
			return sharedGuard(process.owner), ErrAlreadyInitialized
		}
	}
	res, notices := identity.Resource(ctx, cfg)
	console := pipeline.NewConsole(cfg, env)
	g.resource, g.mask = res, resolved.Mask()
	g.selfLog = pipeline.NewSelfLog(cfg, console, g.mask, res)
	g.propagator = w3c.NewOutbound(cfg.Propagators.Value.Build(), func(line lines.Line) { g.selfLog.Say(line) })
	if !cfg.HTTPMethods.IsDefault() {
		g.methods.Use(cfg.HTTPMethods.Value)
	}
	g.warnings, g.remarks = resolved.Warnings(), resolved.Remarks()
	for _, line := range notices {
		g.warnings = append(g.warnings, line.Text())
	}
	for _, line := range slices.Concat(resolved.Lines(), notices) {
		g.selfLog.Say(line)
	}

	if inspection.Described != nil {
		_ = g.selfLog.Drain(logGrace) // cmd/telemetry prints the warnings when Init has returned
		inspection.Described(settings.Inspected(cfg, res))
		return describedGuard(g), resolved.Err()
	}
	g.connections = otlp.Connect(ctx, cfg, g.selfLog)
	parts := pipeline.Parts{Config: cfg, Resource: res, Connections: g.connections, SelfLog: g.selfLog,
		Console: console}
	var p *pipeline.Pipeline
	err := withSDKMuted(!o.WithoutGlobals || env.ConcernsSDK(), func() (err error) {
		p, err = pipeline.Start(ctx, parts)
		return err
	})
	g.startErr = errors.Join(resolved.Err(), err)
	g.running, g.logger = p.Running, slog.New(p.Logs)
	g.tracerProvider, g.meterProvider, g.loggerProvider = p.TracerProvider, p.MeterProvider, p.LoggerProvider
	if !o.WithoutGlobals {
		g.release = install(g, slog.New(logs.NewHandler(console)))
	}
	g.selfLog.Say(settings.StartLine(cfg, res))
	g.prober = g.connections.StartProbe(ctx)
	return g, g.startErr
}

// detached returns ctx with its values, but without its cancellation and deadline.
func detached(ctx context.Context) context.Context { return context.WithoutCancel(orBackground(ctx)) }

// withSDKMuted runs build, which makes the exporters and providers, and discards what they report
// about the environment. They parse it again and print invalid values in full, including secrets;
// the library has already reported them. These reports use OpenTelemetry's process-wide logger and
// error handler, so both are set here. With WithoutGlobals they are set only if there is a variable
// for the SDK to read. The error handler is restored; the logger cannot be.
func withSDKMuted(listen bool, build func() error) (err error) {
	process.sdkMuted.Lock() // a concurrent Init must not save this one's handler as the one to restore
	defer process.sdkMuted.Unlock()
	if listen {
		before := otel.GetErrorHandler()
		otel.SetLogger(process.relay.Logger())
		otel.SetErrorHandler(process.relay)
		defer otel.SetErrorHandler(before)
	}
	process.relay.Muted(func() { err = build() })
	return err
}

// describedGuard returns the guard for cmd/telemetry. Nothing runs; it can only be described.
func describedGuard(g *Guard) *Guard {
	g.tracerProvider, g.meterProvider, g.loggerProvider = tracenoop.NewTracerProvider(), metricnoop.NewMeterProvider(),
		lognoop.NewLoggerProvider()
	g.logger, g.owner = slog.New(slog.DiscardHandler), &Guard{}
	return g
}

// sharedGuard returns the guard of a second Init. It has the running guard's providers, propagator
// and logger, and nothing to shut down.
func sharedGuard(owner *Guard) *Guard {
	g := &Guard{
		tracerProvider: process.providers.TracerProvider(),
		meterProvider:  process.providers.MeterProvider(),
		loggerProvider: process.providers.LoggerProvider(),
		propagator:     owner.propagator,
		logger:         owner.logger,
		owner:          owner,
	}
	g.methods.UseThoseOf(&owner.methods)
	return g
}

// globals are the values that Init sets for the process and those that Shutdown restores.
type globals struct {
	tracerProvider trace.TracerProvider
	meterProvider  metric.MeterProvider
	loggerProvider otellog.LoggerProvider
	propagator     propagation.TextMapPropagator
	errorHandler   otel.ErrorHandler
	logger         *slog.Logger
	stdLog         stdLog // after Init has set the logger
}

// stdLog is the state of the log package, which slog.SetDefault changes.
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

// install sets the globals, as the last step of Init, and returns the function that restores them.
// That function makes plain slog's default, so the service's last lines have the same format and
// redaction as all others.
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
	otel.SetErrorHandler(mine.errorHandler) // before the providers: they report instruments that cannot be recreated
	process.providers.Use(g.tracerProvider, g.meterProvider, g.loggerProvider)
	otel.SetTracerProvider(mine.tracerProvider)
	otel.SetMeterProvider(mine.meterProvider)
	otel.SetLoggerProvider(mine.loggerProvider)
	process.propagator.Use(g.propagator)
	process.methods.UseThoseOf(&g.methods)
	otel.SetTextMapPropagator(mine.propagator)
	if !process.logTurns.Take(logGrace, func() {
		slog.SetDefault(mine.logger)
		log.SetOutput(logs.NewStdWriter(log.Writer(), mine.logger.Handler(), g.earlyLogger))
		mine.stdLog = stdLog{log.Writer(), log.Flags()} // as slog has set it
	}) {
		g.selfLog.Say(lines.LogPackageBlocked(logGrace))
	}
	process.owner = g
	return func() error {
		process.Lock()
		defer process.Unlock()
		err := restoreGlobals(&before, &mine)
		process.providers.Use(nil, nil, nil)
		process.methods.Use(nil)
		process.relay.Use(nil)
		process.owner = nil
		return err
	}
}

// earlyLogger reports, once, a logger that was made from slog's default before Init. It uses a
// goroutine because it is called under the log package's lock, which an error handler may need.
func (g *Guard) earlyLogger(place string) {
	g.earlyLoggerOnce.Do(func() {
		go g.selfLog.Say(lines.EarlyLogger(place))
	})
}
