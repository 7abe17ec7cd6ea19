package telemetry

// Version is the version of this library, as it appears in the instrumentation scope of what the library itself emits.
const Version = "0.1.0"

// scopeName is the instrumentation scope of the spans, metrics and log records that the library itself starts.
const scopeName = "github.com/fleetotel/telemetry"
