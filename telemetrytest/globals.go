package telemetrytest

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"reflect"
	"sync"

	"go.opentelemetry.io/otel"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// globals is all of the process that a service may change when it sets telemetry up. A guard gives back what is still its
// own; a test puts back what the service has changed besides.
type globals struct {
	tracerProvider trace.TracerProvider
	meterProvider  metric.MeterProvider
	loggerProvider otellog.LoggerProvider
	propagator     propagation.TextMapPropagator
	errorHandler   otel.ErrorHandler
	logger         *slog.Logger
	stdWriter      io.Writer
	stdFlags       int
	stdPrefix      string
}

func currentGlobals() globals {
	return globals{
		otel.GetTracerProvider(), otel.GetMeterProvider(), otel.GetLoggerProvider(), otel.GetTextMapPropagator(), otel.GetErrorHandler(),
		slog.Default(), log.Writer(), log.Flags(), log.Prefix(),
	}
}

// restore leaves alone what is in place: OpenTelemetry complains about a default that is set a second time.
func (g globals) restore() {
	now := currentGlobals()
	putBack(g.tracerProvider, now.tracerProvider, otel.SetTracerProvider)
	putBack(g.meterProvider, now.meterProvider, otel.SetMeterProvider)
	putBack(g.loggerProvider, now.loggerProvider, otel.SetLoggerProvider)
	putBack(g.propagator, now.propagator, otel.SetTextMapPropagator)
	putBack(g.errorHandler, now.errorHandler, otel.SetErrorHandler)
	slog.SetDefault(g.logger) // before the log package, which it may take over
	log.SetOutput(g.stdWriter)
	log.SetFlags(g.stdFlags)
	log.SetPrefix(g.stdPrefix)
}

func putBack[T any](before, now T, set func(T)) {
	if !reflect.ValueOf(now).Comparable() || any(now) != any(before) {
		set(before)
	}
}

// holder is the test that holds the globals.
var holder struct {
	sync.Mutex
	test string
}

func takeGlobals(test string) {
	holder.Lock()
	defer holder.Unlock()
	holder.test = test
}

// globalsAreTaken says what to do about a second test that wants the globals.
func globalsAreTaken() string {
	holder.Lock()
	defer holder.Unlock()
	who := "a guard of telemetry.Init that has not been shut down"
	if holder.test != "" {
		who = holder.test
	}
	return fmt.Sprintf("OpenTelemetry's globals are in use by %s. A process has them once. For tests that run in parallel, use "+
		"telemetrytest.Start(t, telemetry.WithoutGlobals()) and give the service the guard's providers and logger; "+
		"for a service that needs the globals, leave t.Parallel out of its tests", who)
}
