package telemetry

import "github.com/fleetotel/telemetry/internal/version"

// Version is the version of this library. Telemetry of the library itself has it in its
// instrumentation scope.
const Version = version.Version
