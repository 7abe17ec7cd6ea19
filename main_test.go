package telemetry_test

import (
	"context"
	"flag"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry"
)

// TestMain keeps the tests independent of the environment they run in and lets no goroutine outlive
// them.
func TestMain(m *testing.M) {
	if !isChild() {
		scrubEnvironment()
		delegateGlobals()
	}
	waitTogether()
	goleak.VerifyTestMain(m)
}

// waitTogether lets more parallel tests run at a time than there are processors. Parallel are those
// that wait most of the time, for time-outs and for processes of their own: what works, such as a
// compiler or a service under load, would take the processors from them. A -parallel on the command
// line is parsed later and counts; beside -fuzz, it is the number of workers.
func waitTogether() {
	if !slices.ContainsFunc(os.Args, func(arg string) bool { return strings.HasPrefix(arg, "-test.fuzz") }) {
		_ = flag.Set("test.parallel", "6")
	}
}

// delegateGlobals lets Init be the first to set OpenTelemetry's globals, as in a service: whoever
// is first keeps the package-level tracers, and some tests set providers of their own.
func delegateGlobals() {
	off := telemetry.WithOptions(telemetry.WithoutTraces(), telemetry.WithoutMetrics(), telemetry.WithoutLogs())
	guard, _ := telemetry.Init(context.Background(), off, telemetry.WithLogOutput(io.Discard))
	_ = guard.Shutdown(context.Background())
}

func scrubEnvironment() {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "OTEL_") || strings.HasPrefix(name, "TELEMETRY_") ||
			strings.HasPrefix(name, "K8S_") || name == "LOG_LEVEL" {
			_ = os.Unsetenv(name)
		}
	}
	_ = os.Setenv("OTEL_TRACES_SAMPLER", "always_on") // most tests count spans
}
