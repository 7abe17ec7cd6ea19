package integration

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/stretchr/testify/require"
)

// The configurations that run in production.
var (
	agentConfig   = filepath.Join(repository, "deploy", "collector", "agent.yaml")
	gatewayConfig = filepath.Join(repository, "deploy", "collector", "gateway.yaml")
	backendConfig = filepath.Join("testdata", "backend.yaml")
)

// useTracestate is the gate that gateway.yaml asks for.
const useTracestate = "--feature-gates=+processor.tailsamplingprocessor.usetracestate"

// collector is a real OpenTelemetry Collector in a process of its own. It can be stopped and
// started again: its addresses and its disk stay the same.
type collector struct {
	grpc, http string // host:port
	dir        string // its queue, and what the backend writes

	t      *testing.T
	name   string
	args   []string
	env    []string
	health string
	cmd    *exec.Cmd
	log    *os.File
	cpu    time.Duration // of the processes that have ended
}

// newCollector prepares a collector; start starts it. args are flags, env what its configuration
// reads.
func newCollector(t *testing.T, name string, args, env []string) *collector {
	t.Helper()
	c := &collector{
		t: t, name: name, args: args, dir: t.TempDir(),
		grpc: otlptest.FreeAddress(t), http: otlptest.FreeAddress(t), health: otlptest.FreeAddress(t),
	}
	metricsHost, metricsPort, err := net.SplitHostPort(otlptest.FreeAddress(t))
	require.NoError(t, err)
	c.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "TMPDIR=" + c.dir,
		"OTLP_GRPC_ENDPOINT=" + c.grpc, "OTLP_HTTP_ENDPOINT=" + c.http, "HEALTH_ENDPOINT=" + c.health,
		"METRICS_HOST=" + metricsHost, "METRICS_PORT=" + metricsPort,
		"STORAGE_DIRECTORY=" + filepath.Join(c.dir, "queue"), "OUTPUT_DIRECTORY=" + c.dir,
	}, env...)
	c.log, err = os.Create(filepath.Join(c.dir, "log"))
	require.NoError(t, err)
	t.Cleanup(func() {
		if c.cmd != nil {
			c.stop(syscall.SIGKILL)
		}
		if t.Failed() {
			t.Logf("the %s's log:\n%s", c.name, c.lastLog())
		}
		_ = c.log.Close()
	})
	return c
}

// newTiers prepares the tiers of deploy/ with a backend that writes to disk: agent → gateway →
// backend. More variables for the gateway may follow; the last value of one wins.
func newTiers(t *testing.T, gatewayEnv ...string) (agent, gateway, backend *collector) {
	t.Helper()
	backend = newCollector(t, "backend", []string{"--config", backendConfig}, nil)
	gateway = newCollector(t, "gateway", []string{"--config", gatewayConfig, useTracestate},
		append([]string{"BACKEND_ENDPOINT=http://" + backend.http}, gatewayEnv...))
	host, port, err := net.SplitHostPort(gateway.grpc)
	require.NoError(t, err)
	agent = newCollector(t, "agent", []string{"--config", agentConfig},
		[]string{"GATEWAY_HOST=" + host, "GATEWAY_PORT=" + port})
	return agent, gateway, backend
}

func startAll(collectors ...*collector) {
	for _, c := range collectors {
		c.t.Helper()
		c.start()
	}
}

// start starts the process and waits until it is healthy.
func (c *collector) start() {
	c.t.Helper()
	require.Nil(c.t, c.cmd, "the %s is running", c.name)
	c.cmd = exec.Command(built(c.t, collectorBinary), c.args...)
	c.cmd.Env = c.env
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	require.NoError(c.t, c.cmd.Start())
	require.Eventually(c.t, func() bool {
		resp, err := http.Get("http://" + c.health)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond, "the %s does not start", c.name)
}

// stop ends the process by a signal and waits until it is gone. After SIGTERM it must have ended
// well.
func (c *collector) stop(signal syscall.Signal) {
	c.t.Helper()
	cmd := c.cmd
	c.cmd = nil
	require.NoError(c.t, cmd.Process.Signal(signal))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if signal == syscall.SIGTERM {
			require.NoError(c.t, err, "the %s did not end well", c.name)
		}
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		require.Fail(c.t, "the "+c.name+" does not stop")
	}
	c.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// lastLog is the end of what the collector said.
func (c *collector) lastLog() string {
	text, err := os.ReadFile(c.log.Name())
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")))
}

// validate is the collector's own opinion of a configuration.
func validate(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(built(t, collectorBinary), append([]string{"validate"}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	output, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(output)), err
}
