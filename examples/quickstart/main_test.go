package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// asProgram in the environment makes the test binary behave as the program.
const asProgram = "QUICKSTART_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// Without a collector the span and the counter are on standard output, and the log line, which has
// the span's ids, on standard error.
func TestQuickstartShowsAllThreeSignals(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = []string{asProgram + "=1", "PATH=" + os.Getenv("PATH")}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s", &stderr)

	line := regexp.MustCompile(`msg="hello, world" trace_id=([0-9a-f]{32}) span_id=([0-9a-f]{16})`).FindStringSubmatch(stderr.String())
	require.NotNil(t, line, "%s", &stderr)
	span, counter, found := strings.Cut(stdout.String(), "\n")
	require.True(t, found, "%s", &stdout)
	require.Contains(t, span, "greet")
	require.Contains(t, span, line[1], "the trace id of the log line")
	require.Contains(t, span, line[2], "the span id of the log line")
	require.Contains(t, counter, "greetings")
	require.NotContains(t, counter, "telemetry.sampler", "metrics that nobody has asked for")
	require.NotContains(t, counter, "otel.sdk")
	require.NotContains(t, stderr.String(), "WARN")
	require.NotContains(t, stderr.String(), "ERROR")
}
