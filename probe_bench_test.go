package telemetry_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// initEndpoints are endpoints from which no answer comes, in every way there is.
func initEndpoints(t testing.TB) map[string]string {
	endpoints := map[string]string{
		"unreachable":   "http://" + otlptest.FreeAddress(t),
		"silent":        "http://" + silentPeer(t),
		"non-resolving": "http://no-such-host.invalid:4318",
	}
	for _, hole := range blackHoles() {
		endpoints["hanging"] = "http://" + hole.open(t)
	}
	return endpoints
}

// BenchmarkInit is how long a service's start waits for Init when the collector is away.
func BenchmarkInit(b *testing.B) {
	b.Setenv("TELEMETRY_SELF_METRICS", "false") // leaves nothing to deliver, for which Shutdown would wait
	for name, endpoint := range initEndpoints(b) {
		for _, protocol := range protocols {
			b.Run(name+"/"+string(protocol), func(b *testing.B) {
				for b.Loop() {
					guard, err := telemetry.Init(b.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(io.Discard),
						telemetry.WithEndpoint(endpoint), telemetry.WithProtocol(protocol), telemetry.WithoutRuntimeMetrics())
					b.StopTimer()
					require.NoError(b, err)
					_ = guard.Shutdown(cancelled(b)) // which is about Init
					b.StartTimer()
				}
			})
		}
	}
}
