// Package global holds the provider set of the process: three OpenTelemetry providers that are
// passed to otel.Set…Provider, live as long as the process, and forward to the real providers in
// use.
//
// OpenTelemetry's own globals delegate only once: a package-level `var tracer = otel.Tracer("x")`
// keeps the first provider that was set, so everything it records after Init, Shutdown and a second
// Init is lost. Here every tracer, logger, meter, instrument and callback follows [Providers.Use].
package global

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	logembedded "go.opentelemetry.io/otel/log/embedded"
	lognoop "go.opentelemetry.io/otel/log/noop"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	traceembedded "go.opentelemetry.io/otel/trace/embedded"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/fleetotel/telemetry/internal/lines"
)

// Providers is one switching provider per signal. It starts out with no-op providers behind it.
//
// All methods, and all methods of the objects that it returns, are safe for concurrent use. It
// keeps one small object for each distinct scope and instrument until the process ends, and nothing
// of a provider that is no longer in use.
type Providers struct {
	mu         sync.Mutex // gives concurrent Use calls one order for all three signals
	generation uint64
	tracers    tracerProvider
	meters     meterProvider
	loggers    loggerProvider
}

// New returns a provider set with no-op providers behind it.
func New() *Providers {
	p := &Providers{}
	p.Use(nil, nil, nil)
	return p
}

// TracerProvider returns the switching tracer provider, always the same one.
func (p *Providers) TracerProvider() trace.TracerProvider { return &p.tracers }

// MeterProvider returns the switching meter provider, always the same one.
func (p *Providers) MeterProvider() metric.MeterProvider { return &p.meters }

// LoggerProvider returns the switching logger provider, always the same one.
func (p *Providers) LoggerProvider() log.LoggerProvider { return &p.loggers }

// Use makes these the real providers of everything that the set has returned and will return; nil
// means no-op. They must not forward to this set (as otel.GetTracerProvider may); the set's own
// providers count as nil.
//
// Recordings that start after Use returns go to the new providers. A span or recording that has
// already started stays with the old ones. Callbacks no longer run for the old meter provider, so
// shut it down before Use if its last collection must contain observable instruments. Use never
// waits for a callback that runs on the old provider. Instruments that the new provider rejects are
// reported to otel.Handle.
//
// After concurrent calls, all three signals have the providers of the same call.
func (p *Providers) Use(tp trace.TracerProvider, mp metric.MeterProvider, lp log.LoggerProvider) {
	if tp == nil || tp == p.TracerProvider() {
		tp = tracenoop.NewTracerProvider()
	}
	if mp == nil || mp == p.MeterProvider() {
		mp = metricnoop.NewMeterProvider()
	}
	if lp == nil || lp == p.LoggerProvider() {
		lp = lognoop.NewLoggerProvider()
	}

	p.mu.Lock()
	p.generation++
	p.tracers.real.Store(&target[trace.TracerProvider]{value: tp, generation: p.generation})
	p.meters.real.Store(&target[metric.MeterProvider]{value: mp, generation: p.generation})
	p.loggers.real.Store(&target[log.LoggerProvider]{value: lp, generation: p.generation})
	p.mu.Unlock()

	for _, t := range p.tracers.handed.all() {
		report(t.follow())
	}
	for _, l := range p.loggers.handed.all() {
		report(l.follow())
	}
	p.meters.follow()
}

func report(err error) {
	if err != nil {
		otel.Handle(lines.SwitchFailed(err))
	}
}

// provider is the common part of the three: the real provider, and what has been handed out, by
// scope.
type provider[P, H any] struct {
	real   atomic.Pointer[target[P]]
	handed table[scope, H]
}

// scope identifies an instrumentation scope. It holds the hash of the attributes, as
// [attribute.Set] recommends for map keys. If they were compared by value, a set that contains a
// NaN would be a new scope each time.
type scope struct {
	name, version, schemaURL string
	attributes               attribute.Distinct
}

func scopeOf(name, version, schemaURL string, attrs attribute.Set) scope {
	return scope{name, version, schemaURL, attrs.Equivalent()}
}

type tracerProvider struct {
	traceembedded.TracerProvider
	provider[trace.TracerProvider, *tracer]
}

func (p *tracerProvider) Tracer(name string, options ...trace.TracerOption) trace.Tracer {
	c := trace.NewTracerConfig(options...)
	key := scopeOf(name, c.InstrumentationVersion(), c.SchemaURL(), c.InstrumentationAttributes())
	t := p.handed.get(key, func() *tracer {
		options := slices.Clone(options) // the caller's slice, which the caller may change
		t := &tracer{}
		t.source = &p.real
		t.create = func(real trace.TracerProvider) (trace.Tracer, error) { return real.Tracer(name, options...), nil }
		return t
	})
	_ = t.ready() // tracers have no errors
	return t
}

// IsTracerProvider reports whether p is the tracer provider of a set. What is behind it does not
// keep the options of a span.
func IsTracerProvider(p trace.TracerProvider) bool {
	_, is := p.(*tracerProvider)
	return is
}

// RealTracerProvider returns the provider that p uses now, if p is the tracer provider of a set, or
// else p itself.
func RealTracerProvider(p trace.TracerProvider) trace.TracerProvider {
	if set, is := p.(*tracerProvider); is {
		return set.real.Load().value
	}
	return p
}

type tracer struct {
	traceembedded.Tracer
	slot[trace.TracerProvider, trace.Tracer]
}

func (t *tracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	return t.load().Start(ctx, name, o...)
}

type loggerProvider struct {
	logembedded.LoggerProvider
	provider[log.LoggerProvider, *logger]
}

func (p *loggerProvider) Logger(name string, options ...log.LoggerOption) log.Logger {
	c := log.NewLoggerConfig(options...)
	key := scopeOf(name, c.InstrumentationVersion(), c.SchemaURL(), c.InstrumentationAttributes())
	l := p.handed.get(key, func() *logger {
		options := slices.Clone(options)
		l := &logger{}
		l.source = &p.real
		l.create = func(real log.LoggerProvider) (log.Logger, error) { return real.Logger(name, options...), nil }
		return l
	})
	_ = l.ready() // loggers have no errors
	return l
}

type logger struct {
	logembedded.Logger
	slot[log.LoggerProvider, log.Logger]
}

func (l *logger) Emit(ctx context.Context, r log.Record) { l.load().Emit(ctx, r) }

func (l *logger) Enabled(ctx context.Context, p log.EnabledParameters) bool {
	return l.load().Enabled(ctx, p)
}
