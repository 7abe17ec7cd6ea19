// Package snippets compiles the Go snippets of Markdown documents, for tests. A snippet looks like
// what a reader would write: what it takes from its surroundings, and the variables that it leaves
// unused, this package adds.
package snippets

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const library = "github.com/fleetotel/telemetry"

// Snippet is one block of Go code.
type Snippet struct {
	File    string
	Heading string // of the section, without the number signs
	Code    string
}

var fence = regexp.MustCompile("(?s)```go\n(.*?)```")

// Read returns the snippets of a document, in order.
func Read(t testing.TB, file string) []Snippet {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	text := string(data)
	var found []Snippet
	for _, at := range fence.FindAllStringSubmatchIndex(text, -1) {
		heading := ""
		if headings := regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text[:at[0]], -1); len(headings) > 0 {
			heading = headings[len(headings)-1][1]
		}
		found = append(found, Snippet{File: filepath.Base(file), Heading: heading, Code: text[at[2]:at[3]]})
	}
	return found
}

// Surroundings is what snippets refer to and do not declare.
type Surroundings struct {
	// by the name with which the code calls the package; further to those of common packages
	Imports      map[string]string
	Declarations map[string]string // by the name that the code uses, or by "heading/name" for one section only
}

// Module is what the snippets are compiled in: the requirements of a go.mod, with the library
// replaced by root.
type Module struct{ GoMod, Root string }

// Compile vets every snippet in a module of its own, which runs the type checker and does not link.
func (m Module) Compile(t testing.TB, code []Snippet, around Surroundings) {
	t.Helper()
	require.NotEmpty(t, code)
	dir := t.TempDir()
	for i, s := range code {
		source := around.complete(t, s)
		write(t, filepath.Join(dir, fmt.Sprintf("snippet%d", i), "snippet.go"), source)
	}
	m.prepare(t, dir)
	output, err := m.Run(dir, "vet", "./...")
	for i, s := range code { // by the place that a reader finds
		output = strings.ReplaceAll(output, fmt.Sprintf("snippet%d/snippet.go", i),
			fmt.Sprintf("%s, %q", s.File, s.Heading))
	}
	require.NoError(t, err, "%s", output)
}

// prepare makes dir a module that requires the library through a replace, with the versions that
// go.mod has chosen.
func (m Module) prepare(t testing.TB, dir string) {
	t.Helper()
	root, err := filepath.Abs(m.Root)
	require.NoError(t, err)
	own, err := os.ReadFile(m.GoMod)
	require.NoError(t, err)
	_, requirements, found := strings.Cut(string(own), "\ngo 1.26.0\n")
	require.True(t, found, "%s has no line \"go 1.26.0\"", m.GoMod)
	lines := slices.DeleteFunc(strings.Split(requirements, "\n"), func(line string) bool {
		return strings.Contains(line, library+" ")
	})
	write(t, filepath.Join(dir, "go.mod"),
		fmt.Sprintf("module example.com/snippets\n\ngo 1.26.0\n\nrequire %s v0.0.0\n\nreplace %s => %s\n%s",
			library, library, root, strings.Join(lines, "\n")))
	sums, err := os.ReadFile(strings.TrimSuffix(m.GoMod, ".mod") + ".sum")
	require.NoError(t, err)
	write(t, filepath.Join(dir, "go.sum"), string(sums))
}

// Run runs the go command in a module that Compile or NewModule has made.
func (m Module) Run(dir string, args ...string) (output string, err error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	combined, err := cmd.CombinedOutput()
	return string(combined), err
}

// Program writes a snippet that is a whole program into a module in dir, ready for [Module.Run].
func (m Module) Program(t testing.TB, dir string, s Snippet) {
	t.Helper()
	write(t, filepath.Join(dir, "main.go"), s.Code)
	m.prepare(t, dir)
}

var packages = map[string]string{
	"telemetry": library, "telemetrytest": library + "/telemetrytest",
	"context": "context", "errors": "errors", "exec": "os/exec", "io": "io", "http": "net/http",
	"httptest": "net/http/httptest", "os": "os",
	"regexp": "regexp", "signal": "os/signal", "slog": "log/slog", "syscall": "syscall", "testing": "testing",
	"time": "time",
	"grpc": "google.golang.org/grpc", "otel": "go.opentelemetry.io/otel",
	"attribute": "go.opentelemetry.io/otel/attribute",
	"codes":     "go.opentelemetry.io/otel/codes", "metric": "go.opentelemetry.io/otel/metric",
	"propagation": "go.opentelemetry.io/otel/propagation", "sdkmetric": "go.opentelemetry.io/otel/sdk/metric",
	"trace": "go.opentelemetry.io/otel/trace",
}

// complete makes a file of a snippet: as it is if it is one, else with imports and what it refers
// to, as declarations or as the body of a function.
func (around Surroundings) complete(t testing.TB, s Snippet) string {
	t.Helper()
	if strings.HasPrefix(s.Code, "package ") {
		return s.Code
	}
	body := s.Code
	if !strings.HasPrefix(body, "func ") && !strings.HasPrefix(body, "var ") {
		body = "func snippet(ctx context.Context) error {\n" + body + used(t, s) + "\treturn nil\n}\n"
	}
	body = around.declarations(s, body) + body
	return "package snippet\n\nimport (\n" + around.imports(t, s, body) + ")\n\n" + body
}

// used uses the variables that the outermost block of a snippet declares.
func used(t testing.TB, s Snippet) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc f() {\n"+s.Code+"\n}", 0)
	require.NoError(t, err, "%s, %q", s.File, s.Heading)
	var b strings.Builder
	for _, statement := range file.Decls[0].(*ast.FuncDecl).Body.List {
		assign, ok := statement.(*ast.AssignStmt)
		if !ok || assign.Tok != token.DEFINE {
			continue
		}
		for _, left := range assign.Lhs {
			if name := left.(*ast.Ident).Name; name != "_" {
				fmt.Fprintf(&b, "\t_ = %s\n", name)
			}
		}
	}
	return b.String()
}

func (around Surroundings) declarations(s Snippet, body string) string {
	var names []string
	for name := range around.Declarations {
		slash := strings.LastIndexByte(name, '/')
		section, plain := name[:max(slash, 0)], name[slash+1:]
		if _, special := around.Declarations[s.Heading+"/"+plain]; special && section == "" {
			continue
		}
		if section != "" && section != s.Heading || !mentions(body, plain) ||
			regexp.MustCompile(`\bfunc `+plain+`\(`).MatchString(body) {
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		b.WriteString(around.Declarations[name] + "\n\n")
	}
	return b.String()
}

func (around Surroundings) imports(t testing.TB, s Snippet, body string) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+body, 0)
	require.NoError(t, err, "%s, %q", s.File, s.Heading)
	called := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok {
			if name, ok := selector.X.(*ast.Ident); ok {
				called[name.Name] = true
			}
		}
		return true
	})
	declared := around.declared(s, file)
	var lines []string
	for name := range called {
		path, known := around.Imports[s.Heading+"/"+name]
		if !known {
			path, known = around.Imports[name]
		}
		if !known {
			path, known = packages[name]
		}
		if known && !declared[name] {
			lines = append(lines, fmt.Sprintf("\t%s %q\n", name, path))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// declared are the names of a file's variables on the outermost level, which win over packages.
func (around Surroundings) declared(s Snippet, file *ast.File) map[string]bool {
	names := map[string]bool{}
	for _, d := range file.Decls {
		if general, ok := d.(*ast.GenDecl); ok && general.Tok == token.VAR {
			for _, spec := range general.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					names[name.Name] = true
				}
			}
		}
	}
	return names
}

func mentions(code, name string) bool {
	return regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).MatchString(code)
}

func write(t testing.TB, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

// Link is a link to a file of the repository, or to a section of one.
type Link struct{ File, Anchor string }

var linkTarget = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Links returns the links of a document that do not leave the repository.
func Links(t testing.TB, file string) []Link {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var links []Link
	for _, target := range linkTarget.FindAllStringSubmatch(string(data), -1) {
		if !strings.Contains(target[1], "://") {
			path, anchor, _ := strings.Cut(target[1], "#")
			links = append(links, Link{path, anchor})
		}
	}
	return links
}

// Anchors returns the names by which a document's sections can be linked to, as GitHub makes them.
func Anchors(t testing.TB, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var anchors []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(data), -1) {
		name := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		anchors = append(anchors, strings.ReplaceAll(name, " ", "-"))
	}
	return anchors
}
