package telemetry_test

import (
	"archive/zip"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// TestAnotherModuleCanUseTheLibrary builds the three-line program in a module of its own, as go get
// would set it up, and runs it with nothing but an endpoint.
func TestAnotherModuleCanUseTheLibrary(t *testing.T) {
	root, err := os.Getwd()
	require.NoError(t, err)
	builds := map[string]func(*testing.T) string{
		"through a replace": func(t *testing.T) string {
			return buildConsumer(t, "v0.0.0", "replace "+modulePath+" => "+root)
		},
		"through a module proxy": func(t *testing.T) string {
			version, proxy := fileSystemProxy(t, root)
			upstream := strings.TrimSpace(goCommand(t, ".", nil, "env", "GOPROXY"))
			return buildConsumer(t, version, "", "GOPROXY="+proxy+","+upstream, "GONOSUMDB="+modulePath)
		},
	}
	atOnce(t, slices.Collect(maps.Keys(builds)), func(how string) string { return how },
		func(t *testing.T, how string) {
			requireThreeSignals(t, builds[how](t))
		})
}

const modulePath = "github.com/fleetotel/telemetry"

const threeLineProgram = `package main

import (
	"context"
	"log/slog"

	"github.com/fleetotel/telemetry"
	"go.opentelemetry.io/otel"
)

func main() {
	ctx := context.Background()
	guard, err := telemetry.Init(ctx, telemetry.WithServiceName("consumer"))
	if err != nil { slog.Error("telemetry is degraded", "error", err) }
	defer guard.Shutdown(context.Background())

	ctx, span := otel.Tracer("consumer").Start(ctx, "work")
	defer span.End()
	counter, _ := otel.Meter("consumer").Int64Counter("works")
	counter.Add(ctx, 1)
	slog.InfoContext(ctx, "worked")
}
`

// buildConsumer returns the program's path.
func buildConsumer(t *testing.T, version, replace string, env ...string) string {
	t.Helper()
	dir := t.TempDir()
	sums, err := os.ReadFile("go.sum")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(threeLineProgram), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), fmt.Appendf(nil,
		"module example.com/consumer\n\ngo 1.26.0\n\nrequire (\n\t%s %s\n\tgo.opentelemetry.io/otel v1.47.0\n)\n\n%s\n",
		modulePath, version, replace), 0o644))
	goCommand(t, dir, env, "build", "-ldflags=-w", "-o", "consumer", ".") // linking without DWARF takes half the time
	return filepath.Join(dir, "consumer")
}

func requireThreeSignals(t *testing.T, program string) {
	t.Helper()
	for _, protocol := range protocols {
		c := otlptest.New(t)
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT="+c.Endpoint(string(protocol)))
		if string(protocol) == "grpc" {
			cmd.Env = append(cmd.Env, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc")
		}
		output, err := cmd.CombinedOutput()
		require.NoError(t, err, string(output))
		require.Len(t, c.Spans(), 1, string(output))
		require.Len(t, c.LogRecords(), 1)
		require.Contains(t, metricNames(c), "works")
		instance := c.Spans()[0].Resource["service.instance.id"]
		require.NotEmpty(t, instance)
		require.Equal(t, instance, c.LogRecords()[0].Resource["service.instance.id"])
		require.Equal(t, instance, c.Metrics()[0].Resource["service.instance.id"])
		require.Equal(t, string(protocol), c.Requests()[0].Protocol)
	}
}

// fileSystemProxy lays the repository out as a module proxy would serve it. The version is made
// from the content and the path, so that a run in another copy does not remove it from the module
// cache that both use.
func fileSystemProxy(t *testing.T, root string) (version, url string) {
	t.Helper()
	files := moduleFiles(t)
	hash := sha256.New()
	fmt.Fprintln(hash, root)
	for _, path := range files {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		fmt.Fprintf(hash, "%s %x\n", path, sha256.Sum256(content))
	}
	version = fmt.Sprintf("v0.0.0-20260101000000-%x", hash.Sum(nil)[:6])
	dir := t.TempDir()
	base := filepath.Join(dir, modulePath, "@v", version)
	require.NoError(t, os.MkdirAll(filepath.Dir(base), 0o755))
	require.NoError(t, os.WriteFile(base+".info",
		fmt.Appendf(nil, `{"Version":%q,"Time":"2026-01-01T00:00:00Z"}`, version), 0o644))
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(base+".mod", mod, 0o644))
	writeZip(t, base+".zip", version, files)

	cache := strings.TrimSpace(goCommand(t, ".", nil, "env", "GOMODCACHE"))
	t.Cleanup(func() {
		_ = os.RemoveAll(filepath.Join(cache, modulePath+"@"+version))
		for _, leftover := range []string{".info", ".mod", ".zip", ".ziphash", ".lock"} {
			_ = os.Remove(filepath.Join(cache, "cache", "download", modulePath, "@v", version+leftover))
		}
	})
	return version, "file://" + filepath.ToSlash(dir)
}

// moduleFiles are the files of the module that another module builds, without tests and nested
// modules.
func moduleFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != "." {
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if err == nil || strings.HasPrefix(entry.Name(), ".") {
				return filepath.SkipDir
			}
			return nil
		}
		source := strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go")
		if entry.Type().IsRegular() && (source || path == "go.mod" || path == "go.sum" || path == "LICENSE") {
			files = append(files, path)
		}
		return nil
	}))
	return files
}

func writeZip(t *testing.T, path, version string, files []string) {
	t.Helper()
	out, err := os.Create(path)
	require.NoError(t, err)
	archive := zip.NewWriter(out)
	for _, file := range files {
		entry, err := archive.Create(modulePath + "@" + version + "/" + filepath.ToSlash(file))
		require.NoError(t, err)
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		_, err = entry.Write(content)
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	require.NoError(t, out.Close())
}

func goCommand(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod -modcacherw"), env...)
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "go %s\n%s", strings.Join(args, " "), output)
	return string(output)
}
