package telemetry

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sourceFile is one Go file of the repository that is not a test.
type sourceFile struct {
	path    string // from the root, with slashes
	imports []string
	calls   []string // package-qualified, such as os.Getenv
}

// TestLayers holds the layers of ARCHITECTURE.md: who may import what, who reads the environment, who sets globals.
func TestLayers(t *testing.T) {
	files := sourceFiles(t)
	require.Greater(t, len(files), 30)
	rules := []struct {
		reason string
		broken func(f sourceFile) bool
	}{
		{"only exporter.go imports exporters, and console.go those that write to standard output", func(f sourceFile) bool {
			mine := map[string]string{"exporter.go": "go.opentelemetry.io/otel/exporters/otlp/", "console.go": "go.opentelemetry.io/otel/exporters/stdout/"}
			return isLibrary(f) && slices.ContainsFunc(f.imports, func(path string) bool {
				return strings.HasPrefix(path, "go.opentelemetry.io/otel/exporters/") && (mine[f.path] == "" || !strings.HasPrefix(path, mine[f.path]))
			})
		}},
		{"only config.go reads the environment, and propagation.go for the environment's trace context", func(f sourceFile) bool {
			return f.path != "config.go" && f.path != "propagation.go" && isLibrary(f) &&
				f.callsAny("os.Getenv", "os.LookupEnv", "os.Environ", "os.ExpandEnv", "syscall.Getenv")
		}},
		{"only telemetry.go sets globals, and shutdown.go puts them back; telemetrytest puts back what a service has set", func(f sourceFile) bool {
			return f.path != "telemetry.go" && f.path != "shutdown.go" && f.path != "telemetrytest/globals.go" && isLibrary(f) &&
				f.callsAny("otel.SetTracerProvider", "otel.SetMeterProvider", "otel.SetLoggerProvider", "otel.SetTextMapPropagator",
					"otel.SetErrorHandler", "otel.SetLogger", "slog.SetDefault", "log.SetOutput", "log.SetFlags", "os.Setenv", "os.Unsetenv")
		}},
		{"internal packages do not know the root", func(f sourceFile) bool {
			return strings.HasPrefix(f.path, "internal/") && slices.Contains(f.imports, modulePath)
		}},
		{"examples use the library and the OTel API, never the SDK or an exporter", func(f sourceFile) bool {
			return strings.HasPrefix(f.path, "examples/") && f.importsAny("go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/exporters/")
		}},
		{"code that services run needs no test package", func(f sourceFile) bool {
			return !strings.HasPrefix(f.path, "internal/snippets/") && // for tests of this repository
				(f.importsAny("net/http/httptest", "github.com/stretchr/testify", "go.uber.org/goleak", modulePath+"/telemetrytest") ||
					f.importsAny("testing") && !isTestKit(f))
		}},
		{"only config.go, for telemetrytest, looks for another environment", func(f sourceFile) bool {
			return f.path != "config.go" && !isTestKit(f) && f.importsAny(modulePath+"/internal/testenv")
		}},
		{"a library does not exit, print or panic, but for a second signal (run.go) and a panic that goes on", func(f sourceFile) bool {
			return isLibrary(f) && f.path != "run.go" && f.callsAny("os.Exit") || isLibrary(f) && f.callsAny("fmt.Print", "fmt.Println", "fmt.Printf", "log.Print", "log.Printf", "log.Println",
				"log.Fatal", "log.Fatalf", "log.Panic", "print", "println") || f.callsAny("panic") && isLibrary(f) && f.path != "span.go" && f.path != "run.go" && !strings.HasPrefix(f.path, "middleware")
		}},
		{"heavy or vendor-bound modules stay out: the seams are WithMetricReader, WithResourceDetectors and WithPropagators", func(f sourceFile) bool {
			return isLibrary(f) && f.importsAny("github.com/prometheus/", "go.opentelemetry.io/contrib/exporters/autoexport",
				"go.opentelemetry.io/contrib/propagators/", "go.opentelemetry.io/contrib/detectors/", "go.opentelemetry.io/contrib/otelconf")
		}},
	}
	for _, f := range files {
		for _, rule := range rules {
			require.False(t, rule.broken(f), "%s: %s", f.path, rule.reason)
		}
	}
}

const modulePath = "github.com/fleetotel/telemetry"

// isLibrary leaves out the programs.
func isLibrary(f sourceFile) bool {
	return !strings.HasPrefix(f.path, "examples/") && !strings.HasPrefix(f.path, "benchmarks/") && !strings.HasPrefix(f.path, "cmd/") &&
		!strings.HasPrefix(f.path, "integration/") && !strings.HasPrefix(f.path, "testdata/")
}

// isTestKit tells the package that services' tests import, and nothing else.
func isTestKit(f sourceFile) bool { return strings.HasPrefix(f.path, "telemetrytest/") }

func (f sourceFile) importsAny(prefixes ...string) bool {
	return slices.ContainsFunc(f.imports, func(path string) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool {
			return path == prefix || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/")
		})
	})
}

func (f sourceFile) callsAny(names ...string) bool {
	return slices.ContainsFunc(f.calls, func(call string) bool { return slices.Contains(names, call) })
}

func sourceFiles(t *testing.T) []sourceFile {
	t.Helper()
	var files []sourceFile
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), ".") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parseSource(path)
		files = append(files, file)
		return err
	})
	require.NoError(t, err)
	return files
}

func parseSource(path string) (sourceFile, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return sourceFile{}, err
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), path, source, parser.SkipObjectResolution)
	if err != nil {
		return sourceFile{}, err
	}
	file := sourceFile{path: filepath.ToSlash(path)}
	aliases := map[string]string{}
	for _, spec := range parsed.Imports {
		importPath, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return sourceFile{}, err
		}
		file.imports = append(file.imports, importPath)
		if spec.Name != nil {
			aliases[spec.Name.Name] = importPath[strings.LastIndex(importPath, "/")+1:]
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch fun := call.Fun.(type) {
		case *ast.Ident:
			file.calls = append(file.calls, fun.Name)
		case *ast.SelectorExpr:
			if pkg, ok := fun.X.(*ast.Ident); ok {
				name := pkg.Name
				if original, aliased := aliases[name]; aliased {
					name = original
				}
				file.calls = append(file.calls, name+"."+fun.Sel.Name)
			}
		}
		return true
	})
	return file, nil
}

// TestPublicFaceStaysSmall keeps the budget of the design: at most 20 exported types and 90 functions and methods.
func TestPublicFaceStaysSmall(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	require.NoError(t, err)
	types, functions := 0, 0
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Name.IsExported() && (decl.Recv == nil || receiverIsExported(decl)) {
					functions++
				}
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					if named, ok := spec.(*ast.TypeSpec); ok && named.Name.IsExported() {
						types++
					}
				}
			}
		}
	}
	require.LessOrEqual(t, types, 20)
	require.LessOrEqual(t, functions, 90)
	t.Logf("%d exported types, %d functions and methods", types, functions)
}

func receiverIsExported(decl *ast.FuncDecl) bool {
	receiver := decl.Recv.List[0].Type
	if pointer, ok := receiver.(*ast.StarExpr); ok {
		receiver = pointer.X
	}
	name, ok := receiver.(*ast.Ident)
	return ok && name.IsExported()
}
