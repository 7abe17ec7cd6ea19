//go:build unix

package telemetry_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

func TestDevelopmentViewOnATerminal(t *testing.T) {
	if isChild() {
		watchedService(t)
		return
	}
	escapes := regexp.MustCompile(`\x1b\[\d+m`)
	t.Run("color", func(t *testing.T) {
		output := onTerminal(t, nil)
		require.Contains(t, output, "\x1b[36mTRACE\x1b[0m")
		for _, pattern := range plainView {
			require.Regexp(t, pattern, escapes.ReplaceAllString(output, ""))
		}
		require.NotContains(t, output, `"SpanContext"`)
		require.Equal(t, 1, strings.Count(output, "hello, world"), "each log line once")
		require.NotContains(t, output, "time=")
	})
	for name, env := range map[string]string{"NO_COLOR": "NO_COLOR=1", "dumb": "TERM=dumb", "unknown": "TERM="} {
		t.Run(name, func(t *testing.T) {
			output := onTerminal(t, nil, env)
			require.NotContains(t, output, "\x1b")
			for _, pattern := range plainView {
				require.Regexp(t, pattern, output)
			}
		})
	}
	t.Run("log elsewhere", func(t *testing.T) {
		var stderr bytes.Buffer
		output := onTerminal(t, &stderr, "NO_COLOR=1")
		require.Regexp(t, treeWithLog, output, "the log line is on no other screen")
		require.NotContains(t, output, "started")
		require.Regexp(t, `(?m)^time=\S+ level=INFO msg="hello, world" name=Ada trace_id=[0-9a-f]{32} `,
			stderr.String())
	})
	t.Run("log to a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "log")
		output := onTerminal(t, nil, "NO_COLOR=1", logFileVariable+"="+path)
		require.Regexp(t, treeWithLog, output)
		written, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Regexp(t, `(?m)^time=\S+ level=INFO msg="hello, world" name=Ada trace_id=`, string(written))
	})
	t.Run("log format asked for", func(t *testing.T) {
		output := onTerminal(t, nil, "NO_COLOR=1", "TELEMETRY_LOG_FORMAT=json")
		require.Regexp(t, plainView[2], output)
		require.Contains(t, output, `"msg":"hello, world","name":"Ada","trace_id":"`)
		require.Equal(t, 1, strings.Count(output, "hello, world"), "each log line once")
	})
	t.Run("filtered", func(t *testing.T) {
		output := onTerminal(t, nil, "NO_COLOR=1", "TELEMETRY_CONSOLE_TRACES=errors,slow",
			"TELEMETRY_CONSOLE_SLOW_THRESHOLD=60000", "TELEMETRY_CONSOLE_LOG_LEVEL=warn")
		require.NotContains(t, output, "\ngreet ")
		require.NotContains(t, output, "hello, world")
		require.Regexp(t, plainView[3], output, "what is not finished is shown")
		output = onTerminal(t, nil, "NO_COLOR=1", "TELEMETRY_CONSOLE_TRACES=errors,slow",
			"TELEMETRY_CONSOLE_METRICS=changes")
		require.Regexp(t, `traces="console, traces that failed or took at least 500ms\s+\(TELEMETRY_CONSOLE_TRACES\)"`,
			output)
		require.Regexp(t, `metrics="console, what changes every 5s`, output)
	})
	t.Run("metrics asked for", func(t *testing.T) {
		quiet := onTerminal(t, nil, "NO_COLOR=1")
		loud := onTerminal(t, nil, "NO_COLOR=1", "TELEMETRY_RUNTIME_METRICS=true", "TELEMETRY_SELF_METRICS=true")
		for _, name := range []string{"go.memory.used", "telemetry.sampler.target"} {
			require.NotContains(t, quiet, name)
			require.Contains(t, loud, name)
		}
	})
	t.Run("JSON asked for", func(t *testing.T) {
		output := onTerminal(t, nil, "TELEMETRY_CONSOLE_FORMAT=json")
		require.Contains(t, output, `{"Name":"greet","SpanContext":`)
		require.Contains(t, output, `level=INFO msg="hello, world"`)
		require.Contains(t, output, `traces="console as JSON" metrics="console as JSON"`)
		require.NotContains(t, output, " TRACE ")
	})
	t.Run("service profile", func(t *testing.T) {
		output := onTerminal(t, nil, "NO_COLOR=1", "OTEL_TRACES_EXPORTER=console", "OTEL_METRICS_EXPORTER=none",
			"OTEL_LOGS_EXPORTER=none")
		require.Regexp(t, plainView[1], output)
		require.Regexp(t, plainView[2], output)
		require.NotContains(t, output, " METRICS ")
	})
}

// A user who pipes the view through a pager asks for it by name.
func TestDevelopmentViewInAPipe(t *testing.T) {
	if isChild() {
		watchedService(t)
		return
	}
	output := runChild(t, "TELEMETRY_CONSOLE_FORMAT=tree", "COLUMNS=60", "TERM=xterm", "OTEL_TRACES_SAMPLER=adaptive")
	require.NotContains(t, output, "\x1b")
	require.Regexp(t, `(?m)^`+clockPattern+` INFO  [0-9a-f]{8} hello, world  name=Ada$`, output)
	require.Regexp(t, `(?m)^greet {20,}.* ━{12}\n└─ think mood`, output)
	require.Equal(t, 1, strings.Count(output, "hello, world"), "one pipe is one screen")

	output = runChild(t, "COLUMNS=60", "TERM=xterm")
	require.Contains(t, output, `{"Name":"greet","SpanContext":`, "a program reads it")
	require.Contains(t, output, `level=INFO msg="hello, world"`)
	require.NotContains(t, output, "TRACE ")
}

// TestDevelopmentViewShowsEveryTrace: the default sampler keeps 50 traces per second; the view also
// shows those that are not exported.
func TestDevelopmentViewShowsEveryTrace(t *testing.T) {
	if isChild() {
		guard, err := telemetry.Init(t.Context(), telemetry.WithProfile(telemetry.ProfileDevelopment))
		require.NoError(t, err)
		for range 2000 {
			require.NoError(t, telemetry.Do(t.Context(), "one of many", func(context.Context) error { return nil }))
		}
		require.NoError(t, guard.Shutdown(t.Context()))
		return
	}
	output := runChild(t, "TELEMETRY_CONSOLE_FORMAT=tree", "OTEL_TRACES_SAMPLER=adaptive")
	require.Equal(t, 2000, strings.Count(output, "\none of many "))
}

// The service of these tests runs in a process of its own, because the view looks at standard
// output.
const logFileVariable = "TEST_LOG_FILE"

func watchedService(t *testing.T) {
	opts := []telemetry.Option{telemetry.WithServiceName("shop"), telemetry.WithProfile(telemetry.ProfileDevelopment)}
	if path := os.Getenv(logFileVariable); path != "" {
		file, err := os.Create(path)
		require.NoError(t, err)
		defer func() { require.NoError(t, file.Close()) }()
		opts = append(opts, telemetry.WithLogOutput(file))
	}
	guard, err := telemetry.Init(t.Context(), opts...)
	require.NoError(t, err)
	greetings, err := otel.Meter("shop").Int64Counter("greetings")
	require.NoError(t, err)
	require.NoError(t, telemetry.Do(t.Context(), "greet", func(ctx context.Context) error {
		greetings.Add(ctx, 1)
		slog.InfoContext(ctx, "hello, world", "name", "Ada")
		return telemetry.Do(ctx, "think", func(ctx context.Context) error {
			trace.SpanFromContext(ctx).SetAttributes(attribute.String("mood", "good\x1b[31m"))
			return nil
		})
	}))
	_, unfinished := otel.Tracer("shop").Start(t.Context(), "still at it")
	require.NoError(t, guard.Shutdown(t.Context()))
	unfinished.End()
}

// onTerminal runs the calling test in a child on a terminal of 100 columns. If stderr is not nil,
// only standard output is the terminal.
func onTerminal(t *testing.T, stderr io.Writer, env ...string) string {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+strings.SplitN(t.Name(), "/", 2)[0]+"$",
		"-test.timeout=60s")
	child.Env = append(append(os.Environ(), childVariable+"=1", "TERM=xterm-256color", "NO_COLOR=",
		"OTEL_TRACES_SAMPLER=adaptive"), env...)
	child.Stderr = stderr
	terminal, err := pty.StartWithSize(child, &pty.Winsize{Cols: 100, Rows: 50})
	require.NoError(t, err)
	defer func() { _ = terminal.Close() }()
	var output bytes.Buffer
	_, _ = io.Copy(&output, terminal) // Linux ends it with EIO when the child has gone
	require.NoError(t, child.Wait(), output.String())
	return strings.ReplaceAll(output.String(), "\r\n", "\n")
}

const clockPattern = `\d\d:\d\d:\d\d\.\d{3}`

// treeWithLog is the tree when log lines are on another screen or nowhere.
const treeWithLog = `(?m)^` + clockPattern +
	` TRACE [0-9a-f]{32}  2 spans\ngreet {60,}.* ━{20}\n├ INFO hello, world name=Ada .*\n└─ think mood=good`

var plainView = []string{
	`(?m)^` + clockPattern + ` INFO  telemetry: started  service\.name=shop[^✗]*traces="console, every recorded trace"\s+metrics="console, at shutdown"\s+logs="console, from level info"`,
	`(?m)^` + clockPattern + ` INFO  ([0-9a-f]{8}) hello, world  name=Ada$`,
	`(?m)^` + clockPattern + ` TRACE [0-9a-f]{32}  2 spans\ngreet {60,}.* ━{20}\n└─ think mood=good\\x1b\[31m .*\n`,
	`(?m)^` + clockPattern + ` TRACE [0-9a-f]{32}  1 span\nstill at it unfinished .*\n… not finished at shutdown\n`,
	`(?m)^` + clockPattern + ` METRICS 1 series changed.*\ngreetings +1 +\+1`,
	`(?m)^` + clockPattern + ` INFO  telemetry: stopped$`,
}
