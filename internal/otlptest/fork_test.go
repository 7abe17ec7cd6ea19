package otlptest_test

import (
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// A process that is being started holds what its parent has open until it runs its own program,
// also what the parent closes meanwhile.
func TestPortsAreFreeWhileProcessesAreStarted(t *testing.T) {
	stop := make(chan struct{})
	var starting sync.WaitGroup
	for range 4 {
		starting.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$").Run()
				}
			}
		})
	}
	defer starting.Wait()
	defer close(stop)
	for range 200 {
		c := otlptest.New(t)
		require.NoError(t, c.Down())
		require.NoError(t, c.Up())
		require.NoError(t, c.Close())
	}
}
