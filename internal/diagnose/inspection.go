package diagnose

import "context"

// Inspection is what cmd/telemetry asks of Init in its context, beside what a service gets. It is no option, because a
// service has no use for it.
type Inspection struct {
	// Endpoint, if set, is where all signals go, whatever the environment says. Init speaks of it as [Argument].
	Endpoint string
	// Described, if set, is called once with what the settings come to, and Init starts nothing.
	Described func(Description)
	// Probed, if set, is called once, from a goroutine, with what the probe has found, good news included. The probe
	// then runs whatever TELEMETRY_PROBE says.
	Probed func([]Result)
}

// Result is what the probe has found about one signal's endpoint.
type Result struct {
	Target  Target
	Finding *Finding // nil: it takes what is sent to it
}

// Description is what a service would do. It holds no header value.
type Description struct {
	Start    []Choice // the start line; an origin is part of the value
	Signals  []Way
	Settings []Choice // those that differ from the defaults
}

// Way tells whether a signal leaves the process over OTLP.
type Way struct {
	Signal  string
	OTLP    bool
	Address string // host and port; "" without OTLP
}

// Choice is a setting and its value.
type Choice struct{ Name, Value, Origin string }

type inspectionKey struct{}

// WithInspection returns a context for Init.
func WithInspection(ctx context.Context, i Inspection) context.Context {
	return context.WithValue(ctx, inspectionKey{}, i)
}

// InspectionOf returns what the context asks for: nothing, in a service.
func InspectionOf(ctx context.Context) Inspection {
	i, _ := ctx.Value(inspectionKey{}).(Inspection)
	return i
}
