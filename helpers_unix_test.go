//go:build unix

package telemetry_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// farAway is a time that no test waits for: the child's budget for delivery. A child that ends
// before has not waited.
const farAway = "60000"

// runProgram is a child that runs a program of TestRunChild against c.
func runProgram(t *testing.T, program string, c *otlptest.Collector) *exec.Cmd {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRunChild$", "-test.timeout=90s")
	child.Env = append(os.Environ(), childVariable+"=1", runChildVariable+"="+program,
		"OTEL_EXPORTER_OTLP_ENDPOINT="+c.HTTPEndpoint(),
		"TELEMETRY_SHUTDOWN_TIMEOUT="+farAway, "OTEL_TRACES_SAMPLER=always_on", "TELEMETRY_LOG_FORMAT=text")
	return child
}

// printed reads what a child prints, and waits for lines.
type printed struct {
	t       *testing.T
	scanner *bufio.Scanner
	all     strings.Builder
}

func newLines(t *testing.T, r io.Reader) *printed {
	return &printed{t: t, scanner: bufio.NewScanner(r)}
}

func (l *printed) next(part string) string {
	l.t.Helper()
	for l.scanner.Scan() {
		l.all.WriteString(l.scanner.Text() + "\n")
		if strings.Contains(l.scanner.Text(), part) {
			return l.scanner.Text()
		}
	}
	require.Fail(l.t, "the program ended without the line", "want %q in:\n%s", part, l.all.String())
	return ""
}

func (l *printed) rest() string {
	for l.scanner.Scan() {
		l.all.WriteString(l.scanner.Text() + "\n")
	}
	return l.all.String()
}

// blackHoles is the dead end that an address without room for connections is.
func blackHoles() []deadEnd { return []deadEnd{{"black hole", blackHole}} }

// blackHole is an address that drops requests to connect.
func blackHole(t testing.TB) string {
	address, ok := otlptest.BlackHole(t, "127.0.0.1:0")
	if !ok {
		t.Skip("this system's queue of connections is never full")
	}
	return address
}
