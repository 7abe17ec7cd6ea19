package telemetry

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/internal/snippets"
)

var update = flag.Bool("update", false, "write the generated tables and golden files")

// maxReadme is how long the README may be: what is longer belongs into docs/.
const maxReadme = 14_000

func TestReadmeIsShort(t *testing.T) {
	readme, err := os.Stat("README.md")
	require.NoError(t, err)
	require.LessOrEqual(t, readme.Size(), int64(maxReadme))
}

// TestSettingsTableIsUpToDate renders the settings table into docs/, or fails when it is stale.
func TestSettingsTableIsUpToDate(t *testing.T) {
	requireTable(t, "docs/settings.md", "settings", settingsTable())
}

// requireTable holds, or writes, what is between the two marks of this name.
func requireTable(t *testing.T, file, name, table string) {
	t.Helper()
	begin, end := "<!-- "+name+":begin (generated: make update) -->\n", "<!-- "+name+":end -->"
	readme, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(readme), begin)
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	fresh := before + begin + table + end + after
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(fresh), 0o644))
		return
	}
	require.True(t, fresh == string(readme), "the %s table in %s is stale, run: make update", name, file)
}

// TestSelfMetricsTableIsUpToDate lists what a collector really gets from a guard with all three signals.
func TestSelfMetricsTableIsUpToDate(t *testing.T) {
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
	requireTable(t, "docs/operating.md", "self-metrics", "| name | kind | unit | error.type | |\n|---|---|---|---|---|\n"+strings.Join(lines, ""))
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

// TestReadmeBeginsWithTheFirstProgram holds what TestFirstProgramLosesNothingAtSIGTERM runs.
func TestReadmeBeginsWithTheFirstProgram(t *testing.T) {
	first, err := os.ReadFile("testdata/first/main.go")
	require.NoError(t, err)
	require.Equal(t, string(first), snippets.Read(t, "README.md")[0].Code)
}

// TestReadmeSnippetsCompile builds every Go snippet of the README with what the library itself requires. Those of docs/ need
// other modules, and are compiled in recipes/.
func TestReadmeSnippetsCompile(t *testing.T) {
	snippets.Module{GoMod: "go.mod", Root: "."}.Compile(t, snippets.Read(t, "README.md"), snippets.Surroundings{
		Declarations: map[string]string{
			"mux":     "var mux *http.ServeMux",
			"charge":  "func charge(context.Context) error { return nil }",
			"newShop": "func newShop() *http.ServeMux { return nil }",
		},
	})
}
