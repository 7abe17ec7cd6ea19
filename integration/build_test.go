package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// repository is the root of the checkout.
var repository = func() string {
	dir, err := filepath.Abs("..")
	if err != nil {
		panic(err)
	}
	return dir
}()

// binaries are built once for all tests, into a directory that TestMain removes.
var binaries string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binaries = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// buildTimeout bounds a cold build on a slow machine.
const buildTimeout = 15 * time.Minute

var collectorBinary = sync.OnceValues(func() (string, error) {
	file := filepath.Join(binaries, "collector")
	return file, command(".", "GOWORK=off", "go build -o "+file+" ./collector")
})

// shopBinary builds the shop with the very command of the Dockerfile, but for the place of the
// result.
var shopBinary = sync.OnceValues(func() (string, error) {
	build, err := dockerfileBuild()
	if err != nil {
		return "", err
	}
	file := filepath.Join(binaries, "shop")
	return file, command(repository, "GOWORK=", strings.ReplaceAll(build, "/out/shop", file))
})

func built(t *testing.T, binary func() (string, error)) string {
	t.Helper()
	file, err := binary()
	require.NoError(t, err)
	return file
}

func command(dir, env, line string) error {
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", line, err, output)
	}
	return nil
}
