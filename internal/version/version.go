// Package version names this library in the telemetry that it makes itself.
package version

const (
	// Version is the version of this library.
	Version = "0.1.0"
	// Scope is the instrumentation scope of the spans, metrics and log records that the library
	// itself starts.
	Scope = "github.com/fleetotel/telemetry"
)
