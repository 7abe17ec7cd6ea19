package settings

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/signal"
)

// Inspection is what cmd/telemetry asks of Init, through its context. It is not an option, because
// services do not need it. The results of the probe have their own context value, in internal/otlp.
type Inspection struct {
	// Endpoint, if set, is where all signals go, regardless of the environment. Messages call it
	// [lines.Argument].
	Endpoint string
	// Described, if set, is called once with the resolved settings, and Init starts nothing.
	Described func(Description)
}

type inspectionKey struct{}

// WithInspection returns a context for Init.
func WithInspection(ctx context.Context, i Inspection) context.Context {
	return context.WithValue(ctx, inspectionKey{}, i)
}

// InspectionOf returns the inspection in ctx, which is zero in a service.
func InspectionOf(ctx context.Context) Inspection {
	i, _ := ctx.Value(inspectionKey{}).(Inspection)
	return i
}

// Description is what a service would do. It contains no header values.
type Description struct {
	Start    []Choice // the start line; an origin is part of the value
	Signals  []Way
	Settings []Choice // those that differ from the defaults
}

// Way tells whether and where a signal is sent over OTLP.
type Way struct {
	Signal  signal.Signal
	OTLP    bool
	Address string // host and port; "" without OTLP
}

// Choice is a setting and its value.
type Choice struct{ Name, Value, Origin string }

// Inspect applies the inspection to the options. It removes the endpoint variables from env, so
// that none of them replaces an invalid argument.
func (o *Asked) Inspect(i Inspection, env Environment) {
	if i.Endpoint == "" {
		return
	}
	o.Export.Endpoint, o.endpointIsArgument = &i.Endpoint, true
	for _, s := range signal.All() {
		for _, name := range scopedEnv(s, "ENDPOINT") {
			delete(env, name)
		}
	}
}

// endpointOption returns the name of WithEndpoint in messages.
func (o *Asked) endpointOption() string {
	if o.endpointIsArgument {
		return lines.Argument
	}
	return "WithEndpoint"
}

// Inspected returns what cmd/telemetry prints about the settings. Of the identity it has only what
// the environment sets: the rest would be that of cmd/telemetry, not of the service.
func Inspected(cfg *Config, res *resource.Resource) Description {
	var d Description
	for _, key := range []attribute.Key{semconv.ServiceNameKey, semconv.ServiceVersionKey} {
		value, ok := res.Set().Value(key)
		switch origin := IdentityOrigin(cfg, key); {
		case ok && origin != "":
			d.Start = append(d.Start, Choice{Name: string(key), Value: value.String() + origins(origin)})
		case key == semconv.ServiceNameKey:
			d.Start = append(d.Start, Choice{Name: string(key),
				Value: "the name of the service's binary, unless it uses WithServiceName " +
					"(OTEL_SERVICE_NAME is not set)"})
		}
	}
	d.Start = append(d.Start, plan(cfg)...)
	for _, s := range signal.All() {
		way := Way{Signal: s, OTLP: cfg.Signals[s].Sends(ExporterOTLP)}
		if way.OTLP {
			way.Address = cfg.Signals[s].Target.HostPort()
		}
		d.Signals = append(d.Signals, way)
	}
	for _, row := range Rows() {
		if value, origin := row.Report(cfg); origin != OriginDefault {
			d.Settings = append(d.Settings, Choice{Name: row.Describe().Name, Value: value, Origin: origin})
		}
	}
	return d
}
