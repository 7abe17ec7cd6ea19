//go:build unix

package telemetry_test

import (
	"testing"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

func blackHoles() []deadEnd { return []deadEnd{{"black hole", blackHole}} }

// blackHole is an address that drops requests to connect.
func blackHole(t testing.TB) string {
	address, ok := otlptest.BlackHole(t, "127.0.0.1:0")
	if !ok {
		t.Skip("this system's queue of connections is never full")
	}
	return address
}
