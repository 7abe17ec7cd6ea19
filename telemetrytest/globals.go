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

// globals are the process-wide values that a service may change when it sets telemetry up. A guard
// restores the values it has set; the test restores those that the service changed itself.
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
		otel.GetTracerProvider(), otel.GetMeterProvider(), otel.GetLoggerProvider(), otel.GetTextMapPropagator(),
		otel.GetErrorHandler(), slog.Default(), log.Writer(), log.Flags(), log.Prefix(),
	}
}

// restore skips values that have not changed, because OpenTelemetry reports an error if a default
// is set twice.
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

// globalsInUse returns the message for a second test that needs the globals.
func globalsInUse() string {
	holder.Lock()
	defer holder.Unlock()
	who := "a guard of telemetry.Init that has not been shut down"
	if holder.test != "" {
		who = holder.test
	}
	return fmt.Sprintf("OpenTelemetry's globals are in use by %s. A process has them once. For tests that run in "+
		"parallel, use "+
		"telemetrytest.Start(t, telemetry.WithoutGlobals()) and give the service the guard's providers and logger; "+
		"for a service that needs the globals, leave t.Parallel out of its tests", who)
}
