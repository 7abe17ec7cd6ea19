//go:build unix

package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestRunStopsAtASignal(t *testing.T) {
	t.Parallel()
	for sig, cause := range map[syscall.Signal]string{syscall.SIGINT: "SIGINT received (interrupt)",
		syscall.SIGTERM: "SIGTERM received (terminated)"} {
		t.Run(cause, func(t *testing.T) {
			t.Parallel()
			c := otlptest.New(t)
			child := runProgram(t, "takes a moment", c)
			out := startProgram(t, child)
			out.next("ready")
			require.NoError(t, child.Process.Signal(sig))
			require.Equal(t, "stopping: "+cause, out.next("stopping"))
			out.next("error: <nil>")
			require.NoError(t, child.Wait(), out.rest())
			require.Equal(t, []string{"work"}, spanNames(c))
		})
	}
}

// timeout(1) sends its signal to the process, and immediately to the process's group as well.
func TestRunCountsASignalSentTwiceAtOnceAsOne(t *testing.T) {
	t.Parallel()
	for attempt := 1; ; attempt++ {
		c := otlptest.New(t)
		child := runProgram(t, "takes a moment", c)
		out := startProgram(t, child)
		out.next("ready")
		require.NoError(t, child.Process.Signal(syscall.SIGTERM))
		out.next("stopping") // two signals that are pending are one
		require.NoError(t, child.Process.Signal(syscall.SIGTERM))
		output := out.rest()
		err := child.Wait()
		if strings.Contains(output, "received again") && attempt < 10 { // on a busy machine they are two signals
			continue
		}
		require.NoError(t, err, output)
		require.Contains(t, output, "error: <nil>")
		require.Equal(t, []string{"work"}, spanNames(c))
		return
	}
}

func TestRunEndsAtTheSecondSignalWhateverMainDoes(t *testing.T) {
	t.Parallel()
	for name, pause := range map[string]time.Duration{"at once": 0, "later": 300 * time.Millisecond} {
		for _, first := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			t.Run(fmt.Sprintf("%s, first %s", name, first), func(t *testing.T) {
				t.Parallel()
				child := runProgram(t, "hangs", otlptest.New(t))
				out := startProgram(t, child)
				out.next("ready")
				require.NoError(t, child.Process.Signal(first))
				out.next("stopping")
				time.Sleep(pause)
				require.NoError(t, child.Process.Signal(syscall.SIGTERM))
				output := out.rest()
				requireEndedBy(t, syscall.SIGTERM, child.Wait(), output)
				require.Equal(t, 1, strings.Count(output,
					signalName[first]+" received: waiting for the program to return; a second signal stops it "+
						"immediately"), output)
				require.Equal(t, 1, strings.Count(output, "SIGTERM received again: stopping immediately, "), output)
			})
		}
	}
}

// A shell starts a job in the background of a script with SIGINT ignored.
func TestRunEndsAtTheSecondSignalWhereItWasIgnored(t *testing.T) {
	t.Parallel()
	program := runProgram(t, "hangs", otlptest.New(t))
	child := exec.CommandContext(t.Context(), "/bin/sh",
		append([]string{"-c", `trap "" INT; exec "$@"`, "sh"}, program.Args...)...)
	child.Env = program.Env
	out := startProgram(t, child)
	out.next("ready")
	require.NoError(t, child.Process.Signal(syscall.SIGINT))
	out.next("stopping")
	time.Sleep(200 * time.Millisecond) // a shell's second Ctrl-C; at once, the two could merge into one
	require.NoError(t, child.Process.Signal(syscall.SIGINT))
	output := out.rest()
	var exit *exec.ExitError
	require.ErrorAs(t, child.Wait(), &exit, output)
	require.Equal(t, 128+int(syscall.SIGINT), exit.ExitCode())
}

func TestRunEndsAtTheSecondCtrlC(t *testing.T) {
	t.Parallel()
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{Hang: true})
	child := runProgram(t, "ends", c)
	terminal, err := pty.Start(child)
	require.NoError(t, err)
	defer func() { _ = terminal.Close() }()
	out := newLines(t, terminal)
	out.next("ready")
	_, err = terminal.WriteString("\x03")
	require.NoError(t, err)
	out.next("SIGINT received (interrupt)")
	require.Regexp(t, `telemetry: still delivering 1 span.*; this may take another 59s \(press Ctrl-C again to stop immediately\)`, out.next("still delivering"))
	_, err = terminal.WriteString("\x03")
	require.NoError(t, err)
	pressed := time.Now()
	output := out.rest()
	requireEndedBy(t, syscall.SIGINT, child.Wait(), output)
	require.Contains(t, output, "SIGINT received: waiting for the program to return; a second signal stops it "+
		"immediately")
	require.Regexp(t, `SIGINT received again: stopping immediately, 1 span.* not delivered`, output)
	require.Less(t, time.Since(pressed), 20*time.Second, "of the 59 s that the delivery may take")
}

// The README's first program, stopped while it works: everything that it has answered arrives.
func TestFirstProgramLosesNothingAtSIGTERM(t *testing.T) {
	t.Parallel()
	c := otlptest.New(t)
	address := otlptest.FreeAddress(t)
	program := exec.CommandContext(t.Context(), buildFirstProgram(t, address))
	program.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT="+c.HTTPEndpoint(), "OTEL_TRACES_SAMPLER=always_on",
		"OTEL_SERVICE_NAME=first")
	out := startProgram(t, program)
	out.next("telemetry: started")
	rest := make(chan string, 1)
	go func() { rest <- out.rest() }() // a full pipe would stop the program

	var answered atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var customers sync.WaitGroup
	for range 8 {
		customers.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for ctx.Err() == nil {
				response, err := client.Get("http://" + address + "/hello/Ada")
				if err != nil {
					time.Sleep(time.Millisecond) // not up yet, or not any more
					continue
				}
				body, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if err == nil && string(body) == "Hello, Ada!\n" {
					answered.Add(1)
				}
			}
		})
	}
	require.Eventually(t, func() bool { return answered.Load() > 500 }, time.Minute, 5*time.Millisecond)
	require.NoError(t, program.Process.Signal(syscall.SIGTERM))
	output := <-rest
	require.NoError(t, program.Wait(), output)
	cancel()
	customers.Wait()

	require.Contains(t, output, `"msg":"telemetry: stopped"`)
	n := int(answered.Load())
	require.GreaterOrEqual(t, len(c.Spans()), n, "a request that was answered has its span")
	require.Equal(t, len(c.Spans()), len(c.LogRecords()))
	var requests uint64
	for _, m := range c.Metrics() {
		if m.Name == "http.server.request.duration" {
			requests = m.Points[0].Count
		}
	}
	require.EqualValues(t, len(c.Spans()), requests)
	require.Regexp(t, fmt.Sprintf(`"msg":"telemetry: stopped","traces":{"exported":%d,"lost":0}.*"logs":{"exported":%d,"lost":0}`, len(c.Spans()), len(c.Spans())), output)
}

// startProgram starts the child and returns what it prints, standard error included.
func startProgram(t *testing.T, child *exec.Cmd) *printed {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	child.Stdout, child.Stderr = w, w
	require.NoError(t, child.Start())
	require.NoError(t, w.Close())
	t.Cleanup(func() { _ = r.Close() })
	return newLines(t, r)
}

// requireEndedBy asserts that the signal has ended the child, as it does by default.
func requireEndedBy(t *testing.T, sig syscall.Signal, err error, output string) {
	t.Helper()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, output)
	status := exit.Sys().(syscall.WaitStatus)
	require.True(t, status.Signaled(), "%v: %s", exit, output)
	require.Equal(t, sig, status.Signal())
}

var signalName = map[syscall.Signal]string{syscall.SIGINT: "SIGINT", syscall.SIGTERM: "SIGTERM"}

// buildFirstProgram builds the program with a different address than in the README.
func buildFirstProgram(t *testing.T, address string) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", "first", "main.go"))
	require.NoError(t, err)
	require.Contains(t, string(source), `":8080"`)
	dir := t.TempDir()
	file, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "first")
	require.NoError(t, os.WriteFile(file,
		[]byte(strings.Replace(string(source), `":8080"`, fmt.Sprintf("%q", address), 1)), 0o600))
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, file)
	if output, err := build.CombinedOutput(); err != nil {
		require.NoError(t, errors.Join(err, errors.New(string(output))))
	}
	return binary
}
