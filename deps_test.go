package telemetry

import (
	"bytes"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const modulePath = "github.com/fleetotel/telemetry"

// layers are the internal packages from the lowest to the highest. A package imports those of lower
// layers only, so that there is one direction to read in; who belongs where is in ARCHITECTURE.md.
var layers = [][]string{
	{"signal", "version", "peek", "points", "testenv", "nonrecording", "snippets"}, // words and views that need nothing
	// what goes into an item, and which items
	{"logs", "redact", "encodable", "sampling", "otlptest"},
	{"mask", "console"},
	{"lines"}, // from here on, packages say what is wrong
	{"contain", "selflog", "spool", "w3c", "global"},
	{"credential"},
	{"spans", "delivery", "settings"},
	{"batch", "diagnose", "identity", "middleware"},
	{"otlp"},
	{"pipeline"},
}

// sourceFile is one Go file of the repository.
type sourceFile struct {
	path    string // from the root, with slashes
	pkg     string // as its package clause has it
	imports []string
	calls   []string // package-qualified, such as os.Getenv
	syntax  *ast.File
}

func (f sourceFile) dir() string  { return path.Dir(f.path) }
func (f sourceFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// in reports whether the file is the named one, or below the named folder.
func (f sourceFile) in(paths ...string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return f.path == p || strings.HasPrefix(f.path, p+"/") })
}

// TestLayers holds the invariants of ARCHITECTURE.md that imports and calls show.
func TestLayers(t *testing.T) {
	files := sourceFiles(t)
	require.Greater(t, len(files), 100)
	rules := []struct {
		reason string
		broken func(f sourceFile) bool
	}{
		{"only internal/otlp imports OTLP exporters, and internal/pipeline those that write to standard output",
			func(f sourceFile) bool {
				return f.isLibrary() && (f.importsAny("go.opentelemetry.io/otel/exporters/otlp/") &&
					!f.in("internal/otlp") ||
					f.importsAny("go.opentelemetry.io/otel/exporters/stdout/") && !f.in("internal/pipeline"))
			}},
		{"only internal/settings reads the environment, in one snapshot; propagation.go reads trace context from it",
			func(f sourceFile) bool {
				return f.isLibrary() && !f.in("internal/settings/config.go", "propagation.go") &&
					f.callsAny("os.Getenv", "os.LookupEnv", "os.Environ", "os.ExpandEnv", "syscall.Getenv")
			}},
		{"only telemetry.go sets globals, and shutdown.go puts them back; telemetrytest puts back what a service has " +
			"set", func(f sourceFile) bool {
			return f.isLibrary() && !f.in("telemetry.go", "shutdown.go", "telemetrytest/globals.go") &&
				f.callsAny("otel.SetTracerProvider", "otel.SetMeterProvider", "otel.SetLoggerProvider",
					"otel.SetTextMapPropagator",
					"otel.SetErrorHandler", "otel.SetLogger", "slog.SetDefault", "log.SetOutput", "log.SetFlags",
					"os.Setenv", "os.Unsetenv")
		}},
		{"internal packages do not know the root", func(f sourceFile) bool {
			return f.in("internal") && slices.Contains(f.imports, modulePath)
		}},
		{"examples use the library and the OTel API, never the SDK or an exporter", func(f sourceFile) bool {
			return f.in("examples") && f.importsAny("go.opentelemetry.io/otel/sdk",
				"go.opentelemetry.io/otel/exporters/")
		}},
		{"code that services run needs no test package", func(f sourceFile) bool {
			return !f.in("internal/snippets", "benchmarks") && // for tests of this repository
				(f.importsAny("net/http/httptest", "github.com/stretchr/testify", "go.uber.org/goleak",
					modulePath+"/telemetrytest") ||
					f.importsAny("testing") && !f.in("telemetrytest"))
		}},
		{"only settings and otlp look for what a test has put in the place of the process", func(f sourceFile) bool {
			return f.importsAny(modulePath+"/internal/testenv") &&
				!f.in("internal/settings", "internal/otlp", "telemetrytest")
		}},
		{"a library does not print, and exits only at a second signal (run.go)", func(f sourceFile) bool {
			return f.isLibrary() && (f.callsAny("os.Exit") && !f.in("run.go") ||
				f.callsAny("fmt.Print", "fmt.Println", "fmt.Printf",
					"log.Print", "log.Printf", "log.Println", "log.Fatal", "log.Fatalf", "log.Panic", "print",
					"println"))
		}},
		{"a library does not panic, but lets one go on that it has recorded", func(f sourceFile) bool {
			return f.isLibrary() && f.callsAny("panic") &&
				!f.in("internal/spans", "internal/middleware/http.go", "run.go")
		}},
		{"heavy or vendor-bound modules stay out: the seams are WithMetricReader, WithResourceDetectors and " +
			"WithPropagators", func(f sourceFile) bool {
			return f.isLibrary() && f.importsAny("github.com/prometheus/",
				"go.opentelemetry.io/contrib/exporters/autoexport",
				"go.opentelemetry.io/contrib/propagators/", "go.opentelemetry.io/contrib/detectors/",
				"go.opentelemetry.io/contrib/otelconf")
		}},
		{"what the library says about itself is made in internal/lines: a line is said as it comes from there, and " +
			"what others say only in internal/selflog", func(f sourceFile) bool {
			return f.isLibrary() && !f.in("internal/lines", "internal/selflog") &&
				f.callsAny("lines.FromSDK", "lines.FromError")
		}},
	}
	for _, f := range files {
		for _, rule := range rules {
			require.False(t, !f.isTest() && rule.broken(f), "%s: %s", f.path, rule.reason)
		}
	}
}

// TestImportsNeverClimb holds the layers of the internal packages.
func TestImportsNeverClimb(t *testing.T) {
	layerOf := map[string]int{}
	for i, layer := range layers {
		for _, name := range layer {
			layerOf["internal/"+name] = i
		}
	}
	for _, f := range sourceFiles(t) {
		if !f.in("internal") || f.isTest() {
			continue
		}
		own, listed := layerOf[f.dir()]
		require.True(t, listed, "%s belongs to no layer", f.dir())
		for _, imported := range f.imports {
			if inner, ok := strings.CutPrefix(imported, modulePath+"/"); ok {
				require.Less(t, layerOf[inner], own, "%s imports %s, which is not below it", f.path, inner)
			}
		}
	}
}

// TestRootIsThePublicFace keeps the root small: at most 16 files and 2,800 lines.
func TestRootIsThePublicFace(t *testing.T) {
	files, lines := 0, 0
	for _, f := range sourceFiles(t) {
		if f.dir() == "." && !f.isTest() {
			source, err := os.ReadFile(f.path)
			require.NoError(t, err)
			files, lines = files+1, lines+bytes.Count(source, []byte("\n"))
		}
	}
	require.LessOrEqual(t, files, 16)
	require.LessOrEqual(t, lines, 2800)
	t.Logf("%d files, %d lines", files, lines)
}

// TestRootFilesReferInOneDirection keeps the files of the root readable one after the other: of
// files that refer to each other in a circle, directly or over others, there are at most three.
func TestRootFilesReferInOneDirection(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the dependencies")
	}
	refersTo := rootReferences(t)
	reaches := func(from string) map[string]bool {
		seen, next := map[string]bool{}, []string{from}
		for len(next) > 0 {
			file := next[0]
			next = next[1:]
			for to := range refersTo[file] {
				if !seen[to] {
					seen[to], next = true, append(next, to)
				}
			}
		}
		return seen
	}
	for file := range refersTo {
		circle := []string{file}
		for other := range reaches(file) {
			if other != file && reaches(other)[file] {
				circle = append(circle, other)
			}
		}
		slices.Sort(circle)
		require.LessOrEqual(t, len(circle), 3, "%v", circle)
	}
}

// rootReferences says for each file of the root which others have what it uses, methods and fields
// included.
func rootReferences(t *testing.T) map[string]map[string]bool {
	t.Helper()
	fset := token.NewFileSet()
	var syntax []*ast.File
	for _, f := range sourceFiles(t) {
		if f.dir() == "." && !f.isTest() {
			parsed, err := parser.ParseFile(fset, f.path, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			syntax = append(syntax, parsed)
		}
	}
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", exportData(t))}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	root, err := config.Check(modulePath, fset, syntax, info)
	require.NoError(t, err)
	file := func(pos token.Pos) string { return fset.Position(pos).Filename }
	refersTo := map[string]map[string]bool{}
	for ident, object := range info.Uses {
		if from, to := file(ident.Pos()), file(object.Pos()); object.Pkg() == root && from != to {
			if refersTo[from] == nil {
				refersTo[from] = map[string]bool{}
			}
			refersTo[from][to] = true
		}
	}
	return refersTo
}

// exportData finds the compiled form of each dependency in the build cache.
func exportData(t *testing.T) func(path string) (io.ReadCloser, error) {
	t.Helper()
	output, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}", ".").Output()
	require.NoError(t, err)
	files := map[string]string{}
	for line := range strings.Lines(string(output)) {
		name, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		files[name] = file
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }
}

// TestExportedNamesAreUsed keeps the internal packages narrow: a name is exported for somebody
// outside. A type may be exported because an exported declaration mentions it, and a constant
// because its type is.
func TestExportedNamesAreUsed(t *testing.T) {
	files := sourceFiles(t)
	used := map[string]bool{} // "dir.Name"
	for _, f := range files {
		for _, use := range f.uses() {
			used[use] = true
		}
	}
	var unused []string
	for _, f := range files {
		if !f.in("internal") || f.isTest() {
			continue
		}
		for name, mentioned := range f.exported(files) {
			if !used[f.dir()+"."+name] && !mentioned {
				unused = append(unused, f.path+": "+name)
			}
		}
	}
	require.Empty(t, unused, "these are exported, and used nowhere else")
}

// TestPackagesHaveASubject keeps out drawers for what has no other place.
func TestPackagesHaveASubject(t *testing.T) {
	importers := map[string]map[string]bool{}
	for _, f := range sourceFiles(t) {
		require.NotContains(t, []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "small",
			"tools", "base"}, path.Base(f.dir()))
		for _, use := range f.uses() {
			dir, name := path.Split(strings.Replace(use, ".", "/", 1))
			if importers[dir] == nil {
				importers[dir] = map[string]bool{}
			}
			importers[dir][name] = true
		}
	}
	for dir, names := range importers {
		require.Greater(t, len(names), 1, "%s is imported for %v alone", dir, names)
	}
}

// isLibrary leaves out the programs.
func (f sourceFile) isLibrary() bool {
	return !f.in("examples", "benchmarks", "cmd", "integration", "recipes", "testdata")
}

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

// uses are the names of internal packages that the file uses, as "internal/signal.Traces". A test
// in a package of its own is outside of what it tests.
func (f sourceFile) uses() (names []string) {
	dirs := map[string]string{} // by the package's name in the file
	for _, spec := range f.syntax.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		dir, ok := strings.CutPrefix(imported, modulePath+"/")
		if !ok || !strings.HasPrefix(dir, "internal/") || dir == f.dir() && !strings.HasSuffix(f.pkg, "_test") {
			continue
		}
		name := path.Base(dir)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		dirs[name] = dir
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := selector.X.(*ast.Ident); ok && dirs[pkg.Name] != "" {
				names = append(names, dirs[pkg.Name]+"."+selector.Sel.Name)
			}
		}
		return true
	})
	return names
}

// exported are the exported names that the file declares, and whether an exported declaration of
// the package needs them.
func (f sourceFile) exported(all []sourceFile) map[string]bool {
	names := map[string]bool{}
	add := func(name *ast.Ident, mentioned bool) {
		if name.IsExported() {
			names[name.Name] = mentioned
		}
	}
	for _, decl := range f.syntax.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				add(decl.Name, false)
			}
		case *ast.GenDecl:
			typed := false // constants after the first of an enumeration
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					add(spec.Name, mentions(all, f.dir(), spec.Name.Name))
				case *ast.ValueSpec:
					typed = typed && spec.Values == nil || decl.Tok == token.CONST && spec.Type != nil
					for _, name := range spec.Names {
						add(name, typed)
					}
				}
			}
		}
	}
	return names
}

// mentions reports whether an exported function, method, type or variable of a package has a type
// in its signature or fields.
func mentions(all []sourceFile, dir, name string) (found bool) {
	look := func(n ast.Node) bool {
		if ident, ok := n.(*ast.Ident); ok && ident.Name == name {
			found = true
		}
		_, isBody := n.(*ast.BlockStmt)
		return !isBody
	}
	for _, f := range all {
		if f.dir() != dir || f.isTest() {
			continue
		}
		for _, decl := range f.syntax.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Name.IsExported() && decl.Type != nil && (decl.Recv == nil || !mentionsReceiver(decl, name)) {
					ast.Inspect(decl.Type, look)
				}
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					if named, ok := spec.(*ast.TypeSpec); ok && named.Name.IsExported() && named.Name.Name != name {
						ast.Inspect(named.Type, look)
					}
				}
			}
		}
	}
	return found
}

func mentionsReceiver(decl *ast.FuncDecl, name string) (is bool) {
	ast.Inspect(decl.Recv, func(n ast.Node) bool {
		ident, ok := n.(*ast.Ident)
		is = is || ok && ident.Name == name
		return true
	})
	return is
}

// sourceFiles are all Go files of the repository.
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
		if entry.IsDir() || !strings.HasSuffix(path, ".go") {
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
	parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return sourceFile{}, err
	}
	file := sourceFile{path: filepath.ToSlash(path), pkg: parsed.Name.Name, syntax: parsed}
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
		if call, ok := n.(*ast.CallExpr); ok {
			file.calls = append(file.calls, calledName(call, aliases))
		}
		return true
	})
	return file, nil
}

// calledName is "f" or "pkg.F" of a call, with the package's own name.
func calledName(call *ast.CallExpr, aliases map[string]string) string {
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		return fun.Name
	case *ast.SelectorExpr:
		if pkg, ok := fun.X.(*ast.Ident); ok {
			name := pkg.Name
			if original, aliased := aliases[name]; aliased {
				name = original
			}
			return name + "." + fun.Sel.Name
		}
	}
	return ""
}

// TestPublicFaceStaysSmall keeps the budget of the design: at most 20 exported types and 90
// functions and methods.
func TestPublicFaceStaysSmall(t *testing.T) {
	exportedTypes, functions := 0, 0
	for _, f := range sourceFiles(t) {
		if f.dir() != "." || f.isTest() {
			continue
		}
		for _, decl := range f.syntax.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Name.IsExported() && (decl.Recv == nil || receiverIsExported(decl)) {
					functions++
				}
			case *ast.GenDecl:
				exportedTypes += exportedTypesOf(decl)
			}
		}
	}
	require.LessOrEqual(t, exportedTypes, 20)
	require.LessOrEqual(t, functions, 90)
	t.Logf("%d exported types, %d functions and methods", exportedTypes, functions)
}

func exportedTypesOf(decl *ast.GenDecl) (n int) {
	for _, spec := range decl.Specs {
		if named, ok := spec.(*ast.TypeSpec); ok && named.Name.IsExported() {
			n++
		}
	}
	return n
}

func receiverIsExported(decl *ast.FuncDecl) bool {
	receiver := decl.Recv.List[0].Type
	if pointer, ok := receiver.(*ast.StarExpr); ok {
		receiver = pointer.X
	}
	name, ok := receiver.(*ast.Ident)
	return ok && name.IsExported()
}
