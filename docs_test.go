package telemetry

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/snippets"
)

func TestReadmeIsShort(t *testing.T) {
	readme, err := os.Stat("README.md")
	require.NoError(t, err)
	require.LessOrEqual(t, readme.Size(), int64(maxReadme))
}

// TestSettingsTableIsUpToDate writes the settings table into docs/ with -update, and otherwise
// fails when it is stale.
func TestSettingsTableIsUpToDate(t *testing.T) {
	requireTable(t, "docs/settings.md", "settings", settingsTable())
}

// TestSelfMetricsTableIsUpToDate lists what a collector gets from a guard with all three signals.
func TestSelfMetricsTableIsUpToDate(t *testing.T) {
	c := otlptest.New(t)
	guard, err := Init(t.Context(), WithoutGlobals(), WithEndpoint(c.HTTPEndpoint()), WithLogOutput(io.Discard),
		WithoutRuntimeMetrics())
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
		lines = append(lines, fmt.Sprintf("| `%s` | %s | `%s` | %s | %s |\n", m.Name, kind, m.Unit,
			strings.Join(causes, " "), m.Description))
	}
	slices.Sort(lines)
	requireTable(t, "docs/operating.md", "self-metrics",
		"| name | kind | unit | error.type | |\n|---|---|---|---|---|\n"+strings.Join(lines, ""))
}

// TestReadmeBeginsWithTheFirstProgram compares it with the program that
// TestFirstProgramLosesNothingAtSIGTERM runs.
func TestReadmeBeginsWithTheFirstProgram(t *testing.T) {
	first, err := os.ReadFile("testdata/first/main.go")
	require.NoError(t, err)
	require.Equal(t, string(first), snippets.Read(t, "README.md")[0].Code)
}

// TestReadmeSnippetsCompile builds every Go snippet of the README with the modules that the library
// itself requires. The snippets of docs/ need other modules and are compiled in recipes/.
func TestReadmeSnippetsCompile(t *testing.T) {
	snippets.Module{GoMod: "go.mod", Root: "."}.Compile(t, snippets.Read(t, "README.md"), snippets.Surroundings{
		Declarations: map[string]string{
			"mux":     "var mux *http.ServeMux",
			"charge":  "func charge(context.Context) error { return nil }",
			"newShop": "func newShop() *http.ServeMux { return nil }",
		},
	})
}

// Every bound in SECURITY.md names tests, and they exist where it says.
func TestEveryBoundInTheSecurityPageHasATest(t *testing.T) {
	page, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	_, bounds, found := strings.Cut(string(page), "## Bounds")
	require.True(t, found)
	bounds, _, _ = strings.Cut(bounds, "## Checks")

	code := map[string]string{} // by directory
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		code[filepath.ToSlash(filepath.Dir(path))] += string(content)
		return err
	}))

	rows := 0
	name := regexp.MustCompile("`(Test\\w+)(…?)`")
	for row := range strings.Lines(bounds) {
		cells := strings.Split(row, "|")
		if len(cells) < 5 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "what" {
			continue
		}
		rows++
		proof, dir := cells[4], "."
		if place, _, isElsewhere := strings.Cut(proof, ":"); isElsewhere {
			dir = strings.Trim(place, " `")
		}
		tests := name.FindAllStringSubmatch(proof, -1)
		require.True(t, len(tests) > 0 || strings.TrimSpace(proof) == "the same", row)
		for _, test := range tests {
			declared := "func " + test[1]
			if test[2] == "" {
				declared += "("
			}
			require.Contains(t, code[dir], declared, row)
		}
	}
	require.GreaterOrEqual(t, rows, 20)
}

// maxReadme is the limit of the README's size in bytes: longer text belongs in docs/.
const maxReadme = 14_000

// requireTable compares, or with -update writes, the text between the two marks of this name.
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

// settingsTable writes the rows that exist for each signal once, with {TRACES,METRICS,LOGS} in
// their names.
func settingsTable() string {
	var b strings.Builder
	b.WriteString("| setting | option | variables, the first wins | default | |\n|---|---|---|---|---|\n")
	for _, row := range settings.Rows() {
		info := row.Describe()
		if perSignal(info, signal.Metrics) || perSignal(info, signal.Logs) {
			continue
		}
		name, option, reason := info.Name, info.Option, info.Reason
		variables := strings.Join(info.Env, "`, `")
		if perSignal(info, signal.Traces) {
			name = strings.TrimPrefix(name, "traces ")
			variables = strings.Replace(variables, "TRACES", "{TRACES,METRICS,LOGS}", 1)
			reason = strings.Replace(reason, "WithoutTraces", "WithoutTraces, WithoutMetrics, WithoutLogs", 1)
			if option == "WithSpanExporter" {
				option = "WithSpanExporter, WithMetricReader, WithLogExporter"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", name, code(option), code(variables),
			defaultsText(info.Defaults), reason)
	}
	return b.String()
}

func perSignal(info settings.Info, s signal.Signal) bool {
	_, what, _ := strings.Cut(info.Name, " ")
	for _, row := range settings.SignalRows(s) {
		if row.Describe().Name == info.Name && what != "" {
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

func defaultsText(d settings.Defaults) string {
	if d == settings.Always(d.Service) {
		return code(d.Service)
	}
	return fmt.Sprintf("%s; high-throughput %s, edge %s, development %s", code(d.Service), code(d.HighThroughput),
		code(d.Edge), code(d.Development))
}
