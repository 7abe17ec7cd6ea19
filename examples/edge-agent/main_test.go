package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry/examples/internal/demo"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// asProgram in the environment makes the test binary behave as the program, and so do its children.
const asProgram = "EDGE_AGENT_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "OTEL_") || strings.HasPrefix(name, "TELEMETRY_") || name == "GOMEMLIMIT" {
			_ = os.Unsetenv(name) // the developer's environment must not affect the tests
		}
	}
	goleak.VerifyTestMain(m)
}

func TestDemonstrationAddsUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+dir)
	said, err := cmd.CombinedOutput()
	out := string(said)
	require.NoError(t, err, out)
	require.NotContains(t, out, "DIFFERS")
	require.Equal(t, 6, strings.Count(out, "  ok\n"), out)
	for _, name := range []string{
		"system.cpu.time", "system.cpu.utilization", "system.memory.usage", "system.filesystem.usage",
		"system.network.io", "resident memory", "64 MiB last",
	} {
		require.Contains(t, out, "  "+name+" ")
	}
	for line := range strings.Lines(out) {
		require.LessOrEqual(t, utf8.RuneCountInString(line), 100, line)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "it cleans up after itself")
}

func TestReportFindsEachDifference(t *testing.T) {
	honest := func() story {
		return story{
			killedPID: 1, cut: map[string]spooled{"traces": {1, 2, 100}, "metrics": {1, 3, 100}, "logs": {1, 4, 100}},
			books: books{Spans: items{Recovered: 2}, Points: items{Recovered: 3}, Records: items{Recovered: 4}},
		}
	}
	c := otlptest.New(t)
	for name, change := range map[string]func(*story){
		"on disk at the power cut": func(s *story) { s.books.Spans.Recovered = 1 },
		"spans":                    func(s *story) { s.arrived.spans++ },
		"log records":              func(s *story) { s.books.Records.Accepted++ },
		"data points":              func(s *story) { s.arrived.points++ },
		"lost, or left on disk":    func(s *story) { s.books.Points.Lost++ },
	} {
		told := honest()
		change(&told)
		var out bytes.Buffer
		require.ErrorIs(t, told.report(&out, c), demo.ErrDoesNotAddUp)
		require.Regexp(t, `(?m)^  `+name+` .*DIFFERS$`, out.String())
	}
	numbers, twice := scansOf([]otlptest.Span{scanOf(1, 3), scanOf(1, 1), scanOf(2, 2), scanOf(1, 3), {}}, 1)
	require.Equal(t, []int{1, 3}, numbers, "2 is missing")
	require.Equal(t, 1, twice)
}

func scanOf(pid, number int) otlptest.Span {
	return otlptest.Span{Attributes: map[string]any{"scan.number": int64(number)},
		Resource: map[string]any{"process.pid": int64(pid)}}
}

func TestCommandLine(t *testing.T) {
	for args, want := range map[string]string{
		"-scan 9ms":       "-scan 9ms: want 10ms or more",
		"-full 1.1":       "-full 1.1: want a share from 0 to 1",
		"-full NaN":       "-full NaN: want",
		"-full 90%":       "invalid value",
		"-spool-bytes -1": "-spool-bytes -1: want 1 or more",
		"serve":           `"serve" is not a flag`,
	} {
		require.ErrorContains(t, run(t.Context(), new(bytes.Buffer), strings.Fields(args)), want)
	}
	for _, args := range []string{"-scan 10ms", "-full 0", "-full 1", "-spool-bytes 1"} {
		_, err := parse(strings.Fields(args), new(bytes.Buffer))
		require.NoError(t, err, args)
	}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, []string{"-help"}))
	require.Contains(t, out.String(), "-spool-bytes")
}

// The operator's settings for memory and the spool directory are respected; the defaults are
// sensible.
func TestLimitsOfTheOperator(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		env  []string
		want []string
	}{
		"none": {nil, []string{`"memory_limit":33554432`, "/home/.cache/edge-agent/spool", `at most 67108864 bytes`}},
		"set": {
			[]string{"GOMEMLIMIT=48MiB", "TELEMETRY_SPOOL_DIR=SPOOL", "TELEMETRY_SPOOL_MAX_BYTES=4096"},
			[]string{`"memory_limit":50331648`, "/SPOOL", "at most 4096 bytes"},
		},
		"off": {[]string{"GOMEMLIMIT=off"}, []string{`"memory_limit":9223372036854775807`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := otlptest.New(t)
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-full", "1")
			cmd.Env = append(os.Environ(), asProgram+"=1", "OTEL_EXPORTER_OTLP_ENDPOINT="+c.HTTPEndpoint(),
				"OTEL_BLRP_SCHEDULE_DELAY=1", "HOME="+dir+"/home", "XDG_CACHE_HOME=")
			for _, entry := range tc.env {
				cmd.Env = append(cmd.Env, strings.Replace(entry, "SPOOL_DIR=", "SPOOL_DIR="+dir+"/", 1))
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			require.NoError(t, cmd.Start())
			_, err := c.WaitLogRecords(t.Context(), 1)
			require.NoError(t, err)
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			require.NoError(t, cmd.Wait(), "%s", &stderr)
			for _, want := range tc.want {
				require.Contains(t, stderr.String(), want)
			}
			require.Len(t, c.Spans(), 1, "the scan at the start is delivered at the end")
			require.Contains(t, stderr.String(), "profile")
			require.Equal(t, "http/protobuf", c.Requests()[0].Protocol)
		})
	}
}

func TestAgentNamesASpoolItCannotUse(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	c := otlptest.New(t)
	a := started(t, c, file)
	require.Eventually(t, func() bool { return len(c.Spans()) > 1 }, 30*time.Second, 10*time.Millisecond)
	b, err := a.stop()
	require.NoError(t, err, "an agent without a spool still works")
	require.Zero(t, b.Spans.Lost)
	require.Contains(t, a.log.String(), file)
}
