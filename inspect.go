package telemetry

import (
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	lognoop "go.opentelemetry.io/otel/log/noop"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/fleetotel/telemetry/internal/diagnose"
)

// inspect applies what cmd/telemetry asks for. An argument that is wrong is not to be followed by a variable.
func (o *options) inspect(i diagnose.Inspection, env environment) {
	if i.Endpoint == "" {
		return
	}
	o.export.endpoint, o.endpointIsArgument = &i.Endpoint, true
	for _, s := range allSignals() {
		for _, name := range scopedEnv(s, "ENDPOINT") {
			delete(env, name)
		}
	}
}

// endpointOption is what the operator knows WithEndpoint by.
func (o *options) endpointOption() string {
	if o.endpointIsArgument {
		return string(diagnose.Argument)
	}
	return "WithEndpoint"
}

// description is what cmd/telemetry prints of the settings. Of the identity it has what the environment says: the rest is
// the service's own, and that of another program here.
func description(cfg *config, res *resource.Resource) diagnose.Description {
	var d diagnose.Description
	for _, key := range []attribute.Key{semconv.ServiceNameKey, semconv.ServiceVersionKey} {
		value, ok := res.Set().Value(key)
		switch origin := identityOrigin(cfg, key); {
		case ok && origin != "":
			d.Start = append(d.Start, diagnose.Choice{Name: string(key), Value: value.String() + origins(origin)})
		case key == semconv.ServiceNameKey:
			d.Start = append(d.Start, diagnose.Choice{Name: string(key), Value: "the name of the service's binary, unless it uses WithServiceName (OTEL_SERVICE_NAME is not set)"})
		}
	}
	d.Start = append(d.Start, plan(cfg)...)
	for _, s := range allSignals() {
		way := diagnose.Way{Signal: s.String(), OTLP: cfg.signals[s].sends(exporterOTLP)}
		if way.OTLP {
			way.Address = cfg.signals[s].target.hostPort()
		}
		d.Signals = append(d.Signals, way)
	}
	for _, row := range settings() {
		if value, origin := row.report(cfg); origin != originDefault {
			d.Settings = append(d.Settings, diagnose.Choice{Name: row.describe().name, Value: value, Origin: origin})
		}
	}
	return d
}

// describedGuard runs nothing and can only be described.
func describedGuard(g *Guard) *Guard {
	g.tracerProvider, g.meterProvider, g.loggerProvider = tracenoop.NewTracerProvider(), metricnoop.NewMeterProvider(), lognoop.NewLoggerProvider()
	g.logger, g.owner = slog.New(slog.DiscardHandler), &Guard{}
	return g
}
