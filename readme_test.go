package telemetry

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

var update = flag.Bool("update", false, "write the generated tables into README.md")

// TestReadmeTableIsUpToDate renders the settings table into the README, or fails when it is stale.
func TestReadmeTableIsUpToDate(t *testing.T) {
	requireReadmeTable(t, "settings", settingsTable())
}

// requireReadmeTable holds, or writes, what is between the two marks of this name.
func requireReadmeTable(t *testing.T, name, table string) {
	t.Helper()
	begin, end := "<!-- "+name+":begin (generated: make update) -->\n", "<!-- "+name+":end -->"
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(readme), begin)
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	fresh := before + begin + table + end + after
	if *update {
		require.NoError(t, os.WriteFile("README.md", []byte(fresh), 0o644))
		return
	}
	require.True(t, fresh == string(readme), "the %s table in README.md is stale, run: make update", name)
}

// TestReadmeSelfMetricsTableIsUpToDate lists what a collector really gets from a guard with all three signals.
func TestReadmeSelfMetricsTableIsUpToDate(t *testing.T) {
	c := otlptest.New(t)
	guard, err := Init(t.Context(), WithoutGlobals(), WithEndpoint(c.HTTPEndpoint()), WithLogOutput(io.Discard), WithoutRuntimeMetrics())
	require.NoError(t, err)
	require.NoError(t, guard.Shutdown(t.Context()))
	var lines []string
	for _, m := range c.Metrics() {
		require.True(t, strings.HasPrefix(m.Name, "otel.sdk."), m.Name)
		kind := "up-down counter"
		if m.Monotonic {
			kind = "counter"
		}
		var causes []string
		for _, p := range m.Points {
			if cause, ok := p.Attributes["error.type"]; ok {
				causes = append(causes, code(cause.(string)))
			}
		}
		slices.Sort(causes)
		lines = append(lines, fmt.Sprintf("| `%s` | %s | `%s` | %s | %s |\n", m.Name, kind, m.Unit, strings.Join(causes, " "), m.Description))
	}
	slices.Sort(lines)
	requireReadmeTable(t, "self-metrics", "| name | kind | unit | error.type | |\n|---|---|---|---|---|\n"+strings.Join(lines, ""))
}

// settingsTable writes the rows that exist for each signal once, with {TRACES,METRICS,LOGS} in their names.
func settingsTable() string {
	var b strings.Builder
	b.WriteString("| setting | option | variables, the first wins | default | |\n|---|---|---|---|---|\n")
	for _, row := range settings() {
		info := row.describe()
		if perSignal(info, metrics) || perSignal(info, logs) {
			continue
		}
		name, option, reason := info.name, info.option, info.reason
		variables := strings.Join(info.env, "`, `")
		if perSignal(info, traces) {
			name = strings.TrimPrefix(name, "traces ")
			variables = strings.Replace(variables, "TRACES", "{TRACES,METRICS,LOGS}", 1)
			reason = strings.Replace(reason, "WithoutTraces", "WithoutTraces, WithoutMetrics, WithoutLogs", 1)
			if option == "WithSpanExporter" {
				option = "WithSpanExporter, WithMetricReader, WithLogExporter"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", name, code(option), code(variables), defaultsText(info.defaults), reason)
	}
	return b.String()
}

func perSignal(info rowInfo, s signal) bool {
	_, what, _ := strings.Cut(info.name, " ")
	for _, row := range signalRows(s) {
		if row.describe().name == info.name && what != "" {
			return true
		}
	}
	return false
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

func defaultsText(d defaults) string {
	if d == always(d.service) {
		return code(d.service)
	}
	return fmt.Sprintf("%s; high-throughput %s, edge %s, development %s", code(d.service), code(d.highThroughput), code(d.edge), code(d.development))
}

var goSnippet = regexp.MustCompile("(?s)```go\n(.*?)```")

// TestReadmeSnippetsCompile builds every Go snippet of the README: whole programs as they are, others as the body of a
// function in a module that uses the library.
func TestReadmeSnippetsCompile(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	snippets := goSnippet.FindAllStringSubmatch(string(readme), -1)
	require.NotEmpty(t, snippets)
	root, err := os.Getwd()
	require.NoError(t, err)
	dir := t.TempDir()
	for i, snippet := range snippets {
		source := snippet[1]
		if !strings.HasPrefix(source, "package ") {
			source = wrapSnippet(source)
		}
		write(t, filepath.Join(dir, fmt.Sprint("snippet", i), "main.go"), source)
	}
	consumer(t, dir, root)
	run(t, dir, "go", "vet", "./...") // compiles, and does not link
}

// wrapSnippet gives a fragment the names that the README's text introduces.
func wrapSnippet(body string) string {
	imports := map[string]string{
		"telemetry.": modulePath, "context.": "context", "slog.": "log/slog", "http.": "net/http", "otel.": "go.opentelemetry.io/otel",
		"grpc.": "google.golang.org/grpc", "errors.": "errors", "os.": "os", "signal.": "os/signal", "syscall.": "syscall",
		"time.": "time", "propagation.": "go.opentelemetry.io/otel/propagation", "regexp.": "regexp",
	}
	var b strings.Builder
	b.WriteString("package main\n\nimport (\n")
	for prefix, path := range imports {
		if regexp.MustCompile(`\b` + regexp.QuoteMeta(prefix)).MatchString(body + "context. http. ") {
			fmt.Fprintf(&b, "\t%q\n", path)
		}
	}
	b.WriteString(")\n\nfunc main() {}\n\nvar mux *http.ServeMux\n\nfunc charge(context.Context) error { return nil }\n\nfunc snippet(ctx context.Context) {\n")
	b.WriteString(body)
	b.WriteString("}\n")
	return b.String()
}

// consumer makes dir a module that requires the library through a replace, with the versions the library has chosen.
func consumer(t *testing.T, dir, root string) {
	t.Helper()
	own, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	_, requirements, _ := strings.Cut(string(own), "go 1.26.0\n")
	write(t, filepath.Join(dir, "go.mod"), fmt.Sprintf("module example.com/consumer\n\ngo 1.26.0\n\nrequire %s v0.0.0\n\nreplace %s => %s\n%s",
		modulePath, modulePath, root, requirements))
	sums, err := os.ReadFile("go.sum")
	require.NoError(t, err)
	write(t, filepath.Join(dir, "go.sum"), string(sums))
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), output)
	return string(output)
}
