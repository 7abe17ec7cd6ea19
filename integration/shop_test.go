package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shop is a run of examples/shop: all services, each in a process of its own, under load.
type shop struct {
	t      *testing.T
	cmd    *exec.Cmd
	output bytes.Buffer
	result string
}

// books are what a service says about one signal at its end.
type books struct {
	Accepted, Exported, Lost, Left int64
}

// report is what the shop writes with -json.
type report struct {
	Load struct {
		Browsed, Ordered, Declined, Slow, Probes, Wrong int
	} `json:"load"`
	Services map[string]struct {
		Traces, Metrics, Logs books
		Undelivered           string
	} `json:"services"`
}

// startShop starts it; env says where its telemetry goes.
func startShop(t *testing.T, duration time.Duration, rate string, env ...string) *shop {
	t.Helper()
	s := &shop{t: t, result: filepath.Join(t.TempDir(), "result.json")}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	s.cmd = exec.CommandContext(ctx, built(t, shopBinary),
		"-compare=false", "-duration", duration.String(), "-rate", rate, "-json", s.result)
	s.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir()}, env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = time.Minute
	require.NoError(t, s.cmd.Start())
	return s
}

// wait waits until the shop has ended by itself, its services having been stopped by SIGTERM one
// after the other.
func (s *shop) wait() report {
	s.t.Helper()
	err := s.cmd.Wait()
	require.NoError(s.t, err, "%s", &s.output)
	text, err := os.ReadFile(s.result)
	require.NoError(s.t, err)
	var r report
	require.NoError(s.t, json.Unmarshal(text, &r))
	require.Len(s.t, r.Services, len(services))
	require.Zero(s.t, r.Load.Wrong, "%s", &s.output)
	return r
}

// exported adds up what the services say of one signal, having lost nothing of it.
func (r report) exported(t *testing.T, signal string) (total int) {
	t.Helper()
	for name, service := range r.Services {
		b := map[string]books{"traces": service.Traces, "metrics": service.Metrics, "logs": service.Logs}[signal]
		require.Zero(t, b.Lost, "%s lost %s", name, signal)
		require.Zero(t, b.Left, "%s left %s behind", name, signal)
		require.Equal(t, b.Accepted, b.Exported, "%s of %s", signal, name)
		require.Empty(t, service.Undelivered, name)
		total += int(b.Exported)
	}
	return total
}
