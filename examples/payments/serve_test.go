package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// process is the program with -serve, in a separate process.
type process struct {
	url    string
	cmd    *exec.Cmd
	stdout chan string // the rest of what it prints
	stderr bytes.Buffer
}

func serveProcess(t *testing.T, endpoint string, args ...string) *process {
	t.Helper()
	p := &process{stdout: make(chan string, 1)}
	p.cmd = exec.CommandContext(t.Context(), os.Args[0], append([]string{"-serve", "-addr", "127.0.0.1:0"}, args...)...)
	p.cmd.Env = append(os.Environ(), asProgram+"=1", "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint)
	p.cmd.Stderr = &p.stderr
	pipe, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	lines := bufio.NewReader(pipe)
	first, err := lines.ReadString('\n')
	require.NoError(t, err, "%s", &p.stderr)
	p.url = regexp.MustCompile(`http://[0-9.:]+`).FindString(first)
	require.NotEmpty(t, p.url, "%s", first)
	go func() {
		rest, _ := io.ReadAll(lines)
		p.stdout <- string(rest)
	}()
	return p
}

// stop sends the signal and waits for the end, which must be orderly. It returns what the process
// printed.
func (p *process) stop(t *testing.T, signal os.Signal) string {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(signal))
	out := <-p.stdout
	require.NoError(t, p.cmd.Wait(), "%s", &p.stderr)
	return out
}

// pay sends a payment and returns the status of the answer; sent is closed once the request is on
// the wire.
func (p *process) pay(ctx context.Context, sent chan<- struct{}) (int, error) {
	ctx = httptrace.WithClientTrace(ctx,
		&httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/api/payments",
		strings.NewReader(`{"amount": 49.90}`))
	if err != nil {
		return 0, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// The default batch delay is seconds; the signal comes at once. Nothing of the last request may be
// lost.
func TestServeDeliversTheLastRequest(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(signal.String(), func(t *testing.T) {
			collector := otlptest.New(t)
			p := serveProcess(t, collector.HTTPEndpoint())
			status, err := p.pay(t.Context(), make(chan struct{}))
			require.NoError(t, err)
			require.Equal(t, http.StatusCreated, status)
			out := p.stop(t, signal)
			require.Contains(t, out, "Stopping")

			arrived := arrivedAt(collector)
			require.Len(t, arrived.traces, 1)
			require.Len(t, arrived.spans, paid.spans)
			require.Len(t, arrived.logs, paid.logs)
			require.Equal(t, 1.0, arrived.sum("orders.total", func(p otlptest.Point) float64 { return p.Value }))
			require.Contains(t, p.stderr.String(), arrived.spans[0].TraceID, "the console log is correlated too")
		})
	}
}

// A request that has begun when the signal comes gets its answer, and its telemetry is delivered; a
// second SIGTERM, such as the one that timeout(1) sends to the process's group, changes nothing.
func TestServeFinishesWhatHasBegun(t *testing.T) {
	collector := otlptest.New(t)
	p := serveProcess(t, collector.HTTPEndpoint(), "-gateway-delay", "1s")
	type result struct {
		status int
		err    error
	}
	sent, answered := make(chan struct{}), make(chan result, 1)
	go func() {
		status, err := p.pay(t.Context(), sent)
		answered <- result{status, err}
	}()
	<-sent
	time.Sleep(200 * time.Millisecond) // while the gateway takes its second
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool { return refuses(p.url) }, 10*time.Second, time.Millisecond)
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // on a slow machine it may have ended
	<-p.stdout
	require.NoError(t, p.cmd.Wait(), "%s", &p.stderr)
	require.Equal(t, result{http.StatusCreated, nil}, <-answered)
	require.Len(t, collector.Spans(), paid.spans)
}

// refuses reports whether url refuses connections.
func refuses(url string) bool {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err == nil {
		_ = conn.Close()
	}
	return err != nil
}

// A service without a collector also stops in order: telemetry must not affect how a service ends.
func TestServeWithoutCollector(t *testing.T) {
	t.Setenv("TELEMETRY_SHUTDOWN_TIMEOUT", "500")
	p := serveProcess(t, "http://127.0.0.1:1")
	_, err := p.pay(t.Context(), make(chan struct{}))
	require.NoError(t, err)
	p.stop(t, syscall.SIGTERM)
	require.Contains(t, p.stderr.String(), "not everything was delivered")
}
