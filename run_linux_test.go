package telemetry_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestRunStopsAsFirstProcess(t *testing.T) {
	t.Parallel()
	c := otlptest.New(t)
	child := runProgram(t, "takes a moment", c)
	out := asFirstProcess(t, child)
	out.next("ready")
	require.NoError(t, child.Process.Signal(syscall.SIGTERM))
	out.next("SIGTERM received")
	require.NoError(t, child.Wait(), out.rest())
	require.Equal(t, []string{"work"}, spanNames(c))
}

func TestRunEndsAtTheSecondSignalAsFirstProcess(t *testing.T) {
	t.Parallel()
	for _, pause := range []time.Duration{0, 200 * time.Millisecond} {
		t.Run(pause.String(), func(t *testing.T) {
			t.Parallel()
			child := runProgram(t, "hangs", otlptest.New(t))
			out := asFirstProcess(t, child)
			out.next("ready")
			require.NoError(t, child.Process.Signal(syscall.SIGTERM))
			out.next("stopping")
			time.Sleep(pause)
			require.NoError(t, child.Process.Signal(syscall.SIGTERM))
			output := out.rest()
			var exit *exec.ExitError
			require.ErrorAs(t, child.Wait(), &exit, output)
			require.NotZero(t, exit.ExitCode())
			require.Contains(t, output, "SIGTERM received: waiting for the program to return; a second signal stops "+
				"it immediately")
			require.Contains(t, output, "SIGTERM received again: stopping immediately, ")
		})
	}
}

// asFirstProcess makes the child PID 1 of a namespace, as in a container: there the kernel does not
// deliver a signal that has its default handling.
func asFirstProcess(t *testing.T, child *exec.Cmd) *printed {
	t.Helper()
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	child.Stdout, child.Stderr = w, w
	err = child.Start()
	require.NoError(t, w.Close())
	if err != nil {
		t.Skip("this machine gives no namespace to a test:", err)
	}
	return newLines(t, r)
}
